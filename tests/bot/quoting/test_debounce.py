"""What of a new target reaches the market."""

from __future__ import annotations

import msgspec
import pytest

from bot.messages import QuoteIntent, QuoteMode, Route
from bot.quoting.debounce import Hold, SideState, next_px, worth_sending
from bot.units import NS_PER_MS

REST = 500 * NS_PER_MS
HOLD = Hold(reservation=0.50, nearest=0.010, farthest=0.045)


def bid(
    px: int, target: int, *, changed_ms: int | None = 0, at_ms: int = 100, opposite: int = 0, hold: Hold | None = None
) -> int:
    state = SideState(bid=True, px=px, changed_ns=None if changed_ms is None else changed_ms * NS_PER_MS)
    return next_px(state, target, tick=100, opposite=opposite, hold=hold, now_ns=at_ms * NS_PER_MS, min_rest_ns=REST)


def ask(px: int, target: int, *, at_ms: int = 100, opposite: int = 0, hold: Hold | None = None) -> int:
    state = SideState(bid=False, px=px, changed_ns=0)
    return next_px(state, target, tick=100, opposite=opposite, hold=hold, now_ns=at_ms * NS_PER_MS, min_rest_ns=REST)


def test_moving_away_is_immediate_and_moving_toward_waits() -> None:
    assert bid(4800, 4700) == 4700
    assert bid(4800, 4900) == 4800
    assert bid(4800, 4900, at_ms=500) == 4900
    assert ask(5200, 5300) == 5300
    assert ask(5200, 5100) == 5200
    assert ask(5200, 5100, at_ms=500) == 5100


def test_a_pulled_side_comes_back_only_after_its_rest() -> None:
    assert bid(4800, 0) == 0
    assert bid(0, 4800) == 0
    assert bid(0, 4800, at_ms=500) == 4800
    assert bid(0, 4800, changed_ms=None) == 4800


@pytest.mark.parametrize(("px", "kept"), [(4500, False), (4600, True), (4800, True), (4900, True), (4950, False)])
def test_a_good_price_is_held(px: int, kept: bool) -> None:
    target = 4700 if px != 4700 else 4600
    assert (bid(px, target, at_ms=9_999, hold=HOLD) == px) is kept


def test_an_offer_is_held_by_the_same_distances() -> None:
    assert ask(5100, 5300, at_ms=9_999, hold=HOLD) == 5100
    assert ask(5000, 5300, at_ms=9_999, hold=HOLD) == 5300


def test_a_price_that_would_cross_is_not_held() -> None:
    assert bid(4800, 4700, opposite=4800, hold=HOLD) == 4700
    assert ask(5200, 5300, opposite=5200, hold=HOLD) == 5300


def test_a_price_off_the_grid_goes() -> None:
    assert bid(4850, 4900, hold=HOLD) == 4900


def intent(**changes: object) -> QuoteIntent:
    base = QuoteIntent(
        symbol="m",
        seq=1,
        epoch=1,
        made_ns=0,
        valid_until_ns=1,
        quote_mode=QuoteMode.NORMAL,
        tick=100,
        bid_px=4800,
        bid_size=20_000_000,
        bid_route=Route.BUY_YES,
        offer_px=5200,
        offer_size=20_000_000,
        offer_route=Route.BUY_NO,
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, False),
        ({"reasons": 1, "guard_lo_e8": 5, "fair_e6": 7}, False),
        ({"quote_mode": QuoteMode.DEFENSIVE}, True),
        ({"tick": 10}, True),
        ({"bid_px": 4700}, True),
        ({"offer_px": 0, "offer_size": 0, "offer_route": Route.NONE}, True),
        ({"bid_route": Route.SELL_NO}, True),
        ({"bid_size": 16_000_000}, False),
        ({"bid_size": 15_990_000}, True),
        ({"offer_size": 24_010_000}, True),
        ({"epoch": 2}, True),
        ({"made_ns": 249 * NS_PER_MS}, False),
        ({"made_ns": 250 * NS_PER_MS}, True),
    ],
)
def test_only_what_changes_orders_or_refreshes_is_sent(changes: dict[str, object], sent: bool) -> None:
    assert worth_sending(intent(), intent(**changes), 250 * NS_PER_MS) is sent


def test_the_first_intent_is_sent() -> None:
    assert worth_sending(None, intent(), 250 * NS_PER_MS)


def test_a_new_epoch_of_a_market_without_quotes_waits_for_the_refresh() -> None:
    old = intent(quote_mode=QuoteMode.NO_QUOTE, cancel_first=True)
    assert not worth_sending(old, msgspec.structs.replace(old, epoch=2), 250 * NS_PER_MS)


def test_a_young_route_is_kept() -> None:
    side = SideState(bid=True)
    side.record(4800, Route.BUY_YES, 1)
    assert side.kept_route(2_000_000_000) is Route.BUY_YES
    assert side.kept_route(2_000_000_001) is Route.NONE
    side.record(4800, Route.SELL_NO, 5)
    assert side.changed_ns == 1
