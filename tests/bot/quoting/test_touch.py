"""The others' top of book, without our own orders."""

from __future__ import annotations

import pytest

from bot.market import Market, Rule
from bot.messages import OrderState, Side, WorkingOrder
from bot.quoting.touch import NO_TOUCH, Touch, touch_of
from bot.units import QTY_ONE

MARKET = Market(
    symbol="m",
    slug="m",
    series="s",
    asset="btc",
    up_token="up",
    down_token="down",
    version=2,
    rule=Rule.TWAP,
    window_s=60,
    start_utc_ns=0,
    end_utc_ns=1,
    tick=100,
    min_qty=5 * QTY_ONE,
    fee_rate=0.07,
)


def order(asset: str, side: Side, px: int, shares: int, state: OrderState = OrderState.WORKING) -> WorkingOrder:
    return WorkingOrder(
        cl_ord_id="c", order_id="o", asset_id=asset, side=side, px=px, leaves_qty=shares * QTY_ONE, state=state
    )


BIDS = ((7300, 20 * QTY_ONE), (7200, 100 * QTY_ONE))
ASKS = ((7600, 20 * QTY_ONE), (7700, 100 * QTY_ONE))


@pytest.mark.parametrize(
    ("working", "expected"),
    [
        ((), (7300, 7600)),
        ((order("up", Side.BUY, 7300, 20),), (7200, 7600)),
        ((order("up", Side.BUY, 7300, 19),), (7300, 7600)),
        ((order("up", Side.BUY, 7300, 10), order("down", Side.SELL, 2700, 10)), (7200, 7600)),
        ((order("up", Side.SELL, 7600, 20),), (7300, 7700)),
        ((order("down", Side.BUY, 2400, 20),), (7300, 7700)),
        ((order("up", Side.BUY, 7300, 20, OrderState.PENDING_NEW),), (7300, 7600)),
        ((order("up", Side.BUY, 7300, 20, OrderState.PENDING_CANCEL),), (7200, 7600)),
    ],
)
def test_our_own_size_is_taken_out_of_the_book(working: tuple[WorkingOrder, ...], expected: tuple[int, int]) -> None:
    touch = touch_of(BIDS, ASKS, working, MARKET)
    assert (touch.bid, touch.ask) == expected


def test_a_book_of_ours_alone_has_no_others() -> None:
    assert touch_of(BIDS[:1], (), (order("up", Side.BUY, 7300, 20),), MARKET) == NO_TOUCH


def test_microprice_leans_to_the_thinner_side_and_imbalance_to_the_thicker_one() -> None:
    touch = Touch(bid=7400, bid_qty=300 * QTY_ONE, ask=7600, ask_qty=100 * QTY_ONE)
    assert touch.micro == pytest.approx(0.755)
    assert touch.imbalance == pytest.approx(0.5)
    assert touch.spread == pytest.approx(0.02)


def test_a_one_sided_book_has_neither() -> None:
    touch = Touch(bid=7400, bid_qty=300 * QTY_ONE)
    assert (touch.micro, touch.imbalance) == (0, 0)
    assert touch.spread > 1
