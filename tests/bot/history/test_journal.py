"""The journal: what is appended is read back, torn tails are cut, damage is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bot.errors import JournalError, OtherBuild
from bot.history.journal import KEEP_S, Journal, last_segment, read, segments
from bot.history.records import HEAD, MAGIC, Record, Run, SegmentStart, frame, frames, said
from bot.messages import (
    GateChange,
    MassCancel,
    Message,
    NewOrder,
    QuoteIntent,
    QuoteMode,
    Route,
    Side,
    StatusReport,
    TimerTick,
)


def a_tick(n: int) -> TimerTick:
    return TimerTick(name="executor", now_ns=n, utc_ns=n + 1000)


def an_intent(seq: int, **given: object) -> QuoteIntent:
    fields: dict[str, object] = {
        "symbol": "m", "seq": seq, "epoch": 1, "made_ns": seq, "valid_until_ns": seq + 500,
        "quote_mode": QuoteMode.NORMAL, "tick": 100, "bid_px": 4900, "bid_size": 10, "bid_route": Route.BUY_YES,
    }  # fmt: skip
    return QuoteIntent(**{**fields, **given})  # type: ignore[arg-type]


def an_order() -> NewOrder:
    return NewOrder(
        cl_ord_id="a-1", order_id="0x1", symbol="m", asset_id="up", side=Side.BUY, px=4900, order_qty=10,
        maker_amount=5, taker_amount=10, salt=(1 << 62) + 1, timestamp_ms=1, version=2, neg_risk=False, tick=100,
        epoch=1, valid_until_ns=5, made_ns=1,
    )  # fmt: skip


def a_journal(directory: Path, *, run: Run = Run(salt_base=77), state: bytes = b"state", **given: int) -> Journal:
    return Journal(directory, run=run, snapshot=lambda: state, **given)


def records(directory: Path) -> list[Record]:
    return [item for item in read(segments(directory)) if isinstance(item, Record)]


def starts(directory: Path) -> list[SegmentStart]:
    return [item for item in read(segments(directory)) if isinstance(item, SegmentStart)]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


STORY: list[tuple[Message, list[Message]]] = [
    (a_tick(1), []),
    (an_intent(1), [an_order()]),
    (an_intent(2), []),
    (an_intent(3, bid_route=Route.SELL_NO, quote_mode=QuoteMode.DEFENSIVE), []),
    (a_tick(2), [StatusReport(component="executor", body={"orders": {"open": 1}, "cash": 0.5, "bid": None})]),
    (an_intent(4, symbol="n"), []),
    (an_intent(4), [GateChange(epoch=2, shut=True), MassCancel(reason="x")]),
]


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    for n, (message, emitted) in enumerate(STORY):
        journal.append(n, message, emitted)
    journal.sync()
    read_back = records(tmp_path)
    assert [(r.message, list(r.emitted)) for r in read_back] == STORY
    assert [(r.seq, r.now_ns) for r in read_back] == [(n + 1, n) for n in range(len(STORY))]


def test_ticks_and_refreshes_that_change_nothing_are_small(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.append(1, an_intent(1))
    journal.append(2, a_tick(2))
    journal.append(3, an_intent(2))
    journal.append(4, an_intent(3), [an_order()])
    tick, refresh, ordering = [len(payload) for _, _, payload in frames(segments(tmp_path)[0].read_bytes(), "")][2:]
    assert tick < 48 and refresh < ordering / 4


def test_an_append_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = a_journal(tmp_path)
    writes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    journal.append(1, an_intent(1), [an_order()])
    assert len(writes) == 1


def test_a_full_segment_ends_between_two_messages_and_the_next_was_opened_ahead(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, segment_records=3)
    journal.prepare()
    for n in range(7):
        journal.append(n, an_intent(n))
        journal.rotate()
    assert len(segments(tmp_path)) == 3
    assert [r.seq for r in records(tmp_path)] == list(range(1, 8))
    assert [(s.segment, s.first_seq, s.snapshot) for s in starts(tmp_path)] == [
        (1, 1, b"state"), (2, 4, b"state"), (3, 7, b"state"),
    ]  # fmt: skip


def test_bytes_bound_a_segment_too_and_its_snapshot_does_not_count(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, state=bytes(1000), segment_bytes=100)
    for n in range(4):
        journal.append(n, a_tick(n))
        journal.rotate()
    assert [s.first_seq for s in starts(tmp_path)] == [1, 3, 5]


def test_a_full_segment_is_synced_and_closed_off_the_executor_s_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = a_journal(tmp_path, segment_records=1)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal.append(1, a_tick(1))
    journal.rotate()
    assert synced == []
    journal.sync()
    assert len(synced) == 2
    with pytest.raises(OSError):
        os.fstat(synced[0])


def test_segments_older_than_a_week_go_and_the_one_being_written_stays(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, segment_records=2)
    for n in range(5):
        journal.append(n, an_intent(n))
        journal.rotate()
    old, kept, current = segments(tmp_path)
    week_ago = time.time() - KEEP_S
    os.utime(old, (0, week_ago - 60))
    os.utime(kept, (0, week_ago + 60))
    os.utime(current, (0, 0))
    journal.prepare()
    assert segments(tmp_path)[:2] == [kept, current]
    assert [record.seq for record in records(tmp_path)] == [3, 4, 5]


def test_closing_takes_the_unused_segment_away(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    journal.append(1, a_tick(1))
    journal.close()
    assert len(segments(tmp_path)) == 1


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_torn_tail_is_cut_and_the_next_run_goes_on(tmp_path: Path, cut: int) -> None:
    journal = a_journal(tmp_path)
    for n in range(5):
        journal.append(n, an_intent(n), [an_order()])
    journal.close()
    path = segments(tmp_path)[0]
    os.truncate(path, path.stat().st_size - cut)
    assert len(records(tmp_path)) == 4
    following = a_journal(tmp_path)
    following.append(9, a_tick(9))
    assert [r.seq for r in records(tmp_path)] == [1, 2, 3, 4, 5]


def test_zeros_at_the_end_are_a_torn_tail(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.append(1, a_tick(1))
    journal.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(bytes(4096))
    assert len(records(tmp_path)) == 1


@pytest.mark.parametrize("at", [0, 2, 7, HEAD.size + 3])
def test_damage_in_the_middle_is_refused_with_its_offset(tmp_path: Path, at: int) -> None:
    journal = a_journal(tmp_path)
    for n in range(5):
        journal.append(n, an_intent(n), [an_order()])
    journal.close()
    path = segments(tmp_path)[0]
    offset = [start for start, _, _ in frames(path.read_bytes(), "")][3]
    flip(path, offset + at)
    with pytest.raises(JournalError, match=f"offset {offset}"):
        records(tmp_path)
    with pytest.raises(JournalError, match=f"offset {offset}"):
        a_journal(tmp_path)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, segment_records=2)
    for n in range(6):
        journal.append(n, a_tick(n))
        journal.rotate()
    segments(tmp_path)[1].unlink()
    with pytest.raises(JournalError, match="should follow"):
        records(tmp_path)


def test_an_empty_segment_opened_ahead_by_a_dead_run_is_taken_over(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    journal.append(1, a_tick(1))
    following = a_journal(tmp_path)
    following.append(2, a_tick(2))
    assert [r.seq for r in records(tmp_path)] == [1, 2]


def test_a_run_follows_another_in_a_segment_of_its_own(tmp_path: Path) -> None:
    a_journal(tmp_path).append(1, a_tick(1))
    a_journal(tmp_path, run=Run(salt_base=78, continues=True), state=b"later").append(2, a_tick(2))
    assert [(s.run.salt_base, s.first_seq, s.snapshot) for s in starts(tmp_path)] == [
        (77, 1, b"state"),
        (78, 2, b"later"),
    ]


def test_a_segment_whose_start_is_torn_is_as_if_it_had_never_begun(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.append(1, a_tick(1))
    journal.seal()
    first, second = segments(tmp_path)
    whole = second.read_bytes()
    for size in range(len(whole)):
        second.write_bytes(whole[:size])
        assert last_segment(tmp_path) == [first]
        assert len(starts(tmp_path)) == 1
    second.write_bytes(whole)
    assert last_segment(tmp_path) == [second]
    second.write_bytes(whole[:-1])
    a_journal(tmp_path).append(2, a_tick(2))
    assert [record.seq for record in records(tmp_path)] == [1, 2]


def test_a_sealed_journal_goes_on_after_its_last_record(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.append(1, a_tick(1))
    journal.seal()
    journal.close()
    following = a_journal(tmp_path, run=Run(salt_base=78, continues=True))
    following.append(2, a_tick(2))
    assert [s.first_seq for s in starts(tmp_path)] == [1, 2, 2]
    assert [record.seq for record in records(tmp_path)] == [1, 2]


def test_what_is_whole_and_cannot_be_read_is_another_build_s(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.append(1, a_tick(1))
    journal.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(frame(b"Fnonsense"))
    with pytest.raises(OtherBuild, match="offset"):
        records(tmp_path)
    segments(tmp_path)[0].write_bytes(MAGIC + frame(b"H\x81\xa6format\x01"))
    with pytest.raises(OtherBuild, match="format 1"):
        records(tmp_path)


@pytest.mark.parametrize("said", [b"\x91\x81\xa4type\xa5Waltz", b"\x91\x81\xa4type\x01", b"\x91\x81\xa1\xff\x01"])
def test_what_another_build_emitted_is_its_own(said: bytes) -> None:
    with pytest.raises(OtherBuild, match="record 7"):
        _ = Record(7, 1, a_tick(1), said).emitted


def test_a_record_s_emissions_are_kept_as_the_bytes_they_were(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.append(1, an_intent(1), [an_order()])
    journal.append(2, a_tick(2))
    first, second = records(tmp_path)
    assert (first.said, second.said) == (said([an_order()]), said([]))
    assert (first.emitted, second.emitted) == ((an_order(),), ())


def test_a_write_that_fails_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = a_journal(tmp_path)
    monkeypatch.setattr(os, "write", lambda fd, data: 3)
    with pytest.raises(JournalError, match="disk is full"):
        journal.append(1, a_tick(1))
    monkeypatch.undo()
    with pytest.raises(JournalError, match="disk is full"):
        journal.append(1, a_tick(1))  # a record after a torn one would be damage in the middle


def test_a_full_disk_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = a_journal(tmp_path)

    def no_space(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    with pytest.raises(JournalError, match="No space"):
        journal.append(1, a_tick(1))


def test_a_directory_that_cannot_be_made_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be written"):
        a_journal(tmp_path / "file")
