"""The fault engine: triggers, windows, counts, matching, the log, and what a faults file may say."""

from __future__ import annotations

from typing import Any

import pytest

from bot.errors import SettingsError
from bot.sim.faults import Fault, Faults, fault_of, matches

ORDER, CANCEL = "POST /order", "DELETE /order"


def plan(**raw: Any) -> Fault:
    return fault_of(raw)


def test_without_a_trigger_it_hits_the_next_matching_call_once() -> None:
    faults = Faults()
    row = faults.inject(plan(id="U11", match="/order"), 3.0)
    assert (row["id"], row["at_s"], row["count"], row["seq"]) == ("U11", 3.0, 0, 1)
    assert faults.hit("U11", "GET /time", 3.1) is None
    assert faults.hit("U11", ORDER, 3.2) is not None
    assert faults.hit("U11", ORDER, 3.3) is None
    assert row["count"] == 1
    assert not faults.busy


def test_at_s_begins_when_its_time_has_come_and_lasts() -> None:
    faults = Faults(faults=[plan(id="U01", at_s=2, duration_s=1.5)])
    for now_s, expected in ((1.9, False), (2.0, True), (3.4, True), (3.5, False)):
        faults.advance(now_s)
        assert (faults.hit("U01", "user trade", now_s) is not None) is expected
    assert [(row["at_s"], row["count"]) for row in faults.rows] == [(2.0, 2)]


def test_at_s_of_a_fault_given_later_counts_from_then() -> None:
    faults = Faults()
    assert faults.inject(plan(id="U01", at_s=2), 10.0)["waits"]
    for now_s, begun in ((11.9, 0), (12.0, 1)):
        faults.advance(now_s)
        assert len(faults.rows) == begun


def test_nth_counts_matching_calls_and_happens_once() -> None:
    faults = Faults(faults=[plan(id="U11", nth=3, match="DELETE")])
    hits = [faults.hit("U11", subject, 1.0) is not None for subject in (CANCEL, ORDER, CANCEL, CANCEL, CANCEL)]
    assert hits == [False, False, False, True, False]


def test_count_ends_an_occurrence_before_its_time() -> None:
    faults = Faults()
    faults.inject(plan(id="U01", count=2, duration_s=100), 0.0)
    assert [faults.hit("U01", ORDER, 1.0) is not None for _ in range(3)] == [True, True, False]


def test_a_rate_is_kept_and_the_seed_decides() -> None:
    def starts(seed: int) -> list[float]:
        faults = Faults(seed, [plan(id="U11", rate_per_s=2.0)])
        for step in range(6_000):
            faults.advance(step / 100)
            faults.hit("U11", "user trade MATCHED", step / 100)
        return [row["at_s"] for row in faults.rows]

    assert starts(7) == starts(7) != starts(8)
    assert 80 < len(starts(7)) < 160


def test_a_rate_does_not_pile_up_while_there_is_nothing_to_hit() -> None:
    faults = Faults(1, [plan(id="U11", rate_per_s=10.0)])
    for step in range(1_000):
        faults.advance(step / 100)
    assert len(faults.rows) == 1
    assert [faults.hit("U11", "user trade MATCHED", 10.0) is not None for _ in range(2)] == [True, False]


def test_several_at_once_do_not_disturb_each_other() -> None:
    faults = Faults()
    first = faults.inject(plan(id="U11", match="POST"), 0.0)
    second = faults.inject(plan(id="U11", match="DELETE"), 0.0)
    third = faults.inject(plan(id="U01"), 0.0)
    assert faults.hit("U11", CANCEL, 0.1) is not None
    assert [row["count"] for row in (first, second, third)] == [0, 1, 0]


def test_one_that_acts_is_done_at_its_start_and_tries_again_while_there_is_nothing_to_act_on() -> None:
    faults, done = Faults(), [0, 0, 2]
    faults.on("W09", lambda fault: done.pop(0))
    row = faults.inject(plan(id="W09", duration_s=1), 1.0)
    faults.advance(1.1)
    assert row["count"] == 0
    faults.advance(1.2)
    assert row["count"] == 2
    faults.advance(1.3)
    assert done == []


def test_one_that_acts_on_its_nth_call_counts_calls() -> None:
    faults = Faults(faults=[plan(id="T01", actor="strategy", nth=2, match="/order")])
    faults.called(ORDER, 1.0)
    assert not faults.rows
    faults.called(ORDER, 2.0)
    (row,) = faults.rows
    assert (row["actor"], row["kind"], row["count"], row["at_s"]) == ("strategy", "raise", 1, 2.0)


def test_patterns_are_compared_with_the_whole_and_with_each_word() -> None:
    assert matches("", "anything")
    assert matches("/order", "POST /order") and not matches("/order", "POST /orders")
    assert matches("DELETE", "DELETE /cancel-all") and matches("/data/*", "GET /data/trades")
    assert matches("POST /order|POST /orders", "POST /orders")
    assert not matches("POST /order", "DELETE /order")


@pytest.mark.parametrize(
    "raw,named",
    [
        ({"id": "Z99"}, "Z99"),
        ({}, "an id"),
        ({"id": "U11", "at_s": 1, "nth": 2}, "at_s and nth"),
        ({"id": "U11", "sometimes": 1}, "sometimes"),
        ({"id": "U11", "nth": 0}, "nth"),
        ({"id": "U11", "at_s": -1}, "at_s"),
        ({"id": "U11", "at_s": float("nan")}, "at_s"),
        ({"id": "U11", "rate_per_s": 0}, "rate_per_s"),
        ({"id": "U11", "match": 3}, "match"),
        ({"id": "T01"}, "actor"),
        ({"id": "T01", "actor": "strategy", "kind": "sulk"}, "kind"),
        ({"id": "T01", "actor": 1}, "actor"),
        ({"id": "A03"}, "A03 cannot be caused"),
    ],
)
def test_what_is_wrong_with_a_fault_is_named(raw: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        fault_of(raw, "faults.toml")


def test_what_cannot_hit_now_need_not_be_asked() -> None:
    faults = Faults(faults=[plan(id="U11", nth=2)])
    mine, others = frozenset(("U11", "U01")), frozenset(("W05",))
    assert faults.concerns(mine) and not faults.concerns(others)
    faults.stop()
    assert not faults.concerns(mine)
    faults.inject(plan(id="U01"), 0.0)
    assert faults.concerns(mine) and not faults.concerns(others)
