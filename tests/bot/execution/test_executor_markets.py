"""Markets come, change their tick, resolve and go; the operator speaks; old records are forgotten; views tell of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from desk_fake import DOWN, SYMBOL, UP, UTC0, Bench, a_market, acked, of, placement, requests, trade

from bot.execution.timers import Timers
from bot.messages import (
    BalanceRequest,
    BotState,
    CancelOrder,
    ExecType,
    ExecutionReport,
    Fail,
    FeedStatus,
    Fill,
    GateChange,
    Halt,
    MarketDropped,
    MarketListed,
    MarketResolved,
    MassCancel,
    MassCancelReport,
    NewOrder,
    Nudge,
    OpenOrders,
    OrderMassStatusRequest,
    OrderState,
    PositionReport,
    Restarted,
    Resume,
    Settled,
    Shutdown,
    Side,
    Source,
    TickSizeChange,
    TradesRequest,
    TradeStatus,
)
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE

OTHER = a_market("0xb", "u2", "d2")


def canceled(bench: Bench, number: int = 0, cum: int = 0) -> list[object]:
    return bench.tell(  # type: ignore[return-value]
        ExecutionReport(
            order_id=bench.order(number).order_id,
            exec_type=ExecType.CANCELED,
            source=Source.USER,
            cum_qty=cum * QTY_ONE,
        )
    )


# -- listed and dropped ----------------------------------------------------------------------------------------------


def test_a_market_listed_twice_keeps_what_is_known_of_it() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    desk = bench.executor.desks[SYMBOL]
    bench.tell(MarketListed(market=a_market()))
    assert bench.executor.desks[SYMBOL] is desk


def test_a_new_market_is_reported_at_once() -> None:
    bench = Bench()
    (report,) = of(PositionReport, bench.tell(MarketListed(market=OTHER)))
    assert (report.symbol, report.tick, report.cash, report.epoch) == ("0xb", 100, 500 * USD_ONE, 0)
    assert (report.up_qty, report.down_qty, report.invested, report.working) == (0, 0, 0, ())
    assert report.state is BotState.QUOTING


def test_a_dropped_market_is_pulled_and_forgotten_when_nothing_of_it_is_left() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900)
    said = bench.tell(MarketDropped(symbol=SYMBOL))
    assert of(GateChange, said) == [GateChange(symbol=SYMBOL, epoch=1, reason="the market is over")]
    assert len(of(CancelOrder, said)) == 1
    assert SYMBOL in bench.executor.desks
    assert of(NewOrder, bench.intent(bid=4900)) == []
    canceled(bench)
    assert bench.executor.desks == {}
    assert bench.tell(MarketDropped(symbol=SYMBOL)) == []


def test_a_dropped_market_with_shares_waits_for_its_settlement() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 20))
    bench.tell(MarketDropped(symbol=SYMBOL))
    assert SYMBOL in bench.executor.desks
    said = bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=DOWN))
    assert [event.pnl for event in of(Settled, said)] == [-10 * USD_ONE]
    assert bench.executor.desks == {}


def test_a_market_that_is_listed_again_after_it_was_paid_out_is_paid_once() -> None:
    """As after a restart: the executor remembers what it paid, and the finder lists what resolved a moment ago."""
    bench = Bench()
    bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    del bench.executor.desks[SYMBOL]
    bench.tell(MarketListed(market=a_market()))
    assert of(Settled, bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))) == []
    assert bench.executor.desks[SYMBOL].settled


def test_a_market_that_was_paid_out_is_not_told_of_again_when_what_it_held_is_forgotten() -> None:
    bench = Bench()
    assert of(Settled, bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP)))
    bench.executor.positions.holdings.clear()
    bench.executor.mark(SYMBOL)
    assert of(Settled, bench.tick()) == []


@pytest.mark.parametrize(("up", "down"), [(0, 5), (5, 0)])
def test_shares_of_either_token_hold_a_dropped_market(up: float, down: float) -> None:
    bench = Bench()
    token, shares = (UP, up) if up else (DOWN, down)
    bench.executor.positions.book(trade("o", shares, px=5000), SYMBOL, token, Side.BUY, 1)
    bench.tell(MarketDropped(symbol=SYMBOL))
    assert SYMBOL in bench.executor.desks


# -- resolved --------------------------------------------------------------------------------------------------------


def test_a_market_we_do_not_know_is_not_ours_to_settle() -> None:
    bench = Bench()
    assert bench.tell(MarketResolved(symbol="0xother", winning_asset_id="u")) == []
    assert bench.tell(TickSizeChange(symbol="0xother", tick=10)) == []


def test_a_resolved_market_is_pulled_and_paid_when_its_last_order_has_ended() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.tell(trade(bench.order().order_id, 5))
    said = bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP))
    assert len(of(CancelOrder, said)) == 1 and of(Settled, said) == []
    assert [change.reason for change in of(GateChange, said)] == ["the market is resolved"]
    assert of(NewOrder, bench.intent(offer=5500)) == []
    (settled,) = of(Settled, canceled(bench, cum=5))  # type: ignore[arg-type]
    assert (settled.symbol, settled.slug, settled.outcome) == (SYMBOL, "btc-updown-1h-1", "up")
    assert (settled.net_qty, settled.payout, settled.pnl) == (5 * QTY_ONE, 5 * USD_ONE, 5 * USD_ONE // 2)
    assert bench.executor.risk.realised_day == settled.pnl


def test_an_order_of_another_market_does_not_hold_a_settlement_up() -> None:
    bench = Bench(obey=False)
    bench.tell(MarketListed(market=OTHER))
    bench.intent(bid=5000, symbol="0xb")
    assert len(of(Settled, bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=DOWN)))) == 1


def test_a_position_of_both_tokens_is_told_net() -> None:
    bench = Bench()
    for token, shares in ((UP, 3), (DOWN, 7)):
        bench.executor.positions.book(trade(f"o{token}", shares, px=5000), SYMBOL, token, Side.BUY, 1)
    (settled,) = of(Settled, bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=DOWN)))
    assert (settled.outcome, settled.net_qty, settled.payout, settled.pnl) == (
        "down", -4 * QTY_ONE, 7 * USD_ONE, 2 * USD_ONE
    )  # fmt: skip


# -- tick size -------------------------------------------------------------------------------------------------------


def test_the_same_tick_again_changes_nothing() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    assert bench.tell(TickSizeChange(symbol=SYMBOL, tick=100)) == []


def test_a_new_tick_unblocks_levels_and_waits_for_an_intent_of_the_new_grid() -> None:
    bench = Bench(obey=False)
    (order,) = of(NewOrder, bench.intent(bid=5000))
    bench.tell(
        ExecutionReport(order_id=order.order_id, exec_type=ExecType.REJECTED, source=Source.POST, reject="tick")  # type: ignore[arg-type]
    )
    slots = bench.executor.desks[SYMBOL].slots
    slots["bid"].blocked_px = slots["offer"].blocked_px = 5000
    slots["bid"].cool_until_ns = 0
    said = bench.tell(TickSizeChange(symbol=SYMBOL, tick=10))
    assert [slots[name].blocked_px for name in ("bid", "offer")] == [0, 0]
    assert of(NewOrder, said) == [] and of(NewOrder, bench.tick()) == []
    assert [report.tick for report in of(PositionReport, said)] == [10]
    assert of(NewOrder, bench.intent(bid=5000)) == []  # of the old grid
    (order,) = of(NewOrder, bench.intent(bid=5010, tick=10))
    assert order.tick == 10


def test_a_new_tick_without_an_intent_spends_none() -> None:
    bench = Bench()
    bench.tell(TickSizeChange(symbol=SYMBOL, tick=10))
    assert of(NewOrder, bench.intent(bid=5010, offer=5200, tick=10))


# -- the operator ----------------------------------------------------------------------------------------------------


def test_a_resume_of_a_bot_that_is_not_halted_changes_nothing() -> None:
    for reason in (None, "test"):
        bench = Bench()
        if reason:
            bench.tell(Fail(reason=reason))
        before = (bench.state, bench.executor.recovery.epoch)
        assert requests(bench.tell(Resume(by="test"))) == []
        assert (bench.state, bench.executor.recovery.epoch) == before


def test_a_person_who_resumes_writes_off_what_no_trade_ever_showed() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order = bench.order()
    bench.tell(
        ExecutionReport(order_id=order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=5 * QTY_ONE)
    )
    bench.intent(offer=5200)
    bench.tell(Halt(reason="operator", by="root"))
    assert order.debt == 5 * QTY_ONE
    alerts = len(bench.executor.alerts)
    bench.tell(Resume(by="somebody"))
    assert (order.debt, order.exposure, order.voided) == (0, 0, 5 * QTY_ONE)
    assert order.order_id not in bench.executor.orders.live or order.query_ns
    assert bench.executor.alerts[-1].text == f"the fill debt of order {order.order_id} is written off by somebody"
    assert (len(bench.executor.alerts), bench.executor.alerts[-1].level) == (alerts + 1, 2)
    assert bench.executor.use(bench.executor.desks[SYMBOL]).long == 0


@pytest.mark.parametrize(
    "message", [Fail(reason="why", epoch=3), Halt(reason="why", by="root", epoch=3), Shutdown(reason="why", epoch=3)]
)
def test_whatever_stops_the_bot_goes_above_the_gates_epoch_and_cancels_all(message: Fail | Halt | Shutdown) -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    bench.tell(acked(bench.order().order_id))
    said = requests(bench.tell(message))
    assert said == [GateChange(epoch=4, shut=True, reason="why"), MassCancel(reason="why", made_ns=bench.now)]
    assert bench.order().state is OrderState.PENDING_CANCEL
    assert bench.executor.epoch_of(SYMBOL) == 4


def test_a_failure_is_paged_once() -> None:
    bench = Bench(obey=False)
    for reason in ("one", "two"):
        bench.tell(Fail(reason=reason))
    assert [(alert.seq, alert.level, alert.text) for alert in bench.executor.alerts] == [(1, 1, "one")]
    bench.tell(Halt(reason="three", by="root"))
    bench.tell(Fail(reason="four"))
    assert len(bench.executor.alerts) == 1
    assert bench.executor.recovery.reasons == ["one", "two", "three", "four"]


def test_the_last_twenty_alerts_are_kept() -> None:
    bench = Bench()
    for number in range(21):
        bench.executor.alert(2, str(number))
    assert [alert.seq for alert in bench.executor.alerts] == list(range(2, 22))


def test_a_change_of_state_is_reported_with_the_message_that_made_it() -> None:
    bench = Bench(obey=False)
    bench.tell(Fail(reason="test"))
    asked = bench.now
    bench.tell(MassCancelReport(symbol="", known=True, asked_ns=asked, recv_ns=bench.now))
    states = []
    for _ in range(200):
        for request in bench.tick():
            if isinstance(request, OrderMassStatusRequest):
                said = bench.tell(OpenOrders(orders=(), asked_ns=request.asked_ns, recv_ns=bench.now))
                states += [(bench.state, report.state) for report in of(PositionReport, said)]
            if isinstance(request, MassCancel):
                bench.tell(MassCancelReport(symbol="", known=True, asked_ns=request.made_ns, recv_ns=bench.now))
    assert states == [(BotState.COOLDOWN, BotState.COOLDOWN)]


def test_the_waits_that_are_set_are_those_of_orders_and_of_recovery() -> None:
    bench = Bench(obey=False, timers=Timers(cancel_ns=7 * NS_PER_S, read_every_ns=3 * NS_PER_S))
    bench.intent(bid=5000)
    bench.tell(acked(bench.order().order_id))
    bench.tell(placement(bench.order().order_id))
    bench.intent()
    said = bench.tick(3000)
    assert (len(of(OrderMassStatusRequest, said)), of(CancelOrder, said)) == (1, [])
    assert of(CancelOrder, bench.tick(3999)) == []
    assert len(of(CancelOrder, bench.tick(1))) == 1


def test_what_is_not_for_the_executor_ends_it() -> None:
    with pytest.raises(AssertionError, match="the executor was sent a Nudge"):
        Bench().tell(Nudge())


def test_only_a_user_stream_that_was_up_is_lost() -> None:
    bench = Bench()
    bench.tell(FeedStatus(feed="user", connected=True))
    assert bench.state is BotState.QUOTING
    bench.tell(FeedStatus(feed="user", connected=False, text="reset"))
    assert (bench.state, bench.executor.recovery.user_up) == (BotState.FAILING, False)
    assert bench.executor.recovery.reasons == ["reset"]
    bench.tell(FeedStatus(feed="user", connected=False))
    assert bench.executor.recovery.reasons == ["reset"]
    bench = Bench()
    bench.tell(FeedStatus(feed="user", connected=False))
    assert bench.executor.recovery.reasons == ["the user stream is disconnected"]


def test_a_cancellation_of_a_rejected_order_warns() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order_id = bench.order().order_id
    bench.tell(ExecutionReport(order_id=order_id, exec_type=ExecType.REJECTED, source=Source.POST))
    canceled(bench)
    assert bench.state is BotState.QUOTING
    assert [(alert.level, alert.text) for alert in bench.executor.alerts] == [
        (2, f"CANCELLATION of order {order_id}, which is rejected")
    ]


# -- a new run with the old one's state -------------------------------------------------------------------------------


def test_a_restart_chases_what_was_out_and_begins_its_counts_anew() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000, offer=5200)
    bench.tell(acked(bench.order(0).order_id))
    bench.executor.alert(2, "old")
    bench.tell(FeedStatus(feed="user", connected=False))
    epoch = bench.executor.recovery.epoch
    bench.now += NS_PER_S
    bench.tell(Restarted())
    assert [bench.order(n).state for n in (0, 1)] == [OrderState.UNKNOWN] * 2
    assert all(bench.order(n).cancel_wanted for n in (0, 1))
    body = bench.executor.status_report().body
    assert (body["state"], body["epoch"], body["flat"], body["alerts"]) == ("starting", epoch, False, [])
    assert body["orders"]["placed"] == body["risk"]["wishes"]["max"] == bench.executor.alert_seq == 0
    assert body["intents"] == {"handled": 0, "refused": 0}
    assert body["user_events"] == {"handled": 0, "duplicates": 0, "quarantined": 0}
    assert bench.executor.recovery.clearing_ns == 0 and not bench.executor.recovery.user_up
    assert all(report.working for report in of(PositionReport, bench.sent[-1:]))


def test_a_restart_while_starting_is_reported_of_every_market() -> None:
    bench = Bench(start=False)
    bench.tell(MarketListed(market=a_market()))
    assert [report.symbol for report in of(PositionReport, bench.tell(Restarted()))] == [SYMBOL]


@pytest.mark.parametrize(("cash", "baseline"), [(True, True), (True, False), (False, True), (False, False)])
def test_cash_is_carried_over_a_restart_only_if_it_was_known_with_all_trades(cash: bool, baseline: bool) -> None:
    bench = Bench()
    bench.executor.cash_known, bench.executor.baseline_done = cash, baseline
    bench.tell(Restarted())
    carried = cash and baseline
    assert (bench.executor.cash_known, bench.executor.cash_carried) == (carried, carried)
    assert bench.executor.baseline_done is False


def test_after_a_restart_the_same_intents_count_anew_and_salts_begin_at_the_new_base() -> None:
    bench = Bench()
    bench.intent(bid=5000)
    first = bench.order().cl_ord_id
    bench.tell(Restarted())
    bench.executor._salt_base = 0x2000
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.run(8)
    assert bench.state is BotState.QUOTING
    bench.seq = 0
    (order,) = of(NewOrder, bench.intent(bid=5000))
    assert (first, order.cl_ord_id, order.salt) == ("1000-1", "2000-1", 0x2001)


# -- housekeeping ----------------------------------------------------------------------------------------------------


def test_the_balance_is_read_each_minute_while_quoting() -> None:
    bench = Bench()
    asked = []
    for _ in range(20 * 190):
        for _ in of(BalanceRequest, bench.tick()):
            asked.append(bench.now)
    assert [later - sooner for sooner, later in pairwise(asked)] == [60 * NS_PER_S] * 2
    bench.obey = False
    bench.tell(Halt(reason="test", by="root"))
    assert of(BalanceRequest, bench.run(70)) == []


def test_old_records_are_forgotten_each_minute() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    canceled(bench)
    bench.intent()
    day_ns = 24 * 3600 * NS_PER_S
    created = bench.order().created_ns
    bench.executor.positions.book(trade("o", 1), SYMBOL, UP, Side.BUY, created)
    bench.executor.mark(SYMBOL)
    pruned = bench.executor._pruned_ns
    assert bench.now - pruned < 60 * NS_PER_S
    bench.now = created + day_ns + 1
    bench.tick(0)
    assert bench.executor.orders.by_id == {} and len(bench.executor.positions.fills) == 1
    bench.now = created + 2 * day_ns + 1
    bench.executor._pruned_ns = bench.now - 60 * NS_PER_S + 1
    bench.tick(0)
    assert len(bench.executor.positions.fills) == 1
    bench.now += 1
    bench.tick(0)
    assert bench.executor.positions.fills == {} and bench.executor._pruned_ns == bench.now


# -- the clock -------------------------------------------------------------------------------------------------------


def test_the_wall_clock_is_the_last_ticks_and_what_passed_since() -> None:
    bench = Bench(start=False)
    assert bench.executor.now == 0  # where a run that ended before its first message goes on from
    bench.tell(FeedStatus(feed="binance", connected=True))
    assert bench.executor.utc_ns() == 0
    assert (bench.executor.risk.day, bench.executor.risk.realised_day) == (0, 0)  # a first run has lost nothing
    bench.tick()
    assert bench.executor.utc_ns() == UTC0 + bench.now
    bench.now += 7
    bench.tell(FeedStatus(feed="binance", connected=True))
    assert bench.executor.utc_ns() == UTC0 + bench.now


def test_nothing_is_placed_before_the_first_tick_or_at_the_end_of_the_market() -> None:
    bench = Bench()
    bench.executor.tick_utc_ns = 0
    assert of(NewOrder, bench.intent(bid=5000)) == []
    bench = Bench()
    end = bench.executor.desks[SYMBOL].market.end_utc_ns - UTC0
    bench.obey = False
    for at, sent in ((end, 0), (end - 1, 1)):
        bench.now = at
        bench.executor.tick_ns, bench.executor.tick_utc_ns = at, UTC0 + at
        assert len(of(NewOrder, bench.intent(bid=5000))) == sent


# -- views -----------------------------------------------------------------------------------------------------------


def test_a_fill_is_told_in_its_own_token_and_in_up_terms() -> None:
    for given, px, up_side, up_px in (
        ({"bid": 4900}, 4900, Side.BUY, 4900),
        ({"offer": 5200}, 4800, Side.SELL, 5200),
    ):
        bench = Bench(obey=False)
        bench.intent(**given, fair_e6=512_345)  # type: ignore[arg-type]
        order = bench.order()
        (fill,) = of(Fill, bench.tell(trade(order.order_id, 5, px=px, utc_ns=77)))
        assert fill == Fill(
            symbol=SYMBOL, exec_id="t1", order_id=order.order_id, cl_ord_id=order.cl_ord_id, asset_id=order.asset_id,
            side=Side.BUY, px=px, qty=5 * QTY_ONE, up_side=up_side, up_px=up_px, fair_e6=512_345, utc_ns=77,
            now_ns=bench.now,
        )  # fmt: skip


def test_a_sale_of_down_is_a_bid_and_a_fill_without_intent_has_no_fair_value() -> None:
    bench = Bench()
    bench.tell(trade("0xf", 5, px=4000, symbol=SYMBOL, asset_id=DOWN, side=Side.SELL))
    (fill,) = of(Fill, bench.run(2.1))
    assert (fill.side, fill.up_side, fill.up_px, fill.fair_e6, fill.cl_ord_id) == (Side.SELL, Side.BUY, 6000, 0, "")


def test_a_position_report_comes_with_every_change_and_without_none() -> None:
    bench = Bench(obey=False)
    bench.tell(MarketListed(market=OTHER))
    said = of(PositionReport, bench.intent(bid=5000))
    assert [(report.symbol, report.cash) for report in said] == [("0xb", 490 * USD_ONE), (SYMBOL, 490 * USD_ONE)]
    order = bench.order()
    (working,) = said[1].working
    assert (working.cl_ord_id, working.order_id, working.asset_id) == (order.cl_ord_id, order.order_id, UP)
    assert (working.side, working.px, working.leaves_qty, working.state) == (
        Side.BUY, 5000, 20 * QTY_ONE, OrderState.PENDING_NEW
    )  # fmt: skip
    assert of(PositionReport, bench.tick()) == []
    (report,) = of(PositionReport, bench.tell(acked(order.order_id)))
    assert report.working[0].state is OrderState.WORKING
    assert bench.tell(placement(order.order_id)) == []
    said = of(PositionReport, bench.tell(trade(order.order_id, 5)))
    assert [(report.up_qty, report.invested, report.cash) for report in said] == [
        (5 * QTY_ONE, 2_500_000, 490 * USD_ONE)
    ]
    said = of(PositionReport, canceled(bench, cum=5))  # type: ignore[arg-type]
    assert [(report.symbol, report.cash, report.working) for report in said] == [
        ("0xb", 497_500_000, ()), (SYMBOL, 497_500_000, ())
    ]  # fmt: skip


def test_a_change_of_state_or_epoch_is_told_of_every_market() -> None:
    bench = Bench(obey=False)
    bench.tell(MarketListed(market=OTHER))
    said = of(PositionReport, bench.tell(Fail(reason="test", epoch=4)))
    assert [(report.symbol, report.state, report.epoch) for report in said] == [
        ("0xb", BotState.FAILING, 5), (SYMBOL, BotState.FAILING, 5)
    ]  # fmt: skip


def test_the_status_shows_orders_positions_alerts_and_the_day() -> None:
    bench = Bench(obey=False)
    assert bench.executor.status_report().component == "executor"
    bench.intent(bid=5000, offer=5200)
    bench.tell(trade(bench.order(0).order_id, 5))
    bench.executor.alert(2, "careful")
    body = bench.executor.status_report().body
    assert (body["state"], body["epoch"], body["flat"], body["reasons"]) == ("quoting", 0, False, [])
    assert body["orders"]["open"] == 2 and body["orders"]["filled"] == 1 and body["orders"]["unknown"] == 0
    assert body["positions"] == {UP: 5.0}
    assert body["cash_usd"] == 497.5
    assert body["day"] == {"utc_day": (UTC0 + bench.now) // (86_400 * NS_PER_S), "pnl_usd": 0.0}
    assert body["alerts"] == [{"seq": 1, "level": 2, "text": "careful"}]
    assert body["intents"] == {"handled": 1, "refused": 0}
    market = body["markets"][SYMBOL]
    assert market["position"] == {"up": 5.0, "down": 0.0, "net": 5.0}
    assert (market["bid"], market["ask"]) == ({"px": 0.5, "size": 15.0}, {"px": 0.52, "size": 20.0})
    first, second = bench.order(0), bench.order(1)
    assert market["working"] == [
        {
            "cl_ord_id": first.cl_ord_id, "order_id": first.order_id, "asset_id": UP, "side": "BUY", "px": 0.5,
            "leaves_qty": 15.0, "state": "working",
        },
        {
            "cl_ord_id": second.cl_ord_id, "order_id": second.order_id, "asset_id": DOWN, "side": "BUY", "px": 0.48,
            "leaves_qty": 20.0, "state": "pending_new",
        },
    ]  # fmt: skip
    canceled(bench, 0, cum=5)
    bench.now += 3 * NS_PER_S
    bench.tick(0)
    assert bench.executor.status_report().body["orders"] == {
        "placed": 2, "acked": 0, "rejected": 0, "canceled": 1, "filled": 1, "unknown": 1, "open": 1
    }  # fmt: skip
    bench.tell(Fail(reason="why"))
    bench.executor.recovery.state = BotState.RECONCILING
    body = bench.executor.status_report().body
    assert body["reasons"][0] == "why" and "an order is unresolved" in body["reasons"]


# -- cancels ---------------------------------------------------------------------------------------------------------


def test_a_delete_is_sent_once_at_a_time_and_says_what_it_is_for() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order = bench.order()
    said = bench.intent(cause_ns=77)
    assert of(CancelOrder, said) == [
        CancelOrder(
            cl_ord_id=order.cl_ord_id, order_id=order.order_id, symbol=SYMBOL, made_ns=bench.now, cause_ns=77
        )
    ]  # fmt: skip
    assert of(CancelOrder, bench.tell(acked(order.order_id))) == []  # within the same moment
    bench.tick()
    bench.executor.delete(order)
    assert order.deletes == 2


def test_a_mass_cancel_without_usable_answer_is_repeated_soon() -> None:
    bench = Bench(obey=False)
    bench.tell(Fail(reason="test"))
    bench.tell(MassCancelReport(symbol="", known=False, asked_ns=bench.now))
    bench.now += 450 * NS_PER_MS
    assert of(MassCancel, bench.tick()) == [MassCancel(reason="not confirmed yet", made_ns=bench.now)]


def test_a_market_is_pulled_again_and_again_at_an_epoch_of_its_own() -> None:
    bench = Bench(obey=False)
    for n in (1, 2):
        bench.intent(bid=5000)
        (change,) = of(GateChange, bench.intent(cancel_first=True))
        assert change == GateChange(symbol=SYMBOL, epoch=n, reason="the strategy pulls")
        canceled(bench, n - 1)
        assert of(GateChange, bench.intent(cancel_first=True)) == []  # what has ended needs no pull
    bench.intent(bid=5000)
    bench.intent()
    assert of(GateChange, bench.intent(cancel_first=True)) == []  # nor what is cancelled already


def test_alerts_are_numbered() -> None:
    bench = Bench()
    for text in ("one", "two"):
        bench.executor.alert(2, text)
    assert [(alert.seq, alert.text) for alert in bench.executor.alerts] == [(1, "one"), (2, "two")]


def test_an_order_is_asked_for_when_the_venue_may_be_asked_again() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=5000)
    order = bench.order()
    order.queried_ns = bench.now - 100 * NS_PER_MS
    bench.executor.ask(order)
    bench.executor.ask(order)
    assert order.query_due_ns == bench.now + 400 * NS_PER_MS
    order.query_due_ns, order.queried_ns = 0, bench.now - NS_PER_S
    bench.executor.ask(order)
    assert order.query_due_ns == bench.now


def test_a_mass_cancel_is_charged_with_what_it_may_cancel() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900, offer=5200)
    level = bench.executor.budget.levels()["cancels"]
    bench.tell(Fail(reason="test"))
    assert bench.executor.budget.levels()["cancels"] == level - 3
    bench = Bench(obey=False)
    bench.intent(bid=5000, offer=5200)
    oid = bench.order().order_id
    bench.tell(trade(oid, 20))
    level = bench.executor.budget.levels()["cancels"]
    bench.tell(trade(oid, 20, kind=ExecType.TRADE_CANCEL, status=TradeStatus.FAILED))
    deletes = 2  # what is unknown now, and the offer
    assert bench.executor.budget.levels()["cancels"] == level - deletes - 1


def test_a_mass_cancel_makes_every_earlier_read_of_open_orders_worthless() -> None:
    bench = Bench(obey=False)
    bench.now += NS_PER_S
    bench.tell(Fail(reason="test"))
    assert bench.executor.orders.changed_ns == bench.now


def test_trades_are_read_again_after_a_failure() -> None:
    bench = Bench()
    bench.tell(Fail(reason="test"))
    assert of(TradesRequest, bench.run(7)) and bench.state is BotState.QUOTING


def test_a_price_of_down_is_the_rest_of_a_dollar() -> None:
    bench = Bench(obey=False)
    bench.tell(OpenOrders(orders=(), asked_ns=bench.now, recv_ns=bench.now))
    bench.tell(TickSizeChange(symbol=SYMBOL, tick=50))
    (order,) = of(NewOrder, bench.intent(offer=5250, tick=50))
    assert (order.px, order.maker_amount, order.taker_amount) == (PX_ONE - 5250, 9_500_000, 20_000_000)
