"""What the perpetual is believed to tell beyond the spot mid: its last move, with its level taken out.

Knows no feed: it is told both prices and the time.
"""

from __future__ import annotations

import math

from bot.caches import Reference
from bot.quoting.basis import Basis
from bot.units import NS_PER_S, Ns

HALF_LIFE_S = 60
STALE_NS = NS_PER_S  # an older quote leads nothing


class PerpLead:
    """`value` is added to the log of the spot mid."""

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._level = Basis(HALF_LIFE_S)
        self._second = 0
        self.value = 0.0

    def look(self, perp: Reference | None, log_spot: float, now_ns: Ns, second: int) -> None:
        if not self._weight or perp is None or now_ns - perp.recv_ns > STALE_NS:
            self.value = 0.0
            return
        x = math.log((perp.bid_e8 + perp.ask_e8) / 2e8) - log_spot
        if second > self._second:
            self._second = second
            self._level.update(x)
        self.value = self._weight * (x - self._level.value)
