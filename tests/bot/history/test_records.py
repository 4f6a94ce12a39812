"""The journal's bytes: whatever they are, reading them ends in records, in a torn tail or in a JournalError."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from story import an_executor, story

from bot.errors import JournalError
from bot.execution.snapshot import restore, snapshot
from bot.history.records import (
    HEAD,
    MAGIC,
    MARKER,
    Record,
    Run,
    SegmentStart,
    frame,
    frames,
    items,
    record_payload,
    start_payload,
)
from bot.messages import QuoteIntent, TimerTick

Spoil = Callable[[random.Random, bytearray], None]


def a_segment() -> bytes:
    executor = an_executor()
    start = SegmentStart(run=Run(salt_base=1), segment=1, first_seq=1, snapshot=snapshot(executor))
    parts = [MAGIC, frame(start_payload(start))]
    for seq, (now_ns, message, _) in enumerate(story(1)[:120], 1):
        parts.append(frame(record_payload(seq, now_ns, message, executor.handle(message, now_ns))))
    return b"".join(parts)


SEGMENT = a_segment()


def flip(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def drop(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 200)]


def insert(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.choice((MARKER, HEAD.pack(MARKER, 5, 1), chance.randbytes(30), SEGMENT[at : at + 90]))


def zero(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at : at + 64] = bytes(64)


@pytest.mark.parametrize("spoil", [flip, cut, drop, insert, zero])
def test_spoilt_bytes_give_a_prefix_or_an_error_and_never_another_record(spoil: Spoil) -> None:
    whole = list(items(SEGMENT, "x"))
    chance = random.Random(spoil.__name__)
    for _ in range(60):
        data = bytearray(SEGMENT)
        spoil(chance, data)
        read = []
        try:
            for item in items(bytes(data), "x"):
                read.append(item)
        except JournalError as error:
            assert str(error).startswith("x: ")
        assert read == whole[: len(read)]


@pytest.mark.parametrize("spoil", [flip, cut, drop, zero])
def test_payloads_that_another_program_wrote_never_break_the_reader(spoil: Spoil) -> None:
    """Their checksums are right, so only their content can tell."""
    payloads = [payload for _, _, payload in frames(SEGMENT, "x")]
    chance = random.Random(spoil.__name__)
    for _ in range(300):
        spoilt, n = list(payloads), chance.randrange(len(payloads))
        data = bytearray(spoilt[n])
        spoil(chance, data)
        spoilt[n] = bytes(data) or b"?"
        try:
            read = list(items(MAGIC + b"".join(map(frame, spoilt)), "x"))
        except JournalError:
            continue
        assert len(read) == len(payloads)


@pytest.mark.parametrize("spoil", [flip, cut, drop, zero])
def test_snapshots_that_another_program_wrote_are_restored_or_refused(spoil: Spoil) -> None:
    executor = an_executor()
    for now_ns, message, _ in story(1)[:200]:
        executor.handle(message, now_ns)
    state = snapshot(executor)
    chance = random.Random(spoil.__name__)
    for _ in range(200):
        data = bytearray(state)
        spoil(chance, data)
        try:
            restore(an_executor(), bytes(data))
        except JournalError:
            continue


def test_a_record_has_its_place_in_the_sequence() -> None:
    start, *records = [frame(payload) for _, _, payload in frames(SEGMENT, "x")]
    for order, word in (
        ([start, *records[1:]], "record 2 .* where 1 should follow"),
        ([start, records[0], records[0]], "record 1 .* where 2 should follow"),
        ([records[0]], "out of place"),
        ([start, start], "out of place"),
    ):
        with pytest.raises(JournalError, match=word):
            list(items(MAGIC + b"".join(order), "x"))


def test_short_forms_say_the_same_as_the_long_one() -> None:
    read = [item for item in items(SEGMENT, "x") if isinstance(item, Record)]
    told = story(1)[:120]
    assert [item.message for item in read] == [message for _, message, _ in told]
    quiet = {type(message) for _, message, said in told if not said}
    assert {TimerTick, QuoteIntent} <= quiet
    assert all(type(item.message) is type(message) for item, (_, message, _) in zip(read, told, strict=True))
