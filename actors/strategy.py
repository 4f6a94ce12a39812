"""Runs the strategy's core on a timer tick or a nudge, whichever comes first, and never more often than max_hz."""

from __future__ import annotations

from typing import Any

from actors.core import CoreActor
from bot.messages import Message, Nudge, TimerTick
from bot.units import NS_PER_S, Ns


class StrategyActor(CoreActor):
    """Invariant: two runs lie at least 1/max_hz apart, and a wake-up waits no longer than that for its run.

    One that comes too soon is held with an alarm on the mailbox. A held tick is not replaced by a nudge, or nudges at
    max_hz would keep wall time from the core for good. What is no wake-up (positions, markets) goes straight through.
    """

    def __init__(self, *, max_hz: float, **core: Any) -> None:
        super().__init__(**core)
        self._gap_ns = int(NS_PER_S / max_hz)
        self._next_ns: Ns = 0
        self._held: Message | None = None

    def handle(self, message: Message) -> None:
        if not isinstance(message, TimerTick | Nudge):
            super().handle(message)
            return
        if not isinstance(self._held, TimerTick) or isinstance(message, TimerTick):
            self._held = message
        now_ns = self.clock()
        if now_ns < self._next_ns:
            self.mailbox.set_alarm(self._next_ns, self._held)
            return
        wake, self._held = self._held, None
        self.mailbox.clear_alarm()
        self._next_ns = now_ns + self._gap_ns
        super().handle(wake)
