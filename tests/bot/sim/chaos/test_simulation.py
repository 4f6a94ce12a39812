"""Whole runs of the simulation: what holds, that it repeats itself, and that it finds what is wrong."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys

import orjson
import pytest
from greenlet import getcurrent, greenlet

from bot.execution.orders import Orders
from bot.execution.timers import Timers
from bot.messages import MarketListed, MarketResolved
from bot.sim.chaos.command import Options, report, run_case
from bot.sim.chaos.crashes import POINTS, moments
from bot.sim.chaos.hub import Group
from bot.sim.chaos.rest import LANDS_NS, Cut, Request
from bot.sim.chaos.simulation import Simulation
from bot.sim.chaos.world import MarketList, market_of
from bot.sim.faults import fault_of
from bot.units import NS_PER_MS, NS_PER_S

KEYS = {"seed", "runs", "hours", "steps", "faults", "faults_by_id", "violations", "speed", "hash"}


@pytest.mark.parametrize("seed", range(4))
def test_every_invariant_holds_through_minutes_of_chaos(seed: int) -> None:
    result = Simulation(seed, 0.03).run()
    assert result.violation is None
    assert result.steps > 1_000


@pytest.mark.parametrize("at_s", moments(6, 24.0))
def test_after_a_crash_at_a_marked_point_every_invariant_holds(at_s: float) -> None:
    result = Simulation(5, 24 / 3600, crash_at_s=at_s).run()
    assert (result.violation, result.crashes, result.phases) == (None, 1, 1)


def test_however_many_faults_hold_a_post_it_lands_before_the_bot_may_give_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = Simulation(0, 0.01, every_s=0)
    hub, rest, begin_ns, landed = simulation.hub, simulation.rest, simulation.hub.now_ns, []
    monkeypatch.setattr(rest, "_handle", lambda request: landed.append(hub.now_ns))
    for fault_id in ("P14", "C04", "C05", "P01"):
        kind = {"kind": "late"} if fault_id == "P01" else {}
        fault = fault_of({"id": fault_id, "delay_ms": 3_000, "match": "POST /order", **kind})
        simulation.faults.inject(fault, simulation.venue.age_s)

    def post() -> None:
        with pytest.raises(Cut):
            rest.serve(Request("POST", "/order", b""))

    hub.spawn(Group(), post)
    hub.run(begin_ns + 60 * NS_PER_S)
    assert [landed_ns - begin_ns for landed_ns in landed] == [LANDS_NS]
    assert Timers().settle_ns > LANDS_NS + 300 * NS_PER_MS
    hub.close()


def test_every_marked_point_is_passed() -> None:
    simulation, passed = Simulation(4, 0.03), set()
    simulation.scene.passing = lambda process, point: passed.add(point)
    simulation.run()
    assert passed >= set(POINTS)


def test_without_faults_it_never_fails() -> None:
    result = Simulation(1, 0.05, every_s=0).run()
    assert result.violation is None
    # Failure mode is forced at the end of each time of chaos, and not entered otherwise.
    assert result.states["failing"] == result.phases
    assert result.fills > 10
    assert result.quoting_s > 0.95 * (result.seconds - result.forced_s)


def test_the_time_of_quoting_until_a_crash_counts() -> None:
    result = Simulation(1, 0.05, every_s=0, crash_at_s=100).run()
    assert (result.violation, result.crashes) == (None, 1)
    assert result.quoting_s > 0.8 * (result.seconds - result.forced_s)


def test_the_same_seed_tells_the_same_story_in_another_process() -> None:
    def told(hash_seed: str) -> dict[str, object]:
        command = [sys.executable, "-m", "bot.cli", "chaos", "--seed", "1", "--hours", "0.02", "--json"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    first, second = told("1"), told("2")
    assert first.keys() >= KEYS
    assert first["hash"] == second["hash"]


def test_a_failure_is_made_small_and_told_with_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill that ends nothing: the order rests on in our books."""
    monkeypatch.setattr(Orders, "debts", lambda self: 1 / 0)
    options = Options(seed=3, hours=0.05)
    ran = run_case((3, None), options)
    figures = report(options, [ran])
    (violation,) = figures["violations"]
    assert (violation["invariant"], violation["seed"]) == ("I0", 3)
    assert "ZeroDivisionError" in violation["text"]
    assert len(violation["story"]) <= 30
    assert violation["replay"].startswith("bot chaos --seed 3 --hours 0.0")
    told = pickle.loads(pickle.dumps(ran))  # as from a process of --jobs
    assert str(told.result.violation) == str(ran.result.violation)


def test_a_run_leaves_no_task_behind_that_would_keep_it_in_memory() -> None:
    def tasks() -> int:
        gc.collect()
        return sum(isinstance(one, greenlet) for one in gc.get_objects())

    getcurrent()  # makes the thread's own, which stays
    before = tasks()
    Simulation(0, 0.005, crash_at_s=10).run()
    assert tasks() == before


def test_who_asks_late_is_told_how_a_market_ended_as_a_venue_tells_for_ever() -> None:
    """Seed 5092: a bot that was away for long enough never learnt it, and its inventory never settled."""
    simulation = Simulation(0, 0.01, every_s=0)
    hub, world, venue = simulation.hub, simulation.world, simulation.venue
    first = next(iter(world.windows))
    bot = MarketList(world, venue)
    bot.watch(market_of(world.windows[first].market))
    hub.run(hub.now_ns + 400 * NS_PER_S)
    assert first not in world.windows
    told = [message for _ in range(2) for message in bot.poll(0, hub.now_ns)]
    assert [message.symbol for message in told if isinstance(message, MarketResolved)] == [first]
    assert first not in [message.market.symbol for message in told if isinstance(message, MarketListed)]
    hub.close()
