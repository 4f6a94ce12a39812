"""Two slots per market: what the strategy wants resting, what rests, and whether the one may stay.

One live order per slot; a new one waits until the old has ended. Changes no order and knows no venue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from bot.execution.orders import Order
from bot.execution.risk import Use
from bot.execution.timers import Timers, backoff
from bot.market import Market
from bot.messages import PositionReport, QuoteIntent, QuoteMode, Route, Side
from bot.units import LOT, NS_PER_S, PX_ONE, Ns, Px, Qty

KEEP_SHARE = (3, 5)  # a resting order of the right price stays while it is at least this share of the wanted size
LATELY_NS: Ns = 10 * NS_PER_S  # how far back repeated orders and post-only refusals are counted
PRICES_MAX = 200  # of which the orders sent are remembered


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One order we would like to have resting."""

    asset_id: str
    up_token: bool
    side: Side
    px: Px
    up_px: Px
    qty: Qty
    mirror: bool = False  # of a sale for want of settled shares


class Slot:
    """One side of a market in Up terms, with what its rejects taught us."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.order: Order | None = None
        self.spent_seq = 0  # an intent places at most one order a side: after a reject or a fill we wait for the next
        self.cool_until_ns: Ns = 0
        self.cools = 0  # cooldowns in a row
        self.balance_rejects = 0
        self.off = False
        self.blocked_px: Px = 0  # refused by the tick rule; stays so until the tick changes
        self.crossed: deque[Ns] = deque()  # post-only refusals lately
        self.sent: dict[Px, deque[Ns]] = {}

    def cool(self, now_ns: Ns, timers: Timers) -> None:
        self.cool_until_ns = now_ns + backoff(timers.side_cooldown_ns, timers.side_cooldown_ns_max, self.cools)
        self.cools += 1

    def accepted(self) -> None:
        self.cools = self.balance_rejects = 0

    def would_cross(self, now_ns: Ns) -> int:
        """Count a post-only refusal; how many were there lately?"""
        _add(self.crossed, now_ns)
        return len(self.crossed)

    def repeats(self, up_px: Px, now_ns: Ns) -> int:
        """How many orders of this price were sent lately without a fill."""
        return lately(self.sent.get(up_px, ()), now_ns)

    def unsent(self, up_px: Px) -> None:
        """The last one never left: our own gate refused it."""
        if self.sent.get(up_px):
            self.sent[up_px].pop()

    def count(self, up_px: Px, now_ns: Ns) -> None:
        if len(self.sent) > PRICES_MAX:
            self.sent.clear()
        _add(self.sent.setdefault(up_px, deque()), now_ns)

    def filled(self, up_px: Px) -> None:
        self.sent.pop(up_px, None)


def lately(stamps: Iterable[Ns], now_ns: Ns) -> int:
    return sum(now_ns - at_ns < LATELY_NS for at_ns in stamps)


def _add(stamps: deque[Ns], now_ns: Ns) -> None:
    """And forget what is no longer lately."""
    stamps.append(now_ns)
    while now_ns - stamps[0] >= LATELY_NS:
        stamps.popleft()


class Desk:
    """One market of ours: its slots, its part of the epoch, the newest intent and the last report about it."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.tick = market.tick
        self.pulls = 0  # the market's own part of its epoch
        self.intent: QuoteIntent | None = None
        self.calm = False  # what rests is what the intent wants: time alone changes nothing until it is too old
        self.slots = {"bid": Slot("bid"), "offer": Slot("offer")}
        self.blocked_until_ns: Ns = 0
        self.winner = ""
        self.settled = False
        self.dropped = False
        self.report: PositionReport | None = None


def leg_of(market: Market, asset_id: str, side: Side) -> str:
    """Buying Up and selling Down are bids, selling Up and buying Down are offers."""
    return "bid" if (asset_id == market.up_token) == (side is Side.BUY) else "offer"


def wanted(desk: Desk, name: str) -> Target | None:
    """What the newest intent wants in a slot, before any limit."""
    intent = desk.intent
    if intent is None or intent.quote_mode is QuoteMode.NO_QUOTE:
        return None
    bid = name == "bid"
    up_px, qty, route = (
        (intent.bid_px, intent.bid_size, intent.bid_route)
        if bid
        else (intent.offer_px, intent.offer_size, intent.offer_route)
    )
    if not qty or route is Route.NONE:
        return None
    side = Side.BUY if route in (Route.BUY_YES, Route.BUY_NO) else Side.SELL
    return _target(desk.market, bid=bid, side=side, up_px=up_px, qty=qty)


def _target(market: Market, *, bid: bool, side: Side, up_px: Px, qty: Qty, mirror: bool = False) -> Target:
    up = bid == (side is Side.BUY)
    return Target(
        asset_id=market.up_token if up else market.down_token,
        up_token=up,
        side=side,
        px=up_px if up else PX_ONE - up_px,
        up_px=up_px,
        qty=qty // LOT * LOT,
        mirror=mirror,
    )


def feasible(target: Target, market: Market, use: Use, sellable: Qty) -> Target:
    """Never sell shares that are reserved or not settled: sell what there is, or buy the mirror when that is too little."""
    if target.side is Side.BUY:
        return target
    free = (sellable - (use.up if target.up_token else use.down).selling) // LOT * LOT
    if free >= market.min_qty:
        return msgspec.structs.replace(target, qty=min(target.qty, free))
    return _target(market, bid=not target.up_token, side=Side.BUY, up_px=target.up_px, qty=target.qty, mirror=True)


def keeps(order: Order, target: Target, mode: QuoteMode) -> bool:
    """May the resting order stay for this target? (There is no amend call: a change is a cancel and a new order.)"""
    same = order.asset_id == target.asset_id and order.side is target.side and order.px == target.px
    if not same and not (order.mirror and order.up_px == target.up_px):
        return False
    if mode is QuoteMode.REDUCE_ONLY and order.leaves_qty > target.qty:
        return False
    return order.leaves_qty * KEEP_SHARE[1] >= target.qty * KEEP_SHARE[0]


def sides_wanted(intent: QuoteIntent) -> int:
    """How many orders an intent may cause at most."""
    return (intent.bid_size > 0) + (intent.offer_size > 0)


def fault(intent: QuoteIntent, tick: Px) -> str:
    """Why an intent cannot be meant, or an empty string: a strategy that errs must not reach the venue."""
    sides = (
        ("bid", intent.bid_px, intent.bid_size, intent.bid_route, (Route.BUY_YES, Route.SELL_NO)),
        ("offer", intent.offer_px, intent.offer_size, intent.offer_route, (Route.SELL_YES, Route.BUY_NO)),
    )
    for name, px, qty, route, routes in sides:
        if qty < 0:
            return f"{name} size {qty} is negative"
        if not qty:
            continue
        if route not in routes:
            return f"{name} has route {route}"
        if not tick <= px <= PX_ONE - tick or px % tick:
            return f"{name} price {px} is not on the grid of {tick}"
    if intent.bid_size and intent.offer_size and intent.bid_px >= intent.offer_px:
        return f"bid {intent.bid_px} is not below offer {intent.offer_px}"
    if intent.quote_mode is QuoteMode.NO_QUOTE and (intent.bid_size or intent.offer_size):
        return "NO_QUOTE with sizes"
    return ""
