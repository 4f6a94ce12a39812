"""How soon a cancel-all is on the wire while everything else is in the way (`-m soak -s` shows the figures).

In the way are: 10,000 events before the executor, a POST that hangs, and an order budget that is used up. Asserted is only
what holds at any speed: after the shut no order passes the gate, and the venue is proven empty each time.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from loguru import logger
from test_end_to_end import SERIES, until
from test_soak_dead_men import QUICK, WINDOW_S, venue  # noqa: F401  a fixture

from bot.access import from_info
from bot.app import Bot
from bot.execution.gate import Gate
from bot.messages import (
    BotState,
    Budgeted,
    ExecType,
    ExecutionReport,
    Fail,
    InjectedFault,
    NewOrder,
    RateLeft,
    Reject,
    Source,
)
from bot.settings import load
from bot.state import Latch, RunDir, make_private
from bot.units import NS_PER_MS, Ns
from bot.venues.clob_calls import Calls

EVENTS = 12_000  # of which the executor handles some while the others are told
TIMES = 30

pytestmark = pytest.mark.soak


class Watched:
    """A gate that counts who slips through while it is shut."""

    def __init__(self, gate: Gate) -> None:
        self.slipped = 0
        self._gate = gate
        self._admit = gate.admit
        gate.admit = self.admit  # type: ignore[method-assign]

    def admit(self, orders: Sequence[NewOrder], now_ns: Ns) -> list[tuple[Reject, str] | None]:
        shut = bool(self._gate.shut_by())
        verdicts = self._admit(orders, now_ns)
        self.slipped += shut and verdicts.count(None)
        return verdicts


@pytest.fixture
def bot(venue: Any, tmp_path: Path) -> Iterator[Bot]:  # noqa: F811
    config = tmp_path / "bot.toml"
    config.write_text(f'{QUICK}[run]\nseries = ["{SERIES}"]\n')
    state_dir = make_private(tmp_path / "state")
    made = Bot(
        settings=load(config)[0],
        access=from_info(venue.info),
        run_dir=RunDir.new(tmp_path / "run", "sim"),
        state_dir=state_dir,
        latch=Latch(state_dir),
    )
    for part in ("bot", "actors"):
        logger.disable(part)
    made.start()
    yield made
    assert made.stop("measured", deadline_s=10.0, hurry=lambda: False).flat_verified
    for part in ("bot", "actors"):
        logger.enable(part)


def quoting(bot: Bot) -> list[str]:
    """Ids of resting orders, of which there are some."""
    rows = bot.status.record.get("markets", {}).values()
    ids = [row["order_id"] for market in rows for row in market["working"] if row["state"] == "working"]
    return ids if bot.status.record["state"] == "quoting" else []


def clog(bot: Bot) -> None:
    """Everything in the way at once."""
    url = f"{bot.access.venue_url}/control/faults"
    requests.post(url, json={"id": "P01", "kind": "silent", "hang_s": 2.5}, timeout=5)
    until(bot.gate.inflight, WINDOW_S, "a POST that hangs")
    for kind in Budgeted:
        bot.directory.tell("executor", RateLeft(kind=kind, left=0))
    (resting, *_) = until(lambda: quoting(bot) or bot.gate.inflight(), WINDOW_S, "an order to have events of")
    event = ExecutionReport(order_id=resting, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=0)
    for _ in range(EVENTS):
        bot.directory.tell("executor", event)


def halt(bot: Bot) -> None:
    assert bot.desk.halt("measured")["ok"]


def fail(bot: Bot) -> None:
    bot.directory.tell("executor", Fail(reason="measured"))


def fail_with_the_cancels_gateway_hung(bot: Bot) -> None:
    bot.directory.tell("cancels", InjectedFault(kind="hang", hang_s=0.5))
    fail(bot)


@pytest.mark.parametrize(
    ("what", "trigger"),
    [
        ("an operator's halt", halt),
        ("a failure seen by the executor", fail),
        ("the same with the cancels gateway hung", fail_with_the_cancels_gateway_hung),
    ],
)
def test_a_cancel_all_is_on_the_wire_whatever_is_in_the_way(
    bot: Bot, what: str, trigger: Callable[[Bot], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, took_ms, queued = Watched(bot.gate), list[float](), list[int]()
    left, first = threading.Event(), [0]
    cancel_all = Calls.cancel_all

    def timed(calls: Calls, symbol: str, written: Callable[[], None] | None = None) -> Any:
        """Of panic and of the gateway: when the bytes are with the kernel."""

        def now_written() -> None:
            if not left.is_set():
                first[0] = time.monotonic_ns()
                left.set()
            if written is not None:
                written()

        return cancel_all(calls, symbol, now_written)

    monkeypatch.setattr(Calls, "cancel_all", timed)
    while len(took_ms) < TIMES:
        until(lambda: quoting(bot), WINDOW_S, "quoting", lambda: bot.status.record)
        clog(bot)
        if bot.executor.recovery.state is not BotState.QUOTING:
            continue  # something else was the cause meanwhile
        health = bot.directory.health("executor")
        assert health is not None
        queued.append(health.mailbox.stats().depth)
        left.clear()
        began_ns = time.monotonic_ns()
        trigger(bot)
        assert left.wait(10)
        took_ms.append((first[0] - began_ns) / NS_PER_MS)
        if bot.latch.is_set():
            until(lambda: bot.desk.resume()["ok"], 30, "flat, and resumed")
        else:
            until(lambda: bot.status.record["state"] != "quoting", 30, "it stops quoting", lambda: bot.status.record)
    assert gate.slipped == 0
    print(
        f"\ncancel-all after {what}: {TIMES} times, {min(queued)} to {max(queued)} events queued, first byte after "
        f"{statistics.median(took_ms):.1f} ms (median), {max(took_ms):.1f} ms (most); {os.cpu_count()} CPUs, "
        f"load {os.getloadavg()[0]:.1f}"
    )
