"""Which of the recorded trades would have reached our orders: their places in the queues of a book that others made.

To our disadvantage where it cannot be known: we join behind all that is shown, those ahead of us never cancel, a touch
fills nothing, and of a trade at our own price we get a part at most. Knows no frame and no strategy.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bot.caches import BookView
from bot.market import Market
from bot.messages import NewOrder, Side
from bot.sim.exchange import Exchange
from bot.units import PX_ONE, Px, Qty

SHARE_MAX = 0.3  # of a trade at our own price: others stood there too, and got it in truth

Shown = Callable[[str], BookView | None]


class Place(msgspec.Struct):
    """One resting order of ours, in Up terms, and what is to be traded at its price before it."""

    order_id: str
    bid: bool
    px: Px
    ahead: Qty

    def through(self, px: Px) -> bool:
        return self.px > px if self.bid else self.px < px


def in_up_terms(market: Market, asset_id: str, side: Side, px: Px) -> tuple[bool, Px]:
    """Whether it bids for Up, and at what price."""
    up = asset_id == market.up_token
    return (side is Side.BUY) == up, px if up else PX_ONE - px


class Queue:
    """Invariant: what is filled is never more than was traded, or offered, at our price or beyond it."""

    def __init__(self, exchange: Exchange, shown: Shown) -> None:
        """`shown`: the book of others, None while it is not known."""
        self._exchange = exchange
        self._shown = shown
        self._places: dict[str, list[Place]] = {}  # by market, in the order in which they came

    def crosses(self, market: Market, order: NewOrder) -> bool:
        """A post-only order is refused, also where nothing is known of the book."""
        view = self._shown(market.symbol)
        if view is None:
            return True
        bid, px = in_up_terms(market, order.asset_id, order.side, order.px)
        opposite = view.asks if bid else view.bids
        return bool(opposite) and (px >= opposite[0][0] if bid else px <= opposite[0][0])

    def join(self, market: Market, order: NewOrder) -> None:
        """The order rests now."""
        view = self._shown(market.symbol)
        bid, px = in_up_terms(market, order.asset_id, order.side, order.px)
        levels = () if view is None else view.bids if bid else view.asks
        self._places.setdefault(market.symbol, []).append(
            Place(order_id=order.order_id, bid=bid, px=px, ahead=dict(levels).get(px, 0))
        )

    def traded(self, symbol: str, bid: bool, px: Px, qty: Qty, now_ms: int) -> None:
        """Somebody traded so much with bids (or asks), at this price in Up terms."""
        left, most = qty, round(qty * SHARE_MAX)
        for place in self._resting(symbol, bid):
            if place.through(px):
                left -= self._fill(place, left, now_ms)
            elif place.px == px:
                gone = min(place.ahead, left)
                place.ahead -= gone
                most -= self._fill(place, min(left - gone, most), now_ms)

    def quoted(self, now_ms: int) -> None:
        """Books changed: who offers at our bid, or bids at our ask, would have met us."""
        for symbol, places in list(self._places.items()):
            view = self._shown(symbol)
            if not places:
                del self._places[symbol]
            elif view is not None:
                for bid, opposite in ((True, view.asks), (False, view.bids)):
                    if opposite:
                        self._met(symbol, bid, opposite[0], now_ms)

    def _met(self, symbol: str, bid: bool, best: tuple[Px, Qty], now_ms: int) -> None:
        px, left = best
        for place in self._resting(symbol, bid):
            if place.through(px) or place.px == px:
                left -= self._fill(place, left, now_ms)

    def _resting(self, symbol: str, bid: bool) -> list[Place]:
        """Of one side, the best price first, then who came first. Those that ended are forgotten."""
        kept = self._places.get(symbol)
        if not kept:
            return []
        kept = self._places[symbol] = [place for place in kept if self._leaves(place) > 0]
        side = [place for place in kept if place.bid == bid]
        side.sort(key=lambda place: -place.px if bid else place.px)
        return side

    def _leaves(self, place: Place) -> Qty:
        order = self._exchange.order(place.order_id)
        return order.leaves if order is not None and order.open else 0

    def _fill(self, place: Place, qty: Qty, now_ms: int) -> Qty:
        """As much of it as there is; how much that was."""
        before = self._leaves(place)
        if qty > 0:
            self._exchange.sweep(place.order_id, min(qty, before), now_ms)
        return before - self._leaves(place)
