"""The settlement stream: channels price.crypto.twap and price.crypto, with keys, snapshots and sequence numbers.

Every subscription of a request is answered by itself, with the request's rid and its channel, then come the last two
minutes, then each value as the world publishes it. Knows no order book.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import orjson
from aiohttp import web

from bot.sim.prices import SourcePrice, Twap
from bot.sim.sockets import FrameLimit, StreamClient
from bot.sim.venue import Venue, wall_ms

SNAPSHOT_S = 120
PING_S = 25.0
SUBSCRIPTIONS_MAX = 64
FRAMES_PER_S = 20
AUTH, SLOW, DRAIN, POLICY = 4001, 4002, 4003, 4008  # close codes
TWAP, SPOT = "price.crypto.twap", "price.crypto"


class Topic(msgspec.Struct, frozen=True):
    """One thing to hear: a channel, an asset ("" for all), and for TWAPs a window (0 for all)."""

    channel: str
    asset: str
    window_s: int = 0

    def covers(self, other: Topic) -> bool:
        return (
            self.channel == other.channel and self.asset in ("", other.asset) and self.window_s in (0, other.window_s)
        )


class LiveClient(StreamClient):
    """A connection: whether it proved a key, what it hears, and the next number of each channel."""

    stream = "settle"

    def __init__(self) -> None:
        super().__init__(ping_every_s=PING_S, slow_code=SLOW)
        self.known = False
        self.topics: set[Topic] = set()
        self.limit = FrameLimit(FRAMES_PER_S)
        self._sequences: dict[str, int] = {}

    def publish(self, channel: str, payload: dict[str, Any], snapshot: bool = False) -> None:
        self._sequences[channel] = self._sequences.get(channel, 0) + 1
        frame: dict[str, Any] = {"v": 1, "channel": channel, "seq": self._sequences[channel], "ts": wall_ms()}
        if snapshot:
            frame["snapshot"] = True
        self.send(orjson.dumps({**frame, "payload": payload}))

    def refuse(self, rid: Any, code: str, text: str, channel: Any = None) -> None:
        """An error belongs to a request, or to one of its subscriptions."""
        frame = {"op": "error", "rid": rid, "code": code, "message": text}
        self.send(orjson.dumps(frame if channel is None else {**frame, "channel": str(channel)}))


class LiveStream:
    """All settlement connections, and the topics the world feeds."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._clients: set[LiveClient] = set()
        self._sources: set[Topic] = set()

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        client = LiveClient()
        self._clients.add(client)
        try:
            return await client.run(request, lambda text: self._heard(client, text))
        finally:
            self._clients.discard(client)

    def _heard(self, client: LiveClient, text: str) -> None:
        if client.limit.exceeded(time.monotonic()):
            client.close(POLICY, "too many frames")
            return
        if text == "PING":
            client.send("PONG")
            return
        try:
            message = orjson.loads(text)
            op, rid = message["op"], message.get("rid")
        except (ValueError, TypeError, KeyError, AttributeError):
            client.close(POLICY, "invalid frame")
            return
        if op == "auth":
            client.known = self._venue.accounts.stream_caller(message.get("auth")) is not None
            if client.known:
                client.send(orjson.dumps({"op": "authed", "rid": rid}))
            else:
                client.refuse(rid, "auth_invalid", "invalid credentials")
                client.close(AUTH, "invalid credentials")
        elif not client.known:
            client.refuse(rid, "auth_required", "authenticate first")
            client.close(AUTH, "authenticate first")
        elif op == "ping":
            client.send(orjson.dumps({"op": "pong", "rid": rid}))
        elif op in ("subscribe", "unsubscribe") and isinstance(message.get("subscriptions"), list):
            for row in message["subscriptions"]:
                self._change(client, op, rid, row)
        else:
            client.refuse(rid, "bad_op", f"unknown op {op}")

    def _change(self, client: LiveClient, op: str, rid: Any, row: Any) -> None:
        """One subscription of a request: acknowledged or refused by itself."""
        channel = row.get("channel") if isinstance(row, dict) else None
        if channel not in (TWAP, SPOT):
            client.refuse(rid, "bad_channel", f"unknown channel {channel}", channel)
            return
        try:
            topic = _topic(channel, row.get("filter"))
        except (ValueError, TypeError, AttributeError):
            client.refuse(rid, "bad_filter", "invalid filter", channel)
            return
        if op == "unsubscribe":
            client.topics.discard(topic)
            client.send(orjson.dumps({"op": "unsubscribed", "rid": rid, "channel": channel}))
            return
        if len(client.topics | {topic}) > SUBSCRIPTIONS_MAX:
            client.refuse(rid, "sub_limit", f"at most {SUBSCRIPTIONS_MAX} subscriptions", channel)
            return
        client.send(orjson.dumps({"op": "subscribed", "rid": rid, "channel": channel}))
        client.topics.add(topic)
        for source in sorted(self._sources, key=str):
            if topic.covers(source):
                self._snapshot(client, source)

    def drain(self) -> None:
        """Send everybody elsewhere, as before a restart of the stream's servers."""
        for client in self._clients:
            client.close(DRAIN, "draining")

    def _snapshot(self, client: LiveClient, source: Topic) -> None:
        rows = self._history(source)
        data = [{"timestamp": ms, "value": value, "full_accuracy_value": repr(value)} for ms, value in rows]
        client.publish(source.channel, {**_about(source), "data": data}, snapshot=True)

    def _history(self, source: Topic) -> list[tuple[int, float]]:
        assert self._venue.world is not None
        if source.channel == SPOT:
            return self._venue.world.source_history(source.asset, SNAPSHOT_S)
        return self._venue.world.settlement_history(source.asset, source.window_s, SNAPSHOT_S)

    def offer(self, asset: str, window_s: int) -> None:
        """The world publishes this asset with this window."""
        self._sources |= {Topic(TWAP, asset, window_s), Topic(SPOT, asset)}

    def hear(self, event: SourcePrice | Twap) -> None:
        source = Topic(TWAP, event.asset, event.window_s) if isinstance(event, Twap) else Topic(SPOT, event.asset)
        value = {"value": event.value, "full_accuracy_value": repr(event.value), "timestamp": event.ts_ms}
        payload = {**_about(source), **value}
        for client in self._clients:
            if any(topic.covers(source) for topic in client.topics):
                client.publish(source.channel, payload)


def _about(source: Topic) -> dict[str, Any]:
    about: dict[str, Any] = {"symbol": source.asset + "usd", "source": "chainlink"}
    if source.channel == TWAP:
        about["window_seconds"] = source.window_s
    return about


def _topic(channel: str, wanted: Any) -> Topic:
    """A subscription; its filter is an object or JSON in a string. Raises ValueError and its like."""
    wanted = orjson.loads(wanted) if isinstance(wanted, str) else wanted or {}
    asset = str(wanted.get("symbol", "")).lower().replace("/", "").removesuffix("usd")
    return Topic(channel, asset, int(wanted.get("window_seconds", 0)) if channel == TWAP else 0)
