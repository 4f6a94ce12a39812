"""Guards: feeds too old to price from, a book that disagrees for long, and the band of reference prices inside which
resting quotes have an edge.

Ages are on the monotonic clock, from receive times. Knows neither feeds nor actors, only their caches' snapshots.
"""

from __future__ import annotations

import math

from bot.caches import BookView, ReferenceCache, Settlement
from bot.quoting.blend import Blend
from bot.quoting.fair_value import State, spot_at
from bot.quoting.modes import Reason
from bot.quoting.parameters import Parameters
from bot.units import E8, NS_PER_MS, NS_PER_S, PX_ONE, Ns, Px

REFERENCE_SOFT_NS = 500 * NS_PER_MS
REFERENCE_HARD_NS = 2 * NS_PER_S
SYMBOL_SOFT_NS = 3 * NS_PER_S
SYMBOL_HARD_NS = 10 * NS_PER_S
LAG_SOFT_MS = 250.0
LAG_HARD_MS = 1000.0
BOOK_SOFT_NS = 3 * NS_PER_S
BOOK_SOFT_MOVE = 0.02
MARKET_HARD_NS = 10 * NS_PER_S
SETTLE_SOFT_NS = 5 * NS_PER_S
SETTLE_HARD_NS = 15 * NS_PER_S
DIVERGED_NS = 2 * NS_PER_S
_LOG_REACH = 0.5  # a guard price further away than this log distance guards nothing


def reference_reasons(cache: ReferenceCache | None, connected: bool, now_ns: Ns) -> int:
    """Staleness and delay of the reference exchange."""
    if cache is None or cache.latest is None or not connected:
        return Reason.BN_HARD
    latest = cache.latest
    symbol_age = now_ns - latest.recv_ns
    age = min(now_ns - cache.frame_ns, symbol_age)
    if age > REFERENCE_HARD_NS or symbol_age > SYMBOL_HARD_NS or latest.lag_ms > LAG_HARD_MS:
        return Reason.BN_HARD
    reasons = 0
    if age > REFERENCE_SOFT_NS or symbol_age > SYMBOL_SOFT_NS:
        reasons |= Reason.BN_SOFT
    if latest.lag_ms > LAG_SOFT_MS:
        reasons |= Reason.LAG
    return reasons


def book_reasons(view: BookView | None, market_frame_ns: Ns, connected: bool, moved: float, now_ns: Ns) -> int:
    """Staleness of the venue's book. `moved`: how far our fair value went since the book's last frame. A quiet book
    is not stale as long as frames of any market arrive."""
    if view is None or not connected or now_ns - max(market_frame_ns, view.recv_ns) > MARKET_HARD_NS:
        return Reason.PM_HARD
    if now_ns - view.recv_ns > BOOK_SOFT_NS and abs(moved) >= BOOK_SOFT_MOVE:
        return Reason.PM_SOFT
    return 0


def settlement_reasons(latest: Settlement | None, now_ns: Ns) -> int:
    """Staleness of the settling stream."""
    if latest is None or now_ns - latest.recv_ns > SETTLE_HARD_NS:
        return Reason.SETTLE_HARD
    return Reason.SETTLE_SOFT if now_ns - latest.recv_ns > SETTLE_SOFT_NS else 0


class Divergence:
    """Model and book apart for long: the market may know something (rule, basis, halt). What was found stays until the
    book can be read again, for a book that hides agrees with nothing."""

    def __init__(self, parameters: Parameters) -> None:
        self._soft = parameters.div_soft
        self._hard = parameters.div_hard
        self._soft_ns: Ns | None = None  # since when they are that far apart
        self._hard_ns: Ns | None = None

    def update(self, gap: float, now_ns: Ns) -> None:
        """`gap`: between the model's p and a microprice that can be relied on."""
        size = abs(gap)
        self._soft_ns = (now_ns if self._soft_ns is None else self._soft_ns) if size > self._soft else None
        self._hard_ns = (now_ns if self._hard_ns is None else self._hard_ns) if size > self._hard else None

    def reasons(self, now_ns: Ns) -> int:
        reasons = 0
        if self._soft_ns is not None and now_ns - self._soft_ns >= DIVERGED_NS:
            reasons |= Reason.DIVERGE
        if self._hard_ns is not None and now_ns - self._hard_ns >= DIVERGED_NS:
            reasons |= Reason.DIVERGE_HARD
        return reasons


def guard_band(state: State, s: float, blend: Blend, basis: float, bid_px: Px, ask_px: Px) -> tuple[E8, E8]:
    """Reference mids at which fair value meets the resting bid (below) and offer (above); 0 for no quote or no reach.

    `basis`: log distance from the reference mid to the state's spot. Pulling at zero edge is early: a sniper who pays
    the fee needs that much more.
    """
    return _guard(state, s, blend, basis, bid_px), _guard(state, s, blend, basis, ask_px)


def _guard(state: State, s: float, blend: Blend, basis: float, px: Px) -> E8:
    if not 0 < px < PX_ONE:
        return 0
    log_spot = spot_at(state, s, blend.modelled(px / PX_ONE))
    if abs(log_spot - state.log_spot) > _LOG_REACH:
        return 0
    return round(math.exp(log_spot - basis) * 1e8)
