"""Which fault happens when: drawn from the seed, one random source for each id, so that leaving out some moves none of the rest.

The venue's and the network's faults are those of the catalogue, given to the same engine as in the embedded venue; those of
the host and of our own threads are named here and done by the host (host.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from bot.errors import SettingsError
from bot.sim.catalogue import CATALOGUE
from bot.sim.faults import Fault, fault_of

# Of the host and of our own threads: kinds, and how often compared with a fault of the venue.
HOST: dict[str, tuple[tuple[str, ...], float]] = {
    "T01": (("raise", "hang", "tear"), 1.0),
    "T05": (("hang",), 0.5),
    "T06": (("stall", "hang", "stop"), 1.0),
    "T08": (("lie",), 0.5),
    "T10": (("term", "kill", "power"), 1.0),
    "D01": (("full",), 0.3),
    "A03": (("step",), 0.5),
}
# Rows after which the bot stays out until a person lifts the latch come less often: half a minute of nothing each.
HALTING = {"H01": 0.4, "P10": 0.6, "P15": 0.4, "T09": 0.4, "U03": 0.4, "U10": 0.5, "W10": 0.4}
DURATIONS_S = {
    "C08": (2.0, 14.0),
    "C10": (2.0, 8.0),
    "P11": (4.0, 25.0),
    "P12": (2.0, 12.0),
    "P17": (5.0, 25.0),
    "W02": (6.0, 25.0),
    "U01": (4.0, 25.0),
    "S06": (5.0, 20.0),
}
UNASKED = {"S05"}  # the bot takes its positions from trades, and never reads the feed this row is about
VENUE = tuple(
    fault_id
    for fault_id, entry in CATALOGUE.items()
    if not entry.how and fault_id not in HOST and fault_id not in UNASKED
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of the run's plan; `table` as in a faults file, or for the host its kind and what it is about."""

    at_s: float
    id: str
    table: dict[str, Any]

    @property
    def text(self) -> str:
        return " ".join([self.id, *(f"{key}={value}" for key, value in self.table.items() if key != "id")])

    def fault(self) -> Fault:
        return fault_of(self.table)


def forecast(seed: int, spans_s: Iterable[tuple[float, float]], every_s: float, only: Collection[str]) -> list[Planned]:
    """All faults of a run, in order of time. `every_s` is the mean time between two; 0: none at all."""
    weights = {fault_id: HALTING.get(fault_id, 1.0) for fault_id in VENUE}
    weights |= {fault_id: weight for fault_id, (_, weight) in HOST.items()}
    total = sum(weights.values())
    planned: list[Planned] = []
    if not every_s:
        return planned
    spans = list(spans_s)
    for fault_id, weight in weights.items():
        random = Random(f"{seed}:{fault_id}")
        rate = weight / total / every_s
        for begin_s, end_s in spans:
            at_s = begin_s + random.expovariate(rate)
            while at_s < end_s:
                table = _host(fault_id, random) if fault_id in HOST else _venue(fault_id, random)
                if not only or fault_id in only:
                    planned.append(Planned(at_s, fault_id, table))
                at_s += random.expovariate(rate)
    return sorted(planned, key=lambda one: (one.at_s, one.id))


def checked(fault_ids: Iterable[str]) -> None:
    """Raises SettingsError for an id that nothing here can cause."""
    for fault_id in fault_ids:
        if fault_id not in VENUE and fault_id not in HOST:
            raise SettingsError(f"no fault {fault_id}: there are {', '.join(sorted((*VENUE, *HOST)))}")


def _venue(fault_id: str, random: Random) -> dict[str, Any]:
    """One of its kinds, for as long as it likes."""
    entry = CATALOGUE[fault_id]
    table: dict[str, Any] = {"id": fault_id}
    if entry.kinds:
        table["kind"] = random.choice(entry.kinds)
    if fault_id in DURATIONS_S:
        table["duration_s"] = round(random.uniform(*DURATIONS_S[fault_id]), 1)
    elif entry.duration_s is not None and random.random() < 0.7:
        table["duration_s"] = round(entry.duration_s * random.uniform(0.2, 1.2), 2)
    if "delay_ms" in entry.extras:
        table["delay_ms"] = round(entry.extras["delay_ms"] * random.uniform(0.2, 1.3))
    if "delay_s" in entry.extras:
        table["delay_s"] = round(entry.extras["delay_s"] * random.uniform(0.2, 1.5), 2)
    if "effect" in entry.extras:
        table["effect"] = random.random() < 0.5
    match fault_id:
        case "W02" | "W07":
            table["match"] = random.choice(("user", "market", "binance"))
        case "W03" | "W04" | "W05" | "W06" | "W08" | "W10":
            table["match"] = random.choice(("user", "market"))
        case "W09" if table["kind"] != "all":
            table["match"] = random.choice(("user", "market", "binance"))
        case "B04":
            table["within_s"] = round(random.uniform(1.0, 30.0), 1)
        case "U07" if random.random() < 0.5:
            table["match"] = "user"
        case "U14":
            table["number"] = random.choice((30, 60, 200))
        case "P02" if table["kind"] == "text":
            table["text"] = random.choice(("could not insert order", "internal server error"))
        case "P11":
            table["post_only_s"] = 10.0
        case "S03" if random.random() < 0.5:
            table["hang_s"] = 20.0
        case "S06":
            table["count"] = 1
        case "T09":
            table["price"] = 0.02
        case "A01" if table["kind"] == "skew":
            table["skew_s"] = random.choice((-60.0, -3.0, 3.0, 60.0))
            table["duration_s"] = round(random.uniform(30.0, 80.0), 1)
    return table


def _host(fault_id: str, random: Random) -> dict[str, Any]:
    kind = random.choice(HOST[fault_id][0])
    table: dict[str, Any] = {"kind": kind}
    match fault_id:
        case "T01":
            names = (
                "orders",
                "cancels",
                "reads",
                "heartbeat",
                "strategy",
                "timer",
                "user",
                "executor",
                "journal",
                "root",
            )
            table["actor"] = random.choice(("orders", "orders", "cancels") if kind == "tear" else names)
            table["hang_s"] = round(random.uniform(0.5, 8.0), 1)
        case "T05":
            table["actor"] = random.choice(("orders", "cancels"))
            table["hang_s"] = round(random.uniform(1.0, 8.0), 1)
        case "T06":
            table["hang_s"] = round(random.uniform(0.3, 1.8) if kind == "stall" else random.uniform(2.0, 6.0), 1)
        case "A03":
            table["step_s"] = round(random.choice((-1, 1)) * random.uniform(0.5, 4.0), 1)
        case "T10":
            table["back_after_s"] = round(random.uniform(0.2, 15.0), 1)
    return table
