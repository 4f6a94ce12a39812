"""The life of one generated window: its true probability, and who trades in it when. Knows no wire and no clock."""

from __future__ import annotations

import math

from bot.market import Rule
from bot.sim.exchange import Exchange, SimMarket
from bot.sim.parameters import WorldParameters
from bot.sim.prices import SAMPLE_MS, PricePath
from bot.sim.traders import Informed, Maker, Noise, Truth

LIVE_PERIOD_MS = (40, 80)  # a maker looks this often, and rarely before the window begins
EARLY_PERIOD_MS = (400, 800)
NEVER_MS = 1 << 62
MINUTE_MS = 60_000
PRICE_MS = {Rule.CANDLE: 1_000, Rule.CLOSES: MINUTE_MS}  # from the start until the price to beat is known
TICK_FINE = 10
TICK_CHANGE_P = 0.04  # a mid closer than this to 0 or 1 makes the grid finer, once


def normal_cdf(value: float) -> float:
    return 0.5 * math.erfc(-value * math.sqrt(0.5))


class Life:
    """One window: its true p, and the participants in it."""

    def __init__(
        self,
        market: SimMarket,
        path: PricePath,
        exchange: Exchange,
        parameters: WorldParameters,
        makers: list[Maker],
        informed: list[Informed],
        noise: Noise,
    ) -> None:
        self.market = market
        self._path = path
        self._exchange = exchange
        self._parameters = parameters
        self._makers = makers
        self._informed = informed
        self._noise = noise
        self._lag_ms = parameters.twap_lag_ms
        self._strike: float | None = None  # known to the generator as soon as its averaging ended
        self._tick_changed = False
        self._wake_ms = 0  # not before then does any maker look
        # The minutes whose open or close is the strike, and whose close is the final price, where candles settle.
        self._candles_ms = market.start_ms, market.end_ms - (MINUTE_MS if market.rule is Rule.CANDLE else 0)
        if market.rule is not Rule.TWAP:
            self._look_at_candles(path.now_ms)  # it may be under way
        self.truth = Truth(self.fair(path.now_ms))

    def tell(self, told_ms: int) -> None:
        """The settlement stream reached a stamp: strike and final appear."""
        market, path = self.market, self._path
        if market.rule is not Rule.TWAP:
            return
        if market.strike is None and told_ms >= market.start_ms:
            market.strike = path.twap(market.start_ms, market.window_s)
        if market.final is None and told_ms >= market.end_ms:
            market.final = path.twap(market.end_ms, market.window_s)

    def step(self, now_ms: int) -> None:
        market = self.market
        if market.rule is not Rule.TWAP and market.final is None and now_ms % SAMPLE_MS == 0:
            self._look_at_candles(now_ms)
        if market.closed:
            return
        live = now_ms >= market.start_ms
        if not live and now_ms % SAMPLE_MS and now_ms < self._wake_ms and now_ms < self._noise.next_ms:
            return  # nothing is due in a window that has not begun
        if live or now_ms % SAMPLE_MS == 0:
            self.truth.put(self.fair(now_ms))
        if now_ms >= market.end_ms - self._parameters.maker_leaves_ms:
            if self._makers:
                self.leave(now_ms)
                self._makers = []
        else:
            if live and self._parameters.tick_changes and not self._tick_changed:
                self._change_tick(now_ms)
            if now_ms >= self._wake_ms:
                self._wake(now_ms, live)
        if live:
            for informed in self._informed:
                informed.look(market, self.truth, now_ms)
        if now_ms >= self._noise.next_ms:
            self._noise.arrive(now_ms, quiet=not live)

    def _look_at_candles(self, now_ms: int) -> None:
        """The price to beat and the final one, as soon as the candles they are taken from have them."""
        market, path = self.market, self._path
        strike_ms, final_ms = self._candles_ms
        if market.strike is None and now_ms > strike_ms + PRICE_MS[market.rule]:
            minute = path.minute(strike_ms)
            market.strike = round(path.px if minute is None else minute[1 if market.rule is Rule.CANDLE else 4], 8)
        if now_ms > final_ms + MINUTE_MS:
            minute = path.minute(final_ms)
            market.final = round(path.px if minute is None else minute[4], 8)

    def _wake(self, now_ms: int, live: bool) -> None:
        for maker in self._makers:
            if now_ms >= maker.next_ms:
                steps = maker.delay_steps if live else 0
                maker.wake(self.truth.ago(steps), now_ms, LIVE_PERIOD_MS if live else EARLY_PERIOD_MS)
        self._wake_ms = min([maker.next_ms for maker in self._makers], default=NEVER_MS)

    def wake_all(self, now_ms: int) -> None:
        """The book exists from the first moment."""
        for maker in self._makers:
            maker.wake(self.truth.ago(0), now_ms, LIVE_PERIOD_MS)
        self._wake_ms = 0

    def leave(self, now_ms: int) -> None:
        for maker in self._makers:
            maker.leave(now_ms)

    def resync(self, now_ms: int) -> None:
        self.truth.fill(self.fair(now_ms))
        self._noise.restart(now_ms)
        if not self.market.closed and now_ms < self.market.end_ms - self._parameters.maker_leaves_ms:
            self.wake_all(now_ms)

    def _change_tick(self, now_ms: int) -> None:
        bid, ask = self._exchange.best(self.market.condition_id)
        if bid and ask and not TICK_CHANGE_P * 20_000 <= bid + ask <= (1 - TICK_CHANGE_P) * 20_000:
            self._tick_changed = True
            self._exchange.change_tick(self.market.condition_id, TICK_FINE, now_ms)

    # -- true p ----------------------------------------------------------------------------------------------------

    def fair(self, now_ms: int) -> float:
        """P(final mean >= strike mean) given the path so far: log of a mean taken for the mean of logs."""
        if self.market.rule is not Rule.TWAP:
            return self._fair_by_candles(now_ms)
        market, path, w = self.market, self._path, float(self.market.window_s)
        begin_s = (market.start_ms - self._lag_ms - now_ms) / 1000.0
        tau = (market.end_ms - self._lag_ms - now_ms) / 1000.0
        if begin_s >= w:
            return 0.5
        if begin_s > 0.0:
            edge = (w - begin_s) / w * (path.log_source - self._log_mean(market.start_ms, w))
            u = begin_s
            scale = u - u * u / w + u**3 / (3 * w * w) + (tau - u) - 2 * w / 3
            return normal_cdf(edge / math.sqrt(path.variance(tau) * scale))
        if self._strike is None:
            self._strike = path.twap(market.start_ms, market.window_s)
        if tau <= 0.0:
            return 1.0 if path.twap(market.end_ms, market.window_s) >= self._strike else 0.0
        if tau >= w:
            edge, scale = path.log_source, tau - 2 * w / 3
        else:
            mean = self._log_mean(market.end_ms, w)
            edge, scale = ((w - tau) * mean + tau * path.log_source) / w, tau**3 / (3 * w * w)
        return normal_cdf((edge - math.log(self._strike)) / math.sqrt(path.variance(tau) * scale))

    def _fair_by_candles(self, now_ms: int) -> float:
        """P(final >= strike): nothing is averaged, and nothing known before there is a strike."""
        market, path = self.market, self._path
        if market.strike is None:
            return 0.5
        if market.final is not None:
            return 1.0 if market.final >= market.strike else 0.0
        tau = max(self._candles_ms[1] + MINUTE_MS - now_ms, 1) / 1000.0
        return normal_cdf((path.x - math.log(market.strike)) / math.sqrt(path.variance(tau) * tau))

    def _log_mean(self, stamp_ms: int, w: float) -> float:
        """Log of the source's mean over the elapsed part of an averaging window."""
        end_ms = stamp_ms - self._lag_ms
        return math.log(self._path.mean_source(end_ms - round(w * 1000), end_ms))
