"""Cancels all and verifies flat with a thread and a connection of its own and nothing that runs: no actor, no executor,
no journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from bot.bell import Bell
from bot.flat import BACKOFF_S_MAX, DEADLINE_S, FlatReport, cancel_all_and_verify
from bot.messages import MassCancelReport
from bot.ports import Clock
from bot.units import NS_PER_S, Ns

if TYPE_CHECKING:
    from bot.flat import CancelPort

WARM_EVERY_S = 4.0
OVERDUE_NS: Ns = 5 * NS_PER_S


class Panic:
    """A plain thread that cancels all as soon as it is asked, and goes on until flat is verified.

    Invariant: a report answers only requests made before its first cancel-all; a request while it runs begins it anew.
    """

    def __init__(
        self,
        port: CancelPort,
        *,
        inflight: Callable[[], Collection[str]] = tuple,
        told: Callable[[MassCancelReport], None] = lambda report: None,
        clock: Clock = time.monotonic_ns,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._port = port
        self._inflight = inflight
        self._told = told
        self._clock = clock
        self._deadline_s = deadline_s
        self._bell = Bell()  # the thread sleeps on it
        self._changed = threading.Condition()  # of what has become of requests
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
        self._stopping = True
        self._bell.ring()

    def request(self, reason: str) -> int:
        """Cancel all, now. Returns a ticket at once."""
        with self._changed:
            self._asked += 1
            self._busy_since_ns = self._busy_since_ns or self._clock()
            self.reasons = [*self.reasons[-9:], reason]
            ticket = self._asked
        self._bell.ring()
        return ticket

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

    def _heard(self, ticket: int, asked_ns: Ns, canceled: list[str], left: dict[str, str]) -> None:
        with self._changed:
            self._canceled = ticket
            self._changed.notify_all()
        self._told(
            MassCancelReport(
                symbol="", known=True, canceled=tuple(canceled), not_canceled=tuple(left),
                asked_ns=asked_ns, recv_ns=self._clock(), text="; ".join(sorted(set(left.values())))[:200],
            )
        )  # fmt: skip

    def _serve(self) -> None:
        while not self._stopping:
            if self._asked > self._done or not (self._report is None or self._report.verified):
                ticket = self._asked
                self._finish(ticket, self._try(ticket))
                continue
            self._bell.wait(WARM_EVERY_S)
            if self._asked == self._done and not self._stopping:
                self._keep_warm()

    def _try(self, ticket: int) -> FlatReport:
        try:
            return cancel_all_and_verify(
                self._port,
                inflight=self._inflight,
                clock=self._clock,
                sleep=lambda seconds: self._sleep(ticket, seconds),
                deadline_s=self._deadline_s,
                told=lambda asked_ns, canceled, left: self._heard(ticket, asked_ns, canceled, left),
                superseded=lambda: self._asked != ticket,
            )
        except Exception as error:  # noqa: BLE001 - the last line of defence: it reports, waits and tries again
            self._sleep(ticket, BACKOFF_S_MAX)
            return FlatReport(False, text=f"{type(error).__name__}: {error}")

    def _sleep(self, ticket: int, seconds: float) -> None:
        """A new request cuts every pause short."""
        until_ns = self._clock() + int(seconds * NS_PER_S)
        while self._asked == ticket and not self._stopping and (left_ns := until_ns - self._clock()) > 0:
            self._bell.wait(left_ns / NS_PER_S)

    def _finish(self, ticket: int, report: FlatReport) -> None:
        with self._changed:
            if self._asked == ticket or report.verified:
                if self._report is not None and self._done == ticket:
                    report.canceled += self._report.canceled
                self._report = report
                self._done = ticket
                if report.verified and self._asked == ticket:
                    self._busy_since_ns = 0
                self._changed.notify_all()

    def _keep_warm(self) -> None:
        try:
            self._port.warm()
        except Exception:  # noqa: BLE001 - a thread that must not die; the next request connects by itself
            self._sleep(self._asked, BACKOFF_S_MAX)
