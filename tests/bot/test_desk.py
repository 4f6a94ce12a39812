"""What a person may ask of a running bot: a halt holds at once, a resume only from a verified flat, and no shut is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot import state
from bot.desk import LATCH, OperatorDesk
from bot.errors import VenueUnavailable
from bot.execution.gate import Gate
from bot.panic import Panic
from bot.state import Latch

WAIT_S = 5.0


class Venue:
    """Answers every cancel; says that nothing rests, or that nobody knows."""

    def __init__(self) -> None:
        self.known = True
        self.cancels = 0

    def cancel_all(self, symbol: str) -> tuple[list[str], dict[str, str]]:
        self.cancels += 1
        if not self.known:
            raise VenueUnavailable("nobody answers")
        return [], {}

    def cancel(self, order_ids: list[str]) -> None: ...

    def resting(self, symbol: str) -> list[str]:
        return []

    def warm(self) -> None: ...


class Rig:
    def __init__(self, directory: Path) -> None:
        self.venue = Venue()
        self.gate = Gate()
        self.latch = Latch(directory)
        self.panic = Panic(self.venue)
        self.panic.start()
        self.desk = OperatorDesk(
            gate=self.gate, panic=self.panic, latch=self.latch, record=lambda: {"state": "quoting"}
        )

    def settled(self) -> None:
        report = self.panic.wait(self.panic.request("test"), WAIT_S)
        assert report is not None and report.verified


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_halt_latches_and_shuts_before_it_is_answered(rig: Rig) -> None:
    answer = rig.desk.halt("holiday")
    assert answer["ok"] and answer["state"] == "halted" and not answer["flat_verified"]
    assert rig.latch.reason() == "holiday (by operator)"
    assert "latch" in rig.gate.shut_by()


def test_a_resume_waits_for_flat_and_then_lifts_the_latch(rig: Rig) -> None:
    rig.desk.cancel_all("")
    rig.settled()
    answer = rig.desk.resume()
    assert answer["ok"] and answer["flat_verified"] and not rig.latch.is_set()


def test_a_run_that_began_halted_resumes_at_the_first_word_once_its_panic_is_flat(rig: Rig) -> None:
    rig.latch.set("from an earlier run", "operator")
    rig.gate.shut(LATCH, "from an earlier run")
    rig.settled()  # as the root asks when it finds the latch set
    assert rig.desk.resume()["ok"]


def test_without_proof_of_flat_a_resume_is_refused_and_asks_for_the_proof(rig: Rig) -> None:
    rig.latch.set("unknown", "operator")
    answer = rig.desk.resume()
    assert not answer["ok"] and "not verified flat" in answer["error"] and rig.latch.is_set()
    report = rig.panic.wait(1, WAIT_S)
    assert report is not None and report.verified
    assert rig.desk.resume()["ok"]


def test_a_resume_without_a_latch_changes_nothing(rig: Rig) -> None:
    assert rig.desk.resume()["state"] == rig.desk.status()["state"] == "quoting"
    assert rig.venue.cancels == 0


def test_a_halt_holds_although_its_latch_cannot_be_written(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "write_json", full)
    answer = rig.desk.halt("test")
    assert not answer["ok"] and "cannot be written" in answer["error"]
    assert LATCH in rig.gate.shut_by() and rig.latch.reason() == "test (by operator)"
    rig.settled()
    assert rig.venue.cancels and rig.desk.resume()["ok"] and not rig.latch.is_set()


def test_an_older_flat_is_no_proof_for_a_new_latch(rig: Rig) -> None:
    rig.desk.halt("first")
    rig.settled()
    assert rig.desk.resume()["ok"]
    rig.latch.set("a loss limit", "executor")  # the root has not seen it yet
    assert not rig.desk.resume()["ok"] and rig.latch.is_set()
    assert not rig.desk.status()["flat_verified"]


def test_a_resume_takes_the_shut_back_even_where_the_root_never_saw_the_latch(rig: Rig) -> None:
    rig.desk.halt("test")
    rig.settled()
    assert rig.desk.resume()["ok"]
    assert LATCH not in rig.gate.shut_by()


def test_halting_again_does_not_leave_the_executor_an_epoch_behind(rig: Rig) -> None:
    rig.desk.halt("once")
    told = rig.gate.shut(LATCH, "the root")  # what it tells the executor
    rig.desk.cancel_all("again")
    assert rig.gate.epoch() == told
