"""From the command to the first order that rests at the venue; and what `bot --help` takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from bot.bench.figures import ROUNDS, BenchError, Figures, percentiles
from bot.state import read_json
from bot.units import NS_PER_MS, Ns
from bot.venues.clob_http import Connection, RequestFailed

RESTING_S_MAX = 20.0


def run() -> Figures:
    took_ns = [_first_order_ns() for _ in range(ROUNDS + 1)][1:]  # the first one warms the disk's cache
    help_ns = percentiles([_help_ns() for _ in range(ROUNDS)], NS_PER_MS)["p50"]
    return {"unit": "ms", **percentiles(took_ns, NS_PER_MS), "help_ms": help_ns}


def _help_ns() -> Ns:
    began_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-m", "bot.cli", "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic_ns() - began_ns


def _first_order_ns() -> Ns:
    with tempfile.TemporaryDirectory(prefix="clobmaker-bench-") as folder:
        run_dir = Path(folder) / "run"
        began_ns = time.monotonic_ns()
        bot = subprocess.Popen(
            [sys.executable, "-m", "bot.cli", "start", "--run-dir", str(run_dir), "--ui", "none", "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_STATE_HOME": folder},
        )
        try:
            return _rests_ns(run_dir, bot) - began_ns
        finally:
            bot.terminate()
            bot.wait()


def _rests_ns(run_dir: Path, bot: subprocess.Popen[bytes]) -> Ns:
    """When the venue got the first order that it accepted."""
    deadline_s = time.monotonic() + RESTING_S_MAX
    while time.monotonic() < deadline_s and bot.poll() is None:
        time.sleep(0.05)
        card = read_json(run_dir / "run.json")
        for row in _log(card["venue_url"]) if card else ():
            if row["method"] == "POST" and row["path"].startswith("/order") and row["status"] == 200:
                return int(row["monotonic_ns"])
    raise BenchError("no order rests")


def _log(venue_url: str) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = orjson.loads(Connection(venue_url).request("GET", "/control/log").body)
    except RequestFailed:
        return []
    return rows
