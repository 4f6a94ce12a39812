"""Limits: how much of a wanted order may be placed when everything that may be live fills in the worst way.

Counts inventory, every order that may be live or may have been filled, fill debts and orphans. Knows no states and no
time but the UTC day. No limit ever stands in the way of a cancel.
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
    """What may happen at most; UNITS says in what. A person sets five of them, and `limits_of` what follows."""

    # of one order
    order_size_max: Qty = 50 * QTY_ONE
    order_notional_max: Usd = 40 * USD_ONE
    collar: Px = 3000  # distance of its price from our own fair value
    # of one token: what is held, with what its open buys may add
    token_shares_max: Qty = 2000 * QTY_ONE
    token_notional_max: Usd = 1000 * USD_ONE
    token_orders_max: int = 20  # that may be live
    unsettled_max: Qty = 60 * QTY_ONE  # matched long ago and still not on the chain: more stops new orders
    # of one market
    q_max: Qty = 60 * QTY_ONE  # |Up minus Down|
    mkt_notional_max: Usd = 1000 * USD_ONE  # net money in it
    mkt_orders_max: int = 30
    loss_max_mkt: Usd = 40 * USD_ONE  # at its settlement
    # of all markets together
    shares_max: Qty = 4000 * QTY_ONE
    capital_max: Usd = 1000 * USD_ONE
    open_orders_max: int = 60
    loss_max_all: Usd = 240 * USD_ONE  # lost today, and what all markets may still lose at settlement
    loss_max_day: Usd = 200 * USD_ONE  # realised in a UTC day: halts
    # of what repeats itself
    repeats_soft: int = 12  # orders of one price and side in 10 s without a fill: the side cools down ...
    repeats_max: int = 20  # ... and this many are a runaway loop, which halts
    crossed_max: int = 3  # post-only refusals of one side in 10 s: it cools down
    balance_rejects_max: int = 5  # in a row of one side: it is switched off
    refused_max: int = 5  # refusals in a row that we cannot tell apart: the bot fails
    unanswered_max: int = 3  # orders in a row without usable answer: the bot fails


UNITS: dict[str, tuple[str, int]] = {  # the unit a person reads, and how many of ours it is
    **dict.fromkeys(
        ("order_size_max", "token_shares_max", "unsettled_max", "q_max", "shares_max"), ("shares", QTY_ONE)
    ),
    **dict.fromkeys(
        ("order_notional_max", "token_notional_max", "mkt_notional_max", "capital_max"),
        ("USD", USD_ONE),
    ),
    **dict.fromkeys(("loss_max_mkt", "loss_max_all", "loss_max_day"), ("USD", USD_ONE)),
    "collar": ("USD a share", PX_ONE),
    **dict.fromkeys(("token_orders_max", "mkt_orders_max", "open_orders_max"), ("orders", 1)),
    **dict.fromkeys(("repeats_soft", "repeats_max"), ("orders in 10 s", 1)),
    "crossed_max": ("refusals in 10 s", 1),
    **dict.fromkeys(("balance_rejects_max", "refused_max"), ("refusals in a row", 1)),
    "unanswered_max": ("orders in a row", 1),
}


def limits_of(
    *, q_max: float, order_size_max: float, loss_max_mkt: float, loss_max_day: float, capital_max: float
) -> Limits:
    """What a person sets, in shares and USD, and what follows from it: nothing narrower may pass something wider."""
    q, size = round(q_max * QTY_ONE), round(order_size_max * QTY_ONE)
    mkt, day, capital = (round(money * USD_ONE) for money in (loss_max_mkt, loss_max_day, capital_max))
    return Limits(
        q_max=q,
        order_size_max=size,
        loss_max_mkt=mkt,
        loss_max_day=day,
        capital_max=capital,
        order_notional_max=mkt,
        token_notional_max=capital,
        mkt_notional_max=capital,
        loss_max_all=day + mkt,  # so the last market before the halt may lose no more than any
        # A pair of Up and Down costs about a dollar; these bind when money is not what it seems.
        token_shares_max=2 * capital,
        shares_max=4 * capital,
    )


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


class TokenUse(msgspec.Struct, kw_only=True):
    """What one token uses of the limits in the worst case."""

    shares: Qty
    notional: Usd  # paid for it, net, and needed for its open buys
    selling: Qty = 0  # shares of open sells
    orders: int = 0


class Use(msgspec.Struct, kw_only=True):
    """What one market uses of the limits in the worst case."""

    up: TokenUse
    down: TokenUse
    net: Qty
    long: Qty  # net if every order that raises it fills, and no other
    short: Qty  # net if every order that lowers it fills, and no other
    loss_up: Usd  # settlement loss if Up wins and every order that loses then fills
    loss_down: Usd
    invested: Usd
    buying: Usd = 0  # collateral of open buys

    @property
    def net_worst(self) -> Qty:
        return max(self.long, -self.short, 0)

    @property
    def loss_worst(self) -> Usd:
        return max(self.loss_up, self.loss_down, 0)

    @property
    def capital(self) -> Usd:
        return max(0, self.invested) + self.buying


class Total(msgspec.Struct, kw_only=True):
    """What all markets together use of the limits in the worst case."""

    shares: Qty = 0
    capital: Usd = 0
    buying: Usd = 0
    loss: Usd = 0


def total(uses: Iterable[Use]) -> Total:
    sums = Total()
    for use in uses:
        sums.shares += use.up.shares + use.down.shares
        sums.capital += use.capital
        sums.buying += use.buying
        sums.loss += use.loss_worst
    return sums


def per_share(*, up_token: bool, side: Side, px: Px) -> tuple[bool, Px, Px]:
    """Of one share filled: does it raise the net, and what is lost if Up wins and if Down wins."""
    buy = side is Side.BUY
    paid, held = (px, PX_ONE) if buy else (-px, -PX_ONE)
    if up_token:
        return buy, paid - held, paid
    return not buy, paid, paid - held


class Risk:
    """Invariant: an order of the size that `room` allows keeps every worst case within its limit."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.realised_day: Usd = 0  # profit since the UTC day began
        self.day = 0  # days since 1970, 0: not known yet

    def use(self, market: Market, positions: Positions, orders: Iterable[Exposed]) -> Use:
        up, down = positions.quantities(market)
        holding = positions.of(market.symbol)
        use = Use(
            up=TokenUse(shares=up, notional=holding.paid.get(market.up_token, 0)),
            down=TokenUse(shares=down, notional=holding.paid.get(market.down_token, 0)),
            net=up - down,
            long=up - down,
            short=up - down,
            loss_up=holding.invested - up,
            loss_down=holding.invested - down,
            invested=holding.invested,
        )
        for order in orders:
            qty = order.exposure
            if not qty:
                continue
            up_token = order.asset_id == market.up_token
            token = use.up if up_token else use.down
            token.orders += 1
            raises, loss_up, loss_down = per_share(up_token=up_token, side=order.side, px=order.px)
            if raises:
                use.long += qty
            else:
                use.short -= qty
            # Rounded up: a worst case errs to the safe side.
            use.loss_up += max(0, -(-loss_up * qty // PX_ONE))
            use.loss_down += max(0, -(-loss_down * qty // PX_ONE))
            if order.side is Side.BUY:
                money = -(-order.px * qty // PX_ONE)
                use.buying += money
                token.shares += qty
                token.notional += money
            else:
                token.selling += qty
        return use

    def room(self, use: Use, all_: Total, free_cash: Usd, *, up_token: bool, side: Side, px: Px) -> Qty:
        """The largest size, in whole lots, that keeps each limit; `all_` is of all markets, this one included."""
        limits = self.limits
        raises, loss_up, loss_down = per_share(up_token=up_token, side=side, px=px)
        room = min(
            limits.order_size_max,
            limits.order_notional_max * PX_ONE // px,
            limits.q_max - use.long if raises else limits.q_max + use.short,
        )
        loss_max = min(limits.loss_max_mkt, limits.loss_max_all - self.lost_day - (all_.loss - use.loss_worst))
        for loss, used in ((loss_up, use.loss_up), (loss_down, use.loss_down)):
            if loss > 0:
                room = min(room, (loss_max - used) * PX_ONE // loss)
        if side is Side.BUY:
            token = use.up if up_token else use.down
            money = min(
                limits.token_notional_max - token.notional,
                limits.mkt_notional_max - use.capital,
                limits.capital_max - all_.capital,
                free_cash,
            )
            room = min(
                room,
                limits.token_shares_max - token.shares,
                limits.shares_max - all_.shares,
                money * PX_ONE // px,
            )
        return max(0, room // LOT * LOT)

    def crowded(self, use: Use, live: int, *, up_token: bool) -> bool:
        """Is the most of orders reached, of the token, the market or all? `live` counts all that may be live."""
        limits = self.limits
        token = use.up if up_token else use.down
        return (
            token.orders >= limits.token_orders_max
            or use.up.orders + use.down.orders >= limits.mkt_orders_max
            or live >= limits.open_orders_max
        )

    def passed(self, use: Use, all_: Total) -> bool:
        """Is a limit on what may be live passed? Then some order may rest that would not be placed now."""
        limits = self.limits
        return (
            use.net_worst > limits.q_max
            or use.loss_worst > limits.loss_max_mkt
            or use.capital > limits.mkt_notional_max
            or max(use.up.shares, use.down.shares) > limits.token_shares_max
            or max(use.up.notional, use.down.notional) > limits.token_notional_max
            or all_.shares > limits.shares_max
            or all_.capital > limits.capital_max
            or all_.loss + self.lost_day > limits.loss_max_all
        )

    # -- the day -----------------------------------------------------------------------------------------------------

    def roll(self, utc_day: int) -> None:
        """The clock says which UTC day it is; a new one begins at nothing. It never goes back."""
        if utc_day > self.day:
            self.day, self.realised_day = utc_day, 0

    @property
    def lost_day(self) -> Usd:
        return max(0, -self.realised_day)

    @property
    def day_is_lost(self) -> bool:
        return self.lost_day >= self.limits.loss_max_day
