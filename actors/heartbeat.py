"""Feeds the venue's dead-man switch, as long as executor and root live. Knows no order and no reason to stop but silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors.base import Actor
from actors.supervision import LEASE_NS_MAX
from bot.messages import Fail, Halt, Message, Resume, StatusReport, TimerTick
from bot.units import NS_PER_MS, NS_PER_S, Ns

BEAT_EVERY_NS = 3 * NS_PER_S
RETRY_EVERY_NS = NS_PER_S
ACK_NS_MAX = 7 * NS_PER_S  # older: orders are cancelled by us, before the venue does it at 10 s
REPORT_EVERY_NS = NS_PER_S // 2


class Result(Protocol):
    """The venue's answer to one beat."""

    @property
    def accepted(self) -> bool: ...

    @property
    def next_id(self) -> str: ...

    @property
    def expected_id(self) -> str: ...

    @property
    def status(self) -> int: ...

    @property
    def ambiguous(self) -> bool: ...


class BeatPort(Protocol):
    def heartbeat(self, heartbeat_id: str) -> Result: ...


class GatePort(Protocol):
    heartbeat_ack_ns: Ns
    executor_lease_ns: Ns
    root_lease_ns: Ns


class HeartbeatActor(Actor):
    """Invariant: no beat without fresh leases of executor and root, nor while silenced; a good beat moves the gate's stamp.

    Each beat carries the id of the last answer. An id that we did not get ourselves is taken over only where it may be
    ours: on the first beat of a run (our own last run's chain), or after a beat whose answer was lost. Otherwise another
    host owns the key, and the root is told to halt.
    """

    def __init__(
        self, *, api: BeatPort, gate: GatePort, silenced: Callable[[], bool] = lambda: False, **base: Any
    ) -> None:
        """`silenced`: flat could not be confirmed, so the switch shall fire."""
        super().__init__(**base)
        self.api = api
        self.gate = gate
        self.silenced = silenced
        self.misses = 0
        self._id = ""
        self._may_adopt = True
        self._due_ns: Ns = 0
        self._report_due_ns: Ns = 0
        self._usurped = False
        self._overdue = False

    def handle(self, message: Message) -> None:
        match message:
            case TimerTick():
                now_ns = self.clock()
                if now_ns >= self._due_ns and self._may_beat(now_ns):
                    self._beat(now_ns)
                self._warn(self.clock())
                self._report(self.clock())
            case Resume():
                # A person looked into it and says that the key is ours.
                self._may_adopt = self._may_adopt or self._usurped
                self._usurped = False
            case _:
                raise AssertionError(f"not for the heartbeat: {type(message).__name__}")

    def _may_beat(self, now_ns: Ns) -> bool:
        if self._usurped or self.silenced():
            return False
        oldest_ns = min(self.gate.executor_lease_ns, self.gate.root_lease_ns)
        return oldest_ns > 0 and now_ns - oldest_ns < LEASE_NS_MAX

    def _beat(self, now_ns: Ns) -> None:
        result = self.api.heartbeat(self._id)
        if not result.accepted and result.expected_id and self._may_adopt:
            # A refused beat does not count at the venue, so the right one follows at once.
            self._id = result.expected_id
            self._may_adopt = False
            now_ns = self.clock()
            result = self.api.heartbeat(self._id)
        if result.accepted:
            self._id = result.next_id
            self._may_adopt = False
            # The venue counts from when it got the beat, which was not before we began to send it.
            self.gate.heartbeat_ack_ns = now_ns
            self._due_ns = now_ns + BEAT_EVERY_NS
            return
        self.misses += 1
        self._due_ns = now_ns + RETRY_EVERY_NS
        if result.ambiguous:
            self._may_adopt = True
        elif result.expected_id:
            self._usurped = True
            self.router.send([Halt(reason="another host beats with this key", by=self.name)])
        elif result.status == 400:
            # A chain that the venue no longer knows is begun anew.
            self._id = ""
            self._may_adopt = True

    def _warn(self, now_ns: Ns) -> None:
        """Once for each outage."""
        ack_ns = self.gate.heartbeat_ack_ns
        overdue = ack_ns > 0 and now_ns - ack_ns > ACK_NS_MAX
        if overdue and not self._overdue:
            self.router.send([Fail(reason=f"no heartbeat was accepted for {ACK_NS_MAX // NS_PER_S} s")])
        self._overdue = overdue

    def _report(self, now_ns: Ns) -> None:
        if now_ns < self._report_due_ns:
            return
        self._report_due_ns = now_ns + REPORT_EVERY_NS
        ack_ns = self.gate.heartbeat_ack_ns
        age_ms = (now_ns - ack_ns) // NS_PER_MS if ack_ns else None
        self.router.send([StatusReport(component="heartbeat", body={"age_ms": age_ms, "misses": self.misses})])
