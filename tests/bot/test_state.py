"""The wallet's lock and latch, and how a command finds the bot it means."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.state import Latch, RunDir, WalletLock, find_run, held, make_private, write_json


def test_a_second_lock_on_a_wallet_is_refused_and_names_the_first(tmp_path: Path) -> None:
    first, second = WalletLock(tmp_path), WalletLock(tmp_path)
    first.take(tmp_path / "run-1")
    with pytest.raises(SettingsError, match="run-1"):
        second.take(tmp_path / "run-2")
    assert held(first.path)
    first.release()
    assert not held(first.path)
    second.take(tmp_path / "run-2")
    second.release()


def test_the_first_reason_of_a_latch_stays(tmp_path: Path) -> None:
    latch = Latch(tmp_path)
    assert latch.reason() is None
    latch.set("loss", "executor")
    latch.set("panic", "operator")
    assert latch.reason() == "loss (by executor)"
    latch.clear()
    latch.clear()
    assert not latch.is_set()


def test_a_latch_that_cannot_be_written_holds_in_its_process_until_cleared(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "gone")
    assert not latch.set("loss", "executor")
    assert latch.is_set() and latch.reason() == "loss (by executor)"
    (tmp_path / "gone").mkdir()
    assert latch.set("another", "operator")  # written now, with the first reason
    assert Latch(tmp_path / "gone").reason() == "loss (by executor)"
    latch.clear()
    assert not latch.is_set()


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    failed: list[OSError] = []

    def write() -> None:
        try:
            for number in range(100):
                write_json(tmp_path / "halt", {"number": number})
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [path.name for path in tmp_path.iterdir()] == ["halt"]


def test_a_look_at_the_lock_does_not_fail_a_start(tmp_path: Path) -> None:
    lock = WalletLock(tmp_path)
    lock.path.touch()
    with lock.path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not held(lock.path)
        threading.Timer(0.02, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        lock.take(tmp_path)
        assert held(lock.path)
    lock.release()


def test_a_run_directory_is_used_once(tmp_path: Path) -> None:
    run = RunDir.new(tmp_path / "run", "sim")
    assert run.path.stat().st_mode & 0o777 == 0o700
    write_json(run.status, {})
    with pytest.raises(SettingsError, match="already holds a run"):
        RunDir.new(tmp_path / "run", "sim")


def test_a_directory_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        make_private(tmp_path / "file" / "run")


def test_the_held_lock_beats_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert find_run(None) is None
    runs = [RunDir.new(Path("runs") / name, "sim") for name in ("a", "b")]
    for run in runs:
        write_json(run.card, {"state_dir": str(run.path)})
    found = find_run(None)
    assert found is not None and found.path == runs[1].path
    lock = WalletLock(runs[0].path)
    lock.take(runs[0].path)
    found = find_run(None)
    assert found is not None and found.path == runs[0].path and found.alive()
    other = WalletLock(runs[1].path)
    other.take(runs[1].path)
    with pytest.raises(SettingsError, match="more than one"):
        find_run(None)
    lock.release()
    other.release()


def test_a_run_that_was_killed_is_remembered_as_not_flat(tmp_path: Path) -> None:
    lock = WalletLock(tmp_path)
    assert lock.take(tmp_path)  # there was none before
    lock.release()  # as the kernel does for a killed process
    assert not lock.take(tmp_path)
    lock.ended_flat()
    lock.release()
    assert lock.take(tmp_path)
    lock.release()


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a run directory"):
        find_run(tmp_path)


def test_a_run_shows_its_wallet_s_journal(tmp_path: Path) -> None:
    run = RunDir.new(tmp_path / "run", "live")
    run.link(tmp_path / "wallet")
    (tmp_path / "wallet" / "journal").mkdir(parents=True)
    assert (run.path / "journal").resolve() == tmp_path / "wallet" / "journal"
    alone = RunDir.new(tmp_path / "alone", "sim")
    alone.link(alone.path)
    assert not (alone.path / "journal").exists()
