"""Messages a second that the executor handles with its journal on: what its thread does, without the hand-over."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path

from bot.bench.day import WALLET, Day
from bot.bench.figures import ROUNDS, Figures, medians
from bot.execution.snapshot import snapshot
from bot.history.journal import Journal
from bot.history.records import Run
from bot.restart import executor_of

EVENTS = 40_000
RUN = Run(salt_base=1 << 40, wallet=WALLET)


def run() -> Figures:
    told = [(now_ns, message) for now_ns, message, _ in islice(Day(executor_of(RUN)).messages(), EVENTS)]
    rounds = []
    for _ in range(ROUNDS):
        executor = executor_of(RUN)
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder), run=RUN, snapshot=lambda: snapshot(executor))  # noqa: B023 - of this round
            began_s, used_s = time.perf_counter(), time.process_time()
            for now_ns, message in told:
                journal.append(now_ns, message, executor.handle(message, now_ns))
                journal.rotate()
            took_s, used_s = time.perf_counter() - began_s, time.process_time() - used_s
            journal.close()
        rounds.append({"per_s": EVENTS / took_s, "cpu_us": used_s / EVENTS * 1e6})
    return {"unit": "events/s", "n": ROUNDS * EVENTS, **medians(rounds)}
