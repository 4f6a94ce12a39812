"""The timers of orders: what is asked again, given up on, failed or halted over when the venue stays silent.

Called on every timer tick; acts through the books, and keeps nothing itself.
"""

from __future__ import annotations

from bot.execution.books import Books
from bot.execution.orders import PC, PN, UNK, Event, Order
from bot.messages import BotState, SharesRequest, TradesRequest
from bot.units import NS_PER_S, Ns

STAYS_OUT = (BotState.HALTED, BotState.STOPPING, BotState.STOPPED)


def over(books: Books, order: Order) -> None:
    """The timers of one order that may be live or still exposes us."""
    timers, now = books.timers, books.now
    if order.query_ns and now - order.query_ns > timers.read_deadline_ns:
        books.orders.query_failed(order, now)
        books.queries[order.order_id] = order
    idle = not order.query_ns and not order.query_due_ns
    if (order.state is PN and now - order.sent_ns >= timers.ack_ns) or (
        order.state is UNK and idle and now - max(order.queried_ns, order.since_ns) >= timers.ack_ns
    ):
        books.tell(Event.ACK_TIMER, order)
    elif order.tail_ns and idle:
        books.ask(order)
    if order.delete_due_ns and order.is_open and now >= order.delete_due_ns:
        books.tell(Event.CANCEL_TIMER, order)
    if order.debt:
        _debt(books, order, now - order.debt_since_ns)
    if order.acked_ns and not order.echoed and now - order.acked_ns > timers.echo_ns:
        order.echoed = True
        if books.recovery.state is BotState.QUOTING:
            books.fail(f"the user stream never spoke of order {order.order_id}")
    # An order that was accepted once became unknown later: a fill may pass the read that lacks it, so that is no haste.
    unknown_ns = now - (order.since_ns if order.acked_ns or order.echoed else order.sent_ns)
    unknown = order.state is UNK and not order.voided and unknown_ns > timers.unknown_ns
    if unknown and books.recovery.state is BotState.QUOTING:
        books.fail(f"the outcome of order {order.order_id} is unknown")
    # Not while the venue refuses to answer: then a halt would only outlast the fault (P11, P12).
    stuck = order.state in (PN, UNK, PC) and now - max(order.since_ns, books.venue_down_ns) > timers.resolve_ns
    if stuck and books.recovery.state not in STAYS_OUT:
        books.halt(f"order {order.order_id} stays {order.state}")


def _debt(books: Books, order: Order, age_ns: Ns) -> None:
    timers = books.timers
    if age_ns >= timers.query_gap_ns and not order.query_ns:
        books.ask(order)
    if age_ns > timers.debt_ns and books.recovery.state is BotState.QUOTING:
        books.fail(f"no trade shows {order.debt} of order {order.order_id}")
    stuck = age_ns > timers.resolve_ns and books.now - books.venue_down_ns > timers.resolve_ns
    if stuck and books.recovery.state not in STAYS_OUT:
        books.halt(f"no trade ever showed {order.debt} of order {order.order_id}")


def fees(books: Books) -> None:
    """A taker's fee may be kept back in shares: what we have then is what the venue says, twice and with no fill between."""
    for asset_id, taken in books.taken.items():
        if books.now >= taken.due_ns and not books.positions.unsettled_qty(asset_id):
            taken.due_ns = books.now + books.timers.settle_ns
            books.out.append(SharesRequest(symbol=taken.symbol, asset_id=asset_id, asked_ns=books.now))


def ghosts(books: Books) -> None:
    """Fills that never reached the chain: read their trades again, for we may have missed a step."""
    oldest_ns = min((record.booked_ns for record in books.positions.unsettled.values()), default=books.now)
    if books.now - oldest_ns > books.timers.ghost_ns:
        after_utc_s = (books.utc_ns() - (books.now - oldest_ns)) // NS_PER_S - 60
        books.out.append(TradesRequest(after_utc_s=after_utc_s, asked_ns=books.now))
