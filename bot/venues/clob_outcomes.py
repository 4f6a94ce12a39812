"""What an answer of the venue proves about orders and cancels. Pure: status and body in, messages out.

An order is accepted (an id came back), refused for good (a reason and no id, in a form that cannot hide an order), or
its outcome is unknown. When in doubt: unknown, and the order counts as live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bot.errors import FrameError
from bot.messages import (
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    Message,
    NewOrder,
    OutcomeUnknown,
    Reject,
    Request,
    Side,
    Source,
)
from bot.units import Ns, Qty
from bot.venues.clob_answer import Reply
from bot.venues.clob_calls import cancel_lists, parsed, preview
from bot.venues.polymarket_trades import decimal_of

TEXT_MAX = 200

# The first phrase found in the venue's text decides; most specific first.
_REASONS: tuple[tuple[str, Reject], ...] = (
    ("post-only mode", Reject.RESTRICTED),
    ("post_only_mode", Reject.RESTRICTED),
    ("cancel-only", Reject.RESTRICTED),
    ("trading is currently disabled", Reject.RESTRICTED),
    ("not yet ready to process", Reject.RESTRICTED),
    ("crosses", Reject.POST_ONLY),
    ("invalid post-only order", Reject.POST_ONLY),
    ("not enough balance", Reject.BALANCE),
    ("minimum tick size", Reject.TICK),
    ("lower than the minimum", Reject.MIN_SIZE),
    ("min size", Reject.MIN_SIZE),
    ("order_version_mismatch", Reject.VERSION),
    ("invalid signature", Reject.SIGNATURE),
    ("invalid api key", Reject.SIGNATURE),
    ("unauthorized", Reject.SIGNATURE),
    ("address of the api key", Reject.SIGNATURE),
    ("owner of the api key", Reject.SIGNATURE),
    ("address banned", Reject.FORBIDDEN),
    ("closed only mode", Reject.FORBIDDEN),
    ("maker address not allowed", Reject.FORBIDDEN),
    ("restricted in your region", Reject.FORBIDDEN),
    ("rate limit", Reject.RATE),
)

# The venue's own words for "I do not know either": the order may have been taken.
_UNSURE = (
    "could not insert order",
    "order timed out",
    "there are no matching orders",
    "contains rounding issues",
    "order match delayed",
)

# Reasons not to cancel that say the order is over, or was never there.
_OVER = ("not found", "already", "matched", "canceled", "cancelled")


def reason_of(text: str, status: int = 0) -> Reject:
    words = text.lower()
    for phrase, reject in _REASONS:
        if phrase in words:
            return reject
    if status == 429:
        return Reject.RATE
    if status == 401:
        return Reject.SIGNATURE
    if status == 403:
        return Reject.FORBIDDEN
    return Reject.OTHER


def _short(text: str) -> str:
    return text[:TEXT_MAX]


def _error_text(value: Any) -> str:
    """The venue's error in any of its forms, or an empty string."""
    if not isinstance(value, Mapping):
        return ""
    for name in ("error", "errorMsg", "error_msg"):
        text = value.get(name)
        if isinstance(text, str) and text:
            code = value.get("code")
            return f"{text} ({code})" if isinstance(code, str) else text
    return ""


def refused(order: NewOrder, reject: Reject, text: str, source: Source, recv_ns: Ns) -> ExecutionReport:
    return ExecutionReport(
        order_id=order.order_id,
        cl_ord_id=order.cl_ord_id,
        symbol=order.symbol,
        asset_id=order.asset_id,
        side=order.side,
        exec_type=ExecType.REJECTED,
        source=source,
        reject=reject,
        text=_short(text),
        recv_ns=recv_ns,
    )


def unknown(order: NewOrder, text: str, recv_ns: Ns, duplicated: bool = False) -> OutcomeUnknown:
    return OutcomeUnknown(
        order_id=order.order_id,
        cl_ord_id=order.cl_ord_id,
        request=Request.NEW,
        duplicated=duplicated,
        text=_short(text),
        recv_ns=recv_ns,
    )


def post_outcomes(orders: Sequence[NewOrder], reply: Reply, recv_ns: Ns) -> list[Message]:
    """One outcome for each order of a POST /order (one) or POST /orders (several), and contradictions after them."""
    try:
        value = parsed(reply.body, orjson.loads)
    except FrameError:
        value = None
    if reply.status == 200:
        if len(orders) == 1:
            legs = value if isinstance(value, list) else [value]
            return _leg(orders[0], legs[0] if len(legs) == 1 else None, recv_ns)
        return _legs(orders, value, recv_ns)
    text = _error_text(value)
    head = f"HTTP {reply.status}: {text or preview(reply.body)}"
    outcomes: list[Message] = []
    for order in orders:
        # A refusal that names one order of several says nothing sure about its siblings.
        concerns = len(orders) == 1 or order.order_id in text or not any(o.order_id in text for o in orders)
        if concerns and "duplicated" in text.lower():
            outcomes.append(unknown(order, head, recv_ns, duplicated=True))
        elif concerns and _is_definite(reply.status, text):
            outcomes.append(refused(order, reason_of(text, reply.status), head, Source.POST, recv_ns))
        else:
            outcomes.append(unknown(order, head, recv_ns))
    return outcomes


def _is_definite(status: int, text: str) -> bool:
    """429 always; 400, 401 and 403 with the venue's own words; 5xx only when those name a refusal we know."""
    if status == 429:
        return True
    if not text or any(phrase in text.lower() for phrase in _UNSURE):
        return False
    return status in (400, 401, 403) or (status >= 500 and reason_of(text) is not Reject.OTHER)


def _legs(orders: Sequence[NewOrder], value: Any, recv_ns: Ns) -> list[Message]:
    """A batch is answered in its own order; an id, where there is one, rules over the place."""
    legs = value if isinstance(value, list) else []
    by_id = {_id_of(leg): leg for leg in legs if _id_of(leg)}
    outcomes: list[Message] = []
    for index, order in enumerate(orders):
        leg = by_id.get(order.order_id)
        if leg is None and len(legs) == len(orders):
            leg = legs[index]
            if any(_id_of(leg) == other.order_id for other in orders):
                leg = None  # another order's answer stands in this one's place
        outcomes += _leg(order, leg, recv_ns)
    return outcomes


def _id_of(leg: Any) -> str:
    order_id = leg.get("orderID") if isinstance(leg, Mapping) else None
    return order_id.lower() if isinstance(order_id, str) else ""


def _leg(order: NewOrder, leg: Any, recv_ns: Ns) -> list[Message]:
    """One order's part of a 200."""
    if not isinstance(leg, Mapping):
        return [unknown(order, "no readable answer for this order", recv_ns)]
    text = _error_text(leg)
    order_id = _id_of(leg)
    if order_id:
        accepted = _accepted(order, leg, order_id, recv_ns)
        if accepted.order_id == order.order_id:
            return [accepted]
        # Our digest and the venue's id differ: ours stays unknown, theirs is reported as what it is.
        return [unknown(order, f"the venue answered with another id {order_id}", recv_ns), accepted]
    if "duplicated" in text.lower():
        return [unknown(order, text, recv_ns, duplicated=True)]
    if text and not any(phrase in text.lower() for phrase in _UNSURE):
        return [refused(order, reason_of(text), text, Source.POST, recv_ns)]
    return [unknown(order, text or "an answer without id and reason", recv_ns)]


def _accepted(order: NewOrder, leg: Mapping[str, Any], order_id: str, recv_ns: Ns) -> ExecutionReport:
    """`matched` says how much in amounts, or not at all; every other status word rests with nothing filled yet."""
    status = str(leg.get("status") or "").lower().removeprefix("order_status_")
    matched = status == "matched"
    return ExecutionReport(
        order_id=order_id,
        cl_ord_id=order.cl_ord_id if order_id == order.order_id else "",
        symbol=order.symbol,
        asset_id=order.asset_id,
        side=order.side,
        px=order.px,
        order_qty=order.order_qty,
        exec_type=ExecType.MATCHED if matched else ExecType.NEW,
        source=Source.POST,
        cum_qty=_shares(order.side, leg) if matched else None,
        text=_short(" ".join(filter(None, (status, _error_text(leg))))),
        recv_ns=recv_ns,
    )


def _shares(side: Side, leg: Mapping[str, Any]) -> Qty | None:
    name = "takingAmount" if side is Side.BUY else "makingAmount"
    try:
        return decimal_of(leg, name, 6)
    except FrameError:
        return None  # amounts are often "": the trades will say


def cancel_outcomes(cancels: Sequence[CancelOrder], reply: Reply, recv_ns: Ns) -> list[Message]:
    """One outcome for each cancel; what the answer does not mention stays unknown."""
    try:
        done, left = cancel_lists(reply, orjson.loads)
    except FrameError as error:
        return [cancel_unknown(cancel, str(error), recv_ns) for cancel in cancels]
    canceled = set(done)
    outcomes: list[Message] = []
    for cancel in cancels:
        text = left.get(cancel.order_id)
        if text is not None:
            if any(phrase in text.lower() for phrase in _OVER):
                outcomes.append(
                    CancelReject(
                        order_id=cancel.order_id, cl_ord_id=cancel.cl_ord_id, text=_short(text), recv_ns=recv_ns
                    )
                )
            else:
                outcomes.append(cancel_unknown(cancel, f"not canceled: {text}", recv_ns))
        elif cancel.order_id in canceled:
            outcomes.append(
                ExecutionReport(
                    order_id=cancel.order_id,
                    cl_ord_id=cancel.cl_ord_id,
                    symbol=cancel.symbol,
                    exec_type=ExecType.CANCELED,
                    source=Source.CANCEL,
                    recv_ns=recv_ns,
                )
            )
        else:
            outcomes.append(cancel_unknown(cancel, "the answer does not mention this order", recv_ns))
    return outcomes


def cancel_unknown(cancel: CancelOrder, text: str, recv_ns: Ns) -> OutcomeUnknown:
    return OutcomeUnknown(
        order_id=cancel.order_id,
        cl_ord_id=cancel.cl_ord_id,
        request=Request.CANCEL,
        text=_short(text),
        recv_ns=recv_ns,
    )
