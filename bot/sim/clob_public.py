"""CLOB routes that need no key: time, books, prices, market records. Reads the exchange and changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from bot.sim import records as rec
from bot.sim.http import Refusal, answer, page, wanted
from bot.sim.render import REWARDS_MAX_SPREAD_PX, REWARDS_MIN_QTY, Books, iso, market_row, plain
from bot.sim.venue import Venue, wall_ms
from bot.units import PX_ONE, px_text, shares

BOOKS_MAX = 500
NO_BOOK = "No orderbook exists for the requested token id"
SCALE = 10_000
Shown: TypeAlias = Callable[[rec.SimMarket], dict[str, Any]]


class PublicRoutes:
    """Handlers of the public part of the CLOB."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._books: Books = venue.books

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.ok),
            web.get("/ok", self.ok),
            web.get("/time", self.time),
            web.get("/version", self.version),
            web.get("/book", self.book),
            web.post("/books", self.books),
            web.get("/midpoint", self.midpoint),
            web.get("/price", self.price),
            web.get("/spread", self.spread),
            web.get("/last-trade-price", self.last_trade_price),
            web.get("/tick-size", self.tick_size),
            web.get("/neg-risk", self.neg_risk),
            web.get("/fee-rate", self.fee_rate),
            web.post("/midpoints", self.midpoints),
            web.post("/prices", self.prices),
            web.post("/spreads", self.spreads),
            web.post("/last-trades-prices", self.last_trades_prices),
            web.get("/markets", self.listing(self._long)),
            web.get("/sampling-markets", self.listing(self._long)),
            web.get("/simplified-markets", self.listing(self._simplified)),
            web.get("/sampling-simplified-markets", self.listing(self._simplified)),
            web.get("/markets/{condition_id}", self.market),
            web.get("/clob-markets/{condition_id}", self.clob_market),
            web.get("/markets-by-token/{token}", self.market_by_token),
            web.get("/api/geoblock", self.geoblock),
        ]

    async def ok(self, request: web.Request) -> web.Response:
        return answer("OK")

    async def time(self, request: web.Request) -> web.Response:
        return answer(round(wall_ms() // 1000 + self._venue.skew_s))

    async def version(self, request: web.Request) -> web.Response:
        """The CLOB's default generation; ExchangeV3 is a property of single markets."""
        return answer({"version": 1 if self._venue.protocol == 1 else 2})

    async def geoblock(self, request: web.Request) -> web.Response:
        return answer({"blocked": False, "ip": "127.0.0.1", "country": "XX", "region": ""})

    def _token(self, request: web.Request) -> str:
        token = wanted(request, "token_id")
        if not token.isdecimal():
            raise Refusal("Invalid token id")
        if not self._venue.tradable(token):
            raise Refusal(NO_BOOK, 404)
        return token

    async def book(self, request: web.Request) -> web.Response:
        return answer(self._books.summary(self._token(request)))

    async def _asked(self, request: web.Request) -> list[dict[str, Any]]:
        """Rows of a request about many tokens, without those that have no book. Raises Refusal."""
        try:
            rows = [{**row, "token_id": str(row["token_id"])} for row in orjson.loads(await request.read())]
        except (ValueError, TypeError, KeyError):
            raise Refusal("Invalid payload") from None
        if len(rows) > BOOKS_MAX:
            raise Refusal("Payload exceeds the limit")
        return [row for row in rows if self._venue.tradable(row["token_id"])]

    async def _asked_tokens(self, request: web.Request) -> list[str]:
        """In an order that has nothing to do with the request's."""
        return sorted({row["token_id"] for row in await self._asked(request)})

    async def books(self, request: web.Request) -> web.Response:
        return answer([self._books.summary(token) for token in await self._asked_tokens(request)])

    async def midpoints(self, request: web.Request) -> web.Response:
        return answer({token: self._midpoint(token) for token in await self._asked_tokens(request)})

    async def spreads(self, request: web.Request) -> web.Response:
        return answer({token: self._books.spread_text(token) for token in await self._asked_tokens(request)})

    async def last_trades_prices(self, request: web.Request) -> web.Response:
        last = {token: self._books.last_trade(token) for token in await self._asked_tokens(request)}
        return answer([{"token_id": token, "price": price, "side": side} for token, (price, side) in last.items()])

    async def prices(self, request: web.Request) -> web.Response:
        found: dict[str, dict[str, str]] = {}
        for row in await self._asked(request):
            side = str(row.get("side", "")).upper()
            found.setdefault(row["token_id"], {})[side] = self._price(row["token_id"], side)
        return answer(found)

    def _best(self, token: str) -> tuple[int, int]:
        bid, ask = self._books.best(token)
        return (0 if bid is None else bid, PX_ONE if ask is None else ask)

    def _midpoint(self, token: str) -> str:
        return f"{sum(self._best(token)) / 2 / PX_ONE:.5f}".rstrip("0")

    async def midpoint(self, request: web.Request) -> web.Response:
        text = self._midpoint(self._token(request))
        return answer({"mid": text, "mid_price": text})

    def _price(self, token: str, side: str) -> str:
        """BUY is the best bid and SELL the best ask, as measured live. Raises Refusal."""
        bid, ask = self._best(token)
        if side not in ("BUY", "SELL"):
            raise Refusal("Invalid side")
        return px_text(bid if side == "BUY" else ask)

    async def price(self, request: web.Request) -> web.Response:
        return answer({"price": self._price(self._token(request), wanted(request, "side").upper())})

    async def spread(self, request: web.Request) -> web.Response:
        return answer({"spread": self._books.spread_text(self._token(request))})

    async def last_trade_price(self, request: web.Request) -> web.Response:
        price, side = self._books.last_trade(self._token(request))
        return answer({"price": price, "side": side})

    def _by_token(self, token: str) -> rec.SimMarket:
        return self._known(self._venue.exchange.by_token.get(token))

    def _known(self, market: rec.SimMarket | None) -> rec.SimMarket:
        if market is None or not self._venue.ready(market):
            raise Refusal("market not found", 404)
        return market

    async def tick_size(self, request: web.Request) -> web.Response:
        return answer({"minimum_tick_size": self._by_token(wanted(request, "token_id")).tick / SCALE})

    async def neg_risk(self, request: web.Request) -> web.Response:
        self._by_token(wanted(request, "token_id"))
        return answer({"neg_risk": False})

    async def fee_rate(self, request: web.Request) -> web.Response:
        market = self._by_token(wanted(request, "token_id"))
        return answer({"base_fee": 1000 if market.fee_rate else 0})

    def _by_condition(self, request: web.Request) -> rec.SimMarket:
        return self._known(self._venue.exchange.markets.get(request.match_info["condition_id"]))

    def listing(self, shown: Shown) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A handler that pages through every market in one of its forms."""

        async def handler(request: web.Request) -> web.Response:
            rows = [shown(market) for market in self._venue.exchange.markets.values()]
            return answer(page(rows, request.query.get("next_cursor", ""), self._venue.quirks.page_size))

        return handler

    async def market(self, request: web.Request) -> web.Response:
        return answer(self._long(self._by_condition(request)))

    def _simplified(self, market: rec.SimMarket) -> dict[str, Any]:
        names = ("condition_id", "rewards", "tokens", "active", "closed", "archived", "accepting_orders")
        row = self._long(market)
        return {name: row[name] for name in names}

    def _long(self, market: rec.SimMarket) -> dict[str, Any]:
        return market_row(market, self._books)

    async def clob_market(self, request: web.Request) -> web.Response:
        market = self._by_condition(request)
        return answer(
            {
                "c": market.condition_id,
                "t": [{"t": market.up_token, "o": "Up"}, {"t": market.down_token, "o": "Down"}],
                "mos": plain(shares(market.min_qty)),
                "mts": market.tick / SCALE,
                "mbf": 1000,
                "tbf": 1000,
                "ao": market.accepting,
                "aot": iso(market.listed_ms),
                "gst": None,
                "ibce": False,
                "cbos": False,
                "rfqe": False,
                "itode": market.taker_delay_ms > 0,
                "sd": 0,
                "oas": 0,
                "fd": {"r": market.fee_rate, "e": 1, "to": True},
                "r": {"mi": plain(shares(REWARDS_MIN_QTY)), "ma": REWARDS_MAX_SPREAD_PX / 100, "e": True, "moas": 0},
                "v": "v2" if market.version == 3 else "v1",
            }
        )

    async def market_by_token(self, request: web.Request) -> web.Response:
        """Which of the two comes first says nothing: of every other market it is Down."""
        market = self._by_token(request.match_info["token"])
        pair = [market.up_token, market.down_token][:: -1 if market.number % 2 else 1]
        return answer({"condition_id": market.condition_id, "primary_token_id": pair[0], "secondary_token_id": pair[1]})
