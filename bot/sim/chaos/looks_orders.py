"""What is open, ended or unknown: by our books, by the venue's, and by what reads told.

A look returns why it does not hold, or an empty text; invariants.py says when each is looked at.
"""

from __future__ import annotations

from bot.messages import BotState, OpenOrders, OrderState
from bot.sim.chaos.process import Process
from bot.sim.chaos.scene import CLEARING, FOREIGN, Scene
from bot.units import LOT, NS_PER_S, Ns

LYING_CANCEL, LYING_LIST, LIE_NS = "C07", "C08", 60 * NS_PER_S  # rows that say what is not so, and how long that counts
UNSEEN_NS: Ns = 15 * NS_PER_S  # of a stranger's order: a read and a half


def nothing_stuck(scene: Scene, process: Process) -> str:
    executor, now = process.executor, scene.hub.now_ns
    limit = process.timers.resolve_ns + 2 * NS_PER_S
    for order in executor.orders.live.values():
        if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL):
            age = now - max(order.since_ns, executor.venue_down_ns, scene.thawed_ns)
            if age > limit and executor.recovery.state not in CLEARING:
                return f"{order.order_id} is {order.state} for {age / NS_PER_S:.0f} s"
    return ""


def nothing_open(scene: Scene, process: Process) -> str:
    for order in process.executor.orders.live.values():
        if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL) or order.debt:
            return f"{order.order_id} is {order.state} with a debt of {order.debt}"
    return ""


def views_agree(scene: Scene, process: Process) -> str:
    theirs = {order.order_id: order.matched for order in scene.venue.open_orders()}
    ours = {order.order_id: order.cum_qty for order in process.executor.orders.open_orders()}
    if theirs != ours:
        return f"we have {ours} open, and the venue {theirs}"
    for order in process.executor.orders.by_id.values():
        found = scene.venue.exchange.order(order.order_id)
        if found is not None and abs(found.matched - order.cum_qty - order.voided) >= LOT:
            return (
                f"{order.order_id} has {order.cum_qty} filled and {order.voided} void, and {found.matched} at the venue"
            )
    return ""


def read_tells_all_of_its_time(scene: Scene, process: Process) -> str:
    """Of an order sent after it was asked a read says nothing, and one that rested before it lists, unless an order
    that ended meanwhile moved another over the edge of a page."""
    read, now = scene.heard, scene.hub.now_ns
    if not isinstance(read, OpenOrders):
        return ""
    whole = max(scene.left_ns, scene.befallen.get(LYING_LIST, -LIE_NS) + LIE_NS) < read.asked_ns
    for order in process.executor.orders.live.values():
        if order.state is not OrderState.UNKNOWN or order.since_ns != now:
            continue
        if order.sent_ns > read.asked_ns:
            return f"{order.order_id} is unknown, for a read asked before it was sent lacks it"
        if scene.landed.get(order.order_id, now) < read.asked_ns and whole and scene.rests(order.order_id):
            return f"{order.order_id} is unknown, though it rested before the read was asked and rests now"
    return ""


def ended_is_gone(scene: Scene, process: Process) -> str:
    """What we call ended counts nowhere, so it must not rest. What takes longer than T_settle to land nobody waits for."""
    if scene.hub.now_ns - scene.befallen.get(LYING_CANCEL, -LIE_NS) < LIE_NS:
        return ""
    for order_id, landed_ns in scene.landed.items():
        order = process.executor.orders.by_id.get(order_id)
        if order is None or order.is_open or order.exposure or not scene.rests(order_id):
            continue
        if landed_ns - order.sent_ns < process.timers.settle_ns:
            return f"{order_id} rests, and is {order.state} in our books"
    return ""


def strangers_are_noticed(scene: Scene, process: Process) -> str:
    """Another's order on our wallet does not rest on while we quote."""
    now = scene.hub.now_ns
    if scene.state is not BotState.QUOTING:
        return ""
    lied_ns = scene.befallen.get(LYING_LIST, -LIE_NS) + LIE_NS
    excuse_ns = max(scene.state_ns, scene.thawed_ns, process.executor.venue_down_ns, lied_ns)
    for order_id, landed_ns in scene.landed.items():
        since_ns = max(landed_ns, excuse_ns)
        if order_id.startswith(FOREIGN) and now - since_ns > UNSEEN_NS:
            return f"{order_id} rests {(now - since_ns) / NS_PER_S:.0f} s beside our quotes"
    return ""


def deletes_are_planned(scene: Scene, process: Process) -> str:
    """A cancel without an answer will be sent again soon."""
    executor, now = process.executor, scene.hub.now_ns
    latest_ns = now + 4 * process.timers.cancel_ns
    for order in executor.orders.live.values():
        if order.state is OrderState.PENDING_CANCEL and not 0 < order.delete_due_ns <= latest_ns:
            return f"the next DELETE of {order.order_id} is due in {(order.delete_due_ns - now) / NS_PER_S:.0f} s"
    return ""
