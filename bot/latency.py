"""Latency samples of one kind: a preallocated ring of the newest, and exact count and maximum over the whole run."""

from __future__ import annotations

from bot.units import Ns

SIZE = 4096
NAMES = ("tick_to_wire", "tick_to_cancel", "fill_to_executor", "cancel_all", "decision")


class Latency:
    """One writer at a time records (an attribute store each); anyone may summarise."""

    def __init__(self) -> None:
        self._samples = [0] * SIZE
        self.count = 0
        self.max_ns: Ns = 0

    def record(self, elapsed_ns: Ns) -> None:
        self._samples[self.count % SIZE] = elapsed_ns
        self.count += 1
        if elapsed_ns > self.max_ns:
            self.max_ns = elapsed_ns

    def summary(self) -> dict[str, float | int | None]:
        """Microseconds over the newest SIZE samples; max and n over all."""
        kept = sorted(self._samples[: min(self.count, SIZE)])
        if not kept:
            return {"p50": None, "p99": None, "p999": None, "max": None, "n": 0}

        def at(share: float) -> float:
            return kept[min(len(kept) - 1, int(share * len(kept)))] / 1000

        return {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": self.max_ns / 1000, "n": self.count}
