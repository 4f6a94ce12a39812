"""A run's last events in plain words: short lines for a person who wants to know how it came to this."""

from __future__ import annotations

from typing import Any

from bot.messages import (
    Balance,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    Fail,
    FeedStatus,
    Fill,
    GateChange,
    Halt,
    MarketDropped,
    MarketListed,
    MarketResolved,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrders,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    QuoteIntent,
    Settled,
    StreamGap,
    TimerTick,
    TradesRead,
)
from bot.sim import records as rec
from bot.units import NS_PER_S, PX_ONE, QTY_ONE, Ns

DULL = ("PositionReport", "StatusReport")
IDS = 6  # of an id's end, as people see it


def lines(told: list[tuple[Ns, str, Any]], start_ns: Ns, count: int) -> list[str]:
    """The newest events that say something, oldest first, each with its second of the run."""
    found: list[str] = []
    for at_ns, kind, what in reversed(told):
        text = _line(kind, what)
        if text:
            found.append(f"{(at_ns - start_ns) / NS_PER_S:10.3f}  {text}")
            if len(found) >= count:
                break
    return found[::-1]


def _line(kind: str, what: Any) -> str:
    match kind:
        case "executor":
            message, emitted = what
            said = [text for made in emitted if (text := _message(made))]
            if isinstance(message, TimerTick | QuoteIntent) and not said:
                return ""
            return f"executor hears {_message(message)}" + (f"; says {', '.join(said)}" if said else "")
        case "asked":
            who, request = what
            return f"{who} asks {request.method} {request.path}{_body(request)}"
        case "venue":
            return _event(what)
    return f"{kind}: {what}"


def _body(request: Any) -> str:
    if request.method == "POST" and request.path.startswith("/order"):
        return "".join(f" {short(order.order_id)}" for order in request.orders)
    if request.method == "DELETE" and request.body:
        return " " + " ".join(short(part) for part in request.body.decode().split('"') if part.startswith("0x"))
    return ""


def _event(event: Any) -> str:
    if isinstance(event, rec.OrderEvent):
        order = event.order
        return f"venue: {event.kind} {short(order.order_id)} {order.status}, {order.matched / QTY_ONE:g} of {order.qty / QTY_ONE:g}"
    trade = event.trade
    return f"venue: trade {trade.trade_id[:IDS]} {trade.status}, {trade.qty / QTY_ONE:g} at {trade.px / PX_ONE:g}"


def _message(message: Message) -> str:
    match message:
        case NewOrder():
            size, px = message.order_qty / QTY_ONE, message.px / PX_ONE
            return f"NEW {short(message.order_id)} {message.side} {size:g} of {message.asset_id} at {px:g}, epoch {message.epoch}"
        case CancelOrder():
            return f"CANCEL {short(message.order_id)}"
        case MassCancel():
            return f"CANCEL ALL {short(message.symbol)}({message.reason})"
        case GateChange():
            how = {None: "epoch", True: "shut", False: "open"}[message.shut]
            return f"gate {how} {message.epoch} {short(message.symbol)}({message.reason})"
        case Fill():
            return f"FILL {message.exec_id[:IDS]} {message.side} {message.qty / QTY_ONE:g} of {message.asset_id}"
        case Settled():
            return f"settled {short(message.symbol)} {message.outcome} {message.payout}"
        case ExecutionReport():
            what = message.exec_type.value
            if message.exec_type in (ExecType.TRADE, ExecType.TRADE_CANCEL):
                what += f" {message.exec_id[:IDS]} {message.trade_status} {message.last_qty / QTY_ONE:g}"
            elif message.cum_qty is not None:
                what += f" cum {message.cum_qty / QTY_ONE:g}"
            elif message.exec_type is ExecType.REJECTED:
                what += f" ({message.reject}: {message.text[:60]})"
            return f"{message.source} {short(message.order_id)} {what}"
        case OutcomeUnknown():
            return f"unknown {message.request} {short(message.order_id)} ({message.text[:60]})"
        case CancelReject():
            return f"not cancelled {short(message.order_id)} ({message.text[:40]})"
        case MassCancelReport():
            ids = " ".join(map(short, message.canceled))
            return f"cancel-all {'cancelled [' + ids + ']' if message.known else 'unknown'} not {len(message.not_canceled)}"
        case OpenOrders():
            if message.orders is None:
                return "open orders unknown"
            return (
                "open orders [" + " ".join(f"{short(o.order_id)}:{o.cum_qty / QTY_ONE:g}" for o in message.orders) + "]"
            )
        case OrderStatusReport():
            found = f"{message.found} cum {message.cum_qty / QTY_ONE:g}, {len(message.trades)} trades"
            return f"query {short(message.order_id)} {found if message.found is not None else 'unknown'}"
        case OrderStatusRequest():
            return f"QUERY {short(message.order_id)}"
        case TradesRead():
            return "trades unknown" if message.trades is None else f"{len(message.trades)} trades"
        case Balance():
            return "balance unknown" if message.cash is None else f"balance {message.cash}"
        case QuoteIntent():
            bid = f"{message.bid_size / QTY_ONE:g} at {message.bid_px / PX_ONE:g}"
            offer = f"{message.offer_size / QTY_ONE:g} at {message.offer_px / PX_ONE:g}"
            return f"intent {message.seq} {short(message.symbol)} {message.quote_mode.name} bid {bid} offer {offer}"
        case MarketListed():
            return f"listed {message.market.slug}"
        case MarketDropped() | MarketResolved():
            return f"{type(message).__name__} {short(message.symbol)}"
        case FeedStatus():
            return f"{message.feed} stream {'up' if message.connected else 'down'} {message.text}"
        case StreamGap() | Fail() | Halt():
            return f"{type(message).__name__}: {message.reason}"
        case TimerTick():
            return "tick"
    name = type(message).__name__
    return "" if name in DULL else name


def short(name: str) -> str:
    """An id as people see it."""
    return name[-IDS:] if name else ""
