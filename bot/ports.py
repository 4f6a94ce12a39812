"""What cores and shells ask of the world, as Protocols: clocks, cores, feeds, the journal, the order port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from bot.messages import Message
from bot.units import Ns

Clock: TypeAlias = Callable[[], Ns]  # monotonic nanoseconds


class Core(Protocol):
    """A component that decides: no clock, lock, socket, file or log inside."""

    def handle(self, message: Message, now_ns: Ns) -> list[Message]: ...


class Sender(Protocol):
    """Where a shell hands what its core emitted; never raises."""

    def send(self, messages: Iterable[Message]) -> None: ...


class Journal(Protocol):
    """Append-only record of what the executor handled; `append` is one write on the caller's thread."""

    def append(self, now_ns: Ns, message: Message, emitted: Sequence[Message]) -> None: ...


class FeedProtocol(Protocol):
    """One stream's side of the conversation, without the socket. Called by the Reader's thread only.

    `decode` updates the caches it was given and returns what must be told to actors.
    """

    name: str
    ping_text: str | None  # a text keepalive, sent every ping_every_s; None: the protocol's own pings suffice
    ping_every_s: float
    silence_max_s: float  # no frame of any kind for longer: the connection is dead

    def url(self) -> str: ...

    def opening(self) -> list[str]:
        """Frames to send right after the handshake."""
        ...

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        """Raises FrameError for bytes that cannot be read at all."""
        ...

    def connected(self, now_ns: Ns) -> list[Message]: ...

    def lost(self, reason: str, now_ns: Ns) -> list[Message]: ...

    def command(self, message: Message) -> list[str]:
        """Frames to send for MarketListed, MarketDropped and the like; remembers them for the next connection."""
        ...

    def stale(self, now_ns: Ns) -> str | None:
        """Why the connection should be renewed although frames arrive (a silent token), or None."""
        ...
