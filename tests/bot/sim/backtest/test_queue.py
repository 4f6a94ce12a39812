"""Places in a recorded queue: a trade fills us when it came past those ahead of us, and never before."""

from __future__ import annotations

import pytest

from bot.caches import BookView
from bot.market import Market, Rule
from bot.messages import NewOrder, Side
from bot.sim.backtest.queue import Queue
from bot.sim.backtest.scene import RecordedWallet, sim_market
from bot.sim.exchange import Exchange
from bot.sim.trial.wallet import OWNER
from bot.units import NS_PER_S, QTY_ONE, Px

MARKET = Market(
    symbol="0xabc", slug="btc-updown-5m-1793750400", series="btc-updown-5m", asset="btc", up_token="1", down_token="2",
    version=2, rule=Rule.TWAP, window_s=60, start_utc_ns=1_793_750_400 * NS_PER_S, end_utc_ns=1_793_750_700 * NS_PER_S,
    tick=100, min_qty=5 * QTY_ONE, fee_rate=0.07,
)  # fmt: skip
NOW_MS = 1_793_750_410_000


def view(bids: dict[Px, int], asks: dict[Px, int]) -> BookView:
    def side(levels: dict[Px, int], best_first: int) -> tuple[tuple[Px, int], ...]:
        return tuple(sorted(((px, qty * QTY_ONE) for px, qty in levels.items()), key=lambda one: best_first * one[0]))

    return BookView(bids=side(bids, -1), asks=side(asks, 1), tick=100, recv_ns=0, changed_ns=0)


class Desk:
    """A wallet, its queue, and the book of others that a test sets."""

    def __init__(self) -> None:
        self.book: BookView | None = view({5200: 100, 5100: 300}, {5300: 50, 5400: 80})
        self.exchange = Exchange()
        self.exchange.list_market(sim_market(MARKET, NOW_MS), NOW_MS)
        self.queue = Queue(self.exchange, lambda symbol: self.book)
        self.wallet = RecordedWallet(self.exchange, self.queue, {MARKET.symbol: MARKET})
        self.made = 0

    def place(self, side: Side, px: Px, shares: int, token: str = "1") -> str:
        self.made += 1
        order_id = f"0x{self.made:064x}"
        order = NewOrder(
            cl_ord_id=f"c{self.made}", order_id=order_id, symbol=MARKET.symbol, asset_id=token, side=side, px=px,
            order_qty=shares * QTY_ONE, maker_amount=0, taker_amount=0, salt=self.made, timestamp_ms=NOW_MS, version=2,
            neg_risk=False, tick=100, epoch=0, valid_until_ns=1 << 62, made_ns=0,
        )  # fmt: skip
        (self.answer,) = self.wallet.post([order], NOW_MS, 0)
        return order_id

    def filled(self, order_id: str) -> float:
        order = self.exchange.order(order_id)
        assert order is not None
        return order.matched / QTY_ONE

    def sold(self, px: Px, shares: float) -> None:
        """Somebody sold Up into the bids."""
        self.queue.traded(MARKET.symbol, True, px, round(shares * QTY_ONE), NOW_MS)

    def bought(self, px: Px, shares: float) -> None:
        self.queue.traded(MARKET.symbol, False, px, round(shares * QTY_ONE), NOW_MS)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_ahead_of_us_is_traded_first(desk: Desk) -> None:
    order = desk.place(Side.BUY, 5200, 20)
    desk.sold(5200, 100)
    assert desk.filled(order) == 0
    desk.sold(5200, 10)
    assert desk.filled(order) == 3  # of what goes on behind those ahead, no more than 30 % of the trade


def test_those_ahead_of_us_never_cancel(desk: Desk) -> None:
    order = desk.place(Side.BUY, 5200, 20)
    desk.book = view({5200: 1}, {5300: 50})
    desk.queue.quoted(NOW_MS)
    desk.sold(5200, 60)
    assert desk.filled(order) == 0


def test_a_price_of_our_own_has_nobody_ahead(desk: Desk) -> None:
    desk.book = view({5200: 100}, {5400: 80})
    order = desk.place(Side.BUY, 4700, 20, token="2")
    desk.bought(5300, 40)  # a bid for Down at 0.47 offers Up at 0.53
    assert desk.filled(order) == 12


def test_a_trade_through_our_price_fills_us_up_to_its_size(desk: Desk) -> None:
    order = desk.place(Side.BUY, 5200, 20)
    desk.sold(5100, 15)
    assert desk.filled(order) == 15
    desk.sold(5100, 15)
    assert desk.filled(order) == 20


def test_a_trade_is_not_given_away_twice(desk: Desk) -> None:
    first, second = desk.place(Side.BUY, 5200, 20), desk.place(Side.BUY, 5100, 20)
    desk.sold(5000, 30)
    assert (desk.filled(first), desk.filled(second)) == (20, 10)
    desk.book = view({}, {5300: 50})
    third, fourth = desk.place(Side.BUY, 5200, 20), desk.place(Side.BUY, 5200, 20)
    desk.sold(5200, 60)
    assert (desk.filled(third), desk.filled(fourth)) == (18, 0)


def test_trades_with_the_other_side_are_none_of_our_business(desk: Desk) -> None:
    order = desk.place(Side.BUY, 5200, 20)
    desk.bought(5300, 500)
    desk.bought(5100, 500)
    assert desk.filled(order) == 0


def test_a_touch_fills_nothing_and_an_offer_at_our_bid_does(desk: Desk) -> None:
    order = desk.place(Side.BUY, 5200, 20)
    desk.book = view({5200: 100}, {5201: 50})
    desk.queue.quoted(NOW_MS)
    assert desk.filled(order) == 0
    desk.book = view({5100: 100}, {5200: 8})
    desk.queue.quoted(NOW_MS)
    assert desk.filled(order) == 8
    desk.book = None
    desk.queue.quoted(NOW_MS)
    assert desk.filled(order) == 8


@pytest.mark.parametrize(("side", "px", "token"), [(Side.BUY, 5300, "1"), (Side.BUY, 4800, "2"), (Side.BUY, 9000, "1")])
def test_an_order_that_crosses_the_book_is_refused_as_post_only(desk: Desk, side: Side, px: Px, token: str) -> None:
    order = desk.place(side, px, 20, token)
    assert "post-only" in desk.answer.text  # type: ignore[attr-defined]
    assert desk.exchange.order(order) is None


def test_where_nothing_is_known_of_the_book_nothing_rests(desk: Desk) -> None:
    desk.book = None
    assert desk.exchange.order(desk.place(Side.BUY, 100, 20)) is None


def test_what_was_cancelled_is_not_filled(desk: Desk) -> None:
    order = desk.place(Side.BUY, 5200, 20)
    desk.exchange.cancel_all(OWNER, NOW_MS)
    desk.sold(5000, 500)
    assert desk.filled(order) == 0


def test_the_money_is_right_however_it_was_filled(desk: Desk) -> None:
    desk.place(Side.BUY, 5200, 20)
    desk.place(Side.BUY, 4700, 20, token="2")
    desk.sold(5100, 12.34)
    desk.bought(5400, 7.5)
    assert desk.exchange.imbalance() == 0
