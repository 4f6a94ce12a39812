"""One virtual clock and one thread for code that waits: events in order of time, and tasks that may stop anywhere.

A task is a greenlet, so the code of gateways, panic and root runs here as it is, and waits where it would wait. Time
passes only in `run`, from one event to the next. Knows no actor, venue or fault.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from bot.units import NS_PER_S, Ns


class Group:
    """Tasks that live and die together, as the threads of one process do: they may be frozen, and they may be killed."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.dead = False
        self.frozen_until_ns: Ns = 0

    def kill(self) -> None:
        """Nothing of it runs any more, whatever it was waiting for. Called by the hub's own code, never by a task of it."""
        self.dead = True
        for task in self.tasks:
            task.unwind()
        self.tasks.clear()


class Task:
    """A line of execution. `turn` counts its pauses, so that a timer meant for an earlier one does not wake it."""

    __slots__ = ("_greenlet", "_group", "_hub", "ended", "turn")

    def __init__(self, hub: Hub, group: Group, run: Callable[[], object]) -> None:
        self._hub = hub
        self._group = group
        self.turn = 0
        self.ended = False

        def body() -> None:
            run()
            self.ended = True

        self._greenlet = greenlet(body, hub.main)

    def resume(self, turn: int) -> None:
        """Go on until the next pause, if it still waits for this turn. Called by the hub."""
        group = self._group
        if turn != self.turn or self.ended or group.dead:
            return
        if group.frozen_until_ns > self._hub.now_ns:
            self._hub.wake(group.frozen_until_ns, self, turn)
            return
        self.turn += 1
        outer, self._hub.current = self._hub.current, self
        self._greenlet.switch()
        self._hub.current = outer

    def unwind(self) -> None:
        """End it where it stands; what its clean-up says or does goes nowhere, for its group is dead."""
        if self.ended or not self._greenlet:
            return
        self.ended = True
        outer, self._hub.current = self._hub.current, self
        with suppress(Exception, GreenletExit):
            self._greenlet.throw(GreenletExit)
        self._hub.current = outer

    def stand(self) -> None:
        """Give the thread back to the hub; returns when resumed."""
        self._hub.main.switch()

    @property
    def doomed(self) -> bool:
        return self._group.dead


class Hub:
    """Invariant: events of one moment happen in the order in which they were planned; time never goes back."""

    def __init__(self, now_ns: Ns) -> None:
        self.now_ns = now_ns
        self.main = getcurrent()
        self.current: Task | None = None
        self._due: list[tuple[Ns, int, Any, int]] = []  # a call, or a task with the turn that is meant
        self._count = 0
        self._groups: dict[Group, None] = {}

    def clock(self) -> Ns:
        return self.now_ns

    def at(self, at_ns: Ns, call: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._due, (at_ns if at_ns > self.now_ns else self.now_ns, self._count, call, -1))

    def later(self, delay_ns: Ns, call: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now_ns + delay_ns, self._count, call, -1))

    def wake(self, at_ns: Ns, task: Task, turn: int) -> None:
        """Resume a task then, if it still waits for this turn."""
        self._count += 1
        heapq.heappush(self._due, (at_ns if at_ns > self.now_ns else self.now_ns, self._count, task, turn))

    def run(self, until_ns: Ns) -> None:
        """Everything up to that moment. Raises what an event or a task raised."""
        due, pop = self._due, heapq.heappop
        while due and due[0][0] <= until_ns:
            self.now_ns, _, what, turn = pop(due)
            if turn < 0:
                what()
            else:
                what.resume(turn)
        self.now_ns = until_ns

    def close(self) -> None:
        """End every task: one that is left standing would keep all that it can reach for ever."""
        for group in self._groups:
            group.dead = True
        for group in self._groups:
            group.kill()
        self._due.clear()

    # -- for tasks -------------------------------------------------------------------------------------------------

    def spawn(self, group: Group, run: Callable[[], object], delay_ns: Ns = 0) -> Task:
        task = Task(self, group, run)
        group.tasks.append(task)
        self._groups[group] = None
        if len(group.tasks) > 64:
            group.tasks[:] = [kept for kept in group.tasks if not kept.ended]
        self.wake(self.now_ns + delay_ns, task, 0)
        return task

    def pause(self, delay_ns: Ns) -> None:
        """The running task goes on after so long; at once when it is only being unwound."""
        task = self.current
        assert task is not None, "only a task can wait"
        if task.doomed:
            raise GreenletExit
        self.wake(self.now_ns + delay_ns, task, task.turn)
        task.stand()

    def stop(self) -> None:
        """The running task goes no further: its group was killed in it."""
        assert self.current is not None
        self.current.stand()

    def sleep(self, seconds: float) -> None:
        self.pause(int(max(0.0, seconds) * NS_PER_S))


class Signal:
    """What tasks wait for, with a limit. Also stands in for a threading.Condition: nothing else runs meanwhile."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: list[tuple[Task, int]] = []

    def notify_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for task, turn in waiting:
            self._hub.wake(0, task, turn)

    def wait(self, timeout_ns: Ns) -> None:
        """Until the next notify, or for so long."""
        task = self._hub.current
        assert task is not None, "only a task can wait"
        self._waiting = [(other, turn) for other, turn in self._waiting if other.turn == turn and not other.ended]
        self._waiting.append((task, task.turn))
        self._hub.pause(timeout_ns)

    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        until_ns = self._hub.now_ns + int((1e6 if timeout is None else max(0.0, timeout)) * NS_PER_S)
        while not ready():
            left_ns = until_ns - self._hub.now_ns
            if left_ns <= 0:
                return False
            self.wait(left_ns)
        return True

    def __enter__(self) -> Signal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None
