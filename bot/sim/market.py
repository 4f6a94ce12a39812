"""The generated world around the exchange: prices, the life of windows, and the other participants, all from one seed.

A pure core on a grid of 10 ms: the same seed and the same orders of others give the same events, however `step` is
called. Knows no wire and no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

from bot.market import Rule
from bot.sim.binance_intervals import opened
from bot.sim.exchange import Exchange, SimMarket
from bot.sim.mishaps import Cuts, Disconnected, Flurries, Flurry, Reverts
from bot.sim.parameters import WorldParameters
from bot.sim.prices import (
    SAMPLE_MS,
    STEP_MS,
    BinanceQuote,
    BinanceTrade,
    Candle,
    PricePath,
    SourcePrice,
    Twap,
    gathered,
)
from bot.sim.records import position_id
from bot.sim.series import Series
from bot.sim.traders import NOISE_SETS, RICH, Crowd, Informed, Maker, Noise, delays_in_steps
from bot.sim.window import Life

__all__ = [
    "BinanceQuote",
    "BinanceTrade",
    "Disconnected",
    "Flurry",
    "Mishap",
    "SourcePrice",
    "Twap",
    "World",
    "WorldEvent",
    "WorldParameters",
]

WorldEvent: TypeAlias = BinanceQuote | BinanceTrade | SourcePrice | Twap
Mishap: TypeAlias = Flurry | Disconnected

BACKLOG_S = 60  # settlement stamps told after a late step


class World:
    """Everything generated. Drives the exchange's clock for its own grid."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        seed: int,
        series: Sequence[str],
        start_ms: int,
        aligned: bool,
        parameters: WorldParameters | None = None,
        protocol: int = 2,
    ) -> None:
        self.exchange = exchange
        self.parameters = parameters = parameters or WorldParameters()
        self.now_ms = start_ms // STEP_MS * STEP_MS
        self.protocol = protocol
        self._seed = str(seed)
        self._series = [Series(name, self.now_ms, aligned) for name in dict.fromkeys(series)]
        assets = list(dict.fromkeys(s.asset for s in self._series))
        self.paths = {asset: PricePath(asset, seed, self.now_ms, parameters) for asset in assets}
        # One stream for each asset and averaging window; the value is the last stamp told.
        self._streams = {(s.asset, s.window_s): self._last_stamp_ms(s.window_s) for s in self._series}
        self._sources = {asset: self._last_stamp_ms(60) for asset in assets}
        self.crowd = Crowd(exchange)
        self._informed = [
            Informed("informed-fast", self.crowd, parameters.informed_size, parameters.informed_fast_per_s,
                     _steps(parameters.informed_fast_delay_ms), parameters.informed_fast_margin, self._seed),
            Informed("informed-slow", self.crowd, parameters.informed_size, parameters.informed_slow_per_s,
                     _steps(parameters.informed_slow_delay_ms), parameters.informed_slow_margin, self._seed),
        ]  # fmt: skip
        if not parameters.informed:
            self._informed.clear()
        self._reverts = Reverts(exchange, parameters, self._seed, self.true_p)
        self._flurries = [Flurries(path, parameters, self._seed) for path in self.paths.values()]
        self._mishaps: list[Mishap] = []
        self._cuts = Cuts(parameters, self._seed, self.now_ms)
        self._delays = delays_in_steps(parameters)
        for name in ("noise-1", *(i.name for i in self._informed), *self.maker_names):
            exchange.deposit(name, RICH)
        for one in self._series:
            if one.rule is not Rule.TWAP:
                self.paths[one.asset].recall(one.next_start_ms)
            self._list_ahead(one)
            for life in one.lives:
                life.tell(self._streams[one.asset, one.window_s])
                life.wake_all(self.now_ms)

    @property
    def maker_names(self) -> list[str]:
        return [f"maker-{n + 1}" for n in range(self.parameters.makers)]

    # -- reads -----------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> list[tuple[str, int]]:
        """Asset and averaging window of each settlement stream."""
        return list(self._streams)

    def true_p(self, condition_id: str) -> float | None:
        """True probability of Up now; None when the market is not alive."""
        for one in self._series:
            for life in one.lives:
                if life.market.condition_id == condition_id:
                    return life.truth.ago(0)
        return None

    def klines(
        self, symbol: str, interval: str, start_ms: int = 0, end_ms: int = 0, limit: int = 500, shift_ms: int = 0
    ) -> list[Candle]:
        """Candles of the history kept that opened in [start, end], oldest first; the newest `limit` when start is 0. Raises KeyError."""
        path = self.paths[symbol.lower().removesuffix("usdt")]
        rows = gathered(
            path.seconds() if interval == "1s" else path.minutes(), lambda ms: opened(interval, ms, shift_ms)
        )
        chosen = [row for row in rows if row[0] >= start_ms and (not end_ms or row[0] <= end_ms)]
        return chosen[:limit] if start_ms else chosen[-limit:]

    def settlement_history(self, asset: str, window_s: int, seconds: int) -> list[tuple[int, float]]:
        """The last told (stamp, value) pairs of a settlement stream, oldest first."""
        last_ms = self._streams[asset, window_s]
        stamps = range(last_ms - (seconds - 1) * 1000, last_ms + 1, 1000)
        return [(stamp_ms, self.paths[asset].twap(stamp_ms, window_s)) for stamp_ms in stamps]

    def source_history(self, asset: str, seconds: int) -> list[tuple[int, float]]:
        """The same of the source's spot value."""
        last_ms = self._sources[asset]
        return [(ms, self._spot(asset, ms)) for ms in range(last_ms - (seconds - 1) * 1000, last_ms + 1, 1000)]

    # -- time ------------------------------------------------------------------------------------------------------

    def step(self, now_ms: int) -> list[WorldEvent]:
        """Advance to now. Later than catch_up_ms: jump there instead of replaying what was missed."""
        events: list[WorldEvent] = []
        if now_ms - self.now_ms > self.parameters.catch_up_ms:
            self._jump(now_ms // STEP_MS * STEP_MS, events)
        while self.now_ms + STEP_MS <= now_ms:
            self.now_ms += STEP_MS
            self.exchange.step(self.now_ms)
            for path in self.paths.values():
                path.step()
                path.feed(events.append)
            if self.now_ms % SAMPLE_MS == 0:
                self._tell_settlement(events)
            for one in self._series:
                for life in one.lives:
                    life.step(self.now_ms)
                if one.lives and self.now_ms >= one.lives[0].market.end_ms:
                    self._roll(one)
            self._go_wrong()
        return events

    def take_mishaps(self) -> list[Mishap]:
        """What went wrong on the book and user streams since the last call, oldest first."""
        mishaps, self._mishaps = self._mishaps, []
        return mishaps

    def _go_wrong(self) -> None:
        self._reverts.step(self.now_ms)
        for flurries in self._flurries:
            if (flurry := flurries.step(self.now_ms)) is not None:
                self._mishaps.append(flurry)
        if (cut := self._cuts.step(self.now_ms)) is not None:
            self._mishaps.append(cut)

    def _jump(self, now_ms: int, events: list[WorldEvent]) -> None:
        self.exchange.step(now_ms)
        for path in self.paths.values():
            path.skip_to(now_ms)
        self.now_ms = now_ms
        for one in self._series:
            for life in one.lives:
                life.leave(now_ms)
        self._tell_settlement(events)
        for one in self._series:
            self._roll(one)
            for life in one.lives:
                life.resync(now_ms)

    def _last_stamp_ms(self, window_s: int) -> int:
        parameters = self.parameters
        delay_ms = parameters.source_delay_1m_ms if window_s == 10 else parameters.source_delay_ms
        return (self.now_ms - delay_ms) // 1000 * 1000

    def _spot(self, asset: str, stamp_ms: int) -> float:
        return round(self.paths[asset].mean_source(stamp_ms - SAMPLE_MS, stamp_ms), 8)

    def _tell_settlement(self, events: list[WorldEvent]) -> None:
        """Tell every stamp that became due: the source's spot, its means, and to the windows their strike and final."""
        due_ms = self._last_stamp_ms(60)
        for asset, told_ms in self._sources.items():
            for stamp_ms in _stamps(told_ms, due_ms):
                events.append(SourcePrice(asset=asset, value=self._spot(asset, stamp_ms), ts_ms=stamp_ms))
            self._sources[asset] = due_ms
        for (asset, window_s), told_ms in self._streams.items():
            due_ms = self._last_stamp_ms(window_s)
            if due_ms == told_ms:
                continue
            for stamp_ms in _stamps(told_ms, due_ms):
                value = self.paths[asset].twap(stamp_ms, window_s)
                events.append(Twap(asset=asset, window_s=window_s, value=value, ts_ms=stamp_ms))
            self._streams[asset, window_s] = due_ms
            for one in self._series:
                if (one.asset, one.window_s) == (asset, window_s):
                    for life in one.lives:
                        life.tell(due_ms)

    # -- windows ---------------------------------------------------------------------------------------------------

    def _roll(self, one: Series) -> None:
        """Close what ended, resolve what is due, keep the next windows listed."""
        for life in list(one.lives):
            market = life.market
            if self.now_ms >= market.end_ms:
                if not market.closed:
                    self.exchange.close(market.condition_id, self.now_ms)
                self._list_ahead(one)
            if (
                market.strike is not None
                and market.final is not None
                and self.now_ms >= market.end_ms + self.parameters.resolve_delay_ms
            ):
                if not market.outcome:  # a fault may have resolved it before its time
                    # Noon's closes that are equal are as improbable as a means' tie, and are split no more than it.
                    outcome = "up" if market.final >= market.strike else "down"
                    self.exchange.resolve(market.condition_id, outcome, self.now_ms)
                one.lives.remove(life)

    def _list_ahead(self, one: Series) -> None:
        """List windows until the current one and the next are there; windows that passed unseen are left out."""
        while one.after(one.next_start_ms) <= self.now_ms:
            one.next_start_ms = one.after(one.next_start_ms)
        while one.next_start_ms <= self.now_ms + self.parameters.listed_ahead * one.duration_ms:
            market = self._market(one, one.next_start_ms)
            one.listed += 1
            one.next_start_ms = market.end_ms
            self.exchange.list_market(market, self.now_ms)
            self.exchange.split("noise-1", market.condition_id, NOISE_SETS)
            names = zip(self.maker_names, self._delays, strict=True)
            makers = [Maker(name, market, self.crowd, self.parameters, delay, self._seed) for name, delay in names]
            noise = Noise(market, self.crowd, self.parameters, self._seed, self.now_ms)
            path = self.paths[one.asset]
            one.lives.append(Life(market, path, self.exchange, self.parameters, makers, self._informed, noise))

    def _market(self, one: Series, start_ms: int) -> SimMarket:
        slug = one.slug(start_ms)
        condition_id, tokens = self._ids(slug)
        parameters = self.parameters
        return SimMarket(
            condition_id=condition_id,
            slug=slug,
            series=one.name,
            asset=one.asset,
            question=one.question(start_ms),
            description=one.rules,
            up_token=tokens[0],
            down_token=tokens[1],
            version=self.protocol,
            rule=one.rule,
            window_s=one.window_s,
            number=one.listed,
            start_ms=start_ms,
            end_ms=one.after(start_ms),
            listed_ms=self.now_ms,
            fee_rate=parameters.fee_rate,
            rebate_rate=parameters.rebate_rate,
            taker_delay_ms=parameters.taker_delay_ms,
        )

    def _ids(self, slug: str) -> tuple[str, tuple[str, str]]:
        """Condition id and the two token ids, as the generation of the market forms them."""
        digest = self._digest(slug, "condition")
        if self.protocol == 3:  # the condition id is the position ids' upper 31 bytes, padded
            up, down = position_id(digest, 0), position_id(digest, 1)
            return f"0x{up >> 8:062x}00", (str(up), str(down))
        return "0x" + digest, (str(int(self._digest(slug, "up"), 16)), str(int(self._digest(slug, "down"), 16)))

    def _digest(self, slug: str, what: str) -> str:
        return hashlib.sha256(f"{self._seed}:{slug}:{what}".encode()).hexdigest()


def _steps(delay_ms: tuple[float, float]) -> tuple[int, int]:
    return round(delay_ms[0] / STEP_MS), round(delay_ms[1] / STEP_MS)


def _stamps(told_ms: int, due_ms: int) -> range:
    return range(max(told_ms, due_ms - BACKLOG_S * 1000) + 1000, due_ms + 1, 1000)
