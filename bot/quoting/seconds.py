"""Running sums of one mid a second, so that the mean over any recent interval costs two look-ups.

Knows nothing of prices beyond that they are numbers and of time beyond whole seconds.
"""

from __future__ import annotations

from bot.caches import RING_S, SecondRing
from bot.units import E8


class SecondSums:
    """Sums of the mids of seconds `first` to `last` without a hole; nothing is held while `last` is 0."""

    def __init__(self, size: int = RING_S) -> None:
        self._size = size
        self._sum = [0] * size
        self.first = 0
        self.last = 0

    def load(self, ring: SecondRing, last: int) -> list[E8]:
        """Take the unbroken run of mids that ends with this second; returns them, oldest first."""
        mids: list[E8] = []
        for second in range(last, last - self._size + 1, -1):
            mid = ring.at(second)
            if not mid:
                break
            mids.append(mid)
        mids.reverse()
        self.last = last if mids else 0
        self.first = last - len(mids) + 1
        total = 0
        self._sum[(self.first - 1) % self._size] = 0
        for second, mid in enumerate(mids, self.first):
            total += mid
            self._sum[second % self._size] = total
        return mids

    def extend(self, mid_e8: E8) -> None:
        """The mid of the next second."""
        total = self._sum[self.last % self._size] + mid_e8
        self.last += 1
        self._sum[self.last % self._size] = total
        self.first = max(self.first, self.last - self._size + 2)

    def mean(self, after: int, upto: int) -> float:
        """Mean of the mids of the seconds after + 1 to upto, as a price; 0 when not all of them are held."""
        if not self.last or upto > self.last or after + 1 < self.first or upto <= after:
            return 0.0
        total = self._sum[upto % self._size] - self._sum[after % self._size]
        return total / (upto - after) / 1e8
