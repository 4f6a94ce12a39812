"""Markets that follow one another, a price that wanders, and a light flow of other traders that meets our quotes.

As little as makes orders be filled, refused and outlived by their markets. Knows no bot.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

from bot.market import Market, Rule
from bot.messages import MarketDropped, MarketListed, MarketResolved, Message, Side
from bot.sim import records as rec
from bot.sim.chaos.hub import Hub
from bot.sim.chaos.venue import Venue
from bot.units import LOT, NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, Ns, Px

HOUSE = "house"
STEP_NS: Ns = 1_000 * NS_PER_MS
TAKE_EVERY_S = 1.6
LISTED_BEFORE_MS = 20_000
DROP_AFTER_MS = 10_000
WANDER_PX = 60.0  # of the fair price in a step
PX_MIN, PX_MAX = 1_500, 8_500


class Window:
    """One market of ours with what its traders think it is worth."""

    def __init__(self, market: rec.SimMarket, fair: float) -> None:
        self.market = market
        self.fair = fair
        self.house: list[str] = []
        self.resolved_ms = 0
        self.silent = False  # it ends without a word on any stream


class World:
    """`windows` holds the markets from their listing until a while after their resolution."""

    def __init__(self, hub: Hub, venue: Venue, random: Random, series: int = 2) -> None:
        self._hub = hub
        self._venue = venue
        self._random = random
        self.windows: dict[str, Window] = {}
        self.active = True  # whether others trade
        self._count = itertools.count(1)
        self._orders = itertools.count(1)
        venue.exchange.deposit(HOUSE, 10**15)
        for number in range(series):
            self._list(number, venue.now_ms - random.randrange(60_000))
        hub.later(STEP_NS, self._step)
        hub.later(NS_PER_S, self._take)

    @property
    def markets(self) -> Sequence[rec.SimMarket]:
        return [window.market for window in self.windows.values()]

    def _list(self, series: int, start_ms: int) -> None:
        number = next(self._count)
        length_ms = self._random.choice((150_000, 200_000, 300_000))
        market = rec.SimMarket(
            condition_id=f"0xc{number:063x}",
            slug=f"chaos-{series}-{number}",
            series=f"chaos-{series}",
            asset="btc",
            question="",
            up_token=f"{number}1",
            down_token=f"{number}2",
            version=2,
            rule=Rule.TWAP,
            window_s=60,
            number=number,
            start_ms=start_ms,
            end_ms=start_ms + length_ms,
            listed_ms=self._venue.now_ms,
            min_qty=5 * QTY_ONE,
            taker_delay_ms=0,
        )
        self._venue.exchange.list_market(market, self._venue.now_ms)
        self.windows[market.condition_id] = Window(market, self._random.uniform(3_000, 7_000))
        left_ms = max(0, market.end_ms - self._venue.now_ms)
        self._hub.later((left_ms - LISTED_BEFORE_MS) * NS_PER_MS, lambda: self._list(series, market.end_ms))
        self._hub.later(left_ms * NS_PER_MS, lambda: self._close(market.condition_id))

    def _close(self, condition_id: str) -> None:
        window = self.windows.get(condition_id)
        if window is None:
            return  # resolved before its time, and forgotten
        if not window.market.closed:
            self._venue.exchange.close(condition_id, self._venue.now_ms)
            self._venue.tell()
        self._hub.later(self._random.randrange(2_000, 12_000) * NS_PER_MS, lambda: self.resolve(condition_id))

    def resolve(self, condition_id: str, told: bool = True) -> None:
        """Cancel what rests, pay the winners. Before its time, where a fault wants it."""
        window = self.windows.get(condition_id)
        if window is None or window.market.outcome:
            return
        outcome = "up" if self._random.random() * PX_ONE < window.fair else "down"
        self._venue.exchange.resolve(condition_id, outcome, self._venue.now_ms, told)
        window.resolved_ms = self._venue.now_ms
        window.silent = not told
        self._venue.tell()
        self._hub.later((DROP_AFTER_MS + 5_000) * NS_PER_MS, lambda: self.windows.pop(condition_id, None))

    # -- other traders ---------------------------------------------------------------------------------------------

    def _step(self) -> None:
        self._hub.later(STEP_NS, self._step)
        for window in self.windows.values():
            if window.market.accepting:
                fair = window.fair + self._random.gauss(0, WANDER_PX)
                window.fair = min(PX_MAX, max(PX_MIN, fair))
                if self.active:
                    self._quote(window)
        self._venue.tell()

    def _quote(self, window: Window) -> None:
        """The house around the fair price, wider than we are."""
        exchange, market, now_ms = self._venue.exchange, window.market, self._venue.now_ms
        exchange.cancel(HOUSE, window.house, now_ms)
        window.house = []
        tick = market.tick
        bid = int(window.fair - 2 * tick) // tick * tick
        ask = bid + 5 * tick
        size = self._random.randrange(20, 80) * QTY_ONE
        for token, px in ((market.up_token, bid), (market.down_token, PX_ONE - ask)):
            if tick <= px <= PX_ONE - tick:
                name = f"{HOUSE}-{next(self._orders)}"
                exchange.submit(
                    rec.Submit(order_id=name, owner=HOUSE, api_key="", token=token, side=Side.BUY, px=px, qty=size),
                    now_ms,
                )
                window.house.append(name)

    def _take(self) -> None:
        self._hub.later(int(self._random.expovariate(1 / TAKE_EVERY_S) * NS_PER_S), self._take)
        windows = [window for window in self.windows.values() if window.market.accepting]
        if not self.active or not windows:
            return
        window = self._random.choice(windows)
        market = window.market
        token = self._random.choice((market.up_token, market.down_token))
        fair: Px = int(window.fair) if token == market.up_token else PX_ONE - int(window.fair)
        limit = min(PX_ONE - market.tick, (fair + self._random.randrange(100, 600)) // market.tick * market.tick)
        qty = self._random.randrange(500, 6_000) * LOT
        if limit * qty >= PX_ONE * 1_100_000:
            self._venue.trade(token, Side.BUY, limit, qty)


class MarketList:
    """actors.gateway.MarketsPort: what the venue's metadata says, a little late, to one process of the bot."""

    def __init__(self, world: World, venue: Venue, lag_ms: int = 700) -> None:
        self._world = world
        self._venue = venue
        self._lag_ms = lag_ms
        self._watched: set[str] = set()
        self._listed: set[str] = set()
        self._resolved: dict[str, int] = {}

    def poll(self, utc_ns: Ns, now_ns: Ns) -> list[Message]:
        told: list[Message] = []
        now_ms = self._venue.now_ms
        for cid, market in self._venue.exchange.markets.items():
            window = self._world.windows.get(cid)  # None: over for a while, which the venue still tells who asks
            if cid not in self._listed:
                if market.end_ms > now_ms and now_ms - market.listed_ms >= self._lag_ms:
                    self._listed.add(cid)
                    told.append(MarketListed(market=market_of(market)))
                elif market.end_ms <= now_ms and cid in self._watched:
                    self._listed.add(cid)
            elif (
                cid not in self._resolved
                and market.outcome
                and (window is None or now_ms - window.resolved_ms >= 2 * self._lag_ms)
            ):
                self._resolved[cid] = now_ms
                winner = market.up_token if market.outcome == "up" else market.down_token
                told.append(MarketResolved(symbol=cid, winning_asset_id=winner))
        for cid, at_ms in list(self._resolved.items()):
            if at_ms and now_ms - at_ms >= DROP_AFTER_MS:
                self._resolved[cid] = 0
                told.append(MarketDropped(symbol=cid))
        return told

    def watch(self, market: Market) -> None:
        """A market that an earlier process told of: one that ends before it was found again is followed, and not listed."""
        self._watched.add(market.symbol)


def market_of(market: rec.SimMarket) -> Market:
    return Market(
        symbol=market.condition_id,
        slug=market.slug,
        series=market.series,
        asset=market.asset,
        up_token=market.up_token,
        down_token=market.down_token,
        version=market.version,
        rule=market.rule,
        window_s=market.window_s,
        start_utc_ns=market.start_ms * NS_PER_MS,
        end_utc_ns=market.end_ms * NS_PER_MS,
        tick=market.tick,
        min_qty=market.min_qty,
        fee_rate=market.fee_rate,
    )
