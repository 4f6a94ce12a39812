"""That nothing is placed in doubt, and that the venue empties: gate, epochs, cancel-all, proofs of flat.

A look returns why it does not hold, or an empty text; invariants.py says when each is looked at.
"""

from __future__ import annotations

import msgspec

from bot.messages import BotState, MassCancel, OrderState
from bot.sim.chaos.looks_requests import fresh
from bot.sim.chaos.process import Process
from bot.sim.chaos.scene import CLEARING, FOREIGN, Scene
from bot.units import NS_PER_MS, NS_PER_S, Ns

FIRST_CANCEL_NS: Ns = 250 * NS_PER_MS
CONNECT_NS: Ns = 250 * NS_PER_MS  # a fresh process has its connections to make
SILENT_NS: Ns = 2 * NS_PER_S  # of the executor: by then the root or the guardian has noticed


def no_placing(scene: Scene, process: Process) -> str:
    executor = process.executor
    blocked = process.gate.blocked(scene.hub.now_ns)
    if blocked:
        return f"an order leaves although the gate is shut: {blocked}"
    if executor.recovery.state is not BotState.QUOTING:
        return f"an order leaves while {executor.recovery.state}"
    for order in scene.orders:
        if order.epoch != executor.epoch_of(order.symbol):
            return f"order {order.order_id} of epoch {order.epoch} leaves at epoch {executor.epoch_of(order.symbol)}"
        if order.order_id not in process.gate.inflight():
            return f"order {order.order_id} leaves without being in flight"
    return ""


def gate_holds(scene: Scene, process: Process) -> str:
    """Whoever asks: nothing passes while something blocks it, and nothing of an old epoch ever."""
    if not scene.orders:
        return ""
    gate, now = process.gate, scene.hub.now_ns
    last = scene.orders[-1]
    epoch = gate.epoch(last.symbol)
    probe = msgspec.structs.replace(last, epoch=epoch, valid_until_ns=now)
    old = msgspec.structs.replace(probe, epoch=epoch - 1)
    if None in gate.admit([old], now):
        return f"the gate lets an order of epoch {epoch - 1} pass at epoch {epoch}"
    blocked = gate.blocked(now)
    if not blocked:
        return fresh(scene, process)
    return f"the gate lets an order pass although: {blocked}" if None in gate.admit([probe], now) else ""


def epoch_rises(scene: Scene, process: Process) -> str:
    """Of what was made before a failure nothing may pass the gate any more."""
    executor = process.executor
    if scene.state not in CLEARING:
        return ""
    for order in executor.orders.live.values():
        if not order.foreign and order.epoch >= executor.epoch_of(order.symbol):
            return f"order {order.order_id} has epoch {order.epoch}, which is that of {scene.state}"
    return ""


def placed_while_quoting(scene: Scene, process: Process) -> str:
    if process.executor.recovery.state is not BotState.QUOTING:
        return f"an order is emitted while {process.executor.recovery.state}"
    return ""


def cooled_down(scene: Scene, process: Process) -> str:
    if scene.state is not BotState.QUOTING or scene.resumed:
        return ""
    since_ns = scene.hub.now_ns - scene.failed_ns
    return f"quoting {since_ns / NS_PER_S:.2f} s after a failure" if since_ns < process.timers.cooldown_ns else ""


def flat_before_quoting(scene: Scene, process: Process) -> str:
    if scene.state is not BotState.QUOTING:
        return ""
    left = [order.order_id for order in scene.venue.open_orders() if not order.order_id.startswith(FOREIGN)]
    return f"quoting begins while {left} rest" if left else ""


def cancel_is_asked(scene: Scene, process: Process) -> str:
    """The first DELETE after a trigger; `second` looks for one that never comes."""
    if not scene.trigger_ns or scene.excused_cancel():
        return ""
    waited_ns = scene.hub.now_ns - max(scene.trigger_ns, scene.thawed_ns, scene.began_ns + CONNECT_NS)
    if waited_ns > FIRST_CANCEL_NS:
        return f"no DELETE left for {waited_ns / NS_PER_MS:.0f} ms after the bot began to fail"
    return ""


def flat_is_proven(scene: Scene, process: Process) -> str:
    """By a cancel-all that was answered."""
    return "" if scene.cancelled else "flat is said, and no cancel-all was answered"


def last_word_comes_last(scene: Scene, process: Process) -> str:
    """Of a cancel-all that counts as the last word no POST is on the wire that might land after it."""
    message = scene.message
    if not isinstance(message, MassCancel) or message.symbol or not process.executor.recovery.clean:
        return ""
    limit_ns = scene.hub.now_ns - process.timers.http_ns
    for order in process.executor.orders.live.values():
        unsure = order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN)
        if unsure and order.sent_ns > limit_ns and not order.answered:
            return f"the last cancel-all leaves, and the POST of {order.order_id} may land after it"
    return ""


def panic_has_waited(scene: Scene, process: Process) -> str:
    """What panic calls flat was read twice, and where nobody may place no POST is on the wire that may land yet."""
    now, reads = scene.hub.now_ns, scene.proofs
    if not reads or reads[-1] - reads[0] < process.timers.snap_ns:
        return f"panic says flat after {len(reads)} reads of open orders"
    young = [order_id for order_id, at_ns in process.gate.inflight().items() if now - at_ns < process.timers.http_ns]
    return f"panic says flat, and the POST of {young[0]} may land yet" if young and process.gate.blocked(now) else ""


def venue_empties(scene: Scene, process: Process) -> str:
    """While flat is owed, or the executor says nothing, nothing rests for longer than the dead-man takes; much shorter
    while the venue is well."""
    executor, now = process.executor, scene.hub.now_ns
    since_ns = executor.recovery.clearing_ns
    if now - scene.handled_ns > SILENT_NS:
        since_ns = scene.handled_ns + SILENT_NS
    elif executor.recovery.state not in CLEARING or not since_ns:
        return ""
    limit = scene.flat_within_ns()
    for order_id, landed_ns in scene.landed.items():
        if now - max(since_ns, landed_ns, scene.thawed_ns) > limit:
            return f"{order_id} rests {(now - max(since_ns, landed_ns)) / NS_PER_S:.1f} s after the bot began to fail"
    return ""


def empties_when_stopped(scene: Scene, process: Process) -> str:
    now = scene.hub.now_ns
    if scene.thawed_ns <= now:
        return ""
    for order_id, landed_ns in scene.landed.items():
        age = now - max(scene.stopped_ns, landed_ns)
        if age > scene.dead_within_ns():
            return f"{order_id} rests {age / NS_PER_S:.1f} s after the process was stopped"
    return ""


def empties_when_dead(scene: Scene) -> str:
    """By the guardian, or else by the venue's own switch."""
    limit, now = scene.dead_within_ns(), scene.hub.now_ns
    for order_id, landed_ns in scene.landed.items():
        age = now - max(scene.down_ns, landed_ns)
        if age > limit:
            return f"{order_id} rests {age / NS_PER_S:.1f} s after the process died"
    return ""
