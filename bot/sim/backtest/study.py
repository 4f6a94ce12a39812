"""Many backtests at once: each set of parameters on each recording, over the cores there are, and their figures together.

Windows are paired by recording and market, so that two sets compare by the differences between theirs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bot.errors import SettingsError
from bot.history.recording import Recording
from bot.quoting.parameters import Parameters
from bot.quoting.strategy import Strategy
from bot.sim.backtest.scene import Recorded
from bot.sim.trial.measures import Window
from bot.sim.trial.session import Result, Session
from bot.sim.trial.study import figures, paired, spread
from bot.sim.trial.variants import OURS
from bot.sim.trial.virtual_bot import Latencies


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried, and on what: parameters by name, `ours` among them."""

    recordings: tuple[Path, ...]
    points: Mapping[str, Parameters]
    latencies: Latencies = Latencies()


class Run(msgspec.Struct, kw_only=True):
    """One recording with one set of parameters, and the processor time it took."""

    name: str
    number: int
    result: Result
    torn: bool
    cpu_s: float


def one(spec: Spec, name: str, number: int) -> Run:
    """Raises SettingsError for a recording that cannot be read."""
    began_s = time.process_time()
    recording = Recording(spec.recordings[number])
    scene = Recorded(recording, stream_ms=spec.latencies.stream_ms)
    session = Session(
        Strategy, scene, parameters=spec.points[name], latencies=spec.latencies, seed=f"backtest:{number}"
    )
    result = session.run()
    return Run(name=name, number=number, result=result, torn=recording.torn, cpu_s=time.process_time() - began_s)


def study(spec: Spec, jobs: int, progress: Callable[[Run], None] = lambda run: None) -> dict[str, Any]:
    """Everything the command reports. Raises SettingsError where there is nothing to report of."""
    heads = {str(path): Recording(path).head for path in spec.recordings}  # before anything is run
    done: dict[str, list[Run]] = {name: [] for name in spec.points}
    for run in spread(one, spec, spec.points, len(spec.recordings), jobs):
        done[run.name].append(run)
        progress(run)
    windows: dict[str, list[Window]] = {
        name: [window for run in sorted(rows, key=lambda run: run.number) for window in _in_order(run.result.windows)]
        for name, rows in done.items()
    }
    ours, every = windows[OURS], [run for rows in done.values() for run in rows]
    if not ours:
        raise SettingsError(f"{', '.join(map(str, spec.recordings))}: no market was found while it was recorded")
    return {
        "recordings": [str(path) for path in spec.recordings],
        "torn": sorted({str(spec.recordings[run.number]) for run in every if run.torn}),
        "trading": [path for path, head in heads.items() if head.trading],
        "mode": sorted({head.mode for head in heads.values()}),
        "series": sorted({name for head in heads.values() for name in head.series}),
        "seconds": sum(run.result.seconds for run in done[OURS]),
        "windows": len(ours),
        "unsettled": sum(not window.settled for window in ours),
        "strategies": {name: figures(rows) for name, rows in windows.items()},
        "sweep": {name: paired(rows, ours) for name, rows in windows.items() if name != OURS},
        "ledger_error_e6": max(run.result.ledger_error_e6 for run in every),
        "halts": sum(run.result.halts for run in every),
        "speed": sum(run.result.seconds for run in every) / sum(run.cpu_s for run in every),
        "by_window": {
            name: [[w.edge_usd, w.pnl_usd, w.share_s / (2 * w.quoted_s) if w.quoted_s > 0 else 0.0] for w in rows]
            for name, rows in windows.items()
        },
    }


def _in_order(windows: Sequence[Window]) -> list[Window]:
    """Settled sooner or later, they are the same windows."""
    return sorted(windows, key=lambda window: window.slug)


def grid(table: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Every combination of the values that a sweep's `[strategy]` lists. Raises SettingsError."""
    section = table.get("strategy")
    if set(table) != {"strategy"} or not isinstance(section, Mapping) or not section:
        raise SettingsError(f"{where}: a sweep has one section, [strategy], of names with lists: gamma = [0.01, 0.02]")
    for name, values in section.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"{where}: strategy.{name}: a list of values is wanted, such as [0.01, 0.02]")
    return [dict(zip(section, values, strict=True)) for values in itertools.product(*section.values())]
