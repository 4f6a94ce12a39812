"""One session: the bot's cores trade the windows of a scene, on a virtual clock, and meters measure each window.

What is traded on comes from the scene: a generated market, or a recorded one. One thread, no socket, no journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from bot.caches import Caches
from bot.market import Market
from bot.messages import MarketDropped, MarketListed, MarketResolved, TradeStatus
from bot.quoting.modes import names
from bot.quoting.parameters import Parameters
from bot.quoting.phases import schedule_of
from bot.sim.exchange import Event, Exchange, OrderEvent, SimMarket, TradeEvent
from bot.sim.prices import STEP_MS
from bot.sim.trial.clock import Agenda
from bot.sim.trial.feeds import Tell, market_of
from bot.sim.trial.measures import SAMPLE_MS, Meter, Window
from bot.sim.trial.virtual_bot import Latencies, Make, VirtualBot
from bot.sim.trial.wallet import Wallet
from bot.units import NS_PER_MS, NS_PER_S, USD_ONE, Ns, Px, Usd

START_NS: Ns = 1_000 * NS_PER_S  # monotonic; 0 would mean "never" to the cores
CASH: Usd = 10_000 * USD_ONE
POLL_MS = 1_000


class Scene(Protocol):
    """What a session trades on: an exchange, and what is said of prices, books and markets. It has one agenda and caches
    of its own, which the session shares."""

    exchange: Exchange
    agenda: Agenda
    caches: Caches
    start_ms: int  # wall clock

    @property
    def wallet(self) -> Wallet: ...

    @property
    def cut_until_ns(self) -> Ns:
        """The user stream is gone until then."""

    def begin(self, tell: Tell) -> None:
        """What is said is told by this from now on."""

    def over(self, now_ms: int, following: bool) -> bool:
        """Nothing more will happen; `following`: some window is not settled yet."""

    def step(self, now_ms: int, now_ns: Ns) -> None:
        """Everything that others do up to now."""

    def hear(self, events: list[Event], now_ns: Ns) -> None:
        """What the exchange said since the last call."""

    def listings(self, now_ms: int) -> Iterable[SimMarket]:
        """The markets that a bot would know of by now."""

    def follow(self, market: Market, now_ns: Ns) -> None: ...

    def leave(self, symbol: str) -> None: ...

    def p(self, symbol: str) -> float | None:
        """What Up is worth now, as far as anybody knows; None where nothing is known."""

    def best(self, symbol: str) -> tuple[Px, Px]:
        """The best prices shown, in Up terms; 0 for an empty side."""


class Result(msgspec.Struct, kw_only=True):
    windows: list[Window]
    ledger_error_e6: Usd  # largest disagreement of PnL parts, executor and venue about the money made
    halts: int
    seconds: float  # simulated


class Session:
    """Invariant: every followed market has a meter until it is settled, and every order event passes its meter."""

    bot_type = VirtualBot

    def __init__(
        self,
        make: Make,
        scene: Scene,
        *,
        parameters: Parameters,
        latencies: Latencies = Latencies(),
        seed: str = "",
    ) -> None:
        """`seed` is of the delays of what is sent."""
        self.scene = scene
        self._parameters = parameters
        self._agenda = scene.agenda
        self._now_ms = scene.start_ms
        self._origin_ns = scene.start_ms * NS_PER_MS - scene.agenda.now_ns
        self._bot = self.bot_type(
            make,
            wallet=scene.wallet,
            agenda=scene.agenda,
            caches=scene.caches,
            parameters=parameters,
            latencies=latencies,
            origin_ns=self._origin_ns,
            seed=seed,
            acted=self._collect,
            asked=self._count,
        )
        scene.begin(self._bot.tell)
        self._meters: dict[str, Meter] = {}
        self._done: list[Window] = []
        self._followed: set[str] = set()

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        scene, agenda, bot = self.scene, self._agenda, self._bot
        bot.connect()
        self._poll()
        bot.start()
        while not scene.over(self._now_ms, bool(self._meters)):
            self._now_ms += STEP_MS
            now_ns = self._now_ms * NS_PER_MS - self._origin_ns
            agenda.run(now_ns)
            scene.step(self._now_ms, now_ns)
            self._collect()
            for symbol, meter in self._meters.items():
                meter.step(self._now_ms, scene.p(symbol))
            if self._now_ms % SAMPLE_MS == 0:
                self._sample()
                if self._now_ms % POLL_MS == 0:
                    self._poll()
        worth = self._stop()
        return Result(
            windows=self._done,
            ledger_error_e6=self._ledger_error(worth),
            halts=bot.halts,
            seconds=(self._now_ms - scene.start_ms) / 1000,
        )

    def _stop(self) -> Usd:
        """Windows that never settled end at what they are worth now; returns what is held in them. Those that did not even
        begin are none."""
        worth = 0.0
        for symbol, meter in self._meters.items():
            if meter.market.start_utc_ns // NS_PER_MS >= self._now_ms:
                continue
            p = meter.last_p()
            window = meter.finish(p, settled=False)
            self._done.append(window)
            tokens = self.scene.wallet.account.tokens
            market = meter.market
            worth += tokens.get(market.up_token, 0) * p + tokens.get(market.down_token, 0) * (1 - p)
            self._bot.settled[symbol] = round(window.pnl_usd * USD_ONE)
        return round(worth)

    def _ledger_error(self, worth: Usd) -> Usd:
        made = self.scene.wallet.account.cash + worth - CASH
        parts = sum(sum(window.parts.values()) for window in self._done)
        return max(abs(round(parts * USD_ONE) - made), abs(sum(self._bot.settled.values()) - made))

    # -- markets ---------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """What the bot learns of markets by asking: new windows, and how old ones ended."""
        for listing in self.scene.listings(self._now_ms):
            symbol = listing.condition_id
            if symbol not in self._followed:
                self._follow(listing)
            elif symbol in self._meters and listing.outcome:
                winner = listing.up_token if listing.outcome == "up" else listing.down_token
                self._bot.tell("executor", MarketResolved(symbol=symbol, winning_asset_id=winner))
                if symbol in self._bot.settled:
                    self._leave(listing)

    def _follow(self, listing: SimMarket) -> None:
        market = market_of(listing)
        schedule = schedule_of(market.duration_s, self._parameters)
        phases_ms = (
            max(listing.start_ms + round(schedule.open_wait_s * 1000), self._now_ms),
            listing.end_ms - round(schedule.reduce_s * 1000),
            listing.end_ms - round(schedule.stop_s * 1000),
        )
        self._followed.add(market.symbol)
        self._meters[market.symbol] = Meter(market, phases_ms, self._now_ms + STEP_MS)
        for component in ("strategy", "executor"):  # whose first report of it the strategy must not miss
            self._bot.tell(component, MarketListed(market=market))
        self.scene.follow(market, self._agenda.now_ns)

    def _leave(self, listing: SimMarket) -> None:
        symbol = listing.condition_id
        meter = self._meters.pop(symbol)
        self._done.append(meter.finish(1.0 if listing.outcome == "up" else 0.0))
        self.scene.leave(symbol)
        for component in ("executor", "strategy"):
            self._bot.tell(component, MarketDropped(symbol=symbol))

    def _sample(self) -> None:
        orders = list(self.scene.wallet.account.orders.values())
        for symbol, meter in self._meters.items():
            desk = self._bot.executor.desks.get(symbol)
            intent = desk.intent if desk is not None else None
            meter.sample(
                self._now_ms,
                orders,
                self.scene.best(symbol),
                intent.quote_mode if intent is not None else None,
                names(intent.reasons) if intent is not None and intent.reasons else (),
            )

    def _count(self, symbol: str) -> None:
        if symbol in self._meters:
            self._meters[symbol].window.requests += 1

    # -- the venue's words -----------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """What the exchange said since the last look, to the streams; and to the meters, which see the venue itself."""
        events = self.scene.exchange.take_events()
        self.scene.hear(events, self._agenda.now_ns)
        for event in events:
            if not isinstance(event, OrderEvent | TradeEvent):
                continue
            # One of a window that is settled is told what happens to its trades still, which changes nothing.
            meter = self._meters.get(event.trade.condition_id) if isinstance(event, TradeEvent) else None
            if isinstance(event, TradeEvent) and meter is not None:
                if event.trade.status == TradeStatus.MATCHED:
                    meter.traded(event.trade)
                elif event.trade.status == TradeStatus.FAILED:
                    meter.failed(event.trade.trade_id)
            if self._agenda.now_ns >= self.scene.cut_until_ns:
                self._bot.report(event)
