"""The public streams on the hub: the venue's books, and the reference exchange's best quotes.

As much as the bot's own feeds read: snapshots at a subscription, changes gathered for a while, grids and resolutions;
quotes a few times a second.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import orjson

from bot.messages import Side
from bot.sim import frame_faults as frames
from bot.sim import records as rec
from bot.sim.chaos.hub import Hub
from bot.sim.chaos.net import Link, Net
from bot.sim.chaos.streams import RESET, Stream, Turns, each, texts
from bot.sim.chaos.venue import Venue
from bot.sim.faults import Fault
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, Ns, px_text, qty_text

FLUSH_NS: Ns = 250 * NS_PER_MS
QUOTE_NS: Ns = 400 * NS_PER_MS
STORM_PARTS = 20
START_PRICE = 100_000.0


class MarketStream(Stream):
    """Books of the tokens that a connection asked for."""

    name = "market"

    def __init__(self, hub: Hub, venue: Venue, net: Net) -> None:
        super().__init__(hub, venue, net)
        self._levels: dict[str, dict[tuple[Side, int], int]] = {}  # changed since the last flush, by market
        self._tokens: dict[Link, set[str]] = {}
        venue.listeners.append(self.hear)
        venue.faults.on_start("W11", self._cut_for_books)
        venue.faults.on_start("U14", self._storm)
        hub.later(FLUSH_NS, self._turn)

    def heard(self, link: Link, text: str) -> None:
        """A subscription, whose books come at once, or its end."""
        if not text.startswith("{"):
            return
        message = orjson.loads(text)
        asked = set(message["assets_ids"])
        known = self._tokens.setdefault(link, set())
        if message.get("operation") == "unsubscribe":
            known -= asked
            return
        known |= asked
        self._flush()
        by_token = self.venue.exchange.by_token
        books = [self._book(token) for token in sorted(asked) if token in by_token and not by_token[token].outcome]
        if not books:
            return
        fault = self.venue.hit("W11", "market book", "delta")
        if fault is not None:
            self.hub.later(int(fault["delay_s"] * NS_PER_S), partial(self.put, orjson.dumps(books), link))
        else:
            self.send([orjson.dumps(books).decode()], "market book", link)

    def _cut_for_books(self, fault: Fault) -> None:
        if fault.kind == "delta":
            self.cut(RESET)

    def _storm(self, fault: Fault) -> None:
        """The same books again and again, within a second."""
        if fault.kind != "deltas":
            return
        for part in range(STORM_PARTS):
            self.hub.later(part * NS_PER_S // STORM_PARTS, self._repeat)

    def _repeat(self) -> None:
        for condition_id, market in self.venue.exchange.markets.items():
            if market.accepting:
                levels = self._levels.setdefault(condition_id, {})
                for side, rows in zip((Side.BUY, Side.SELL), self.venue.exchange.book(market.up_token), strict=True):
                    levels |= {(side, px): qty for px, qty in rows}
        self._flush()

    def hear(self, event: rec.Event) -> None:
        match event:
            case rec.BookChanged(condition_id=cid):
                self._levels.setdefault(cid, {})[event.side, event.px] = event.qty
            case rec.TickChanged(condition_id=cid):
                market = self.venue.exchange.markets[cid]
                for token in (market.up_token, market.down_token):
                    body = {
                        "event_type": "tick_size_change",
                        "asset_id": token,
                        "market": cid,
                        "old_tick_size": px_text(event.old),
                        "new_tick_size": px_text(event.new),
                        "timestamp": str(event.ts_ms),
                    }
                    self.send([orjson.dumps(body).decode()], f"market tick_size_change {token}")
            case rec.Resolved(condition_id=cid):
                market = self.venue.exchange.markets[cid]
                resolved = {
                    "event_type": "market_resolved",
                    "market": cid,
                    "assets_ids": [market.up_token, market.down_token],
                    "winning_asset_id": market.up_token if event.outcome == "up" else market.down_token,
                    "winning_outcome": event.outcome.title(),
                    "timestamp": str(event.ts_ms),
                }
                self.send([orjson.dumps(resolved).decode()], "market market_resolved")
            case _:
                pass

    def _turn(self) -> None:
        self.hub.later(FLUSH_NS, self._turn)
        self._flush_levels()

    def _flush_levels(self) -> None:
        levels, self._levels = self._levels, {}
        if not self.links:
            return
        for condition_id, changed in levels.items():
            text = orjson.dumps(self._changes(condition_id, changed))
            if not self.busy:
                self.put(text)
                continue
            items = [text.decode()]
            if self.venue.hit("W11", "market price_change", "crossed") is not None:
                items = each(items, frames.crossed)
            self.send(items, f"market price_change {self.venue.exchange.markets[condition_id].up_token}")

    def _flush(self) -> None:
        super()._flush()
        self._flush_levels()

    def _changes(self, condition_id: str, changed: dict[tuple[Side, int], int]) -> dict[str, Any]:
        market = self.venue.exchange.markets[condition_id]
        bid, ask = self.venue.exchange.best(condition_id)
        ask = ask or PX_ONE
        rows = []
        for (side, px), qty in changed.items():
            buys, size = side is Side.BUY, qty_text(qty)
            rows.append(_row(market.up_token, px, size, buys, bid, ask))
            rows.append(_row(market.down_token, PX_ONE - px, size, not buys, PX_ONE - ask, PX_ONE - bid))
        return {
            "market": condition_id,
            "price_changes": rows,
            "timestamp": str(self.venue.now_ms),
            "event_type": "price_change",
        }

    def _book(self, token: str) -> dict[str, Any]:
        market = self.venue.exchange.by_token[token]
        bids, asks = self.venue.exchange.book(token)
        return {
            "event_type": "book",
            "market": market.condition_id,
            "asset_id": token,
            "bids": [{"price": px_text(px), "size": qty_text(qty)} for px, qty in bids],
            "asks": [{"price": px_text(px), "size": qty_text(qty)} for px, qty in asks],
            "tick_size": px_text(market.tick),
            "timestamp": str(self.venue.now_ms),
            "hash": "",
        }


def _row(token: str, px: int, size: str, buys: bool, bid: int, ask: int) -> dict[str, Any]:
    return {
        "asset_id": token,
        "price": px_text(px),
        "size": size,
        "side": "BUY" if buys else "SELL",
        "hash": "",
        "best_bid": px_text(bid),
        "best_ask": px_text(ask),
    }


class ReferenceStream(Stream):
    """The best bid and offer of one symbol."""

    name = "binance"
    shaped = False

    def __init__(self, hub: Hub, venue: Venue, net: Net, random: Random) -> None:
        super().__init__(hub, venue, net)
        self._random = random
        self._price = START_PRICE
        self._update = 0
        self._turns = Turns()
        faults = venue.faults
        faults.on("B01", lambda _: self.cut("closed by the venue: 1001"))
        faults.on("B02", self._shutdown)
        faults.on("B04", self._pong_missed)
        hub.later(QUOTE_NS, self._turn)

    def _turn(self) -> None:
        self.hub.later(QUOTE_NS, self._turn)
        self._price *= 1 + self._random.gauss(0, 3e-5)
        self._update += 1
        if not self.links:
            return
        bid, ask = f"{self._price:.2f}", f"{self._price + 0.01:.2f}"
        text = f'{{"stream":"btcusdt@bookTicker","data":{{"u":{self._update},"s":"BTCUSDT","b":"{bid}","B":"1","a":"{ask}","A":"1"}}}}'
        if not self.busy:
            self.put(text.encode())
            return
        items = [text]
        if self.venue.hit("B06", "binance bookTicker BTCUSDT") is not None:
            items = texts(frames.nonsense(text, self._turns.next("B06")))
        self.send(items, "binance bookTicker BTCUSDT")

    def _shutdown(self, fault: Fault) -> int:
        links = list(self.links)
        self.put(b'{"e":"serverShutdown","E":%d}' % self.venue.now_ms)
        for link in links:
            self.hub.later(int(fault["grace_s"] * NS_PER_S), partial(link.cut, "closed by the venue: 1001"))
        return len(links)

    def _pong_missed(self, fault: Fault) -> int:
        links = list(self.links)
        for link in links:
            self.hub.later(int(fault["within_s"] * NS_PER_S), partial(link.cut, RESET))
        return len(links)
