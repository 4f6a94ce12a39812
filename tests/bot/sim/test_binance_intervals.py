"""When candles open and end: on UTC's grid, on another zone's, on Mondays, and with the calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.sim.binance_intervals import INTERVALS, LENGTHS_S, ends, opened, shift_of

HOUR_MS = 3_600_000


def ms(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


NOON = ms(2026, 11, 25, 12, 34, 56)  # a Wednesday


@pytest.mark.parametrize("interval", sorted(LENGTHS_S))
def test_every_moment_lies_within_its_candle(interval: str) -> None:
    open_ms = opened(interval, NOON)
    assert open_ms <= NOON < ends(interval, open_ms)
    assert opened(interval, open_ms) == open_ms
    assert opened(interval, open_ms - 1) == open_ms - LENGTHS_S[interval] * 1000


def test_weeks_begin_on_monday_and_months_on_their_first_day() -> None:
    assert opened("1w", NOON) == ms(2026, 11, 23)
    assert opened("1M", NOON) == ms(2026, 11, 1)
    assert ends("1M", ms(2026, 11, 1)) == ms(2026, 12, 1)
    assert ends("1M", ms(2026, 12, 1)) == ms(2027, 1, 1)
    assert ends("1M", ms(2028, 2, 1)) == ms(2028, 3, 1)
    assert "1M" in INTERVALS and "7m" not in INTERVALS


def test_a_time_zone_moves_the_beginnings() -> None:
    eight = shift_of("8")
    assert opened("1d", NOON, eight) == ms(2026, 11, 24, 16)
    assert opened("1d", NOON, shift_of("-5:00")) == ms(2026, 11, 25, 5)
    assert (opened("1M", NOON, eight), ends("1M", ms(2026, 10, 31, 16), eight)) == (
        ms(2026, 10, 31, 16),
        ms(2026, 11, 30, 16),
    )
    assert opened("1h", NOON, shift_of("05:45")) == ms(2026, 11, 25, 12, 15)
    for wrong in ("", "x", "15", "-12:01", "8:5"):
        with pytest.raises(ValueError, match="time zone"):
            shift_of(wrong)
