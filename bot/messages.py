"""Every message between components, with the lane it travels in and, for views, the key that newer ones replace.

URGENT overtakes, LOSSLESS is never dropped and keeps its order, LATEST keeps one per key. Order holds inside a lane only.
A quiet view wakes nobody: it is delivered before the next message that does.
Fields have FIX names; integers inside (units.py). Knows no component and no wire.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, ClassVar

import msgspec

from bot.market import Market
from bot.units import E8, Ns, Px, Qty, Usd


class Lane(enum.IntEnum):
    URGENT = 0
    LOSSLESS = 1
    LATEST = 2


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all messages. `lane` is declared on the type; `key` and `quiet` only matter in the LATEST lane."""

    lane: ClassVar[Lane] = Lane.LOSSLESS
    quiet: ClassVar[bool] = False

    @property
    def key(self) -> Hashable:
        return ""


# -- words ---------------------------------------------------------------------------------------------------------


class BotState(enum.StrEnum):
    STARTING = "starting"
    RECONCILING = "reconciling"
    QUOTING = "quoting"
    FAILING = "failing"
    COOLDOWN = "cooldown"
    HALTED = "halted"
    STOPPING = "stopping"
    STOPPED = "stopped"


class QuoteMode(enum.IntEnum):
    NORMAL = 0
    DEFENSIVE = 1
    REDUCE_ONLY = 2
    NO_QUOTE = 3


class Route(enum.StrEnum):
    """How a leg in Up terms is placed: a bid buys Up or sells Down, an offer sells Up or buys Down."""

    NONE = "none"
    BUY_YES = "buy_yes"
    SELL_NO = "sell_no"
    SELL_YES = "sell_yes"
    BUY_NO = "buy_no"


class Side(enum.StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class OrderState(enum.StrEnum):
    """States of an order as the executor sees it; the last three end it."""

    CREATED = "created"
    PENDING_NEW = "pending_new"
    UNKNOWN = "unknown"
    WORKING = "working"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    FILLED = "filled"
    REJECTED = "rejected"


class ExecType(enum.StrEnum):
    NEW = "new"  # accepted: live, delayed or unmatched (POST reply), PLACEMENT (user stream)
    MATCHED = "matched"  # POST reply: executed at once; cum_qty says how much
    UPDATE = "update"  # user stream: cum_qty grew
    TRADE = "trade"  # a fill (exec_id, last_px, last_qty), with its settlement step
    TRADE_CANCEL = "trade_cancel"  # a fill was reverted (FAILED)
    CANCELED = "canceled"  # cancel reply (no cum_qty) or CANCELLATION of the user stream (cum_qty)
    REJECTED = "rejected"  # proven not accepted, or never sent


class Source(enum.StrEnum):
    """Who said it. GATE: our own gateway, nothing was sent."""

    GATE = "gate"
    POST = "post"
    CANCEL = "cancel"
    USER = "user"
    READ = "read"


class TradeStatus(enum.StrEnum):
    """Settlement steps in the order of their rank; FAILED ends a trade."""

    MATCHED = "MATCHED"
    RETRYING = "RETRYING"
    MINED = "MINED"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"


class Reject(enum.StrEnum):
    """Why an order was not accepted, as far as we tell reasons apart."""

    NONE = "none"
    POST_ONLY = "post_only"
    BALANCE = "balance"
    TICK = "tick"
    MIN_SIZE = "min_size"
    VERSION = "version"
    SIGNATURE = "signature"
    RATE = "rate"
    RESTRICTED = "restricted"  # cancel-only, post-only window, disabled
    FORBIDDEN = "forbidden"  # geo or account block
    EPOCH = "epoch"  # ours: an older epoch
    SHUT = "shut"  # ours: the gate is shut or a stamp is stale
    STALE = "stale"  # ours: waited past valid_until_ns
    OTHER = "other"


# -- orders out: executor to gateways ------------------------------------------------------------------------------


class NewOrder(Message, frozen=True, kw_only=True, tag=True):
    """Sign and post this order, once. LOSSLESS: each is answered, even if only by a refusal at the gate."""

    cl_ord_id: str
    order_id: str  # EIP-712 digest, known before sending
    symbol: str
    asset_id: str
    side: Side
    px: Px
    order_qty: Qty
    maker_amount: int  # what we give: micro-USD (BUY) or micro-shares (SELL)
    taker_amount: int
    salt: int
    timestamp_ms: int
    version: int
    neg_risk: bool
    tick: Px
    epoch: int
    valid_until_ns: Ns  # staler in the queue: answered REJECTED (Reject.STALE)
    made_ns: Ns
    cause_ns: Ns = 0  # receive time of the reference frame that caused it


class CancelOrder(Message, frozen=True, kw_only=True, tag=True):
    """Delete one order by id. LOSSLESS, idempotent at the venue."""

    cl_ord_id: str
    order_id: str
    symbol: str
    made_ns: Ns = 0
    cause_ns: Ns = 0


class MassCancel(Message, frozen=True, kw_only=True, tag=True):
    """Delete all orders of the wallet, or of one market. URGENT: bypasses every throttle of ours."""

    lane: ClassVar[Lane] = Lane.URGENT
    symbol: str = ""  # "" means all
    reason: str = ""
    made_ns: Ns = 0
    cause_ns: Ns = 0


class OrderStatusRequest(Message, frozen=True, kw_only=True, tag=True):
    """Read one order and its trades by id; answered by OrderStatusReport."""

    cl_ord_id: str
    order_id: str
    symbol: str
    asked_ns: Ns


class OrderMassStatusRequest(Message, frozen=True, kw_only=True, tag=True):
    """Read all open orders of the wallet; answered by OpenOrders."""

    asked_ns: Ns


class TradesRequest(Message, frozen=True, kw_only=True, tag=True):
    """Read our trades since a wall-clock second; answered by TradesRead."""

    after_utc_s: int
    asked_ns: Ns


class BalanceRequest(Message, frozen=True, kw_only=True, tag=True):
    """Read the free collateral of the wallet; answered by Balance."""

    asked_ns: Ns


class SharesRequest(Message, frozen=True, kw_only=True, tag=True):
    """Read how many shares of one token the wallet has; answered by Shares."""

    symbol: str
    asset_id: str
    asked_ns: Ns


class GateChange(Message, frozen=True, kw_only=True, tag=True):
    """The executor's orders to the gate, applied by its shell before anything else it emitted leaves.

    Raises the epoch of one market (or of all, symbol ""), and shuts or opens the executor's own latch on the gate.
    """

    symbol: str = ""
    epoch: int  # the value the scope's epoch must be at least; see Gate
    shut: bool | None = None  # None: leave as it is
    reason: str = ""


# -- facts back: gateways and user stream to executor --------------------------------------------------------------


class ExecutionReport(Message, frozen=True, kw_only=True, tag=True):
    """What the venue (or our own gate) says happened to one order. LOSSLESS: never dropped, never conflated.

    Quantities are this order's own leg, already taken out of the taker's view; None means the source did not say.
    """

    order_id: str
    exec_type: ExecType
    source: Source
    cl_ord_id: str = ""
    symbol: str = ""
    asset_id: str = ""
    side: Side | None = None
    px: Px | None = None
    order_qty: Qty | None = None
    cum_qty: Qty | None = None  # cumulative, as the venue says; moves no inventory
    exec_id: str = ""  # trade id
    trade_status: TradeStatus | None = None
    last_px: Px = 0
    last_qty: Qty = 0
    maker: bool = True
    reject: Reject = Reject.NONE
    text: str = ""
    utc_ns: Ns = 0  # the venue's own stamp
    recv_ns: Ns = 0


class CancelReject(Message, frozen=True, kw_only=True, tag=True):
    """The venue did not cancel: already canceled, matched or not found."""

    order_id: str
    cl_ord_id: str = ""
    text: str = ""
    recv_ns: Ns = 0


class Request(enum.StrEnum):
    """Which request has no known outcome."""

    NEW = "new"
    CANCEL = "cancel"


class OutcomeUnknown(Message, frozen=True, kw_only=True, tag=True):
    """A request for one order left (or may have left) and no usable answer came: treat the order as live.

    `duplicated` marks the venue's "Duplicated" answer, which proves an earlier submit landed.
    """

    order_id: str
    request: Request
    cl_ord_id: str = ""
    duplicated: bool = False
    text: str = ""
    recv_ns: Ns = 0


class MassCancelReport(Message, frozen=True, kw_only=True, tag=True):
    """Answer to a mass cancel. `known` False: no usable answer. A good answer is still no proof of being flat."""

    symbol: str
    known: bool
    canceled: tuple[str, ...] = ()
    not_canceled: tuple[str, ...] = ()
    asked_ns: Ns = 0
    recv_ns: Ns = 0
    text: str = ""


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an open-orders read."""

    order_id: str
    symbol: str
    asset_id: str
    side: Side
    px: Px
    order_qty: Qty
    cum_qty: Qty


class OpenOrders(Message, frozen=True, kw_only=True, tag=True):
    """All open orders of the wallet. None: unknown, the read failed or was partial. An empty tuple: there are none."""

    orders: tuple[OpenOrder, ...] | None
    asked_ns: Ns
    recv_ns: Ns
    text: str = ""


class TradesRead(Message, frozen=True, kw_only=True, tag=True):
    """Our trades since a second, one report (TRADE or TRADE_CANCEL, source READ) for each of our legs. None: unknown."""

    trades: tuple[ExecutionReport, ...] | None
    after_utc_s: int
    asked_ns: Ns
    recv_ns: Ns
    text: str = ""


class FoundStatus(enum.StrEnum):
    """Answer of a read of one order. ABSENT is the venue's null: not proof of anything by itself."""

    LIVE = "live"
    MATCHED = "matched"
    CANCELED = "canceled"
    ABSENT = "absent"


class OrderStatusReport(Message, frozen=True, kw_only=True, tag=True):
    """One order and its trades as read by id. `found` None: the read failed; nothing else in it counts."""

    order_id: str
    found: FoundStatus | None
    cl_ord_id: str = ""
    cum_qty: Qty = 0
    trades: tuple[ExecutionReport, ...] = ()
    asked_ns: Ns = 0
    recv_ns: Ns = 0
    text: str = ""


class Balance(Message, frozen=True, kw_only=True, tag=True):
    """Collateral of the wallet in micro-USD. None: unknown, the read failed."""

    cash: Usd | None
    asked_ns: Ns
    recv_ns: Ns
    text: str = ""


class Shares(Message, frozen=True, kw_only=True, tag=True):
    """Shares of one token in the wallet. None: unknown, the read failed."""

    symbol: str
    asset_id: str
    qty: Qty | None
    asked_ns: Ns
    recv_ns: Ns
    text: str = ""


class Budgeted(enum.StrEnum):
    """What the venue counts apart."""

    ORDERS = "orders"
    CANCELS = "cancels"


class RateLeft(Message, frozen=True, kw_only=True, tag=True):
    """How many requests of a kind the venue still takes of us at once, as its last answer said. LATEST: a level."""

    lane: ClassVar[Lane] = Lane.LATEST
    kind: Budgeted
    left: int

    @property
    def key(self) -> Hashable:
        return self.kind


# -- feeds and markets ---------------------------------------------------------------------------------------------


class FeedStatus(Message, frozen=True, kw_only=True, tag=True):
    """A feed's connection came up or went down. LOSSLESS: each change matters to recovery."""

    feed: str  # binance, market, user, settle
    connected: bool
    text: str = ""
    now_ns: Ns = 0


class StreamGap(Message, frozen=True, kw_only=True, tag=True):
    """The user stream may have missed something: reconnect, quarantined event, silence."""

    feed: str
    reason: str
    now_ns: Ns = 0


class MarketListed(Message, frozen=True, kw_only=True, tag=True):
    """A market of ours exists and can be traded: subscribe, prepare, quote when its phase allows."""

    market: Market


class MarketRefused(Message, frozen=True, kw_only=True, tag=True):
    """A market of ours exists and is not traded: its metadata says something we do not model, or cannot be read."""

    slug: str
    series: str
    reason: str


class MarketResolved(Message, frozen=True, kw_only=True, tag=True):
    """The venue says which token pays. May come twice, or late."""

    symbol: str
    winning_asset_id: str


class MarketDropped(Message, frozen=True, kw_only=True, tag=True):
    """The market is over and settled for us: unsubscribe and forget."""

    symbol: str


class TickSizeChange(Message, frozen=True, kw_only=True, tag=True):
    """The market's price increment changed: old grid orders must go. LOSSLESS: once per change."""

    symbol: str
    tick: Px


# -- views: LATEST -------------------------------------------------------------------------------------------------


class QuoteIntent(Message, frozen=True, kw_only=True, tag=True):
    """The two-sided quote the strategy wants resting now, in Up terms; zero size means no quote on that side."""

    lane: ClassVar[Lane] = Lane.LATEST
    symbol: str
    seq: int
    epoch: int  # copied from PositionReport; another epoch is dropped
    made_ns: Ns
    valid_until_ns: Ns
    quote_mode: QuoteMode
    reasons: int = 0  # bitmask of strategy.md section 10
    tick: Px
    bid_px: Px = 0
    bid_size: Qty = 0
    bid_route: Route = Route.NONE
    offer_px: Px = 0
    offer_size: Qty = 0
    offer_route: Route = Route.NONE
    cancel_first: bool = False
    guard_lo_e8: E8 = 0
    guard_hi_e8: E8 = 0
    fair_e6: int = 0
    sigma_p_e6: int = 0
    cause_ns: Ns = 0

    @property
    def key(self) -> Hashable:
        return self.symbol


class Nudge(Message, frozen=True, kw_only=True, tag=True):
    """Something a strategy would want to see changed: run now, not at the next tick."""

    lane: ClassVar[Lane] = Lane.LATEST
    cause_ns: Ns = 0  # receive time of a reference frame; books carry none, so that tick to wire has one meaning
    guard: bool = False  # the reference left the guard band of a quote: each moment more is a gift to who takes it

    @property
    def key(self) -> Hashable:
        return self.guard


class WorkingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order that may be live, as the strategy and the status page see it."""

    cl_ord_id: str
    order_id: str
    asset_id: str
    side: Side
    px: Px
    leaves_qty: Qty
    state: OrderState


class PositionReport(Message, frozen=True, kw_only=True, tag=True):
    """What we hold and have working in one market, and whether quoting is possible at all."""

    lane: ClassVar[Lane] = Lane.LATEST
    quiet: bool = False  # type: ignore[misc]  # nothing to quote otherwise for: only cash or working orders are other ones
    symbol: str
    state: BotState
    epoch: int
    tick: Px
    up_qty: Qty
    down_qty: Qty
    cash: Usd  # free collateral for this market
    invested: Usd = 0  # net USD paid into the market
    day_lost: bool = False  # the day's loss limit is reached
    working: tuple[WorkingOrder, ...] = ()

    @property
    def key(self) -> Hashable:
        return self.symbol


class TimerTick(Message, frozen=True, kw_only=True, tag=True):
    """Time passes. A pending tick absorbs further ones; wall time is venue-corrected."""

    lane: ClassVar[Lane] = Lane.LATEST
    name: str
    now_ns: Ns
    utc_ns: Ns

    @property
    def key(self) -> Hashable:
        return self.name


class StatusReport(Message, frozen=True, kw_only=True, tag=True):
    """A component's own part of the status record: plain JSON values under the keys of contract.md. Read at the next tick."""

    lane: ClassVar[Lane] = Lane.LATEST
    quiet: ClassVar[bool] = True
    component: str
    body: dict[str, Any]

    @property
    def key(self) -> Hashable:
        return self.component


# -- facts for the record ------------------------------------------------------------------------------------------


class Fill(Message, frozen=True, kw_only=True, tag=True):
    """One applied (or reversed: negative qty) fill, in the order's own token and in Up terms, for PnL and the view."""

    symbol: str
    exec_id: str
    order_id: str
    cl_ord_id: str
    asset_id: str
    side: Side
    px: Px
    qty: Qty
    up_side: Side  # BUY: our Up exposure grew
    up_px: Px
    fair_e6: int  # our own fair value when it was booked
    utc_ns: Ns
    now_ns: Ns


class Settled(Message, frozen=True, kw_only=True, tag=True):
    """A market's position was paid out."""

    symbol: str
    slug: str
    outcome: str  # "up" or "down"
    net_qty: Qty  # Up minus Down before the payout
    payout: Usd
    pnl: Usd  # payout minus net USD paid in


# -- control -------------------------------------------------------------------------------------------------------


class Halt(Message, frozen=True, kw_only=True, tag=True):
    """The latch is set: cancel all and stay flat until Resume. URGENT; from root, or asked for by the executor."""

    lane: ClassVar[Lane] = Lane.URGENT
    reason: str
    by: str
    epoch: int = 0  # the gate's epoch after it was shut; the executor goes above it


class Fail(Message, frozen=True, kw_only=True, tag=True):
    """Something outside the executor broke: FAILING, then cooldown and reconciliation. URGENT."""

    lane: ClassVar[Lane] = Lane.URGENT
    reason: str
    epoch: int = 0


class Resume(Message, frozen=True, kw_only=True, tag=True):
    """The latch was lifted by a person: reconcile and quote again."""

    by: str


class Restarted(Message, frozen=True, kw_only=True, tag=True):
    """First of a run that took up an earlier one's state: what was out then is uncertain now. LOSSLESS."""

    power_lost: bool = False  # the machine was off meanwhile: the last second may be missing in that state


class Shutdown(Message, frozen=True, kw_only=True, tag=True):
    """The run ends: cancel all, accept facts, place nothing more. URGENT."""

    lane: ClassVar[Lane] = Lane.URGENT
    reason: str
    epoch: int = 0


class InjectedFault(Message, frozen=True, kw_only=True, tag=True):
    """Sim only, T rows of the fault catalogue: the actor that gets it raises, or hangs for hang_s."""

    lane: ClassVar[Lane] = Lane.URGENT
    kind: str = "raise"
    hang_s: float = 0.0


class ChildFailed(Message, frozen=True, kw_only=True, tag=True):
    """To the root: a child raised, died or hangs. URGENT."""

    lane: ClassVar[Lane] = Lane.URGENT
    actor: str
    error: str
    setup: bool = False
