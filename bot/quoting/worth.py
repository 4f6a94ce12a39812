"""How much of the usual size a series' own fills justify: less and less while they lose within a second.

A second is long enough for what a faster trader knew, and short enough for chance to be small beside it. Evidence fades
with new fills and with time, so a series that stands still tries again, small. Knows no clock and no book.
"""

from __future__ import annotations

import math

from bot.quoting.volatility import decay
from bot.units import NS_PER_S, Ns

HALF_LIFE_FILLS = 60
HALF_LIFE_S = 1_800
DOUBT = 20.0  # fills that are taken to have been worth nothing: a few say little
T_NOTHING = 2.0  # standard errors below zero at which no size is left


class Worth:
    """`factor` is 1 while fills gain or are few, and falls to 0."""

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._keep = decay(HALF_LIFE_FILLS)
        self._n = 0.0  # fills, the older the less
        self._sum = 0.0
        self._squares = 0.0
        self._at_ns: Ns = 0

    def _fade(self, now_ns: Ns) -> float:
        return float(2.0 ** (-max(0, now_ns - self._at_ns) / (HALF_LIFE_S * NS_PER_S)))

    def add(self, markout: float, now_ns: Ns) -> None:
        """What a share of one fill had gained after a second, USD."""
        keep = self._keep * self._fade(now_ns)
        self._n = keep * self._n + 1.0
        self._sum = keep * self._sum + markout
        self._squares = keep * self._squares + markout * markout
        self._at_ns = now_ns

    def t(self, now_ns: Ns) -> float:
        """The mean in units of its standard error, pulled towards 0 by DOUBT."""
        if not self._n:
            return 0.0
        mean = self._sum / self._n
        variance = self._squares / self._n - mean * mean + mean * mean / self._n
        if variance <= 0:
            return 0.0
        fade = self._fade(now_ns)
        return self._sum * fade / math.sqrt((self._n * fade + DOUBT) * variance)

    def factor(self, now_ns: Ns) -> float:
        return min(max(1.0 + self._weight * self.t(now_ns) / T_NOTHING, 0.0), 1.0)
