"""One hand-over between threads: `Directory.tell` to the handler of an actor of ours, beside a stock pykka actor.

`busy` is from the moment a message is due, while another thread decodes market frames as fast as it can: with the
interpreter's switch interval as the bot sets it, and as it is by default.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from actors.base import Actor
from actors.router import Directory, Router
from bot import interpreter
from bot.bench.feed import change_frames, feed
from bot.bench.figures import ROUNDS, TIMES, Figures, against, medians, percentiles
from bot.messages import CancelOrder
from bot.units import NS_PER_S

PAUSE_S = 0.0003  # between two messages to an actor that sleeps
LATENCIES = 1_500
FLOOD = 40_000
BUSY = 60  # each waits for some switch intervals
BUSY_PAUSE_NS = 2_000_000
DEFAULT_INTERVAL_S = 0.005
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
    busy, default = (
        medians([_while_busy(interval_s, ours, tells[0][1]) for _ in range(ROUNDS)])
        for interval_s in (interpreter.SWITCH_INTERVAL_S, DEFAULT_INTERVAL_S)
    )
    reference.stop()
    other.stop()
    mine, theirs = medians(rounds[0]), medians(rounds[1])
    peers = {
        "pykka_inbox": against(mine, theirs, {**TIMES, "per_s": True}),
        "busy": busy,
        "busy_default_interval": against(busy, default, TIMES),
    }
    return {"unit": "us", **mine, "against": peers}


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


def _while_busy(interval_s: float, log: Log, tell: Callable[[CancelOrder], None]) -> Figures:
    before_s, over = sys.getswitchinterval(), threading.Event()
    frames, books = change_frames(200, 1), feed()

    def decode() -> None:
        while not over.is_set():
            for frame in frames:
                books.decode(frame, 0)

    sys.setswitchinterval(interval_s)
    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    try:
        log.expect(BUSY)
        for _ in range(BUSY):
            due_ns = time.perf_counter_ns() + BUSY_PAUSE_NS
            time.sleep(BUSY_PAUSE_NS / NS_PER_S)
            tell(CancelOrder(cl_ord_id="", order_id="", symbol="", made_ns=due_ns))
        log.done.wait(WAIT_S)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before_s)
    return percentiles(log.samples_ns)
