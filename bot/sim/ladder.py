"""One side of a book in Up terms: price levels, each a queue in time order. Knows no money and no rule but priority."""

from __future__ import annotations

from bisect import bisect_left, insort

from bot.messages import Side
from bot.sim.records import Order
from bot.units import LOT, PX_ONE, Px, Qty


class Level:
    """One price: orders in time order (a dict keeps it and removes in O(1)) and their total."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.total: Qty = 0


class Ladder:
    """One side of a book. Keys are prices times `sign`, ascending, so that the best is always last."""

    __slots__ = ("keys", "levels", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = 1 if side is Side.BUY else -1
        self.keys: list[int] = []
        self.levels: dict[Px, Level] = {}

    def crossed_by(self, limit: Px) -> bool:
        """Would an opposite order with this limit trade here?"""
        return bool(self.keys) and self.keys[-1] >= self.sign * limit

    def best(self) -> Px:
        """0 when empty."""
        return self.sign * self.keys[-1] if self.keys else 0

    def add(self, order: Order) -> Qty:
        level = self.levels.get(order.up_px)
        if level is None:
            level = self.levels[order.up_px] = Level()
            insort(self.keys, self.sign * order.up_px)
        level.orders[order.order_id] = order
        level.total += order.leaves
        return level.total

    def remove(self, order: Order) -> Qty:
        level = self.levels[order.up_px]
        del level.orders[order.order_id]
        level.total -= order.leaves
        if not level.orders:
            self.drop(order.up_px)
        return level.total

    def drop(self, px: Px) -> None:
        del self.levels[px]
        del self.keys[bisect_left(self.keys, self.sign * px)]

    def fillable(self, limit: Px) -> Qty:
        """What an opposite order with this limit could take, in whole lots."""
        total = 0
        for key in reversed(self.keys):
            if key < self.sign * limit:
                break
            total += sum(order.leaves // LOT * LOT for order in self.levels[self.sign * key].orders.values())
        return total

    def pairs(self, mirrored: bool = False) -> list[tuple[Px, Qty]]:
        """Best last; mirrored: as the other token sees it."""
        rows = [(self.sign * key, self.levels[self.sign * key].total) for key in self.keys]
        return [(PX_ONE - px, qty) for px, qty in rows] if mirrored else rows
