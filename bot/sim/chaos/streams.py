"""The streams of the venues on the hub: their connections, and what befalls frames and connections of any of them.

A freeze, a deafness and a stall befall the connections that were open when they began, so that a new one is the remedy.
Nothing is ever replayed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import orjson

from bot.sim import frame_faults as frames
from bot.sim.chaos.hub import Hub
from bot.sim.chaos.net import Link, Net
from bot.sim.chaos.venue import Venue
from bot.sim.faults import Fault, matches
from bot.units import NS_PER_MS, NS_PER_S, Ns

DROPPED_AFTER_NS: Ns = 20 * NS_PER_MS  # W10: from the handshake to the reset
BATCH_NS: Ns = 50 * NS_PER_MS  # W05: events are gathered for so long
RESET = "ConnectionResetError"
FREEZES = {"market": "W01", "user": "U01", "binance": "B03"}


class Stream:
    """One kind of stream with its open connections: one a bot, or two where it renews or was restarted."""

    name = ""
    shaped = True  # whether W05 and W06 befall it

    def __init__(self, hub: Hub, venue: Venue, net: Net) -> None:
        self.hub = hub
        self.venue = venue
        self.net = net
        self.links: list[Link] = []
        self.frozen_ns: Ns = 0  # when the last freeze began
        self._batch: list[object] = []
        venue.faults.on_start(FREEZES[self.name], lambda _: setattr(self, "frozen_ns", hub.now_ns))

    # -- connections -----------------------------------------------------------------------------------------------

    def connect(self) -> Link | None:
        """The venue's end of a new connection; None: refused."""
        link = Link(self.net, self.name, self.heard)
        self.links = [other for other in self.links if other.open] + [link]
        if self.venue.hit("W10", self.name) is not None:
            self.hub.later(DROPPED_AFTER_NS, lambda: link.cut(RESET))
        return link

    def heard(self, link: Link, text: str) -> None:
        """What a client said."""

    def cut(self, reason: str) -> int:
        links, self.links = self.links, []
        for link in links:
            link.cut(reason)
        return len(links)

    def heal(self) -> None:
        """Connections that are good for nothing end, and what was held back goes out."""
        for link in list(self.links):
            if link.mute:
                link.cut(RESET)
        self.links = [link for link in self.links if link.open]

    # -- frames ----------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether anything can befall a frame now."""
        return self.venue.faults.busy or bool(self._batch)

    def put(self, frame: bytes, to: Link | None = None) -> None:
        """As it is: to one connection, or to all."""
        for link in (to,) if to is not None else self.links:
            link.send(frame)

    def send(self, items: list[str], words: str, to: Link | None = None) -> None:
        """Through everything that may befall frames on the wire; `words` are what a fault's pattern is compared with."""
        if not items:
            return
        if self.venue.hit(FREEZES[self.name], words) is not None:
            sound = [link for link in self.links if link.joined_ns > self.frozen_ns]
            for link in sound:
                self.put(orjson.dumps([event for item in items for event in frames.events_of(item)]), link)
            return
        if self.shaped:
            if (fault := self.venue.hit("W05", words)) is not None:
                if fault.kind == "batch" and to is None:
                    if not self._batch:
                        self.hub.later(BATCH_NS, self._flush)
                    self._batch += [event for item in items for event in frames.events_of(item)]
                    return
                items = each(items, frames.numbers if fault.kind == "numbers" else frames.array)
            if self.venue.hit("W06", words) is not None:
                items = each(items, frames.bad_elements)
        self._flush()
        fault = self.venue.hit("W07", words)
        for item in items:
            self.put(item.encode() if fault is None else _spoiled(item, fault.kind), to)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self.put(orjson.dumps(batch))


class Streams:
    """All of them, and the faults of connections."""

    def __init__(self, hub: Hub, venue: Venue, net: Net, streams: list[Stream]) -> None:
        self._hub = hub
        self._venue = venue
        self._net = net
        self.by_name = {stream.name: stream for stream in streams}
        venue.faults.on_start("W10", lambda fault: self._cut(fault.pattern))
        acts: dict[str, Callable[[Fault], int]] = {
            "W02": self._half_open,
            "W03": lambda fault: self.cut(fault.pattern, "closed by the venue: 1008 invalid subscription payload"),
            "W04": self._control_text,
            "W08": lambda fault: self.cut(fault.pattern, "the message is too big"),
            "W09": self._reset,
        }
        for fault_id, act in acts.items():
            venue.faults.on(fault_id, act)

    def meant(self, pattern: str) -> list[Stream]:
        return [stream for stream in self.by_name.values() if matches(pattern, stream.name)]

    def cut(self, pattern: str, reason: str) -> int:
        return sum(stream.cut(reason) for stream in self.meant(pattern))

    def _cut(self, pattern: str) -> None:
        self.cut(pattern, RESET)

    def heal(self) -> None:
        for stream in self.by_name.values():
            stream.heal()

    def gone(self) -> None:
        """The client's process has died."""
        self.cut("", "the client is gone")

    def _control_text(self, fault: Fault) -> int:
        text = b"INVALID OPERATION" if fault.kind == "invalid" else b"PONG"
        for stream in self.meant(fault.pattern):
            stream.put(text)
        return sum(len(stream.links) for stream in self.meant(fault.pattern))

    def _half_open(self, fault: Fault) -> int:
        links = [link for stream in self.meant(fault.pattern) for link in stream.links]
        for link in links:
            link.mute = True
            self._hub.later(int(fault.lasts_s * NS_PER_S), partial(link.cut, RESET))
        return len(links)

    def _reset(self, fault: Fault) -> int:
        if fault.kind != "all":
            return self.cut(fault.pattern, RESET)
        self._net.cut(self._hub.now_ns + int(fault.lasts_s * NS_PER_S))
        self.cut("", RESET)
        return 1


class Turns:
    """How often each fault had its turn, so that its variants take theirs."""

    def __init__(self) -> None:
        self._turns: Counter[str] = Counter()

    def next(self, fault_id: str) -> int:
        self._turns[fault_id] += 1
        return self._turns[fault_id] - 1


def texts(items: frames.Items) -> list[str]:
    return [item for item in items if isinstance(item, str)]


def each(items: list[str], rewrite: Callable[[str], frames.Items]) -> list[str]:
    return [made for item in items for made in texts(rewrite(item))]


def _spoiled(text: str, kind: str) -> bytes:
    if kind == "utf8":
        data, middle = text.encode(), len(text) // 2
        return data[:middle] + b"\xff\xc3\x28" + data[middle:]
    rewrite = frames.truncated if kind == "truncated" else frames.malformed
    return texts(rewrite(text))[0].encode()
