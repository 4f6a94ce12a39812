"""A journal led through an executor again: to recover what the last run left, and to prove that it repeats byte for byte.

`make(run)` gives a fresh executor with what that run's was made with. Knows no clock and no place on a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from bot.errors import OtherBuild
from bot.execution.executor import Executor
from bot.execution.snapshot import restore, snapshot
from bot.history.records import Record, Run, SegmentStart, said
from bot.messages import Message
from bot.units import Ns

Make = Callable[[Run], Executor]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the executor did not repeat itself: at a record, or at the snapshot a segment begins with."""

    seq: int
    text: str


class Rerun:
    """Invariant: `executor` stands where the journal's stood after the last item that was taken without a difference."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._run: Run | None = None
        self._executor: Executor | None = None
        self.runs = self.segments = self.records = 0
        self.first_seq = 0  # of the first record
        self.seq = 0  # of the last one

    @property
    def executor(self) -> Executor:
        assert self._executor is not None, "no segment has started yet"
        return self._executor

    @property
    def run(self) -> Run:
        assert self._run is not None, "no segment has started yet"
        return self._run

    @property
    def now_ns(self) -> Ns:
        """When the last record was handled, which may be one of the segment before."""
        return self.executor.now

    def take(self, item: SegmentStart | Record) -> Difference | None:
        """Raises OtherBuild for a snapshot that cannot be read."""
        if isinstance(item, SegmentStart):
            return self._start(item)
        try:
            emitted = self.executor.handle(item.message, item.now_ns)
        except Exception as error:  # noqa: BLE001 - the one that wrote the record did not raise
            return Difference(seq=item.seq, text=f"raises {type(error).__name__}: {error}")
        if said(emitted) != item.said:
            return Difference(seq=item.seq, text=_told_apart(item.emitted, emitted))
        self.records += 1
        self.first_seq = self.first_seq or item.seq
        self.seq = item.seq
        return None

    def _start(self, start: SegmentStart) -> Difference | None:
        known = self._executor is not None and (start.run == self._run or start.run.continues)
        data = snapshot(self.executor) if known else start.snapshot
        if start.run != self._run:
            self._executor = begin(self._make, start.run, data)
            self._run = start.run
            self.runs += 1
            if known:
                data = snapshot(self.executor)
        self.segments += 1
        self.seq = start.first_seq - 1
        if data != start.snapshot:
            return Difference(seq=start.first_seq, text=f"the snapshot of segment {start.segment} is another state")
        return None


def begin(make: Make, run: Run, state: bytes) -> Executor:
    """The executor of a run that takes a state up. Raises OtherBuild for one that cannot be read."""
    executor = make(run)
    restore(executor, state)
    return executor


def recover(journal: Iterable[SegmentStart | Record], make: Make) -> Rerun | None:
    """The executor as the journal's last record left it; None for an empty one. Raises JournalError for damage, and
    OtherBuild where the executor does not repeat what is written: then its state proves nothing."""
    rerun = Rerun(make)
    for item in journal:
        difference = rerun.take(item)
        if difference is not None:
            raise OtherBuild(f"record {difference.seq} is not repeated: {difference.text}")
    return rerun if rerun.runs else None


def _told_apart(recorded: Sequence[Message], emitted: Sequence[Message]) -> str:
    """The first message that differs, and how."""
    for index, (was, now) in enumerate(zip(recorded, emitted, strict=False)):
        if was != now:
            if type(was) is not type(now):
                return f"message {index + 1} is {type(now).__name__}, recorded is {type(was).__name__}"
            names = [name for name in was.__struct_fields__ if getattr(was, name) != getattr(now, name)]
            parts = [f"{name} {getattr(now, name)!r}, recorded {getattr(was, name)!r}" for name in names[:3]]
            return f"{type(now).__name__}: {'; '.join(parts)}"
    if len(recorded) == len(emitted):
        return "the same messages are written otherwise"
    return f"{len(emitted)} messages, recorded are {len(recorded)}"
