"""The journal: what is appended is read back, torn tails are cut, damage is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bot.errors import JournalError
from bot.history.journal import HEAD, KEEP_S, Journal, Record, SegmentStart, payloads, read, segments
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


def a_journal(directory: Path, **given: object) -> Journal:
    return Journal(directory, salt_base=77, started_utc_ns=1, **given)  # type: ignore[arg-type]


def records(directory: Path) -> list[Record]:
    return [item for item in read(directory) if isinstance(item, Record)]


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
    sizes = [len(payload) for _, _, payload in payloads(segments(tmp_path)[0])][1:]
    assert sizes[1] < 48 and sizes[2] < sizes[0] / 3


def test_an_append_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = a_journal(tmp_path)
    writes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    journal.append(1, an_intent(1), [an_order()])
    assert len(writes) == 1


def test_a_segment_ends_at_its_bound_and_the_next_was_opened_ahead(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, segment_records=3, snapshot=lambda: b"state")
    journal.prepare()
    for n in range(7):
        journal.append(n, an_intent(n))
    assert len(segments(tmp_path)) == 3
    assert [r.seq for r in records(tmp_path)] == list(range(1, 8))
    starts = [item for item in read(tmp_path) if isinstance(item, SegmentStart) and item.snapshot]
    assert [(s.header.first_seq, s.snapshot) for s in starts] == [(1, b"state"), (4, b"state"), (7, b"state")]


def test_segments_older_than_a_week_go_and_the_one_being_written_stays(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, segment_records=2)
    for n in range(5):
        journal.append(n, an_intent(n))
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
    offset = [start for start, _, _ in payloads(path)][3]
    data = bytearray(path.read_bytes())
    data[offset + at] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(JournalError, match=f"offset {offset}"):
        records(tmp_path)
    with pytest.raises(JournalError, match=f"offset {offset}"):
        a_journal(tmp_path)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, segment_records=2)
    for n in range(6):
        journal.append(n, a_tick(n))
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
