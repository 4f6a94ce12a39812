"""The owner of one Reader: tells it which markets to follow, says how it is doing, and fails when it died.

What the Reader reads never passes through here: it goes from the Reader's thread to the router at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from actors.base import Actor
from bot.messages import FeedStatus, Halt, MarketDropped, MarketListed, Message, StatusReport, TimerTick
from bot.units import NS_PER_MS, NS_PER_S, Ns

STATUS_EVERY_NS: Ns = 250 * NS_PER_MS
STORM_NS: Ns = 300 * NS_PER_S
STORM_RECONNECTS = 10  # more in STORM_NS: something is wrong that trying again does not mend


class ReaderThread(Protocol):
    """What a feed needs of a Reader; all of it may be called from any thread."""

    error: BaseException | None
    connected: bool
    reason: str
    stamp_ns: Ns
    last_frame_ns: Ns
    messages: int

    @property
    def reconnects(self) -> int: ...

    def start(self) -> None: ...

    def is_alive(self) -> bool: ...

    def command(self, message: Message) -> None: ...

    def counters(self) -> dict[str, int]: ...

    def stop(self, timeout_s: float = ...) -> None: ...


MakeReader: TypeAlias = Callable[[Callable[[list[Message]], None]], ReaderThread]


class ReaderDied(Exception):
    """A Reader's thread ended by itself."""


class FeedActor(Actor):
    """`make_reader` gets where to send messages and returns a Reader that was not started yet."""

    def __init__(self, *, make_reader: MakeReader, feed: str, **actor: Any) -> None:
        super().__init__(**actor)
        self._make_reader = make_reader
        self._feed = feed
        self._reader: ReaderThread | None = None
        self._status_ns: Ns = 0
        self._reconnects = 0
        self._storm: deque[Ns] = deque(maxlen=STORM_RECONNECTS + 1)

    def setup(self) -> None:
        # A predecessor may have died without a word; until this one is connected, nobody may rely on its stream.
        self.router.send([FeedStatus(feed=self._feed, connected=False, text="not connected yet", now_ns=self.clock())])
        reader = self._make_reader(self.router.send)
        self._reader = reader
        self.health.extra_stamp = lambda: reader.stamp_ns
        self.health.abandon = lambda: reader.stop(0)
        reader.start()

    def handle(self, message: Any) -> None:
        reader = self._reader
        assert reader is not None
        match message:
            case MarketListed() | MarketDropped():
                reader.command(message)
            case TimerTick(now_ns=now_ns):
                self._look(reader, now_ns)

    def teardown(self) -> None:
        """What was received until the end belongs in the record, so the last report is made when nothing more can come."""
        if self._reader is not None:
            self._reader.stop()
            self._report(self._reader, self.clock())

    def _look(self, reader: ReaderThread, now_ns: Ns) -> None:
        if reader.error is not None:
            raise ReaderDied(f"reader of {self._feed}: {reader.error!r}") from reader.error
        if not reader.is_alive():
            raise ReaderDied(f"reader of {self._feed} ended: {reader.reason}")
        self._count_reconnects(reader, now_ns)
        if now_ns - self._status_ns < STATUS_EVERY_NS and self._status_ns:
            return
        self._status_ns = now_ns
        self._report(reader, now_ns)

    def _report(self, reader: ReaderThread, now_ns: Ns) -> None:
        age_ms = round((now_ns - reader.last_frame_ns) / NS_PER_MS, 1) if reader.last_frame_ns else None
        body = {
            "connected": reader.connected,
            "age_ms": age_ms,
            "messages": reader.messages,
            "reconnects": reader.reconnects,
            "reason": reader.reason,
        }
        self.router.send([StatusReport(component=f"feed:{self._feed}", body=body | reader.counters())])

    def _count_reconnects(self, reader: ReaderThread, now_ns: Ns) -> None:
        while self._reconnects < reader.reconnects:
            self._reconnects += 1
            self._storm.append(now_ns)
        if len(self._storm) > STORM_RECONNECTS and now_ns - self._storm[0] < STORM_NS:
            text = f"{self._feed} connected again {len(self._storm)} times in {STORM_NS // NS_PER_S} s: {reader.reason}"
            self._storm.clear()
            self.router.send([Halt(reason=text, by=f"feed:{self._feed}")])
