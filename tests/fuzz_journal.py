"""The journal (fuzz.py): its bytes, records under a good checksum, and snapshots."""

from __future__ import annotations

from fuzz import Target
from fuzz_checks import HERE
from story import an_executor, story

from bot.errors import JournalError
from bot.execution.snapshot import restore, snapshot
from bot.history.journal import Journal, read
from bot.history.records import (
    MAGIC,
    Record,
    Run,
    SegmentStart,
    frame,
    frames,
    items,
    record_payload,
    start_payload,
)
from bot.history.replay import recover
from bot.messages import (
    TimerTick,
)


def a_segment(count: int = 40) -> bytes:
    executor = an_executor()
    start = SegmentStart(run=Run(salt_base=1), segment=1, first_seq=1, snapshot=snapshot(executor))
    parts = [MAGIC, frame(start_payload(start))]
    for seq, (now_ns, message, _) in enumerate(story(1)[:count], 1):
        parts.append(frame(record_payload(seq, now_ns, message, executor.handle(message, now_ns))))
    return b"".join(parts)


SEGMENT = a_segment()
WHOLE = list(items(SEGMENT, "x"))
PAYLOADS = [payload for _, _, payload in frames(SEGMENT, "x")]
FRAMES = [frame(payload) for payload in PAYLOADS]
AFTER = TimerTick(name="after", now_ns=1, utc_ns=2)


def journal_run(data: bytes) -> None:
    """Read, or cut and gone on with, it holds the first so many records as they were written; else the offset is told."""
    directory = HERE / "journal"
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    path = directory / "00000001.journal"
    path.write_bytes(data)
    found: list[SegmentStart | Record] = []
    try:
        for item in read([path]):
            found.append(item)
    except JournalError as error:
        assert "offset" in str(error) or "should follow" in str(error)
        assert found == WHOLE[: len(found)]
        return
    assert found == WHOLE[: len(found)]
    journal = Journal(directory, run=Run(salt_base=2), snapshot=lambda: b"s")
    try:
        journal.append(1, AFTER)
    finally:
        journal.close()
    again = list(read(sorted(directory.iterdir())))
    assert again[: len(found)] == found
    start, record = again[len(found) :]
    assert isinstance(start, SegmentStart) and isinstance(record, Record) and record.message == AFTER
    assert start.first_seq == record.seq == max(1, len(found))


def record_run(data: bytes) -> None:
    """Whole by its checksum and written by another program: read, or refused as of another build."""
    if len(data) < 2:
        return
    at, payload = data[0] % len(FRAMES), data[1:]
    try:
        recover(
            items(b"".join([MAGIC, *FRAMES[:at], frame(payload), *FRAMES[at + 1 :]]), "x"), lambda run: an_executor()
        )
    except JournalError as error:
        assert str(error)


def snapshot_run(data: bytes) -> None:
    executor = an_executor()
    try:
        restore(executor, data)
    except JournalError as error:
        assert str(error)


def _state(count: int) -> bytes:
    executor = an_executor()
    for now_ns, message, _ in story(1)[:count]:
        executor.handle(message, now_ns)
    return snapshot(executor)


RECORDS = tuple(bytes([at]) + payload for at, payload in enumerate(PAYLOADS))

JOURNAL = (
    Target("journal", journal_run, (SEGMENT, a_segment(10))),
    Target("records", record_run, RECORDS, head=1),
    Target("snapshot", snapshot_run, (_state(0), _state(100))),
)  # fmt: skip
