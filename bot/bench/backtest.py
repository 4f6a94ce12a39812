"""Recorded seconds that the strategy trades again in a second: a recording of the embedded venue, one five-minute series."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bot.access import from_info
from bot.bench.figures import ROUNDS, Figures, medians
from bot.embedded import EmbeddedVenue
from bot.history.recording import Recording
from bot.quoting.parameters import Parameters
from bot.recorder import Listening
from bot.settings import Settings
from bot.sim.backtest.study import Spec, one
from bot.sim.trial.variants import OURS

RECORDED_S = 15.0
LOOK_S = 0.25


def run() -> Figures:
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / "recording"
        record(Path(name) / "venue.log", recording)
        frames = sum(1 for _ in Recording(recording))
        rounds = [trade(recording, frames) for _ in range(ROUNDS)]
    return {"unit": "recorded s/s", **medians(rounds)}


def record(log: Path, out: Path) -> None:
    venue = EmbeddedVenue(["--seed", "1"], log)
    try:
        access = from_info(venue.info())
        listening = Listening(Settings(), access.endpoints, access.credentials, out)
        try:
            listening.start()
            until_s = time.monotonic() + RECORDED_S
            while time.monotonic() < until_s:
                listening.look()
                time.sleep(LOOK_S)
        finally:
            listening.stop()
    finally:
        venue.stop()


def trade(recording: Path, frames: int) -> Figures:
    """From the compressed file to the figures, in this process."""
    began_s = time.perf_counter()
    done = one(Spec(recordings=(recording,), points={OURS: Parameters()}), OURS, 0)
    took_s = time.perf_counter() - began_s
    assert done.result.ledger_error_e6 == 0, "the books of executor and venue disagree"
    return {"n": frames, "per_s": done.result.seconds / took_s, "cpu_us": done.cpu_s / frames * 1e6}
