"""Runs the strategy's core on a timer tick or a nudge, whichever comes first, and never more often than max_hz."""

from __future__ import annotations

from typing import Any

from actors.core import CoreActor
from bot.messages import Nudge, TimerTick
from bot.ports import PartedCore, Samples
from bot.units import NS_PER_MS, NS_PER_S, Ns

GUARD_GAP_NS: Ns = NS_PER_MS


class StrategyActor(CoreActor):
    """Invariant: two runs lie at least 1/max_hz apart, and a wake-up waits no longer than that for its run. A broken
    guard waits for nothing but the last one's millisecond: a quote without edge is threatened now.

    What a tick left over has a wake-up of its own. One that comes too soon is held with an alarm on the mailbox. A held
    tick is not replaced by a nudge, or nudges at max_hz would keep wall time from the core for good. What is no wake-up
    (positions, markets) goes straight through.
    """

    core: PartedCore

    def __init__(self, *, max_hz: float, decision: Samples | None = None, **core: Any) -> None:
        """`decision` is told how long each run took, for all markets it looked at."""
        super().__init__(**core)
        self._decision = decision
        self._gap_ns = int(NS_PER_S / max_hz)
        self._ran_ns: Ns = 0
        self._guarded_ns: Ns = 0  # the last run for a broken guard
        self._held: TimerTick | Nudge | None = None
        self._due_ns: Ns = 0  # when the held one may run

    def handle(self, message: Any) -> None:
        kind = type(message)  # isinstance against a Struct is an ABC check
        if kind is not TimerTick and kind is not Nudge:
            super().handle(message)
            return
        now_ns = self.clock()
        urgent = kind is Nudge and message.guard
        due_ns = self._guarded_ns + GUARD_GAP_NS if urgent else self._ran_ns + self._gap_ns
        if self._held is None:
            self._held, self._due_ns = message, due_ns
        else:
            self._due_ns = min(self._due_ns, due_ns)
            if kind is TimerTick or (type(self._held) is Nudge and (urgent or not self._held.guard)):
                self._held = message
        if now_ns < self._due_ns:
            self.mailbox.set_alarm(self._due_ns, self._held)
            return
        wake, self._held = self._held, None
        self.mailbox.clear_alarm()
        self._ran_ns = now_ns
        if urgent or (type(wake) is Nudge and wake.guard):
            self._guarded_ns = now_ns
        super().handle(wake)
        if self._decision is not None:
            self._decision.record(self.clock() - now_ns)
        if self.core.left:
            self._held, self._due_ns = Nudge(), now_ns + self._gap_ns
            self.mailbox.set_alarm(self._due_ns, self._held)
