"""Matching engine of the embedded venue: one book per market in Up terms, money, settlement steps. A pure core.

BUY Up at p and SELL Down at 1 - p are the same interest, so one ladder pair serves both tokens, and a match is a
transfer, a mint or a merge as the tokens of its parties demand. Time is passed in; nothing here knows JSON, signatures,
or who the owners are. Invariant: cash of all + collateral locked in sets + fees taken == what came from outside.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import uuid
from bisect import bisect_left, insort

import msgspec

from bot.messages import Side
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
    Resolved,
    SimMarket,
    Submit,
    Submitted,
    TickChanged,
    Trade,
    TradeEvent,
    taker_fee,
)
from bot.units import LOT, PX_ONE, USD_ONE, Px, Qty, Usd, decimal_text, notional, px_text, qty_text

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
    "Resolved",
    "SimMarket",
    "Submit",
    "Submitted",
    "TickChanged",
    "Trade",
    "TradeEvent",
    "taker_fee",
]

FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED = "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
POST_ONLY = "invalid post-only order: order crosses book"
NOT_READY = "the market is not yet ready to process new orders"
UNFUNDED = "not enough balance / allowance: the balance is not enough"
HELD = "order match delayed due to market conditions"
NO_BALANCE = "CANCELED_NOT_ENOUGH_BALANCE"
EXPIRED = "CANCELED_EXPIRED_ORDER"
RESOLVED = "CANCELED_MARKET_RESOLVED"
GTD_LEAD_S = 60  # the engine expires GTD orders this early
MARKETABLE_BUY_MIN: Usd = USD_ONE


class Level:
    """One price: orders in time order (a dict keeps it and removes in O(1)) and their total."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.total: Qty = 0


class Ladder:
    """One side of a book. Keys are prices times `sign`, ascending, so that the best is always last."""

    __slots__ = ("keys", "levels", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = 1 if side is Side.BUY else -1
        self.keys: list[int] = []
        self.levels: dict[Px, Level] = {}

    def crossed_by(self, limit: Px) -> bool:
        """Would an opposite order with this limit trade here?"""
        return bool(self.keys) and self.keys[-1] >= self.sign * limit

    def best(self) -> Px:
        """0 when empty."""
        return self.sign * self.keys[-1] if self.keys else 0

    def add(self, order: Order) -> Qty:
        level = self.levels.get(order.up_px)
        if level is None:
            level = self.levels[order.up_px] = Level()
            insort(self.keys, self.sign * order.up_px)
        level.orders[order.order_id] = order
        level.total += order.leaves
        return level.total

    def remove(self, order: Order) -> Qty:
        level = self.levels[order.up_px]
        del level.orders[order.order_id]
        level.total -= order.leaves
        if not level.orders:
            self.drop(order.up_px)
        return level.total

    def drop(self, px: Px) -> None:
        del self.levels[px]
        del self.keys[bisect_left(self.keys, self.sign * px)]

    def fillable(self, limit: Px) -> Qty:
        """What an opposite order with this limit could take, in whole lots."""
        total = 0
        for key in reversed(self.keys):
            if key < self.sign * limit:
                break
            total += sum(order.leaves // LOT * LOT for order in self.levels[self.sign * key].orders.values())
        return total

    def pairs(self, mirrored: bool = False) -> list[tuple[Px, Qty]]:
        """Best last; mirrored: as the other token sees it."""
        rows = [(self.sign * key, self.levels[self.sign * key].total) for key in self.keys]
        return [(PX_ONE - px, qty) for px, qty in rows] if mirrored else rows


class Exchange:
    """All markets, accounts and orders. Call `step` often; drain `take_events` after every call."""

    def __init__(self, *, mined_ms: int = 2_000, confirmed_ms: int = 5_000) -> None:
        self.markets: dict[str, SimMarket] = {}
        self.by_token: dict[str, SimMarket] = {}
        self.accounts: dict[str, Account] = {}
        self.trades: dict[str, Trade] = {}  # those with an API key party
        self.locked: dict[str, Usd] = {}  # collateral behind complete sets, by market
        self.fees: Usd = 0
        self.outside: Usd = 0  # deposits, and payouts of granted tokens
        self.mined_ms = mined_ms
        self.confirmed_ms = confirmed_ms
        self._granted: dict[str, Qty] = {}
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
        self.locked[market.condition_id] = 0
        self._events.append(Listed(condition_id=market.condition_id, ts_ms=now_ms))

    def deposit(self, owner: str, usd: Usd) -> None:
        self.account(owner).cash += usd
        self.outside += usd

    def grant(self, owner: str, token: str, qty: Qty) -> None:
        """Tokens out of nothing, backed from outside when they win."""
        tokens = self.account(owner).tokens
        tokens[token] = tokens.get(token, 0) + qty
        self._granted[token] = self._granted.get(token, 0) + qty

    def split(self, owner: str, condition_id: str, qty: Qty) -> bool:
        """Turn cash into complete sets. False: not enough cash."""
        account, market = self.account(owner), self.markets[condition_id]
        if market.outcome or account.cash < qty:
            return False
        for token in (market.up_token, market.down_token):
            account.tokens[token] = account.tokens.get(token, 0) + qty
        account.cash -= qty
        self.locked[condition_id] += qty
        return True

    def merge(self, owner: str, condition_id: str, qty: Qty) -> bool:
        """Turn complete sets back into cash. False: not that many free sets."""
        account, market = self.account(owner), self.markets[condition_id]
        pair = (market.up_token, market.down_token)
        if market.outcome or any(account.tokens.get(t, 0) - account.open_sell.get(t, 0) < qty for t in pair):
            return False
        for token in pair:
            account.tokens[token] -= qty
        account.cash += qty
        self.locked[condition_id] -= qty
        return True

    def change_tick(self, condition_id: str, tick: Px, now_ms: int) -> None:
        """A finer grid holds every resting price, so nothing is cancelled."""
        market = self.markets[condition_id]
        old, market.tick = market.tick, tick
        self._events.append(TickChanged(condition_id=condition_id, old=old, new=tick, ts_ms=now_ms))

    # -- reads -----------------------------------------------------------------------------------------------------

    def account(self, owner: str) -> Account:
        account = self.accounts.get(owner)
        if account is None:
            account = self.accounts[owner] = Account()
        return account

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
        return self._bids[condition_id].best(), self._asks[condition_id].best()

    def level(self, condition_id: str, side: Side, up_px: Px) -> Qty:
        """Size resting at a price in Up terms."""
        level = (self._bids if side is Side.BUY else self._asks)[condition_id].levels.get(up_px)
        return level.total if level else 0

    def imbalance(self) -> Usd:
        """What the ledger is off by; 0 unless the engine is wrong."""
        cash = sum(account.cash for account in self.accounts.values())
        return cash + sum(self.locked.values()) + self.fees - self.outside

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # -- orders in -------------------------------------------------------------------------------------------------

    def submit(self, order: Submit, now_ms: int) -> Submitted:
        """Accept, match or rest, hold for the taker delay, or refuse with the venue's own text."""
        market = self.by_token.get(order.token)
        error = self._refusal(order, market, now_ms)
        if error or market is None:
            return Submitted(status="", error=error)
        is_bid = (order.side is Side.BUY) == (order.token == market.up_token)
        up_px = order.px if order.token == market.up_token else PX_ONE - order.px
        opposite = (self._asks if is_bid else self._bids)[market.condition_id]
        marketable = opposite.crossed_by(up_px)
        error = self._unfunded(order, market, marketable) or self._unmatchable(order, marketable, opposite, up_px)
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
        account = self.account(order.owner)
        self._orders[order.order_id] = account.orders[order.order_id] = accepted
        self._reserve(account, accepted, accepted.qty)
        if order.expiration_s:
            self._schedule((order.expiration_s - GTD_LEAD_S) * 1000, "expire", order.order_id)
        if marketable and market.taker_delay_ms > 0:
            accepted.status = DELAYED
            self._schedule(now_ms + market.taker_delay_ms, "release", order.order_id)
            return Submitted(status="delayed")
        given, got, trade_ids = self._execute(accepted, market, now_ms) if marketable else (0, 0, [])
        if not marketable:
            self._rest(accepted, now_ms)
        return Submitted(status="matched" if got else "live", making=given, taking=got, trade_ids=trade_ids)

    def _refusal(self, order: Submit, market: SimMarket | None, now_ms: int) -> str:
        """What is wrong with the order by itself, in the venue's order of checks."""
        if market is None or market.closed:
            return f"the orderbook {order.token} does not exist"
        if not market.accepting:
            return NOT_READY
        invalid = f"order {order.order_id} is invalid. "
        if order.px % market.tick or not market.tick <= order.px <= PX_ONE - market.tick:
            return f"{invalid}Price ({px_text(order.px)}) breaks minimum tick size rule: {px_text(market.tick)}"
        if order.qty < (market.min_qty if order.order_type in ("GTC", "GTD") else LOT):
            return f"{invalid}Size ({qty_text(order.qty)}) lower than the minimum: {qty_text(market.min_qty)}"
        if order.order_type not in ("GTC", "GTD", "FOK", "FAK"):
            return "Invalid order payload"
        if order.post_only and order.order_type not in ("GTC", "GTD"):
            return "invalid post-only order: only GTC and GTD orders can be post-only"
        if (order.order_type == "GTD") != bool(order.expiration_s):
            return "invalid expiration"
        if order.expiration_s and (order.expiration_s - GTD_LEAD_S) * 1000 <= now_ms:
            return "invalid expiration"
        return f"{invalid}Duplicated." if order.order_id in self._orders else ""

    def _unfunded(self, order: Submit, market: SimMarket, marketable: bool) -> str:
        """Per market: open BUY notional must fit the cash (and the fee of a taker), sells the tokens held."""
        account = self.account(order.owner)
        fee = 0
        if order.side is Side.BUY:
            have, amount = account.cash, notional(order.px, order.qty)
            active = account.open_buy.get(market.condition_id, 0)
            if marketable and not order.post_only:  # p + fee(p) grows with p, so the limit price is the dearest case
                fee = taker_fee(order.qty, order.px, market.fee_rate)
        else:
            have, amount = account.tokens.get(order.token, 0), order.qty
            active = account.open_sell.get(order.token, 0)
        if active + amount + fee <= have:
            return ""
        used = f", sum of active orders: {active}" if active else ""
        return f"{UNFUNDED} -> balance: {have}{used}, order amount: {amount}"

    def _unmatchable(self, order: Submit, marketable: bool, opposite: Ladder, up_px: Px) -> str:
        if marketable and order.post_only:
            return POST_ONLY
        cost = notional(order.px, order.qty)
        if marketable and order.side is Side.BUY and cost < MARKETABLE_BUY_MIN:
            return f"invalid amount for a marketable BUY order (${decimal_text(cost, 6)}), min size: $1"
        if order.order_type == "FOK" and opposite.fillable(up_px) < order.qty // LOT * LOT:
            return FOK_KILLED
        return FAK_KILLED if order.order_type == "FAK" and not marketable else ""

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
        """Everything that fell due: held takers, GTD expiry, settlement steps."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, what, name = heapq.heappop(self._due)
            if what in ("MINED", "CONFIRMED"):
                self._advance(name, what, due_ms)
                continue
            order = self._orders.get(name)
            if order is None or not order.open:
                continue
            if what == "expire":
                self._end(order, EXPIRED, due_ms)
            else:
                self._release(order, due_ms)

    def close(self, condition_id: str, now_ms: int) -> None:
        """Trading is over; what rests stays until the market is resolved."""
        market = self.markets[condition_id]
        market.accepting, market.closed = False, True
        self._events.append(Closed(condition_id=condition_id, ts_ms=now_ms))

    def resolve(self, condition_id: str, outcome: str, now_ms: int) -> None:
        """Cancel what rests, pay the winners, forget the positions."""
        market = self.markets[condition_id]
        assert outcome in ("up", "down")
        assert not market.outcome
        if not market.closed:
            self.close(condition_id, now_ms)
        winner = market.up_token if outcome == "up" else market.down_token
        for account in self.accounts.values():
            for order in [o for o in account.orders.values() if o.condition_id == condition_id]:
                self._end(order, RESOLVED, now_ms)
            account.cash += account.tokens.get(winner, 0)
            for token in (market.up_token, market.down_token):
                account.tokens.pop(token, None)
                account.open_sell.pop(token, None)
            account.open_buy.pop(condition_id, None)
        self.outside += self._granted.get(winner, 0)
        self.locked[condition_id] = 0
        market.outcome = outcome
        self._events.append(Resolved(condition_id=condition_id, outcome=outcome, ts_ms=now_ms))

    def fail(self, trade_id: str, now_ms: int) -> bool:
        """Revert a trade that is not yet confirmed, as a failed settlement does. False: too late, or unknown.

        Money goes back exactly; an owner who already spent what it got may be left below zero, as a debt.
        """
        trade = self.trades.get(trade_id)
        if trade is None or trade.status in ("CONFIRMED", "FAILED") or self.markets[trade.condition_id].outcome:
            return False
        legs = [(leg.owner, leg.token, leg.side, leg.px, leg.qty) for leg in trade.makers]
        for owner, token, side, px, qty in [
            *legs,
            (trade.taker_owner, trade.token, trade.side, trade.px, trade.qty),
        ]:
            self.locked[trade.condition_id] -= self._pay(owner, token, side, px, -qty)
        self.account(trade.taker_owner).cash += trade.fee
        self.fees -= trade.fee
        self._advance(trade_id, "FAILED", now_ms)
        for owner in {trade.taker_owner, *(leg.owner for leg in trade.makers)}:
            self._enforce(owner, now_ms)
        return True

    # -- inside ----------------------------------------------------------------------------------------------------

    def _schedule(self, due_ms: int, what: str, name: str) -> None:
        heapq.heappush(self._due, (due_ms, next(self._sequence), what, name))

    def _release(self, order: Order, now_ms: int) -> None:
        """The taker delay is over: match against what is there now."""
        market = self.markets[order.condition_id]
        account = self.account(order.owner)
        opposite = (self._asks if order.is_bid else self._bids)[order.condition_id]
        fee = taker_fee(order.qty, order.px, market.fee_rate) if order.side is Side.BUY else 0
        if market.closed:
            self._end(order, RESOLVED, now_ms)
        elif order.side is Side.BUY and account.open_buy[order.condition_id] + fee > account.cash:
            self._end(order, NO_BALANCE, now_ms)
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
            assert qty > 0
            for order, paid_px in ((maker, maker.px), (taker, px)):
                self.locked[market.condition_id] -= self._pay(order.owner, order.token, order.side, paid_px, qty)
                self._reserve(self.account(order.owner), order, -qty)
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
        self.account(taker.owner).cash -= fee
        self.fees += fee
        trade = self._record(taker, px, total, fee, tuple(legs), now_ms)
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
            self._events.append(TradeEvent(trade=trade, ts_ms=now_ms))
        for maker in makers:
            self._tell("UPDATE", maker, now_ms)
            if maker.filled:
                self._finish(maker, MATCHED)
        return trade

    def _record(self, taker: Order, px: Px, qty: Qty, fee: Usd, legs: tuple[MakerFill, ...], now_ms: int) -> Trade:
        """Make the trade record; keep it and schedule its settlement when somebody with an API key is in it."""
        trade_id = str(uuid.UUID(int=next(self._sequence) | 0xB2C1 << 112))
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
            makers=legs,
            status=MATCHED,
            tx_hash="0x" + hashlib.sha256(trade_id.encode()).hexdigest(),
            match_ms=now_ms,
            updated_ms=now_ms,
        )
        owners = {leg.owner: None for leg in legs if leg.api_key}
        if taker.api_key:
            owners[taker.owner] = None
        if owners:
            self.trades[trade_id] = trade
            self._schedule(now_ms + self.mined_ms, "MINED", trade_id)
            self._schedule(now_ms + self.mined_ms + self.confirmed_ms, "CONFIRMED", trade_id)
        for owner in owners:
            self.account(owner).trades.append(trade_id)
        return trade

    def _advance(self, trade_id: str, status: str, now_ms: int) -> None:
        """One settlement step; a failed trade stays failed."""
        trade = self.trades[trade_id]
        if trade.status == "FAILED":
            return
        trade = msgspec.structs.replace(trade, status=status, updated_ms=now_ms)
        self.trades[trade_id] = trade
        self._events.append(TradeEvent(trade=trade, ts_ms=now_ms))

    def _pay(self, owner: str, token: str, side: Side, px: Px, qty: Qty) -> Usd:
        """Move one leg's cash and tokens; its change of cash, whose sum over a match is collateral (un)locked."""
        account = self.account(owner)
        signed = qty if side is Side.BUY else -qty
        paid = px * signed // PX_ONE  # exact: fills are whole lots
        account.tokens[token] = account.tokens.get(token, 0) + signed
        account.cash -= paid
        return -paid

    def _reserve(self, account: Account, order: Order, qty: Qty) -> None:
        """Count (or with negative qty release) an order's open interest."""
        if order.side is Side.BUY:
            # Difference of floors, so that pieces of an odd-lot order always sum to the whole.
            before = notional(order.px, order.leaves if qty < 0 else 0)
            after = notional(order.px, order.leaves + qty if qty < 0 else qty)
            cid = order.condition_id
            account.open_buy[cid] = account.open_buy.get(cid, 0) + after - before
        else:
            account.open_sell[order.token] = account.open_sell.get(order.token, 0) + qty

    def _enforce(self, owner: str, now_ms: int) -> None:
        """Cancel newest first what cash or tokens no longer cover."""
        account = self.account(owner)
        for order in reversed(list(account.orders.values())):
            if order.side is Side.BUY:
                uncovered = account.open_buy[order.condition_id] > max(account.cash, 0)
            else:
                uncovered = account.open_sell[order.token] > max(account.tokens.get(order.token, 0), 0)
            if uncovered:
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
        self._reserve(account, order, -order.leaves)
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
