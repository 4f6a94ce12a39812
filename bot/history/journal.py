"""Append-only record of what the executor handled: when, what, and what it said. Knows nothing of what it means.

A directory of numbered segments. A segment starts with MAGIC and is then a row of records:

    marker (2 bytes)  length (4, of the payload)  crc32 (4, of the payload)  payload

The first byte of a payload says its kind: H header (first of every segment), S snapshot of the core's state (optional,
second), F one handled message with what it emitted, T a timer tick and I a refreshed intent that emitted nothing.
Each append is one `write` on the caller's thread, so that a record survives a `kill -9` right after it; `sync` makes
it survive a power loss. The end of a segment may be torn, and is cut; damage before a readable record is refused.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import msgspec

import bot.messages as vocabulary
from bot.errors import JournalError
from bot.messages import Message, QuoteIntent, TimerTick
from bot.units import Ns

FORMAT = 1
MAGIC = b"CLOBJRNL"
MARKER = b"\xc1\xb0"
HEAD = struct.Struct(">2sII")
TICK = struct.Struct(">cQqqq")
SEGMENT_BYTES = 64 << 20
SEGMENT_RECORDS = 400_000
KEEP_S = 7 * 86_400.0  # segments not written for longer go
RECORD_BYTES_MAX = 64 << 20  # a snapshot is the largest record
SUFFIX = ".journal"

_TYPES = [
    kind
    for kind in vars(vocabulary).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
ANY_MESSAGE: Any = reduce(or_, _TYPES)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """First record of a segment. A run's salts count up from `salt_base`, which no other run may use; it is
    a 63-bit number."""

    format: int
    salt_base: int
    started_utc_ns: Ns
    segment: int
    first_seq: int


class SegmentStart(msgspec.Struct, frozen=True, kw_only=True):
    """A segment's header and, where the writer took one, the snapshot that stands for everything before it."""

    header: Header
    snapshot: bytes = b""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One handled message and what the core emitted for it."""

    seq: int
    now_ns: Ns
    message: Message
    emitted: tuple[Message, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_records = msgspec.msgpack.Decoder(tuple[int, int, ANY_MESSAGE, tuple[ANY_MESSAGE, ...]])
_headers = msgspec.msgpack.Decoder(Header)
_refreshes = msgspec.msgpack.Decoder(tuple[int, int, str, dict[str, Any]])


def segments(directory: Path) -> list[Path]:
    """The segments of a journal, oldest first."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit())


class Journal:
    """Writer. Invariant: a record is in the file before `append` returns, or JournalError was raised.

    `append` belongs to the executor's thread; `sync` and `prepare` to the journal actor's. `snapshot`, when given, is
    asked at the start of every segment, on the executor's thread.
    """

    def __init__(
        self,
        directory: Path,
        *,
        salt_base: int,
        started_utc_ns: Ns,
        snapshot: Callable[[], bytes] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segment_records: int = SEGMENT_RECORDS,
    ) -> None:
        self.directory = directory
        self._salt_base = salt_base
        self._started_utc_ns = started_utc_ns
        self._snapshot = snapshot
        self._bytes_max = segment_bytes
        self._records_max = segment_records
        self._lock = threading.Lock()  # the spare, and closing while another thread syncs
        self._spare: tuple[Path, int] | None = None
        self._fd = -1
        self._failed = ""
        self._bytes = 0
        self._records = 0
        self._intents: dict[str, QuoteIntent] = {}
        self.seq = 0
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._number = self._mend()
            self._open()
        except OSError as error:
            raise JournalError(f"the journal {directory} cannot be written: {error}") from error

    def _mend(self) -> int:
        """Cut the torn tail an earlier run left, take up its sequence; returns the last segment's number."""
        number = 0
        for path in segments(self.directory):
            number = int(path.stem)
        while number:
            path = self.directory / f"{number:08d}{SUFFIX}"
            if not path.exists():
                break
            start, last_seq, end = scan(path)
            if end < path.stat().st_size:
                os.truncate(path, end)
            if start is not None:
                self.seq = last_seq or start.header.first_seq - 1
                break
            path.unlink()  # opened ahead and never begun
            number -= 1
        return number

    def append(self, now_ns: Ns, message: Message, emitted: Sequence[Message] = ()) -> None:
        """Write one record. Raises JournalError: without a journal nothing may leave."""
        if self._records >= self._records_max or self._bytes >= self._bytes_max:
            self._open()
        self.seq += 1
        self._write(self._payload(now_ns, message, emitted))
        self._records += 1

    def _payload(self, now_ns: Ns, message: Message, emitted: Sequence[Message]) -> bytes:
        if not emitted and type(message) is TimerTick:
            return TICK.pack(b"T", self.seq, now_ns, message.now_ns, message.utc_ns) + message.name.encode()
        if type(message) is QuoteIntent:
            last = self._intents.get(message.symbol)
            self._intents[message.symbol] = message
            if not emitted and last is not None:
                return b"I" + _encoder.encode((self.seq, now_ns, message.symbol, _changes(last, message)))
        return b"F" + _encoder.encode((self.seq, now_ns, message, emitted))

    def _write(self, payload: bytes) -> None:
        self._put(HEAD.pack(MARKER, len(payload), zlib.crc32(payload)) + payload)

    def _put(self, data: bytes) -> None:
        if self._failed:
            raise JournalError(self._failed)
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            self._failed = f"the journal cannot be written: {error}"
            raise JournalError(self._failed) from error
        if written != len(data):
            # Nothing may follow a torn record, or it would be damage in the middle.
            self._failed = f"the journal took {written} of {len(data)} bytes: the disk is full"
            raise JournalError(self._failed)
        self._bytes += written

    def _open(self) -> None:
        """Begin the next segment, in the file opened ahead where there is one."""
        with self._lock:
            path, fd = self._spare if self._spare is not None else self._create(self._number + 1)
            self._spare = None
            old, self._fd = self._fd, fd
            self._number = int(path.stem)
        if old >= 0:
            try:
                os.fdatasync(old)
            except OSError as error:
                raise JournalError(f"the journal cannot be synced: {error}") from error
            finally:
                os.close(old)
        self._intents.clear()  # so that a segment can be read without the one before
        self._bytes = self._records = 0
        header = Header(
            format=FORMAT,
            salt_base=self._salt_base,
            started_utc_ns=self._started_utc_ns,
            segment=self._number,
            first_seq=self.seq + 1,
        )
        self._put(MAGIC)
        self._write(b"H" + _encoder.encode(header))
        if self._snapshot is not None:
            self._write(b"S" + self._snapshot())
        self._bytes = 0  # the bound is for records: a large snapshot must not end the segment it begins

    def _create(self, number: int) -> tuple[Path, int]:
        path = self.directory / f"{number:08d}{SUFFIX}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"the journal segment {path} cannot be opened: {error}") from error
        return path, fd

    def prepare(self) -> None:
        """Open the next segment ahead, so that `append` never waits for a directory; once for each, forget old ones."""
        with self._lock:
            if self._spare is not None or self._fd < 0:
                return
            self._spare = self._create(self._number + 1)
        self._forget(time.time() - KEEP_S)

    def _forget(self, before_s: float) -> None:
        """Delete segments last written before that time; never the one that is written now."""
        for path in segments(self.directory):
            with contextlib.suppress(OSError):
                if int(path.stem) < self._number and path.stat().st_mtime < before_s:
                    path.unlink()

    def sync(self) -> None:
        """Force what was written to the disk. Raises JournalError."""
        with self._lock:
            if self._fd < 0:
                return
            fd = os.dup(self._fd)  # append may rotate meanwhile, and must not wait for the disk
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise JournalError(f"the journal cannot be synced: {error}") from error
        finally:
            os.close(fd)

    def close(self) -> None:
        self.sync()
        with self._lock:
            if self._spare is not None:
                path, fd = self._spare
                os.close(fd)
                with contextlib.suppress(OSError):
                    path.unlink()
                self._spare = None
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def _changes(last: QuoteIntent, intent: QuoteIntent) -> dict[str, Any]:
    return {
        name: value for name in QuoteIntent.__struct_fields__ if (value := getattr(intent, name)) != getattr(last, name)
    }


# -- reading -------------------------------------------------------------------------------------------------------


def payloads(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, end and payload of each whole record. A torn tail ends it; raises JournalError for damage before the end."""
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data) or _readable_after(data, 0) < 0:
            return
        raise JournalError(f"{path.name}: not a journal, or damaged at offset 0")
    offset = len(MAGIC)
    while offset < len(data):
        payload = _payload_at(data, offset)
        if payload is None:
            found = _readable_after(data, offset + 1)
            if found >= 0:
                raise JournalError(f"{path.name}: damaged at offset {offset}, readable again at {found}")
            return
        end = offset + HEAD.size + len(payload)
        yield offset, end, payload
        offset = end


def _payload_at(data: bytes, offset: int) -> bytes | None:
    if offset + HEAD.size > len(data):
        return None
    marker, length, crc = HEAD.unpack_from(data, offset)
    if marker != MARKER or not 0 < length <= RECORD_BYTES_MAX or offset + HEAD.size + length > len(data):
        return None
    payload = data[offset + HEAD.size : offset + HEAD.size + length]
    return payload if zlib.crc32(payload) == crc else None


def _readable_after(data: bytes, offset: int) -> int:
    """Where a whole record begins at or after an offset, or -1: tells damage in the middle from a torn tail."""
    while (offset := data.find(MARKER, offset)) >= 0:
        if _payload_at(data, offset) is not None:
            return offset
        offset += 1
    return -1


def scan(path: Path) -> tuple[SegmentStart | None, int, int]:
    """A segment's start, its last sequence number (0: no record) and where its last whole record ends.

    Checks every record and decodes only the first and the last: a start may not wait for 400,000 of them.
    """
    start = next((item for item, _ in _items(path) if isinstance(item, SegmentStart)), None)
    last, end = b"", 0
    for _, after, payload in payloads(path):
        last, end = payload, after
    return start, _seq_of(last), end


def _seq_of(payload: bytes) -> int:
    """0 for what is no record."""
    match payload[:1]:
        case b"T":
            return int(TICK.unpack_from(payload)[1])
        case b"F" | b"I":
            return int(msgspec.msgpack.decode(payload[1:])[0])
    return 0


def _items(path: Path) -> Iterator[tuple[SegmentStart | Record, int]]:
    intents: dict[str, QuoteIntent] = {}
    header: Header | None = None
    for offset, end, payload in payloads(path):
        kind, body = payload[:1], payload[1:]
        try:
            if kind == b"H":
                header = _headers.decode(body)
                if header.format != FORMAT:
                    raise JournalError(f"{path.name}: format {header.format}, this code reads {FORMAT}")
                yield SegmentStart(header=header), end
            elif header is None:
                raise JournalError(f"{path.name}: no header before offset {offset}")
            elif kind == b"S":
                yield SegmentStart(header=header, snapshot=body), end
            else:
                yield _record(kind, payload, body, intents), end
        except (msgspec.MsgspecError, struct.error, KeyError, UnicodeDecodeError) as error:
            raise JournalError(f"{path.name}: unreadable record at offset {offset}: {error}") from error


def _record(kind: bytes, payload: bytes, body: bytes, intents: dict[str, QuoteIntent]) -> Record:
    if kind == b"T":
        _, seq, now_ns, tick_ns, utc_ns = TICK.unpack_from(payload)
        name = payload[TICK.size :].decode()
        return Record(seq=seq, now_ns=now_ns, message=TimerTick(name=name, now_ns=tick_ns, utc_ns=utc_ns))
    if kind == b"I":
        seq, now_ns, symbol, changes = _refreshes.decode(body)
        fields = msgspec.to_builtins(intents[symbol]) | changes
        intent = msgspec.convert(fields, QuoteIntent)
        intents[symbol] = intent
        return Record(seq=seq, now_ns=now_ns, message=intent)
    if kind != b"F":
        raise msgspec.DecodeError(f"kind {kind!r}")
    seq, now_ns, message, emitted = _records.decode(body)
    if isinstance(message, QuoteIntent):
        intents[message.symbol] = message
    return Record(seq=seq, now_ns=now_ns, message=message, emitted=emitted)


def read(directory: Path) -> Iterator[SegmentStart | Record]:
    """All segments in order; a segment with a snapshot starts twice, the second time with it. Cuts torn tails; raises JournalError with the offset for damage, and for a hole in the
    sequence (a segment is missing or lost its end in the middle of a run)."""
    expected = 0
    for path in segments(directory):
        for item, _ in _items(path):
            if isinstance(item, SegmentStart):
                if expected and item.header.first_seq != expected:
                    raise JournalError(
                        f"{path.name}: begins at record {item.header.first_seq}, but {expected} should follow"
                    )
                expected = item.header.first_seq
            else:
                if item.seq != expected:
                    raise JournalError(f"{path.name}: record {item.seq} where {expected} should follow")
                expected += 1
            yield item
