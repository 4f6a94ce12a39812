"""The command line: every refusal is one line and exit 2, results can be JSON, and nothing starts by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli import main
from bot.state import Latch, RunDir, write_json


def bot(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def stopped_run(tmp_path: Path) -> RunDir:
    run = RunDir.new(None, "sim")
    write_json(run.card, {"mode": "sim", "venue_url": "http://127.0.0.1:1", "state_dir": str(run.path)})
    write_json(run.status, {"state": "stopped", "reasons": [], "uptime_s": 1.0})
    return run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("start", "--frob"), "--frob"),
        (("start", "--for", "soon"), "no duration"),
        (("start", "--for", "9" * 400 + "d"), "no duration"),
        (("start", "--mode", "paper"), "not there yet"),
        (("start", "--mode", "live"), "every limit"),
        (("start", "--series", "doge"), "doge"),
        (("start", "--config", "none.toml"), "no such file"),
        (("start", "--venue", "http://127.0.0.1:1"), "no venue answers"),
        (("start", "--world", "stormy"), "unknown world 'stormy'"),
        (("start", "--world", "calm", "--venue", "http://127.0.0.1:1"), "--world belongs to the venue"),
        (("start", "--world", "none.toml"), "cannot be read"),
        (("sim", "--world", "stormy"), "unknown world 'stormy'"),
        (("start", "--faults", "rainy"), "unknown faults 'rainy'"),
        (("sim", "--faults", "none.toml"), "unknown faults 'none.toml'"),
        (("sim", "--protocol", "4"), "protocol"),
        (("sim", "--series", "x"), "no series"),
        (("status",), "no run found"),
        (("halt",), "no run found"),
        (("cancel-all",), "no run found"),
        (("config", "check", "none.toml"), "no such file"),
        (("fair", "--rule", "twap", "--spot", "1"), "--strike"),
        (("fair", "--rule", "twap", "--spot", "-1", "--strike", "1", "--sigma", "1e-4", "--tau", "9"), "spot"),
        (("dance",), "dance"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: str
) -> None:
    code, out, err = bot(capsys, *words)
    assert code == 2 and out == "" and named in err and err.count("\n") == 1 and err.startswith("bot: ")


def test_init_writes_a_file_that_checks_and_never_overwrites(capsys: pytest.CaptureFixture[str]) -> None:
    assert bot(capsys, "init")[0] == 0
    assert bot(capsys, "config", "check", "bot.toml")[0] == 0
    assert "q_max = 60" in bot(capsys, "config", "show", "bot.toml")[1]
    shown = json.loads(bot(capsys, "config", "show", "bot.toml", "--json")[1])
    assert shown["limits"]["q_max"] == 60
    code, _, err = bot(capsys, "init")
    assert code == 2 and "already there" in err


def test_fair_answers_the_first_vector_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "fair",
        "--rule",
        "twap",
        "--spot",
        "60030",
        "--strike",
        "60000",
        "--sigma",
        "6e-5",
        "--tau",
        "200",
        "--size",
        "50",
        "--q-max",
        "250",
        "--json",
    ]
    code, out, _ = bot(capsys, *words)
    result = json.loads(out)
    assert code == 0
    assert result["p"] == pytest.approx(0.744938, abs=5e-7) and result["half_spread_bid"] == pytest.approx(
        0.025685, abs=5e-7
    )
    assert {"spot", "s", "d", "w_x", "sigma_p", "variance", "skew", "reservation", "bid", "ask", "reasons"} <= set(
        result
    )
    assert "half_spread_bid" in bot(capsys, *words[:-1])[1]


def test_status_of_a_stopped_run_is_exit_4_with_its_last_record(
    capsys: pytest.CaptureFixture[str], stopped_run: RunDir
) -> None:
    code, out, _ = bot(capsys, "status")
    assert code == 4 and "not running" in out and "stopped" in out
    code, out, _ = bot(capsys, "status", "--json")
    assert code == 4 and json.loads(out)["alive"] is False


def test_halt_and_resume_without_a_bot_write_and_remove_the_latch(
    capsys: pytest.CaptureFixture[str], stopped_run: RunDir
) -> None:
    latch = Latch(stopped_run.path)
    assert bot(capsys, "halt", "--reason", "holiday")[0] == 4
    assert latch.reason() == "holiday (by operator)"
    assert "HALTED: holiday" in bot(capsys, "status")[1]
    assert bot(capsys, "resume")[0] == 4
    assert not latch.is_set()


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        "",
        "start",
        "sim",
        "status",
        "halt",
        "resume",
        "cancel-all",
        "fair",
        "config",
        "config check",
        "init",
    ):
        code, out, _ = bot(capsys, *words.split(), "--help")
        assert code == 0 and "Usage: bot" in out


def test_the_list_of_faults_is_printed_and_nothing_served(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = bot(capsys, "sim", "--faults", "list")
    assert (code, err) == (0, "")
    assert "lossy-network" in out
    assert "P11  Engine restart" in out


def test_a_file_of_ours_that_cannot_be_used_is_one_line_too(
    capsys: pytest.CaptureFixture[str], stopped_run: RunDir
) -> None:
    (stopped_run.path / "halt").mkdir()  # no latch that could be removed
    code, _, error = bot(capsys, "resume")
    assert code == 2 and error.startswith("bot: ") and error.count("\n") == 1
