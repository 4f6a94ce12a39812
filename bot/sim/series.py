"""Recurring markets of a generated world: their names, lengths, rules and the clock of their windows. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.errors import SettingsError
from bot.market import Rule
from bot.sim.window import Life

NAMES = {"btc": "Bitcoin", "eth": "Ethereum", "sol": "Solana", "xrp": "XRP"}
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NOON = 12
LONG = {"1h": Rule.CANDLE, "4h": Rule.TWAP, "1d": Rule.CLOSES}
RULES = {
    Rule.TWAP: "Up if the source's mean over the {window_s} seconds before the end is at or above that before the start.",
    Rule.CANDLE: "Up if the close of Binance's {pair} 1 hour candle that begins at the time in the title is at or above its open.",
    Rule.CLOSES: "Up if the close of Binance's {pair} 1 minute candle of 12:00 in the ET timezone (noon) on the day in the title "
    "is above that of the day before.",
}


class Series:
    """A series "<asset>-updown-<N>m", "-1h", "-4h" or "-1d", and the windows alive.

    Windows that a mean settles begin at once, unless they are aligned to the real venue's grid; those that candles settle
    are always on it. Beyond an hour that grid is New York's wall clock.
    """

    def __init__(self, name: str, start_ms: int, aligned: bool) -> None:
        match = re.fullmatch(r"(btc|eth|sol|xrp)-updown-(?:([1-9]\d{0,3})m|(1h|4h|1d))", name)
        if match is None:
            raise SettingsError(
                f"unknown series {name!r}: want <btc|eth|sol|xrp>-updown-<minutes>m, or -{', -'.join(LONG)}"
            )
        self.name = name
        self.asset = match[1]
        self._length = match[3] or ""
        self.rule = LONG.get(self._length, Rule.TWAP)
        self.duration_ms = int(match[2]) * MINUTE_MS if match[2] else {"1h": 1, "4h": 4, "1d": 24}[match[3]] * HOUR_MS
        self.window_s = 10 if match[2] == "1" else 60  # of the settlement stream beside it
        self._on_grid = aligned or self.rule is not Rule.TWAP
        self.next_start_ms = self._grid(start_ms) if self._on_grid else (start_ms - 5_000) // 1000 * 1000
        self.lives: list[Life] = []
        self.listed = 0

    def _grid(self, ms: int) -> int:
        """Start of the real venue's window that holds this moment."""
        if self.duration_ms <= HOUR_MS:
            return ms // self.duration_ms * self.duration_ms
        local, hours = _eastern(ms), self.duration_ms // HOUR_MS
        hour = NOON if self._length == "1d" else local.hour - local.hour % hours
        start = local.replace(hour=hour, minute=0, second=0, microsecond=0, fold=0)
        return round((start - timedelta(days=1) if start > local else start).timestamp()) * 1000

    def after(self, start_ms: int) -> int:
        """Start of the next window, which is this one's end; by a wall clock that is turned, an hour sooner or later."""
        if not self._on_grid or self.duration_ms <= HOUR_MS:
            return start_ms + self.duration_ms
        return self._grid(start_ms + self.duration_ms + HOUR_MS)

    def slug(self, start_ms: int) -> str:
        """Windows that candles settle are named by New York's clock, a day after its end."""
        match self._length:
            case "1h":
                when = f"{_eastern(start_ms):%B-%-d-%Y-%-I%p}-et"
            case "1d":
                when = f"on-{_eastern(self.after(start_ms)):%B-%-d-%Y}"
            case _:
                return f"{self.name}-{start_ms // 1000}"
        return f"{NAMES[self.asset]}-up-or-down-{when}".lower()

    def question(self, start_ms: int) -> str:
        match self._length:
            case "1h":
                when = f"{_eastern(start_ms):%B %-d, %-I%p} ET"
            case "1d":
                when = f"{_eastern(self.after(start_ms)):%B %-d}"
            case _:
                when = f"{self.duration_ms // MINUTE_MS} minutes from {start_ms // 1000}"
        return f"{NAMES[self.asset]} Up or Down - {when}"

    @property
    def rules(self) -> str:
        """What metadata says of the settlement."""
        return RULES[self.rule].format(window_s=self.window_s, pair=f"{self.asset.upper()}/USDT")


def _eastern(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).astimezone(ZoneInfo("America/New_York"))
