"""One market's window as the model sees it: schedule, strike, time to the effective end, and the state to price.

Everything here is derived from the clock and the asset's model; quotes, modes and positions are the quoter's.
"""

from __future__ import annotations

import math

from bot.caches import RING_S, Caches
from bot.market import CLOSE_CANDLE_S, Market, Rule
from bot.quoting.asset import AssetModel
from bot.quoting.basis import LAGS, SettlementBasis
from bot.quoting.fair_value import State
from bot.quoting.parameters import Parameters
from bot.quoting.phases import schedule_of
from bot.units import NS_PER_MS, NS_PER_S, Ns

STRIKE_LATE_MS = 2_000  # a value stamped later than that after the start is another moment's
STRIKE_ERROR_MAX = 5e-4  # log distance to our own reconstruction
ITO_FROM_S = 14_400
OWN_STRIKE_DOUBT = 2.0  # factor on the basis deviation while the strike is our own reconstruction
# A mean over prints taken as each second begins is that of a continuous window which reaches half a second further.
HALF_PRINT_S = 0.5
WINDOW_S_MAX = RING_S - 4 * LAGS  # a longer mean cannot be held beside the seconds by which the stream lags


class Window:
    """`strike` is 0 until known, in the source's units; once set it stays for the window's life. `doubtful` is the
    value that was refused as a strike, 0 for none."""

    def __init__(self, market: Market, parameters: Parameters, caches: Caches, model: AssetModel) -> None:
        self.market = market
        self.schedule = schedule_of(market.duration_s, parameters)
        self._caches = caches
        self._model = model
        self._twap = market.rule is Rule.TWAP
        self.priceable = 0 < market.window_s <= WINDOW_S_MAX if self._twap else True
        self.basis: SettlementBasis | None = None
        if self._twap and self.priceable:
            self.basis = model.basis_of(market.window_s)
        self.strike = 0.0
        self.strike_is_ours = False
        self.doubtful = 0.0
        self._log_strike = 0.0
        self._ito = 1 if not self._twap and market.duration_s >= ITO_FROM_S else 0
        self._end_s = market.end_utc_ns // NS_PER_S
        self._mean = 0.0
        self._mean_of: tuple[int, int] = (0, 0)

    @property
    def log_distance(self) -> float:
        """From the reference mid to what is priced: the basis, and what the perpetual tells beyond the mid."""
        return self._model.lead.value + (self.basis.value if self.basis is not None else 0.0)

    @property
    def spot(self) -> float:
        """In the source's units."""
        return self._model.spot * math.exp(self.log_distance)

    def find_strike(self, utc_ns: Ns) -> bool:
        """Look for the price to beat; True once it is known."""
        if not self.strike and utc_ns >= self.market.start_utc_ns:
            self.strike = self._stream_strike() if self._twap else self._candle_strike()
            if self.strike:
                self._log_strike = math.log(self.strike)
        return self.strike > 0

    def _candle_strike(self) -> float:
        cache = self._caches.reference.get(self.market.asset)
        if cache is None:
            return 0.0
        prices = cache.candle_close_e8 if self.market.rule is Rule.CLOSES else cache.candle_open_e8
        return prices.get(self.market.start_utc_ns // NS_PER_S, 0) / 1e8

    def _stream_strike(self) -> float:
        """The stream's first value stamped at or after the start. When it was not heard at that time, our own mean."""
        basis = self.basis
        if basis is None or not basis.learnt:
            return 0.0
        start_ms = self.market.start_utc_ns // NS_PER_MS
        stream = self._caches.settlement_of(self.market.asset, self.market.window_s)
        end = start_ms // 1000 - basis.lag_s
        own = self._model.sums.mean(end - self.market.window_s, end) * math.exp(basis.value)
        value = stream.first_at_or_after(start_ms)
        if value is not None and value.utc_ms <= start_ms + STRIKE_LATE_MS:
            strike = value.value_e8 / 1e8
            if own and abs(math.log(strike / own)) > STRIKE_ERROR_MAX:
                self.doubtful = strike
                return 0.0
            return strike
        latest = stream.latest
        if own and latest is not None and latest.utc_ms > start_ms + STRIKE_LATE_MS:
            self.strike_is_ours = True
            return own
        return 0.0

    def state(self, utc_ns: Ns) -> State | None:
        """What fair value is a function of; None while something is not known or when the outcome is fixed."""
        model, basis, market = self._model, self.basis, self.market
        if not self.strike or not model.sigma or not model.spot:
            return None
        tau = (market.end_utc_ns - utc_ns) / NS_PER_S
        if basis is not None:
            tau += HALF_PRINT_S - basis.lag_s
        elif market.rule is Rule.CLOSES:
            tau += CLOSE_CANDLE_S
        if tau <= 0:
            return None
        log_spot = model.log_spot + self.log_distance
        if basis is None:
            return State(
                rule=Rule.CANDLE,
                log_spot=log_spot,
                log_strike=self._log_strike,
                sigma=model.sigma,
                tau=tau,
                ito=self._ito,
            )
        return State(
            rule=Rule.TWAP,
            log_spot=log_spot,
            log_strike=self._log_strike,
            sigma=model.sigma,
            tau=tau,
            window_s=market.window_s,
            log_mean=self._elapsed_mean(basis, tau, log_spot) if tau < market.window_s else 0.0,
            basis_sd=basis.sd * (OWN_STRIKE_DOUBT if self.strike_is_ours else 1.0),
        )

    def _elapsed_mean(self, basis: SettlementBasis, tau: float, log_spot: float) -> float:
        """Log mean of spot over the part of the averaging window that has passed. Seconds of which no print is known,
        and the one that is under way, have spot's own value."""
        window_s, sums = self.market.window_s, self._model.sums
        end = self._end_s - basis.lag_s
        upto = min(sums.last, end)
        known_s = window_s - (end - upto)
        if known_s <= 0:
            return log_spot
        if self._mean_of != (end, upto):
            mean = sums.mean(end - window_s, upto)
            self._mean = math.log(mean) if mean else 0.0
            self._mean_of = (end, upto)
        if not self._mean:
            return log_spot
        share = known_s / (window_s - tau)
        return share * (self._mean + basis.value) + (1.0 - share) * log_spot
