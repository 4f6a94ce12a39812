"""Matching engine of the embedded venue: one book per market in Up terms, money, settlement steps. A pure core.

BUY Up at p and SELL Down at 1 - p are the same interest, so one ladder pair serves both tokens, and a match is a
transfer, a mint or a merge as the tokens of its parties demand. Time is passed in; nothing here knows JSON, signatures,
or who the owners are.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import uuid
from collections.abc import Callable

import msgspec

from bot.messages import Side
from bot.sim.ladder import Ladder
from bot.sim.money import Money
from bot.sim.records import (
    CANCELED,
    DELAYED,
    LIVE,
    MATCHED,
    Account,
    BookChanged,
    Closed,
    Event,
    Listed,
    MakerFill,
    Order,
    OrderEvent,
    Printed,
    Redeemed,
    Resolved,
    SimMarket,
    Submit,
    Submitted,
    TickChanged,
    Trade,
    TradeEvent,
    taker_fee,
)
from bot.sim.rules import FAK_KILLED, FOK_KILLED, GTD_LEAD_S, HELD, POST_ONLY, refusal, unmatchable
from bot.units import LOT, PX_ONE, Px, Qty, Usd, notional

__all__ = [
    "Account",
    "BookChanged",
    "Closed",
    "Event",
    "Exchange",
    "Listed",
    "MakerFill",
    "Order",
    "OrderEvent",
    "Printed",
    "Redeemed",
    "Resolved",
    "SimMarket",
    "Submit",
    "Submitted",
    "TickChanged",
    "Trade",
    "TradeEvent",
    "taker_fee",
]

NO_BALANCE = "CANCELED_NOT_ENOUGH_BALANCE"
EXPIRED = "CANCELED_EXPIRED_ORDER"
RESOLVED = "CANCELED_MARKET_RESOLVED"
STEPS = (MATCHED, "RETRYING", "MINED", "CONFIRMED", "FAILED")  # of a settlement, by rank
REDEEM = "redeem"


class Exchange:
    """All markets, accounts and orders. Call `step` often; drain `take_events` after every call."""

    def __init__(self, *, mined_ms: int = 2_000, confirmed_ms: int = 5_000, salt: str = "") -> None:
        self.markets: dict[str, SimMarket] = {}
        self.by_token: dict[str, SimMarket] = {}
        self.trades: dict[str, Trade] = {}  # those with an API key party
        self.money = Money()
        self.accounts = self.money.accounts
        self.mined_ms = mined_ms
        self.confirmed_ms = confirmed_ms
        self.redeem_ms = 0  # from a resolution until its winners are paid
        # Replaced where settlement is to go wrong: the steps of a trade as (ms after the match, status), () for the usual;
        # and whether a taker's fee is kept back in shares.
        self.settlement: Callable[[Trade], tuple[tuple[int, str], ...]] = lambda trade: ()
        self.fee_in_shares: Callable[[Order], bool] = lambda taker: False
        self._salt = salt  # keeps trade ids of different runs apart
        self.dust: tuple[str, Qty] = ("", 0)  # the next whole fill of this order is so much more or less
        self._bids: dict[str, Ladder] = {}
        self._asks: dict[str, Ladder] = {}
        self._orders: dict[str, Order] = {}
        self._events: list[Event] = []
        self._due: list[tuple[int, int, str, str]] = []  # (ms, sequence, what, id)
        self._sequence = itertools.count(1)

    # -- listing and money -----------------------------------------------------------------------------------------

    def list_market(self, market: SimMarket, now_ms: int) -> None:
        assert market.condition_id not in self.markets
        self.markets[market.condition_id] = market
        self.by_token[market.up_token] = self.by_token[market.down_token] = market
        self._bids[market.condition_id] = Ladder(Side.BUY)
        self._asks[market.condition_id] = Ladder(Side.SELL)
        self.money.locked[market.condition_id] = 0
        self._events.append(Listed(condition_id=market.condition_id, ts_ms=now_ms))

    def deposit(self, owner: str, usd: Usd) -> None:
        self.money.deposit(owner, usd)

    def grant(self, owner: str, token: str, qty: Qty) -> None:
        """Tokens out of nothing, backed from outside when they win."""
        self.money.grant(owner, token, qty)

    def split(self, owner: str, condition_id: str, qty: Qty) -> bool:
        """Turn cash into complete sets. False: not enough cash."""
        return self.money.split(owner, self.markets[condition_id], qty)

    def merge(self, owner: str, condition_id: str, qty: Qty) -> bool:
        """Turn complete sets back into cash. False: not that many free sets."""
        return self.money.merge(owner, self.markets[condition_id], qty)

    def change_tick(self, condition_id: str, tick: Px, now_ms: int, told: bool = True) -> None:
        """What rests stays, also where a coarser grid does not hold its price."""
        market = self.markets[condition_id]
        old, market.tick = market.tick, tick
        if told:
            self._events.append(TickChanged(condition_id=condition_id, old=old, new=tick, ts_ms=now_ms))

    # -- reads -----------------------------------------------------------------------------------------------------

    def account(self, owner: str) -> Account:
        return self.money.account(owner)

    def order(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def orders_of(self, owner: str, open_only: bool = False) -> list[Order]:
        """Open orders, oldest first, after those that ended (API key owners) unless `open_only`."""
        account = self.account(owner)
        return [*(() if open_only else account.done.values()), *account.orders.values()]

    def trades_of(self, owner: str, after_s: int = 0) -> list[Trade]:
        """Trades of an API key owner matched at or after a second, oldest first."""
        found: list[Trade] = []
        for trade_id in reversed(self.account(owner).trades):
            if self.trades[trade_id].match_ms < after_s * 1000:
                break
            found.append(self.trades[trade_id])
        return found[::-1]

    def book(self, token: str) -> tuple[list[tuple[Px, Qty]], list[tuple[Px, Qty]]]:
        """(bids, asks) of this token with the mirrored interest of the other, best last."""
        market = self.by_token[token]
        bids, asks = self._bids[market.condition_id], self._asks[market.condition_id]
        if token == market.up_token:
            return bids.pairs(), asks.pairs()
        return asks.pairs(mirrored=True), bids.pairs(mirrored=True)

    def best(self, condition_id: str) -> tuple[Px, Px]:
        """Best bid and ask in Up terms, 0 where there is none."""
        bids, asks = self._bids[condition_id].keys, self._asks[condition_id].keys
        return bids[-1] if bids else 0, -asks[-1] if asks else 0

    def level(self, condition_id: str, side: Side, up_px: Px) -> Qty:
        """Size resting at a price in Up terms."""
        level = (self._bids if side is Side.BUY else self._asks)[condition_id].levels.get(up_px)
        return level.total if level else 0

    def queue_before(self, order: Order) -> Qty:
        """What rests at the order's price and is older."""
        level = (self._bids if order.is_bid else self._asks)[order.condition_id].levels[order.up_px]
        older = itertools.takewhile(lambda other: other is not order, level.orders.values())
        return sum(other.leaves // LOT * LOT for other in older)

    def imbalance(self) -> Usd:
        """What the ledger is off by; 0 unless the engine is wrong."""
        return self.money.imbalance()

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # -- orders in -------------------------------------------------------------------------------------------------

    def submit(self, order: Submit, now_ms: int, hold_ms: int = 0) -> Submitted:
        """Accept, match or rest, hold for the taker delay (or for `hold_ms`), or refuse with the venue's own text."""
        market = self.by_token.get(order.token)
        error = refusal(order, market, order.order_id in self._orders, now_ms)
        if error or market is None:
            return Submitted(status="", error=error)
        is_bid = (order.side is Side.BUY) == (order.token == market.up_token)
        up_px = order.px if order.token == market.up_token else PX_ONE - order.px
        opposite = (self._asks if is_bid else self._bids)[market.condition_id]
        marketable = opposite.crossed_by(up_px)
        error = self.money.shortage(order, market, marketable) or unmatchable(order, marketable, opposite, up_px)
        if error:
            return Submitted(status="", error=error)
        accepted = Order(
            order_id=order.order_id,
            owner=order.owner,
            api_key=order.api_key,
            condition_id=market.condition_id,
            token=order.token,
            side=order.side,
            px=order.px,
            qty=order.qty,
            order_type=order.order_type,
            post_only=order.post_only,
            expiration_s=order.expiration_s,
            created_ms=now_ms,
            is_bid=is_bid,
            up_px=up_px,
        )
        self._orders[order.order_id] = self.account(order.owner).orders[order.order_id] = accepted
        self.money.reserve(accepted, 0, accepted.qty)
        if order.expiration_s:
            self._schedule((order.expiration_s - GTD_LEAD_S) * 1000, "expire", order.order_id)
        delay_ms = max(hold_ms, market.taker_delay_ms if marketable else 0)
        if delay_ms > 0:
            accepted.status = DELAYED
            self._schedule(now_ms + delay_ms, "release", order.order_id)
            return Submitted(status="delayed")
        given, got, trade_ids = self._execute(accepted, market, now_ms) if marketable else (0, 0, [])
        if not marketable:
            self._rest(accepted, now_ms)
        return Submitted(status="matched" if got else "live", making=given, taking=got, trade_ids=trade_ids)

    def sweep(self, order_id: str, qty: Qty, now_ms: int) -> str:
        """A stranger takes from this very order wherever it stands, even one that was cancelled: the trade's id, or ""."""
        order = self._orders.get(order_id)
        if order is None or self.markets[order.condition_id].closed:
            return ""
        qty = min(qty, order.leaves) // LOT * LOT
        if qty <= 0 or order.status == DELAYED:
            return ""
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        name = "0x" + hashlib.sha256(f"{self._salt}:stranger:{next(self._sequence)}".encode()).hexdigest()
        stranger = msgspec.structs.replace(
            order, order_id=name, owner="stranger", api_key="", side=side, is_bid=not order.is_bid, trade_ids=[]
        )
        leg = MakerFill(
            order_id=order_id,
            owner=order.owner,
            api_key=order.api_key,
            token=order.token,
            side=order.side,
            px=order.px,
            qty=qty,
        )
        cid, ladder = order.condition_id, (self._bids if order.is_bid else self._asks)[order.condition_id]
        level = ladder.levels.get(order.up_px)
        resting = level is not None and order_id in level.orders
        if resting:
            ladder.remove(order)
            self.money.reserve(order, order.leaves, order.leaves - qty)
        for one in (order, stranger):
            self.money.pay(cid, one.owner, one.token, one.side, order.px, qty)
        order.matched += qty
        if resting:
            total = 0 if order.filled else ladder.add(order)
            level = ladder.levels.get(order.up_px)
            self._book_changed(cid, order.up_px, ladder, total or (level.total if level else 0), now_ms)
        trade = self._record(stranger, order.px, qty, 0, (leg,), now_ms)
        self._events.append(Printed(condition_id=cid, token=order.token, px=order.px, qty=qty, side=side, ts_ms=now_ms))
        order.trade_ids.append(trade.trade_id)
        self._plan_settlement(trade, now_ms)
        if resting:
            self._tell("UPDATE", order, now_ms)
            if order.filled:
                self._finish(order, MATCHED)
        elif order.filled:
            order.status = MATCHED
        self._enforce(order.owner, now_ms)
        return trade.trade_id

    # -- cancels ---------------------------------------------------------------------------------------------------

    def cancel(self, owner: str, order_ids: list[str], now_ms: int) -> tuple[list[str], dict[str, str]]:
        """(canceled, not_canceled with reasons). An order in its taker delay cannot be cancelled."""
        canceled: list[str] = []
        refused: dict[str, str] = {}
        for order_id in dict.fromkeys(order_ids):
            order = self._orders.get(order_id)
            if order is None or order.owner != owner:
                refused[order_id] = "Order not found"
            elif order.status == LIVE:
                self._end(order, CANCELED, now_ms)
                canceled.append(order_id)
            elif order.status == DELAYED:
                refused[order_id] = HELD
            else:
                refused[order_id] = "Order already matched" if order.status == MATCHED else "Order already canceled"
        return canceled, refused

    def cancel_market(
        self, owner: str, condition_id: str = "", token: str = "", now_ms: int = 0
    ) -> tuple[list[str], dict[str, str]]:
        """All orders of one market, or of one token."""
        orders = self.account(owner).orders.values()
        chosen = [o for o in orders if condition_id in ("", o.condition_id) and token in ("", o.token)]
        return self.cancel(owner, [order.order_id for order in chosen], now_ms)

    def cancel_all(self, owner: str, now_ms: int) -> tuple[list[str], dict[str, str]]:
        return self.cancel(owner, list(self.account(owner).orders), now_ms)

    # -- time ------------------------------------------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """Everything that fell due: held takers, GTD expiry, settlement steps, redemptions."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, what, name = heapq.heappop(self._due)
            if what in STEPS:
                self._settle(name, what, due_ms)
                continue
            if what == REDEEM:
                self._redeem(name, due_ms)
                continue
            order = self._orders.get(name)
            if order is None or not order.open:
                continue
            if what == "expire":
                self._end(order, EXPIRED, due_ms)
            else:
                self._release(order, due_ms)

    def cancel_by_venue(self, order_ids: list[str], status: str, now_ms: int, told: bool = True) -> list[str]:
        """The venue's own will: those that could be cancelled. Untold: nobody hears of it, not even their owner."""
        before = len(self._events)
        ended = []
        for order_id in order_ids:
            order = self._orders.get(order_id)
            if order is not None and order.status == LIVE:
                self._end(order, status, now_ms)
                ended.append(order_id)
        if not told:
            self._forget(before, (OrderEvent,))
        return ended

    def _forget(self, before: int, kinds: tuple[type[Event], ...]) -> None:
        """Events of these kinds since a moment are never told."""
        self._events[before:] = [event for event in self._events[before:] if not isinstance(event, kinds)]

    def close(self, condition_id: str, now_ms: int) -> None:
        """Trading is over; what rests stays until the market is resolved."""
        market = self.markets[condition_id]
        market.accepting, market.closed = False, True
        self._events.append(Closed(condition_id=condition_id, ts_ms=now_ms))

    def resolve(self, condition_id: str, outcome: str, now_ms: int, told: bool = True) -> None:
        """Cancel what rests; the winners are paid at once or later. Untold: neither owners nor followers hear of it."""
        market = self.markets[condition_id]
        before = len(self._events)
        assert outcome in ("up", "down")
        assert not market.outcome
        if not market.closed:
            self.close(condition_id, now_ms)
        for account in self.accounts.values():
            for order in [o for o in account.orders.values() if o.condition_id == condition_id]:
                self._end(order, RESOLVED, now_ms)
        market.outcome = outcome
        holders = self.money.holders(market)
        self._events.append(Resolved(condition_id=condition_id, outcome=outcome, holders=holders, ts_ms=now_ms))
        if not told:
            self._forget(before, (OrderEvent, Resolved))
        if self.redeem_ms:
            self._schedule(now_ms + self.redeem_ms, REDEEM, condition_id)
        else:
            self._redeem(condition_id, now_ms)

    def _redeem(self, condition_id: str, now_ms: int) -> None:
        """Pay the winners, forget the positions."""
        market = self.markets[condition_id]
        paid = self.money.pay_out(market, market.up_token if market.outcome == "up" else market.down_token)
        self._events.append(Redeemed(condition_id=condition_id, paid=paid, ts_ms=now_ms))

    def fail(self, trade_id: str, now_ms: int) -> bool:
        """Revert a trade that is not yet confirmed, as a failed settlement does. False: too late, or unknown.

        Money goes back exactly; an owner who already spent what it got may be left below zero, as a debt.
        """
        trade = self.trades.get(trade_id)
        if trade is None or trade.status in ("CONFIRMED", "FAILED") or self.markets[trade.condition_id].outcome:
            return False
        legs = [(leg.owner, leg.token, leg.side, leg.px, leg.qty) for leg in trade.makers]
        legs.append((trade.taker_owner, trade.token, trade.side, trade.px, trade.qty))
        for owner, token, side, px, qty in legs:
            self.money.pay(trade.condition_id, owner, token, side, px, -qty)
        self.money.take_fee(trade.taker_owner, -trade.fee)
        self.money.take_shares(trade.taker_owner, trade.token, -trade.fee_qty)
        self._advance(trade_id, "FAILED", now_ms)
        for owner in dict.fromkeys(owner for owner, *_ in legs):
            self._enforce(owner, now_ms)
        return True

    # -- inside ----------------------------------------------------------------------------------------------------

    def _schedule(self, due_ms: int, what: str, name: str) -> None:
        heapq.heappush(self._due, (due_ms, next(self._sequence), what, name))

    def _release(self, order: Order, now_ms: int) -> None:
        """The taker delay is over: match against what is there now."""
        market = self.markets[order.condition_id]
        opposite = (self._asks if order.is_bid else self._bids)[order.condition_id]
        if market.closed:
            self._end(order, RESOLVED, now_ms)
        elif not self.money.covers_taker(order, market):
            self._end(order, NO_BALANCE, now_ms)
        elif order.post_only and opposite.crossed_by(order.up_px):
            self._end(order, f"{CANCELED}_{POST_ONLY}", now_ms)
        elif order.order_type == "FOK" and opposite.fillable(order.up_px) < order.qty // LOT * LOT:
            self._end(order, f"{CANCELED}_{FOK_KILLED}", now_ms)
        elif order.order_type == "FAK" and not opposite.crossed_by(order.up_px):
            self._end(order, f"{CANCELED}_{FAK_KILLED}", now_ms)
        else:
            order.status = LIVE
            self._execute(order, market, now_ms)

    def _rest(self, order: Order, now_ms: int) -> None:
        ladder = (self._bids if order.is_bid else self._asks)[order.condition_id]
        total = ladder.add(order)
        self._book_changed(order.condition_id, order.up_px, ladder, total, now_ms)
        self._tell("PLACEMENT", order, now_ms)

    def _execute(self, taker: Order, market: SimMarket, now_ms: int) -> tuple[int, int, list[str]]:
        """Match, then rest or kill the remainder. What was given, what was got (without the fee), the trades."""
        opposite = (self._asks if taker.is_bid else self._bids)[market.condition_id]
        spent = 0
        owners = {taker.owner: None}
        trade_ids: list[str] = []
        while not taker.filled and opposite.crossed_by(taker.up_px):
            trade = self._trade_level(taker, market, opposite, now_ms)
            spent += notional(trade.px, trade.qty)
            trade_ids.append(trade.trade_id)
            owners.update((leg.owner, None) for leg in trade.makers)
        if trade_ids:
            self._tell("UPDATE", taker, now_ms)
        if taker.filled:
            self._end(taker, MATCHED, now_ms)
        elif taker.order_type in ("FOK", "FAK"):
            self._end(taker, f"{CANCELED}_{FAK_KILLED}", now_ms)
        else:
            self._rest(taker, now_ms)
        for owner in owners:
            self._enforce(owner, now_ms)
        got = taker.matched
        return (spent, got, trade_ids) if taker.side is Side.BUY else (got, spent, trade_ids)

    def _trade_level(self, taker: Order, market: SimMarket, opposite: Ladder, now_ms: int) -> Trade:
        """The taker against the best opposite level, oldest order first, each at the maker's own price."""
        up_px = opposite.best()
        level = opposite.levels[up_px]
        px = up_px if taker.token == market.up_token else PX_ONE - up_px
        legs: list[MakerFill] = []
        makers: list[Order] = []
        total = 0
        while level.orders and not taker.filled:
            maker = next(iter(level.orders.values()))
            qty = min(maker.leaves, taker.leaves) // LOT * LOT
            if maker.order_id == self.dust[0] and qty == maker.leaves:
                qty += self.dust[1]
            assert qty > 0
            for order, paid_px in ((maker, maker.px), (taker, px)):
                self.money.pay(market.condition_id, order.owner, order.token, order.side, paid_px, qty)
                self.money.reserve(order, order.leaves, order.leaves - qty)
                order.matched += qty
            level.total -= qty
            total += qty
            legs.append(
                MakerFill(
                    order_id=maker.order_id,
                    owner=maker.owner,
                    api_key=maker.api_key,
                    token=maker.token,
                    side=maker.side,
                    px=maker.px,
                    qty=qty,
                )
            )
            makers.append(maker)
            if maker.filled:
                del level.orders[maker.order_id]
                level.total -= maker.leaves
        fee = taker_fee(total, px, market.fee_rate)
        fee_qty = 0
        if fee and taker.side is Side.BUY and taker.api_key and self.fee_in_shares(taker):
            fee, fee_qty = 0, fee * PX_ONE // px
        self.money.take_fee(taker.owner, fee)
        self.money.take_shares(taker.owner, taker.token, fee_qty)
        trade = self._record(taker, px, total, fee, tuple(legs), now_ms, fee_qty)
        if not level.orders:
            opposite.drop(up_px)
        self._book_changed(market.condition_id, up_px, opposite, level.total, now_ms)
        self._events.append(
            Printed(
                condition_id=market.condition_id, token=taker.token, px=px, qty=total, side=taker.side, ts_ms=now_ms
            )
        )
        for order in (taker, *makers):
            if order.api_key:
                order.trade_ids.append(trade.trade_id)
        if trade.trade_id in self.trades:
            self._plan_settlement(trade, now_ms)
        for maker in makers:
            self._tell("UPDATE", maker, now_ms)
            if maker.filled:
                self._finish(maker, MATCHED)
        return trade

    def _record(
        self, taker: Order, px: Px, qty: Qty, fee: Usd, legs: tuple[MakerFill, ...], now_ms: int, fee_qty: Qty = 0
    ) -> Trade:
        """Make the trade record; keep it and schedule its settlement when somebody with an API key is in it."""
        digest = hashlib.sha256(f"{self._salt}:{next(self._sequence)}".encode()).hexdigest()
        trade_id = str(uuid.UUID(digest[:32], version=4))
        trade = Trade(
            trade_id=trade_id,
            condition_id=taker.condition_id,
            taker_order_id=taker.order_id,
            taker_owner=taker.owner,
            taker_api_key=taker.api_key,
            token=taker.token,
            side=taker.side,
            px=px,
            qty=qty,
            fee=fee,
            fee_qty=fee_qty,
            makers=legs,
            status=MATCHED,
            tx_hash=f"0x{digest}",
            match_ms=now_ms,
            updated_ms=now_ms,
        )
        owners = {leg.owner: None for leg in legs if leg.api_key}
        if taker.api_key:
            owners[taker.owner] = None
        if owners:
            self.trades[trade_id] = trade
        for owner in owners:
            self.account(owner).trades.append(trade_id)
        return trade

    def _plan_settlement(self, trade: Trade, now_ms: int) -> None:
        """Tell the match, unless its plan says otherwise, and schedule what follows."""
        mined_ms, confirmed_ms = self.mined_ms, self.mined_ms + self.confirmed_ms
        plan = self.settlement(trade) or ((0, MATCHED), (mined_ms, "MINED"), (confirmed_ms, "CONFIRMED"))
        for after_ms, status in plan:
            if after_ms:
                self._schedule(now_ms + after_ms, status, trade.trade_id)
            else:
                self._events.append(TradeEvent(trade=msgspec.structs.replace(trade, status=status), ts_ms=now_ms))

    def _settle(self, trade_id: str, status: str, now_ms: int) -> None:
        """A step of the trade's plan. One that would lead back is told all the same, but changes nothing."""
        if status == "FAILED":
            self.fail(trade_id, now_ms)
        elif STEPS.index(status) > STEPS.index(self.trades[trade_id].status):
            self._advance(trade_id, status, now_ms)
        else:
            trade = msgspec.structs.replace(self.trades[trade_id], status=status, updated_ms=now_ms)
            self._events.append(TradeEvent(trade=trade, ts_ms=now_ms))

    def _advance(self, trade_id: str, status: str, now_ms: int) -> None:
        """One settlement step; a failed trade stays failed."""
        trade = self.trades[trade_id]
        if trade.status == "FAILED":
            return
        trade = msgspec.structs.replace(trade, status=status, updated_ms=now_ms)
        self.trades[trade_id] = trade
        self._events.append(TradeEvent(trade=trade, ts_ms=now_ms))

    def _enforce(self, owner: str, now_ms: int) -> None:
        """Cancel newest first what cash or tokens no longer cover."""
        if self.money.covers_all(owner):
            return
        for order in reversed(list(self.account(owner).orders.values())):
            if not self.money.covers(order):
                self._end(order, NO_BALANCE, now_ms)

    def _end(self, order: Order, status: str, now_ms: int) -> None:
        """Take the order off the book (if it rests) and say so; MATCHED was already told by its UPDATE."""
        ladder = (self._bids if order.is_bid else self._asks)[order.condition_id]
        level = ladder.levels.get(order.up_px)
        if level is not None and order.order_id in level.orders:
            self._book_changed(order.condition_id, order.up_px, ladder, ladder.remove(order), now_ms)
        self._finish(order, status)
        if status != MATCHED:
            self._tell("CANCELLATION", order, now_ms)

    def _finish(self, order: Order, status: str) -> None:
        account = self.account(order.owner)
        self.money.reserve(order, order.leaves, 0)
        del account.orders[order.order_id]
        order.status = status
        if order.api_key:
            account.done[order.order_id] = order
        else:
            del self._orders[order.order_id]

    def _tell(self, kind: str, order: Order, now_ms: int) -> None:
        if order.api_key:
            status = MATCHED if kind == "UPDATE" and order.filled else order.status
            copy = msgspec.structs.replace(order, status=status, trade_ids=list(order.trade_ids))
            self._events.append(OrderEvent(kind=kind, order=copy, status=status, ts_ms=now_ms))

    def _book_changed(self, condition_id: str, px: Px, ladder: Ladder, qty: Qty, now_ms: int) -> None:
        self._events.append(BookChanged(condition_id=condition_id, px=px, side=ladder.side, qty=qty, ts_ms=now_ms))
