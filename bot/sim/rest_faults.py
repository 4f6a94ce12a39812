"""Faults that befall REST calls: every request passes `RestFaults.around` on its way to its handler.

A fault answers in the handler's stead, holds the request, spoils its answer, or cuts its connection; whether the request
took effect is the exchange's truth either way. What the venue does by itself is in venue_faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web

from bot.sim import verify
from bot.sim.accounts import Beats
from bot.sim.binance_rest import TOO_MANY
from bot.sim.clob_account import UNAUTHORIZED, authenticated
from bot.sim.clob_rest import HOLD_MS, RESTRICTED
from bot.sim.faults import FOREVER, Fault
from bot.sim.http import Refusal, answer, page, refused
from bot.sim.rates import CANCELS, ORDERS
from bot.sim.render import order_row
from bot.sim.rules import POST_ONLY
from bot.sim.spoilt import (
    BAD_GATEWAY,
    BLOCKED,
    CANCEL_ONLY,
    DISABLED,
    GEOBLOCKED,
    NO_BALANCE,
    POST_ONLY_MODE,
    WRONG_VERSION,
    Passes,
    body_of,
    changed,
    cut,
    declined,
    duplicated,
    html,
    legs_changed,
    loaded,
    nothing,
    posted_in,
    prefixed,
    reasoned,
    unmatched,
    unsuccessful,
    without_newest,
)
from bot.sim.venue import Venue, wall_ms
from bot.units import scaled

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Instead: TypeAlias = Callable[[Fault, web.Request], Awaitable[web.StreamResponse]]

NOT_CLOB = ("/gamma/", "/binance", "/control/", "/ws/", "/live/", "/rtds")


class RestFaults:
    """The edge and the engine of a venue that has its bad day."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._post_only_until_s = 0.0
        self._cancelled_all = asyncio.Event()
        self._orders_then: dict[str, list[dict[str, Any]]] = {}  # by owner, when C08 began
        self._tokens_then: dict[str, dict[str, int]] = {}  # when S05 began
        # When P16 began; without those that were told to look again.
        self._balances_then: dict[str, tuple[int, dict[str, int]]] = {}
        # In the order in which a request would meet them. What answers instead of the handler has no effect.
        self._instead: dict[str, Instead] = {
            "P15": self._blocked,
            "P13": self._too_many,
            "P11": self._restarting,
            "P12": self._restricted,
            "A01": self._unauthorized,
            "H03": self._no_beat,
            "P10": self._wrong_version,
            "P05": self._says_no,
            "P16": self._no_balance,
            "P18": self._would_cross,
            "C07": self._half_cancelled,
            "C08": self._old_orders,
            "C10": self._no_order,
        }
        self._broken = ("P01", "P02", "P06", "C03")
        faults = venue.faults
        faults.on_start("P11", self._restart)
        faults.on_start("C08", lambda fault: self._remember_orders())
        faults.on_start("S05", lambda fault: self._remember_tokens())
        faults.on_start("P16", lambda fault: self._remember_balances())
        faults.on_start("A01", self._skew)

    @web.middleware
    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer to a request. Raises what its handler raises."""
        if not self._venue.faults.busy and self._venue.age_s() >= self._post_only_until_s:
            return await handler(request)
        subject = f"{request.method} {request.path}"
        if request.path.startswith("/binance"):
            fault = self._venue.hit("P13", subject, "reference")
            return await handler(request) if fault is None else await self._too_many(fault, request)
        if request.path.startswith(NOT_CLOB):
            return await handler(request)
        self._venue.faults.called(subject, self._venue.age_s())
        for fault_id, instead in self._instead.items():
            if fault_id == "A01" and "POLY_API_KEY" not in request.headers:
                continue
            fault = self._venue.hit(fault_id, subject)
            if fault is not None and (found := await self._try(instead, fault, request)) is not None:
                return found
        return await self._handled(subject, request, handler)

    async def _try(self, instead: Instead, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        try:
            return await instead(fault, request)
        except Passes:
            return None

    async def _handled(self, subject: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        """With effect: held before, prepared, and its answer spoilt afterwards."""
        for fault_id, hold in (("P14", self._hold), ("C04", self._hold), ("C05", self._hold_till_cancelled)):
            if (fault := self._venue.hit(fault_id, subject)) is not None:
                await hold(fault)
        if self._venue.hit("H01", subject) is not None:
            self._other_beat(request)
        ended = self._venue.hit("C01", subject)
        if ended is not None:
            await self._end_first(ended, request)
        for fault_id in self._broken:
            if (fault := self._venue.hit(fault_id, subject)) is not None:
                return await self._break(fault, request, handler)
        held = self._venue.hit("P09", subject)
        response = await self._inside(held, subject, request, handler)
        if subject == "DELETE /cancel-all":
            self._cancelled_all.set()
            self._cancelled_all = asyncio.Event()
        if ended is not None:
            response = changed(response, lambda body: reasoned(body, ended["text"]))
        if held is not None and held.kind == "unmatched":
            response = changed(response, lambda body: legs_changed(body, unmatched))
        if self._venue.hit("P04", subject) is not None:
            response = duplicated(response)
        if (fault := self._venue.hit("C02", subject)) is not None:
            self._fill_later(fault, response)
        if (fault := self._venue.hit("S05", subject)) is not None:
            response = self._positions(fault, request, response)
        return self._read(subject, response) if subject.startswith("GET /data/") else response

    def _read(self, subject: str, response: web.StreamResponse) -> web.StreamResponse:
        """What orders and trades look like to who asks."""
        if self._venue.hit("U07", subject) is not None:
            response = changed(response, lambda body: prefixed(body, subject))
        if self._venue.hit("U12", subject) is not None:
            response = changed(response, without_newest)
        return response

    async def _inside(
        self, held: Fault | None, subject: str, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """The handler itself, in the mode its engine is in."""
        left_s = self._post_only_until_s - self._venue.age_s()
        restricted = left_s > 0 and subject in ("POST /order", "POST /orders")
        if restricted and subject == "POST /order" and not _post_only(await request.read()):
            retry_s = math.ceil(left_s)
            body = {"error": POST_ONLY_MODE, "code": "post_only_mode", "retry_after_seconds": retry_s}
            return answer(body, 503, {"Retry-After": str(retry_s)})
        hold = HOLD_MS.set(held["delay_ms"] if held is not None else 0)
        restriction = RESTRICTED.set(POST_ONLY_MODE if restricted else "")
        try:
            response = await handler(request)
        finally:
            HOLD_MS.reset(hold)
            RESTRICTED.reset(restriction)
        return changed(response, lambda body: legs_changed(body, unsuccessful)) if restricted else response

    # -- broken answers ------------------------------------------------------------------------------------------------

    async def _break(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The connection or the answer is lost, with or without effect."""
        await request.read()
        match fault.kind:
            case "lost":
                return cut(request)
            case "late":
                cut(request)
                await asyncio.sleep(fault["delay_ms"] / 1000)
                await _effect(request, handler)
                return nothing()
        if fault.entry.extras.get("effect") is None or fault["effect"]:
            await _effect(request, handler)
        match fault.kind:
            case "silent":
                await asyncio.sleep(fault["hang_s"])
                return cut(request)
            case "reset":
                return cut(request)
            case "html":
                return html(BAD_GATEWAY, 502 if fault.id == "P02" else 200)
            case "empty":
                return web.Response(status=503 if fault.id == "P02" else 200)
            case "json":
                return answer({"ok": True})
            case "425":
                return web.Response(text="service not ready", status=425)
            case "429":
                return refused("Too Many Requests", 429, {"Retry-After": "1"})
        return refused(fault["text"] if fault.id == "P02" else "internal server error", 500)

    # -- instead of an answer ------------------------------------------------------------------------------------------

    async def _blocked(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        return refused(GEOBLOCKED, 403) if fault.kind == "geo" else html(BLOCKED, 403)

    async def _too_many(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": str(fault["retry_after_s"])}
        match fault.kind:
            case "edge":
                return web.Response(text="error code: 1015", status=429, headers=headers)
            case "reference":
                banned = "Way too much request weight used; IP banned."
                text = "Too many requests." if fault["status"] == 429 else banned
                return answer({"code": TOO_MANY, "msg": text}, fault["status"], headers)
        signer = request.headers.get("POLY_ADDRESS", "").lower()
        spent = self._venue.rates.headers(signer, CANCELS if request.method == "DELETE" else ORDERS, wall_ms())
        return refused("Too Many Requests", 429, {**spent, "Poly-RateLimit-Remaining": "0", **headers})

    def _restart(self, fault: Fault) -> None:
        lasts_s = fault.lasts_s if fault.lasts_s < FOREVER else 0.0
        after_s = 0.0 if fault.kind == "post-only" else fault["post_only_s"]
        self._post_only_until_s = max(self._post_only_until_s, self._venue.age_s() + lasts_s + after_s)

    async def _restarting(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.kind == "post-only":
            raise Passes
        return web.Response(text="" if fault.kind == "empty" else "service not ready", status=425)

    async def _restricted(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        return refused(CANCEL_ONLY if fault.kind == "cancel-only" else DISABLED, 503)

    def _skew(self, fault: Fault) -> None:
        """The venue's clock is off until the fault is over."""
        if fault.kind == "skew":
            self._venue.skew_s = fault["skew_s"]
            asyncio.get_running_loop().call_later(fault.lasts_s, lambda: setattr(self._venue, "skew_s", 0.0))

    async def _unauthorized(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.kind == "skew":
            raise Passes  # its proof is judged by the clock that is off
        return refused(UNAUTHORIZED, 401)

    async def _no_beat(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.kind == "silent":
            await asyncio.sleep(fault["hang_s"])
            return cut(request)
        return refused(UNAUTHORIZED, 401) if fault.kind == "401" else refused("internal server error", 500)

    async def _wrong_version(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        return refused(WRONG_VERSION, fault["status"])

    async def _says_no(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        return declined(request, [fault["text"]] * len(posted_in(body)), fault["status"])

    async def _no_balance(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.kind == "stale":
            return self._stale_balance(request)
        texts = []
        for posted in posted_in(await request.read()):
            order = posted.order
            held = self._venue.exchange.account(order.maker.lower())
            have = held.cash if order.side == "BUY" else held.tokens.get(order.tokenId, 0)
            texts.append(
                f"{NO_BALANCE} -> balance: {have}, sum of matched orders: {have}, order amount: {order.makerAmount}"
            )
        return declined(request, texts, 400)

    async def _would_cross(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        texts = []
        for posted in posted_in(await request.read()):
            market = self._venue.exchange.by_token.get(posted.order.tokenId)
            version = market.version if market is not None else 2
            crossing = f"order {verify.order_digest(posted.order, version)} crosses the book"
            texts.append(POST_ONLY if fault.kind == "text" else crossing)
        return declined(request, texts, 400)

    async def _half_cancelled(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        """What it says of each order, and for half of them (`partial`) what it does."""
        body = await request.read()
        caller = authenticated(self._venue, request, body)
        asked = loaded(body)
        scope = asked if isinstance(asked, dict) else {}
        orders = [
            order
            for owner in caller.account.owners
            for order in self._venue.exchange.orders_of(owner, open_only=True)
            if scope.get("market") in (None, "", order.condition_id)
            and scope.get("asset_id") in (None, "", order.token)
        ]
        ids = [order.order_id for order in orders]
        match fault.kind:
            case "lies":
                return answer({"canceled": ids, "not_canceled": {}})
            case "empty":
                return answer({"canceled": [], "not_canceled": {}})
            case "refused":
                return answer({"canceled": [], "not_canceled": dict.fromkeys(ids, "could not cancel order")})
        canceled = []
        for order in orders[: len(orders) // 2]:
            canceled += self._venue.exchange.cancel(order.owner, [order.order_id], wall_ms())[0]
        self._venue.tell()
        return answer({"canceled": canceled, "not_canceled": {}})

    async def _no_order(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        match fault.kind:
            case "null":
                return answer(None)
            case "404":
                return refused("order not found", 404)
            case "reset":
                return cut(request)
        return refused("internal server error", 500)

    # -- old facts -----------------------------------------------------------------------------------------------------

    def _owners(self) -> list[str]:
        return [owner for account in self._venue.accounts.by_address.values() for owner in account.owners]

    def _rows(self, owner: str) -> list[dict[str, Any]]:
        exchange = self._venue.exchange
        orders = exchange.orders_of(owner, open_only=True)
        return [order_row(order, exchange.markets[order.condition_id]) for order in orders]

    def _remember_orders(self) -> None:
        self._orders_then = {owner: self._rows(owner) for owner in self._owners()}

    async def _old_orders(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        caller = authenticated(self._venue, request, await request.read())
        query = request.query
        stale = fault.kind == "stale"
        rows = [
            row
            for owner in caller.account.owners
            for row in (self._orders_then.get(owner, []) if stale else self._rows(owner))
            if query.get("id", "") in ("", row["id"])
            and query.get("market", "") in ("", row["market"])
            and query.get("asset_id", "") in ("", row["asset_id"])
        ]
        if fault.kind == "missing":
            rows = rows[:-1]
        size = 1 if fault.kind == "paged" else self._venue.quirks.page_size
        return answer(page(rows, query.get("next_cursor", ""), size))

    def _remember_tokens(self) -> None:
        self._tokens_then = {owner: dict(self._venue.exchange.account(owner).tokens) for owner in self._owners()}

    def _positions(self, fault: Fault, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        then = self._tokens_then.get(request.query.get("user", "").lower(), {})

        def spoil(rows: Any) -> Any:
            match fault.kind:
                case "empty":
                    return []
                case "zero":
                    return [{**row, "size": 0.0, "initialValue": 0.0, "currentValue": 0.0} for row in rows]
            return [{**row, "size": then[row["asset"]] / 1e6} for row in rows if then.get(row["asset"])]

        return changed(response, spoil)

    def _remember_balances(self) -> None:
        exchange = self._venue.exchange
        self._balances_then = {
            owner: (exchange.account(owner).cash, dict(exchange.account(owner).tokens)) for owner in self._owners()
        }

    def _stale_balance(self, request: web.Request) -> web.StreamResponse:
        caller = authenticated(self._venue, request, b"")
        if request.path.endswith("/update"):
            for owner in caller.account.owners:
                self._balances_then.pop(owner, None)
            raise Passes
        signature_type = request.query.get("signature_type", "0")
        funder = caller.account.funders.get(int(signature_type) if signature_type.isdecimal() else -1, "")
        if funder not in self._balances_then:
            raise Passes
        cash, tokens = self._balances_then[funder]
        token = request.query.get("token_id", "")
        balance = cash if "COLLATERAL" in request.query.get("asset_type", "COLLATERAL") else tokens.get(token, 0)
        contracts = dict.fromkeys(verify.EXCHANGES.values())
        return answer({"balance": str(balance), "allowances": dict.fromkeys(contracts, str(2**256 - 1))})

    # -- before and after ----------------------------------------------------------------------------------------------

    async def _hold(self, fault: Fault) -> None:
        await asyncio.sleep(fault["delay_ms"] / 1000)

    async def _hold_till_cancelled(self, fault: Fault) -> None:
        try:
            await asyncio.wait_for(self._cancelled_all.wait(), fault["hang_s"])
        except TimeoutError:
            return
        await self._hold(fault)

    def _other_beat(self, request: web.Request) -> None:
        """Another host beats with our key: the id we know is not the chain's any more."""
        beats = self._venue.accounts.beats.setdefault(request.headers.get("POLY_API_KEY", ""), Beats())
        beats.expected = str(uuid.uuid4())
        beats.refresh(wall_ms())

    async def _end_first(self, fault: Fault, request: web.Request) -> None:
        body = loaded(await request.read())
        exchange = self._venue.exchange
        named = [body.get("orderID")] if isinstance(body, dict) else body if isinstance(body, list) else []
        for order_id in map(str, named):
            order = exchange.order(order_id)
            if order is not None and fault.kind == "matched":
                exchange.sweep(order_id, order.leaves, wall_ms())
            elif order is not None:
                exchange.cancel_by_venue([order_id], "CANCELED", wall_ms())
        self._venue.tell()

    def _fill_later(self, fault: Fault, response: web.StreamResponse) -> None:
        """A fill that the match engine had made before the cancel reached it."""
        body = body_of(response)
        canceled = body["canceled"] if isinstance(body, dict) else []

        def fill() -> None:
            for order_id in canceled:
                if self._venue.exchange.sweep(order_id, scaled(fault["size"], 6), wall_ms()):
                    break
            self._venue.tell()

        asyncio.get_running_loop().call_later(fault["delay_ms"] / 1000, fill)


def _post_only(body: bytes) -> bool:
    """What cannot be read is left to its handler."""
    try:
        return all(posted.postOnly for posted in posted_in(body))
    except Passes:
        return True


async def _effect(request: web.Request, handler: Handler) -> None:
    with contextlib.suppress(Refusal, web.HTTPException):  # its answer is lost like any other
        await handler(request)
