"""Each kind of actor on a thread of its own: what it is told reaches its core, and what that says reaches the router."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from actors.base import Actor
from actors.core import CoreActor
from actors.executor import ExecutorActor
from actors.heartbeat import HeartbeatActor
from actors.journal import JournalActor
from actors.monitor import MonitorActor
from actors.router import Directory
from actors.strategy import StrategyActor
from bot.execution.gate import Gate
from bot.messages import (
    ExecType,
    ExecutionReport,
    GateChange,
    InjectedFault,
    MassCancel,
    Message,
    Nudge,
    Resume,
    Source,
    StatusReport,
    TimerTick,
)
from bot.venues.polymarket_gateway import HeartbeatResult

WAIT_S = 5.0
TICK = TimerTick(name="x", now_ns=1, utc_ns=2)
FILL = ExecutionReport(order_id="o", exec_type=ExecType.TRADE, source=Source.USER, recv_ns=1)


class World:
    """Core, journal, status, venue and router at once; writes down who did what, on which thread, and rings a bell."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.threads: set[str] = set()
        self.bell = threading.Event()
        self.wanted = ""

    def note(self, what: str, more: Any = None) -> None:
        self.done.append((what, more))
        self.threads.add(threading.current_thread().name)
        if what == self.wanted:
            self.bell.set()

    def handle(self, message: Message, now_ns: int) -> list[Message]:
        self.note("core", message)
        return [GateChange(epoch=7), MassCancel()]

    def append(self, now_ns: int, message: Message, emitted: Any) -> None:
        self.note("journal", message)

    def rotate(self) -> None:
        pass

    def sync(self) -> None:
        self.note("sync")

    def prepare(self) -> None:
        self.note("prepare")

    def observe(self, message: Message, now_ns: int) -> None:
        self.note("observe", message)

    def publish(self, now_ns: int, utc_ns: int) -> None:
        self.note("publish")

    def heartbeat(self, heartbeat_id: str) -> HeartbeatResult:
        self.note("beat", heartbeat_id)
        return HeartbeatResult(True, next_id="next", status=200)

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.note("sent", message)


@pytest.fixture
def told() -> Iterator[Callable[..., World]]:
    """Start an actor, tell it messages through the directory, and wait until the last thing wanted has happened."""
    references: list[Any] = []

    def tell(kind: type[Actor], parts: Callable[[World], dict[str, Any]], messages: list[Message], until: str) -> World:
        world = World()
        world.wanted = until
        directory = Directory()
        references.append(kind.start(name="it", directory=directory, router=world, **parts(world)))
        for message in messages:
            directory.tell("it", message)
        assert world.bell.wait(WAIT_S), world.done
        assert world.threads == {"it"}
        return world

    yield tell
    for reference in references:
        reference.stop(timeout=WAIT_S)


def test_a_core_actor_lends_its_thread(told: Callable[..., World]) -> None:
    world = told(CoreActor, lambda world: {"core": world}, [Resume(by="me")], "sent")
    assert world.done[0] == ("core", Resume(by="me"))


def test_the_executor_journals_before_it_speaks_and_tells_the_gate(told: Callable[..., World]) -> None:
    gate = Gate()
    world = told(ExecutorActor, lambda world: {"core": world, "journal": world, "gate": gate}, [FILL], "sent")
    assert world.done == [("core", FILL), ("journal", FILL), ("sent", MassCancel())]
    assert gate.epoch() == 7


def test_the_strategy_runs_on_a_nudge(told: Callable[..., World]) -> None:
    world = told(StrategyActor, lambda world: {"core": world, "max_hz": 200.0}, [Nudge(cause_ns=9)], "sent")
    assert world.done[0] == ("core", Nudge(cause_ns=9))


def test_the_journal_actor_syncs_and_prepares_on_a_tick(told: Callable[..., World]) -> None:
    world = told(JournalActor, lambda world: {"journal": world}, [TICK], "prepare")
    assert [what for what, _ in world.done] == ["sync", "prepare"]


def test_the_monitor_observes_and_publishes(told: Callable[..., World]) -> None:
    report = StatusReport(component="strategy", body={})
    world = told(MonitorActor, lambda world: {"status": world, "tidy": lambda: None}, [report, TICK], "publish")
    assert world.done[0] == ("observe", report)


def test_the_heartbeat_beats_while_the_leases_are_fresh(told: Callable[..., World]) -> None:
    gate = Gate()

    def parts(world: World) -> dict[str, Any]:
        import time

        gate.executor_lease_ns = gate.root_lease_ns = time.monotonic_ns()
        return {"api": world, "gate": gate}

    world = told(HeartbeatActor, parts, [TICK], "beat")
    assert world.done[0] == ("beat", "")


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (CoreActor, lambda world: {"core": world}),
        (ExecutorActor, lambda world: {"core": world, "journal": world, "gate": Gate()}),
        (StrategyActor, lambda world: {"core": world, "max_hz": 200.0}),
        (JournalActor, lambda world: {"journal": world}),
        (MonitorActor, lambda world: {"status": world, "tidy": lambda: None}),
        (HeartbeatActor, lambda world: {"api": world, "gate": Gate()}),
    ],
)
def test_an_injected_fault_ends_any_kind_of_actor_and_the_root_hears_of_it(
    kind: type[Actor], parts: Callable[[World], dict[str, Any]]
) -> None:
    heard: list[tuple[str, Message]] = []
    bell = threading.Event()

    def dead_letter(name: str, message: Message) -> bool:
        heard.append((name, message))
        bell.set()
        return True

    world = World()
    directory = Directory(dead_letter)  # nobody is registered as the root, so what it should hear ends here
    kind.start(name="it", directory=directory, router=world, **parts(world))
    directory.tell("it", InjectedFault())
    assert bell.wait(WAIT_S)
    assert heard[0][0] == "root" and "injected fault" in heard[0][1].error  # type: ignore[attr-defined]
