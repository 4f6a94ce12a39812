"""The worked sequences of the fault catalogue, told to the executor, and any order of reports. Cells: test_order_table."""

from __future__ import annotations

from desk_fake import SYMBOL, Bench, acked, of, placement, requests, trade
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.execution.orders import Order
from bot.messages import (
    BotState,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    Fail,
    Fill,
    FoundStatus,
    GateChange,
    Halt,
    MassCancel,
    MassCancelReport,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderState,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    Reject,
    Request,
    Source,
    TradeStatus,
)
from bot.units import NS_PER_S, QTY_ONE

TWENTY = 20 * QTY_ONE


# -- the worked sequences ------------------------------------------------------------------------------------------


def a_bid(*reports: str) -> tuple[Bench, Order]:
    """A bench that answers nothing, with one bid of 20 at 0.50 that was sent (and acked, placed)."""
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order = bench.order()
    for report in reports:
        bench.tell({"acked": acked, "placed": placement}[report](order.order_id))
    return bench, order


def found(order: Order, bench: Bench, what: FoundStatus, shares: float = 0, *trades: ExecutionReport) -> None:
    bench.tell(
        OrderStatusReport(
            order_id=order.order_id, found=what, cum_qty=round(shares * QTY_ONE), trades=trades,
            asked_ns=bench.now,
        )
    )  # fmt: skip


def cancellation(order: Order, shares: float) -> ExecutionReport:
    return ExecutionReport(
        order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=round(shares * QTY_ONE)
    )


def cancel_ok(order: Order) -> ExecutionReport:
    return ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL)


def snapshot(bench: Bench, *orders: Order) -> OpenOrders:
    rows = tuple(
        OpenOrder(
            order_id=o.order_id, symbol=o.symbol, asset_id=o.asset_id, side=o.side, px=o.px, order_qty=o.order_qty,
            cum_qty=o.venue_cum,
        )
        for o in orders
    )  # fmt: skip
    return OpenOrders(orders=rows, asked_ns=bench.now, recv_ns=bench.now)


def test_fill_before_ack() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    assert (order.state, order.cum_qty) == (OrderState.WORKING, 5 * QTY_ONE)
    bench.tell(placement(order.order_id))
    bench.tell(acked(order.order_id))
    assert (order.state, bench.net()) == (OrderState.WORKING, 5)


def test_full_match_before_the_response() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 20))
    assert order.state is OrderState.FILLED
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.MATCHED, source=Source.POST, cum_qty=TWENTY))
    assert (order.state, order.debt, bench.net()) == (OrderState.FILLED, 0, 20)


def test_timeout_but_live() -> None:
    bench, order = a_bid()
    said = bench.run(2.1)
    assert order.state is OrderState.UNKNOWN
    assert len(of(OrderStatusRequest, said)) == 1
    found(order, bench, FoundStatus.LIVE)
    assert order.state is OrderState.WORKING
    assert len(of(NewOrder, bench.sent)) == 1


def test_a_fill_that_passes_the_read_that_lacks_its_order_is_no_failure() -> None:
    bench, order = a_bid("acked", "placed")
    bench.run(6)
    bench.tell(snapshot(bench))
    assert order.state is OrderState.UNKNOWN
    bench.run(0.3)
    assert bench.state is BotState.QUOTING
    bench.tell(trade(order.order_id, 20))
    assert (order.state, bench.state) == (OrderState.FILLED, BotState.QUOTING)


def test_an_accepted_order_that_stays_unknown_for_five_seconds_is_one() -> None:
    bench, _ = a_bid("acked", "placed")
    bench.run(6)
    bench.tell(snapshot(bench))
    bench.run(4.95)
    assert bench.state is BotState.QUOTING
    bench.run(0.2)
    assert bench.state is BotState.FAILING


def test_timeout_cancel_wanted_never_arrived() -> None:
    bench, order = a_bid()
    bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.NEW))
    assert order.state is OrderState.UNKNOWN
    said = bench.intent()
    assert len(of(CancelOrder, said)) == 1
    bench.tell(CancelReject(order_id=order.order_id, text="not found"))
    assert (order.state, order.cancel_wanted) == (OrderState.UNKNOWN, True)
    bench.run(5.1)
    for _ in range(2):
        bench.now += NS_PER_S
        bench.tell(snapshot(bench))
        found(order, bench, FoundStatus.ABSENT)
    assert order.state is OrderState.CANCELED
    assert len(of(NewOrder, bench.sent)) == 1
    bench.now += 60 * NS_PER_S
    bench.tell(trade(order.order_id, 3))
    assert (order.state, bench.net()) == (OrderState.CANCELED, 3)


def test_cancel_loses() -> None:
    bench, order = a_bid("acked")
    bench.intent()
    assert order.state is OrderState.PENDING_CANCEL
    bench.tell(trade(order.order_id, 20))
    assert requests(bench.tell(CancelReject(order_id=order.order_id, text="already matched"))) == []
    assert (order.state, bench.net()) == (OrderState.FILLED, 20)


def test_cancel_wins_with_late_fill() -> None:
    bench, order = a_bid("acked")
    bench.intent()
    said = bench.tell(cancel_ok(order))
    assert (order.state, order.exposure) == (OrderState.CANCELED, TWENTY)
    assert len(of(OrderStatusRequest, said)) == 1
    bench.tell(trade(order.order_id, 3))
    assert (order.state, order.cum_qty, bench.net()) == (OrderState.CANCELED, 3 * QTY_ONE, 3)
    assert order.exposure == 17 * QTY_ONE
    found(order, bench, FoundStatus.CANCELED, 3, trade(order.order_id, 3, source=Source.READ))
    assert (order.exposure, bench.net()) == (0, 3)
    assert order.order_id not in bench.executor.orders.live


def test_cumulative_first() -> None:
    bench, order = a_bid("acked")
    bench.tell(trade(order.order_id, 5))
    bench.tell(
        ExecutionReport(
            order_id=order.order_id, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=12 * QTY_ONE
        )
    )  # fmt: skip
    assert (order.debt, bench.net()) == (7 * QTY_ONE, 5)
    bench.tell(trade(order.order_id, 7, exec_id="t2"))
    assert (order.debt, bench.net()) == (0, 12)


def test_debt_that_no_trade_pays_fails() -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(
        ExecutionReport(
            order_id=order.order_id, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=12 * QTY_ONE
        )
    )  # fmt: skip
    said = bench.run(2.9)
    assert bench.state is BotState.QUOTING and of(OrderStatusRequest, said)
    bench.run(0.3)
    assert bench.state is BotState.FAILING


def test_ghost() -> None:
    bench, order = a_bid("acked")
    bench.tell(trade(order.order_id, 20))
    assert order.state is OrderState.FILLED
    said = bench.tell(trade(order.order_id, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert [fill.qty for fill in of(Fill, said)] == [-TWENTY]
    assert (order.state, bench.net()) == (OrderState.UNKNOWN, 0)
    assert bench.executor.positions.cash == bench.cash
    assert of(OrderStatusRequest, said)
    assert of(MassCancel, said)[0].symbol == SYMBOL
    assert bench.state is BotState.QUOTING
    again = bench.tell(trade(order.order_id, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert requests(again) == [] and bench.net() == 0
    assert requests(bench.tell(trade(order.order_id, 20))) == [] and bench.net() == 0


def test_a_ghost_is_given_up_by_reads_and_quoting_goes_on() -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(trade(order.order_id, 20))
    bench.obey = True
    bench.tell(trade(order.order_id, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    bench.run(9)
    assert order.state is OrderState.CANCELED
    assert bench.state is BotState.QUOTING
    assert of(NewOrder, bench.intent(bid=4900))


def test_failed_first_buries_the_fill() -> None:
    bench, order = a_bid("acked")
    bench.tell(trade(order.order_id, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    bench.tell(trade(order.order_id, 20))
    assert (bench.net(), order.cum_qty) == (0, 0)


def test_replace_with_a_fill_in_between() -> None:
    bench, order = a_bid("acked")
    assert [type(m) for m in requests(bench.intent(bid=4900))] == [CancelOrder]
    assert of(NewOrder, bench.tell(trade(order.order_id, 4))) == []
    said = bench.tell(cancellation(order, 4))
    assert order.state is OrderState.CANCELED
    assert of(NewOrder, said)[0].px == 4900
    assert bench.net() == 4


def test_cancel_all_with_a_post_on_the_wire() -> None:
    bench, order = a_bid()
    said = bench.tell(Fail(reason="test"))
    assert [type(m) for m in requests(said)] == [GateChange, MassCancel]
    bench.tell(MassCancelReport(symbol="", known=True, asked_ns=bench.now))
    said = bench.tell(acked(order.order_id))
    assert order.state is OrderState.PENDING_CANCEL
    assert [m.order_id for m in of(CancelOrder, said)] == [order.order_id]
    assert len(of(MassCancel, bench.run(0.1))) == 1
    bench.tell(MassCancelReport(symbol="", known=True, canceled=(order.order_id,), asked_ns=bench.now))
    assert order.state is OrderState.CANCELED
    bench.obey = True
    bench.run(2)
    assert bench.state is BotState.COOLDOWN


def test_rejected_then_placement_is_a_contradiction() -> None:
    bench, order = a_bid()
    bench.tell(
        ExecutionReport(
            order_id=order.order_id, exec_type=ExecType.REJECTED, source=Source.POST, reject=Reject.POST_ONLY
        )
    )  # fmt: skip
    assert order.state is OrderState.REJECTED
    said = bench.tell(placement(order.order_id))
    assert order.state is OrderState.PENDING_CANCEL
    assert of(CancelOrder, said) and of(MassCancel, said)
    assert bench.state is BotState.FAILING


def test_an_order_unresolved_for_thirty_seconds_halts() -> None:
    bench, _ = a_bid("acked", "placed")
    bench.intent()
    bench.run(29)
    assert of(Halt, bench.sent) == []
    assert of(Halt, bench.run(3))
    assert len(of(CancelOrder, bench.sent)) >= 5


# -- any order of reports ------------------------------------------------------------------------------------------

SIZES = (5, 4, 11)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_of_reports_counts_each_fill_once(data: st.DataObject) -> None:
    bench, order = a_bid()
    oid = order.order_id
    trades = data.draw(st.integers(0, 3))
    reports = [acked(oid), placement(oid)]
    for n in range(trades):
        steps = [TradeStatus.MATCHED, TradeStatus.MINED, TradeStatus.CONFIRMED]
        reports += [trade(oid, SIZES[n], exec_id=f"t{n}", status=step) for step in steps]
        reports.append(
            ExecutionReport(
                order_id=oid,
                exec_type=ExecType.UPDATE,
                source=Source.USER,
                cum_qty=sum(SIZES[: n + 1]) * QTY_ONE,
            )
        )
    if data.draw(st.booleans()):
        bench.intent()
        reports.append(cancel_ok(order))
        reports.append(cancellation(order, sum(SIZES[:trades])))
    story = data.draw(st.permutations(reports + reports[: data.draw(st.integers(0, len(reports)))]))
    for report in story:
        bench.tell(report)
        if order.is_open:
            assert order.cum_qty + order.leaves_qty == order.order_qty
    total = sum(SIZES[:trades])
    assert bench.net() == total == order.cum_qty / QTY_ONE
    assert bench.executor.positions.cash == bench.cash - total * QTY_ONE // 2
    assert order.debt == 0
    assert sum(fill.qty for fill in of(Fill, bench.sent)) == total * QTY_ONE
