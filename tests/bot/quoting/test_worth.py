"""Size by what our fills were worth: unchanged while they gain, nothing while they clearly lose, and a way back."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import Route
from bot.quoting.parameters import Parameters
from bot.quoting.quotes import Account, leg, target_size
from bot.quoting.volatility import decay
from bot.quoting.worth import DOUBT, HALF_LIFE_S, Worth
from bot.units import NS_PER_S, QTY_ONE, USD_ONE

HOUR_NS = 3_600 * NS_PER_S


def after(fills: int, mean: float, sd: float = 0.02, seed: int = 1, weight: float = 1.0) -> Worth:
    rng, worth = random.Random(seed), Worth(weight)
    for _ in range(fills):
        worth.add(rng.gauss(mean, sd), 0)
    return worth


def test_without_fills_or_with_good_ones_the_size_is_the_usual_one() -> None:
    assert Worth(1.0).factor(0) == 1.0
    assert after(200, 0.01).factor(0) == 1.0


def test_a_few_bad_fills_take_little_and_many_take_all() -> None:
    assert 0.85 < after(1, -0.03).factor(0) < 1.0
    assert after(10, -0.005).factor(0) > 0.4
    assert after(150, -0.01).factor(0) == 0.0


def test_a_weight_of_nothing_leaves_the_size_alone() -> None:
    assert after(150, -0.01, weight=0.0).factor(0) == 1.0


def test_fills_that_are_worth_nothing_cost_some_size_at_times() -> None:
    factors = [after(200, 0.0, seed=seed).factor(0) for seed in range(200)]
    assert 0.7 < sum(factors) / 200 < 0.9


def test_what_was_lost_is_forgotten_in_an_hour_or_two() -> None:
    worth = after(150, -0.01)
    assert worth.factor(0) == 0.0
    assert worth.factor(4 * HOUR_NS) > 0.8
    worth.add(-0.03, 4 * HOUR_NS)
    assert worth.factor(4 * HOUR_NS) < 0.95


@given(fills=st.lists(st.tuples(st.integers(0, 600), st.floats(-0.2, 0.2)), min_size=1, max_size=60))
def test_the_running_sums_equal_the_weighted_sums_over_all_fills(fills: list[tuple[int, float]]) -> None:
    worth, at_s, seen = Worth(1.0), 0, list[tuple[int, float]]()
    for gap_s, markout in fills:
        at_s += gap_s
        worth.add(markout, at_s * NS_PER_S)
        seen.append((at_s, markout))
    weights = [
        decay(60) ** (len(seen) - 1 - i) * 2.0 ** (-(at_s - when) / HALF_LIFE_S) for i, (when, _) in enumerate(seen)
    ]
    n = math.fsum(weights)
    total = math.fsum(w * x for w, (_, x) in zip(weights, seen, strict=True))
    squares = math.fsum(w * x * x for w, (_, x) in zip(weights, seen, strict=True))
    variance = squares / n - (total / n) ** 2 + (total / n) ** 2 / n
    if variance > 1e-12:
        assert worth.t(at_s * NS_PER_S) == pytest.approx(total / math.sqrt((n + DOUBT) * variance), rel=1e-6, abs=1e-9)


def test_size_shrinks_by_it_but_the_way_out_of_a_position_does_not() -> None:
    parameters = Parameters(order_size=20, q_max=60)
    assert target_size(parameters, 0, False, 0.5) == 10 * QTY_ONE
    assert target_size(parameters, 30, False, 0.5) == 5 * QTY_ONE
    assert target_size(parameters, -30, False, 0.0) == 20 * QTY_ONE
    assert target_size(parameters, -8, False, 0.0) == 8 * QTY_ONE
    assert target_size(parameters, -8, True, 0.9) == 9 * QTY_ONE
    rich = Account(q=8, up_free=8 * QTY_ONE, down_free=0, cash=10**9, loss_room=100 * USD_ONE, capital_room=10**9)
    bid, ask = (
        leg(parameters, rich, bid=up, px=5000, min_qty=5 * QTY_ONE, defensive=False, reduce_only=False, worth=0.0)
        for up in (True, False)
    )
    assert (bid.size, bid.route) == (0, Route.NONE)
    assert (ask.size, ask.route) == (8 * QTY_ONE, Route.SELL_YES)
