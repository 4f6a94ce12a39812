"""A bot under measurement: what the tap does to it and sees of it."""

from __future__ import annotations

import time

import pytest

from bot.access import from_info
from bot.bench.load import Prober
from bot.bench.subject import Subject
from bot.bench.tick import STEP
from bot.messages import ExecType, ExecutionReport
from bot.sim.server import VenueOptions, VenueThread
from bot.venues.clob_http import Connection


def test_a_stranger_takes_the_very_order_that_is_named() -> None:
    with VenueThread(VenueOptions(seed=3)) as venue:
        access = from_info(venue.info)
        order = Prober(access, venue.info).order()
        report = access.api().post_orders([order])[0]
        assert isinstance(report, ExecutionReport) and report.exec_type is ExecType.NEW
        control = Connection(venue.info["url"])
        body = b'{"order_id": "%s", "size": 2}' % order.order_id.encode()
        assert b'{"trade_id":"' in control.request("POST", "/control/take", body=body).body
        found = access.api().open_orders(time.monotonic_ns())
        assert found.orders is not None and [(row.order_id, row.cum_qty) for row in found.orders] == [
            (order.order_id, 2_000_000)
        ]
        assert control.request("POST", "/control/take", body=b"[]").status == 400


@pytest.mark.soak
def test_a_step_of_the_reference_has_the_quote_in_its_way_cancelled_and_a_taken_one_posted_anew() -> None:
    with Subject() as subject:
        subject.tap.run(1.0)
        subject.quoting()
        subject.asked.clear()
        at_ns = subject.move(1 + STEP)
        assert subject.tap.run(5.0, lambda: any(request.method == "DELETE" for request in subject.asked))
        assert subject.asked[0].at_ns > at_ns
        subject.move(1.0)
        subject.quoting()
        subject.take("bid")
        assert "bid" not in subject.orders
        subject.move(1 - STEP)
        assert subject.tap.run(5.0, lambda: "bid" in subject.orders)
        assert subject.status()["state"] == "quoting"
