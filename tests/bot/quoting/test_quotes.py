"""Prices on the grid, sizes and routes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import Route
from bot.quoting.parameters import Parameters
from bot.quoting.quotes import (
    NO_LEG,
    Account,
    Leg,
    bounded,
    clamp,
    leg,
    outward,
    prices,
    target_size,
    uncrossed,
    within_cash,
)
from bot.quoting.spread import half_spread, skew
from bot.units import LOT, PX_ONE, QTY_ONE, TICKS, USD_ONE

Q50 = Parameters(order_size=50, q_max=250)
MIN = 5 * QTY_ONE
P, VARIANCE = 0.7449375420812131, 0.006446121467190914


@pytest.mark.parametrize(
    ("q", "defensive", "sums", "to_stop", "bid", "ask", "sizes"),
    [
        (0, False, (0.0256846, 0.0256846), None, 71, 78, (50, 50)),
        (100, False, (0.0256846, 0.0256846), None, 70, 76, (30, 50)),
        (-150, True, (0.0256846, 0.0316846), None, 71, 83, (25, 10)),
        (100, False, (0.0256846, 0.0256846), 60.0, 63, 75, (30, 50)),
        (-60, False, (0.0256846, 0.0256846), 0.0, 74, 88, (50, 38)),
    ],
)
def test_quotes_match_the_table(
    q: float,
    defensive: bool,
    sums: tuple[float, float],
    to_stop: float | None,
    bid: int,
    ask: int,
    sizes: tuple[int, int],
) -> None:
    r = P - skew(Q50, P, VARIANCE, q, to_stop)
    widths = tuple(half_spread(Q50, total, defensive) for total in sums)
    assert prices(Q50, r, widths[0], widths[1], 100, 7300, 7600, q) == (bid * 100, ask * 100)
    assert target_size(Q50, q, defensive) == sizes[0] * QTY_ONE
    assert target_size(Q50, -q, defensive) == sizes[1] * QTY_ONE


@pytest.mark.parametrize(
    ("r", "delta", "tick", "expected"),
    [
        (0.0145, 0.010, 100, (0, 3)),
        (0.0145, 0.010, 10, (4, 25)),
        (0.9912, 0.006, 100, (98, 0)),
        (0.9912, 0.006, 10, (985, 998)),
        (0.505, 0.015, 100, (49, 52)),
        (0.4975, 0.0125, 25, (194, 204)),
    ],
)
def test_rounding_is_outward_on_every_grid(r: float, delta: float, tick: int, expected: tuple[int, int]) -> None:
    assert bounded(*outward(r, delta, delta, tick), tick) == expected


def test_clamps_neither_cross_nor_improve_needlessly() -> None:
    assert clamp(74, 76, 7100, 7400, 100, 1) == (72, 76)
    assert clamp(80, 60, 7100, 7400, 100, 5) == (73, 72)
    assert clamp(74, 76, 0, 0, 100, 1) == (74, 76)
    assert clamp(80, 60, 7100, 0, 100, 1) == (72, 72)


def test_clamps_hold_when_the_others_stand_between_our_ticks() -> None:
    bid, ask = clamp(80, 60, 7125, 7375, 100, 5)
    assert bid * 100 < 7375
    assert ask * 100 > 7125
    assert (bid, ask) == (73, 72)


def test_quotes_that_meet_lose_the_side_that_grows_the_position() -> None:
    assert uncrossed(5000, 5000, 10) == (0, 5000)
    assert uncrossed(5000, 4900, -10) == (5000, 0)
    assert uncrossed(5000, 5000, 0) == (0, 0)
    assert uncrossed(4900, 5000, 0) == (4900, 5000)


@settings(max_examples=300, deadline=None)
@given(
    r=st.floats(-0.1, 1.1),
    delta=st.floats(0.002, 0.2),
    tick=st.sampled_from(TICKS),
    best_bid=st.integers(0, 9_998),
    gap=st.integers(1, 500),
    q=st.floats(-60, 60),
)
def test_prices_are_always_on_the_grid_uncrossed_and_post_only(
    r: float, delta: float, tick: int, best_bid: int, gap: int, q: float
) -> None:
    best_ask = min(best_bid + gap, 9_999)
    bid, ask = prices(Q50, r, delta, delta, tick, best_bid, best_ask, q)
    assert bid % tick == 0
    assert ask % tick == 0
    assert 0 <= bid < PX_ONE
    assert 0 <= ask < PX_ONE
    assert not bid or bid < best_ask
    assert not ask or not best_bid or ask > best_bid
    assert not (bid and ask) or bid < ask


def account(
    q: float = 0, up: int = 0, down: int = 0, cash: float = 1000, loss: float = 1000, capital: float = 1000
) -> Account:
    return Account(
        q=q,
        up_free=up * QTY_ONE,
        down_free=down * QTY_ONE,
        cash=round(cash * USD_ONE),
        loss_room=round(loss * USD_ONE),
        capital_room=round(capital * USD_ONE),
    )


def side(
    who: Account, *, bid: bool = True, px: int = 5000, reduce_only: bool = False, keep_route: Route = Route.NONE
) -> tuple[int, Route]:
    one = leg(
        Q50,
        who,
        bid=bid,
        px=px,
        min_qty=MIN,
        defensive=False,
        reduce_only=reduce_only,
        keep_route=keep_route,
    )
    assert (one == NO_LEG) == (one.px == 0) == (one.size == 0) == (one.route is Route.NONE)
    assert one.size % LOT == 0
    return one.size // QTY_ONE, one.route


@pytest.mark.parametrize(
    ("who", "bid", "expected"),
    [
        (account(), True, (50, Route.BUY_YES)),
        (account(), False, (50, Route.BUY_NO)),
        (account(q=-60, down=60), True, (50, Route.SELL_NO)),
        (account(q=60, up=60), False, (50, Route.SELL_YES)),
        (account(q=-30, down=30), True, (30, Route.SELL_NO)),
        (account(q=-4, down=4), True, (50, Route.BUY_YES)),
        (account(q=0, up=80, down=80), True, (50, Route.SELL_NO)),
        (account(cash=10), True, (20, Route.BUY_YES)),
        (account(cash=2), True, (0, Route.NONE)),
        (account(cash=0, q=-60, down=60), True, (50, Route.SELL_NO)),
        (account(capital=10), False, (20, Route.BUY_NO)),
    ],
)
def test_inventory_is_sold_before_cash_is_spent(who: Account, bid: bool, expected: tuple[int, Route]) -> None:
    assert side(who, bid=bid) == expected


def test_the_offer_pays_the_complement_of_its_price() -> None:
    assert side(account(cash=10), bid=False, px=8000) == (50, Route.BUY_NO)
    assert side(account(cash=10), bid=True, px=8000) == (12, Route.BUY_YES)


def test_reducing_only_quotes_the_shrinking_side_and_no_more_than_is_held() -> None:
    assert side(account(q=-30, down=30), reduce_only=True) == (30, Route.SELL_NO)
    assert side(account(q=30, up=30), reduce_only=True) == (0, Route.NONE)
    assert side(account(q=30, up=30), bid=False, reduce_only=True) == (30, Route.SELL_YES)
    assert side(account(), reduce_only=True) == (0, Route.NONE)
    assert side(account(q=-4, down=4), reduce_only=True) == (0, Route.NONE)


def test_size_stays_within_what_may_be_lost() -> None:
    assert side(account(loss=10)) == (20, Route.BUY_YES)
    assert side(account(loss=2)) == (0, Route.NONE)
    assert side(account(loss=0, q=-40, down=40)) == (40, Route.SELL_NO)


def test_a_route_stays_while_it_is_feasible() -> None:
    holding = account(q=-60, down=60)
    assert side(holding, keep_route=Route.BUY_YES) == (50, Route.BUY_YES)
    assert side(account(q=-60, down=60, cash=1), keep_route=Route.BUY_YES) == (50, Route.SELL_NO)
    assert side(account(), keep_route=Route.SELL_NO) == (50, Route.BUY_YES)


def test_two_buys_share_one_purse() -> None:
    bid = Leg(px=5000, size=50 * QTY_ONE, route=Route.BUY_YES)
    ask = Leg(px=6000, size=50 * QTY_ONE, route=Route.BUY_NO)
    assert within_cash(bid, ask, 45 * USD_ONE, MIN) == (bid, ask)
    less = within_cash(bid, ask, 22_500_000, MIN)
    assert [one.size // QTY_ONE for one in less] == [25, 25]
    assert within_cash(bid, ask, USD_ONE, MIN) == (NO_LEG, NO_LEG)
    sell = Leg(px=6000, size=50 * QTY_ONE, route=Route.SELL_YES)
    assert within_cash(bid, sell, USD_ONE, MIN) == (bid, sell)
