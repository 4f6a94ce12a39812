"""The gate: no order passes at an old epoch, while it is shut, or with a stale stamp."""

from __future__ import annotations

import pytest

from bot.execution.gate import Gate
from bot.messages import GateChange, NewOrder, Reject, Side
from bot.units import NS_PER_S

NOW = 100 * NS_PER_S


def an_order(order_id: str = "o", epoch: int = 0, symbol: str = "m", valid_until_ns: int = NOW) -> NewOrder:
    return NewOrder(
        cl_ord_id="c", order_id=order_id, symbol=symbol, asset_id="up", side=Side.BUY, px=5000, order_qty=1,
        maker_amount=1, taker_amount=1, salt=1, timestamp_ms=1, version=2, neg_risk=False, tick=100, epoch=epoch,
        valid_until_ns=valid_until_ns, made_ns=NOW,
    )  # fmt: skip


def an_open_gate() -> Gate:
    gate = Gate()
    gate.apply(GateChange(epoch=0, shut=False))
    for stamp in ("heartbeat_ack_ns", "user_frame_ns", "open_orders_ns", "executor_lease_ns", "root_lease_ns"):
        setattr(gate, stamp, NOW)
    return gate


def reject(gate: Gate, order: NewOrder, now_ns: int = NOW) -> Reject | None:
    verdict = gate.admit([order], now_ns)[0]
    return verdict[0] if verdict is not None else None


def test_a_fresh_order_passes_and_is_in_flight_until_it_landed() -> None:
    gate = an_open_gate()
    assert reject(gate, an_order()) is None
    assert gate.inflight() == {"o": NOW}
    gate.landed(["o"])
    assert gate.inflight() == {}


def test_it_starts_shut() -> None:
    assert Gate().blocked(NOW).startswith("shut by start")


def test_a_shut_stops_every_order_of_an_older_epoch_for_ever() -> None:
    gate = an_open_gate()
    epoch = gate.shut("root", "a child failed")
    assert reject(gate, an_order(epoch=epoch)) is Reject.SHUT
    gate.open("root")
    assert reject(gate, an_order(epoch=epoch - 1)) is Reject.EPOCH
    assert reject(gate, an_order(epoch=epoch)) is None


def test_a_second_shut_in_the_same_name_raises_no_epoch_that_nobody_hears_of() -> None:
    gate = an_open_gate()
    epoch = gate.shut("latch", "root")
    assert gate.shut("latch", "operator, again") == epoch == gate.epoch()
    gate.open("latch")
    assert gate.shut("latch", "a new one") == epoch + 1


def test_each_name_must_take_its_own_shut_back() -> None:
    gate = an_open_gate()
    gate.shut("root", "x")
    gate.shut("panic", "y")
    gate.apply(GateChange(epoch=2, shut=False))
    gate.open("root")
    assert set(gate.shut_by()) == {"panic"}


def test_a_market_epoch_stops_only_its_market() -> None:
    gate = an_open_gate()
    gate.apply(GateChange(symbol="m", epoch=1))
    assert reject(gate, an_order(epoch=0)) is Reject.EPOCH
    assert reject(gate, an_order("o2", epoch=0, symbol="n")) is None
    assert gate.epoch("m") == 1 and gate.epoch("n") == 0


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("heartbeat_ack_ns", 7),
        ("user_frame_ns", 10),
        ("open_orders_ns", 30),
        ("executor_lease_ns", 2),
        ("root_lease_ns", 2),
    ],
)
def test_a_stale_stamp_shuts_it(stamp: str, seconds: int) -> None:
    gate = an_open_gate()
    setattr(gate, stamp, NOW - seconds * NS_PER_S)
    assert reject(gate, an_order("fresh")) is None
    setattr(gate, stamp, NOW - seconds * NS_PER_S - 1)
    assert reject(gate, an_order()) is Reject.SHUT
    setattr(gate, stamp, 0)
    assert reject(gate, an_order()) is Reject.SHUT


def test_an_order_that_waited_too_long_is_stale() -> None:
    assert reject(an_open_gate(), an_order(valid_until_ns=NOW - 1)) is Reject.STALE


def test_the_halt_latch_is_asked_each_time() -> None:
    latch: list[bool] = []
    gate = Gate(latched=lambda: bool(latch))
    gate.__dict__.update(an_open_gate().__dict__ | {"_latched": lambda: bool(latch)})
    assert reject(gate, an_order("o1")) is None
    latch.append(True)
    assert reject(gate, an_order("o2")) is Reject.SHUT


def test_the_executors_shut_is_its_own_and_it_takes_it_back_together_with_the_starts() -> None:
    gate = Gate()
    gate.apply(GateChange(epoch=3, shut=True, reason="why"))
    assert gate.shut_by() == {"start": "not reconciled yet", "executor": "why"}
    gate.shut("root", "another")
    gate.apply(GateChange(epoch=4, shut=False))
    assert gate.shut_by() == {"root": "another"}


def test_a_change_that_neither_shuts_nor_opens_leaves_the_gate_as_it_is() -> None:
    gate = Gate()
    gate.apply(GateChange(epoch=3))
    assert (gate.epoch(), set(gate.shut_by())) == (3, {"start"})
