"""From a frame of the user stream to the executor that handles it, with the market feed at rest and at full rate.

The frame is that of a real fill, told again and again: it takes the same way as the first time, and the executor finds
that it knows it. When it was written to the bot's socket is what the tap saw; when the executor had it in its hands is
what its journal says.
"""

from __future__ import annotations

import orjson

from bot.bench.figures import ROUNDS, TIMES, BenchError, Figures, against, medians, percentiles
from bot.bench.subject import Subject
from bot.history.journal import read, segments
from bot.history.records import Record
from bot.messages import ExecutionReport
from bot.units import Ns

FRAMES_PER_S = 10_000
FRAMES = 220  # of a round
PAUSE_S = 0.005
SETTLES_S = (0.3, 1.5)  # before a round; the second where the load begins, for then its books grow to their size


def run() -> Figures:
    told: list[tuple[bool, list[Ns]]] = []
    with Subject() as subject:
        text, trade = _fill(subject)
        for number in range(2 * ROUNDS):
            loaded = number % 4 in (1, 2)  # in turn, and with as few starts of the load as that allows
            subject.load(FRAMES_PER_S if loaded else 0)
            subject.tap.run(SETTLES_S[loaded and not told[-1][0]])
            told.append((loaded, _tell(subject, text)))
        subject.load(0)
        subject.tap.run(SETTLES_S[False])
        handled = _handled(subject, trade)
    written = [at_ns for _, round_ in told for at_ns in round_]
    took = {at_ns: taken_ns - at_ns for at_ns, taken_ns in zip(written, handled[-len(written) :], strict=True)}
    idle, busy = (
        medians([percentiles([took[at_ns] for at_ns in each]) for under, each in told if under is which])
        for which in (False, True)
    )
    return {"unit": "us", **busy, "against": {"idle": against(busy, idle, TIMES)}}


def _fill(subject: Subject) -> tuple[bytes, str]:
    """The last frame about a fill that its settlement is over with, and the trade's id."""
    seen: list[bytes] = []
    subject.passing = lambda text: seen.append(text) if b'"CONFIRMED"' in text else None
    subject.take("bid")
    if not subject.tap.run(15.0, lambda: seen):
        raise BenchError("no fill was confirmed")
    subject.passing = lambda text: None
    event = orjson.loads(seen[0])
    return seen[0], str((event[0] if isinstance(event, list) else event)["id"])


def _tell(subject: Subject, text: bytes) -> list[Ns]:
    written = []
    for _ in range(FRAMES):
        written.append(subject.tell_user(text))
        subject.tap.run(PAUSE_S)
    return written


def _handled(subject: Subject, trade: str) -> list[Ns]:
    """When each report of the trade was handled, in their order."""
    return [
        item.now_ns
        for item in read(segments(subject.run_dir / "journal"))
        if isinstance(item, Record) and isinstance(item.message, ExecutionReport) and item.message.exec_id == trade
    ]
