"""What cores and shells ask of the world, as Protocols: clocks, cores, the way out, the journal."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol, TypeAlias

from bot.messages import Message
from bot.units import Ns

Clock: TypeAlias = Callable[[], Ns]  # monotonic nanoseconds


class TapeKind(enum.StrEnum):
    """What a line of a recording is."""

    BEGUN = "begun"  # the recorder's first line
    OPEN = "open"  # a stream's connection was made
    LOST = "lost"  # it ended; why
    FRAME = "frame"
    REST = "rest"  # status and body of an answer
    TOLD = "told"  # a message about a market


Tape: TypeAlias = Callable[[TapeKind, bytes, Ns], None]  # where a source's lines are recorded; any thread, no waiting


class Core(Protocol):
    """A component that decides: no clock, lock, socket, file or log inside."""

    def handle(self, message: Message, now_ns: Ns) -> list[Message]: ...


class PartedCore(Core, Protocol):
    """One that may leave a part to its next wake-up, which shall come soon."""

    @property
    def left(self) -> Collection[str]: ...


class Sender(Protocol):
    """Where a shell hands what its core emitted; never raises."""

    def send(self, messages: Iterable[Message]) -> None: ...


class Samples(Protocol):
    """Where durations are recorded; `why` is asked only for the slowest."""

    def record(self, elapsed_ns: Ns, why: Callable[[], str] = str, /) -> None: ...


class Journal(Protocol):
    """Append-only record of what the executor handled; `append` is one write on the caller's thread, `rotate` begins a
    new segment where one is full, between two messages."""

    def append(self, now_ns: Ns, message: Message, emitted: Sequence[Message]) -> None: ...

    def rotate(self) -> None: ...
