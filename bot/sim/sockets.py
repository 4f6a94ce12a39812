"""A streaming client of the embedded venue: its socket, its bounded queue and the task that writes it out.

A client that reads too slowly is cut off, never waited for. Knows nothing of what the frames say.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import ClassVar, Protocol

from aiohttp import WSMsgType, web

from bot.sim.wire import BUFFERED_MAX, Step, raw, ws_frame

QUEUE_MAX = 60_000  # frames; 6 s of the heaviest load
QUEUE_BYTES_MAX = 32_000_000
PING_MAX_S = 120.0  # a CLOB stream without a text PING for longer is hung up


class Tap(Protocol):
    """Stands between the streams and their sockets when something is to go wrong there."""

    @property
    def busy(self) -> bool:
        """Whether it wants to see frames at all."""

    def joined(self, client: StreamClient) -> None: ...

    def left(self, client: StreamClient) -> None: ...

    def leaving(self, client: StreamClient, text: str) -> None:
        """A stream sends a frame: `put` it, something else, or nothing."""

    def heard(self, client: StreamClient, text: str) -> None:
        """A frame of the other side was answered."""


TAP: web.AppKey[Tap] = web.AppKey("tap")


class Batch:
    """Text frames made once for many clients, as payloads and as the bytes of the wire."""

    __slots__ = ("payloads", "wire")

    def __init__(self, payloads: list[bytes]) -> None:
        self.payloads = payloads
        self.wire = b"".join([ws_frame(payload) for payload in payloads])


class StreamClient:
    """One WebSocket. `send` and `send_batch` never block; frames leave in order. A `mute` one writes nothing at all, not even pongs."""

    stream: ClassVar[str] = ""

    def __init__(
        self, *, ping_every_s: float | None = None, pong_within_s: float = 60.0, slow_code: int = 1008
    ) -> None:
        # Pings are answered and counted here and not by aiohttp, whose own rule drops a link after half a ping interval.
        self.socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=4 << 20)
        self._ping_every_s = ping_every_s
        self._pong_within_s = pong_within_s
        self._slow_code = slow_code
        self._queue: deque[str | Batch | Step] = deque()
        self._queued = 0
        self._queued_bytes = 0
        self._writing = False
        self._ready = asyncio.Event()
        self._request: web.Request | None = None
        self._closing: tuple[int, bytes] | None = None
        self._tap: Tap | None = None
        self.mute = False
        self.pongs_count = True
        self.last_pong = time.monotonic()

    @property
    def closing(self) -> bool:
        return self._closing is not None

    @property
    def queued(self) -> int:
        """Frames that wait to be written."""
        return self._queued

    def send(self, frame: str | bytes) -> None:
        if self._closing is not None:
            return
        text = frame if isinstance(frame, str) else frame.decode()
        if self._tap is not None and self._tap.busy:
            self._tap.leaving(self, text)
        else:
            self.put(text)

    def send_batch(self, batch: Batch) -> None:
        """At once, without a task in between, while nothing waits before it and the client reads."""
        transport = self.transport
        if self._closing is not None or self.mute or transport is None:
            return
        if self._tap is not None and self._tap.busy:
            for payload in batch.payloads:
                self._tap.leaving(self, payload.decode())
        elif self._queue or self._writing or transport.get_write_buffer_size() > BUFFERED_MAX:
            self.put(batch)
        else:
            transport.write(batch.wire)

    def put(self, item: str | Batch | Step) -> None:
        """Queue a text frame, many, or a step that writes on the connection itself."""
        if self._closing is not None or self.mute:
            return
        self._queue.append(item)
        self._count(item, 1)
        if self._queued > QUEUE_MAX or self._queued_bytes > QUEUE_BYTES_MAX:
            self._queue.clear()
            self._queued = self._queued_bytes = 0
            self.abort()
        self._ready.set()

    def _count(self, item: str | Batch | Step, sign: int) -> None:
        if isinstance(item, Batch):
            self._queued += sign * len(item.payloads)
            self._queued_bytes += sign * len(item.wire)
        else:
            self._queued += sign
            self._queued_bytes += sign * len(item) if isinstance(item, str) else 0

    @property
    def transport(self) -> asyncio.Transport | None:
        return None if self._request is None else self._request.transport

    def control(self) -> None:
        """The other side sent a ping or a pong: for streams that count them."""

    async def ping(self) -> None:
        await self.socket.ping(str(int(time.time() * 1000)).encode())

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye after what is queued."""
        if self._closing is None and not self.mute:
            self._closing = (code, reason.encode())
            self._ready.set()

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        self._closing = (self._slow_code, b"")
        if self.transport is not None:
            self.transport.abort()
        self._ready.set()

    async def run(self, request: web.Request, heard: Callable[[str], Awaitable[None] | None]) -> web.WebSocketResponse:
        """Serve the connection until either side ends it; `heard` gets each text frame."""
        self._request = request
        try:
            await self.socket.prepare(request)
        except ConnectionResetError:
            return self.socket  # gone before the handshake was answered
        self._tap = request.app.get(TAP)
        if self._tap is not None:
            self._tap.joined(self)
        tasks = [asyncio.create_task(self._write())]
        if self._ping_every_s is not None:
            tasks.append(asyncio.create_task(self._ping(self._ping_every_s)))
        try:
            async for message in self.socket:
                if message.type == WSMsgType.TEXT:
                    answer = heard(message.data)
                    if answer is not None:
                        await answer
                    if self._tap is not None and self._tap.busy:
                        self._tap.heard(self, message.data)
                elif message.type == WSMsgType.PING:
                    self.control()
                    if not self.mute:
                        await self.socket.pong(message.data)
                elif message.type == WSMsgType.PONG:
                    self.control()
                    if self.pongs_count:
                        self.last_pong = time.monotonic()
        except ConnectionResetError:
            pass  # the other side left; there is nobody to tell
        finally:
            if self._tap is not None:
                self._tap.left(self)
            if self._closing is not None:
                await asyncio.wait(tasks[:1], timeout=1.0)  # its close frame may still be on its way
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.socket

    async def _write(self) -> None:
        queue = self._queue
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                self._writing = True
                while queue:
                    item = queue.popleft()
                    self._count(item, -1)
                    if isinstance(item, str):
                        await self.socket.send_str(item)
                    elif self.transport is not None:
                        await (raw(item.wire) if isinstance(item, Batch) else item)(self.transport)
                self._writing = False
                if self._closing is not None:
                    code, reason = self._closing
                    await self.socket.close(code=code, message=reason)
                    return
        except (ConnectionResetError, RuntimeError):
            return  # closed under our hands; the reading side ends the connection

    async def _ping(self, every_s: float) -> None:
        try:
            while True:
                await asyncio.sleep(every_s)
                if time.monotonic() - self.last_pong > every_s + self._pong_within_s:
                    self.abort()
                    return
                if not self.mute:
                    await self.ping()
        except ConnectionResetError:
            return


class PingedClient(StreamClient):
    """A client of the two CLOB streams: it must subscribe first, and then send the text PING now and then."""

    def __init__(self, silence_s: float = PING_MAX_S) -> None:
        super().__init__()
        self.subscribed = False
        self._silence_s = silence_s
        self._last_ping = time.monotonic()

    def pinged(self, text: str) -> bool:
        """Answer a PING; one that comes before a subscription ends the connection."""
        if text != "PING":
            return False
        self._last_ping = time.monotonic()
        if self.subscribed:
            self.send("PONG")
        else:
            self.close(1008, "invalid subscription payload")
        return True

    async def run(self, request: web.Request, heard: Callable[[str], Awaitable[None] | None]) -> web.WebSocketResponse:
        watchdog = asyncio.create_task(self._watch())
        try:
            return await super().run(request, heard)
        finally:
            watchdog.cancel()

    async def _watch(self) -> None:
        while time.monotonic() - self._last_ping < self._silence_s:
            await asyncio.sleep(min(5.0, self._silence_s / 4))
        self.abort()


class FrameLimit:
    """At most so many frames in any one second."""

    def __init__(self, per_s: int) -> None:
        self._times: deque[float] = deque(maxlen=per_s)

    def exceeded(self, now: float) -> bool:
        """Count a frame at a time in seconds; True when it is one too many."""
        full = len(self._times) == self._times.maxlen and now - self._times[0] < 1.0
        self._times.append(now)
        return full
