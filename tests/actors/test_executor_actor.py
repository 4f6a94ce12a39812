"""The executor's shell: journal, gate, wire, in this order; the lease; the latency of fills."""

from __future__ import annotations

from typing import Any

import pytest

from actors.executor import ExecutorActor
from actors.router import Directory
from bot.errors import JournalError
from bot.messages import (
    ExecType,
    ExecutionReport,
    Fail,
    GateChange,
    MassCancel,
    Message,
    Nudge,
    Restarted,
    Resume,
    Source,
    StatusReport,
    TimerTick,
)
from bot.units import NS_PER_S


class World:
    """Core, journal, gate, router and a sample ring, all writing into one log."""

    def __init__(self, emits: list[Message]) -> None:
        self.emits = emits
        self.log: list[Any] = []
        self.now_ns = 100
        self.executor_lease_ns = 0
        self.journal_full = False
        self.handled: list[Message] = []

    def handle(self, message: Message, now_ns: int) -> list[Message]:
        self.handled.append(message)
        self.now_ns += 10
        return self.emits

    def status_report(self) -> StatusReport:
        return StatusReport(component="executor", body={"at": self.now_ns})

    def append(self, now_ns: int, message: Message, emitted: Any) -> None:
        if self.journal_full:
            raise JournalError("no space left")
        self.log.append(("journal", now_ns, list(emitted)))

    def rotate(self) -> None:
        pass

    def apply(self, change: GateChange) -> None:
        self.log.append(("gate", change.epoch))

    def send(self, messages: Any) -> None:
        self.log.append(("sent", list(messages)))

    def record(self, ns: int, why: Any = str) -> None:
        self.log.append(("sample", ns))


def actor(world: World, **more: Any) -> ExecutorActor:
    return ExecutorActor(
        core=world,
        journal=world,
        gate=world,
        latency={"fill_to_executor": world},
        name="executor",
        directory=Directory(),
        router=world,
        clock=lambda: world.now_ns,
        **more,
    )


def report(exec_type: ExecType, source: Source) -> ExecutionReport:
    return ExecutionReport(order_id="o", exec_type=exec_type, source=source, recv_ns=60)


def test_the_journal_is_written_then_the_gate_hears_then_the_rest_leaves() -> None:
    world = World([Nudge(), GateChange(epoch=3), MassCancel(), GateChange(epoch=4)])
    actor(world).handle(Resume(by="x"))
    assert world.log == [
        ("journal", 100, world.emits),
        ("gate", 3),
        ("gate", 4),
        ("sent", [Nudge(), MassCancel()]),
    ]


def test_without_a_journal_record_neither_gate_nor_wire_nor_lease_moves() -> None:
    world = World([GateChange(epoch=3), MassCancel()])
    world.journal_full = True
    with pytest.raises(JournalError):
        actor(world).handle(Resume(by="x"))
    assert world.log == []
    assert world.executor_lease_ns == 0


def test_a_run_that_takes_up_another_s_state_begins_with_that_word() -> None:
    world = World([MassCancel()])
    actor(world, first=Restarted()).setup()
    assert world.log == [("journal", 100, [MassCancel()]), ("sent", [MassCancel()])]


def test_each_handled_message_renews_the_lease() -> None:
    world = World([])
    actor(world).handle(Resume(by="x"))
    assert world.executor_lease_ns == 110


def test_fills_of_the_user_stream_are_timed_from_their_frame() -> None:
    world = World([])
    executor = actor(world)
    executor.handle(report(ExecType.TRADE, Source.USER))
    executor.handle(report(ExecType.TRADE, Source.READ))
    executor.handle(report(ExecType.NEW, Source.USER))
    assert [entry for entry in world.log if entry[0] == "sample"] == [("sample", 50)]


def test_status_goes_out_four_times_a_second_and_past_the_journal() -> None:
    world = World([])
    executor = actor(world)
    for _ in range(50):
        executor.handle(TimerTick(name="executor", now_ns=world.now_ns, utc_ns=0))
        world.now_ns += 10_000_000
    sent = [entry[1] for entry in world.log if entry[0] == "sent" and entry[1]]
    assert [message.component for (message,) in sent] == ["executor", "executor"]
    assert all(entry[2] == [] for entry in world.log if entry[0] == "journal")


def test_an_executor_that_comes_back_from_a_standstill_fails_before_it_does_anything_else() -> None:
    world = World([])
    executor = actor(world)
    tick = TimerTick(name="executor", now_ns=0, utc_ns=0)
    executor.handle(tick)
    world.now_ns += 19 * NS_PER_S // 10
    executor.handle(tick)
    assert world.handled == [tick, tick]
    world.now_ns += 21 * NS_PER_S // 10
    executor.handle(tick)
    executor.handle(tick)
    assert world.handled[2:] == [Fail(reason="the executor stood still for 2.1 s"), tick, tick]
    assert [entry[0] for entry in world.log].count("journal") == 5
