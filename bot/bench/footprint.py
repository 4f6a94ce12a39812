"""What a running bot takes: memory and threads with one series and with eight, some seconds after it began to quote."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bot.bench.figures import BenchError, Figures
from bot.state import read_json

ONE = ("btc-updown-5m",)
EIGHT = tuple(f"{asset}-updown-{length}" for asset in ("btc", "eth", "sol", "xrp") for length in ("5m", "15m"))
RUN_S = 9.0
QUOTING_S_MAX = 20.0


def run() -> Figures:
    one, eight = _measured(ONE), _measured(EIGHT)
    further = len(EIGHT) - len(ONE)
    return {
        "unit": "MB",
        "n": 1,
        "rss_mb": one["rss_mb"],
        "threads": one["threads"],
        "cpu_share": one["cpu_share"],
        "rss_mb_per_series": round((eight["rss_mb"] - one["rss_mb"]) / further, 2),
        "threads_per_series": (eight["threads"] - one["threads"]) / further,
        "cpu_share_per_series": round((eight["cpu_share"] - one["cpu_share"]) / further, 4),
        "against": {},
    }


def _measured(series: Sequence[str]) -> Figures:
    """The process figures of the status record; `cpu_share` of one core, while it quotes."""
    words = [word for name in series for word in ("--series", name)]
    with tempfile.TemporaryDirectory(prefix="clobmaker-bench-") as folder:
        run_dir = Path(folder) / "run"
        bot = subprocess.Popen(
            [sys.executable, "-m", "bot.cli", "start", *words, "--run-dir", str(run_dir), "--ui", "none", "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_STATE_HOME": folder},
        )
        try:
            deadline_s = time.monotonic() + QUOTING_S_MAX
            while read_json(run_dir / "status.json").get("state") != "quoting":
                if time.monotonic() > deadline_s:
                    raise BenchError("the bot does not quote")
                time.sleep(0.05)
            before = read_json(run_dir / "status.json")
            time.sleep(RUN_S)
            after = read_json(run_dir / "status.json")
        finally:
            bot.terminate()
            bot.wait()
    process, passed_s = after["process"], after["uptime_s"] - before["uptime_s"]
    return {**process, "cpu_share": round((process["cpu_s"] - before["process"]["cpu_s"]) / passed_s, 4)}
