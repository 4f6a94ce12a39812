"""E30: the state of the run before is kept, what it had out is uncertain, and what happened meanwhile counts once."""

from __future__ import annotations

import pytest
from desk_fake import SYMBOL, UP, UTC0, Bench, digest, of, trade

from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.execution.snapshot import restore, snapshot
from bot.messages import (
    BalanceRequest,
    BotState,
    CancelOrder,
    ExecType,
    ExecutionReport,
    FeedStatus,
    Fill,
    GateChange,
    MarketResolved,
    MassCancel,
    OpenOrder,
    OpenOrders,
    OrderState,
    OrderStatusRequest,
    PositionReport,
    Restarted,
    Settled,
    Side,
    Source,
    TradesRequest,
    TradeStatus,
)
from bot.units import NS_PER_S, QTY_ONE

FILL = {"asset_id": UP, "side": Side.BUY, "symbol": SYMBOL, "source": Source.READ}


def crash(bench: Bench, *, clean: bool = False, away_s: float = 1.0, power_lost: bool = False) -> None:
    """The process dies and another takes its state up."""
    fresh = Executor(limits=Limits(), order_id_of=digest, salt_base=0x2000, clean_start=clean)
    restore(fresh, snapshot(bench.executor))
    bench.executor = fresh
    bench.now += round(away_s * NS_PER_S)
    bench.tell(Restarted(power_lost=power_lost))


def back(bench: Bench, seconds: float = 12) -> None:
    bench.obey = True
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.run(seconds)
    assert bench.state is BotState.QUOTING


def test_what_was_out_is_unknown_and_cancelled_until_that_is_confirmed_then_it_quotes() -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200)
    epoch = bench.executor.recovery.epoch
    crash(bench)
    assert bench.state is BotState.STARTING
    assert [order.state for order in bench.executor.orders.live.values()] == [OrderState.UNKNOWN] * 2
    said = bench.tick()
    assert bench.state is BotState.FAILING and of(MassCancel, said)
    assert of(GateChange, said)[0].epoch > epoch
    back(bench)
    assert not bench.resting and not bench.executor.orders.live
    assert bench.executor.orders.by_id and all(not order.is_open for order in bench.executor.orders.by_id.values())


def test_after_a_flat_end_it_quotes_without_a_cooldown() -> None:
    bench = Bench()
    crash(bench, clean=True)
    bench.tell(FeedStatus(feed="user", connected=True))
    said = bench.tick()
    assert bench.state is BotState.QUOTING and not of(MassCancel, said)


def test_an_open_order_after_a_flat_end_is_cancelled_first() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    crash(bench, clean=True)
    bench.tell(FeedStatus(feed="user", connected=True))
    said = bench.tick()
    assert bench.state is BotState.FAILING and of(MassCancel, said)


def test_trades_are_read_again_from_a_minute_before_the_last_moment_it_knew() -> None:
    bench = Bench()
    bench.run(5)
    knew_s = (UTC0 + bench.now) // NS_PER_S
    crash(bench, clean=True, away_s=3600)
    (request,) = of(TradesRequest, bench.tick())
    assert request.after_utc_s == knew_s - 60


def test_a_fill_while_nobody_looked_counts_once_in_shares_and_cash() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    order = bench.order()
    crash(bench)
    bench.trades.append(trade(order.order_id, 20, px=4900, status=TradeStatus.CONFIRMED, **FILL))
    bench.resting.clear()
    bench.cash -= 9_800_000
    back(bench)
    bench.tell(bench.trades[0])
    assert bench.net() == 20
    assert bench.executor.positions.cash == bench.cash
    assert len([message for message in bench.sent if isinstance(message, Fill)]) == 1


def test_a_fill_that_was_booked_before_is_not_booked_again() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    order_id = bench.order().order_id
    bench.tell(trade(order_id, 20, px=4900))
    bench.cash -= 9_800_000
    bench.resting.clear()
    crash(bench)
    bench.trades.append(trade(order_id, 20, px=4900, status=TradeStatus.CONFIRMED, **FILL))
    back(bench)
    assert (bench.net(), bench.executor.positions.cash) == (20, bench.cash)


def test_a_fill_of_an_order_that_the_journal_lost_counts_in_shares_and_cash() -> None:
    bench = Bench()
    crash(bench)
    bench.trades.append(trade("0xlost", 10, px=5000, status=TradeStatus.CONFIRMED, **FILL))
    bench.cash -= 5_000_000
    back(bench)
    assert (bench.net(), bench.executor.positions.cash) == (10, bench.cash)
    assert not bench.executor.alerts or bench.executor.alerts[-1].text == "the last run did not end flat"


@pytest.mark.parametrize("power_lost", [True, False])
def test_an_open_order_that_the_journal_does_not_know_is_ours_only_after_a_power_loss(power_lost: bool) -> None:
    bench = Bench()
    crash(bench, power_lost=power_lost)
    bench.obey = False
    bench.tick()
    row = OpenOrder(order_id="0xlost", symbol=SYMBOL, asset_id=UP, side=Side.BUY, px=4900, order_qty=20, cum_qty=0)
    bench.tell(OpenOrders(orders=(row,), asked_ns=bench.now, recv_ns=bench.now))
    assert bench.state is (BotState.FAILING if power_lost else BotState.HALTED)


@pytest.mark.parametrize("power_lost", [True, False])
def test_of_such_an_order_the_user_stream_may_speak_first(power_lost: bool) -> None:
    bench = Bench()
    crash(bench, power_lost=power_lost)
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.run(3)
    assert bench.executor.baseline_done
    bench.tell(
        ExecutionReport(
            order_id="0xlost",
            exec_type=ExecType.UPDATE,
            cum_qty=5 * QTY_ONE,
            order_qty=20 * QTY_ONE,
            px=4900,
            **{**FILL, "source": Source.USER},
        )
    )
    said = bench.run(2.1)
    assert [message.order_id for message in of(CancelOrder, said)] == ["0xlost"]
    assert (bench.state is BotState.HALTED) == (not power_lost)


def test_money_that_came_while_nobody_looked_is_seen_at_once() -> None:
    bench = Bench()
    bench.cash += 7 * QTY_ONE
    crash(bench, clean=True)
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.tick()
    assert bench.state is BotState.QUOTING
    assert bench.executor.positions.cash == bench.cash


def test_the_balance_is_asked_for_after_the_trades_are_known() -> None:
    bench = Bench(obey=False)
    crash(bench, clean=True)
    said = bench.tick()
    assert of(TradesRequest, said) and not of(BalanceRequest, said)
    (answer,) = [report for request in of(TradesRequest, said) for report in bench.answers(request)]
    assert of(BalanceRequest, bench.tell(answer))


def test_a_market_that_ended_meanwhile_is_settled() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    bench.tell(trade(bench.order().order_id, 20, px=4900, status=TradeStatus.CONFIRMED))
    bench.resting.clear()
    bench.cash -= 9_800_000
    crash(bench, away_s=3 * 3600)
    back(bench)
    (settled,) = of(Settled, bench.tell(MarketResolved(symbol=SYMBOL, winning_asset_id=UP)))
    assert (settled.payout, settled.pnl) == (20_000_000, 10_200_000)
    assert bench.executor.risk.realised_day == 10_200_000


def test_the_day_s_loss_goes_on() -> None:
    bench = Bench()
    bench.executor.risk.realised_day = -5_000_000
    crash(bench)
    back(bench)
    assert bench.executor.risk.realised_day == -5_000_000


def test_the_counts_of_a_run_begin_anew_and_everybody_is_told_where_things_stand() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    bench.executor.alert(1, "of the last run")
    bench.sent.clear()
    crash(bench)
    body = bench.executor.status_report().body
    assert (body["orders"]["placed"], body["intents"]["handled"], body["user_events"]["handled"]) == (0, 0, 0)
    assert body["alerts"] == []
    (report,) = of(PositionReport, bench.sent)
    assert report.state is BotState.STARTING and [order.state for order in report.working] == [OrderState.UNKNOWN]


def test_a_new_strategy_counts_its_wishes_from_the_start() -> None:
    bench = Bench()
    for _ in range(3):
        bench.intent(bid=4900)
    crash(bench)
    back(bench)
    bench.seq = 0
    assert bench.intent(bid=4900) and bench.executor.status_report().body["intents"] == {"handled": 1, "refused": 0}


def test_an_ended_order_that_still_exposes_us_is_asked_for_again() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900)
    order = bench.order()
    order.tail_ns = bench.now
    order.state = OrderState.CANCELED
    crash(bench)
    assert [request.order_id for request in of(OrderStatusRequest, bench.sent)] == [order.order_id]


def test_a_run_that_crashed_before_it_knew_its_cash_reads_it_anew() -> None:
    bench = Bench(start=False, obey=False)
    bench.tick()
    crash(bench, clean=True)
    bench.trades.append(trade("0xearlier", 10, px=5000, status=TradeStatus.CONFIRMED, **FILL))
    bench.obey = True
    bench.tell(FeedStatus(feed="user", connected=True))
    bench.run(1)
    assert bench.state is BotState.QUOTING and bench.executor.positions.cash == bench.cash
