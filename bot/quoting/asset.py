"""What the model knows of one asset, whatever its windows: one mid a second, volatility, and the basis of each stream.

Reads the asset's caches when it is told the time. Knows no market.
"""

from __future__ import annotations

import math

from bot.caches import Caches, ReferenceCache
from bot.quoting.basis import SettlementBasis
from bot.quoting.guards import reference_reasons
from bot.quoting.modes import Reason
from bot.quoting.parameters import Parameters
from bot.quoting.perp import PerpLead
from bot.quoting.seconds import SecondSums
from bot.quoting.shock import Moves
from bot.quoting.volatility import WARM_S, Volatility
from bot.units import E8, NS_PER_S, Ns

HISTORY_JUMP_S = 2  # a history that begins that much earlier than it did was loaded, not watched


class AssetModel:
    """`second` is the newest wall-clock second that volatility and sums contain; `reasons` tell of the reference feed.

    `sigma` is 0 until volatility is warm. While the feed is too old, nothing advances; the gap is taken as one step.
    """

    def __init__(self, asset: str, parameters: Parameters, caches: Caches) -> None:
        self.asset = asset
        self._parameters = parameters
        self._caches = caches
        self.sums = SecondSums()
        self.volatility = Volatility(parameters)
        self.moves = Moves()
        self.bases: dict[int, SettlementBasis] = {}
        self.reasons: int = Reason.BN_HARD
        self.mid_e8: E8 = 0
        self.spot = 0.0  # reference mid as a price
        self.log_spot = 0.0
        self.lead = PerpLead(parameters.w_perp)
        self.second = 0
        self._mid = 0
        self._since = 0  # where the history of the ring begins
        self._blind = False
        self._blind_until = 0

    def basis_of(self, window_s: int) -> SettlementBasis:
        basis = self.bases.get(window_s)
        if basis is None:
            basis = self.bases[window_s] = SettlementBasis(window_s, self._parameters)
        return basis

    @property
    def sigma(self) -> float:
        return self.volatility.sigma

    def advance(self, connected: bool, now_ns: Ns, utc_ns: Ns) -> None:
        """Take in what the caches got since the last call."""
        cache = self._caches.reference.get(self.asset)
        self.reasons = reference_reasons(cache, connected, now_ns)
        if cache is None or cache.latest is None:
            return
        latest = cache.latest
        self.mid_e8 = latest.mid_e8
        self.spot = (latest.bid_e8 + latest.ask_e8) / 2e8
        self.log_spot = math.log(self.spot)
        second = utc_ns // NS_PER_S
        self.lead.look(cache.perp, self.log_spot, now_ns, second)
        since = cache.seconds.last_second - cache.seeded_s
        cold = not self.volatility.warm and cache.seeded_s >= WARM_S
        if not self.second or cold or since < self._since - HISTORY_JUMP_S:
            self._load(cache, second)
        elif self.reasons & Reason.BN_HARD:
            self._blind = True
        elif second > self.second:
            self._step(cache, second)
        self._since = since
        self.moves.look(cache.fast, self.mid_e8, self.sigma, now_ns, utc_ns)
        if self.volatility.warm:
            if self.volatility.turbulent:
                self.reasons |= Reason.VOLREG
            for window_s, basis in self.bases.items():
                basis.learn(self._caches.settlement_of(self.asset, window_s), self.sums, self._blind_until)

    def _load(self, cache: ReferenceCache, second: int) -> None:
        if not cache.seconds.last_second:
            return
        mids = self.sums.load(cache.seconds, second)
        if not mids:
            return
        self.second = second
        self._mid = mids[-1]
        self._blind = False
        self._blind_until = 0
        if cache.seeded_s >= WARM_S:
            self.volatility.seed(mids)
            self.moves.remember(second, self.sigma)

    def _step(self, cache: ReferenceCache, second: int) -> None:
        """Seconds that began since the last call; a quiet one has the last mid and so a return of 0."""
        mids = [cache.seconds.at(begun) or self._mid for begun in range(self.second + 1, second + 1)]
        for mid in mids:
            self.sums.extend(mid)
        if self.volatility.warm:
            if self._blind:
                self.volatility.gap(math.log(mids[-1] / self._mid), len(mids))
            else:
                previous = self._mid
                for mid in mids:
                    self.volatility.step(math.log(mid / previous) if mid != previous else 0.0)
                    previous = mid
            self.moves.remember(second, self.sigma)
        if self._blind:
            self._blind = False
            self._blind_until = second
        self._mid = mids[-1]
        self.second = second
