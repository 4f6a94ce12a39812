"""The reference exchange's public data: raw and combined streams, live SUBSCRIBE, and three REST calls.

Follows bookTicker (no event time), trade, aggTrade and kline_1s (1m to 1h every two seconds). Knows nothing of the CLOB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiohttp import web

from bot.sim.http import answer, number
from bot.sim.prices import BinanceQuote, BinanceTrade
from bot.sim.sockets import FrameLimit, StreamClient
from bot.sim.venue import Venue, wall_ms
from bot.units import E8, QTY_ONE, Qty

PING_S = 20.0
FRAMES_PER_S = 5
STREAMS_MAX = 1024
INTERVALS_S = {"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600}
SLOW_KLINES_S = 2
LIMIT_MAX = 1000


def e8_text(value: E8) -> str:
    return f"{value // 10**8}.{value % 10**8:08d}"


def quantity_text(qty: Qty) -> str:
    return f"{qty // QTY_ONE}.{qty % QTY_ONE:06d}00"


class BinanceClient(StreamClient):
    """A connection: its streams, and whether frames carry the stream's name."""

    stream = "binance"

    def __init__(self, combined: bool, microseconds: bool) -> None:
        super().__init__(ping_every_s=PING_S)
        self.combined = combined
        self.microseconds = microseconds
        self.streams: set[str] = set()
        self.limit = FrameLimit(FRAMES_PER_S)


class BinanceApi:
    """Streams and REST under one prefix."""

    def __init__(self, venue: Venue, symbols: Iterable[str]) -> None:
        self._venue = venue
        self._symbols = set(symbols)
        self._clients: set[BinanceClient] = set()
        self._quotes: dict[str, BinanceQuote] = {}
        self._kline_s = 0  # last whole second whose candles were sent

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(prefix + "/stream", self.combined),
            web.get(prefix + "/ws", self.raw),
            web.get(prefix + "/ws/{streams:.+}", self.raw),
            web.get(prefix + "/api/v3/ping", self.ping),
            web.get(prefix + "/api/v3/time", self.time),
            web.get(prefix + "/api/v3/klines", self.klines),
            web.get(prefix + "/api/v3/ticker/bookTicker", self.book_ticker),
        ]

    # -- streams --------------------------------------------------------------------------------------------------------

    async def combined(self, request: web.Request) -> web.WebSocketResponse:
        return await self._connect(request, request.query.get("streams", ""), True)

    async def raw(self, request: web.Request) -> web.WebSocketResponse:
        return await self._connect(request, request.match_info.get("streams", ""), False)

    async def _connect(self, request: web.Request, streams: str, combined: bool) -> web.WebSocketResponse:
        unit = request.query.get("timeUnit", request.query.get("timeunit", ""))
        client = BinanceClient(combined, unit.upper() == "MICROSECOND")
        client.streams.update(name for name in streams.split("/") if name)
        self._clients.add(client)
        try:
            return await client.run(request, lambda text: self._heard(client, text))
        finally:
            self._clients.discard(client)

    def _heard(self, client: BinanceClient, text: str) -> None:
        if client.limit.exceeded(time.monotonic()):
            client.close(1008, "Too many requests")
            return
        try:
            message = orjson.loads(text)
            method, rid = message["method"], message.get("id")
        except (ValueError, TypeError, KeyError, AttributeError):
            client.send(orjson.dumps({"code": 3, "msg": "Invalid JSON: expected a request object"}))
            return
        client.send(orjson.dumps({**self._command(client, method, message.get("params")), "id": rid}))

    def _command(self, client: BinanceClient, method: str, params: Any) -> dict[str, Any]:
        match method, params:
            case "SUBSCRIBE", [*names] if all(isinstance(name, str) for name in names):
                if len(client.streams.union(names)) > STREAMS_MAX:
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
        return {"code": 2, "msg": f"Invalid request: {method}"}

    def hear(self, event: BinanceQuote | BinanceTrade) -> None:
        name = event.symbol.lower()
        if isinstance(event, BinanceQuote):
            self._quotes[event.symbol] = event
            self._send(f"{name}@bookTicker", lambda _: _quote(event))
        else:
            self._send(f"{name}@trade", lambda unit: _trade(event, unit))
            self._send(f"{name}@aggTrade", lambda unit: _agg_trade(event, unit))

    def tick(self, now_ms: int) -> None:
        """Send candles: each second the 1 s candle that ended, every other second the current longer ones."""
        second = now_ms // 1000
        if second <= self._kline_s:
            return
        self._kline_s = second
        wanted = {name for client in self._clients for name in client.streams if "@kline_" in name}
        for stream in wanted:
            symbol, _, interval = stream.partition("@kline_")
            if interval == "1s":
                self._kline(stream, symbol.upper(), interval, (second - 1) * 1000, now_ms)
            elif interval in INTERVALS_S and second % SLOW_KLINES_S == 0:
                length = INTERVALS_S[interval]
                self._kline(stream, symbol.upper(), interval, (second - 1) // length * length * 1000, now_ms)

    def _kline(self, stream: str, symbol: str, interval: str, open_ms: int, now_ms: int) -> None:
        assert self._venue.world is not None
        if symbol not in self._symbols:
            return
        rows = self._venue.world.klines(symbol, interval, open_ms, open_ms, 1)
        if rows:
            self._send(stream, lambda unit: _kline(symbol, interval, rows[0], now_ms, unit))

    def _send(self, stream: str, build: Callable[[int], dict[str, Any]]) -> None:
        """Build at most once for each of the four shapes a client may want."""
        frames: dict[tuple[bool, bool], str] = {}
        for client in self._clients:
            if stream not in client.streams:
                continue
            shape = (client.combined, client.microseconds)
            if shape not in frames:
                data = build(1000 if client.microseconds else 1)
                frames[shape] = orjson.dumps({"stream": stream, "data": data} if client.combined else data).decode()
            client.send(frames[shape])

    # -- REST -----------------------------------------------------------------------------------------------------------

    async def ping(self, request: web.Request) -> web.Response:
        return answer({})

    async def time(self, request: web.Request) -> web.Response:
        return answer({"serverTime": wall_ms()})

    async def klines(self, request: web.Request) -> web.Response:
        symbol, interval = request.query.get("symbol", ""), request.query.get("interval", "")
        if symbol not in self._symbols:
            return answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        if interval not in INTERVALS_S:
            return answer({"code": -1120, "msg": "Invalid interval."}, 400)
        limit = min(max(number(request, "limit", 500), 1), LIMIT_MAX)
        start_ms, end_ms = number(request, "startTime", 0), number(request, "endTime", 0)
        assert self._venue.world is not None
        rows = self._venue.world.klines(symbol, interval, start_ms, end_ms, limit)
        return answer([_kline_row(row, INTERVALS_S[interval]) for row in rows])

    async def book_ticker(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "")
        if not symbol:
            return answer([_ticker(quote) for quote in self._quotes.values()])
        if symbol not in self._quotes:
            return answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        return answer(_ticker(self._quotes[symbol]))


def _quote(event: BinanceQuote) -> dict[str, Any]:
    return {
        "u": event.update_id,
        "s": event.symbol,
        "b": e8_text(event.bid_e8),
        "B": quantity_text(event.bid_qty),
        "a": e8_text(event.ask_e8),
        "A": quantity_text(event.ask_qty),
    }


def _trade(event: BinanceTrade, unit: int) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": wall_ms() * unit,
        "s": event.symbol,
        "t": event.trade_id,
        "p": e8_text(event.px_e8),
        "q": quantity_text(event.qty),
        "T": event.ts_ms * unit,
        "m": event.buyer_is_maker,
        "M": True,
    }


def _agg_trade(event: BinanceTrade, unit: int) -> dict[str, Any]:
    return {
        "e": "aggTrade",
        "E": wall_ms() * unit,
        "s": event.symbol,
        "a": event.trade_id,
        "p": e8_text(event.px_e8),
        "q": quantity_text(event.qty),
        "f": event.trade_id,
        "l": event.trade_id,
        "T": event.ts_ms * unit,
        "m": event.buyer_is_maker,
        "M": True,
    }


def _price(value: float) -> str:
    return f"{value:.8f}"


def _kline(
    symbol: str, interval: str, row: tuple[int, float, float, float, float], now_ms: int, unit: int
) -> dict[str, Any]:
    open_ms, opened, high, low, close = row
    close_ms = open_ms + INTERVALS_S[interval] * 1000 - 1
    end = close_ms if unit == 1 else (close_ms + 1) * unit - 1
    body = {"t": open_ms * unit, "T": end, "s": symbol, "i": interval, "f": 1, "L": 1}
    prices = {"o": _price(opened), "c": _price(close), "h": _price(high), "l": _price(low)}
    volumes = {"v": "1.0", "n": 1, "x": now_ms > close_ms, "q": _price(close), "V": "0.5", "Q": "0.5", "B": "0"}
    return {"e": "kline", "E": wall_ms() * unit, "s": symbol, "k": {**body, **prices, **volumes}}


def _kline_row(row: tuple[int, float, float, float, float], interval_s: int) -> list[Any]:
    open_ms, *prices = row
    texts: Iterable[str] = (_price(price) for price in prices)
    return [open_ms, *texts, "1.0", open_ms + interval_s * 1000 - 1, _price(row[4]), 1, "0.5", _price(row[4] / 2), "0"]


def _ticker(quote: BinanceQuote) -> dict[str, str]:
    return {
        "symbol": quote.symbol,
        "bidPrice": e8_text(quote.bid_e8),
        "bidQty": quantity_text(quote.bid_qty),
        "askPrice": e8_text(quote.ask_e8),
        "askQty": quantity_text(quote.ask_qty),
    }
