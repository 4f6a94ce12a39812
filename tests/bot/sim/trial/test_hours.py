"""Hours of several series on one wallet: every window rolls over, nothing rests where it must not, limits hold.

`pytest -m soak -n 0 tests/bot/sim/trial/test_hours.py` runs the six hours of eight series.
"""

from __future__ import annotations

from typing import Any

import pytest

from bot.execution.budget import Bucket
from bot.messages import CancelOrder, MassCancel, Message, NewOrder, Side
from bot.quoting.parameters import Parameters
from bot.quoting.phases import schedule_of
from bot.quoting.strategy import Strategy
from bot.sim import worlds
from bot.sim.trial.feeds import Misjudged
from bot.sim.trial.generated import Generated
from bot.sim.trial.session import Result, Session
from bot.sim.trial.virtual_bot import Latencies, Make, VirtualBot
from bot.units import QTY_ONE, USD_ONE, Ns, Usd, notional

CANCEL_MS = 3_000  # after the stop: the last cancel may have to wait for an answer, and be sent again
ASSETS = ("btc", "eth", "sol", "xrp")


class WatchedBot(VirtualBot):
    """Looks at the rate of requests, and at the limits when a new order rests."""

    def __init__(self, make: Make, **given: Any) -> None:
        super().__init__(make, **given)
        self.orders = Bucket(40, 60)  # the venue's Standard tier
        self.cancels = Bucket(80, 120)

    def _route(self, message: Message) -> None:
        now_ns = self._agenda.now_ns
        if isinstance(message, NewOrder):
            assert self.orders.take(1, now_ns)
        elif isinstance(message, CancelOrder):
            assert self.cancels.take(1, now_ns)
        elif isinstance(message, MassCancel):
            self.cancels.charge(1 + len(self._wallet.account.orders), now_ns)
            assert self.cancels.level > 0
        super()._route(message)

    def _post(self, batch: list[Message], heard_ns: Ns) -> list[Message]:
        """Only a new order makes the worst case worse."""
        answers = super()._post(batch, heard_ns)
        parameters, account = self._parameters, self._wallet.account
        invested: Usd = 0
        for symbol, desk in self.executor.desks.items():
            market = desk.market
            orders = [order for order in account.orders.values() if order.condition_id == symbol]
            net = account.tokens.get(market.up_token, 0) - account.tokens.get(market.down_token, 0)
            assert net + sum(order.leaves for order in orders if order.is_bid) <= parameters.q_max * QTY_ONE
            assert net - sum(order.leaves for order in orders if not order.is_bid) >= -parameters.q_max * QTY_ONE
            invested += max(0, self.executor.positions.of(symbol).invested)
            invested += sum(notional(order.px, order.leaves) for order in orders if order.side is Side.BUY)
        assert invested <= parameters.capital_max * USD_ONE
        return answers


class Watched(Session):
    """Looks ten times a second at what rests."""

    bot_type = WatchedBot

    def _sample(self) -> None:
        super()._sample()
        for order in self.scene.wallet.account.orders.values():
            market = self.scene.exchange.markets[order.condition_id]
            stop_s = schedule_of((market.end_ms - market.start_ms) / 1000, self._parameters).stop_s
            assert self._now_ms < market.end_ms - stop_s * 1000 + CANCEL_MS, "an order rests in a window that is over"


UPTIME_MIN = 0.8  # of LIVE time with both sides at rest, in the world `calm`


def run(series: list[str], seconds: float, world: str) -> Result:
    latencies = Latencies()
    scene = Generated(
        series=series,
        seconds=seconds,
        seed=11,
        world=worlds.world(world),
        latencies=latencies,
        guarded=True,
        misjudged=Misjudged(),
    )
    result = Watched(Strategy, scene, parameters=Parameters(), latencies=latencies, seed="11").run()
    assert result.ledger_error_e6 == 0
    assert result.halts == 0
    lengths = [int(name.rpartition("-")[2].removesuffix("m")) * 60 for name in series]
    assert len(result.windows) == sum(int(seconds + 5) // length for length in lengths)
    live = [window for window in result.windows if window.live_s > 0]
    assert len(live) == len(result.windows)
    assert all(window.both_s + window.one_s > 0 for window in live)
    return result


def test_a_few_minutes_of_two_series_on_one_wallet() -> None:
    run(["btc-updown-1m", "eth-updown-1m"], 120, "tight")


@pytest.mark.soak
@pytest.mark.parametrize("world", ["calm", "tight"])
def test_six_hours_of_eight_series(world: str) -> None:
    series = [f"{asset}-updown-{length}" for asset in ASSETS for length in ("5m", "15m")]
    windows = run(series, 6 * 3600, world).windows
    uptime = sum(window.both_s for window in windows) / sum(window.live_s for window in windows)
    assert world != "calm" or uptime >= UPTIME_MIN, f"{uptime:.1%} of LIVE time"
