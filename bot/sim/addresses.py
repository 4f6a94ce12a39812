"""How much one address may ask of the venue's edge: buckets by path, in windows of ten seconds or ten minutes.

What is over is held back until the window ends, or refused, as the edge of the real one does. Time is passed in;
knows no answer and nobody's keys.
"""

from __future__ import annotations

import math
import re

import msgspec

SHORT_S, LONG_S = 10.0, 600.0
LEDGER = r"/(order|orders|trades|data/orders|data/order/.*|data/trades|notifications)"
GAMMA, DATA, CLOB = r"/gamma/.*", r"/data-api/.*", r"/(?!gamma/|data-api/|binance|control/|ws/|live/|rtds).*"


class Limit(msgspec.Struct, frozen=True):
    """At most so many requests of one kind in a window."""

    method: str  # "" for all
    path: str  # a regular expression for all of it
    most: int
    window_s: float = SHORT_S


LIMITS = (
    Limit("", f"({GAMMA})|({DATA})|({CLOB})", 15_000),
    Limit("", CLOB, 9_000),
    Limit("", "/ok", 100),
    Limit("", "/book", 1_500),
    Limit("", "/price", 1_500),
    Limit("", "/midpoint", 1_500),
    Limit("", "/books", 500),
    Limit("", "/prices", 500),
    Limit("", "/midpoints", 500),
    Limit("", "/tick-size", 200),
    Limit("", "/prices-history", 1_000),
    Limit("", "/auth/.*", 100),
    Limit("POST", "/order", 5_000),
    Limit("POST", "/order", 120_000, LONG_S),
    Limit("DELETE", "/order", 5_000),
    Limit("DELETE", "/order", 120_000, LONG_S),
    Limit("POST", "/orders", 2_000),
    Limit("POST", "/orders", 21_000, LONG_S),
    Limit("DELETE", "/orders", 2_000),
    Limit("DELETE", "/orders", 15_000, LONG_S),
    Limit("DELETE", "/cancel-all", 250),
    Limit("DELETE", "/cancel-all", 6_000, LONG_S),
    Limit("DELETE", "/cancel-market-orders", 1_500),
    Limit("DELETE", "/cancel-market-orders", 21_000, LONG_S),
    Limit("GET", LEDGER, 900),
    Limit("", "/data/orders", 500),
    Limit("", "/data/trades", 500),
    Limit("", "/notifications", 125),
    Limit("GET", "/balance-allowance", 200),
    Limit("GET", "/balance-allowance/update", 50),
    Limit("", GAMMA, 4_000),
    Limit("", "/gamma/events.*", 500),
    Limit("", "/gamma/markets.*", 300),
    Limit("", "/gamma/(events|markets)(/keyset)?", 900),
    Limit("", DATA, 1_000),
    Limit("", "/data-api/(v2/)?trades", 200),
    Limit("", "/data-api/(v2/)?positions", 150),
)


class Addresses:
    """Every address' counts in the windows that run now."""

    def __init__(self) -> None:
        self._limits = [(limit, re.compile(limit.path)) for limit in LIMITS]
        self.windows: dict[tuple[str, Limit], tuple[float, int]] = {}  # (start in seconds, requests so far)

    def wait_s(self, address: str, method: str, path: str, now_s: float) -> float:
        """Count a request: 0, or the seconds until a window ends in which it is one too many."""
        wait = 0.0
        for limit, pattern in self._limits:
            if limit.method not in ("", method) or not pattern.fullmatch(path):
                continue
            start, count = self.windows.get((address, limit), (now_s, 0))
            if now_s - start >= limit.window_s:
                start, count = now_s, 0
            self.windows[address, limit] = (start, count + 1)
            if count >= limit.most:
                wait = max(wait, start + limit.window_s - now_s)
        return wait

    @staticmethod
    def retry_after(wait_s: float) -> dict[str, str]:
        return {"Retry-After": str(max(1, math.ceil(wait_s)))}
