"""The executor end to end: quote, fill, fail, recover, halt, settle."""

from __future__ import annotations

import pytest
from desk_fake import DOWN, SYMBOL, UP, Bench, acked, of, placement, requests, trade

from bot.messages import (
    BalanceRequest,
    BotState,
    CancelOrder,
    Fail,
    FeedStatus,
    Fill,
    GateChange,
    Halt,
    MarketResolved,
    MassCancel,
    NewOrder,
    OrderMassStatusRequest,
    OrderState,
    PositionReport,
    Resume,
    Settled,
    Shutdown,
    Side,
    StatusReport,
    TradesRequest,
)
from bot.units import QTY_ONE, USD_ONE


def test_a_first_start_reads_everything_and_then_quotes_at_once() -> None:
    bench = Bench(start=False)
    bench.tell(FeedStatus(feed="user", connected=True))
    said = bench.tick()
    assert {type(m) for m in requests(said)} == {BalanceRequest, TradesRequest, OrderMassStatusRequest, GateChange}
    assert of(GateChange, said)[-1].shut is False
    assert bench.state is BotState.QUOTING


def test_an_intent_becomes_two_orders_that_are_acknowledged() -> None:
    bench = Bench()
    said = bench.intent(bid=4900, offer=5200)
    bid, offer = of(NewOrder, said)
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
    body = of(StatusReport, bench.run(0.3))[-1].body
    assert body["state"] == "quoting"
    assert body["orders"] == {
        "placed": 1, "acked": 1, "rejected": 0, "canceled": 0, "filled": 0, "unknown": 0, "open": 1
    }  # fmt: skip
    assert set(body) >= {"reasons", "user_events", "intents", "risk", "budget", "markets", "cash_usd", "positions"}
    assert body["markets"][SYMBOL]["bid"] == {"px": 0.5, "size": 20.0}
