"""From a frame of the reference exchange to the order, or the cancel, that it causes: the whole bot, seen from its sockets.

A step moves the reference price beyond the guard of one quote. Where somebody took that quote just before, the new one
is posted at once; where it still rests, it is cancelled. Beside each step the same frame goes to an echo, to a
skeleton of our own parts, and to pipelines of stock parts. A step is soon taken back, and keeps clear of the turn of a
second, where volatility looks. The journal says which requests a reference frame caused, and no other one is on its way
meanwhile; those that came for another reason are no samples.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from bot.bench.figures import ROUNDS, TIMES, BenchError, Figures, against, medians, percentiles
from bot.bench.stock import BARE
from bot.bench.subject import SERIES, Subject
from bot.bench.tap import Answerer, Request, Stream, Tap
from bot.history.journal import read, segments
from bot.history.records import Record
from bot.messages import CancelOrder, NewOrder, QuoteIntent
from bot.units import Ns

STEP = 3e-4  # of the reference price: some seven cents of an even market of five minutes
UP, DOWN = ("offer", 1.0 + STEP), ("bid", 1.0 - STEP)  # the slot it threatens
STEPS_S = ((0.04, UP), (0.20, DOWN), (0.36, UP), (0.52, DOWN), (0.68, UP), (0.84, DOWN))  # of a wall-clock second
STEP_S = 0.07  # until it is taken back
SECONDS = 2  # of a round, idle and loaded each
LOADED_FRAMES_PER_S = 5_000
QUIET_S = 0.012  # before each frame: a fill arrives in it, and whoever is next finds the machine as cold as the others
STAGES = ("reader", "strategy", "executor", "wire")  # frame read, its run begun, its decision taken, whole request read
WAIT_S = 0.2  # a sample that takes longer is not one


class Peer:
    """Another process that answers each frame with a request. `module` with its first words, and what stands in its environment."""

    def __init__(self, tap: Tap, *words: str, environment: Mapping[str, str] | None = None) -> None:
        self._tap = tap
        self._streams: list[Stream] = []
        self._posted: list[Request] = []
        stream = tap.listen(lambda sock: self._streams.append(Stream(tap, sock)))
        http = tap.listen(lambda sock: _kept(Answerer(tap, sock, self._answer)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words, f"ws://127.0.0.1:{stream}/ws", f"http://127.0.0.1:{http}"],
            env={**os.environ, **(environment or {})},
        )
        self.samples_ns: list[Ns] = []

    @property
    def ready(self) -> bool:
        return any(stream.open for stream in self._streams)

    def sample(self, number: int) -> None:
        bid = 60_000.0 + 0.01 * (number % 100)
        frame = (
            b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%.8f","B":"1.50000000","a":"%.8f","A":"2.10000000"}}'
            % (number, bid, bid + 0.01)
        )
        self._posted.clear()
        at_ns = next(stream for stream in self._streams if stream.open).send(frame)
        if self._tap.run(WAIT_S, lambda: self._posted):
            self.samples_ns.append(self._posted[0].at_ns - at_ns)

    def _answer(self, request: Request) -> bytes:
        if request.method == "POST":
            self._posted.append(request)
            return (
                b'{"success":true,"errorMsg":"","orderID":"0x00","takingAmount":"","makingAmount":"","status":"live"}'
            )
        for word, body in (("tick", {"minimum_tick_size": 0.01}), ("neg", {"neg_risk": False}), ("", {"version": 2})):
            if word in request.path:
                return orjson.dumps(body)
        raise AssertionError("the empty word is in every path")

    def round(self) -> Figures:
        """Figures of the samples since the last round."""
        figures = percentiles(self.samples_ns)
        self.samples_ns = []
        return figures

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Steps:
    """A subject with its peers; `run` makes steps for whole seconds."""

    def __init__(self, peers: Words, series: Sequence[str] = (SERIES,)) -> None:
        self._subject = Subject(series=series)
        self._words = peers
        self.peers: dict[str, Peer] = {}
        self._number = 1
        self._seen: list[tuple[Ns, Request]] = []  # when the frame was written, and what came next
        self._rounds: dict[str, list[list[tuple[Ns, Request]]]] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._ends = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        self.tap = self._subject.tap
        self.peers = {
            name: Peer(self.tap, *words, environment=environment) for name, (words, environment) in self._words.items()
        }
        for peer in self.peers.values():
            stack.callback(peer.stop)
        stack.enter_context(self._subject)
        if not self.tap.run(20.0, lambda: all(peer.ready for peer in self.peers.values())):
            raise BenchError("a peer did not start")
        for peer in self.peers.values():
            peer.sample(0)  # the first one asks for metadata
        self.run(1, take=True)
        self._seen = []
        for peer in self.peers.values():
            peer.samples_ns = []

    def status(self) -> dict[str, Any]:
        return self._subject.status()

    def load(self, frames_per_s: float) -> None:
        self._subject.load(frames_per_s)
        self.tap.run(0.2)

    def run(self, seconds: int, *, take: bool, beside: tuple[str, ...] = ()) -> None:
        """Steps up and down; with `take` the threatened quote was taken just before, and the new one's POST is what counts."""
        self._subject.quoting()
        for phase_s, step in seconds * STEPS_S:
            self.tap.run((phase_s - time.time()) % 1.0)
            end_s = time.monotonic() + STEP_S
            self._step(*step, take)
            for name in beside:
                self.tap.run(QUIET_S)
                self._number += 1
                self.peers[name].sample(self._number)
            self.tap.run(end_s - time.monotonic())
            self._subject.move(1.0)

    def _step(self, slot: str, factor: float, take: bool) -> None:
        subject = self._subject
        for _ in range(2 if take else 0):
            if slot in subject.orders:
                subject.take(slot)
                self.tap.run(QUIET_S)
        if (slot in subject.orders) == take:
            return  # requoted by itself meanwhile, or not at all
        subject.asked.clear()
        method = "POST" if take else "DELETE"
        subject.still = True  # no other frame shall be the cause
        at_ns = subject.move(factor)
        if self.tap.run(WAIT_S, lambda: any(request.method == method for request in subject.asked)):
            first = next(request for request in subject.asked if request.method == method)
            self._seen.append((at_ns, first))
        subject.still = False

    def end_round(self, name: str) -> None:
        self._rounds.setdefault(name, []).append(self._seen)
        self._seen = []

    def figures(self, name: str) -> Figures:
        """Of the rounds of that name that have a sample, when they are over. Raises BenchError if most have none."""
        stamps = _stamps(self._subject.run_dir / "journal")
        rounds = [
            [
                (at_ns, *stamps[_name(request)], request.at_ns)
                for at_ns, request in seen
                if stamps[_name(request)][0] >= at_ns
            ]
            for seen in self._rounds[name]
        ]
        told = [_figures(ways) for ways in rounds if ways]
        if 2 * len(told) <= len(rounds):
            raise BenchError(f"{name}: most rounds have no sample; is the machine busy with something else?")
        return medians(told)


def _figures(ways: Sequence[tuple[Ns, ...]]) -> Figures:
    """Of some steps' times at each station from frame to wire: the whole, and p50 of how long the way to each took."""
    stages = {
        f"to_{name}_p50": percentiles([way[i + 1] - way[i] for way in ways])["p50"] for i, name in enumerate(STAGES)
    }
    return {**percentiles([way[-1] - way[0] for way in ways]), **stages}


def _stamps(journal: Path) -> dict[str, tuple[Ns, Ns, Ns]]:
    """Of each order by its salt, each cancel by its order's id: when the frame behind it was read (0: there was none), the
    strategy's run began, and the executor took what it said."""
    stamps: dict[str, tuple[Ns, Ns, Ns]] = {}
    for item in read(segments(journal)):
        if not isinstance(item, Record):
            continue
        began_ns = item.message.made_ns if isinstance(item.message, QuoteIntent) else 0
        for message in item.emitted:
            if isinstance(message, NewOrder):
                stamps[str(message.salt)] = (message.cause_ns, began_ns, message.made_ns)
            elif isinstance(message, CancelOrder):
                stamps[message.order_id] = (message.cause_ns, began_ns, message.made_ns)
    return stamps


def _name(request: Request) -> str:
    """By which the journal knows the (first) order: its salt in a POST, its id in a DELETE."""
    body = orjson.loads(request.body)
    one = body[0] if isinstance(body, list) else body
    if request.method == "POST":
        return str(one["order"]["salt"])
    return str(one["orderID"] if isinstance(one, dict) else one)


Words = Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]]  # of each peer: its module and options, its environment
ECHO: Words = {"echo": (("bot.bench.echo",), {})}
SKELETON: Words = {"skeleton": (("bot.bench.skeleton",), {})}
STOCK: Words = {
    "stock_coincurve": (("bot.bench.stock", "pipeline"), {}),
    "stock": (("bot.bench.stock", "pipeline"), BARE),
}


def tick_to_wire() -> Figures:
    with Steps({**ECHO, **SKELETON, **STOCK}) as steps:
        theirs: dict[str, list[Figures]] = {name: [] for name in steps.peers}
        for _ in range(ROUNDS):
            steps.run(SECONDS, take=True, beside=tuple(steps.peers))
            steps.end_round("idle")
            for name, peer in steps.peers.items():
                theirs[name].append(peer.round())
            steps.load(LOADED_FRAMES_PER_S)
            steps.run(SECONDS, take=True)
            steps.end_round("loaded")
            steps.load(0)
        mine, busy = steps.figures("idle"), steps.figures("loaded")
    figures = {**mine, **{f"loaded_{name}": busy[name] for name in ("n", "p50", "p99")}}
    return {"unit": "us", **figures, "against": {name: against(mine, medians(f), TIMES) for name, f in theirs.items()}}


def tick_to_cancel() -> Figures:
    theirs = []
    with Steps(ECHO) as steps:
        for _ in range(ROUNDS):
            steps.run(2 * SECONDS, take=False, beside=("echo",))
            steps.end_round("idle")
            theirs.append(steps.peers["echo"].round())
        mine = steps.figures("idle")
    return {"unit": "us", **mine, "against": {"echo": against(mine, medians(theirs), TIMES)}}


def _kept(answerer: Answerer) -> None:
    """It lives by what the tap serves."""
