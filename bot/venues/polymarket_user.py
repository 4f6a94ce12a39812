"""Polymarket's user channel: what happened to our orders, as ExecutionReports. Drops nothing in silence.

The channel numbers and repeats nothing, so whatever we cannot read or were not there to hear is a gap that the
executor must close by reading the venue. Knows no order book and decides nothing about orders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

import orjson

from bot.errors import FrameError
from bot.messages import ExecType, ExecutionReport, Halt, Message, Source, StreamGap
from bot.units import NS_PER_S, Ns
from bot.venues.conversation import Conversation
from bot.venues.polymarket_trades import decimal_of, legs, side_of, stamp_ns, text_of

QUARANTINE_MAX = 100  # frames and elements kept for a person; the count goes on
QUARANTINE_BYTES = 65_536  # of each
REFUSED_MAX = 3  # connections in a row that ended at once, before anything proved our credentials
AT_ONCE_NS: Ns = 5 * NS_PER_S

_TYPES = {"PLACEMENT": ExecType.NEW, "UPDATE": ExecType.UPDATE, "CANCELLATION": ExecType.CANCELED}


class UserFeed(Conversation):
    """Invariant: every element of every frame is either returned as reports or counted in `quarantined`, with a gap.

    `received` counts both, so that received less quarantined is what went to the executor.
    """

    name = "user"
    ping_text = "PING"
    message_bytes_max = 1024 * 1024

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        secret: str,
        passphrase: str,
        wallets: Collection[str],
        before: UserFeed | None = None,
    ) -> None:
        """`before`: the feed that this one replaces. Its counts go on, and what was told between the two is missing."""
        super().__init__()
        self._url = url
        self._api_key = api_key
        self._secret = secret
        self._passphrase = passphrase
        self._wallets = tuple(wallet.lower() for wallet in wallets)
        self._connections = 0 if before is None else 1
        self._since_ns: Ns = 0
        self._proven = False
        self._refused = 0
        self.quarantine: deque[bytes] = deque(maxlen=QUARANTINE_MAX)
        self.received: int = 0 if before is None else before.received
        self.quarantined: int = 0 if before is None else before.quarantined

    # -- conversation ----------------------------------------------------------------------------------------------

    def url(self) -> str:
        return self._url

    def opening(self) -> list[str]:
        """Without `markets`: every market of the key, also those listed later."""
        auth = {"apiKey": self._api_key, "secret": self._secret, "passphrase": self._passphrase}
        return [orjson.dumps({"auth": auth, "type": "user"}).decode()]

    def connected(self, now_ns: Ns) -> list[Message]:
        self._connections += 1
        self._since_ns = now_ns
        told: list[Message] = []
        if self._connections > 1:  # first of all: with the stream up again the executor may quote at once
            told.append(StreamGap(feed=self.name, reason="reconnected", now_ns=now_ns))
        return told + super().connected(now_ns)

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        told = super().lost(reason, now_ns)
        told.append(StreamGap(feed=self.name, reason=reason, now_ns=now_ns))
        at_once = not self._proven and now_ns - self._since_ns < AT_ONCE_NS
        self._refused = self._refused + 1 if at_once else 0
        if self._refused == REFUSED_MAX:
            text = f"the user channel ended {REFUSED_MAX} times right after subscribing ({reason}): wrong credentials?"
            told.append(Halt(reason=text, by="feed:user"))
        return told

    def counters(self) -> dict[str, int]:
        return {"received": self.received, "quarantined": self.quarantined}

    # -- frames ----------------------------------------------------------------------------------------------------

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        """One object or an array. Raises FrameError for text that is neither JSON nor the answer to a ping."""
        if frame == b"PONG":
            return []
        if frame[:1] not in (b"{", b"["):
            self._put_aside(frame, now_ns)
            raise FrameError(f"a text of {len(frame)} bytes that is no event")
        try:
            body = orjson.loads(frame)
        except ValueError:
            return [self._put_aside(frame, now_ns)]
        told: list[Message] = []
        for event in body if isinstance(body, list) else (body,):
            try:
                reports = self._reports(event, now_ns)
            except FrameError:
                told.append(self._put_aside(_written(event, frame), now_ns))
                continue
            self._proven = True
            self.received += len(reports)
            told += reports
        return told

    def _put_aside(self, raw: bytes, now_ns: Ns) -> StreamGap:
        self.quarantine.append(raw[:QUARANTINE_BYTES])
        self.quarantined += 1
        self.received += 1
        return StreamGap(feed=self.name, reason="quarantine", now_ns=now_ns)

    def _reports(self, event: Any, now_ns: Ns) -> list[ExecutionReport]:
        if not isinstance(event, dict):
            raise FrameError("an event that is no object")
        kind = event.get("event_type") or ("trade" if "maker_orders" in event else "order")
        if kind == "order":
            return [_order_report(event, now_ns)]
        if kind != "trade":
            raise FrameError(f"unknown event {kind!r}")
        reports = legs(event, api_key=self._api_key, wallets=self._wallets, source=Source.USER, recv_ns=now_ns)
        if not reports:
            raise FrameError("a trade on our channel without an order of ours")
        return reports


def _written(event: Any, frame: bytes) -> bytes:
    """One event of a frame, or all of it where the event is nested deeper than it can be written again."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        return frame


def _order_report(event: dict[str, Any], now_ns: Ns) -> ExecutionReport:
    """Raises FrameError. Only the id and what happened must be there; everything else may be empty or null."""
    status = str(event.get("status") or "").upper().removeprefix("ORDER_STATUS_")
    return ExecutionReport(
        order_id=text_of(event, "id").lower(),
        exec_type=_exec_type(event.get("type"), status),
        source=Source.USER,
        symbol=str(event.get("market") or ""),
        asset_id=str(event.get("asset_id") or ""),
        side=side_of(event["side"]) if event.get("side") else None,
        px=decimal_of(event, "price", 4) if event.get("price") else None,
        order_qty=decimal_of(event, "original_size", 6) if event.get("original_size") else None,
        cum_qty=_cum_qty(event),
        text=status,
        utc_ns=stamp_ns(event.get("timestamp")) or stamp_ns(event.get("created_at")),
        recv_ns=now_ns,
    )


def _exec_type(word: object, status: str) -> ExecType:
    """What happened; the status, matched by its beginning, speaks where the type is missing or new."""
    known = _TYPES.get(str(word or "").upper())
    if known is not None:
        return known
    if status.startswith(("CANCEL", "INVALID", "EXPIRED")):
        return ExecType.CANCELED
    if status.startswith("MATCHED"):
        return ExecType.UPDATE
    if status.startswith(("LIVE", "DELAYED", "UNMATCHED")):
        return ExecType.NEW
    raise FrameError(f"unknown order event {word!r} with status {status!r}")


def _cum_qty(event: dict[str, Any]) -> int | None:
    """0 is an answer, an empty text or null is none."""
    if event.get("size_matched") in (None, ""):
        return None
    return decimal_of(event, "size_matched", 6)
