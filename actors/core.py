"""Lend a thread to a core: what it returns is journaled where there is a journal, then routed. Knows no core."""

from __future__ import annotations

from typing import Any

from actors.base import Actor
from bot.messages import Message
from bot.ports import Core, Journal


class CoreActor(Actor):
    def __init__(self, *, core: Core, journal: Journal | None = None, **base: Any) -> None:
        super().__init__(**base)
        self.core = core
        self.journal = journal

    def handle(self, message: Message) -> None:
        now_ns = self.clock()
        emitted = self.core.handle(message, now_ns)
        if self.journal is not None:
            self.journal.append(now_ns, message, emitted)  # before anything leaves
        self.emit(emitted)
        if self.journal is not None:
            self.journal.rotate()

    def emit(self, emitted: list[Message]) -> None:
        self.router.send(emitted)
