"""The trading budget: what it refuses when asked to, and what its headers say."""

from __future__ import annotations

import pytest

from bot.sim.rates import CANCELS, ORDERS, Rates

T0 = 1_800_000_000_000


def test_a_burst_is_spent_and_comes_back_at_the_tiers_rate() -> None:
    rates = Rates(enforced=True)
    assert rates.spend("a", ORDERS, 60, T0) == 0
    assert rates.spend("a", ORDERS, 1, T0) == 1
    assert rates.spend("a", ORDERS, 40, T0 + 999) > 0  # all or nothing
    assert rates.spend("a", ORDERS, 40, T0 + 1000) == 0


def test_signers_and_kinds_have_budgets_of_their_own() -> None:
    rates = Rates(enforced=True)
    rates.spend("a", ORDERS, 60, T0)
    assert rates.spend("b", ORDERS, 60, T0) == 0
    assert rates.spend("a", CANCELS, 120, T0) == 0


def test_a_cancel_all_may_leave_a_debt() -> None:
    rates = Rates(enforced=True)
    rates.charge("a", CANCELS, 200, T0)
    assert rates.headers("a", CANCELS, T0)["Poly-RateLimit-Remaining"] == "-80"
    assert rates.spend("a", CANCELS, 1, T0 + 1000) > 0
    assert rates.spend("a", CANCELS, 1, T0 + 1100) == 0


@pytest.mark.parametrize(
    ("tier", "orders", "cancels"), [("Copper", 90, 180), ("Gold", 600, 1200), ("Elite", 900, 1800)]
)
def test_a_tier_sets_the_budget_and_the_highest_have_no_debts(tier: str, orders: int, cancels: int) -> None:
    rates = Rates(enforced=True, tier=tier)
    assert rates.spend("a", ORDERS, orders + 1, T0) > 0
    assert rates.spend("a", ORDERS, orders, T0) == 0
    rates.charge("a", CANCELS, cancels + 7, T0)
    told = rates.headers("a", CANCELS, T0)
    assert told["Poly-RateLimit-Tier"] == tier
    assert told["Poly-RateLimit-Remaining"] == ("0" if tier == "Elite" else "-7")


def test_headers_tell_what_is_left_and_when_it_is_full() -> None:
    rates = Rates()
    assert rates.spend("a", ORDERS, 40, T0) == 0
    assert rates.headers("a", ORDERS, T0) == {
        "Poly-RateLimit-Remaining": "20",
        "Poly-RateLimit-Reset": str(T0 // 1000 + 1),
        "Poly-RateLimit-Tier": "Standard",
    }


def test_a_venue_that_only_counts_refuses_nothing() -> None:
    rates = Rates()
    assert all(rates.spend("a", ORDERS, 15, T0) == 0 for _ in range(100))
