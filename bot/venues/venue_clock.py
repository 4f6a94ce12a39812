"""The venue's wall clock, measured now and then. Signatures and window times are taken from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bot.ports import Clock
from bot.units import NS_PER_MS, NS_PER_S, Ns

SAMPLES = 3
SAMPLING_NS_MAX = NS_PER_S  # slow answers are not waited for thrice
# The venue tells whole seconds only: within this of the system clock that one is taken to be right.
COARSE_NS = NS_PER_S
S_END = 9_000_000_000  # the year 2255: in nanoseconds it just fits 64 bits


class VenueClock:
    """Wall time is monotonic time plus one anchor, so a step of the system clock moves nothing here.

    Any thread reads; only `sync` moves the anchor, by one attribute store.
    """

    def __init__(self, monotonic: Clock = time.monotonic_ns, wall: Callable[[], Ns] = time.time_ns) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._anchor_ns: Ns = wall() - monotonic()
        self.synced = False

    def utc_ns(self, now_ns: Ns) -> Ns:
        """Wall time of a monotonic stamp."""
        return now_ns + self._anchor_ns

    def utc(self) -> float:
        return self.utc_ns(self._monotonic()) / NS_PER_S

    def sync(self, http: Any, binance_rest_url: str, clob_url: str) -> float | None:
        """Ask Binance (milliseconds), else the venue (seconds); how far the venue's clock is ahead of the system's.

        None: nobody answered, and the anchor stays. `http.get(url)` gives (status, value).
        """
        best = self._fine(http, f"{binance_rest_url.rstrip('/')}/api/v3/time") if binance_rest_url else None
        if best is None:
            coarse = self._sample(http, f"{clob_url.rstrip('/')}/time", _clob_ns)
            if coarse is None:
                return None
            system_ns = self._wall() - self._monotonic()
            best = system_ns if abs(coarse[1] - system_ns) <= COARSE_NS else coarse[1]
        self._anchor_ns = best
        self.synced = True
        return (best - (self._wall() - self._monotonic())) / NS_PER_S

    def _fine(self, http: Any, url: str) -> Ns | None:
        """The anchor by the sample with the shortest round trip."""
        samples: list[tuple[Ns, Ns]] = []
        until_ns = self._monotonic() + SAMPLING_NS_MAX
        while len(samples) < SAMPLES and (not samples or self._monotonic() < until_ns):
            sample = self._sample(http, url, _binance_ns)
            if sample is None:
                break
            samples.append(sample)
        return min(samples)[1] if samples else None

    def _sample(self, http: Any, url: str, stamp_of: Callable[[Any], Ns | None]) -> tuple[Ns, Ns] | None:
        """Round trip and anchor, taking the answer to be of its middle."""
        began_ns = self._monotonic()
        status, value = http.get(url)
        ended_ns = self._monotonic()
        theirs_ns = stamp_of(value) if status == 200 else None
        return None if theirs_ns is None else (ended_ns - began_ns, theirs_ns - (began_ns + ended_ns) // 2)


def _binance_ns(value: Any) -> Ns | None:
    stamp = value.get("serverTime") if isinstance(value, Mapping) else None
    return stamp * NS_PER_MS if isinstance(stamp, int) and 0 < stamp < 1000 * S_END else None


def _clob_ns(value: Any) -> Ns | None:
    return value * NS_PER_S + NS_PER_S // 2 if isinstance(value, int) and 0 < value < S_END else None
