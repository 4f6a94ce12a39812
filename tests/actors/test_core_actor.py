"""Handled, then journaled, then routed."""

from __future__ import annotations

from typing import Any

import pytest

from actors.core import CoreActor
from actors.router import Directory
from bot.errors import JournalError
from bot.messages import Message, Nudge, Resume


class Echo:
    """A core that answers everything with one nudge that carries the time."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def handle(self, message: Message, now_ns: int) -> list[Message]:
        self.log.append(("handled", message))
        return [Nudge(cause_ns=now_ns)]


class Notes:
    """Journal and router in one, so that their order shows."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.full = False

    def append(self, now_ns: int, message: Message, emitted: Any) -> None:
        if self.full:
            raise JournalError("no space left")
        self.log.append(("journaled", now_ns, message, list(emitted)))

    def rotate(self) -> None:
        self.log.append(("rotated",))

    def send(self, messages: Any) -> None:
        self.log.append(("sent", list(messages)))


def actor(notes: Notes, **more: Any) -> CoreActor:
    return CoreActor(core=Echo(notes.log), name="core", directory=Directory(), router=notes, clock=lambda: 7, **more)


def test_what_a_core_returns_is_journaled_before_it_leaves() -> None:
    notes = Notes()
    actor(notes, journal=notes).handle(Resume(by="x"))
    assert notes.log == [
        ("handled", Resume(by="x")),
        ("journaled", 7, Resume(by="x"), [Nudge(cause_ns=7)]),
        ("sent", [Nudge(cause_ns=7)]),
        ("rotated",),
    ]


def test_a_core_without_a_journal_is_only_routed() -> None:
    notes = Notes()
    actor(notes).handle(Resume(by="x"))
    assert notes.log == [("handled", Resume(by="x")), ("sent", [Nudge(cause_ns=7)])]


def test_nothing_leaves_when_the_journal_cannot_be_written() -> None:
    notes = Notes()
    notes.full = True
    with pytest.raises(JournalError):
        actor(notes, journal=notes).handle(Resume(by="x"))
    assert notes.log == [("handled", Resume(by="x"))]
