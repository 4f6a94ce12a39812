"""Limits: the worst case of everything that may fill."""

from __future__ import annotations

from itertools import product

import pytest
from desk_fake import DOWN, SYMBOL, UP, Bench, a_market, of, trade
from hypothesis import given
from hypothesis import strategies as st

from bot.execution.books import Orphan
from bot.execution.position import Positions
from bot.execution.risk import Limits, Risk
from bot.messages import MarketResolved, NewOrder, QuoteMode, Route, Side, TradeStatus
from bot.units import LOT, PX_ONE, QTY_ONE, USD_ONE


def exposed(asset: str, side: Side, px: int, shares: float) -> Orphan:
    return Orphan(
        first_ns=0, symbol=SYMBOL, asset_id=asset, side=side, px=px, exposure=round(shares * QTY_ONE), reports=[]
    )


def holding(up: float = 0, down: float = 0, px: int = 5000) -> Positions:
    positions = Positions()
    if up:
        positions.book(trade("a", up, exec_id="u", px=px), SYMBOL, UP, Side.BUY, 1)
    if down:
        positions.book(trade("a", down, exec_id="d", px=px), SYMBOL, DOWN, Side.BUY, 1)
    return positions


def room(risk: Risk, positions: Positions, orders: list[Orphan], *, up: bool, side: Side, px: int) -> float:
    use = risk.use(a_market(), positions, orders)
    return risk.room(use, use.capital, 10_000 * USD_ONE, up_token=up, side=side, px=px) / QTY_ONE


WIDE = Limits(q_max=10**12, order_size_max=10**12, loss_max_mkt=10**12, capital_max=10**12)


def limits(**given: int) -> Risk:
    return Risk(Limits(**{name: given.get(name, 10**12) for name in
                          ("q_max", "order_size_max", "loss_max_mkt", "capital_max")}))  # fmt: skip


def test_net_counts_every_order_that_may_fill_on_the_same_side() -> None:
    risk = limits(q_max=60 * QTY_ONE)
    orders = [exposed(UP, Side.BUY, 4900, 20), exposed(DOWN, Side.SELL, 5100, 5), exposed(DOWN, Side.BUY, 4800, 30)]
    assert room(risk, holding(up=10), orders, up=True, side=Side.BUY, px=4900) == 60 - 10 - 20 - 5
    assert room(risk, holding(up=10), orders, up=False, side=Side.BUY, px=4800) == 60 + 10 - 30
    assert room(risk, holding(up=10), orders, up=True, side=Side.SELL, px=5200) == 60 + 10 - 30


def test_the_settlement_loss_of_a_market_is_bounded_in_both_outcomes() -> None:
    risk = limits(loss_max_mkt=40 * USD_ONE)
    assert room(risk, holding(), [], up=True, side=Side.BUY, px=5000) == 80
    assert room(risk, holding(up=60), [], up=True, side=Side.BUY, px=5000) == 20
    # 60 Up bought at 0.50 lose 30 if Down wins; buying Down costs only where Up wins, and there 30 are won.
    assert room(risk, holding(up=60), [], up=False, side=Side.BUY, px=5000) == 140
    assert room(risk, holding(up=60), [exposed(UP, Side.BUY, 5000, 20)], up=True, side=Side.BUY, px=5000) == 0


def test_capital_and_cash_bound_what_is_bought_and_not_what_is_sold() -> None:
    risk = limits(capital_max=100 * USD_ONE)
    use = risk.use(a_market(), holding(up=20), [exposed(UP, Side.BUY, 5000, 20)])
    assert use.capital == 20 * USD_ONE
    assert risk.room(use, 90 * USD_ONE, 10**12, up_token=True, side=Side.BUY, px=5000) == 20 * QTY_ONE
    assert risk.room(use, 90 * USD_ONE, 3 * USD_ONE, up_token=True, side=Side.BUY, px=5000) == 6 * QTY_ONE
    assert risk.room(use, 90 * USD_ONE, -USD_ONE, up_token=True, side=Side.BUY, px=5000) == 0
    assert risk.room(use, 900 * USD_ONE, 0, up_token=True, side=Side.SELL, px=5000) > 10**9


def test_room_is_in_whole_lots() -> None:
    risk = limits(loss_max_mkt=10 * USD_ONE)
    assert (room(risk, holding(), [], up=True, side=Side.BUY, px=3300) * QTY_ONE) % LOT == 0


order_rows = st.tuples(st.sampled_from([UP, DOWN]), st.sampled_from(list(Side)), st.integers(1, 99), st.integers(1, 40))


@given(st.lists(order_rows, max_size=4), order_rows, st.integers(0, 60), st.integers(0, 60))
def test_whatever_fills_no_limit_is_broken_by_an_order_that_had_room(
    rows: list[tuple[str, Side, int, int]], new: tuple[str, Side, int, int], up: int, down: int
) -> None:
    risk = Risk(Limits(q_max=60 * QTY_ONE, order_size_max=50 * QTY_ONE, loss_max_mkt=40 * USD_ONE))
    positions = holding(up, down)
    orders = [exposed(asset, side, cents * 100, shares) for asset, side, cents, shares in rows]
    asset, side, cents, _ = new
    before = risk.use(a_market(), positions, orders)
    qty = risk.room(before, before.capital, 10**12, up_token=asset == UP, side=side, px=cents * 100)
    orders.append(exposed(asset, side, cents * 100, qty / QTY_ONE))
    use = risk.use(a_market(), positions, orders)
    if qty:
        assert use.net_worst <= max(60 * QTY_ONE, before.net_worst)
        assert use.loss_worst <= max(40 * USD_ONE, before.loss_worst) + 2
    for fills in product((0, 1), repeat=len(orders)):
        q_up, q_down, paid = up * QTY_ONE, down * QTY_ONE, positions.of(SYMBOL).invested
        for filled, order in zip(fills, orders, strict=True):
            sign = filled * (1 if order.side is Side.BUY else -1)
            paid += sign * order.px * order.exposure // PX_ONE
            q_up += sign * order.exposure * (order.asset_id == UP)
            q_down += sign * order.exposure * (order.asset_id == DOWN)
        assert abs(q_up - q_down) <= use.net_worst
        assert paid - min(q_up, q_down) <= use.loss_worst + 4


def test_an_order_is_cut_to_the_room_and_left_out_below_the_minimum() -> None:
    bench = Bench(limits=Limits(q_max=12 * QTY_ONE))
    assert of(NewOrder, bench.intent(bid=5000))[0].order_qty == 12 * QTY_ONE
    bench = Bench(limits=Limits(q_max=4 * QTY_ONE))
    assert of(NewOrder, bench.intent(bid=5000)) == []


def test_a_cut_order_is_kept_when_the_wish_stays_larger() -> None:
    bench = Bench(limits=Limits(q_max=8 * QTY_ONE))
    bench.intent(bid=5000)
    assert bench.intent(bid=5000) == []


def test_the_most_open_orders_are_never_passed() -> None:
    bench = Bench(limits=Limits(open_orders_max=1))
    assert len(of(NewOrder, bench.intent(bid=4900, offer=5200))) == 1


def test_a_price_far_from_our_own_fair_value_is_not_sent() -> None:
    bench = Bench(limits=Limits(collar=500))
    assert of(NewOrder, bench.intent(bid=4400, fair_e6=500_000)) == []
    assert of(NewOrder, bench.intent(bid=4500, fair_e6=500_000))


def test_shares_that_are_not_settled_are_not_sold_but_mirrored() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20))
    bench.resting.clear()
    bench.intent()
    (offer,) = of(NewOrder, bench.intent(offer=5300, offer_route=Route.SELL_YES))
    assert (offer.side, offer.asset_id, offer.px) == (Side.BUY, DOWN, 4700)
    bench.tell(trade(bench.order().order_id, 20, status=TradeStatus.MINED))
    assert (
        bench.intent(offer=5300, offer_route=Route.SELL_YES) == []
    )  # the mirror may stay: it has its place in the queue
    (offer,) = of(NewOrder, bench.intent(offer=5400, offer_route=Route.SELL_YES))
    assert (offer.side, offer.asset_id, offer.px) == (Side.SELL, UP, 5400)
    assert (offer.maker_amount, offer.taker_amount) == (20_000_000, 10_800_000)


def test_a_reducing_order_never_rests_larger_than_wanted() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    said = bench.intent(bid=5000, size=15, quote_mode=QuoteMode.REDUCE_ONLY)
    assert of(NewOrder, said)[0].order_qty == 15 * QTY_ONE


def test_the_loss_of_a_day_halts() -> None:
    bench = Bench(limits=Limits(loss_max_day=9 * USD_ONE))
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20))
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=DOWN))
    assert bench.state.value == "halted"


def test_a_new_day_forgets_the_losses_of_the_last() -> None:
    risk = Risk(Limits(loss_max_day=10 * USD_ONE))
    risk.realise(-9 * USD_ONE, 1)
    risk.realise(-9 * USD_ONE, 2)
    assert not risk.day_lost


@pytest.mark.parametrize("name", ["q_max", "loss_max_mkt", "capital_max", "loss_max_day", "open_orders_max"])
def test_every_limit_is_reported_with_what_is_used_of_it(name: str) -> None:
    assert set(Risk(Limits()).report([], 3)[name]) == {"used", "max"}
