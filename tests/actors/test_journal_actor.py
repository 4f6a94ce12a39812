"""The journal's disk work: at each tick, once more at the end, and a failure is not swallowed."""

from __future__ import annotations

import pytest

from actors.journal import JournalActor
from actors.router import Directory, Router
from bot.errors import JournalError
from bot.messages import Nudge, TimerTick


class Disk:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken = False

    def sync(self) -> None:
        if self.broken:
            raise JournalError("read-only file system")
        self.calls.append("sync")

    def prepare(self) -> None:
        self.calls.append("prepare")


TICK = TimerTick(name="journal", now_ns=0, utc_ns=0)


def actor(disk: Disk) -> JournalActor:
    directory = Directory()
    return JournalActor(journal=disk, name="journal", directory=directory, router=Router(directory, {}))


def test_a_tick_syncs_and_opens_ahead() -> None:
    disk = Disk()
    actor(disk).handle(TICK)
    actor(disk).handle(Nudge())
    assert disk.calls == ["sync", "prepare"]


def test_a_stop_syncs_once_more_and_a_failure_does_not() -> None:
    disk = Disk()
    journal = actor(disk)
    journal.teardown()
    assert disk.calls == ["sync"]
    journal.health.failed = "no space left"
    journal.teardown()
    assert disk.calls == ["sync"]


def test_a_sync_that_fails_is_raised() -> None:
    disk = Disk()
    disk.broken = True
    with pytest.raises(JournalError):
        actor(disk).handle(TICK)
