"""The venue's market WebSocket: who listens to which tokens, and the frames they get.

Level changes of one flush leave as one price_change frame per market, both tokens in it; a flush with trades leaves as
last_trade_price and fresh books instead. Frames are built once, and only when somebody listens. Decides nothing about orders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from bot.sim import records as rec
from bot.sim.recordings import Recorded, mirrored, other_token
from bot.sim.render import Books
from bot.sim.sockets import Batch, PingedClient
from bot.sim.venue import Venue
from bot.units import px_text, qty_text

ASSETS_MAX = 500
INVALID = "invalid subscription payload"
INVALID_OPERATION = "INVALID OPERATION"  # a text frame, no JSON


class MarketClient(PingedClient):
    """A market connection and what it subscribed to."""

    stream = "market"

    def __init__(self, silence_s: float) -> None:
        super().__init__(silence_s)
        self.assets: set[str] = set()
        self.custom = False


class MarketStream:
    """All market connections. `changed` and friends collect, `flush` sends."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._books: Books = venue.books
        self._clients: set[MarketClient] = set()
        self._levels: dict[str, dict[tuple[str, int], int]] = {}  # market: (side, px) in Up terms: total
        self._prints: dict[str, list[rec.Printed]] = {}
        self._others: list[dict[str, Any]] = []
        self._best: dict[str, tuple[str, str]] = {}  # last best_bid_ask sent, by token

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        client = MarketClient(self._venue.quirks.silence_s)
        self._clients.add(client)
        try:
            return await client.run(request, lambda text: self._heard(client, text))
        finally:
            self._clients.discard(client)

    def _heard(self, client: MarketClient, text: str) -> None:
        if client.pinged(text):
            return
        try:
            message = orjson.loads(text)
            assets = [str(asset) for asset in message.get("assets_ids") or []]
        except (ValueError, AttributeError, TypeError):
            client.close(1008, INVALID)
            return
        if client.subscribed and "operation" not in message:
            client.send(INVALID_OPERATION)
            return
        operation = message.get("operation", "subscribe")
        if operation == "unsubscribe":
            client.assets.difference_update(assets)
            return
        if operation != "subscribe" or not (client.subscribed or str(message.get("type", "")).lower() == "market"):
            client.close(1008, INVALID)
            return
        self.flush()  # what is pending must not arrive after a snapshot that holds it already
        client.custom = bool(message.get("custom_feature_enabled", client.custom))
        client.subscribed = True
        room = max(ASSETS_MAX - len(client.assets), 0)  # whatever is beyond it is heard, too, but gets no snapshot
        added = [asset for asset in dict.fromkeys(assets) if asset not in client.assets]
        client.assets.update(added)
        if message.get("initial_dump", True):
            books = [self._books.event(asset) for asset in added[:room] if self._venue.tradable(asset)]
            if books:
                client.send(orjson.dumps(books))

    # -- what happened ----------------------------------------------------------------------------------------------

    def hear(self, event: rec.Event) -> None:
        match event:
            case rec.BookChanged(condition_id=cid):
                self._levels.setdefault(cid, {})[str(event.side), event.px] = event.qty
            case rec.Printed(condition_id=cid):
                self._prints.setdefault(cid, []).append(event)
            case rec.TickChanged():
                self._tick_changed(event)
            case rec.Listed(condition_id=cid):
                self._listed(self._venue.exchange.markets[cid], event.ts_ms)
            case rec.Resolved(condition_id=cid):
                self._resolved(self._venue.exchange.markets[cid], event.ts_ms)
            case _:
                pass

    def _tick_changed(self, event: rec.TickChanged) -> None:
        market = self._venue.exchange.markets[event.condition_id]
        for token in (market.up_token, market.down_token):
            self._others.append(
                {
                    "event_type": "tick_size_change",
                    "asset_id": token,
                    "market": event.condition_id,
                    "old_tick_size": px_text(event.old),
                    "new_tick_size": px_text(event.new),
                    "timestamp": str(event.ts_ms),
                }
            )

    def _listed(self, market: rec.SimMarket, now_ms: int) -> None:
        tokens = [market.up_token, market.down_token]
        number = str(self._venue.number_of(market.condition_id))
        event = {
            "event_type": "new_market",
            "id": number,
            "question": market.question,
            "market": market.condition_id,
            "condition_id": market.condition_id,
            "slug": market.slug,
            "description": market.description,
            "assets_ids": tokens,
            "clob_token_ids": tokens,
            "outcomes": ["Up", "Down"],
            "event_message": {
                "id": number,
                "ticker": market.slug,
                "slug": market.slug,
                "title": market.question,
                "description": market.description,
            },
            "tags": ["crypto"],
            "active": True,
            "order_price_min_tick_size": px_text(market.tick),
            "taker_base_fee": "1000",
            "fees_enabled": True,
            "timestamp": str(now_ms),
        }
        self._send(orjson.dumps(event), (client for client in self._clients if client.custom))

    def _resolved(self, market: rec.SimMarket, now_ms: int) -> None:
        """Told after the last flush of the market; a connection with nothing left to hear is closed."""
        self.flush()
        tokens = [market.up_token, market.down_token]
        event = {
            "event_type": "market_resolved",
            "id": str(self._venue.number_of(market.condition_id)),
            "market": market.condition_id,
            "assets_ids": tokens,
            "winning_asset_id": tokens[0] if market.outcome == "up" else tokens[1],
            "winning_outcome": "Up" if market.outcome == "up" else "Down",
            "tags": ["crypto"],
            "timestamp": str(now_ms),
        }
        listeners = self._listeners(tokens)
        self._send(orjson.dumps(event), (client for client in listeners if client.custom))
        for client in listeners:
            client.assets.difference_update(tokens)
            if not any(self._venue.tradable(asset) for asset in client.assets):
                client.close(1000, "all subscribed assets resolved")
        for token in tokens:
            self._best.pop(token, None)

    # -- frames -------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        if not (self._levels or self._prints or self._others):
            return
        levels, self._levels = self._levels, {}
        prints, self._prints = self._prints, {}
        others, self._others = self._others, []
        for condition_id in {**levels, **prints}:
            market = self._venue.exchange.markets.get(condition_id)
            if market is None:
                continue
            listeners = self._listeners([market.up_token, market.down_token])
            if not listeners:
                continue
            if condition_id in prints:
                self._send_trades(market, prints[condition_id], listeners)
            else:
                self._send(orjson.dumps(self._price_change(market, levels[condition_id])), listeners)
            self._send_best(market, listeners)
        for event in others:
            self._send(orjson.dumps(event), self._listeners([event["asset_id"]]))

    def _price_change(self, market: rec.SimMarket, levels: dict[tuple[str, int], int]) -> dict[str, Any]:
        up, down = market.up_token, market.down_token
        up_hash, down_hash = self._books.summary(up)["hash"], self._books.summary(down)["hash"]
        up_best, down_best = self._books.best_texts(up), self._books.best_texts(down)
        changes = []
        for (side, px), total in levels.items():
            size = qty_text(total)
            for token, at, on, digest, best in (
                (up, px, side, up_hash, up_best),
                (down, 10_000 - px, "SELL" if side == "BUY" else "BUY", down_hash, down_best),
            ):
                changes.append(
                    {
                        "asset_id": token,
                        "price": px_text(at),
                        "size": size,
                        "side": on,
                        "hash": digest,
                        "best_bid": best[0],
                        "best_ask": best[1],
                    }
                )
        return {
            "event_type": "price_change",
            "market": market.condition_id,
            "timestamp": str(self._books.stamp(market.condition_id)),
            "price_changes": changes,
        }

    def _send_trades(self, market: rec.SimMarket, prints: list[rec.Printed], listeners: list[MarketClient]) -> None:
        for event in prints:
            frame = {
                "event_type": "last_trade_price",
                "asset_id": event.token,
                "market": market.condition_id,
                "price": px_text(event.px),
                "size": qty_text(event.qty),
                "side": str(event.side),
                "fee_rate_bps": "0",
                "timestamp": str(event.ts_ms),
                "transaction_hash": "0x" + hashlib.sha256(repr(event).encode()).hexdigest(),
            }
            self._send(orjson.dumps(frame), (client for client in listeners if event.token in client.assets))
        for token in (market.up_token, market.down_token):
            hearing = [client for client in listeners if token in client.assets]
            if hearing:
                bare = self._venue.quirks.bare_books
                self._send(orjson.dumps(self._books.bare_event(token) if bare else self._books.event(token)), hearing)

    def _send_best(self, market: rec.SimMarket, listeners: list[MarketClient]) -> None:
        custom = [client for client in listeners if client.custom]
        if not custom:
            return
        for token in (market.up_token, market.down_token):
            bid, ask = self._books.best_texts(token)
            if self._best.get(token) == (bid, ask):
                continue
            self._best[token] = (bid, ask)
            event = {
                "event_type": "best_bid_ask",
                "asset_id": token,
                "market": market.condition_id,
                "best_bid": bid,
                "best_ask": ask,
                "spread": self._books.spread_text(token),
                "timestamp": str(self._books.stamp(market.condition_id)),
            }
            self._send(orjson.dumps(event), (client for client in custom if token in client.assets))

    # -- a recording -------------------------------------------------------------------------------------------------

    @property
    def listened(self) -> bool:
        return any(client.assets for client in self._clients)

    @property
    def behind(self) -> int:
        return max((client.queued for client in self._clients), default=0)

    def retell(self, one: Recorded) -> bool:
        """A recorded event about a token, and (a book) its mirror about the market's other one."""
        token = one.event["asset_id"]
        events = {token: one.event}
        if one.event["event_type"] == "book":
            other = other_token(token)
            events[other] = mirrored(one.event, other)
        told = False
        for asset, event in events.items():
            listeners = self._listeners([asset])
            if listeners:
                self._send(orjson.dumps(event), listeners)
                told = True
        return told

    def cut(self) -> None:
        """Cut every connection without a word."""
        for client in self._clients:
            client.abort()

    def heard(self) -> list[rec.SimMarket]:
        """Open markets that somebody listens to."""
        by_token = self._venue.exchange.by_token
        tokens = {token for client in self._clients for token in client.assets}
        markets = {by_token[token].condition_id: by_token[token] for token in sorted(tokens) if token in by_token}
        return [market for market in markets.values() if not (market.closed or market.outcome)]

    def broadcast(self, market: rec.SimMarket, batch: Batch) -> None:
        """Frames about one market, made elsewhere."""
        for client in self._listeners([market.up_token, market.down_token]):
            client.send_batch(batch)

    def broadcast_books(self, events: dict[str, bytes]) -> None:
        """`book` events by token, each a frame to whoever follows it, as after a trade."""
        for token, event in events.items():
            batch = Batch([event])
            for client in self._listeners([token]):
                client.send_batch(batch)

    def _listeners(self, tokens: list[str]) -> list[MarketClient]:
        return [client for client in self._clients if not client.assets.isdisjoint(tokens)]

    def _send(self, frame: bytes, clients: Iterable[MarketClient]) -> None:
        text = frame.decode()
        for client in clients:
            client.send(text)
