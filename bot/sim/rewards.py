"""What the venue pays makers, and past prices. No day ever ends here, so nothing was paid out; rebates are of fees so far."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from bot.sim import records as rec
from bot.sim.clob_account import authenticated
from bot.sim.http import Refusal, answer, number, page, wanted
from bot.sim.records import taker_fee
from bot.sim.render import REWARDS_MAX_SPREAD_PX, REWARDS_MIN_QTY
from bot.sim.tape import Tape
from bot.sim.venue import Venue
from bot.units import Usd, decimal_text, shares

PUSD = "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"
SPANS_S = {"1h": 3_600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1m": 2_592_000, "max": 1 << 40, "all": 1 << 40}


class RewardRoutes:
    """Handlers of rewards, rebates and price history."""

    def __init__(self, venue: Venue, tape: Tape) -> None:
        self._venue = venue
        self._tape = tape

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/rewards/user", self.earned),
            web.get("/rewards/user/total", self.earned_in_all),
            web.get("/rewards/user/markets", self.earned),
            web.get("/rewards/user/percentages", self.shares),
            web.get("/rewards/markets/current", self.current),
            web.get("/rewards/markets/{condition_id}", self.market),
            web.get("/rebates/current", self.rebates),
            web.get("/prices-history", self.history),
        ]

    def _paged(self, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
        return answer(page(rows, request.query.get("next_cursor", ""), self._venue.quirks.page_size))

    async def _known(self, request: web.Request) -> None:
        authenticated(self._venue, request, await request.read())

    async def earned(self, request: web.Request) -> web.Response:
        await self._known(request)
        return self._paged(request, [])

    async def earned_in_all(self, request: web.Request) -> web.Response:
        await self._known(request)
        return answer([])

    async def shares(self, request: web.Request) -> web.Response:
        await self._known(request)
        return answer({})

    def _reward(self, market: rec.SimMarket) -> dict[str, Any]:
        return {
            "condition_id": market.condition_id,
            "rewards_max_spread": REWARDS_MAX_SPREAD_PX / 100,
            "rewards_min_size": shares(REWARDS_MIN_QTY),
            "rewards_config": [],
        }

    async def current(self, request: web.Request) -> web.Response:
        open_ones = [market for market in self._venue.exchange.markets.values() if not market.closed]
        return self._paged(request, [self._reward(market) for market in open_ones])

    async def market(self, request: web.Request) -> web.Response:
        market = self._venue.exchange.markets.get(request.match_info["condition_id"])
        if market is None:
            return self._paged(request, [])
        sides = [
            {"token_id": token, "outcome": outcome, "price": self._venue.books.mid(token)}
            for token, outcome in ((market.up_token, "Up"), (market.down_token, "Down"))
        ]
        about = {"question": market.question, "market_slug": market.slug, "event_slug": market.slug, "tokens": sides}
        return self._paged(request, [self._reward(market) | about])

    # -- rebates --------------------------------------------------------------------------------------------------------

    async def rebates(self, request: web.Request) -> web.Response:
        """A maker's share of the pool of takers' fees is that of its fills in the fees' formula: exactly its own part."""
        date, maker = wanted(request, "date"), wanted(request, "maker_address")
        rebates = self._rebates(maker.lower(), date)
        return answer(
            [
                {
                    "date": date,
                    "condition_id": condition_id,
                    "asset_address": PUSD,
                    "maker_address": maker,
                    "rebated_fees_usdc": decimal_text(amount, 6),
                }
                for condition_id, amount in rebates.items()
                if amount
            ]
        )

    def _rebates(self, maker: str, date: str) -> dict[str, Usd]:
        exchange = self._venue.exchange
        found: dict[str, Usd] = {}
        for trade in exchange.trades_of(maker) if maker in exchange.accounts else ():
            day = datetime.fromtimestamp(trade.match_ms / 1000, UTC).date().isoformat()
            if day != date or trade.status == "FAILED":
                continue
            market = exchange.markets[trade.condition_id]
            fees = sum(taker_fee(leg.qty, leg.px, market.fee_rate) for leg in trade.makers if leg.owner == maker)
            found[trade.condition_id] = found.get(trade.condition_id, 0) + round(fees * market.rebate_rate)
        return found

    # -- history --------------------------------------------------------------------------------------------------------

    async def history(self, request: web.Request) -> web.Response:
        """The last trade of each so many minutes, oldest first."""
        token = wanted(request, "market")
        market = self._venue.exchange.by_token.get(token)
        interval = request.query.get("interval", "max")
        if interval not in SPANS_S:
            raise Refusal("invalid interval")
        if market is None:
            return answer({"history": []})
        step_s = max(number(request, "fidelity", 1), 1) * 60
        prints = self._tape.newest(market.condition_id)
        newest_s = prints[0].event.ts_ms // 1000 if prints else 0
        first = max(number(request, "startTs", 0), newest_s - SPANS_S[interval])
        last = number(request, "endTs", 1 << 60)
        points: dict[int, float] = {}
        for one in reversed(prints):
            second = one.event.ts_ms // 1000
            if first <= second <= last:
                points[second // step_s * step_s] = one.up_px if token == market.up_token else 1 - one.up_px
        return answer({"history": [{"t": second, "p": round(px, 4)} for second, px in points.items()]})
