"""Trades and orders that a fault needs and nobody made: a rich stranger meets resting orders of API key owners.

All of it goes through the exchange, so the ledger stays the truth. Knows no wire and no trigger.
"""

from __future__ import annotations

import itertools

from bot.messages import Side
from bot.sim import records as rec
from bot.sim.venue import Venue, wall_ms
from bot.units import LOT, PX_ONE, QTY_ONE, USD_ONE, Px, Qty

STRANGER = "stranger-1"
CASH = 1_000_000_000 * USD_ONE
SETS: Qty = 1_000_000 * QTY_ONE  # of each market it trades in
DUST: Qty = 1_000  # a tenth of the venue's lot: exact in money on every grid


class Stranger:
    """Takes what rests, at once: the taker delay is not for it."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._count = itertools.count(1)
        self._equipped: set[str] = set()

    def targets(self) -> list[rec.Order]:
        """Orders of API key owners that rest and can be met, oldest first."""
        exchange, accounts = self._venue.exchange, self._venue.accounts
        owners = dict.fromkeys(owner for account in accounts.by_address.values() for owner in account.owners)
        orders = [order for owner in owners for order in exchange.orders_of(owner, open_only=True)]
        open_markets = {cid for cid, market in exchange.markets.items() if market.accepting}
        return sorted(
            (order for order in orders if order.status == rec.LIVE and order.condition_id in open_markets),
            key=lambda order: order.created_ms,
        )

    def meet(self, order: rec.Order, qty: Qty | None = None, complement: bool = False) -> bool:
        """Fill so much of a resting order (all of it by default), and whatever stands before it.

        `complement`: by the other token, so that the taker's side, price and token are not those of our order.
        """
        if order.status != rec.LIVE:
            return False
        market = self._venue.exchange.markets[order.condition_id]
        self._equip(market)
        wanted = self._ahead(order) + (order.leaves if qty is None else qty)
        same_token = not complement
        if order.side is Side.SELL and not complement and wanted * order.px < USD_ONE * PX_ONE:
            same_token = False  # a taker's purchase has a least amount, its sale has none
        other = market.down_token if order.token == market.up_token else market.up_token
        matched = order.matched
        if same_token:
            self._take(market, order.token, _opposite(order.side), order.px, wanted)
        else:
            if order.side is Side.BUY:
                wanted = max(wanted, -(-USD_ONE * PX_ONE // (PX_ONE - order.px)) // LOT * LOT + LOT)
            self._take(market, other, order.side, PX_ONE - order.px, wanted)
        return order.matched > matched

    def dust(self, order: rec.Order, over: bool) -> bool:
        """Fill an order to a tenth of a lot short of its size, or beyond it."""
        exchange = self._venue.exchange
        exchange.dust = (order.order_id, DUST if over else -DUST)
        try:
            return self.meet(order, order.leaves + (LOT if over else 0))
        finally:
            exchange.dust = ("", 0)

    def foreign(self) -> rec.Order | None:
        """A resting order of an API key owner that its bot never sent."""
        exchange, now_ms = self._venue.exchange, wall_ms()
        market = self.market(now_ms)
        holder = next((account for account in self._venue.accounts.by_address.values() if account.keys), None)
        if market is None or holder is None:
            return None
        mine = self.targets()
        owner = mine[0].owner if mine else holder.owners[-1]
        api_key = mine[0].api_key if mine else next(iter(holder.keys.values())).api_key
        order_id = self._venue.stray_id()
        submitted = exchange.submit(
            rec.Submit(
                order_id=order_id,
                owner=owner,
                api_key=api_key,
                token=market.up_token,
                side=Side.BUY,
                px=market.tick,
                qty=market.min_qty,
                post_only=True,
            ),
            now_ms,
        )
        self._venue.tell()
        return exchange.order(order_id) if submitted.status else None

    def market(self, now_ms: int) -> rec.SimMarket | None:
        """The market that is under way."""
        markets = [market for market in self._venue.exchange.markets.values() if market.accepting]
        return min(markets, key=lambda market: (market.start_ms > now_ms, market.start_ms), default=None)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _equip(self, market: rec.SimMarket) -> None:
        if market.condition_id in self._equipped:
            return
        self._equipped.add(market.condition_id)
        self._venue.exchange.deposit(STRANGER, CASH)
        self._venue.exchange.split(STRANGER, market.condition_id, SETS)

    def _ahead(self, order: rec.Order) -> Qty:
        """What a taker at the order's price meets before it."""
        bids, asks = self._venue.exchange.book(order.token)
        levels = bids if order.side is Side.BUY else asks
        sign = 1 if order.side is Side.BUY else -1
        better = sum(qty for px, qty in levels if sign * px > sign * order.px)
        return better + self._venue.exchange.queue_before(order)

    def _take(self, market: rec.SimMarket, token: str, side: Side, px: Px, qty: Qty) -> None:
        """Now, whatever delay takers have."""
        delay_ms, market.taker_delay_ms = market.taker_delay_ms, 0
        try:
            self._venue.exchange.submit(
                rec.Submit(
                    order_id=f"{STRANGER}-{next(self._count)}",
                    owner=STRANGER,
                    api_key="",
                    token=token,
                    side=side,
                    px=px,
                    qty=qty,
                    order_type="FAK",
                ),
                wall_ms(),
            )
        finally:
            market.taker_delay_ms = delay_ms
        self._venue.tell()


def _opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY
