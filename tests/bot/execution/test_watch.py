"""The timers of orders: silence of the venue is asked about, failed over and halted over at its times, not sooner."""

from __future__ import annotations

import pytest
from desk_fake import SYMBOL, UP, Bench, acked, of, placement, trade

from bot.execution.orders import Order
from bot.messages import (
    BotState,
    CancelOrder,
    ExecType,
    ExecutionReport,
    Fail,
    FoundStatus,
    Halt,
    OpenOrders,
    OrderState,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    Request,
    Source,
    TradesRequest,
    TradeStatus,
)
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE

S, MS = NS_PER_S, NS_PER_MS


def a_bid(*reports: str) -> tuple[Bench, Order]:
    bench = Bench(obey=False)
    bench.intent(bid=5000, valid_until_ns=bench.now + 3600 * S)
    order = bench.order()
    for report in reports:
        bench.tell({"acked": acked, "placed": placement}[report](order.order_id))
    bench.sent.clear()
    return bench, order


def at(bench: Bench, order: Order, after_ns: int) -> None:
    """One tick, so long after the order was sent."""
    bench.now = order.sent_ns + after_ns
    bench.tick(0)


def update(order: Order, cum: int) -> ExecutionReport:
    return ExecutionReport(
        order_id=order.order_id, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=cum * QTY_ONE
    )


def test_a_post_without_answer_is_unknown_from_t_ack_on() -> None:
    bench, order = a_bid()
    at(bench, order, 2 * S - 1)
    assert (order.state, of(OrderStatusRequest, bench.sent)) == (OrderState.PENDING_NEW, [])
    at(bench, order, 2 * S)
    assert order.state is OrderState.UNKNOWN
    assert of(OrderStatusRequest, bench.sent) == [
        OrderStatusRequest(cl_ord_id=order.cl_ord_id, order_id=order.order_id, symbol=SYMBOL, asked_ns=bench.now)
    ]


def test_an_unknown_order_is_asked_for_again_t_ack_after_the_last_answer_at_most() -> None:
    bench, order = a_bid()
    said = bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.NEW))
    asked = []
    while len(asked) < 4:
        for _ in of(OrderStatusRequest, said):
            asked.append((bench.now - order.sent_ns) / S)
            found = FoundStatus.MATCHED if len(asked) == 2 else FoundStatus.ABSENT  # MATCHED has the table ask, too
            bench.tell(OrderStatusReport(order_id=order.order_id, found=found, asked_ns=order.changed_ns))
        said = bench.tick()
    assert asked == [0.0, 2.0, 2.5, 4.5]


def test_a_query_without_answer_is_given_up_and_asked_again() -> None:
    bench, order = a_bid()
    bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.NEW))
    assert order.query_ns == order.sent_ns
    at(bench, order, 3500 * MS)
    assert (order.query_ns, order.query_due_ns) == (order.sent_ns, 0)
    at(bench, order, 3500 * MS + 1)
    assert (order.query_ns, order.queries) == (0, 1)
    assert order.query_due_ns == bench.now + S
    said = bench.run(1.05)
    assert [message.order_id for message in of(OrderStatusRequest, said)] == [order.order_id]


def test_a_tail_is_asked_for_until_it_is_known() -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL))
    ended = bench.now
    order.query_ns = 0  # the answer to that query was to another one
    order.tail_ns = ended
    said = bench.run(1)
    assert len(of(OrderStatusRequest, said)) == 1
    bench.tell(
        OrderStatusReport(order_id=order.order_id, found=FoundStatus.CANCELED, asked_ns=order.query_ns)
    )  # fmt: skip
    assert order.tail_ns == 0
    bench.sent.clear()
    bench.run(3)
    assert of(OrderStatusRequest, bench.sent) == []


def test_a_delete_without_answer_is_sent_again_at_its_time_while_the_order_is_open() -> None:
    bench, order = a_bid("acked", "placed")
    bench.intent()
    wanted = bench.now
    while not of(CancelOrder, bench.tick()):
        pass
    assert bench.now - wanted == 2 * S
    bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0))
    order.delete_due_ns = 1
    order.query_ns = 1  # still live for its query
    bench.executor.orders.live[order.order_id] = order
    assert of(CancelOrder, bench.tick()) == []


def test_a_debt_is_asked_for_from_the_query_gap_on_and_fails_after_t_debt() -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(update(order, 5))
    at(bench, order, 500 * MS - 1)
    assert of(OrderStatusRequest, bench.sent) == []
    at(bench, order, 500 * MS)
    assert len(of(OrderStatusRequest, bench.sent)) == 1
    at(bench, order, 1100 * MS)
    assert len(of(OrderStatusRequest, bench.sent)) == 1  # one is out
    bench.tell(
        OrderStatusReport(order_id=order.order_id, found=FoundStatus.LIVE, cum_qty=5 * QTY_ONE, asked_ns=bench.now)
    )
    at(bench, order, 1150 * MS)
    assert len(of(OrderStatusRequest, bench.sent)) == 2
    at(bench, order, 3 * S)
    assert bench.state is BotState.QUOTING
    at(bench, order, 3 * S + 1)
    assert bench.state is BotState.FAILING
    assert bench.executor.recovery.reasons == [f"no trade shows {5 * QTY_ONE} of order {order.order_id}"]


def test_queries_about_a_debt_are_half_a_second_apart() -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(update(order, 5))
    asked = []
    while bench.now < order.sent_ns + 2 * S:
        for request in of(OrderStatusRequest, bench.tick()):
            asked.append((bench.now - order.sent_ns) // MS)
            bench.tell(OrderStatusReport(order_id=order.order_id, found=FoundStatus.LIVE, asked_ns=request.asked_ns))
    assert asked == [500, 1000, 1500, 2000]


def test_a_debt_that_no_trade_ever_shows_halts_and_a_person_writes_it_off() -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(update(order, 5))
    bench.tell(
        ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=5 * QTY_ONE)
    )
    at(bench, order, 3 * S + 1)
    assert bench.state is BotState.FAILING
    bench.executor.venue_down_ns = 0
    at(bench, order, 30 * S)
    assert of(Halt, bench.sent) == []
    at(bench, order, 30 * S + 1)
    assert [halt.reason for halt in of(Halt, bench.sent)] == [
        f"no trade ever showed {5 * QTY_ONE} of order {order.order_id}"
    ]
    at(bench, order, 40 * S)
    assert len(of(Halt, bench.sent)) == 1


@pytest.mark.parametrize(("down_ns", "halts"), [(S, 1), (S + 1, 0)])
def test_neither_a_debt_nor_a_stuck_order_halts_while_the_venue_does_not_answer(down_ns: int, halts: int) -> None:
    bench, order = a_bid("acked", "placed")
    bench.tell(update(order, 5))
    bench.executor.venue_down_ns = order.sent_ns + down_ns
    bench.executor.recovery.state = BotState.FAILING
    at(bench, order, 31 * S + 1)
    assert len(of(Halt, bench.sent)) == halts
    bench, order = a_bid("acked", "placed")
    bench.intent()
    bench.executor.venue_down_ns = order.sent_ns + down_ns
    at(bench, order, 31 * S + 1)
    assert len(of(Halt, bench.sent)) == halts


@pytest.mark.parametrize("state", [OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL])
@pytest.mark.parametrize("bot", [BotState.HALTED, BotState.STOPPING, BotState.STOPPED])
def test_a_bot_that_stays_out_anyway_is_not_halted_again(state: OrderState, bot: BotState) -> None:
    bench, order = a_bid("acked", "placed")
    order.state, order.venue_cum, order.debt_since_ns = state, 5 * QTY_ONE, order.sent_ns
    bench.executor.recovery.state = bot
    at(bench, order, 60 * S)
    assert of(Halt, bench.sent) == []
    bench.executor.recovery.state = BotState.FAILING
    order.state, order.since_ns = state, order.sent_ns
    bench.tick(0)
    assert len(of(Halt, bench.sent)) == 1


def test_an_order_is_stuck_only_after_t_resolve_in_its_state() -> None:
    bench, order = a_bid("acked", "placed")
    bench.intent()
    at(bench, order, 30 * S)
    assert of(Halt, bench.sent) == []
    at(bench, order, 30 * S + 1)
    assert [halt.reason for halt in of(Halt, bench.sent)] == [f"order {order.order_id} stays pending_cancel"]


def test_a_working_order_may_work_for_ever() -> None:
    bench, order = a_bid("acked", "placed")
    at(bench, order, 300 * S)
    assert (order.state, bench.state) == (OrderState.WORKING, BotState.QUOTING)


def test_an_ack_must_be_echoed_within_three_seconds_and_only_while_quoting() -> None:
    bench, order = a_bid("acked")
    at(bench, order, 3 * S)
    assert bench.state is BotState.QUOTING
    at(bench, order, 3 * S + 1)
    assert bench.executor.recovery.reasons == [f"the user stream never spoke of order {order.order_id}"]
    bench, order = a_bid("acked")
    bench.tell(Fail(reason="test"))
    at(bench, order, 3 * S + 1)
    assert order.echoed and bench.executor.recovery.reasons == ["test"]
    bench, order = a_bid("placed")
    bench.tell(acked(order.order_id))
    at(bench, order, 3 * S + 1)
    assert bench.state is BotState.QUOTING


def test_an_outcome_is_unknown_for_five_seconds_at_most_while_quoting() -> None:
    for reports, since in (((), 0), (("acked", "placed"), 10 * S)):
        bench, order = a_bid(*reports)
        if reports:
            at(bench, order, since)
            bench.tell(OpenOrders(orders=(), asked_ns=bench.now, recv_ns=bench.now))
        at(bench, order, since + 5 * S)
        assert (order.state, bench.state) == (OrderState.UNKNOWN, BotState.QUOTING)
        at(bench, order, since + 5 * S + 1)
        assert bench.executor.recovery.reasons == [f"the outcome of order {order.order_id} is unknown"]


@pytest.mark.parametrize("said", ["acked", "echoed"])
def test_an_order_that_the_venue_once_spoke_of_was_accepted(said: str) -> None:
    bench, order = a_bid()
    at(bench, order, 2 * S)
    order.acked_ns = order.sent_ns + 4 * S if said == "acked" else 0
    order.echoed = said == "echoed"
    order.since_ns = order.sent_ns + 4 * S
    at(bench, order, 6 * S)
    assert bench.state is BotState.QUOTING


def test_an_unknown_order_fails_nothing_that_fails_already_nor_one_whose_fill_came_back() -> None:
    bench, order = a_bid()
    bench.tell(Fail(reason="test"))
    at(bench, order, 6 * S)
    assert bench.executor.recovery.reasons == ["test"]
    bench, order = a_bid("acked", "placed")
    bench.tell(trade(order.order_id, 20))
    bench.tell(trade(order.order_id, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    at(bench, order, 6 * S)
    assert (order.state, bench.state) == (OrderState.UNKNOWN, BotState.QUOTING)


@pytest.mark.parametrize("status", [TradeStatus.MATCHED, TradeStatus.MINED])
def test_trades_that_are_not_mined_for_a_minute_are_read_again(status: TradeStatus) -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20, status=status))
    bench.resting.clear()
    bench.sent.clear()
    booked_s = (bench.executor.utc_ns()) // S
    asked = []
    bench.obey = False
    while not asked and bench.now < 200 * S:
        bench.executor._balance_ns = 0  # so that it looks at every tick
        asked = of(TradesRequest, bench.tick())
    if status is TradeStatus.MINED:
        assert asked == []
    else:
        assert asked == [TradesRequest(after_utc_s=booked_s - 60, asked_ns=bench.now)]
        assert bench.now - bench.executor.positions.fills["t1", bench.order().order_id].booked_ns == 60_050 * MS
        assert bench.executor.ghosts(UP) == 20 * QTY_ONE
        assert bench.executor.use(bench.executor.desks[SYMBOL]).net == 20 * QTY_ONE
