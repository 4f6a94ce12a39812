"""What the executor holds and counts: inventory, cash, order records, limits, facts; beside the venue's own ledger.

A look returns why it does not hold, or an empty text; invariants.py says when each is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.messages import (
    BotState,
    ExecType,
    ExecutionReport,
    NewOrder,
    OrderState,
    Restarted,
    Side,
    StreamGap,
)
from bot.sim import records as rec
from bot.sim.chaos.process import Process
from bot.sim.chaos.scene import FOREIGN, TERMINAL, Scene
from bot.sim.chaos.venue import OWNER, leg_is_bid
from bot.units import LOT, PX_ONE, QTY_ONE, Qty, Usd


def fills_are_the_venues(scene: Scene, process: Process) -> str:
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


def inventory_is_the_sum(scene: Scene, process: Process) -> str:
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


def inventory_is_the_ledgers(scene: Scene, process: Process) -> str:
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


def one_effect(scene: Scene, process: Process) -> str:
    for fill in scene.fills:
        key = (fill.exec_id, fill.order_id)
        stage, wanted = scene.booked.get(key, 0), 0 if fill.qty > 0 else 1
        if stage != wanted:
            return f"fill {key} changes the inventory {'again' if fill.qty > 0 else 'back without having changed it, or twice'}"
        scene.booked[key] = stage + 1
    return ""


def sent_once(scene: Scene, process: Process) -> str:
    again = [order.order_id for order in scene.orders if order.order_id in scene.posted]
    return f"order {again[0]} is sent a second time" if again else ""


def one_per_slot(scene: Scene, process: Process) -> str:
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


def monotonic(scene: Scene, process: Process) -> str:
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


def cash_balances(scene: Scene, process: Process) -> str:
    if scene.cash is not None and process.executor.positions.cash != scene.cash:
        return f"cash is {process.executor.positions.cash}, and fills and payouts make {scene.cash}"
    return ""


def cash_is_the_ledgers(scene: Scene, process: Process) -> str:
    ours, theirs = process.executor.positions.cash, scene.venue.exchange.account(OWNER).cash
    unpaid = 0
    for symbol in process.executor.desks:  # the venue pays at once, we when we are told
        market = scene.venue.exchange.markets[symbol]
        if market.outcome:
            winner = market.up_token if market.outcome == "up" else market.down_token
            unpaid += process.executor.positions.of(symbol).tokens.get(winner, 0)
    return f"cash is {ours + unpaid}, and the venue's ledger has {theirs}" if ours + unpaid != theirs else ""


# -- limits --------------------------------------------------------------------------------------------------------


def limits_hold(scene: Scene, process: Process) -> str:
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


def refused_is_gone(scene: Scene, process: Process) -> str:
    """What we call refused counts nowhere, so it must not rest."""
    report = scene.heard
    if not isinstance(report, ExecutionReport) or report.exec_type is not ExecType.REJECTED:
        return ""
    found = scene.venue.exchange.order(report.order_id)
    return f"{report.order_id} rests, and was told as refused" if found is not None and found.status == rec.LIVE else ""


def restart_forgets_nothing(scene: Scene, process: Process) -> str:
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


def all_that_may_be_live_counts(scene: Scene, process: Process) -> str:
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


def books_know(scene: Scene, process: Process) -> str:
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


def single_writer(scene: Scene, process: Process) -> str:
    thread = process.directory.threads.get("executor")
    return "" if thread is None or thread.may_run else "the executor was handled outside its own thread"


def lossless(scene: Scene, process: Process) -> str:
    return scene.disordered


def trades_are_booked(scene: Scene, process: Process) -> str:
    """At once, or put aside with a failure: what is only owed may be sold twice."""
    report, executor = scene.heard, process.executor
    if not isinstance(report, ExecutionReport) or report.exec_type is not ExecType.TRADE or report.trade_status is None:
        return ""
    if executor.positions.known(report) is not None or report.order_id not in executor.orders.by_id:
        return ""
    put_aside = executor.user_events["quarantined"] > scene.quarantined
    return "" if put_aside else f"trade {report.exec_id} of {report.order_id} was told and not booked"


def gaps_stop_quoting(scene: Scene, process: Process) -> str:
    """What the user stream missed may be a fill."""
    if isinstance(scene.heard, StreamGap) and process.executor.recovery.state is BotState.QUOTING:
        return f"it quotes on after a gap of the user stream ({scene.heard.reason})"
    return ""


def events_add_up(scene: Scene, process: Process) -> str:
    feed, counts = process.user_feed, process.executor.user_events
    if feed is None or scene.delivered:
        return ""
    handled = sum(counts.values())
    told = feed.received - feed.quarantined
    return f"{told} user events were told, and {handled} were handled, repeated or put aside" if handled != told else ""


def all_answered(scene: Scene, process: Process) -> str:
    for order in process.executor.orders.by_id.values():
        ours = not order.foreign and order.sent_ns > scene.began_ns
        if ours and not order.answered:
            return f"the POST of {order.order_id} was never answered"
    return ""
