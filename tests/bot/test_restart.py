"""How a run begins: state, salts and clock go on from the journal; what cannot be read or repeated is said, not guessed."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

import pytest

from bot import restart
from bot.bench.day import WALLET, Day, journal_of_a_day
from bot.errors import JournalError
from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.execution.snapshot import snapshot
from bot.history.journal import Journal, read, segments
from bot.history.records import MAGIC, Run, frame, frames
from bot.history.replay import Rerun
from bot.messages import Message, Restarted, TimerTick
from bot.restart import Beginning, begin_run, executor_of
from bot.units import NS_PER_S, QTY_ONE, USD_ONE

RUN = Run(wallet=WALLET)


def told(beginning: Beginning, directory: Path, count: int) -> None:
    """A run of that many messages, killed after the last."""
    executor = beginning.executor
    journal = Journal(directory, run=beginning.run, snapshot=lambda: snapshot(executor))
    if beginning.first is not None:
        journal.append(beginning.clock(), beginning.first, executor.handle(beginning.first, beginning.clock()))
    for now_ns, message, emitted in islice(Day(executor).messages(), count):
        journal.append(now_ns, message, emitted)


def test_the_first_run_of_a_wallet_begins_anew(tmp_path: Path) -> None:
    begun = begin_run(tmp_path, RUN, utc_day=20_000, day_loss=3 * USD_ONE)
    assert not begun.run.continues and begun.first is None
    assert (begun.executor.risk.day, begun.executor.risk.realised_day) == (20_000, -3 * USD_ONE)
    assert begun.clock is time.monotonic_ns
    assert begun.run.boot == restart.boot_id() and len(begun.run.build) == 16


def test_the_next_run_has_orders_inventory_cash_and_the_day_s_result_of_the_last(tmp_path: Path) -> None:
    first = begin_run(tmp_path, RUN)
    told(first, tmp_path, 11_000)
    old = first.executor
    assert old.positions.fills and old.orders.by_id and old.risk.realised_day
    begun = begin_run(tmp_path, RUN, utc_day=1, day_loss=1)
    new = begun.executor
    assert begun.run.continues and begun.first == Restarted()
    assert list(new.orders.by_id.values()) == list(old.orders.by_id.values())
    assert (new.positions.fills, new.positions.holdings) == (old.positions.fills, old.positions.holdings)
    assert (new.positions.cash, new.recovery.watermark_utc_s) == (old.positions.cash, old.recovery.watermark_utc_s)
    assert (new.risk.day, new.risk.realised_day) == (old.risk.day, old.risk.realised_day)


def test_what_a_person_set_since_holds_for_the_next_run(tmp_path: Path) -> None:
    told(begin_run(tmp_path, RUN), tmp_path, 300)
    begun = begin_run(tmp_path, Run(wallet=WALLET, limits=Limits(q_max=7 * QTY_ONE), clean_start=False))
    assert begun.executor.risk.limits.q_max == 7 * QTY_ONE


def test_all_runs_are_repeated_from_their_journal(tmp_path: Path) -> None:
    for count in (300, 700, 50):
        told(begin_run(tmp_path, RUN), tmp_path, count)
    rerun = Rerun(executor_of)
    assert [difference for item in read(segments(tmp_path)) if (difference := rerun.take(item))] == []
    assert (rerun.runs, rerun.records) == (3, 300 + 700 + 50 + 2)


def test_no_salt_is_used_twice_even_when_the_wall_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(begin_run(tmp_path, RUN), tmp_path, 2000)
    monkeypatch.setattr(restart.time, "time_ns", lambda: 1_700_000_000 * NS_PER_S)
    told(begin_run(tmp_path, RUN), tmp_path, 2000)
    told(begin_run(tmp_path, RUN), tmp_path, 2000)
    salts = [
        emitted.salt
        for item in read(segments(tmp_path))
        if hasattr(item, "emitted")
        for emitted in item.emitted
        if hasattr(emitted, "salt")
    ]
    assert len(salts) > 100 and len(set(salts)) == len(salts)


def test_the_clock_goes_on_in_the_same_boot(tmp_path: Path) -> None:
    begun = begin_run(tmp_path, RUN)
    journal = Journal(tmp_path, run=begun.run, snapshot=lambda: snapshot(begun.executor))
    journal.append(time.monotonic_ns(), TimerTick(name="executor", now_ns=1, utc_ns=1))
    again = begin_run(tmp_path, RUN)
    assert again.run.ahead_ns == 0 and again.clock is time.monotonic_ns


@pytest.mark.parametrize("uptime_s", [5, 10**9])
def test_after_another_boot_the_clock_goes_on_by_wall_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uptime_s: int
) -> None:
    last_ns, off_s = 7_000_000 * NS_PER_S, 90
    monkeypatch.setattr(restart, "boot_id", lambda: "one")
    begun = begin_run(tmp_path, RUN)
    journal = Journal(tmp_path, run=begun.run, snapshot=lambda: snapshot(begun.executor))
    tick = TimerTick(name="executor", now_ns=last_ns, utc_ns=1_790_000_000 * NS_PER_S)
    journal.append(last_ns, tick, begun.executor.handle(tick, last_ns))
    monkeypatch.setattr(restart, "boot_id", lambda: "two")
    monkeypatch.setattr(restart.time, "monotonic_ns", lambda: uptime_s * NS_PER_S)
    monkeypatch.setattr(restart.time, "time_ns", lambda: (1_790_000_000 + off_s) * NS_PER_S)
    later = begin_run(tmp_path, RUN)
    assert later.clock() == last_ns + off_s * NS_PER_S
    assert later.first == Restarted(power_lost=True)
    Journal(tmp_path, run=later.run, snapshot=lambda: snapshot(later.executor))
    third = begin_run(tmp_path, RUN)  # in the boot of the second
    assert third.run.ahead_ns == later.run.ahead_ns and third.first == Restarted()


def test_a_journal_of_another_build_leaves_what_the_venue_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(begin_run(tmp_path, RUN), tmp_path, 600)
    handle = Executor.handle
    monkeypatch.setattr(Executor, "handle", lambda self, message, now_ns: [*handle(self, message, now_ns), Restarted()])
    begun = begin_run(tmp_path, RUN, utc_day=20_000, day_loss=5)
    assert not begun.run.continues and not begun.executor.orders.by_id
    assert begun.executor.risk.realised_day == -5
    monkeypatch.undo()
    told(begun, tmp_path, 100)
    assert begin_run(tmp_path, RUN).run.continues


def test_a_journal_of_another_format_is_followed_by_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "00000007.journal").write_bytes(MAGIC + frame(b"H\x81\xa6format\x01"))
    begun = begin_run(tmp_path, RUN)
    assert not begun.run.continues
    told(begun, tmp_path, 50)
    assert begin_run(tmp_path, RUN).run.continues


def test_damage_refuses_the_start_with_the_offset(tmp_path: Path) -> None:
    told(begin_run(tmp_path, RUN), tmp_path, 600)
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    offset = [begin for begin, _, _ in frames(bytes(data), "")][90]
    data[offset + 15] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=f"damaged at offset {offset}"):
        begin_run(tmp_path, RUN)


def test_a_journal_that_ended_flat_is_taken_up_without_a_single_record(tmp_path: Path) -> None:
    journal_of_a_day(tmp_path, 500)
    begun = begin_run(tmp_path, RUN)
    journal = Journal(tmp_path, run=begun.run, snapshot=lambda: snapshot(begun.executor))
    begun.executor.handle(Restarted(), begun.clock())
    journal.append(begun.clock(), Restarted(), begun.executor.handle(Restarted(), begun.clock()))
    journal.seal()
    journal.close()
    handled: list[Message] = []
    last = Rerun(executor_of)
    for item in read(segments(tmp_path)[-1:]):
        assert last.take(item) is None
        handled += [item.message] if hasattr(item, "message") else []
    assert handled == []
    assert snapshot(last.executor) == snapshot(begun.executor)


def test_the_build_is_told_by_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    build = restart.build_id()
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read_bytes(path) + (b"#" if path.name == "orders.py" else b""))
    assert restart.build_id() != build
    assert os.path.exists(restart.BOOT_ID) == bool(restart.boot_id())
