"""The venue's trading budget of one signer: token buckets of its tier, and the headers that tell of them.

Counts always; refuses only where the venue was asked to enforce. Time is passed in; knows no route.
"""

from __future__ import annotations

import math

ORDERS, CANCELS = "orders", "cancels"
BURST = 1.5  # seconds' worth of orders or cancels that a rested bucket holds
TIERS: dict[str, float] = {  # by 30-day volume: orders a second; twice as many cancels
    "Standard": 40.0,
    "Copper": 60.0,
    "Bronze": 80.0,
    "Silver": 200.0,
    "Gold": 400.0,
    "Platinum": 450.0,
    "Diamond": 525.0,
    "Elite": 600.0,
}
DEBTLESS = ("Platinum", "Diamond", "Elite")  # a cancel-all empties their bucket at most; the others' goes below zero


class Bucket:
    """Tokens that come back at a steady rate, up to the burst. May go below zero for what is charged afterwards."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_ms = 0

    def tokens(self, now_ms: int) -> float:
        if self._at_ms:
            self._tokens = min(self._burst, self._tokens + max(now_ms - self._at_ms, 0) / 1000 * self._per_s)
        self._at_ms = now_ms
        return self._tokens

    def take(self, cost: int, now_ms: int) -> None:
        self._tokens = self.tokens(now_ms) - cost

    def full_at_s(self, now_ms: int) -> int:
        """The unix second in which the bucket is full again."""
        return math.ceil(now_ms / 1000 + (self._burst - self.tokens(now_ms)) / self._per_s)

    def wait_s(self, cost: int, now_ms: int) -> int:
        """Whole seconds until the cost can be paid."""
        return max(1, math.ceil((cost - self.tokens(now_ms)) / self._per_s))


class Rates:
    """The buckets of every signer."""

    def __init__(self, enforced: bool = False, tier: str = "Standard") -> None:
        self._enforced = enforced
        self._tier = tier
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._over: set[tuple[str, str]] = set()  # whose last request would have been refused, were it enforced

    def _bucket(self, signer: str, kind: str) -> Bucket:
        per_s = TIERS[self._tier] * (1 if kind == ORDERS else 2)
        return self._buckets.setdefault((signer, kind), Bucket(per_s, int(per_s * BURST)))

    def spend(self, signer: str, kind: str, cost: int, now_ms: int) -> int:
        """Charge a request before it is done, all or nothing: 0, or the seconds to wait when it is refused."""
        bucket = self._bucket(signer, kind)
        self._over.discard((signer, kind))
        if bucket.tokens(now_ms) < cost:
            if self._enforced:
                return bucket.wait_s(cost, now_ms)
            self._over.add((signer, kind))
        bucket.take(cost, now_ms)
        return 0

    def charge(self, signer: str, kind: str, cost: int, now_ms: int) -> None:
        """Charge what is known only afterwards, such as the orders a cancel-all cancelled."""
        bucket = self._bucket(signer, kind)
        left = max(0, math.floor(bucket.tokens(now_ms)))
        bucket.take(min(cost, left) if self._tier in DEBTLESS else cost, now_ms)

    def headers(self, signer: str, kind: str, now_ms: int) -> dict[str, str]:
        """What is left (cancels may be in debt), and a warning where only the missing enforcement let it pass."""
        bucket = self._bucket(signer, kind)
        left = math.floor(bucket.tokens(now_ms))
        headers = {
            "Poly-RateLimit-Remaining": str(left if kind == CANCELS else max(0, left)),
            "Poly-RateLimit-Reset": str(bucket.full_at_s(now_ms)),
            "Poly-RateLimit-Tier": self._tier,
        }
        return headers | {"Poly-RateLimit-Warning": "true"} if (signer, kind) in self._over else headers
