"""Integer units of the hot path, and the only places where decimal text becomes an integer and back.

Px is a price in 1/10 000 USD (every tick size of the venue is a multiple of it), Qty a size in micro-shares,
Usd money in micro-USD, Ns monotonic (or, where named utc, wall-clock) nanoseconds, E8 a Binance price times 1e8.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

Px: TypeAlias = int
Qty: TypeAlias = int
Usd: TypeAlias = int
Ns: TypeAlias = int
E8: TypeAlias = int

PX_ONE: Px = 10_000  # one USD
QTY_ONE: Qty = 1_000_000  # one share
USD_ONE: Usd = 1_000_000  # one USD
LOT: Qty = 10_000  # the venue matches in steps of 0.01 share
NS_PER_S: Ns = 1_000_000_000
NS_PER_MS: Ns = 1_000_000
NS_PER_US: Ns = 1_000

TICKS: tuple[Px, ...] = (1000, 100, 50, 25, 10, 1)  # 0.1, 0.01, 0.005, 0.0025, 0.001, 0.0001 USD


def is_storable(value: Decimal) -> bool:
    """Finite, and within 64 bits wherever it goes. To be asked before int(), which takes most of a minute for ten bytes
    such as 1e999990."""
    return value.is_finite() and value.adjusted() < 19 and abs(value) < 1 << 63


def scaled(text: str | int | float, scale_digits: int) -> int:
    """Decimal text times 10**scale_digits as an exact integer.

    Raises ValueError when the text is no decimal within 64 bits then, or needs more digits than the scale has.
    """
    try:
        value = Decimal(str(text)).scaleb(scale_digits)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"not a decimal number: {str(text)[:80]!r}") from error
    if not is_storable(value):
        raise ValueError(f"no number of ours: {str(text)[:80]!r}")
    whole = int(value)
    if whole != value:
        raise ValueError(f"{str(text)[:80]!r} has more than {scale_digits} decimals")
    return whole


def parse_px(text: str | int | float) -> Px:
    """'0.52' to 5200. Raises ValueError."""
    return scaled(text, 4)


def parse_qty(text: str | int | float) -> Qty:
    """'10.5' shares to 10 500 000 micro-shares. Raises ValueError."""
    return scaled(text, 6)


def decimal_text(value: int, scale_digits: int) -> str:
    """The shortest decimal text of value / 10**scale_digits: (5200, 4) to "0.52"."""
    sign, digits = ("-", -value) if value < 0 else ("", value)
    whole, fraction = divmod(digits, 10**scale_digits)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}." + f"{fraction:0{scale_digits}d}".rstrip("0")


def px_text(px: Px) -> str:
    return decimal_text(px, 4)


def qty_text(qty: Qty) -> str:
    return decimal_text(qty, 6)


def notional(px: Px, qty: Qty) -> Usd:
    """Price times size in micro-USD; exact for sizes in whole lots, floored otherwise."""
    return px * qty // PX_ONE


def usd(value: Usd) -> float:
    """Micro-USD as a float of USD, for reports only."""
    return value / USD_ONE


def shares(qty: Qty) -> float:
    """Micro-shares as a float of shares, for reports only."""
    return qty / QTY_ONE
