"""The hub: events in order of time, tasks that wait in the middle, groups that are frozen or killed."""

from __future__ import annotations

from bot.sim.chaos.hub import Group, Hub, Signal
from bot.units import NS_PER_S


class Stage:
    def __init__(self) -> None:
        self.hub = Hub(0)
        self.group = Group()
        self.signal = Signal(self.hub)
        self.log: list[object] = []

    def say(self, what: object) -> None:
        self.log.append((self.hub.now_ns / NS_PER_S, what))

    def run(self, seconds: float) -> None:
        self.hub.run(int(seconds * NS_PER_S))


def test_events_happen_in_order_of_time_and_then_of_planning() -> None:
    stage = Stage()
    for name, at in (("c", 2), ("a", 1), ("d", 2), ("b", 1)):
        stage.hub.at(at * NS_PER_S, lambda name=name: stage.say(name))  # type: ignore[misc]
    stage.run(3)
    assert stage.log == [(1, "a"), (1, "b"), (2, "c"), (2, "d")]


def test_a_task_waits_in_the_middle_while_another_goes_on() -> None:
    stage = Stage()

    def slow() -> None:
        for step in range(2):
            stage.say(f"slow {step}")
            stage.hub.sleep(2)

    def quick() -> None:
        stage.hub.sleep(1)
        stage.say("quick")

    stage.hub.spawn(stage.group, slow)
    stage.hub.spawn(stage.group, quick)
    stage.run(5)
    assert stage.log == [(0, "slow 0"), (1, "quick"), (2, "slow 1")]


def test_a_signal_ends_a_wait_and_a_limit_ends_it_without() -> None:
    stage = Stage()
    ready: list[int] = []

    def wait(limit: float) -> None:
        stage.say(stage.signal.wait_for(lambda: bool(ready), limit))

    stage.hub.spawn(stage.group, lambda: wait(1))
    stage.hub.spawn(stage.group, lambda: wait(5))
    stage.hub.at(2 * NS_PER_S, lambda: (ready.append(1), stage.signal.notify_all()))
    stage.run(9)
    assert stage.log == [(1, False), (2, True)]


def test_a_frozen_group_goes_on_when_it_thaws() -> None:
    stage = Stage()

    def work() -> None:
        stage.hub.sleep(1)
        stage.say("done")

    stage.hub.spawn(stage.group, work)
    stage.group.frozen_until_ns = 4 * NS_PER_S
    stage.run(9)
    assert stage.log == [(5, "done")]


def test_a_killed_group_cleans_up_and_does_nothing_more() -> None:
    stage = Stage()

    def work() -> None:
        try:
            stage.hub.sleep(5)
            stage.say("never")
        finally:
            stage.say("cleaned up")
            stage.hub.sleep(1)
            stage.say("never")

    stage.hub.spawn(stage.group, work)
    stage.hub.at(2 * NS_PER_S, stage.group.kill)
    stage.run(9)
    assert stage.log == [(2, "cleaned up")]
