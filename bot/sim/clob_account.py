"""CLOB routes of a wallet: keys, open orders, trades, balances, notifications, scoring and heartbeats. Places nothing."""

from __future__ import annotations

import re
from typing import Any

import orjson
from aiohttp import web

from bot.sim import records as rec
from bot.sim import verify
from bot.sim.accounts import CLOSED_ONLY, Account, Beats, Caller
from bot.sim.http import LOGGED, Refusal, answer, number, page, refused
from bot.sim.render import REWARDS_MAX_SPREAD_PX, REWARDS_MIN_QTY, order_row, trade_row
from bot.sim.venue import Venue, wall_ms

PAGE = 500
UNLIMITED = str(2**256 - 1)
ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
UNAUTHORIZED = "Unauthorized/Invalid api key"


def authenticated(venue: Venue, request: web.Request, body: bytes) -> Caller:
    """The caller of an L2 request. Raises Refusal 401."""
    now_s = wall_ms() / 1000 + venue.skew_s
    caller = venue.accounts.authenticate(request.headers, request.method, request.path, body, now_s)
    if caller is None:
        raise Refusal(UNAUTHORIZED, 401)
    if LOGGED in request:
        request[LOGGED].owner = caller.account.owners[-1]
    return caller


class AccountRoutes:
    """Handlers of what a key may read and of the dead-man switch."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._quirks = venue.quirks
        self._balances: dict[tuple[str, str], tuple[int, int]] = {}  # (owner, what): (ms, balance) as last looked up

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/auth/api-key", self.create_key),
            web.delete("/auth/api-key", self.delete_key),
            web.get("/auth/derive-api-key", self.derive_key),
            web.get("/auth/api-keys", self.keys),
            web.get("/auth/ban-status/closed-only", self.closed_only),
            web.get("/data/orders", self.orders),
            web.get("/data/order/{order_id}", self.order),
            web.get("/data/trades", self.trades),
            web.get("/balance-allowance", self.balance),
            web.get("/balance-allowance/update", self.update_balance),
            web.get("/notifications", self.notifications),
            web.delete("/notifications", self.drop_notifications),
            web.get("/order-scoring", self.order_scoring),
            web.get("/orders-scoring", self.orders_scoring),
            web.post("/orders-scoring", self.orders_scoring),
            web.post("/v1/heartbeats", self.heartbeat),
            web.post("/heartbeats", self.plain_heartbeat),
        ]

    async def _caller(self, request: web.Request) -> Caller:
        return authenticated(self._venue, request, await request.read())

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _wallet(self, request: web.Request) -> tuple[str, int]:
        """Address and nonce of an L1 request. Raises Refusal 401."""
        headers = request.headers
        address, timestamp = headers.get("POLY_ADDRESS", ""), headers.get("POLY_TIMESTAMP", "")
        nonce = headers.get("POLY_NONCE", "0")
        signed = (
            bool(ADDRESS.fullmatch(address))
            and timestamp.isdecimal()
            and nonce.isdecimal()
            and verify.l1_signer(address, timestamp, int(nonce), headers.get("POLY_SIGNATURE", "")) == address.lower()
        )
        if not signed:
            raise Refusal("Invalid L1 Request headers", 401)
        return address, int(nonce)

    async def create_key(self, request: web.Request) -> web.Response:
        made = self._venue.accounts.create_key(*self._wallet(request))
        if made is None:
            return refused("Could not create api key", 400)
        return answer({"apiKey": made.api_key, "secret": made.secret, "passphrase": made.passphrase})

    async def derive_key(self, request: web.Request) -> web.Response:
        address, nonce = self._wallet(request)
        found = self._venue.accounts.open(address).keys.get(nonce)
        if found is None:
            return refused("Could not derive api key!", 400)
        return answer({"apiKey": found.api_key, "secret": found.secret, "passphrase": found.passphrase})

    async def delete_key(self, request: web.Request) -> web.Response:
        self._venue.accounts.delete_key((await self._caller(request)).api_key)
        return answer("OK")

    async def keys(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        return answer({"apiKeys": [key.api_key for key in caller.account.keys.values()]})

    async def closed_only(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        return answer({"closed_only": caller.account.state == CLOSED_ONLY})

    # -- orders and trades --------------------------------------------------------------------------------------------

    def _orders_of(self, account: Account, open_only: bool) -> list[rec.Order]:
        exchange = self._venue.exchange
        return [order for owner in account.owners for order in exchange.orders_of(owner, open_only=open_only)]

    def _order_row(self, order: rec.Order) -> dict[str, Any]:
        row = order_row(order, self._venue.exchange.markets[order.condition_id])
        return row | {"status": "ORDER_STATUS_" + row["status"]} if self._quirks.status_prefixes else row

    def _trade_row(self, trade: rec.Trade, owner: str) -> dict[str, Any]:
        market = self._venue.exchange.markets[trade.condition_id]
        row = trade_row(trade, market, owner, self._quirks.late_hashes)
        return row | {"status": "TRADE_STATUS_" + row["status"]} if self._quirks.status_prefixes else row

    async def orders(self, request: web.Request) -> web.Response:
        """Open orders, oldest first."""
        caller = await self._caller(request)
        query = request.query
        rows = [
            self._order_row(order)
            for order in self._orders_of(caller.account, open_only=True)
            if query.get("id", "") in ("", order.order_id)
            and query.get("market", "") in ("", order.condition_id)
            and query.get("asset_id", "") in ("", order.token)
        ]
        return answer(page(rows, query.get("next_cursor", ""), self._quirks.page_size))

    async def order(self, request: web.Request) -> web.Response:
        """The order with its status, dead ones too; null for one that is not the caller's."""
        caller = await self._caller(request)
        order = self._venue.exchange.order(request.match_info["order_id"])
        if order is None or order.owner not in caller.account.owners:
            return answer(None)
        if self._quirks.dead_orders_null and not order.open:
            return answer(None)
        return answer(self._order_row(order))

    async def trades(self, request: web.Request) -> web.Response:
        """The caller's trades, newest first; before and after are whole seconds, both inclusive."""
        caller = await self._caller(request)
        query = request.query
        after, before = number(request, "after", 0), number(request, "before", 1 << 60)
        rows = [
            self._trade_row(trade, owner)
            for owner in caller.account.owners
            for trade in reversed(self._venue.exchange.trades_of(owner, after))
            if trade.match_ms // 1000 <= before
            and query.get("id", "") in ("", trade.trade_id)
            and query.get("market", "") in ("", trade.condition_id)
            and query.get("asset_id", "") in ("", *_tokens(trade, owner))
            and query.get("maker_address", "").lower() in ("", trade.taker_owner, *(leg.owner for leg in trade.makers))
        ]
        return answer(page(rows, query.get("next_cursor", ""), self._quirks.page_size))

    # -- money --------------------------------------------------------------------------------------------------------

    async def balance(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        kind = request.query.get("asset_type", "COLLATERAL").rsplit(".", 1)[-1].replace("_", "-")
        if kind not in ("COLLATERAL", "CONDITIONAL", "CONDITIONAL-V2"):
            raise Refusal("Invalid asset type")
        signature_type = number(request, "signature_type", 0)
        if signature_type not in (0, 1, 2, 3):
            raise Refusal("Invalid signature_type")
        funder = caller.account.funders.get(signature_type)
        token = "" if kind == "COLLATERAL" else request.query.get("token_id", "")
        balance = self._balance(funder, token) if funder is not None else 0
        if self._quirks.single_allowance:
            return answer({"balance": str(balance), "allowance": UNLIMITED})
        contracts = dict.fromkeys(verify.EXCHANGES.values())
        return answer({"balance": str(balance), "allowances": dict.fromkeys(contracts, UNLIMITED)})

    def _balance(self, owner: str, token: str) -> int:
        """Cash ("") or a token, as old as the venue's cache of it may be."""
        now_ms = wall_ms()
        kept = self._balances.get((owner, token))
        if kept is not None and now_ms - kept[0] < self._quirks.balance_cache_ms:
            return kept[1]
        held = self._venue.exchange.account(owner)
        balance = held.tokens.get(token, 0) if token else held.cash
        self._balances[owner, token] = (now_ms, balance)
        return balance

    async def update_balance(self, request: web.Request) -> web.Response:
        """Makes the venue look again."""
        owners = (await self._caller(request)).account.owners
        self._balances = {key: kept for key, kept in self._balances.items() if key[0] not in owners}
        return answer("OK")

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def notifications(self, request: web.Request) -> web.Response:
        return answer(list((await self._caller(request)).account.notices))

    async def drop_notifications(self, request: web.Request) -> web.Response:
        notices = (await self._caller(request)).account.notices
        dropped = set(request.query.get("ids", "").split(","))
        kept = [notice for notice in notices if str(notice["id"]) not in dropped]
        notices.clear()
        notices.extend(kept)
        return answer("OK")

    def _scores(self, caller: Caller, order_id: str) -> bool:
        """Whether a resting order earns rewards: large enough, and near enough to the middle."""
        order = self._venue.exchange.order(order_id)
        if order is None or order.owner not in caller.account.owners or order.status != rec.LIVE:
            return False
        bid, ask = self._venue.books.best(order.token)
        if bid is None or ask is None or order.leaves < REWARDS_MIN_QTY:
            return False
        return abs(2 * order.px - bid - ask) <= 2 * REWARDS_MAX_SPREAD_PX

    async def order_scoring(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        return answer({"scoring": self._scores(caller, request.query.get("order_id", ""))})

    async def orders_scoring(self, request: web.Request) -> web.Response:
        body = await request.read()
        caller = authenticated(self._venue, request, body)
        try:
            ids = [str(name) for name in orjson.loads(body)] if body else request.query.get("order_ids", "").split(",")
        except (ValueError, TypeError):
            raise Refusal("Invalid payload") from None
        return answer({order_id: self._scores(caller, order_id) for order_id in ids if order_id})

    def _beats(self, caller: Caller) -> Beats:
        return self._venue.accounts.beats.setdefault(caller.api_key, Beats())

    async def heartbeat(self, request: web.Request) -> web.Response:
        """Each beat carries the id of the last answer; a wrong one is told the right one and counts for nothing."""
        body = await request.read()
        caller = authenticated(self._venue, request, body)
        try:
            heartbeat_id = orjson.loads(body or b"{}").get("heartbeat_id")
        except (ValueError, AttributeError):
            raise Refusal("Invalid payload") from None
        beats = self._beats(caller)
        if not beats.beat(heartbeat_id, wall_ms()):
            error = {self._quirks.heartbeat_error_key: "Invalid Heartbeat ID"}
            return answer({**error, "heartbeat_id": beats.expected}, 400)
        return answer({"heartbeat_id": beats.expected})

    async def plain_heartbeat(self, request: web.Request) -> web.Response:
        """The other documented form: no body, no chain."""
        self._beats(await self._caller(request)).refresh(wall_ms())
        return answer({"status": "ok"})


def _tokens(trade: rec.Trade, owner: str) -> set[str]:
    """The taker's, and those of the owner's own orders in it."""
    return {trade.token, *(leg.token for leg in trade.makers if leg.owner == owner)}
