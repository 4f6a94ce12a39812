"""Records and events of the embedded exchange: listings, orders, trades, accounts, and what its followers are told.

Knows no rule of matching and no wire. Integers in units.py's units; times are the venue's wall clock in milliseconds.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from bot.market import Rule
from bot.messages import Side
from bot.units import LOT, PX_ONE, Px, Qty, Usd

LIVE, DELAYED, MATCHED, CANCELED = "LIVE", "DELAYED", "MATCHED", "CANCELED"


class SimMarket(msgspec.Struct, kw_only=True):
    """A listing. The exchange moves `tick`, `accepting`, `closed` and `outcome`; the world adds strike and final."""

    condition_id: str
    slug: str
    series: str
    asset: str
    question: str
    description: str = ""  # the rules in words
    up_token: str
    down_token: str
    version: int
    rule: Rule
    window_s: int
    number: int = 0  # of the window in its series, from 0: what its participants are seeded by
    start_ms: int
    end_ms: int
    listed_ms: int
    tick: Px = 100
    min_qty: Qty = 5_000_000
    fee_rate: float = 0.07
    rebate_rate: float = 0.2
    taker_delay_ms: int = 150
    accepting: bool = True
    closed: bool = False
    strike: float | None = None
    final: float | None = None
    outcome: str = ""  # "up" or "down" once resolved


class Submit(msgspec.Struct, kw_only=True):
    """One order as the wire brought it. Without an api_key nobody listens: no order events, no record once it ended."""

    order_id: str
    owner: str
    api_key: str
    token: str
    side: Side
    px: Px
    qty: Qty
    order_type: str = "GTC"
    post_only: bool = False
    expiration_s: int = 0


class Submitted(msgspec.Struct, kw_only=True):
    """The answer: live, matched, delayed, or "" with the venue's text. making/taking is what was given and got."""

    status: str
    error: str = ""
    making: int = 0
    taking: int = 0
    trade_ids: list[str] = msgspec.field(default_factory=list)


class Order(msgspec.Struct, kw_only=True):
    """An accepted order; `up_px` and `is_bid` are the same interest in Up terms."""

    order_id: str
    owner: str
    api_key: str
    condition_id: str
    token: str
    side: Side
    px: Px
    qty: Qty
    order_type: str
    post_only: bool
    expiration_s: int
    created_ms: int
    is_bid: bool
    up_px: Px
    matched: Qty = 0
    status: str = LIVE
    trade_ids: list[str] = msgspec.field(default_factory=list)

    @property
    def leaves(self) -> Qty:
        return self.qty - self.matched

    @property
    def open(self) -> bool:
        return self.status in (LIVE, DELAYED)

    @property
    def filled(self) -> bool:
        """The venue matches in lots; what is left below one is dust."""
        return self.qty - self.matched < LOT


class MakerFill(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's leg of a trade, in its own order's terms."""

    order_id: str
    owner: str
    api_key: str
    token: str
    side: Side
    px: Px
    qty: Qty


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One taker against one price level. Top-level token, side, px, qty and fee are the taker's."""

    trade_id: str
    condition_id: str
    taker_order_id: str
    taker_owner: str
    taker_api_key: str
    token: str
    side: Side
    px: Px
    qty: Qty
    fee: Usd
    fee_qty: Qty = 0  # where the fee was kept back in shares
    makers: tuple[MakerFill, ...]
    status: str  # MATCHED, MINED, CONFIRMED, FAILED
    tx_hash: str
    match_ms: int
    updated_ms: int


class Account(msgspec.Struct):
    """What an owner has. `orders` are open ones, oldest first; `done` and `trades` are kept for API key owners only."""

    cash: Usd = 0
    tokens: dict[str, Qty] = msgspec.field(default_factory=dict)
    open_buy: dict[str, Usd] = msgspec.field(default_factory=dict)  # by market: notional at the limit prices
    open_sell: dict[str, Qty] = msgspec.field(default_factory=dict)  # by token
    orders: dict[str, Order] = msgspec.field(default_factory=dict)
    done: dict[str, Order] = msgspec.field(default_factory=dict)
    trades: list[str] = msgspec.field(default_factory=list)


# -- events --------------------------------------------------------------------------------------------------------


class BookChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The new total of one level, in Up terms: side BUY is a bid for Up (which is also an ask for Down at 1 - px)."""

    condition_id: str
    px: Px
    side: Side
    qty: Qty
    ts_ms: int


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """A trade for the public tape, in the taker's terms."""

    condition_id: str
    token: str
    px: Px
    qty: Qty
    side: Side
    ts_ms: int


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """For the order's owner: PLACEMENT, UPDATE or CANCELLATION, with a copy of the order as it was then."""

    kind: str
    order: Order
    status: str
    ts_ms: int


class TradeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """For every party of the trade, at each settlement step."""

    trade: Trade
    ts_ms: int


class TickChanged(msgspec.Struct, frozen=True, kw_only=True):
    condition_id: str
    old: Px
    new: Px
    ts_ms: int


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    condition_id: str
    ts_ms: int


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    condition_id: str
    ts_ms: int


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """`holders` had some of either token."""

    condition_id: str
    outcome: str
    holders: tuple[str, ...]
    ts_ms: int


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """Winners were paid so much, by owner, and all positions are gone."""

    condition_id: str
    paid: dict[str, Usd]
    ts_ms: int


Event: TypeAlias = BookChanged | Printed | OrderEvent | TradeEvent | TickChanged | Listed | Closed | Resolved | Redeemed


def taker_fee(qty: Qty, px: Px, rate: float) -> Usd:
    """shares * rate * p * (1 - p), rounded half up to 5 decimals of a USD; below 0.00001 nothing."""
    exact_e12 = qty * px * (PX_ONE - px) * round(rate * 1_000_000) // (PX_ONE * PX_ONE)  # micro-USD times 1e6
    return 0 if exact_e12 < 10_000_000 else (exact_e12 + 5_000_000) // 10_000_000 * 10


def position_id(digest: str, outcome: int) -> int:
    """An id of the third generation: module 8 bits | base hash 128 | arity 16 | zeros 64 | chain 16 | condition 16 | outcome 8."""
    base = int(digest[:32], 16)
    return 1 << 248 | base << 120 | 2 << 104 | outcome
