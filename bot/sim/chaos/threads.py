"""Actors on the hub: each real actor with its real mailbox, run by a task instead of a thread of its own.

Who runs next, and after how long, is drawn from the process's random source: that is what makes orders of delivery vary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, cast

import pykka
from pykka.messages import _ActorStop

from actors.base import Actor
from actors.router import Directory
from bot.sim.chaos.hub import Group, Hub, Signal, Task
from bot.units import NS_PER_MS, Ns

WAKE_NS: Ns = 300_000  # at most, from a message's arrival to its handler, when the machine is idle ...
HICCUP = 0.004  # ... and for this share of them up to:
HICCUP_NS: Ns = 40 * NS_PER_MS
HANDLER_NS: Ns = 40_000  # what a handler takes, on average


class ActorThread:
    """What the root knows as a child's thread. Invariant: handlers of one actor never overlap."""

    def __init__(
        self, hub: Hub, group: Group, actor: Actor, random: Random, died: Callable[[str, Exception], None]
    ) -> None:
        self._hub = hub
        self._group = group
        self._actor = actor
        self._random = random
        self._died = died
        self._task: Task | None = None
        self._alive = False
        self._idle_turn = -1  # the pause that the next message ends
        self._ended = Signal(hub)

    # -- what the root asks ----------------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        return self._alive

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait_for(lambda: not self._alive, timeout)

    @property
    def may_run(self) -> bool:
        """Is it its task that runs now? Its setup runs on its starter's."""
        return self._task is None or self._hub.current is self._task

    @property
    def views(self) -> int:
        """Messages of which only the newest counts, waiting."""
        return len(self._actor.mailbox._views)

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Setup runs at once, on the caller's task: the root waits for it anyway."""
        try:
            self._actor.on_start()
        except Exception as error:  # noqa: BLE001 - the actor has told the root already
            self._actor.actor_stopped.set()
            self._died(self._actor.name, error)
            return
        self._alive = True
        self._task = self._hub.spawn(self._group, self._loop, self._delay())

    def wake(self) -> None:
        """Something was put into the mailbox."""
        task = self._task
        if task is not None and task.turn == self._idle_turn:
            turn, self._idle_turn = self._idle_turn, -1
            self._hub.wake(self._hub.now_ns + self._delay(), task, turn)

    def _delay(self) -> Ns:
        if self._random.random() < HICCUP:
            return int(self._random.random() * HICCUP_NS)
        return int(self._random.random() * WAKE_NS)

    def _loop(self) -> None:
        actor, mailbox, hub = self._actor, self._actor.mailbox, self._hub
        while True:
            alarm = mailbox.alarm
            if mailbox.closed or not mailbox.empty() or (alarm is not None and alarm[0] <= hub.now_ns):
                message = mailbox.get().message
                if isinstance(message, _ActorStop):
                    with contextlib.suppress(Exception):  # as Pykka does, which logs it
                        actor.on_stop()
                    break
                try:
                    actor.on_receive(message)
                except Exception as error:  # noqa: BLE001 - the actor has told the root already
                    self._died(actor.name, error)
                    break
                if not mailbox.empty():  # others get their turn in between
                    hub.pause(int(self._random.random() * 2 * HANDLER_NS))
            else:
                self._rest(alarm[0] if alarm is not None else 0)
        actor.actor_stopped.set()
        self._alive = False
        self._ended.notify_all()

    def _rest(self, alarm_ns: Ns) -> None:
        """Until a message comes, or the mailbox's alarm is due."""
        task = self._task
        assert task is not None
        turn = self._idle_turn = task.turn
        if alarm_ns:
            self._hub.wake(alarm_ns, task, turn)
        task.stand()
        self._idle_turn = -1


class HubDirectory(Directory):
    """The directory of one simulated process: who is told something is woken. `died` hears what ended an actor."""

    def __init__(self, died: Callable[[str, Exception], None]) -> None:
        super().__init__()
        self._died = died
        self.threads: dict[str, ActorThread] = {}

    def ring(self, name: str) -> None:
        super().ring(name)
        thread = self.threads.get(name)
        if thread is not None:
            thread.wake()

    def close(self, name: str) -> None:
        super().close(name)
        thread = self.threads.get(name)
        if thread is not None:
            thread.wake()

    def begin(self, hub: Hub, group: Group, random: Random, make: Callable[[], Actor]) -> pykka.ActorRef[Any]:
        """Make an actor and give it its thread, as its class would by itself."""
        actor = make()
        actor.pause = cast(Any, hub.sleep)
        thread = ActorThread(hub, group, actor, random, self._died)
        actor.health.thread = cast(Any, thread)
        self.register(actor.name, actor.actor_ref, actor.mailbox, actor.health)
        self.threads[actor.name] = thread
        thread.start()
        return actor.actor_ref
