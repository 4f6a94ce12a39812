"""A strategy with its caches on one clock: the scene that its tests play in."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec

from bot.caches import BookView, Caches, Reference, ReferenceCache, Settlement
from bot.market import Market, Rule
from bot.messages import BotState, MarketListed, Message, PositionReport, QuoteIntent, StatusReport, TimerTick
from bot.quoting.parameters import Parameters
from bot.quoting.strategy import STATUS_EVERY_NS, Strategy
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE, USD_ONE

START = 1_790_000_000  # wall-clock second the window starts
OFFSET = 1_789_000_000 * NS_PER_S  # wall clock minus monotonic clock
BASIS = -2e-4
LAG = 1


def market(symbol: str = "m", start: int = START, duration: int = 300, **changes: object) -> Market:
    base = Market(
        symbol=symbol,
        slug=f"btc-updown-5m-{start}",
        series="btc-updown-5m",
        asset="btc",
        up_token=f"{symbol}-up",
        down_token=f"{symbol}-down",
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_utc_ns=start * NS_PER_S,
        end_utc_ns=(start + duration) * NS_PER_S,
        tick=100,
        min_qty=5 * QTY_ONE,
        fee_rate=0.07,
        rebate_rate=0.2,
        taker_delay_ms=150,
    )
    return msgspec.structs.replace(base, **changes)


class Scene:
    """A strategy with its caches, a random reference price, the stream made from it, and one clock."""

    def __init__(self, *, seed: int = 1, history_s: int = 700, sigma: float = 6e-5, **parameters: float) -> None:
        self.caches = Caches()
        self.core = Strategy(Parameters(**parameters), self.caches)
        self.reference = self.caches.reference["btc"] = ReferenceCache("BTCUSDT")
        self.stream = self.caches.settlement_of("btc", 60)
        self.rng = random.Random(seed)
        self.sigma = sigma
        self.ms = (START - 5) * 1000  # wall clock
        self.price = 60_000.0
        self.path: dict[int, float] = {}
        self.stream_on = self.reference_on = self.book_on = True
        self.book: tuple[int, int] = (0, 0)  # others' best, 0 for none
        self.sizes = (500, 500)  # shares there
        for second in range(START - 5 - history_s, START - 4):
            self._next(second)
            self.reference.seconds.seed(second, round(self.price * 1e8))
        self.reference.seeded_s = history_s
        for second in range(START - 125, START - 5):
            if history_s > 200:
                self._stamp(second)
        self._feed()

    @property
    def now(self) -> int:
        return self.utc - OFFSET

    @property
    def utc(self) -> int:
        return self.ms * NS_PER_MS

    def _next(self, second: int) -> None:
        self.price *= math.exp(self.rng.gauss(0, self.sigma))
        self.path[second] = self.price

    def _stamp(self, second: int) -> None:
        held = [self.path[s] for s in range(second - LAG - 59, second - LAG + 1)]
        value = sum(held) / 60 * math.exp(BASIS)
        self.stream.put(Settlement(value_e8=round(value * 1e8), utc_ms=second * 1000, recv_ns=self.now))

    def _feed(self) -> None:
        if self.reference_on:
            half = 500_000
            mid = round(self.price * 1e8)
            quote = Reference(bid_e8=mid - half, ask_e8=mid + half, update_id=1, recv_ns=self.now, lag_ms=5)
            self.reference.put(quote, self.utc)
            self.reference.frame_ns = self.now
        if self.book_on:
            self.caches.market_frame_ns = self.now
            best_bid, best_ask = self.book
            for symbol in list(self.caches.guards):
                self.caches.book_of(symbol).latest = BookView(
                    bids=((best_bid, self.sizes[0] * QTY_ONE),) if best_bid else (),
                    asks=((best_ask, self.sizes[1] * QTY_ONE),) if best_ask else (),
                    tick=100,
                    recv_ns=self.now,
                    changed_ns=self.now,
                )

    def tell(self, message: Message) -> list[QuoteIntent]:
        return [one for one in self.core.handle(message, self.now) if isinstance(one, QuoteIntent)]

    def tick(self) -> list[Message]:
        return self.core.handle(TimerTick(name="strategy", now_ns=self.now, utc_ns=self.utc), self.now)

    def run(self, until: float, step: float = 0.05) -> list[QuoteIntent]:
        """Advance to a second after the window's start; intents in order."""
        out: list[QuoteIntent] = []
        while self.ms < START * 1000 + round(until * 1000):
            before = self.ms // 1000
            self.ms += round(step * 1000)
            second = self.ms // 1000
            if second > before:
                self._next(second)
                if self.stream_on:
                    self._stamp(second - 1)
            self._feed()
            out += [one for one in self.tick() if isinstance(one, QuoteIntent)]
        return out

    def list_market(self, one: Market | None = None, **report: Any) -> None:
        listed = one or market()
        self.tell(MarketListed(market=listed))
        self.position(listed.symbol, **report)

    def position(self, symbol: str = "m", up: float = 0, down: float = 0, **changes: object) -> list[QuoteIntent]:
        base = PositionReport(
            symbol=symbol,
            state=BotState.QUOTING,
            epoch=1,
            tick=100,
            up_qty=round(up * QTY_ONE),
            down_qty=round(down * QTY_ONE),
            cash=1000 * USD_ONE,
        )
        return self.tell(msgspec.structs.replace(base, **changes))

    def status(self, symbol: str = "m") -> dict[str, object]:
        self.ms += STATUS_EVERY_NS // NS_PER_MS
        self._feed()
        reports = [one for one in self.tick() if isinstance(one, StatusReport)]
        assert reports[-1].component == "strategy"
        body: dict[str, object] = reports[-1].body["markets"][symbol]
        return body


def live(until: float = 30, **parameters: Any) -> Scene:
    scene = Scene(**parameters)
    scene.list_market()
    scene.run(until)
    return scene
