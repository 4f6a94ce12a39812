"""The venue's user stream on the hub: frames as on the wire, and what befalls frames and connections.

Nothing is ever replayed. A freeze and a deafness befall the connections that were open when they began, so that a new
one is the remedy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from bot.messages import Side
from bot.sim import frame_faults as frames
from bot.sim import records as rec
from bot.sim.chaos.hub import Hub
from bot.sim.chaos.net import Link, Net
from bot.sim.chaos.venue import API_KEY, OWNER, Venue
from bot.sim.faults import Fault
from bot.sim.render import order_event, trade_event
from bot.units import LOT, NS_PER_MS, NS_PER_S, Ns

DROPPED_AFTER_NS: Ns = 20 * NS_PER_MS  # W10: from the handshake to the reset
HELD_NS_MAX: Ns = 2 * NS_PER_S  # U05: a PLACEMENT waits no longer for what should come before it
BATCH_NS: Ns = 50 * NS_PER_MS  # W05: events are gathered for so long
KNOWN_MAX = 200
STORM_TRADES = 1_000


class UserStream:
    """All user connections: one, or two for a moment when a bot's process has died and its successor connects."""

    def __init__(self, hub: Hub, venue: Venue, net: Net) -> None:
        self._hub = hub
        self._venue = venue
        self._net = net
        self.links: list[Link] = []
        self._deaf_since_ns: Ns = 0
        self._turns: Counter[str] = Counter()
        self._batch: list[Any] = []
        self._placements: dict[str, bytes] = {}  # by order: its PLACEMENT
        self._held: dict[str, bytes] = {}  # PLACEMENTs that wait
        self._unknown = 0
        venue.listeners.append(self.hear)
        faults = venue.faults
        faults.on_start("U01", lambda _: setattr(self, "_deaf_since_ns", hub.now_ns))
        faults.on_start("U02", lambda _: hub.later(0, self._meet_any))
        faults.on_start("U03", lambda _: self._cut("closed by the venue: 1008 invalid auth"))
        faults.on_start("W10", lambda _: self._cut("ConnectionResetError"))
        for fault_id, act in {
            "W02": self._half_open,
            "W03": lambda _: self.cut("closed by the venue: 1008 invalid subscription payload"),
            "W04": lambda fault: self._each(b"INVALID OPERATION" if fault.kind == "invalid" else b"PONG"),
            "W08": lambda _: self.cut("the message is too big"),
            "W09": self._reset,
            "U10": self._foreign_order,
            "U14": self._storm,
        }.items():
            faults.on(fault_id, act)

    # -- connections -----------------------------------------------------------------------------------------------

    def connect(self, name: str, subscribed: bool) -> Link | None:
        if self._venue.hit("U03", "user") is not None:
            link = Link(self._net, name, self._hub.now_ns)
            self._hub.later(DROPPED_AFTER_NS * 4, lambda: link.cut("closed by the venue: 1008 invalid auth"))
            return link
        link = Link(self._net, name, self._hub.now_ns)
        self.links = [other for other in self.links if other.open] + [link]
        if self._venue.hit("W10", "user") is not None:
            self._hub.later(DROPPED_AFTER_NS, lambda: link.cut("ConnectionResetError"))
        return link

    def _cut(self, reason: str) -> None:
        self.cut(reason)

    def cut(self, reason: str) -> int:
        links, self.links = self.links, []
        for link in links:
            link.cut(reason)
        return len(links)

    def heal(self) -> None:
        """Connections that are good for nothing end, and what was held back goes out."""
        for link in list(self.links):
            if link.mute:
                link.cut("ConnectionResetError")
        for order_id in list(self._held):
            self._let_go(order_id)

    def _each(self, frame: bytes) -> int:
        for link in self.links:
            link.send(frame)
        return len(self.links)

    def _half_open(self, fault: Fault) -> int:
        for link in self.links:
            link.mute = True
            self._hub.later(int(fault.lasts_s * NS_PER_S), partial(link.cut, "ConnectionResetError"))
        return len(self.links)

    def _reset(self, fault: Fault) -> int:
        if fault.kind == "all":
            self._net.cut(self._hub.now_ns + int(fault.lasts_s * NS_PER_S))
            return max(1, self.cut("ConnectionResetError"))
        return self.cut("ConnectionResetError")

    # -- what nobody would do by himself ----------------------------------------------------------------------------

    def _meet_any(self) -> None:
        for order in self._venue.resting()[:1]:
            self._venue.meet(order, order.leaves)

    def _foreign_order(self, fault: Fault) -> int:
        markets = [market for market in self._venue.exchange.markets.values() if market.accepting]
        if not markets:
            return 0
        market = markets[0]
        if fault.kind == "live":
            return int(self._venue.foreign(market, market.tick))
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
            created_ms=self._venue.now_ms,
            is_bid=True,
            up_px=market.tick,
        )
        event = rec.OrderEvent(kind="PLACEMENT", order=order, status=rec.LIVE, ts_ms=self._venue.now_ms)
        return self._each(orjson.dumps(order_event(event, market)))

    def _storm(self, fault: Fault) -> int:
        """Pieces of one order, one lot each, over a second."""
        orders = self._venue.resting()
        if not orders:
            return 0
        order = max(orders, key=lambda one: one.leaves)
        number = min(fault["number"] or STORM_TRADES, order.leaves // LOT)

        def piece() -> None:
            if order.status == rec.LIVE:
                self._venue.meet(order, LOT)

        for part in range(number):
            self._hub.later(part * NS_PER_S // number, piece)
        return 1

    # -- frames ----------------------------------------------------------------------------------------------------

    def hear(self, event: rec.Event) -> None:
        if not self.links:
            return
        if isinstance(event, rec.OrderEvent):
            body = order_event(event, self._venue.exchange.markets[event.order.condition_id])
        elif isinstance(event, rec.TradeEvent):
            market, late_hash = self._venue.exchange.markets[event.trade.condition_id], self._venue.quirks.late_hashes
            body = trade_event(event, market, OWNER, late_hash)
        else:
            return
        if not self._venue.faults.busy and not self._held and not self._batch:
            self._put(orjson.dumps(body))
            return
        words = f"user {body['event_type']} {body['status'] if body['event_type'] == 'trade' else body['type']}"
        items = self._befallen(body, words)
        if items and self._batch:
            self._flush()
        for item in items:
            self._put(item)
        self._release(body)

    def _put(self, frame: bytes) -> None:
        for link in self.links:
            link.send(frame)

    def _befallen(self, body: dict[str, Any], words: str) -> list[bytes]:
        """In the order in which it would happen: at the venue's core, in its words, on the wire."""
        hit = self._venue.hit
        if hit("U01", words) is not None and any(link.joined_ns <= self._deaf_since_ns for link in self.links):
            return []
        text = orjson.dumps(body).decode()
        items = self._order(body, text, words) if body["event_type"] == "order" else self._trade(body, text, words)
        if (fault := hit("W05", words)) is not None:
            if fault.kind == "batch":
                if not self._batch:
                    self._hub.later(BATCH_NS, self._flush)
                self._batch += [event for item in items for event in frames.events_of(item)]
                return []
            items = _each(items, frames.array if fault.kind == "array" else frames.numbers)
        if hit("W06", words) is not None:
            items = _each(items, frames.bad_elements)
        sent = [item.encode() for item in items]
        if (fault := hit("W07", words)) is not None:
            sent = [_spoiled(item, fault.kind) for item in items]
        return sent

    def _trade(self, body: dict[str, Any], text: str, words: str) -> list[str]:
        hit = self._venue.hit
        items = [text]
        if body["status"] == rec.MATCHED:
            if hit("U02", words) is not None:
                self._hub.later(0, lambda: self.cut("ConnectionResetError"))
                return []
            if (fault := hit("U12", words)) is not None:
                if fault.kind == "late":
                    self._hub.later(int(fault["delay_s"] * NS_PER_S), partial(self._put, text.encode()))
                return []
            if hit("U11", words) is not None:
                items = _texts(frames.noisy_twin(text))
        if hit("S01", words) is not None:
            items = _texts(frames.steps(text))
        if (fault := hit("U07", words)) is not None:
            turn = self._turn("U07") if body["status"] == rec.MATCHED else 0
            known = fault.kind == "known"
            items = _each(items, partial(frames.vocabulary, turn=turn) if known else frames.unknown_status)
        return [*items, *items] if hit("W14", words) is not None else items

    def _order(self, body: dict[str, Any], text: str, words: str) -> list[str]:
        hit, order_id = self._venue.hit, body["id"]
        items = [text]
        if body["type"] == "PLACEMENT":
            if hit("U05", words) is not None:
                self._hold(order_id, text)
                return []
            self._placements[order_id] = text.encode()
            if len(self._placements) > KNOWN_MAX:
                del self._placements[next(iter(self._placements))]
        if hit("U07", words) is not None:
            items = _texts(frames.vocabulary(text, 0))
        if hit("W14", words) is not None:
            items = [*items, *items]
            if (body["type"] == "CANCELLATION" or body["status"] == rec.MATCHED) and order_id in self._placements:
                items.append(self._placements[order_id].decode())
        return items

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._put(orjson.dumps(batch))

    def _hold(self, order_id: str, text: str) -> None:
        """Keep a PLACEMENT back, and see to it that there is something to come before it."""
        self._held[order_id] = text.encode()
        self._hub.later(0, partial(self._meet_in_part, order_id))
        self._hub.later(HELD_NS_MAX, partial(self._let_go, order_id))

    def _release(self, body: dict[str, Any]) -> None:
        if not self._held:
            return
        if body["event_type"] == "trade":
            for order_id in (body["taker_order_id"], *(leg["order_id"] for leg in body["maker_orders"])):
                # The UPDATE of a match comes right behind its trade, and belongs before the PLACEMENT, too.
                self._hub.later(0, partial(self._let_go, order_id))
        elif body["type"] == "CANCELLATION":
            self._let_go(body["id"])

    def _let_go(self, order_id: str) -> None:
        frame = self._held.pop(order_id, None)
        if frame is not None:
            self._put(frame)

    def _meet_in_part(self, order_id: str) -> None:
        order = self._venue.exchange.order(order_id)
        if order is not None and order.status == rec.LIVE:
            self._venue.meet(order, order.qty // 4)

    def _turn(self, fault_id: str) -> int:
        self._turns[fault_id] += 1
        return self._turns[fault_id] - 1


def _texts(items: frames.Items) -> list[str]:
    return [item for item in items if isinstance(item, str)]


def _each(items: list[str], rewrite: Callable[[str], frames.Items]) -> list[str]:
    return [made for item in items for made in _texts(rewrite(item))]


def _spoiled(text: str, kind: str) -> bytes:
    if kind == "utf8":
        data, middle = text.encode(), len(text) // 2
        return data[:middle] + b"\xff\xc3\x28" + data[middle:]
    rewrite = frames.truncated if kind == "truncated" else frames.malformed
    return _texts(rewrite(text))[0].encode()
