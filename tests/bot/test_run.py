"""The end of a run: exit codes in their precedence, and our figures held against the venue's ledger."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot import run
from bot.errors import SettingsError
from bot.systemd import ServiceManager


def test_one_request_to_stop_may_come_as_several_signals() -> None:
    """As from `timeout` or a shell that hangs up: to the process and to its group. Found when `timeout -s INT` ended a run
    without verifying."""
    now_s = 100.0
    signals = run.Signals(clock_s=lambda: now_s)
    for later_s, count in ((0.0, 1), (0.001, 1), (run.SAME_S - 0.001, 1), (run.SAME_S, 2), (run.SAME_S + 0.001, 3)):
        now_s = 100.0 + later_s
        signals._on(signal.SIGINT, None)
        assert signals.count == count and signals.name == "SIGINT" and signals.seen.is_set()


@pytest.mark.parametrize(
    ("flat", "failed", "halted", "violated", "code"),
    [
        (True, False, False, False, 0),
        (True, False, False, True, 1),
        (True, False, True, True, 75),
        (True, True, True, True, 70),
        (False, True, True, True, 5),
    ],
)
def test_exit_codes_have_their_precedence(flat: bool, failed: bool, halted: bool, violated: bool, code: int) -> None:
    assert run.exit_code(flat, failed, halted, violated) == code


LEDGER: dict[str, Any] = {
    "cash_usd": 100.0,
    "orders": [{"id": "0x1", "status": "CANCELED"}],
    "positions": {"up": 5.0, "of an older market": 7.0},
}


def compared(monkeypatch: pytest.MonkeyPatch, ledger: dict[str, Any], failed: bool = False, **ours: Any) -> list[str]:
    monkeypatch.setattr(run, "ledger_of", lambda url, owner: ledger)
    summary: dict[str, Any] = {"violations": [], "cash_usd": 100.0, "positions": {"up": 5.0, "down": 0.0}, **ours}
    run.compare_with_ledger(summary, "http://venue", "0xme", [("up", "down")], failed=failed)
    return [row["invariant"] for row in summary["violations"]]


def test_equal_books_are_no_violation_and_markets_of_other_runs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(monkeypatch, LEDGER) == []


def test_a_market_paid_out_after_our_last_word_is_no_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"cash_usd": 95.0, "positions": {"up": 5.0, "down": 2.0}}
    for cash in (100.0, 97.0):  # either token may have won
        assert compared(monkeypatch, {**LEDGER, "positions": {}, "cash_usd": cash}, **ours) == []
    assert compared(monkeypatch, {**LEDGER, "positions": {}, "cash_usd": 95.0}, **ours) == ["I19"]


def test_each_difference_has_its_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    resting = {**LEDGER, "orders": [{"id": "0x1", "status": "LIVE"}]}
    assert compared(monkeypatch, resting) == ["I2"]
    assert compared(monkeypatch, LEDGER, positions={"up": 4.0}) == ["I3"]
    assert compared(monkeypatch, LEDGER, cash_usd=99.99) == ["I19"]
    assert compared(monkeypatch, LEDGER, user_events={"lost": 1}) == ["I5"]


def test_after_an_internal_failure_only_resting_orders_count(monkeypatch: pytest.MonkeyPatch) -> None:
    resting = {**LEDGER, "orders": [{"id": "0x1", "status": "LIVE"}]}
    assert compared(monkeypatch, resting, failed=True, cash_usd=0.0) == ["I2"]


WAIT_S = 5.0


class Stuck:
    """A terminal that takes nothing: the view hangs in its first line until released."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()

    def __enter__(self) -> Stuck:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, *_: object) -> None:
        self.entered.set()
        self.released.wait(WAIT_S)


class Gone(Stuck):
    def show(self, *_: object) -> None:
        self.entered.set()
        raise BrokenPipeError


def a_maker(**facts: Any) -> Any:
    status = SimpleNamespace(record={"state": "quoting"}, fills=[])
    return SimpleNamespace(
        status=status,
        clock=time.monotonic_ns,
        ended=threading.Event(),
        end_reason="",
        gate=SimpleNamespace(root_lease_ns=0),
        **{"alive": lambda: False, **facts},
    )


@pytest.mark.parametrize("kind", [Stuck, Gone])
def test_a_terminal_that_stands_still_or_goes_away_holds_up_no_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[Stuck]
) -> None:
    view, signals, maker = kind(), run.Signals(), a_maker()
    monkeypatch.setattr(run, "view_of", lambda options, run_dir: view)
    ended: list[str] = []
    thread = threading.Thread(
        target=lambda: ended.append(
            run._watch(maker, run.StartOptions(), signals, run.RunDir(tmp_path), ServiceManager())
        )
    )
    thread.start()
    assert view.entered.wait(WAIT_S)
    assert thread.is_alive()
    signals._on(run.signal.SIGTERM, None)
    thread.join(WAIT_S)
    view.released.set()
    assert ended == ["signal SIGTERM"]


def test_a_root_that_stopped_beating_is_given_up(tmp_path: Path) -> None:
    given_up: list[str] = []
    maker = a_maker(give_up=given_up.append)
    maker.gate.root_lease_ns = 1
    reason = run._watch(maker, run.StartOptions(ui="none"), run.Signals(), run.RunDir(tmp_path), ServiceManager())
    assert given_up == [reason] == ["the root actor stopped beating"]


@pytest.mark.parametrize("alive", [True, False])
def test_the_service_manager_hears_of_life_only_while_executor_and_root_hold_their_leases(
    tmp_path: Path, alive: bool
) -> None:
    heard: list[str] = []
    looks = iter((alive, alive))

    def look() -> bool:
        try:
            return next(looks)
        except StopIteration:
            maker.ended.set()
            return False

    maker = a_maker(alive=look)
    run._watch(
        maker, run.StartOptions(ui="none"), run.Signals(), run.RunDir(tmp_path), SimpleNamespace(alive=heard.append)
    )  # type: ignore[arg-type]
    assert heard == ["quoting", "quoting"] * alive


def test_a_venue_of_our_own_that_ended_ends_the_run(tmp_path: Path) -> None:
    words = (a_maker(), run.StartOptions(ui="none"), run.Signals(), run.RunDir(tmp_path), run.ServiceManager())
    assert run._watch(*words, lambda: "the embedded venue ended with 1") == "the embedded venue ended with 1"


def test_the_embedded_venue_is_told_the_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[list[str]] = []

    def venue(words: list[str], log: Path) -> Any:
        told.append(words)
        raise SettingsError("no venue today")

    monkeypatch.setattr(run, "EmbeddedVenue", venue)
    monkeypatch.setattr(run.Signals, "install", lambda signals: None)
    with pytest.raises(SettingsError, match="no venue today"):
        run.run(run.StartOptions(run_dir=tmp_path / "run", seed=3, world="storm"))
    assert told == [["--series", "btc-updown-5m", "--seed", "3", "--world", "storm"]]
