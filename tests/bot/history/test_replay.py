"""Replay equals record: at every prefix, over runs, and after a crash or a torn tail at any byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from story import SALT_BASE, an_executor, story

from bot.errors import OtherBuild
from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.execution.snapshot import restore, snapshot
from bot.history.journal import Journal, last_segment, read, segments
from bot.history.records import Record, Run, SegmentStart
from bot.history.replay import Rerun, begin, recover
from bot.messages import BotState, MassCancel, Message, OrderState, Restarted, TimerTick
from bot.units import NS_PER_S, QTY_ONE, Ns

RUN = Run(salt_base=SALT_BASE)
Told = Sequence[tuple[Ns, Message, tuple[Message, ...]]]


def make(run: Run) -> Executor:
    executor = an_executor()
    return Executor(
        limits=run.limits,
        order_id_of=executor._order_id_of,
        salt_base=run.salt_base,
        timers=run.timers,
        clean_start=run.clean_start,
    )


def recorded(
    directory: Path, told: Told, *, executor: Executor | None = None, run: Run = RUN, records: int = 100
) -> Executor:
    """Lead an executor through a story as its shell would: handled, journaled, rotated."""
    core = executor if executor is not None else make(run)
    journal = Journal(directory, run=run, snapshot=lambda: snapshot(core), segment_records=records)
    for now_ns, message, _ in told:
        journal.append(now_ns, message, core.handle(message, now_ns))
        journal.rotate()
    journal.close()
    return core


def test_every_record_and_every_snapshot_is_repeated(tmp_path: Path) -> None:
    executor = recorded(tmp_path, story(1))
    rerun = Rerun(make)
    items = list(read(segments(tmp_path)))
    assert [rerun.take(item) for item in items] == [None] * len(items)
    assert rerun.records == len(story(1)) and len(segments(tmp_path)) > 5
    assert snapshot(rerun.executor) == snapshot(executor)


def test_replay_equals_record_at_every_prefix(tmp_path: Path) -> None:
    told = story(2)[:400]
    recorded(tmp_path, told, records=10**6)
    rerun, executor = Rerun(make), make(RUN)
    prefix = iter(told)
    for item in read(segments(tmp_path)):
        assert rerun.take(item) is None
        if isinstance(item, Record):
            now_ns, message, _ = next(prefix)
            executor.handle(message, now_ns)
        assert snapshot(rerun.executor) == snapshot(executor)
    assert next(prefix, None) is None


def test_after_a_crash_at_the_head_of_a_segment_time_goes_on_from_the_last_record(tmp_path: Path) -> None:
    told = story(1)[:200]
    recorded(tmp_path, told, records=100)
    last = recover(read(last_segment(tmp_path)), make)
    assert last is not None
    assert (last.records, last.seq, last.now_ns) == (0, 200, told[-1][0])


@pytest.mark.parametrize("seed", range(4))
def test_after_a_crash_anywhere_the_last_segment_alone_gives_what_was_recorded(tmp_path: Path, seed: int) -> None:
    told = story(seed)
    for n, end in enumerate(range(7, len(told), len(told) // 9)):
        executor = recorded(tmp_path / str(n), told[:end])
        last = recover(read(last_segment(tmp_path / str(n))), make)
        assert last is not None
        assert (last.seq, last.now_ns) == (end, told[end - 1][0])
        assert snapshot(last.executor) == snapshot(executor)


def test_a_last_record_torn_at_any_byte_was_never_written(tmp_path: Path) -> None:
    told = story(3)[:250]
    before = recorded(tmp_path / "before", told[:-1])
    after = recorded(tmp_path / "after", told)
    path = segments(tmp_path / "after")[-1]
    size = (segments(tmp_path / "before")[-1]).stat().st_size
    whole = path.read_bytes()
    for end in range(size, len(whole) + 1):
        path.write_bytes(whole[:end])
        last = recover(read(last_segment(tmp_path / "after")), make)
        assert last is not None
        assert last.seq == len(told) - (end < len(whole))
        assert snapshot(last.executor) == snapshot(after if end == len(whole) else before)


def test_a_run_takes_up_the_state_another_left_and_both_are_repeated(tmp_path: Path) -> None:
    told = story(0)
    half = len(told) // 2
    first = recorded(tmp_path, told[:half])
    run = Run(salt_base=1 << 40, continues=True, clean_start=False, limits=Limits(q_max=30 * QTY_ONE))
    second = begin(make, run, snapshot(first))
    then = told[half][0] + 3600 * NS_PER_S
    restart: Told = [(then, Restarted(), ())]
    rest = [(now_ns + 3600 * NS_PER_S, message, ()) for now_ns, message, _ in told[half:]]
    recorded(tmp_path, [*restart, *rest], executor=second, run=run)
    rerun = Rerun(make)
    assert [difference for item in read(segments(tmp_path)) if (difference := rerun.take(item))] == []
    assert (rerun.runs, rerun.records) == (2, len(told) + 1)
    assert rerun.run == run
    assert snapshot(rerun.executor) == snapshot(second)


def test_a_run_that_began_anew_is_repeated_from_its_own_start(tmp_path: Path) -> None:
    told = story(1)[:150]
    recorded(tmp_path, told)
    recorded(tmp_path, told, run=Run(salt_base=SALT_BASE, started_utc_ns=5))
    rerun = Rerun(make)
    assert [difference for item in read(segments(tmp_path)) if (difference := rerun.take(item))] == []
    assert rerun.runs == 2


def test_an_empty_journal_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(read(last_segment(tmp_path)), make) is None


class Changed(Executor):
    """Another build: it answers ticks with one more message."""

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        emitted = super().handle(message, now_ns)
        return [*emitted, MassCancel()] if isinstance(message, TimerTick) and self.orders.by_id else emitted


def changed(run: Run) -> Executor:
    executor = Changed(limits=run.limits, order_id_of=an_executor()._order_id_of, salt_base=run.salt_base)
    return executor


def test_an_executor_that_says_something_else_is_found_at_the_record(tmp_path: Path) -> None:
    recorded(tmp_path, story(1), records=10**6)
    rerun = Rerun(changed)
    differences = [(item, difference) for item in read(segments(tmp_path)) if (difference := rerun.take(item))]
    item, difference = differences[0]
    assert isinstance(item, Record) and difference.seq == item.seq
    assert difference.text == "1 messages, recorded are 0"
    with pytest.raises(OtherBuild, match=f"record {item.seq} is not repeated"):
        recover(read(last_segment(tmp_path)), changed)


def test_an_executor_that_raises_does_not_repeat(tmp_path: Path) -> None:
    recorded(tmp_path, story(1)[:50])

    class Broken(Executor):
        def handle(self, message: Message, now_ns: Ns) -> list[Message]:
            raise AssertionError("not this one")

    with pytest.raises(OtherBuild, match="record 1 is not repeated: raises AssertionError: not this one"):
        recover(read(segments(tmp_path)[:1]), lambda run: Broken(limits=Limits(), order_id_of=str, salt_base=1))


def test_a_snapshot_that_is_another_state_is_found(tmp_path: Path) -> None:
    recorded(tmp_path, story(1)[:250])
    items = list(read(segments(tmp_path)))
    strange = make(RUN)
    strange.handle(TimerTick(name="executor", now_ns=1, utc_ns=1), 1)
    spoilt = [
        SegmentStart(run=item.run, segment=item.segment, first_seq=item.first_seq, snapshot=snapshot(strange))
        if isinstance(item, SegmentStart) and item.segment == 2
        else item
        for item in items
    ]
    rerun = Rerun(make)
    found = next(difference for item in spoilt if (difference := rerun.take(item)))
    assert found.seq == 101 and "segment 2" in found.text


def test_messages_of_another_vocabulary_are_found(tmp_path: Path) -> None:
    recorded(tmp_path, story(1)[:50])
    rerun = Rerun(make)
    items = list(read(segments(tmp_path)))
    item = next(item for item in items if isinstance(item, Record) and item.emitted)
    older = msgspec.msgpack.encode([msgspec.to_builtins(message) | {"gone": 1} for message in item.emitted])
    spoilt = [Record(item.seq, item.now_ns, item.message, older) if each is item else each for each in items]
    found = next(difference for each in spoilt if (difference := rerun.take(each)))
    assert (found.seq, found.text) == (item.seq, "the same messages are written otherwise")


def test_a_difference_names_the_fields(tmp_path: Path) -> None:
    recorded(tmp_path, story(1), records=10**6)

    class Dearer(Executor):
        def handle(self, message: Message, now_ns: Ns) -> list[Message]:
            self.risk.limits = Limits(order_size_max=7 * QTY_ONE)
            return super().handle(message, now_ns)

    rerun = Rerun(
        lambda run: Dearer(limits=run.limits, order_id_of=an_executor()._order_id_of, salt_base=run.salt_base)
    )
    found = next(difference for item in read(segments(tmp_path)) if (difference := rerun.take(item)))
    assert "NewOrder" in found.text and "recorded" in found.text


def test_after_a_restart_what_was_out_is_unknown_and_nothing_is_quoted(tmp_path: Path) -> None:
    executor = make(RUN)
    for now_ns, message, _ in story(0):
        executor.handle(message, now_ns)
        if executor.recovery.state is BotState.QUOTING and len(executor.orders.open_orders()) == 2:
            break
    resting = [order.order_id for order in executor.orders.open_orders()]
    fresh = make(Run(salt_base=1 << 40, clean_start=False))
    restore(fresh, snapshot(executor))
    fresh.handle(Restarted(), now_ns + NS_PER_S)
    assert fresh.recovery.state is BotState.STARTING
    assert [fresh.orders.by_id[order_id].state for order_id in resting] == [OrderState.UNKNOWN] * 2
    assert all(fresh.orders.by_id[order_id].cancel_wanted for order_id in resting)
    said = fresh.handle(TimerTick(name="executor", now_ns=now_ns + 2 * NS_PER_S, utc_ns=1), now_ns + 2 * NS_PER_S)
    assert fresh.recovery.state is BotState.FAILING
    assert any(isinstance(message, MassCancel) for message in said)
