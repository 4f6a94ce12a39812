"""One warm keep-alive HTTP connection with a total deadline for each request. Knows no venue and sends nothing twice.

Requests leave in one send: head and body in one segment. Every wait of a request (connect, send, each read) gets what is
left of its deadline, so a peer that trickles bytes cannot stretch it. The socket itself never waits: with a timeout of
Python's each call would be two or three of the kernel's, and at each a busy bot may lose the interpreter. Imports
nothing it does not need: the guardian, which has 20 MB, talks over it too.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import threading
import time

from bot.errors import VenueUnavailable
from bot.venues.clob_answer import Reply, read_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Address = tuple[int, int, int, str, Any]

DEADLINE_S = 3.0
CONNECT_S = 1.0
URL = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[^/:@?#\s]+)(?::([0-9]{1,5}))?(/[^?#\s]*|)")  # urllib costs 0.7 MB
FRESH_S = 0.001  # a connection that was alive so shortly ago is not looked at again
WANTS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
USER_AGENT = "clobmaker/1.0"  # the edge refuses the default agents of Python libraries


class RequestFailed(VenueUnavailable):
    """No usable answer came. `sent` False proves that not one byte of the request had left."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Connection:
    """One connection to one origin, used by one thread at a time.

    Invariant: a request returns or raises within its deadline, and is written to the socket at most once.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = DEADLINE_S,
        connect_s: float = CONNECT_S,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Deadlines that are given to it count on `clock`, too."""
        parts = URL.fullmatch(url)
        if parts is None:
            raise ValueError(f"not an http(s) address: {url!r}")
        scheme, host, port, path = parts.groups()
        self.url = url.rstrip("/")
        self.deadline_s = deadline_s
        self._connect_s = connect_s
        self._clock = clock
        self._host = host.strip("[]")
        self._port = int(port or (443 if scheme == "https" else 80))
        self._prefix = path.rstrip("/")
        self._context = (context or tls_context()) if scheme == "https" else None
        self._fixed = f"Host: {host}{f':{port}' if port else ''}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n"
        self._addresses: list[Address] = []
        self._sock: socket.socket | None = None
        self._alive_s = 0.0  # when it was last seen alive, unless a request was sent since
        self.used_s = 0.0  # time of the last answer on its clock
        self.connects = 0

    def ready(self, until: float | None = None) -> None:
        """Connect unless a live connection stands; an idle one that the peer closed is replaced. Raises RequestFailed."""
        now = self._now()
        if self._sock is not None:
            if now - self._alive_s < FRESH_S:
                return
            if _is_alive(self._sock):
                self._alive_s = now
                return
        self.close()
        limit = now + self._connect_s
        try:
            self._sock = self._connect(limit if until is None else min(limit, until))
        except (OSError, ssl.SSLError) as error:
            raise RequestFailed(f"cannot connect to {self._host}: {_words(error)}", sent=False) from error
        self.connects += 1

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: str = "",
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        """Send once and read the answer. `headers` are whole lines; `written` is called when the bytes are with the kernel.
        Raises RequestFailed."""
        deadline = self._now() + self.deadline_s
        if until is not None:
            deadline = min(deadline, until)
        what = "Content-Type: application/json\r\n" if body else ""
        if body or method == "POST":
            what += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._fixed}{headers}{what}\r\n"
        data = head.encode("latin-1") + body
        self.ready(deadline)
        sock = self._sock
        assert sock is not None, "ready() leaves a socket or raises"
        if self._now() >= deadline:
            raise RequestFailed("no time left before the request was sent", sent=False)
        self._alive_s = 0.0
        try:
            self._send(sock, data, deadline)
            if written is not None:
                written()
            reply, keep = read_answer(lambda: self._receive(sock, deadline))
        except (OSError, ValueError) as error:
            self.close()
            raise RequestFailed(f"{method} {path.partition('?')[0]}: {_words(error)}", sent=True) from error
        if not keep:
            self.close()
        self.used_s = self._now()
        return reply

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _connect(self, until: float) -> socket.socket:
        """Addresses known from the last time are tried first, so that a dead resolver does not cut us off."""
        failure: OSError = TimeoutError("timed out")
        fresh = not self._addresses
        while True:
            if fresh:
                self._addresses = _resolve(self._host, self._port, self._left(until))
            for address in self._addresses:
                try:
                    return self._open(address, until)
                except OSError as error:
                    failure = error
            if fresh or self._now() >= until:
                self._addresses = []
                raise failure
            fresh = True

    def _open(self, address: Address, until: float) -> socket.socket:
        family, kind, protocol, _, where = address
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(self._left(until))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(where)
            if self._context is not None:
                sock.settimeout(self._left(until))
                sock = self._context.wrap_socket(sock, server_hostname=self._host)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def _send(self, sock: socket.socket, data: bytes, until: float) -> None:
        while data:
            try:
                data = data[sock.send(data) :]
            except WANTS as want:
                self._await(sock, _wanted(want, select.POLLOUT), until)

    def _receive(self, sock: socket.socket, until: float) -> bytes:
        """What came next. A read takes more than a TLS record holds, so none leaves anything that a poll does not see."""
        events = select.POLLIN
        while True:
            self._await(sock, events, until)
            try:
                return sock.recv(65536)
            except WANTS as want:
                events = _wanted(want, select.POLLIN)

    def _await(self, sock: socket.socket, events: int, until: float) -> None:
        waiter = select.poll()
        waiter.register(sock, events)
        if not waiter.poll(int(self._left(until) * 1000) + 1):
            raise TimeoutError("timed out")

    def _now(self) -> float:
        return self._clock() / 1e9

    def _left(self, until: float) -> float:
        left = until - self._now()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def tls_context() -> ssl.SSLContext:
    """Verifies peers as usual. The system's authorities are read when a peer is shown, where they lie in files by hash:
    its whole bundle would cost 1.2 MB for each connection."""
    paths = ssl.get_default_verify_paths()
    by_hash = paths.capath is not None and any(name.endswith(".0") for name in os.listdir(paths.capath))
    if not by_hash or paths.openssl_cafile_env in os.environ:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(capath=paths.capath)
    return context


def _is_alive(sock: socket.socket) -> bool:
    """Nothing may arrive between answers: an end or stray bytes mean that the connection cannot be used again."""
    try:
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False


def _wanted(error: OSError, plain: int) -> int:
    """TLS may have to read before it can write, and the other way round."""
    if isinstance(error, ssl.SSLWantReadError):
        return select.POLLIN
    return select.POLLOUT if isinstance(error, ssl.SSLWantWriteError) else plain


def _resolve(host: str, port: int, seconds: float) -> list[Address]:
    """Names are looked up on a thread of their own, because the resolver has no deadline."""
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        pass  # no address but a name
    found: list[Address] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if thread.is_alive() or not found:
        raise TimeoutError("the name was not resolved in time")
    return found


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
