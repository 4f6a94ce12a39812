"""How long things take, kept while trading: histograms with steps of at most 6 %, and the slowest recent cases with why.

To record is two list operations. Percentiles are of the last five to ten minutes, count and maximum of the whole run.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from operator import add
from typing import Any

from bot.units import NS_PER_S, Ns

NAMES = (
    "tick_to_wire",
    "tick_to_cancel",
    "decision",
    "fill_to_executor",
    "cancel_all",
    "wire_round_trip",
    "gc_pause",
    "timer_lateness",
)
STEPS = 16  # in a doubling
BUCKETS = 36 * STEPS  # up to a minute and more
HALF_NS: Ns = 300 * NS_PER_S
SLOW_KEPT = 5
SLOW_NS: Ns = 600 * NS_PER_S
PAUSES_KEPT = 64


class Latency:
    """One writer at a time records; anyone may summarise."""

    def __init__(
        self, clock: Callable[[], Ns] = time.monotonic_ns, beside: Callable[[Ns, Ns], str] = lambda a, b: ""
    ) -> None:
        """`beside` says what else happened between two times, for the slowest cases."""
        self._clock = clock
        self._beside = beside
        self._counts = [0] * BUCKETS
        self._before = [0] * BUCKETS  # of the half before
        self._since_ns = clock()
        self._slow: tuple[tuple[Ns, Ns, str], ...] = ()  # elapsed, when, why; slowest first
        self._slow_ns: Ns = 0  # what is faster than that is none of them
        self._said: dict[str, float | int | None] = {"p50": None, "p99": None, "p999": None, "max": None, "n": 0}
        self.count = 0
        self.max_ns: Ns = 0

    def record(self, elapsed_ns: Ns, why: Callable[[], str] = str) -> None:
        """`why` is asked only where this is one of the slowest."""
        bits = elapsed_ns.bit_length()
        index = max(elapsed_ns, 0) if bits <= 5 else (bits - 5) * STEPS + (elapsed_ns >> (bits - 5))
        self._counts[min(index, BUCKETS - 1)] += 1
        if elapsed_ns > self.max_ns:
            self.max_ns = elapsed_ns
        self.count += 1  # last, for it says that there is something new
        if elapsed_ns > self._slow_ns:
            self._note(elapsed_ns, why())

    def _note(self, elapsed_ns: Ns, why: str) -> None:
        now_ns = self._clock()
        recent = [case for case in self._slow if now_ns - case[1] < SLOW_NS]
        recent.append((elapsed_ns, now_ns, why + self._beside(now_ns - elapsed_ns, now_ns)))
        self._slow = tuple(sorted(recent, reverse=True)[:SLOW_KEPT])
        self._slow_ns = self._slow[-1][0] if len(self._slow) == SLOW_KEPT else 0

    def summary(self) -> dict[str, float | int | None]:
        """Microseconds: percentiles, to the middle of their step; `max` and `n` exactly. The same as before where nothing is new."""
        now_ns = self._clock()
        rolled = now_ns - self._since_ns > HALF_NS
        if rolled:
            self._since_ns = now_ns
            self._before, self._counts = self._counts, [0] * BUCKETS
        count = self.count
        if rolled or count != self._said["n"]:
            upto = list(accumulate(map(add, self._counts, self._before)))
            found = {name: _at(upto, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}
            self._said = {**found, "max": self.max_ns / 1000 if count else None, "n": count}
        return self._said

    def slowest(self) -> list[dict[str, Any]]:
        now_ns = self._clock()
        return [
            {"us": elapsed_ns / 1000, "ago_s": round((now_ns - at_ns) / NS_PER_S, 1), "why": why}
            for elapsed_ns, at_ns, why in self._slow
            if now_ns - at_ns < SLOW_NS
        ]


def _at(upto: list[int], share: float) -> float | None:
    """The middle of the bucket in which that share is reached; None when nothing was recorded lately."""
    return _middle(bisect_left(upto, max(1.0, share * upto[-1]))) / 1000 if upto[-1] else None


def _middle(index: int) -> float:
    if index < 2 * STEPS:
        return float(index)
    shift = index // STEPS - 1
    low = (index % STEPS + STEPS) << shift
    return low + (1 << shift) / 2


class GcWatch:
    """The interpreter's collections: how long each took, and whether one fell into a span of time."""

    def __init__(self, clock: Callable[[], Ns] = time.monotonic_ns) -> None:
        self._clock = clock
        self._began_ns: Ns = 0
        self._pauses: deque[tuple[Ns, Ns]] = deque(maxlen=PAUSES_KEPT)  # began, ended
        self.latency = Latency(clock)

    def start(self) -> None:
        gc.callbacks.append(self._heard)

    def stop(self) -> None:
        gc.callbacks.remove(self._heard)

    def _heard(self, phase: str, info: dict[str, int]) -> None:
        now_ns = self._clock()
        if phase == "start":
            self._began_ns = now_ns
        else:
            self._pauses.append((self._began_ns, now_ns))
            self.latency.record(now_ns - self._began_ns, lambda: f"generation {info['generation']}")

    def within(self, since_ns: Ns, until_ns: Ns) -> str:
        lost_ns = sum(
            min(ended_ns, until_ns) - max(began_ns, since_ns)
            for began_ns, ended_ns in tuple(self._pauses)
            if ended_ns > since_ns and began_ns < until_ns
        )
        return f"; garbage collection {lost_ns // 1000} us of it" if lost_ns else ""
