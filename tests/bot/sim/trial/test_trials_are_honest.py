"""Can a trial flatter? Who knows must cost us, who trades without knowing must be all there is to earn, and being slow must not help.

The whole checks take a while: `pytest -m soak -n 0 tests/bot/sim/trial/test_trials_are_honest.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest

from bot.quoting.parameters import Parameters
from bot.sim.parameters import WorldParameters
from bot.sim.trial.study import Spec, study
from bot.sim.trial.variants import BASELINES, OURS
from bot.sim.trial.virtual_bot import Latencies


def edges(
    world: WorldParameters, windows: int, names: Sequence[str], series: str = "btc-updown-5m", latency_ms: float = 100.0
) -> dict[str, list[float]]:
    """Edge of each window in USD, by strategy; ours always among them."""
    spec = Spec(
        windows=windows,
        seed=21,
        world=world,
        parameters=Parameters(),
        latencies=Latencies(order_ms=latency_ms, cancel_ms=latency_ms),
        series=series,
        baselines=tuple(name for name in names if name != OURS),
    )
    told = study(spec, jobs=1)
    assert told["ledger_error_e6"] == 0
    return {name: [edge for edge, *_ in rows] for name, rows in told["by_window"].items()}


def test_without_noise_whoever_quotes_close_pays() -> None:
    told = edges(WorldParameters(noise=False), 2, ["touch", "naive"], "btc-updown-1m")
    assert sum(told["touch"]) < 0
    assert sum(told["naive"]) < 0


@pytest.mark.soak
def test_without_those_who_know_our_edge_rises_by_a_third() -> None:
    ordinary = edges(WorldParameters(), 100, [])[OURS]
    ignorant = edges(WorldParameters(informed=False), 100, [])[OURS]
    assert sum(ignorant) >= 1.3 * max(sum(ordinary), 0.0)
    assert sum(ignorant) > 0


@pytest.mark.soak
def test_without_noise_nobody_s_edge_is_positive() -> None:
    for name, rows in edges(WorldParameters(noise=False), 60, list(BASELINES)).items():
        assert math.fsum(rows) <= 0, name


@pytest.mark.soak
@pytest.mark.parametrize("taker_delay_ms", [0, 150])
def test_twice_the_latency_never_helps(taker_delay_ms: int) -> None:
    """Paired by window; a difference within twice its standard error is none."""
    world = msgspec.structs.replace(WorldParameters(), taker_delay_ms=taker_delay_ms)
    names = ["touch", "fair2c"]
    once = edges(world, 100, names)
    twice = edges(world, 100, names, latency_ms=200.0)
    for name, rows in once.items():
        gains = [slow - quick for slow, quick in zip(twice[name], rows, strict=True)]
        mean = math.fsum(gains) / len(gains)
        error = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1) / len(gains))
        assert mean < 2 * error, name
