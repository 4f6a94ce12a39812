"""Worlds by name and from files: what ships can be read, and what cannot be used is refused by name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bot.errors import SettingsError
from bot.sim import worlds
from bot.sim.parameters import WorldParameters


def test_the_shipped_worlds_differ_and_tight_is_what_the_code_says() -> None:
    assert worlds.names() == ["calm", "hostile", "storm", "tight", "wide"]
    assert worlds.world("tight") == WorldParameters()
    read = [worlds.world(name) for name in worlds.names()]
    assert len({msgspec.json.encode(world) for world in read}) == 5


def test_only_the_rough_worlds_revert_trades_and_flood_the_streams() -> None:
    for name in ("tight", "calm"):
        world = worlds.world(name)
        assert (world.revert_share, world.flurry_share) == (0.0, 0.0)
    for name in ("wide", "storm", "hostile"):
        world = worlds.world(name)
        assert 0.0 < world.revert_share <= 0.05
        assert world.flurry_share > 0.0


def test_a_file_of_ones_own_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("sigma = 0.0002\nmaker_shy_ms = [10, 20]\nnoise = false\n")
    expected = WorldParameters(sigma=2e-4, maker_shy_ms=(10, 20), noise=False)
    assert worlds.world(str(path)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sigmaa = 1.0", "unknown key 'sigmaa'; did you mean 'sigma'"),
        ("nothing_like_it = 1.0", "unknown key 'nothing_like_it'"),
        ("sigma = 1.0", "sigma: expected `float` <= 0.01"),
        ("sigma = nan", "sigma: expected `float` > 0.0"),
        ("revert_share = -0.1", "revert_share: expected `float` >= 0.0"),
        ("makers = 2.5", "makers: expected `int`, got `float`"),
        ('twap_lag_ms = "1s"', "twap_lag_ms: expected `int`, got `str`"),
        ("twap_lag_ms = 5001", "twap_lag_ms: expected `int` <= 5000"),
        ("informed_slow_delay_ms = [100, 9000]", r"informed_slow_delay_ms\[1\]: expected `float` <= 600.0"),
        ("flurry_s = [2.0, 1.0]", "flurry_s ends before it begins"),
        ("maker_delay_ms_min = 500.0", "maker_delay_ms_min is above maker_delay_ms_max"),
        ("sigma = ", "not valid TOML"),
        ("sigma = " + "[" * 5000, "not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said) as refused:
        worlds.world(str(path))
    assert "mine.toml" in str(refused.value)


def test_an_unknown_world_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown world 'stormy': want one of calm, hostile, storm, tight, wide"):
        worlds.world("stormy")
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read: No such file"):
        worlds.world(str(tmp_path / "absent.toml"))
