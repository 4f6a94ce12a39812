"""One hand-over between threads: `Directory.tell` to the handler of an actor of ours, beside a stock pykka actor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from actors.base import Actor
from actors.router import Directory, Router
from bot.bench.figures import ROUNDS, TIMES, Figures, against, medians, percentiles
from bot.messages import CancelOrder

PAUSE_S = 0.0003  # between two messages to an actor that sleeps
LATENCIES = 2_000
FLOOD = 40_000
WAIT_S = 10.0


class Log:
    """What both actors do with a message: note when it came."""

    def __init__(self) -> None:
        self.samples_ns: list[int] = []
        self.wanted = 0
        self.done = threading.Event()

    def note(self, sent_ns: int) -> None:
        self.samples_ns.append(time.perf_counter_ns() - sent_ns)
        if len(self.samples_ns) == self.wanted:
            self.done.set()

    def expect(self, count: int) -> None:
        self.samples_ns = []
        self.wanted = count
        self.done.clear()


class Ours(Actor):
    def __init__(self, *, log: Log, **base: Any) -> None:
        super().__init__(**base)
        self._log = log

    def handle(self, message: CancelOrder) -> None:
        self._log.note(message.made_ns)


class Stock(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def on_receive(self, message: CancelOrder) -> None:
        self._log.note(message.made_ns)


def run() -> Figures:
    ours, stock = Log(), Log()
    directory = Directory()
    reference = Ours.start(log=ours, name="bench", directory=directory, router=Router(directory, {}))
    other = Stock.start(stock)
    tells: list[tuple[Log, Callable[[CancelOrder], None]]] = [
        (ours, lambda message: directory.tell("bench", message)),
        (stock, other.tell),
    ]
    rounds: list[list[Figures]] = [[], []]
    for _ in range(ROUNDS):
        for figures, (log, tell) in zip(rounds, tells, strict=True):
            figures.append({**_latency(log, tell), "per_s": _throughput(log, tell)})
    reference.stop()
    other.stop()
    mine, theirs = medians(rounds[0]), medians(rounds[1])
    return {"unit": "us", **mine, "against": {"pykka_inbox": against(mine, theirs, {**TIMES, "per_s": True})}}


def _message() -> CancelOrder:
    return CancelOrder(cl_ord_id="", order_id="", symbol="", made_ns=time.perf_counter_ns())


def _latency(log: Log, tell: Callable[[CancelOrder], None]) -> Figures:
    log.expect(LATENCIES)
    for _ in range(LATENCIES):
        tell(_message())
        time.sleep(PAUSE_S)
    log.done.wait(WAIT_S)
    return percentiles(log.samples_ns)


def _throughput(log: Log, tell: Callable[[CancelOrder], None]) -> float:
    log.expect(FLOOD)
    message = _message()
    began_s = time.perf_counter()
    for _ in range(FLOOD):
        tell(message)
    log.done.wait(WAIT_S)
    return FLOOD / (time.perf_counter() - began_s)
