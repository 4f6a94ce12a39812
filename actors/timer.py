"""Tells each component, at its own period, that time passes. Knows no wall clock: venue-corrected time is injected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.base import Actor
from bot.messages import Message, TimerTick
from bot.ports import Samples
from bot.units import Ns


class TimerActor(Actor):
    """Ticks by the alarm of its own mailbox, so it needs no second thread. Missed ticks are not made up."""

    def __init__(
        self,
        *,
        schedule: Mapping[str, Ns],
        utc: Callable[[Ns], Ns],
        lateness: Samples | None = None,
        apart_ns: Ns = 0,
        **base: Any,
    ) -> None:
        """`lateness` is told how late each wake-up came: what a busy machine or interpreter costs everybody. Each name is
        ticked `apart_ns` before the one that the schedule names before it: threads woken together all want the interpreter.
        """
        super().__init__(**base)
        self._lateness = lateness
        assert schedule, "a timer without anyone to tick"
        assert min(schedule.values()) > 0
        self._period_ns = dict(schedule)
        self._apart_ns = apart_ns
        self._due_ns: dict[str, Ns] = {}
        self._utc = utc
        self._ticked_ns: Ns = 0
        self.health.extra_stamp = lambda: self._ticked_ns

    def setup(self) -> None:
        now_ns = self.clock()
        self._due_ns = {
            name: now_ns + period_ns - number * self._apart_ns % period_ns
            for number, (name, period_ns) in enumerate(self._period_ns.items())
        }
        self._ticked_ns = now_ns
        self._arm(now_ns)

    def handle(self, message: Message) -> None:
        now_ns = self.clock()
        utc_ns = self._utc(now_ns)
        if self._lateness is not None:
            self._lateness.record(now_ns - min(self._due_ns.values()))
        for name, due_ns in self._due_ns.items():
            if due_ns <= now_ns:
                self.directory.tell(name, TimerTick(name=name, now_ns=now_ns, utc_ns=utc_ns))
                period_ns = self._period_ns[name]
                self._due_ns[name] = due_ns + period_ns * (1 + (now_ns - due_ns) // period_ns)
        self._ticked_ns = now_ns
        self._arm(now_ns)

    def _arm(self, now_ns: Ns) -> None:
        self.mailbox.set_alarm(min(self._due_ns.values()), TimerTick(name=self.name, now_ns=now_ns, utc_ns=0))
