"""What the composition root reads before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from bot.app import Remembering, day_of, history_ns
from bot.errors import SettingsError
from bot.market import Market, Rule
from bot.messages import BotState, MarketDropped, MarketListed, Message, PositionReport
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


class Letters:
    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, messages: Iterable[Message]) -> None:
        self.sent += messages


def test_a_market_that_was_dropped_is_forgotten_even_if_the_executor_speaks_of_it_once_more() -> None:
    market = Market(
        symbol="m", slug="s", series="btc-updown-5m", asset="btc", up_token="1", down_token="2", version=2,
        rule=Rule.TWAP, start_utc_ns=0, end_utc_ns=1, tick=100, min_qty=1, fee_rate=0.0,
    )  # fmt: skip
    position = PositionReport(
        symbol="m", state=BotState.QUOTING, epoch=0, tick=100, up_qty=0, down_qty=0, cash=0, invested=0
    )
    letters, kept = Letters(), dict[tuple[type[Message], str], Message]()
    story = [MarketListed(market=market), position, MarketDropped(symbol="m"), position]
    remembering = Remembering(letters, kept)
    remembering.send(story[:2])
    assert set(kept) == {(MarketListed, "m"), (PositionReport, "m")}
    remembering.send(story[2:])
    assert kept == {} and letters.sent == story
