"""Gives the status record a thread of its own, so that no component waits for a file. Knows none of its keys."""

from __future__ import annotations

from typing import Any, Protocol

from actors.base import Actor
from bot.messages import Message, TimerTick
from bot.units import Ns


class StatusRecord(Protocol):
    def observe(self, message: Message, now_ns: Ns) -> None: ...

    def publish(self, now_ns: Ns, utc_ns: Ns) -> None: ...


class MonitorActor(Actor):
    def __init__(self, *, status: StatusRecord, **base: Any) -> None:
        super().__init__(**base)
        self.status = status

    def handle(self, message: Message) -> None:
        if isinstance(message, TimerTick):
            self.status.publish(message.now_ns, message.utc_ns)
        else:
            self.status.observe(message, self.clock())
