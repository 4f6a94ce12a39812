"""Market frames at a great rate, on command or in the bursts of a world, to whoever listens: its books as true as ever.

A step sends what fell due since the last one, in slices between which requests are served; what it is too late for it
leaves out and counts. While a load is commanded, a participant of its own keeps every tick far from the touch filled, so that books
have the size that real ones have.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any

import orjson
from aiohttp import web

from bot.messages import Side
from bot.sim.clob_streams import MarketStream
from bot.sim.exchange import Exchange
from bot.sim.flicker import Flicker
from bot.sim.http import Refusal, answer
from bot.sim.records import SimMarket
from bot.sim.sockets import Batch
from bot.sim.traders import RICH, Crowd
from bot.sim.venue import Venue
from bot.units import LOT, PX_ONE, Px

RATE_MAX = 100_000
SLICE = 50  # frames, made in less than a millisecond
SLICE_S = 0.01  # or of so long a time, if they are fewer
HOLD_MS = 20  # a market's frames of so long a time carry one stamp, and may be the same ones
SLICES_MAX = 6  # in one step, to make up for one that came late
STEP_S = 0.004
IDLE_S = 0.02
LATE_S_MAX = 0.5
BOOKS_SHARE = 0.01  # of frames that are whole books
UNDER_WAY = 4  # times as many frames as for a market that has not begun
DEPTH_EVERY_S = 0.05
BOTH = 2  # tokens of a market


class Depth:
    """Real orders of one patient owner at every tick that is far from the touch, larger the farther; gone before the end."""

    name = "depth-1"
    near = 8  # ticks from the touch where it begins; nearer than half of that it withdraws
    levels = 100  # of a side at most
    orders_at_once = 8
    leaves_ms = 5_000

    def __init__(self, exchange: Exchange, crowd: Crowd, seed: str) -> None:
        self._exchange = exchange
        self._crowd = crowd
        self._rng = random.Random(seed)
        self._resting: dict[str, dict[tuple[Side, Px], str]] = {}
        exchange.deposit(self.name, RICH)

    def keep(self, market: SimMarket, now_ms: int) -> None:
        """Withdraw what the touch came near to, and place a few of those that are missing."""
        bid, ask = self._exchange.best(market.condition_id)
        if market.end_ms - now_ms < self.leaves_ms or not (bid and ask):
            self._leave(market.condition_id, now_ms)
            return
        resting = self._resting.setdefault(market.condition_id, {})
        tick, left = market.tick, self.orders_at_once
        close = [
            key
            for key, order_id in resting.items()
            if (bid - key[1] if key[0] is Side.BUY else key[1] - ask) < self.near // 2 * tick
            or self._exchange.order(order_id) is None
        ]
        self._exchange.cancel(self.name, [resting.pop(key) for key in close], now_ms)
        for side, first, sign in ((Side.BUY, bid, -1), (Side.SELL, ask, 1)):
            for number in range(self.near, self.near + self.levels):
                px = first + sign * number * tick
                if not (left and tick <= px <= PX_ONE - tick):
                    break
                if (side, px) not in resting:
                    lots = 100 * math.exp(self._rng.gauss(4.0 + 0.05 * number, 0.8))
                    order_id = self._crowd.send(self.name, market, side, px, LOT * (500 + round(lots)), now_ms, order_type="GTC")  # fmt: skip
                    resting[side, px] = order_id
                    left -= 1

    def leave(self, now_ms: int) -> None:
        for condition_id in list(self._resting):
            self._leave(condition_id, now_ms)

    def _leave(self, condition_id: str, now_ms: int) -> None:
        if self._resting.pop(condition_id, None):
            self._exchange.cancel_market(self.name, condition_id, now_ms=now_ms)


class Source:
    """Frames that are owed at a rate until a time, about the markets of one asset or ("") of all; a share of them says
    again what the one before said."""

    def __init__(
        self, per_s: float, until_s: float, asset: str, books_share: float, now_s: float, repeats: float = 0.0
    ) -> None:
        self.per_s = per_s
        self.until_s = until_s
        self.asset = asset
        self.books_share = books_share
        self.repeats = repeats
        self.owed = 0.0
        self.slice = max(2, min(SLICE, int(per_s * SLICE_S)))
        self.made: dict[str, tuple[int, int, Batch]] = {}  # by market: its version, its stamp, and what was sent at it
        self._before_s = now_s

    def accrue(self, now_s: float, heard: bool) -> int:
        """Frames nobody listens to are not owed; returns how many it is too late for."""
        self.owed += (now_s - self._before_s) * self.per_s if heard else 0.0
        self._before_s = now_s
        late = max(0, int(self.owed - LATE_S_MAX * self.per_s))
        self.owed -= late
        return late


class Load:
    """The rate commanded, bursts beside it, and what was sent."""

    def __init__(self, venue: Venue, stream: MarketStream, seed: int) -> None:
        self._venue = venue
        self._stream = stream
        self._flicker = Flicker(venue.exchange, venue.books, f"{seed}:flicker")
        self._rng = random.Random(f"{seed}:load")
        self._depth = Depth(venue.exchange, Crowd(venue.exchange), f"{seed}:depth")
        self._depth_due_s = 0.0
        self._commanded: Source | None = None
        self._bursts: list[Source] = []
        self.sent = self.missed = self.books = 0

    def start(self, frames_per_s: float, for_s: float = math.inf) -> None:
        """From now on; in place of what was commanded before. A rate of 0 stops."""
        if not frames_per_s:
            self._stop()
            return
        now_s = time.monotonic()
        self._commanded = Source(frames_per_s, now_s + for_s, "", BOOKS_SHARE, now_s)
        self.sent = self.missed = self.books = 0

    def burst(self, asset: str, per_s: float, for_s: float, books_share: float) -> None:
        """Beside what is commanded, and without its depth."""
        now_s = time.monotonic()
        assert self._venue.world is not None
        repeats = self._venue.world.parameters.flurry_repeats
        self._bursts.append(Source(per_s, now_s + for_s, asset, books_share, now_s, repeats))

    def _stop(self) -> None:
        if self._commanded is None:
            return
        self._commanded = None
        assert self._venue.world is not None
        self._depth.leave(self._venue.world.now_ms)
        self._venue.tell()

    def status(self) -> dict[str, Any]:
        source = self._commanded
        left_s = source.until_s - time.monotonic() if source is not None else 0.0
        return {
            "frames_per_s": source.per_s if source is not None else 0,
            "left_s": round(left_s, 3) if math.isfinite(left_s) else None,
            "sent": self.sent,
            "missed": self.missed,
            "books": self.books,
        }

    async def run(self) -> None:
        """For ever: a few frames at a time, so that a request waits for a few frames at most."""
        while True:
            await self.step()
            await asyncio.sleep(STEP_S if self._commanded is not None or self._bursts else IDLE_S)

    async def step(self) -> None:
        """Send what is due."""
        now_s = time.monotonic()
        if self._commanded is not None and now_s >= self._commanded.until_s:
            self._stop()
        self._bursts = [burst for burst in self._bursts if now_s < burst.until_s]
        if self._commanded is not None:
            self._keep_depth(now_s)
        for source in [self._commanded, *self._bursts]:
            if source is not None:
                await self._send(source, now_s)

    def _keep_depth(self, now_s: float) -> None:
        if now_s < self._depth_due_s:
            return
        self._depth_due_s = now_s + DEPTH_EVERY_S
        assert self._venue.world is not None
        for market in self._stream.heard():
            self._depth.keep(market, self._venue.world.now_ms)
        self._venue.tell()

    async def _send(self, source: Source, now_s: float) -> None:
        assert self._venue.world is not None
        now_ms = self._venue.world.now_ms
        markets = [market for market in self._stream.heard() if source.asset in ("", market.asset)]
        self.missed += source.accrue(now_s, bool(markets))
        weights = [UNDER_WAY if market.start_ms <= now_ms else 1 for market in markets]
        for _ in range(SLICES_MAX if markets else 0):
            if source.owed < source.slice:
                break
            self._slice(source, self._rng.choices(markets, weights)[0], now_ms // HOLD_MS * HOLD_MS)
            await asyncio.sleep(0)

    def _slice(self, source: Source, market: SimMarket, now_ms: int) -> None:
        """A few frames of one market, and now and then its books, a frame for each token."""
        self._venue.tell()  # whatever changed leaves first, for the frames begin and end with the present book
        if market.closed:
            source.owed -= 1  # it ended while we were sending
            return
        batch = self._batch(source, market, now_ms)
        self._stream.broadcast(market, batch)
        sent = len(batch.payloads)
        if self._rng.random() < source.books_share * sent / BOTH:
            up, down = self._flicker.text(market, now_ms).events()
            self._stream.broadcast_books({market.up_token: up, market.down_token: down})
            sent += BOTH
            self.books += BOTH
        self.sent += sent
        source.owed -= max(sent, 1)

    def _batch(self, source: Source, market: SimMarket, now_ms: int) -> Batch:
        """A slice leaves the book as it found it, so while that stands and the time is the same, it can be said again."""
        cid, books = market.condition_id, self._venue.books
        made = source.made.get(cid)
        if made is not None and made[:2] == (books.version(cid), books.stamp(cid)) and made[1] >= now_ms:
            return made[2]
        again = int(source.slice * source.repeats)
        frames = self._flicker.frames(market, source.slice - again, now_ms)
        for at in sorted(self._rng.choices(range(len(frames)), k=again), reverse=True) if frames else ():
            frames.insert(at, frames[at])
        batch = Batch(frames)
        source.made[cid] = books.version(cid), books.stamp(cid), batch
        return batch

    # -- control ----------------------------------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/control/load", self.show), web.post("/control/load", self.command)]

    async def show(self, request: web.Request) -> web.Response:
        return answer(self.status())

    async def command(self, request: web.Request) -> web.Response:
        """{"frames_per_s": 10000, "for_s": 300}; without for_s until told otherwise."""
        try:
            body = orjson.loads(await request.read())
        except ValueError:
            body = None
        if not isinstance(body, dict) or not body.keys() <= {"frames_per_s", "for_s"}:
            raise Refusal('a load is an object such as {"frames_per_s": 10000, "for_s": 300}')
        rate, for_s = body.get("frames_per_s"), body.get("for_s", math.inf)
        self.start(_amount(rate, "frames_per_s", RATE_MAX), _amount(for_s, "for_s", math.inf))
        return answer(self.status())


def _amount(value: Any, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Refusal(f"{name} is a number" + (f" up to {most}" if math.isfinite(most) else " of seconds"))
    return value
