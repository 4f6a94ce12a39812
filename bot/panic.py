"""Cancel all and verify flat, with a connection of its own and nothing that runs: no actor, no executor, no journal.

Flat means: cancel-all was answered, every POST in flight was resolved or timed out, cancel-all was answered again, and
two reads of open orders at least 0.5 s apart succeeded and were empty.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.messages import CancelOrder, MassCancel, MassCancelReport, Message, OpenOrder, OpenOrders
from bot.ports import Clock
from bot.units import NS_PER_MS, NS_PER_S, Ns

DEADLINE_S = 10.0
INFLIGHT_NS_MAX: Ns = 3_500 * NS_PER_MS  # a POST has a deadline of 3 s
BETWEEN_READS_S = 0.5
BACKOFF_S = 0.1
BACKOFF_S_MAX = 1.0
LOOK_S = 0.02
WARM_EVERY_S = 4.0
LEFTOVERS_MAX = 100
OVERDUE_NS: Ns = 5 * NS_PER_S


class CancelApi(Protocol):
    def cancel_all(self, request: MassCancel) -> MassCancelReport: ...

    def cancel_orders(self, cancels: Sequence[CancelOrder]) -> list[Message]: ...

    def open_orders(self, asked_ns: Ns) -> OpenOrders: ...

    def warm(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FlatReport:
    """`verified` True: nothing rests. Otherwise `open_orders` is what the last good read saw; None: there was none."""

    verified: bool
    open_orders: int | None = None
    canceled: int = 0
    text: str = ""
    orders: tuple[OpenOrder, ...] = ()


class _Run:
    """One attempt to become flat, until it is, its deadline passes, or somebody wants to begin anew."""

    def __init__(
        self,
        api: CancelApi,
        inflight: Callable[[], Collection[str]],
        clock: Clock,
        sleep: Callable[[float], object],
        deadline_s: float,
        symbol: str,
        told: Callable[[MassCancelReport], None],
        superseded: Callable[[], bool],
    ) -> None:
        self._api = api
        self._inflight = inflight
        self._clock = clock
        self._sleep = sleep
        self._until_ns = clock() + int(deadline_s * NS_PER_S)
        self._inflight_until_ns = clock() + INFLIGHT_NS_MAX
        self._symbol = symbol
        self._told = told
        self._superseded = superseded
        self._canceled: set[str] = set()
        self._backoff_s = BACKOFF_S
        self._last: tuple[OpenOrder, ...] | None = None
        self._text = ""

    def report(self) -> FlatReport:
        while True:
            if self._cancel() and self._settled() and self._cancel() and self._empty_twice():
                return FlatReport(True, open_orders=0, canceled=len(self._canceled))
            if self._over():
                break
            self._pause()
        return FlatReport(
            False,
            open_orders=None if self._last is None else len(self._last),
            canceled=len(self._canceled),
            text=self._text or "the deadline passed",
            orders=self._last or (),
        )

    def _over(self) -> bool:
        return self._superseded() or self._clock() >= self._until_ns

    def _pause(self) -> None:
        self._sleep(self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)

    def _cancel(self) -> bool:
        report = self._api.cancel_all(MassCancel(symbol=self._symbol, reason="panic", made_ns=self._clock()))
        self._told(report)
        self._canceled.update(report.canceled)
        if not report.known:
            self._text = f"cancel-all: {report.text}"
        return report.known

    def _settled(self) -> bool:
        """No POST is out any more whose order could land after the next cancel-all."""
        while self._inflight() and self._clock() < self._inflight_until_ns:
            if self._over():
                return False
            self._sleep(LOOK_S)
        return True

    def _empty_twice(self) -> bool:
        if not self._empty() or self._over():
            return False
        began_ns = self._clock()
        while self._clock() - began_ns < BETWEEN_READS_S * NS_PER_S:
            self._sleep(BETWEEN_READS_S - (self._clock() - began_ns) / NS_PER_S)
            if self._superseded():
                return False
        return self._empty()

    def _empty(self) -> bool:
        """One good read without an order of ours; what it finds is also cancelled by id."""
        read = self._api.open_orders(self._clock())
        if read.orders is None:
            self._text = f"open orders: {read.text}"
            return False
        left = tuple(order for order in read.orders if not self._symbol or order.symbol == self._symbol)
        self._last = left
        if left:
            self._text = f"{len(left)} orders still rest"
            self._api.cancel_orders(
                [
                    CancelOrder(cl_ord_id="", order_id=order.order_id, symbol=order.symbol)
                    for order in left[:LEFTOVERS_MAX]
                ]
            )
        return not left


def cancel_all_and_verify(
    api: CancelApi,
    *,
    inflight: Callable[[], Collection[str]] = tuple,
    clock: Clock = time.monotonic_ns,
    sleep: Callable[[float], object] = time.sleep,
    deadline_s: float = DEADLINE_S,
    symbol: str = "",
    told: Callable[[MassCancelReport], None] = lambda report: None,
    superseded: Callable[[], bool] = lambda: False,
) -> FlatReport:
    """Cancel in a loop until flat or out of time; tries at least once. `told` hears each answer to a mass cancel."""
    return _Run(api, inflight, clock, sleep, deadline_s, symbol, told, superseded).report()


class Panic:
    """A plain thread that cancels all as soon as it is asked, and goes on until flat is verified.

    Invariant: a report answers only requests made before its first cancel-all; a request while it runs begins it anew.
    """

    def __init__(
        self,
        api: CancelApi,
        *,
        inflight: Callable[[], Collection[str]] = tuple,
        told: Callable[[MassCancelReport], None] = lambda report: None,
        clock: Clock = time.monotonic_ns,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._api = api
        self._inflight = inflight
        self._told = told
        self._clock = clock
        self._deadline_s = deadline_s
        self._changed = threading.Condition()
        self._asked = 0
        self._done = 0
        self._canceled = 0  # the newest ticket a cancel-all was answered for
        self._report: FlatReport | None = None
        self._busy_since_ns: Ns = 0  # 0: nothing to be done
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="panic", daemon=True)
        self.reasons: list[str] = []  # of the newest requests, for the log

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread when it is idle; only tests need it, since the thread is a daemon."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def request(self, reason: str) -> int:
        """Cancel all, now. Returns a ticket at once."""
        with self._changed:
            self._asked += 1
            self._busy_since_ns = self._busy_since_ns or self._clock()
            self.reasons = [*self.reasons[-9:], reason]
            self._changed.notify_all()
            return self._asked

    def result(self, ticket: int) -> FlatReport | None:
        """The newest report on this request or a later one, verified or not; None while there is none."""
        with self._changed:
            return self._report if self._done >= ticket else None

    @property
    def busy(self) -> bool:
        """Asked for, and not verified flat yet."""
        return self._busy_since_ns > 0

    def overdue(self) -> bool:
        """Flat was asked for long ago and is not confirmed: the venue's dead-man switch should fire."""
        since_ns = self._busy_since_ns
        return since_ns > 0 and self._clock() - since_ns > OVERDUE_NS

    def newest(self) -> FlatReport | None:
        """The report on everything that was asked; None while something is still to be done."""
        with self._changed:
            return self._report if self._done >= self._asked else None

    def wait(self, ticket: int, timeout_s: float) -> FlatReport | None:
        """Until it is verified, or the time is over; then what there is."""

        def verified() -> bool:
            return self._done >= ticket and self._report is not None and self._report.verified

        with self._changed:
            self._changed.wait_for(verified, timeout_s)
            return self._report if self._done >= ticket else None

    def wait_canceled(self, ticket: int, timeout_s: float) -> bool:
        """Until a cancel-all that went out for this request was answered: less than flat, but nothing known rests."""
        with self._changed:
            return self._changed.wait_for(lambda: self._canceled >= ticket, timeout_s)

    def _heard(self, ticket: int, report: MassCancelReport) -> None:
        if report.known:
            with self._changed:
                self._canceled = ticket
                self._changed.notify_all()
        self._told(report)

    def _serve(self) -> None:
        while not self._stopping:
            with self._changed:
                busy = self._asked > self._done or not (self._report is None or self._report.verified)
                if not busy:
                    busy = self._changed.wait_for(self._wanted, WARM_EVERY_S)
                ticket = self._asked
            if self._stopping:
                return
            if not busy:
                self._keep_warm()
                continue
            self._finish(ticket, self._try(ticket))

    def _wanted(self) -> bool:
        return self._asked > self._done or self._stopping

    def _try(self, ticket: int) -> FlatReport:
        try:
            return cancel_all_and_verify(
                self._api,
                inflight=self._inflight,
                clock=self._clock,
                sleep=lambda seconds: self._sleep(ticket, seconds),
                deadline_s=self._deadline_s,
                told=lambda report: self._heard(ticket, report),
                superseded=lambda: self._asked != ticket,
            )
        except Exception as error:  # noqa: BLE001 - the last line of defence: it reports, waits and tries again
            self._sleep(ticket, BACKOFF_S_MAX)
            return FlatReport(False, text=f"{type(error).__name__}: {error}")

    def _sleep(self, ticket: int, seconds: float) -> None:
        """A new request cuts every pause short."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked != ticket or self._stopping, seconds)

    def _finish(self, ticket: int, report: FlatReport) -> None:
        with self._changed:
            if self._asked == ticket or report.verified:
                before = self._report.canceled if self._report is not None and self._done == ticket else 0
                self._report = replace(report, canceled=before + report.canceled)
                self._done = ticket
                if report.verified and self._asked == ticket:
                    self._busy_since_ns = 0
                self._changed.notify_all()

    def _keep_warm(self) -> None:
        try:
            self._api.warm()
        except Exception:  # noqa: BLE001 - a thread that must not die; the next request connects by itself
            self._sleep(self._asked, BACKOFF_S_MAX)
