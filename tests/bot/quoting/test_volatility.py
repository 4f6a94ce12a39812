"""Volatility on the one-second grid."""

from __future__ import annotations

import math
import random

import pytest

from bot.quoting.parameters import Parameters
from bot.quoting.volatility import Volatility, decay

UNCLIPPED = Parameters(sigma_floor=1e-12, sigma_cap=1.0)


def test_steps_match_the_table() -> None:
    volatility = Volatility(UNCLIPPED)
    volatility.start(3.6e-9, 3.6e-9, 2e-5)
    for r, fast, bipower, sigma in (
        (1e-4, 3.746176e-9, 3.599471e-9, 6.060382e-5),
        (-5e-5, 3.717713e-9, 3.604383e-9, 6.050660e-5),
        (0.0, 3.632801e-9, 3.600221e-9, 6.013743e-5),
        (3e-4, 5.605430e-9, 3.596065e-9, 6.782881e-5),
    ):
        volatility.step(r)
        assert volatility.fast == pytest.approx(fast, rel=5e-7)
        assert volatility.bipower == pytest.approx(bipower, rel=5e-7)
        assert volatility.sigma == pytest.approx(sigma, rel=5e-7)
    assert volatility.sigma * math.sqrt(31_536_000) == pytest.approx(0.380906, abs=6e-7)


def test_decay_is_that_of_the_half_life() -> None:
    assert decay(30) == pytest.approx(0.977159968, abs=5e-10)
    assert decay(600) == pytest.approx(0.998845422, abs=5e-10)


def test_a_gap_counts_its_seconds_and_leaves_the_jump_robust_part_alone() -> None:
    volatility = Volatility(UNCLIPPED)
    volatility.start(3.6e-9, 3.6e-9, 2e-5)
    volatility.gap(2e-4, 3)
    assert volatility.fast == pytest.approx(4.251812e-9, rel=5e-7)
    assert volatility.bipower == 3.6e-9
    volatility.step(1e-4)
    assert volatility.bipower == pytest.approx(3.6e-9 * decay(600))  # the return before the gap is no neighbour


def test_sigma_is_clipped_and_then_scaled() -> None:
    volatility = Volatility(Parameters(psi=1.2))
    volatility.start(0.0, 0.0, 0.0)
    assert volatility.sigma == pytest.approx(1.2 * 2.671087e-5)
    volatility.start(1.0, 1.0, 0.0)
    assert volatility.sigma == pytest.approx(1.2 * 5.342173e-4)


def test_history_seeds_both_parts_near_the_truth() -> None:
    rng = random.Random(1)
    mids = [60_000.0]
    for _ in range(1000):
        mids.append(mids[-1] * math.exp(rng.gauss(0, 9e-5)))
    volatility = Volatility(Parameters())
    assert not volatility.warm
    volatility.seed(mids)
    assert volatility.warm
    assert volatility.sigma == pytest.approx(9e-5, rel=0.2)


def test_too_little_history_does_not_warm() -> None:
    volatility = Volatility(Parameters())
    volatility.seed([60_000.0, 60_001.0])
    assert not volatility.warm
