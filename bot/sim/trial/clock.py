"""Virtual time: what is to happen when, and how late a line of communication says what it has to say. Pure."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from typing import TypeAlias

from bot.units import NS_PER_MS, Ns

Action: TypeAlias = Callable[[Ns], None]

JITTER_P99 = 4.0  # the 99th percentile of a delay over its median
_SIGMA = math.log(JITTER_P99) / 2.326348


class Agenda:
    """Actions by their time, those of one moment in the order they were put in. `now_ns` only rises."""

    def __init__(self, now_ns: Ns) -> None:
        self.now_ns = now_ns
        self._due: list[tuple[Ns, int, Action]] = []
        self._sequence = itertools.count()

    def at(self, due_ns: Ns, action: Action) -> None:
        heapq.heappush(self._due, (due_ns, next(self._sequence), action))

    def run(self, until_ns: Ns) -> None:
        """Everything due up to and at that time, also what comes up meanwhile; then it is that time."""
        due = self._due
        while due and due[0][0] <= until_ns:
            self.now_ns, _, action = heapq.heappop(due)
            action(self.now_ns)
        self.now_ns = until_ns


class Line:
    """One connection: log-normal delays around a median, and nothing overtakes what was sent before it."""

    def __init__(self, name: str, median_ms: float, seed: str) -> None:
        self._rng = random.Random(f"{seed}:line:{name}")
        self._mu = math.log(median_ms * NS_PER_MS) if median_ms else 0.0
        self._still = not median_ms
        self._last_ns: Ns = 0

    def arrival(self, sent_ns: Ns) -> Ns:
        delay_ns = 0 if self._still else int(self._rng.lognormvariate(self._mu, _SIGMA))
        self._last_ns = max(self._last_ns, sent_ns + delay_ns)
        return self._last_ns
