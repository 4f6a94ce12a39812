"""Long runs of real threads and sockets (`-m soak`): half an hour with a fault a second, and twenty kills.

CLOBMAKER_SOAK_MINUTES and CLOBMAKER_SOAK_KILLS make them longer or shorter.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from bot.sim.server import VenueOptions, VenueThread
from bot.state import read_json

MINUTES = float(os.environ.get("CLOBMAKER_SOAK_MINUTES", "30"))
WARM_SHARE = 0.2  # of the run, until caches and rings are full: memory is compared from then on
RSS_GROWTH_MAX = 0.05
LOOK_S = 1.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bot.cli", *words]


@pytest.mark.soak
def test_through_half_an_hour_of_hostility_nothing_is_lost_and_nothing_grows(tmp_path: Path) -> None:
    run_dir, config = tmp_path / "run", tmp_path / "bot.toml"
    config.write_text("[recovery]\ncooldown_s = 5\ncooldown_s_max = 5\n")
    words = ("--config", str(config), "--faults", "hostile", "--for", f"{MINUTES}m", "--run-dir", str(run_dir))
    maker = subprocess.Popen(command("start", *words, "--seed", "11", "--json"), stdout=subprocess.PIPE)
    figures: list[tuple[float, dict[str, Any]]] = []
    resumed, pause, began = 0, threading.Event(), time.monotonic()
    while maker.poll() is None:
        pause.wait(LOOK_S)
        status = read_json(run_dir / "status.json")
        if status.get("state") == "halted":  # the operator
            resume = command("resume", "--run-dir", str(run_dir))
            resumed += subprocess.run(resume, capture_output=True, check=False).returncode == 0
        if "process" in status and status["state"] not in ("stopping", "stopped"):
            figures.append((time.monotonic() - began, status["process"]))
    assert maker.stdout is not None
    summary = orjson.loads(maker.stdout.read())
    warm = [row for at_s, row in figures if at_s > WARM_SHARE * MINUTES * 60]
    rss, threads, fds = ([row[name] for row in warm] for name in ("rss_mb", "threads", "fds"))
    print(f"\n{MINUTES:g} minutes, {len(figures)} looks, {resumed} halts answered, exit {summary['exit_code']}")
    print(
        f"rss {rss[0]} to {rss[-1]} MB (most {max(rss)}), threads {min(threads)}-{max(threads)}, fds {min(fds)}-{max(fds)}"
    )
    for fault in summary["faults"]:
        print(f"{fault['id']} {fault['count']:6} times, cost {fault['cost_usd']:+8.4f} USD")
    assert summary["violations"] == [] and summary["user_events"]["lost"] == 0
    assert summary["flat_verified"] and summary["venue_orders_at_exit"] == 0
    assert max(rss) <= rss[0] * (1 + RSS_GROWTH_MAX)
    assert threads[-1] <= threads[0] and fds[-1] <= fds[0]


KILLS = int(os.environ.get("CLOBMAKER_SOAK_KILLS", "20"))


@pytest.mark.soak
def test_killed_again_and_again_it_always_knows_what_it_holds(tmp_path: Path) -> None:
    """`kill -9` at random moments of quoting, each time started again on the same venue, through markets that end meanwhile."""
    config = tmp_path / "bot.toml"
    config.write_text("[recovery]\ncooldown_s = 1\ncooldown_s_max = 1\n")
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    moments, pause = random.Random(5), threading.Event()
    ready: list[float] = []
    with VenueThread(VenueOptions(seed=5, series=("btc-updown-1m",))) as venue:
        words = ("--config", str(config), "--venue", venue.info["url"], "--series", "btc-updown-1m", "--ui", "none")
        for run in range(KILLS + 1):
            run_dir, began = tmp_path / f"run-{run}", time.monotonic()
            maker = subprocess.Popen(
                command("start", *words, "--run-dir", str(run_dir), "--json"), stdout=subprocess.PIPE, env=environment
            )
            while read_json(run_dir / "status.json").get("state") != "quoting":
                assert maker.poll() is None and time.monotonic() < began + 60
                pause.wait(0.05)
            ready.append(time.monotonic() - began)
            pause.wait(moments.uniform(1, 10))
            if run < KILLS:
                maker.kill()
            else:
                maker.terminate()
            out, _ = maker.communicate(timeout=30)
        summary = orjson.loads(out)
    replay = subprocess.run(command("replay", str(run_dir), "--json"), capture_output=True, check=False)
    journal = orjson.loads(replay.stdout)
    print(
        f"\n{KILLS} kills, to quoting again {max(ready):.1f} s at most; {journal['records']} records of {journal['runs']} "
        f"runs repeated, {journal['per_s']} a second; ledger: {summary['venue_ledger']}"
    )
    assert summary["violations"] == [] and summary["exit_code"] == 0
    assert replay.returncode == 0 and journal["runs"] == KILLS + 1
