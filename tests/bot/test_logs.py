"""Log lines are JSON, bounded and free of secrets."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from loguru import logger

from bot import logs

SECRET = "c4n4ry-secret-value"


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_secrets_never_reach_the_file_even_from_an_exception(tmp_path: Path) -> None:
    writer = logs.start(tmp_path / "bot.log", (SECRET,))
    logger.info("key {}", SECRET)
    try:
        raise ValueError(f"bad key {SECRET}")
    except ValueError:
        logger.exception("failed with {}", SECRET)
    logger.remove()
    writer.close()
    text = (tmp_path / "bot.log").read_text()
    assert SECRET not in text and text.count(logs.HIDDEN) == 3
    assert all(json.loads(line)["level"] for line in text.splitlines())


def test_what_is_said_while_the_last_lines_are_written_is_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = logs.start(tmp_path / "bot.log", ())
    drain, said = writer._drain, []

    def late() -> None:
        drain()
        if not said:
            said.append(True)
            logger.info("last")
            writer._closed = True
            writer._wake.set()

    monkeypatch.setattr(writer, "_drain", late)
    logger.info("first")
    writer._thread.join(30.0)
    logger.remove()
    assert [line["message"] for line in lines_of(tmp_path / "bot.log")] == ["first", "last"]


def test_a_flood_from_one_place_is_sampled(tmp_path: Path) -> None:
    writer = logs.start(tmp_path / "bot.log", ())
    for number in range(2000):
        logger.info("line {}", number)
    logger.warning("the one that matters")
    logger.remove()
    writer.close()
    lines = lines_of(tmp_path / "bot.log")
    assert len(lines) <= 4 * logs.SAME_LINE_PER_S  # the loop may cross a second or two
    assert lines[-1]["message"] == "the one that matters"


def test_a_line_that_is_no_json_and_a_disk_that_is_full_do_not_end_the_log(
    tmp_path: Path,
) -> None:
    writer = logs.start(tmp_path / "bot.log", ())
    disk = writer._file
    full = threading.Event()

    class Full:
        def write(self, data: bytes) -> int:
            full.set()
            writer._file = disk
            raise OSError(28, "No space left on device")

    writer._file = Full()  # type: ignore[assignment]
    logger.info("lost")
    assert full.wait(5)
    logger.info("a lone surrogate: {}", "\ud800")
    logger.info("still there")
    logger.remove()
    writer.close()
    assert [line["message"] for line in lines_of(tmp_path / "bot.log")][1:] == ["still there"]


def test_what_debug_shows_on_the_terminal_is_redacted_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = logs.start(tmp_path / "bot.log", (SECRET,), debug=True)
    logger.debug("key {}", SECRET)
    logger.remove()
    writer.close()
    shown = capsys.readouterr().err
    assert SECRET not in shown and logs.HIDDEN in shown
