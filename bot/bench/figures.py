"""Numbers of a benchmark: percentiles of one round, medians over the rounds, and how many times better than another."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bot.errors import BotError

ROUNDS = 5
Figures = dict[str, Any]


class BenchError(BotError):
    """Nothing can be measured here and now."""


def percentiles(samples_ns: Sequence[int], unit_ns: int = 1000) -> Figures:
    """n, p50, p99, p999 and max of nanosecond samples; in microseconds, unless another unit is given."""
    ordered = sorted(samples_ns)
    if not ordered:
        raise BenchError("a round without a sample: is the machine busy with something else?")

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / unit_ns

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": ordered[-1] / unit_ns}


def medians(rounds: Sequence[Figures]) -> Figures:
    """Each figure's median over the rounds; `n` is of all together."""
    figures = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0] if name != "n"}
    return {"n": sum(one["n"] for one in rounds), **figures} if "n" in rounds[0] else figures


def against(ours: Figures, theirs: Figures, names: Mapping[str, bool]) -> Figures:
    """The reference's figures, with a ratio for each name: above 1 we are better. True: a greater figure is the better."""
    ratios = {}
    for name, greater in names.items():
        better, worse = (ours[name], theirs[name]) if greater else (theirs[name], ours[name])
        ratios[f"ratio_{name}"] = round(better / worse, 3)
    return {**theirs, **ratios}


TIMES = {"p50": False, "p99": False}


def conditions() -> Figures:
    """What a figure was measured under."""
    return {
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "switch_interval_s": sys.getswitchinterval(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
