"""The guardian on the hub: the real one, in a group of its own, so that a process that dies or stands still leaves it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bot.errors import BotError
from bot.guardian import BYE, Guardian, VenueClock
from bot.sim.chaos.hub import Group, Hub, Signal, Task
from bot.sim.chaos.venue import START_MS
from bot.units import NS_PER_MS, NS_PER_S, Ns
from bot.venues.cancel_client import CancelClient

PATIENCE_S = 60.0


class GuardianLost(BotError):
    """It has ended."""


class HubClock(VenueClock):
    """UTC seconds at the venue, as the bot last told it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.ahead_ns = START_MS * NS_PER_MS

    def __call__(self) -> float:
        return (self._hub.now_ns + self.ahead_ns) / NS_PER_S


class HubChannel:
    """The socket between the two: packets one way, words the other."""

    def __init__(self, hub: Hub) -> None:
        self._came = Signal(hub)
        self._packets: deque[bytes] = deque()
        self.said = b""

    def put(self, packet: bytes) -> None:
        self._packets.append(packet)
        self._came.notify_all()

    def heard(self, timeout_s: float) -> list[bytes]:
        if timeout_s and not self._packets:
            self._came.wait(int(timeout_s * NS_PER_S))
        packets = list(self._packets)
        self._packets.clear()
        return packets

    def say(self, word: bytes) -> None:
        self.said += word


class HubGuardian:
    """What GuardianActor and root have of it: one at a time. `client` makes each a connection of its own."""

    def __init__(
        self,
        hub: Hub,
        client: Callable[[HubClock], CancelClient],
        taken_over: Callable[[], bool],
        note: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._client = client
        self._taken_over = taken_over
        self._note = note
        self._task: Task | None = None
        self._channel = HubChannel(hub)
        self._group = Group()
        self.pid = 0
        self.unanswered_ns: Ns = 0

    @property
    def watching(self) -> bool:
        return self._task is not None and not self._task.ended and not self._group.dead

    def start(self) -> None:
        self.kill()
        self.pid += 1
        self._group, channel = Group(), HubChannel(self._hub)
        clock = HubClock(self._hub)
        guardian = Guardian(
            channel,
            self._client(clock),
            clock,
            patience_s=PATIENCE_S,
            taken_over=self._taken_over,
            note=lambda message, level="warning": self._note(message),
            clock=self._hub.clock,
            sleep=self._hub.sleep,
        )
        self._channel = channel
        self.unanswered_ns = 0
        self._task = self._hub.spawn(self._group, guardian.run)

    def renew(self) -> None:
        self.unanswered_ns = self.unanswered_ns or self._hub.now_ns
        self._channel.put(b"%d" % (START_MS * NS_PER_MS))

    def words(self) -> bytes:
        said, self._channel.said = self._channel.said, b""
        if said:
            self.unanswered_ns = 0
        elif not self.watching:
            raise GuardianLost("the guardian ended")
        return said

    def kill(self) -> None:
        """By whoever holds it; its requests on the way arrive all the same."""
        group = self._group
        if not group.dead:
            group.dead = True
            self._hub.later(0, group.kill)

    def bye(self) -> None:
        self._channel.put(BYE)

    def orphan(self) -> None:
        """The bot's process is gone: the socket says so."""
        self._channel.put(b"")
