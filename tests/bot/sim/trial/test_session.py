"""A bot's cores and a generated market on a virtual clock: the money agrees, and nothing is heard before its time."""

from __future__ import annotations

import math

import msgspec
import pytest

from bot.caches import Caches
from bot.messages import Message, PositionReport
from bot.quoting.parameters import Parameters
from bot.quoting.strategy import Strategy
from bot.sim import worlds
from bot.sim.parameters import WorldParameters
from bot.sim.trial.baselines import Naive, Nothing, Touch
from bot.sim.trial.feeds import Misjudged
from bot.sim.trial.generated import START_MS, generated
from bot.sim.trial.session import START_NS, Result, Session
from bot.sim.trial.virtual_bot import Latencies, Make
from bot.units import NS_PER_MS, Ns

MINUTE = ["btc-updown-1m"]


def session(make: Make, world: str | WorldParameters = "tight", seed: int = 1, **given: object) -> Session:
    return generated(
        make,
        seed=seed,
        series=MINUTE,
        seconds=120,
        world=worlds.world(world) if isinstance(world, str) else world,
        parameters=Parameters(),
        **given,  # type: ignore[arg-type]
    )


def test_who_does_nothing_earns_nothing() -> None:
    result = session(Nothing).run()
    assert len(result.windows) == 2
    assert result.ledger_error_e6 == 0
    assert all((w.pnl_usd, w.edge_usd, w.fills, w.requests) == (0.0, 0.0, 0, 0) for w in result.windows)


@pytest.mark.parametrize("make", [Strategy, Touch, Naive])
@pytest.mark.parametrize("world", ["tight", "hostile"])
def test_the_parts_of_the_pnl_the_executor_and_the_venue_agree_to_a_micro_dollar(make: Make, world: str) -> None:
    result = session(make, world, seed=4).run()
    assert result.ledger_error_e6 == 0
    assert sum(window.fills for window in result.windows) > 0


def test_trades_that_revert_are_in_nobody_s_books() -> None:
    world = msgspec.structs.replace(worlds.world("tight"), revert_share=0.3, revert_bias=1.0)
    quiet = session(Touch, worlds.world("tight")).run()
    result = session(Touch, world).run()
    assert result.ledger_error_e6 == 0
    assert result.halts > 0  # three reverts in an hour; the trial lifts them
    assert sum(w.fills for w in result.windows) < sum(w.fills for w in quiet.windows)


def test_the_same_seed_gives_the_same_result() -> None:
    def told(result: Result) -> bytes:
        return msgspec.json.encode(result)

    assert told(session(Strategy).run()) == told(session(Strategy).run())
    assert told(session(Strategy).run()) != told(session(Strategy, seed=2).run())


def test_streams_that_are_cut_stop_the_quotes_and_the_books_still_agree() -> None:
    world = msgspec.structs.replace(worlds.world("tight"), disconnect_every_s=20.0)
    result = session(Strategy, world).run()
    assert result.ledger_error_e6 == 0
    assert any("PM_HARD" in window.reason_s for window in result.windows)


class Watcher(Strategy):
    """Looks, at each message, at what the caches hold of the venue and when it came."""

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        super().__init__(parameters, caches)
        self.caches = caches
        self.delays_ms: dict[int, float] = {}  # of settlement values, by stamp
        self.last_ns: Ns = 0

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        assert now_ns >= self.last_ns
        self.last_ns = now_ns
        reference = self.caches.reference["btc"].latest
        assert reference is None or reference.recv_ns <= now_ns
        stream = self.caches.settlement_of("btc", 10).latest
        if stream is not None and now_ns > START_NS + 2_000 * NS_PER_MS:
            now_ms = START_MS + (now_ns - START_NS) / NS_PER_MS
            self.delays_ms.setdefault(stream.utc_ms, now_ms - stream.utc_ms)
        return super().handle(message, now_ns)


def test_time_only_rises_and_nothing_is_known_before_its_line_brought_it() -> None:
    made: list[Watcher] = []

    def make(parameters: Parameters, caches: Caches) -> Watcher:
        made.append(Watcher(parameters, caches))
        return made[0]

    session(make, latencies=Latencies(stream_ms=200.0)).run()
    delays = sorted(made[0].delays_ms.values())
    assert len(delays) > 60
    assert delays[0] > worlds.world("tight").source_delay_1m_ms
    assert delays[len(delays) // 2] > worlds.world("tight").source_delay_1m_ms + 150


class Patient(Strategy):
    """Keeps when its orders began to work."""

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        super().__init__(parameters, caches)
        self.first: dict[str, Ns] = {}
        self.worked: dict[str, Ns] = {}

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        if isinstance(message, PositionReport):
            for order in message.working:
                self.first.setdefault(order.order_id, now_ns)
                if order.state == "working":
                    self.worked.setdefault(order.order_id, now_ns)
        return super().handle(message, now_ns)


def test_an_order_takes_its_way_there_and_back_until_it_is_known_to_work() -> None:
    made: list[Patient] = []

    def make(parameters: Parameters, caches: Caches) -> Patient:
        made.append(Patient(parameters, caches))
        return made[0]

    session(make, latencies=Latencies(order_ms=300.0)).run()
    waits = sorted((at_ns - made[0].first[name]) / NS_PER_MS for name, at_ns in made[0].worked.items())
    assert len(waits) > 10
    assert waits[len(waits) // 2] > 200  # less than the median: many are cancelled before they are known to work


class Believer(Strategy):
    """Keeps what it believes of its markets' strikes and of the stream's lag."""

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        super().__init__(parameters, caches)
        self.lag_s = 0
        self.strikes: set[float] = set()

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        out = super().handle(message, now_ns)
        for quoter in self._quoters.values():
            assert quoter.window.basis is not None
            self.lag_s = quoter.window.basis.lag_s
            self.strikes.add(quoter.window.strike)
        return out


def test_what_is_misjudged_is_what_the_strategy_believes() -> None:
    """Strikes two basis points too low, and a stream that seems to lag one second more than it does."""
    made: list[Believer] = []

    def make(parameters: Parameters, caches: Caches) -> Believer:
        made.append(Believer(parameters, caches))
        return made[0]

    wrong = session(make, misjudged=Misjudged(strike_log=-2e-4, stamp_s=1))
    wrong.run()
    true_strikes = [market.strike for market in wrong.scene.exchange.markets.values() if market.strike]
    for told in made[0].strikes - {0.0}:
        assert min(abs(math.log(told / true) + 2e-4) for true in true_strikes) < 1e-4
    assert made[0].lag_s == 2  # one second in truth
