"""The venue's private REST calls as messages in and facts out: post, cancel, read, beat. Decides nothing and keeps no order.

One ClobApi has one connection and belongs to one thread. A new order is written at most once, whatever happens; cancels
and reads, which may be repeated, get a second try on a fresh connection while their deadline lasts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from bot.errors import FrameError, VenueRefused, VenueUnavailable
from bot.messages import (
    Balance,
    BalanceRequest,
    CancelOrder,
    ExecutionReport,
    FoundStatus,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderStatusReport,
    OrderStatusRequest,
    Reject,
    Source,
    TradesRead,
    TradesRequest,
)
from bot.ports import Clock
from bot.units import NS_PER_S
from bot.venues.clob_http import DEADLINE_S, Reply, RequestFailed
from bot.venues.clob_outcomes import (
    cancel_lists,
    cancel_outcomes,
    cancel_unknown,
    parsed,
    post_outcomes,
    refused,
    unknown,
)
from bot.venues.polymarket_trades import decimal_of, legs, side_of, text_of
from bot.venues.signing import Credentials, Signer, batch_body, hmac_headers

FIRST_PAGE = "MA=="
LAST_PAGE = "LTE="
PAGES_MAX = 50
WARM_AFTER_S = 4.0
BEAT_S = 1.5  # a slow beat is given up early, so that two more fit before the gate finds the last one too old
RETRY_LEFT_S = 1.0  # with less than this left, a failed cancel or read is not tried again

_OVER_WORDS = {"MATCHED": FoundStatus.MATCHED, "INVALID": FoundStatus.CANCELED}
_LIVE_WORDS = ("LIVE", "DELAYED", "UNMATCHED")


class Http(Protocol):
    """What of clob_http.Connection is used."""

    used_s: float

    def ready(self, until: float | None = None) -> None: ...

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """Answer to one beat. `ambiguous`: the beat may have counted although no good answer came."""

    accepted: bool
    next_id: str = ""
    expected_id: str = ""  # the id the venue says it expected
    status: int = 0
    ambiguous: bool = False
    text: str = ""


def found_status(text: object) -> FoundStatus:
    """A status word with or without prefix; every CANCELED_... is CANCELED. Raises FrameError."""
    word = str(text or "").upper().removeprefix("ORDER_STATUS_")
    if word.startswith(("CANCELED", "CANCELLED")):
        return FoundStatus.CANCELED
    if word in _LIVE_WORDS:
        return FoundStatus.LIVE
    if word in _OVER_WORDS:
        return _OVER_WORDS[word]
    raise FrameError(f"unknown order status {text!r}")


class ClobApi:
    """Invariant: every message given is answered by exactly one outcome, good, refused or unknown; nothing raises."""

    def __init__(
        self,
        http: Http,
        signer: Signer,
        credentials: Credentials,
        *,
        utc: Callable[[], float] = time.time,
        clock: Clock = time.monotonic_ns,
        wallets: Collection[str] = (),
    ) -> None:
        """`utc` is venue-corrected seconds, for signatures; `wallets` besides the funder also mark trades as ours."""
        self._http = http
        self._signer = signer
        self._api_key = credentials.api_key
        self._headers = hmac_headers(credentials, signer.address)
        self._utc = utc
        self._clock = clock
        self._wallets = frozenset({signer.funder.lower(), *(wallet.lower() for wallet in wallets)})
        self.rate: dict[str, str] = {}  # the venue's last rate-limit headers

    def _now_s(self) -> float:
        """Deadlines are in seconds of the injected clock, which the connection shares."""
        return self._clock() / NS_PER_S

    # -- orders ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Have a live connection before an order passes the gate. Raises RequestFailed."""
        self._http.ready()

    def post_orders(
        self, orders: Sequence[NewOrder], written: Callable[[list[str]], None] | None = None
    ) -> list[Message]:
        """One order by POST /order, up to 15 by POST /orders; `written` hears their ids once the bytes have left."""
        assert 1 <= len(orders) <= 15, "the venue takes 1 to 15 orders at a time"
        bodies = [self._signer.body(order, self._api_key) for order in orders]
        path, body = ("/order", bodies[0]) if len(bodies) == 1 else ("/orders", batch_body(bodies))
        ids = [order.order_id for order in orders]
        try:
            reply = self._send("POST", path, body=body, written=None if written is None else lambda: written(ids))
        except RequestFailed as error:
            now_ns = self._clock()
            if error.sent:
                return [unknown(order, str(error), now_ns) for order in orders]
            return [refused(order, Reject.OTHER, f"not sent: {error}", Source.GATE, now_ns) for order in orders]
        return post_outcomes(orders, reply, self._clock())

    def cancel_orders(self, cancels: Sequence[CancelOrder], written: Callable[[], None] | None = None) -> list[Message]:
        assert cancels, "nothing to cancel"
        if len(cancels) == 1:
            path, body = "/order", b'{"orderID":"%s"}' % cancels[0].order_id.encode()
        else:
            ids = dict.fromkeys(cancel.order_id for cancel in cancels)
            path, body = "/orders", b'["%s"]' % '","'.join(ids).encode()
        try:
            reply = self._repeat("DELETE", path, body=body, written=written)
        except RequestFailed as error:
            return [cancel_unknown(cancel, str(error), self._clock()) for cancel in cancels]
        return cancel_outcomes(cancels, reply, self._clock())

    def cancel_all(self, request: MassCancel, written: Callable[[], None] | None = None) -> MassCancelReport:
        """All orders of the wallet's key, or of one market."""
        asked_ns = self._clock()
        path, body = "/cancel-all", b""
        if request.symbol:
            path, body = "/cancel-market-orders", b'{"market":"%s"}' % request.symbol.encode()
        try:
            done, left = cancel_lists(self._repeat("DELETE", path, body=body, written=written))
        except (VenueUnavailable, FrameError) as error:
            return MassCancelReport(
                symbol=request.symbol, known=False, asked_ns=asked_ns, recv_ns=self._clock(), text=str(error)
            )
        return MassCancelReport(
            symbol=request.symbol,
            known=True,
            canceled=tuple(done),
            not_canceled=tuple(left),
            asked_ns=asked_ns,
            recv_ns=self._clock(),
            text="; ".join(sorted(set(left.values())))[:200],
        )

    # -- reads -------------------------------------------------------------------------------------------------------

    def open_orders(self, asked_ns: int) -> OpenOrders:
        try:
            rows = self._pages("/data/orders", {}, self._now_s() + DEADLINE_S)
            orders = tuple(_open_order(row) for row in rows if found_status(row.get("status")) is FoundStatus.LIVE)
        except (VenueUnavailable, FrameError) as error:
            return OpenOrders(orders=None, asked_ns=asked_ns, recv_ns=self._clock(), text=str(error))
        return OpenOrders(orders=orders, asked_ns=asked_ns, recv_ns=self._clock())

    def trades(self, request: TradesRequest) -> TradesRead:
        after, asked_ns = request.after_utc_s, request.asked_ns
        try:
            found = self._trades({"after": str(after)}, self._now_s() + DEADLINE_S)
        except (VenueUnavailable, FrameError) as error:
            return TradesRead(trades=None, after_utc_s=after, asked_ns=asked_ns, recv_ns=self._clock(), text=str(error))
        return TradesRead(trades=tuple(found), after_utc_s=after, asked_ns=asked_ns, recv_ns=self._clock())

    def order_status(self, request: OrderStatusRequest) -> OrderStatusReport:
        """The order first, then its trades: they are at least as new as its matched size."""
        until = self._now_s() + DEADLINE_S
        found, cum_qty = FoundStatus.ABSENT, 0
        try:
            order = self._order(request.order_id, until)
            if order is not None:
                found = found_status(order.get("status"))
                cum_qty = decimal_of(order, "size_matched", 6) if order.get("size_matched") else 0
            trades = self._trades({"market": request.symbol} if request.symbol else {}, until)
        except (VenueUnavailable, FrameError) as error:
            return OrderStatusReport(
                order_id=request.order_id,
                cl_ord_id=request.cl_ord_id,
                found=None,
                asked_ns=request.asked_ns,
                recv_ns=self._clock(),
                text=str(error),
            )
        return OrderStatusReport(
            order_id=request.order_id,
            cl_ord_id=request.cl_ord_id,
            found=found,
            cum_qty=cum_qty,
            trades=tuple(trade for trade in trades if trade.order_id == request.order_id),
            asked_ns=request.asked_ns,
            recv_ns=self._clock(),
        )

    def balance(self, request: BalanceRequest) -> Balance:
        query = {"asset_type": "COLLATERAL", "signature_type": str(self._signer.signature_type)}
        try:
            value = self._json("/balance-allowance", query, self._now_s() + DEADLINE_S)
            cash = decimal_of(value, "balance", 0) if isinstance(value, Mapping) else None
            if cash is None:
                raise FrameError("the balance is no object")
        except (VenueUnavailable, FrameError) as error:
            return Balance(cash=None, asked_ns=request.asked_ns, recv_ns=self._clock(), text=str(error))
        return Balance(cash=cash, asked_ns=request.asked_ns, recv_ns=self._clock())

    # -- the rest ----------------------------------------------------------------------------------------------------

    def heartbeat(self, heartbeat_id: str) -> HeartbeatResult:
        """One beat, sent once: whether to repeat it with which id is the caller's decision."""
        body = b'{"heartbeat_id":"%s"}' % heartbeat_id.encode()
        try:
            reply = self._send("POST", "/v1/heartbeats", body=body, until=self._now_s() + BEAT_S)
        except RequestFailed as error:
            return HeartbeatResult(False, ambiguous=error.sent, text=str(error))
        try:
            value = parsed(reply.body)
        except FrameError:
            value = None
        named = value.get("heartbeat_id") if isinstance(value, Mapping) else None
        named = named if isinstance(named, str) else ""
        if reply.status == 200 and isinstance(value, Mapping) and (named or value.get("status") == "ok"):
            return HeartbeatResult(True, next_id=named, status=200)
        text = ascii(reply.body[:120].decode("latin-1"))
        ambiguous = reply.status not in (400, 401, 403, 404, 429)
        return HeartbeatResult(False, expected_id=named, status=reply.status, ambiguous=ambiguous, text=text)

    def server_time(self) -> float:
        """The venue's wall clock in whole seconds. Raises VenueUnavailable or FrameError."""
        reply = self._http.request("GET", "/time")
        if reply.status != 200:
            raise VenueUnavailable(f"GET /time: HTTP {reply.status}")
        try:
            return float(int(reply.body))
        except ValueError as error:
            raise FrameError("the venue's time is no number") from error

    def warm(self) -> None:
        """Keep the connection open: a cheap read when it was idle for a while. A failure waits for the next call."""
        try:
            self._http.ready()
            if self._now_s() - self._http.used_s > WARM_AFTER_S:
                self._http.request("GET", "/time", until=self._now_s() + 1.0)
        except RequestFailed:
            self._http.close()

    def close(self) -> None:
        self._http.close()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        headers = self._headers(method, path, body, int(self._utc()))
        reply = self._http.request(method, path + query, headers=headers, body=body, until=until, written=written)
        if "poly-ratelimit-remaining" in reply.headers or reply.status == 429:
            wanted = ("poly-ratelimit-", "retry-after")
            self.rate = {name: value for name, value in reply.headers.items() if name.startswith(wanted)}
        return reply

    def _repeat(
        self,
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        """For what may be sent twice. The second try shares the first one's deadline. Raises RequestFailed."""
        if until is None:
            until = self._now_s() + DEADLINE_S
        try:
            return self._send(method, path, query, body, until, written)
        except RequestFailed:
            if until - self._now_s() < RETRY_LEFT_S:
                raise
            return self._send(method, path, query, body, until, written)

    def _json(self, path: str, query: Mapping[str, str], until: float) -> Any:
        """Raises VenueUnavailable or FrameError."""
        reply = self._repeat("GET", path, "?" + urlencode(query) if query else "", until=until)
        if reply.status != 200:
            raise VenueUnavailable(f"GET {path}: HTTP {reply.status}")
        return parsed(reply.body)

    def _pages(self, path: str, query: Mapping[str, str], until: float) -> list[Mapping[str, Any]]:
        """Every row of every page, or an exception: a part is never returned."""
        rows: list[Mapping[str, Any]] = []
        cursor, seen = FIRST_PAGE, set[str]()
        while cursor != LAST_PAGE:
            if cursor in seen or len(seen) >= PAGES_MAX:
                raise FrameError(f"GET {path}: pages without end")
            seen.add(cursor)
            page = self._json(path, {**query, "next_cursor": cursor}, until)
            data = page.get("data") if isinstance(page, Mapping) else None
            following = page.get("next_cursor") if isinstance(page, Mapping) else None
            if not isinstance(data, list) or not isinstance(following, str) or not following:
                raise FrameError(f"GET {path}: a page without data or next_cursor")
            if not all(isinstance(row, Mapping) for row in data):
                raise FrameError(f"GET {path}: a row is no object")
            rows += data
            cursor = following
        return rows

    def _trades(self, query: Mapping[str, str], until: float) -> list[ExecutionReport]:
        rows = self._pages("/data/trades", query, until)
        now_ns = self._clock()
        found: list[ExecutionReport] = []
        for row in rows:
            found += legs(row, api_key=self._api_key, wallets=self._wallets, source=Source.READ, recv_ns=now_ns)
        return found

    def _order(self, order_id: str, until: float) -> Mapping[str, Any] | None:
        """None: the venue says null or 404, in its own JSON. Raises VenueUnavailable or FrameError."""
        path = f"/data/order/{order_id}"
        reply = self._repeat("GET", path, until=until)
        if reply.status not in (200, 404):
            raise VenueUnavailable(f"GET /data/order: HTTP {reply.status}")
        value = parsed(reply.body)
        if reply.status == 404 or value is None or value == {}:
            return None
        if not isinstance(value, Mapping) or str(value.get("id", "")).lower() != order_id:
            raise FrameError("GET /data/order: the answer is not this order")
        return value


def _open_order(row: Mapping[str, Any]) -> OpenOrder:
    return OpenOrder(
        order_id=text_of(row, "id").lower(),
        symbol=text_of(row, "market"),
        asset_id=text_of(row, "asset_id"),
        side=side_of(row.get("side")),
        px=decimal_of(row, "price", 4),
        order_qty=decimal_of(row, "original_size", 6),
        cum_qty=decimal_of(row, "size_matched", 6) if row.get("size_matched") else 0,
    )


def derive_credentials(rest_url: str, private_key: str, chain_id: int, signature_type: int, funder: str) -> Credentials:
    """Create or derive the wallet's API key with the vendor's client. Raises VenueRefused or VenueUnavailable."""
    from py_clob_client_v2.client import ClobClient  # 0.9 s and 40 MB: loaded only where a live wallet needs it
    from py_clob_client_v2.exceptions import PolyApiException

    logging.getLogger("py_clob_client_v2").setLevel(logging.CRITICAL)  # its failures come back as one line of ours
    client = ClobClient(rest_url, chain_id, key=private_key, signature_type=signature_type, funder=funder or None)
    try:
        made = client.create_or_derive_api_key()
    except PolyApiException as error:
        status = getattr(error, "status_code", None)
        if status is not None and status < 500:
            raise VenueRefused(f"no API key for this wallet: {error}", status) from None
        raise VenueUnavailable("the venue gave no API key") from None
    return Credentials(made.api_key, made.api_secret, made.api_passphrase)
