"""Life of a window."""

from __future__ import annotations

import pytest

from bot.market import Market, Rule
from bot.quoting.modes import Reason
from bot.quoting.parameters import ORDERED, RANGES, Parameters, problems
from bot.quoting.phases import Phase, phase_of, phase_reasons, schedule_of
from bot.units import NS_PER_S

START = 1_000_000


def market(duration: int) -> Market:
    return Market(
        symbol="m",
        slug="m",
        series="s",
        asset="btc",
        up_token="u",
        down_token="d",
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_utc_ns=START * NS_PER_S,
        end_utc_ns=(START + duration) * NS_PER_S,
        tick=100,
        min_qty=5_000_000,
        fee_rate=0.07,
    )


@pytest.mark.parametrize(
    ("at", "strike_known", "expected"),
    [
        (-30, False, Phase.PRE),
        (0, False, Phase.OPEN_WAIT),
        (1.9, True, Phase.OPEN_WAIT),
        (2, True, Phase.LIVE),
        (100, False, Phase.OPEN_WAIT),
        (225, True, Phase.LIVE),
        (225.1, True, Phase.CLOSE),
        (255.1, True, Phase.STOP),
        (300, True, Phase.SETTLE),
    ],
)
def test_phases_of_a_five_minute_window(at: float, strike_known: bool, expected: Phase) -> None:
    one = market(300)
    schedule = schedule_of(300, Parameters())
    assert phase_of(one, schedule, round((START + at) * NS_PER_S), strike_known) is expected


@pytest.mark.parametrize(
    ("duration", "ends"),
    [
        (60, (20, 15)),
        (300, (75, 45)),
        (900, (120, 60)),
        (3600, (120, 45)),
        (14_400, (240, 90)),
        (86_400, (600, 300)),
        (120, (20, 15)),
        (240, (75, 45)),
        (1800, (120, 60)),
        (90_000, (600, 300)),
    ],
)
def test_the_nearest_known_duration_gives_the_schedule(duration: int, ends: tuple[float, float]) -> None:
    schedule = schedule_of(duration, Parameters())
    assert (schedule.reduce_s, schedule.stop_s) == ends


def test_one_minute_windows_open_sooner_bear_more_gamma_and_stand_nearer() -> None:
    minute, five = schedule_of(60, Parameters()), schedule_of(300, Parameters())
    assert (minute.open_wait_s, minute.sp_max, minute.c_leeway) == (1.0, 0.15, 0.8)
    assert (five.open_wait_s, five.sp_max, five.c_leeway) == (2, 0.06, 1.75)
    assert schedule_of(60, Parameters(c_leeway=0.5)).c_leeway == 0.5


@pytest.mark.parametrize(
    ("phase", "strike_known", "expected"),
    [
        (Phase.PRE, False, Reason.PHASE),
        (Phase.OPEN_WAIT, False, Reason.NO_STRIKE),
        (Phase.OPEN_WAIT, True, Reason.PHASE),
        (Phase.LIVE, True, 0),
        (Phase.CLOSE, True, Reason.CLOSE_PHASE),
        (Phase.CLOSE, False, Reason.CLOSE_PHASE | Reason.NO_STRIKE),
        (Phase.STOP, True, Reason.PHASE),
        (Phase.SETTLE, True, Reason.PHASE),
    ],
)
def test_reasons_of_a_phase(phase: Phase, strike_known: bool, expected: int) -> None:
    assert phase_reasons(phase, strike_known) == expected


def test_defaults_are_inside_their_ranges_and_every_parameter_has_one() -> None:
    assert problems(Parameters()) == []
    assert set(RANGES) == set(Parameters.__struct_fields__)
    assert {name for pair in ORDERED for name in pair} <= set(RANGES)


def test_a_bad_parameter_is_named_with_its_range() -> None:
    assert problems(Parameters(gamma=1.0)) == ["gamma = 1 must be from 0.001 to 0.2 1/USD"]
    assert problems(Parameters(capital_max=0)) == ["capital_max = 0 must be above 0 USD"]
    assert problems(Parameters(div_soft=0.2)) == ["div_soft must be below div_hard"]
