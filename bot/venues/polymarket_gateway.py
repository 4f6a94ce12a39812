"""The venue's private REST calls as messages in and facts out: post, cancel, read, beat. Decides nothing and keeps no order.

One ClobApi has one connection and belongs to one thread. A new order is written at most once, whatever happens; cancels
and reads, which may be repeated, get a second try on a fresh connection while their deadline lasts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from bot.errors import FrameError, VenueRefused, VenueUnavailable
from bot.messages import (
    Balance,
    BalanceRequest,
    Budgeted,
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
    RateLeft,
    Reject,
    Shares,
    SharesRequest,
    Source,
    TradesRead,
    TradesRequest,
)
from bot.ports import Clock
from bot.venues.clob_calls import Calls, order_word, parsed
from bot.venues.clob_http import DEADLINE_S, RequestFailed
from bot.venues.clob_login import Credentials, hmac_headers
from bot.venues.clob_outcomes import cancel_outcomes, cancel_unknown, post_outcomes, refused, unknown
from bot.venues.polymarket_trades import decimal_of, legs, side_of, text_of
from bot.venues.signing import Signer, batch_body

if TYPE_CHECKING:
    from bot.venues.clob_calls import Http

BEAT_S = 1.5  # a slow beat is given up early, so that two more fit before the gate finds the last one too old


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
    """Raises FrameError."""
    return FoundStatus(order_word(text).lower())


class ClobApi:
    """Invariant: every message given is answered by exactly one outcome, good, refused or unknown; nothing raises.

    After the outcomes stands what the venue said of its budget, where it did.
    """

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
        self.calls = Calls(http, hmac_headers(credentials, signer.address), utc=utc, clock=clock, loads=orjson.loads)
        self._signer = signer
        self._api_key = credentials.api_key
        self._clock = clock
        self._wallets = frozenset({signer.funder.lower(), *(wallet.lower() for wallet in wallets)})

    # -- orders ------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Have a live connection before an order passes the gate. Raises RequestFailed."""
        self.calls.ready()

    def post_orders(
        self, orders: Sequence[NewOrder], written: Callable[[list[str]], None] | None = None
    ) -> list[Message]:
        """One order by POST /order, up to 15 by POST /orders; `written` hears their ids once the bytes have left."""
        assert 1 <= len(orders) <= 15, "the venue takes 1 to 15 orders at a time"
        bodies = [self._signer.body(order, self._api_key) for order in orders]
        path, body = ("/order", bodies[0]) if len(bodies) == 1 else ("/orders", batch_body(bodies))
        ids = [order.order_id for order in orders]
        try:
            reply = self.calls.send("POST", path, body=body, written=None if written is None else lambda: written(ids))
        except RequestFailed as error:
            now_ns = self._clock()
            if error.sent:
                return [unknown(order, str(error), now_ns) for order in orders]
            return [refused(order, Reject.OTHER, f"not sent: {error}", Source.GATE, now_ns) for order in orders]
        return post_outcomes(orders, reply, self._clock()) + self._left(Budgeted.ORDERS)

    def cancel_orders(self, cancels: Sequence[CancelOrder], written: Callable[[], None] | None = None) -> list[Message]:
        assert cancels, "nothing to cancel"
        try:
            reply = self.calls.cancel([cancel.order_id for cancel in cancels], written)
        except RequestFailed as error:
            return [cancel_unknown(cancel, str(error), self._clock()) for cancel in cancels]
        return cancel_outcomes(cancels, reply, self._clock()) + self._left(Budgeted.CANCELS)

    def _left(self, kind: Budgeted) -> list[Message]:
        return [] if self.calls.left is None else [RateLeft(kind=kind, left=self.calls.left)]

    def cancel_all(self, request: MassCancel, written: Callable[[], None] | None = None) -> MassCancelReport:
        """All orders of the wallet's key, or of one market."""
        asked_ns = self._clock()
        try:
            done, left = self.calls.cancel_all(request.symbol, written)
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
            orders = tuple(_open_order(row) for row in self.calls.open_rows())
        except (VenueUnavailable, FrameError) as error:
            return OpenOrders(orders=None, asked_ns=asked_ns, recv_ns=self._clock(), text=str(error))
        return OpenOrders(orders=orders, asked_ns=asked_ns, recv_ns=self._clock())

    def trades(self, request: TradesRequest) -> TradesRead:
        after, asked_ns = request.after_utc_s, request.asked_ns
        try:
            found = self._trades({"after": str(after)}, self.calls.until(DEADLINE_S))
        except (VenueUnavailable, FrameError) as error:
            return TradesRead(trades=None, after_utc_s=after, asked_ns=asked_ns, recv_ns=self._clock(), text=str(error))
        return TradesRead(trades=tuple(found), after_utc_s=after, asked_ns=asked_ns, recv_ns=self._clock())

    def order_status(self, request: OrderStatusRequest) -> OrderStatusReport:
        """The order first, then its trades: they are at least as new as its matched size."""
        until = self.calls.until(DEADLINE_S)
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
        cash, text = self._held({"asset_type": "COLLATERAL"})
        return Balance(cash=cash, asked_ns=request.asked_ns, recv_ns=self._clock(), text=text)

    def shares(self, request: SharesRequest) -> Shares:
        qty, text = self._held({"asset_type": "CONDITIONAL", "token_id": request.asset_id})
        return Shares(
            symbol=request.symbol,
            asset_id=request.asset_id,
            qty=qty,
            asked_ns=request.asked_ns,
            recv_ns=self._clock(),
            text=text,
        )

    def _held(self, what: dict[str, str]) -> tuple[int | None, str]:
        """Micro-units of something in the wallet; None and why when it could not be read."""
        query = what | {"signature_type": str(self._signer.signature_type)}
        try:
            value = self.calls.json("/balance-allowance", query, self.calls.until(DEADLINE_S))
            if not isinstance(value, Mapping):
                raise FrameError("the balance is no object")
            return decimal_of(value, "balance", 0), ""
        except (VenueUnavailable, FrameError) as error:
            return None, str(error)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def heartbeat(self, heartbeat_id: str) -> HeartbeatResult:
        """One beat, sent once: whether to repeat it with which id is the caller's decision."""
        body = b'{"heartbeat_id":"%s"}' % heartbeat_id.encode()
        try:
            reply = self.calls.send("POST", "/v1/heartbeats", body=body, until=self.calls.until(BEAT_S))
        except RequestFailed as error:
            return HeartbeatResult(False, ambiguous=error.sent, text=str(error))
        try:
            value = parsed(reply.body, orjson.loads)
        except FrameError:
            value = None
        named = value.get("heartbeat_id") if isinstance(value, Mapping) else None
        named = named if isinstance(named, str) else ""
        if reply.status == 200 and isinstance(value, Mapping) and (named or value.get("status") == "ok"):
            return HeartbeatResult(True, next_id=named, status=200)
        text = ascii(reply.body[:120].decode("latin-1"))
        ambiguous = reply.status not in (400, 401, 403, 404, 429)
        return HeartbeatResult(False, expected_id=named, status=reply.status, ambiguous=ambiguous, text=text)

    def warm(self) -> None:
        """Keep the connection open."""
        self.calls.warm()

    def close(self) -> None:
        self.calls.close()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _trades(self, query: Mapping[str, str], until: float) -> list[ExecutionReport]:
        rows = self.calls.pages("/data/trades", query, until)
        now_ns = self._clock()
        found: list[ExecutionReport] = []
        for row in rows:
            found += legs(row, api_key=self._api_key, wallets=self._wallets, source=Source.READ, recv_ns=now_ns)
        return found

    def _order(self, order_id: str, until: float) -> Mapping[str, Any] | None:
        """None: the venue says null or 404, in its own JSON. Raises VenueUnavailable or FrameError."""
        path = f"/data/order/{order_id}"
        reply = self.calls.repeat("GET", path, until=until)
        if reply.status not in (200, 404):
            raise VenueUnavailable(f"GET /data/order: HTTP {reply.status}")
        value = parsed(reply.body, orjson.loads)
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
