"""CLOB routes that trade: POST and DELETE of orders, with the venue's checks in the venue's order.

JSON, L2 proof, owner, signer, generation and signature are checked here; everything after that is the exchange's business.

A marketable order is held by the exchange for the taker delay. Its POST is held as well and answered with the outcome,
trade ids and transaction hashes included, so that the stock v2 client (which otherwise polls for hashes, up to 30 s)
returns after the delay; with deferExec true the answer is "delayed" at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

import msgspec
import orjson
from aiohttp import web

from bot.messages import Side
from bot.sim import records as rec
from bot.sim import verify
from bot.sim.accounts import BANNED, CLOSED_ONLY, Caller
from bot.sim.clob_account import authenticated
from bot.sim.http import Refusal, answer, refused
from bot.sim.rates import CANCELS, ORDERS
from bot.sim.render import amount_text
from bot.sim.rules import NOT_READY
from bot.sim.venue import Venue, wall_ms
from bot.units import LOT, PX_ONE, decimal_text, px_text

BATCH_MAX = 15
CANCELS_MAX = 3000
MALFORMED = "Invalid order payload"
BAD_SIGNATURE = "invalid signature"
NOT_OWNER = "the order owner has to be the owner of the API KEY"
NOT_SIGNER = "the order signer address has to be the address of the API KEY"
WRONG_VERSION = "order_version_mismatch"
ENDED_WHILE_HELD = {
    "NOT_ENOUGH_BALANCE": "not enough balance / allowance",
    "MARKET_RESOLVED": "the market is closed",
}
REASONS = {
    "Order not found": ("Order not found", "Order not found or already canceled"),
    "Order already canceled": (
        "Order already canceled",
        "Order not found or already canceled",
        "already canceled or matched",
    ),
    "Order already matched": ("Order already matched", "order already matched", "already canceled or matched"),
}
NOT_FUNDER = "maker address not allowed, please use the deposit wallet flow"

# Faults of one request: how long its orders are held before they match or rest, and what orders are told that are not
# post-only while only those may be placed.
HOLD_MS: ContextVar[int] = ContextVar("hold_ms", default=0)
RESTRICTED: ContextVar[str] = ContextVar("restricted", default="")


class Posted(msgspec.Struct, kw_only=True):
    """Body of POST /order."""

    order: verify.SignedOrder
    owner: str
    orderType: Literal["GTC", "GTD", "FOK", "FAK"] = "GTC"
    postOnly: bool = False
    deferExec: bool = False


_one = msgspec.json.Decoder(Posted)
_many = msgspec.json.Decoder(list[Posted])


class OrderRoutes:
    """Handlers of everything that changes orders."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/order", self.post_order),
            web.post("/orders", self.post_orders),
            web.delete("/order", self.cancel_order),
            web.delete("/orders", self.cancel_orders),
            web.delete("/cancel-market-orders", self.cancel_market),
            web.delete("/cancel-all", self.cancel_all),
        ]

    # -- new orders ---------------------------------------------------------------------------------------------------

    async def post_order(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            posted = _one.decode(body)
        except msgspec.DecodeError:
            return refused(MALFORMED, 400)
        caller = authenticated(self._venue, request, body)
        self._spend(caller, ORDERS, 1)
        reply = await self._outcome(posted, *self._submit(caller, posted))
        headers = self._headers(caller, ORDERS)
        if reply["errorMsg"]:
            return refused(reply["errorMsg"], 400, headers)
        return answer(reply, headers=headers)

    async def post_orders(self, request: web.Request) -> web.Response:
        """A batch: refused legs have an errorMsg and no orderID, and yet success true."""
        body = await request.read()
        try:
            batch = _many.decode(body)
        except msgspec.DecodeError:
            return refused(MALFORMED, 400)
        caller = authenticated(self._venue, request, body)
        if len(batch) > BATCH_MAX:
            return refused(f"Too many orders in payload: {len(batch)}, max allowed: {BATCH_MAX}", 400)
        if not batch:
            return refused(MALFORMED, 400)
        self._spend(caller, ORDERS, len(batch))
        placed = [(posted, *self._submit(caller, posted)) for posted in batch]
        replies = await asyncio.gather(*(self._outcome(*leg) for leg in placed))
        return answer(replies, headers=self._headers(caller, ORDERS))

    def _spend(self, caller: Caller, kind: str, cost: int) -> None:
        """Charge the signer's trading budget. Raises Refusal 429 where the venue enforces it."""
        wait_s = self._venue.rates.spend(caller.account.address, kind, cost, wall_ms())
        if wait_s:
            headers = {**self._headers(caller, kind), "Retry-After": str(wait_s)}
            raise Refusal("Too Many Requests", 429, headers)

    def _headers(self, caller: Caller, kind: str) -> dict[str, str]:
        return self._venue.rates.headers(caller.account.address, kind, wall_ms())

    def _submit(self, caller: Caller, posted: Posted) -> tuple[str, rec.Submitted]:
        """Check and hand over one order: its id, and what the exchange said at once."""
        if RESTRICTED.get() and not posted.postOnly:
            return "", rec.Submitted(status="", error=RESTRICTED.get())
        try:
            submit = self._checked(caller, posted)
        except Refusal as refusal:
            return "", rec.Submitted(status="", error=refusal.text)
        submitted = self._venue.exchange.submit(submit, wall_ms(), HOLD_MS.get())
        self._venue.tell()
        return submit.order_id, submitted

    def _checked(self, caller: Caller, posted: Posted) -> rec.Submit:
        """The order as the exchange takes it. Raises Refusal with the first thing that is wrong."""
        order, account = posted.order, caller.account
        if posted.owner != caller.api_key:
            raise Refusal(NOT_OWNER)
        if account.state == BANNED or (account.state == CLOSED_ONLY and order.side == "BUY"):
            raise Refusal(f"'{order.signer}' address {'banned' if account.state == BANNED else 'in closed only mode'}")
        maker, signer = order.maker.lower(), order.signer.lower()
        nested = order.signatureType == verify.DEPOSIT_WALLET
        if signer != (maker if nested else account.address):
            raise Refusal(NOT_SIGNER)
        market = self._venue.exchange.by_token.get(order.tokenId)
        version = market.version if market is not None else min(self._venue.protocol, 2)
        if (order.timestamp is None) != (version == 1):
            raise Refusal(WRONG_VERSION)
        order_id = verify.order_digest(order, version)
        if verify.order_signer(order, order_id, version) != account.address:
            raise Refusal(BAD_SIGNATURE)
        if order.signatureType == 0 and maker != signer:
            raise Refusal(BAD_SIGNATURE)
        if self._venue.quirks.deposit_wallets_only and not nested:
            raise Refusal(NOT_FUNDER)
        if not self._venue.accounts.register_funder(account, order.signatureType, maker):
            raise Refusal(NOT_SIGNER if nested else NOT_FUNDER)
        if int(order.nonce):
            raise Refusal("invalid nonce")
        if market is not None and not self._venue.ready(market):
            raise Refusal(NOT_READY)
        px, qty = _price_and_size(posted, order_id, market)
        return rec.Submit(
            order_id=order_id,
            owner=maker,
            api_key=caller.api_key,
            token=order.tokenId,
            side=Side(order.side),
            px=px,
            qty=qty,
            order_type=posted.orderType,
            post_only=posted.postOnly,
            expiration_s=int(order.expiration),
        )

    async def _outcome(self, posted: Posted, order_id: str, submitted: rec.Submitted) -> dict[str, Any]:
        """The reply to one order, after its taker delay unless the caller would rather not wait."""
        if submitted.status == "delayed" and not posted.deferExec and not HOLD_MS.get():
            released = asyncio.Event()
            self._venue.held[order_id] = released.set
            await released.wait()
            submitted = self._released(order_id)
        trades = [self._venue.exchange.trades[trade_id] for trade_id in submitted.trade_ids]
        return {
            "success": True,
            "errorMsg": submitted.error,
            "orderID": "" if submitted.error else order_id,
            "status": submitted.status,
            "makingAmount": amount_text(submitted.making),
            "takingAmount": amount_text(submitted.taking),
            "transactionsHashes": [] if self._venue.quirks.late_hashes else [trade.tx_hash for trade in trades],
            "tradeIDs": submitted.trade_ids,
        }

    def _released(self, order_id: str) -> rec.Submitted:
        """What became of an order whose taker delay is over."""
        order = self._venue.exchange.order(order_id)
        assert order is not None
        every = [self._venue.exchange.trades[trade_id] for trade_id in order.trade_ids]
        taken = [trade for trade in every if trade.taker_order_id == order_id]
        if not taken and order.status.startswith(rec.CANCELED):
            reason = order.status.removeprefix(rec.CANCELED).lstrip("_")
            return rec.Submitted(status="", error=ENDED_WHILE_HELD.get(reason, reason))
        money = sum(trade.px * trade.qty // PX_ONE for trade in taken)
        tokens = sum(trade.qty for trade in taken)
        making, taking = (money, tokens) if order.side is Side.BUY else (tokens, money)
        return rec.Submitted(
            status="matched" if taken else "live",
            making=making,
            taking=taking,
            trade_ids=[trade.trade_id for trade in taken],
        )

    # -- cancels ------------------------------------------------------------------------------------------------------

    def _answer(self, caller: Caller, canceled: list[str], not_canceled: dict[str, str]) -> web.Response:
        self._venue.tell()
        if self._venue.quirks.reason_variants:
            not_canceled = {order_id: _other_words(order_id, text) for order_id, text in not_canceled.items()}
        return answer({"canceled": canceled, "not_canceled": not_canceled}, headers=self._headers(caller, CANCELS))

    def _cancel(self, caller: Caller, order_ids: list[str]) -> web.Response:
        """By id, among all owners the wallet acts for."""
        self._spend(caller, CANCELS, len(order_ids))
        exchange, account = self._venue.exchange, caller.account
        canceled: list[str] = []
        refused_ids: dict[str, str] = {}
        by_owner: dict[str, list[str]] = {}
        for order_id in dict.fromkeys(order_ids):
            order = exchange.order(order_id)
            owner = order.owner if order is not None and order.owner in account.owners else account.address
            by_owner.setdefault(owner, []).append(order_id)
        for owner, ids in by_owner.items():
            done, not_done = exchange.cancel(owner, ids, wall_ms())
            canceled += done
            refused_ids |= not_done
        return self._answer(caller, canceled, refused_ids)

    def _cancel_scope(self, caller: Caller, cancel: Callable[[str], tuple[list[str], dict[str, str]]]) -> web.Response:
        """Everything in some scope, for all owners: costs one token and one more for each order it cancelled."""
        self._spend(caller, CANCELS, 1)
        canceled: list[str] = []
        refused_ids: dict[str, str] = {}
        for owner in caller.account.owners:
            done, not_done = cancel(owner)
            canceled += done
            refused_ids |= not_done
        self._venue.rates.charge(caller.account.address, CANCELS, len(canceled), wall_ms())
        return self._answer(caller, canceled, refused_ids)

    async def _body(self, request: web.Request) -> tuple[Caller, Any]:
        body = await request.read()
        try:
            decoded = orjson.loads(body) if body else None
        except ValueError:
            raise Refusal("Invalid payload") from None
        return authenticated(self._venue, request, body), decoded

    async def cancel_order(self, request: web.Request) -> web.Response:
        caller, body = await self._body(request)
        if not isinstance(body, dict) or not isinstance(body.get("orderID"), str):
            return refused("Invalid orderID", 400)
        return self._cancel(caller, [body["orderID"]])

    async def cancel_orders(self, request: web.Request) -> web.Response:
        caller, body = await self._body(request)
        if not isinstance(body, list) or len(body) > CANCELS_MAX or not all(isinstance(name, str) for name in body):
            return refused("Invalid order ids", 400)
        return self._cancel(caller, body)

    async def cancel_market(self, request: web.Request) -> web.Response:
        caller, body = await self._body(request)
        if not isinstance(body, dict) or not (body.get("market") or body.get("asset_id")):
            return refused("Invalid payload", 400)
        market, token = str(body.get("market") or ""), str(body.get("asset_id") or "")
        return self._cancel_scope(
            caller, lambda owner: self._venue.exchange.cancel_market(owner, market, token, wall_ms())
        )

    async def cancel_all(self, request: web.Request) -> web.Response:
        caller, _ = await self._body(request)
        return self._cancel_scope(caller, lambda owner: self._venue.exchange.cancel_all(owner, wall_ms()))


def _other_words(order_id: str, text: str) -> str:
    """The same reason as some server of the venue puts it; which one depends on the order alone."""
    variants = REASONS.get(text, (text,))
    return variants[sum(order_id.encode()) % len(variants)]


def _price_and_size(posted: Posted, order_id: str, market: rec.SimMarket | None) -> tuple[int, int]:
    """Integers from the signed amounts. Raises Refusal.

    A resting order must sit on the grid exactly. The amounts of a market order are rounded by the clients, so its price
    is the nearest tick, and what is below one lot can never match and is dropped.
    """
    making, taking = int(posted.order.makerAmount), int(posted.order.takerAmount)
    money, qty = (making, taking) if posted.order.side == "BUY" else (taking, making)
    if not money or not qty:
        raise Refusal(MALFORMED)
    tick = market.tick if market is not None else 1
    if posted.orderType in ("FOK", "FAK"):
        return round(money * PX_ONE / qty / tick) * tick, qty // LOT * LOT
    px, rest = divmod(money * PX_ONE, qty)
    if rest:
        text = decimal_text(money * 10**6 // qty, 6)
        raise Refusal(f"order {order_id} is invalid. Price ({text}) breaks minimum tick size rule: {px_text(tick)}")
    return px, qty
