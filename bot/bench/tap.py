"""Loopback listeners between a bot and its venue, served by one thread that also does the measuring.

What is measured is what this process sees on its own sockets: when it wrote a frame, and when it had read the whole of
the request that followed. Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from bot.units import NS_PER_S, Ns
from bot.venues.frames import TEXT, FrameBuffer

READ_BYTES = 1 << 18
MESSAGE_MAX = 16 << 20
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Served(Protocol):
    def readable(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """A whole HTTP request, and when its last byte was read."""

    at_ns: Ns
    method: str
    path: str
    body: bytes


class Tap:
    """The sockets of this process and the loop that serves them. Not a thread: it runs while somebody waits."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []

    def listen(self, accepted: Callable[[socket.socket], None]) -> int:
        """A listener; returns its port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listeners.append(listener)

        def accept() -> None:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted(sock)

        self._selector.register(listener, selectors.EVENT_READ, accept)
        return int(listener.getsockname()[1])

    def serve(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, readable)

    def drop(self, sock: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):  # dropped already
            self._selector.unregister(sock)
        sock.close()

    def run(self, seconds: float, until: Callable[[], Any] = lambda: False) -> bool:
        """Serve for that long, or until something is true; says which."""
        end_ns = time.monotonic_ns() + int(seconds * NS_PER_S)
        while not until():
            left_ns = end_ns - time.monotonic_ns()
            if left_ns <= 0:
                return False
            for key, _ in self._selector.select(left_ns / NS_PER_S):
                key.data()
        return True

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            sock.close()
        self._selector.close()


class Messages:
    """HTTP messages out of a byte stream; every one has a length."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, chunk: bytes) -> list[tuple[str, bytes, bytes]]:
        """First line, body and all bytes of what is complete."""
        self._data += chunk
        found = []
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            whole = end + 4 + size
            if len(self._data) < whole:
                break
            first = self._data[: self._data.index(b"\r\n")].decode()
            found.append((first, self._data[end + 4 : whole], self._data[:whole]))
            self._data = self._data[whole:]
        return found


class Through:
    """One HTTP connection of the bot, passed on to the venue. `answered` hears each request with its answer's body.

    While `held` says so, answers to POST /order stay here.
    """

    def __init__(
        self,
        tap: Tap,
        sock: socket.socket,
        url: str,
        asked: Callable[[Request], None],
        answered: Callable[[Request, bytes], None],
        held: Callable[[], bool],
    ) -> None:
        parts = urlsplit(url)
        self._tap, self._asked, self._answered, self._held = tap, asked, answered, held
        self._bot = sock
        self._venue = socket.create_connection((parts.hostname or "", parts.port or 80))
        self._venue.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests, self._answers = Messages(), Messages()
        self._waiting: list[Request] = []
        tap.serve(sock, self._from_bot)
        tap.serve(self._venue, self._from_venue)

    def _from_bot(self) -> None:
        chunk = _read(self._bot)
        at_ns = time.monotonic_ns()
        if not chunk:
            self._end()
            return
        for first, body, whole in self._requests.feed(chunk):
            method, path, _ = first.split(" ", 2)
            request = Request(at_ns, method, path, body)
            self._waiting.append(request)
            self._asked(request)
            _write(self._venue, whole)

    def _from_venue(self) -> None:
        chunk = _read(self._venue)
        if not chunk:
            self._end()
            return
        for _, body, whole in self._answers.feed(chunk):
            request = self._waiting.pop(0)
            self._answered(request, body)
            if not (request.method == "POST" and request.path.startswith("/order") and self._held()):
                _write(self._bot, whole)

    def _end(self) -> None:
        self._tap.drop(self._bot)
        self._tap.drop(self._venue)


class Answerer:
    """One HTTP connection that is answered here: `answer` gets a request and gives the JSON body."""

    def __init__(self, tap: Tap, sock: socket.socket, answer: Callable[[Request], bytes]) -> None:
        self._tap, self._sock, self._answer = tap, sock, answer
        self._requests = Messages()
        tap.serve(sock, self._readable)

    def _readable(self) -> None:
        chunk = _read(self._sock)
        at_ns = time.monotonic_ns()
        if not chunk:
            self._tap.drop(self._sock)
            return
        for first, body, _ in self._requests.feed(chunk):
            method, path, _ = first.split(" ", 2)
            told = self._answer(Request(at_ns, method, path, body))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(told)}\r\n\r\n"
            _write(self._sock, head.encode() + told)


class Stream:
    """The server's end of a WebSocket. What the client says is read and dropped, after `heard` saw its bytes."""

    def __init__(self, tap: Tap, sock: socket.socket, heard: Callable[[bytes], None] = lambda chunk: None) -> None:
        self._tap, self._sock, self._heard = tap, sock, heard
        self._head = b""
        self.open = False
        tap.serve(sock, self._readable)

    def send(self, payload: bytes) -> Ns:
        """When the write began."""
        frame = framed(TEXT, payload)
        at_ns = time.monotonic_ns()
        _write(self._sock, frame)
        return at_ns

    def _readable(self) -> None:
        chunk = _read(self._sock)
        if not chunk:
            self.open = False
            self._tap.drop(self._sock)
        elif self.open:
            self._heard(chunk)
        else:
            self._head += chunk
            if b"\r\n\r\n" in self._head:
                self._greet()

    def _greet(self) -> None:
        lines = self._head.split(b"\r\n")
        key = next(line.split(b": ", 1)[1] for line in lines if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + WS_GUID, usedforsecurity=False).digest())
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.open = True


class Relay:
    """A WebSocket of the bot, passed on to the venue's: `passing` sees each text on its way to the bot."""

    def __init__(self, tap: Tap, sock: socket.socket, url: str, passing: Callable[[bytes], None]) -> None:
        parts = urlsplit(url)
        self._tap, self._bot, self._passing = tap, sock, passing
        self._venue = socket.create_connection((parts.hostname or "", parts.port or 80))
        self._venue.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = b""
        self._frames: FrameBuffer | None = None
        tap.serve(sock, self._from_bot)
        tap.serve(self._venue, self._from_venue)

    def _from_bot(self) -> None:
        chunk = _read(self._bot)
        if chunk:
            _write(self._venue, chunk)
        else:
            self._end()

    def _from_venue(self) -> None:
        chunk = _read(self._venue)
        if not chunk:
            self._end()
            return
        if self._frames is None:
            self._head += chunk
            head, end, chunk = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            _write(self._bot, head + end)
            self._frames = FrameBuffer(MESSAGE_MAX)
        for opcode, payload in self._frames.feed(chunk):
            if opcode == TEXT:
                self._passing(payload)
            _write(self._bot, framed(opcode, payload))

    def send(self, payload: bytes) -> Ns:
        """A text to the bot, as if the venue had sent it; when the write began."""
        frame = framed(TEXT, payload)
        at_ns = time.monotonic_ns()
        _write(self._bot, frame)
        return at_ns

    def _end(self) -> None:
        self._tap.drop(self._bot)
        self._tap.drop(self._venue)


def framed(opcode: int, payload: bytes) -> bytes:
    """A whole frame as a server sends it, of at most 64 kB."""
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + payload


def _read(sock: socket.socket) -> bytes:
    """Nothing at the end."""
    try:
        return sock.recv(READ_BYTES)
    except OSError:
        return b""


def _write(sock: socket.socket, data: bytes) -> None:
    """To one that has gone: its end is read next."""
    with contextlib.suppress(OSError):
        sock.sendall(data)
