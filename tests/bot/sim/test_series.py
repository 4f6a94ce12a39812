"""Series of a generated world: their clocks and slugs, and hours that the reference's candle settles."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.errors import SettingsError
from bot.market import Rule
from bot.sim.exchange import Exchange, SimMarket
from bot.sim.market import World
from bot.sim.parameters import WorldParameters
from bot.sim.prices import PricePath
from bot.sim.series import Series
from bot.venues.polymarket_metadata import parse_series

EMPTY = WorldParameters(makers=0, noise_per_s=0.0, informed_fast_per_s=0.0, informed_slow_per_s=0.0)
HOUR_MS = 3_600_000


def ms(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


ENDING = ms(2026, 11, 22, 14, 59, 50)  # ten seconds before an hour ends


@pytest.mark.parametrize(
    ("when", "slug"),
    [
        (ms(2026, 11, 22, 14, 59, 50), "bitcoin-up-or-down-november-22-2026-9am-et"),
        (ms(2026, 7, 4, 4, 0), "bitcoin-up-or-down-july-4-2026-12am-et"),
        (ms(2026, 7, 3, 16, 30), "bitcoin-up-or-down-july-3-2026-12pm-et"),
    ],
)
def test_hours_are_named_by_new_yorks_clock_as_the_bot_names_them(when: int, slug: str) -> None:
    for aligned in (False, True):
        series = Series("btc-updown-1h", when, aligned)
        assert series.next_start_ms == when // HOUR_MS * HOUR_MS
        assert series.slug(series.next_start_ms) == slug
    ours = parse_series("btc-updown-1h")
    assert ours.slug(ours.start_of(when / 1000)) == slug


@pytest.mark.parametrize(
    ("when", "slug"),
    [
        (ENDING, "bitcoin-up-or-down-on-november-22-2026"),
        (ms(2026, 11, 22, 17, 0), "bitcoin-up-or-down-on-november-23-2026"),
        (ms(2026, 11, 1, 16, 59), "bitcoin-up-or-down-on-november-1-2026"),  # a day of 25 hours
        (ms(2026, 3, 8, 15, 59), "bitcoin-up-or-down-on-march-8-2026"),  # and one of 23
    ],
)
def test_days_run_from_noon_to_noon_in_new_york(when: int, slug: str) -> None:
    series, ours = Series("btc-updown-1d", when, False), parse_series("btc-updown-1d")
    start_ms = series.next_start_ms
    assert start_ms == ours.start_of(when / 1000) * 1000
    assert series.after(start_ms) == ours.end_of(start_ms // 1000) * 1000
    assert series.slug(start_ms) == ours.slug(start_ms // 1000) == slug


@pytest.mark.parametrize("name", ["btc-updown-5m", "eth-updown-15m", "sol-updown-4h"])
def test_aligned_windows_begin_where_the_bot_looks_for_them_and_others_at_once(name: str) -> None:
    ours = parse_series(name)
    for when in (ENDING, ms(2026, 7, 4, 4, 0), ms(2026, 7, 4, 3, 59)):
        aligned, loose = (Series(name, when, choice) for choice in (True, False))
        assert aligned.next_start_ms == ours.start_of(when / 1000) * 1000
        assert aligned.slug(aligned.next_start_ms) == ours.slug(ours.start_of(when / 1000))
        assert loose.next_start_ms == (when - 5_000) // 1000 * 1000
        assert (aligned.rule, aligned.duration_ms) == (Rule.TWAP, ours.length_s * 1000)


@pytest.mark.parametrize("name", ["btc-updown-2h", "btc-updown-7d", "doge-updown-5m", "btc-updown-0m", "btc-1h"])
def test_what_no_world_generates_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Series(name, ENDING, False)


def test_an_hours_candle_keeps_its_beginning_longer_than_the_seconds_are_kept() -> None:
    path = PricePath("btc", 1, ms(2026, 11, 22, 14), EMPTY)
    opened = None
    for _ in range(3 * 60 * 60):
        path.step(100)
        opened = opened if opened is not None else path.seconds()[-1][1]
    world = World(Exchange(), seed=1, series=["btc-updown-5m"], start_ms=ENDING, aligned=False, parameters=EMPTY)
    world.paths["btc"] = path
    (hour,) = world.klines("BTCUSDT", "1h", ms(2026, 11, 22, 14), ms(2026, 11, 22, 14))
    assert hour[:2] == (ms(2026, 11, 22, 14), opened)
    minutes = world.klines("BTCUSDT", "1m", 0, 0, 18)
    assert [row[0] - minutes[0][0] for row in minutes] == [60_000 * n for n in range(18)]
    assert hour[2] == max(row[2] for row in minutes) and hour[3] == min(row[3] for row in minutes)
    assert hour[4] == minutes[-1][4] == path.seconds()[-1][4]


def world_of(name: str, start_ms: int) -> tuple[World, list[SimMarket]]:
    world = World(Exchange(), seed=4, series=[name], start_ms=start_ms, aligned=False, parameters=EMPTY)
    return world, list(world.exchange.markets.values())


def run(world: World, seconds: int) -> None:
    start_ms = world.now_ms
    for second in range(1, seconds + 1):
        world.step(start_ms + second * 1000)


def test_an_hour_is_settled_by_its_candle_and_the_next_ones_open_is_its_price_to_beat() -> None:
    world, (first, second, *_) = world_of("btc-updown-1h", ENDING)
    assert (first.rule, first.window_s, second.start_ms) == (Rule.CANDLE, 60, first.end_ms)
    (candle,) = world.klines("BTCUSDT", "1h", first.start_ms, first.start_ms)
    assert first.strike == round(candle[1], 8) and second.strike is None
    assert world.true_p(second.condition_id) == 0.5
    p = world.true_p(first.condition_id)
    assert p is not None and p != 0.5
    run(world, 10)
    (candle,) = world.klines("BTCUSDT", "1h", first.start_ms, first.start_ms)
    assert first.closed and not first.outcome
    run(world, 4)
    assert first.final == round(candle[4], 8)
    assert first.outcome == ("up" if candle[4] >= candle[1] else "down")
    (then,) = world.klines("BTCUSDT", "1h", second.start_ms, second.start_ms)
    assert second.strike == round(then[1], 8) and second.final is None


def test_a_day_is_settled_by_the_closes_of_two_noons_minutes() -> None:
    noon = ms(2026, 11, 22, 17)
    world, (first, second, *_) = world_of("btc-updown-1d", noon - 5_000)
    (minute,) = world.klines("BTCUSDT", "1m", first.start_ms, first.start_ms)  # long before the history begins
    assert (first.rule, first.strike, first.end_ms) == (Rule.CLOSES, round(minute[4], 8), noon)
    run(world, 64)
    assert first.closed and first.final is None and second.strike is None
    run(world, 4)
    (minute,) = world.klines("BTCUSDT", "1m", noon, noon)
    assert first.final == second.strike == round(minute[4], 8)
    assert first.outcome == ("up" if first.final >= first.strike else "down")


def test_the_last_seconds_of_an_hour_decide_nearly_surely() -> None:
    world, (first, *_) = world_of("btc-updown-1h", ENDING)
    world.step(ENDING + 9_900)
    p = world.true_p(first.condition_id)
    assert p is not None and first.strike is not None
    assert abs(p - (world.paths["btc"].px >= first.strike)) < 0.01
