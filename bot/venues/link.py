"""One try at a WebSocket connection, and the open one that comes of it: its socket, and the frames read so far.

The one place that knows websocket-client, which makes the connection and sends; frames are taken apart by frames.FrameBuffer.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
from collections.abc import Callable

import websocket

from bot.errors import BotError
from bot.venues.conversation import Conversation
from bot.venues.frames import FrameBuffer

CONNECT_TIMEOUT_S = 5.0  # for each blocking step
SEND_TIMEOUT_S = 1.0  # below the 2 s after which a thread counts as hung
READ_BYTES = 65_536
BROKEN = (OSError, websocket.WebSocketException)  # what sending and reading raise where a connection has ended


class Attempt(threading.Thread):
    """One try at connecting. A thread of its own: looking up a name has no deadline, and the Reader must stay alive.

    `fault` is an error of ours, `refused` what the network or the venue did.
    """

    def __init__(self, conversation: Conversation, url: str, wake: Callable[[], None], prepare: bool) -> None:
        super().__init__(name=f"connect-{conversation.name}", daemon=True)
        self._conversation = conversation
        self._url = url
        self._wake = wake
        self._prepare = prepare
        self._given_up = threading.Event()
        self.ended = threading.Event()
        self.refused = ""
        self.fault: BaseException | None = None
        self.ws = websocket.WebSocket(sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),), skip_utf8_validation=True)

    def run(self) -> None:
        try:
            if self._prepare:
                self._conversation.bootstrap()
            self._connect()
        except BotError as error:
            self.refused = str(error)
        except BaseException as error:  # noqa: BLE001 - kept for the Reader, which dies of it
            self.fault = error
        finally:
            self.ended.set()
            if self._given_up.is_set():
                self.ws.shutdown()
            self._wake()

    def _connect(self) -> None:
        try:
            self.ws.connect(
                self._url, timeout=CONNECT_TIMEOUT_S, suppress_origin=True, header=["User-Agent: clobmaker"]
            )
        except Exception as error:  # noqa: BLE001 - a server can answer a handshake with anything
            self.refused = f"{type(error).__name__}: {str(error)[:200]}"

    def cut(self) -> None:
        """End the handshake that takes too long."""
        sock = self.ws.sock
        if sock is not None:
            shut(sock)

    def give_up(self) -> None:
        """Nobody waits for it any more: whatever comes of it is closed."""
        self._given_up.set()
        if self.ended.is_set():
            self.ws.shutdown()


class Link:
    """An open connection: its socket, and the frames read so far."""

    def __init__(self, ws: websocket.WebSocket, bytes_max: int) -> None:
        self._ws = ws
        self.sock: socket.socket = ws.sock
        self.sock.settimeout(SEND_TIMEOUT_S)
        self.fd = self.sock.fileno()
        # A plain socket with a timeout polls before it reads, and so lets go of the interpreter twice.
        tls = isinstance(self.sock, ssl.SSLSocket)
        self._recv: Callable[[int], bytes] = self.sock.recv if tls else functools.partial(os.read, self.fd)
        self.frames = FrameBuffer(bytes_max)
        self.spoken = False

    def send(self, text: str) -> None:
        self._ws.send(text)
        self.spoken = True

    def pong(self, payload: bytes) -> None:
        self._ws.pong(payload)

    def pending(self) -> bool:
        """Bytes that TLS decrypted already, which no poll will announce: the handshake is read in small pieces, and its
        record may hold the first frames."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def read(self) -> bytes | None:
        """What has come; empty at the end of the stream; None when a TLS record is not complete yet."""
        try:
            return self._recv(READ_BYTES)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            return None

    def close(self, code: int = 1000) -> None:
        try:
            self._ws.send_close(code)
        except (*BROKEN, ValueError):
            pass  # it is closed for good below
        finally:
            self._ws.shutdown()


def shut(sock: socket.socket) -> None:
    """Wake whoever blocks on it; closing is left to its owner."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
