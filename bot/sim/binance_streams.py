"""Connections to the reference exchange's streams: raw and combined, live SUBSCRIBE, limits, and the end after a day.

Knows no price: whoever publishes hands over a stream's name and how to build its frame.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from aiohttp import web

from bot.sim.sockets import FrameLimit, StreamClient
from bot.sim.venue import Venue

CONNECTIONS_MAX, CONNECTIONS_WINDOW_S = 300, 300.0


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Of one exchange of the two."""

    ping_s: float
    pong_s: float
    frames_per_s: int
    streams_max: int = 1024


class BinanceClient(StreamClient):
    """A connection: its streams, and whether frames carry the stream's name. `group` is the path it came by."""

    stream = "binance"

    def __init__(self, rules: Rules, combined: bool, microseconds: bool, group: str) -> None:
        super().__init__(ping_every_s=rules.ping_s, pong_within_s=rules.pong_s)
        self.combined = combined
        self.microseconds = microseconds
        self.group = group
        self.streams: set[str] = set()
        self.born = time.monotonic()
        self._limit = FrameLimit(rules.frames_per_s)

    def control(self) -> None:
        self.counted()

    def counted(self) -> bool:
        """Whether this frame, a ping or a pong too, is within what a client may send in a second; else it is the last one."""
        if not self._limit.exceeded(time.monotonic()):
            return True
        self.close(1008, "Too many requests")
        return False


class Streams:
    """All connections of one exchange."""

    def __init__(self, venue: Venue, rules: Rules) -> None:
        self._venue = venue
        self._rules = rules
        self._clients: set[BinanceClient] = set()
        self._attempts: deque[float] = deque(maxlen=CONNECTIONS_MAX)

    @property
    def wanted(self) -> set[str]:
        """Every stream that somebody listens to."""
        return {name for client in self._clients for name in client.streams}

    @property
    def behind(self) -> int:
        """Frames that wait for the slowest client."""
        return max((client.queued for client in self._clients), default=0)

    async def connect(self, request: web.Request, streams: str, combined: bool, group: str) -> web.WebSocketResponse:
        now = time.monotonic()
        if len(self._attempts) == CONNECTIONS_MAX and now - self._attempts[0] < CONNECTIONS_WINDOW_S:
            raise web.HTTPTooManyRequests(text="")
        self._attempts.append(now)
        unit = request.query.get("timeUnit", request.query.get("timeunit", ""))
        client = BinanceClient(self._rules, combined, unit.upper() == "MICROSECOND", group)
        client.streams.update(name for name in streams.split("/") if name)
        if len(client.streams) > self._rules.streams_max:
            raise web.HTTPBadRequest
        self._clients.add(client)
        try:
            return await client.run(request, lambda text: self._heard(client, text))
        finally:
            self._clients.discard(client)

    def retire(self) -> None:
        """Close whoever has been here for a day."""
        oldest = time.monotonic() - self._venue.quirks.reference_life_s
        for client in self._clients:
            if client.born < oldest:
                client.close(1001, "")

    def send(self, stream: str, build: Callable[[int], dict[str, Any]], group: str = "") -> bool:
        """Build at most once for each of the four shapes a client may want. False: nobody wanted it."""
        frames: dict[tuple[bool, bool], str] = {}
        for client in self._clients:
            if stream not in client.streams or client.group != group:
                continue
            shape = (client.combined, client.microseconds)
            if shape not in frames:
                data = build(1000 if client.microseconds else 1)
                frames[shape] = orjson.dumps({"stream": stream, "data": data} if client.combined else data).decode()
            client.send(frames[shape])
        return bool(frames)

    # -- commands -------------------------------------------------------------------------------------------------------

    def _heard(self, client: BinanceClient, text: str) -> None:
        if not client.counted():
            return
        try:
            message = orjson.loads(text)
        except ValueError as error:
            client.send(orjson.dumps({"code": 3, "msg": f"Invalid JSON: {error}"}))
            return
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            client.send(orjson.dumps({"code": 2, "msg": "Invalid request: missing field `method`"}))
            return
        rid = message.get("id")
        if not (rid is None or isinstance(rid, int) or (isinstance(rid, str) and rid.isalnum() and len(rid) <= 36)):
            client.send(orjson.dumps({"code": 2, "msg": "Invalid request: invalid `id`"}))
            return
        client.send(orjson.dumps({**self._command(client, message["method"], message.get("params")), "id": rid}))

    def _command(self, client: BinanceClient, method: str, params: Any) -> dict[str, Any]:
        match method, params:
            case "SUBSCRIBE", [*names] if all(isinstance(name, str) for name in names):
                if len(client.streams.union(names)) > self._rules.streams_max:
                    return {"code": 2, "msg": "Invalid request: too many streams"}
                client.streams.update(names)
                return {"result": None}
            case "UNSUBSCRIBE", [*names] if all(isinstance(name, str) for name in names):
                client.streams.difference_update(names)
                return {"result": None}
            case "LIST_SUBSCRIPTIONS", _:
                return {"result": sorted(client.streams)}
            case "SET_PROPERTY", ["combined", bool(value)]:
                client.combined = value
                return {"result": None}
            case "GET_PROPERTY", ["combined"]:
                return {"result": client.combined}
            case "SET_PROPERTY", ["combined", _]:
                return {"code": 1, "msg": "Invalid value type: expected Boolean"}
            case "SET_PROPERTY" | "GET_PROPERTY", [str(name), *_]:
                return {"code": 0, "msg": f"Unknown property: {name}"}
            case "SUBSCRIBE" | "UNSUBSCRIBE" | "SET_PROPERTY" | "GET_PROPERTY", _:
                return {"code": 2, "msg": f"Invalid request: invalid params of {method}"}
        return {"code": 2, "msg": f"Invalid request: unknown variant {method}"}
