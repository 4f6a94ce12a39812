"""What the unit promises: a bot that must not start again does not, one that hangs is seen, and the guardian is let do its work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bot.run import ENDED_HALTED, INTERNAL, NOT_FLAT

UNIT = Path(__file__).parent.parent.parent / "ops" / "systemd" / "clobmaker@.service"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_only_an_internal_failure_or_a_signal_starts_it_again() -> None:
    unit = settings()
    kept_down = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
    assert unit["Restart"] == ["on-failure"]
    assert kept_down == {1, 2, NOT_FLAT, ENDED_HALTED} and INTERNAL not in kept_down


def test_it_is_watched_and_the_guardian_outlives_the_bot() -> None:
    unit = settings()
    assert unit["Type"] == ["notify"] and int(unit["WatchdogSec"][0]) >= 10
    assert unit["KillMode"] == ["control-group"]
    assert int(unit["TimeoutStopSec"][0]) >= 30, "the end takes 10 s, the guardian's work 4 s and more"


def test_no_secret_is_in_it_and_no_core_is_written() -> None:
    unit = settings()
    assert unit["LoadCredential"] == ["key:/etc/clobmaker/%i/key"] and unit["LimitCORE"] == ["0"]
    assert all("key" not in value for value in unit["Environment"] + unit["ExecStart"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it(tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    bot.write_text("#!/bin/sh\n")
    bot.chmod(0o755)
    unit = tmp_path / "clobmaker@main.service"
    unit.write_text(UNIT.read_text().replace("/opt/clobmaker/.venv/bin/bot", str(bot)))
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=30)
    assert "clobmaker@main.service" not in said.stderr, said.stderr
