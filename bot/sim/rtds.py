"""The older settlement stream (RTDS): prices of the reference exchange, of the source, and the source's means, by topic.

Its quirks are kept: filters are JSON in a text without spaces (a space: silence), one unknown topic spoils the whole
request, the source's snapshot carries the wrong topic, and a PING is not answered. Knows no order book.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import msgspec
import orjson
from aiohttp import web

from bot.sim.prices import BinanceQuote, BinanceTrade, SourcePrice, Twap
from bot.sim.sockets import StreamClient
from bot.sim.venue import Venue, wall_ms

SNAPSHOT_S = 60
REFERENCE, SOURCE = "crypto_prices", "crypto_prices_chainlink"
MEANS = {"crypto_prices_twap_thirty": 30, "crypto_prices_twap_sixty": 60}
TOPICS = {REFERENCE, SOURCE, *MEANS}
TYPES = {"update", "*"}
E18 = 18


class Wish(msgspec.Struct, frozen=True):
    """A topic and the symbol asked for ("" for all; None for a filter that matches nothing)."""

    topic: str
    symbol: str | None = ""

    def covers(self, topic: str, symbol: str) -> bool:
        return self.topic == topic and self.symbol in ("", symbol)


class RtdsClient(StreamClient):
    """A connection and its wishes."""

    stream = "rtds"

    def __init__(self) -> None:
        super().__init__()
        self.wishes: set[Wish] = set()
        self.connection_id = uuid.uuid4().hex[:12]

    def publish(self, topic: str, payload: dict[str, Any], kind: str = "update") -> None:
        frame = {"topic": topic, "type": kind, "timestamp": wall_ms(), "connection_id": self.connection_id}
        self.send(orjson.dumps({**frame, "payload": payload}))


class Rtds:
    """All connections, and what they may hear about."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._clients: set[RtdsClient] = set()
        self._offered: set[tuple[str, str]] = set()  # (topic, symbol)
        self._told_s: dict[str, int] = {}  # last second whose price of the reference was told

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        client = RtdsClient()
        self._clients.add(client)
        try:
            return await client.run(request, lambda text: self._heard(client, text))
        finally:
            self._clients.discard(client)

    def offer(self, asset: str, window_s: int) -> None:
        """The world publishes this asset with this window."""
        self._offered |= {(REFERENCE, asset + "usdt"), (SOURCE, asset + "/usd")}
        self._offered |= {(topic, asset + "/usd") for topic, seconds in MEANS.items() if seconds == window_s}

    def _heard(self, client: RtdsClient, text: str) -> None:
        """Whatever cannot be read is passed over in silence."""
        try:
            message = orjson.loads(text)
            wishes = [_wish(row) for row in message["subscriptions"]]
            action = message["action"]
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        if action == "unsubscribe":
            client.wishes.difference_update(wishes)
        elif action == "subscribe":
            client.wishes.update(wishes)
            for wish in wishes:
                for topic, symbol in sorted(self._offered):
                    if wish.covers(topic, symbol):
                        self._snapshot(client, topic, symbol)

    def _snapshot(self, client: RtdsClient, topic: str, symbol: str) -> None:
        data = [{"timestamp": ms, "value": value} for ms, value in self._history(topic, symbol)]
        shown = REFERENCE if topic == SOURCE else topic
        client.publish(shown, {"symbol": symbol, "data": data}, kind="subscribe")

    def _history(self, topic: str, symbol: str) -> list[tuple[int, float]]:
        world = self._venue.world
        assert world is not None
        if topic == REFERENCE:
            return [(row[0], row[4]) for row in world.klines(symbol.upper(), "1s", limit=SNAPSHOT_S)]
        asset = symbol.removesuffix("/usd")
        if topic == SOURCE:
            return world.source_history(asset, SNAPSHOT_S)
        return world.settlement_history(asset, MEANS[topic], SNAPSHOT_S)

    # -- what happened ----------------------------------------------------------------------------------------------

    def hear(self, event: BinanceQuote | BinanceTrade | SourcePrice | Twap) -> None:
        match event:
            case BinanceQuote():
                self._hear_quote(event)
            case SourcePrice():
                self._tell(SOURCE, event.asset + "/usd", event.ts_ms, event.value, _e18(event.value))
            case Twap():
                topic = next((topic for topic, seconds in MEANS.items() if seconds == event.window_s), None)
                if topic is not None:
                    about = {"window_s": event.window_s}
                    self._tell(topic, event.asset + "/usd", event.ts_ms, event.value, _e18(event.value), about)
            case _:
                pass

    def _hear_quote(self, event: BinanceQuote) -> None:
        """The first of each second."""
        second = event.ts_ms // 1000
        if self._told_s.get(event.symbol) != second:
            self._told_s[event.symbol] = second
            mid = Decimal(event.bid_e8 + event.ask_e8).scaleb(-8) / 2
            self._tell(REFERENCE, event.symbol.lower(), event.ts_ms, float(mid), f"{mid.normalize():f}")

    def _tell(
        self, topic: str, symbol: str, ts_ms: int, value: float, full: str, about: dict[str, Any] | None = None
    ) -> None:
        payload = {"symbol": symbol, "timestamp": ts_ms, "value": value, "full_accuracy_value": full, **(about or {})}
        for client in self._clients:
            if any(wish.covers(topic, symbol) for wish in client.wishes):
                client.publish(topic, payload)


def _e18(value: float) -> str:
    return str(int(Decimal(repr(value)).scaleb(E18)))


def _wish(row: Any) -> Wish:
    """A subscription. Raises ValueError and its like for one that spoils its request."""
    if row["topic"] not in TOPICS or row["type"] not in TYPES:
        raise ValueError(f"unknown topic {row['topic']} or type {row['type']}")
    filters = row.get("filters") or ""
    if not filters:
        return Wish(row["topic"])
    if " " in filters:
        return Wish(row["topic"], None)
    return Wish(row["topic"], str(orjson.loads(filters)["symbol"]))
