"""When the strategy runs: a tick or a nudge, at most max_hz, and no wake-up is forgotten."""

from __future__ import annotations

from typing import Any

from actors.router import Directory
from actors.strategy import StrategyActor
from bot.messages import Message, Nudge, Resume, TimerTick
from bot.units import NS_PER_MS


class Desk:
    """A strategy that writes down what it was run with and when; max_hz 100: 10 ms apart."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * NS_PER_MS
        self.runs: list[tuple[int, Message]] = []
        self.took: list[int] = []
        self.works_ns = 0
        self.left: list[str] = []
        self.actor = StrategyActor(
            max_hz=100,
            decision=self,
            core=self,
            name="strategy",
            directory=Directory(),
            router=self,
            clock=lambda: self.now_ns,
        )

    def handle(self, message: Message, now_ns: int) -> list[Message]:
        self.runs.append((now_ns // NS_PER_MS - 1_000, message))
        self.now_ns += self.works_ns
        return []

    def record(self, elapsed_ns: int, why: Any = str) -> None:
        self.took.append(elapsed_ns)

    def send(self, messages: Any) -> None:
        pass

    def at(self, ms: int, message: Message) -> None:
        """Alarms that fall due on the way come first, as the mailbox would deliver them."""
        target_ns = (1_000 + ms) * NS_PER_MS
        while self.actor.mailbox.alarm is not None and self.actor.mailbox.alarm[0] <= target_ns:
            self.now_ns, alarm = self.actor.mailbox.alarm
            self.actor.mailbox.clear_alarm()
            self.actor.handle(alarm)
        self.now_ns = target_ns
        self.actor.handle(message)


TICK = TimerTick(name="strategy", now_ns=1, utc_ns=2)


def test_the_first_wake_up_runs_at_once() -> None:
    desk = Desk()
    desk.at(0, Nudge(cause_ns=5))
    assert desk.runs == [(0, Nudge(cause_ns=5))]


def test_a_nudge_too_soon_waits_only_until_the_gap_is_over() -> None:
    desk = Desk()
    desk.at(0, TICK)
    desk.at(4, Nudge(cause_ns=5))
    assert desk.runs == [(0, TICK)]
    desk.at(50, TICK)
    assert desk.runs == [(0, TICK), (10, Nudge(cause_ns=5)), (50, TICK)]


def test_a_flood_of_nudges_runs_at_max_hz_and_no_faster() -> None:
    desk = Desk()
    for ms in range(100):
        desk.at(ms, Nudge(cause_ns=ms))
    assert [ms for ms, _ in desk.runs] == list(range(0, 100, 10))


def test_a_held_tick_is_not_replaced_by_a_nudge() -> None:
    desk = Desk()
    desk.at(0, Nudge())
    desk.at(3, TICK)
    desk.at(4, Nudge(cause_ns=4))
    desk.at(20, Nudge(cause_ns=20))
    assert desk.runs == [(0, Nudge()), (10, TICK), (20, Nudge(cause_ns=20))]


def test_a_broken_guard_does_not_wait_for_the_gap() -> None:
    desk = Desk()
    desk.at(0, Nudge(cause_ns=1))
    desk.at(3, Nudge(cause_ns=2, guard=True))
    desk.at(5, Nudge(cause_ns=3))
    desk.at(20, Nudge(cause_ns=4))
    assert desk.runs == [
        (0, Nudge(cause_ns=1)),
        (3, Nudge(cause_ns=2, guard=True)),
        (13, Nudge(cause_ns=3)),
    ]


def test_a_broken_guard_waits_for_another_one_but_for_no_other_run() -> None:
    desk = Desk()
    desk.at(0, Nudge(cause_ns=1))
    desk.at(0, Nudge(cause_ns=2, guard=True))
    desk.at(0, Nudge(cause_ns=3, guard=True))
    desk.at(20, Nudge(cause_ns=4))
    assert desk.runs == [
        (0, Nudge(cause_ns=1)),
        (0, Nudge(cause_ns=2, guard=True)),
        (1, Nudge(cause_ns=3, guard=True)),
        (20, Nudge(cause_ns=4)),
    ]


def test_a_broken_guard_is_not_forgotten_for_what_is_held_or_comes_next() -> None:
    desk = Desk()
    desk.at(0, Nudge(cause_ns=1))
    desk.at(2, Nudge(cause_ns=2))
    desk.at(3, Nudge(cause_ns=3, guard=True))
    assert desk.runs == [(0, Nudge(cause_ns=1)), (3, Nudge(cause_ns=3, guard=True))]


def test_guards_broken_in_a_row_run_at_most_once_a_millisecond_and_bring_a_held_tick_along() -> None:
    desk = Desk()
    for tenth in range(30):
        desk.now_ns = 1_000 * NS_PER_MS + tenth * NS_PER_MS // 10
        desk.actor.handle(Nudge(cause_ns=tenth, guard=True))
    assert [ms for ms, _ in desk.runs] == [0, 1, 2]
    desk.at(5, TICK)
    desk.at(6, Nudge(cause_ns=99, guard=True))
    assert desk.runs[-1] == (6, TICK)


def test_what_is_no_wake_up_goes_straight_through() -> None:
    desk = Desk()
    desk.at(0, Nudge())
    desk.at(1, Resume(by="x"))
    assert desk.runs == [(0, Nudge()), (1, Resume(by="x"))]


def test_how_long_a_decision_took_is_measured_and_a_message_that_is_no_wake_up_is_not() -> None:
    desk = Desk()
    desk.works_ns = 700
    desk.at(0, Nudge(cause_ns=5))
    desk.at(20, TICK)
    desk.at(30, Resume(by="x"))
    assert desk.took == [700, 700]


def test_what_a_tick_left_over_has_a_wake_up_of_its_own_or_that_of_the_next_nudge() -> None:
    desk = Desk()
    desk.left = ["m"]
    desk.at(0, TICK)
    desk.left = []
    desk.at(50, TICK)
    assert desk.runs == [(0, TICK), (10, Nudge()), (50, TICK)]
    desk.left = ["m"]
    desk.at(100, TICK)
    desk.left = []
    desk.at(103, Nudge(cause_ns=3, guard=True))
    desk.at(150, TICK)
    assert desk.runs[3:] == [(100, TICK), (103, Nudge(cause_ns=3, guard=True)), (150, TICK)]
