"""Wall time from the monotonic clock plus one offset that a time server corrects: a stepped system clock moves nothing here."""

from __future__ import annotations

import time

from bot.units import Ns


class WallClock:
    """`utc_ns` of a monotonic stamp. One writer (`correct`), an attribute store; anyone reads."""

    def __init__(self) -> None:
        self._anchor_ns: Ns = time.time_ns() - time.monotonic_ns()
        self.local_error_ns: Ns = 0  # how far the system clock was off at the last correction

    def utc_ns(self, now_ns: Ns) -> Ns:
        return now_ns + self._anchor_ns

    def utc_s(self) -> float:
        return self.utc_ns(time.monotonic_ns()) / 1e9

    def correct(self, now_ns: Ns, utc_ns: Ns) -> None:
        """A server said it was utc_ns when our monotonic clock was at now_ns."""
        self._anchor_ns = utc_ns - now_ns
        self.local_error_ns = time.time_ns() - self.utc_ns(time.monotonic_ns())
