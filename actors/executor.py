"""Lends the one thread that may change orders: journal, then gate, then the wire. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from actors.core import CoreActor
from actors.supervision import LEASE_NS_MAX
from bot.messages import ExecType, ExecutionReport, Fail, GateChange, Message, Source, StatusReport, TimerTick
from bot.ports import Samples
from bot.units import NS_PER_MS, NS_PER_S, NS_PER_US, Ns

REPORT_EVERY_NS: Ns = 250 * NS_PER_MS


class GatePort(Protocol):
    executor_lease_ns: Ns

    def apply(self, change: GateChange) -> None: ...


class ReportingCore(Protocol):
    def handle(self, message: Message, now_ns: Ns, /) -> list[Message]: ...

    def status_report(self) -> StatusReport: ...


class ExecutorActor(CoreActor):
    """Invariant: nothing the core emitted takes effect before the journal has it, nor leaves before the gate knows.

    The lease is renewed only by messages handled well, so an executor that stands still loses it. One that comes back
    from that (a stopped process, a suspended machine) fails first: others may have emptied the venue meanwhile.
    """

    core: ReportingCore

    def __init__(
        self,
        *,
        gate: GatePort,
        latency: Mapping[str, Samples] | None = None,
        first: Message | None = None,
        **core: Any,
    ) -> None:
        """`first` is handled before anything that is told."""
        super().__init__(**core)
        self.gate = gate
        self._first = first
        self._report_due_ns: Ns = 0
        self._fill_to_executor = (latency or {}).get("fill_to_executor")

    def setup(self) -> None:
        if self._first is not None:
            self.handle(self._first)

    def handle(self, message: Message) -> None:
        lease_ns = self.gate.executor_lease_ns
        if lease_ns and (still_ns := self.clock() - lease_ns) > LEASE_NS_MAX:
            super().handle(Fail(reason=f"the executor stood still for {still_ns / NS_PER_S:.1f} s"))
        super().handle(message)
        done_ns = self.clock()
        self.gate.executor_lease_ns = done_ns
        if done_ns >= self._report_due_ns and isinstance(message, TimerTick):
            self._report_due_ns = done_ns + REPORT_EVERY_NS
            self.router.send([self.core.status_report()])
        if self._fill_to_executor is not None and isinstance(message, ExecutionReport) and _is_fill(message):
            waited_us = (self.health.began_ns - message.recv_ns) // NS_PER_US
            self._fill_to_executor.record(
                done_ns - message.recv_ns,
                lambda: f"waited {waited_us} us, then {(done_ns - self.health.began_ns) // NS_PER_US} us to handle",
            )

    def emit(self, emitted: list[Message]) -> None:
        out: list[Message] = []
        for message in emitted:
            if type(message) is GateChange:  # isinstance against a Struct is an ABC check
                self.gate.apply(message)
            else:
                out.append(message)
        self.router.send(out)


def _is_fill(report: ExecutionReport) -> bool:
    return report.source is Source.USER and report.exec_type is ExecType.TRADE and report.recv_ns > 0
