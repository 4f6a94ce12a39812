"""`bot trial`: options to a study, its progress on standard error, its figures as a table, as JSON and as a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson

from bot.settings import load
from bot.sim import worlds
from bot.sim.trial.feeds import Misjudged
from bot.sim.trial.study import Spec, study
from bot.sim.trial.variants import BASELINES
from bot.sim.trial.virtual_bot import Latencies

NOTE = "Generated market: these figures rank ideas and forecast no live profit."

# What may be misjudged: changes of the world, of the strategy's parameters, and what the bot is told.
MISJUDGED: dict[str, tuple[dict[str, int], dict[str, float], Misjudged]] = {
    "sigma*0.8": ({}, {"psi": 0.8}, Misjudged()),
    "sigma*1.25": ({}, {"psi": 1.25}, Misjudged()),
    "basis+2bp": ({}, {}, Misjudged(strike_log=-2e-4)),
    "basis-2bp": ({}, {}, Misjudged(strike_log=2e-4)),
    "lag+2s": ({}, {}, Misjudged(stamp_s=2)),
    "lag-2s": ({"twap_lag_ms": 3_000}, {}, Misjudged(stamp_s=-2)),  # of a lag that is longer, or it could not be learnt
}

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("mean_usd", "PnL $", "{:.2f}"),
    ("sd_usd", "sd $", "{:.1f}"),
    ("worst1pct_usd", "worst 1% $", "{:.1f}"),
    ("edge_usd", "edge $", "{:.3f}"),
    ("edge_t", "t", "{:.1f}"),
    ("edge_c", "edge c/sh", "{:.2f}"),
    ("m1_c", "1 s", "{:.2f}"),
    ("m30_c", "30 s", "{:.2f}"),
    ("fills", "fills", "{}"),
    ("shares", "shares", "{:.0f}"),
    ("wrong_side", "wrong side", "{:.2%}"),
    ("at_touch", "at touch", "{:.0%}"),
    ("uptime", "both sides", "{:.0%}"),
    ("resting", "resting", "{:.1f}"),
    ("spread_c", "spread c", "{:.1f}"),
    ("requests_per_s", "req/s", "{:.1f}"),
    ("q_abs_end", "|q| end", "{:.1f}"),
)


def show_trial(
    *,
    windows: int,
    in_a_row: int,
    seed: int | None,
    world: str | None,
    series: str,
    taker_delay_ms: int | None,
    latency_ms: float,
    misjudge: str | None,
    baselines: tuple[str, ...],
    ablations: tuple[str, ...],
    jobs: int | None,
    config: Path | None,
    as_json: bool,
    html: Path | None,
) -> None:
    """Raises SettingsError for a world, setting or ablation that is none."""
    name = world or worlds.DEFAULT
    chosen = worlds.world(name)
    if taker_delay_ms is not None:
        chosen = msgspec.structs.replace(chosen, taker_delay_ms=taker_delay_ms)
    parameters = load(config)[0].parameters()
    changes, tuned, misjudged = MISJUDGED[misjudge] if misjudge else ({}, {}, Misjudged())
    chosen = msgspec.structs.replace(chosen, **changes)
    spec = Spec(
        windows=windows,
        in_a_row=in_a_row,
        seed=1 if seed is None else seed,
        world=chosen,
        series=series,
        parameters=msgspec.structs.replace(parameters, **tuned),
        latencies=Latencies(order_ms=latency_ms, cancel_ms=latency_ms),
        misjudged=misjudged,
        baselines=baselines or tuple(BASELINES),
        ablations=ablations,
    )
    tasks = len(spec.names) * len(spec.sessions)
    with click.progressbar(length=tasks, label="sessions", file=sys.stderr, show_pos=True) as bar:
        figures = study(spec, jobs or os.cpu_count() or 1, lambda run: bar.update(1))
    report = {
        **figures,
        "world": name,
        "taker_delay_ms": chosen.taker_delay_ms,
        "latency_ms": latency_ms,
        "misjudged": misjudge,
        "note": NOTE,
    }
    if html is not None:
        from bot.sim.trial.page import GENERATED, page

        html.write_text(page(report, title="Trial", market=GENERATED, about=about(report)))
    if as_json:
        click.echo(orjson.dumps({key: value for key, value in report.items() if key != "by_window"}))
    else:
        click.echo("\n".join(table(report)))


def rows_of(strategies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table of what they did, by name."""
    rows = [["", *(title for _, title, _ in COLUMNS)]]
    for name, figures in strategies.items():
        rows.append([name, *(_text(figures[key], form) for key, _, form in COLUMNS)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]


def about(report: Mapping[str, Any]) -> str:
    return (
        f"{report['windows']} windows of {report['series']} in {report['world']}, seed {report['seed']}, taker delay "
        f"{report['taker_delay_ms']} ms, own latency {report['latency_ms']:g} ms, misjudged {report['misjudged'] or 'nothing'}"
    )


def table(report: Mapping[str, Any]) -> list[str]:
    lines = [f"{about(report)}. {report['note']}", "", *rows_of(report["strategies"]), ""]
    for kind, title in (("paired", "ours less"), ("ablations", "ours less ours without")):
        for name, row in report[kind].items():
            low, high = row["ci95"]
            lines.append(
                f"{title} {name}: edge {row['edge_diff_usd']:+.3f} USD a window (95 %: {low:+.3f} to {high:+.3f})"
            )
    lines.append(
        f"ledger off by {report['ledger_error_e6']} micro-USD, {report['halts']} halts lifted, "
        f"{report['speed']:.0f} times as fast as the clock on one core"
    )
    return lines


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
