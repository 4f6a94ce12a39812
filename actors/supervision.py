"""The policy of supervision as functions of facts and time: what counts as failed, who may come back, what a dead
gateway's requests are answered with. Knows no thread and no mailbox."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka

from bot.messages import (
    Balance,
    BalanceRequest,
    CancelOrder,
    ExecType,
    ExecutionReport,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    Reject,
    Request,
    Shares,
    SharesRequest,
    Source,
    TradesRead,
    TradesRequest,
)
from bot.units import NS_PER_S, Ns

LEASE_NS_MAX: Ns = 2 * NS_PER_S  # older, the lease of executor or root is lost


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One actor the root starts: sinks come first in the list, feeds last."""

    name: str
    start: Callable[[], pykka.ActorRef[Any]]
    fatal: bool = False  # its failure ends the process; any other child is restarted
    hang_ns: Ns = 2 * NS_PER_S
    holds_requests: bool = False  # a gateway: the executor waits for an answer to each message it is sent


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be seen of a child from outside; ages are 0 when there is nothing to be old."""

    failed: str
    alive: bool
    busy_ns: Ns
    waiting_ns: Ns  # oldest URGENT or LOSSLESS message in its mailbox
    stamp_ns: Ns  # last sign of life of a thread it owns


def diagnose(facts: Facts, hang_ns: Ns) -> str:
    """Why the child has failed, or an empty string."""
    if facts.failed:
        return facts.failed
    if not facts.alive:
        return "its thread died"
    for what, age_ns in (
        ("hangs in a handler", facts.busy_ns),
        ("leaves a message waiting", facts.waiting_ns),
        ("owns a thread that gave no sign", facts.stamp_ns),
    ):
        if age_ns > hang_ns:
            return f"{what} for {age_ns / NS_PER_S:.1f} s"
    return ""


class Verdict(enum.Enum):
    RESTART = "restart"
    LATCH = "latch"
    END = "end"


class Supervisor:
    """Who may come back: not the fatal ones, and nobody after a failure too many within the window."""

    def __init__(self, failures_max: int = 3, window_ns: Ns = 600 * NS_PER_S) -> None:
        self.failures_max = failures_max
        self.window_ns = window_ns
        self._failures: dict[str, deque[Ns]] = {}

    def failed(self, spec: ChildSpec, now_ns: Ns) -> Verdict:
        if spec.fatal:
            return Verdict.END
        failures = self._failures.setdefault(spec.name, deque(maxlen=self.failures_max + 1))
        failures.append(now_ns)
        recent = sum(1 for at_ns in failures if now_ns - at_ns < self.window_ns)
        return Verdict.LATCH if recent > self.failures_max else Verdict.RESTART

    def forgive(self, name: str) -> None:
        """A person lifted the latch: its failures are counted anew."""
        self._failures.pop(name, None)


def answer_undelivered(request: Message, now_ns: Ns, text: str) -> Message | None:
    """What the executor is told about a request that no gateway took; None: it stays for the gateway's successor.

    Cancels stay: they are idempotent, and an order whose cancel is forgotten would rest.
    """
    if isinstance(request, NewOrder):
        return ExecutionReport(
            order_id=request.order_id,
            cl_ord_id=request.cl_ord_id,
            symbol=request.symbol,
            asset_id=request.asset_id,
            side=request.side,
            px=request.px,
            order_qty=request.order_qty,
            exec_type=ExecType.REJECTED,
            source=Source.GATE,
            reject=Reject.SHUT,
            text=text,
            recv_ns=now_ns,
        )
    return _unread(request, now_ns, text)


def answer_in_hands(request: Message, now_ns: Ns, text: str) -> Message | None:
    """What the executor is told about a request in the hands of a gateway that failed: it may have left."""
    if isinstance(request, NewOrder | CancelOrder):
        return OutcomeUnknown(
            order_id=request.order_id,
            cl_ord_id=request.cl_ord_id,
            request=Request.NEW if isinstance(request, NewOrder) else Request.CANCEL,
            text=text,
            recv_ns=now_ns,
        )
    if isinstance(request, MassCancel):
        return MassCancelReport(symbol=request.symbol, known=False, asked_ns=request.made_ns, recv_ns=now_ns, text=text)
    return _unread(request, now_ns, text)


def _unread(request: Message, now_ns: Ns, text: str) -> Message | None:
    if isinstance(request, OrderMassStatusRequest):
        return OpenOrders(orders=None, asked_ns=request.asked_ns, recv_ns=now_ns, text=text)
    if isinstance(request, BalanceRequest):
        return Balance(cash=None, asked_ns=request.asked_ns, recv_ns=now_ns, text=text)
    if isinstance(request, SharesRequest):
        return Shares(
            symbol=request.symbol,
            asset_id=request.asset_id,
            qty=None,
            asked_ns=request.asked_ns,
            recv_ns=now_ns,
            text=text,
        )
    if isinstance(request, TradesRequest):
        return TradesRead(
            trades=None, after_utc_s=request.after_utc_s, asked_ns=request.asked_ns, recv_ns=now_ns, text=text
        )
    if isinstance(request, OrderStatusRequest):
        return OrderStatusReport(
            order_id=request.order_id,
            cl_ord_id=request.cl_ord_id,
            found=None,
            asked_ns=request.asked_ns,
            recv_ns=now_ns,
            text=text,
        )
    return None
