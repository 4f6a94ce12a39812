"""`bot replay`: the journal of a run is repeated byte for byte, or the first thing that is not is named in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.bench.day import journal_of_a_day
from bot.cli import main
from bot.execution.executor import Executor
from bot.history.journal import segments
from bot.history.records import frames
from bot.messages import MassCancel, Message, TimerTick
from bot.units import Ns

RECORDS = 600


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("run")
    journal_of_a_day(run_dir / "journal", RECORDS)
    return run_dir


@pytest.fixture
def run_dir(recorded: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    (tmp_path / "journal").mkdir()
    for path in segments(recorded / "journal"):
        (tmp_path / "journal" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def replay(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["replay", *map(str, words)])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_a_run_is_repeated_byte_for_byte(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = replay(capsys, recorded)
    assert (code, err) == (0, "")
    assert "of 1 run(s)" in out and out.endswith("every emitted byte matches\n")


def test_its_result_is_one_json_object(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = replay(capsys, recorded, "--json", "--until", "500")
    result = json.loads(out)
    assert code == 0
    assert result["matches"] is True and result["difference"] is None
    assert (result["records"], result["first_seq"], result["seq"]) == (500, 1, 500)
    assert (result["runs"], result["segments"]) == (1, 1)


def test_it_steps_to_a_record_and_shows_what_happened_and_what_it_made(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = replay(capsys, recorded, "--until", "120", "--show")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("segment 1 of the run of 2026-")
    assert any(line.split()[0] == "120" for line in lines if line.strip())
    assert not any(line.split()[0] == "121" for line in lines if line.strip())
    (order,) = [line for line in lines if "-> NewOrder" in line][:1]
    assert (
        "px=0.48" in order and "order_qty=20" in order and "side=BUY" in order and "valid_until_ns=+0.250000s" in order
    )
    state = json.loads(out[out.index("\n{\n") : out.rindex("}\n") + 2])["state"]
    assert state["state"] == "quoting" and state["orders"]["open"] == 2


def test_a_record_that_is_not_there_is_refused(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = replay(capsys, recorded, "--until", "99999")
    assert code == 2 and "record 99999 is not in the journal, which holds 1 to" in err


def test_a_directory_without_a_journal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = replay(capsys, tmp_path)
    assert code == 2 and err == f"bot: {tmp_path}: holds no journal; name the directory of a run\n"


def test_damage_is_one_line_with_the_offset(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = segments(run_dir / "journal")
    data = bytearray(path.read_bytes())
    offset = [begin for begin, _, _ in frames(bytes(data), "")][200]
    data[offset + 12] ^= 1
    path.write_bytes(data)
    code, _, err = replay(capsys, run_dir)
    assert code == 1
    assert err.startswith(f"bot: 00000001.journal: damaged at offset {offset}, ") and err.count("\n") == 1


def test_a_torn_tail_is_no_damage(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = segments(run_dir / "journal")
    path.write_bytes(path.read_bytes()[:-3])
    assert replay(capsys, run_dir)[0] == 0


def test_what_is_not_repeated_is_named(
    recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Executor.handle

    def otherwise(self: Executor, message: Message, now_ns: Ns) -> list[Message]:
        said = handle(self, message, now_ns)
        return [*said, MassCancel()] if isinstance(message, TimerTick) and self.orders.by_id else said

    monkeypatch.setattr(Executor, "handle", otherwise)
    code, _, err = replay(capsys, recorded)
    assert code == 1
    assert err.startswith("bot: record ") and "is not repeated, which another build of this program wrote: " in err
    code, out, _ = replay(capsys, recorded, "--json")
    assert code == 1 and json.loads(out)["matches"] is False and json.loads(out)["difference"]["seq"] > 1
