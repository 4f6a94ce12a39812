"""Percentiles, medians over rounds, ratios that are above one where we are better; results kept, found again and shown."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from bot.bench import suite
from bot.bench.figures import against, conditions, medians, percentiles
from bot.cli import bot
from bot.errors import SettingsError


def test_percentiles_are_of_the_samples_themselves_in_microseconds() -> None:
    told = percentiles([1000 * n for n in range(1, 1001)])
    assert told == {"n": 1000, "p50": 501.0, "p99": 991.0, "p999": 1000.0, "max": 1000.0}
    assert percentiles([7_000_000], unit_ns=1_000_000)["p50"] == 7.0


def test_each_figure_is_the_median_over_the_rounds_and_n_is_of_all() -> None:
    rounds = [{"n": 2, "p50": x, "max": 10 * x} for x in (3.0, 1.0, 2.0)]
    assert medians(rounds) == {"n": 6, "p50": 2.0, "max": 20.0}


def test_a_ratio_above_one_means_that_we_are_better() -> None:
    ours, theirs = {"p50": 2.0, "per_s": 30.0}, {"p50": 5.0, "per_s": 10.0}
    assert against(ours, theirs, {"p50": False, "per_s": True}) == theirs | {"ratio_p50": 2.5, "ratio_per_s": 3.0}


def results(p50: float) -> dict[str, dict[str, object]]:
    peer = {"p50": 9.0, "ratio_p50": 3.0}
    return {"mailbox": {"conditions": conditions(), "unit": "us", "n": 5, "p50": p50, "against": {"pykka_inbox": peer}}}


def test_what_was_measured_is_remembered_and_shown_beside_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = suite.remember(results(4.0))
    assert suite.remember(results(3.0)) == history
    assert suite.earlier(history) == results(3.0)
    printed = tmp_path / "printed.json"
    printed.write_bytes(orjson.dumps(results(2.0)))
    assert suite.earlier(printed) == results(2.0)
    head, ours, before, peer = suite.lines("mailbox", results(3.0)["mailbox"], suite.earlier(printed)["mailbox"])
    assert head.startswith("mailbox [us]  Python 3.")
    assert (ours.split(), before.split()) == (["ours", "n", "5", "p50", "3"], ["before", "n", "5", "p50", "2"])
    assert peer.split() == ["pykka_inbox", "p50", "9", "ratio_p50", "3"]


@pytest.mark.parametrize("text", ["", "7", "{}x", '{"mailbox": {}}'])
def test_a_file_without_results_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="no results of bot bench"):
        suite.earlier(path)
    with pytest.raises(SettingsError, match="No such file"):
        suite.earlier(tmp_path / "absent.json")


def test_a_name_that_is_none_is_refused_before_anything_runs() -> None:
    with pytest.raises(SettingsError, match="no benchmark is called nonsense: choose from mailbox"):
        next(suite.run(["nonsense"]))


def test_one_that_cannot_be_measured_now_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setitem(suite.NAMES, "feed", ("suite", "refuse"))
    monkeypatch.setattr(suite, "refuse", lambda: percentiles([]), raising=False)
    monkeypatch.setitem(suite.NAMES, "mailbox", ("figures", "conditions"))
    answer = CliRunner().invoke(bot, ["bench", "feed", "mailbox", "--json"])
    told = orjson.loads(answer.output)
    assert answer.exit_code == 1 and "busy" in told["feed"]["error"] and "error" not in told["mailbox"]
    assert "busy" in suite.lines("feed", told["feed"])[1]


def test_the_command_prints_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setitem(suite.NAMES, "mailbox", ("figures", "conditions"))
    answer = CliRunner().invoke(bot, ["bench", "mailbox", "--json"])
    told = orjson.loads(answer.output)
    assert (
        list(told) == ["mailbox"] and {"python", "cpu_count", "switch_interval_s", "load_1m"} <= told["mailbox"].keys()
    )
    assert suite.earlier(tmp_path / "clobmaker" / suite.HISTORY) == told
