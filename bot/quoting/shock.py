"""Shocks: the reference jumped further than usual, so the quotes it threatens are pulled before they are priced anew.

`Moves` belongs to an asset, `Pull` to a market: the same jump matters where it moves the probability. Knows no order.
"""

from __future__ import annotations

import math

from bot.caches import FastRing
from bot.quoting.parameters import Parameters
from bot.units import E8, NS_PER_MS, NS_PER_S, Ns

WINDOWS_NS: tuple[Ns, ...] = (250 * NS_PER_MS, NS_PER_S)
_ROOTS = tuple(math.sqrt(window / NS_PER_S) for window in WINDOWS_NS)
SIGMAS_KEPT = 4  # seconds; the longest window reaches back one, and the newest second may not be over


def shock(parameters: Parameters, r: float, usual: float, delta_x: float) -> int:
    """Of a log return `r` where `usual` is its standard deviation: 0 nothing, 1 the side in its way, 2 both sides."""
    size = abs(r)
    if size <= parameters.k * usual or delta_x * size < parameters.theta_p:
        return 0
    return 2 if size > 2 * parameters.k * usual else 1


class Moves:
    """Returns over the WINDOWS_NS up to now, each beside what was usual before it began (or the jump would excuse
    itself)."""

    def __init__(self) -> None:
        self.returns = [0.0] * len(WINDOWS_NS)
        self.usual = [0.0] * len(WINDOWS_NS)
        self._sigma = [0.0] * SIGMAS_KEPT
        self._second = [0] * SIGMAS_KEPT

    def remember(self, second: int, sigma: float) -> None:
        """The volatility that includes everything up to the beginning of this second."""
        self._sigma[second % SIGMAS_KEPT] = sigma
        self._second[second % SIGMAS_KEPT] = second

    def look(self, ring: FastRing, mid_e8: E8, sigma: float, now_ns: Ns, utc_ns: Ns) -> None:
        for i, window_ns in enumerate(WINDOWS_NS):
            before_e8 = ring.before(now_ns, window_ns)
            self.returns[i] = math.log(mid_e8 / before_e8) if before_e8 and before_e8 != mid_e8 else 0.0
            second = (utc_ns - window_ns) // NS_PER_S
            known = self._second[second % SIGMAS_KEPT] == second
            self.usual[i] = (self._sigma[second % SIGMAS_KEPT] if known else sigma) * _ROOTS[i]


class Pull:
    """Which sides of one market are pulled. A move that lasts keeps firing, and so keeps its side away."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._pull_ns = round(parameters.t_pull * NS_PER_MS)
        self._bid_until_ns: Ns = 0
        self._ask_until_ns: Ns = 0

    def look(self, moves: Moves, delta_x: float, now_ns: Ns) -> None:
        """`delta_x`: change of p per unit of log return."""
        for r, usual in zip(moves.returns, moves.usual, strict=True):
            if not r:
                continue
            found = shock(self._parameters, r, usual, delta_x)
            if found:
                if r < 0 or found == 2:
                    self._bid_until_ns = now_ns + self._pull_ns
                if r > 0 or found == 2:
                    self._ask_until_ns = now_ns + self._pull_ns

    def bid(self, now_ns: Ns) -> bool:
        return now_ns < self._bid_until_ns

    def ask(self, now_ns: Ns) -> bool:
        return now_ns < self._ask_until_ns

    def active(self, now_ns: Ns) -> bool:
        return now_ns < self._bid_until_ns or now_ns < self._ask_until_ns
