"""The reference exchange's order book, made up around its best prices: absolute levels, numbered changes. Pure.

A change holds every level that differs from the last look, so that whoever applies all of them has the book itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from bot.sim.prices import BinanceQuote
from bot.units import E8, QTY_ONE, Qty

Level: TypeAlias = tuple[E8, Qty]

LEVELS = 60  # of each side
SPACING = 50  # price steps between levels behind the best
CHANGES_MS = 4_000  # how long a level behind the best keeps its size
QTY_MAX: Qty = 6 * QTY_ONE


class Change(msgspec.Struct):
    """What changed from first_id to last_id: levels with their new size, 0 for those that are gone."""

    first_id: int
    last_id: int
    bids: list[Level]
    asks: list[Level]


class DepthBook:
    """One symbol's book as of the last look."""

    def __init__(self, step_e8: E8) -> None:
        self._step = step_e8
        self._bids: dict[E8, Qty] = {}
        self._asks: dict[E8, Qty] = {}
        self.last_id = 0

    def look(self, best: BinanceQuote, now_ms: int) -> Change | None:
        """Follow the best prices; None when nothing was updated since."""
        if best.update_id <= self.last_id:
            return None
        bids = self._side(best.bid_e8, best.bid_qty, -1, now_ms)
        asks = self._side(best.ask_e8, best.ask_qty, 1, now_ms)
        first_id = self.last_id + 1 if self.last_id else best.update_id
        change = Change(first_id, best.update_id, _changed(self._bids, bids), _changed(self._asks, asks))
        self._bids, self._asks, self.last_id = bids, asks, best.update_id
        return change

    def top(self, limit: int) -> tuple[list[Level], list[Level]]:
        """Best first."""
        return sorted(self._bids.items(), reverse=True)[:limit], sorted(self._asks.items())[:limit]

    def _side(self, best_e8: E8, best_qty: Qty, away: int, now_ms: int) -> dict[E8, Qty]:
        """The best level and a grid behind it, whose sizes follow from price and time alone."""
        grid = self._step * SPACING
        side = {best_e8: best_qty}
        first = best_e8 // grid if away < 0 else -(-best_e8 // grid)
        for n in range(1, LEVELS):
            number = first + away * n
            seed = (number * 2_654_435_761 + (now_ms + number * 7_919) // CHANGES_MS * 40_503) & 0xFFFF_FFFF
            side[number * grid] = (seed % QTY_MAX // 10 + 1) * 10
        return side


class Pending:
    """Changes gathered for one speed of stream."""

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms
        self._changes: list[Change] = []
        self._due_ms = 0
        self.before_id = 0  # of the last event told, which futures repeat in the next

    def add(self, change: Change) -> None:
        self._changes.append(change)

    def due(self, now_ms: int) -> Change | None:
        """Everything since the last time, when it is time again."""
        if now_ms < self._due_ms:
            return None
        self._due_ms = now_ms // self.every_ms * self.every_ms + self.every_ms
        changes, self._changes = self._changes, []
        if not changes:
            return None
        bids: dict[E8, Qty] = {}
        asks: dict[E8, Qty] = {}
        for change in changes:
            bids.update(change.bids)
            asks.update(change.asks)
        return Change(changes[0].first_id, changes[-1].last_id, list(bids.items()), list(asks.items()))

    def forget(self) -> None:
        self._changes.clear()


class DepthFeed:
    """A book and what its streams of several speeds have not been told yet."""

    def __init__(self, step_e8: E8, speeds_ms: Iterable[int]) -> None:
        self.book = DepthBook(step_e8)
        self.pending = [Pending(every_ms) for every_ms in speeds_ms]

    def look(self, best: BinanceQuote, now_ms: int) -> None:
        change = self.book.look(best, now_ms)
        if change is not None:
            for one in self.pending:
                one.add(change)

    def forget(self) -> None:
        """Nobody listens."""
        for one in self.pending:
            one.forget()


def _changed(before: dict[E8, Qty], after: dict[E8, Qty]) -> list[Level]:
    gone = [(px, 0) for px in before if px not in after]
    return [*((px, qty) for px, qty in after.items() if before.get(px) != qty), *gone]
