"""Keeps disk work off the executor's thread: syncs the journal and opens its next segment ahead, at each tick."""

from __future__ import annotations

from typing import Any, Protocol

from actors.base import Actor
from bot.messages import Message, TimerTick


class SyncedJournal(Protocol):
    def sync(self) -> None: ...

    def prepare(self) -> None: ...


class JournalActor(Actor):
    """A journal that cannot be synced is an actor failure: no journal, no order."""

    def __init__(self, *, journal: SyncedJournal, **base: Any) -> None:
        super().__init__(**base)
        self.journal = journal

    def handle(self, message: Message) -> None:
        if isinstance(message, TimerTick):
            self.journal.sync()
            self.journal.prepare()

    def teardown(self) -> None:
        if not self.health.failed:
            self.journal.sync()
