"""Recordings of the real streams, told by a venue of its own and read by the bot's feeds: what did they make of them?

`python -m bot.bench.recording FILE... [--speed 60]` prints one JSON line, and ends with 1 when a frame was lost, or one
could not be decoded. The feeds are those of a bot, on real sockets; the venue is another process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from bot.bench.load import _cpu_s
from bot.caches import Caches
from bot.embedded import EmbeddedVenue
from bot.errors import SettingsError
from bot.market import Market, Rule
from bot.messages import FeedStatus, MarketDropped, MarketListed, Message
from bot.sim.recordings import MARKET, REFERENCE, Recordings, other_token
from bot.units import NS_PER_S, Ns
from bot.venues.binance import BinanceFeed
from bot.venues.clob_http import Connection
from bot.venues.conversation import Conversation
from bot.venues.polymarket_book import MarketFeed
from bot.venues.websocket import Reader

POLL_S = 0.05
LEAD_NS: Ns = NS_PER_S  # a market is followed so long before its first frame is due, and until its last one was read
COPIES = 2  # each book comes with its mirror
SETTLE_S = 5.0  # for what is on its way at the end
PX_TICK, MIN_QTY, WINDOW_S = 100, 5_000_000, 300
ASSET = "btc"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--speed", type=float, default=60.0, help="times as fast as it was recorded")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        told = [argument for file in options.files for argument in ("--recording", str(file))]
        venue = EmbeddedVenue([*told, "--speed", str(options.speed)], Path(folder) / "venue.log")
        try:
            report = drive(venue.info(), options.files, options.speed)
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        finally:
            venue.stop()
    sys.stdout.write(orjson.dumps(report).decode() + "\n")
    return 0 if report["sound"] else 1


class Window:
    """One recorded token, as a market of its own whose other token is its mirror; times are the recorder's."""

    def __init__(self, slug: str, condition_id: str, token: str, at_ns: int) -> None:
        self.first_ns = at_ns
        self.last = 0  # the number of its last frame in the whole recording
        self.listed = self.dropped = False
        start_ns = int(slug.rsplit("-", 1)[1]) * NS_PER_S
        self.market = Market(
            symbol=f"{condition_id}:{token}",
            slug=slug,
            series=slug.rpartition("-")[0],
            asset=ASSET,
            up_token=token,
            down_token=other_token(token),
            version=2,
            rule=Rule.TWAP,
            window_s=60,
            start_utc_ns=start_ns,
            end_utc_ns=start_ns + WINDOW_S * NS_PER_S,
            tick=PX_TICK,
            min_qty=MIN_QTY,
            fee_rate=0.07,
        )


def windows(recordings: Recordings) -> list[Window]:
    """Every token of a market recording, in the order of their first frames."""
    found: dict[str, Window] = {}
    for number, one in enumerate(recordings.frames(MARKET), 1):
        token = one.event["asset_id"]
        if token not in found:
            found[token] = Window(one.stream, one.event["market"], token, one.at_ns)
        found[token].last = number
    return list(found.values())


class Desk:
    """One feed and its Reader at work, and how often it lost its connection."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.losses: list[str] = []
        self.reader = Reader(conversation, self._deliver)

    def _deliver(self, messages: list[Message]) -> None:
        self.losses += [one.text for one in messages if isinstance(one, FeedStatus) and not one.connected]

    def read(self) -> int:
        """Recorded frames it has read."""
        events = self.conversation.counters().get("events")
        return self.reader.messages if events is None else events // COPIES

    def report(self) -> dict[str, Any]:
        return {"messages": self.reader.messages, "losses": self.losses, **self.conversation.counters()}


class Drive:
    """The feeds on one venue, and the clock of the recording they follow."""

    def __init__(self, info: dict[str, Any], files: Sequence[Path], speed: float) -> None:
        self._speed = speed
        self._control = Connection(info["url"])
        self.caches = Caches()
        self.desks: dict[str, Desk] = {}
        recordings = Recordings(files)
        self._began = {kind: (track.first_ns, 0) for kind, track in recordings.tracks.items()}
        self._windows = windows(recordings) if MARKET in recordings.tracks else []
        if REFERENCE in recordings.tracks:
            feed = BinanceFeed(
                ws_url=info["binance_ws_url"],
                rest_url=info["binance_rest_url"],
                assets=[ASSET],
                caches=self.caches,
                clock=time.monotonic_ns,
                utc=lambda now_ns: self._utc(REFERENCE, now_ns),
            )
            self.desks[REFERENCE] = Desk(feed)
        if MARKET in recordings.tracks:
            book = MarketFeed(
                url=info["market_ws_url"],
                caches=self.caches,
                clock=time.monotonic_ns,
                utc=lambda now_ns: self._utc(MARKET, now_ns),
            )
            self.desks[MARKET] = Desk(book)

    def _utc(self, kind: str, now_ns: Ns) -> Ns:
        """The recorder's clock, which stands still until the recording begins."""
        first_ns, began_ns = self._began[kind]
        return first_ns + round((now_ns - began_ns) * self._speed) if began_ns else first_ns

    def run(self) -> dict[str, Any]:
        """To the end of every recording."""
        self._follow(time.monotonic_ns())
        for desk in self.desks.values():
            desk.reader.start()
        told: dict[str, Any] = {}
        while len(told) < len(self.desks):
            time.sleep(POLL_S)
            for kind, track in orjson.loads(self._control.request("GET", "/control/recordings").body).items():
                self._began[kind] = (track["first_ns"], track["began_ns"])
                if track["done"] and kind not in told:
                    self._finish(self.desks[kind], track["told"])
                    told[kind] = {"told": track["told"], "unheard": track["unheard"]}
            self._follow(time.monotonic_ns())
        return told

    def _finish(self, desk: Desk, told: int) -> None:
        """Wait for what is on its way, then hang up: silence after the end is no fault."""
        end_s = time.monotonic() + SETTLE_S
        while time.monotonic() < end_s and desk.read() < told:
            time.sleep(POLL_S)
        desk.reader.stop()

    def _follow(self, now_ns: Ns) -> None:
        """Follow each market for its time."""
        if MARKET not in self.desks:
            return
        desk, until_ns = self.desks[MARKET], self._utc(MARKET, now_ns) + round(LEAD_NS * self._speed)
        for window in self._windows:
            if not window.listed and window.first_ns < until_ns:
                window.listed = True
                desk.reader.command(MarketListed(market=window.market))
            elif window.listed and not window.dropped and desk.read() >= window.last:
                window.dropped = True
                desk.reader.command(MarketDropped(symbol=window.market.symbol))

    def stop(self) -> None:
        for desk in self.desks.values():
            desk.reader.stop()


def drive(info: dict[str, Any], files: Sequence[Path], speed: float) -> dict[str, Any]:
    """Run the feeds against a venue that tells these recordings; whatever was started has ended when it returns."""
    begun_s, cpu_s = time.monotonic(), time.process_time()
    running = Drive(info, files, speed)
    try:
        told = running.run()
    finally:
        running.stop()
    report: dict[str, Any] = {"speed": speed, "took_s": round(time.monotonic() - begun_s, 1)}
    report |= {"cpu_s": round(time.process_time() - cpu_s, 1), "venue_cpu_s": round(_cpu_s(info["pid"]), 1)}
    for kind, desk in running.desks.items():
        report[kind] = told[kind] | desk.report()
    return report | {"sound": _sound(report)}


def _sound(report: dict[str, Any]) -> bool:
    """Every frame told was read, none could not be, and no connection was lost."""
    reference, market = report.get(REFERENCE), report.get(MARKET)
    wrong = 0
    if reference is not None:
        wrong += reference["malformed"] + reference["nonsense"] + len(reference["losses"])
        wrong += abs(reference["messages"] - reference["told"])
    if market is not None:
        wrong += market["malformed"] + market["skipped"] + market["resyncs"] + len(market["losses"])
        wrong += abs(market["events"] - COPIES * market["told"])
    return not wrong


if __name__ == "__main__":
    raise SystemExit(main())
