"""Facts about single orders: what each is told to, what is set aside, and what a refusal teaches."""

from __future__ import annotations

import pytest
from desk_fake import DOWN, SYMBOL, UP, Bench, a_market, acked, of, placement, trade

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
    MarketDropped,
    MarketListed,
    MarketResolved,
    MassCancel,
    MassCancelReport,
    NewOrder,
    OrderState,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    Reject,
    Request,
    Shutdown,
    Side,
    Source,
    TradesRead,
    TradeStatus,
)
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE

TWENTY = 20 * QTY_ONE


def a_bid(*, ack: bool = True) -> tuple[Bench, Order]:
    """A bid of 20 at 0.50 at a venue that answers nothing more by itself."""
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order = bench.order()
    if ack:
        bench.tell(acked(order.order_id))
        bench.tell(placement(order.order_id))
    return bench, order


def report(order: Order | str, kind: ExecType, source: Source = Source.USER, **given: object) -> ExecutionReport:
    order_id = order if isinstance(order, str) else order.order_id
    return ExecutionReport(order_id=order_id, exec_type=kind, source=source, **given)  # type: ignore[arg-type]


# -- orders without record -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "source"),
    [(ExecType.NEW, Source.POST), (ExecType.MATCHED, Source.POST), (ExecType.REJECTED, Source.POST)],
)
def test_an_answer_to_an_order_we_never_sent_is_a_contradiction(kind: ExecType, source: Source) -> None:
    bench = Bench()
    bench.tell(report("0xf", kind, source))
    assert bench.state is BotState.FAILING
    (reason,) = bench.executor.recovery.reasons
    assert reason.endswith(" for order 0xf, which we do not know")


def test_our_own_gate_never_refuses_an_order_we_do_not_know() -> None:
    with pytest.raises(AssertionError):
        Bench().tell(report("0xf", ExecType.REJECTED, Source.GATE))


@pytest.mark.parametrize("request_", list(Request))
def test_an_outcome_of_an_order_without_record_says_nothing(request_: Request) -> None:
    bench = Bench()
    assert bench.tell(OutcomeUnknown(order_id="0xf", request=request_)) == []
    assert bench.tell(CancelReject(order_id="0xf")) == []
    assert bench.tell(report("0xf", ExecType.CANCELED, Source.CANCEL)) == []
    assert bench.state is BotState.QUOTING


def test_a_failed_trade_of_an_order_we_do_not_know_is_buried_and_explained() -> None:
    bench = Bench()
    given = {"symbol": SYMBOL, "asset_id": UP, "side": Side.BUY}
    bench.tell(trade("0xf", 5, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED, **given))
    assert set(bench.executor.orphans) == {"0xf"}
    bench.run(2.1)
    assert (bench.executor.orphans, bench.state) == ({}, BotState.QUOTING)
    bench.tell(trade("0xf", 5, **given))
    assert bench.net() == 0


def test_a_trade_that_failed_before_it_was_told_is_kept_with_its_market_and_its_time() -> None:
    bench, order = a_bid()
    for order_id in ("0xf", order.order_id):
        failed = {"kind": ExecType.TRADE_CANCEL, "status": TradeStatus.FAILED, "symbol": SYMBOL, "asset_id": UP}
        bench.tell(trade(order_id, 5, **failed))  # type: ignore[arg-type]
        record = bench.executor.positions.fills["t1", order_id]
        assert (record.symbol, record.booked_ns, record.qty) == (SYMBOL, bench.now, 5 * QTY_ONE)
        assert record.void


# -- trades ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ExecType.TRADE, ExecType.TRADE_CANCEL])
def test_a_trade_that_failed_is_void_however_it_is_told(kind: ExecType) -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    (fill,) = of(Fill, bench.tell(trade(order.order_id, 5, kind=kind, status=TradeStatus.FAILED)))
    assert (fill.qty, fill.cl_ord_id) == (-5 * QTY_ONE, order.cl_ord_id)
    assert (bench.net(), order.cum_qty, order.voided) == (0, 0, 5 * QTY_ONE)
    assert bench.executor.user_events == {"handled": 3, "duplicates": 0, "quarantined": 0}
    assert bench.executor.alerts[-1].text == f"FAILED_KNOWN for order {order.order_id}"
    bench.tell(trade(order.order_id, 5, kind=kind, status=TradeStatus.FAILED))
    assert bench.executor.user_events == {"handled": 3, "duplicates": 1, "quarantined": 0}
    bench.tell(trade(order.order_id, 5, kind=kind, status=TradeStatus.FAILED))
    assert bench.executor.user_events == {"handled": 3, "duplicates": 2, "quarantined": 0}


def test_duplicates_that_a_read_brings_are_not_counted_as_user_events() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    bench.tell(trade(order.order_id, 5, source=Source.READ))
    assert bench.executor.user_events == {"handled": 2, "duplicates": 0, "quarantined": 0}


def test_settlement_steps_move_nothing_and_never_fall() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    for status, handled in (
        (TradeStatus.RETRYING, 3),
        (TradeStatus.CONFIRMED, 4),
        (TradeStatus.MINED, 4),
        (TradeStatus.CONFIRMED, 4),
    ):
        bench.tell(trade(order.order_id, 5, status=status))
        assert bench.executor.user_events["handled"] == handled
    assert (bench.net(), order.cum_qty, bench.executor.orphans) == (5, 5 * QTY_ONE, {})
    assert bench.executor.positions.fills["t1", order.order_id].status is TradeStatus.CONFIRMED


@pytest.mark.parametrize(("shares", "px"), [(6, 5000), (5, 4900)])
def test_a_trade_told_again_with_another_size_or_price_is_read_anew(shares: float, px: int) -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    said = bench.tell(trade(order.order_id, shares, px=px))
    assert [asked.order_id for asked in of(OrderStatusRequest, said)] == [order.order_id]
    assert (bench.net(), bench.state, bench.executor.alerts[-1].level) == (5, BotState.QUOTING, 2)
    assert bench.executor.alerts[-1].text.startswith("trade t1 was told again with another size or price")
    bench.tell(trade(order.order_id, shares, px=px, source=Source.READ))
    assert (bench.net(), bench.state) == (5, BotState.FAILING)
    assert bench.executor.recovery.reasons == ["trade t1 reads otherwise than it was told"]


def test_a_void_trade_may_be_told_with_any_size() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert of(OrderStatusRequest, bench.tell(trade(order.order_id, 6))) == []
    assert len(bench.executor.alerts) == 0


def history(bench: Bench) -> None:
    """A trade of an earlier run, whose order has no record."""
    row = trade("0xold", 5, source=Source.READ, symbol=SYMBOL, asset_id=UP, side=Side.BUY)
    bench.executor.baseline_done = False
    bench.tell(TradesRead(trades=(row,), after_utc_s=0, asked_ns=bench.now, recv_ns=bench.now))
    assert bench.net() == 5


def test_a_noisy_trade_of_an_earlier_run_is_only_told_to_a_person() -> None:
    bench = Bench()
    history(bench)
    assert bench.tell(trade("0xold", 6)) == []
    assert bench.executor.alerts[-1].level == 2
    assert bench.executor.user_events["duplicates"] == 1
    bench.tell(trade("0xold", 5, status=TradeStatus.MINED))
    assert bench.executor.positions.fills["t1", "0xold"].status is TradeStatus.MINED
    assert bench.executor.orphans == {}


def test_a_trade_of_an_earlier_run_that_fails_pulls_its_market() -> None:
    bench = Bench()
    history(bench)
    bench.intent(bid=5000)
    said = bench.tell(trade("0xold", 5, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert [fill.cl_ord_id for fill in of(Fill, said)] == [""]
    why = "trade t1 of an earlier run failed"
    assert of(MassCancel, said) == [MassCancel(symbol=SYMBOL, reason=why, made_ns=bench.now)]
    assert of(GateChange, said)[0].reason == bench.executor.alerts[-1].text == why
    assert (bench.net(), bench.state) == (0, BotState.QUOTING)
    assert of(NewOrder, bench.intent(bid=5000)) == []  # for five seconds
    bench.run(5)
    assert of(NewOrder, bench.intent(bid=4900))


def test_a_trade_of_an_earlier_run_that_fails_frees_what_it_used() -> None:
    bench = Bench()
    history(bench)
    assert bench.executor.use(bench.executor.desks[SYMBOL]).net == 5 * QTY_ONE
    bench.tell(trade("0xold", 5, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert bench.executor.use(bench.executor.desks[SYMBOL]).net == 0


def test_orders_are_counted_by_how_they_ended() -> None:
    bench = Bench(obey=False)
    for px in (4700, 4800, 4900, 5000):
        bench.intent(bid=px)
        order = bench.order(-1)
        if px < 4900:
            bench.tell(report(order, ExecType.CANCELED, Source.CANCEL))
        else:
            bench.tell(report(order, ExecType.REJECTED, Source.GATE, reject=Reject.STALE))
            bench.now += NS_PER_S
    assert {name: bench.executor.counts[name] for name in ("canceled", "rejected")} == {"canceled": 2, "rejected": 2}


def test_a_trade_that_fails_in_a_market_we_do_not_quote_is_told_to_a_person() -> None:
    bench = Bench()
    row = trade("0xold", 5, source=Source.READ, symbol="0xother", asset_id="u9", side=Side.BUY)
    bench.executor.baseline_done = False
    bench.tell(TradesRead(trades=(row,), after_utc_s=0, asked_ns=bench.now, recv_ns=bench.now))
    said = bench.tell(trade("0xold", 5, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    assert [(fill.up_side, fill.up_px) for fill in of(Fill, said)] == [(Side.BUY, 5000)]
    assert of(MassCancel, said) == [] and bench.executor.alerts[-1].level == 1


@pytest.mark.parametrize(
    "given",
    [{"exec_id": ""}, {"shares": 0}, {"px": 0}, {"px": PX_ONE}, {"asset_id": DOWN}, {"side": Side.SELL}],
)
@pytest.mark.parametrize("source", [Source.USER, Source.READ])
def test_a_trade_that_cannot_be_booked_is_set_aside_and_read(source: Source, given: dict[str, object]) -> None:
    bench, order = a_bid()
    bench.tell(placement(order.order_id))
    bench.executor.user_events["quarantined"] = 5
    handled = bench.executor.user_events["handled"]
    fields: dict[str, object] = {"shares": 5, "asset_id": UP, "side": Side.BUY, **given}
    said = bench.tell(trade(order.order_id, source=source, **fields))  # type: ignore[arg-type]
    assert (bench.net(), bench.state) == (0, BotState.FAILING)
    assert bench.executor.user_events == {
        "handled": handled, "duplicates": 0, "quarantined": 5 + (source is Source.USER)
    }  # fmt: skip
    other = "a trade of another token or side than our order" if {"asset_id", "side"} & set(given) else ""
    why = other or "a trade without id, size or price"
    assert bench.executor.recovery.reasons == [f"{why} ({order.order_id})"]
    assert bench.executor.recovery.epoch == 1
    assert [asked.order_id for asked in of(OrderStatusRequest, said)] == [order.order_id]


def test_a_trade_without_size_of_an_order_we_do_not_know_is_set_aside() -> None:
    bench = Bench()
    said = bench.tell(trade("0xf", 0))
    assert of(OrderStatusRequest, said) == [] and bench.executor.orphans == {}
    assert bench.state is BotState.FAILING


def test_a_price_at_either_end_of_the_grid_is_a_price() -> None:
    for px in (1, PX_ONE - 1):
        bench, order = a_bid()
        bench.tell(trade(order.order_id, 5, px=px))
        assert bench.net() == 5
    bench.tell(trade(order.order_id, 0.000001, exec_id="t2"))
    assert order.cum_qty == 5 * QTY_ONE + 1


def test_a_fill_that_took_liquidity_is_told_to_a_person() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    assert len(bench.executor.alerts) == 0
    bench.tell(trade(order.order_id, 5, exec_id="t2", maker=False))
    assert [(alert.level, alert.text) for alert in bench.executor.alerts] == [
        (2, "trade t2 took liquidity although orders are post-only")
    ]


def test_an_order_is_counted_as_filled_at_its_first_fill_only() -> None:
    bench, order = a_bid()
    for n in range(3):
        bench.tell(trade(order.order_id, 5, exec_id=f"t{n}"))
        assert bench.executor.counts["filled"] == 1
    bench.intent(offer=5200)
    bench.tell(trade(bench.order(1).order_id, 5, exec_id="t9"))
    assert bench.executor.counts["filled"] == 2


def test_an_unknown_step_is_owed_beside_what_was_booked_and_voided() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 5))
    bench.tell(trade(order.order_id, 5, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    bench.tell(trade(order.order_id, 3, exec_id="t2"))
    bench.tell(trade(order.order_id, 4, exec_id="t3", status=None))
    assert (order.debt, order.venue_cum) == (4 * QTY_ONE, 12 * QTY_ONE)
    assert (bench.executor.alerts[-1].level, bench.executor.alerts[-1].text) == (2, "trade t3 has an unknown status")


# -- answers ---------------------------------------------------------------------------------------------------------


def test_a_late_answer_to_an_order_of_a_market_that_is_gone_changes_only_its_record() -> None:
    bench, order = a_bid(ack=False)
    bench.tell(report(order, ExecType.CANCELED, cum_qty=0))
    bench.tell(MarketDropped(symbol=SYMBOL))
    assert bench.executor.desks == {}
    bench.tell(acked(order.order_id))
    assert (order.state, bench.executor.counts["acked"]) == (OrderState.CANCELED, 1)
    bench.tell(trade(order.order_id, 5))
    assert bench.executor.positions.of(SYMBOL).tokens == {UP: 5 * QTY_ONE}


def test_an_ack_that_says_matched_is_a_debt_until_the_trades_come() -> None:
    bench, order = a_bid(ack=False)
    bench.tell(report(order, ExecType.MATCHED, Source.POST, cum_qty=5 * QTY_ONE))
    assert (order.state, order.debt, bench.net()) == (OrderState.WORKING, 5 * QTY_ONE, 0)
    bench.intent(offer=5200)
    bench.tell(acked(bench.order(1).order_id))
    assert bench.executor.counts["acked"] == 2


def test_what_would_halt_a_bot_that_stops_is_a_reason_more() -> None:
    bench, order = a_bid()
    bench.tell(Shutdown(reason="signal"))
    bench.tell(trade(order.order_id, 25))
    assert bench.executor.recovery.reasons == ["signal", f"order {order.order_id} was filled beyond its size"]
    assert of(Halt, bench.sent) == []


def test_the_first_ack_is_the_one_that_counts() -> None:
    bench, order = a_bid()
    first = order.acked_ns
    bench.now += NS_PER_S
    bench.tell(acked(order.order_id))
    assert order.acked_ns == first


@pytest.mark.parametrize(
    ("took_ms", "pauses", "cancels"), [(500, False, False), (501, True, False), (1000, True, False), (1001, True, True)]
)
def test_a_slow_ack_pauses_new_orders_and_a_stale_one_is_cancelled(took_ms: int, pauses: bool, cancels: bool) -> None:
    bench, order = a_bid(ack=False)
    bench.now += took_ms * NS_PER_MS
    said = bench.tell(acked(order.order_id))
    assert len(of(CancelOrder, said)) == cancels
    assert len(of(NewOrder, bench.intent(bid=5000, offer=5200))) == (not pauses)
    bench.now += NS_PER_S
    assert len(of(NewOrder, bench.intent(bid=5000, offer=5300))) == pauses


def test_a_stale_ack_of_an_order_that_is_filled_cancels_nothing() -> None:
    bench, order = a_bid(ack=False)
    bench.tell(trade(order.order_id, 20))
    bench.now += 2 * NS_PER_S
    assert of(CancelOrder, bench.tell(acked(order.order_id))) == []


def test_an_order_is_answered_by_its_post_and_echoed_by_the_stream() -> None:
    bench, order = a_bid(ack=False)
    bench.tell(trade(order.order_id, 1, source=Source.READ))
    assert (order.answered, order.echoed) == (False, False)
    bench.tell(placement(order.order_id))
    assert (order.answered, order.echoed) == (False, True)
    bench.tell(acked(order.order_id))
    assert order.answered


@pytest.mark.parametrize("duplicated", [False, True])
def test_an_order_without_usable_answer_is_unknown_answered_and_asked_for(duplicated: bool) -> None:
    bench, order = a_bid(ack=False)
    said = bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.NEW, duplicated=duplicated))
    assert (order.state, order.answered) == (OrderState.UNKNOWN, True)
    assert len(of(OrderStatusRequest, said)) == 1


def test_a_duplicate_of_what_was_refused_is_a_contradiction_and_an_ambiguous_answer_is_not() -> None:
    for duplicated, state in ((False, BotState.QUOTING), (True, BotState.FAILING)):
        bench, order = a_bid(ack=False)
        bench.tell(report(order, ExecType.REJECTED, Source.POST, reject=Reject.MIN_SIZE))
        bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.NEW, duplicated=duplicated))
        assert bench.state is state
    assert bench.executor.recovery.reasons == [f"DUPLICATED contradicts order {order.order_id}, which was rejected"]


def test_a_cancel_without_usable_answer_is_sent_again_ever_later() -> None:
    bench, order = a_bid()
    bench.intent()
    waits = []
    for _ in range(5):
        start = bench.now
        bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.CANCEL))
        assert bench.executor.venue_down_ns == bench.now
        while not of(CancelOrder, bench.tick()):
            pass
        waits.append((bench.now - start) / NS_PER_S)
    assert waits == [0.5, 1, 2, 4, 4]


def test_a_cancel_that_the_venue_refuses_is_looked_into() -> None:
    bench, order = a_bid()
    bench.intent()
    said = bench.tell(CancelReject(order_id=order.order_id, text="already matched"))
    assert [message.order_id for message in of(OrderStatusRequest, said)] == [order.order_id]


def test_a_cancel_that_nobody_wanted_any_more_is_not_sent_again() -> None:
    bench, order = a_bid()
    bench.tell(trade(order.order_id, 20))
    bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.CANCEL))
    assert order.delete_due_ns == 0
    bench, order = a_bid()
    bench.tell(OutcomeUnknown(order_id=order.order_id, request=Request.CANCEL))  # of a DELETE before a restart
    assert order.delete_due_ns == bench.now + 500 * NS_PER_MS


# -- cancellations ---------------------------------------------------------------------------------------------------


def unasked(bench: Bench, number: int, cum: float = 0) -> None:
    bench.tell(report(bench.order(number), ExecType.CANCELED, cum_qty=round(cum * QTY_ONE)))


def test_a_burst_is_two_cancellations_within_two_seconds() -> None:
    for apart_ns, state in ((2 * NS_PER_S, BotState.FAILING), (2 * NS_PER_S + 1, BotState.QUOTING)):
        bench = Bench(obey=False)
        bench.intent(bid=4900, offer=5200)
        unasked(bench, 0)
        bench.now += apart_ns
        unasked(bench, 1)
        assert bench.state is state
        if state is BotState.FAILING:
            assert bench.executor.recovery.reasons == ["the venue cancelled orders that nobody asked it to"]


def test_a_cancellation_of_long_ago_does_not_hide_a_burst_of_now() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900, offer=5200)
    unasked(bench, 0)
    bench.now += 10 * NS_PER_S
    bench.intent(bid=4900, offer=5200)
    unasked(bench, 1)
    assert bench.state is BotState.QUOTING
    unasked(bench, 2)
    assert bench.state is BotState.FAILING


def test_cancellations_that_somebody_asked_for_are_no_burst() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900, offer=5200)
    bench.intent()
    for number in (0, 1):
        unasked(bench, number)
    assert bench.state is BotState.QUOTING


def test_cancellations_of_orders_that_have_ended_are_no_burst() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900, offer=5200)
    for number in (0, 1):
        bench.tell(report(bench.order(number), ExecType.CANCELED, Source.CANCEL))
        unasked(bench, number)
    assert bench.state is BotState.QUOTING


def test_a_cancellation_of_what_was_filled_is_no_burst() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900, offer=5200)
    unasked(bench, 0)
    order = bench.order(1)
    bench.tell(trade(order.order_id, 19.995))
    assert order.state is OrderState.FILLED
    bench.tell(report(order, ExecType.CANCELED, cum_qty=order.cum_qty))
    assert bench.state is BotState.QUOTING


@pytest.mark.parametrize("end", ["resolved", "over"])
def test_a_market_that_has_ended_may_cancel_by_itself(end: str) -> None:
    bench = Bench()
    bench.tell(MarketListed(market=a_market("0xb", "u2", "d2", end_s=60)))
    bench.intent(bid=4900, offer=5200, symbol="0xb")
    bench.obey = False
    if end == "over":
        bench.now = 60 * NS_PER_S
        bench.tick(0)
    else:
        desk = bench.executor.desks["0xb"]
        bench.tell(MarketResolved(symbol="0xb", winning_asset_id="u2"))
        desk.pulls = 0
        for number in (0, 1):
            bench.order(number).cancel_wanted = False
    for number in (0, 1):
        unasked(bench, number)
    assert bench.state is BotState.QUOTING


def test_orders_that_a_mass_cancel_could_not_cancel_are_asked_for() -> None:
    bench, order = a_bid()
    said = bench.tell(
        MassCancelReport(symbol="", known=True, not_canceled=(order.order_id,), asked_ns=bench.now)
    )  # fmt: skip
    assert order.state is OrderState.PENDING_CANCEL
    assert len(of(OrderStatusRequest, said)) == 1 and of(CancelOrder, said) == []


@pytest.mark.parametrize(
    ("symbol", "asked_ms", "cancels"), [("", 0, 1), (SYMBOL, 0, 1), ("0xother", 0, 0), ("", -1, 0)]
)
def test_an_order_that_a_mass_cancel_does_not_mention_is_cancelled_by_id(
    symbol: str, asked_ms: int, cancels: int
) -> None:
    bench, order = a_bid()
    report_ = MassCancelReport(symbol=symbol, known=True, asked_ns=order.sent_ns + asked_ms * NS_PER_MS)
    assert len(of(CancelOrder, bench.tell(report_))) == cancels


def test_a_mass_cancel_without_usable_answer_says_nothing_of_any_order() -> None:
    bench, order = a_bid()
    bench.now += NS_PER_S
    bench.tell(MassCancelReport(symbol="", known=False, canceled=(order.order_id,), asked_ns=bench.now))
    assert (order.state, bench.executor.venue_down_ns) == (OrderState.WORKING, bench.now)


# -- refusals --------------------------------------------------------------------------------------------------------


def refuse(bench: Bench, reject: Reject, source: Source = Source.POST, **given: object) -> None:
    (order,) = of(NewOrder, bench.intent(bid=5000, **given))
    bench.tell(report(order.order_id, ExecType.REJECTED, source, reject=reject, text="why"))


def test_an_order_of_an_old_epoch_was_refused_for_a_reason_we_know() -> None:
    bench = Bench(obey=False)
    (order,) = of(NewOrder, bench.intent(bid=5000))
    bench.tell(Fail(reason="test"))
    bench.tell(report(order.order_id, ExecType.REJECTED, Source.GATE, reject=Reject.EPOCH))
    assert len(bench.executor.alerts) == 1
    assert bench.executor.recovery.reasons == ["test"]


def test_an_order_of_this_epoch_that_the_gate_calls_old_means_that_somebody_shut_it() -> None:
    bench = Bench(obey=False)
    refuse(bench, Reject.EPOCH, Source.GATE)
    assert bench.state is BotState.FAILING
    assert bench.executor.recovery.reasons == ["the gate's epoch is ahead of ours: somebody shut it"]


def test_an_order_that_its_market_was_pulled_under_was_refused_for_a_reason_we_know() -> None:
    bench = Bench(obey=False)
    (order,) = of(NewOrder, bench.intent(bid=5000))
    bench.intent(cancel_first=True)
    bench.tell(report(order.order_id, ExecType.REJECTED, Source.GATE, reject=Reject.EPOCH))
    assert bench.state is BotState.QUOTING
    assert bench.executor.desks[SYMBOL].slots["bid"].repeats(5000, bench.now) == 0


def test_an_order_of_a_pulled_markets_epoch_that_the_gate_calls_old_means_that_somebody_shut_it() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900)
    bench.intent(cancel_first=True)
    bench.tell(report(bench.order(), ExecType.CANCELED, cum_qty=0))
    refuse(bench, Reject.EPOCH, Source.GATE)
    assert bench.state is BotState.FAILING


def test_too_small_an_order_is_a_refusal_that_we_can_tell_apart() -> None:
    bench = Bench(obey=False)
    refuse(bench, Reject.MIN_SIZE)
    assert bench.executor.refused == 0


@pytest.mark.parametrize("reject", [Reject.SHUT, Reject.STALE])
def test_what_our_own_gate_refused_is_tried_again_soon_and_is_no_repetition(reject: Reject) -> None:
    bench = Bench(obey=False)
    for _ in range(15):
        refuse(bench, reject, Source.GATE)
        assert of(NewOrder, bench.intent(bid=5000)) == []
        bench.executor.desks[SYMBOL].intent = None
        bench.now += 500 * NS_PER_MS
    assert bench.executor.desks[SYMBOL].slots["bid"].repeats(5000, bench.now) == 0


def test_a_short_wait_does_not_cut_a_longer_one() -> None:
    bench = Bench(obey=False)
    (order,) = of(NewOrder, bench.intent(bid=5000))
    slot = bench.executor.desks[SYMBOL].slots["bid"]
    slot.cool_until_ns = bench.now + 9 * NS_PER_S
    bench.tell(report(order.order_id, ExecType.REJECTED, Source.GATE, reject=Reject.SHUT))
    assert slot.cool_until_ns == bench.now + 9 * NS_PER_S


def test_a_refusal_in_a_market_that_is_gone_teaches_nothing_and_harms_nothing() -> None:
    bench = Bench(obey=False)
    (order,) = of(NewOrder, bench.intent(bid=5000))
    del bench.executor.desks[SYMBOL]
    bench.tell(report(order.order_id, ExecType.REJECTED, Source.GATE, reject=Reject.SHUT))
    assert bench.order().state is OrderState.REJECTED


@pytest.mark.parametrize(
    ("reject", "waits_s"),
    [(Reject.BALANCE, 2), (Reject.TICK, 2), (Reject.MIN_SIZE, 2), (Reject.VERSION, 2), (Reject.OTHER, 2)],
)
def test_a_refused_side_waits(reject: Reject, waits_s: int) -> None:
    bench = Bench(obey=False)
    refuse(bench, reject)
    bench.now += waits_s * NS_PER_S - 1
    assert of(NewOrder, bench.intent(bid=4900)) == []
    bench.now += 1
    assert of(NewOrder, bench.intent(bid=4900))


def test_an_ack_forgives_the_waits_of_a_side() -> None:
    bench = Bench(obey=False)
    for n in range(3):
        refuse(bench, Reject.BALANCE)
        bench.now += (2 << n) * NS_PER_S
    (order,) = of(NewOrder, bench.intent(bid=4900))
    slot = bench.executor.desks[SYMBOL].slots["bid"]
    assert (slot.cools, slot.balance_rejects) == (3, 3)
    bench.tell(acked(order.order_id))
    assert (slot.cools, slot.balance_rejects) == (0, 0)


@pytest.mark.parametrize(("reject", "versions"), [(Reject.VERSION, 2)])
def test_an_ack_forgives_one_mismatch_of_versions(reject: Reject, versions: int) -> None:
    bench = Bench(obey=False)
    refuse(bench, reject)
    bench.run(2)
    (order,) = of(NewOrder, bench.intent(bid=4900))
    bench.tell(acked(order.order_id))
    bench.tell(report(order.order_id, ExecType.CANCELED, cum_qty=0))
    bench.run(2)
    refuse(bench, reject)
    assert bench.state is BotState.QUOTING and of(Halt, bench.sent) == []


def test_the_reasons_of_refusals_that_end_quoting_are_told() -> None:
    bench = Bench(obey=False)
    for n in range(2):
        bench.now += n * 2 * NS_PER_S
        refuse(bench, Reject.VERSION)
    assert of(Halt, bench.sent)[0].reason == "the venue refuses our generation of orders"
    bench = Bench(obey=False)
    for _ in range(5):
        refuse(bench, Reject.BALANCE)
        bench.now += 60 * NS_PER_S
    assert bench.executor.alerts[-1].text == f"bid of {SYMBOL} is off: 5 balance rejects in a row"


def test_what_the_venue_says_of_a_refusal_stands_in_the_reason() -> None:
    for reject in (Reject.FORBIDDEN, Reject.RESTRICTED):
        bench = Bench(obey=False)
        refuse(bench, reject)
        assert bench.executor.recovery.reasons[0].endswith("why")


def test_a_429_halves_our_rate_and_neither_cools_nor_fails() -> None:
    bench = Bench(obey=False)
    refuse(bench, Reject.RATE)
    assert bench.executor.desks[SYMBOL].slots["bid"].cool_until_ns == 0
    assert bench.executor.budget._divisor == 2


def test_a_balance_refusal_reads_the_balance_and_a_post_only_one_waits_for_the_next_intent() -> None:
    bench = Bench(obey=False)
    refuse(bench, Reject.BALANCE)
    assert [type(message).__name__ for message in bench.sent].count("BalanceRequest") == 1
    bench = Bench(obey=False)
    refuse(bench, Reject.POST_ONLY)
    assert of(NewOrder, bench.run(0.2)) == []
    assert of(NewOrder, bench.intent(bid=5000))


def test_a_read_of_one_order_answers_for_its_trades() -> None:
    bench, order = a_bid()
    bench.tell(
        OrderStatusReport(
            order_id=order.order_id,
            found=FoundStatus.MATCHED,
            cum_qty=TWENTY,
            trades=(trade(order.order_id, 20, source=Source.READ),),
            asked_ns=bench.now,
        )
    )
    assert (order.state, order.debt, bench.net()) == (OrderState.FILLED, 0, 20)
