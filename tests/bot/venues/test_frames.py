"""Frames out of bytes, however the network cut them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import FrameError
from bot.venues.frames import FRAGMENTS_MAX, PING, TEXT, FrameBuffer, TooBig


def frame(payload: bytes, opcode: int = TEXT, final: bool = True) -> bytes:
    head = bytes([(0x80 if final else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65_536:
        return head + b"\x7e" + len(payload).to_bytes(2, "big") + payload
    return head + b"\x7f" + len(payload).to_bytes(8, "big") + payload


@given(
    st.lists(st.one_of(st.binary(max_size=140), st.sampled_from([b"x" * 70_000, b"y" * 65_535])), max_size=6),
    st.lists(st.integers(1, 5000), min_size=1, max_size=20),
)
def test_any_cut_of_the_stream_gives_the_same_messages(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    buffer = FrameBuffer(1 << 20)
    got: list[tuple[int, bytes]] = []
    start = turn = 0
    while start < len(stream):
        step = cuts[turn % len(cuts)]
        turn += 1
        got += buffer.feed(stream[start : start + step])
        start += step
    assert got == [(TEXT, payload) for payload in payloads]


def test_a_ping_between_the_pieces_of_a_message_comes_first() -> None:
    stream = frame(b"he", final=False) + frame(b"!", PING) + frame(b"l", 0, final=False) + frame(b"lo", 0)
    assert FrameBuffer(100).feed(stream) == [(PING, b"!"), (TEXT, b"hello")]


def test_a_message_above_the_cap_is_refused_before_it_has_arrived() -> None:
    with pytest.raises(TooBig):
        FrameBuffer(1000).feed(frame(b"x" * 1001)[:4])


def test_pieces_cannot_grow_a_message_above_the_cap() -> None:
    buffer = FrameBuffer(1000)
    buffer.feed(frame(b"x" * 600, final=False))
    with pytest.raises(TooBig):
        buffer.feed(frame(b"x" * 600, 0, final=False))


def test_endless_empty_pieces_are_refused() -> None:
    buffer = FrameBuffer(1000)
    buffer.feed(frame(b"", final=False))
    with pytest.raises(TooBig):
        buffer.feed(frame(b"", 0, final=False) * FRAGMENTS_MAX)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x81\x82abcd..",  # masked
        b"\xc1\x01x",  # compressed, which nobody agreed to
        frame(b"x", 0),  # the middle of nothing
        frame(b"a", final=False) + frame(b"b"),  # a message inside another
        frame(b"x", PING, final=False),
        frame(b"x" * 126, PING),
        frame(b"x", 0xB),
    ],
)
def test_what_no_server_may_send_is_refused(stream: bytes) -> None:
    with pytest.raises(FrameError):
        FrameBuffer(1000).feed(stream)
