"""The executor end to end: quote, fill, fail, recover, halt, settle."""

from __future__ import annotations

import msgspec
import pytest
from desk_fake import DOWN, SYMBOL, UP, UTC0, Bench, a_market, acked, of, placement, requests, trade

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
    GateChange,
    Halt,
    MarketListed,
    MarketResolved,
    MassCancel,
    MassCancelReport,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderState,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    PositionReport,
    QuoteMode,
    Reject,
    Request,
    Resume,
    Route,
    Settled,
    Shares,
    SharesRequest,
    Shutdown,
    Side,
    Source,
    StreamGap,
    TickSizeChange,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE


def test_a_first_start_reads_everything_and_then_quotes_at_once() -> None:
    bench = Bench(start=False)
    bench.tell(FeedStatus(feed="user", connected=True))
    said = bench.tick()
    assert {type(m) for m in requests(said)} == {BalanceRequest, TradesRequest, OrderMassStatusRequest, GateChange}
    assert of(GateChange, said)[-1].shut is False
    assert bench.state is BotState.QUOTING


def test_an_intent_becomes_two_orders_that_are_acknowledged() -> None:
    bench = Bench()
    said = bench.intent(bid=4900, offer=5200, cause_ns=77)
    bid, offer = of(NewOrder, said)
    assert (bid.cause_ns, bid.made_ns, bid.valid_until_ns) == (77, bench.now, bench.now + 250 * NS_PER_MS)
    assert (bid.cl_ord_id, bid.salt, bid.timestamp_ms) == ("1000-1", 0x1001, (UTC0 + bench.now) // NS_PER_MS)
    assert (bid.version, bid.neg_risk, bid.tick, bid.epoch, bid.symbol) == (2, False, 100, 0, SYMBOL)
    assert (bid.side, bid.asset_id, bid.px, bid.order_qty) == (Side.BUY, UP, 4900, 20 * QTY_ONE)
    assert (bid.maker_amount, bid.taker_amount) == (9_800_000, 20_000_000)
    assert (offer.side, offer.asset_id, offer.px) == (Side.BUY, DOWN, 4800)
    assert [o.state for o in bench.executor.orders.live.values()] == [OrderState.WORKING] * 2
    assert of(PositionReport, said)[-1].cash == 500 * USD_ONE - 9_800_000 - 9_600_000


def test_the_same_wish_again_causes_no_traffic() -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200)
    assert bench.intent(bid=4900, offer=5200, size=25) == []


def test_a_new_price_cancels_first_and_places_when_the_old_order_has_ended() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900)
    oid = bench.order().order_id
    bench.tell(acked(oid))
    said = requests(bench.intent(bid=4800))
    assert [type(m) for m in said] == [CancelOrder]
    ended = bench.answers(said[0])
    said = requests(bench.tell(ended[0]))
    assert of(NewOrder, said)[0].px == 4800


def test_failing_recovers_through_two_empty_reads_a_cooldown_and_new_reads() -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200)
    epoch = bench.executor.recovery.epoch
    said = bench.tell(Fail(reason="heartbeat", epoch=7))
    gate = of(GateChange, said)[0]
    assert (gate.epoch, gate.shut) == (8, True) and gate.epoch > epoch
    assert of(MassCancel, said)
    assert bench.state is BotState.FAILING
    bench.run(1.8)
    assert bench.state is BotState.COOLDOWN
    bench.run(5.5)
    assert bench.state is BotState.QUOTING
    assert bench.intent(bid=4900, epoch=0) == []
    assert of(NewOrder, bench.intent(bid=4900))[0].epoch == 8


def test_a_fill_is_booked_once_and_reported() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000, offer=5200)
    oid = bench.order().order_id
    bench.tell(acked(oid))
    bench.tell(placement(oid))
    said = bench.tell(trade(oid, 5))
    assert of(Fill, said)[0].qty == 5 * QTY_ONE
    assert bench.net() == 5
    assert requests(bench.tell(trade(oid, 5))) == []
    assert bench.net() == 5
    assert bench.executor.user_events == {"handled": 2, "duplicates": 1, "quarantined": 0}


@pytest.mark.parametrize(("winner", "payout"), [(UP, 20 * USD_ONE), (DOWN, 0)])
def test_a_resolved_market_is_paid_once(winner: str, payout: int) -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20))
    said = bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=winner))
    settled = of(Settled, said)[0]
    assert (settled.payout, settled.pnl) == (payout, payout - 10 * USD_ONE)
    assert bench.executor.positions.cash == 500 * USD_ONE - 10 * USD_ONE + payout
    assert bench.executor.use(bench.executor.desks[SYMBOL]).capital == 0
    assert of(Settled, bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=winner))) == []


def test_a_market_resolved_otherwise_the_second_time_halts() -> None:
    bench = Bench()
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    said = bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=DOWN))
    assert of(Halt, said)[0].reason == "btc-updown-1h-1 was resolved twice, and not alike"
    assert bench.state is BotState.HALTED


def test_a_halt_stays_flat_until_resumed() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(Halt(reason="operator", by="root", epoch=3))
    bench.run(20)
    assert bench.state is BotState.HALTED and bench.executor.recovery.flat
    assert of(NewOrder, bench.intent(bid=5000)) == []
    bench.tell(Resume(by="operator"))
    bench.run(1)
    assert bench.state is BotState.QUOTING


def test_shutdown_cancels_and_places_nothing_more() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(Shutdown(reason="signal"))
    bench.run(2)
    assert bench.state is BotState.STOPPED and not bench.resting
    assert of(NewOrder, bench.intent(bid=5000)) == []


def test_status_names_its_keys() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.run(0.3)
    body = bench.executor.status_report().body
    assert body["state"] == "quoting"
    assert body["orders"] == {
        "placed": 1, "acked": 1, "rejected": 0, "canceled": 0, "filled": 0, "unknown": 0, "open": 1
    }  # fmt: skip
    assert set(body) >= {"reasons", "user_events", "intents", "risk", "budget", "markets", "cash_usd", "positions"}
    assert body["markets"][SYMBOL]["bid"] == {"px": 0.5, "size": 20.0}


# -- starting --------------------------------------------------------------------------------------------------------


def a_bench_with_an_order_at_the_venue(*, clean_start: bool) -> Bench:
    bench = Bench(start=False, clean_start=clean_start)
    left = NewOrder(
        cl_ord_id="old", order_id="0xold", symbol=SYMBOL, asset_id=UP, side=Side.BUY, px=100, order_qty=5 * QTY_ONE,
        maker_amount=1, taker_amount=1, salt=1, timestamp_ms=1, version=2, neg_risk=False, tick=100, epoch=0,
        valid_until_ns=0, made_ns=0,
    )  # fmt: skip
    bench.resting["0xold"] = left
    bench.tell(FeedStatus(feed="user", connected=True))
    return bench


def test_orders_of_an_earlier_run_without_record_are_cancelled_before_it_quotes() -> None:
    bench = a_bench_with_an_order_at_the_venue(clean_start=False)
    bench.run(0.2)
    assert bench.state is BotState.FAILING and not bench.resting
    bench.run(8)
    assert bench.state is BotState.QUOTING
    assert of(Halt, bench.sent) == []


def test_an_order_found_although_no_run_of_ours_can_have_left_it_is_anothers_and_halts() -> None:
    bench = a_bench_with_an_order_at_the_venue(clean_start=True)
    bench.run(0.2)
    assert bench.state is BotState.HALTED
    assert of(Halt, bench.sent)[0].reason == "order 0xold is open and was never ours"
    bench.run(8)
    assert bench.state is BotState.HALTED and not bench.resting


def test_trades_of_an_earlier_run_are_history_and_no_contradiction() -> None:
    bench = Bench(start=False)
    bench.trades = [
        trade("0xold", 12, source=Source.READ, symbol=SYMBOL, asset_id=UP, side=Side.BUY),
        trade("0xold", 3, exec_id="t2", source=Source.READ, symbol="0xlater", asset_id="u2", side=Side.BUY),
    ]
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.run(0.2)
    said = bench.tell(MarketListed(market=a_market()))
    assert of(PositionReport, said)[-1].up_qty == 12 * QTY_ONE
    said = bench.tell(MarketListed(market=a_market("0xlater", "u2", "d2")))
    assert of(PositionReport, said)[-1].up_qty == 3 * QTY_ONE
    assert bench.state is BotState.QUOTING and bench.executor.positions.cash == bench.cash
    bench.tell(trade("0xold", 12, status=TradeStatus.CONFIRMED))  # its later steps come on the user stream
    bench.run(3)
    assert bench.state is BotState.QUOTING


def test_nothing_is_quoted_before_the_user_stream_is_up() -> None:
    bench = Bench(start=False)
    bench.tell(MarketListed(market=a_market()))
    bench.run(3)
    body = bench.executor.status_report().body
    assert (bench.state, body["reasons"]) == (BotState.RECONCILING, ["user stream is not connected"])
    bench.tell(FeedStatus(feed="user", connected=True))
    assert bench.state is BotState.QUOTING


def test_reads_that_fail_are_repeated_with_growing_waits() -> None:
    bench = Bench(start=False, obey=False)
    bench.tell(FeedStatus(feed="user", connected=True))
    asked = 0
    for _ in range(20 * 30):
        for request in of(OrderMassStatusRequest, bench.tick()):
            asked += 1
            bench.tell(OpenOrders(orders=None, asked_ns=request.asked_ns, recv_ns=bench.now))
    assert bench.state is BotState.RECONCILING
    assert 6 <= asked <= 12


def test_trades_and_cash_that_could_not_be_read_are_asked_for_again() -> None:
    bench = Bench(start=False, obey=False)
    (trades,) = of(TradesRequest, bench.tick())
    bench.tell(TradesRead(trades=None, after_utc_s=0, asked_ns=trades.asked_ns, recv_ns=bench.now))
    assert of(TradesRequest, bench.tick(499)) == []
    (trades,) = of(TradesRequest, bench.tick(1))
    (cash,) = of(
        BalanceRequest, bench.tell(TradesRead(trades=(), after_utc_s=0, asked_ns=bench.now, recv_ns=bench.now))
    )
    bench.tell(Balance(cash=None, asked_ns=cash.asked_ns, recv_ns=bench.now))
    assert of(BalanceRequest, bench.tick(499)) == []
    assert len(of(BalanceRequest, bench.tick(1))) == 1


def test_an_unclean_end_costs_a_cooldown() -> None:
    bench = Bench(start=False, clean_start=False)
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.run(1)
    assert bench.state is BotState.FAILING
    bench.run(8)
    assert bench.state is BotState.QUOTING


# -- the user stream -------------------------------------------------------------------------------------------------


def test_a_gap_of_the_user_stream_cancels_all_and_reads_the_missed_fill() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.trades.append(trade(oid, 20, source=Source.READ))  # filled, and the stream did not say
    bench.resting.clear()
    bench.tell(StreamGap(feed="user", reason="reconnected"))
    assert (bench.state, bench.executor.recovery.reasons) == (BotState.FAILING, ["reconnected"])
    bench.run(8)
    assert bench.state is BotState.QUOTING
    assert bench.net() == 20


def test_a_gap_of_another_feed_is_not_ours() -> None:
    bench = Bench()
    bench.tell(StreamGap(feed="market", reason="reconnected"))
    bench.tell(FeedStatus(feed="binance", connected=False))
    assert bench.state is BotState.QUOTING


def test_more_than_ten_gaps_in_five_minutes_halt() -> None:
    bench = Bench()
    for _ in range(11):
        bench.tell(StreamGap(feed="user", reason="reconnected"))
        bench.run(9)
        bench.executor.recovery._failed_ns = 0  # so that cooldowns stay short
    assert bench.state is BotState.HALTED


def test_a_user_stream_that_never_echoes_an_ack_is_deaf() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.tell(acked(bench.order().order_id))
    bench.run(2.9)
    assert bench.state is BotState.QUOTING
    bench.run(0.3)
    assert bench.state is BotState.FAILING


def test_cancellations_nobody_asked_for_are_a_failure_only_in_a_burst() -> None:
    for orders, state in ((1, BotState.QUOTING), (2, BotState.FAILING)):
        bench = Bench()
        bench.intent(bid=4900, offer=5200)
        for n in range(orders):
            bench.tell(
                ExecutionReport(
                    order_id=bench.order(n).order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0
                )
            )
        assert bench.state is state


def test_an_event_of_an_order_we_do_not_know_counts_in_exposure_and_is_adopted() -> None:
    bench = Bench()
    bench.tell(trade("0xforeign", 10, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    desk = bench.executor.desks[SYMBOL]
    assert bench.executor.use(desk).long == 10 * QTY_ONE
    said = bench.run(2.1)
    assert [m.order_id for m in of(CancelOrder, said)] == ["0xforeign"]
    assert bench.net() == 10 and bench.state is BotState.FAILING
    assert bench.executor.user_events == {"handled": 2, "duplicates": 0, "quarantined": 0}  # the fill, the cancellation


def test_every_trade_of_an_order_we_do_not_know_counts_in_exposure_and_none_twice() -> None:
    bench = Bench()
    for exec_id in ("t1", "t2", "t3", "t1"):
        bench.tell(trade("0xforeign", 10, exec_id=exec_id, symbol=SYMBOL, asset_id=UP, side=Side.BUY))
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 30 * QTY_ONE
    bench.run(2.1)
    assert bench.net() == 30
    assert bench.executor.orders.by_id["0xforeign"].order_qty == 30 * QTY_ONE


def test_a_foreign_order_that_was_told_before_it_is_listed_is_adopted_once_with_what_was_told() -> None:
    bench = Bench()
    told = {"symbol": SYMBOL, "asset_id": UP, "side": Side.BUY}
    bench.tell(ExecutionReport(order_id="0xf", exec_type=ExecType.NEW, source=Source.USER, px=200, **told))
    bench.tell(trade("0xf", 2, **told))
    row = OpenOrder(order_id="0xf", px=200, order_qty=5 * QTY_ONE, cum_qty=2 * QTY_ONE, **told)
    bench.tick(1_000)
    said = bench.tell(OpenOrders(orders=(row,), asked_ns=bench.now, recv_ns=bench.now))
    assert len(of(Fill, said)) == 1
    order = bench.executor.orders.by_id["0xf"]
    assert (order.foreign, order.cum_qty) == (True, 2 * QTY_ONE)
    bench.run(3)  # past T_orphan
    assert (bench.state, bench.net()) == (BotState.HALTED, 2)
    assert bench.executor.user_events == {"handled": 3, "duplicates": 0, "quarantined": 0}  # with its cancellation


def test_a_foreign_order_that_is_live_halts() -> None:
    bench = Bench(obey=False)
    row = OpenOrder(order_id="0xf", symbol=SYMBOL, asset_id=UP, side=Side.BUY, px=5000, order_qty=QTY_ONE, cum_qty=0)
    said = bench.tell(OpenOrders(orders=(row,), asked_ns=bench.now, recv_ns=bench.now))
    assert of(Halt, said)[0].by == "executor"
    assert of(CancelOrder, said) and of(MassCancel, said)
    assert bench.state is BotState.HALTED


@pytest.mark.parametrize("found", [None, *FoundStatus])
def test_a_read_of_an_order_without_record_is_a_contradiction_if_the_venue_knows_it(found: FoundStatus | None) -> None:
    bench = Bench()
    bench.tell(OrderStatusReport(order_id="0xf", found=found, asked_ns=bench.now))
    known = found not in (None, FoundStatus.ABSENT)
    assert bench.state is (BotState.FAILING if known else BotState.QUOTING)
    why = ["the venue knows order 0xf, and we have no record of it"] if known else []
    assert bench.executor.recovery.reasons == why


def test_a_trade_of_the_wrong_token_is_quarantined() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 5, asset_id=DOWN, side=Side.BUY))
    assert (bench.net(), bench.state) == (0, BotState.FAILING)
    assert bench.executor.user_events["quarantined"] == 1


def test_a_trade_that_failed_before_it_was_told_is_no_debt() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.tell(acked(oid))
    bench.tell(placement(oid))
    bench.tell(ExecutionReport(order_id=oid, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=5 * QTY_ONE))
    assert bench.order().debt == 5 * QTY_ONE
    bench.tell(trade(oid, 5, status=TradeStatus.FAILED, kind=ExecType.TRADE_CANCEL))
    assert bench.order().debt == 0
    bench.tell(trade(oid, 5))
    assert (bench.net(), bench.order().cum_qty) == (0, 0)


def test_a_debt_written_off_at_a_resume_does_not_hold_the_bot() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.tell(ExecutionReport(order_id=oid, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=5 * QTY_ONE))
    bench.run(45)  # no trade ever shows it
    assert (bench.state, bench.order().debt) == (BotState.HALTED, 5 * QTY_ONE)
    bench.tell(Resume(by="operator"))
    bench.run(10)
    assert (bench.state, bench.order().debt) == (BotState.QUOTING, 0)


def test_a_status_nobody_knows_is_owed_and_not_booked() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.tell(acked(oid))
    said = bench.tell(trade(oid, 5, status=None))
    assert (bench.net(), bench.order().debt) == (0, 5 * QTY_ONE)
    assert of(OrderStatusRequest, said)


# -- quoting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"epoch": 99},
        {"valid_until_ns": 1},
        {"tick": 10},
        {"bid_px": 4950},
        {"bid_px": 0},
        {"bid_px": 10_000},
        {"bid_size": -1},
        {"bid_route": Route.SELL_YES},
        {"offer_px": 4900, "offer_size": 20 * QTY_ONE, "offer_route": Route.BUY_NO},
        {"symbol": "0xother"},
    ],
)
def test_an_intent_that_cannot_be_meant_is_dropped(given: dict[str, object]) -> None:
    bench = Bench()
    for refused in (1, 2):
        assert of(NewOrder, bench.intent(bid=4900, **given)) == []
        assert bench.executor.status_report().body["intents"] == {"handled": 0, "refused": refused}


def test_an_intent_is_valid_until_its_last_moment_and_newer_than_the_last() -> None:
    bench = Bench()
    assert of(NewOrder, bench.intent(bid=4900, valid_until_ns=bench.now)) == []
    assert of(NewOrder, bench.intent(bid=4900, valid_until_ns=bench.now + 1))
    assert of(NewOrder, bench.intent(bid=4900, offer=5200))
    for seq in (bench.seq, bench.seq - 1):  # a wish that comes twice or late is none
        assert bench.intent(seq=seq) == []
    assert bench.executor.status_report().body["intents"] == {"handled": 2, "refused": 3}


def test_why_an_intent_cannot_be_meant_is_a_warning() -> None:
    bench = Bench()
    bench.intent(bid=4950)
    assert [(alert.level, alert.text) for alert in bench.executor.alerts] == [
        (2, f"intent 1 of {SYMBOL} is refused: bid price 4950 is not on the grid of 100")
    ]


def test_an_intent_that_grows_too_old_is_a_pull() -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200, valid_until_ns=bench.now + NS_PER_S)
    said = bench.run(1.1)
    assert len(of(CancelOrder, said)) == 2
    assert of(GateChange, said)[0] == GateChange(symbol=SYMBOL, epoch=1, reason="the last intent is too old")
    assert bench.state is BotState.QUOTING
    assert of(NewOrder, bench.intent(bid=4900))[0].epoch == 1


def test_an_intent_is_too_old_at_its_time_and_not_before() -> None:
    bench = Bench()
    bench.intent(bid=4900, valid_until_ns=bench.now + NS_PER_S)
    assert requests(bench.run(0.95)) == []
    assert of(CancelOrder, bench.tick())


@pytest.mark.parametrize("wish", [{"bid": 4900, "offer": 5200}, {"bid": 4900}, {"offer": 5200}, {}])
def test_a_market_where_all_that_is_wanted_rests_is_not_looked_at_every_tick(wish: dict[str, int]) -> None:
    bench = Bench()
    bench.intent(**wish)  # type: ignore[arg-type]
    bench.tick()
    assert bench.executor.desks[SYMBOL].calm


def test_a_wish_that_came_while_its_side_cooled_down_is_placed_by_time_alone() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order_id = bench.order().order_id
    bench.tell(
        ExecutionReport(order_id=order_id, exec_type=ExecType.REJECTED, source=Source.POST, reject=Reject.MIN_SIZE)
    )
    assert of(NewOrder, bench.intent(bid=5000)) == []
    assert not bench.executor.desks[SYMBOL].calm
    assert of(NewOrder, bench.run(1.95)) == []
    assert [order.cause_ns for order in of(NewOrder, bench.tick())] == [0]  # no frame is behind it


def test_a_pull_raises_the_epoch_once_and_not_when_nothing_rests() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    assert of(GateChange, bench.intent(cancel_first=True, quote_mode=QuoteMode.NO_QUOTE))
    assert of(GateChange, bench.intent(cancel_first=True, quote_mode=QuoteMode.NO_QUOTE)) == []


def test_a_filled_side_waits_for_the_next_intent() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    assert of(NewOrder, bench.tell(trade(bench.order().order_id, 20))) == []
    assert of(NewOrder, bench.intent(bid=5000))


def test_a_shrunken_order_is_kept_down_to_three_fifths() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.tell(acked(oid))
    bench.tell(trade(oid, 8))
    assert requests(bench.intent(bid=5000)) == []
    assert of(CancelOrder, bench.tell(trade(oid, 1, exec_id="t2")))


def test_a_change_of_tick_cancels_what_is_off_the_new_grid() -> None:
    bench = Bench()
    bench.tell(TickSizeChange(symbol=SYMBOL, tick=10))
    bench.intent(bid=4910, offer=5200, tick=10)
    said = bench.tell(TickSizeChange(symbol=SYMBOL, tick=100))
    assert [order.order_id for order in of(CancelOrder, said)] == [bench.order(0).order_id]
    assert of(NewOrder, said) == []
    assert of(PositionReport, said)[-1].tick == 100


def test_nothing_is_placed_after_the_end_of_a_market() -> None:
    bench = Bench()
    bench.tell(MarketListed(market=a_market("0xshort", "u2", "d2", end_s=11)))
    bench.run(1)
    assert of(NewOrder, bench.intent(bid=4900, symbol="0xshort")) == []


def test_a_slow_ack_is_cancelled_and_stops_new_orders_for_a_while() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.now += 1_100 * NS_PER_MS
    assert of(CancelOrder, bench.tell(acked(bench.order().order_id)))
    assert of(NewOrder, bench.intent(offer=5300)) == []
    bench.now += 1_100 * NS_PER_MS
    assert of(NewOrder, bench.intent(offer=5300))


# -- refusals --------------------------------------------------------------------------------------------------------


def refused(bench: Bench, reject: Reject, source: Source = Source.POST) -> int:
    """A bid is wanted for 50 ms, and whatever is sent for it is refused; returns how many were sent."""
    bench.sent.clear()
    bench.intent(bid=5000)
    bench.tick()
    sent = of(NewOrder, bench.sent)
    for order in sent:
        bench.tell(ExecutionReport(order_id=order.order_id, exec_type=ExecType.REJECTED, source=source, reject=reject))
    return len(sent)


def sends(bench: Bench, reject: Reject, tries: int, source: Source = Source.POST) -> int:
    return sum(refused(bench, reject, source) for _ in range(tries))


def test_three_post_only_rejects_cool_the_side_down() -> None:
    bench = Bench(obey=False)
    assert sends(bench, Reject.POST_ONLY, 30) == 3
    assert of(NewOrder, bench.intent(offer=5200))


@pytest.mark.parametrize("reject", [Reject.BALANCE, Reject.MIN_SIZE, Reject.OTHER])
def test_a_refused_side_cools_down_longer_each_time(reject: Reject) -> None:
    bench = Bench(obey=False)
    assert sends(bench, reject, 20 * 13) == 3  # at 0, 2 and 6 s


def test_the_other_side_cools_down_by_itself() -> None:
    bench = Bench(obey=False)
    offer = of(NewOrder, bench.intent(offer=5200))[0].order_id
    refusal = {"exec_type": ExecType.REJECTED, "source": Source.POST, "reject": Reject.MIN_SIZE}
    bench.tell(ExecutionReport(order_id=offer, **refusal))  # type: ignore[arg-type]
    assert [order.px for order in of(NewOrder, bench.intent(bid=4900, offer=5200))] == [4900]


def test_the_lowest_and_the_highest_price_of_the_finest_grid_are_quoted() -> None:
    bench = Bench()
    bench.tell(MarketListed(market=msgspec.structs.replace(a_market("0xb", "u2", "d2"), tick=1)))
    sent = of(NewOrder, bench.intent(bid=1, offer=PX_ONE - 1, tick=1, symbol="0xb"))
    assert [order.px for order in sent] == [1, 1]  # the offer buys Down


def test_a_payout_that_the_venue_made_before_we_were_told_is_not_counted_twice() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.cash -= 10 * USD_ONE
    bench.tell(trade(oid, 20, status=TradeStatus.MINED))
    bench.tick(3_600_000)  # the market ends, and the venue pays
    bench.cash += 20 * USD_ONE
    bench.tell(Balance(cash=bench.cash, asked_ns=bench.now, recv_ns=bench.now))
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    assert bench.executor.positions.cash == bench.cash == 510 * USD_ONE


def test_a_balance_that_cannot_be_believed_yet_is_read_again_soon() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20, status=TradeStatus.MINED))
    bench.cash = 480 * USD_ONE  # and ours is 490
    bench.tell(Balance(cash=bench.cash, asked_ns=bench.now, recv_ns=bench.now))
    assert bench.executor.positions.cash == 490 * USD_ONE
    bench.run(11)
    assert bench.executor.positions.cash == 480 * USD_ONE


def bought_as_taker() -> Bench:
    """20 of Up."""
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    oid = bench.order().order_id
    bench.tell(acked(oid))
    bench.tell(trade(oid, 20, status=TradeStatus.MINED, maker=False))
    return bench


def shares_told(bench: Bench, qty: int | None) -> None:
    """When the executor asks."""
    (asked,) = of(SharesRequest, bench.run(6))
    assert (asked.symbol, asked.asset_id) == (SYMBOL, UP)
    bench.tell(Shares(symbol=SYMBOL, asset_id=UP, qty=qty, asked_ns=asked.asked_ns, recv_ns=bench.now))


def test_a_fee_that_the_venue_kept_back_in_shares_leaves_the_inventory() -> None:
    bench = bought_as_taker()
    shares_told(bench, 19_650_000)
    assert bench.net() == 20  # a fill may be on its way
    shares_told(bench, 19_650_000)
    assert bench.net() == 19.65
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 19_650_000
    assert not of(SharesRequest, bench.run(20))
    oid = bench.order().order_id
    bench.tell(trade(oid, 20, status=TradeStatus.FAILED, kind=ExecType.TRADE_CANCEL, maker=False))
    assert bench.net() == 0


def test_a_read_of_shares_that_failed_says_nothing_and_one_that_cannot_be_a_fee_fails_the_bot() -> None:
    bench = bought_as_taker()
    for qty in (10 * QTY_ONE, None, 10 * QTY_ONE):
        assert bench.state is BotState.QUOTING
        shares_told(bench, qty)
    assert (bench.net(), bench.state) == (20, BotState.FAILING)


def test_what_a_taker_has_is_not_believed_when_a_fill_came_between() -> None:
    bench = bought_as_taker()
    bench.intent(offer=5200, size=5, offer_route=Route.SELL_YES)
    oid = bench.order(1).order_id
    bench.tell(acked(oid))
    bench.tell(placement(oid))
    shares_told(bench, 15 * QTY_ONE)
    bench.tell(trade(oid, 5, exec_id="t2", px=5200, status=TradeStatus.MINED))
    shares_told(bench, 15 * QTY_ONE)
    shares_told(bench, 15 * QTY_ONE)
    assert (bench.net(), bench.state) == (15, BotState.QUOTING)


def test_five_balance_rejects_in_a_row_switch_the_side_off() -> None:
    bench = Bench(obey=False)
    assert sends(bench, Reject.BALANCE, 20 * 200) == 5


def test_a_level_the_tick_rule_refused_stays_blocked_until_the_tick_changes() -> None:
    bench = Bench(obey=False)
    assert sends(bench, Reject.TICK, 20 * 20) == 1
    assert of(NewOrder, bench.intent(bid=4900))


def test_a_shut_gate_is_not_tried_at_full_speed_and_is_no_runaway() -> None:
    bench = Bench(obey=False)
    assert 50 < sends(bench, Reject.SHUT, 20 * 30, Source.GATE) <= 61
    assert bench.state is BotState.QUOTING


@pytest.mark.parametrize(("reject", "halts"), [(Reject.VERSION, 2), (Reject.FORBIDDEN, 1)])
def test_some_refusals_halt(reject: Reject, halts: int) -> None:
    bench = Bench(obey=False)
    for n in range(halts):
        bench.run(3 * n)
        assert bench.state is BotState.QUOTING
        refused(bench, reject)
    assert of(Halt, bench.sent)


def test_a_venue_that_takes_no_orders_is_a_failure() -> None:
    bench = Bench(obey=False)
    refused(bench, Reject.RESTRICTED)
    assert bench.state is BotState.FAILING


def test_a_429_slows_us_down_and_drops_the_wish() -> None:
    bench = Bench(obey=False)
    assert refused(bench, Reject.RATE) == 1
    assert of(NewOrder, bench.tick()) == [] and bench.state is BotState.QUOTING


def test_the_same_order_again_and_again_cools_down_before_it_is_a_runaway() -> None:
    bench = Bench()
    for n in range(200):
        bench.intent(bid=5000 if n % 2 else 0)
        bench.tick()
    sent = of(NewOrder, bench.sent)
    assert len(sent) <= 25 and bench.state is BotState.QUOTING


# -- failing ---------------------------------------------------------------------------------------------------------


def test_cooldowns_double_when_failures_repeat() -> None:
    bench = Bench()
    waits = []
    for _ in range(6):
        bench.tell(Fail(reason="test"))
        start = bench.now
        while bench.state is not BotState.QUOTING:
            bench.tick()
        waits.append((bench.now - start) / NS_PER_S)
    for waited, cooldown in zip(waits, (5, 10, 20, 40, 60, 60), strict=True):
        assert cooldown + 1 <= waited <= cooldown + 2


def test_a_mass_cancel_without_answer_is_repeated_and_not_in_a_hot_loop() -> None:
    bench = Bench(obey=False)
    bench.tell(Fail(reason="test"))
    bench.run(60)
    assert 8 <= len(of(MassCancel, bench.sent)) <= 20
    assert bench.state is BotState.FAILING


def test_orders_left_over_by_a_mass_cancel_are_cancelled_one_by_one() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.tell(acked(bench.order().order_id))
    bench.tell(Fail(reason="test"))
    said = bench.tell(MassCancelReport(symbol="", known=True, asked_ns=bench.now))
    assert [m.order_id for m in of(CancelOrder, said)] == [bench.order().order_id]


def test_three_posts_without_usable_answer_fail() -> None:
    bench = Bench(obey=False)
    bench.tell(MarketListed(market=a_market("0xb", "u2", "d2")))
    bench.intent(bid=4900, offer=5200)
    bench.intent(bid=4900, symbol="0xb")
    for n in range(3):
        assert bench.state is BotState.QUOTING
        bench.tell(OutcomeUnknown(order_id=bench.order(n).order_id, request=Request.NEW))
    assert bench.state is BotState.FAILING


def test_an_outcome_unknown_for_five_seconds_fails() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900)
    bench.run(4.9)
    assert bench.state is BotState.QUOTING
    bench.run(0.3)
    assert bench.state is BotState.FAILING


def test_a_halt_of_our_own_asks_root_for_the_latch_once() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    said = bench.tell(trade(bench.order().order_id, 25))
    why = f"order {bench.order().order_id} was filled beyond its size"
    assert of(Halt, said) == [Halt(reason=why, by="executor", epoch=1)]
    assert [(alert.level, alert.text) for alert in bench.executor.alerts] == [(1, why)]
    bench.tell(of(Halt, said)[0])
    assert len(of(Halt, bench.sent)) == 1
    bench.run(3)
    assert bench.state is BotState.HALTED and bench.executor.recovery.flat


def test_three_reverted_fills_in_an_hour_halt() -> None:
    bench = Bench()
    for n in range(3):
        bench.intent(bid=5000)
        oid = bench.order(-1).order_id
        bench.tell(trade(oid, 20, exec_id=f"t{n}"))
        bench.resting.clear()
        bench.tell(trade(oid, 20, exec_id=f"t{n}", kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
        if n < 2:
            bench.run(15)
            assert bench.state is BotState.QUOTING
    assert bench.state is BotState.HALTED
    assert of(Halt, bench.sent)[0].reason == "3 fills were reverted within an hour"


HOUR_NS = 3600 * NS_PER_S


@pytest.mark.parametrize(
    ("when_ns", "state"),
    [
        ((0, HOUR_NS - 2, HOUR_NS - 1), BotState.HALTED),
        ((0, HOUR_NS - 1, HOUR_NS), BotState.QUOTING),
        ((0, HOUR_NS, HOUR_NS + 1, HOUR_NS + 2), BotState.HALTED),  # one of long ago does not hide three of now
    ],
)
def test_reverts_are_counted_for_an_hour(when_ns: tuple[int, ...], state: BotState) -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    oid = bench.order().order_id
    for n, at_ns in enumerate(when_ns):
        bench.now = 10 * NS_PER_S + at_ns
        for kind, status in ((ExecType.TRADE, TradeStatus.MATCHED), (ExecType.TRADE_CANCEL, TradeStatus.FAILED)):
            bench.tell(trade(oid, 1, exec_id=f"t{n}", kind=kind, status=status))
    assert bench.state is state


def test_a_position_report_is_quiet_while_there_is_nothing_to_quote_otherwise_for() -> None:
    desk = Bench()
    placed = desk.intent(bid=4800, offer=5200)
    reports = [message for message in placed if isinstance(message, PositionReport)]
    assert reports and all(report.quiet for report in reports)
    order = next(message for message in placed if isinstance(message, NewOrder) and message.px == 4800)
    filled = [message for message in desk.tell(trade(order.order_id, 20)) if isinstance(message, PositionReport)]
    assert [(report.up_qty, report.quiet) for report in filled] == [(20 * QTY_ONE, False)]
    failed = [message for message in desk.tell(Fail(reason="x")) if isinstance(message, PositionReport)]
    assert failed and not failed[0].quiet
