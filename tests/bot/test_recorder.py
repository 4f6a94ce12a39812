"""What `bot record` refuses, before it listens to anything or writes a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import bot
from bot.errors import SettingsError


@pytest.fixture(autouse=True)
def signals_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.run.Signals.install", lambda self: None)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--mode", "live"), "wants API credentials"),
        (("--mode", "live", "--seed", "1"), "belong to sim mode"),
        (("--venue", "http://127.0.0.1:9", "--world", "tight"), "belong to the venue"),
        (("--venue", "http://127.0.0.1:9"), "no venue answers"),
        (("--world", "nowhere"), "nowhere"),
        (("--series", "btc-updown-7s"), "is no series"),
        (("--config", "absent.toml"), "no such file"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_written(
    tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(bot, ["record", "--out", str(out), *words])
    assert isinstance(done.exception, SettingsError)
    assert why in str(done.exception)
    assert not out.exists()


def test_a_mode_that_does_not_record_says_which_does(tmp_path: Path) -> None:
    config = tmp_path / "bot.toml"
    config.write_text('[run]\nmode = "paper"\n')
    done = CliRunner().invoke(bot, ["record", "--out", str(tmp_path / "out"), "--config", str(config)])
    assert "no paper mode" in str(done.exception)
