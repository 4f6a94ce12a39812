"""The reference exchange's REST manners: weights per minute, their header, 429 and 418, error bodies, time units."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from bot.sim.http import answer

MINUTE_S = 60
BAN_S = 120
IGNORED_MAX = 5  # requests after a 429, before the ban
TOO_MANY, MANDATORY, BAD_INTERVAL, BAD_SYMBOL, ILLEGAL = -1003, -1102, -1120, -1121, -1100

Handler: TypeAlias = Callable[[web.Request], Awaitable[Any]]
Weight: TypeAlias = int | Callable[[web.Request], int]


class Wrong(Exception):
    """A request that is refused: code, text, status."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.body = {"code": code, "msg": text}
        self.status = status


class Spent(msgspec.Struct):
    """What one address used of its minute, and how it is punished."""

    minute: int = 0
    used: int = 0
    ignored: int = 0
    banned_until_s: float = 0.0


class Meter:
    """Weights of all addresses, by minutes of the wall clock."""

    def __init__(self, weight_max: int, now_s: Callable[[], float] = time.time) -> None:
        self._weight_max = weight_max
        self._now_s = now_s
        self._spent: dict[str, Spent] = {}

    def metered(self, handler: Handler, weight: Weight) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A route's handler: it returns a body, and the manners are added."""

        async def route(request: web.Request) -> web.StreamResponse:
            spent = self._spent.setdefault(request.remote or "", Spent())
            status, wait_s = self._charge(spent, weight if isinstance(weight, int) else weight(request))
            headers = {"X-MBX-USED-WEIGHT": str(spent.used), "X-MBX-USED-WEIGHT-1M": str(spent.used)}
            if status:
                text = f"Too much request weight used; current limit is {self._weight_max} request weight per 1 MINUTE."
                return answer({"code": TOO_MANY, "msg": text}, status, {**headers, "Retry-After": str(wait_s)})
            try:
                return answer(await handler(request), headers=headers)
            except Wrong as wrong:
                return answer(wrong.body, wrong.status, headers)

        return route

    def _charge(self, spent: Spent, weight: int) -> tuple[int, int]:
        """(0, 0), or the status of the refusal and the seconds to wait. Who does not wait is banned."""
        now_s = self._now_s()
        if now_s < spent.banned_until_s:
            return 418, max(1, round(spent.banned_until_s - now_s))
        minute = int(now_s // MINUTE_S)
        if minute != spent.minute:
            spent.minute, spent.used, spent.ignored = minute, 0, 0
        if spent.used + weight <= self._weight_max:
            spent.used += weight
            return 0, 0
        spent.ignored += 1
        if spent.ignored > IGNORED_MAX:
            spent.banned_until_s = now_s + BAN_S
            return 418, BAN_S
        return 429, max(1, round((minute + 1) * MINUTE_S - now_s))


def unit_of(request: web.Request) -> int:
    """Response times are in milliseconds unless a header asks for microseconds."""
    return 1000 if request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND" else 1


def symbol_of(request: web.Request, known: set[str]) -> str:
    """Raises Wrong."""
    symbol = request.query.get("symbol", "")
    if not symbol:
        raise Wrong(MANDATORY, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if not symbol.isalnum() or symbol != symbol.upper():
        text = "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
        raise Wrong(ILLEGAL, text)
    if symbol not in known:
        raise Wrong(BAD_SYMBOL, "Invalid symbol.")
    return symbol


def whole(request: web.Request, name: str, default: int) -> int:
    """A number of the query. Raises Wrong."""
    text = request.query.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise Wrong(ILLEGAL, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def instant_ms(request: web.Request, name: str) -> int:
    """A time of the query, in milliseconds or microseconds as its size tells."""
    value = whole(request, name, 0)
    return value // 1000 if value > 10**14 else value


def depth_weight(request: web.Request) -> int:
    limit = request.query.get("limit", "100")
    size = int(limit) if limit.isdecimal() else 100
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if size <= most), 250)
