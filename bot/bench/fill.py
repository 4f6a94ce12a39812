"""From a frame of the user stream to the executor that handles it, with the market feed at rest and at full rate.

Fills are real ones of an order that rests at the venue, a lot at a time. When a frame was written to the bot's socket is
what the tap saw; when the executor had it in its hands is what its journal says.
"""

from __future__ import annotations

import time

import orjson

from bot.bench.figures import ROUNDS, TIMES, Figures, against, medians, percentiles
from bot.bench.subject import Subject
from bot.history.journal import read, segments
from bot.history.records import Record
from bot.messages import ExecutionReport
from bot.units import Ns

FRAMES_PER_S = 10_000
FILLS = 150  # of a round, in a second
ROUND_S = 2.0  # the fills, and what follows them
ORDER_SIZE = 100  # shares: a lot is a hundredth of one


def run() -> Figures:
    written: dict[str, Ns] = {}
    rounds: dict[str, list[set[str]]] = {"idle": [], "loaded": []}

    def passing(text: bytes) -> None:
        now_ns = time.monotonic_ns()
        told = orjson.loads(text) if text.startswith((b"{", b"[")) else []
        for event in told if isinstance(told, list) else [told]:
            if event.get("event_type") == "trade" and event.get("status") == "MATCHED":
                written.setdefault(event["id"], now_ns)

    with Subject(order_size=ORDER_SIZE) as subject:
        subject.passing = passing
        for _ in range(ROUNDS):
            for name, rate in (("idle", 0), ("loaded", FRAMES_PER_S)):
                subject.load(rate)
                subject.tap.run(0.5)
                subject.quoting()
                before = set(written)
                subject.fault(id="U14", kind="trades", number=FILLS)
                subject.tap.run(ROUND_S)
                rounds[name].append(set(written) - before)
        subject.load(0)
        subject.tap.run(0.2)
        handled = _handled(subject)
    idle, loaded = (
        medians(
            [percentiles([handled[trade] - written[trade] for trade in trades & handled.keys()]) for trades in each]
        )
        for each in rounds.values()
    )
    return {"unit": "us", **loaded, "against": {"idle": against(loaded, idle, TIMES)}}


def _handled(subject: Subject) -> dict[str, Ns]:
    """When each trade was first handled."""
    handled: dict[str, Ns] = {}
    for item in read(segments(subject.run_dir / "journal")):
        if isinstance(item, Record) and isinstance(item.message, ExecutionReport):
            handled.setdefault(item.message.exec_id, item.now_ns)
    return handled
