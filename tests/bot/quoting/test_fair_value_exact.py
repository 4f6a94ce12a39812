"""Fair value against the exact law of the mean of one-second prints, of which the formula is the continuous limit."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest

from bot.caches import Caches
from bot.market import Market, Rule
from bot.quoting.asset import AssetModel
from bot.quoting.fair_value import State, cdf, fair_value
from bot.quoting.parameters import Parameters
from bot.quoting.window import Window
from bot.units import NS_PER_S

LOG_STRIKE = math.log(60_000)
TOLERANCE = 1e-3
# With k prints to come their variance is 1 + 1/(2k²) times that of the limit; quotes stop long before this matters.
PRINTS_MIN = 8


def law_of_the_mean(times: list[float], known: int, log_mean: float, log_spot: float, sigma: float) -> Any:
    """Mean and variance of the log of the average of `known` prints with mean `log_mean` and of prints at `times` to
    come: the double sum of their covariances. Half the variance between the prints lifts the log of their average."""
    n = known + len(times)
    variance = sigma**2 * sum(min(a, b) for a in times for b in times) / n**2
    own = sigma**2 * sum(times) / n
    centre = (known * log_mean + len(times) * log_spot) / n
    return centre + (own - variance) / 2 if not known else centre, variance


def exact(times: list[float], known: int, state: State) -> float:
    centre, variance = law_of_the_mean(times, known, state.log_mean, state.log_spot, state.sigma)
    return cdf((centre - state.log_strike) / math.sqrt(variance + state.basis_sd**2))


def case(rng: random.Random) -> tuple[list[float], int, State]:
    """A whole number of prints still to come, each in the middle of its second."""
    window_s = rng.choice((10, 30, 60))
    tau = rng.choice((rng.randint(PRINTS_MIN, window_s), rng.randint(window_s, 900)))
    sigma = rng.uniform(2.7e-5, 2e-4)
    coming = min(tau, window_s)
    times = [tau - coming + 0.5 + n for n in range(coming)]
    log_spot = LOG_STRIKE + rng.gauss(0, 1.5) * sigma * math.sqrt(tau)
    state = State(
        rule=Rule.TWAP,
        log_spot=log_spot,
        log_strike=LOG_STRIKE,
        sigma=sigma,
        tau=tau,
        window_s=window_s,
        log_mean=log_spot + rng.gauss(0, 1) * sigma * math.sqrt(window_s) if tau < window_s else 0.0,
        basis_sd=rng.choice((0.0, rng.uniform(0, 5e-5))),
    )
    return times, window_s - coming, state


def test_two_hundred_cases_agree_with_the_law_of_prints_in_the_middle_of_seconds() -> None:
    rng = random.Random(2026)
    inside = 0
    for _ in range(200):
        times, known, state = case(rng)
        p = fair_value(state).p_raw
        inside += 0.01 < p < 0.99
        assert p == pytest.approx(exact(times, known, state), abs=TOLERANCE), state
    assert inside > 100  # the cases are no foregone conclusions


def test_the_last_prints_are_more_uncertain_than_the_limit_says() -> None:
    for left in range(1, PRINTS_MIN):
        times = [0.5 + n for n in range(left)]
        _, variance = law_of_the_mean(times, 60 - left, 0.0, 0.0, 1.0)
        assert variance / (left**3 / (3 * 60**2)) == pytest.approx(1 + 1 / (2 * left**2))


def test_prints_as_seconds_begin_reach_half_a_second_further() -> None:
    """The whole difference: the window of their mean lies half a second later."""
    rng = random.Random(7)
    for _ in range(50):
        times, known, state = case(rng)
        if len(times) < 15:
            continue
        later = [time + 0.5 for time in times]
        shifted = State(**{name: getattr(state, name) for name in State.__struct_fields__} | {"tau": state.tau + 0.5})
        if known:  # the part of the window that the next print stands for has spot's own value
            share = known / (state.window_s - shifted.tau)
            log_mean = share * state.log_mean + (1 - share) * state.log_spot
            shifted = State(**{n: getattr(shifted, n) for n in State.__struct_fields__} | {"log_mean": log_mean})
        assert fair_value(shifted).p_raw == pytest.approx(exact(later, known, state), abs=TOLERANCE), state


START = 1_790_000_000
END = START + 300
LAG = 2


def scene(seed: int, prints: int, fraction: float) -> tuple[Window, int, dict[int, float], float]:
    """A window whose model has seen every second until `prints` are to come, `fraction` of a second ago."""
    rng = random.Random(seed)
    sigma, now_s = 9e-5, END - LAG - prints
    mids = {START - 400: 60_000.0}
    for before, second in pairwise(range(START - 400, now_s + 1)):
        mids[second] = mids[before] * math.exp(rng.gauss(0, sigma))
    caches = Caches()
    model = AssetModel("btc", Parameters(), caches)
    model.sums.first, model.sums.last = now_s - 399, now_s - 400
    for second in range(now_s - 399, now_s + 1):
        model.sums.extend(round(mids[second] * 1e8))
    model.sums.first = now_s - 399
    spot = mids[now_s] * math.exp(rng.gauss(0, sigma * math.sqrt(fraction)))
    model.spot, model.log_spot = spot, math.log(spot)
    model.volatility.start(sigma**2, sigma**2, sigma)
    market = Market(
        symbol="m",
        slug="m",
        series="btc-updown-5m",
        asset="btc",
        up_token="u",
        down_token="d",
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_utc_ns=START * NS_PER_S,
        end_utc_ns=END * NS_PER_S,
        tick=100,
        min_qty=5,
        fee_rate=0.07,
    )
    window = Window(market, Parameters(), caches, model)
    assert window.basis is not None
    window.basis.lag_s = LAG
    mean = sum(mids[second] for second in range(END - LAG - 59, now_s + 1)) / max(1, 60 - prints)
    return window, round((now_s + fraction) * NS_PER_S), mids, mean


@pytest.mark.parametrize("prints", [15, 16, 30, 45, 59])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.8, 0.99])
def test_between_the_prints_of_the_stream_the_window_prices_what_is_left(prints: int, fraction: float) -> None:
    """Against prints as each second begins, with the lag of the stream: known ones, and those to come."""
    for seed in range(8):
        window, utc_ns, mids, mean = scene(seed, prints, fraction)
        window.strike = mids[END - LAG - prints] * math.exp((seed - 4) * 2e-5)
        window._log_strike = math.log(window.strike)
        state = window.state(utc_ns)
        assert state is not None
        times = [1 - fraction + n for n in range(prints)]
        centre, variance = law_of_the_mean(times, 60 - prints, math.log(mean), state.log_spot, state.sigma)
        p = cdf((centre - state.log_strike) / math.sqrt(variance))
        assert fair_value(state).p_raw == pytest.approx(p, abs=TOLERANCE)


@pytest.mark.soak
def test_simulated_prints_agree_where_nothing_is_linearised() -> None:
    """Arithmetic means of prices, 200,000 paths for each of a few cases: three standard errors and the tolerance."""
    rng = random.Random(11)
    paths = 200_000
    for _ in range(4):
        times, known, state = case(rng)
        steps = [b - a for a, b in pairwise([0.0, *times])]
        hits = 0
        for _ in range(paths):
            x, total = state.log_spot, known * math.exp(state.log_mean)
            for step in steps:
                x += rng.gauss(0, state.sigma * math.sqrt(step))
                total += math.exp(x)
            shift = rng.gauss(0, state.basis_sd) if state.basis_sd else 0.0
            hits += total / (known + len(times)) * math.exp(shift) >= math.exp(state.log_strike)
        p = hits / paths
        assert fair_value(state).p_raw == pytest.approx(p, abs=TOLERANCE + 3 * math.sqrt(p * (1 - p) / paths))
