"""WebSocket frames out of a byte stream, as a server sends them: unmasked, without extensions. Knows no socket.

Here because one read of the socket often holds dozens of frames, and taking them apart in one go costs a fraction of
reading each for itself.
"""

from __future__ import annotations

from bot.errors import FrameError

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

FRAGMENTS_MAX = 4096  # of one message: more is an endless message, however small the pieces


class TooBig(FrameError):
    """A message larger than the cap; the connection is closed with code 1009."""


class FrameBuffer:
    """Bytes in, whole messages and control frames out, in order.

    Invariant: it never holds more than one message of `bytes_max` and what one `feed` brought.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []  # bytes not taken apart yet
        self._have = 0
        self._need = 2  # of them, before another look makes sense
        self._opcode = 0  # of the fragmented message under way
        self._message = bytearray()
        self._fragments = 0

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """Opcode and payload of everything complete. Raises FrameError for what no server may send."""
        self._have += len(chunk)
        self._parts.append(chunk)
        if self._have < self._need:
            return []
        data = chunk if len(self._parts) == 1 else b"".join(self._parts)
        out: list[tuple[int, bytes]] = []
        start, end = 0, len(data)
        need = 2
        while end - start >= need:
            size = data[start + 1]
            body = start + 2
            if size > 125:
                if size > 127:
                    raise FrameError("masked frame from a server")
                width = 2 if size == 126 else 8
                body += width
                if body > end:
                    need = 2 + width
                    break
                size = int.from_bytes(data[start + 2 : body], "big")
                if size + len(self._message) > self._bytes_max:
                    raise TooBig(f"message of more than {self._bytes_max} bytes")
            stop = body + size
            if stop > end:
                need = stop - start
                break
            head = data[start]
            if head == 0x81:  # a whole text: nearly everything
                if self._opcode:
                    raise FrameError("new message inside a fragmented one")
                out.append((TEXT, data[body:stop]))
            else:
                self._take(head, data[body:stop], out)
            start = stop
            need = 2
        rest = data[start:]
        self._parts = [rest] if rest else []
        self._have = len(rest)
        self._need = need
        return out

    def _take(self, head: int, payload: bytes, out: list[tuple[int, bytes]]) -> None:
        """A control frame, a binary message or a piece of a fragmented one."""
        final, opcode = head & 0x80, head & 0x0F
        if head & 0x70:
            raise FrameError("frame with an extension nobody asked for")
        if opcode >= CLOSE:
            if not final or len(payload) > 125 or opcode > PONG:
                raise FrameError(f"malformed control frame {opcode:#x}")
            out.append((opcode, payload))
            return
        if opcode not in (0, TEXT, BINARY) or bool(opcode) == bool(self._opcode):
            raise FrameError(f"frame {opcode:#x} out of order")
        self._opcode = self._opcode or opcode
        self._fragments += 1
        if len(self._message) + len(payload) > self._bytes_max or self._fragments > FRAGMENTS_MAX:
            raise TooBig(f"fragmented message of more than {self._bytes_max} bytes or {FRAGMENTS_MAX} pieces")
        self._message += payload
        if final:
            out.append((self._opcode, bytes(self._message)))
            self._opcode = self._fragments = 0
            self._message = bytearray()
