"""What the book teaches, against the table of the specification."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.quoting.blend import GAP_MAX, Blend, expit, logit
from bot.quoting.parameters import Parameters
from bot.quoting.volatility import decay

P_MODEL = 0.7449375420812131
P = Parameters(rho=0.5, H_beta=30)
PROBABILITIES = st.floats(0.005, 0.995)


def test_three_seconds_of_a_dearer_book_match_the_table() -> None:
    blend = Blend(P)
    for micro, beta, p in (
        (0.760, 0.001847, 0.745113),
        (0.770, 0.004923, 0.745405),
        (0.765, 0.007289, 0.745629),
    ):
        blend.learn(P_MODEL, micro, 1.0)
        assert blend.beta == pytest.approx(beta, abs=6e-7)
        assert blend.blended(P_MODEL) == pytest.approx(p, abs=6e-7)


def test_a_tenth_of_log_odds_moves_p_by_half_of_it() -> None:
    blend = Blend(P)
    blend.beta, blend.shift = 0.10, 0.05
    assert blend.blended(P_MODEL) == pytest.approx(0.754321, abs=6e-7)


def test_before_anything_was_learnt_p_is_the_models_own() -> None:
    assert Blend(P).blended(P_MODEL) == P_MODEL
    assert Blend(Parameters(rho=0.0)).blended(P_MODEL) == P_MODEL


def test_a_mad_book_teaches_no_more_than_one_of_log_odds() -> None:
    blend = Blend(P)
    blend.learn(0.01, 0.99, 1.0)
    assert blend.beta == pytest.approx((1 - decay(30)) * GAP_MAX)


@given(p=PROBABILITIES, shift=st.floats(-1, 1))
def test_the_blend_can_be_undone(p: float, shift: float) -> None:
    blend = Blend(P)
    blend.shift = shift
    assert blend.modelled(blend.blended(p)) == pytest.approx(p, abs=1e-9)


@given(seen=st.lists(st.tuples(PROBABILITIES, PROBABILITIES), min_size=1, max_size=60))
def test_learning_step_by_step_equals_the_weighted_sum_of_all_that_was_seen(seen: list[tuple[float, float]]) -> None:
    blend, keep = Blend(P), decay(30)
    for p_model, micro in seen:
        blend.learn(p_model, micro, 1.0)
    gaps = [min(max(logit(micro) - logit(p_model), -1.0), 1.0) for p_model, micro in seen]
    whole = math.fsum((1 - keep) * keep**age * gap for age, gap in enumerate(reversed(gaps)))
    assert blend.beta == pytest.approx(whole, abs=1e-12)
    assert expit(logit(0.3)) == pytest.approx(0.3)


@given(p_model=PROBABILITIES, micro=PROBABILITIES, pieces=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20))
def test_a_book_that_stands_still_teaches_the_same_however_often_it_is_looked_at(
    p_model: float, micro: float, pieces: list[float]
) -> None:
    often, once = Blend(P), Blend(P)
    for seconds in pieces:
        often.learn(p_model, micro, seconds)
    once.learn(p_model, micro, sum(pieces))
    assert often.beta == pytest.approx(once.beta, abs=1e-12)
