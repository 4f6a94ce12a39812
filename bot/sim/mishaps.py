"""What goes wrong in a generated world by itself: trades that revert, bursts of book frames, streams that are cut.

Each draws from its own seeded stream, so that a world with one of them is the same market as the world without.
Knows no wire and no clock.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import msgspec

from bot.messages import Side
from bot.sim.exchange import Exchange, Trade
from bot.sim.parameters import WorldParameters
from bot.sim.prices import PricePath
from bot.units import PX_ONE

WAIT_FACTOR = (0.6, 1.4)  # of the mean time between two cuts


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """The market and user streams are cut, and come back at until_ms."""

    until_ms: int
    ts_ms: int


class Flurry(msgspec.Struct, frozen=True, kw_only=True):
    """So many book frames a second until then, by all live markets of the asset together."""

    asset: str
    per_s: float
    until_ms: int
    ts_ms: int


class Reverts:
    """Fails a share of the trades of API key owners between MATCHED and MINED, those that pay the owner more often."""

    def __init__(
        self, exchange: Exchange, parameters: WorldParameters, seed: str, true_p: Callable[[str], float | None]
    ) -> None:
        self._exchange = exchange
        self._true_p = true_p
        self._after_ms = parameters.revert_after_ms
        # A winner is `bias` times as likely to revert as a loser; were they equally many, the share would be the one asked for.
        loser_share = parameters.revert_share * 2.0 / (1.0 + parameters.revert_bias)
        self.shares = loser_share * parameters.revert_bias, loser_share  # of winners, of losers
        self._rng = random.Random(f"{seed}:reverts")
        self._seen = len(exchange.trades)
        self._due: list[tuple[int, int, str, float]] = []
        self._sequence = itertools.count()

    def step(self, now_ms: int) -> None:
        trades = self._exchange.trades
        fresh = len(trades) - self._seen
        if fresh:
            self._seen = len(trades)
            for trade_id in [*itertools.islice(reversed(trades), max(fresh, 0))][::-1]:
                due_ms = now_ms + self._rng.randint(*self._after_ms)
                heapq.heappush(self._due, (due_ms, next(self._sequence), trade_id, self._rng.random()))
        while self._due and self._due[0][0] <= now_ms:
            _, _, trade_id, luck = heapq.heappop(self._due)
            trade = trades.get(trade_id)
            if trade is not None and luck < self.shares[0 if self._won(trade) else 1]:
                self._exchange.fail(trade_id, now_ms)

    def _won(self, trade: Trade) -> bool:
        """Does true p say now that an API key owner got a good price?"""
        p = self._true_p(trade.condition_id)
        if p is None:
            return False
        market = self._exchange.markets[trade.condition_id]
        legs = [(trade.token, trade.side, trade.px)] if trade.taker_api_key else []
        legs += [(leg.token, leg.side, leg.px) for leg in trade.makers if leg.api_key]
        token, side, px = legs[0]
        worth = (p if token == market.up_token else 1.0 - p) * PX_ONE
        return worth > px if side is Side.BUY else worth < px


class Flurries:
    """After a jump of one asset its live markets say very much for a moment. Which frames, is the wire's affair."""

    def __init__(self, path: PricePath, parameters: WorldParameters, seed: str) -> None:
        self._path = path
        self._parameters = parameters
        self._rng = random.Random(f"{seed}:flurry:{path.asset}")
        self._jumps = path.jumps
        self._until_ms = 0

    def step(self, now_ms: int) -> Flurry | None:
        if self._path.jumps == self._jumps:
            return None
        self._jumps = self._path.jumps
        rng, parameters = self._rng, self._parameters
        luck, per_s, lasts_s = rng.random(), rng.uniform(*parameters.flurry_per_s), rng.uniform(*parameters.flurry_s)
        if luck >= parameters.flurry_share or now_ms < self._until_ms:
            return None
        self._until_ms = now_ms + round(lasts_s * 1000)
        return Flurry(asset=self._path.asset, per_s=per_s, until_ms=self._until_ms, ts_ms=now_ms)


class Cuts:
    """Random disconnects of the two CLOB streams."""

    def __init__(self, parameters: WorldParameters, seed: str, now_ms: int) -> None:
        self._parameters = parameters
        self._rng = random.Random(f"{seed}:cuts")
        self._next_ms = self._after(now_ms)

    def step(self, now_ms: int) -> Disconnected | None:
        if now_ms < self._next_ms:
            return None
        until_ms = now_ms + round(self._rng.uniform(*self._parameters.disconnect_s) * 1000)
        self._next_ms = self._after(until_ms)
        return Disconnected(until_ms=until_ms, ts_ms=now_ms)

    def _after(self, now_ms: int) -> int:
        every_s = self._parameters.disconnect_every_s
        return now_ms + round(every_s * self._rng.uniform(*WAIT_FACTOR) * 1000) if every_s else 1 << 62
