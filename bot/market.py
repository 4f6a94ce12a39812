"""A binary up/down market: what the venue's metadata says of it, fixed for its life except for the tick."""

from __future__ import annotations

import enum

import msgspec

from bot.units import Ns, Px, Qty


class Rule(enum.StrEnum):
    """What settles the market: a trailing mean of the source, or a Binance candle."""

    TWAP = "twap"
    CANDLE = "candle"


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of one market. `symbol` is the condition id; prices are in terms of the Up token (YES)."""

    symbol: str
    slug: str
    series: str  # "btc-updown-5m"
    asset: str  # "btc"
    up_token: str
    down_token: str
    version: int  # generation of orders it takes: 1, 2 (CLOB V2) or 3 (ExchangeV3)
    neg_risk: bool = False
    rule: Rule
    window_s: int = 0  # averaging window of a TWAP rule
    start_utc_ns: Ns
    end_utc_ns: Ns
    tick: Px  # at listing; may change inside the window
    min_qty: Qty
    fee_rate: float  # taker fee = shares * fee_rate * p * (1 - p)
    rebate_rate: float = 0.0
    taker_delay_ms: int = 0

    @property
    def duration_s(self) -> int:
        return (self.end_utc_ns - self.start_utc_ns) // 1_000_000_000

    def other(self, token: str) -> str:
        """The complementary token. Raises ValueError for a token of another market."""
        if token == self.up_token:
            return self.down_token
        if token == self.down_token:
            return self.up_token
        raise ValueError(f"token {token} is not of market {self.slug}")
