"""What leaves: valid orders, rates, freshness, leases; and what the bot halts or fails for.

A look returns why it does not hold, or an empty text; invariants.py says when each is looked at.
"""

from __future__ import annotations

from collections import deque

from bot.messages import BotState, NewOrder, StatusReport
from bot.sim.chaos.process import Process
from bot.sim.chaos.scene import Scene
from bot.sim.chaos.weather import VENUE
from bot.units import LOT, NS_PER_MS, NS_PER_S, PX_ONE, Ns, Px

LATE_NS: Ns = NS_PER_S
THAW_NS: Ns = 100 * NS_PER_MS


def orders_are_valid(scene: Scene, process: Process) -> str:
    limits = process.limits
    for order in scene.orders:
        desk = process.executor.desks.get(order.symbol)
        intent = scene.intents.get(order.symbol)
        if desk is None or intent is None:
            return f"order {order.order_id} is of a market that nobody quotes"
        market = desk.market
        up_px: Px = order.px if order.asset_id == market.up_token else PX_ONE - order.px
        if order.asset_id not in (market.up_token, market.down_token):
            return f"order {order.order_id} is for token {order.asset_id}, of another market"
        if not 0 < order.px < PX_ONE or order.px % order.tick:
            return f"order {order.order_id} has price {order.px} on a grid of {order.tick}"
        if not market.min_qty <= order.order_qty <= limits.order_size_max or order.order_qty % LOT:
            return f"order {order.order_id} has size {order.order_qty}"
        if intent.fair_e6 and abs(up_px - intent.fair_e6 // 100) > limits.collar + 10 * desk.tick:
            return f"order {order.order_id} at {up_px} is far from fair {intent.fair_e6 // 100}"
        if process.utc_ns(scene.hub.now_ns) > market.end_utc_ns + LATE_NS:
            return f"order {order.order_id} is for a market that has ended"
        money = order.px * order.order_qty // PX_ONE
        if {order.maker_amount, order.taker_amount} != {money, order.order_qty}:
            return f"order {order.order_id} gives {order.maker_amount} for {order.taker_amount}"
    return ""


def rates_hold(scene: Scene, process: Process) -> str:
    posts = sum(count for _, count in scene.posts)
    if posts > 20 * 10 + 20:
        return f"{posts} orders in ten seconds"
    deletes = sum(count for _, count in scene.deletes)
    if deletes > 80 * 10 + 120:
        return f"{deletes} cancels in ten seconds"
    if len(scene.reads) > 200:
        return f"{len(scene.reads)} reads in ten seconds"
    if process.executor.counts["placed"] > 2 * scene.accepted + scene.carried:
        return "more orders than intents"
    return ""


def repeats_stop(scene: Scene, process: Process) -> str:
    order = scene.message
    assert isinstance(order, NewOrder)
    now = scene.hub.now_ns
    sent = scene.repeats.setdefault((order.symbol, order.asset_id + order.side, order.px), deque())
    sent.append(now)
    while sent[0] < now - 10 * NS_PER_S:
        sent.popleft()
    return f"the same order {len(sent)} times in ten seconds" if len(sent) > 21 else ""


def journal_first(scene: Scene, process: Process) -> str:
    if isinstance(scene.message, StatusReport):
        return ""  # follows from what was handled, and is asked for
    if any(made is scene.message for made in process.journal.emitted):
        return ""
    return f"a {type(scene.message).__name__} leaves before the journal has it"


def fresh(scene: Scene, process: Process) -> str:
    now = scene.hub.now_ns
    for what, at_ns, most_s in (
        ("the user stream's last frame", scene.frame_ns, 10),
        ("the last accepted beat", scene.beat_ns, 7),
        ("the last read of open orders", scene.read_ns, 31),
        ("the executor's last step", scene.handled_ns, 2),
        ("the root's last look", process.gate.root_lease_ns, 2),
    ):
        if now - at_ns > most_s * NS_PER_S:
            return f"an order may leave, and {what} was {(now - at_ns) / NS_PER_S:.1f} s ago"
    return ""


def old_intents_go(scene: Scene, process: Process) -> str:
    """What a strategy that fell silent wanted does not rest on. An executor that fell silent is I9's."""
    now = scene.hub.now_ns
    if now - scene.handled_ns > NS_PER_S:
        return ""
    for order_id, landed_ns in scene.landed.items():
        order = process.executor.orders.by_id.get(order_id)
        if order is None or order.cancel_wanted or not order.is_open:
            continue
        intent = scene.intents.get(order.symbol)
        until_ns = max(intent.valid_until_ns if intent is not None else 0, landed_ns, scene.thawed_ns)
        if now - until_ns > 2 * NS_PER_S:
            return f"{order_id} rests {(now - until_ns) / NS_PER_S:.1f} s after the last word of the strategy"
    return ""


# Words of a halt's reason, and the faults that may bring it about.
STREAMS = frozenset(fault_id for fault_id in VENUE if fault_id[0] in "WU") | {"T06", "B01", "B02", "B04", "T01"}
REFUSALS = frozenset({"P05", "P13", "P16", "P17", "P18", "A01", "V01", "A03"})
UNSURE = frozenset(fault_id for fault_id in VENUE if fault_id[0] in "PCHUWS") | {"T01", "T05", "T06", "T10"}
HALTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("connected again", STREAMS),
    ("right after subscribing", STREAMS),
    ("gaps of the user stream", STREAMS),
    ("never ours", frozenset({"U10", "T09"})),
    ("another host beats", frozenset({"H01"})),
    ("our clock is", frozenset({"A01", "A03"})),
    ("refuses our generation", frozenset({"P10"})),
    ("forbids trading", frozenset({"P15"})),
    ("were reverted", frozenset({"S02", "S04"})),
    ("never filled", REFUSALS),
    (" stays ", UNSURE),
    ("no trade ever showed", UNSURE),
    ("beyond its size", frozenset({"U13", "U11"})),
    ("failed too often", frozenset({"T01", "T05", "T06"})),
)
CAUSE_NS: Ns = 3_600 * NS_PER_S


def halts_where_said(scene: Scene, process: Process) -> str:
    """Exactly where the catalogue says HALT: some fault that may bring it about has happened."""
    for words, causes in HALTS:
        if words in scene.halt:
            when_ns = max((scene.befallen.get(fault_id, -CAUSE_NS) for fault_id in causes), default=-CAUSE_NS)
            return "" if scene.hub.now_ns - when_ns < CAUSE_NS else f"halted without a cause: {scene.halt}"
    return f"halted for what no row of the catalogue halts for: {scene.halt}"


def fails_with_cause(scene: Scene, process: Process) -> str:
    """Failure mode needs a fault, or the simulation that forces it."""
    if scene.state is BotState.FAILING and not scene.befallen and not scene.forced:
        return f"failing although nothing has gone wrong: {process.executor.recovery.reasons}"
    return ""


def lease(scene: Scene, process: Process) -> str:
    now = scene.hub.now_ns
    if now - scene.thawed_ns < THAW_NS:
        return ""  # what stood still goes on where it was, and the beat may have been next
    oldest = min(scene.handled_ns, process.gate.root_lease_ns)
    return (
        f"a beat, and the oldest lease is {(now - oldest) / NS_PER_S:.1f} s old" if now - oldest > 2 * NS_PER_S else ""
    )


def bounded(scene: Scene, process: Process) -> str:
    for name, thread in process.directory.threads.items():
        views = thread.views
        if views > 12:
            return f"{views} views wait in the mailbox of {name}"
    if len(process.executor.alerts) > 20 or len(process.executor.orphans) > 50:
        return "alerts or orphans grow"
    return ""


def no_secrets(scene: Scene, process: Process) -> str:
    return "a secret is in the journal" if scene.leaked else ""
