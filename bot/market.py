"""A binary up/down market: what the venue's metadata says of it, fixed for its life except for the tick."""

from __future__ import annotations

import enum

import msgspec

from bot.units import Ns, Px, Qty

CLOSE_CANDLE_S = 60  # of the candles whose closes are compared


class Rule(enum.StrEnum):
    """What settles the market: a trailing mean of the source at the end against that at the start; close against open
    of the Binance candle that is the window; or the closes of the two one-minute candles that begin at its two ends."""

    TWAP = "twap"
    CANDLE = "candle"
    CLOSES = "closes"


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
    fee_rate: float  # taker fee = shares * fee_rate * (p * (1 - p)) ** fee_exponent
    fee_exponent: float = 1.0
    rebate_rate: float = 0.0
    taker_delay_ms: int = 0
    reward_usd_day: float = 0.0  # paid to resting orders of at least reward_min_qty, within reward_spread of the mid
    reward_min_qty: Qty = 0
    reward_spread: Px = 0

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
