"""A crash at one of the marked points of a process: around its handlers, its journal and each of its requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bot.units import NS_PER_S, Ns

POINTS = (
    "before handling",
    "before the journal",
    "before sending",
    "before POST by orders",
    "after POST by orders",
    "before DELETE by cancels",
    "after DELETE by cancels",
    "before DELETE by panic",
    "after DELETE by panic",
    "before GET by reads",
    "after GET by reads",
    "before POST by heartbeat",
    "after POST by heartbeat",
)
PATIENCE_NS: Ns = 2 * NS_PER_S  # for a point of the kind that was drawn; after it any will do


@dataclass(frozen=True, slots=True)
class Crash:
    """At the first `point` from `at_ns` on."""

    at_ns: Ns
    point: str
    power: bool  # what was not synced is lost too
    back_after_s: float

    def due(self, point: str, now_ns: Ns) -> bool:
        return now_ns >= self.at_ns and (point == self.point or now_ns >= self.at_ns + PATIENCE_NS)


def crash_of(seed: int, at_s: float, start_ns: Ns) -> Crash:
    """Whatever else belongs to it follows from the seed and the second."""
    random = Random(f"{seed}:crash:{at_s}")
    return Crash(
        at_ns=start_ns + round(at_s * NS_PER_S),
        point=random.choice(POINTS),
        power=random.random() < 0.3,
        back_after_s=random.uniform(0.2, 5.0),
    )


def moments(count: int, seconds: float) -> list[float]:
    """So many seconds, spread evenly."""
    return [round((index + 0.5) * seconds / count, 3) for index in range(count)]
