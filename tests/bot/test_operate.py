"""`bot cancel-all` reaches the venue whatever is wrong with the bot, the disk or the other wallets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot import access, flat, operate, state
from bot.errors import BotError, VenueUnavailable
from bot.flat import FlatReport
from bot.state import Latch, RunDir, WalletLock, wallet_dir, write_json

ADDRESS = "0x" + "ab" * 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(access, "access_of", lambda **_: SimpleNamespace(canceller=lambda: None))
    return tmp_path


@pytest.fixture
def cancels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []

    def emptied(port: Any, *, symbol: str) -> FlatReport:
        made.append(symbol)
        return FlatReport(True, open_orders=0)

    monkeypatch.setattr(flat, "cancel_all_and_verify", emptied)
    return made


def a_running_bot(name: str, state_dir: Path, **card: Any) -> RunDir:
    run = RunDir.new(Path("runs") / name, "sim")
    state.make_private(state_dir)
    write_json(run.card, {"state_dir": str(state_dir), **card})
    lock = WalletLock(state_dir)
    lock.take(run.path)
    run.lock = lock  # type: ignore[attr-defined]  # held as long as the run is
    return run


def a_config(address: str) -> Path:
    file = Path(f"{address[-4:]}.toml")
    file.write_text(f'[wallet]\naddress = "{address}"\n')
    return file


def test_a_running_bot_is_halted_before_the_cancel(cancels: list[str]) -> None:
    run = a_running_bot("a", Path("runs/a").absolute())
    assert operate.cancel_all() == operate.DONE
    assert Latch(run.state_dir()).is_set() and cancels == [""]


def test_without_a_bot_no_latch_is_set(cancels: list[str], home: Path) -> None:
    assert operate.cancel_all() == operate.DONE
    assert not list(home.rglob("halt"))


@pytest.mark.parametrize("broken", ["answer", "disk"])
def test_neither_a_garbled_answer_nor_a_full_disk_keeps_it_from_the_cancel(
    cancels: list[str], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    a_running_bot("a", Path("runs/a").absolute())

    def raises(*_: Any, **__: Any) -> None:
        raise BotError("no JSON") if broken == "answer" else OSError(28, "No space left on device")

    monkeypatch.setattr(*((operate, "ask") if broken == "answer" else (state, "write_json")), raises)
    assert operate.cancel_all() == operate.DONE
    assert cancels == [""]


def test_the_wallet_named_is_halted_and_no_other(cancels: list[str]) -> None:
    other = "0x" + "cd" * 20
    ours = a_running_bot("a", wallet_dir(137, ADDRESS))
    theirs = a_running_bot("b", wallet_dir(137, other))
    assert operate.cancel_all(config=a_config(ADDRESS)) == operate.DONE
    assert Latch(ours.state_dir()).is_set() and not Latch(theirs.state_dir()).is_set()


def test_the_bot_on_a_named_venue_is_halted(cancels: list[str]) -> None:
    run = a_running_bot("a", Path("runs/a").absolute(), venue_url="http://127.0.0.1:7")
    assert operate.cancel_all(venue="http://127.0.0.1:8/") == operate.DONE
    assert not Latch(run.state_dir()).is_set()
    assert operate.cancel_all(venue="http://127.0.0.1:7/") == operate.DONE
    assert Latch(run.state_dir()).is_set()


def test_a_venue_that_gives_no_access_is_not_verified_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(**_: Any) -> None:
        raise VenueUnavailable("no API key")

    monkeypatch.setattr(access, "access_of", unavailable)
    assert operate.cancel_all(config=a_config(ADDRESS)) == operate.NOT_FLAT


def test_a_halt_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    run = RunDir.new(Path("runs") / "a", "sim")
    write_json(run.card, {"state_dir": str(home / "gone")})
    with pytest.raises(BotError, match="cannot be written"):
        operate.halt(None, "test")
