"""Seeded price paths: the reference exchange's price, its feed, the settlement source and its trailing mean.

Advances by whole steps it is told to make; knows no market, no order and no clock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from bot.sim.parameters import WorldParameters
from bot.units import E8, Qty

STEP_MS = 10
SAMPLE_MS = 100  # grid of the source's running sum
HISTORY_S = 1_300
MINUTES_MAX = 3 * 1_440  # candles kept of whole minutes, so that those of hours keep their beginnings
START_PRICE = {"btc": 97_000.0, "eth": 3_300.0, "sol": 180.0, "xrp": 2.2}  # a plausible price to start from
ALT_SIGMA = {"btc": 1.0, "eth": 1.3, "sol": 1.6, "xrp": 1.5}
PRICE_STEP_E8: dict[str, E8] = {"btc": 1_000_000, "eth": 1_000_000, "sol": 1_000_000, "xrp": 10_000}
QTY_USD = 60_000.0  # typical size at the reference's touch

Candle: TypeAlias = tuple[int, float, float, float, float]  # open_ms, open, high, low, close


class BinanceQuote(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    bid_e8: E8
    ask_e8: E8
    bid_qty: Qty
    ask_qty: Qty
    update_id: int
    ts_ms: int


class BinanceTrade(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    px_e8: E8
    qty: Qty
    buyer_is_maker: bool
    trade_id: int
    ts_ms: int


class SourcePrice(msgspec.Struct, frozen=True, kw_only=True):
    """The settlement source's spot value of a whole second."""

    asset: str
    value: float
    ts_ms: int


class Twap(msgspec.Struct, frozen=True, kw_only=True):
    """The source's mean over window_s seconds, stamped on a whole second."""

    asset: str
    window_s: int
    value: float
    ts_ms: int


class PricePath:
    """One asset: log price x with stochastic volatility and self-exciting jumps, source basis, and their history."""

    def __init__(self, asset: str, seed: int, start_ms: int, parameters: WorldParameters) -> None:
        self.asset = asset
        self.symbol = asset.upper() + "USDT"
        self.parameters = parameters
        self._seed = f"{seed}:{asset}"
        self.now_ms = start_ms // 1000 * 1000 - HISTORY_S * 1000
        self._rng = random.Random(f"{seed}:price:{asset}")
        self._feed_rng = random.Random(f"{seed}:feed:{asset}")
        self.x = math.log(START_PRICE[asset]) + self._rng.gauss(0.0, 0.02)
        self.basis = parameters.basis_mean + self._rng.gauss(0.0, parameters.basis_sd)
        self._sigma_mean = parameters.sigma * ALT_SIGMA[asset]
        self._y = self._rng.gauss(0.0, parameters.sigma_sd)  # ln(sigma_t / sigma)
        self.sigma = self._sigma_mean * math.exp(self._y)
        self._excited = 0.0  # jump intensity on top of the base rate
        self.jumps = 0  # so far
        self._burst_until_ms = 0
        self._quotes_owed = 0.0
        self._update_id = 1_000_000_000
        self._trade_id = 500_000_000
        samples = HISTORY_S * 1000 // SAMPLE_MS
        sample_s = SAMPLE_MS / 1000.0
        self._sigma_pull = sample_s / parameters.sigma_reversion_s
        self._basis_pull = sample_s / parameters.basis_reversion_s
        self._sigma_push = parameters.sigma_sd * math.sqrt(2 * self._sigma_pull)
        self._basis_push = parameters.basis_sd * math.sqrt(2 * self._basis_pull)
        self._calming = math.exp(-sample_s / parameters.jump_decay_s)
        self._mean_variance = self._sigma_mean**2 * math.exp(2 * parameters.sigma_sd**2)
        self._jump_variance = parameters.jump_sd**2 / (parameters.jump_every_s * (1.0 - parameters.jump_branching))
        self._sums = [0.0] * samples  # running sum of the source, by sample number modulo the size
        self._candles: list[Candle] = [(-1, 0.0, 0.0, 0.0, 0.0)] * HISTORY_S
        self._minutes: dict[int, Candle] = {}  # of the seconds that are over
        self._slot = 0  # of the second under way
        self._first_sample = self.now_ms // SAMPLE_MS
        self.skip_to(start_ms // STEP_MS * STEP_MS)

    # -- advancing -------------------------------------------------------------------------------------------------

    def skip_to(self, to_ms: int) -> None:
        """Advance coarsely, without feed events: at most HISTORY_S seconds in detail, what lies before in one leap."""
        leap_ms = to_ms - self.now_ms - HISTORY_S * 1000
        if leap_ms > 0:
            leap_ms -= leap_ms % 1000
            self.x += self._rng.gauss(0.0, math.sqrt(self.variance(leap_ms / 1000.0) * leap_ms / 1000.0))
            self.now_ms += leap_ms
            self._first_sample = self.now_ms // SAMPLE_MS
        while self.now_ms < to_ms:
            self.step(min(SAMPLE_MS - self.now_ms % SAMPLE_MS, to_ms - self.now_ms))

    def step(self, dt_ms: int = STEP_MS) -> None:
        """Advance by dt_ms, which must not pass a sample boundary."""
        parameters, rng = self.parameters, self._rng
        dt_s = dt_ms / 1000.0
        self.x += self.sigma * math.sqrt(dt_s) * rng.gauss(0.0, 1.0)
        if rng.random() < (1.0 / parameters.jump_every_s + self._excited) * dt_s:
            self.x += rng.gauss(0.0, parameters.jump_sd)
            self.jumps += 1
            self._excited += parameters.jump_branching / parameters.jump_decay_s
            self._burst_until_ms = self.now_ms + round(parameters.burst_s * 1000)
        self.now_ms += dt_ms
        self._candle(math.exp(self.x))
        if self.now_ms % SAMPLE_MS == 0:
            self._sample()

    def _sample(self) -> None:
        """Every SAMPLE_MS: move the slow processes, add to the source's running sum."""
        gauss = self._rng.gauss
        self._y += -self._sigma_pull * self._y + self._sigma_push * gauss(0.0, 1.0)
        self.sigma = self._sigma_mean * math.exp(self._y)
        self._excited *= self._calming
        self.basis += self._basis_pull * (self.parameters.basis_mean - self.basis)
        self.basis += self._basis_push * gauss(0.0, 1.0)
        number, size = self.now_ms // SAMPLE_MS, len(self._sums)
        self._sums[number % size] = self._sums[(number - 1) % size] + math.exp(self.x + self.basis)

    def _candle(self, px: float) -> None:
        """The mid at the end of a step belongs to the second in which the step began."""
        open_ms = (self.now_ms - 1) // 1000 * 1000
        slot = open_ms // 1000 % HISTORY_S
        candle = self._candles[slot]
        if candle[0] == open_ms:
            _, opened, high, low, _ = candle
            self._candles[slot] = (open_ms, opened, px if px > high else high, px if px < low else low, px)
        else:
            self._end_second(self._candles[self._slot])
            self._candles[slot] = (open_ms, px, px, px, px)
            self._slot = slot

    def _end_second(self, second: Candle) -> None:
        if second[0] < 0:
            return
        minute_ms = second[0] // 60_000 * 60_000
        minute = self._minutes.get(minute_ms)
        self._minutes[minute_ms] = (minute_ms, *second[1:]) if minute is None else _joined(minute, second)
        if len(self._minutes) > MINUTES_MAX:
            del self._minutes[next(iter(self._minutes))]

    # -- the source ------------------------------------------------------------------------------------------------

    @property
    def px(self) -> float:
        """The reference's price."""
        return math.exp(self.x)

    @property
    def log_source(self) -> float:
        return self.x + self.basis

    def variance(self, horizon_s: float) -> float:
        """Expected variance of log price per second over a horizon, jumps included."""
        mean = self._mean_variance
        scaled = max(horizon_s, 1e-3) / self.parameters.sigma_reversion_s
        weight = -math.expm1(-scaled) / scaled
        return mean + (self.sigma**2 - mean) * weight + self._jump_variance

    def mean_source(self, from_ms: int, to_ms: int) -> float:
        """Mean of the source's samples in (from, to], as far as they are still kept; the source now if none is."""
        last = min(to_ms, self.now_ms) // SAMPLE_MS
        first = max(from_ms // SAMPLE_MS, self._first_sample, self.now_ms // SAMPLE_MS - len(self._sums) + 1)
        if last <= first:
            return math.exp(self.log_source)
        size = len(self._sums)
        return (self._sums[last % size] - self._sums[first % size]) / (last - first)

    def twap(self, stamp_ms: int, window_s: int) -> float:
        """The settlement stream's value for a stamp, as it is published."""
        end_ms = stamp_ms - self.parameters.twap_lag_ms
        return round(self.mean_source(end_ms - window_s * 1000, end_ms), 8)

    # -- the feed --------------------------------------------------------------------------------------------------

    def feed(self, tell: Callable[[BinanceQuote | BinanceTrade], None]) -> None:
        """Tell what the reference's streams say in this step."""
        parameters, rng = self.parameters, self._feed_rng
        step_s = STEP_MS / 1000.0
        rate = parameters.quotes_per_s * self.sigma / self._sigma_mean
        rate = min(max(rate, 10.0), parameters.quotes_per_s_max)
        if self.now_ms < self._burst_until_ms:
            rate = parameters.quotes_per_s_burst
        self._quotes_owed += rate * step_s * 2.0 * rng.random()
        while self._quotes_owed >= 1.0:
            self._quotes_owed -= 1.0
            tell(self._quote())
        if rng.random() < parameters.trades_per_s * step_s * rate / parameters.quotes_per_s:
            tell(self._trade())

    def _bid_e8(self) -> E8:
        step = PRICE_STEP_E8[self.asset]
        return int(math.exp(self.x) * 1e8) // step * step

    def _quote(self) -> BinanceQuote:
        bid_e8 = self._bid_e8()
        scale = QTY_USD / bid_e8 * 1e8 * 1e6
        self._update_id += self._feed_rng.randint(1, 9)
        return BinanceQuote(
            symbol=self.symbol,
            bid_e8=bid_e8,
            ask_e8=bid_e8 + PRICE_STEP_E8[self.asset],
            bid_qty=int(scale * (0.1 + self._feed_rng.expovariate(1.0))) // 10 * 10,
            ask_qty=int(scale * (0.1 + self._feed_rng.expovariate(1.0))) // 10 * 10,
            update_id=self._update_id,
            ts_ms=self.now_ms,
        )

    def _trade(self) -> BinanceTrade:
        rng = self._feed_rng
        buyer_is_maker = rng.random() < 0.5
        px_e8 = self._bid_e8() + (0 if buyer_is_maker else PRICE_STEP_E8[self.asset])
        self._trade_id += 1
        return BinanceTrade(
            symbol=self.symbol,
            px_e8=px_e8,
            qty=max(10, int(QTY_USD * 0.05 / px_e8 * 1e14 * rng.expovariate(1.0)) // 10 * 10),
            buyer_is_maker=buyer_is_maker,
            trade_id=self._trade_id,
            ts_ms=self.now_ms,
        )

    # -- history ---------------------------------------------------------------------------------------------------

    def seconds(self) -> list[Candle]:
        """One candle for each second kept, oldest first."""
        return sorted(c for c in self._candles if c[0] >= 0 and c[0] < self.now_ms)

    def minute(self, open_ms: int) -> Candle | None:
        """That of a minute that is over, if it is kept."""
        return self._minutes.get(open_ms)

    def recall(self, open_ms: int) -> None:
        """A minute that lies before the history gets a candle of its own, as far from it as the price may have come since."""
        first_ms = self._first_sample * SAMPLE_MS // 60_000 * 60_000
        if open_ms >= first_ms:
            return
        away = self._sigma_mean * math.sqrt((first_ms - open_ms) / 1000.0)
        px = self._minutes[first_ms][1] * math.exp(random.Random(f"{self._seed}:past:{open_ms}").gauss(0.0, away))
        self._minutes = dict(sorted({**self._minutes, open_ms: (open_ms, px, px, px, px)}.items()))

    def minutes(self) -> list[Candle]:
        """One for each minute kept, and last of all the second under way."""
        return [*self._minutes.values(), self._candles[self._slot]]


def gathered(rows: Iterable[Candle], open_of: Callable[[int], int]) -> list[Candle]:
    """Longer candles of shorter ones, both oldest first; `open_of` says when the candle of a moment opened."""
    longer: list[Candle] = []
    for row in rows:
        open_ms = open_of(row[0])
        if longer and longer[-1][0] == open_ms:
            longer[-1] = _joined(longer[-1], row)
        else:
            longer.append((open_ms, *row[1:]))
    return longer


def _joined(first: Candle, then: Candle) -> Candle:
    open_ms, opened, high, low, _ = first
    return open_ms, opened, max(high, then[2]), min(low, then[3]), then[4]
