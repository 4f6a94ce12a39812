"""From a halt to the cancel-all on the wire, while an order hangs in its gateway and the market feed is at full rate.

The halt is an operator's, by the control socket; said again to a bot that is halted already it cancels all again.
"""

from __future__ import annotations

from bot.bench.figures import ROUNDS, TIMES, BenchError, Figures, against, medians, percentiles
from bot.bench.subject import Subject
from bot.control import ask
from bot.units import Ns

FRAMES_PER_S = 10_000
HALTS = 20  # of a round
HANGS = (3, 2)  # rounds in which one order hangs
PAUSE_S = 0.03
WAIT_S = 0.5


def run() -> Figures:
    with Subject() as subject:
        subject.tap.run(0.5)
        idle = [percentiles(_halts(subject)) for _ in range(ROUNDS)]
        subject.load(FRAMES_PER_S)
        stuck = []
        for rounds in HANGS:
            _resume(subject)
            _hang(subject)
            stuck += [percentiles(_halts(subject)) for _ in range(rounds)]
            subject.holding = False
        subject.load(0)
    mine = medians(stuck)
    return {"unit": "us", **mine, "against": {"idle": against(mine, medians(idle), TIMES)}}


def _hang(subject: Subject) -> None:
    """The next order that is posted is not answered: until its deadline of 3 s its gateway does nothing else."""
    subject.holding = True
    subject.asked.clear()
    for factor in (1.0002, 0.9998) * 5:
        subject.move(factor)
        if subject.tap.run(1.0, lambda: any(request.method == "POST" for request in subject.asked)):
            subject.move(1.0)
            return
    raise BenchError("no order was posted")


def _halts(subject: Subject) -> list[Ns]:
    samples = []
    for _ in range(HALTS):
        subject.asked.clear()
        at_ns = subject.halt()
        if subject.tap.run(WAIT_S, lambda: any(request.path == "/cancel-all" for request in subject.asked)):
            first = next(request for request in subject.asked if request.path == "/cancel-all")
            samples.append(first.at_ns - at_ns)
        subject.tap.run(PAUSE_S)
    return samples


def _resume(subject: Subject) -> None:
    """As soon as it is proven flat; then until it quotes again."""
    for _ in range(50):
        subject.tap.run(0.2)
        answer = ask(subject.run_dir / "control.sock", "resume", timeout_s=0.2)
        if answer is not None and answer["ok"]:
            return subject.quoting()
    raise BenchError("the bot does not resume")
