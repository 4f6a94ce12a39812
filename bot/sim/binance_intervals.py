"""The reference exchange's candle intervals: when a candle opened and when it ends. Pure.

Weeks begin on Monday and months on their first day; a shift moves all beginnings from UTC to another time zone's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

LENGTHS_S = {
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "6h": 21_600,
    "8h": 28_800,
    "12h": 43_200,
    "1d": 86_400,
    "3d": 259_200,
    "1w": 604_800,
}
MONTH = "1M"
INTERVALS = frozenset((*LENGTHS_S, MONTH))
MONDAY_MS = 4 * 86_400_000  # the first one after the epoch
LONGEST_MONTH_MS = 31 * 86_400_000
SHIFT_MINUTES = (-12 * 60, 14 * 60)


def opened(interval: str, ms: int, shift_ms: int = 0) -> int:
    """When the candle that holds this moment opened."""
    local_ms = ms + shift_ms
    if interval == MONTH:
        moment = datetime.fromtimestamp(local_ms / 1000, UTC)
        return round(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp() * 1000) - shift_ms
    length_ms = LENGTHS_S[interval] * 1000
    offset_ms = MONDAY_MS if interval == "1w" else 0
    return (local_ms - offset_ms) // length_ms * length_ms + offset_ms - shift_ms


def ends(interval: str, open_ms: int, shift_ms: int = 0) -> int:
    """When the candle that opened then makes room for the next."""
    if interval == MONTH:
        return opened(interval, open_ms + LONGEST_MONTH_MS + 43_200_000, shift_ms)
    return open_ms + LENGTHS_S[interval] * 1000


def shift_of(text: str) -> int:
    """Milliseconds of a time zone such as "8", "-1:00" or "+05:45". Raises ValueError."""
    match = re.fullmatch(r"([+-]?)(\d{1,2})(?::(\d{2}))?", text)
    minutes = 0 if match is None else int(match[2]) * 60 + int(match[3] or 0)
    minutes = -minutes if match is not None and match[1] == "-" else minutes
    if match is None or not SHIFT_MINUTES[0] <= minutes <= SHIFT_MINUTES[1]:
        raise ValueError(f"no time zone: {text!r}")
    return minutes * 60_000
