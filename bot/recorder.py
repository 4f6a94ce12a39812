"""`bot record`: the public feeds of some series, and the markets found, to disk. Places nothing and has no executor."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from bot.access import Endpoints, from_info, listener
from bot.caches import Caches
from bot.embedded import EmbeddedVenue, ask_info
from bot.errors import BotError, SettingsError
from bot.feeds import TapedSession, public_feed
from bot.history.recording import Head, RecordingError, RecordingWriter
from bot.messages import MarketDropped, MarketListed, Message
from bot.run import Signals, StartOptions, series_of_venue, settings_of
from bot.settings import Settings
from bot.sim.worlds import world
from bot.units import NS_PER_S, Ns
from bot.venues.clob_login import Credentials
from bot.venues.polymarket_markets import JsonReader, Markets
from bot.venues.venue_clock import VenueClock
from bot.venues.websocket import Reader

POLL_S = 0.25
SAY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The options of `bot record`."""

    out: Path
    config: Path | None = None
    mode: str | None = None
    venue: str | None = None
    series: tuple[str, ...] = ()
    for_s: float | None = None
    seed: int | None = None
    world: str | None = None
    as_json: bool = False


def record(options: RecordOptions) -> int:
    """Until the time is over or a signal comes; returns the exit code. Raises SettingsError before anything is written."""
    settings, _ = settings_of(StartOptions(config=options.config, mode=options.mode, series=options.series))
    mode = settings.run.mode
    if mode == "paper":
        raise SettingsError("record has no paper mode: --mode live listens to the real venue and trades nothing")
    if mode == "live" and (options.venue or options.seed is not None or options.world):
        raise SettingsError("--venue, --seed and --world belong to sim mode")
    if options.venue and (options.seed is not None or options.world):
        raise SettingsError("--seed and --world belong to the venue: give them to the `bot sim` that --venue names")
    if options.world:
        world(options.world)  # refused here, in one line, rather than by the child
    signals = Signals()
    signals.install()
    with contextlib.ExitStack() as stack:
        if mode == "live":
            endpoints, credentials = listener(settings)
        else:
            info = _venue(options, settings, stack, signals)
            if not info:
                click.echo(f"stopped by {signals.name} before anything was recorded", err=True)
                return 0
            access = from_info(info)
            endpoints, credentials = access.endpoints, access.credentials
        running = Listening(settings, endpoints, credentials, options.out)
        try:
            running.start()
            _watch(running, options.for_s, signals)
        finally:
            running.stop()
        report = running.report()
    click.echo(orjson.dumps(report) if options.as_json else said(report), err=not options.as_json)
    return 0


def _venue(options: RecordOptions, settings: Settings, stack: contextlib.ExitStack, signals: Signals) -> dict[str, Any]:
    """That which runs already, or an embedded one of our own; nothing where a signal came meanwhile."""
    if options.venue:
        info = ask_info(options.venue)
        series_of_venue(settings, info)
        return info
    words = [word for name in settings.run.series for word in ("--series", name)]
    words += ["--seed", str(options.seed)] if options.seed is not None else []
    words += ["--world", options.world] if options.world else []
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    child = EmbeddedVenue(words, Path(folder) / "venue.log")
    stack.callback(child.stop)
    return child.info(lambda: signals.count > 0)


def _watch(running: Listening, for_s: float | None, signals: Signals) -> None:
    began_s = said_s = time.monotonic()
    while not signals.seen.wait(POLL_S):
        running.look()
        now_s = time.monotonic()
        if for_s is not None and now_s - began_s >= for_s:
            return
        if now_s - said_s >= SAY_S:
            said_s = now_s
            click.echo(said(running.report()), err=True)


def said(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in report["frames"].items())
    return (
        f"{report['seconds']:.0f} s: frames of {counts}; {report['markets']} markets; "
        f"{report['bytes'] / 1e6:.1f} MB in {report['out']}"
    )


class Listening:
    """Readers, the search for markets, and the tape that all of them write to."""

    def __init__(self, settings: Settings, endpoints: Endpoints, credentials: Credentials, out: Path) -> None:
        series = settings.run.series
        self._http = JsonReader()
        self._clock = time.monotonic_ns
        self._wall = VenueClock()
        if self._wall.sync(self._http, endpoints.binance_rest_url, endpoints.rest_url) is None:
            raise SettingsError(f"neither {endpoints.binance_rest_url} nor {endpoints.rest_url} answers")
        self._markets = Markets(self._http, endpoints.gamma_url, endpoints.rest_url, series)
        perp = settings.parameters().w_perp > 0
        self._began_ns: Ns = self._clock()
        self._out = out
        self._found = 0
        head = Head(mode=settings.run.mode, series=series, perp=perp)
        self._writer = RecordingWriter(out, head, utc_ns=self._wall.utc_ns)
        caches = Caches()
        self._readers: dict[str, Reader] = {}
        for name in ("binance", "market", "settle", *(("perp",) if perp else ())):
            tape = self._writer.tape(name)
            session = TapedSession(tape, self._clock)
            feed = public_feed(
                name,
                endpoints,
                credentials,
                series,
                caches,
                clock=self._clock,
                utc_ns=self._wall.utc_ns,
                session=session,
            )
            self._readers[name] = Reader(feed, lambda messages: self._told(messages), clock=self._clock, tape=tape)

    def start(self) -> None:
        for reader in self._readers.values():
            reader.start()

    def look(self) -> None:
        """Find markets, and see to it that everything goes on. Raises BotError where it does not."""
        now_ns = self._clock()
        self._told(self._markets.poll(self._wall.utc_ns(now_ns), now_ns))
        for name, reader in self._readers.items():
            if reader.error is not None:
                raise BotError(f"the reader of {name} died: {reader.error!r}")
        if self._writer.error:
            raise RecordingError(self._writer.error)

    def _told(self, messages: list[Message]) -> None:
        """Of markets: recorded, and the streams follow them."""
        self._writer.tell(messages, self._clock())
        for message in messages:
            if isinstance(message, MarketListed | MarketDropped):
                self._found += isinstance(message, MarketListed)
                for name in ("market", "settle"):
                    self._readers[name].command(message)

    def report(self) -> dict[str, Any]:
        return {
            "out": str(self._out),
            "seconds": round((self._clock() - self._began_ns) / NS_PER_S, 1),
            "frames": {name: reader.messages for name, reader in self._readers.items()},
            "reconnects": {name: reader.reconnects for name, reader in self._readers.items()},
            "markets": self._found,
            "lines": self._writer.lines,
            "bytes": self._writer.bytes,
        }

    def stop(self) -> None:
        for reader in self._readers.values():
            reader.stop()
        self._writer.close()
        self._http.close()
