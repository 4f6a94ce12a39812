"""Volatility on the one-second grid."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_fast_variance_four_times_the_slow_one_is_turbulence() -> None:
    volatility = Volatility(Parameters())
    volatility.start(4 * 3.6e-9, 3.6e-9, 0.0)
    assert not volatility.turbulent
    volatility.start(4.1 * 3.6e-9, 3.6e-9, 0.0)
    assert volatility.turbulent


def test_two_variances_below_the_floor_are_no_turbulence() -> None:
    volatility = Volatility(Parameters())
    volatility.start(1e-10, 1e-13, 0.0)
    assert not volatility.turbulent


RETURNS = st.lists(st.floats(-1e-3, 1e-3), min_size=1, max_size=80)


@given(returns=RETURNS)
def test_steps_equal_the_weighted_sums_over_the_whole_history(returns: list[float]) -> None:
    volatility = Volatility(UNCLIPPED)
    volatility.start(3.6e-9, 3.6e-9, 2e-5)
    for r in returns:
        volatility.step(r)
    n, fast, slow = len(returns), decay(30), decay(600)
    sizes = [2e-5, *(abs(r) for r in returns)]
    whole = fast**n * 3.6e-9 + math.fsum((1 - fast) * fast ** (n - 1 - i) * r * r for i, r in enumerate(returns))
    pairs = math.fsum(
        (1 - slow) * slow ** (n - 1 - i) * math.pi / 2 * a * b for i, (a, b) in enumerate(pairwise(sizes))
    )
    assert volatility.fast == pytest.approx(whole, rel=1e-9)
    assert volatility.bipower == pytest.approx(slow**n * 3.6e-9 + pairs, rel=1e-9)
