"""Faults that befall frames: a tap on every client of a stream, which asks the engine about each frame while anything can
hit at all. What becomes of a frame is frame_faults' business; what befalls whole connections, connection_faults'.

A freeze, a deafness and a stall befall the connections that were open when they began, so that a new one is the remedy.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from bot.sim import frame_faults as frames
from bot.sim import records as rec
from bot.sim.faults import Fault, matches
from bot.sim.frame_faults import Items, dumped, events_of
from bot.sim.provoked import Stranger
from bot.sim.sockets import StreamClient
from bot.sim.venue import Venue
from bot.sim.wire import Step, dripped, reset, ws_frame
from bot.units import LOT

DROPPED_AFTER_S = 0.02  # W10: from the handshake to the reset
HELD_S_MAX = 2.0  # U05: a PLACEMENT waits no longer for what should come before it
BATCH_S = 0.05  # W05: events are gathered for so long
KNOWN_MAX = 200  # PLACEMENTs remembered by connection
FREEZES = {"market": "W01", "user": "U01", "settle": "W01", "binance": "B03"}
BEFALLING = {  # what may befall a frame of a stream
    "market": frozenset(("W01", "W05", "W06", "W07", "W11")),
    "user": frozenset(("U01", "U02", "U05", "U07", "U11", "U12", "S01", "W05", "W06", "W07", "W14")),
    "settle": frozenset(("W01", "W07")),
    "binance": frozenset(("B03", "B06", "W07")),
}
LISTENED_FOR = frozenset(("U03",)).union(*BEFALLING.values())
SPOILED = {"truncated": frames.truncated, "malformed": frames.malformed, "utf8": frames.not_utf8}


class State:
    """What the tap remembers of one connection."""

    def __init__(self, joined_s: float) -> None:
        self.joined_s = joined_s
        self.drip: tuple[float, float] = (0.0, 0.0)  # bytes per second, until when on the monotonic clock
        self.batch: list[Any] = []
        self.placements: dict[str, str] = {}  # by order: its PLACEMENT
        self.held: dict[str, str] = {}  # PLACEMENTs that wait


class StreamFaults:
    """The venue's sockets.Tap."""

    def __init__(self, venue: Venue, stranger: Stranger) -> None:
        self._venue = venue
        self._stranger = stranger
        self._states: dict[StreamClient, State] = {}
        self._began: dict[str, float] = {}  # by fault: when it last began
        self._turns: Counter[str] = Counter()
        self._pending = 0  # frames held back, and drips: all frames must be seen meanwhile
        faults = venue.faults
        for fault_id in ("W01", "U01", "B03"):
            faults.on_start(fault_id, self._note_start)
        faults.on_start("W10", lambda fault: self.cut(fault.pattern))
        faults.on_start("W11", self._cut_for_books)
        faults.on_start("U02", lambda _: soon(self._meet_any))
        faults.on_start("U03", lambda _: self.cut("user"))

    def clients(self, pattern: str) -> list[StreamClient]:
        """Connections whose stream a fault means."""
        return [client for client in self._states if matches(pattern, client.stream)]

    def cut(self, pattern: str) -> None:
        for client in self.clients(pattern):
            reset_client(client)

    def drip(self, clients: list[StreamClient], bytes_per_s: float, seconds: float) -> None:
        """What these clients get, they get byte by byte for a while."""
        for client in clients:
            self._states[client].drip = (bytes_per_s, time.monotonic() + seconds)
        self._pending += 1
        later(seconds, self._end_drip)

    def _end_drip(self) -> None:
        self._pending -= 1

    def _note_start(self, fault: Fault) -> None:
        self._began[fault.id] = self._venue.age_s()

    def _cut_for_books(self, fault: Fault) -> None:
        if fault.kind == "delta":
            self.cut("market")

    def _meet_any(self) -> None:
        for order in self._stranger.targets()[:1]:
            self._stranger.meet(order)

    # -- tap -------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._pending > 0 or self._venue.faults.concerns(LISTENED_FOR)

    def joined(self, client: StreamClient) -> None:
        if client.stream not in FREEZES:
            return
        self._states[client] = State(self._venue.age_s())
        if self._venue.hit("W10", client.stream) is not None:
            later(DROPPED_AFTER_S, partial(reset_client, client))

    def left(self, client: StreamClient) -> None:
        state = self._states.pop(client, None)
        if state is not None:
            self._pending -= len(state.held) + bool(state.batch)

    def heard(self, client: StreamClient, text: str) -> None:
        if client.stream == "user" and '"auth"' in text and self._venue.hit("U03", "user") is not None:
            reset_client(client)

    def leaving(self, client: StreamClient, text: str) -> None:
        state = self._states.get(client)
        if state is None or not (self._pending or self._venue.faults.concerns(BEFALLING[client.stream])):
            client.put(text)
            return
        items: Items = [text]
        events = events_of(text)
        if events and not any(_control(event) for event in events):
            words = _words(client.stream, events)
            items = self._befallen(client, state, text, events, words)
        if items and state.batch:
            self._flush(client, state)
        for item in items:
            self._put(client, state, item)
        self._release(client, state, events)

    def _put(self, client: StreamClient, state: State, item: str | Step) -> None:
        rate, until_s = state.drip
        if isinstance(item, str) and time.monotonic() < until_s:
            item = dripped(ws_frame(item.encode()), rate, until_s)
        client.put(item)

    # -- frames ----------------------------------------------------------------------------------------------------

    def _befallen(
        self, client: StreamClient, state: State, text: str, events: list[dict[str, Any]], words: str
    ) -> Items:
        """Faults in the order in which they would happen: at the venue's core, in its words, on the wire."""
        frozen = self._frozen(client, state, text, words)
        if frozen is not None:
            return frozen
        items: Items = [text]
        if client.stream == "user":
            items = self._user_frame(client, state, text, events[0], words)
        elif client.stream == "market":
            items = self._market_frame(client, text, words)
        elif client.stream == "binance" and "bookTicker" in words and self._venue.hit("B06", words):
            items = frames.nonsense(text, self._turn("B06"))
        if client.stream in ("market", "user"):
            fault = self._venue.hit("W05", words)
            if fault is not None:
                items = self._reshaped(client, state, items, fault.kind)
            if self._venue.hit("W06", words):
                items = _each_text(items, frames.bad_elements)
        fault = self._venue.hit("W07", words)
        if fault is not None:
            items = _each_text(items, SPOILED[fault.kind])
        return items

    def _frozen(self, client: StreamClient, state: State, text: str, words: str) -> Items | None:
        """What is left of the frame by a freeze; None without one."""
        fault_id = FREEZES[client.stream]
        fault = self._venue.hit(fault_id, words)
        if fault is None or state.joined_s > self._began[fault_id]:
            return None
        tokens = frozenset(word for word in words.split() if word.isdecimal() and matches(fault.pattern, word))
        if tokens and fault.match and client.stream == "market" and not matches(fault.match, "market"):
            return frames.without(text, tokens)
        return []

    def _market_frame(self, client: StreamClient, text: str, words: str) -> Items:
        if " price_change" in words and self._venue.hit("W11", words, "crossed"):
            return frames.crossed(text)
        if " book" in words and text.startswith("["):
            fault = self._venue.hit("W11", words, "delta")
            if fault is not None:
                later(fault["delay_s"], partial(client.put, text))
                return []
        return [text]

    def _user_frame(self, client: StreamClient, state: State, text: str, event: dict[str, Any], words: str) -> Items:
        if event["event_type"] == "order":
            return self._order_frame(client, state, text, event, words)
        items: Items = [text]
        if event["status"] == "MATCHED":
            if self._venue.hit("U02", words):
                reset_client(client)
                return []
            fault = self._venue.hit("U12", words)
            if fault is not None:
                if fault.kind == "late":
                    later(fault["delay_s"], partial(client.put, text))
                return []
            if self._venue.hit("U11", words):
                items = frames.noisy_twin(text)
        if self._venue.hit("S01", words):
            items = frames.steps(text)
        fault = self._venue.hit("U07", words)
        if fault is not None:
            turn = self._turn("U07") if event["status"] == "MATCHED" else 0
            known = fault.kind == "known"
            items = _each_text(items, partial(frames.vocabulary, turn=turn) if known else frames.unknown_status)
        return [*items, *items] if self._venue.hit("W14", words) else items

    def _order_frame(self, client: StreamClient, state: State, text: str, event: dict[str, Any], words: str) -> Items:
        items: Items = [text]
        order_id = event["id"]
        if event["type"] == "PLACEMENT":
            if self._venue.hit("U05", words):
                self._hold(client, state, order_id, text)
                return []
            state.placements[order_id] = text
            if len(state.placements) > KNOWN_MAX:
                del state.placements[next(iter(state.placements))]
        if self._venue.hit("U07", words):
            items = frames.vocabulary(text, 0)
        if self._venue.hit("W14", words):
            items = [*items, *items]
            if _ended(event) and order_id in state.placements:
                items.append(state.placements[order_id])
        return items

    def _reshaped(self, client: StreamClient, state: State, items: Items, kind: str) -> Items:
        if kind == "batch":
            texts = [item for item in items if isinstance(item, str)]
            if not state.batch:
                self._pending += 1
                later(BATCH_S, partial(self._flush, client, state))
            state.batch += [event for text in texts for event in events_of(text)]
            return [item for item in items if not isinstance(item, str)]
        return _each_text(items, frames.array if kind == "array" else frames.numbers)

    def _flush(self, client: StreamClient, state: State) -> None:
        batch, state.batch = state.batch, []
        if batch and client in self._states:
            self._pending -= 1
            self._put(client, state, dumped(batch))

    def _hold(self, client: StreamClient, state: State, order_id: str, text: str) -> None:
        """Keep a PLACEMENT back, and see to it that there is something to come before it."""
        state.held[order_id] = text
        self._pending += 1
        soon(partial(self._meet_in_part, order_id))
        later(HELD_S_MAX, partial(self._let_go, client, state, order_id))

    def _release(self, client: StreamClient, state: State, events: list[dict[str, Any]]) -> None:
        for event in events if state.held else ():
            if event.get("event_type") == "trade":
                for order_id in (event["taker_order_id"], *(leg["order_id"] for leg in event["maker_orders"])):
                    # The UPDATE of a match comes right behind its trade, and belongs before the PLACEMENT, too.
                    soon(partial(self._let_go, client, state, order_id))
            elif event.get("type") == "CANCELLATION":
                self._let_go(client, state, event["id"])

    def _let_go(self, client: StreamClient, state: State, order_id: str) -> None:
        text = state.held.pop(order_id, None)
        if text is not None and client in self._states:
            self._pending -= 1
            self._put(client, state, text)

    def _meet_in_part(self, order_id: str) -> None:
        order = self._venue.exchange.order(order_id)
        if order is not None:
            self._stranger.meet(order, order.qty // 4 // LOT * LOT)

    def _turn(self, fault_id: str) -> int:
        self._turns[fault_id] += 1
        return self._turns[fault_id] - 1


def soon(call: Callable[[], Any]) -> None:
    asyncio.get_running_loop().call_soon(call)


def later(seconds: float, call: Callable[[], Any]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


def reset_client(client: StreamClient) -> None:
    """Cut it off without a close."""
    if client.transport is not None:
        reset(client.transport)


def _words(stream: str, events: list[dict[str, Any]]) -> str:
    """What a fault's pattern is compared with."""
    words = {stream: None}
    for event in events:
        if stream == "binance":
            data = event.get("data", event)
            words |= {data.get("e", "bookTicker"): None, str(data.get("s")): None}
        elif stream == "settle":
            words |= {str(event.get("channel")): None, str(event.get("payload", {}).get("symbol")): None}
        else:
            words[str(event.get("event_type"))] = None
            if stream == "user":
                words[str(event["status"] if event["event_type"] == "trade" else event["type"])] = None
            for row in (event, *event.get("price_changes", ())):
                words[str(row.get("asset_id"))] = None
    return " ".join(words)


def _control(event: dict[str, Any]) -> bool:
    """The answer to a request: faults are for data."""
    return "op" in event or "result" in event or "code" in event


def _ended(event: dict[str, Any]) -> bool:
    return str(event["type"]) == "CANCELLATION" or str(event["status"]) == rec.MATCHED


def _each_text(items: Items, rewrite: Callable[[str], Items]) -> Items:
    """Rewrites text frames and leaves steps as they are."""
    return [made for item in items for made in (rewrite(item) if isinstance(item, str) else [item])]
