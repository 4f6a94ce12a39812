"""What our own fills were worth a little later: markouts against the others' microprice (strategy.md section 9).

Our own fair value would grade itself, so it is kept beside it as a diagnosis only. Who traded against whom is not read
from the public feed: that guess is right six times in ten. Knows no clock and no book: it is told both.
"""

from __future__ import annotations

import math
from collections import deque

from bot.messages import Fill, Side
from bot.quoting.modes import Reason
from bot.quoting.parameters import Parameters
from bot.quoting.volatility import decay
from bot.quoting.worth import Worth
from bot.units import NS_PER_S, PX_ONE, Ns

HORIZONS_S = (1, 5, 30)
_M1, _M5 = HORIZONS_S.index(1), HORIZONS_S.index(5)
HALF_LIFE = 20  # fills
FILLS_MIN = 10  # before that many the numbers mean nothing
LATE_NS_MAX: Ns = NS_PER_S  # a mark taken later than this after its time is none
Z_SOFT = -2.0
Z_HARD = -3.0
HARD_NS: Ns = 60 * NS_PER_S
OWN_FILLS = 50
OWN_GAP_MAX = 0.01  # between our own marks and the market's: one of the two is wrong


class Mean:
    """Exponential mean that the first values fill at once; `n_eff` is how many equal ones would be as certain."""

    def __init__(self, half_life: float) -> None:
        self._keep = decay(half_life)
        self._sum = 0.0
        self._weight = 0.0
        self.n = 0

    def add(self, x: float) -> None:
        self._sum = self._keep * self._sum + (1.0 - self._keep) * x
        self._weight = self._keep * self._weight + (1.0 - self._keep)
        self.n += 1

    @property
    def value(self) -> float:
        return self._sum / self._weight if self.n else 0.0

    @property
    def n_eff(self) -> float:
        return min(self.n, (1.0 + self._keep) / (1.0 - self._keep))


class SideMarkouts:
    """Mean markouts of one side's fills after each horizon, USD a share, and how bad the 5 s one is in units of chance."""

    def __init__(self) -> None:
        self.means = tuple(Mean(HALF_LIFE) for _ in HORIZONS_S)
        self._scaled = Mean(HALF_LIFE)

    def mark(self, horizon: int, markout: float, usual: float) -> None:
        """`usual`: the standard deviation that p's own walk gives the markout; 0 when it was not known."""
        self.means[horizon].add(markout)
        if horizon == _M5 and usual > 0:
            self._scaled.add(markout / usual)

    @property
    def m5(self) -> float:
        """0 until enough fills are known."""
        return self.means[_M5].value if self.means[_M5].n >= FILLS_MIN else 0.0

    @property
    def z(self) -> float:
        return self._scaled.value * math.sqrt(self._scaled.n_eff) if self._scaled.n >= FILLS_MIN else 0.0


class Toxicity:
    """The markouts of one series, which outlive its windows."""

    def __init__(self, parameters: Parameters) -> None:
        self.worth = Worth(parameters.c_size)
        self.bid = SideMarkouts()
        self.ask = SideMarkouts()
        self._own_gaps: deque[float] = deque(maxlen=OWN_FILLS)
        self._hard_until_ns: Ns = 0

    def mark(self, bid: bool, horizon: int, markout: float, own: float, usual: float, now_ns: Ns) -> None:
        """`own`: the same markout by our own fair value."""
        side = self.bid if bid else self.ask
        side.mark(horizon, markout, usual)
        if horizon == _M1:
            self.worth.add(markout, now_ns)
        if horizon == _M5:
            self._own_gaps.append(own - markout)
            if side.z < Z_HARD:
                self._hard_until_ns = now_ns + HARD_NS

    @property
    def own_gap(self) -> float:
        """How much kinder our own marks are than the market's; 0 until enough fills are known."""
        return sum(self._own_gaps) / OWN_FILLS if len(self._own_gaps) == OWN_FILLS else 0.0

    def reasons(self, now_ns: Ns) -> int:
        reasons = Reason.TOX_HARD if now_ns < self._hard_until_ns else 0
        if min(self.bid.z, self.ask.z) < Z_SOFT:
            reasons |= Reason.TOX_SOFT
        if abs(self.own_gap) > OWN_GAP_MAX:
            reasons |= Reason.DIVERGE
        return reasons


class _Pending:
    """One fill on its way to its last mark."""

    __slots__ = ("bid", "exec_id", "filled_ns", "px", "usual")

    def __init__(self, fill: Fill, sigma_p: float) -> None:
        self.exec_id = fill.exec_id
        self.bid = fill.up_side is Side.BUY
        self.px = fill.up_px / PX_ONE
        self.filled_ns = fill.now_ns
        self.usual = sigma_p * math.sqrt(HORIZONS_S[_M5])


class Markouts:
    """Fills of one market that wait for their marks; what comes of them goes to the series' toxicity."""

    def __init__(self, toxicity: Toxicity) -> None:
        self.toxicity = toxicity
        self._waiting: tuple[deque[_Pending], ...] = tuple(
            deque() for _ in HORIZONS_S
        )  # by the next mark, oldest first

    def filled(self, fill: Fill, sigma_p: float) -> None:
        """A reversed fill takes its original with it, if that still waits."""
        if fill.qty > 0:
            self._waiting[0].append(_Pending(fill, sigma_p))
            return
        for waiting in self._waiting:
            for pending in [pending for pending in waiting if pending.exec_id == fill.exec_id]:
                waiting.remove(pending)

    def passed(self, micro: float, fair: float, now_ns: Ns) -> None:
        """Take the marks that are due. `micro` or `fair` 0: unknown, and the mark waits a little for it."""
        known = micro > 0 and fair > 0
        for horizon, waiting in enumerate(self._waiting):
            while waiting:
                age_ns = now_ns - waiting[0].filled_ns - HORIZONS_S[horizon] * NS_PER_S
                if age_ns < 0 or (not known and age_ns <= LATE_NS_MAX):
                    break
                pending = waiting.popleft()
                if known and age_ns <= LATE_NS_MAX:
                    sign = 1.0 if pending.bid else -1.0
                    markout, own = sign * (micro - pending.px), sign * (fair - pending.px)
                    self.toxicity.mark(pending.bid, horizon, markout, own, pending.usual, now_ns)
                if horizon + 1 < len(HORIZONS_S):
                    self._waiting[horizon + 1].append(pending)
