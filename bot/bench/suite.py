"""All benchmarks by name, what is said of each, and the file that remembers what was said before."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from bot import __version__, interpreter
from bot.bench.figures import Figures, conditions
from bot.errors import BotError, SettingsError
from bot.state import state_home

# Where each is, as module and function.
NAMES = {
    "mailbox": ("mailbox", "run"),
    "fill_under_load": ("fill", "run"),
    "feed": ("feed", "run"),
    "sign": ("sign", "run"),
    "tick_to_wire": ("tick", "tick_to_wire"),
    "tick_to_cancel": ("tick", "tick_to_cancel"),
    "cancel_all": ("cancel", "run"),
    "executor": ("executor", "run"),
    "replay": ("replay", "run"),
    "backtest": ("backtest", "run"),
    "start": ("start", "run"),
    "footprint": ("footprint", "run"),
}
HISTORY = "bench.jsonl"


def run(names: Sequence[str]) -> Iterator[tuple[str, Figures]]:
    """Each name's figures as soon as they are there, or an `error` in their place. Raises SettingsError for a name that
    is none."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise SettingsError(f"no benchmark is called {unknown[0]}: choose from {', '.join(NAMES)}")
    for name in names or NAMES:
        module, function = NAMES[name]
        measure = getattr(import_module(f"bot.bench.{module}"), function)
        interpreter.settle()  # but no short slices: the venue and the peers, which inherit them, ask for none themselves
        told: Figures = {"unit": "", "conditions": conditions(), "against": {}}
        try:
            told |= measure()
        except BotError as error:
            told["error"] = str(error)
        yield name, told


def remember(results: dict[str, Figures]) -> Path:
    """Append to the history; returns where it is."""
    path = state_home() / HISTORY
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with path.open("ab") as file:
        file.write(orjson.dumps({"at": now, "version": __version__, "results": results}) + b"\n")
    return path


def earlier(path: Path) -> dict[str, Figures]:
    """The last results in a file: the history, or what `--json` printed. Raises SettingsError."""
    try:
        table = orjson.loads(path.read_bytes().strip().splitlines()[-1])
        results: dict[str, Figures] = table.get("results", table)
        if not all("conditions" in figures for figures in results.values()):
            raise ValueError
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (ValueError, IndexError, AttributeError, TypeError):
        raise SettingsError(f"{path}: no results of bot bench") from None
    return results


# -- for people ------------------------------------------------------------------------------------------------------

_SKIPPED = ("unit", "conditions", "against")


def lines(name: str, figures: Figures, before: Figures | None = None) -> list[str]:
    """One benchmark as a table: ours, what it was before, and each reference with how many times better we are."""
    told = figures["conditions"]
    head = f"{name} [{figures['unit']}]  Python {told['python']}, {told['cpu_count']} CPUs, switch interval {told['switch_interval_s']:g} s, load {told['load_1m']:g}"
    rows: list[tuple[str, Any]] = [("ours", figures)]
    if before is not None:
        rows.append(("before", before))
    rows += list(figures["against"].items())
    width = max(len(label) for label, _ in rows)
    return [head, *(f"  {label:<{width}}  {_row(row)}" for label, row in rows)]


def _row(figures: Figures) -> str:
    return "  ".join(f"{key} {_number(value)}" for key, value in figures.items() if key not in _SKIPPED)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
