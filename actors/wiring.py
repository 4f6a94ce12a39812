"""Who is told what, who is ticked how often, and of which actors a bot consists, in start order: what a real bot and a
simulated one have in common. Makes no actor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pykka

from actors.supervision import ChildSpec
from bot import messages as m
from bot.ports import Clock, Sender
from bot.units import NS_PER_MS, NS_PER_S, Ns

PERP = "perp"  # a feed that is there only where its lead is wanted

GATEWAY_HANG_NS: Ns = 3_500 * NS_PER_MS  # a request has a deadline of 3 s

_REPORTS = (m.ExecutionReport, m.CancelReject, m.OutcomeUnknown, m.MassCancelReport, m.RateLeft)
_READS = (m.OpenOrders, m.TradesRead, m.OrderStatusReport, m.Balance, m.Shares)
_LIFE = (m.MarketListed, m.MarketDropped)

# Who is told what, by sender. The timer and the root speak to actors by name.
ROUTES: dict[str, dict[type[m.Message], tuple[str, ...]]] = {
    "strategy": {m.QuoteIntent: ("executor",), m.StatusReport: ("monitor",)},
    "executor": {
        m.NewOrder: ("orders",),
        **dict.fromkeys((m.CancelOrder, m.MassCancel), ("cancels",)),
        **dict.fromkeys(
            (m.OrderStatusRequest, m.OrderMassStatusRequest, m.TradesRequest, m.BalanceRequest, m.SharesRequest),
            ("reads",),
        ),
        m.PositionReport: ("strategy",),
        m.Fill: ("monitor", "strategy"),
        **dict.fromkeys((m.Settled, m.StatusReport), ("monitor",)),
        m.Halt: ("root",),
    },
    "orders": {**dict.fromkeys(_REPORTS, ("executor",)), m.StatusReport: ("monitor",)},
    "cancels": {**dict.fromkeys(_REPORTS, ("executor",)), m.StatusReport: ("monitor",)},
    "reads": {
        **dict.fromkeys(_READS, ("executor",)),
        # The strategy first: the executor's position report of a market must find it known.
        **dict.fromkeys(_LIFE, ("strategy", "executor", "market", "settle", "monitor")),
        m.MarketResolved: ("executor",),
        **dict.fromkeys((m.MarketRefused, m.StatusReport), ("monitor",)),
        m.Halt: ("root",),
    },
    "heartbeat": {m.Halt: ("root",), m.Fail: ("executor",), m.StatusReport: ("monitor",)},
    "guardian": {m.Fail: ("executor",), m.StatusReport: ("monitor",)},
    "binance": {m.Nudge: ("strategy",), m.FeedStatus: ("strategy",), m.StatusReport: ("monitor",), m.Halt: ("root",)},
    "market": {
        m.Nudge: ("strategy",),
        m.TickSizeChange: ("executor", "strategy"),
        m.MarketResolved: ("executor",),
        m.FeedStatus: ("strategy",),
        m.StatusReport: ("monitor",),
        m.Halt: ("root",),
    },
    "user": {
        **dict.fromkeys((m.ExecutionReport, m.StreamGap), ("executor",)),
        m.FeedStatus: ("executor", "strategy"),
        m.StatusReport: ("monitor",),
        m.Halt: ("root",),
    },
    "settle": {m.FeedStatus: ("strategy",), m.StatusReport: ("monitor",), m.Halt: ("root",)},
    # Without it there is no lead, and that is all: no trouble of it stops the bot.
    PERP: {m.FeedStatus: (), m.StatusReport: ("monitor",), m.Halt: ()},
    "journal": {},
    "monitor": {},
    "timer": {},
    "root": {},
}

FEEDS = tuple(name for name, routes in ROUTES.items() if m.FeedStatus in routes)

# How often time passes for whom. The timer ticks each name 10 ms before the one above it: in this order the strategy, the
# executor and the monitor, whose runs are the longest, are 10 to 20 ms apart.
PERIODS_NS: dict[str, Ns] = {
    "executor": 50 * NS_PER_MS,
    "strategy": 50 * NS_PER_MS,  # its place; how long is a setting (hz)
    "orders": NS_PER_S,
    "cancels": NS_PER_S,
    "reads": 250 * NS_PER_MS,
    "heartbeat": 250 * NS_PER_MS,
    "guardian": 250 * NS_PER_MS,
    "journal": NS_PER_S,
    "monitor": 400 * NS_PER_MS,
    **dict.fromkeys(FEEDS, 250 * NS_PER_MS),
}


def children(starts: Mapping[str, Callable[[], pykka.ActorRef[Any]]]) -> list[ChildSpec]:
    """The root's children that there are starts for. Sinks first, then the cores, then what speaks to them."""
    specs: dict[str, dict[str, Any]] = {
        "journal": {"fatal": True},
        "monitor": {},
        **{name: {"hang_ns": GATEWAY_HANG_NS, "holds_requests": True} for name in ("cancels", "orders", "reads")},
        "heartbeat": {"hang_ns": GATEWAY_HANG_NS},
        "guardian": {},
        "executor": {"fatal": True},
        **{name: {} for name in ("strategy", "timer", *FEEDS)},
    }
    return [ChildSpec(name, starts[name], **how) for name, how in specs.items() if name in starts]


class Remembering:
    """A sender that keeps what a restarted actor would have to be told again: live markets and their newest position."""

    def __init__(self, sender: Sender, kept: dict[tuple[type[m.Message], str], m.Message]) -> None:
        self._sender = sender
        self._kept = kept

    def send(self, messages: Iterable[m.Message]) -> None:
        messages = list(messages)
        for message in messages:
            # Not by isinstance, which is an ABC check for a Struct: the executor's orders pass here.
            if type(message) is m.PositionReport:
                if (m.MarketListed, message.symbol) in self._kept:  # or for ever
                    self._kept[m.PositionReport, message.symbol] = message
            elif type(message) is m.MarketListed:
                self._kept[m.MarketListed, message.market.symbol] = message
            elif type(message) is m.MarketDropped:
                self._kept.pop((m.MarketListed, message.symbol), None)
                self._kept.pop((m.PositionReport, message.symbol), None)
        self._sender.send(messages)


class Overheard:
    """A sender to which somebody listens."""

    def __init__(self, sender: Sender, hear: Callable[[list[m.Message], Ns], None], clock: Clock) -> None:
        self._sender = sender
        self._hear = hear
        self._clock = clock

    def send(self, messages: Iterable[m.Message]) -> None:
        messages = list(messages)
        self._hear(messages, self._clock())
        self._sender.send(messages)
