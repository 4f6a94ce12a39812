"""What the venue does by itself, whoever asks: cancels, grids, ends of markets, foreign orders, odd fills.

All of it goes through the exchange, so its ledger stays the truth.
"""

from __future__ import annotations

from bot.messages import Side
from bot.sim import records as rec
from bot.sim.chaos.hub import Hub
from bot.sim.chaos.venue import Venue
from bot.sim.chaos.world import World
from bot.sim.faults import Fault
from bot.units import LOT, NS_PER_S, PX_ONE, QTY_ONE

DUST = 1_000  # a tenth of the venue's lot


class Mishaps:
    """Gives the engine of faults its acts on the exchange; each returns how much it hit."""

    def __init__(self, hub: Hub, venue: Venue, world: World) -> None:
        self._hub = hub
        self._venue = venue
        self._world = world
        self._coarse: dict[str, tuple[int, int]] = {}  # markets whose grid was changed: tick and least size before
        self._told = True
        for fault_id, act in {
            "C09": self._cancel,
            "P17": self._grid,
            "T09": self._foreign,
            "V01": self._end,
            "U09": self._complement,
            "U13": self._dust,
        }.items():
            venue.faults.on(fault_id, act)

    def heal(self) -> None:
        """Grids and least sizes are what they were."""
        for condition_id, (tick, min_qty) in self._coarse.items():
            market = self._venue.exchange.markets[condition_id]
            market.min_qty = min_qty
            if market.tick != tick and market.accepting:
                self._venue.exchange.change_tick(condition_id, tick, self._venue.now_ms, self._told)
        self._coarse.clear()
        self._venue.tell()

    def _cancel(self, fault: Fault) -> int:
        ids = [order.order_id for order in self._venue.open_orders()]
        chosen = ids if fault.kind == "all" else ids[-1:]
        ended = self._venue.exchange.cancel_by_venue(chosen, fault["status"], self._venue.now_ms)
        self._venue.tell()
        return len(ended)

    def _grid(self, fault: Fault) -> int:
        """Another tick or least size for all open markets, until the fault is over."""
        self.heal()
        self._told = fault.kind != "silent"
        for market in self._world.markets:
            if not market.accepting:
                continue
            self._coarse[market.condition_id] = (market.tick, market.min_qty)
            if fault.kind == "size":
                market.min_qty = round(fault["min_size"] * QTY_ONE)
            else:
                tick = round(fault["tick"] * PX_ONE)
                self._venue.exchange.change_tick(market.condition_id, tick, self._venue.now_ms, self._told)
        self._hub.later(int(fault.lasts_s * NS_PER_S), self.heal)
        self._venue.tell()
        return len(self._coarse)

    def _under_way(self) -> rec.SimMarket | None:
        """The market of our oldest order, else any."""
        resting = self._venue.resting()
        if resting:
            return self._venue.exchange.markets[resting[0].condition_id]
        return next((market for market in self._world.markets if market.accepting), None)

    def _foreign(self, fault: Fault) -> int:
        market = self._under_way()
        px = round(fault["price"] * PX_ONE)
        return 0 if market is None or px % market.tick else int(self._venue.foreign(market, px))

    def _end(self, fault: Fault) -> int:
        market = self._under_way()
        if market is None or self._venue.now_ms > market.end_ms - 5_000:
            return 0
        if fault.kind == "close":
            self._venue.exchange.close(market.condition_id, self._venue.now_ms)
            self._venue.tell()
        else:
            self._world.resolve(market.condition_id, told=fault.kind == "resolve")
        return 1

    def _complement(self, fault: Fault) -> int:
        """Our order is met by a buyer or seller of the other token, so that the trade's top is nothing of ours."""
        for order in self._venue.resting():
            market = self._venue.exchange.markets[order.condition_id]
            other = market.down_token if order.token == market.up_token else market.up_token
            px, qty = PX_ONE - order.px, order.leaves // LOT * LOT
            if order.side is Side.SELL or px * qty >= PX_ONE * QTY_ONE:  # a taker's purchase has a least amount
                self._venue.trade(other, order.side, px, qty)
                return 1
        return 0

    def _dust(self, fault: Fault) -> int:
        """An order ends a tenth of a lot short of its size, or beyond it."""
        over = fault.kind == "over"
        for order in self._venue.resting():
            if order.leaves % LOT:
                continue
            exchange = self._venue.exchange
            exchange.dust = (order.order_id, DUST if over else -DUST)
            side = Side.SELL if order.side is Side.BUY else Side.BUY
            qty = order.leaves + self._ahead(order) + (LOT if over else 0)
            if side is Side.SELL or order.px * qty >= PX_ONE * QTY_ONE:
                self._venue.trade(order.token, side, order.px, qty)
            exchange.dust = ("", 0)
            if over:
                self._venue.surprise[order.condition_id] += DUST
            return 1
        return 0

    def _ahead(self, order: rec.Order) -> int:
        """What a taker at the order's price meets before it."""
        bids, asks = self._venue.exchange.book(order.token)
        sign, levels = (1, bids) if order.side is Side.BUY else (-1, asks)
        better = sum(qty for px, qty in levels if sign * px > sign * order.px)
        return better + self._venue.exchange.queue_before(order)
