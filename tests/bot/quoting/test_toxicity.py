"""Markouts of our own fills: when they are taken, what they say, and what is forgotten."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import Fill, Side
from bot.quoting.modes import Reason
from bot.quoting.parameters import Parameters
from bot.quoting.toxicity import HALF_LIFE, HARD_NS, Markouts, Mean, Toxicity
from bot.quoting.volatility import decay
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE

SIGMA_P = 0.02


def fill(side: Side = Side.BUY, px: int = 7200, at_s: float = 0, qty: int = 40, exec_id: str = "e") -> Fill:
    return Fill(
        symbol="m",
        exec_id=exec_id,
        order_id="o",
        cl_ord_id="c",
        asset_id="up",
        side=side,
        px=px,
        qty=qty * QTY_ONE,
        up_side=side,
        up_px=px,
        fair_e6=0,
        utc_ns=0,
        now_ns=round(at_s * NS_PER_S),
    )


def test_each_horizon_is_marked_at_its_time_against_the_market() -> None:
    toxicity = Toxicity(Parameters())
    markouts = Markouts(toxicity)
    markouts.filled(fill(px=7200), SIGMA_P)
    marks = {0: 0.735, 1: 0.731, 2: 0.70, 5: 0.726, 6: 0.70, 30: 0.741, 31: 0.70}
    for second, micro in marks.items():
        markouts.passed(micro, 0.75, second * NS_PER_S)
    bid = toxicity.bid
    assert [mean.value for mean in bid.means] == pytest.approx([0.011, 0.006, 0.021])
    assert [mean.n for mean in toxicity.ask.means] == [0, 0, 0]


def test_a_sale_gains_when_the_market_falls() -> None:
    toxicity = Toxicity(Parameters())
    markouts = Markouts(toxicity)
    markouts.filled(fill(Side.SELL, px=5000), SIGMA_P)
    markouts.passed(0.48, 0.5, NS_PER_S)
    assert toxicity.ask.means[0].value == pytest.approx(0.02)


def test_a_book_that_cannot_be_read_is_waited_for_a_second_and_no_longer() -> None:
    toxicity = Toxicity(Parameters())
    markouts = Markouts(toxicity)
    markouts.filled(fill(px=5000), SIGMA_P)
    markouts.passed(0.0, 0.5, NS_PER_S)
    markouts.passed(0.52, 0.5, 1_900 * NS_PER_MS)
    assert toxicity.bid.means[0].n == 1
    markouts.passed(0.0, 0.5, 7 * NS_PER_S)
    markouts.passed(0.52, 0.5, 7_100 * NS_PER_MS)
    assert toxicity.bid.means[1].n == 0


def test_a_reversed_fill_is_not_marked() -> None:
    toxicity = Toxicity(Parameters())
    markouts = Markouts(toxicity)
    markouts.filled(fill(exec_id="a"), SIGMA_P)
    markouts.filled(fill(exec_id="a", qty=-40), SIGMA_P)
    markouts.passed(0.9, 0.9, NS_PER_S)
    assert toxicity.bid.means[0].n == 0


def after(markouts_of_5s: list[float], own: float = 0.0, usual: float = SIGMA_P * math.sqrt(5)) -> Toxicity:
    toxicity = Toxicity(Parameters())
    for markout in markouts_of_5s:
        toxicity.mark(True, 1, markout, markout + own, usual, 0)
    return toxicity


def test_nothing_is_said_before_ten_fills() -> None:
    assert after([-0.2] * 9).bid.m5 == 0
    assert after([-0.2] * 9).reasons(1) == 0
    assert after([-0.2] * 10).bid.m5 == pytest.approx(-0.2)


def test_z_counts_fills_up_to_what_the_half_life_remembers() -> None:
    usual = SIGMA_P * math.sqrt(5)
    keep = decay(HALF_LIFE)
    assert after([-usual] * 10).bid.z == pytest.approx(-math.sqrt(10))
    assert after([-usual] * 500).bid.z == pytest.approx(-math.sqrt((1 + keep) / (1 - keep)))


def test_bad_markouts_defend_and_very_bad_ones_only_reduce_for_a_minute() -> None:
    usual = SIGMA_P * math.sqrt(5)
    assert after([-0.5 * usual] * 20).reasons(1) == Reason.TOX_SOFT
    hard = after([-0.9 * usual] * 20)
    assert hard.reasons(1) == Reason.TOX_SOFT | Reason.TOX_HARD
    assert hard.reasons(HARD_NS) == Reason.TOX_SOFT
    assert after([0.9 * usual] * 20).reasons(1) == 0


def test_one_bad_side_is_enough() -> None:
    toxicity = after([0.02] * 20)
    for _ in range(20):
        toxicity.mark(False, 1, -0.04, -0.04, SIGMA_P, 0)
    assert toxicity.reasons(1) & Reason.TOX_SOFT
    assert toxicity.bid.m5 > 0 > toxicity.ask.m5


def test_marks_of_our_own_that_are_kinder_than_the_markets_are_a_divergence() -> None:
    assert after([0.0] * 49, own=0.02).reasons(1) == 0
    assert after([0.0] * 50, own=0.02).reasons(1) == Reason.DIVERGE
    assert after([0.0] * 50, own=0.009).reasons(1) == 0


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=100))
def test_the_running_mean_equals_the_weighted_mean_of_all_values(values: list[float]) -> None:
    mean, keep = Mean(HALF_LIFE), decay(HALF_LIFE)
    for value in values:
        mean.add(value)
    weights = [keep**age for age in range(len(values))][::-1]
    whole = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
    assert mean.value == pytest.approx(whole, abs=1e-12)


def test_chance_alone_is_rarely_called_toxic() -> None:
    rng = random.Random(5)
    usual = SIGMA_P * math.sqrt(5)
    soft = 0
    for _ in range(200):
        soft += bool(after([rng.gauss(0, usual) for _ in range(60)]).reasons(1) & Reason.TOX_SOFT)
    assert soft <= 14  # 2.3 % is what the normal law gives
