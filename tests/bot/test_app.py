"""What the composition root reads before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.app import day_of, history_ns
from bot.errors import SettingsError
from bot.state import write_json
from bot.units import NS_PER_S, USD_ONE


def test_the_day_goes_on_where_the_last_run_left_it(tmp_path: Path) -> None:
    file = tmp_path / "day_loss"
    assert day_of(file) == (0, 0)
    write_json(file, {"utc_day": 20_000, "pnl_usd": -12.345678})
    assert day_of(file) == (20_000, -12_345_678)
    assert USD_ONE == 1_000_000


@pytest.mark.parametrize("text", ["", "{", "[]", '{"utc_day": 1}', '{"utc_day": 1, "pnl_usd": null}'])
def test_a_loss_that_cannot_be_read_refuses_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "day_loss"
    file.write_text(text)
    with pytest.raises(SettingsError, match="day_loss"):
        day_of(file)


def test_trades_are_read_back_over_the_longest_market_and_its_settlement() -> None:
    assert history_ns(["btc-updown-5m", "btc-updown-1h"]) == 7200 * NS_PER_S
