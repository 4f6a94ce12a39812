"""Private REST calls as a wallet: signed, repeated where that is harmless, read to the last page. Knows no message.

Standard library only, and of that little: the guardian runs on it, and has 20 MB. The JSON reader is handed in where a
faster one is worth its memory.
"""

from __future__ import annotations

import json
import time

from bot.errors import FrameError, VenueUnavailable
from bot.venues.clob_answer import Reply
from bot.venues.clob_http import DEADLINE_S, RequestFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from bot.venues.clob_login import Headers

    Loads = Callable[[bytes], Any]

    class Http(Protocol):
        """What of clob_http.Connection is used."""

        used_s: float

        def ready(self, until: float | None = None) -> None: ...

        def request(
            self,
            method: str,
            path: str,
            *,
            headers: str = "",
            body: bytes = b"",
            until: float | None = None,
            written: Callable[[], None] | None = None,
        ) -> Reply: ...

        def close(self) -> None: ...


FIRST_PAGE = "MA=="
LAST_PAGE = "LTE="
PAGES_MAX = 50
WARM_AFTER_S = 4.0
WARM_S = 1.0
READY_S = 0.4  # an order is stale after 0.25 s; and with the 3 s of its POST this stays below what counts as a hang
RETRY_LEFT_S = 1.0  # with less than this left, a failed cancel or read is not tried again

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

_OVER = {"MATCHED": "MATCHED", "INVALID": "CANCELED"}
_LIVE = ("LIVE", "DELAYED", "UNMATCHED")


class Calls:
    """One wallet's private calls on one connection, for one thread. Invariant: `send` writes a request at most once."""

    def __init__(
        self,
        http: Http,
        headers: Headers,
        *,
        utc: Callable[[], float] = time.time,
        clock: Callable[[], int] = time.monotonic_ns,
        loads: Loads = json.loads,
    ) -> None:
        """`utc` is venue-corrected seconds, for signatures; `clock` is monotonic ns, which the connection shares."""
        self._http = http
        self._headers = headers
        self._utc = utc
        self._clock = clock
        self._loads = loads
        self.left: int | None = None  # requests of this kind that the venue still takes at once, by its last answer

    def until(self, seconds: float) -> float:
        """A deadline that long from now, as the connection takes it."""
        return self._clock() / 1e9 + seconds

    def ready(self) -> None:
        """Have a live connection. Raises RequestFailed soon: what waits for it is worth nothing later."""
        self._http.ready(self.until(READY_S))

    def warm(self) -> None:
        """Keep the connection open: a cheap read when it was idle for a while. A failure waits for the next call."""
        until = self.until(WARM_S)
        try:
            self._http.ready(until)
            if self.until(0) - self._http.used_s > WARM_AFTER_S:
                self._http.request("GET", "/time", until=until)
        except RequestFailed:
            self._http.close()

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        """Raises RequestFailed."""
        headers = self._headers(method, path, body, int(self._utc()))
        reply = self._http.request(method, path + query, headers=headers, body=body, until=until, written=written)
        left = reply.headers.get("poly-ratelimit-remaining", "")
        digits = left.removeprefix("-")
        self.left = int(left) if digits.isdecimal() and len(digits) < 10 else None
        return reply

    def repeat(
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
            until = self.until(DEADLINE_S)
        try:
            return self.send(method, path, query, body, until, written)
        except RequestFailed:
            if until - self.until(0) < RETRY_LEFT_S:
                raise
            return self.send(method, path, query, body, until, written)

    def cancel_all(self, symbol: str, written: Callable[[], None] | None = None) -> tuple[list[str], dict[str, str]]:
        """All orders of the key, or of one market: what was canceled, and what not with the reason.

        Raises VenueUnavailable or FrameError.
        """
        path, body = "/cancel-all", b""
        if symbol:
            path, body = "/cancel-market-orders", b'{"market":"%s"}' % symbol.encode()
        return cancel_lists(self.repeat("DELETE", path, body=body, written=written), self._loads)

    def cancel(self, order_ids: list[str], written: Callable[[], None] | None = None) -> Reply:
        """Some orders by id; `cancel_lists` reads the answer. Raises RequestFailed."""
        if len(order_ids) == 1:
            path, body = "/order", b'{"orderID":"%s"}' % order_ids[0].encode()
        else:
            path, body = "/orders", b'["%s"]' % '","'.join(dict.fromkeys(order_ids)).encode()
        return self.repeat("DELETE", path, body=body, written=written)

    def json(self, path: str, query: Mapping[str, str], until: float) -> Any:
        """Raises VenueUnavailable or FrameError."""
        reply = self.repeat("GET", path, query_of(query), until=until)
        if reply.status != 200:
            raise VenueUnavailable(f"GET {path}: HTTP {reply.status}")
        return parsed(reply.body, self._loads)

    def pages(self, path: str, query: Mapping[str, str], until: float) -> list[Mapping[str, Any]]:
        """Every row of every page, or an exception: a part is never returned."""
        rows: list[Mapping[str, Any]] = []
        cursor, seen = FIRST_PAGE, set[str]()
        while cursor != LAST_PAGE:
            if cursor in seen or len(seen) >= PAGES_MAX:
                raise FrameError(f"GET {path}: pages without end")
            seen.add(cursor)
            page = self.json(path, {**query, "next_cursor": cursor}, until)
            data = page.get("data") if isinstance(page, dict) else None
            following = page.get("next_cursor") if isinstance(page, dict) else None
            if not isinstance(data, list) or not isinstance(following, str) or not following:
                raise FrameError(f"GET {path}: a page without data or next_cursor")
            if not all(isinstance(row, dict) for row in data):
                raise FrameError(f"GET {path}: a row is no object")
            rows += data
            cursor = following
        return rows

    def open_rows(self) -> list[Mapping[str, Any]]:
        """The orders that rest. Raises VenueUnavailable or FrameError."""
        return [
            row
            for row in self.pages("/data/orders", {}, self.until(DEADLINE_S))
            if order_word(row.get("status")) == "LIVE"
        ]


def query_of(query: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in text.encode())

    return "?" + "&".join(f"{name}={quoted(text)}" for name, text in query.items()) if query else ""


def parsed(body: bytes, loads: Loads) -> Any:
    """The JSON value of a body. Raises FrameError."""
    try:
        return loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from error


def order_word(text: object) -> str:
    """An order's status, with or without prefix, as LIVE, MATCHED or CANCELED. Raises FrameError."""
    word = str(text or "").upper().removeprefix("ORDER_STATUS_")
    if word.startswith(("CANCELED", "CANCELLED")):
        return "CANCELED"
    if word in _LIVE:
        return "LIVE"
    if word in _OVER:
        return _OVER[word]
    raise FrameError(f"unknown order status {text!r}")


def cancel_lists(reply: Reply, loads: Loads) -> tuple[list[str], dict[str, str]]:
    """The ids canceled, and not canceled with the reason. Raises FrameError for anything but a good answer."""
    if reply.status != 200:
        raise FrameError(f"HTTP {reply.status}: {preview(reply.body)}")
    value = parsed(reply.body, loads)
    if not isinstance(value, dict):
        raise FrameError("the answer is no object")
    done, left = value.get("canceled"), value.get("not_canceled")
    done = [] if done is None else done
    left = {} if left is None else left
    if "canceled" not in value or not isinstance(done, list) or not isinstance(left, dict):
        raise FrameError(f"the answer lists nothing: {preview(reply.body)}")
    if not all(isinstance(order_id, str) for order_id in done):
        raise FrameError(f"the answer lists what is no id: {preview(reply.body)}")
    return [order_id.lower() for order_id in done], {str(key).lower(): str(text) for key, text in left.items()}


def preview(body: bytes) -> str:
    return ascii(body[:80].decode("latin-1")).strip("'") if body else "empty body"
