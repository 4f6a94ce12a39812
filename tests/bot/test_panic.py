"""The thread that empties the venue when asked: it serves at once, starts anew when asked again, and does not die."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flat_venue import Venue

from bot.messages import MassCancelReport
from bot.panic import Panic
from bot.units import NS_PER_S


class Threaded(Venue):
    """On the real clock, fast; can be held at its first cancel."""

    def __init__(self, *resting: str) -> None:
        super().__init__(*resting)
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.bug: Callable[[], None] = lambda: None

    def _called(self, name: str) -> None:
        self.calls.append((name, 0.0))
        self.entered.set()
        assert self.go.wait(5)
        self.bug()


class Leap:
    """Monotonic ns in leaps of a second, so that pauses between reads are over at once."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += NS_PER_S // 2
        return self.now_ns


def test_a_request_is_served_at_once_and_its_ticket_answered() -> None:
    venue = Threaded("0x1")
    told: list[MassCancelReport] = []
    panic = Panic(venue, clock=Leap(), told=told.append)
    panic.start()
    ticket = panic.request("test")
    report = panic.wait(ticket, 5)
    assert report is not None
    assert report.verified
    assert panic.result(ticket) == report
    assert panic.result(ticket + 1) is None
    assert told[0].canceled == ("0x1",)
    panic.stop()


def test_a_request_during_a_run_begins_it_anew_and_both_tickets_are_answered() -> None:
    venue = Threaded("0x1")
    venue.go.clear()
    panic = Panic(venue, clock=Leap())
    panic.start()
    first = panic.request("first")
    assert venue.entered.wait(5)
    venue.orders.add("0x2")  # placed after the first request's cancel-all went out
    second = panic.request("second")
    venue.go.set()
    report = panic.wait(second, 5)
    assert report is not None
    assert report.verified
    assert venue.orders == set()
    assert panic.result(first) == report
    assert venue.names.count("cancel_all") >= 3
    panic.stop()


def test_it_goes_on_by_itself_until_flat_is_verified() -> None:
    venue = Threaded("0x1")
    venue.failing_cancels = 4
    panic = Panic(venue, clock=Leap(), deadline_s=4.0)  # over when the fourth cancel-all has failed
    panic.start()
    report = panic.wait(panic.request("test"), 5)
    assert report is not None
    assert report.verified
    assert venue.orders == set()
    panic.stop()


def test_a_bug_does_not_end_the_thread() -> None:
    venue = Threaded("0x1")
    raised = threading.Event()

    def bug() -> None:
        venue.bug = lambda: None
        raised.set()
        raise RuntimeError("bug")

    venue.bug = bug
    panic = Panic(venue, clock=Leap())
    panic.start()
    ticket = panic.request("test")
    assert raised.wait(5)
    again = panic.request("again")  # cuts the pause after the bug short
    report = panic.wait(again, 5)
    assert report is not None
    assert report.verified
    assert panic.result(ticket) == report
    panic.stop()


def test_waiting_for_nothing_gives_none() -> None:
    panic = Panic(Threaded())
    assert panic.wait(panic.request("never started"), 0.01) is None


def test_somebody_in_a_hurry_waits_for_the_cancel_and_not_for_the_proof() -> None:
    venue = Threaded("0x1")
    venue.failing_reads = 1 << 30
    panic = Panic(venue, clock=Leap())
    panic.start()
    ticket = panic.request("a second signal")
    assert panic.wait_canceled(ticket, 5)
    assert venue.orders == set()
    assert not panic.wait_canceled(ticket + 1, 0.01)
    panic.stop()
