"""How soon the venue is empty when the bot is killed, stopped, hung or cut off, and stays so (`-m soak -s` shows the figures).

Each bot runs on a venue of its own process, as it would on another machine. Nothing here asserts a time.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import requests
from test_end_to_end import PAUSE, SERIES, Maker, until

LOOK_S = 0.01
WINDOW_S = 330  # a window may have nothing left to quote
QUICK = "[recovery]\ncooldown_s = 1\ncooldown_s_max = 1\n"

pytestmark = pytest.mark.soak


@pytest.fixture
def venue() -> Iterator[Any]:
    command = [sys.executable, "-m", "bot.cli", "sim", "--seed", "7", "--series", SERIES, "--until-stdin-closes"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    yield SimpleNamespace(info=orjson.loads(process.stdout.readline()))
    process.stdin.close()
    process.wait(10)


def inject(maker: Maker, **fault: Any) -> None:
    answer = requests.post(maker.info["url"] + "/control/faults", json=fault, timeout=5)
    assert answer.status_code == 200, answer.text


def hang(actor: str) -> Callable[[Maker], None]:
    return lambda maker: inject(maker, id="T01", actor=actor, kind="hang", hang_s=60)


def send(number: int) -> Callable[[Maker], None]:
    return lambda maker: maker.process.send_signal(number)


def cut_the_host(maker: Maker) -> None:
    """Bot and guardian at once: nothing of ours is left."""
    os.kill(maker.status()["guardian"]["pid"], signal.SIGKILL)
    maker.process.kill()


def cut_the_network(maker: Maker) -> None:
    inject(maker, id="W09", duration_s=25)


@pytest.mark.parametrize(
    ("what", "happens", "times", "watched_s"),
    [
        ("kill -9", send(signal.SIGKILL), 20, 6.0),
        ("SIGSTOP", send(signal.SIGSTOP), 20, 8.0),
        ("executor hangs", hang("executor"), 10, 8.0),
        ("root hangs", hang("root"), 10, 9.0),
        ("host cut off", cut_the_host, 5, 18.0),
        ("network cut off", cut_the_network, 5, 22.0),
    ],
)
def test_the_venue_is_empty_soon_and_stays_so(
    venue: Any, tmp_path: Path, what: str, happens: Callable[[Maker], None], times: int, watched_s: float
) -> None:
    config = tmp_path / "bot.toml"
    config.write_text(QUICK)
    lasted: list[float] = []
    for _ in range(times):
        maker = Maker(venue, tmp_path, "--config", str(config))
        try:
            maker.quoting(WINDOW_S)
            began = last = time.monotonic()
            happens(maker)
            while (now := time.monotonic()) < began + watched_s:
                if maker.resting():
                    last = now
                PAUSE.wait(LOOK_S)
            assert maker.resting() == []
            lasted.append(last - began)
        finally:
            maker.process.kill()
            maker.process.wait()
        guardian = Path(f"/proc/{maker.status()['guardian']['pid']}")
        until(lambda guardian=guardian: not guardian.exists(), 60, "its guardian has ended")
    print(
        f"\n{what}: {times} times, orders rested for {statistics.median(lasted):.2f} s (median), {max(lasted):.2f} s (most)"
        f"; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )
