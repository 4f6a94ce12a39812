"""Histograms of what trading takes: right to six percent, cheap, recent; and the slowest cases with why."""

from __future__ import annotations

import gc
import random

import pytest

from bot.latency import BUCKETS, HALF_NS, SLOW_KEPT, SLOW_NS, STEPS, GcWatch, Latency
from bot.units import NS_PER_S, Ns


class Clock:
    def __init__(self) -> None:
        self.now_ns: Ns = NS_PER_S

    def __call__(self) -> Ns:
        return self.now_ns


def test_nothing_recorded_is_told_as_nothing() -> None:
    assert Latency().summary() == {"p50": None, "p99": None, "p999": None, "max": None, "n": 0}
    assert Latency().slowest() == []


@pytest.mark.parametrize("scale", [30, 1_000, 300_000, 20_000_000, 4_000_000_000])
def test_percentiles_are_right_to_one_step_and_max_and_n_exactly(scale: int) -> None:
    rng = random.Random(scale)
    samples = [rng.randrange(1, scale) for _ in range(3000)]
    latency = Latency()
    for sample in samples:
        latency.record(sample)
    told, ordered = latency.summary(), sorted(samples)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        exact = ordered[int(share * len(ordered))] / 1000
        found = told[name]
        assert found is not None and abs(found - exact) <= exact / STEPS + 0.002, name
    assert (told["max"], told["n"]) == (ordered[-1] / 1000, 3000)


def test_every_duration_has_its_bucket() -> None:
    latency = Latency()
    for bits in range(64):
        latency.record(1 << bits)
    latency.record(-5)
    assert sum(latency._counts) == latency.count == 65 and len(latency._counts) == BUCKETS
    assert latency.summary()["max"] == (1 << 63) / 1000


def test_percentiles_forget_what_is_long_past_and_the_maximum_does_not() -> None:
    clock = Clock()
    latency = Latency(clock)
    latency.record(8_000_000)
    for _ in range(2):
        clock.now_ns += HALF_NS + 1
        latency.record(1_000)
        latency.summary()
    told = latency.summary()
    assert told["max"] == 8000.0 and told["n"] == 3
    assert told["p999"] is not None and told["p999"] < 1.1
    for _ in range(2):
        clock.now_ns += HALF_NS + 1
        told = latency.summary()
    assert (told["p50"], told["n"]) == (None, 3)


def test_the_slowest_recent_cases_are_kept_with_why_and_only_they_are_asked() -> None:
    clock, asked = Clock(), list[int]()

    def why(number: int) -> str:
        asked.append(number)
        return f"case {number}"

    latency = Latency(clock, lambda since_ns, until_ns: f" within {until_ns - since_ns}")
    for number in range(1, 9):
        latency.record(number * 1000, lambda number=number: why(number))
    latency.record(500, lambda: why(0))
    assert 0 not in asked
    slowest = latency.slowest()
    assert [case["why"] for case in slowest] == [f"case {n} within {n * 1000}" for n in (8, 7, 6, 5, 4)]
    assert len(slowest) == SLOW_KEPT and slowest[0] == {"us": 8.0, "ago_s": 0.0, "why": "case 8 within 8000"}
    clock.now_ns += SLOW_NS
    assert latency.slowest() == []
    latency.record(9_000, lambda: "new")
    assert [case["us"] for case in latency.slowest()] == [9.0]


def test_collections_are_timed_and_found_in_the_spans_they_fell_into() -> None:
    clock = Clock()
    watch = GcWatch(clock)
    for began_us, took_us in ((100, 30), (500, 70)):
        clock.now_ns = began_us * 1000
        watch._heard("start", {"generation": 2})
        clock.now_ns += took_us * 1000
        watch._heard("stop", {"generation": 2})
    assert watch.latency.summary()["n"] == 2 and watch.latency.slowest()[0]["why"] == "generation 2"
    assert watch.within(0, 90_000) == ""
    assert watch.within(0, 1_000_000) == "; garbage collection 100 us of it"
    assert watch.within(110_000, 520_000) == "; garbage collection 40 us of it"


def test_the_interpreters_own_collections_are_heard_until_it_stops() -> None:
    watch = GcWatch()
    watch.start()
    gc.collect()
    watch.stop()
    heard = watch.latency.count
    gc.collect()
    assert watch.latency.count == heard >= 1
