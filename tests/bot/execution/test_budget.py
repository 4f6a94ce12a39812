"""The venue budget: exact buckets, and cancels that always go."""

from __future__ import annotations

import pytest
from desk_fake import Bench, of

from bot.execution.budget import Bucket, Budget, Rates
from bot.messages import Budgeted, CancelOrder, NewOrder, RateLeft
from bot.units import NS_PER_S


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(40, 60)
    assert sum(bucket.take(1, 0) for _ in range(100)) == 60
    assert sum(bucket.take(1, NS_PER_S // 2) for _ in range(100)) == 20
    assert not bucket.take(1, NS_PER_S // 2 + NS_PER_S // 40 - 1)
    assert bucket.take(1, NS_PER_S // 2 + NS_PER_S // 40)


def test_quoting_never_spends_the_reserve_of_cancels() -> None:
    budget = Budget()
    assert sum(budget.take_cancel(0) for _ in range(500)) == 120 - 24
    budget.charge_cancels(30, 0)
    assert budget.levels()["cancels"] == -6
    assert not budget.take_cancel(0)


def test_a_forced_charge_is_bounded() -> None:
    budget = Budget()
    budget.charge_cancels(100_000, 0)
    assert budget.levels()["cancels"] == -120


def test_our_own_placements_are_slower_than_the_venue_would_allow() -> None:
    budget = Budget(Rates(placements_per_s=20, placements_burst=5))
    assert sum(budget.take_order(0) for _ in range(60)) == 5
    assert sum(budget.take_order(NS_PER_S) for _ in range(60)) == 5


def test_a_429_halves_our_rate_for_a_while() -> None:
    budget = Budget(Rates(placements_burst=1))
    assert budget.take_order(NS_PER_S)
    budget.limited(NS_PER_S)
    at = NS_PER_S + NS_PER_S // 20
    assert not budget.take_order(at)
    assert budget.take_order(at + NS_PER_S // 20)
    assert budget.take_order(20 * NS_PER_S) and budget.take_order(20 * NS_PER_S + NS_PER_S // 20)


@pytest.mark.parametrize("kind", list(Budgeted))
def test_the_venue_may_have_less_left_than_we_think_and_never_more(kind: Budgeted) -> None:
    bench = Bench()
    bench.intent(bid=4900, offer=5200)
    levels = bench.executor.budget.levels()
    bench.tell(RateLeft(kind=kind, left=1000))
    assert bench.executor.budget.levels() == levels
    bench.tell(RateLeft(kind=kind, left=-500))
    burst = {Budgeted.ORDERS: 60, Budgeted.CANCELS: 120}[kind]
    assert bench.executor.budget.levels() == {**levels, kind.value: -burst}
    replaced = of(CancelOrder, bench.intent(bid=4800, offer=5300))
    assert len(replaced) == (2 if kind is Budgeted.ORDERS else 0)


def test_what_the_venue_says_does_not_make_a_penalty_shorter() -> None:
    budget = Budget(Rates(orders_burst=1, orders_per_s=10))
    assert budget.take_order(NS_PER_S)
    budget.limited(NS_PER_S)
    budget.told(Budgeted.ORDERS, 60, NS_PER_S + NS_PER_S // 10)
    assert not budget.take_order(NS_PER_S + NS_PER_S // 10)
    assert budget.take_order(NS_PER_S + NS_PER_S // 5)


def test_without_cancel_tokens_a_quote_stays_but_a_pull_goes() -> None:
    bench = Bench(rates=Rates(cancels_burst=1, cancels_per_s=1))
    bench.intent(bid=5000)
    assert of(CancelOrder, bench.intent(bid=4900)) == []
    assert of(CancelOrder, bench.intent(cancel_first=True))


def test_without_order_tokens_nothing_is_placed() -> None:
    bench = Bench(rates=Rates(placements_burst=1, placements_per_s=1))
    assert len(of(NewOrder, bench.intent(bid=4900, offer=5200))) == 1
