"""The summary names each fault met and what the bot did soon after it."""

from __future__ import annotations

import pytest

from bot.faults import answered, costs
from bot.units import NS_PER_S

READY_NS = 1_000 * NS_PER_S


def at(seconds: float, text: str) -> tuple[int, str]:
    return READY_NS + round(seconds * NS_PER_S), text


def test_each_fault_is_named_with_its_count_and_its_commonest_answers() -> None:
    timeline = [
        at(0.5, "quoting"),
        at(10.2, "failing: the outcome of order 0xab12 is unknown"),
        at(16.0, "quoting"),
        at(30.1, "failing: the outcome of order 0xcd34 is unknown"),
        at(30.2, "user stream connected again"),
    ]
    rows = [
        {"id": "P01", "at_s": 10.0, "count": 1},
        {"id": "P01", "at_s": 30.0, "count": 2},
        {"id": "W05", "at_s": 20.0, "count": 7},
        {"id": "U02", "at_s": 21.0, "count": 0},
        {"id": "W09", "at_s": 12.0, "count": 1, "duration_s": 2.0},
    ]
    first, second, third = answered(rows, timeline, READY_NS)
    assert (first["id"], first["count"], first["first_at_s"]) == ("P01", 3, 10.0)
    assert first["answered"][0] == "failing: the outcome of order … is unknown (2x)"
    assert second["answered"] == ["absorbed: nothing had to be done (1x)"]
    assert third["answered"] == ["quoting (1x)"]


def test_no_fault_is_no_row() -> None:
    assert answered([], [at(1.0, "quoting")], READY_NS) == []


def test_a_fault_costs_what_its_time_would_have_earned_less_what_its_fills_did() -> None:
    states = [at(0, "quoting"), at(102, "failing"), at(103, "cooldown"), at(112, "quoting")]
    earned = [(at(20, "")[0], 6.0), (at(80, "")[0], 4.0), (at(101, "")[0], -2.0)]  # 0.1 USD/s while nothing was wrong
    rows = [{"id": "P01", "at_s": 100.0, "count": 1}, {"id": "W05", "at_s": 150.0, "count": 1}]
    found = costs(rows, states, earned, READY_NS, at(212, "")[0])
    rate = 10.0 / (100 + (212 - 112) - 5)  # quoting seconds that no fault owned
    assert found["P01"] == pytest.approx(rate * (2 + 10) + 2.0, abs=1e-3)
    assert found["W05"] == pytest.approx(rate * 5, abs=1e-3)


def test_where_faults_overlap_the_newest_owns_the_time_and_the_pause_it_began() -> None:
    states = [at(0, "quoting"), at(11, "failing"), at(21, "quoting")]
    rows = [{"id": "P01", "at_s": 8.0, "count": 1}, {"id": "U02", "at_s": 10.0, "count": 1}]
    earned = [(at(5, "")[0], 30.0)]
    found = costs(rows, states, earned, READY_NS, at(31, "")[0])
    rate = 30.0 / 21  # of all quoting: it was never calm for long enough
    assert found == {"P01": pytest.approx(rate * 2, abs=1e-3), "U02": pytest.approx(rate * (1 + 10), abs=1e-3)}
