"""Basis and lag of the settling stream, and the sums they read."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.caches import SecondRing, Settlement, SettlementCache
from bot.quoting.basis import Basis, SettlementBasis, _Lag
from bot.quoting.parameters import Parameters
from bot.quoting.seconds import SecondSums
from bot.quoting.volatility import decay


def test_basis_matches_the_table() -> None:
    basis = Basis(60)
    for source, mean, x, value, sd in (
        (60012, 60030, -2.998950e-4, -2.998950e-4, 0),
        (60015, 60031, -2.665645e-4, -2.995122e-4, 3.572124e-6),
        (60008, 60030, -3.665506e-4, -3.002822e-4, 8.014560e-6),
    ):
        log_distance = math.log(source / mean)
        assert log_distance == pytest.approx(x, rel=5e-7)
        basis.update(log_distance)
        assert basis.value == pytest.approx(value, rel=5e-7)
        assert basis.sd == pytest.approx(sd, rel=5e-7)
    assert 60_040 * math.exp(basis.value) == pytest.approx(60_021.973763, abs=1e-6)


def walk(seed: int, seconds: int, sigma: float = 9e-5) -> list[float]:
    rng = random.Random(seed)
    prices = [60_000.0]
    for _ in range(seconds):
        prices.append(prices[-1] * math.exp(rng.gauss(0, sigma)))
    return prices


def streams(lag: int, seed: int, basis: float = -2e-4) -> tuple[SecondSums, SettlementCache]:
    """A reference ring of 500 s and 150 values of a stream that lags behind its stamps."""
    prices = walk(seed, 500)
    ring, cache, start = SecondRing(), SettlementCache("btc", 60), 10_000
    for second, price in enumerate(prices, start):
        ring.seed(second, round(price * 1e8))
    sums = SecondSums()
    sums.load(ring, start + 500)
    wander = random.Random(seed + 1)
    for age in range(150, -1, -1):
        basis += wander.gauss(0, 2e-6)
        end = start + 500 - age
        mean = sum(prices[end - lag - 59 - start : end - lag + 1 - start]) / 60
        value = round(mean * math.exp(basis) * 1e8)
        cache.put(Settlement(value_e8=value, utc_ms=end * 1000, recv_ns=0))
    return sums, cache


@pytest.mark.parametrize("lag", range(6))
@pytest.mark.parametrize("seed", range(3))
def test_lag_of_the_stream_is_found_and_sharp(lag: int, seed: int) -> None:
    sums, cache = streams(lag, seed)
    basis = SettlementBasis(60, Parameters())
    assert basis.learn(cache, sums)
    assert basis.lag_s == lag
    assert basis.sharp
    assert basis.value == pytest.approx(-2e-4, abs=6e-5)


def test_without_enough_values_the_lag_is_the_configured_one_and_not_sharp() -> None:
    sums, cache = streams(1, 5)
    short = SettlementCache("btc", 60)
    for value in cache.history[-5:]:
        short.put(value)
    basis = SettlementBasis(60, Parameters())
    basis.learn(short, sums)
    assert basis.learnt
    assert (basis.lag_s, basis.sharp) == (3, False)


def test_a_value_is_taken_once_and_one_from_the_future_waits() -> None:
    sums, cache = streams(1, 6)
    basis = SettlementBasis(60, Parameters())
    assert basis.learn(cache, sums)
    assert not basis.learn(cache, sums)
    cache.put(Settlement(value_e8=round(60_000e8), utc_ms=(sums.last + 1) * 1000, recv_ns=0))
    assert not basis.learn(cache, sums)
    sums.extend(round(60_000e8))
    assert basis.learn(cache, sums)


def test_an_absurd_value_is_discarded_and_reported() -> None:
    sums, cache = streams(1, 7)
    basis = SettlementBasis(60, Parameters())
    basis.learn(cache, sums)
    before = basis.value
    sums.extend(round(60_000e8))
    cache.put(Settlement(value_e8=round(61_000e8), utc_ms=sums.last * 1000, recv_ns=0))
    basis.learn(cache, sums)
    assert basis.diverged
    assert basis.value == before


def test_values_that_cover_a_blind_second_are_passed_over() -> None:
    sums, cache = streams(1, 8)
    basis = SettlementBasis(60, Parameters())
    assert not basis.learn(cache, sums, blind_until=sums.last)
    assert not basis.learnt


def test_sums_give_the_mean_of_any_interval_they_hold() -> None:
    ring = SecondRing()
    for second in range(100, 111):
        ring.seed(second, second * 10**8)
    sums = SecondSums()
    assert len(sums.load(ring, 110)) == 11
    assert sums.mean(100, 110) == pytest.approx(105.5)
    assert sums.mean(99, 100) == pytest.approx(100)
    assert sums.mean(98, 100) == 0  # second 99 is not held
    assert sums.mean(105, 111) == 0  # not yet
    assert sums.mean(105, 105) == 0
    sums.extend(111 * 10**8)
    assert sums.mean(109, 111) == pytest.approx(110.5)


def test_sums_forget_what_their_ring_no_longer_holds() -> None:
    ring = SecondRing()
    ring.seed(1, 10**8)
    sums = SecondSums(size=8)
    sums.load(ring, 1)
    for second in range(2, 50):
        sums.extend(second * 10**8)
    assert sums.mean(42, 49) == pytest.approx(46)
    assert sums.mean(40, 49) == 0


@given(xs=st.lists(st.floats(-3e-3, 3e-3), min_size=1, max_size=80))
def test_the_running_basis_equals_a_recomputation_over_all_values(xs: list[float]) -> None:
    basis, keep = Basis(60), decay(60)
    for x in xs:
        basis.update(x)
    value, variance = xs[0], 0.0
    means = [value]
    for n in range(1, len(xs)):
        means.append(keep**n * xs[0] + math.fsum((1 - keep) * keep ** (n - i) * xs[i] for i in range(1, n + 1)))
    n = len(xs)
    variance = math.fsum((1 - keep) * keep ** (n - 1 - i) * (xs[i] - means[i - 1]) ** 2 for i in range(1, n))
    assert basis.value == pytest.approx(means[-1], abs=1e-15)
    assert basis.sd == pytest.approx(math.sqrt(variance), abs=1e-12)


@given(mids=st.lists(st.integers(1, 10**13), min_size=30, max_size=80), data=st.data())
def test_running_sums_equal_the_mean_of_the_seconds_themselves(mids: list[int], data: st.DataObject) -> None:
    sums = SecondSums(size=64)
    ring = SecondRing()
    ring.seed(100, mids[0])
    sums.load(ring, 100)
    for mid in mids[1:]:
        sums.extend(mid)
    last = 100 + len(mids) - 1
    upto = data.draw(st.integers(max(sums.first, last - 20), last))
    after = data.draw(st.integers(sums.first - 1, upto - 1))
    held = mids[after + 1 - 100 : upto + 1 - 100]
    assert sums.mean(after, upto) == pytest.approx(sum(held) / len(held) / 1e8, rel=1e-12)


@given(xs=st.lists(st.one_of(st.none(), st.floats(-3e-3, 3e-3)), min_size=2, max_size=80))
def test_the_misfit_of_a_lag_equals_the_weighted_mean_square_of_all_changes(xs: list[float | None]) -> None:
    """A value that was passed over (None) breaks the chain."""
    lag, keep = _Lag(60), decay(60)
    squares = []
    for before, x in pairwise([None, *xs]):
        if x is None:
            lag.skip()
            continue
        lag.update(x)
        if before is not None:
            squares.append((x - before) ** 2)
    weights = [keep**age for age in range(len(squares))][::-1]
    if not squares:
        assert lag.misfit == math.inf
        return
    whole = math.fsum(w * square for w, square in zip(weights, squares, strict=True)) / math.fsum(weights)
    assert lag.misfit == pytest.approx(whole, rel=1e-9, abs=1e-18)
