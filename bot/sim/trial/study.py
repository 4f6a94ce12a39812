"""Many sessions at once: every strategy on the same seeds, over the cores there are, and what the figures say together.

Windows are paired by seed and number, so that two strategies compare by the differences between theirs. Pure but for the
processes it starts.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

import msgspec

from bot.quoting.parameters import Parameters
from bot.sim.parameters import WorldParameters
from bot.sim.trial.feeds import Misjudged
from bot.sim.trial.generated import generated
from bot.sim.trial.measures import PARTS, Window
from bot.sim.trial.session import Result
from bot.sim.trial.variants import OURS, variant
from bot.sim.trial.virtual_bot import Latencies
from bot.venues.polymarket_metadata import parse_series

SEEDS = 10_000  # sessions of one seed

S = TypeVar("S")
R = TypeVar("R")


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried, and on what. `in_a_row`: a session's windows, in which what was learnt in one serves the next."""

    windows: int
    in_a_row: int = 10
    seed: int
    world: WorldParameters
    parameters: Parameters
    latencies: Latencies = Latencies()
    misjudged: Misjudged = Misjudged()
    series: str = "btc-updown-5m"
    baselines: tuple[str, ...] = ()
    ablations: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys((OURS, *self.baselines, *self.ablations)))

    @property
    def sessions(self) -> list[int]:
        """How many windows each has."""
        whole, rest = divmod(self.windows, self.in_a_row)
        return [self.in_a_row] * whole + [rest] * (rest > 0)


class Run(msgspec.Struct, kw_only=True):
    """One session of one strategy, with the processor time it took."""

    name: str
    number: int
    result: Result
    cpu_s: float


def one(spec: Spec, name: str, number: int) -> Run:
    chosen = variant(name, spec.parameters)
    began_s = time.process_time()
    session = generated(
        chosen.make,
        seed=spec.seed * SEEDS + number,
        series=[spec.series],
        seconds=spec.sessions[number] * parse_series(spec.series).length_s,
        world=spec.world,
        parameters=chosen.parameters,
        latencies=spec.latencies,
        guarded=chosen.guarded,
        misjudged=spec.misjudged,
    )
    return Run(name=name, number=number, result=session.run(), cpu_s=time.process_time() - began_s)


def spread(one: Callable[[S, str, int], R], spec: S, names: Iterable[str], count: int, jobs: int) -> Iterator[R]:
    """Each name with each number below `count`, over so many processes; what comes of them as they get done."""
    tasks = list(itertools.product(range(count), names))
    if jobs == 1 or len(tasks) == 1:
        for number, name in tasks:
            yield one(spec, name, number)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(one, spec, name, number) for number, name in tasks]):
            yield done.result()


def study(spec: Spec, jobs: int, progress: Callable[[Run], None] = lambda run: None) -> dict[str, Any]:
    """Everything the command reports. Raises SettingsError for an unknown name before anything is run."""
    for name in spec.names:
        variant(name, spec.parameters)
    done: dict[str, list[Run]] = {name: [] for name in spec.names}
    for run in spread(one, spec, spec.names, len(spec.sessions), jobs):
        done[run.name].append(run)
        progress(run)
    windows = {
        name: [window for run in sorted(rows, key=lambda run: run.number) for window in run.result.windows]
        for name, rows in done.items()
    }
    every = [run for rows in done.values() for run in rows]
    return {
        "windows": spec.windows,
        "seed": spec.seed,
        "series": spec.series,
        "strategies": {name: figures(rows) for name, rows in windows.items()},
        "paired": {name: paired(windows[OURS], windows[name]) for name in spec.baselines},
        "ablations": {name: paired(windows[OURS], windows[name]) for name in spec.ablations},
        "ledger_error_e6": max(run.result.ledger_error_e6 for run in every),
        "halts": sum(run.result.halts for run in every),
        "speed": sum(run.result.seconds for run in every) / sum(run.cpu_s for run in every),
        "in_a_row": {name: resting(rows, spec.in_a_row) for name, rows in windows.items()},
        "by_window": {
            name: [[w.edge_usd, w.pnl_usd, w.share_s / (2 * w.quoted_s)] for w in rows]
            for name, rows in windows.items()
        },
    }


# -- figures -------------------------------------------------------------------------------------------------------


def figures(windows: Sequence[Window]) -> dict[str, Any]:
    """One strategy over its windows; null where there is nothing to divide by. Means are by window, USD."""
    pnl = [window.pnl_usd for window in windows]
    edge = [window.edge_usd for window in windows]

    def total(field: str) -> float:
        return math.fsum(getattr(window, field) for window in windows)

    shares, live_s = total("shares"), total("live_s")
    modes, reasons = _seconds(window.mode_s for window in windows), _seconds(window.reason_s for window in windows)
    watched_s = sum(modes.values())
    return {
        "mean_usd": statistics.fmean(pnl),
        "sd_usd": _sd(pnl),
        "t": _t(pnl),
        "edge_usd": statistics.fmean(edge),
        "edge_t": _t(edge),
        "edge_c": _ratio(100 * total("edge_usd"), shares),
        "wrong_side": _ratio(total("wrong_s"), total("share_s")),
        **{
            f"m{seconds}_c": _ratio(100 * math.fsum(window.markouts[number] for window in windows), shares)
            for number, seconds in enumerate((1, 5, 30))
        },
        "fills": round(total("fills")),
        "shares": shares,
        "at_touch": _ratio(total("touch_s"), live_s),
        "uptime": _ratio(total("both_s"), live_s),
        "uptime_one": _ratio(total("one_s"), live_s),
        "resting": resting(windows, 1)[0],
        "spread_c": _ratio(100 * total("spread_s"), total("both_s")),
        "requests_per_s": _ratio(total("requests"), total("quoted_s")),
        "q_abs_end": statistics.fmean(abs(window.q_end) for window in windows),
        "q_abs_max": max(window.q_abs_max for window in windows),
        "worst1pct_usd": sorted(pnl)[max(0, math.ceil(0.01 * len(pnl)) - 1)],
        "sniped": _ratio(total("sniped"), total("fills")),
        "pnl_usd": {part: math.fsum(window.parts[part] for window in windows) / len(windows) for part in PARTS},
        "modes": {name: _ratio(seconds, watched_s) for name, seconds in modes.items()},
        "reasons": {name: _ratio(seconds, watched_s) for name, seconds in reasons.items()},
    }


def paired(ours: Sequence[Window], theirs: Sequence[Window]) -> dict[str, Any]:
    """Mean difference of edge, ours less theirs, on the same windows."""
    differences = [a.edge_usd - b.edge_usd for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(differences)
    half = t_quantile(0.975, len(differences) - 1) * _sd(differences) / math.sqrt(len(differences))
    return {"edge_diff_usd": mean, "ci95": [mean - half, mean + half]}


def resting(windows: Sequence[Window], in_a_row: int) -> list[float | None]:
    """Shares resting a side in the first, second, ... window of a session: how much a strategy still dares."""
    return [
        _ratio(math.fsum(w.share_s for w in nth), 2 * math.fsum(w.quoted_s for w in nth))
        for nth in (windows[place::in_a_row] for place in range(min(in_a_row, len(windows))))
    ]


def t_quantile(probability: float, freedom: int) -> float:
    """Of Student's law, by the first terms of Cornish and Fisher's expansion: within 1 % from 4 degrees of freedom on."""
    z = statistics.NormalDist().inv_cdf(probability)
    n = max(freedom, 1)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def _seconds(rows: Iterator[dict[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for row in rows:
        for name, seconds in row.items():
            sums[name] = sums.get(name, 0.0) + seconds
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _t(values: Sequence[float]) -> float | None:
    return _ratio(statistics.fmean(values) * math.sqrt(len(values)), _sd(values))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
