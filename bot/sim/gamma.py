"""Market metadata (Gamma) and the data API, as far as a bot on up/down markets asks for them. Read only, never prices.

Outcomes, prices and CLOB token ids are JSON inside strings; `version` says which ids trade, and some v1 markets carry
position ids without a book, so that nobody chooses by presence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from bot.market import Rule
from bot.sim import records as rec
from bot.sim.clob_public import iso
from bot.sim.http import answer, number, refused
from bot.sim.render import Books, address_of
from bot.sim.venue import Venue
from bot.units import PX_ONE, shares

FULL_NAMES = {"btc": "bitcoin", "eth": "ethereum", "sol": "solana", "xrp": "xrp"}
PRINTS_MAX = 500


class GammaRoutes:
    """Handlers of both APIs, each under its own prefix."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._books: Books = venue.books
        self._prints: dict[str, list[dict[str, Any]]] = {}

    def routes(self, gamma: str, data: str) -> list[web.RouteDef]:
        return [
            web.get(gamma + "/events/slug/{slug}", self.event),
            web.get(gamma + "/markets/slug/{slug}", self.market),
            web.get(gamma + "/events", self.events),
            web.get(gamma + "/events/keyset", self.events_keyset),
            web.get(gamma + "/markets", self.markets),
            web.get(gamma + "/markets/keyset", self.markets_keyset),
            web.get(data + "/positions", self.positions),
            web.get(data + "/trades", self.trades),
        ]

    def hear(self, event: rec.Event) -> None:
        """Keep the public tape of each market."""
        if isinstance(event, rec.Printed):
            market = self._venue.exchange.markets[event.condition_id]
            tape = self._prints.setdefault(event.condition_id, [])
            tape.append(
                {
                    "proxyWallet": address_of("taker"),
                    "side": str(event.side),
                    "asset": event.token,
                    "conditionId": event.condition_id,
                    "size": shares(event.qty),
                    "price": event.px / PX_ONE,
                    "timestamp": event.ts_ms // 1000,
                    "slug": market.slug,
                    "outcome": "Up" if event.token == market.up_token else "Down",
                    "outcomeIndex": 0 if event.token == market.up_token else 1,
                }
            )
            del tape[:-PRINTS_MAX]
        elif isinstance(event, rec.Resolved):
            self._prints.pop(event.condition_id, None)

    # -- Gamma ----------------------------------------------------------------------------------------------------------

    def _by_slug(self, slug: str) -> rec.SimMarket | None:
        return next((market for market in self._venue.exchange.markets.values() if market.slug == slug), None)

    async def event(self, request: web.Request) -> web.Response:
        market = self._by_slug(request.match_info["slug"])
        return refused("event not found", 404) if market is None else answer(self._event(market))

    async def market(self, request: web.Request) -> web.Response:
        market = self._by_slug(request.match_info["slug"])
        return refused("market not found", 404) if market is None else answer(self._market(market))

    def _listed(self, request: web.Request, condition_ids: bool) -> list[rec.SimMarket]:
        """The listing's filters; without `closed` only what is open, oldest end first."""
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
        found = [market for market in self._venue.exchange.markets.values() if all(test(market) for test in tests)]
        return sorted(found, key=lambda market: market.end_ms)

    def _page(self, request: web.Request, rows: Iterable[rec.SimMarket]) -> list[rec.SimMarket]:
        offset, limit = max(number(request, "offset", 0), 0), max(number(request, "limit", 20), 0)
        return list(rows)[offset : offset + limit]

    async def events(self, request: web.Request) -> web.Response:
        return answer([self._event(market) for market in self._page(request, self._listed(request, False))])

    async def markets(self, request: web.Request) -> web.Response:
        return answer([self._market(market) for market in self._page(request, self._listed(request, True))])

    def _keyset(self, request: web.Request, rows: list[rec.SimMarket]) -> tuple[list[rec.SimMarket], str | None]:
        start, limit = number(request, "after_cursor", 0), min(max(number(request, "limit", 20), 1), 100)
        return rows[start : start + limit], str(start + limit) if start + limit < len(rows) else None

    async def events_keyset(self, request: web.Request) -> web.Response:
        if "offset" in request.query:
            return refused("offset is not supported", 422)
        rows, cursor = self._keyset(request, self._listed(request, False))
        return answer({"events": [self._event(market) for market in rows], "next_cursor": cursor})

    async def markets_keyset(self, request: web.Request) -> web.Response:
        if "offset" in request.query:
            return refused("offset is not supported", 422)
        rows, cursor = self._keyset(request, self._listed(request, True))
        return answer({"markets": [self._market(market) for market in rows], "next_cursor": cursor})

    def _event(self, market: rec.SimMarket) -> dict[str, Any]:
        metadata = None
        if market.outcome:  # late, as on the real venue: nobody can price from it
            metadata = {"priceToBeat": market.strike, "finalPrice": market.final}
        return {
            "id": str(self._venue.number_of(market.condition_id) + 1_000_000),
            "ticker": market.slug,
            "slug": market.slug,
            "title": market.question,
            "seriesSlug": series_slug(market),
            "startTime": iso(market.start_ms),
            "endDate": iso(market.end_ms),
            "startDate": iso(market.listed_ms),
            "active": True,
            "closed": market.closed,
            "eventMetadata": metadata,
            "markets": [self._market(market)],
        }

    def _market(self, market: rec.SimMarket) -> dict[str, Any]:
        duration = market.series.rsplit("-", 1)[-1]
        twap = market.rule is Rule.TWAP
        clob, positions = _token_ids(market)
        return {
            "id": str(self._venue.number_of(market.condition_id)),
            "conditionId": market.condition_id,
            "slug": market.slug,
            "question": market.question,
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
            "orderMinSize": shares(market.min_qty),
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
            "rewardsMinSize": 50,
            "rewardsMaxSpread": 4.5,
            "restricted": True,
        }

    def _prices(self, market: rec.SimMarket) -> str:
        if market.outcome:
            up = 1.0 if market.outcome == "up" else 0.0
        else:
            bid, ask = self._books.best(market.up_token)
            up = ((bid or 0) + (PX_ONE if ask is None else ask)) / 2 / PX_ONE
        return orjson.dumps([f"{up:.5g}", f"{1 - up:.5g}"]).decode()

    # -- data API ---------------------------------------------------------------------------------------------------------

    async def positions(self, request: web.Request) -> web.Response:
        user = request.query.get("user", "").lower()
        if not user.startswith("0x"):
            return refused("required query param 'user' not provided", 400)
        exchange = self._venue.exchange
        rows = []
        for token, qty in exchange.account(user).tokens.items() if user in exchange.accounts else ():
            market = exchange.by_token.get(token)
            if not qty or market is None or request.query.get("market", "") not in ("", market.condition_id):
                continue
            rows.append(self._position(user, market, token, shares(qty)))
        return answer(rows)

    def _position(self, user: str, market: rec.SimMarket, token: str, size: float) -> dict[str, Any]:
        bid, ask = self._books.best(token)
        price = ((bid or 0) + (PX_ONE if ask is None else ask)) / 2 / PX_ONE
        up = token == market.up_token
        return {
            "proxyWallet": user,
            "asset": token,
            "conditionId": market.condition_id,
            "size": size,
            "avgPrice": price,
            "initialValue": size * price,
            "currentValue": size * price,
            "cashPnl": 0.0,
            "realizedPnl": 0.0,
            "curPrice": price,
            "redeemable": False,
            "mergeable": False,
            "title": market.question,
            "slug": market.slug,
            "outcome": "Up" if up else "Down",
            "outcomeIndex": 0 if up else 1,
            "oppositeAsset": market.down_token if up else market.up_token,
            "endDate": iso(market.end_ms),
            "negativeRisk": False,
        }

    async def trades(self, request: web.Request) -> web.Response:
        """Public prints, newest first."""
        market = request.query.get("market", "")
        tapes = [self._prints.get(market, [])] if market else list(self._prints.values())
        rows = sorted((row for tape in tapes for row in tape), key=lambda row: -int(row["timestamp"]))
        return answer(rows[: number(request, "limit", 100)])


def series_slug(market: rec.SimMarket) -> str:
    """ "btc-updown-5m" to "btc-up-or-down-5m"."""
    return market.series.replace("updown", "up-or-down")


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
