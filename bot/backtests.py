"""`bot backtest`: options to a study of recordings, its progress on standard error, its figures as table, JSON and page."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from bot.errors import SettingsError
from bot.quoting.parameters import Parameters
from bot.settings import load, toml_of, validated
from bot.sim.backtest.study import Spec, grid, study
from bot.sim.trial.variants import OURS
from bot.sim.trial.virtual_bot import Latencies
from bot.trials import rows_of

NOTES = {
    "sim": "Recorded from a generated market: these figures rank ideas and forecast no live profit.",
    "live": "Recorded from the venue: who trades with us is assumed, and what we would have changed is not known.",
}


def show_backtest(
    *,
    data: tuple[Path, ...],
    config: Path | None,
    sweep: Path | None,
    shard: str | None,
    latency_ms: float,
    stream_ms: float,
    jobs: int | None,
    as_json: bool,
    html: Path | None,
) -> None:
    """Raises SettingsError for what cannot be read or is out of its range, before anything is run."""
    points = _points(config, sweep)
    recordings = data
    if shard is not None:
        number, of = _shard(shard)
        if sweep is not None:  # each shard has ours to compare with
            points = {OURS: points[OURS]} | dict([item for item in points.items() if item[0] != OURS][number - 1 :: of])
        else:
            recordings = data[number - 1 :: of]
        if not recordings:
            raise SettingsError(f"--shard {shard}: {len(data)} recordings do not make that many")
    latencies = Latencies(order_ms=latency_ms, cancel_ms=latency_ms, stream_ms=stream_ms)
    spec = Spec(recordings=recordings, points=points, latencies=latencies)
    tasks = len(spec.recordings) * len(spec.points)
    with click.progressbar(length=tasks, label="recordings", file=sys.stderr, show_pos=True) as bar:
        told = study(spec, jobs or os.cpu_count() or 1, lambda run: bar.update(1))
    note = " ".join(NOTES[mode] for mode in told["mode"])
    report = {**told, "latency_ms": latency_ms, "stream_ms": stream_ms, "shard": shard, "note": note}
    if html is not None:
        from bot.sim.trial.page import RECORDED, page

        html.write_text(page(report, title="Backtest", market=RECORDED, about=about(report)))
    if as_json:
        click.echo(orjson.dumps(report))
    else:
        click.echo("\n".join(table(report)))


def _points(config: Path | None, sweep: Path | None) -> dict[str, Parameters]:
    settings, raw = load(config)
    points = {OURS: settings.parameters()}
    if sweep is None:
        return points
    try:
        text = sweep.read_text()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{sweep}: cannot be read: {error}") from None
    for changes in grid(toml_of(text, str(sweep)), str(sweep)):
        name = ",".join(f"{key}={value}" for key, value in changes.items())
        changed: Mapping[str, Any] = {**raw, "strategy": {**raw.get("strategy", {}), **changes}}
        points[name] = validated(dict(changed), f"{sweep}: {name}").parameters()
    return points


def _shard(text: str) -> tuple[int, int]:
    """Raises SettingsError."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise SettingsError(f"--shard {text}: write i/n with i from 1 to n, such as 1/4")
    return number, of


def about(report: Mapping[str, Any]) -> str:
    unsettled = f" ({report['unsettled']} not settled: at their last price)" if report["unsettled"] else ""
    return (
        f"{report['windows']} windows{unsettled} of {', '.join(report['series'])} in {report['seconds'] / 3600:.2f} recorded "
        f"hours, own latency {report['latency_ms']:g} ms, streams {report['stream_ms']:g} ms"
    )


def table(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{about(report)}. {report['note']}", "", *rows_of(report["strategies"]), ""]
    for name, row in report["sweep"].items():
        low, high = row["ci95"]
        lines.append(
            f"{name} less ours: edge {row['edge_diff_usd']:+.3f} USD a window (95 %: {low:+.3f} to {high:+.3f})"
        )
    for path in report["trading"]:
        lines.append(f"{path}: a bot traded while it recorded: its own orders are taken for those of others")
    for path in report["torn"]:
        lines.append(f"{path}: its end is missing, as a kill leaves it; read up to there")
    lines.append(
        f"ledger off by {report['ledger_error_e6']} micro-USD, {report['halts']} halts lifted, "
        f"{report['speed']:.0f} times as fast as the clock on one core"
    )
    return lines
