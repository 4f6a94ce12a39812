"""Gives the status record a thread of its own, so that no component waits for a file. Knows none of its keys.

The same thread, for which nobody waits, tidies the process once a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors.base import Actor
from bot.messages import Message, TimerTick
from bot.units import NS_PER_S, Ns

TIDY_NS: Ns = 60 * NS_PER_S


class StatusRecord(Protocol):
    def observe(self, message: Message, now_ns: Ns) -> None: ...

    def publish(self, now_ns: Ns, utc_ns: Ns) -> None: ...


class MonitorActor(Actor):
    def __init__(self, *, status: StatusRecord, tidy: Callable[[], None], **base: Any) -> None:
        super().__init__(**base)
        self.status = status
        self.tidy = tidy
        self._tidy_ns: Ns = 0

    def handle(self, message: Message) -> None:
        if isinstance(message, TimerTick):
            self.status.publish(message.now_ns, message.utc_ns)
            if message.now_ns >= self._tidy_ns:
                self._tidy_ns = message.now_ns + TIDY_NS
                self.tidy()
        else:
            self.status.observe(message, self.clock())
