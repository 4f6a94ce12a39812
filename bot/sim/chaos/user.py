"""The venue's user stream: what happened to our orders, told once, and in every way that it can be told wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from bot.messages import Side
from bot.sim import frame_faults as frames
from bot.sim import records as rec
from bot.sim.chaos.hub import Hub
from bot.sim.chaos.net import Link, Net
from bot.sim.chaos.streams import DROPPED_AFTER_NS, RESET, Stream, Turns, each, texts
from bot.sim.chaos.venue import API_KEY, OWNER, Venue
from bot.sim.faults import Fault
from bot.sim.render import order_event, trade_event
from bot.units import LOT, NS_PER_S, Ns

HELD_NS_MAX: Ns = 2 * NS_PER_S  # U05: a PLACEMENT waits no longer for what should come before it
KNOWN_MAX = 200
STORM_TRADES = 1_000
REFUSED = "closed by the venue: 1008 invalid auth"


class UserStream(Stream):
    name = "user"

    def __init__(self, hub: Hub, venue: Venue, net: Net) -> None:
        super().__init__(hub, venue, net)
        self._turns = Turns()
        self._placements: dict[str, str] = {}  # by order: its PLACEMENT
        self._held: dict[str, str] = {}  # PLACEMENTs that wait
        self._unknown = 0
        venue.listeners.append(self.hear)
        venue.faults.on_start("U02", lambda _: hub.later(0, self._meet_any))
        venue.faults.on_start("U03", self._refuse)
        venue.faults.on("U10", self._foreign_order)
        venue.faults.on("U14", self._storm)

    def connect(self) -> Link | None:
        refused = self.venue.hit("U03", self.name) is not None
        link = super().connect()
        if refused and link is not None:
            self.hub.later(4 * DROPPED_AFTER_NS, lambda: link.cut(REFUSED))
        return link

    def _refuse(self, fault: Fault) -> None:
        self.cut(REFUSED)

    def heal(self) -> None:
        super().heal()
        for order_id in list(self._held):
            self._let_go(order_id)

    # -- what nobody would do by himself ----------------------------------------------------------------------------

    def _meet_any(self) -> None:
        for order in self.venue.resting()[:1]:
            self.venue.meet(order, order.leaves)

    def _foreign_order(self, fault: Fault) -> int:
        markets = [market for market in self.venue.exchange.markets.values() if market.accepting]
        if not markets:
            return 0
        market = markets[0]
        if fault.kind == "live":
            return int(self.venue.foreign(market, market.tick))
        self._unknown += 1
        order = rec.Order(
            order_id=f"0xe0{self._unknown:062x}",
            owner=OWNER,
            api_key=API_KEY,
            condition_id=market.condition_id,
            token=market.up_token,
            side=Side.BUY,
            px=market.tick,
            qty=market.min_qty,
            order_type="GTC",
            post_only=True,
            expiration_s=0,
            created_ms=self.venue.now_ms,
            is_bid=True,
            up_px=market.tick,
        )
        event = rec.OrderEvent(kind="PLACEMENT", order=order, status=rec.LIVE, ts_ms=self.venue.now_ms)
        self.put(orjson.dumps(order_event(event, market)))
        return len(self.links)

    def _storm(self, fault: Fault) -> int:
        """Pieces of one order, one lot each, over a second; deltas are the market stream's."""
        orders = self.venue.resting()
        if fault.kind != "trades" or not orders:
            return int(fault.kind != "trades")
        order = max(orders, key=lambda one: one.leaves)
        number = min(fault["number"] or STORM_TRADES, order.leaves // LOT)

        def piece() -> None:
            if order.status == rec.LIVE:
                self.venue.meet(order, LOT)

        for part in range(number):
            self.hub.later(part * NS_PER_S // number, piece)
        return 1

    # -- frames ----------------------------------------------------------------------------------------------------

    def hear(self, event: rec.Event) -> None:
        if not self.links:
            return
        markets = self.venue.exchange.markets
        if isinstance(event, rec.OrderEvent):
            if event.order.order_id in self.venue.untold:
                return
            body = order_event(event, markets[event.order.condition_id])
        elif isinstance(event, rec.TradeEvent):
            body = trade_event(event, markets[event.trade.condition_id], OWNER, self.venue.quirks.late_hashes)
        else:
            return
        if not self.busy and not self._held:
            self.put(orjson.dumps(body))
            return
        trade = body["event_type"] == "trade"
        words = f"user {body['event_type']} {body['status'] if trade else body['type']}"
        text = orjson.dumps(body).decode()
        self.send(self._trade(body, text, words) if trade else self._order(body, text, words), words)
        self._release(body)

    def _trade(self, body: dict[str, Any], text: str, words: str) -> list[str]:
        hit = self.venue.hit
        items = [text]
        if body["status"] == rec.MATCHED:
            if hit("U02", words) is not None:
                self.hub.later(0, lambda: self.cut(RESET))
                return []
            if (fault := hit("U12", words)) is not None:
                if fault.kind == "late":
                    self.hub.later(int(fault["delay_s"] * NS_PER_S), partial(self.put, text.encode()))
                return []
            if hit("U11", words) is not None:
                items = texts(frames.noisy_twin(text))
        if hit("S01", words) is not None:
            items = texts(frames.steps(text))
        if (fault := hit("U07", words)) is not None:
            turn = self._turns.next("U07") if body["status"] == rec.MATCHED else 0
            known = fault.kind == "known"
            items = each(items, partial(frames.vocabulary, turn=turn) if known else frames.unknown_status)
        return [*items, *items] if hit("W14", words) is not None else items

    def _order(self, body: dict[str, Any], text: str, words: str) -> list[str]:
        hit, order_id = self.venue.hit, body["id"]
        items = [text]
        if body["type"] == "PLACEMENT":
            if hit("U05", words) is not None:
                self._hold(order_id, text)
                return []
            self._placements[order_id] = text
            if len(self._placements) > KNOWN_MAX:
                del self._placements[next(iter(self._placements))]
        if hit("U07", words) is not None:
            items = texts(frames.vocabulary(text, 0))
        if hit("W14", words) is not None:
            items = [*items, *items]
            if (body["type"] == "CANCELLATION" or body["status"] == rec.MATCHED) and order_id in self._placements:
                items.append(self._placements[order_id])
        return items

    def _hold(self, order_id: str, text: str) -> None:
        """Keep a PLACEMENT back, and see to it that there is something to come before it."""
        self._held[order_id] = text
        self.hub.later(0, partial(self._meet_in_part, order_id))
        self.hub.later(HELD_NS_MAX, partial(self._let_go, order_id))

    def _release(self, body: dict[str, Any]) -> None:
        if not self._held:
            return
        if body["event_type"] == "trade":
            for order_id in (body["taker_order_id"], *(leg["order_id"] for leg in body["maker_orders"])):
                # The UPDATE of a match comes right behind its trade, and belongs before the PLACEMENT, too.
                self.hub.later(0, partial(self._let_go, order_id))
        elif body["type"] == "CANCELLATION":
            self._let_go(body["id"])

    def _let_go(self, order_id: str) -> None:
        text = self._held.pop(order_id, None)
        if text is not None:
            self.put(text.encode())

    def _meet_in_part(self, order_id: str) -> None:
        order = self.venue.exchange.order(order_id)
        if order is not None and order.status == rec.LIVE:
            self.venue.meet(order, order.qty // 4)
