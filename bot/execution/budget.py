"""Venue budget: one place that counts what the venue counts, with cancels first. Knows no orders.

Integer token buckets on a time that is passed, lowered by what the venue says it has left for us. Halts, pulls and mass
cancels are charged but never refused.
"""

from __future__ import annotations

import msgspec

from bot.messages import Budgeted
from bot.units import NS_PER_S, Ns

_SCALE = NS_PER_S  # a token is 1e9 parts, so that rate times nanoseconds is exact


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Requests per second and bursts, below the venue's own."""

    orders_per_s: int = 40
    orders_burst: int = 60
    cancels_per_s: int = 80
    cancels_burst: int = 120
    placements_per_s: int = 20  # of our signer, so that quoting never gets near the venue's bucket
    placements_burst: int = 20
    queries_per_s: int = 20  # reads of single orders; the venue takes 50 reads of trades a second
    queries_burst: int = 40
    reserve_share: float = 0.2  # of the cancel bucket, never spent by quoting
    penalty_ns: Ns = 10 * NS_PER_S  # after a 429 the own rate halves, and doubles back after this long without one


class Bucket:
    """Tokens that come back at a rate up to a burst. A forced charge may leave it empty, never in debt beyond a burst."""

    def __init__(self, per_s: int, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst * _SCALE
        self._level = self._burst
        self._at_ns: Ns = 0

    def _refill(self, now_ns: Ns, divisor: int) -> None:
        if now_ns > self._at_ns:
            self._level = min(self._burst, self._level + (now_ns - self._at_ns) * self._per_s // divisor)
            self._at_ns = now_ns

    def take(self, count: int, now_ns: Ns, keep: int = 0, divisor: int = 1) -> bool:
        """Take tokens if that leaves at least `keep`."""
        self._refill(now_ns, divisor)
        if self._level - count * _SCALE < keep * _SCALE:
            return False
        self._level -= count * _SCALE
        return True

    def charge(self, count: int, now_ns: Ns) -> None:
        self._refill(now_ns, 1)
        self._level = max(-self._burst, self._level - count * _SCALE)

    def lower(self, level: int, now_ns: Ns, divisor: int) -> None:
        self._refill(now_ns, divisor)
        self._level = max(-self._burst, min(self._level, level * _SCALE))

    @property
    def level(self) -> float:
        return self._level / _SCALE


class Budget:
    """Invariant: quoting leaves the reserve of the cancel bucket alone."""

    def __init__(self, rates: Rates = Rates()) -> None:
        self._rates = rates
        self._orders = Bucket(rates.orders_per_s, rates.orders_burst)
        self._cancels = Bucket(rates.cancels_per_s, rates.cancels_burst)
        self._placements = Bucket(rates.placements_per_s, rates.placements_burst)
        self._queries = Bucket(rates.queries_per_s, rates.queries_burst)
        self._divisor = 1
        self._penalty_until_ns: Ns = 0

    @property
    def reserve(self) -> int:
        """Tokens of the cancel bucket."""
        return -int(-self._rates.cancels_burst * self._rates.reserve_share // 1)

    def take_order(self, now_ns: Ns) -> bool:
        """One new order of quoting."""
        self._recover(now_ns)
        if not self._orders.take(1, now_ns, divisor=self._divisor):
            return False
        return self._placements.take(1, now_ns, divisor=self._divisor)

    def take_cancel(self, now_ns: Ns) -> bool:
        """One cancel of quoting: a price moved."""
        return self._cancels.take(1, now_ns, keep=self.reserve)

    def take_query(self, now_ns: Ns) -> bool:
        """One read of a single order."""
        return self._queries.take(1, now_ns)

    def charge_cancels(self, count: int, now_ns: Ns) -> None:
        """Cancels that safety asks for: counted, never refused. A cancel-all costs 1 and what it cancels."""
        self._cancels.charge(count, now_ns)

    def limited(self, now_ns: Ns) -> None:
        """The venue said 429."""
        self._divisor = min(16, self._divisor * 2)
        self._penalty_until_ns = now_ns + self._rates.penalty_ns

    def _recover(self, now_ns: Ns) -> None:
        if self._divisor > 1 and now_ns >= self._penalty_until_ns:
            self._divisor //= 2
            self._penalty_until_ns = now_ns + self._rates.penalty_ns

    def told(self, kind: Budgeted, left: int, now_ns: Ns) -> None:
        """The venue says what it still takes: somebody else may use this key too. Ours is never raised by it."""
        if kind is Budgeted.ORDERS:
            self._orders.lower(left, now_ns, self._divisor)
        else:
            self._cancels.lower(left, now_ns, 1)

    def levels(self) -> dict[str, float]:
        return {
            "orders": round(self._orders.level, 1),
            "cancels": round(self._cancels.level, 1),
            "reserve": float(self.reserve),
        }

    def uses(self) -> dict[str, tuple[float, int]]:
        """Of each rate, what is used of its burst, and the burst."""
        rates = self._rates
        bursts = {
            "orders_rate": (self._orders, rates.orders_burst),
            "placements_rate": (self._placements, rates.placements_burst),
            "cancels_rate": (self._cancels, rates.cancels_burst),
            "queries_rate": (self._queries, rates.queries_burst),
        }
        return {name: (round(burst - bucket.level, 1), burst) for name, (bucket, burst) in bursts.items()}
