"""Limits: the worst case of everything that may fill. Each limit is broken by a test, and none stops a cancel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TypeVar

import msgspec
import pytest
from desk_fake import DOWN, SYMBOL, UP, UTC0, Bench, a_market, acked, of, trade
from hypothesis import given
from hypothesis import strategies as st

from bot.execution.books import Orphan
from bot.execution.budget import Rates
from bot.execution.executor import DAY_NS
from bot.execution.position import Positions
from bot.execution.risk import UNITS, Limits, Risk, TokenUse, Total, Use, limits_of, total
from bot.messages import (
    BotState,
    CancelOrder,
    ExecType,
    ExecutionReport,
    Fail,
    Halt,
    MarketListed,
    MarketResolved,
    MassCancel,
    NewOrder,
    OrderState,
    OrderStatusRequest,
    OutcomeUnknown,
    QuoteMode,
    Reject,
    Request,
    Resume,
    Route,
    Side,
    Source,
    TradeStatus,
)
from bot.settings import Settings
from bot.units import LOT, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE

WIDE = 10**12


def exposed(asset: str, side: Side, px: int, shares: float) -> Orphan:
    return Orphan(first_ns=0, symbol=SYMBOL, asset_id=asset, side=side, px=px, told=round(shares * QTY_ONE))


def holding(up: float = 0, down: float = 0, px: int = 5000) -> Positions:
    positions = Positions()
    if up:
        positions.book(trade("a", up, exec_id="u", px=px), SYMBOL, UP, Side.BUY, 1)
    if down:
        positions.book(trade("a", down, exec_id="d", px=px), SYMBOL, DOWN, Side.BUY, 1)
    return positions


def limits(**given: int) -> Risk:
    """Only what is given binds."""
    return Risk(Limits(**{name: given.get(name, WIDE) for name in Limits.__struct_fields__}))


def room(
    risk: Risk,
    positions: Positions,
    orders: list[Orphan],
    *,
    up: bool,
    side: Side,
    px: int,
    others: Total | None = None,
    cash: int = WIDE,
) -> float:
    use = risk.use(a_market(), positions, orders)
    all_ = total([use])
    if others is not None:
        all_ = Total(**{name: getattr(all_, name) + getattr(others, name) for name in Total.__struct_fields__})
    size = risk.room(use, all_, cash, up_token=up, side=side, px=px)
    assert type(size) is int
    return size / QTY_ONE


# -- the worst case --------------------------------------------------------------------------------------------------


def test_net_counts_every_order_that_may_fill_on_the_same_side() -> None:
    risk = limits(q_max=60 * QTY_ONE)
    orders = [exposed(UP, Side.BUY, 4900, 20), exposed(DOWN, Side.SELL, 5100, 5), exposed(DOWN, Side.BUY, 4800, 30)]
    assert room(risk, holding(up=10), orders, up=True, side=Side.BUY, px=4900) == 60 - 10 - 20 - 5
    assert room(risk, holding(up=10), orders, up=False, side=Side.SELL, px=5100) == 60 - 10 - 20 - 5
    assert room(risk, holding(up=10), orders, up=False, side=Side.BUY, px=4800) == 60 + 10 - 30
    assert room(risk, holding(up=10), orders, up=True, side=Side.SELL, px=5200) == 60 + 10 - 30


def test_what_a_market_uses_is_counted_by_token_side_and_outcome() -> None:
    orders = [
        exposed(UP, Side.BUY, 4900, 20),
        exposed(UP, Side.SELL, 5500, 4),
        exposed(DOWN, Side.BUY, 4000, 10),
        exposed(DOWN, Side.SELL, 6000, 0),  # nothing of it is left
    ]
    use = Risk(Limits()).use(a_market(), holding(up=10, down=3), orders)
    assert (use.net, use.long, use.short) == tuple(q * QTY_ONE for q in (7, 7 + 20, 7 - 4 - 10))
    assert (use.up.shares, use.up.selling, use.up.orders) == (30 * QTY_ONE, 4 * QTY_ONE, 2)
    assert (use.down.shares, use.down.selling, use.down.orders) == (13 * QTY_ONE, 0, 1)
    assert (use.up.notional, use.down.notional) == (14_800_000, 5_500_000)
    assert (use.invested, use.buying, use.capital) == (6_500_000, 13_800_000, 20_300_000)
    # If Up wins: 6.50 paid and 10 won, the sale loses 0.45 a share and the Down bought its price.
    assert use.loss_up == 6_500_000 - 10_000_000 + 4 * 450_000 + 10 * 400_000
    assert use.loss_down == 6_500_000 - 3_000_000 + 20 * 490_000
    assert (use.net_worst, use.loss_worst) == (27 * QTY_ONE, use.loss_down)
    both = total([use, use])
    assert both == Total(shares=86 * QTY_ONE, capital=40_600_000, buying=27_600_000, loss=2 * use.loss_down)


def test_every_order_counts_also_after_one_of_which_nothing_is_left() -> None:
    sells = [exposed(UP, Side.SELL, 5000, 0), exposed(UP, Side.SELL, 5000, 4), exposed(UP, Side.SELL, 5100, 3)]
    use = Risk(Limits()).use(a_market(), holding(up=10), sells)
    assert (use.up.selling, use.up.orders, use.short) == (7 * QTY_ONE, 2, 3 * QTY_ONE)


NOTHING = {"net": 0, "long": 0, "short": 0, "loss_up": 0, "loss_down": 0, "invested": 0}
AT_LIMITS: list[tuple[str, dict[str, int], dict[str, int]]] = [
    ("q_max", {"long": 7}, {}),
    ("q_max", {"short": -7}, {}),
    ("loss_max_mkt", {"loss_up": 7}, {}),
    ("loss_max_mkt", {"loss_down": 7}, {}),
    ("mkt_notional_max", {"invested": 3, "buying": 4}, {}),
    ("shares_max", {}, {"shares": 7}),
    ("capital_max", {}, {"capital": 7}),
    ("loss_max_all", {}, {"loss": 5}),  # and 2 were lost today
]


@pytest.mark.parametrize(("name", "market", "all_"), AT_LIMITS)
def test_a_limit_is_passed_only_by_more_than_it(name: str, market: dict[str, int], all_: dict[str, int]) -> None:
    use = Use(up=TokenUse(shares=0, notional=0), down=TokenUse(shares=0, notional=0), **{**NOTHING, **market})
    for most, passed in ((7, False), (6, True)):
        risk = limits(**{name: most})
        risk.realised_day = -2
        assert risk.passed(use, Total(**all_)) is passed


@pytest.mark.parametrize("token", ["up", "down"])
@pytest.mark.parametrize(("name", "what"), [("token_shares_max", "shares"), ("token_notional_max", "notional")])
def test_a_limit_of_a_token_is_passed_only_by_more_than_it(token: str, name: str, what: str) -> None:
    nothing = {"shares": 0, "notional": 0}
    uses = {side: TokenUse(**{**nothing, what: 7} if side == token else nothing) for side in ("up", "down")}
    use = Use(**uses, **NOTHING)  # type: ignore[arg-type]
    assert [limits(**{name: most}).passed(use, Total()) for most in (7, 6)] == [False, True]


def test_a_market_that_can_only_win_uses_nothing_of_any_loss() -> None:
    use = Risk(Limits()).use(a_market(), holding(up=10, down=10, px=4000), [])
    assert (use.loss_up, use.loss_down, use.loss_worst, use.net_worst) == (-2_000_000, -2_000_000, 0, 0)
    sold = Positions()
    sold.book(trade("a", 5, px=4000), SYMBOL, UP, Side.SELL, 1)
    assert Risk(Limits()).use(a_market(), sold, []).capital == 0  # money came in


@pytest.mark.parametrize("px", [3333, 6667])
def test_a_worst_case_is_rounded_up(px: int) -> None:
    orders = [exposed(UP, Side.BUY, px, 0.000001), exposed(UP, Side.SELL, px, 0.000001)]
    use = Risk(Limits()).use(a_market(), Positions(), orders)
    assert (use.loss_down, use.loss_up, use.buying, use.up.notional) == (1, 1, 1, 1)


def test_the_settlement_loss_of_a_market_is_bounded_in_both_outcomes() -> None:
    risk = limits(loss_max_mkt=40 * USD_ONE)
    assert room(risk, holding(), [], up=True, side=Side.BUY, px=5000) == 80
    assert room(risk, holding(up=60), [], up=True, side=Side.BUY, px=5000) == 20
    # 60 Up bought at 0.50 lose 30 if Down wins; buying Down costs only where Up wins, and there 30 are won.
    assert room(risk, holding(up=60), [], up=False, side=Side.BUY, px=5000) == 140
    assert room(risk, holding(up=60), [exposed(UP, Side.BUY, 5000, 20)], up=True, side=Side.BUY, px=5000) == 0
    # Sold at 0.25 they lose 0.75 each where Up wins, and there 30 are won.
    assert room(risk, holding(up=60), [], up=True, side=Side.SELL, px=2500) == 93.33


def test_what_all_markets_may_lose_and_what_the_day_has_lost_bounds_each() -> None:
    risk = limits(loss_max_all=60 * USD_ONE)
    risk.roll(1)
    risk.realised_day = -10 * USD_ONE
    others = Total(loss=20 * USD_ONE)
    assert room(risk, holding(up=20), [], up=True, side=Side.BUY, px=5000, others=others) == (60 - 10 - 20 - 10) * 2
    risk.realised_day = 10 * USD_ONE  # a good day is no reason to lose more
    assert room(risk, holding(up=20), [], up=True, side=Side.BUY, px=5000, others=others) == (60 - 20 - 10) * 2


@pytest.mark.parametrize("name", ["capital_max", "mkt_notional_max", "token_notional_max", "cash"])
def test_money_bounds_what_is_bought_and_not_what_is_sold(name: str) -> None:
    most = 30 * USD_ONE
    risk = limits() if name == "cash" else limits(**{name: most})
    cash = most - 20 * USD_ONE if name == "cash" else WIDE
    positions, orders = holding(up=20), [exposed(UP, Side.BUY, 5000, 20)]
    assert room(risk, positions, orders, up=True, side=Side.BUY, px=5000, cash=cash) == 20
    assert room(risk, positions, orders, up=True, side=Side.SELL, px=5000, cash=0) > 1000
    if name == "capital_max":
        others = Total(capital=7 * USD_ONE)
        assert room(risk, positions, orders, up=True, side=Side.BUY, px=5000, others=others) == 6
    if name == "token_notional_max":
        assert room(risk, positions, orders, up=False, side=Side.BUY, px=5000) == 60
    assert room(limits(), positions, orders, up=True, side=Side.BUY, px=5000, cash=-1) == 0


@pytest.mark.parametrize("name", ["token_shares_max", "shares_max"])
def test_shares_bound_what_is_bought_and_not_what_is_sold(name: str) -> None:
    risk = limits(**{name: 50 * QTY_ONE})
    positions, orders = holding(up=10, down=5), [exposed(UP, Side.BUY, 5000, 20), exposed(DOWN, Side.BUY, 5000, 2)]
    left = {"token_shares_max": (20, 43), "shares_max": (13, 13)}[name]
    assert room(risk, positions, orders, up=True, side=Side.BUY, px=5000) == left[0]
    assert room(risk, positions, orders, up=False, side=Side.BUY, px=5000) == left[1]
    assert room(risk, positions, orders, up=True, side=Side.SELL, px=5000) > 1000
    others = Total(shares=3 * QTY_ONE)
    assert room(risk, positions, orders, up=True, side=Side.BUY, px=5000, others=others) == (
        20 if name == "token_shares_max" else 10
    )


@pytest.mark.parametrize("side", list(Side))
def test_size_and_notional_bound_one_order(side: Side) -> None:
    assert room(limits(order_size_max=7 * QTY_ONE), holding(), [], up=True, side=side, px=5000) == 7
    assert room(limits(order_notional_max=7 * USD_ONE), holding(), [], up=True, side=side, px=4000) == 17.5


def test_room_is_in_whole_lots_and_never_negative() -> None:
    risk = limits(loss_max_mkt=10 * USD_ONE)
    assert (room(risk, holding(), [], up=True, side=Side.BUY, px=3300) * QTY_ONE) % LOT == 0
    assert room(risk, holding(up=100), [], up=True, side=Side.BUY, px=3300) == 0


def test_the_cheapest_share_can_be_lost_too_and_what_cannot_be_lost_is_not_bound() -> None:
    risk = limits(loss_max_mkt=USD_ONE // 1000)
    assert room(risk, holding(), [], up=True, side=Side.BUY, px=1) == 10
    assert room(risk, holding(), [], up=True, side=Side.SELL, px=PX_ONE - 1) == 10
    risk = limits(loss_max_mkt=USD_ONE // 1000, order_size_max=20 * QTY_ONE)
    assert room(risk, holding(), [], up=True, side=Side.SELL, px=PX_ONE) == 20


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
    qty = risk.room(before, total([before]), WIDE, up_token=asset == UP, side=side, px=cents * 100)
    orders.append(exposed(asset, side, cents * 100, qty / QTY_ONE))
    use = risk.use(a_market(), positions, orders)
    if qty:
        assert use.net_worst <= max(60 * QTY_ONE, before.net_worst)
        assert use.loss_worst <= max(40 * USD_ONE, before.loss_worst) + 2
        assert risk.passed(use, total([use])) <= risk.passed(before, total([before]))
    for fills in product((0, 1), repeat=len(orders)):
        q_up, q_down, paid = up * QTY_ONE, down * QTY_ONE, positions.of(SYMBOL).invested
        for filled, order in zip(fills, orders, strict=True):
            sign = filled * (1 if order.side is Side.BUY else -1)
            paid += sign * order.px * order.exposure // PX_ONE
            q_up += sign * order.exposure * (order.asset_id == UP)
            q_down += sign * order.exposure * (order.asset_id == DOWN)
        assert abs(q_up - q_down) <= use.net_worst
        assert paid - min(q_up, q_down) <= use.loss_worst + 4
        assert (q_up, q_down) <= (use.up.shares, use.down.shares) or q_up <= use.up.shares


# -- each limit, broken ----------------------------------------------------------------------------------------------

BROKEN: set[str] = set()
Test = TypeVar("Test", bound=Callable[..., None])


def breaks(*names: str) -> Callable[[Test], Test]:
    BROKEN.update(names)
    return lambda test: test


def row(bench: Bench, name: str) -> tuple[float, float]:
    """What the status says is used of a limit, and what is allowed."""
    said = bench.executor.status_report().body["risk"][name]
    assert set(said) == {"used", "max", "unit"} and said["unit"]
    return said["used"], said["max"]


def two_markets(**given: int) -> Bench:
    bench = Bench(limits=Limits(**given))
    bench.tell(MarketListed(market=a_market("0xb", "u2", "d2")))
    return bench


def sizes(said: list[object]) -> list[float]:
    return [message.order_qty / QTY_ONE for message in said if isinstance(message, NewOrder)]


SHARES = {"order_size_max": 12, "token_shares_max": 12, "q_max": 12, "shares_max": 12}
MONEY = {
    "order_notional_max": 6, "token_notional_max": 6, "mkt_notional_max": 6, "loss_max_mkt": 6, "capital_max": 6,
    "loss_max_all": 6,
}  # fmt: skip


@breaks(*SHARES, *MONEY)
@pytest.mark.parametrize(("name", "most"), [*SHARES.items(), *MONEY.items()])
def test_an_order_is_cut_to_what_a_limit_leaves(name: str, most: int) -> None:
    bench = Bench(limits=Limits(**{name: most * 1_000_000}))
    assert sizes(bench.intent(bid=5000)) == [12]  # shares, or 6 USD of them
    assert row(bench, name) == (most, most)
    assert bench.intent(bid=5000) == []  # a wish that stays larger moves nothing
    bench = Bench(limits=Limits(**{name: most * 1_000_000 // 3}))
    assert sizes(bench.intent(bid=5000)) == []  # less than the venue takes
    assert row(bench, name)[0] == 0


@pytest.mark.parametrize("name", ["shares_max", "capital_max", "loss_max_all"])
def test_limits_on_everything_count_the_other_markets(name: str) -> None:
    bench = two_markets(**{name: (30 if name == "shares_max" else 15) * 1_000_000})
    assert sizes(bench.intent(bid=5000)) == [20]
    assert sizes(bench.intent(bid=5000, symbol="0xb")) == [10]
    assert row(bench, name)[0] == row(bench, name)[1]


@breaks("token_orders_max", "mkt_orders_max", "open_orders_max")
def test_the_most_orders_of_a_token_a_market_and_all_are_never_passed() -> None:
    bench = Bench(limits=Limits(open_orders_max=1))
    assert len(sizes(bench.intent(bid=4900, offer=5200))) == 1
    assert row(bench, "open_orders_max") == (1, 1)

    bench = Bench(limits=Limits(mkt_orders_max=1))
    bench.tell(MarketListed(market=a_market("0xb", "u2", "d2")))
    assert len(sizes(bench.intent(bid=4900, offer=5200))) == 1
    assert len(sizes(bench.intent(bid=4900, offer=5200, symbol="0xb"))) == 1
    assert row(bench, "mkt_orders_max") == (1, 1)

    bench = Bench(limits=Limits(mkt_orders_max=2))
    assert len(sizes(bench.intent(bid=4900, offer=5200))) == 2  # one of each token
    bench.tell(trade("0xforeign", 1, symbol=SYMBOL, asset_id=DOWN, side=Side.BUY))
    bench.tell(ExecutionReport(order_id=bench.order().order_id, exec_type=ExecType.CANCELED, source=Source.USER))
    assert sizes(bench.intent(bid=4800, offer=5200)) == []

    for first in ("bid", "offer"):
        routes = {"bid_route": Route.BUY_YES, "offer_route": Route.SELL_YES}
        if first == "offer":  # both of Down
            routes = {"bid_route": Route.SELL_NO, "offer_route": Route.BUY_NO}
        bench = Bench(limits=Limits(token_orders_max=1, q_max=WIDE))
        bench.executor.positions = holding(up=40, down=40)
        bench.executor.positions.unsettled.clear()
        bench.executor.positions.cash = 500 * USD_ONE
        bench.executor.mark(SYMBOL)
        bench.tick()
        assert len(sizes(bench.intent(bid=4900, offer=5200, **routes))) == 1  # type: ignore[arg-type]
        assert row(bench, "token_orders_max") == (1, 1)
        bench.resting.clear()


def test_an_orphan_and_an_order_with_a_debt_count_as_orders_that_may_be_live() -> None:
    bench = Bench(limits=Limits(open_orders_max=2), obey=False)
    bench.tell(trade("0xforeign", 1, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    assert row(bench, "open_orders_max") == (1, 2)
    assert len(sizes(bench.intent(bid=4900, offer=5200))) == 1


@breaks("collar")
@pytest.mark.parametrize("fair", [400_000, 600_000])
def test_a_price_far_from_our_own_fair_value_is_not_sent(fair: int) -> None:
    bench = Bench(limits=Limits(collar=500))
    px = fair // 100
    for bid in (px - 600, px + 600):
        assert sizes(bench.intent(bid=bid, fair_e6=fair)) == []
        bench.tick()  # the same intent is not told of again
    assert sizes(bench.intent(bid=px - 500, fair_e6=fair)) == [20]
    assert row(bench, "collar") == (0.05, 0.05)
    assert sizes(bench.intent(bid=px - 500, offer=px + 500, fair_e6=fair)) == [20]
    assert [(alert.level, alert.text) for alert in bench.executor.alerts] == [
        (2, f"bid {bid} is too far from fair {px}") for bid in (px - 600, px + 600)
    ]


def test_a_collar_is_in_whole_price_units_and_said_so() -> None:
    bench = Bench(limits=Limits(collar=500))
    bench.intent(bid=4400, fair_e6=512_399)
    assert bench.executor.alerts[-1].text == "bid 4400 is too far from fair 5123"


def test_without_a_fair_value_there_is_no_collar() -> None:
    bench = Bench(limits=Limits(collar=500))
    assert sizes(bench.intent(bid=900)) == [20]
    assert row(bench, "collar")[0] == 0


@breaks("unsettled_max")
def test_shares_that_never_reach_the_chain_stop_new_orders_of_their_token() -> None:
    bench = Bench(limits=Limits(unsettled_max=20 * QTY_ONE))
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20))
    bench.resting.clear()
    bench.intent()
    bench.now += 61 * NS_PER_S
    assert sizes(bench.intent(bid=4900)) == [20]  # as many as the limit are not more than it

    bench = Bench(limits=Limits(unsettled_max=19 * QTY_ONE))
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20))
    bench.resting.clear()
    bench.intent()
    bench.now += 60 * NS_PER_S
    assert sizes(bench.intent(bid=4900)) == [20]
    assert row(bench, "unsettled_max") == (0, 19)
    bench.intent()
    bench.now += 1
    assert sizes(bench.intent(bid=4900)) == []
    assert row(bench, "unsettled_max") == (20, 19)
    assert sizes(bench.intent(offer=5200)) == [20]  # of Down
    bench.tell(trade(bench.order().order_id, 20, status=TradeStatus.MINED))
    assert sizes(bench.intent(bid=4900)) == [20]


@breaks("repeats_soft", "repeats_max")
def test_the_same_order_again_and_again_cools_its_side_down_and_then_halts() -> None:
    bench = Bench(limits=Limits(repeats_soft=3, repeats_max=99))
    sent = sum(len(sizes(bench.intent(bid=5000 if n % 2 else 0) + bench.tick())) for n in range(12))
    assert (sent, row(bench, "repeats_soft")) == (3, (3, 3))
    assert bench.state is BotState.QUOTING
    assert sizes(bench.intent(bid=4900)) == []  # the whole side waits
    assert sizes(bench.intent(offer=5200)) == [20]
    bench.run(2)
    assert sizes(bench.intent(bid=4900)) == [20]

    bench = Bench(limits=Limits(repeats_soft=99))  # as if the first throttle did nothing
    for n in range(41):
        assert bench.state is BotState.QUOTING
        bench.tick()
        bench.intent(bid=5000 if n % 2 else 0)
    assert len(of(NewOrder, bench.sent)) == 20 == row(bench, "repeats_max")[0]
    assert bench.tick() == []
    bench.intent()
    said = bench.intent(bid=5000)
    assert [halt.reason for halt in of(Halt, said)] == [
        "the same bid was sent 20 times in ten seconds and never filled"
    ]
    assert of(NewOrder, said) == [] and bench.state is BotState.HALTED


def test_orders_of_other_prices_or_of_long_ago_or_with_a_fill_are_no_repetition() -> None:
    bench = Bench(limits=Limits(repeats_soft=2))
    for px in (5000, 4900, 5000, 4900):
        assert sizes(bench.intent(bid=px)) == [20]
    assert sizes(bench.intent(bid=5000)) == []
    bench.run(9.8)
    assert sizes(bench.intent(bid=4900)) == []
    assert sizes(bench.run(2.2)) == [20]  # the throttle cooled the side down
    bench.tell(trade(bench.order(-1).order_id, 5))
    bench.resting.clear()
    bench.intent()
    for _ in range(2):
        assert sizes(bench.intent(bid=4900)) == [20]
        bench.intent()


@breaks("wishes")
def test_more_orders_than_intents_asked_for_halt() -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200)
    bench.intent()
    bench.intent(bid=4900)
    assert row(bench, "wishes") == (3, 3)
    bench.intent()
    bench.executor.counts["placed"] += 1  # a loop sent one
    said = bench.intent(bid=4900)
    assert [halt.reason for halt in of(Halt, said)] == ["4 orders were asked for and sent, and one more would leave"]
    assert of(NewOrder, said) == [] and bench.state is BotState.HALTED


def test_an_intent_that_is_refused_asks_for_no_order() -> None:
    bench = Bench()
    bench.intent(bid=4950, offer=5200)
    bench.intent(bid=4900, offer=5200, quote_mode=QuoteMode.NO_QUOTE)
    assert bench.executor.wishes == 0


def refuse(bench: Bench, reject: Reject, wish: dict[str, int] | None = None) -> int:
    """What is sent for a wish, by default a bid, is refused; returns how many orders were sent."""
    sent = of(NewOrder, bench.intent(**(wish or {"bid": 5000})))  # type: ignore[arg-type]
    for order in sent:
        bench.tell(
            ExecutionReport(
                order_id=order.order_id, exec_type=ExecType.REJECTED, source=Source.POST, reject=reject
            )
        )  # fmt: skip
    return len(sent)


@breaks("crossed_max")
def test_post_only_refusals_cool_the_side_down() -> None:
    bench = Bench(limits=Limits(crossed_max=2), obey=False)
    assert [refuse(bench, Reject.POST_ONLY) for _ in range(3)] == [1, 1, 0]
    assert row(bench, "crossed_max") == (2, 2)
    assert refuse(bench, Reject.POST_ONLY, {"offer": 5200}) == 1
    bench.run(10)
    assert row(bench, "crossed_max")[0] == 0
    assert refuse(bench, Reject.POST_ONLY) == 1


@breaks("balance_rejects_max")
def test_balance_refusals_in_a_row_switch_the_side_off() -> None:
    bench = Bench(limits=Limits(balance_rejects_max=2), obey=False)
    assert refuse(bench, Reject.BALANCE) == 1
    assert (row(bench, "balance_rejects_max"), bench.executor.alerts) == ((1, 2), bench.executor.alerts)
    bench.run(2)
    assert refuse(bench, Reject.BALANCE) == 1
    assert row(bench, "balance_rejects_max") == (2, 2)
    assert bench.executor.alerts[-1].level == 1
    bench.run(120)
    assert refuse(bench, Reject.BALANCE) == 0
    assert refuse(bench, Reject.BALANCE, {"offer": 5200}) == 1


@breaks("refused_max")
def test_refusals_in_a_row_that_we_cannot_tell_apart_fail_the_bot() -> None:
    bench = Bench(limits=Limits(refused_max=2), obey=False)
    assert refuse(bench, Reject.OTHER, {"bid": 5000}) == 1
    assert (bench.state, row(bench, "refused_max")) == (BotState.QUOTING, (1, 2))
    assert refuse(bench, Reject.SIGNATURE, {"offer": 5200}) == 1
    assert (bench.state, row(bench, "refused_max")) == (BotState.FAILING, (0, 2))
    assert bench.executor.recovery.reasons == ["2 orders in a row were refused: "]


@breaks("unanswered_max")
def test_orders_in_a_row_without_usable_answer_fail_the_bot() -> None:
    bench = Bench(limits=Limits(unanswered_max=2), obey=False)
    bench.intent(bid=4900, offer=5200)
    bench.tell(OutcomeUnknown(order_id=bench.order(0).order_id, request=Request.NEW))
    assert (bench.state, row(bench, "unanswered_max")) == (BotState.QUOTING, (1, 2))
    bench.tell(OutcomeUnknown(order_id=bench.order(1).order_id, request=Request.NEW, text="HTTP 500"))
    assert (bench.state, row(bench, "unanswered_max")) == (BotState.FAILING, (0, 2))
    assert bench.executor.recovery.reasons == ["2 orders in a row got no usable answer: HTTP 500"]


@pytest.mark.parametrize("name", ["refused_max", "unanswered_max"])
def test_an_ack_ends_a_row_of_refusals(name: str) -> None:
    bench = Bench(limits=Limits(**{name: 2}), obey=False)
    bench.tell(MarketListed(market=a_market("0xb", "u2", "d2")))
    bench.intent(bid=4900, offer=5200)
    bench.intent(bid=4900, symbol="0xb")
    answers = [
        OutcomeUnknown(order_id=bench.order(n).order_id, request=Request.NEW)
        if name == "unanswered_max"
        else ExecutionReport(order_id=bench.order(n).order_id, exec_type=ExecType.REJECTED, source=Source.POST)
        for n in (0, 2)
    ]
    bench.tell(answers[0])
    bench.tell(acked(bench.order(1).order_id))
    bench.tell(answers[1])
    assert (bench.state, row(bench, name)) == (BotState.QUOTING, (1, 2))


@breaks("orders_rate", "placements_rate")
@pytest.mark.parametrize("name", ["orders", "placements"])
def test_new_orders_keep_to_their_rate(name: str) -> None:
    bench = Bench(rates=Rates(**{f"{name}_burst": 1, f"{name}_per_s": 1}))  # type: ignore[arg-type]
    assert len(sizes(bench.intent(bid=4900, offer=5200))) == 1
    assert row(bench, f"{name}_rate") == (1, 1)
    assert sizes(bench.intent(bid=4900, offer=5200)) == []
    bench.now += NS_PER_S
    assert sizes(bench.intent(bid=4900, offer=5200)) == [20]


@breaks("cancels_rate")
def test_a_change_of_price_waits_for_the_rate_of_cancels_and_nothing_else_does() -> None:
    bench = Bench(rates=Rates(cancels_burst=1, cancels_per_s=1))
    bench.intent(bid=5000, offer=5200)
    assert of(CancelOrder, bench.intent(bid=4900, offer=5300)) == []
    assert len(of(CancelOrder, bench.intent(bid=4900))) == 1  # the offer is not wanted any more
    assert row(bench, "cancels_rate") == (1, 1)
    assert len(of(CancelOrder, bench.intent(cancel_first=True, bid=4900))) == 1
    assert row(bench, "cancels_rate") == (2, 1)


@breaks("queries_rate")
def test_reads_of_single_orders_keep_to_their_rate_and_are_not_forgotten() -> None:
    bench = Bench(rates=Rates(queries_burst=1, queries_per_s=1), obey=False)
    bench.intent(bid=4900, offer=5200)
    asked = []
    for n in range(2):
        said = bench.tell(OutcomeUnknown(order_id=bench.order(n).order_id, request=Request.NEW))
        asked.append([request.order_id for request in of(OrderStatusRequest, said)])
    assert asked == [[bench.order(0).order_id], []]
    assert row(bench, "queries_rate") == (1, 1)
    assert [r.order_id for r in of(OrderStatusRequest, bench.run(1.05))] == [bench.order(1).order_id]


# -- the day ---------------------------------------------------------------------------------------------------------


def lose(bench: Bench, symbol: str = SYMBOL, up: str = UP, down: str = DOWN) -> None:
    """Ten dollars: twenty shares at 0.50 that pay nothing."""
    said = bench.intent(bid=5000, symbol=symbol)
    (order,) = of(NewOrder, said)
    bench.tell(trade(order.order_id, 20, exec_id=f"t-{symbol}"))
    bench.resting.clear()
    bench.tell(MarketResolved(symbol=symbol, winning_asset_id=down))


@breaks("loss_max_day")
def test_the_loss_of_a_day_halts_and_no_resume_helps() -> None:
    bench = two_markets(loss_max_day=10 * USD_ONE)
    lose(bench)
    assert row(bench, "loss_max_day") == (10, 10)
    assert [halt.reason for halt in of(Halt, bench.sent)] == ["the loss limit of the day is reached"]
    bench.run(3)
    assert bench.executor.recovery.flat
    bench.tell(Resume(by="test"))
    said = bench.tick()
    assert of(Halt, said) and bench.state is BotState.HALTED
    assert len(of(Halt, bench.sent)) == 2


def test_less_than_the_limit_of_a_day_does_not_halt() -> None:
    bench = two_markets(loss_max_day=10 * USD_ONE + 1)
    lose(bench)
    bench.run(1)
    assert bench.state is BotState.QUOTING
    lose(bench, "0xb", "u2", "d2")
    assert row(bench, "loss_max_day") == (20, 10.000001)
    assert bench.state is BotState.HALTED


def test_a_new_utc_day_begins_at_nothing_while_running() -> None:
    bench = two_markets(loss_max_day=15 * USD_ONE)
    lose(bench)
    day = bench.executor.risk.day
    assert day == (UTC0 + bench.now) // DAY_NS
    bench.now += DAY_NS
    bench.executor.desks["0xb"].market = msgspec.structs.replace(a_market("0xb", "u2", "d2"), end_utc_ns=UTC0 * 2)
    bench.tick()
    assert (bench.executor.risk.day, row(bench, "loss_max_day")) == (day + 1, (0, 15))
    bench.tick()
    lose(bench, "0xb", "u2", "d2")
    assert (bench.state, row(bench, "loss_max_day")) == (BotState.QUOTING, (10, 15))


@pytest.mark.parametrize(("days_ago", "state"), [(0, BotState.HALTED), (1, BotState.QUOTING)])
def test_what_was_lost_today_before_a_restart_still_counts(days_ago: int, state: BotState) -> None:
    today = UTC0 // DAY_NS
    bench = Bench(
        limits=Limits(loss_max_day=10 * USD_ONE), day_loss=10 * USD_ONE, utc_day=today - days_ago, start=False
    )
    assert row(bench, "loss_max_day") == (10, 10)
    bench.tell(MarketListed(market=a_market()))
    bench.executor.recovery.user_up = True
    bench.run(0.2)
    assert bench.state is state
    assert row(bench, "loss_max_day")[0] == (0 if days_ago else 10)


def test_before_the_clock_is_known_there_is_no_day_and_no_loss() -> None:
    risk = Risk(Limits())
    assert (risk.day, risk.realised_day) == (0, 0)


def test_the_day_never_goes_back() -> None:
    risk = Risk(Limits())
    risk.roll(5)
    risk.realised_day = -USD_ONE
    for day in (4, 5):
        risk.roll(day)
        assert (risk.day, risk.lost_day) == (5, USD_ONE)
    risk.roll(6)
    assert (risk.day, risk.lost_day) == (6, 0)


def test_no_market_is_settled_into_a_day_that_is_not_known() -> None:
    bench = Bench(start=False)
    bench.tell(MarketListed(market=a_market()))
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    assert not bench.executor.desks[SYMBOL].settled
    bench.tick()
    assert bench.executor.desks[SYMBOL].settled


@pytest.mark.parametrize(("winner", "result"), [(UP, 10), (DOWN, -10)])
def test_a_fill_told_after_the_payout_counts_in_the_day(winner: str, result: int) -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.tell(ExecutionReport(order_id=oid, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0))
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=winner))
    assert bench.executor.risk.realised_day == 0
    bench.tell(trade(oid, 20))
    assert bench.executor.risk.realised_day == result * USD_ONE
    bench.tell(trade(oid, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert bench.executor.risk.realised_day == 0


# -- after every event -----------------------------------------------------------------------------------------------


def foreign(bench: Bench, shares: float, symbol: str = SYMBOL, token: str = UP) -> list[object]:
    """An order we never sent is filled."""
    return bench.tell(trade("0xforeign", shares, symbol=symbol, asset_id=token, side=Side.BUY, px=5000))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ({"q_max": 30}, 11),
        ({"loss_max_mkt": 15}, 11),
        ({"mkt_notional_max": 25}, 11),
        ({"token_shares_max": 30}, 11),
        ({"token_notional_max": 15}, 11),
        ({"shares_max": 50}, 11),
        ({"capital_max": 25}, 11),
        ({"loss_max_all": 15}, 11),
    ],
)
def test_an_order_that_has_no_room_any_more_is_cancelled(given: dict[str, int], shares: float) -> None:
    bench = Bench(limits=Limits(**{name: most * 1_000_000 for name, most in given.items()}))
    bench.intent(bid=5000, offer=5200)
    assert sizes(bench.sent) == [20, 20]  # type: ignore[arg-type]
    assert of(CancelOrder, foreign(bench, shares - 1)) == []  # type: ignore[arg-type]
    bid, offer = bench.order(0), bench.order(1)
    bench.executor.orphans.clear()
    said = foreign(bench, shares)
    gone = {order.order_id for order in of(CancelOrder, said)}  # type: ignore[arg-type]
    assert bid.order_id in gone and bid.state is OrderState.CANCELED
    of_both_tokens = {"mkt_notional_max", "shares_max", "capital_max"}
    assert (offer.order_id in gone) is bool(of_both_tokens & set(given))
    assert bench.state is BotState.QUOTING


def test_what_is_being_cancelled_or_has_ended_is_not_cancelled_for_want_of_room() -> None:
    bench = Bench(limits=Limits(q_max=30 * QTY_ONE), obey=False)
    bench.intent(bid=5000)
    bench.tell(acked(bench.order().order_id))
    bench.intent()
    bench.tell(ExecutionReport(order_id=bench.order().order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL))
    bench.intent(bid=4900, size=10)  # beside the tail of the first
    bench.tell(acked(bench.order(1).order_id))
    bench.intent()
    assert of(CancelOrder, foreign(bench, 30)) == []  # type: ignore[arg-type]
    assert len(bench.executor.alerts) == 0


def test_orders_after_one_that_is_being_cancelled_are_looked_at_too() -> None:
    bench = Bench(limits=Limits(loss_max_all=25 * USD_ONE), obey=False)
    bench.intent(bid=5000, offer=5000 + 100)
    for n in (0, 1):
        bench.tell(acked(bench.order(n).order_id))
    bench.intent(offer=5000 + 100)
    said = foreign(bench, 45, token=DOWN)
    assert [order.order_id for order in of(CancelOrder, said)] == [bench.order(1).order_id]  # type: ignore[arg-type]
    assert bench.executor.alerts[-1].text == f"order {bench.order(1).order_id} has no room any more within the limits"


def test_room_that_is_a_lot_short_is_room() -> None:
    for over, cancels in ((LOT, 0), (LOT + 1, 1)):
        bench = Bench(limits=Limits(token_shares_max=30 * QTY_ONE), obey=False)
        bench.intent(bid=5000, size=20)
        said = foreign(bench, 10 + over / QTY_ONE)
        assert len(of(CancelOrder, said)) == cancels  # type: ignore[arg-type]


@pytest.mark.parametrize(("side", "token"), [("bid", UP), ("offer", DOWN)])
def test_what_is_held_of_a_token_bounds_what_is_bought_of_it(side: str, token: str) -> None:
    bench = Bench(limits=Limits(token_shares_max=25 * QTY_ONE))
    bench.executor.positions.book(trade("o", 10, px=5000), SYMBOL, token, Side.BUY, 1)
    bench.executor.mark(SYMBOL)
    assert sizes(bench.intent(**{side: 5000})) == [15]  # type: ignore[arg-type]
    bench.intent()
    other = "offer" if side == "bid" else "bid"
    assert sizes(bench.intent(**{other: 5100})) == [20]  # type: ignore[arg-type]


def test_cash_that_other_orders_need_is_not_there_twice() -> None:
    bench = Bench()
    bench.executor.positions.cash = 12 * USD_ONE
    assert sizes(bench.intent(bid=5000, offer=5200)) == [20]
    bench.executor.positions.cash = 13 * USD_ONE
    assert sizes(bench.intent(bid=5000, offer=5200)) == [6.25]


def test_without_cash_an_order_that_has_no_room_by_a_limit_goes_and_the_others_stay() -> None:
    bench = Bench(limits=Limits(q_max=30 * QTY_ONE))
    bench.intent(bid=5000, offer=5200)
    bench.executor.positions.cash = 25_200_000  # enough for each beside the other, and the stranger's 5.50
    assert len(of(CancelOrder, foreign(bench, 11))) == 1  # type: ignore[arg-type]


def test_an_order_larger_than_what_would_be_placed_now_is_replaced_only_if_it_must_reduce() -> None:
    for mode, cancels in ((QuoteMode.NORMAL, 0), (QuoteMode.REDUCE_ONLY, 1)):
        bench = Bench(obey=False)
        bench.intent(bid=5000)
        bench.executor.positions.cash = 8 * USD_ONE
        assert len(of(CancelOrder, bench.intent(bid=5000, size=40, quote_mode=mode))) == cancels


def test_an_order_of_the_least_size_is_sent() -> None:
    bench = Bench(limits=Limits(q_max=5 * QTY_ONE))
    assert sizes(bench.intent(bid=5000)) == [5]


def test_an_order_that_brings_a_market_back_within_its_limits_may_stay() -> None:
    bench = Bench(limits=Limits(q_max=30 * QTY_ONE))
    bench.intent(offer=5200)
    assert of(CancelOrder, foreign(bench, 45)) == []  # type: ignore[arg-type]
    assert bench.order().state is OrderState.WORKING


def test_the_orders_of_all_markets_are_looked_at_when_a_limit_on_everything_is_passed() -> None:
    bench = two_markets(capital_max=30 * USD_ONE)
    bench.intent(bid=5000)
    assert len(of(CancelOrder, foreign(bench, 45, "0xb", "u2"))) == 1  # type: ignore[arg-type]
    assert bench.executor.alerts[-1].level == 2


# -- all of them -----------------------------------------------------------------------------------------------------


def test_every_limit_has_a_unit_a_place_in_the_status_and_a_test_that_breaks_it() -> None:
    rows = Bench().executor.status_report().body["risk"]
    assert set(UNITS) == set(Limits.__struct_fields__)
    assert set(rows) == set(UNITS) | {"wishes", "orders_rate", "placements_rate", "cancels_rate", "queries_rate"}
    assert set(rows) == BROKEN
    for name, (unit, scale) in UNITS.items():
        assert rows[name] == {"used": 0, "max": getattr(Limits(), name) / scale, "unit": unit}


def test_no_limit_stops_a_cancel() -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200)
    nothing = Limits(**dict.fromkeys(Limits.__struct_fields__, 0))
    bench.executor.risk.limits = nothing
    bench.executor.risk.realised_day = -1
    bench.executor.budget.charge_cancels(10_000, bench.now)
    assert len(of(CancelOrder, bench.intent())) == 2
    assert not bench.resting
    assert of(MassCancel, bench.tell(Fail(reason="test")))


def test_the_defaults_are_what_follows_from_the_default_settings() -> None:
    assert limits_of(**Settings().limits.model_dump()) == Limits()
    made = limits_of(q_max=100, order_size_max=30, loss_max_mkt=12.5, loss_max_day=50, capital_max=300)
    assert (made.q_max, made.order_size_max, made.order_notional_max) == (100 * QTY_ONE, 30 * QTY_ONE, 12_500_000)
    assert (made.loss_max_mkt, made.loss_max_day, made.loss_max_all) == (12_500_000, 50_000_000, 62_500_000)
    assert made.capital_max == made.mkt_notional_max == made.token_notional_max == 300 * USD_ONE
    assert (made.token_shares_max, made.shares_max) == (600 * QTY_ONE, 1200 * QTY_ONE)


# -- what is sold ----------------------------------------------------------------------------------------------------


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
