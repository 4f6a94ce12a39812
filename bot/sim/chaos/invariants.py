"""The invariants I1 to I20, each a row: id, name, when it is looked at, and the look itself.

A look returns why it does not hold, or an empty text. Moments: `handled` after each step of the executor, and after it
`fill`, `placed` and `state` where it booked one, placed an order, changed the bot's state; `sending` as each of its
messages leaves, `order` as an order does; `post`, `delete` and `beat` as such a request's bytes leave for the venue;
`landed` as an order reaches the book; `second` once a second; `flat` when the executor says so, and `proven` when panic does; `latch` when the bot was halted;
`quiet` at quiescence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from bot.messages import (
    BotState,
    ExecType,
    ExecutionReport,
    MassCancel,
    NewOrder,
    OpenOrders,
    OrderState,
    Restarted,
    Side,
    StatusReport,
    StreamGap,
)
from bot.sim import records as rec
from bot.sim.chaos.process import Process
from bot.sim.chaos.scene import CLEARING, FOREIGN, TERMINAL, Scene, Violation
from bot.sim.chaos.venue import OWNER, leg_is_bid
from bot.sim.chaos.weather import VENUE
from bot.units import LOT, NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, Ns, Px, Qty, Usd

FIRST_CANCEL_NS: Ns = 250 * NS_PER_MS
CONNECT_NS: Ns = 250 * NS_PER_MS  # a fresh process has its connections to make
LATE_NS: Ns = NS_PER_S
THAW_NS: Ns = 100 * NS_PER_MS
LYING_CANCEL, LYING_LIST, LIE_NS = "C07", "C08", 60 * NS_PER_S  # rows that say what is not so, and how long that counts
UNSEEN_NS: Ns = 15 * NS_PER_S  # of a stranger's order: a read and a half
SILENT_NS: Ns = 2 * NS_PER_S  # of the executor: by then the root or the guardian has noticed


@dataclass(frozen=True, slots=True)
class Invariant:
    id: str
    name: str
    moment: str
    look: Callable[[Scene, Process], str]


def judge(scene: Scene, moment: str) -> Violation | None:
    """The first row of that moment which does not hold."""
    process = scene.process
    if process is None:
        text = _empties_when_dead(scene) if moment == "second" else ""
        return Violation("I9", f"Cancel-all arrives: {text}") if text else None
    for row in BY_MOMENT[moment]:
        text = row.look(scene, process)
        if text:
            return Violation(row.id, f"{row.name}: {text}")
    return None


# -- inventory, money, order records -------------------------------------------------------------------------------


def _fills_are_the_venues(scene: Scene, process: Process) -> str:
    for fill in scene.fills:
        trade = scene.venue.exchange.trades.get(fill.exec_id)
        if trade is None:
            return f"a fill of trade {fill.exec_id}, which the venue never made"
        legs = [(leg.order_id, leg.token, leg.side, leg.px, leg.qty) for leg in trade.makers]
        legs.append((trade.taker_order_id, trade.token, trade.side, trade.px, trade.qty))
        booked = (fill.order_id, fill.asset_id, fill.side, fill.px, abs(fill.qty))
        if booked not in legs:
            return f"trade {fill.exec_id} was booked as {booked}, and the venue's legs are {legs}"
    return ""


def _inventory_is_the_sum(scene: Scene, process: Process) -> str:
    positions = process.executor.positions
    for symbol in {fill.symbol for fill in scene.fills}:
        holding = positions.of(symbol)
        if holding.winner:
            continue
        sums: dict[str, Qty] = {}
        for record in positions.fills.values():
            if record.symbol == symbol and not record.void:
                sums[record.asset_id] = sums.get(record.asset_id, 0) + record.signed_qty
        held = {token: qty for token, qty in holding.tokens.items() if qty}
        if held != {token: qty for token, qty in sums.items() if qty}:
            return f"{symbol} holds {held}, and its fills sum to {sums}"
    return ""


def _inventory_is_the_ledgers(scene: Scene, process: Process) -> str:
    held = {token: qty for token, qty in scene.venue.exchange.account(OWNER).tokens.items() if qty}
    for symbol in process.executor.desks:
        market = scene.venue.exchange.markets[symbol]
        if market.outcome:
            continue
        ours = process.executor.positions.of(symbol).tokens
        for token in (market.up_token, market.down_token):
            if token in process.executor.taken and process.executor.positions.unsettled_qty(token):
                continue  # a fee kept back in shares is asked for when nothing of them is on its way to the chain
            if ours.get(token, 0) != held.get(token, 0):
                return f"{ours.get(token, 0) / QTY_ONE} of token {token}, and the venue's ledger has {held.get(token, 0) / QTY_ONE}"
    return ""


def _one_effect(scene: Scene, process: Process) -> str:
    for fill in scene.fills:
        key = (fill.exec_id, fill.order_id)
        stage, wanted = scene.booked.get(key, 0), 0 if fill.qty > 0 else 1
        if stage != wanted:
            return f"fill {key} changes the inventory {'again' if fill.qty > 0 else 'back without having changed it, or twice'}"
        scene.booked[key] = stage + 1
    return ""


def _sent_once(scene: Scene, process: Process) -> str:
    again = [order.order_id for order in scene.orders if order.order_id in scene.posted]
    return f"order {again[0]} is sent a second time" if again else ""


def _one_per_slot(scene: Scene, process: Process) -> str:
    order = scene.message
    assert isinstance(order, NewOrder)
    market = scene.venue.exchange.markets[order.symbol]
    is_bid = leg_is_bid(market, order.asset_id, order.side)
    others = [
        other.order_id
        for other in scene.venue.open_orders()
        if other.condition_id == order.symbol and other.is_bid == is_bid and not other.order_id.startswith(FOREIGN)
    ]
    return (
        f"{len(others)} orders rest as {'bid' if is_bid else 'offer'} of {order.symbol}: {others}"
        if len(others) > 1
        else ""
    )


def _monotonic(scene: Scene, process: Process) -> str:
    for order in process.executor.orders.live.values():
        before = scene.seen.get(order.order_id)
        if before is None:
            continue
        state, cum, venue_cum, voided = before
        if order.cum_qty < cum and order.cum_qty + order.voided < cum + voided:
            return f"cum of {order.order_id} fell from {cum} to {order.cum_qty}"
        if order.venue_cum < venue_cum or order.voided < voided:
            return f"venue_cum or voided of {order.order_id} fell"
        if state in TERMINAL and order.state is OrderState.WORKING:
            return f"{order.order_id} came back from {state} to working"
        if order.is_open and order.cum_qty + order.leaves_qty != max(order.order_qty, order.cum_qty):
            return f"cum and leaves of {order.order_id} are not its size"
    return ""


def _cash_balances(scene: Scene, process: Process) -> str:
    if scene.cash is not None and process.executor.positions.cash != scene.cash:
        return f"cash is {process.executor.positions.cash}, and fills and payouts make {scene.cash}"
    return ""


def _cash_is_the_ledgers(scene: Scene, process: Process) -> str:
    ours, theirs = process.executor.positions.cash, scene.venue.exchange.account(OWNER).cash
    unpaid = 0
    for symbol in process.executor.desks:  # the venue pays at once, we when we are told
        market = scene.venue.exchange.markets[symbol]
        if market.outcome:
            winner = market.up_token if market.outcome == "up" else market.down_token
            unpaid += process.executor.positions.of(symbol).tokens.get(winner, 0)
    return f"cash is {ours + unpaid}, and the venue's ledger has {theirs}" if ours + unpaid != theirs else ""


# -- limits --------------------------------------------------------------------------------------------------------


def _limits_hold(scene: Scene, process: Process) -> str:
    """By the venue's truth: what rests, what is on its way, what is held; before an order leaves, on the side it adds to."""
    order = scene.message
    assert isinstance(order, NewOrder)
    if scene.venue.exchange.markets[order.symbol].outcome:
        return ""  # it will be refused: what it was worth is paid
    limits, slack = process.limits, scene.slack[order.symbol]
    worst = _worst_case(scene, order.symbol)
    is_bid = leg_is_bid(scene.venue.exchange.markets[order.symbol], order.asset_id, order.side)
    net, loss = (worst.long, worst.loss_down) if is_bid else (-worst.short, worst.loss_up)
    if net > limits.q_max + slack:
        return (
            f"{order.symbol} may come to {net / QTY_ONE} {'long' if is_bid else 'short'}, of {limits.q_max / QTY_ONE}"
        )
    if loss > limits.loss_max_mkt + slack:
        return f"{order.symbol} may lose {loss} of {limits.loss_max_mkt}"
    live = len(scene.venue.open_orders()) + len(scene.in_the_air())
    if live > limits.open_orders_max:
        return f"{live} orders may be live, of {limits.open_orders_max}"
    return ""


def _refused_is_gone(scene: Scene, process: Process) -> str:
    """What we call refused counts nowhere, so it must not rest."""
    report = scene.heard
    if not isinstance(report, ExecutionReport) or report.exec_type is not ExecType.REJECTED:
        return ""
    found = scene.venue.exchange.order(report.order_id)
    return f"{report.order_id} rests, and was told as refused" if found is not None and found.status == rec.LIVE else ""


def _restart_forgets_nothing(scene: Scene, process: Process) -> str:
    """What was in flight at a crash may have arrived."""
    if not isinstance(scene.heard, Restarted):
        return ""
    for order in process.executor.orders.by_id.values():
        given_up = order.state is OrderState.REJECTED and order.since_ns == scene.hub.now_ns
        if given_up and scene.venue.exchange.order(order.order_id) is not None:
            return f"{order.order_id} was taken for never sent, and the venue has it"
    return ""


@dataclass(slots=True)
class Worst:
    long: Qty = 0
    short: Qty = 0
    loss_up: Usd = 0
    loss_down: Usd = 0


def _worst_case(scene: Scene, symbol: str) -> Worst:
    market = scene.venue.exchange.markets[symbol]
    tokens = scene.venue.exchange.account(OWNER).tokens
    up, down = tokens.get(market.up_token, 0), tokens.get(market.down_token, 0)
    invested = scene.invested(symbol)
    worst = Worst(up - down, up - down, invested - up, invested - down)
    open_orders = [
        (order.token, order.side, order.px, order.leaves)
        for order in scene.venue.open_orders()
        if order.condition_id == symbol and not order.order_id.startswith(FOREIGN)
    ]
    open_orders += [
        (order.asset_id, order.side, order.px, order.order_qty)
        for order in scene.in_the_air()
        if order.symbol == symbol
    ]
    for token, side, px, qty in open_orders:
        paid = px if side is Side.BUY else -px
        got = PX_ONE if side is Side.BUY else -PX_ONE
        if leg_is_bid(market, token, side):
            worst.long += qty
        else:
            worst.short -= qty
        up_got, down_got = (got, 0) if token == market.up_token else (0, got)
        worst.loss_up += max(0, (paid - up_got) * qty // PX_ONE)
        worst.loss_down += max(0, (paid - down_got) * qty // PX_ONE)
    return worst


def _all_that_may_be_live_counts(scene: Scene, process: Process) -> str:
    """Counted anew from the orders' records: what is open, of unknown size or owed adds to its side."""
    executor = process.executor
    for order in scene.placed:
        desk = executor.desks[order.symbol]
        use = executor.use(desk)
        long = short = use.net
        for other in executor.orders.live.values():
            if other.symbol != order.symbol:
                continue
            owed = other.venue_cum - other.cum_qty - other.voided
            may = max(0, other.order_qty - other.cum_qty if other.is_open or other.tail_ns else 0)
            may = max(may, owed if owed >= LOT else 0)
            if leg_is_bid(scene.venue.exchange.markets[order.symbol], other.asset_id, other.side):
                long += may
            else:
                short -= may
        if use.long < long or use.short > short:
            return f"{order.symbol} may come to {long} or {short}, and {use.long} or {use.short} is counted"
    return ""


def _books_know(scene: Scene, process: Process) -> str:
    """By the executor's own books, where every change was marked: no order is placed on a side that is full."""
    executor, limits = process.executor, process.limits
    capital = 0
    for symbol, desk in executor.desks.items():
        use = executor.use(desk)
        if use != executor.use_without(desk, None):
            return f"a change of {symbol} was not marked"
        capital += use.capital
    for order in scene.placed:
        use, slack = executor.use(executor.desks[order.symbol]), scene.slack[order.symbol]
        if order.tick != executor.desks[order.symbol].tick:  # which may change while the order is on its way
            return f"order {order.order_id} is made for a grid of {order.tick}"
        is_bid = leg_is_bid(scene.venue.exchange.markets[order.symbol], order.asset_id, order.side)
        net, loss = (use.long, use.loss_down) if is_bid else (-use.short, use.loss_up)
        if net > limits.q_max + slack or loss > limits.loss_max_mkt + slack:
            return f"{order.symbol} uses {net / QTY_ONE} shares and {loss} of its loss"
    if capital > process.limits.capital_max + sum(scene.slack.values()):
        return f"{capital} of capital, of {process.limits.capital_max}"
    return ""


# -- facts ---------------------------------------------------------------------------------------------------------


def _single_writer(scene: Scene, process: Process) -> str:
    thread = process.directory.threads.get("executor")
    return "" if thread is None or thread.may_run else "the executor was handled outside its own thread"


def _lossless(scene: Scene, process: Process) -> str:
    return scene.disordered


def _trades_are_booked(scene: Scene, process: Process) -> str:
    """At once, or put aside with a failure: what is only owed may be sold twice."""
    report, executor = scene.heard, process.executor
    if not isinstance(report, ExecutionReport) or report.exec_type is not ExecType.TRADE or report.trade_status is None:
        return ""
    if executor.positions.known(report) is not None or report.order_id not in executor.orders.by_id:
        return ""
    put_aside = executor.user_events["quarantined"] > scene.quarantined
    return "" if put_aside else f"trade {report.exec_id} of {report.order_id} was told and not booked"


def _gaps_stop_quoting(scene: Scene, process: Process) -> str:
    """What the user stream missed may be a fill."""
    if isinstance(scene.heard, StreamGap) and process.executor.recovery.state is BotState.QUOTING:
        return f"it quotes on after a gap of the user stream ({scene.heard.reason})"
    return ""


def _events_add_up(scene: Scene, process: Process) -> str:
    feed, counts = process.user_feed, process.executor.user_events
    if feed is None or scene.delivered:
        return ""
    handled = sum(counts.values())
    told = feed.received - feed.quarantined
    return f"{told} user events were told, and {handled} were handled, repeated or put aside" if handled != told else ""


def _all_answered(scene: Scene, process: Process) -> str:
    for order in process.executor.orders.by_id.values():
        ours = not order.foreign and order.sent_ns > scene.began_ns
        if ours and not order.answered:
            return f"the POST of {order.order_id} was never answered"
    return ""


# -- going flat ----------------------------------------------------------------------------------------------------


def _no_placing(scene: Scene, process: Process) -> str:
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


def _gate_holds(scene: Scene, process: Process) -> str:
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
        return _fresh(scene, process)
    return f"the gate lets an order pass although: {blocked}" if None in gate.admit([probe], now) else ""


def _epoch_rises(scene: Scene, process: Process) -> str:
    """Of what was made before a failure nothing may pass the gate any more."""
    executor = process.executor
    if scene.state not in CLEARING:
        return ""
    for order in executor.orders.live.values():
        if not order.foreign and order.epoch >= executor.epoch_of(order.symbol):
            return f"order {order.order_id} has epoch {order.epoch}, which is that of {scene.state}"
    return ""


def _placed_while_quoting(scene: Scene, process: Process) -> str:
    if process.executor.recovery.state is not BotState.QUOTING:
        return f"an order is emitted while {process.executor.recovery.state}"
    return ""


def _cooled_down(scene: Scene, process: Process) -> str:
    if scene.state is not BotState.QUOTING or scene.resumed:
        return ""
    since_ns = scene.hub.now_ns - scene.failed_ns
    return f"quoting {since_ns / NS_PER_S:.2f} s after a failure" if since_ns < process.timers.cooldown_ns else ""


def _flat_before_quoting(scene: Scene, process: Process) -> str:
    if scene.state is not BotState.QUOTING:
        return ""
    left = [order.order_id for order in scene.venue.open_orders() if not order.order_id.startswith(FOREIGN)]
    return f"quoting begins while {left} rest" if left else ""


def _cancel_is_asked(scene: Scene, process: Process) -> str:
    """The first DELETE after a trigger; `second` looks for one that never comes."""
    if not scene.trigger_ns or scene.excused_cancel():
        return ""
    waited_ns = scene.hub.now_ns - max(scene.trigger_ns, scene.thawed_ns, scene.began_ns + CONNECT_NS)
    if waited_ns > FIRST_CANCEL_NS:
        return f"no DELETE left for {waited_ns / NS_PER_MS:.0f} ms after the bot began to fail"
    return ""


def _flat_is_proven(scene: Scene, process: Process) -> str:
    """By a cancel-all that was answered."""
    return "" if scene.cancelled else "flat is said, and no cancel-all was answered"


def _last_word_comes_last(scene: Scene, process: Process) -> str:
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


def _panic_has_waited(scene: Scene, process: Process) -> str:
    """What panic calls flat was read twice, and where nobody may place no POST is on the wire that may land yet."""
    now, reads = scene.hub.now_ns, scene.proofs
    if not reads or reads[-1] - reads[0] < process.timers.snap_ns:
        return f"panic says flat after {len(reads)} reads of open orders"
    young = [order_id for order_id, at_ns in process.gate.inflight().items() if now - at_ns < process.timers.http_ns]
    return f"panic says flat, and the POST of {young[0]} may land yet" if young and process.gate.blocked(now) else ""


def _venue_empties(scene: Scene, process: Process) -> str:
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


def _empties_when_stopped(scene: Scene, process: Process) -> str:
    now = scene.hub.now_ns
    if scene.thawed_ns <= now:
        return ""
    for order_id, landed_ns in scene.landed.items():
        age = now - max(scene.stopped_ns, landed_ns)
        if age > scene.dead_within_ns():
            return f"{order_id} rests {age / NS_PER_S:.1f} s after the process was stopped"
    return ""


def _empties_when_dead(scene: Scene) -> str:
    """By the guardian, or else by the venue's own switch."""
    limit, now = scene.dead_within_ns(), scene.hub.now_ns
    for order_id, landed_ns in scene.landed.items():
        age = now - max(scene.down_ns, landed_ns)
        if age > limit:
            return f"{order_id} rests {age / NS_PER_S:.1f} s after the process died"
    return ""


def _nothing_stuck(scene: Scene, process: Process) -> str:
    executor, now = process.executor, scene.hub.now_ns
    limit = process.timers.resolve_ns + 2 * NS_PER_S
    for order in executor.orders.live.values():
        if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL):
            age = now - max(order.since_ns, executor.venue_down_ns, scene.thawed_ns)
            if age > limit and executor.recovery.state not in CLEARING:
                return f"{order.order_id} is {order.state} for {age / NS_PER_S:.0f} s"
    return ""


def _nothing_open(scene: Scene, process: Process) -> str:
    for order in process.executor.orders.live.values():
        if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL) or order.debt:
            return f"{order.order_id} is {order.state} with a debt of {order.debt}"
    return ""


def _views_agree(scene: Scene, process: Process) -> str:
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


def _read_tells_all_of_its_time(scene: Scene, process: Process) -> str:
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


def _ended_is_gone(scene: Scene, process: Process) -> str:
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


def _strangers_are_noticed(scene: Scene, process: Process) -> str:
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


def _deletes_are_planned(scene: Scene, process: Process) -> str:
    """A cancel without an answer will be sent again soon."""
    executor, now = process.executor, scene.hub.now_ns
    latest_ns = now + 4 * process.timers.cancel_ns
    for order in executor.orders.live.values():
        if order.state is OrderState.PENDING_CANCEL and not 0 < order.delete_due_ns <= latest_ns:
            return f"the next DELETE of {order.order_id} is due in {(order.delete_due_ns - now) / NS_PER_S:.0f} s"
    return ""


# -- requests ------------------------------------------------------------------------------------------------------


def _orders_are_valid(scene: Scene, process: Process) -> str:
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


def _rates_hold(scene: Scene, process: Process) -> str:
    posts = sum(count for _, count in scene.posts)
    if posts > 20 * 10 + 20:
        return f"{posts} orders in ten seconds"
    deletes = sum(count for _, count in scene.deletes)
    if deletes > 80 * 10 + 120:
        return f"{deletes} cancels in ten seconds"
    if len(scene.reads) > 200:
        return f"{len(scene.reads)} reads in ten seconds"
    if process.executor.counts["placed"] > 2 * scene.accepted:
        return "more orders than intents"
    return ""


def _repeats_stop(scene: Scene, process: Process) -> str:
    order = scene.message
    assert isinstance(order, NewOrder)
    now = scene.hub.now_ns
    sent = scene.repeats.setdefault((order.symbol, order.asset_id + order.side, order.px), deque())
    sent.append(now)
    while sent[0] < now - 10 * NS_PER_S:
        sent.popleft()
    return f"the same order {len(sent)} times in ten seconds" if len(sent) > 21 else ""


def _journal_first(scene: Scene, process: Process) -> str:
    if isinstance(scene.message, StatusReport):
        return ""  # follows from what was handled, and is asked for
    if any(made is scene.message for made in process.journal.emitted):
        return ""
    return f"a {type(scene.message).__name__} leaves before the journal has it"


def _fresh(scene: Scene, process: Process) -> str:
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


def _old_intents_go(scene: Scene, process: Process) -> str:
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


def _halts_where_said(scene: Scene, process: Process) -> str:
    """Exactly where the catalogue says HALT: some fault that may bring it about has happened."""
    for words, causes in HALTS:
        if words in scene.halt:
            when_ns = max((scene.befallen.get(fault_id, -CAUSE_NS) for fault_id in causes), default=-CAUSE_NS)
            return "" if scene.hub.now_ns - when_ns < CAUSE_NS else f"halted without a cause: {scene.halt}"
    return f"halted for what no row of the catalogue halts for: {scene.halt}"


def _fails_with_cause(scene: Scene, process: Process) -> str:
    """Failure mode needs a fault, or the simulation that forces it."""
    if scene.state is BotState.FAILING and not scene.befallen and not scene.forced:
        return f"failing although nothing has gone wrong: {process.executor.recovery.reasons}"
    return ""


def _lease(scene: Scene, process: Process) -> str:
    now = scene.hub.now_ns
    if now - scene.thawed_ns < THAW_NS:
        return ""  # what stood still goes on where it was, and the beat may have been next
    oldest = min(scene.handled_ns, process.gate.root_lease_ns)
    return (
        f"a beat, and the oldest lease is {(now - oldest) / NS_PER_S:.1f} s old" if now - oldest > 2 * NS_PER_S else ""
    )


def _bounded(scene: Scene, process: Process) -> str:
    for name, thread in process.directory.threads.items():
        views = thread.views
        if views > 12:
            return f"{views} views wait in the mailbox of {name}"
    if len(process.executor.alerts) > 20 or len(process.executor.orphans) > 50:
        return "alerts or orphans grow"
    return ""


def _no_secrets(scene: Scene, process: Process) -> str:
    return "a secret is in the journal" if scene.leaked else ""


INVARIANTS = (
    Invariant("I1", "Single writer", "handled", _single_writer),
    Invariant("I2", "Views agree", "quiet", _views_agree),
    Invariant("I2", "Views agree", "handled", _read_tells_all_of_its_time),
    Invariant("I2", "Views agree", "second", _strangers_are_noticed),
    Invariant("I3", "Inventory = fills", "fill", _fills_are_the_venues),
    Invariant("I3", "Inventory = fills", "fill", _inventory_is_the_sum),
    Invariant("I3", "Inventory = fills", "quiet", _inventory_is_the_ledgers),
    Invariant("I4", "Exposure bound", "handled", _refused_is_gone),
    Invariant("I4", "Exposure bound", "handled", _restart_forgets_nothing),
    Invariant("I4", "Exposure bound", "landed", _ended_is_gone),
    Invariant("I4", "Exposure bound", "second", _ended_is_gone),
    Invariant("I4", "Exposure bound", "placed", _all_that_may_be_live_counts),
    Invariant("I4", "Exposure bound", "placed", _books_know),
    Invariant("I4", "Exposure bound", "order", _limits_hold),
    Invariant("I4", "Exposure bound", "landed", _limits_hold),
    Invariant("I5", "Lossless", "handled", _lossless),
    Invariant("I5", "Lossless", "handled", _trades_are_booked),
    Invariant("I5", "Lossless", "handled", _gaps_stop_quoting),
    Invariant("I5", "Lossless", "quiet", _events_add_up),
    Invariant("I5", "Lossless", "quiet", _all_answered),
    Invariant("I6", "One effect", "fill", _one_effect),
    Invariant("I6", "One effect", "post", _sent_once),
    Invariant("I6", "One effect", "landed", _one_per_slot),
    Invariant("I7", "Monotonic", "handled", _monotonic),
    Invariant("I8", "No placing while failing", "post", _no_placing),
    Invariant("I8", "No placing while failing", "second", _gate_holds),
    Invariant("I8", "No placing while failing", "state", _epoch_rises),
    Invariant("I8", "No placing while failing", "order", _placed_while_quoting),
    Invariant("I8", "No placing while failing", "state", _cooled_down),
    Invariant("I8", "No placing while failing", "state", _flat_before_quoting),
    Invariant("I9", "Cancel-all arrives", "delete", _cancel_is_asked),
    Invariant("I9", "Cancel-all arrives", "second", _cancel_is_asked),
    Invariant("I9", "Cancel-all arrives", "flat", _flat_is_proven),
    Invariant("I9", "Cancel-all arrives", "sending", _last_word_comes_last),
    Invariant("I9", "Cancel-all arrives", "proven", _panic_has_waited),
    Invariant("I9", "Cancel-all arrives", "second", _venue_empties),
    Invariant("I9", "Cancel-all arrives", "second", _empties_when_stopped),
    Invariant("I10", "Bounded", "second", _bounded),
    Invariant("I11", "Nothing stuck", "second", _nothing_stuck),
    Invariant("I11", "Nothing stuck", "quiet", _nothing_open),
    Invariant("I11", "Nothing stuck", "second", _deletes_are_planned),
    Invariant("I12", "Valid orders", "post", _orders_are_valid),
    Invariant("I13", "Rates", "second", _rates_hold),
    Invariant("I13", "Rates", "order", _repeats_stop),
    Invariant("I14", "Journal first", "sending", _journal_first),
    Invariant("I16", "Freshness", "post", _fresh),
    Invariant("I16", "Freshness", "second", _old_intents_go),
    Invariant("I17", "Lease", "beat", _lease),
    Invariant("I18", "No secrets", "quiet", _no_secrets),
    Invariant("I19", "Cash", "handled", _cash_balances),
    Invariant("I19", "Cash", "quiet", _cash_is_the_ledgers),
    Invariant("I20", "Comes back", "state", _fails_with_cause),
    Invariant("I20", "Comes back", "latch", _halts_where_said),
)
BY_MOMENT = {
    moment: [row for row in INVARIANTS if row.moment == moment]
    for moment in dict.fromkeys(row.moment for row in INVARIANTS)
}
