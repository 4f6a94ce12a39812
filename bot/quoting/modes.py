"""Quote modes: why a market may quote less than freely, and how slowly it comes back (strategy.md section 10).

Escalation is immediate. Coming back waits for the level's cooldown and passes through DEFENSIVE. Knows only reasons.
"""

from __future__ import annotations

import enum

from bot.messages import QuoteMode
from bot.units import NS_PER_MS, Ns


class Reason(enum.IntEnum):
    """Bits of QuoteIntent.reasons."""

    SHOCK = 1 << 0
    BN_SOFT = 1 << 1
    PM_SOFT = 1 << 2
    SETTLE_SOFT = 1 << 3
    LAG = 1 << 4
    DIVERGE = 1 << 5
    WIDE = 1 << 6
    VOLREG = 1 << 7
    TOX_SOFT = 1 << 8
    CLOSE_PHASE = 1 << 16
    TOX_HARD = 1 << 17
    MKT_LOSS = 1 << 18
    SETTLE_HARD = 1 << 19
    INV_LIMIT = 1 << 20
    BN_HARD = 1 << 24
    PM_HARD = 1 << 25
    USER_WS = 1 << 26
    RESYNC = 1 << 27
    NO_STRIKE = 1 << 28
    PHASE = 1 << 29
    GAMMA = 1 << 30
    BAND = 1 << 31
    DIVERGE_HARD = 1 << 32
    DAY_LOSS = 1 << 33
    META = 1 << 34
    NOT_WARM = 1 << 35
    CLOCK = 1 << 36


def _mask(*reasons: Reason) -> int:
    return sum(reasons)


DEFENSIVE = (1 << 9) - 1
REDUCE_ONLY = _mask(
    Reason.CLOSE_PHASE,
    Reason.TOX_HARD,
    Reason.MKT_LOSS,
    Reason.SETTLE_HARD,
    Reason.INV_LIMIT,
    Reason.GAMMA,
    Reason.BAND,
)
NO_QUOTE = sum(Reason) - DEFENSIVE - REDUCE_ONLY
LIFE = _mask(Reason.PHASE, Reason.NO_STRIKE)  # a window's normal life, no sign of trouble

REDUCE_ONLY_NS: Ns = 10_000 * NS_PER_MS  # cooldowns; that of DEFENSIVE is a parameter
NO_QUOTE_NS: Ns = 3_000 * NS_PER_MS


def names(reasons: int) -> list[str]:
    """Names of the bits that are set, lowest first."""
    return [reason.name for reason in Reason if reasons & reason]


def level(reasons: int) -> QuoteMode:
    """The highest level among the reasons."""
    if reasons & NO_QUOTE:
        return QuoteMode.NO_QUOTE
    if reasons & REDUCE_ONLY:
        return QuoteMode.REDUCE_ONLY
    if reasons:
        return QuoteMode.DEFENSIVE
    return QuoteMode.NORMAL


class Modes:
    """Mode of one market. Invariant: never below the level of the reasons that are active now.

    A market that has not quoted yet owes no cooldown, but after trouble it starts DEFENSIVE.
    """

    def __init__(self, defensive_ns: Ns) -> None:
        self._cooldown_ns = {QuoteMode.DEFENSIVE: defensive_ns, QuoteMode.REDUCE_ONLY: REDUCE_ONLY_NS}
        self.mode = QuoteMode.NO_QUOTE
        self.defensive = False  # a DEFENSIVE-class reason is active or cooling down, also inside REDUCE_ONLY
        self._quoted = False
        self._held_ns: dict[QuoteMode, Ns] = {}  # when a level was last active, or entered on the way down
        self._trouble_ns: Ns | None = None  # NO_QUOTE was last active for more than the window's life

    def update(self, reasons: int, now_ns: Ns, *, no_quote: bool = False) -> QuoteMode:
        """`no_quote`: a lesser reason counts as NO_QUOTE in the present circumstances."""
        active = QuoteMode.NO_QUOTE if no_quote else level(reasons)
        held = self._held_ns
        if reasons & DEFENSIVE:
            held[QuoteMode.DEFENSIVE] = now_ns
        if reasons & REDUCE_ONLY:
            held[QuoteMode.REDUCE_ONLY] = now_ns
        if active is QuoteMode.NO_QUOTE:
            if no_quote or reasons & NO_QUOTE & ~LIFE:
                self._trouble_ns = now_ns
            elif not self._troubled(now_ns):
                self._trouble_ns = None
        if active >= self.mode:
            self.mode = active
        else:
            self._descend(active, now_ns)
        self._quoted = self._quoted or self.mode < QuoteMode.NO_QUOTE
        self.defensive = self.mode is QuoteMode.DEFENSIVE or self._cooling(QuoteMode.DEFENSIVE, now_ns)
        return self.mode

    def _cooling(self, mode: QuoteMode, now_ns: Ns) -> bool:
        return mode in self._held_ns and now_ns - self._held_ns[mode] < self._cooldown_ns[mode]

    def _troubled(self, now_ns: Ns) -> bool:
        return self._trouble_ns is not None and now_ns - self._trouble_ns < NO_QUOTE_NS

    def _descend(self, active: QuoteMode, now_ns: Ns) -> None:
        if self.mode is QuoteMode.NO_QUOTE:
            if self._quoted and self._troubled(now_ns):
                return
            lowest = QuoteMode.NORMAL if self._trouble_ns is None else QuoteMode.DEFENSIVE
            self._trouble_ns = None
        elif self._cooling(self.mode, now_ns):
            return
        else:
            lowest = QuoteMode.NORMAL if self.mode is QuoteMode.DEFENSIVE else QuoteMode.DEFENSIVE
        self.mode = max(active, lowest)
        if self.mode is QuoteMode.DEFENSIVE:
            self._held_ns[self.mode] = now_ns
