"""Reads of the venue: what is unknown changes nothing, what was asked too soon proves nothing, strangers are cancelled."""

from __future__ import annotations

import msgspec
import pytest
from desk_fake import DOWN, SYMBOL, UP, Bench, acked, of, placement, trade

from bot.execution.orders import Order
from bot.messages import (
    Balance,
    BalanceRequest,
    BotState,
    CancelOrder,
    ExecType,
    ExecutionReport,
    Fail,
    FeedStatus,
    Fill,
    FoundStatus,
    Halt,
    MarketResolved,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderState,
    OrderStatusReport,
    OrderStatusRequest,
    Shares,
    SharesRequest,
    Side,
    Source,
    StreamGap,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.units import LOT, NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE

TWENTY = 20 * QTY_ONE


def a_bid() -> tuple[Bench, Order]:
    """A working bid of 20 at 0.50, long enough ago for any read to count."""
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order = bench.order()
    bench.tell(acked(order.order_id))
    bench.tell(placement(order.order_id))
    bench.now += NS_PER_S
    return bench, order


def rows(*orders: Order) -> tuple[OpenOrder, ...]:
    return tuple(
        OpenOrder(
            order_id=o.order_id, symbol=o.symbol, asset_id=o.asset_id, side=o.side, px=o.px, order_qty=o.order_qty,
            cum_qty=o.venue_cum,
        )
        for o in orders
    )  # fmt: skip


def row(order_id: str = "0xf", symbol: str = SYMBOL, token: str = UP, side: Side = Side.BUY, cum: int = 0) -> OpenOrder:
    return OpenOrder(
        order_id=order_id, symbol=symbol, asset_id=token, side=side, px=3000, order_qty=TWENTY, cum_qty=cum * QTY_ONE
    )


def read(bench: Bench, *listed: OpenOrder, ago_ms: int = 0) -> list[object]:
    asked_ns = bench.now - ago_ms * NS_PER_MS
    return bench.tell(OpenOrders(orders=listed, asked_ns=asked_ns, recv_ns=bench.now))  # type: ignore[return-value]


def status(bench: Bench, order: Order, found: FoundStatus | None, cum: float = 0, **given: object) -> list[object]:
    given = {"asked_ns": bench.now, **given}
    return bench.tell(  # type: ignore[return-value]
        OrderStatusReport(order_id=order.order_id, found=found, cum_qty=round(cum * QTY_ONE), **given)  # type: ignore[arg-type]
    )


# -- lists of open orders --------------------------------------------------------------------------------------------


def test_an_order_that_two_reads_half_a_second_apart_lack_and_a_query_finds_nothing_of_is_over() -> None:
    bench, order = a_bid()
    bench.intent()
    bench.now += NS_PER_S
    read(bench)
    status(bench, order, FoundStatus.ABSENT)
    assert order.state is OrderState.PENDING_CANCEL
    bench.now += NS_PER_S // 2
    read(bench)
    assert order.state is OrderState.CANCELED


def test_an_unknown_read_changes_no_order() -> None:
    bench, order = a_bid()
    bench.tell(OpenOrders(orders=None, asked_ns=bench.now, recv_ns=bench.now))
    assert (order.state, bench.executor.venue_down_ns) == (OrderState.WORKING, bench.now)


@pytest.mark.parametrize(("ago_ms", "state"), [(501, OrderState.WORKING), (500, OrderState.UNKNOWN)])
def test_a_list_asked_too_soon_after_a_change_proves_nothing(ago_ms: int, state: OrderState) -> None:
    bench, order = a_bid()
    read(bench, ago_ms=ago_ms)
    assert order.state is state


def test_a_listed_order_is_believed_only_by_a_valid_list() -> None:
    bench, order = a_bid()
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0))
    for _ in range(2):
        read(bench, *rows(order), ago_ms=600)
    assert order.state is OrderState.CANCELED
    for _ in range(2):
        read(bench, *rows(order))
    assert (order.state, bench.state) == (OrderState.PENDING_CANCEL, BotState.FAILING)


def test_an_ended_order_that_a_list_in_between_lacks_is_believed_to_have_ended() -> None:
    bench, order = a_bid()
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0))
    for listed in (rows(order), (), rows(order), ()):
        read(bench, *listed)
    assert (order.state, bench.state) == (OrderState.CANCELED, BotState.QUOTING)


def test_a_listed_order_brings_its_matched_size() -> None:
    bench, order = a_bid()
    read(bench, row(order.order_id, cum=5))
    assert order.debt == 5 * QTY_ONE


@pytest.mark.parametrize(
    ("token", "side", "leg", "up_px"),
    [
        (UP, Side.BUY, "bid", 3000),
        (UP, Side.SELL, "offer", 3000),
        (DOWN, Side.BUY, "offer", 7000),
        (DOWN, Side.SELL, "bid", 7000),
    ],
)
def test_a_stranger_is_adopted_cancelled_asked_for_and_halts(token: str, side: Side, leg: str, up_px: int) -> None:
    bench = Bench(obey=False)
    said = read(bench, row(token=token, side=side, cum=5))
    order = bench.order()
    assert (order.leg, order.up_px, order.px, order.foreign) == (leg, up_px, 3000, True)
    assert (order.cl_ord_id, order.epoch, order.answered, order.echoed, order.landed) == ("", 0, True, True, True)
    assert bench.executor.use(bench.executor.desks[SYMBOL]).up.orders == (token == UP)
    assert (order.state, order.cancel_wanted, order.exposure) == (OrderState.PENDING_CANCEL, True, TWENTY)
    assert order.debt == 5 * QTY_ONE
    assert [message.order_id for message in of(CancelOrder, said)] == ["0xf"]  # type: ignore[arg-type]
    assert [message.order_id for message in of(OrderStatusRequest, said)] == ["0xf"]  # type: ignore[arg-type]
    assert len(of(Halt, said)) == 1  # type: ignore[arg-type]


def test_a_stranger_has_the_epoch_of_its_market() -> None:
    bench = Bench(obey=False)
    bench.executor.desks[SYMBOL].pulls = 3
    read(bench, row())
    assert bench.order().epoch == 3


def test_a_stranger_uses_the_limits_of_its_market_at_once() -> None:
    bench = Bench(obey=False)
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 0
    bench.tell(event(ExecType.NEW, order_qty=QTY_ONE))
    read(bench, row())
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == TWENTY
    assert bench.executor.orphans == {}


def test_a_listed_order_that_is_being_cancelled_is_deleted_again() -> None:
    bench, order = a_bid()
    bench.intent()
    bench.now += NS_PER_S
    said = read(bench, row(order.order_id))
    assert [message.order_id for message in of(CancelOrder, said)] == [order.order_id]  # type: ignore[arg-type]


def test_a_stranger_in_a_market_we_do_not_know_is_cancelled_all_the_same() -> None:
    bench = Bench(obey=False)
    said = read(bench, row(symbol="0xother", token=DOWN))
    assert (bench.order().leg, bench.order().up_px, bench.order().epoch) == ("", 3000, 0)
    assert of(CancelOrder, said) and of(Halt, said)  # type: ignore[arg-type]


def test_what_an_unclean_end_left_is_not_adopted_but_cancelled_with_all() -> None:
    for clean, state in ((False, BotState.FAILING), (True, BotState.HALTED)):
        bench = Bench(start=False, obey=False, clean_start=clean)
        bench.tell(FeedStatus(feed="user", connected=True))
        bench.tick()
        read(bench, row())
        assert (len(bench.executor.orders.by_id), bench.state) == (int(clean), state)


# -- one order -------------------------------------------------------------------------------------------------------


def test_a_failed_read_of_an_order_is_repeated_later() -> None:
    bench, order = a_bid()
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL))
    assert order.query_ns == bench.now
    status(bench, order, None, cum=20)
    assert (order.tail_ns > 0, order.venue_cum, bench.executor.venue_down_ns) == (True, 0, bench.now)
    said = bench.run(1.05)
    assert [message.order_id for message in of(OrderStatusRequest, said)] == [order.order_id]
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == TWENTY
    status(bench, order, FoundStatus.CANCELED)
    assert (order.exposure, bench.executor.use(bench.executor.desks[SYMBOL]).long) == (0, 0)


@pytest.mark.parametrize(
    ("found", "state"), [(FoundStatus.LIVE, OrderState.WORKING), (FoundStatus.CANCELED, OrderState.CANCELED)]
)
def test_what_a_read_says_of_an_unknown_order_is_told_to_it(found: FoundStatus, state: OrderState) -> None:
    bench, order = a_bid()
    read(bench)
    status(bench, order, found, cum=5)
    assert (order.state, order.venue_cum, order.query_ns) == (state, 5 * QTY_ONE, 0)


def test_a_read_that_finds_nothing_of_a_canceled_order_frees_what_it_used() -> None:
    bench, order = a_bid()
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL))
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == TWENTY
    bench.intent()
    status(bench, order, FoundStatus.ABSENT)
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 0


@pytest.mark.parametrize("ended", [False, True])
def test_a_read_that_says_live_too_soon_is_only_a_cumulative_figure_of_an_open_order(ended: bool) -> None:
    bench, order = a_bid()
    if ended:
        bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0))
    for _ in range(2):
        status(bench, order, FoundStatus.LIVE, cum=5, asked_ns=order.changed_ns)
    assert order.venue_cum == (0 if ended else 5 * QTY_ONE)
    assert (order.listed, bench.state) == (0, BotState.QUOTING)


@pytest.mark.parametrize(("ago_ms", "empty"), [(500, True), (501, False)])
def test_a_read_that_finds_nothing_counts_only_when_it_was_asked_late_enough(ago_ms: int, empty: bool) -> None:
    bench, order = a_bid()
    read(bench)
    status(bench, order, FoundStatus.ABSENT, asked_ns=bench.now - ago_ms * NS_PER_MS)
    assert order.empty_query is empty


def test_a_rejected_order_that_a_read_calls_live_is_a_contradiction() -> None:
    bench, _ = a_bid()
    bench.intent(offer=5200)
    second = bench.order(1)
    bench.tell(ExecutionReport(order_id=second.order_id, exec_type=ExecType.REJECTED, source=Source.POST))
    bench.now += NS_PER_S
    said = status(bench, second, FoundStatus.LIVE)
    assert (second.state, bench.state) == (OrderState.PENDING_CANCEL, BotState.FAILING)
    assert second.order_id in {message.order_id for message in of(CancelOrder, said)}  # type: ignore[arg-type]


def test_a_live_order_that_is_being_cancelled_is_deleted_again_by_a_read_asked_after_the_delete() -> None:
    bench, order = a_bid()
    bench.intent()
    bench.now += NS_PER_S
    assert of(CancelOrder, status(bench, order, FoundStatus.LIVE))  # type: ignore[arg-type]


def test_a_working_order_that_a_read_does_not_find_is_unknown() -> None:
    bench, order = a_bid()
    said = status(bench, order, FoundStatus.ABSENT)
    assert order.state is OrderState.UNKNOWN
    assert of(OrderStatusRequest, said)  # type: ignore[arg-type]


def test_reads_that_find_nothing_count_only_half_a_second_apart() -> None:
    bench, order = a_bid()
    bench.intent()
    bench.now += NS_PER_S
    for apart_ms, state in (
        (0, OrderState.PENDING_CANCEL),
        (100, OrderState.PENDING_CANCEL),
        (400, OrderState.CANCELED),
    ):
        bench.now += apart_ms * NS_PER_MS
        status(bench, order, FoundStatus.ABSENT)
        assert order.state is state


def test_a_read_that_says_matched_raises_the_debt_and_is_empty_without_news() -> None:
    bench, order = a_bid()
    read(bench)
    status(bench, order, FoundStatus.MATCHED, cum=20, trades=(trade(order.order_id, 5, source=Source.READ),))
    assert (order.venue_cum, order.debt, order.empty_query) == (TWENTY, 15 * QTY_ONE, False)
    status(bench, order, FoundStatus.MATCHED, cum=20, trades=(trade(order.order_id, 5, source=Source.READ),))
    assert order.empty_query


def test_a_query_that_brings_news_is_not_empty() -> None:
    bench, order = a_bid()
    read(bench)
    told = trade(order.order_id, 5, source=Source.READ)
    status(bench, order, FoundStatus.ABSENT, trades=(told,))
    assert (order.empty_query, bench.net()) == (False, 5)
    status(bench, order, FoundStatus.ABSENT, trades=(told,))
    assert order.empty_query


def test_a_query_that_brings_a_void_is_not_empty_either() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=0))
    read(bench)
    failed = trade(order.order_id, 5, source=Source.READ, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED)
    status(bench, order, FoundStatus.ABSENT, trades=(failed,))
    assert (order.empty_query, order.voided) == (False, 5 * QTY_ONE)


def test_a_live_order_was_not_found_missing() -> None:
    bench, order = a_bid()
    bench.intent()
    status(bench, order, FoundStatus.LIVE, asked_ns=order.changed_ns + NS_PER_S)
    assert (order.state, order.empty_query) == (OrderState.PENDING_CANCEL, False)


# -- trades ----------------------------------------------------------------------------------------------------------


def trades(bench: Bench, *legs: ExecutionReport, known: bool = True) -> list[object]:
    return bench.tell(  # type: ignore[return-value]
        TradesRead(trades=legs if known else None, after_utc_s=0, asked_ns=bench.now, recv_ns=bench.now)
    )


OURS = {"source": Source.READ, "symbol": SYMBOL, "asset_id": UP, "side": Side.BUY}


def test_an_unknown_read_of_trades_is_no_baseline() -> None:
    bench = Bench(start=False, obey=False)
    trades(bench, known=False)
    assert (bench.executor.baseline_done, bench.executor.venue_down_ns) == (False, bench.now)
    trades(bench)
    assert bench.executor.baseline_done


@pytest.mark.parametrize("kind", [ExecType.TRADE, ExecType.TRADE_CANCEL])
def test_a_failed_trade_of_an_earlier_run_counts_for_nothing_then_or_later(kind: ExecType) -> None:
    bench = Bench(start=False, obey=False)
    trades(bench, trade("0xold", 5, kind=kind, status=TradeStatus.FAILED, **OURS))
    bench.tell(trade("0xold", 5, **{**OURS, "source": Source.USER}))
    assert bench.executor.positions.holdings.get(SYMBOL) is None
    record = bench.executor.positions.fills["t1", "0xold"]
    assert (record.void, record.booked_ns, record.symbol) == (True, bench.now, SYMBOL)


def test_a_trade_of_our_own_order_is_a_fill_also_in_the_first_read() -> None:
    bench, order = a_bid()
    bench.executor.baseline_done = False
    said = trades(bench, trade(order.order_id, 5, **OURS))
    assert len(of(Fill, said)) == 1 and order.cum_qty == 5 * QTY_ONE  # type: ignore[arg-type]


def test_a_trade_told_before_the_first_read_is_counted_once() -> None:
    bench = Bench(start=False, obey=False)
    trades(bench, trade("0xold", 5, **OURS), trade("0xold", 5, **OURS))
    record = bench.executor.positions.fills["t1", "0xold"]
    assert (record.history, record.booked_ns, record.symbol) == (True, bench.now, SYMBOL)
    assert bench.executor.positions.of(SYMBOL).tokens == {UP: 5 * QTY_ONE}


@pytest.mark.parametrize("missing", [{"asset_id": ""}, {"side": None}])
def test_a_trade_of_an_earlier_run_that_says_too_little_is_a_stranger(missing: dict[str, object]) -> None:
    bench = Bench(start=False, obey=False)
    trades(bench, trade("0xold", 5, **{**OURS, **missing}))
    assert set(bench.executor.orphans) == {"0xold"}


# -- cash ------------------------------------------------------------------------------------------------------------


def balance(bench: Bench, cash: int | None, ago_ns: int = 0) -> None:
    bench.tell(Balance(cash=cash, asked_ns=bench.now - ago_ns, recv_ns=bench.now))


def test_a_later_balance_is_believed_when_nothing_is_in_between() -> None:
    bench = Bench(obey=False)
    balance(bench, None)
    assert bench.executor.positions.cash == 500 * USD_ONE
    balance(bench, 500 * USD_ONE + 10_000)
    assert (bench.executor.positions.cash, len(bench.executor.alerts)) == (500 * USD_ONE + 10_000, 0)
    balance(bench, 450 * USD_ONE)
    assert (bench.executor.positions.cash, bench.executor.alerts[-1].level) == (450 * USD_ONE, 2)
    assert bench.executor.alerts[-1].text == "cash is 450.00 by the venue, 500.01 by us"


def test_a_balance_is_not_believed_while_fills_are_on_their_way() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    cash = bench.executor.positions.cash
    bench.now += 10 * NS_PER_S
    balance(bench, 1)  # not on the chain yet
    assert bench.executor.positions.cash == cash
    bench.tell(trade(order.order_id, 5, status=TradeStatus.MINED))
    balance(bench, 2, ago_ns=5 * NS_PER_S + 1)  # asked too soon after the fill
    assert bench.executor.positions.cash == cash
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=TWENTY))
    balance(bench, 3)  # a debt
    assert bench.executor.positions.cash == cash
    order.venue_cum = order.cum_qty
    bench.intent()
    bench.tell(
        ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=5 * QTY_ONE)
    )
    balance(bench, 4, ago_ns=5 * NS_PER_S)  # shares are held: once more
    balance(bench, 4)
    assert bench.executor.positions.cash == 4


@pytest.mark.parametrize("change", ["a payout", "a fill that failed"])
def test_a_balance_asked_soon_after_cash_changed_may_be_older_than_that(change: str) -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5, status=TradeStatus.MINED))
    bench.now += 10 * NS_PER_S
    if change == "a payout":
        bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    else:
        bench.tell(trade(order.order_id, 5, status=TradeStatus.FAILED))
    bench.intent()
    bench.tell(
        ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=5 * QTY_ONE)
    )
    cash = bench.executor.positions.cash
    bench.now += 4 * NS_PER_S
    balance(bench, cash - USD_ONE)
    assert bench.executor.positions.cash == cash


def test_a_balance_may_know_of_the_fill_of_an_order_that_is_not_taken_in_yet() -> None:
    bench = Bench(obey=False)
    cash = bench.executor.positions.cash
    bench.tell(trade("0xf", 5, px=4000, status=TradeStatus.MINED, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    balance(bench, cash - 2 * USD_ONE)
    bench.run(2.05)
    assert (bench.executor.positions.cash, bench.order().cum_qty) == (cash - 2 * USD_ONE, 5 * QTY_ONE)


def test_a_balance_may_know_of_a_fill_that_is_on_its_way_to_us() -> None:
    """So while orders may fill, one that differs is believed when it is told again and nothing was filled meanwhile."""
    bench, order = a_bid()
    cash = bench.executor.positions.cash
    balance(bench, cash - 5 * USD_ONE // 2)
    assert bench.executor.positions.cash == cash
    bench.tell(trade(order.order_id, 5, status=TradeStatus.MINED))
    booked = bench.executor.positions.cash
    assert booked == cash - 5 * USD_ONE // 2
    assert of(BalanceRequest, bench.tick(5000)) != []  # soon again
    balance(bench, booked - 1_000)
    assert bench.executor.positions.cash == booked
    assert of(BalanceRequest, bench.tick(5000)) != []
    balance(bench, booked - 1_000)
    assert bench.executor.positions.cash == booked - 1_000


def test_a_balance_may_know_of_a_payout_before_the_end_that_was_listed() -> None:
    """So while shares are held, too, one that differs is believed when it is told again."""
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 20, status=TradeStatus.MINED))
    assert not bench.executor.orders.live
    bench.now += 10 * NS_PER_S
    cash = bench.executor.positions.cash
    balance(bench, cash + 20 * USD_ONE)
    assert bench.executor.positions.cash == cash
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    bench.run(1)
    assert bench.executor.positions.cash == cash + 20 * USD_ONE
    bench.run(10)
    balance(bench, cash + 20 * USD_ONE)
    assert bench.executor.positions.cash == cash + 20 * USD_ONE


def test_what_was_told_while_it_could_not_be_believed_is_no_first_telling() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5, status=TradeStatus.MINED))
    cash = bench.executor.positions.cash
    balance(bench, cash - USD_ONE)  # too soon after the fill, but nothing is on its way
    bench.now += 5 * NS_PER_S
    balance(bench, cash - USD_ONE)
    assert bench.executor.positions.cash == cash
    balance(bench, cash - USD_ONE)
    assert bench.executor.positions.cash == cash - USD_ONE


def test_a_balance_that_is_not_believed_is_asked_for_again_after_t_settle() -> None:
    bench, _ = a_bid()
    balance(bench, 1)
    assert of(BalanceRequest, bench.tick(4999)) == []
    assert len(of(BalanceRequest, bench.tick(1))) == 1


def test_of_a_trade_of_an_earlier_run_as_taker_the_shares_are_asked_for() -> None:
    bench = Bench(start=False, obey=False)
    trades(bench, trade("0xf", 5, maker=False, status=TradeStatus.MINED, **OURS))
    assert of(SharesRequest, bench.run(5)) == [SharesRequest(symbol=SYMBOL, asset_id=UP, asked_ns=bench.now)]


# -- shares kept back as a fee ---------------------------------------------------------------------------------------

MOST = 500_000 + 200_000 + 10_000  # micro-shares: 7 % of half of 20, and a lot, when 20 were bought at 0.50


def taken(*, status: TradeStatus = TradeStatus.MINED) -> Bench:
    """20 of Up bought as taker at 0.50, so long ago that what the venue has may be asked for."""
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20, status=status, maker=False))
    bench.intent()
    bench.now += 5 * NS_PER_S
    return bench


def shares(bench: Bench, qty: int | None, **given: object) -> None:
    fields = {"symbol": SYMBOL, "asset_id": UP, "asked_ns": bench.now, "recv_ns": bench.now, **given}
    bench.tell(Shares(qty=qty, **fields))  # type: ignore[arg-type]


def test_what_a_purchase_as_taker_brought_is_asked_for_when_it_is_on_the_chain() -> None:
    bench = taken()
    bench.now -= 1
    assert of(SharesRequest, bench.tick(0)) == []
    bench.now += 1
    assert of(SharesRequest, bench.tick(0)) == [SharesRequest(symbol=SYMBOL, asset_id=UP, asked_ns=bench.now)]
    assert of(SharesRequest, bench.tick(4999)) == []
    assert len(of(SharesRequest, bench.tick(1))) == 1
    assert of(SharesRequest, taken(status=TradeStatus.MATCHED).tick()) == []


def test_a_sale_as_taker_brings_no_shares() -> None:
    bench = Bench(obey=False)
    bench.executor.positions.book(trade("o", 20, status=TradeStatus.MINED), SYMBOL, UP, Side.BUY, 1)
    bench.executor.mark(SYMBOL)
    bench.intent(offer=5200, offer_route="sell_yes")
    bench.tell(trade(bench.order().order_id, 20, px=5200, status=TradeStatus.MINED, maker=False))
    assert bench.executor.taken == {}


@pytest.mark.parametrize(
    ("kept", "net", "state"),
    [
        (-1, 20, BotState.QUOTING),
        (0, 20, BotState.QUOTING),
        (1, 19.999999, BotState.QUOTING),
        (MOST, 19.29, BotState.QUOTING),
        (MOST + 1, 20, BotState.FAILING),
    ],
)
def test_no_more_is_kept_back_than_a_fee_can_be(kept: int, net: float, state: BotState) -> None:
    bench = taken()
    for _ in range(2):  # one read proves nothing: a fill may be on its way
        shares(bench, TWENTY - kept)
    assert (bench.net(), bench.state, bench.executor.taken) == (net, state, {})
    record = bench.executor.positions.fills["t1", bench.order().order_id]
    assert (record.fee_qty, record.signed_qty) == (round((20 - net) * QTY_ONE), round(net * QTY_ONE))
    assert bench.executor.use(bench.executor.desks[SYMBOL]).net == round(net * QTY_ONE)
    told = [(alert.level, alert.text) for alert in bench.executor.alerts][1:]  # the first is of the taker's fill
    if kept == MOST:
        assert told == [(2, f"0.71 of token {UP} were kept back as fee")]
    if kept <= 0:
        assert told == []
    if state is BotState.FAILING:
        assert bench.executor.recovery.reasons == [f"the venue has 19.29 of token {UP}, 0.710001 less than we"]


@pytest.mark.parametrize(("kept", "state"), [(LOT, BotState.QUOTING), (LOT + 1, BotState.FAILING)])
def test_where_there_are_no_fees_a_lot_may_be_missing_and_no_more(kept: int, state: BotState) -> None:
    bench = taken()
    desk = bench.executor.desks[SYMBOL]
    desk.market = msgspec.structs.replace(desk.market, fee_rate=0)
    for _ in range(2):
        shares(bench, TWENTY - kept)
    assert bench.state is state


def test_the_newest_purchase_as_taker_bears_every_fee() -> None:
    bench = taken()
    fills = bench.executor.positions.fills
    for exec_id, given in (
        ("second", {}),
        ("maker", {"maker": True}),
        ("other", {"asset": DOWN}),
        ("sold", {"side": Side.SELL}),
    ):
        told = {"maker": False, "asset": UP, "side": Side.BUY, **given}
        report = trade("o", 5, exec_id=exec_id, status=TradeStatus.MINED, maker=bool(told["maker"]))
        bench.executor.positions.book(report, SYMBOL, str(told["asset"]), Side(told["side"]), 1)
    bench.executor.positions.void(trade("o", 5, exec_id="second"), bench.now)
    for _ in range(2):
        bench.executor.positions.keep_back(SYMBOL, UP, 7)
    assert {key[0]: record.fee_qty for key, record in fills.items()} == {
        "t1": 14, "second": 0, "maker": 0, "other": 0, "sold": 0
    }  # fmt: skip


def test_only_what_was_bought_as_taker_bears_a_fee() -> None:
    bench = taken()
    positions = bench.executor.positions
    positions.book(trade("o", 50, exec_id="maker", status=TradeStatus.MINED), SYMBOL, UP, Side.BUY, 1)
    positions.book(trade("o", 50, exec_id="other", status=TradeStatus.MINED, maker=False), SYMBOL, DOWN, Side.BUY, 1)
    bench.executor.mark(SYMBOL)
    for _ in range(2):
        shares(bench, 70 * QTY_ONE - MOST - 1)
    assert bench.state is BotState.FAILING


@pytest.mark.parametrize("qty", [None, TWENTY - 1], ids=["unknown", "a fill may be on its way"])
def test_a_read_of_shares_that_proves_nothing_is_asked_again(qty: int | None) -> None:
    bench = taken()
    shares(bench, qty)
    assert (bench.net(), set(bench.executor.taken)) == (20, {UP})


def test_two_reads_of_shares_that_differ_are_followed_by_a_third() -> None:
    bench = taken()
    for qty, net in ((TWENTY - 2, 20), (TWENTY - 1, 20), (TWENTY - 1, 19.999999)):
        shares(bench, qty)
        assert bench.net() == net


@pytest.mark.parametrize("why", ["resolved", "unknown market", "not asked for"])
def test_a_read_of_shares_that_nobody_waits_for_changes_nothing(why: str) -> None:
    bench = taken()
    if why == "resolved":
        bench.executor.positions.pay_out(SYMBOL, DOWN, bench.now)
    elif why == "unknown market":
        del bench.executor.desks[SYMBOL]
    else:
        bench.executor.taken.clear()
    bench.executor.mark(SYMBOL)
    before = dict(bench.executor.positions.of(SYMBOL).tokens)
    shares(bench, TWENTY - 1)
    assert (bench.executor.taken, bench.executor.positions.of(SYMBOL).tokens) == ({}, before)


# -- orphans ---------------------------------------------------------------------------------------------------------


def event(kind: ExecType, **given: object) -> ExecutionReport:
    fields = {"order_id": "0xf", "symbol": SYMBOL, "asset_id": UP, "side": Side.BUY, "px": 3000, **given}
    return ExecutionReport(exec_type=kind, source=Source.USER, **fields)  # type: ignore[arg-type]


def test_an_orphan_counts_with_the_most_that_any_of_its_events_says() -> None:
    bench = Bench(obey=False)
    sizes = []
    for report in (
        event(ExecType.NEW, order_qty=None),
        event(ExecType.UPDATE, cum_qty=3 * QTY_ONE),
        event(ExecType.NEW, order_qty=TWENTY),
        event(ExecType.UPDATE, cum_qty=4 * QTY_ONE),
    ):
        bench.tell(report)
        sizes.append(bench.executor.use(bench.executor.desks[SYMBOL]).long)
    assert sizes == [0, 3 * QTY_ONE, TWENTY, TWENTY]
    orphan = bench.executor.orphans["0xf"]
    assert (orphan.px, orphan.side, len(orphan.reports)) == (3000, Side.BUY, 4)


def test_an_orphan_of_unknown_price_counts_at_the_worst() -> None:
    bench = Bench(obey=False)
    bench.tell(event(ExecType.UPDATE, px=None, side=None, cum_qty=QTY_ONE))
    assert (bench.executor.orphans["0xf"].px, bench.executor.orphans["0xf"].side) == (PX_ONE, Side.BUY)
    bench.tell(trade("0xg", 1, px=4000, symbol=SYMBOL, asset_id=UP))
    assert bench.executor.orphans["0xg"].px == 4000


def test_nobody_is_adopted_before_t_orphan_or_before_the_first_read_of_trades() -> None:
    bench = Bench(obey=False)
    bench.tell(event(ExecType.NEW, order_qty=TWENTY))
    bench.run(1.95)
    assert set(bench.executor.orphans) == {"0xf"}
    bench.executor.baseline_done = False
    bench.run(1)
    assert set(bench.executor.orphans) == {"0xf"}
    bench.executor.baseline_done = True
    bench.tick()
    assert bench.executor.orphans == {}


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ((ExecType.NEW,), BotState.HALTED),
        ((ExecType.UPDATE,), BotState.HALTED),
        ((ExecType.NEW, ExecType.CANCELED), BotState.FAILING),
        ((ExecType.CANCELED,), BotState.FAILING),
    ],
)
def test_a_stranger_that_may_be_live_halts_and_one_that_ended_fails(
    kinds: tuple[ExecType, ...], state: BotState
) -> None:
    bench = Bench(obey=False)
    for kind in kinds:
        bench.tell(event(kind, order_qty=TWENTY, cum_qty=0))
    said = bench.run(2.05)
    assert bench.state is state
    assert [message.order_id for message in of(CancelOrder, said)] == ["0xf"]
    assert bench.order().state is (OrderState.CANCELED if ExecType.CANCELED in kinds else OrderState.PENDING_CANCEL)


def test_a_stranger_is_taken_in_with_the_fills_that_the_first_read_booked() -> None:
    bench = Bench(start=False, obey=False)
    bench.tell(event(ExecType.UPDATE, order_qty=TWENTY, cum_qty=5 * QTY_ONE))
    trades(bench, trade("0xf", 5, px=3000, **OURS))
    bench.run(2.05)
    order = bench.order()
    assert (order.cum_qty, order.voided, order.debt) == (5 * QTY_ONE, 0, 0)
    assert bench.executor.positions.of(SYMBOL).tokens == {UP: 5 * QTY_ONE}


def test_a_stranger_is_taken_in_with_the_fills_that_failed_before_anything_else_was_known() -> None:
    bench = Bench(obey=False)
    bench.tell(event(ExecType.UPDATE, order_qty=TWENTY, cum_qty=5 * QTY_ONE))
    bench.tell(event(ExecType.TRADE_CANCEL, exec_id="t1", last_px=3000, last_qty=5 * QTY_ONE))
    bench.run(2.05)
    order = bench.order()
    assert (order.cum_qty, order.voided, order.debt) == (0, 5 * QTY_ONE, 0)
    assert not any(bench.executor.positions.of(SYMBOL).tokens.values())


def test_a_strangers_fills_are_ours_and_its_events_are_counted_once() -> None:
    bench = Bench(obey=False)
    for n in range(2):
        bench.tell(trade("0xf", 7, exec_id=f"t{n}", px=3000, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    said = bench.run(2.05)
    assert [fill.qty for fill in of(Fill, said)] == [7 * QTY_ONE] * 2
    assert (bench.net(), bench.order().order_qty, bench.order().state) == (14, 14 * QTY_ONE, OrderState.FILLED)
    assert bench.executor.user_events == {"handled": 2, "duplicates": 0, "quarantined": 0}
    assert bench.state is BotState.FAILING


def test_a_stranger_whose_events_say_not_even_a_token_fails() -> None:
    bench = Bench(obey=False)
    bench.tell(event(ExecType.UPDATE, asset_id="", cum_qty=QTY_ONE))
    bench.run(2.05)
    assert (bench.state, bench.executor.orders.by_id, bench.executor.orphans) == (BotState.FAILING, {}, {})
    assert bench.executor.recovery.reasons == ["events of order 0xf say not even its token"]


def test_every_stranger_is_taken_in_at_its_time_and_the_unexplained_one_after_the_explained() -> None:
    bench = Bench(obey=False)
    failed = {"exec_id": "t1", "last_px": 3000, "last_qty": QTY_ONE}
    bench.tell(event(ExecType.TRADE_CANCEL, order_id="0xe", **failed))
    bench.tell(trade("0xf", 5, px=3000, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    bench.tick(1999)
    assert set(bench.executor.orphans) == {"0xe", "0xf"}
    bench.tick(1)
    assert bench.executor.orphans == {}
    assert (bench.order().order_id, bench.order().cum_qty, bench.order().venue_cum) == ("0xf", 5 * QTY_ONE, 0)
    assert bench.executor.recovery.reasons == ["fills of order 0xf, which was never ours"]


def test_a_failed_trade_without_an_id_explains_no_order_that_rests() -> None:
    bench = Bench(obey=False)
    bench.tell(event(ExecType.TRADE_CANCEL, last_px=3000, last_qty=QTY_ONE))
    bench.tell(event(ExecType.NEW, order_qty=TWENTY))
    said = bench.run(2.05)
    assert bench.state is BotState.HALTED
    assert [message.order_id for message in of(CancelOrder, said)] == ["0xf"]
    assert bench.order().venue_cum == 0


def test_a_fill_that_the_first_read_explains_makes_no_stranger() -> None:
    bench = Bench(obey=False)
    bench.executor.baseline_done = False
    bench.tell(trade("0xold", 5, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 5 * QTY_ONE
    trades(bench, trade("0xold", 5, **OURS))
    bench.run(2.05)
    assert (bench.net(), bench.state, bench.executor.orders.by_id) == (5, BotState.QUOTING, {})
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 5 * QTY_ONE


# -- gaps ------------------------------------------------------------------------------------------------------------


def gap(bench: Bench, feed: str = "user") -> None:
    bench.tell(StreamGap(feed=feed, reason="reconnected"))


def test_a_gap_while_cooling_down_with_nothing_out_is_read_over_anyway() -> None:
    bench = Bench()
    bench.tell(Fail(reason="test"))
    bench.run(2)
    assert bench.state is BotState.COOLDOWN
    epoch = bench.executor.recovery.epoch
    gap(bench)
    assert (bench.state, bench.executor.recovery.epoch) == (BotState.COOLDOWN, epoch)
    bench.run(6)
    assert bench.state is BotState.QUOTING


def test_a_gap_while_cooling_down_with_something_out_is_a_failure() -> None:
    bench, order = a_bid()
    bench.tell(Fail(reason="test"))
    bench.executor.recovery.state = BotState.COOLDOWN
    gap(bench)
    assert bench.state is BotState.FAILING and order.order_id in bench.executor.orders.live


def test_a_gap_while_reconciling_begins_the_reads_anew() -> None:
    bench = Bench(start=False, obey=False)
    bench.tick()
    first = bench.sent[:]
    bench.sent.clear()
    gap(bench)
    bench.tick()
    for kind in (TradesRequest, OrderMassStatusRequest):
        assert len(of(kind, first)) == len(of(kind, bench.sent)) == 1
    assert bench.state is BotState.RECONCILING


def test_a_gap_while_reconciling_with_an_order_open_is_a_failure() -> None:
    bench, _ = a_bid()
    bench.executor.recovery.state = BotState.RECONCILING
    gap(bench)
    assert bench.state is BotState.FAILING


def test_gaps_within_a_second_are_one() -> None:
    bench = Bench()
    for _ in range(30):
        gap(bench)
        bench.now += 30 * NS_PER_MS
    assert bench.state is BotState.FAILING and len(bench.executor._gaps) == 1
    bench.now += 100 * NS_PER_MS
    gap(bench)
    assert len(bench.executor._gaps) == 2


@pytest.mark.parametrize(("apart_s", "state"), [(29, BotState.HALTED), (30, BotState.FAILING)])
def test_the_eleventh_gap_within_five_minutes_halts(apart_s: int, state: BotState) -> None:
    bench = Bench()
    for n in range(11):
        bench.executor.recovery.state = BotState.QUOTING
        gap(bench)
        assert bench.state is (state if n == 10 else BotState.FAILING)
        bench.now += apart_s * NS_PER_S
    why = ["more than 10 gaps of the user stream in five minutes"] if state is BotState.HALTED else []
    assert [halt.reason for halt in of(Halt, bench.sent)] == why


def test_gaps_of_long_ago_do_not_hide_eleven_of_now() -> None:
    bench = Bench()
    for wait_s in (600, *[2] * 10, 0):
        bench.executor.recovery.state = BotState.QUOTING
        gap(bench)
        bench.now += wait_s * NS_PER_S
    assert bench.state is BotState.HALTED
