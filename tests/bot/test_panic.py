"""Flat is verified or it is not said; on a clock of ours, and once on the real thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from bot.messages import CancelOrder, MassCancel, MassCancelReport, Message, OpenOrder, OpenOrders, Side
from bot.panic import FlatReport, Panic, cancel_all_and_verify
from bot.units import NS_PER_S


class Venue:
    """A venue on virtual time: resting orders, and a script of what goes wrong at which call."""

    def __init__(self, *resting: str) -> None:
        self.now_ns = 0
        self.resting = set(resting)
        self.stubborn: set[str] = set()  # cancel-all leaves these
        self.calls: list[tuple[str, float]] = []
        self.failing_cancels = 0
        self.failing_reads = 0
        self.out: dict[str, int] = {}  # POSTs in flight, and when each lands
        self.told: list[MassCancelReport] = []

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ns += int(seconds * NS_PER_S) + 1
        for order_id, lands_ns in list(self.out.items()):
            if lands_ns <= self.now_ns:
                del self.out[order_id]
                self.resting.add(order_id)

    def inflight(self) -> Collection[str]:
        return self.out

    def _called(self, name: str) -> None:
        self.calls.append((name, self.now_ns / NS_PER_S))
        self.now_ns += 1_000_000

    def warm(self) -> None: ...

    def cancel_all(self, request: MassCancel) -> MassCancelReport:
        self._called("cancel_all")
        if self.failing_cancels:
            self.failing_cancels -= 1
            return MassCancelReport(symbol=request.symbol, known=False, text="HTTP 503")
        gone = tuple(sorted(self.resting - self.stubborn))
        self.resting -= set(gone)
        return MassCancelReport(symbol=request.symbol, known=True, canceled=gone)

    def cancel_orders(self, cancels: Sequence[CancelOrder]) -> list[Message]:
        self._called("cancel_orders")
        for cancel in cancels:
            self.resting.discard(cancel.order_id)
            self.stubborn.discard(cancel.order_id)
        return []

    def open_orders(self, asked_ns: int) -> OpenOrders:
        self._called("read")
        if self.failing_reads:
            self.failing_reads -= 1
            return OpenOrders(orders=None, asked_ns=asked_ns, recv_ns=0, text="HTTP 500")
        rows = tuple(
            OpenOrder(
                order_id=order_id,
                symbol="0xm",
                asset_id="1",
                side=Side.BUY,
                px=5000,
                order_qty=5_000_000,
                cum_qty=0,
            )
            for order_id in sorted(self.resting)
        )
        return OpenOrders(orders=rows, asked_ns=asked_ns, recv_ns=0)

    def flat(self, symbol: str = "", deadline_s: float = 10.0) -> FlatReport:
        return cancel_all_and_verify(
            self,
            inflight=self.inflight,
            clock=self.clock,
            sleep=self.sleep,
            symbol=symbol,
            deadline_s=deadline_s,
            told=self.told.append,
        )

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def test_flat_is_two_cancels_and_two_empty_reads_half_a_second_apart() -> None:
    venue = Venue("0x1", "0x2")
    report = venue.flat()
    assert (report.verified, report.open_orders, report.canceled) == (True, 0, 2)
    assert venue.names == ["cancel_all", "cancel_all", "read", "read"]
    assert venue.calls[3][1] - venue.calls[2][1] >= 0.5
    assert venue.now_ns < NS_PER_S
    assert len(venue.told) == 2


def test_a_post_in_flight_is_awaited_and_cancelled_after_it_landed() -> None:
    venue = Venue("0x1")
    venue.out = {"0x9": NS_PER_S}
    report = venue.flat()
    assert (report.verified, report.canceled) == (True, 2)
    assert venue.calls[1][0] == "cancel_all"
    assert venue.calls[1][1] >= 1.0


def test_a_post_that_never_lands_is_given_up_after_its_deadline() -> None:
    venue = Venue()
    venue.out = {"0x9": 1 << 60}
    assert venue.flat().verified
    assert 3.5 <= venue.calls[1][1] < 3.7


def test_a_cancel_all_without_answer_is_repeated() -> None:
    venue = Venue("0x1")
    venue.failing_cancels = 3
    assert venue.flat().verified
    assert venue.names[:4] == ["cancel_all"] * 4
    assert venue.now_ns < 3 * NS_PER_S


def test_a_failed_read_is_not_empty() -> None:
    venue = Venue()
    venue.failing_reads = 1
    assert venue.flat().verified
    assert venue.names == ["cancel_all", "cancel_all", "read", "cancel_all", "cancel_all", "read", "read"]


def test_leftovers_are_cancelled_by_id() -> None:
    venue = Venue("0x1", "0x2")
    venue.stubborn = {"0x2"}
    assert venue.flat().verified
    assert "cancel_orders" in venue.names


def test_a_dead_venue_is_reported_as_not_verified_with_what_is_known() -> None:
    venue = Venue("0x1")
    venue.failing_cancels = 1000
    report = venue.flat()
    assert (report.verified, report.open_orders) == (False, None)
    assert "503" in report.text
    assert 10 <= venue.now_ns / NS_PER_S < 11.1
    assert len(venue.calls) < 25  # with a growing pause


def test_orders_that_will_not_go_are_listed() -> None:
    class Stuck(Venue):
        def cancel_orders(self, cancels: Sequence[CancelOrder]) -> list[Message]:
            return []

    venue = Stuck("0x1")
    venue.stubborn = {"0x1"}
    report = venue.flat(deadline_s=2.0)
    assert (report.verified, report.open_orders, [order.order_id for order in report.orders]) == (False, 1, ["0x1"])


def test_one_market_looks_at_its_own_orders_only() -> None:
    venue = Venue("0x1")
    venue.stubborn = {"0x1"}
    assert venue.flat(symbol="0xelsewhere").verified
    assert venue.told[0].symbol == "0xelsewhere"


def test_without_any_time_it_still_tries_once() -> None:
    venue = Venue("0x1")
    assert venue.flat(deadline_s=0.0).canceled == 1
    assert venue.resting == set()


# -- the thread ------------------------------------------------------------------------------------------------------


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
    panic = Panic(venue, clock=Leap(), told=venue.told.append)
    panic.start()
    ticket = panic.request("test")
    report = panic.wait(ticket, 5)
    assert report is not None
    assert report.verified
    assert panic.result(ticket) == report
    assert panic.result(ticket + 1) is None
    assert venue.told
    panic.stop()


def test_a_request_during_a_run_begins_it_anew_and_both_tickets_are_answered() -> None:
    venue = Threaded("0x1")
    venue.go.clear()
    panic = Panic(venue, clock=Leap())
    panic.start()
    first = panic.request("first")
    assert venue.entered.wait(5)
    venue.resting.add("0x2")  # placed after the first request's cancel-all went out
    second = panic.request("second")
    venue.go.set()
    report = panic.wait(second, 5)
    assert report is not None
    assert report.verified
    assert venue.resting == set()
    assert panic.result(first) == report
    assert venue.names.count("cancel_all") >= 3
    panic.stop()


def test_it_goes_on_by_itself_until_flat_is_verified() -> None:
    venue = Threaded("0x1")
    venue.failing_cancels = 3
    panic = Panic(venue, clock=Leap(), deadline_s=3.0)  # over when the third cancel-all has failed
    panic.start()
    report = panic.wait(panic.request("test"), 5)
    assert report is not None
    assert report.verified
    assert venue.resting == set()
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
    assert venue.resting == set()
    assert not panic.wait_canceled(ticket + 1, 0.01)
    panic.stop()
