"""The generated market on a virtual clock: exchange and world driven through hours, with no JSON, socket or signature.

Everything that happens goes through a hash, so that two runs can be compared to the byte:
`python -m bot.sim.virtual --hours 6 --series btc-updown-5m --seed 7`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence

import msgspec

from bot.errors import SettingsError
from bot.sim import worlds
from bot.sim.exchange import Event, Exchange
from bot.sim.market import Mishap, World, WorldEvent
from bot.sim.parameters import WorldParameters

START_MS = 1_793_750_400_000  # no run's result depends on when it is made
STEP_MS = 100
SERIES = ("btc-updown-5m", "eth-updown-5m", "sol-updown-15m", "xrp-updown-5m")


class Tape:
    """A hash of one stream of events: each as msgpack, with its type's name, in order."""

    def __init__(self) -> None:
        self.events = 0
        self._hash = hashlib.sha256()
        self._encoder = msgspec.msgpack.Encoder()

    def hear(self, events: Iterable[Event | WorldEvent | Mishap]) -> None:
        encode = self._encoder.encode
        parts = [encode((type(event).__name__, event)) for event in events]
        self.events += len(parts)
        self._hash.update(b"".join(parts))

    def digest(self) -> bytes:
        return self._hash.digest()


class VirtualVenue:
    """Exchange and world at a time that is told. What is drained passes the tapes, one for each stream of events,
    since their mutual order in between two calls is the caller's."""

    def __init__(
        self,
        *,
        seed: int,
        series: Sequence[str] = SERIES,
        parameters: WorldParameters | None = None,
        start_ms: int = START_MS,
        protocol: int = 2,
        aligned: bool = False,
    ) -> None:
        self.exchange = Exchange()
        self.world = World(
            self.exchange,
            seed=seed,
            series=series,
            start_ms=start_ms,
            aligned=aligned,
            parameters=parameters,
            protocol=protocol,
        )
        self.start_ms = self.now_ms = start_ms
        self.prices, self.trading, self.mishaps = Tape(), Tape(), Tape()

    def advance(self, to_ms: int) -> tuple[list[WorldEvent], list[Event]]:
        """One step of the clock, no longer than the world's patience: what the price streams and the exchange said."""
        assert 0 <= to_ms - self.now_ms <= self.world.parameters.catch_up_ms
        self.now_ms = to_ms
        told = self.world.step(to_ms)
        done = self.exchange.take_events()
        self.prices.hear(told)
        self.trading.hear(done)
        self.mishaps.hear(self.world.take_mishaps())
        return told, done

    def run(self, seconds: float, step_ms: int = STEP_MS) -> None:
        end_ms = self.now_ms + round(seconds * 1000)
        while self.now_ms < end_ms:
            self.advance(min(self.now_ms + step_ms, end_ms))

    @property
    def events(self) -> int:
        return self.prices.events + self.trading.events + self.mishaps.events

    def hexdigest(self) -> str:
        """Of everything that happened so far."""
        return hashlib.sha256(b"".join(tape.digest() for tape in (self.prices, self.trading, self.mishaps))).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bot.sim.virtual",
        description="Run a generated market on a virtual clock and print the hash of everything that happened: "
        "the same seed, series, world and hours give the same hash.",
    )
    parser.add_argument("--hours", type=float, default=1.0, help="simulated hours (default: 1)")
    parser.add_argument(
        "--series",
        action="append",
        metavar="S",
        help=f"series of markets; may be given again (default: {', '.join(SERIES)})",
    )
    parser.add_argument("--seed", type=int, default=7, help="seed of the market (default: 7)")
    parser.add_argument(
        "--world", default=worlds.DEFAULT, help=f"{', '.join(worlds.names())}, or a .toml file (default: tight)"
    )
    parser.add_argument("--protocol", type=int, choices=(1, 2, 3), default=2, help="generation of orders (default: 2)")
    options = parser.parse_args(arguments)
    if not 0 < options.hours <= 10_000:
        parser.error("--hours is a number above 0 and at most 10000")
    try:
        venue = VirtualVenue(
            seed=options.seed,
            series=options.series or SERIES,
            parameters=worlds.world(options.world),
            protocol=options.protocol,
        )
    except SettingsError as error:
        parser.error(str(error))
    began, used = time.perf_counter(), time.process_time()
    venue.run(options.hours * 3600)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - used
    settled = sum(bool(market.outcome) for market in venue.exchange.markets.values())
    sys.stdout.write(
        f"{venue.hexdigest()}\n"
        f"{options.hours:g} h, {settled} windows settled, {venue.events} events in {took_s:.1f} s ({cpu_s:.1f} s of CPU), "
        f"{options.hours * 3600 / took_s:.0f} times as fast as the clock; ledger off by {venue.exchange.imbalance()}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
