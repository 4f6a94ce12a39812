"""Flat is verified or it is not said; on a clock of ours."""

from __future__ import annotations

from flat_venue import Venue

from bot.errors import VenueUnavailable
from bot.units import NS_PER_S


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
    assert "cancel" in venue.names


def test_a_dead_venue_is_reported_as_not_verified_with_what_is_known() -> None:
    venue = Venue("0x1")
    venue.failing_cancels = 1000
    report = venue.flat()
    assert (report.verified, report.open_orders) == (False, None)
    assert "503" in report.text
    assert 10 <= venue.now_ns / NS_PER_S < 11.1
    assert len(venue.calls) < 25  # with a growing pause


def test_orders_that_will_not_go_are_counted() -> None:
    class Stuck(Venue):
        def cancel(self, order_ids: list[str]) -> None:
            raise VenueUnavailable("timed out")

    venue = Stuck("0x1")
    venue.stubborn = {"0x1"}
    report = venue.flat(deadline_s=2.0)
    assert (report.verified, report.open_orders) == (False, 1)
    assert report.text == "1 orders still rest: timed out"


def test_one_market_looks_at_its_own_orders_only() -> None:
    venue = Venue("0x1")
    venue.stubborn = {"0x1"}
    assert venue.flat(symbol="0xelsewhere").verified


def test_without_any_time_it_still_tries_once() -> None:
    venue = Venue("0x1")
    assert venue.flat(deadline_s=0.0).canceled == 1
    assert venue.orders == set()
