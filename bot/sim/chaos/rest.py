"""The venue's REST on the hub: requests in, replies out, with everything that can befall them on the way.

Bodies are those of the wire, so that the real gateway reads them; orders come as our own NewOrder, for nothing here is
signed. A request is served by a task of its own: it goes on when its client has given up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
import orjson

from bot.messages import NewOrder, Side
from bot.sim import records as rec
from bot.sim import spoilt
from bot.sim.chaos.hub import Group, Hub, Signal
from bot.sim.chaos.venue import API_KEY, OWNER, Venue
from bot.sim.faults import Fault
from bot.sim.render import amount_text, order_row, trade_row
from bot.sim.rules import POST_ONLY
from bot.units import LOT, NS_PER_MS, NS_PER_S, PX_ONE, Ns, scaled
from bot.venues.clob_answer import Reply

UNAUTHORIZED = "Unauthorized/Invalid api key"
LAST_PAGE = "LTE="
ROWS_FEWER = 25  # our lists of orders are short, and should have a second page at times
POSTS = ("POST /order", "POST /orders")
# What is held takes effect by then, whatever held it: below T_settle, since what lands later nobody can wait for.
LANDS_NS: Ns = 4_500 * NS_PER_MS
ALREADY = {
    "Order not found": ("Order not found", "Order not found or already canceled"),
    "Order already canceled": ("Order already canceled", "already canceled or matched"),
    "Order already matched": ("Order already matched", "order already matched", "already canceled or matched"),
}

_orders = msgspec.json.Decoder(list[NewOrder])
_order = msgspec.json.Decoder(NewOrder)


class Cut(Exception):
    """The connection is reset: the client hears at once that no answer will come."""


class Mute(Exception):
    """No answer ever comes, and nobody says so."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    body: bytes = b""
    query: dict[str, str] = field(default_factory=dict)
    _orders: list[NewOrder] | None = None

    @property
    def orders(self) -> list[NewOrder]:
        """Those of a POST."""
        if self._orders is None:
            self._orders = _orders.decode(self.body) if self.body.startswith(b"[") else [_order.decode(self.body)]
        return self._orders

    @property
    def subject(self) -> str:
        return f"{self.method} {self.path}"


def request_of(method: str, target: str, body: bytes) -> Request:
    path, _, query = target.partition("?")
    return Request(method, path, body, {name: values[0] for name, values in parse_qs(query).items()} if query else {})


class Rest:
    """Every route the bot uses. `serve` may wait; it raises Cut or Mute where no answer comes."""

    def __init__(self, hub: Hub, group: Group, venue: Venue) -> None:
        self._hub = hub
        self._group = group
        self._venue = venue
        self._cancelled_all = Signal(hub)
        self._cancels_all = 0
        self._orders_then: list[dict[str, Any]] = []
        self._cash_then: int | None = None
        self._hold_ms = 0
        self.submitted: Callable[[NewOrder, str], None] = lambda order, error: None
        # In the order in which a request would meet them; what answers instead of the handler has no effect.
        self._instead: dict[str, Callable[[Fault, Request], Reply | None]] = {
            "P15": self._blocked,
            "P13": self._too_many,
            "P11": self._restarting,
            "P12": lambda fault, _: _error(spoilt.CANCEL_ONLY if fault.kind == "cancel-only" else spoilt.DISABLED, 503),
            "A01": lambda fault, _: _error(UNAUTHORIZED, 401) if fault.kind == "reject" else None,
            "H03": self._no_beat,
            "P10": lambda fault, _: _error(spoilt.WRONG_VERSION, fault["status"]),
            "P05": lambda fault, request: _declined(request, fault["text"], 200),
            "P16": self._no_balance,
            "P18": self._would_cross,
            "C07": self._half_cancelled,
            "C08": self._old_orders,
            "C10": self._no_order,
        }
        faults = venue.faults
        faults.on_start("C08", lambda _: setattr(self, "_orders_then", self._rows()))
        faults.on_start("P16", lambda _: setattr(self, "_cash_then", venue.exchange.account(OWNER).cash))

    def serve(self, request: Request) -> Reply:
        faults, subject = self._venue.faults, request.subject
        if not faults.busy:
            return self._handle(request)
        faults.called(subject, self._venue.age_s)
        if faults.busy:
            for fault_id, instead in self._instead.items():
                fault = self._venue.hit(fault_id, subject)
                if fault is not None and (found := instead(fault, request)) is not None:
                    return found
        return self._handled(subject, request)

    def _handled(self, subject: str, request: Request) -> Reply:
        """With effect: held before, prepared, and its answer spoilt afterwards."""
        hit = self._venue.hit
        lands_ns = self._hub.now_ns + LANDS_NS
        for fault_id in ("P14", "C04"):
            if (fault := hit(fault_id, subject)) is not None:
                self._hold(fault["delay_ms"] * NS_PER_MS, lands_ns)
        if (fault := hit("C05", subject)) is not None:
            self._hold_till_cancelled(fault, lands_ns)
        if hit("H01", subject) is not None:
            self._venue.beats.expected = f"other-{self._venue.clock()}"
            self._venue.beats.refresh(self._venue.now_ms)
        ended = hit("C01", subject)
        if ended is not None:
            self._end_first(ended, request)
        for fault_id in ("P01", "P02", "P06", "C03"):
            if (fault := hit(fault_id, subject)) is not None:
                return self._break(fault, request, lands_ns)
        held = hit("P09", subject)
        if subject in POSTS and hit("S06", "taker") is not None:
            self._cross(request)
        self._hold_ms = held["delay_ms"] if held is not None else 0
        reply = self._handle(request)
        self._hold_ms = 0
        if ended is not None:
            reply = _changed(reply, lambda body: spoilt.reasoned(body, ended["text"]))
        if held is not None and held.kind == "unmatched":
            reply = _changed(reply, lambda body: spoilt.legs_changed(body, spoilt.unmatched))
        if hit("P04", subject) is not None:
            reply = _duplicated(reply)
        if (fault := hit("C02", subject)) is not None:
            self._fill_later(fault, reply)
        if (fault := hit("U04", subject)) is not None:
            self._fill_first(fault, reply)
        if subject.startswith("GET /data/"):
            if hit("U07", subject) is not None:
                reply = _changed(reply, lambda body: spoilt.prefixed(body, subject))
            if hit("U12", subject) is not None:
                reply = _changed(reply, spoilt.without_newest)
        return reply

    # -- the good venue --------------------------------------------------------------------------------------------

    def _handle(self, request: Request) -> Reply:
        match request.method, request.path:
            case "POST", "/order":
                row = self._post(request.orders[0])
                return _error(row["errorMsg"], 400) if row["errorMsg"] else _reply(row)
            case "POST", "/orders":
                return _reply([self._post(order) for order in request.orders])
            case "DELETE", "/order":
                return self._cancelled(*self._cancel([orjson.loads(request.body)["orderID"]]))
            case "DELETE", "/orders":
                return self._cancelled(*self._cancel(orjson.loads(request.body)))
            case "DELETE", "/cancel-all":
                self._cancels_all += 1
                self._cancelled_all.notify_all()
                return self._cancelled(*self._venue.exchange.cancel_all(OWNER, self._venue.now_ms))
            case "DELETE", "/cancel-market-orders":
                market = orjson.loads(request.body)["market"]
                return self._cancelled(*self._venue.exchange.cancel_market(OWNER, market, now_ms=self._venue.now_ms))
            case "GET", "/data/orders":
                return _page(self._rows(), request, self._venue.quirks.page_size // ROWS_FEWER)
            case "GET", "/data/trades":
                return _page(self._trades(request), request, self._venue.quirks.page_size)
            case "GET", "/balance-allowance":
                account, token = self._venue.exchange.account(OWNER), request.query.get("token_id", "")
                held = account.tokens.get(token, 0) if token else account.cash
                return _reply({"balance": str(held), "allowances": {}})
            case "GET", "/time":
                return Reply(200, {}, str(int(self._venue.now_ms / 1000 + self._venue.skew_s)).encode())
            case "POST", "/v1/heartbeats":
                return self._beat(orjson.loads(request.body)["heartbeat_id"])
            case "GET", path if path.startswith("/data/order/"):
                return self._one(path.rpartition("/")[2])
        raise AssertionError(f"no such route: {request.subject}")

    def _post(self, order: NewOrder) -> dict[str, Any]:
        money, qty = (
            (order.maker_amount, order.taker_amount)
            if order.side is Side.BUY
            else (order.taker_amount, order.maker_amount)
        )
        px, rest = divmod(money * PX_ONE, qty)
        assert not rest, "an order off the grid of prices"
        submitted = self._venue.exchange.submit(
            rec.Submit(
                order_id=order.order_id,
                owner=OWNER,
                api_key=API_KEY,
                token=order.asset_id,
                side=order.side,
                px=px,
                qty=qty,
                post_only=self._venue.crossing != order.order_id,
            ),
            self._venue.now_ms,
            self._hold_ms,
        )
        self.submitted(order, submitted.error)
        self._venue.tell()
        return {
            "success": True,
            "errorMsg": submitted.error,
            "orderID": "" if submitted.error else order.order_id,
            "status": submitted.status,
            "makingAmount": amount_text(submitted.making),
            "takingAmount": amount_text(submitted.taking),
            "transactionsHashes": [],
            "tradeIDs": submitted.trade_ids,
        }

    def _cancel(self, order_ids: Collection[str]) -> tuple[list[str], dict[str, str]]:
        return self._venue.exchange.cancel(OWNER, list(order_ids), self._venue.now_ms)

    def _cancelled(self, canceled: list[str], not_canceled: dict[str, str]) -> Reply:
        self._venue.tell()
        if self._venue.quirks.reason_variants:
            not_canceled = {name: _other_words(name, text) for name, text in not_canceled.items()}
        return _reply({"canceled": canceled, "not_canceled": not_canceled})

    def _rows(self) -> list[dict[str, Any]]:
        return [self._row(order) for order in self._venue.open_orders()]

    def _row(self, order: rec.Order) -> dict[str, Any]:
        row = order_row(order, self._venue.exchange.markets[order.condition_id])
        return row | {"status": "ORDER_STATUS_" + row["status"]} if self._venue.quirks.status_prefixes else row

    def _trades(self, request: Request) -> list[dict[str, Any]]:
        exchange, quirks = self._venue.exchange, self._venue.quirks
        market = request.query.get("market", "")
        prefix = "TRADE_STATUS_" if quirks.status_prefixes else ""
        rows = []
        for trade in reversed(exchange.trades_of(OWNER, int(request.query.get("after", "0")))):
            if market in ("", trade.condition_id):
                row = trade_row(trade, exchange.markets[trade.condition_id], OWNER, quirks.late_hashes)
                rows.append(row | {"status": prefix + row["status"]})
        return rows

    def _one(self, order_id: str) -> Reply:
        order = self._venue.exchange.order(order_id)
        if order is None or order.owner != OWNER or (self._venue.quirks.dead_orders_null and not order.open):
            return _reply(None)
        return _reply(self._row(order))

    def _beat(self, heartbeat_id: str) -> Reply:
        beats = self._venue.beats
        if beats.beat(heartbeat_id, self._venue.now_ms):
            return _reply({"heartbeat_id": beats.expected})
        error = {self._venue.quirks.heartbeat_error_key: "Invalid Heartbeat ID"}
        return _reply({**error, "heartbeat_id": beats.expected}, 400)

    # -- broken answers ----------------------------------------------------------------------------------------------

    def _break(self, fault: Fault, request: Request, lands_ns: Ns) -> Reply:
        """The connection or the answer is lost, with or without effect."""
        match fault.kind:
            case "lost":
                raise Cut
            case "late":
                late_ns = min(fault["delay_ms"] * NS_PER_MS, lands_ns - self._hub.now_ns)
                self._hub.spawn(self._group, lambda: self._handle(request), late_ns)
                raise Cut
        if fault.entry.extras.get("effect") is None or fault["effect"]:
            self._handle(request)
        match fault.kind:
            case "silent":
                raise Mute
            case "reset":
                raise Cut
            case "html":
                return Reply(502 if fault.id == "P02" else 200, {}, spoilt.BAD_GATEWAY.encode())
            case "empty":
                return Reply(503 if fault.id == "P02" else 200, {}, b"")
            case "json":
                return _reply({"ok": True})
            case "425":
                return Reply(425, {}, b"service not ready")
            case "429":
                return _error("Too Many Requests", 429)
        return _error(fault["text"] if fault.id == "P02" else "internal server error", 500)

    # -- instead of an answer ----------------------------------------------------------------------------------------

    def _blocked(self, fault: Fault, request: Request) -> Reply:
        if fault.kind == "geo":
            return _error(spoilt.GEOBLOCKED, 403)
        return Reply(403, {}, spoilt.BLOCKED.encode())

    def _too_many(self, fault: Fault, request: Request) -> Reply:
        headers = {"retry-after": str(fault["retry_after_s"])}
        if fault.kind == "edge":
            return Reply(429, headers, b"error code: 1015")
        return _error("Too Many Requests", 429, {"poly-ratelimit-remaining": "0", **headers})

    def _restarting(self, fault: Fault, request: Request) -> Reply | None:
        if fault.kind == "post-only":
            return None  # which ours always are
        return Reply(425, {}, b"" if fault.kind == "empty" else b"service not ready")

    def _no_beat(self, fault: Fault, request: Request) -> Reply:
        if fault.kind == "silent":
            raise Mute
        return _error(UNAUTHORIZED, 401) if fault.kind == "401" else _error("internal server error", 500)

    def _no_balance(self, fault: Fault, request: Request) -> Reply | None:
        if fault.kind == "stale":
            if request.method != "GET" or self._cash_then is None or "token_id" in request.query:
                return None
            return _reply({"balance": str(self._cash_then), "allowances": {}})
        cash = self._venue.exchange.account(OWNER).cash
        return _declined(request, f"{spoilt.NO_BALANCE} -> balance: {cash}, sum of matched orders: {cash}", 400)

    def _would_cross(self, fault: Fault, request: Request) -> Reply:
        order_id = request.orders[0].order_id
        return _declined(request, POST_ONLY if fault.kind == "text" else f"order {order_id} crosses the book", 400)

    def _half_cancelled(self, fault: Fault, request: Request) -> Reply:
        """What it says of each order, and for half of them (`partial`) what it does."""
        market = orjson.loads(request.body)["market"] if request.body else ""
        ids = [order.order_id for order in self._venue.open_orders() if market in ("", order.condition_id)]
        match fault.kind:
            case "lies":
                return _reply({"canceled": ids, "not_canceled": {}})
            case "empty":
                return _reply({"canceled": [], "not_canceled": {}})
            case "refused":
                return _reply({"canceled": [], "not_canceled": dict.fromkeys(ids, "could not cancel order")})
        canceled, _ = self._cancel(ids[: len(ids) // 2])
        self._venue.tell()
        return _reply({"canceled": canceled, "not_canceled": {}})

    def _no_order(self, fault: Fault, request: Request) -> Reply:
        match fault.kind:
            case "null":
                return _reply(None)
            case "404":
                return _error("order not found", 404)
            case "reset":
                raise Cut
        return _error("internal server error", 500)

    def _old_orders(self, fault: Fault, request: Request) -> Reply:
        rows = self._orders_then if fault.kind == "stale" else self._rows()
        if fault.kind == "missing":
            rows = rows[:-1]
        return _page(rows, request, 1 if fault.kind == "paged" else self._venue.quirks.page_size)

    # -- before and after ----------------------------------------------------------------------------------------------

    def _hold(self, delay_ns: Ns, lands_ns: Ns) -> None:
        self._hub.pause(min(delay_ns, lands_ns - self._hub.now_ns))

    def _hold_till_cancelled(self, fault: Fault, lands_ns: Ns) -> None:
        before, hang_s = self._cancels_all, min(fault["hang_s"], (lands_ns - self._hub.now_ns) / NS_PER_S)
        if self._cancelled_all.wait_for(lambda: self._cancels_all > before, hang_s):
            self._hold(fault["delay_ms"] * NS_PER_MS, lands_ns)

    def _end_first(self, fault: Fault, request: Request) -> None:
        body = orjson.loads(request.body)
        for order_id in [body["orderID"]] if isinstance(body, dict) else body:
            order = self._venue.exchange.order(order_id)
            if order is not None and fault.kind == "matched":
                self._venue.exchange.sweep(order_id, order.leaves, self._venue.now_ms)
            elif order is not None:
                self._venue.exchange.cancel_by_venue([order_id], rec.CANCELED, self._venue.now_ms)
        self._venue.tell()

    def _fill_later(self, fault: Fault, reply: Reply) -> None:
        """A fill that the match engine had made before the cancel reached it."""
        if reply.status != 200:
            return
        canceled = orjson.loads(reply.body)["canceled"]

        def fill() -> None:
            for order_id in canceled:
                order, size = self._venue.exchange.order(order_id), scaled(fault["size"], 6)
                if order is not None and self._venue.exchange.sweep(order_id, size, self._venue.now_ms):
                    self._venue.surprise[order.condition_id] += size
                    break
            self._venue.tell()

        self._hub.later(fault["delay_ms"] * NS_PER_MS, fill)

    def _fill_first(self, fault: Fault, reply: Reply) -> None:
        if reply.status != 200:
            return
        rows = orjson.loads(reply.body)
        for row in rows if isinstance(rows, list) else [rows]:
            order = self._venue.exchange.order(row.get("orderID", ""))
            if order is not None:
                self._venue.meet(order, order.qty // 4)
        self._hub.pause(int(fault["delay_s"] * NS_PER_S))

    def _cross(self, request: Request) -> None:
        """Post-only forgotten, and somebody there to be taken: our purchase becomes the taker's."""
        order = request.orders[0]
        market = self._venue.exchange.by_token.get(order.asset_id)
        if market is None or not market.accepting or order.side is Side.SELL:
            return
        self._venue.trade(order.asset_id, Side.SELL, order.px, order.order_qty // 2 // LOT * LOT, "GTC")
        self._venue.crossing = order.order_id


def _reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, {}, orjson.dumps(body))


def _error(text: str, status: int, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, orjson.dumps({"error": text}))


def _declined(request: Request, text: str, status: int) -> Reply:
    """A refusal of one order, or of each leg of a batch."""
    legs = [{"success": False, "errorMsg": text, "orderID": "", "status": ""} for _ in request.orders]
    if request.path == "/orders":
        return _reply(legs)
    return _reply(legs[0]) if status == 200 else _error(text, status)


def _changed(reply: Reply, change: Callable[[Any], Any]) -> Reply:
    return _reply(change(orjson.loads(reply.body))) if reply.status == 200 else reply


def _duplicated(reply: Reply) -> Reply:
    """The answer of a second copy, where the first was accepted."""
    if reply.status != 200:
        return reply
    body = orjson.loads(reply.body)
    if isinstance(body, list):
        return _reply([spoilt.duplicate(leg) for leg in body])
    return _error(spoilt.duplicate(body)["errorMsg"], 400)


def _page(rows: list[Any], request: Request, size: int) -> Reply:
    cursor = request.query.get("next_cursor", "MA==")
    start = 0 if cursor == "MA==" else int(cursor)
    more = start + size < len(rows)
    return _reply({"data": rows[start : start + size], "next_cursor": str(start + size) if more else LAST_PAGE})


def _other_words(order_id: str, text: str) -> str:
    variants = ALREADY.get(text, (text,))
    return variants[sum(order_id.encode()) % len(variants)]
