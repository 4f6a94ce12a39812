"""Half-spread, skew and reservation price."""

from __future__ import annotations

import math

import msgspec
import pytest

from bot.market import Rule
from bot.quoting.fair_value import Fair, State, fair_value
from bot.quoting.parameters import Parameters
from bot.quoting.spread import half_spread, held_variance, leeway, skew, spread_terms, wide

Q50 = Parameters(order_size=50, q_max=250)


def reference() -> Fair:
    return fair_value(
        State(
            rule=Rule.TWAP,
            log_spot=math.log(60_030),
            log_strike=math.log(60_000),
            sigma=6e-5,
            tau=200,
            window_s=60,
        )
    )


def test_terms_match_the_table() -> None:
    fair = reference()
    terms = spread_terms(Q50, fair, fair.p, fee_rate=0.07, rebate_rate=0.2)
    assert fair.p == pytest.approx(0.744938, abs=6e-7)
    assert fair.sigma_p == pytest.approx(0.025389, abs=6e-7)
    assert fair.delta_x == pytest.approx(423.153553, abs=6e-7)
    assert terms.variance == pytest.approx(0.006446, abs=6e-7)
    assert terms.delta_as == pytest.approx(0.011522, abs=6e-7)
    assert terms.delta_lat == pytest.approx(0.004917, abs=6e-7)
    assert terms.delta_mod == pytest.approx(0.010576, abs=6e-7)
    assert terms.delta_reb == pytest.approx(0.001330, abs=6e-7)
    assert half_spread(Q50, terms.sum_bid, defensive=False) == pytest.approx(0.025685, abs=6e-7)


def test_defence_widens_and_a_bad_markout_widens_its_side_only() -> None:
    terms = spread_terms(Q50, reference(), reference().p, fee_rate=0.07, rebate_rate=0.2, m5_bid=0.01, m5_ask=-0.006)
    assert half_spread(Q50, terms.sum_bid, defensive=True) == pytest.approx(0.046232, abs=6e-7)
    assert half_spread(Q50, terms.sum_ask, defensive=True) == pytest.approx(0.057032, abs=6e-7)


@pytest.mark.parametrize(
    ("q", "to_stop", "held", "sk", "r"),
    [
        (0, None, 0.006446, 0.0, 0.744938),
        (100, None, 0.006446, 0.012892, 0.732045),
        (-150, None, 0.006446, -0.019338, 0.764276),
        (100, 60.0, 0.041396, 0.082791, 0.662146),
        (-60, 0.0, 0.101449, -0.100000, 0.844938),
        (-60, -30.0, 0.101449, -0.100000, 0.844938),
    ],
)
def test_skew_matches_the_table(q: float, to_stop: float | None, held: float, sk: float, r: float) -> None:
    fair = reference()
    variance = spread_terms(Q50, fair, fair.p, fee_rate=0.07, rebate_rate=0.2).variance
    assert held_variance(fair.p, variance, to_stop) == pytest.approx(held, abs=6e-7)
    lean = skew(Q50, fair.p, variance, q, to_stop)
    assert lean == pytest.approx(sk, abs=6e-7)
    assert fair.p - lean == pytest.approx(r, abs=6e-7)


def test_half_spread_stays_inside_its_limits() -> None:
    assert half_spread(Q50, -1.0, defensive=False) == Q50.delta_min
    assert half_spread(Q50, 1.0, defensive=False) == Q50.delta_max
    assert half_spread(Q50, 0.09, defensive=True) == Q50.delta_max


def test_only_a_sum_beyond_the_limit_is_wide() -> None:
    terms = spread_terms(Q50, reference(), reference().p, fee_rate=0.07, rebate_rate=0.2)
    assert not wide(Q50, terms)
    assert wide(Q50, msgspec.structs.replace(terms, delta_tox_ask=0.09))


def test_variance_of_holding_is_bounded_by_what_remains_to_be_decided() -> None:
    near = fair_value(State(rule=Rule.TWAP, log_spot=0, log_strike=0, sigma=6e-5, tau=5, window_s=60))
    assert spread_terms(Q50, near, near.p, fee_rate=0, rebate_rate=0).variance == pytest.approx(0.25)


def test_the_leeway_is_what_p_moves_until_a_cancel_has_taken_effect() -> None:
    fair = reference()
    assert leeway(Parameters(L=0.15), 1.5, fair) == pytest.approx(1.5 * 0.025389 * math.sqrt(0.15), abs=1e-6)
    assert leeway(Parameters(), 0.0, fair) == 0.0


def test_the_most_a_fill_can_earn_in_rebates_is_its_share_of_the_takers_fee() -> None:
    whole = msgspec.structs.replace(Q50, eta_reb=1.0)
    half = spread_terms(whole, reference(), 0.5, fee_rate=0.07, rebate_rate=0.2)
    assert 100 * half.delta_reb == pytest.approx(0.35)
    squared = spread_terms(whole, reference(), 0.5, fee_rate=0.25, rebate_rate=0.2, fee_exponent=2.0)
    assert 100 * squared.delta_reb == pytest.approx(100 * 0.2 * 0.25 / 16)
