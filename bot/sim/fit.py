"""Fits the generated book to a recorded one: spread, size at the touch, and depth to two cents below it.

`python -m bot.sim.fit RECORDING` prints what the recording says (kept in worlds/recorded.json), and ever better parameters
(the last of them in worlds/tight.toml). A recording is a gzip file of JSON lines {slug, raw}, raw being a frame of the venue's
market channel. Such books are sent after trades, so the generated market is looked at after trades as well.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import orjson

from bot.sim.exchange import Exchange, Printed
from bot.sim.market import World
from bot.sim.parameters import WorldParameters
from bot.sim.prices import STEP_MS
from bot.sim.virtual import START_MS
from bot.units import QTY_ONE, Px, parse_px

SINCE_S = (10, 215)  # into the window: makers have settled, and the end is not near
MIDS: tuple[Px, Px] = (1_000, 9_000)
DEPTH: Px = 200
SERIES = ("btc-updown-5m", "eth-updown-5m", "sol-updown-5m", "xrp-updown-5m")
SEEDS, SECONDS = 4, 90
FITTED = ("maker_half_spread", "maker_touch_size", "maker_deep_size", "maker_size_sd", "maker_shy_move")
STEPS = (1.25, 1.1, 1.04)  # factors of the search, coarse to fine
WEIGHT_OF_SPREADS = 2.0

Side = list[tuple[Px, float]]  # price and shares, best first


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Quartiles in shares, and the shares of books whose spread is one, two, or more ticks."""

    books: int
    spreads: tuple[float, float, float]
    touch: tuple[float, float, float]
    depth: tuple[float, float, float]


class Sample:
    """Collects the books that count."""

    def __init__(self) -> None:
        self._spreads: list[int] = []
        self._touch: list[float] = []
        self._depth: list[float] = []

    def add(self, since_s: float, bids: Side, asks: Side) -> None:
        if not bids or not asks or not SINCE_S[0] <= since_s <= SINCE_S[1]:
            return
        bid, ask = bids[0][0], asks[0][0]
        if not MIDS[0] <= (bid + ask) / 2 <= MIDS[1]:
            return
        self._spreads.append(round((ask - bid) / 100))
        self._touch += [bids[0][1], asks[0][1]]
        self._depth.append(sum(shares for px, shares in bids if px >= bid - DEPTH))
        self._depth.append(sum(shares for px, shares in asks if px <= ask + DEPTH))

    def figures(self) -> Figures:
        count = len(self._spreads)
        ones, twos = (sum(spread == ticks for spread in self._spreads) / count for ticks in (1, 2))
        return Figures(
            books=count,
            spreads=(ones, twos, 1 - ones - twos),
            touch=_quartiles(self._touch),
            depth=_quartiles(self._depth),
        )


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    ordered, count = sorted(values), len(values)
    return ordered[count // 4], ordered[count // 2], ordered[count * 3 // 4]


def recorded(path: Path) -> Figures:
    """What a recording says of its books."""
    sample = Sample()
    with gzip.open(path) as lines:
        for line in lines:
            row = orjson.loads(line)
            frame = orjson.loads(row["raw"])
            if frame["event_type"] == "book":
                since_s = int(frame["timestamp"]) / 1000 - int(row["slug"].rpartition("-")[2])
                sample.add(since_s, _side(frame["bids"]), _side(frame["asks"]))
    return sample.figures()


def _side(rows: Iterable[dict[str, str]]) -> Side:
    return [(parse_px(row["price"]), float(row["size"])) for row in rows][::-1]


def generated(parameters: WorldParameters, seeds: int = SEEDS, seconds: int = SECONDS) -> Figures:
    """The same of generated markets, looked at after each step with a trade in it."""
    sample = Sample()
    for seed in range(seeds):
        exchange = Exchange()
        world = World(exchange, seed=seed, series=SERIES, start_ms=START_MS, aligned=False, parameters=parameters)
        for now_ms in range(START_MS + STEP_MS, START_MS + seconds * 1000, STEP_MS):
            world.step(now_ms)
            traded = [event.condition_id for event in exchange.take_events() if isinstance(event, Printed)]
            for condition_id in dict.fromkeys(traded):
                market = exchange.markets[condition_id]
                bids, asks = exchange.book(market.up_token)
                sample.add((now_ms - market.start_ms) / 1000, _best_first(bids), _best_first(asks))
    return sample.figures()


def _best_first(pairs: list[tuple[Px, int]]) -> Side:
    return [(px, qty / QTY_ONE) for px, qty in reversed(pairs)]


def misfit(ours: Figures, theirs: Figures) -> float:
    """Sum of squares: of logs of ratios of sizes, and of differences of shares."""
    sizes = zip((*ours.touch, *ours.depth), (*theirs.touch, *theirs.depth), strict=True)
    shares = zip(ours.spreads, theirs.spreads, strict=True)
    return sum(math.log(a / b) ** 2 for a, b in sizes) + sum((WEIGHT_OF_SPREADS * (a - b)) ** 2 for a, b in shares)


def fit(target: Figures, start: WorldParameters) -> Iterator[tuple[WorldParameters, Figures, float]]:
    """Each better set of parameters, found by moving one at a time; the same seeds throughout."""
    best, figures = start, generated(start)
    least = misfit(figures, target)
    yield best, figures, least
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for name in FITTED:
                for factor in (step, 1 / step):
                    trial = msgspec.structs.replace(best, **{name: float(f"{getattr(best, name) * factor:.3g}")})
                    told = generated(trial)
                    if (value := misfit(told, target)) < least:
                        best, figures, least, moved = trial, told, value, True
                        yield best, figures, least
                        break


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bot.sim.fit", description=__doc__.partition("\n")[0])
    parser.add_argument("recording", type=Path)
    path = parser.parse_args(arguments).recording
    target = recorded(path)
    provenance = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    sys.stdout.write(orjson.dumps({**provenance, **msgspec.to_builtins(target)}).decode() + "\n")
    for parameters, figures, value in fit(target, WorldParameters()):
        chosen = " ".join(f"{name} = {getattr(parameters, name):g}" for name in FITTED)
        sys.stdout.write(f"misfit {value:.4f}: {chosen}\n  {figures}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
