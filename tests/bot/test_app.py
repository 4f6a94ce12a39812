"""What the composition root reads before anything starts, keeps for restarts, and does at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.router import Directory
from actors.wiring import ROUTES, Remembering
from bot import app
from bot.app import Bot, day_of, history_ns
from bot.errors import SettingsError
from bot.execution.gate import Gate
from bot.flat import FlatReport
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


def test_the_strategy_hears_of_a_market_before_the_executor_can_speak_of_its_position() -> None:
    told = ROUTES["reads"][MarketListed]
    assert told.index("strategy") < told.index("executor")


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


class HeldPanic:
    """Was flat long ago; verifies what is asked from now on unless told not to."""

    def __init__(self, verifies: bool = True) -> None:
        self.asked: list[str] = []
        self.verifies = verifies
        self.canceled = False

    def request(self, reason: str) -> int:
        self.asked.append(reason)
        return len(self.asked)

    def newest(self) -> FlatReport | None:
        return FlatReport(True, open_orders=0)

    def wait(self, ticket: int, timeout_s: float) -> FlatReport | None:
        return FlatReport(self.verifies, open_orders=0)

    def wait_canceled(self, ticket: int, timeout_s: float) -> bool:
        self.canceled = True
        return True

    def result(self, ticket: int) -> FlatReport | None:
        return None


class EndOfBot(Bot):
    """Only what `stop` touches; its root never answers."""

    def __init__(self, panic: HeldPanic) -> None:
        self.clock, self.gate, self.directory = time.monotonic_ns, Gate(), Directory()
        self.panic: Any = panic
        self.control: Any = threading.Event()
        self.control.stop = lambda: None
        self.dismissed = False
        self.guardian: Any = SimpleNamespace(bye=self._dismissed)
        self.ended, self.end_reason, self._failed = threading.Event(), "", False

    def _dismissed(self) -> None:
        self.dismissed = True

    def _last_words(self) -> None: ...


def test_an_old_word_of_panic_is_no_proof_when_the_root_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ROOT_SILENT_NS", 0)
    bot = EndOfBot(HeldPanic())
    ending = bot.stop("signal", deadline_s=5.0, hurry=lambda: False)
    assert ending.flat_verified and ending.internal_failure and bot.dismissed
    assert bot.panic.asked and "main" in bot.gate.shut_by()


def test_a_second_signal_waits_for_the_cancel_only() -> None:
    bot = EndOfBot(HeldPanic(verifies=False))
    ending = bot.stop("signal", deadline_s=60.0, hurry=lambda: True)
    assert not ending.flat_verified and bot.panic.canceled and "main" in bot.gate.shut_by()
    assert not bot.dismissed, "the guardian goes on"
