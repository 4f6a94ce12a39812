"""The other participants of a generated market: competing makers, takers who know, takers who do not.

They trade through the exchange like anyone, with orders that need no signature, and are simply rich. Each sees the true
probability only as late as it is told here. Knows no wire and no clock.
"""

from __future__ import annotations

import math
import random

from bot.messages import Side
from bot.sim.exchange import Exchange, SimMarket, Submit
from bot.sim.parameters import WorldParameters
from bot.sim.prices import STEP_MS
from bot.sim.records import LIVE, Order
from bot.units import LOT, PX_ONE, QTY_ONE, USD_ONE, Px, Qty, Usd

RICH = 1_000_000_000 * USD_ONE
NOISE_SETS = 100_000 * QTY_ONE  # of every market
RING = 64  # steps of true p that are remembered
DELAY_EVERY_MS = 1_000  # another of those who know is at hand


class Crowd:
    """Makes order ids and sends orders in Up terms: a bid buys Up, an offer buys Down (or sells what is held)."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._count = 0

    def send(
        self,
        owner: str,
        market: SimMarket,
        side: Side,
        px: Px,
        qty: Qty,
        now_ms: int,
        *,
        order_type: str = "FAK",
        sell: bool = False,
    ) -> str:
        """The order's id, or "" when it was refused. `sell` takes the same side of the book by selling."""
        self._count += 1
        order_id = f"{owner}-{self._count}"
        up = (side is Side.BUY) != sell
        reply = self.exchange.submit(
            Submit(
                order_id=order_id,
                owner=owner,
                api_key="",
                token=market.up_token if up else market.down_token,
                side=Side.SELL if sell else Side.BUY,
                px=px if up else PX_ONE - px,
                qty=qty,
                order_type=order_type,
                post_only=order_type == "GTC",
            ),
            now_ms,
        )
        return order_id if reply.status else ""


class Truth:
    """True p of one market, remembered for as long as the slowest participant looks back."""

    def __init__(self, p: float) -> None:
        self._ring = [p] * RING
        self._last = 0

    def put(self, p: float) -> None:
        self._last = (self._last + 1) % RING
        self._ring[self._last] = p

    def fill(self, p: float) -> None:
        self._ring = [p] * RING

    def ago(self, steps: int) -> float:
        return self._ring[self._last - (steps if steps < RING else RING - 1)]


class Maker:
    """One competing maker in one market: a ladder on each side of the p it sees, moved only when it must."""

    def __init__(
        self, name: str, market: SimMarket, crowd: Crowd, parameters: WorldParameters, delay_steps: int, seed: str
    ) -> None:
        self.name = name
        self.delay_steps = delay_steps
        self.next_ms = 0
        self._market = market
        self._crowd = crowd
        self._parameters = parameters
        self._rng = random.Random(f"{seed}:{name}:{market.series}:{market.number}")
        short = market.series.endswith("-1m")
        self._scale = parameters.depth_1m if short else 1.0
        self._shy_move = parameters.maker_shy_move_1m if short else parameters.maker_shy_move
        self._half_px = parameters.maker_half_spread * PX_ONE * self._rng.uniform(0.6, 1.4)
        self._seen: float | None = None
        self._shy_until_ms = 0
        self._account = crowd.exchange.account(name)
        # Tops, distance of levels and what is reserved when nothing was missing; while they are the same, nothing is.
        self._settled: tuple[Px, Px, Px, Usd] | None = None
        self._tops: dict[Side, Px] = {Side.BUY: 0, Side.SELL: 0}
        self._resting: dict[Side, dict[Px, tuple[Order, Qty]]] = {Side.BUY: {}, Side.SELL: {}}

    def wake(self, p: float, now_ms: int, period_ms: tuple[int, int]) -> None:
        """Look at p, cancel what is no longer wanted on either side, then place what is missing."""
        self.next_ms = now_ms + self._rng.randint(*period_ms)
        half = self._half_px
        if self._market.end_ms - now_ms < self._parameters.maker_late_s * 1000:
            half *= self._parameters.maker_late_widening
        step = self._step()
        low, high = self._top(Side.BUY, p * PX_ONE - half, step), self._top(Side.SELL, p * PX_ONE + half, step)
        settled = self._settled == (low, high, step, self._reserved())
        if not settled:
            self._drop_strays(Side.BUY, low, step, now_ms)
            self._drop_strays(Side.SELL, high, step, now_ms)
        if self._seen is not None and abs(p - self._seen) > self._shy_move:
            self._shy_until_ms = now_ms + self._rng.randint(*self._parameters.maker_shy_ms)
        self._seen = p
        if now_ms < self._shy_until_ms:
            return
        best_bid, best_ask = self._crowd.exchange.best(self._market.condition_id)
        tick = self._market.tick
        bid, offer = min(low, (best_ask or PX_ONE) - tick), max(high, best_bid + tick)
        free = (bid, offer) == (low, high)
        if settled and free:
            return
        placed = self._place(Side.BUY, bid, step, now_ms), self._place(Side.SELL, offer, step, now_ms)
        self._settled = (low, high, step, self._reserved()) if free and all(placed) else None

    def _reserved(self) -> Usd:
        """Changes with each fill, and with each order placed or cancelled."""
        return self._account.open_buy.get(self._market.condition_id, 0)

    def leave(self, now_ms: int) -> None:
        self._crowd.exchange.cancel_market(self.name, self._market.condition_id, now_ms=now_ms)
        self._seen = None
        for resting in self._resting.values():
            resting.clear()

    def _step(self) -> Px:
        """Distance of levels: a tick of the coarse grid, two of a finer one."""
        return self._market.tick if self._market.tick >= 100 else 2 * self._market.tick

    def _top(self, side: Side, wish: float, step: Px) -> Px:
        """The best price of a side, rounded outward; kept while p moves less than a third of a step past it."""
        old, sign = self._tops[side], 1 if side is Side.BUY else -1
        if not -0.15 * step <= sign * (wish - old) < 1.15 * step:
            self._tops[side] = sign * math.floor(sign * wish / step) * step
        return self._tops[side]

    def _drop_strays(self, side: Side, top: Px, step: Px, now_ms: int) -> None:
        resting, far = self._resting[side], (self._parameters.maker_levels + 1) * step
        low, high = (top - far, top) if side is Side.BUY else (top, top + far)
        stray = [
            px
            for px, (order, shown) in resting.items()
            if not low <= px <= high or order.status != LIVE or (order.qty - order.matched) * 10 < shown * 6
        ]
        if stray:
            gone = [resting.pop(px)[0] for px in stray]
            self._crowd.exchange.cancel(self.name, [o.order_id for o in gone if o.status == LIVE], now_ms)

    def _place(self, side: Side, top: Px, step: Px, now_ms: int) -> bool:
        """Whether every level is there now."""
        resting, sign, market = self._resting[side], 1 if side is Side.BUY else -1, self._market
        complete = True
        for number in range(self._parameters.maker_levels):
            px = top - sign * number * step
            if px in resting or not market.tick <= px <= PX_ONE - market.tick:
                continue
            median = self._parameters.maker_deep_size if number else self._parameters.maker_touch_size
            shares = median * self._scale * math.exp(self._rng.gauss(0.0, self._parameters.maker_size_sd))
            qty = max(round(shares) * QTY_ONE, market.min_qty)
            order_id = self._crowd.send(self.name, market, side, px, qty, now_ms, order_type="GTC")
            order = self._crowd.exchange.order(order_id)
            if order is not None:
                resting[px] = (order, qty)
            else:
                complete = False
        return complete


class Informed:
    """A taker who sees true p late and takes the best quote, anybody's, while that pays for the fee and a margin.

    Luck is drawn at every look and the delay anew every second, whatever the quotes are, so that two strategies on one
    seed meet the same takers.
    """

    def __init__(
        self, name: str, crowd: Crowd, size: float, per_s: float, delay_steps: tuple[int, int], margin: float, seed: str
    ) -> None:
        self.name = name
        self._crowd = crowd
        self._size = size
        self._chance = -math.expm1(-per_s * STEP_MS / 1000)  # in one step
        self._delay_steps = delay_steps
        self._margin = margin
        self._luck = random.Random(f"{seed}:{name}")
        self._delays = random.Random(f"{seed}:{name}:delays")
        self._delay = delay_steps[0]

    def look(self, market: SimMarket, truth: Truth, now_ms: int) -> None:
        luck = self._luck.random()
        if now_ms % DELAY_EVERY_MS == 0:
            self._delay = self._delays.randint(*self._delay_steps)
        if luck >= self._chance:
            return
        bid, ask = self._crowd.exchange.best(market.condition_id)
        worth = truth.ago(self._delay) * PX_ONE
        shares = -self._size * math.log1p(-luck / self._chance)
        if ask and worth > ask:
            if worth > ask + self._hurdle(ask, market.fee_rate):
                self._take(market, Side.BUY, ask, shares, now_ms)
        elif bid > worth and worth < bid - self._hurdle(bid, market.fee_rate):
            self._take(market, Side.SELL, bid, shares, now_ms)

    def _hurdle(self, px: Px, fee_rate: float) -> float:
        return fee_rate * px * (PX_ONE - px) / PX_ONE + self._margin * PX_ONE

    def _take(self, market: SimMarket, side: Side, px: Px, shares: float, now_ms: int) -> None:
        qty = round(shares * 100) * LOT + market.min_qty
        self._crowd.send(self.name, market, side, px, qty, now_ms)


class Noise:
    """Takers without a view: Poisson arrivals, a side that persists a little, now and then a sweep of several levels."""

    def __init__(self, market: SimMarket, crowd: Crowd, parameters: WorldParameters, seed: str, now_ms: int) -> None:
        self.name = "noise-1"
        self._market = market
        self._crowd = crowd
        self._parameters = parameters
        self._rng = random.Random(f"{seed}:noise:{market.series}:{market.number}")
        self._lean = Side.BUY
        self._lean_until_ms = 0
        self.restart(now_ms)

    def restart(self, now_ms: int) -> None:
        rate = self._parameters.noise_per_s if self._parameters.noise else 0.0
        self.next_ms = now_ms + round(self._rng.expovariate(rate) * 1000) if rate else 1 << 62

    def arrive(self, now_ms: int, quiet: bool) -> None:
        """One arrival; in a market whose window has not begun most of them stay away."""
        parameters, rng, market = self._parameters, self._rng, self._market
        self.restart(now_ms)
        if quiet and rng.random() < 0.95:
            return
        if now_ms >= self._lean_until_ms:
            self._lean = rng.choice((Side.BUY, Side.SELL))
            self._lean_until_ms = now_ms + round(parameters.noise_persistence_s * 1000)
        leaning = rng.random() < 0.5 + parameters.noise_persistence / 2
        other = Side.SELL if self._lean is Side.BUY else Side.BUY
        side = self._lean if leaning else other
        sweep = rng.random() < (parameters.sweep_share_1m if market.series.endswith("-1m") else parameters.sweep_share)
        shares = rng.expovariate(1.0 / parameters.noise_size) * (
            rng.uniform(*parameters.sweep_factor) if sweep else 1.0
        )
        tolerance = (parameters.sweep_tolerance_ticks if sweep else parameters.noise_tolerance_ticks) * market.tick
        sell = rng.random() < parameters.noise_sells
        bid, ask = self._crowd.exchange.best(market.condition_id)
        if not (ask if side is Side.BUY else bid):
            return
        px = min(ask + tolerance, PX_ONE - market.tick) if side is Side.BUY else max(bid - tolerance, market.tick)
        qty = round(shares * 100) * LOT + market.min_qty
        self._crowd.send(self.name, market, side, px, qty, now_ms, sell=sell)


def delays_in_steps(parameters: WorldParameters) -> list[int]:
    """Each maker's delay, spread evenly in log time."""
    low, high, gaps = parameters.maker_delay_ms_min, parameters.maker_delay_ms_max, max(parameters.makers - 1, 1)
    return [round(low * (high / low) ** (number / gaps) / STEP_MS) for number in range(parameters.makers)]
