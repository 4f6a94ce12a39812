"""Decimal text of the streams to integers, fast: exact for every text units.scaled takes. Knows no message.

For market data only: digits finer than the scale are rounded here, where units.scaled refuses them.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.units import E8, NS_PER_MS, NS_PER_S, PX_ONE, Ns, Px, Qty, scaled

# A double holds the product within 0.25 of the integer it stands for up to here, so that rounding finds it.
_EXACT_MAX = 1e15


class _Seen(dict[str, int]):
    """Integers by their texts, which mostly come again: a known one costs no call of Python's. Forgets all when it is full."""

    def __init__(self, read: Callable[[str], int], most: int) -> None:
        super().__init__()
        self._read = read
        self._most = most

    def __missing__(self, text: str) -> int:
        value = self._read(text)
        if len(self) >= self._most:
            self.clear()
        self[text] = value
        return value


def fast_px(text: str) -> Px:
    """ "0.52" to 5200. Raises ValueError."""
    value = float(text) * 1e4
    return int(value + 0.5) if 0.0 <= value < _EXACT_MAX else scaled(text, 4)


def fast_qty(text: str) -> Qty:
    """ "10.5" shares to 10 500 000 micro-shares. Raises ValueError."""
    value = float(text) * 1e6
    return int(value + 0.5) if 0.0 <= value < _EXACT_MAX else scaled(text, 6)


def _level_px(text: str) -> Px:
    px = fast_px(text)
    if not 0 < px < PX_ONE:
        raise ValueError("a price outside of 0 to 1")
    return px


# Like fast_px, for the price of an order, and like fast_qty. The prices of a book have few different texts, twice those on the
# finest grid; its sizes mostly stand from one snapshot to the next.
known_px: Callable[[str], Px] = _Seen(_level_px, 20_000).__getitem__
known_qty: Callable[[str], Qty] = _Seen(fast_qty, 50_000).__getitem__


def fast_e8(text: str) -> E8:
    """ "60010.11000000" to 6001011000000. Raises ValueError."""
    value = float(text) * 1e8
    return int(value + 0.5) if 0.0 <= value < _EXACT_MAX else scaled(text, 8)


def utc_ns(stamp: str | int | float) -> Ns:
    """A venue's time in seconds, milliseconds, microseconds or nanoseconds, told apart by size, as UTC nanoseconds.

    Raises ValueError.
    """
    value = int(stamp)
    if value < 100_000_000_000:
        value *= NS_PER_S
    elif value < 100_000_000_000_000:
        value *= NS_PER_MS
    elif value < 100_000_000_000_000_000:
        value *= 1000
    if not 0 <= value < 1 << 63:
        raise ValueError("no time near ours")
    return value
