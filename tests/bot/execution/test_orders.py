"""The order state machine: every cell, every worked sequence of the fault catalogue, and any order of reports."""

from __future__ import annotations

import pytest
from desk_fake import SYMBOL, UP, Bench, acked, of, placement, requests, trade
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.execution.orders import CELLS, COLUMNS, Do, Event, Order, Orders
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
    Side,
    Source,
    TradeStatus,
)
from bot.units import NS_PER_S, QTY_ONE

# The catalogue's table as a person reads it: what each cell does, in words of its own.
CATALOGUE = """
E1  | bug | PN | bug | bug | bug | bug | bug | bug | bug
E2  | bug | RJ | RJ | RJ | bug | bug | = | bug | bug
E3  | = | RJ | want,delete | want,delete | PC,delete | = | = | = | =
E4  | = | RJ | want | want | PC | = | = | = | =
E5  | new | RJ,new | want,delete,hold | want,delete,hold | PC,delete,hold | hold | new | new | new
E6  | = | = | UNK,query | query | = | = | = | = | =
E7  | = | = | = | = | = | delete | = | = | =
E8  | alarm | bug | W | W | = | = | = | = | alarm,PC,delete
E9  | alarm | bug | W,cum,query | W,cum,query | cum,query | cum,query | cum,query | = | alarm,PC,cum,query
E10 | alarm | bug | RJ | RJ | alarm,query | query | = | alarm,query | =
E11 | = | bug | UNK,query | query | = | = | = | = | =
E12 | = | bug | UNK,query | query | = | = | = | = | alarm,PC,delete
E13 | = | bug | CX,query | CX,query | CX,query | CX,query | = | = | alarm
E14 | = | bug | want | want,query | PC,query | query | = | = | =
E15 | = | bug | want | want | PC | = | = | = | =
E16 | = | = | want | want,query | PC,delete | delete | = | = | =
E17 | orphan | alarm | W | W | = | = | = | = | alarm,PC,delete
E18 | orphan | alarm | W,cum | W,cum | cum | cum | cum | cum | alarm,PC,cum
E19 | orphan | alarm | W,fill | W,fill | fill | fill | fill | fill,alarm | alarm,PC,fill
E20 | orphan | bug | rank | rank | rank | rank | rank | rank | rank
E21 | orphan | bug | count | count | count | count | count | count | count
E22 | orphan | bug | bug | void,query,market | void,market | void,market | void,market | void,UNK,query,market | void,market
E23 | orphan,tomb | alarm | W,tomb | W,tomb | tomb | tomb | tomb | tomb | tomb
E24 | orphan | alarm | CX,cum | CX,cum | CX,cum | CX,cum | cum | cum | cum
E25 | adopt,delete,alarm | alarm | W,cum | W,cum | cum | cum,delete | = | = | alarm,PC,delete
E26 | = | = | = | query | UNK,query | query | = | = | =
E27 | = | bug | = | = | UNK,query | = | = | = | =
E28C| adopt,alarm | bug | CX,cum | CX,cum | CX,cum | CX,cum | cum | = | alarm,cum,query
E28M| adopt,alarm | bug | UNK,cum,query | cum,query | cum,query | cum,query | cum | = | alarm,cum,query
E29 | = | RJ | want | want | PC | = | query | query | query
E30 | = | RJ | UNK,want | UNK,want | UNK,want | UNK,want | query | query | query
"""
ROWS = {
    Event(line.split("|")[0].strip()): [cell.strip() for cell in line.split("|")[1:]]
    for line in CATALOGUE.strip().splitlines()
}
WORDS = {"delete": Do.DELETE, "query": Do.QUERY, "fill": Do.FILL, "void": Do.VOID, "tomb": Do.TOMB, "rank": Do.RANK,
         "count": Do.COUNT, "orphan": Do.ORPHAN, "adopt": Do.ADOPT, "hold": Do.HOLD, "new": Do.NEW, "alarm": Do.ALARM,
         "market": Do.ALARM_MARKET}  # fmt: skip
TWENTY = 20 * QTY_ONE
T = 100 * NS_PER_S


def an_order(state: OrderState, **given: object) -> tuple[Orders, Order]:
    orders = Orders(epoch_of=lambda symbol: 1)
    order = Order(
        cl_ord_id="c", order_id="o", symbol=SYMBOL, asset_id=UP, side=Side.BUY, px=5000, order_qty=TWENTY, epoch=1,
        created_ns=NS_PER_S, sent_ns=NS_PER_S, state=state, cancel_wanted=state is OrderState.PENDING_CANCEL,
    )  # fmt: skip
    if state is OrderState.FILLED:
        order.cum_qty = order.venue_cum = TWENTY
    for name, value in given.items():
        setattr(order, name, value)
    orders.add(order)
    return orders, order


@pytest.mark.parametrize("column", list(enumerate(COLUMNS.items())), ids=lambda column: column[1][0])
@pytest.mark.parametrize("event", list(Event))
def test_every_cell_does_what_the_catalogue_says(
    event: Event, column: tuple[int, tuple[str, OrderState | None]]
) -> None:
    index, (_, state) = column
    says = ROWS[event][index].split(",")
    orders, order = (Orders(epoch_of=lambda symbol: 1), None) if state is None else an_order(state)
    if says == ["bug"]:
        with pytest.raises(AssertionError):
            orders.apply(event, order, T)
        return
    cum, qty = 5 * QTY_ONE, 3 * QTY_ONE
    did = set(orders.apply(event, order, T, cum=cum, qty=qty, asked_ns=T)) - {Do.ENDED, Do.HALT}
    assert did == {WORDS[word] for word in says if word in WORDS}
    if order is not None:
        goes = [COLUMNS[word] for word in says if word in COLUMNS]
        assert order.state is (goes[0] if goes else state)
        if "want" in says:
            assert order.cancel_wanted
        if "cum" in says:
            assert order.venue_cum >= cum


def test_no_cell_leads_from_an_ended_order_back_to_work() -> None:
    for (_, state), codes in CELLS.items():
        if state in (OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED):
            assert ">W*" not in codes


@pytest.mark.parametrize("event", [Event.ACKED, Event.PLACEMENT, Event.UPDATE, Event.TRADE, Event.SNAPSHOT_LISTS])
@pytest.mark.parametrize("given", [{"cancel_wanted": True}, {"epoch": 0}])
def test_an_ack_of_an_order_nobody_wants_any_more_is_cancelled_at_once(event: Event, given: dict[str, object]) -> None:
    orders, order = an_order(OrderState.PENDING_NEW, **given)
    assert Do.DELETE in orders.apply(event, order, T, qty=QTY_ONE, asked_ns=T)
    assert order.state is OrderState.PENDING_CANCEL


def test_a_delete_is_repeated_by_its_timer_only_if_cancel_was_wanted() -> None:
    orders, order = an_order(OrderState.PENDING_NEW, cancel_wanted=True)
    assert orders.apply(Event.CANCEL_TIMER, order, T) == [Do.DELETE]


def test_a_reject_of_an_order_that_was_matched_is_a_contradiction() -> None:
    orders, order = an_order(OrderState.UNKNOWN, venue_cum=QTY_ONE)
    assert set(orders.apply(Event.REJECTED, order, T)) == {Do.ALARM, Do.QUERY}
    assert order.state is OrderState.UNKNOWN


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.FILLED])
def test_an_ended_order_must_be_listed_twice_before_it_is_believed(state: OrderState) -> None:
    orders, order = an_order(state)
    assert orders.apply(Event.SNAPSHOT_LISTS, order, T, asked_ns=T) == []
    orders.apply(Event.SNAPSHOT_LACKS, order, T)
    assert orders.apply(Event.SNAPSHOT_LISTS, order, T, asked_ns=T) == []
    assert Do.ALARM in orders.apply(Event.SNAPSHOT_LISTS, order, T + 1, asked_ns=T + 1)
    assert order.state is OrderState.PENDING_CANCEL or state is OrderState.FILLED


def test_two_reads_without_it_end_a_cancel_only_with_an_empty_query_and_no_debt() -> None:
    orders, order = an_order(OrderState.PENDING_CANCEL)
    orders.apply(Event.SNAPSHOT_LACKS, order, T, asked_ns=T)
    orders.apply(Event.SNAPSHOT_LACKS, order, T + NS_PER_S, asked_ns=T + NS_PER_S)
    assert order.state is OrderState.PENDING_CANCEL
    orders.apply(Event.QUERY_NULL, order, T + 2 * NS_PER_S, asked_ns=T + 2 * NS_PER_S)
    assert order.state is OrderState.CANCELED


@pytest.mark.parametrize(("cum", "state"), [(19_990_001, OrderState.FILLED), (19_980_000, OrderState.WORKING)])
def test_dust_counts_as_filled(cum: int, state: OrderState) -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.apply(Event.TRADE, order, T, qty=cum)
    assert order.state is state


def test_more_than_was_ordered_halts_and_stays_true() -> None:
    orders, order = an_order(OrderState.WORKING)
    assert Do.HALT in orders.apply(Event.TRADE, order, T, qty=21 * QTY_ONE)
    assert order.cum_qty == 21 * QTY_ONE


@pytest.mark.parametrize(
    ("state", "exposure"), [(s, 15 if s not in (OrderState.CANCELED, OrderState.REJECTED) else 0) for s in OrderState]
)
def test_exposure_counts_all_that_may_still_fill(state: OrderState, exposure: int) -> None:
    _, order = an_order(state)
    order.cum_qty = 5 * QTY_ONE
    order.venue_cum = TWENTY if state is OrderState.FILLED else 0
    assert order.exposure == exposure * QTY_ONE


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
