"""Decimal text of the streams to integers, fast: exact for every text units.scaled takes. Knows no message.

For market data only: digits finer than the scale are rounded here, where units.scaled refuses them.
"""

from __future__ import annotations

from bot.units import E8, NS_PER_MS, NS_PER_S, Ns, Px, Qty, scaled

# A double holds the product within 0.25 of the integer it stands for up to here, so that rounding finds it.
_EXACT_MAX = 1e15

# Prices of a book have few different texts, so they are remembered: twice the prices on the finest grid.
_PX_SEEN: dict[str, Px] = {}
_PX_SEEN_MAX = 20_000

# Sizes of a book's levels mostly stand from one snapshot to the next.
_QTY_SEEN: dict[str, Qty] = {}
_QTY_SEEN_MAX = 50_000


def fast_px(text: str) -> Px:
    """ "0.52" to 5200. Raises ValueError."""
    px = _PX_SEEN.get(text)
    if px is None:
        value = float(text) * 1e4
        px = int(value + 0.5) if 0.0 <= value < _EXACT_MAX else scaled(text, 4)
        if len(_PX_SEEN) < _PX_SEEN_MAX:
            _PX_SEEN[text] = px
    return px


def fast_qty(text: str) -> Qty:
    """ "10.5" shares to 10 500 000 micro-shares. Raises ValueError."""
    value = float(text) * 1e6
    return int(value + 0.5) if 0.0 <= value < _EXACT_MAX else scaled(text, 6)


def known_qty(text: str) -> Qty:
    """Like fast_qty, for texts that are likely to come again."""
    qty = _QTY_SEEN.get(text)
    if qty is None:
        qty = fast_qty(text)
        if len(_QTY_SEEN) >= _QTY_SEEN_MAX:
            _QTY_SEEN.clear()
        _QTY_SEEN[text] = qty
    return qty


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
