"""The control socket: one JSON line each way on a Unix socket of mode 0600, served by threads that need no actor."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any, Protocol

import orjson

from bot.errors import BotError

CLIENT_TIMEOUT_S = 1.0
LINE_MAX = 64 * 1024
ACCEPT_AGAIN_S = 0.1
SLOW_S = 5  # after which a client is hung up on
WAITING = 2  # threads


class Operator(Protocol):
    """What a person may ask of a running bot; every answer has ok, state, flat_verified, open_orders, error."""

    def halt(self, reason: str) -> dict[str, Any]: ...

    def resume(self) -> dict[str, Any]: ...

    def cancel_all(self, reason: str) -> dict[str, Any]: ...

    def status(self) -> dict[str, Any]: ...


class ControlServer:
    """Invariant: each connection gets one line and one answer, and a thread waits for the next one all the while, so a
    slow client blocks nobody, and no thread has to be started between a person's word and what it asks for."""

    def __init__(self, path: Path, operator: Operator) -> None:
        self._path = path
        self._operator = operator
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stopped = threading.Event()
        self._counting = threading.Lock()
        self._waiting = 0

    def start(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        with _short_name(self._path) as name:
            self._listener.bind(name)
        os.chmod(self._path, 0o600)
        self._listener.listen(8)
        for _ in range(WAITING):
            self._start_thread()

    def stop(self) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _start_thread(self) -> None:
        with self._counting:
            self._waiting += 1
        try:
            threading.Thread(target=self._serve, name="control", daemon=True).start()
        except RuntimeError:  # no more threads to be had: who is there already goes on, one client after another
            with self._counting:
                self._waiting -= 1

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopped.wait(ACCEPT_AGAIN_S):
                    return
                continue  # out of descriptors, or a client that went away: a halt must still find us later
            with self._counting:
                self._waiting -= 1
                last = self._waiting == 0
            if last:
                self._start_thread()
            self._answer(connection)
            with self._counting:
                if self._waiting >= WAITING:
                    return
                self._waiting += 1

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            # The kernel's own limits: one of Python's takes a call more for each wait, and each may lose the interpreter.
            for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, limit, struct.pack("ll", SLOW_S, 0))
            connection.sendall(orjson.dumps(self._reply(_read_line(connection))) + b"\n")

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = orjson.loads(line)
            command, reason = request["cmd"], str(request.get("reason", ""))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return refusal("one JSON line with a cmd is expected")
        match command:
            case "halt":
                return self._operator.halt(reason)
            case "resume":
                return self._operator.resume()
            case "cancel_all":
                return self._operator.cancel_all(reason)
            case "status":
                return self._operator.status()
        return refusal(f"unknown cmd {command!r}: halt, resume, cancel_all or status")


def refusal(error: str, state: str = "") -> dict[str, Any]:
    return {"ok": False, "state": state, "flat_verified": False, "open_orders": None, "error": error}


def ask(path: Path, command: str, reason: str = "", timeout_s: float = CLIENT_TIMEOUT_S) -> dict[str, Any] | None:
    """A running bot's answer, or None when none came in time. Raises BotError for an answer that cannot be read."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _short_name(path) as name:
            connection.settimeout(timeout_s)
            connection.connect(name)
            connection.sendall(orjson.dumps({"cmd": command, "reason": reason}) + b"\n")
            line = _read_line(connection)
    except OSError:
        return None
    if not line:
        return None
    try:
        answer: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BotError(f"{path}: the bot's answer cannot be read: {error}") from None
    return answer


def _read_line(connection: socket.socket) -> bytes:
    received = b""
    while b"\n" not in received and len(received) < LINE_MAX:
        part = connection.recv(4096)
        if not part:
            break
        received += part
    return received.partition(b"\n")[0]


@contextlib.contextmanager
def _short_name(path: Path) -> Any:
    """A name for the socket under the 108 bytes a Unix address holds, whatever the depth of the run directory."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
