"""The band of reference mids that leaves resting quotes with an edge, and the age of feeds."""

from __future__ import annotations

import math

import msgspec
import pytest

from bot.caches import BookView, Reference, ReferenceCache, Settlement
from bot.market import Rule
from bot.quoting.blend import Blend
from bot.quoting.fair_value import State, fair_value, inv_cdf, spot_at
from bot.quoting.guards import Divergence, book_reasons, guard_band, reference_reasons, settlement_reasons
from bot.quoting.modes import Reason
from bot.quoting.parameters import Parameters
from bot.units import NS_PER_MS, NS_PER_S

V2 = State(rule=Rule.TWAP, log_spot=math.log(60_030), log_strike=math.log(60_000), sigma=6e-5, tau=200, window_s=60)


def test_guard_prices_match_the_table() -> None:
    s = fair_value(V2).s
    assert inv_cdf(0.72) == pytest.approx(0.582842, abs=6e-7)
    assert inv_cdf(0.77) == pytest.approx(0.738847, abs=6e-7)
    assert math.exp(spot_at(V2, s, 0.72)) == pytest.approx(60_026.546607, abs=1e-6)
    low, high = guard_band(V2, s, Blend(Parameters()), -3e-4, 7200, 7700)
    assert low / 1e8 == pytest.approx(60_044.557273, abs=1e-6)
    assert high / 1e8 == pytest.approx(60_051.666953, abs=1e-6)


def test_guard_inside_the_averaging_window_matches_the_table() -> None:
    state = msgspec.structs.replace(V2, tau=30, log_mean=math.log(60_010))
    assert inv_cdf(0.80) == pytest.approx(0.841621, abs=6e-7)
    assert math.exp(spot_at(state, fair_value(state).s, 0.80)) == pytest.approx(59_999.582019, abs=1e-6)


def test_the_guards_allow_for_what_the_book_taught() -> None:
    """At the guard the blended p is the quote's price, not the model's."""
    s, blend = fair_value(V2).s, Blend(Parameters())
    blend.shift = 0.05
    low, _ = guard_band(V2, s, blend, -3e-4, 7200, 7700)
    at = fair_value(msgspec.structs.replace(V2, log_spot=math.log(low / 1e8) - 3e-4))
    assert at.p < 0.72
    assert blend.blended(at.p) == pytest.approx(0.72, abs=1e-6)


def test_a_lasting_disagreement_defends_and_a_large_one_pulls() -> None:
    divergence = Divergence(Parameters())
    for at_ms, gap, expected in (
        (0, 0.09, 0),
        (1_999, 0.09, 0),
        (2_000, 0.09, Reason.DIVERGE),
        (2_100, -0.16, Reason.DIVERGE),
        (4_100, -0.16, Reason.DIVERGE | Reason.DIVERGE_HARD),
        (4_200, 0.10, Reason.DIVERGE),
        (4_300, 0.08, 0),
    ):
        divergence.update(gap, at_ms * NS_PER_MS)
        assert divergence.reasons(at_ms * NS_PER_MS) == expected, at_ms


def test_a_disagreement_is_not_forgotten_while_the_book_cannot_be_read() -> None:
    divergence = Divergence(Parameters())
    divergence.update(0.2, 0)
    assert divergence.reasons(9 * NS_PER_S) == Reason.DIVERGE | Reason.DIVERGE_HARD


def test_a_missing_quote_has_no_guard() -> None:
    s = fair_value(V2).s
    assert guard_band(V2, s, Blend(Parameters()), 0.0, 0, 0) == (0, 0)


def test_a_guard_beyond_any_reach_is_none() -> None:
    state = msgspec.structs.replace(V2, tau=0.001, log_mean=math.log(60_500))
    assert guard_band(state, fair_value(state).s, Blend(Parameters()), 0.0, 100, 9900) == (0, 0)


def reference_cache(symbol_age: float, frame_age: float, lag_ms: float = 5) -> tuple[ReferenceCache, int]:
    now = 100 * NS_PER_S
    cache = ReferenceCache("BTCUSDT")
    cache.latest = Reference(bid_e8=1, ask_e8=3, update_id=1, recv_ns=now - round(symbol_age * NS_PER_S), lag_ms=lag_ms)
    cache.frame_ns = now - round(frame_age * NS_PER_S)
    return cache, now


@pytest.mark.parametrize(
    ("symbol_age", "frame_age", "lag_ms", "expected"),
    [
        (0.1, 0.1, 5, 0),
        (2.9, 0.4, 5, 0),
        (0.6, 0.6, 5, Reason.BN_SOFT),
        (3.1, 0.1, 5, Reason.BN_SOFT),
        (2.1, 2.1, 5, Reason.BN_HARD),
        (10.1, 0.1, 5, Reason.BN_HARD),
        (0.1, 0.1, 251, Reason.LAG),
        (0.1, 0.1, 1001, Reason.BN_HARD),
    ],
)
def test_age_and_delay_of_the_reference_feed(symbol_age: float, frame_age: float, lag_ms: float, expected: int) -> None:
    cache, now = reference_cache(symbol_age, frame_age, lag_ms)
    assert reference_reasons(cache, True, now) == expected
    assert reference_reasons(cache, False, now) == Reason.BN_HARD


def test_no_reference_at_all_is_hard() -> None:
    assert reference_reasons(None, True, 1) == Reason.BN_HARD
    assert reference_reasons(ReferenceCache("BTCUSDT"), True, 1) == Reason.BN_HARD


def test_a_quiet_book_is_fresh_while_the_connection_speaks_and_fair_value_stands() -> None:
    now = 100 * NS_PER_S
    view = BookView(bids=(), asks=(), tick=100, recv_ns=now - 60 * NS_PER_S, changed_ns=0)
    assert book_reasons(view, now - NS_PER_S, True, 0.019, now) == 0
    assert book_reasons(view, now - NS_PER_S, True, -0.02, now) == Reason.PM_SOFT
    assert book_reasons(view, now - 11 * NS_PER_S, True, 0.0, now) == Reason.PM_HARD
    assert book_reasons(view, now, False, 0.0, now) == Reason.PM_HARD
    assert book_reasons(None, now, True, 0.0, now) == Reason.PM_HARD


@pytest.mark.parametrize(
    ("age_ms", "expected"), [(5_000, 0), (5_001, Reason.SETTLE_SOFT), (15_001, Reason.SETTLE_HARD)]
)
def test_age_of_the_settling_stream(age_ms: int, expected: int) -> None:
    value = Settlement(value_e8=1, utc_ms=1, recv_ns=0)
    assert settlement_reasons(value, age_ms * NS_PER_MS) == expected


def test_a_settling_stream_that_never_spoke_is_hard() -> None:
    assert settlement_reasons(None, 1) == Reason.SETTLE_HARD
