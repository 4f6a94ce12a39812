"""The reference exchange's spot market: its streams and the REST calls around them.

Follows bookTicker (no event time), trade, aggTrade, depth in both speeds, and klines. Knows nothing of the CLOB.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from bot.sim import binance_frames as frames
from bot.sim.binance_depth import DepthFeed
from bot.sim.binance_intervals import INTERVALS, ends, opened, shift_of
from bot.sim.binance_rest import (
    BAD_INTERVAL,
    BAD_SYMBOL,
    ILLEGAL,
    MANDATORY,
    Meter,
    Wrong,
    depth_weight,
    instant_ms,
    symbol_of,
    unit_of,
    whole,
)
from bot.sim.binance_streams import Rules, Streams
from bot.sim.prices import PRICE_STEP_E8, BinanceQuote, BinanceTrade
from bot.sim.recordings import Recorded
from bot.sim.venue import Venue, wall_ms

RULES = Rules(ping_s=20.0, pong_s=60.0, frames_per_s=5)
SLOW_KLINES_S = 2
KLINES_MAX, DEPTH_MAX = 1000, 5000
LOOK_MS = 100
SPEEDS_MS = {1000: "", 100: "@100ms"}  # of depth streams, with what their names end in
PARTIAL = (5, 10, 20)


class BinanceApi:
    """Streams and REST under one prefix."""

    def __init__(self, venue: Venue, symbols: Iterable[str]) -> None:
        self._venue = venue
        self._streams = Streams(venue, RULES)
        self._meter = Meter(venue.quirks.reference_weight_max)
        self._quotes: dict[str, BinanceQuote] = {}
        self._depth = {symbol: DepthFeed(_step_e8(symbol), SPEEDS_MS) for symbol in symbols}
        self._symbols = set(self._depth)
        self.live = True  # whether its streams tell the world; a recording is told in its place
        self._kline_s = 0  # last whole second whose candles were sent
        self._looked_ms = 0

    def routes(self, prefix: str) -> list[web.RouteDef]:
        metered = self._meter.metered
        return [
            web.get(prefix + "/stream", self.combined),
            web.get(prefix + "/ws", self.raw),
            web.get(prefix + "/ws/{streams:.+}", self.raw),
            web.get(prefix + "/api/v3/ping", metered(self.ping, 1)),
            web.get(prefix + "/api/v3/time", metered(self.time, 1)),
            web.get(prefix + "/api/v3/klines", metered(self.klines, 2)),
            web.get(prefix + "/api/v3/depth", metered(self.depth, depth_weight)),
            web.get(prefix + "/api/v3/exchangeInfo", metered(self.exchange_info, 20)),
            web.get(prefix + "/api/v3/ticker/price", metered(self.price, _ticker_weight)),
            web.get(prefix + "/api/v3/ticker/bookTicker", metered(self.book_ticker, _ticker_weight)),
        ]

    # -- streams --------------------------------------------------------------------------------------------------------

    async def combined(self, request: web.Request) -> web.WebSocketResponse:
        return await self._streams.connect(request, request.query.get("streams", ""), True, "")

    async def raw(self, request: web.Request) -> web.WebSocketResponse:
        return await self._streams.connect(request, request.match_info.get("streams", ""), False, "")

    def hear(self, event: BinanceQuote | BinanceTrade) -> None:
        name = event.symbol.lower()
        if isinstance(event, BinanceQuote):
            self._quotes[event.symbol] = event
        if not self.live:
            return
        if isinstance(event, BinanceQuote):
            self._streams.send(f"{name}@bookTicker", lambda _: frames.quote(event))
        else:
            self._streams.send(f"{name}@trade", lambda unit: frames.trade(event, wall_ms(), unit))
            self._streams.send(f"{name}@aggTrade", lambda unit: frames.agg_trade(event, wall_ms(), unit))

    def tick(self, now_ms: int) -> None:
        """What comes by the clock: depth ten times a second, and each second candles."""
        if not self.live:
            return
        if now_ms // LOOK_MS != self._looked_ms:
            self._looked_ms = now_ms // LOOK_MS
            wanted = self._streams.wanted
            for symbol, feed in self._depth.items():
                if any(name.startswith(f"{symbol.lower()}@depth") for name in wanted):
                    self._send_depth(symbol, feed, now_ms)
                else:
                    feed.forget()
        if now_ms // 1000 > self._kline_s:
            self._kline_s = now_ms // 1000
            self._streams.retire()
            self._send_klines(now_ms)

    # -- a recording in its place -----------------------------------------------------------------------------------

    @property
    def listened(self) -> bool:
        return bool(self._streams.wanted)

    @property
    def behind(self) -> int:
        return self._streams.behind

    def retell(self, one: Recorded) -> bool:
        """A trade is told twice, as a match and as all the matches of its taker at that price."""
        told = self._streams.send(one.stream, lambda _: one.event)
        if one.event.get("e") == "trade":
            matches = frames.recorded_agg_trade(one.event)
            told |= self._streams.send(one.stream.replace("@trade", "@aggTrade"), lambda _: matches)
        return told

    def _send_depth(self, symbol: str, feed: DepthFeed, now_ms: int) -> None:
        if symbol not in self._quotes:
            return
        feed.look(self._quotes[symbol], now_ms)
        for one in feed.pending:
            change = one.due(now_ms)
            if change is None:
                continue
            name, ending = symbol.lower(), SPEEDS_MS[one.every_ms]
            self._streams.send(
                f"{name}@depth{ending}",
                lambda unit, change=change: frames.depth_update(symbol, change, wall_ms(), unit),  # type: ignore[misc]
            )
            for limit in PARTIAL:
                rows = feed.book.top(limit)
                self._streams.send(
                    f"{name}@depth{limit}{ending}",
                    lambda _, rows=rows: frames.snapshot(feed.book.last_id, *rows),  # type: ignore[misc]
                )

    def _send_klines(self, now_ms: int) -> None:
        """Each second the 1 s candle that ended, every other second the current longer ones."""
        second = now_ms // 1000
        for stream in [name for name in self._streams.wanted if "@kline_" in name]:
            symbol, _, interval = stream.partition("@kline_")
            if interval == "1s":
                self._kline(stream, symbol.upper(), interval, (second - 1) * 1000, now_ms)
            elif interval in INTERVALS and second % SLOW_KLINES_S == 0:
                self._kline(stream, symbol.upper(), interval, opened(interval, (second - 1) * 1000), now_ms)

    def _kline(self, stream: str, symbol: str, interval: str, open_ms: int, now_ms: int) -> None:
        assert self._venue.world is not None
        if symbol not in self._symbols:
            return
        rows = self._venue.world.klines(symbol, interval, open_ms, open_ms, 1)
        if rows:
            end_ms = ends(interval, open_ms)
            self._streams.send(stream, lambda unit: frames.kline(symbol, interval, end_ms, rows[0], now_ms, unit))

    # -- REST -----------------------------------------------------------------------------------------------------------

    async def ping(self, request: web.Request) -> Any:
        return {}

    async def time(self, request: web.Request) -> Any:
        return {"serverTime": wall_ms() * unit_of(request)}

    async def klines(self, request: web.Request) -> Any:
        symbol, interval = symbol_of(request, self._symbols), request.query.get("interval", "")
        if not interval:
            raise Wrong(MANDATORY, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if interval not in INTERVALS:
            raise Wrong(BAD_INTERVAL, "Invalid interval.")
        limit = min(max(whole(request, "limit", 500), 1), KLINES_MAX)
        start_ms, end_ms, shift_ms = (
            instant_ms(request, "startTime"),
            instant_ms(request, "endTime"),
            _shift_ms(request),
        )
        assert self._venue.world is not None
        rows = self._venue.world.klines(symbol, interval, start_ms, end_ms, limit, shift_ms)
        unit = unit_of(request)
        return [frames.kline_row(row, ends(interval, row[0], shift_ms), unit) for row in rows]

    async def depth(self, request: web.Request) -> Any:
        symbol = symbol_of(request, self._symbols)
        limit = min(max(whole(request, "limit", 100), 1), DEPTH_MAX)
        quote = self._quote(symbol)
        feed = self._depth[symbol]
        feed.look(quote, wall_ms())
        return frames.snapshot(feed.book.last_id, *feed.book.top(limit))

    def _quote(self, symbol: str) -> BinanceQuote:
        """Raises Wrong."""
        if symbol not in self._quotes:
            raise Wrong(BAD_SYMBOL, "Invalid symbol.")
        return self._quotes[symbol]

    def _asked(self, request: web.Request) -> list[BinanceQuote] | BinanceQuote:
        if "symbol" not in request.query:
            return list(self._quotes.values())
        return self._quote(symbol_of(request, self._symbols))

    async def book_ticker(self, request: web.Request) -> Any:
        asked = self._asked(request)
        return [frames.ticker(quote) for quote in asked] if isinstance(asked, list) else frames.ticker(asked)

    async def price(self, request: web.Request) -> Any:
        asked = self._asked(request)
        rows = [
            {"symbol": quote.symbol, "price": frames.e8_text(quote.bid_e8)}
            for quote in (asked if isinstance(asked, list) else [asked])
        ]
        return rows if isinstance(asked, list) else rows[0]

    async def exchange_info(self, request: web.Request) -> Any:
        wanted = {symbol_of(request, self._symbols)} if "symbol" in request.query else self._symbols
        return {
            "timezone": "UTC",
            "serverTime": wall_ms() * unit_of(request),
            "rateLimits": [
                _limit("REQUEST_WEIGHT", "MINUTE", 1, self._venue.quirks.reference_weight_max),
                _limit("RAW_REQUESTS", "MINUTE", 5, 61_000),
            ],
            "exchangeFilters": [],
            "symbols": [_about(symbol) for symbol in sorted(wanted)],
        }


def _shift_ms(request: web.Request) -> int:
    """Raises Wrong."""
    try:
        return shift_of(request.query.get("timeZone", "0"))
    except ValueError:
        raise Wrong(
            ILLEGAL, "Illegal characters found in parameter 'timeZone'; legal range is '-12:00 to +14:00'."
        ) from None


def _limit(kind: str, interval: str, count: int, most: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": most}


def _about(symbol: str) -> dict[str, Any]:
    step = frames.e8_text(_step_e8(symbol))
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol.removesuffix("USDT"),
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": step, "maxPrice": "1000000.00000000", "tickSize": step},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
    }


def _step_e8(symbol: str) -> int:
    return PRICE_STEP_E8.get(symbol.lower().removesuffix("usdt"), 1)  # the world refuses what it does not know


def _ticker_weight(request: web.Request) -> int:
    return 2 if "symbol" in request.query else 4
