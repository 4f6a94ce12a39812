"""TapeKind the feeds heard, on disk: frames, connections, answers to their questions, and the markets that were found.

A recording is a folder of gzipped parts, each a row of lines `<UTC ns> <source> <kind> <text>`, oldest first; `zcat` shows
them. It holds what came in and nothing that was sent, so no secret. Knows no frame's meaning.
"""

from __future__ import annotations

import gzip
import shutil
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bot.errors import BotError, SettingsError
from bot.messages import MarketDropped, MarketListed, MarketResolved, Message
from bot.ports import Tape, TapeKind
from bot.units import Ns

FORMAT = 1
FLUSH_S = 2.0  # what a kill may take along
WAITING_MAX = 1 << 28  # bytes that wait for the disk, before the recording is given up
PART_BYTES = 64 << 20
FREE_MIN = 512 << 20  # bytes of the disk that are left to others: a journal that cannot be written ends a bot
LEVEL = 4  # of zlib: half the time of 6 for a tenth more
RECORDER, MARKETS = "recorder", "markets"  # sources that are no stream


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Of a recording as a whole. `trading`: a bot's own orders were shown in its books."""

    format: int = FORMAT
    mode: str
    series: tuple[str, ...]
    perp: bool = False
    trading: bool = False


class Heard(msgspec.Struct, frozen=True, gc=False):
    utc_ns: Ns
    source: str
    kind: TapeKind
    data: bytes


Told = MarketListed | MarketResolved | MarketDropped

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Told)
_head = msgspec.json.Decoder(Head).decode


class RecordingError(BotError):
    """The disk did not take it."""


class RecordingWriter:
    """Takes lines on any thread at the price of an append; compresses and writes them on a thread of its own.

    Each flush is a gzip member of its own, so a process that is killed leaves all but the last seconds readable. When the
    disk refuses, or cannot keep up, `error` says so and nothing more is taken: what is on disk has no hole.
    """

    def __init__(
        self,
        folder: Path,
        head: Head,
        *,
        utc_ns: Callable[[Ns], Ns],
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`utc_ns` is the venue's wall clock at a time of what is told. Raises SettingsError for a folder that cannot be
        made, or holds a recording."""
        self._folder = folder
        self._utc_ns = utc_ns
        self._complain = complain
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._last_ns: Ns = 0
        self.lines = 0
        self.bytes = 0  # on disk
        self.error = ""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(folder.glob("part-*.gz")):
                raise SettingsError(f"{folder}: holds a recording already; choose another folder")
            self._part = 0
            self._file = self._next_part()
        except OSError as error:
            raise SettingsError(f"{folder}: cannot be written: {error.strerror}") from None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._first = head
        self._thread.start()

    def tape(self, source: str) -> Tape:
        """TapeKind a source is to tell its lines."""

        def put(kind: TapeKind, data: bytes, now_ns: Ns) -> None:
            self._put(source, kind, data, now_ns)

        return put

    def tell(self, messages: list[Message], now_ns: Ns) -> None:
        """Those about markets."""
        for message in messages:
            if isinstance(message, Told):
                self._put(MARKETS, TapeKind.TOLD, _encode(message), now_ns)

    def close(self) -> None:
        """Everything told is on disk, or `error` says why not."""
        self._closing.set()
        self._thread.join()

    def _put(self, source: str, kind: TapeKind, data: bytes, now_ns: Ns) -> None:
        with self._lock:
            if self.error:
                return
            if not self.lines:
                self._add(RECORDER, TapeKind.BEGUN, _encode(self._first), now_ns)
            self._add(source, kind, data, now_ns)
            if self._waiting_bytes > WAITING_MAX:
                self._fail("the disk does not keep up")

    def _add(self, source: str, kind: TapeKind, data: bytes, now_ns: Ns) -> None:
        """Time never goes back: readers stamp their frames before they come here, and the wall clock is corrected."""
        self._last_ns = max(self._last_ns, self._utc_ns(now_ns))
        if b"\n" in data:  # between the words of a frame: white space as good as any other
            data = data.replace(b"\n", b" ")
        line = b"%d %s %s %s\n" % (self._last_ns, source.encode(), kind.encode(), data)
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self.lines += 1

    # -- on the writer's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        try:
            while not closing:
                closing = self._closing.wait(FLUSH_S)
                self._flush()
            self._file.close()
        except OSError as error:
            self._fail(f"{error.strerror}")

    def _fail(self, text: str) -> None:
        if not self.error:
            self.error = f"{self._folder}: the recording ends here: {text}"
            self._complain(self.error)

    def _flush(self) -> None:
        with self._lock:
            lines, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        if not lines:
            return
        if shutil.disk_usage(self._folder).free < FREE_MIN:
            self._fail(f"less than {FREE_MIN >> 20} MB of the disk are free")
            return
        member = zlib.compressobj(LEVEL, wbits=31)
        packed = b"".join([*(member.compress(line) for line in lines), member.flush()])
        self._file.write(packed)
        self.bytes += len(packed)
        if self._file.tell() > PART_BYTES:
            self._file.close()
            self._file = self._next_part()

    def _next_part(self) -> Any:
        self._part += 1
        return (self._folder / f"part-{self._part:06}.gz").open("xb", buffering=0)


class Recording:
    """A recording to be read, as often as one likes. Raises SettingsError where it is none or its middle is damaged.

    `torn` is known once it was read: its end is missing, as a kill leaves it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = sorted(folder.glob("part-*.gz"))
        if not self._parts:
            raise SettingsError(f"{folder}: no recording: `bot record --out {folder}` makes one")
        self.torn = False
        first = next(iter(self), None)
        try:
            if first is None or first.kind is not TapeKind.BEGUN:
                raise ValueError
            self.head = _head(first.data)
        except (ValueError, msgspec.DecodeError):
            raise SettingsError(f"{self._parts[0]}: does not begin as a recording does") from None
        if self.head.format != FORMAT:
            raise SettingsError(f"{folder}: of format {self.head.format}, which this version does not read")
        self.start_ns = first.utc_ns

    def __iter__(self) -> Iterator[Heard]:
        last_ns = 0
        for part in self._parts:
            number = 0
            try:
                with gzip.open(part) as file:
                    for line in file:
                        number += 1
                        stamp, source, kind, data = line.split(b" ", 3)
                        if not data.endswith(b"\n"):
                            raise EOFError
                        one = Heard(int(stamp), source.decode(), TapeKind(kind.decode()), data[:-1])
                        if one.utc_ns < last_ns:
                            raise ValueError
                        last_ns = one.utc_ns
                        yield one
            except (EOFError, gzip.BadGzipFile, zlib.error):
                if part is not self._parts[-1]:
                    raise SettingsError(f"{part}: damaged after line {number}") from None
                self.torn = True
            except ValueError:
                raise SettingsError(f"{part}: line {number} is no line of a recording") from None
            except OSError as error:
                raise SettingsError(f"{part}: cannot be read: {error.strerror}") from None


def told(one: Heard) -> Told:
    """The message of a TOLD line. Raises SettingsError."""
    try:
        return _decoder.decode(one.data)
    except (ValueError, msgspec.DecodeError):
        raise SettingsError(f"a line of the recording at {one.utc_ns} tells of no market") from None
