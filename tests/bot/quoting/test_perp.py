"""The lead of the perpetual: moves of it, never its level."""

from __future__ import annotations

import math

import pytest

from bot.caches import Reference
from bot.quoting.perp import STALE_NS, PerpLead
from bot.quoting.volatility import decay
from bot.units import NS_PER_S

SPOT = math.log(60_000)


def quote(mid: float, recv_ns: int = 0) -> Reference:
    return Reference(bid_e8=round(mid * 1e8) - 1, ask_e8=round(mid * 1e8) + 1, update_id=1, recv_ns=recv_ns)


def test_a_lasting_premium_leads_nothing() -> None:
    lead = PerpLead(1.0)
    for second in range(1, 300):
        lead.look(quote(60_024), SPOT, 0, second)
        assert lead.value == pytest.approx(0, abs=1e-15)


def test_a_move_leads_at_once_by_its_weight_and_fades_as_the_level_follows() -> None:
    lead = PerpLead(0.4)
    lead.look(quote(60_024), SPOT, 0, 1)
    lead.look(quote(60_030), SPOT, 0, 1)
    move = math.log(60_030 / 60_024)
    assert lead.value == pytest.approx(0.4 * move)
    for second in range(2, 62):
        lead.look(quote(60_030), SPOT, 0, second)
    assert lead.value == pytest.approx(0.4 * move * decay(60) ** 60)


def test_what_spot_did_too_is_no_lead() -> None:
    lead = PerpLead(1.0)
    lead.look(quote(60_024), SPOT, 0, 1)
    lead.look(quote(60_024 * 1.001), SPOT + math.log(1.001), 0, 1)
    assert lead.value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("weight", "perp"), [(0.0, quote(61_000)), (1.0, None), (1.0, quote(61_000, recv_ns=-STALE_NS - 1))]
)
def test_without_weight_or_fresh_quote_there_is_no_lead(weight: float, perp: Reference | None) -> None:
    lead = PerpLead(weight)
    lead.look(quote(60_000), SPOT, 0, 1)
    lead.look(perp, SPOT, 0, 2)
    assert lead.value == 0


def test_a_silent_second_teaches_no_level() -> None:
    lead = PerpLead(1.0)
    lead.look(quote(60_000), SPOT, 0, 1)
    lead.look(None, SPOT, 0, 2)
    lead.look(quote(60_006, recv_ns=3 * NS_PER_S), SPOT, 3 * NS_PER_S, 2)
    assert lead.value == pytest.approx(math.log(60_006 / 60_000) * decay(60))
