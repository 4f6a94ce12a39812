"""The settlement stream: channels price.crypto.twap and price.crypto, with keys, snapshots and sequence numbers.

A subscription answers with the last two minutes, then each value as the world publishes it. Knows no order book.
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
AUTH, SLOW, POLICY = 4001, 4002, 4008  # close codes
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
                client.close(AUTH, "invalid credentials")
        elif not client.known:
            client.close(AUTH, "authenticate first")
        elif op in ("subscribe", "unsubscribe"):
            self._change(client, op, rid, message.get("subscriptions"))
        else:
            client.send(orjson.dumps({"op": "error", "rid": rid, "error": f"unknown op {op}"}))

    def _change(self, client: LiveClient, op: str, rid: Any, subscriptions: Any) -> None:
        try:
            topics = [_topic(row) for row in subscriptions]
        except (ValueError, TypeError, KeyError, AttributeError):
            client.send(orjson.dumps({"op": "error", "rid": rid, "error": "invalid subscriptions"}))
            return
        if op == "unsubscribe":
            client.topics.difference_update(topics)
            client.send(orjson.dumps({"op": "unsubscribed", "rid": rid}))
            return
        if len(client.topics.union(topics)) > SUBSCRIPTIONS_MAX:
            client.close(POLICY, "too many subscriptions")
            return
        client.send(orjson.dumps({"op": "subscribed", "rid": rid}))
        for topic in topics:
            client.topics.add(topic)
            for source in sorted(self._sources, key=str):
                if topic.covers(source):
                    self._snapshot(client, source)

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


def _topic(row: Any) -> Topic:
    """A subscription; its filter is an object or JSON in a string. Raises ValueError and its like."""
    if row["channel"] not in (TWAP, SPOT):
        raise ValueError(f"unknown channel {row['channel']}")
    wanted = row.get("filter") or {}
    wanted = orjson.loads(wanted) if isinstance(wanted, str) else wanted
    asset = str(wanted.get("symbol", "")).lower().replace("/", "").removesuffix("usd")
    return Topic(row["channel"], asset, int(wanted.get("window_seconds", 0)) if row["channel"] == TWAP else 0)
