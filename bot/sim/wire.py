"""Bytes below the WebSocket library: frames that no library would send, and what a bad network makes of good ones.

Each step is awaited in its turn between ordinary frames, with the transport of the connection. Knows no stream.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

Step: TypeAlias = Callable[[asyncio.Transport], Awaitable[None]]

TEXT = 0x1
CONTINUATION = 0x0
BUFFERED_MAX = 1 << 20  # bytes the kernel has not taken, before an endless writer waits
POLL_S = 0.01
PIECES_AT_ONCE = 64


def ws_frame(payload: bytes, *, opcode: int = TEXT, final: bool = True, announced: int | None = None) -> bytes:
    """One unmasked frame; `announced` is the length its head tells, where that is a lie."""
    size = len(payload) if announced is None else announced
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


def raw(*pieces: bytes) -> Step:
    """Write bytes as they are, waiting wherever the other side does not read."""

    async def step(transport: asyncio.Transport) -> None:
        for piece in pieces:
            transport.write(piece)
            await _drained(transport)

    return step


def big(size: int) -> Step:
    """A text message of so many bytes."""
    chunk = b" " * (1 << 16)
    rest = size % len(chunk)
    return raw(ws_frame(b"", announced=size), *([chunk] * (size // len(chunk))), chunk[:rest])


def endless(pieces: int, piece: bytes = b" " * 16) -> Step:
    """A message in so many fragments, of which none is the last: nothing can follow it."""
    first, more = ws_frame(piece, final=False), ws_frame(piece, opcode=CONTINUATION, final=False)

    def fragments() -> Iterator[bytes]:
        yield first
        for done in range(1, pieces, PIECES_AT_ONCE):
            yield more * min(PIECES_AT_ONCE, pieces - done)

    async def step(transport: asyncio.Transport) -> None:
        for some in fragments():
            if transport.is_closing():
                return
            transport.write(some)
            await _drained(transport)
        while not transport.is_closing():
            await asyncio.sleep(POLL_S)

    return step


def dripped(data: bytes, bytes_per_s: float, until: float) -> Step:
    """Write byte by byte, so slowly, and the rest at once when it is later than `until` on the monotonic clock."""

    async def step(transport: asyncio.Transport) -> None:
        for n in range(len(data)):
            if transport.is_closing():
                return
            if time.monotonic() >= until:
                transport.write(data[n:])
                return
            transport.write(data[n : n + 1])
            await asyncio.sleep(1.0 / bytes_per_s)

    return step


def cut_after(data: bytes) -> Step:
    """Write the bytes, let them arrive, and reset the connection: no close frame, no end of the stream."""

    async def step(transport: asyncio.Transport) -> None:
        transport.write(data)
        await _drained(transport, 0)
        reset(transport)

    return step


def reset(transport: asyncio.Transport) -> None:
    """Abort so that the other side sees a reset and not an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _drained(transport: asyncio.Transport, limit: int = BUFFERED_MAX) -> None:
    while transport.get_write_buffer_size() > limit and not transport.is_closing():
        await asyncio.sleep(POLL_S)
    await asyncio.sleep(0)
