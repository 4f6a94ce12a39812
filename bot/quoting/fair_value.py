"""Probability that a market pays Up, for a terminal price and for a trailing mean, with zero drift.

Pure arithmetic on floats: logs of prices in the settling source's units, seconds, volatility per square root of a
second. Knows no market, feed or book.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec

from bot.market import Rule

P_MIN = 0.005
P_MAX = 0.995
_ROOT2 = math.sqrt(2.0)
_PHI0 = 1.0 / math.sqrt(2.0 * math.pi)

inv_cdf = NormalDist().inv_cdf


def pdf(d: float) -> float:
    return _PHI0 * math.exp(-0.5 * d * d)


def cdf(d: float) -> float:
    return 0.5 * math.erfc(-d / _ROOT2)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the probability is a function of. `tau` runs to the effective end and is above 0."""

    rule: Rule
    log_spot: float
    log_strike: float
    sigma: float
    tau: float
    window_s: float = 0.0
    log_mean: float = 0.0  # over the elapsed part of the averaging window; only read when tau < window_s
    basis_sd: float = 0.0
    ito: int = 0

    @property
    def averaging(self) -> bool:
        """The averaging window has begun."""
        return self.rule is Rule.TWAP and self.tau < self.window_s


class Fair(msgspec.Struct, frozen=True, kw_only=True):
    """`p` is clamped, `p_raw` is not. `weight`: how much of a move of spot reaches the settling value."""

    s: float
    d: float
    p_raw: float
    p: float
    weight: float
    density: float  # of the normal law at d
    delta_x: float  # change of p per unit of log return
    sigma_p: float  # standard deviation of p per square root of a second


def fair_value(state: State) -> Fair:
    """Raises AssertionError when the window is over or nothing is uncertain."""
    tau = state.tau
    assert tau > 0, "the outcome is fixed"
    variance = state.sigma * state.sigma
    basis_variance = state.basis_sd * state.basis_sd
    window = state.window_s
    weight = 1.0
    m = state.log_spot
    if state.rule is Rule.CANDLE:
        s2 = variance * tau + basis_variance
        m -= state.ito * s2 / 2
    elif tau >= window:
        s2 = variance * (tau - 2 * window / 3) + basis_variance
    else:
        m = ((window - tau) * state.log_mean + tau * m) / window
        s2 = variance * tau**3 / (3 * window * window) + basis_variance
        weight = tau / window
    assert s2 > 0, "no uncertainty left"
    s = math.sqrt(s2)
    d = (m - state.log_strike) / s
    p = cdf(d)
    density = pdf(d)
    delta_x = density / s * weight
    return Fair(
        s=s,
        d=d,
        p_raw=p,
        p=min(max(p, P_MIN), P_MAX),
        weight=weight,
        density=density,
        delta_x=delta_x,
        sigma_p=delta_x * state.sigma,
    )


def spot_at(state: State, s: float, p: float) -> float:
    """Log spot at which the probability would be p, all else as it is; s as `fair_value` gave it."""
    m = state.log_strike + inv_cdf(p) * s
    if state.averaging:
        return (state.window_s * m - (state.window_s - state.tau) * state.log_mean) / state.tau
    if state.rule is Rule.CANDLE:
        m += state.ito * s * s / 2
    return m
