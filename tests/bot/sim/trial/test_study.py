"""Many windows together: paired figures, variants by name, and the command's contract."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from click.testing import CliRunner

from bot.cli import bot
from bot.errors import SettingsError
from bot.quoting.parameters import Parameters
from bot.sim import worlds
from bot.sim.trial.measures import Window
from bot.sim.trial.pictures import PICTURES
from bot.sim.trial.study import Spec, figures, paired, resting, study, t_quantile
from bot.sim.trial.variants import ABLATIONS, BASELINES, variant
from bot.trials import MISJUDGED


def windows(edges: list[float], pnl: list[float] | None = None) -> list[Window]:
    pnl = pnl or edges
    return [Window(slug="", edge_usd=e, pnl_usd=p, shares=10.0, live_s=100.0) for e, p in zip(edges, pnl, strict=True)]


def test_means_deviations_and_t() -> None:
    told = figures(windows([1.0, 2.0, 3.0], pnl=[-10.0, 0.0, 40.0]))
    assert told["edge_usd"] == pytest.approx(2.0)
    assert told["edge_t"] == pytest.approx(2.0 * math.sqrt(3))
    assert (told["mean_usd"], told["sd_usd"]) == (pytest.approx(10.0), pytest.approx(26.457513))
    assert told["edge_c"] == pytest.approx(20.0)
    assert told["worst1pct_usd"] == -10.0
    assert told["spread_c"] is None  # never both sides


def test_pairs_are_compared_window_by_window() -> None:
    told = paired(windows([1.0, 5.0, 9.0, 2.0, 7.0]), windows([0.0, 4.0, 9.0, 1.0, 5.0]))
    assert told["edge_diff_usd"] == pytest.approx(1.0)
    assert told["ci95"] == pytest.approx([1.0 - 0.878, 1.0 + 0.878], abs=0.01)


@pytest.mark.parametrize(("freedom", "value"), [(4, 2.7764), (9, 2.2622), (49, 2.0096), (399, 1.9659)])
def test_quantiles_of_student_s_law(freedom: int, value: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(value, rel=0.01)


def test_what_rests_is_told_by_the_place_in_a_session() -> None:
    """Sessions of two windows: shares resting a side, over the time both were quoted."""
    rows = [Window(slug="", share_s=share_s, quoted_s=100.0) for share_s in (4000.0, 200.0, 2000.0, 0.0)]
    assert resting(rows, 2) == [15.0, 0.5]
    assert resting(rows[:1], 10) == [20.0]
    assert figures(rows)["resting"] == pytest.approx(7.75)


def test_an_ablation_is_a_name_or_a_change_of_parameters() -> None:
    base = Parameters()
    for name in ABLATIONS:
        assert variant(name, base).parameters != base
    assert not variant("guard_band", base).guarded
    assert variant("rho=1,H_beta=15", base).parameters == msgspec.structs.replace(base, rho=1.0, H_beta=15.0)
    for wrong in ("skews", "rho", "rho=high", "rhoo=1"):
        with pytest.raises(SettingsError, match="unknown ablation"):
            variant(wrong, base)


def test_a_study_does_not_depend_on_the_number_of_processes() -> None:
    spec = Spec(
        windows=2,
        in_a_row=1,
        seed=1,
        world=worlds.world("tight"),
        parameters=Parameters(),
        series="btc-updown-1m",
        baselines=("nothing",),
    )
    alone, together = study(spec, 1), study(spec, 2)
    for told in (alone, together):
        assert told.pop("speed") > 0
    assert alone == together
    assert alone["ledger_error_e6"] == 0
    assert [len(rows) for rows in alone["by_window"].values()] == [2, 2]


def run(*options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(bot, ["trial", "--windows", "1", "--jobs", "1", "--series", "btc-updown-1m", *options])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_prints_what_the_contract_says_and_a_page_that_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trial.html"
    code, out, err = run("--baseline", "nothing", "--ablate", "skew", "--json", "--html", str(path))
    assert code == 0, err
    told: dict[str, Any] = orjson.loads(out)
    assert {"windows", "seed", "world", "strategies", "paired", "ablations", "ledger_error_e6"} <= set(told)
    assert set(told["strategies"]) == {"ours", "nothing", "skew"}
    assert {
        *("mean_usd", "sd_usd", "t", "edge_usd", "edge_t", "edge_c", "wrong_side", "m1_c", "m5_c", "m30_c", "fills"),
        *("shares", "at_touch", "uptime", "spread_c", "requests_per_s", "q_abs_end", "worst1pct_usd"),
    } <= set(told["strategies"]["ours"])
    assert set(told["paired"]) == {"nothing"}
    assert told["in_a_row"]["nothing"] == [0.0]
    assert set(told["ablations"]["skew"]) == {"edge_diff_usd", "ci95"}
    assert told["ledger_error_e6"] == 0
    text = path.read_text()
    assert "forecast no live profit" in text
    assert not re.search(r"(src|href)=[\"']?https?:|@import|<script[^>]*src", text)


@pytest.mark.parametrize("name", ["fair", "speed"])
def test_pictures_of_the_model_are_drawn_and_load_nothing(name: str) -> None:
    text = PICTURES[name]().render(is_unicode=True)
    assert text.count("<path") >= 2
    assert not re.search(r"(src|href)=[\"']?https?:|@import|<script[^>]*src", text)


@pytest.mark.parametrize("options", [("--ablate", "luck"), ("--world", "nowhere"), ("--config", "absent.toml")])
def test_what_cannot_be_tried_is_refused_before_anything_runs(options: tuple[str, str]) -> None:
    done = CliRunner().invoke(bot, ["trial", *options])
    assert isinstance(done.exception, SettingsError)
    assert options[1] in str(done.exception)


@pytest.mark.parametrize(("option", "known"), [("baselines", BASELINES), ("misjudge", MISJUDGED)])
def test_the_command_line_offers_all_there_are(option: str, known: dict[str, object]) -> None:
    offered = next(p for p in bot.commands["trial"].params if p.name == option)
    assert list(offered.type.choices) == list(known)
