"""The timer: each name at its period, with venue-corrected time, and no making up for missed ticks."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

from actors.base import Actor
from actors.mailbox import Mailbox
from actors.router import Directory, Health, Router
from actors.timer import TimerActor
from actors.wiring import PERIODS_NS
from bot.app import TICKS_APART_NS
from bot.messages import Message, TimerTick
from bot.units import NS_PER_MS, NS_PER_S

FOREVER_S = 10.0


class Bench:
    def __init__(self, schedule: dict[str, int], apart_ns: int = 0) -> None:
        self.now_ns = 1_000
        self.ticks: list[tuple[str, int, int]] = []
        self.late: list[int] = []
        self.directory = Directory()
        self.directory.tell = self.tell  # type: ignore[method-assign]
        self.timer = TimerActor(
            schedule=schedule,
            utc=lambda now_ns: now_ns + 5,
            lateness=self,
            apart_ns=apart_ns,
            name="timer",
            directory=self.directory,
            router=Router(self.directory, {}),
            clock=lambda: self.now_ns,
        )
        self.timer.setup()

    def record(self, elapsed_ns: int, why: Any = str) -> None:
        self.late.append(elapsed_ns)

    def tell(self, name: str, message: Message) -> None:
        assert isinstance(message, TimerTick)
        assert message.name == name
        self.ticks.append((name, message.now_ns, message.utc_ns))

    def until(self, end_ns: int) -> None:
        while (alarm := self.timer.mailbox.alarm) is not None and alarm[0] <= end_ns:
            self.now_ns = alarm[0]
            self.timer.mailbox.clear_alarm()
            self.timer.handle(alarm[1])


def test_each_name_is_ticked_at_its_own_period_with_corrected_wall_time() -> None:
    bench = Bench({"fast": 10, "slow": 25})
    bench.until(1_050)
    assert [now_ns for name, now_ns, _ in bench.ticks if name == "fast"] == [1_010, 1_020, 1_030, 1_040, 1_050]
    assert [(now_ns, utc_ns) for name, now_ns, utc_ns in bench.ticks if name == "slow"] == [
        (1_025, 1_030),
        (1_050, 1_055),
    ]


def test_names_of_one_period_are_ticked_apart() -> None:
    bench = Bench({"a": 10, "b": 10, "c": 10, "quick": 2}, apart_ns=3)
    bench.until(1_014)
    told = {name: [now_ns for ticked, now_ns, _ in bench.ticks if ticked == name] for name in ("a", "b", "c", "quick")}
    assert told["a"] == [1_010]
    assert told["b"] == [1_007]
    assert told["c"] == [1_004, 1_014]
    assert told["quick"] == [1_001, 1_003, 1_005, 1_007, 1_009, 1_011, 1_013]


def test_the_longest_runs_of_a_bot_begin_apart() -> None:
    """Or a tick of the strategy waits until the status record is written."""
    bench = Bench(PERIODS_NS, apart_ns=TICKS_APART_NS)
    bench.until(4 * NS_PER_S)
    long = [(now_ns, name) for name, now_ns, _ in bench.ticks if name in ("executor", "strategy", "monitor")]
    assert {name for _, name in long} == {"executor", "strategy", "monitor"}
    gaps = [later[0] - one[0] for one, later in pairwise(sorted(long))]
    assert min(gaps) >= TICKS_APART_NS


def test_missed_ticks_are_not_made_up_and_the_grid_is_kept() -> None:
    bench = Bench({"a": 10})
    bench.now_ns = 1_047
    bench.timer.handle(TimerTick(name="timer", now_ns=0, utc_ns=0))
    assert bench.ticks == [("a", 1_047, 1_052)] and bench.late == [37]
    assert bench.timer.mailbox.alarm is not None
    assert bench.timer.mailbox.alarm[0] == 1_050


def test_its_last_tick_is_its_sign_of_life() -> None:
    bench = Bench({"a": 10})
    assert bench.timer.health.extra_stamp is not None
    bench.until(1_030)
    assert bench.timer.health.extra_stamp() == 1_030


def test_a_started_timer_ticks_by_itself() -> None:
    class Counter(Actor):
        def handle(self, message: Any) -> None:
            ticked.append(message)
            if len(ticked) == 3:
                enough.set()

    ticked: list[TimerTick] = []
    enough = threading.Event()
    directory = Directory()
    common: dict[str, Any] = {"directory": directory, "router": Router(directory, {})}
    Counter.start(name="counter", **common)
    TimerActor.start(schedule={"counter": 2 * NS_PER_MS}, utc=lambda now_ns: now_ns, name="timer", **common)
    assert enough.wait(FOREVER_S)
    for name in ("timer", "counter"):
        health = directory.health(name)
        assert isinstance(health, Health)
        assert isinstance(health.mailbox, Mailbox)
        assert health.thread is not None
        directory.stop(name)
        health.thread.join(FOREVER_S)
        assert not health.thread.is_alive()
    assert {tick.name for tick in ticked} == {"counter"}
