"""Append-only record of what the executor handled: when, what, and what it said. Knows nothing of what it means.

A directory of numbered segments (records.py says what is in one). Each append is one `write` on the caller's thread, so
that a record survives a `kill -9` right after it; `sync` makes it survive a power loss.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bot.errors import JournalError, OtherBuild
from bot.history.records import (
    MAGIC,
    Record,
    Run,
    SegmentStart,
    frame,
    frames,
    items,
    record_payload,
    start_of,
    start_payload,
)
from bot.messages import Message
from bot.units import Ns

SEGMENT_BYTES = 64 << 20
SEGMENT_RECORDS = 200_000  # a start reads at most so many, in a few seconds
KEEP_S = 7 * 86_400.0  # segments not written for longer go
SUFFIX = ".journal"


def segments(directory: Path) -> list[Path]:
    """The segments of a journal, oldest first."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit())


class Journal:
    """Writer. Invariant: a record is in the file before `append` returns, or JournalError was raised.

    `append` and `rotate` belong to the executor's thread; `sync` and `prepare` to the journal actor's. `snapshot` is
    asked at the start of every segment, on the executor's thread: between two messages, for it stands for all before.
    """

    def __init__(
        self,
        directory: Path,
        *,
        run: Run,
        snapshot: Callable[[], bytes],
        segment_bytes: int = SEGMENT_BYTES,
        segment_records: int = SEGMENT_RECORDS,
    ) -> None:
        self.directory = directory
        self._run = run
        self._snapshot = snapshot
        self._bytes_max = segment_bytes
        self._records_max = segment_records
        self._lock = threading.Lock()  # the spare, what is left to close, and closing while another thread syncs
        self._spare: tuple[Path, int] | None = None
        self._left: list[int] = []  # full segments that the disk does not have yet
        self._fd = -1
        self._failed = ""
        self._bytes = 0
        self._records = 0
        self.seq = 0
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._number = self._mend()
            self._open()
        except OSError as error:
            raise JournalError(f"the journal {directory} cannot be written: {error}") from error

    def _mend(self) -> int:
        """Cut the torn tail an earlier run left, take up its sequence; returns the last segment's number."""
        for path in reversed(segments(self.directory)):
            try:
                first_seq, count, end = scan(path)
            except OtherBuild:
                return int(path.stem)  # whose sequence nobody here can read: ours begins at 1
            if count:
                if end < path.stat().st_size:
                    os.truncate(path, end)
                self.seq = first_seq + count - 2
                return int(path.stem)
            path.unlink()  # opened ahead and never begun
        return 0

    def append(self, now_ns: Ns, message: Message, emitted: Sequence[Message] = ()) -> None:
        """Write one record. Raises JournalError: without a journal nothing may leave."""
        data = frame(record_payload(self.seq + 1, now_ns, message, emitted))
        self._put(data)
        self.seq += 1
        self._records += 1
        self._bytes += len(data)

    def rotate(self) -> None:
        """Begin the next segment where this one is full; between two messages, when what they said has left."""
        if self._records >= self._records_max or self._bytes >= self._bytes_max:
            self._open()

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

    def _open(self) -> None:
        """Begin the next segment, in the file opened ahead where there is one."""
        with self._lock:
            path, fd = self._spare if self._spare is not None else self._create(self._number + 1)
            self._spare = None
            if self._fd >= 0:
                self._left.append(self._fd)
            self._fd = fd
            self._number = int(path.stem)
        self._bytes = self._records = 0
        start = SegmentStart(run=self._run, segment=self._number, first_seq=self.seq + 1, snapshot=self._snapshot())
        self._put(MAGIC + frame(start_payload(start)))

    def _create(self, number: int) -> tuple[Path, int]:
        path = self.directory / f"{number:08d}{SUFFIX}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"the journal segment {path} cannot be opened: {error}") from error
        return path, fd

    def prepare(self) -> None:
        """Open the next segment ahead, so that `rotate` never waits for a directory; once for each, forget old ones."""
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
        """Force what was written to the disk, full segments first. Raises JournalError."""
        with self._lock:
            if self._fd < 0:
                return
            left, self._left = self._left, []
            left.append(os.dup(self._fd))  # the executor may rotate meanwhile, and must not wait for the disk
        failed: OSError | None = None
        for fd in left:
            try:
                os.fdatasync(fd)
            except OSError as error:
                failed = error
            finally:
                os.close(fd)
        if failed is not None:
            raise JournalError(f"the journal cannot be synced: {failed}") from failed

    def seal(self) -> None:
        """A last segment with nothing but the snapshot: the next run starts from it at once, whatever build it is."""
        self._open()

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


# -- reading -------------------------------------------------------------------------------------------------------


def scan(path: Path) -> tuple[int, int, int]:
    """First sequence number of a segment, how many frames are whole, and where the last of them ends; the start is the
    first of them. Checks every frame and decodes only the start: nobody waits for 200,000 records."""
    first_seq = count = end = 0
    for _, after, payload in frames(path.read_bytes(), path.name):
        if not count:
            first_seq = start_of(payload, path.name).first_seq
        count, end = count + 1, after
    return first_seq, count, end


def read(paths: Iterable[Path]) -> Iterator[SegmentStart | Record]:
    """These segments, in order. A torn tail ends a run; raises JournalError, with segment and offset, for damage and for
    a hole in the sequence: a segment that is missing, or that lost its end in the middle of a run."""
    expected, run = 0, None
    for path in paths:
        for item in items(path.read_bytes(), path.name):
            if isinstance(item, SegmentStart):
                follows = expected and (item.run == run or item.run.continues)
                if follows and item.first_seq != expected:
                    raise JournalError(f"{path.name}: begins at record {item.first_seq}, but {expected} should follow")
                expected, run = item.first_seq, item.run
            else:
                expected += 1
            yield item


def last_segment(directory: Path) -> list[Path]:
    """The newest segment whose start is whole, alone; it stands for all before it. None at all in a new journal."""
    for path in reversed(segments(directory)):
        if next(frames(path.read_bytes(), path.name), None) is not None:
            return [path]
    return []
