"""Fair value against the tables of the specification."""

from __future__ import annotations

import math

import pytest

from bot.market import Rule
from bot.quoting.fair_value import State, fair_value, spot_at

ROOT_YEAR = math.sqrt(31_536_000)


def twap(spot: float, tau: float, mean: float = 1.0, basis_sd: float = 0.0) -> State:
    return State(
        rule=Rule.TWAP,
        log_spot=math.log(spot),
        log_strike=math.log(60_000),
        sigma=6e-5,
        tau=tau,
        window_s=60,
        log_mean=math.log(mean),
        basis_sd=basis_sd,
    )


@pytest.mark.parametrize(
    ("spot", "strike", "annual", "tau", "basis_sd", "ito", "s", "d", "p"),
    [
        (60050, 60000, 0.50, 450, 0, 0, 1.888743e-3, 0.441027, 0.670403),
        (60000, 60000, 0.50, 450, 0, 0, 1.888743e-3, 0.000000, 0.500000),
        (59900, 60000, 0.80, 1800, 0, 0, 6.043979e-3, -0.275987, 0.391279),
        (2500, 2502, 0.65, 120, 0, 0, 1.267946e-3, -0.630690, 0.264122),
        (60050, 60000, 0.50, 450, 5e-5, 0, 1.889405e-3, 0.440872, 0.670347),
        (60050, 60000, 0.50, 86400, 0, 1, 2.617120e-2, 0.018743, 0.507477),
    ],
)
def test_candle_rule_matches_the_table(
    spot: float, strike: float, annual: float, tau: float, basis_sd: float, ito: int, s: float, d: float, p: float
) -> None:
    state = State(
        rule=Rule.CANDLE,
        log_spot=math.log(spot),
        log_strike=math.log(strike),
        sigma=annual / ROOT_YEAR,
        tau=tau,
        basis_sd=basis_sd,
        ito=ito,
    )
    value = fair_value(state)
    assert value.s == pytest.approx(s, rel=5e-7)
    assert value.d == pytest.approx(d, abs=6e-7)
    assert value.p == pytest.approx(p, abs=6e-7)
    assert spot_at(state, value.s, value.p) == pytest.approx(state.log_spot, abs=1e-12)


@pytest.mark.parametrize(
    ("spot", "tau", "mean", "basis_sd", "s", "d", "p", "weight"),
    [
        (60030, 200, 1, 0, 7.589466e-4, 0.658643, 0.744938, 1),
        (60030, 30, 60010, 0, 9.486833e-5, 3.512910, 0.999778, 0.5),
        (60010, 60, 1, 0, 2.683282e-4, 0.621078, 0.732726, 1),
        (59990, 15, 60004, 1e-5, 3.500000e-5, 0.237948, 0.594039, 0.25),
    ],
)
def test_trailing_mean_rule_matches_the_table(
    spot: float, tau: float, mean: float, basis_sd: float, s: float, d: float, p: float, weight: float
) -> None:
    state = twap(spot, tau, mean, basis_sd)
    value = fair_value(state)
    assert value.s == pytest.approx(s, rel=5e-7)
    assert value.d == pytest.approx(d, abs=6e-7)
    assert value.p_raw == pytest.approx(p, abs=6e-7)
    assert value.p == pytest.approx(min(p, 0.995), abs=6e-7)
    assert value.weight == weight
    assert spot_at(state, value.s, value.p_raw) == pytest.approx(state.log_spot, abs=1e-9)


def test_trailing_mean_is_continuous_where_the_averaging_begins() -> None:
    before, after = fair_value(twap(60_010, 60.000001, 60_010)), fair_value(twap(60_010, 59.999999, 60_010))
    assert before.p == pytest.approx(after.p, abs=1e-6)
    assert before.sigma_p == pytest.approx(after.sigma_p, abs=1e-6)


def test_gamma_at_the_money_does_not_depend_on_volatility() -> None:
    peak = 1 / math.sqrt(2 * math.pi)
    for sigma in (3e-5, 3e-4):
        far = State(rule=Rule.TWAP, log_spot=0, log_strike=0, sigma=sigma, tau=200, window_s=60)
        near = State(rule=Rule.TWAP, log_spot=0, log_strike=0, sigma=sigma, tau=20, window_s=60)
        spot = State(rule=Rule.CANDLE, log_spot=0, log_strike=0, sigma=sigma, tau=200)
        assert fair_value(far).sigma_p == pytest.approx(peak / math.sqrt(160))
        assert fair_value(near).sigma_p == pytest.approx(peak * math.sqrt(3 / 20))
        assert fair_value(spot).sigma_p == pytest.approx(peak / math.sqrt(200))


def test_a_finished_window_has_no_fair_value() -> None:
    with pytest.raises(AssertionError):
        fair_value(twap(60_000, 0.0))
