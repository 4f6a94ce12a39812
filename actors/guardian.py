"""Keeps the guardian process, and hears what it does. Its lease is the root's to give. Knows no venue."""

from __future__ import annotations

from typing import Any, Protocol

from actors.base import Actor
from bot.errors import BotError
from bot.messages import Fail, Message, StatusReport, TimerTick
from bot.units import NS_PER_S, Ns

CANCELLING, FLAT = b"!", b"="
SILENT_NS_MAX = 5 * NS_PER_S  # a request of its own may keep it from answering a lease for 3 s


class GuardianPort(Protocol):
    unanswered_ns: Ns  # when the oldest lease that it has not answered was given, 0: none

    @property
    def pid(self) -> int: ...

    def start(self) -> None: ...

    def words(self) -> bytes: ...

    def kill(self) -> None: ...


class GatePort(Protocol):
    def shut(self, by: str, reason: str) -> int: ...

    def open(self, by: str) -> None: ...


class GuardianSilent(BotError):
    """It runs, but it does not answer leases."""


class GuardianActor(Actor):
    """Invariant: from the moment the guardian says that it cancels until it has verified flat, the gate is shut.

    It cancels when it had no lease for a while, so the bot was not itself: that is a gap, after which all is read again.
    """

    def __init__(self, *, port: GuardianPort, gate: GatePort, **base: Any) -> None:
        super().__init__(**base)
        self.port = port
        self.gate = gate
        self._cancelling = False

    def setup(self) -> None:
        self.port.start()
        self.gate.open(self.name)  # what a predecessor was in the middle of, the root has verified since

    def handle(self, message: Message) -> None:
        assert isinstance(message, TimerTick)
        for word in self.port.words():
            self._heard(bytes((word,)))
        since_ns = self.port.unanswered_ns
        if since_ns and self.clock() - since_ns > SILENT_NS_MAX and not self._cancelling:
            raise GuardianSilent(f"the guardian has not answered for {(self.clock() - since_ns) / NS_PER_S:.1f} s")
        state = "cancelling" if self._cancelling else "watching"
        self.router.send([StatusReport(component=self.name, body={"state": state, "pid": self.port.pid})])

    def teardown(self) -> None:
        """At an ordered end it watches on until it is dismissed."""
        if self.health.failed:
            self.port.kill()

    def _heard(self, word: bytes) -> None:
        if word == CANCELLING:
            self._cancelling = True
            reason = "the guardian had no lease for too long and cancels all"
            self.router.send([Fail(reason=reason, epoch=self.gate.shut(self.name, reason))])
        elif word == FLAT:
            self._cancelling = False
            self.gate.open(self.name)
