"""The venue's wall clock as an offset to ours, measured now and then. Signatures and window times are taken from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bot.units import NS_PER_S, Ns

SAMPLES = 3
SAMPLING_S_MAX = 1.0  # slow answers are not waited for thrice
# The venue tells whole seconds only: within this of ours its clock is taken to agree.
COARSE_S = 1.0


class VenueClock:
    """Invariant: `utc` is one attribute read and one clock call, safe from any thread; only `sync` changes the offset."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self.offset_s = 0.0  # venue minus ours
        self.synced = False

    def utc(self) -> float:
        return self._wall() + self.offset_s

    def utc_ns(self) -> Ns:
        return int(self.utc() * NS_PER_S)

    def sync(self, http: Any, binance_rest_url: str, clob_url: str) -> bool:
        """Ask Binance (milliseconds), else the venue (seconds). `http.get(url)` gives (status, value)."""
        best: tuple[float, float] | None = None
        if binance_rest_url:
            until = self._monotonic() + SAMPLING_S_MAX
            for _ in range(SAMPLES):
                sample = self._sample(http, f"{binance_rest_url.rstrip('/')}/api/v3/time", _binance_seconds)
                if sample is None:
                    break
                best = sample if best is None else min(best, sample)
                if self._monotonic() > until:
                    break
        if best is not None:
            return self._set(best[1])
        coarse = self._sample(http, f"{clob_url.rstrip('/')}/time", _clob_seconds)
        if coarse is None:
            return False
        return self._set(0.0 if abs(coarse[1]) <= COARSE_S else coarse[1])

    def _set(self, offset_s: float) -> bool:
        self.offset_s = offset_s
        self.synced = True
        return True

    def _sample(self, http: Any, url: str, seconds: Callable[[Any], float | None]) -> tuple[float, float] | None:
        """Round trip and offset, taking the answer to be of its middle."""
        wall, began = self._wall(), self._monotonic()
        status, value = http.get(url)
        took = self._monotonic() - began
        theirs = seconds(value) if status == 200 else None
        return None if theirs is None else (took, theirs - (wall + took / 2))


def _binance_seconds(value: Any) -> float | None:
    stamp = value.get("serverTime") if isinstance(value, Mapping) else None
    return stamp / 1000 if isinstance(stamp, int) else None


def _clob_seconds(value: Any) -> float | None:
    return value + 0.5 if isinstance(value, int) else None
