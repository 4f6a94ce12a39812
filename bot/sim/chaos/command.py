"""Many seeds, on one core or several; what fails is made small and told, with the command that repeats it."""

from __future__ import annotations

import gc
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from loguru import logger

from bot.sim.chaos.crashes import moments
from bot.sim.chaos.simulation import START_NS, Result, Simulation
from bot.sim.chaos.story import lines

GARBAGE = 100_000  # objects between two looks for cycles: there are few
STORY_LINES = 30
SHRINK_S = 120.0  # of CPU for one failure
LATER_S = 2.0  # a failure that comes no later than so much after the first one's moment counts as the same


Case: TypeAlias = tuple[int, float | None]  # a seed, and when to crash


@dataclass(frozen=True, slots=True)
class Options:
    """`every_s` and `only` as in Simulation. `crashes`: so many times each seed, with a crash at another moment."""

    seed: int = 0
    runs: int = 1
    hours: float = 0.5
    jobs: int = 1
    every_s: float | None = None
    only: tuple[str, ...] = ()
    crashes: int = 0
    crash_at: float | None = None  # seconds

    @property
    def cases(self) -> list[Case]:
        at = moments(self.crashes, self.hours * 3600) if self.crashes else [self.crash_at]
        return [(seed, at_s) for seed in range(self.seed, self.seed + self.runs) for at_s in at]


@dataclass(slots=True)
class Ran:
    """A seed's result with what it took, and of a failure its story and how to repeat it."""

    result: Result
    cpu_s: float
    story: Sequence[str] = ()
    replay: str = ""


def run_case(case: Case, options: Options, shrink: bool = True) -> Ran:
    logger.disable("actors")
    gc.freeze()  # what the imports made is never looked at again
    gc.set_threshold(GARBAGE)
    began = time.process_time()
    result = _simulated(case, options, options.hours, options.only)
    ran = Ran(result, time.process_time() - began)
    if result.violation is not None:
        small, only = _shrunk(case, options, result) if shrink else (result, options.only)
        ran.story = lines(small.told, START_NS, STORY_LINES)
        ran.replay = _command(case, small, options, only)
    result.told = []
    return ran


def _simulated(case: Case, options: Options, hours: float, only: Collection[str]) -> Result:
    seed, at_s = case
    return Simulation(seed, hours, every_s=options.every_s, only=only, crash_at_s=at_s).run()


def _shrunk(case: Case, options: Options, failed: Result) -> tuple[Result, tuple[str, ...]]:
    """The same invariant broken with as few kinds of faults as can be found, no later than at first."""
    assert failed.violation is not None
    hours = _hours(failed, options)
    until = time.process_time() + SHRINK_S
    best, kept = failed, [*failed.faults_by_id]
    if not kept:
        return best, options.only
    size = max(1, len(kept) // 2)
    while time.process_time() < until:
        for begin in range(0, len(kept), size):
            fewer = kept[:begin] + kept[begin + size :]
            if not fewer or time.process_time() >= until:
                continue
            found = _simulated(case, options, hours, fewer)
            if found.violation is not None and found.violation.invariant == failed.violation.invariant:
                best, kept = found, fewer
                break
        else:
            if size == 1:
                break
            size //= 2
    return best, tuple(kept)


def _hours(failed: Result, options: Options) -> float:
    """As long as it took, and no longer than at first: when the last quiescence begins is part of the story."""
    return min(options.hours, round((failed.seconds + LATER_S) / 3600, 4))


def _command(case: Case, result: Result, options: Options, only: Iterable[str]) -> str:
    seed, at_s = case
    words = ["bot", "chaos", "--seed", str(seed), "--hours", f"{_hours(result, options):g}"]
    if at_s is not None:
        words += ["--crash-at", f"{at_s:g}"]
    if options.every_s is not None:
        words += ["--fault-every", f"{options.every_s:g}s" if options.every_s else "never"]
    for fault_id in only:
        words += ["--only", fault_id]
    return " ".join(words)


def run_all(options: Options, tell: Callable[[str], None]) -> Iterator[Ran]:
    """Results in order of their seeds and moments."""
    one = partial(run_case, options=options)
    if options.jobs == 1:
        found: Iterable[Ran] = map(one, options.cases)
        yield from _told(found, options, tell)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        yield from _told(pool.map(one, options.cases), options, tell)


def _told(found: Iterable[Ran], options: Options, tell: Callable[[str], None]) -> Iterator[Ran]:
    for number, ran in enumerate(found, 1):
        what = f"VIOLATION {ran.result.violation}" if ran.result.violation else "holds"
        faults = sum(ran.result.faults_by_id.values())
        speed = ran.result.seconds / ran.cpu_s
        tell(
            f"{number}/{len(options.cases)} seed {ran.result.seed}: {what}; {faults} faults, {speed:.0f} times real time"
        )
        yield ran


def report(options: Options, all_ran: Collection[Ran]) -> dict[str, Any]:
    """The result under contract.md's keys."""
    counts: Counter[str] = Counter()
    total = hashlib.blake2b(digest_size=16)
    for ran in all_ran:
        counts.update(ran.result.faults_by_id)
        total.update(ran.result.hash.encode())
    results = [ran.result for ran in all_ran]
    seconds, cpu_s = sum(result.seconds for result in results), sum(ran.cpu_s for ran in all_ran)
    own_s = seconds - sum(result.forced_s for result in results)
    in_reach_s = own_s - sum(result.halted_s for result in results)
    return {
        "seed": options.seed,
        "runs": len(results),
        "hours": round(seconds / 3600, 4),
        "steps": sum(result.steps for result in results),
        "faults": counts.total(),
        "faults_by_id": dict(sorted(counts.items())),
        "violations": [
            {
                "invariant": ran.result.violation.invariant,
                "seed": ran.result.seed,
                "step": ran.result.steps,
                "text": ran.result.violation.text,
                "story": list(ran.story),
                "replay": ran.replay,
            }
            for ran in all_ran
            if ran.result.violation is not None
        ],
        "speed": round(seconds / cpu_s, 1),
        "hash": total.hexdigest(),
        "fills": sum(result.fills for result in results),
        "quoting": round(sum(result.quoting_s for result in results) / own_s, 4),
        "crashes": sum(result.crashes for result in results),
        "quoting_but_for_halts": round(sum(result.quoting_s for result in results) / in_reach_s, 4),
        "states": dict(sum((Counter(result.states) for result in results), Counter[str]())),
    }


def progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def shown(figures: dict[str, Any]) -> Iterator[str]:
    """For people."""
    yield (
        f"{figures['hours']:g} simulated hours in {figures['runs']} runs: {figures['steps']} steps of the executor, "
        f"{figures['faults']} faults of {len(figures['faults_by_id'])} kinds, {figures['fills']} fills, "
        f"quoting {figures['quoting']:.1%} of the time, {figures['speed']:g} times real time on one core"
    )
    for found in figures["violations"]:
        yield f"\nVIOLATION of {found['invariant']} at step {found['step']}: {found['text']}"
        yield from (f"  {line}" for line in found["story"])
        yield f"  again: {found['replay']}"
    yield f"hash {figures['hash']}"
