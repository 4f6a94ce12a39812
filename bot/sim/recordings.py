"""Recordings of the real streams, told again at their own pace, or faster, to whoever subscribes to the same streams now.

Two forms of lines, plain or gzipped: `<receive time in ns> <combined frame>` of the reference exchange's spot streams,
and `{"recv_ts": seconds, "slug": …, "raw": <frame>}` of the market stream. The two run beside each other, each from the
moment somebody listens to any of it. Knows no price and no order: nothing of a recording is in the exchange.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
import orjson
from aiohttp import web

from bot.errors import SettingsError
from bot.sim.http import answer
from bot.units import PX_ONE, parse_px, px_text

REFERENCE, MARKET = "reference", "market"
BEHIND_MAX = 2_000  # frames that wait for the slowest listener, before it is waited for
PAUSE_S = 0.005
TOLD_AT_ONCE = 50  # frames, between two chances for requests


class Recorded(msgspec.Struct, frozen=True):
    """One frame as it was heard: when, on which stream (of the market stream: about which window), and what it said."""

    at_ns: int
    stream: str
    event: dict[str, Any]


def read(path: Path) -> Iterator[Recorded]:
    """In the file's order. Lines of the reference that are no stream's frame are passed over. Raises SettingsError."""
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield from _frames(line)
                except (ValueError, TypeError, KeyError, AttributeError):
                    raise SettingsError(f"{path}: line {number} is no recorded frame") from None
    except (OSError, EOFError) as error:
        raise SettingsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _frames(line: bytes) -> Iterator[Recorded]:
    if line.startswith(b"{"):
        row = orjson.loads(line)
        frame = orjson.loads(row["raw"])
        for event in frame if isinstance(frame, list) else [frame]:
            yield Recorded(round(row["recv_ts"] * 1e6) * 1000, row["slug"], event)
        return
    at_ns, _, text = line.partition(b" ")
    frame = orjson.loads(text)
    if "stream" in frame:
        yield Recorded(int(at_ns), frame["stream"], frame["data"])


@lru_cache(1_000)
def other_token(token: str) -> str:
    """A name for a market's other token, which most recordings do not hold."""
    return str(int(hashlib.sha256(token.encode()).hexdigest(), 16))


def mirrored(event: dict[str, Any], token: str) -> dict[str, Any]:
    """A `book` event as the market's other token has it: its exact mirror."""
    bids, asks = (
        [{"price": _opposite(level["price"]), "size": level["size"]} for level in event[side]]
        for side in ("asks", "bids")
    )
    book = {**event, "asset_id": token, "hash": "", "bids": bids, "asks": asks}
    return {**book, "hash": hashlib.sha1(orjson.dumps(book), usedforsecurity=False).hexdigest()}


@lru_cache(PX_ONE)
def _opposite(price: str) -> str:
    return px_text(PX_ONE - parse_px(price))


class Track(msgspec.Struct):
    """One recording under way: frames told to somebody, and those that nobody wanted."""

    first_ns: int
    speed: float
    began_ns: int = 0  # of the monotonic clock
    told: int = 0
    unheard: int = 0
    done: bool = False

    def due_ns(self, at_ns: int) -> int:
        return self.began_ns + round((at_ns - self.first_ns) / self.speed)


class Listeners(Protocol):
    """The clients of one kind of stream."""

    @property
    def listened(self) -> bool:
        """Whether somebody listens to anything."""

    @property
    def behind(self) -> int:
        """Frames that wait for the slowest."""

    def retell(self, one: Recorded) -> bool:
        """Hand it to whoever listens to that stream; False: nobody did."""


class Recordings:
    """All recordings of one venue, each a track of its own."""

    def __init__(self, paths: Sequence[Path], speed: float = 1.0) -> None:
        self._files: dict[str, list[tuple[int, Path]]] = {}
        for path in paths:
            first = next(read(path), None)
            if first is None:
                raise SettingsError(f"{path}: holds no frame")
            kind = MARKET if "event_type" in first.event else REFERENCE
            self._files.setdefault(kind, []).append((first.at_ns, path))
        self.tracks = {kind: Track(min(files)[0], speed) for kind, files in self._files.items()}

    def frames(self, kind: str) -> Iterator[Recorded]:
        """Files that continue each other are one recording."""
        for _, path in sorted(self._files[kind]):
            yield from read(path)

    async def run(self, kind: str, listeners: Listeners) -> None:
        """Tell one recording to its end, from when somebody listens. Slow listeners are waited for."""
        track = self.tracks[kind]
        while not listeners.listened:
            await asyncio.sleep(PAUSE_S)
        track.began_ns = time.monotonic_ns()
        for one in self.frames(kind):
            while time.monotonic_ns() < track.due_ns(one.at_ns) or listeners.behind > BEHIND_MAX:
                await asyncio.sleep(PAUSE_S)
            if listeners.retell(one):
                track.told += 1
            else:
                track.unheard += 1
            if (track.told + track.unheard) % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)
        track.done = True

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/control/recordings", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        """How far each has come."""
        return answer({kind: msgspec.to_builtins(track) for kind, track in self.tracks.items()})
