"""Two stock WebSocket clients behind one face, to see what a fault puts on the wire."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import websocket
import websockets.exceptions
import websockets.sync.client

WAIT_S = 5.0
FRAMES_MAX = 5_000


class Ended(Exception):
    """The connection is over. `code` is that of the close frame, or 1006 when there was none."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Stock:
    """What both clients do, in our words."""

    name = ""

    def send(self, message: Any) -> None:
        self.write(message if isinstance(message, str) else json.dumps(message))

    def write(self, text: str) -> None:
        raise NotImplementedError

    def text(self, wait_s: float = WAIT_S) -> str:
        """The next message. Raises Ended, TimeoutError, or UnicodeDecodeError."""
        raise NotImplementedError

    def fragments(self) -> Iterator[bytes]:
        """The next message as it arrives, piece by piece; without an end where it has none."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def event(self, test: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next event that passes; arrays are taken apart."""
        for _ in range(FRAMES_MAX):
            for event in self.events():
                if test(event):
                    return event
        raise AssertionError("the awaited event did not come")

    def events(self) -> list[dict[str, Any]]:
        with contextlib.suppress(ValueError):
            body = json.loads(self.text())
            return [row for row in (body if isinstance(body, list) else [body]) if isinstance(row, dict)]
        return []

    def until(self, test: Callable[[str], bool]) -> str:
        for _ in range(FRAMES_MAX):
            text = self.text()
            if test(text):
                return text
        raise AssertionError("the awaited text did not come")

    def end(self) -> Ended:
        """How the connection ended."""
        try:
            for _ in range(FRAMES_MAX):
                self.text()
        except Ended as ended:
            return ended
        raise AssertionError("the connection did not end")

    def silent(self, wait_s: float) -> bool:
        """Whether nothing at all comes for so long."""
        try:
            self.text(wait_s)
        except TimeoutError:
            return True
        return False


class WebsocketClient(Stock):
    name = "websocket-client"

    def __init__(self, url: str) -> None:
        self._ws = websocket.create_connection(url, timeout=WAIT_S, skip_utf8_validation=True)  # 13 s for 9 MiB

    def write(self, text: str) -> None:
        self._ws.send(text)

    def text(self, wait_s: float = WAIT_S) -> str:
        self._ws.settimeout(wait_s)
        try:
            opcode, data = self._ws.recv_data()
        except websocket.WebSocketTimeoutException as error:
            raise TimeoutError from error
        except (websocket.WebSocketConnectionClosedException, OSError) as error:
            raise Ended(1006) from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Ended(int.from_bytes(data[:2], "big"), data[2:].decode())
        return str(data.decode())

    def fragments(self) -> Iterator[bytes]:
        while True:
            frame = self._ws.recv_frame()
            yield frame.data
            if frame.fin:
                return

    def close(self) -> None:
        self._ws.shutdown()


class Websockets(Stock):
    name = "websockets"

    def __init__(self, url: str) -> None:
        self._ws = websockets.sync.client.connect(
            url, compression=None, ping_interval=None, close_timeout=0.1, proxy=None, max_queue=None
        )

    def write(self, text: str) -> None:
        self._ws.send(text)

    def text(self, wait_s: float = WAIT_S) -> str:
        try:
            return str(self._ws.recv(timeout=wait_s))
        except websockets.exceptions.ConnectionClosed as error:
            sent = error.sent
            if sent is not None and sent.code == 1007:
                raise UnicodeDecodeError("utf-8", b"", 0, 1, sent.reason) from error
            came = error.rcvd or sent
            raise Ended(came.code if came else 1006, came.reason if came else "") from error

    def fragments(self) -> Iterator[bytes]:
        return self._ws.recv_streaming(decode=False)

    def close(self) -> None:
        self._ws.close()


LIBRARIES: list[type[WebsocketClient] | type[Websockets]] = [WebsocketClient, Websockets]
