"""The data API: positions of a wallet, some seconds late, and the public tape, in its older and its newer form."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from bot.messages import Side
from bot.sim import records as rec
from bot.sim.http import answer, number, refused
from bot.sim.render import Books, iso
from bot.sim.tape import Tape
from bot.sim.venue import Venue, wall_ms
from bot.units import PX_ONE, Qty, shares

LIMIT_MAX = 500
HALF = 0.5  # what a token of a complete set cost


class Held(msgspec.Struct):
    """What a wallet has of one token, and what it paid for it, in shares and USD."""

    size: float
    cost: float = 0.0
    bought: float = 0.0
    realized: float = 0.0

    @property
    def average(self) -> float:
        return self.cost / self.bought if self.bought else HALF


class DataRoutes:
    """Handlers, under one prefix."""

    def __init__(self, venue: Venue, tape: Tape) -> None:
        self._venue = venue
        self._tape = tape
        self._books: Books = venue.books

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(prefix + "/positions", self.positions),
            web.get(prefix + "/trades", self.trades),
            web.get(prefix + "/v2/positions", self.positions_v2),
            web.get(prefix + "/v2/trades", self.trades_v2),
        ]

    # -- positions ----------------------------------------------------------------------------------------------------

    def _held(self, user: str) -> dict[str, Held]:
        """By token, as of a moment ago: what was traded since is left out."""
        exchange, until_ms = self._venue.exchange, wall_ms() - self._venue.quirks.positions_lag_ms
        if user not in exchange.accounts:
            return {}
        sizes: dict[str, Qty] = dict(exchange.account(user).tokens)
        held: dict[str, Held] = {}
        for trade in exchange.trades_of(user):
            for token, side, px, qty in _legs(trade, user) if trade.status != "FAILED" else ():
                if token not in sizes:
                    continue  # redeemed
                if trade.match_ms > until_ms:
                    sizes[token] = sizes.get(token, 0) - (qty if side is Side.BUY else -qty)
                    continue
                one = held.setdefault(token, Held(0.0))
                if side is Side.BUY:
                    one.cost += px * shares(qty) / PX_ONE
                    one.bought += shares(qty)
                else:
                    one.realized += (px / PX_ONE - one.average) * shares(qty)
        for token, qty in sizes.items():
            if qty > 0:
                held.setdefault(token, Held(0.0)).size = shares(qty)
        return {token: one for token, one in held.items() if one.size > 0 and token in exchange.by_token}

    def _found(self, request: web.Request) -> list[dict[str, Any]] | None:
        """Rows of the older form; None without a user."""
        query = request.query
        user = query.get("user", "").lower()
        if not user.startswith("0x"):
            return None
        wanted = query.get("market", "") or query.get("condition_id", "")
        least = float(query.get("sizeThreshold", "1"))
        rows = []
        for token, one in self._held(user).items():
            market = self._venue.exchange.by_token[token]
            if one.size >= least and (not wanted or market.condition_id in wanted.split(",")):
                rows.append(self._position(user, market, token, one))
        start = number(request, "offset", 0)
        return rows[start : start + min(number(request, "limit", 100), LIMIT_MAX)]

    async def positions(self, request: web.Request) -> web.Response:
        rows = self._found(request)
        return refused("required query param 'user' not provided", 400) if rows is None else answer(rows)

    async def positions_v2(self, request: web.Request) -> web.Response:
        rows = self._found(request)
        if rows is None:
            return refused("required query param 'user' not provided", 400)
        return _enveloped([_position_v2(row) for row in rows])

    def _position(self, user: str, market: rec.SimMarket, token: str, one: Held) -> dict[str, Any]:
        up = token == market.up_token
        price = float((market.outcome == "up") is up) if market.outcome else self._books.mid(token)
        paid, worth = one.size * one.average, one.size * price
        other = self._venue.exchange.account(user).tokens.get(market.down_token if up else market.up_token, 0)
        return {
            "proxyWallet": user,
            "asset": token,
            "conditionId": market.condition_id,
            "size": one.size,
            "avgPrice": one.average,
            "initialValue": paid,
            "currentValue": worth,
            "cashPnl": worth - paid,
            "percentPnl": 100 * (worth - paid) / paid if paid else 0.0,
            "totalBought": one.bought,
            "realizedPnl": one.realized,
            "percentRealizedPnl": 100 * one.realized / one.cost if one.cost else 0.0,
            "curPrice": price,
            "redeemable": bool(market.outcome),
            "mergeable": other > 0 and not market.outcome,
            "title": market.question,
            "slug": market.slug,
            "icon": "",
            "eventSlug": market.slug,
            "outcome": "Up" if up else "Down",
            "outcomeIndex": 0 if up else 1,
            "oppositeOutcome": "Down" if up else "Up",
            "oppositeAsset": market.down_token if up else market.up_token,
            "endDate": iso(market.end_ms)[:10],
            "negativeRisk": False,
        }

    # -- the tape -------------------------------------------------------------------------------------------------------

    def _rows(self, request: web.Request) -> list[dict[str, Any]]:
        market = request.query.get("market", "") or request.query.get("condition_id", "")
        return [one.row() for one in self._tape.newest(market)][: number(request, "limit", 100)]

    async def trades(self, request: web.Request) -> web.Response:
        """Public prints, newest first."""
        return answer(self._rows(request))

    async def trades_v2(self, request: web.Request) -> web.Response:
        rows = [
            {
                "proxy_wallet": row["proxyWallet"],
                "token_id": row["asset"],
                "condition_id": row["conditionId"],
                "transaction_hash": row["transactionHash"],
                "outcome_index": row["outcomeIndex"],
                "event_slug": row["eventSlug"],
                **{name: row[name] for name in ("side", "size", "price", "timestamp", "title", "slug", "outcome")},
            }
            for row in self._rows(request)
        ]
        return _enveloped(rows)


def _enveloped(rows: list[dict[str, Any]]) -> web.Response:
    return answer({"data": rows, "pagination": {"has_more": False, "next_cursor": None}})


def _position_v2(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "proxy_wallet": row["proxyWallet"],
        "token_id": row["asset"],
        "condition_id": row["conditionId"],
        "current_size": row["size"],
        "avg_price": row["avgPrice"],
        "entry_cost_usdc": row["initialValue"],
        "entry_fees_usdc": 0.0,
        "total_cost_usdc": row["initialValue"],
        "current_price": row["curPrice"],
        "current_value": row["currentValue"],
        "total_size": row["totalBought"],
        "realized_pnl": row["realizedPnl"],
        "unrealized_pnl": row["cashPnl"],
        "total_pnl": row["cashPnl"] + row["realizedPnl"],
        "percent_pnl": row["percentPnl"],
        "percent_realized_pnl": row["percentRealizedPnl"],
        "status": "REDEEMABLE" if row["redeemable"] else "OPEN",
        "redeemable": row["redeemable"],
        "mergeable": row["mergeable"],
        "negative_risk": False,
        "archived": False,
        "verified": True,
        "title": row["title"],
        "slug": row["slug"],
        "event_slug": row["eventSlug"],
        "outcome": row["outcome"],
        "outcome_index": row["outcomeIndex"],
        "opposite_outcome": row["oppositeOutcome"],
        "opposite_token_id": row["oppositeAsset"],
        "end_date": row["endDate"],
    }


def _legs(trade: rec.Trade, owner: str) -> list[tuple[str, Side, int, Qty]]:
    """(token, side, px, qty) of everything the owner did in a trade."""
    legs = [(leg.token, leg.side, leg.px, leg.qty) for leg in trade.makers if leg.owner == owner]
    if trade.taker_owner == owner:
        legs.append((trade.token, trade.side, trade.px, trade.qty))
    return legs
