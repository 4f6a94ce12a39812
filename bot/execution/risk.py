"""Limits: how much of a wanted order may be placed when everything that may be live fills in the worst way.

Counts inventory, every order that may be live or may have been filled, fill debts and orphans. Knows no states and no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from bot.execution.position import Positions
from bot.market import Market
from bot.messages import Side
from bot.units import LOT, PX_ONE, QTY_ONE, USD_ONE, Px, Qty, Usd


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a person allows; sizes in micro-shares, money in micro-USD."""

    q_max: Qty = 60 * QTY_ONE  # |Up minus Down| of a market, worst case
    order_size_max: Qty = 50 * QTY_ONE
    loss_max_mkt: Usd = 40 * USD_ONE  # at settlement of one market, worst case
    loss_max_day: Usd = 200 * USD_ONE  # realised in a UTC day: halts
    capital_max: Usd = 1000 * USD_ONE  # net money in all markets
    open_orders_max: int = 60  # orders that may be live
    unsettled_max: Qty = 60 * QTY_ONE  # of one token, matched long ago and still not on the chain
    collar: Px = 3000  # largest distance of a price from our own fair value


class Exposed(Protocol):
    """An order, or an orphaned event, as risk sees it."""

    @property
    def asset_id(self) -> str: ...
    @property
    def side(self) -> Side: ...
    @property
    def px(self) -> Px: ...
    @property
    def exposure(self) -> Qty: ...


class Use(msgspec.Struct, kw_only=True):
    """What one market uses of the limits in the worst case."""

    net: Qty = 0
    long: Qty = 0  # net if every order that raises it fills, and no other
    short: Qty = 0  # net if every order that lowers it fills, and no other
    loss_up: Usd = 0  # settlement loss if Up wins and every order that loses then fills
    loss_down: Usd = 0
    invested: Usd = 0
    buying: Usd = 0  # collateral of open buys
    selling: dict[str, Qty] = {}  # shares of open sells by token

    @property
    def net_worst(self) -> Qty:
        return max(self.long, -self.short, 0)

    @property
    def loss_worst(self) -> Usd:
        return max(self.loss_up, self.loss_down, 0)

    @property
    def capital(self) -> Usd:
        return max(0, self.invested) + self.buying


def per_share(*, up_token: bool, side: Side, px: Px) -> tuple[int, Px, Px]:
    """Of one share filled: the change of the net (+1 or -1), and the loss if Up wins and if Down wins."""
    paid = px if side is Side.BUY else -px
    held = PX_ONE if side is Side.BUY else -PX_ONE
    if up_token:
        return (1 if side is Side.BUY else -1), paid - held, paid
    return (-1 if side is Side.BUY else 1), paid, paid - held


class Risk:
    """Invariant: an order of the size that `room` allows keeps every worst case within its limit."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.realised_day: Usd = 0  # profit since the UTC day began
        self.day = 0

    def use(self, market: Market, positions: Positions, orders: Iterable[Exposed]) -> Use:
        up, down = positions.quantities(market)
        invested = positions.of(market.symbol).invested
        use = Use(
            net=up - down,
            long=up - down,
            short=up - down,
            loss_up=invested - up,
            loss_down=invested - down,
            invested=invested,
        )
        for order in orders:
            qty = order.exposure
            if not qty:
                continue
            net, loss_up, loss_down = per_share(
                up_token=order.asset_id == market.up_token, side=order.side, px=order.px
            )
            if net > 0:
                use.long += qty
            else:
                use.short -= qty
            # Rounded up: a worst case errs to the safe side.
            use.loss_up += max(0, -(-loss_up * qty // PX_ONE))
            use.loss_down += max(0, -(-loss_down * qty // PX_ONE))
            if order.side is Side.BUY:
                use.buying += -(-order.px * qty // PX_ONE)
            else:
                use.selling[order.asset_id] = use.selling.get(order.asset_id, 0) + qty
        return use

    def room(self, use: Use, capital_all: Usd, free_cash: Usd, *, up_token: bool, side: Side, px: Px) -> Qty:
        """The largest size, in whole lots, that keeps each limit; `capital_all` is of all markets, open buys included."""
        limits = self.limits
        net, loss_up, loss_down = per_share(up_token=up_token, side=side, px=px)
        room = limits.order_size_max
        room = min(room, limits.q_max - use.long if net > 0 else limits.q_max + use.short)
        for loss, used in ((loss_up, use.loss_up), (loss_down, use.loss_down)):
            if loss > 0:
                room = min(room, (limits.loss_max_mkt - used) * PX_ONE // loss)
        if side is Side.BUY:
            room = min(room, (limits.capital_max - capital_all) * PX_ONE // px, free_cash * PX_ONE // px)
        return max(0, room) // LOT * LOT

    def realise(self, pnl: Usd, utc_day: int) -> None:
        if self.day and utc_day != self.day:
            self.realised_day = 0
        self.day = utc_day
        self.realised_day += pnl

    @property
    def day_lost(self) -> bool:
        return -self.realised_day >= self.limits.loss_max_day

    def report(self, uses: Iterable[Use], open_orders: int) -> dict[str, dict[str, float]]:
        """Every limit by name with what is used of it, in shares, USD or orders."""
        uses = list(uses)
        limits = self.limits
        rows: dict[str, tuple[float, float]] = {
            "q_max": (max((use.net_worst for use in uses), default=0) / QTY_ONE, limits.q_max / QTY_ONE),
            "loss_max_mkt": (max((use.loss_worst for use in uses), default=0) / USD_ONE, limits.loss_max_mkt / USD_ONE),
            "capital_max": (sum(use.capital for use in uses) / USD_ONE, limits.capital_max / USD_ONE),
            "loss_max_day": (max(0, -self.realised_day) / USD_ONE, limits.loss_max_day / USD_ONE),
            "open_orders_max": (open_orders, limits.open_orders_max),
        }
        return {name: {"used": used, "max": most} for name, (used, most) in rows.items()}
