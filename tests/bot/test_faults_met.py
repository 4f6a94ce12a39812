"""The summary names each fault met and what the bot did soon after it."""

from __future__ import annotations

from bot.faults import answered
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
