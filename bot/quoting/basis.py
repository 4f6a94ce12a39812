"""The log distance between the reference exchange and the source that settles, and the delay of that source.

A value of the settling stream is a trailing mean, so it is compared with our own mean over the same interval. How many
seconds the stream lags behind its stamp is not documented, so every lag is tried and the best fit kept.
"""

from __future__ import annotations

import math

from bot.caches import SettlementCache
from bot.quoting.parameters import Parameters
from bot.quoting.seconds import SecondSums
from bot.quoting.volatility import decay

LAGS = 6  # 0 to 5 s
SHARP_UPDATES = 20  # before this many values no lag is trusted
SHARP_RATIO = 1.5  # lags that are not neighbours of the best must fit this much worse
SWITCH_RATIO = 0.8  # a new best must be this much better, or the end of the window would jitter


class Basis:
    """Exponential mean `value` of x and its deviation `sd`; the first x is taken as it is."""

    def __init__(self, half_life: float) -> None:
        self._keep = decay(half_life)
        self._variance = 0.0
        self.value = 0.0
        self.updates = 0

    def update(self, x: float) -> None:
        if not self.updates:
            self.value = x
        else:
            error = x - self.value
            self.value += (1 - self._keep) * error
            self._variance = self._keep * self._variance + (1 - self._keep) * error * error
        self.updates += 1

    @property
    def sd(self) -> float:
        return math.sqrt(self._variance)


class _Lag:
    """One candidate delay. `misfit` is the mean square of x's changes from value to value: the true basis hardly moves
    in a second, while a wrong lag compares the entry and exit of different seconds. Levels of x would need minutes to
    tell lags apart, since the basis wanders."""

    def __init__(self, half_life: float) -> None:
        self.basis = Basis(half_life)
        self._keep = decay(half_life)
        self._last: float | None = None
        self._weight = 0.0
        self._sum = 0.0

    def update(self, x: float) -> None:
        self.basis.update(x)
        if self._last is not None:
            change = x - self._last
            self._sum = self._keep * self._sum + change * change
            self._weight = self._keep * self._weight + 1
        self._last = x

    def skip(self) -> None:
        self._last = None

    @property
    def misfit(self) -> float:
        return self._sum / self._weight if self._weight else math.inf


class SettlementBasis:
    """Basis and lag of one stream. `learnt` once a value could be compared; `diverged` while the newest was absurd."""

    def __init__(self, window_s: int, parameters: Parameters) -> None:
        self.window_s = window_s
        self._max = parameters.basis_max
        self._lags = [_Lag(parameters.H_basis) for _ in range(LAGS)]
        self._seen_ms = 0
        self.lag_s = min(max(round(parameters.settle_lag_s), 0), LAGS - 1)
        self.sharp = False
        self.diverged = False

    @property
    def value(self) -> float:
        return self._lags[self.lag_s].basis.value

    @property
    def sd(self) -> float:
        return self._lags[self.lag_s].basis.sd

    @property
    def learnt(self) -> bool:
        return self._lags[self.lag_s].basis.updates > 0

    def learn(self, cache: SettlementCache, sums: SecondSums, blind_until: int = 0) -> bool:
        """Take in the stream's new values; True if there were any. Values whose interval touches seconds up to
        `blind_until`, in which the reference feed was down, say nothing and are passed over."""
        newest = cache.latest
        if newest is None or newest.utc_ms <= self._seen_ms or not sums.last:
            return False
        fresh = []
        for value in reversed(cache.history):
            if value.utc_ms <= self._seen_ms:
                break
            fresh.append(value)
        learnt = False
        for value in reversed(fresh):
            second = value.utc_ms // 1000
            if second > sums.last:
                break
            self._seen_ms = value.utc_ms
            if second - LAGS + 1 - self.window_s > blind_until:
                learnt = self._compare(math.log(value.value_e8 / 1e8), second, sums) or learnt
        if learnt:
            self._choose()
        return learnt

    def _compare(self, log_value: float, second: int, sums: SecondSums) -> bool:
        xs = []
        for lag in range(LAGS):
            mean = sums.mean(second - lag - self.window_s, second - lag)
            if not mean:
                return False
            xs.append(log_value - math.log(mean))
        self.diverged = abs(xs[self.lag_s]) > self._max
        for candidate, x in zip(self._lags, xs, strict=True):
            if abs(x) > self._max:
                candidate.skip()
            else:
                candidate.update(x)
        return True

    def _choose(self) -> None:
        if self._lags[self.lag_s].basis.updates < SHARP_UPDATES:
            return
        misfits = [lag.misfit for lag in self._lags]
        best = min(range(LAGS), key=misfits.__getitem__)
        if misfits[best] < SWITCH_RATIO * misfits[self.lag_s]:
            self.lag_s = best
        limit = SHARP_RATIO * misfits[best]
        self.sharp = all(
            misfit >= limit for lag, misfit in enumerate(misfits) if abs(lag - best) > 1 and abs(lag - self.lag_s) > 1
        )
