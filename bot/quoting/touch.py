"""The venue's top of book as other participants make it: our own resting size is taken out level by level.

What the book thinks (microprice, imbalance) must not be our own echo. Knows no time.
"""

from __future__ import annotations

import msgspec

from bot.market import Market
from bot.messages import OrderState, Side, WorkingOrder
from bot.units import PX_ONE, Px, Qty

Levels = tuple[tuple[Px, Qty], ...]

# Not yet accepted, so perhaps not shown: taking them out of the book would hide other people's size.
_NOT_SHOWN = (OrderState.CREATED, OrderState.PENDING_NEW)


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """Best prices of others with what stands there, in Up terms; 0 for an empty side."""

    bid: Px = 0
    bid_qty: Qty = 0
    ask: Px = 0
    ask_qty: Qty = 0

    @property
    def micro(self) -> float:
        """The mid weighted by the opposite sizes, as a probability; 0 without both sides."""
        if not self.bid or not self.ask:
            return 0.0
        weight = self.bid_qty + self.ask_qty
        return (self.bid * self.ask_qty + self.ask * self.bid_qty) / (weight * PX_ONE)

    @property
    def spread(self) -> float:
        """As a probability; infinite without both sides."""
        return (self.ask - self.bid) / PX_ONE if self.bid and self.ask else float("inf")

    @property
    def imbalance(self) -> float:
        """From -1 (all of it offered) to 1 (all of it bid); 0 without both sides."""
        if not self.bid or not self.ask:
            return 0.0
        return (self.bid_qty - self.ask_qty) / (self.bid_qty + self.ask_qty)


NO_TOUCH = Touch()


def touch_of(bids: Levels, asks: Levels, working: tuple[WorkingOrder, ...], market: Market) -> Touch:
    """Best first, as the book's view has them."""
    own: dict[tuple[bool, Px], Qty] = {}
    for order in working:
        if order.state in _NOT_SHOWN:
            continue
        up = order.asset_id == market.up_token
        level = ((order.side is Side.BUY) == up, order.px if up else PX_ONE - order.px)
        own[level] = own.get(level, 0) + order.leaves_qty
    bid, bid_qty = _best(bids, True, own)
    ask, ask_qty = _best(asks, False, own)
    return Touch(bid=bid, bid_qty=bid_qty, ask=ask, ask_qty=ask_qty)


def _best(levels: Levels, bid: bool, own: dict[tuple[bool, Px], Qty]) -> tuple[Px, Qty]:
    for px, qty in levels:
        left = qty - own.get((bid, px), 0)
        if left > 0:
            return px, left
    return 0, 0
