"""Slots: what is wanted, what may be sold, what may stay, and which intents cannot be meant."""

from __future__ import annotations

import msgspec
import pytest
from desk_fake import DOWN, SYMBOL, UP, a_market

from bot.execution.orders import Order
from bot.execution.position import Positions
from bot.execution.risk import Limits, Risk, Use
from bot.execution.slots import (
    LATELY_NS,
    PRICES_MAX,
    Desk,
    Slot,
    Target,
    fault,
    feasible,
    keeps,
    leg_of,
    sides_wanted,
    wanted,
)
from bot.execution.timers import Timers
from bot.messages import OrderState, QuoteIntent, QuoteMode, Route, Side
from bot.units import LOT, NS_PER_S, PX_ONE, QTY_ONE

TIMERS = Timers()
T = 1000 * NS_PER_S


def intent(**given: object) -> QuoteIntent:
    fields: dict[str, object] = {
        "symbol": SYMBOL, "seq": 1, "epoch": 0, "made_ns": 0, "valid_until_ns": 1, "quote_mode": QuoteMode.NORMAL,
        "tick": 100, "bid_px": 4900, "bid_size": 20 * QTY_ONE, "bid_route": Route.BUY_YES, "offer_px": 5200,
        "offer_size": 10 * QTY_ONE, "offer_route": Route.BUY_NO, **given,
    }  # fmt: skip
    return QuoteIntent(**fields)  # type: ignore[arg-type]


def use(up_selling: float = 0, down_selling: float = 0) -> Use:
    made = Risk(Limits()).use(a_market(), Positions(), [])
    made.up.selling, made.down.selling = round(up_selling * QTY_ONE), round(down_selling * QTY_ONE)
    return made


# -- what rejects and repeats teach ----------------------------------------------------------------------------------


def test_a_side_cools_down_twice_as_long_each_time_up_to_a_minute() -> None:
    slot = Slot("bid")
    waits = []
    for _ in range(7):
        slot.cool(T, TIMERS)
        waits.append((slot.cool_until_ns - T) // NS_PER_S)
    assert waits == [2, 4, 8, 16, 32, 60, 60]


def test_what_is_older_than_ten_seconds_is_no_longer_counted() -> None:
    slot = Slot("bid")
    assert [slot.would_cross(T + at) for at in (0, 1, LATELY_NS, LATELY_NS + 1)] == [1, 2, 2, 2]
    for at in (0, 1, LATELY_NS):
        slot.count(4900, T + at)
    assert (slot.repeats(4900, T + LATELY_NS), slot.repeats(4900, T + LATELY_NS + 1)) == (2, 1)
    assert slot.repeats(5000, T) == 0
    assert len(slot.sent[4900]) == 2


def test_orders_that_never_left_or_were_filled_are_no_repetition() -> None:
    slot = Slot("bid")
    for _ in range(3):
        slot.count(4900, T)
    slot.unsent(4900)
    slot.unsent(5000)
    assert slot.repeats(4900, T) == 2
    slot.filled(4900)
    slot.filled(4900)
    slot.unsent(4900)
    assert slot.repeats(4900, T) == 0


def test_the_prices_that_are_remembered_are_bounded() -> None:
    slot = Slot("bid")
    for px in range(1, PRICES_MAX + 2):
        slot.count(px, T)
    assert len(slot.sent) == PRICES_MAX + 1
    slot.count(1, T)
    assert slot.sent.keys() == {1} and slot.repeats(1, T) == 1


# -- what is wanted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "leg", "token", "side"),
    [
        (Route.BUY_YES, "bid", UP, Side.BUY),
        (Route.SELL_NO, "bid", DOWN, Side.SELL),
        (Route.SELL_YES, "offer", UP, Side.SELL),
        (Route.BUY_NO, "offer", DOWN, Side.BUY),
    ],
)
def test_a_route_says_which_token_is_bought_or_sold_at_which_price(
    route: Route, leg: str, token: str, side: Side
) -> None:
    desk = Desk(a_market())
    desk.intent = intent(bid_route=route, offer_route=route, bid_size=20 * QTY_ONE + LOT - 1)
    target = wanted(desk, leg)
    assert target is not None
    up_px, size = (4900, 20) if leg == "bid" else (5200, 10)
    assert (target.asset_id, target.side, target.up_token, target.mirror) == (token, side, token == UP, False)
    assert (target.px, target.up_px, target.qty) == (up_px if token == UP else PX_ONE - up_px, up_px, size * QTY_ONE)
    assert leg_of(desk.market, token, side) == leg


def test_nothing_is_wanted_without_an_intent_a_size_a_route_or_a_mode_that_quotes() -> None:
    desk = Desk(a_market())
    assert wanted(desk, "bid") is None
    for given in ({"bid_size": 0}, {"bid_route": Route.NONE}, {"quote_mode": QuoteMode.NO_QUOTE}):
        desk.intent = intent(**given)
        assert wanted(desk, "bid") is None
        assert (wanted(desk, "offer") is None) is ("quote_mode" in given)


@pytest.mark.parametrize(("bid", "offer", "sides"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 2)])
def test_an_intent_asks_for_as_many_orders_as_it_has_sizes(bid: int, offer: int, sides: int) -> None:
    assert sides_wanted(intent(bid_size=bid, offer_size=offer)) == sides


# -- what may be sold ------------------------------------------------------------------------------------------------


def target(token: str, side: Side, shares: float = 20, up_px: int = 5200) -> Target:
    up = token == UP
    return Target(
        asset_id=token, up_token=up, side=side, px=up_px if up else PX_ONE - up_px, up_px=up_px,
        qty=round(shares * QTY_ONE),
    )  # fmt: skip


@pytest.mark.parametrize("token", [UP, DOWN])
@pytest.mark.parametrize(
    ("held", "selling", "sold"), [(20, 0, 20), (30, 10, 20), (25, 10, 15), (15, 10, 5), (14.99, 10, 0), (5.001, 0, 5)]
)
def test_what_is_free_is_sold_and_with_too_little_the_mirror_is_bought(
    token: str, held: float, selling: float, sold: float
) -> None:
    used = use(up_selling=selling, down_selling=99) if token == UP else use(up_selling=99, down_selling=selling)
    made = feasible(target(token, Side.SELL), a_market(), used, round(held * QTY_ONE))
    if sold:
        assert made == target(token, Side.SELL, sold)
    else:
        mirror = target(DOWN if token == UP else UP, Side.BUY, 20)
        assert made == msgspec.structs.replace(mirror, mirror=True)


def test_what_is_bought_needs_no_shares() -> None:
    assert feasible(target(UP, Side.BUY), a_market(), use(), 0) == target(UP, Side.BUY)


# -- what may stay ---------------------------------------------------------------------------------------------------


def order(token: str = UP, side: Side = Side.BUY, shares: float = 20, up_px: int = 5200, **given: object) -> Order:
    wish = target(token, side, shares, up_px)
    fields: dict[str, object] = {
        "cl_ord_id": "c", "order_id": "o", "symbol": SYMBOL, "asset_id": token, "side": side, "px": wish.px,
        "up_px": up_px, "order_qty": wish.qty, "epoch": 0, "created_ns": 0, "state": OrderState.WORKING, **given,
    }  # fmt: skip
    return Order(**fields)  # type: ignore[arg-type]


NORMAL, REDUCE = QuoteMode.NORMAL, QuoteMode.REDUCE_ONLY


@pytest.mark.parametrize(
    ("resting", "mode", "stays"),
    [
        (order(), NORMAL, True),
        (order(shares=12), NORMAL, True),
        (order(shares=11.99), NORMAL, False),
        (order(shares=500), NORMAL, True),
        (order(shares=20), REDUCE, True),
        (order(shares=20.01), REDUCE, False),
        (order(shares=12), REDUCE, True),
        (order(up_px=5100), NORMAL, False),
        (order(token=DOWN), NORMAL, False),
        (order(side=Side.SELL), NORMAL, False),
        (order(token=DOWN, side=Side.SELL, mirror=True), NORMAL, True),
        (order(token=DOWN, side=Side.SELL, up_px=5100, mirror=True), NORMAL, False),
        (order(shares=30, cum_qty=18 * QTY_ONE), NORMAL, True),
        (order(shares=30, cum_qty=18 * QTY_ONE + 1), NORMAL, False),
    ],
)
def test_an_order_stays_at_its_price_while_three_fifths_of_what_is_wanted_are_left(
    resting: Order, mode: QuoteMode, stays: bool
) -> None:
    assert keeps(resting, target(UP, Side.BUY), mode) is stays


# -- intents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"bid_size": -1}, "bid size -1 is negative"),
        ({"offer_size": -5}, "offer size -5 is negative"),
        ({"bid_route": Route.SELL_YES}, "bid has route sell_yes"),
        ({"offer_route": Route.BUY_YES}, "offer has route buy_yes"),
        ({"bid_route": Route.NONE}, "bid has route none"),
        ({"bid_px": 0}, "bid price 0 is not on the grid of 100"),
        ({"bid_px": 99}, "bid price 99 is not on the grid of 100"),
        ({"offer_px": PX_ONE}, "offer price 10000 is not on the grid of 100"),
        ({"bid_px": 4950}, "bid price 4950 is not on the grid of 100"),
        ({"bid_px": 5200}, "bid 5200 is not below offer 5200"),
        ({"quote_mode": QuoteMode.NO_QUOTE}, "NO_QUOTE with sizes"),
        ({"quote_mode": QuoteMode.NO_QUOTE, "bid_size": 0}, "NO_QUOTE with sizes"),
        ({"quote_mode": QuoteMode.NO_QUOTE, "offer_size": 0}, "NO_QUOTE with sizes"),
        ({"quote_mode": QuoteMode.NO_QUOTE, "offer_size": 0, "bid_size": 0}, ""),
        ({"bid_px": 100, "offer_px": PX_ONE - 100}, ""),
        ({"bid_size": 0, "bid_px": 12345, "bid_route": Route.NONE}, ""),
        ({"bid_size": 0, "offer_px": 5250}, "offer price 5250 is not on the grid of 100"),
        ({"offer_size": 0, "offer_px": 0, "offer_route": Route.NONE}, ""),
        ({"bid_route": Route.SELL_NO, "offer_route": Route.SELL_YES}, ""),
        ({"bid_px": 5100}, ""),
        ({}, ""),
    ],
)
def test_why_an_intent_cannot_be_meant(given: dict[str, object], says: str) -> None:
    assert fault(msgspec.structs.replace(intent(), **given), 100) == says
