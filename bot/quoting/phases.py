"""Life of a window: before it, waiting for its strike, live, closing, stopped, settling (strategy.md section 11).

Pure: wall-clock nanoseconds in, a phase out. Knows no feed and no order.
"""

from __future__ import annotations

import enum

import msgspec

from bot.market import Market
from bot.quoting.modes import Reason
from bot.quoting.parameters import Parameters
from bot.units import NS_PER_S, Ns


class Phase(enum.StrEnum):
    PRE = "PRE"
    OPEN_WAIT = "OPEN_WAIT"
    LIVE = "LIVE"
    CLOSE = "CLOSE"
    STOP = "STOP"
    SETTLE = "SETTLE"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds before the end from which a window only reduces, and from which it stops; and what goes with them."""

    reduce_s: float
    stop_s: float
    open_wait_s: float
    sp_max: float
    c_leeway: float


_ENDS: dict[int, tuple[float, float]] = {
    60: (20, 15),
    300: (75, 45),
    900: (120, 60),
    3600: (120, 45),
    14_400: (240, 90),
    86_400: (600, 300),
}
# One-minute windows exist on the embedded venue only; with a 10 s mean they are all gamma.
_MINUTE = 60
_MINUTE_OPEN_WAIT_S = 1.0
_MINUTE_SP_MAX = 0.15
_MINUTE_LEEWAY = 0.8  # or whoever tries the bot out for a minute or two would hardly see a fill


def schedule_of(duration_s: float, parameters: Parameters) -> Schedule:
    """The row of the nearest known duration, nearest as a ratio."""
    duration = max(duration_s, 1)
    nearest = min(_ENDS, key=lambda known: max(known / duration, duration / known))
    reduce_s, stop_s = _ENDS[nearest]
    minute = nearest == _MINUTE
    return Schedule(
        reduce_s=reduce_s,
        stop_s=stop_s,
        open_wait_s=min(_MINUTE_OPEN_WAIT_S, parameters.open_wait) if minute else parameters.open_wait,
        sp_max=_MINUTE_SP_MAX if minute else parameters.sp_max,
        c_leeway=min(_MINUTE_LEEWAY, parameters.c_leeway) if minute else parameters.c_leeway,
    )


def phase_of(market: Market, schedule: Schedule, utc_ns: Ns, strike_known: bool) -> Phase:
    left_s = (market.end_utc_ns - utc_ns) / NS_PER_S
    if left_s <= 0:
        return Phase.SETTLE
    if utc_ns < market.start_utc_ns:
        return Phase.PRE
    if left_s < schedule.stop_s:
        return Phase.STOP
    if left_s < schedule.reduce_s:
        return Phase.CLOSE
    if not strike_known or (utc_ns - market.start_utc_ns) / NS_PER_S < schedule.open_wait_s:
        return Phase.OPEN_WAIT
    return Phase.LIVE


def phase_reasons(phase: Phase, strike_known: bool) -> int:
    """What a phase says about quoting. Waiting for the strike alone is NO_STRIKE."""
    if phase is Phase.LIVE:
        return 0
    missing = 0 if strike_known or phase is Phase.PRE else Reason.NO_STRIKE
    if phase is Phase.CLOSE:
        return Reason.CLOSE_PHASE | missing
    if phase is Phase.OPEN_WAIT and missing:
        return missing
    return Reason.PHASE | missing
