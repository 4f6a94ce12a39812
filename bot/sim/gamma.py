"""Market metadata (Gamma), as far as a bot on up/down markets asks for it. Read only, never prices.

Outcomes, prices and CLOB token ids are JSON inside strings; `version` says which ids trade, and some v1 markets carry
position ids without a book, so that nobody chooses by presence. Windows of last February are still called open, and
what a window began and ended at is told late.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from bot.market import Rule
from bot.sim import records as rec
from bot.sim.http import answer, number, refused
from bot.sim.render import REWARDS_MAX_SPREAD_PX, REWARDS_MIN_QTY, Books, iso, plain
from bot.sim.venue import Venue, wall_ms
from bot.units import PX_ONE, shares

EVENT_NUMBERS = 1_000_000  # an event's number is its market's and this
KEYSET_MAX = 100
STALE_SERIES, STALE_LENGTH_MS = "btc-updown-5m", 300_000
STALE_FROM_MS = 1_770_854_400_000  # 2026-02-12, when the first five-minute windows came
Shown: TypeAlias = Callable[[rec.SimMarket], dict[str, Any]]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


class GammaRoutes:
    """Handlers, under one prefix."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._books: Books = venue.books
        self._stale = stale_windows(venue.quirks.stale_events)
        self._answers: dict[str, tuple[float, Any]] = {}  # by question: when it was answered, and the answer's body

    def routes(self, gamma: str) -> list[web.RouteDef]:
        handlers: dict[str, Handler] = {
            "/events/slug/{slug}": self.event,
            "/markets/slug/{slug}": self.market,
            "/events": self.events,
            "/events/keyset": self.events_keyset,
            "/markets": self.markets,
            "/markets/keyset": self.markets_keyset,
            "/events/{id:[0-9]+}": self.event,
            "/markets/{id:[0-9]+}": self.market,
        }
        return [web.get(gamma + path, self._cached(handler)) for path, handler in handlers.items()]

    def _cached(self, handler: Handler) -> Handler:
        """What the edge has and is not too old, it answers by itself."""

        async def route(request: web.Request) -> web.Response:
            now_s = time.monotonic()
            kept = self._answers.get(request.path_qs)
            if kept is not None and now_s - kept[0] < self._venue.quirks.cached_s:
                return web.Response(body=kept[1], content_type="application/json")
            response = await handler(request)
            if response.status == 200 and self._venue.quirks.cached_s:
                self._answers[request.path_qs] = (now_s, response.body)
            return response

        return route

    @property
    def _all(self) -> Iterable[rec.SimMarket]:
        """Every market there is, and last of all those that should be gone."""
        return chain(self._venue.exchange.markets.values(), self._stale)

    def _one(self, request: web.Request, first_id: int) -> rec.SimMarket | None:
        """By slug, or by the number that metadata shows."""
        slug, text = request.match_info.get("slug"), request.match_info.get("id", "")
        for market in self._all:
            if market.slug == slug or str(self._venue.number_of(market.condition_id) + first_id) == text:
                return market
        return None

    async def event(self, request: web.Request) -> web.Response:
        market = self._one(request, EVENT_NUMBERS)
        return refused("event not found", 404) if market is None else answer(self._event(market))

    async def market(self, request: web.Request) -> web.Response:
        market = self._one(request, 0)
        return refused("market not found", 404) if market is None else answer(self._market(market))

    def _listed(self, request: web.Request, condition_ids: bool) -> list[rec.SimMarket]:
        """The listing's filters; without `closed` only what is open. Oldest end first, but for what is stale."""
        query = request.query
        slugs = query.getall("slug", [])
        wanted = {part for text in query.getall("condition_ids", []) for part in text.split(",")}
        closed = query.get("closed", "").lower()
        bounds = (_instant(query.get("end_date_min", "")), _instant(query.get("end_date_max", "")))
        tests: list[Callable[[rec.SimMarket], bool]] = [
            lambda market: not slugs or market.slug in slugs,
            lambda market: not condition_ids or not wanted or market.condition_id in wanted,
            lambda market: (bool(slugs or wanted) and not closed) or market.closed == (closed == "true"),
            lambda market: bounds[0] is None or market.end_ms >= bounds[0],
            lambda market: bounds[1] is None or market.end_ms <= bounds[1],
            lambda market: query.get("tag_slug", "up-or-down") in ("up-or-down", "crypto"),
            lambda market: query.get("series_slug", "") in ("", series_slug(market)),
        ]
        found = [market for market in self._all if all(test(market) for test in tests)]
        return sorted(found, key=lambda market: (market in self._stale, market.end_ms))

    def _page(self, request: web.Request, rows: Iterable[rec.SimMarket]) -> list[rec.SimMarket]:
        offset, limit = max(number(request, "offset", 0), 0), max(number(request, "limit", 20), 0)
        return list(rows)[offset : offset + limit]

    async def events(self, request: web.Request) -> web.Response:
        return answer([self._event(market) for market in self._page(request, self._listed(request, False))])

    async def markets(self, request: web.Request) -> web.Response:
        return answer([self._market(market) for market in self._page(request, self._listed(request, True))])

    def _keyset(self, request: web.Request, name: str, rows: list[rec.SimMarket], shown: Shown) -> web.Response:
        """A page that goes on after the market its cursor names; the last one has no cursor."""
        query = request.query
        limit = number(request, "limit", 20)
        if "offset" in query or not 1 <= limit <= KEYSET_MAX:
            return refused("offset is not supported" if "offset" in query else f"limit must be 1 to {KEYSET_MAX}", 422)
        cursors = [base64.urlsafe_b64encode(market.slug.encode()).decode() for market in rows]
        after = query.get("after_cursor", "")
        if after and after not in cursors:
            return refused("invalid after_cursor", 422)
        start = cursors.index(after) + 1 if after else 0
        body: dict[str, Any] = {name: [shown(market) for market in rows[start : start + limit]]}
        if start + limit < len(rows):
            body["next_cursor"] = cursors[start + limit - 1]
        return answer(body)

    async def events_keyset(self, request: web.Request) -> web.Response:
        return self._keyset(request, "events", self._listed(request, False), self._event)

    async def markets_keyset(self, request: web.Request) -> web.Response:
        return self._keyset(request, "markets", self._listed(request, True), self._market)

    def _event(self, market: rec.SimMarket) -> dict[str, Any]:
        return {
            "id": str(self._venue.number_of(market.condition_id) + EVENT_NUMBERS),
            "ticker": market.slug,
            "slug": market.slug,
            "title": market.question,
            "description": market.description,
            "seriesSlug": series_slug(market),
            "startTime": iso(market.start_ms),
            "endDate": iso(market.end_ms),
            "startDate": iso(market.listed_ms),
            "active": True,
            "closed": market.closed,
            "eventMetadata": self._metadata(market),
            "markets": [self._market(market)],
        }

    def _metadata(self, market: rec.SimMarket) -> dict[str, Any] | None:
        """Late: nobody can price from it."""
        age_ms, quirks = wall_ms() - market.end_ms, self._venue.quirks
        told: dict[str, Any] = {}
        if market.strike is not None and age_ms >= quirks.strike_told_ms:
            told["priceToBeat"] = market.strike
        if market.final is not None and age_ms >= quirks.final_told_ms:
            told["finalPrice"] = market.final
        return told or None

    def _market(self, market: rec.SimMarket) -> dict[str, Any]:
        duration = market.series.rsplit("-", 1)[-1]
        twap = market.rule is Rule.TWAP
        clob, positions = _token_ids(market)
        return {
            "id": str(self._venue.number_of(market.condition_id)),
            "conditionId": market.condition_id,
            "slug": market.slug,
            "question": market.question,
            "description": market.description,
            "version": "v2" if market.version == 3 else "v1",
            "outcomes": '["Up", "Down"]',
            "outcomePrices": self._prices(market),
            "clobTokenIds": orjson.dumps(clob).decode(),
            "positionIds": positions,
            "active": True,
            "closed": market.closed,
            "acceptingOrders": market.accepting,
            "enableOrderBook": True,
            "negRisk": False,
            "orderPriceMinTickSize": market.tick / PX_ONE,
            "orderMinSize": plain(shares(market.min_qty)),
            "eventStartTime": iso(market.start_ms),
            "endDate": iso(market.end_ms),
            "startDate": iso(market.listed_ms),
            "resolutionSource": f"https://data.chain.link/streams/{market.asset}-usd-twap-{market.window_s}s-streams"
            if twap
            else f"https://www.binance.com/en/trade/{market.asset.upper()}_USDT",
            "feesEnabled": market.fee_rate > 0,
            "feeType": "crypto_fees_v2",
            "feeSchedule": {
                "exponent": 1,
                "rate": market.fee_rate,
                "takerOnly": True,
                "rebateRate": market.rebate_rate,
            },
            "cryptoMarketConfig": {
                "id": f"{market.asset}-{duration}-twap-{market.window_s}",
                "asset": market.asset,
                "duration": duration,
                "twapEnabled": True,
                "twapLookbackSeconds": market.window_s,
            }
            if twap
            else None,
            "rewardsMinSize": plain(shares(REWARDS_MIN_QTY)),
            "rewardsMaxSpread": REWARDS_MAX_SPREAD_PX / 100,
            "restricted": True,
        }

    def _prices(self, market: rec.SimMarket) -> str:
        if market in self._stale:
            up = 0.5
        elif market.outcome:
            up = 1.0 if market.outcome == "up" else 0.0
        else:
            up = self._books.mid(market.up_token)
        return orjson.dumps([f"{up:.5g}", f"{1 - up:.5g}"]).decode()


def stale_windows(count: int) -> list[rec.SimMarket]:
    """Windows of last February that nobody ever closed."""
    made = []
    for n in range(count):
        start_ms = STALE_FROM_MS + n * STALE_LENGTH_MS
        slug = f"{STALE_SERIES}-{start_ms // 1000}"
        names = [hashlib.sha256(f"{slug}:{what}".encode()).hexdigest() for what in ("condition", "up", "down")]
        made.append(
            rec.SimMarket(
                condition_id="0x" + names[0],
                slug=slug,
                series=STALE_SERIES,
                asset="btc",
                question=f"Bitcoin Up or Down - 5 minutes from {start_ms // 1000}",
                up_token=str(int(names[1], 16)),
                down_token=str(int(names[2], 16)),
                version=2,
                rule=Rule.TWAP,
                window_s=60,
                start_ms=start_ms,
                end_ms=start_ms + STALE_LENGTH_MS,
                listed_ms=start_ms - 86_400_000,
            )
        )
    return made


def series_slug(market: rec.SimMarket) -> str:
    """ "btc-updown-5m" to "btc-up-or-down-5m"; an hour and a day are called so."""
    return market.series.replace("updown", "up-or-down").replace("-1h", "-hourly").replace("-1d", "-daily")


def _token_ids(market: rec.SimMarket) -> tuple[list[str], list[str]]:
    """(CLOB token ids, position ids): the pair that does not trade is made up, or missing."""
    traded = [market.up_token, market.down_token]
    if market.version == 3:
        return [str(int(hashlib.sha256(token.encode()).hexdigest(), 16)) for token in traded], traded
    made_up = [str(rec.position_id(market.condition_id[2:], outcome)) for outcome in (0, 1)]
    return traded, made_up if int(market.condition_id[-1], 16) < 6 else []


def _instant(text: str) -> int | None:
    """An ISO date or time as milliseconds; None when there is none or it cannot be read."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
