"""The fast readers agree with the exact one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.units import PX_ONE, decimal_text, parse_px, parse_qty, scaled
from bot.venues.decimals import _Seen, fast_e8, fast_px, fast_qty, known_px, known_qty, utc_ns


@given(st.integers(0, 20_000))
def test_prices_are_exact(px: int) -> None:
    text = decimal_text(px, 4)
    assert fast_px(text) == parse_px(text) == px
    if 0 < px < PX_ONE:
        assert known_px(text) == known_px(text) == px


@given(st.integers(0, 10**18))
def test_sizes_are_exact(qty: int) -> None:
    text = decimal_text(qty, 6)
    assert fast_qty(text) == known_qty(text) == known_qty(text) == parse_qty(text) == qty


@given(st.integers(0, 10**18), st.booleans())
def test_reference_prices_are_exact_with_and_without_trailing_zeros(value: int, padded: bool) -> None:
    text = f"{value // 10**8}.{value % 10**8:08d}" if padded else decimal_text(value, 8)
    assert fast_e8(text) == scaled(text, 8) == value


@pytest.mark.parametrize("text", ["", "NaN", "inf", "-inf", "abc", "1.2.3", "1e20", "1e400", "1e999990", "9" * 5000])
def test_what_is_no_number_is_refused(text: str) -> None:
    for read in (fast_px, fast_qty, fast_e8, known_px, known_qty):
        for _ in range(2):  # nor remembered
            with pytest.raises(ValueError):
                read(text)


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "1.0001", "0.00004"])
def test_no_level_of_a_book_is_at_or_beyond_its_ends(text: str) -> None:
    with pytest.raises(ValueError, match="outside of 0 to 1"):
        known_px(text)


def test_what_was_seen_is_forgotten_when_it_is_too_much() -> None:
    asked: list[str] = []
    seen = _Seen(lambda text: asked.append(text) or int(text), 3)
    assert [seen[str(n)] for n in (1, 2, 3, 1, 4, 1)] == [1, 2, 3, 1, 4, 1]
    assert asked == ["1", "2", "3", "4", "1"] and len(seen) == 2


def test_negative_numbers_keep_their_sign() -> None:
    assert (fast_px("-0.5"), fast_qty("-1.5"), fast_e8("-2")) == (-5000, -1_500_000, -200_000_000)


def test_all_time_units_give_the_same_nanoseconds() -> None:
    assert {utc_ns(stamp) for stamp in (1793750400, "1793750400000", 1793750400000000, 1793750400000000000)} == {
        1793750400_000_000_000
    }


@pytest.mark.parametrize("stamp", [-1, 17_950_400_000, 2**63, "9" * 4000, "x"])
def test_a_time_that_64_bits_do_not_hold_as_nanoseconds_is_refused(stamp: int | str) -> None:
    with pytest.raises(ValueError):
        utc_ns(stamp)
