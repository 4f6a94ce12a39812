"""A generated market as the scene of a session: the embedded venue's exchange and world, said late by lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.caches import Caches
from bot.market import Market
from bot.quoting.parameters import Parameters
from bot.sim.exchange import Event, Exchange, SimMarket
from bot.sim.market import Disconnected, World
from bot.sim.parameters import WorldParameters
from bot.sim.trial.clock import Agenda, Line
from bot.sim.trial.feeds import Feeds, Misjudged, Tell
from bot.sim.trial.session import CASH, START_NS, Session
from bot.sim.trial.virtual_bot import Latencies, Make
from bot.sim.trial.wallet import Wallet
from bot.units import NS_PER_MS, Ns, Px

START_MS = 1_793_750_400_000  # no result depends on when it was made
LISTED_AHEAD_MS = 60_000
AFTER_MS = 60_000  # by then the last window is settled


class Generated:
    """Windows that end within `seconds`; each series' first began 5 s ago. `guarded` and `misjudged`: see Feeds."""

    def __init__(
        self,
        *,
        seed: int,
        series: Sequence[str],
        seconds: float,
        world: WorldParameters,
        latencies: Latencies,
        guarded: bool,
        misjudged: Misjudged,
    ) -> None:
        self.start_ms = START_MS
        self._last_ms = START_MS + round(seconds * 1000)
        self.exchange = Exchange()
        self.agenda = Agenda(START_NS)
        self.caches = Caches()
        self._world = World(self.exchange, seed=seed, series=series, start_ms=START_MS, aligned=False, parameters=world)
        self.wallet = Wallet(self.exchange, CASH)
        self._feeds = Feeds(
            self._world,
            self.caches,
            self.agenda,
            lines={
                "binance": Line("binance", latencies.reference_ms, str(seed)),
                "market": Line("market", latencies.stream_ms, str(seed)),
                "settle": Line("settle", latencies.stream_ms, str(seed)),
            },
            origin_ns=START_MS * NS_PER_MS - START_NS,
            guarded=guarded,
            misjudged=misjudged,
        )

    @property
    def cut_until_ns(self) -> Ns:
        return self._feeds.cut_until_ns

    def begin(self, tell: Tell) -> None:
        self._feeds.begin(tell, self.agenda.now_ns)

    def over(self, now_ms: int, following: bool) -> bool:
        assert not following or now_ms < self._last_ms + AFTER_MS, "a window that never settles"
        return now_ms >= self._last_ms and not following

    def step(self, now_ms: int, now_ns: Ns) -> None:
        self._feeds.hear_prices(self._world.step(now_ms), now_ns)
        for mishap in self._world.take_mishaps():
            if isinstance(mishap, Disconnected):
                self._feeds.cut(mishap, now_ns)

    def hear(self, events: list[Event], now_ns: Ns) -> None:
        self._feeds.hear_trading(events, now_ns)

    def listings(self, now_ms: int) -> Iterable[SimMarket]:
        return [
            market
            for market in self.exchange.markets.values()
            if market.end_ms <= self._last_ms and now_ms >= market.start_ms - LISTED_AHEAD_MS
        ]

    def follow(self, market: Market, now_ns: Ns) -> None:
        self._feeds.follow(market, now_ns)

    def leave(self, symbol: str) -> None:
        self._feeds.leave(symbol)

    def p(self, symbol: str) -> float | None:
        return self._world.true_p(symbol)

    def best(self, symbol: str) -> tuple[Px, Px]:
        return self.exchange.best(symbol)


def generated(
    make: Make,
    *,
    seed: int,
    series: Sequence[str],
    seconds: float,
    world: WorldParameters,
    parameters: Parameters,
    latencies: Latencies = Latencies(),
    guarded: bool = True,
    misjudged: Misjudged = Misjudged(),
) -> Session:
    """A session on a generated market."""
    scene = Generated(
        seed=seed,
        series=series,
        seconds=seconds,
        world=world,
        latencies=latencies,
        guarded=guarded,
        misjudged=misjudged,
    )
    return Session(make, scene, parameters=parameters, latencies=latencies, seed=str(seed))
