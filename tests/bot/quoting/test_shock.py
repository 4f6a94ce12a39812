"""Jumps of the reference: which fire, which sides they pull, and for how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.caches import FastRing
from bot.quoting.parameters import Parameters
from bot.quoting.shock import Moves, Pull, shock
from bot.units import NS_PER_MS, NS_PER_S

P = Parameters(k=5)
SIGMA, DELTA_X = 6e-5, 423.153553
BEGIN = 1_000 * NS_PER_S  # monotonic
UTC = 1_790_000_000 * NS_PER_S


@pytest.mark.parametrize(
    ("price", "seconds", "delta_x", "z", "found"),
    [
        (60_010.2, 0.25, DELTA_X, 5.666185, 1),
        (60_008.0, 0.25, DELTA_X, 4.444148, 0),
        (60_022.0, 1.0, DELTA_X, 6.109991, 1),
        (60_010.2, 0.25, 50.0, 5.666185, 0),
        (60_020.4, 0.25, DELTA_X, 11.331407, 2),
        (59_989.8, 0.25, DELTA_X, 5.667148, 1),
    ],
)
def test_a_jump_fires_where_it_is_unusual_and_moves_p(
    price: float, seconds: float, delta_x: float, z: float, found: int
) -> None:
    r, usual = math.log(price / 60_000), SIGMA * math.sqrt(seconds)
    assert abs(r) / usual == pytest.approx(z, abs=6e-6)
    assert shock(P, r, usual, delta_x) == found


def test_the_move_of_p_is_that_of_the_table() -> None:
    assert math.log(60_010.2 / 60_000) == pytest.approx(1.699856e-4, rel=5e-7)
    assert DELTA_X * math.log(60_010.2 / 60_000) == pytest.approx(0.071930, abs=6e-7)


def moves(path: dict[int, float], at_ms: int, *, sigmas: dict[int, float] | None = None) -> Moves:
    """Mids by the millisecond they came; volatility by wall-clock second."""
    ring, found = FastRing(), Moves()
    for ms, price in sorted(path.items()):
        ring.put(BEGIN + ms * NS_PER_MS, round(price * 1e8))
    for second, sigma in (sigmas or {}).items():
        found.remember(UTC // NS_PER_S + second, sigma)
    newest = round(path[max(path)] * 1e8)
    found.look(ring, newest, SIGMA, BEGIN + at_ms * NS_PER_MS, UTC + at_ms * NS_PER_MS)
    return found


def test_returns_are_those_of_a_quarter_and_of_a_whole_second() -> None:
    found = moves({0: 60_000, 950: 60_006, 1_800: 60_012}, at_ms=2_000)
    assert found.returns == pytest.approx([math.log(60_012 / 60_006), math.log(60_012 / 60_006)])
    found = moves({0: 60_000, 1_050: 60_006, 1_800: 60_012}, at_ms=2_000)
    assert found.returns == pytest.approx([math.log(60_012 / 60_006), math.log(60_012 / 60_000)])
    assert found.usual == pytest.approx([SIGMA / 2, SIGMA])


def test_a_jump_does_not_excuse_itself_by_the_volatility_it_makes() -> None:
    found = moves({0: 60_000, 2_900: 60_030}, at_ms=3_100, sigmas={2: 6e-5, 3: 5e-4})
    assert found.usual == pytest.approx([6e-5 / 2, 6e-5])
    later = moves({0: 60_000, 2_900: 60_030}, at_ms=4_300, sigmas={2: 6e-5, 3: 5e-4, 4: 5e-4})
    assert later.usual == pytest.approx([5e-4 / 2, 5e-4])


def test_a_ring_that_is_too_young_moves_nothing() -> None:
    assert moves({1_950: 60_000, 1_990: 60_100}, at_ms=2_000).returns == [0.0, 0.0]


def pulled(r: float, delta_x: float = DELTA_X) -> Pull:
    pull, found = Pull(P), Moves()
    found.returns, found.usual = [r, 0.0], [SIGMA / 2, SIGMA]
    pull.look(found, delta_x, BEGIN)
    return pull


def test_the_side_in_the_way_is_pulled_for_its_time() -> None:
    up, down, huge = pulled(1.7e-4), pulled(-1.7e-4), pulled(3.4e-4)
    assert [(pull.bid(BEGIN), pull.ask(BEGIN)) for pull in (up, down, huge)] == [
        (False, True),
        (True, False),
        (True, True),
    ]
    last = BEGIN + 500 * NS_PER_MS
    assert up.ask(last - 1)
    assert up.active(last - 1)
    assert not up.ask(last)
    assert not up.active(last)


def test_what_moves_p_too_little_pulls_nothing() -> None:
    assert not pulled(1.7e-4, delta_x=50).active(BEGIN)


@given(
    quotes=st.lists(st.tuples(st.integers(1, 400), st.integers(5_000, 7_000)), min_size=1, max_size=80),
    later_ms=st.integers(0, 300),
    age_ms=st.sampled_from([250, 1_000]),
)
def test_the_ring_knows_the_mid_that_stood_when_the_slot_of_that_moment_began(
    quotes: list[tuple[int, int]], later_ms: int, age_ms: int
) -> None:
    """Against the list of all quotes; nothing is known of the time before the first one's slot."""
    ring, at_ms, told = FastRing(), BEGIN // NS_PER_MS, list[tuple[int, int]]()
    for gap_ms, mid in quotes:
        at_ms += gap_ms
        told.append((at_ms, mid))
        ring.put(at_ms * NS_PER_MS, mid)
    now_ms = at_ms + later_ms
    slot_ms = (now_ms - age_ms) // 50 * 50
    stood = [mid for when, mid in told if when < slot_ms or (slot_ms > at_ms and when <= at_ms)]
    expected = stood[-1] if stood and slot_ms // 50 > told[0][0] // 50 else 0
    assert ring.before(now_ms * NS_PER_MS, age_ms * NS_PER_MS) == expected
