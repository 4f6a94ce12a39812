"""Reservation price and half-spread: how far from fair value to quote, and why (strategy.md section 7).

The remaining variance of a martingale that ends at 0 or 1 is p(1 - p); it bounds the risk of holding. Knows no ticks.
"""

from __future__ import annotations

import math

import msgspec

from bot.quoting.fair_value import Fair
from bot.quoting.parameters import Parameters

DEFENSIVE_WIDTH = 1.8
STOP_DECAY_S = 60.0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the half-spread, in probability, before the mode's multiplier."""

    variance: float
    delta_as: float
    delta_lat: float
    delta_mod: float
    delta_tox_bid: float
    delta_tox_ask: float
    delta_reb: float

    @property
    def sum_bid(self) -> float:
        return self.delta_as + self.delta_lat + self.delta_mod + self.delta_tox_bid - self.delta_reb

    @property
    def sum_ask(self) -> float:
        return self.delta_as + self.delta_lat + self.delta_mod + self.delta_tox_ask - self.delta_reb


def spread_terms(
    parameters: Parameters,
    fair: Fair,
    p: float,
    *,
    fee_rate: float,
    rebate_rate: float,
    fee_exponent: float = 1.0,
    m5_bid: float = 0.0,
    m5_ask: float = 0.0,
) -> Terms:
    """`p`: what is quoted around, the model's or the blend. `m5_*`: mean markout of our fills on that side after 5 s;
    a negative one widens the side."""
    c = parameters
    bound = p * (1 - p)
    variance = min(fair.sigma_p**2 * c.h, bound)
    lot = c.gamma * c.order_size
    return Terms(
        variance=variance,
        delta_as=math.log1p(lot / c.kappa) / lot + 0.5 * lot * variance,
        delta_lat=c.c_lat * fair.sigma_p * math.sqrt(c.L),
        delta_mod=c.c_mod * c.eps_sigma * fair.density * abs(fair.d),
        delta_tox_bid=c.c_tox * max(0.0, -m5_bid),
        delta_tox_ask=c.c_tox * max(0.0, -m5_ask),
        delta_reb=c.eta_reb * rebate_rate * fee_rate * bound**fee_exponent,
    )


def wide(parameters: Parameters, terms: Terms) -> bool:
    """One side asks for more than the widest quote: a reason to be defensive."""
    return max(terms.sum_bid, terms.sum_ask) > parameters.delta_max


def half_spread(parameters: Parameters, total: float, defensive: bool) -> float:
    """Distance of one side from the reservation price, from the sum of its terms."""
    base = min(max(total, parameters.delta_min), parameters.delta_max)
    return min(parameters.delta_max, base * DEFENSIVE_WIDTH) if defensive else base


def leeway(parameters: Parameters, c_leeway: float, fair: Fair) -> float:
    """How much further out a price is placed than its half-spread, and the nearest it is left at: what p moves, as a
    rule, before a cancel has taken effect."""
    return c_leeway * fair.sigma_p * math.sqrt(parameters.L)


def held_variance(p: float, variance: float, to_stop_s: float | None) -> float:
    """V_q: what is still held when quoting stops is carried to the settlement. None: that is infinitely far away."""
    if to_stop_s is None:
        return variance
    return variance + 0.5 * math.exp(-max(0.0, to_stop_s) / STOP_DECAY_S) * p * (1 - p)


def skew(parameters: Parameters, p: float, variance: float, q: float, to_stop_s: float | None) -> float:
    """How far the reservation price lies below fair value while q shares of Up are held."""
    raw = parameters.gamma * q * held_variance(p, variance, to_stop_s)
    return min(max(raw, -parameters.sk_max), parameters.sk_max)
