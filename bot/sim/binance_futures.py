"""The reference exchange's perpetual futures: two paths of streams, each silent about the other's, and a few REST calls.

The perpetual follows the spot price at a premium, on a coarser grid, with numbers of its own. Knows nothing of the CLOB.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from bot.sim import binance_frames as frames
from bot.sim.binance_depth import DepthFeed, Pending
from bot.sim.binance_intervals import INTERVALS, ends, opened
from bot.sim.binance_rest import BAD_INTERVAL, Meter, Wrong, depth_weight, instant_ms, symbol_of, whole
from bot.sim.binance_streams import Rules, Streams
from bot.sim.prices import PRICE_STEP_E8, BinanceQuote, BinanceTrade
from bot.sim.venue import Venue, wall_ms
from bot.units import E8

RULES = Rules(ping_s=180.0, pong_s=600.0, frames_per_s=10, streams_max=200)
PUBLIC, MARKET, RETIRED = "public", "market", "retired"
PREMIUM_PPM = 400  # over spot; use its returns, never its level
STEPS_PER_TICK = 10  # of spot
LOOK_MS = 50
SPEEDS_MS = {250: "", 500: "@500ms", 100: "@100ms"}
PARTIAL = (5, 10, 20)
FUNDING_MS = 8 * 3_600_000


class FuturesApi:
    """Streams and REST under one prefix."""

    def __init__(self, venue: Venue, symbols: Iterable[str]) -> None:
        self._venue = venue
        self._streams = Streams(venue, RULES)
        self._meter = Meter(venue.quirks.reference_weight_max)
        self._ids = itertools.count(9_900_000_001)
        self._quotes: dict[str, BinanceQuote] = {}
        self._depth = {symbol: DepthFeed(_step_e8(symbol), SPEEDS_MS) for symbol in symbols}
        self._symbols = set(self._depth)
        self._second = 0
        self._looked_ms = 0

    def routes(self, prefix: str) -> list[web.RouteDef]:
        metered = self._meter.metered
        streams = [
            route
            for group, path in ((PUBLIC, "/public"), (MARKET, "/market"), (RETIRED, ""))
            for route in (
                web.get(f"{prefix}{path}/stream", self._combined(group)),
                web.get(f"{prefix}{path}/ws", self._raw(group)),
                web.get(f"{prefix}{path}/ws/{{streams:.+}}", self._raw(group)),
            )
        ]
        return [
            *streams,
            web.get(prefix + "/fapi/v1/ping", metered(self.ping, 1)),
            web.get(prefix + "/fapi/v1/time", metered(self.time, 1)),
            web.get(prefix + "/fapi/v1/klines", metered(self.klines, 2)),
            web.get(prefix + "/fapi/v1/depth", metered(self.depth, depth_weight)),
        ]

    def _combined(self, group: str) -> Any:
        async def handler(request: web.Request) -> web.WebSocketResponse:
            return await self._streams.connect(request, request.query.get("streams", ""), True, group)

        return handler

    def _raw(self, group: str) -> Any:
        async def handler(request: web.Request) -> web.WebSocketResponse:
            return await self._streams.connect(request, request.match_info.get("streams", ""), False, group)

        return handler

    # -- streams --------------------------------------------------------------------------------------------------------

    def hear(self, event: BinanceQuote | BinanceTrade) -> None:
        name, step = event.symbol.lower(), _step_e8(event.symbol)
        if isinstance(event, BinanceQuote):
            bid_e8 = _perpetual(event.bid_e8, step)
            quote = BinanceQuote(
                symbol=event.symbol,
                bid_e8=bid_e8,
                ask_e8=bid_e8 + step,
                bid_qty=event.bid_qty,
                ask_qty=event.ask_qty,
                update_id=next(self._ids),
                ts_ms=event.ts_ms,
            )
            self._quotes[event.symbol] = quote
            self._streams.send(f"{name}@bookTicker", lambda _: frames.futures_quote(quote, wall_ms()), PUBLIC)
        else:
            trade = BinanceTrade(
                symbol=event.symbol,
                px_e8=_perpetual(event.px_e8, step) + (0 if event.buyer_is_maker else step),
                qty=event.qty,
                buyer_is_maker=event.buyer_is_maker,
                trade_id=event.trade_id,
                ts_ms=event.ts_ms,
            )
            self._streams.send(f"{name}@aggTrade", lambda _: frames.futures_trade(trade, wall_ms()), MARKET)

    def tick(self, now_ms: int) -> None:
        """What comes by the clock: depth, and each second mark prices and candles."""
        if now_ms // LOOK_MS != self._looked_ms:
            self._looked_ms = now_ms // LOOK_MS
            wanted = self._streams.wanted
            for symbol, feed in self._depth.items():
                if symbol in self._quotes and any(name.startswith(f"{symbol.lower()}@depth") for name in wanted):
                    feed.look(self._quotes[symbol], now_ms)
                    for one in feed.pending:
                        self._send_depth(symbol, feed, one, now_ms)
                else:
                    feed.forget()
        if now_ms // 1000 > self._second:
            self._second = now_ms // 1000
            self._streams.retire()
            for quote in self._quotes.values():
                self._send_mark(quote, now_ms)
            for stream in [name for name in self._streams.wanted if "@kline_" in name]:
                self._send_kline(stream, now_ms)

    def _send_depth(self, symbol: str, feed: DepthFeed, one: Pending, now_ms: int) -> None:
        change = one.due(now_ms)
        if change is None:
            return
        name, ending = symbol.lower(), SPEEDS_MS[one.every_ms]
        before_id, one.before_id = one.before_id, change.last_id
        frame = frames.futures_depth(symbol, change, now_ms, before_id)
        self._streams.send(f"{name}@depth{ending}", lambda _: frame, PUBLIC)
        for limit in PARTIAL:
            bids, asks = feed.book.top(limit)
            top = {**frame, "b": frames.levels(bids), "a": frames.levels(asks)}
            self._streams.send(f"{name}@depth{limit}{ending}", lambda _, top=top: top, PUBLIC)  # type: ignore[misc]

    def _send_mark(self, quote: BinanceQuote, now_ms: int) -> None:
        text = frames.e8_text((quote.bid_e8 + quote.ask_e8) // 2)
        frame = {
            "e": "markPriceUpdate",
            "E": now_ms,
            "s": quote.symbol,
            "p": text,
            "i": frames.e8_text(quote.bid_e8 * 1_000_000 // (1_000_000 + PREMIUM_PPM)),
            "P": text,
            "r": "0.00010000",
            "T": now_ms // FUNDING_MS * FUNDING_MS + FUNDING_MS,
        }
        name = quote.symbol.lower()
        self._streams.send(f"{name}@markPrice@1s", lambda _: frame, MARKET)
        if now_ms // 1000 % 3 == 0:
            self._streams.send(f"{name}@markPrice", lambda _: frame, MARKET)

    def _send_kline(self, stream: str, now_ms: int) -> None:
        symbol, _, interval = stream.partition("@kline_")
        symbol = symbol.upper()
        if symbol not in self._symbols or interval not in INTERVALS or interval == "1s":
            return
        assert self._venue.world is not None
        open_ms = opened(interval, now_ms)
        rows = self._venue.world.klines(symbol, interval, open_ms, open_ms, 1)
        if rows:
            row, end_ms = _dearer(rows[0]), ends(interval, open_ms)
            self._streams.send(stream, lambda _: frames.kline(symbol, interval, end_ms, row, now_ms, 1), MARKET)

    # -- REST -----------------------------------------------------------------------------------------------------------

    async def ping(self, request: web.Request) -> Any:
        return {}

    async def time(self, request: web.Request) -> Any:
        return {"serverTime": wall_ms()}

    async def klines(self, request: web.Request) -> Any:
        symbol, interval = symbol_of(request, self._symbols), request.query.get("interval", "")
        if interval not in INTERVALS or interval == "1s":
            raise Wrong(BAD_INTERVAL, "Invalid interval.")
        limit = min(max(whole(request, "limit", 500), 1), 1500)
        start_ms, end_ms = instant_ms(request, "startTime"), instant_ms(request, "endTime")
        assert self._venue.world is not None
        rows = self._venue.world.klines(symbol, interval, start_ms, end_ms, limit)
        return [frames.kline_row(_dearer(row), ends(interval, row[0])) for row in rows]

    async def depth(self, request: web.Request) -> Any:
        symbol, now_ms = symbol_of(request, self._symbols), wall_ms()
        limit = min(max(whole(request, "limit", 500), 1), 1000)
        feed = self._depth[symbol]
        if symbol in self._quotes:
            feed.look(self._quotes[symbol], now_ms)
        return {**frames.snapshot(feed.book.last_id, *feed.book.top(limit)), "E": now_ms, "T": now_ms}


def _step_e8(symbol: str) -> E8:
    return PRICE_STEP_E8.get(symbol.lower().removesuffix("usdt"), 1) * STEPS_PER_TICK


def _perpetual(px_e8: E8, step_e8: E8) -> E8:
    return px_e8 * (1_000_000 + PREMIUM_PPM) // 1_000_000 // step_e8 * step_e8


def _dearer(row: tuple[int, float, float, float, float]) -> tuple[int, float, float, float, float]:
    factor = 1 + PREMIUM_PPM / 1e6
    open_ms, opened, high, low, close = row
    return open_ms, opened * factor, high * factor, low * factor, close * factor
