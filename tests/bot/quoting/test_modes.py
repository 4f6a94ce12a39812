"""Quote modes: up at once, down slowly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import QuoteMode
from bot.quoting.modes import Modes, Reason, level, names
from bot.units import NS_PER_MS

NORMAL, DEFENSIVE, REDUCE_ONLY, NO_QUOTE = QuoteMode


def run(modes: Modes, reasons: int, at_ms: int) -> QuoteMode:
    return modes.update(reasons, at_ms * NS_PER_MS)


def quoting() -> Modes:
    modes = Modes(1_500 * NS_PER_MS)
    assert run(modes, 0, 0) is NORMAL
    return modes


@pytest.mark.parametrize(
    ("bit", "name", "expected"),
    [
        (0, "SHOCK", DEFENSIVE),
        (4, "LAG", DEFENSIVE),
        (6, "WIDE", DEFENSIVE),
        (8, "TOX_SOFT", DEFENSIVE),
        (16, "CLOSE_PHASE", REDUCE_ONLY),
        (20, "INV_LIMIT", REDUCE_ONLY),
        (30, "GAMMA", REDUCE_ONLY),
        (31, "BAND", REDUCE_ONLY),
        (24, "BN_HARD", NO_QUOTE),
        (29, "PHASE", NO_QUOTE),
        (32, "DIVERGE_HARD", NO_QUOTE),
        (36, "CLOCK", NO_QUOTE),
    ],
)
def test_bits_names_and_levels_are_those_of_the_table(bit: int, name: str, expected: QuoteMode) -> None:
    assert names(1 << bit) == [name]
    assert level(1 << bit) is expected


def test_every_reason_has_its_own_bit() -> None:
    assert len(Reason) == 27
    assert sum(Reason) == sum({int(reason) for reason in Reason})


def test_mode_is_the_highest_active_level_at_once() -> None:
    modes = quoting()
    assert run(modes, Reason.WIDE, 10) is DEFENSIVE
    assert run(modes, Reason.WIDE | Reason.GAMMA, 20) is REDUCE_ONLY
    assert run(modes, Reason.WIDE | Reason.BN_HARD, 30) is NO_QUOTE


def test_defence_ends_after_its_cooldown() -> None:
    modes = quoting()
    run(modes, Reason.WIDE, 100)
    assert run(modes, 0, 1_599) is DEFENSIVE
    assert run(modes, 0, 1_600) is NORMAL


def test_a_reason_that_comes_back_starts_the_cooldown_again() -> None:
    modes = quoting()
    run(modes, Reason.WIDE, 0)
    run(modes, Reason.LAG, 1_400)
    assert run(modes, 0, 1_600) is DEFENSIVE
    assert run(modes, 0, 2_900) is NORMAL


def test_reduce_only_comes_back_through_defence() -> None:
    modes = quoting()
    run(modes, Reason.GAMMA, 0)
    assert run(modes, 0, 9_999) is REDUCE_ONLY
    assert run(modes, 0, 10_000) is DEFENSIVE
    assert run(modes, 0, 11_499) is DEFENSIVE
    assert run(modes, 0, 11_500) is NORMAL


def test_no_quote_comes_back_to_the_highest_level_still_active() -> None:
    modes = quoting()
    run(modes, Reason.BN_HARD | Reason.GAMMA, 0)
    assert run(modes, Reason.GAMMA, 2_999) is NO_QUOTE
    assert run(modes, Reason.GAMMA, 3_000) is REDUCE_ONLY


def test_no_quote_comes_back_through_defence() -> None:
    modes = quoting()
    run(modes, Reason.PM_HARD, 0)
    assert run(modes, 0, 2_999) is NO_QUOTE
    assert run(modes, 0, 3_000) is DEFENSIVE
    assert run(modes, 0, 4_500) is NORMAL


def test_the_life_of_a_window_needs_no_cooldown() -> None:
    modes = quoting()
    run(modes, Reason.PHASE | Reason.NO_STRIKE, 0)
    assert run(modes, Reason.NO_STRIKE, 10) is NO_QUOTE
    assert run(modes, 0, 20) is NORMAL


def test_trouble_just_before_a_window_opens_still_cools_down() -> None:
    modes = quoting()
    run(modes, Reason.PHASE | Reason.BN_HARD, 0)
    run(modes, Reason.PHASE, 1_000)
    assert run(modes, 0, 2_000) is NO_QUOTE
    assert run(modes, 0, 4_000) is DEFENSIVE


def test_a_market_that_never_quoted_owes_no_cooldown_but_starts_defensive_after_trouble() -> None:
    modes = Modes(1_500 * NS_PER_MS)
    assert run(modes, Reason.NOT_WARM | Reason.RESYNC, 0) is NO_QUOTE
    assert run(modes, 0, 50) is DEFENSIVE
    assert run(modes, 0, 1_550) is NORMAL


def test_defence_inside_reduce_only_is_told() -> None:
    modes = quoting()
    run(modes, Reason.GAMMA, 0)
    assert not modes.defensive
    run(modes, Reason.GAMMA | Reason.BN_SOFT, 100)
    assert modes.defensive
    run(modes, Reason.GAMMA, 1_599)
    assert modes.defensive
    run(modes, Reason.GAMMA, 1_601)
    assert not modes.defensive


def test_circumstances_may_raise_a_reason_to_no_quote() -> None:
    modes = quoting()
    assert modes.update(Reason.SETTLE_HARD, 1, no_quote=True) is NO_QUOTE
    assert run(modes, 0, 100) is NO_QUOTE


def test_the_cooldown_of_defence_is_a_parameter() -> None:
    modes = Modes(500 * NS_PER_MS)
    run(modes, 0, 0)
    run(modes, Reason.SHOCK, 100)
    assert run(modes, 0, 599) is DEFENSIVE
    assert run(modes, 0, 600) is NORMAL


@given(
    looks=st.lists(
        st.tuples(st.integers(1, 4_000), st.lists(st.sampled_from(list(Reason)), max_size=3)), min_size=1, max_size=60
    )
)
def test_a_market_is_never_bolder_than_its_reasons_and_forgets_them_all_in_time(
    looks: list[tuple[int, list[Reason]]],
) -> None:
    modes, at_ms = quoting(), 0
    last: dict[QuoteMode, int] = {}  # when a reason of that level was last active
    for gap_ms, active in looks:
        at_ms += gap_ms
        reasons = sum(set(active))
        before, mode = modes.mode, run(modes, reasons, at_ms)
        for reason in active:
            last[level(reason)] = at_ms
        assert mode >= level(reasons)
        assert mode <= max(level(reasons), before)
        if REDUCE_ONLY in last and at_ms - last[REDUCE_ONLY] < 10_000 and before is REDUCE_ONLY:
            assert mode >= REDUCE_ONLY
        if mode is NORMAL:
            assert at_ms - last.get(DEFENSIVE, -10_000) >= 1_500
    assert run(modes, 0, at_ms + 10_000) <= DEFENSIVE
    assert run(modes, 0, at_ms + 11_500) is NORMAL
