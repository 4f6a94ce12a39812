"""Volatility of the reference price on a one-second grid: a fast mean of squared returns and a jump-robust slow one.

One object for each asset; it never resets when a window rolls over. Knows no clock and no feed: it is told returns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from bot.quoting.parameters import Parameters

YEAR_S = 31_536_000
WARM_S = 300  # seconds of history needed before the numbers mean anything
TURBULENT = 4.0  # times the jump-robust variance: what moves now is not what moved before


def decay(half_life: float) -> float:
    """The weight that is left of an old value after one step."""
    return float(2.0 ** (-1.0 / half_life))


class Volatility:
    """`sigma` is per square root of a second, clipped; meaningless until `warm`."""

    def __init__(self, parameters: Parameters) -> None:
        self._keep_fast = decay(parameters.H_f)
        self._keep_bipower = decay(parameters.H_b)
        self._omega = parameters.omega
        self._floor = parameters.sigma_floor
        self._cap = parameters.sigma_cap
        self._psi = parameters.psi
        self._previous = 0.0
        self.fast = 0.0
        self.bipower = 0.0
        self.warm = False
        self.sigma = 0.0

    def start(self, fast: float, bipower: float, previous: float) -> None:
        """Begin from known variances and the size of the last return."""
        self.fast = fast
        self.bipower = bipower
        self._previous = abs(previous)
        self.warm = True
        self._mix()

    def seed(self, mids: Sequence[float]) -> None:
        """Begin from one mid a second, oldest first. The sample's means are the start, for the slow half-life is
        longer than the history that is usually there; then the same steps as live."""
        returns = [math.log(new / old) for old, new in pairwise(mids)]
        if len(returns) < 2:
            return
        fast = sum(r * r for r in returns) / len(returns)
        pairs = pairwise(returns)
        bipower = math.pi / 2 * sum(abs(a * b) for a, b in pairs) / (len(returns) - 1)
        self.start(fast, bipower, returns[0])
        for r in returns[1:]:
            self.step(r)

    def step(self, r: float) -> None:
        """The log return of the next second; 0 for a quiet one."""
        size = abs(r)
        self.fast = self._keep_fast * self.fast + (1 - self._keep_fast) * r * r
        slow = math.pi / 2 * size * self._previous
        self.bipower = self._keep_bipower * self.bipower + (1 - self._keep_bipower) * slow
        self._previous = size
        self._mix()

    def gap(self, r: float, seconds: int) -> None:
        """The log return over seconds in which the feed was blind."""
        keep = self._keep_fast**seconds
        self.fast = keep * self.fast + (1 - keep) * r * r / seconds
        self._previous = 0.0
        self._mix()

    @property
    def turbulent(self) -> bool:
        """The fast variance left the slow one behind. Below the floor the ratio is that of two roundings."""
        return self.fast > TURBULENT * max(self.bipower, self._floor * self._floor)

    def _mix(self) -> None:
        raw = math.sqrt(self._omega * self.fast + (1 - self._omega) * self.bipower)
        self.sigma = min(max(raw, self._floor), self._cap) * self._psi
