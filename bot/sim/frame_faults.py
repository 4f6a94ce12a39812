"""What faults make of one text frame. Pure: a frame in, what leaves instead out. Knows no connection and no trigger.

`turn` counts the frames a fault has hit, so that its variants take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

from bot.sim.wire import Step, big, cut_after, endless, raw, ws_frame

Items: TypeAlias = list[str | Step]

NUMBERS = frozenset(
    ("price", "size", "original_size", "size_matched", "matched_amount", "best_bid", "best_ask", "timestamp")
)
BIG_BYTES = 9 << 20  # more than any client should take
FRAGMENTS = 6_000  # more than any client should put together
CAPS = {"market": BIG_BYTES, "user": 2 << 20, "settle": 2 << 20, "binance": 2 << 20}
NONSENSE = (("0", "0"), ("NaN", "NaN"), ("-1", "-1"), ("", ""), ("2", "1"))  # bid and ask; then ten times the price


def events_of(text: str) -> list[dict[str, Any]]:
    """The objects of a frame, whatever its shape; none for a text that is no JSON."""
    try:
        body = orjson.loads(text)
    except ValueError:
        return []
    rows = body if isinstance(body, list) else [body]
    return [row for row in rows if isinstance(row, dict)]


def dumped(body: Any) -> str:
    return orjson.dumps(body).decode()


# -- W05, W06: shapes and bad elements -----------------------------------------------------------------------------


def array(text: str) -> Items:
    """An empty array, then the frame in an array if it was none, each of its elements alone if it was one."""
    body = orjson.loads(text)
    frames = [dumped(row) for row in body] if isinstance(body, list) else [dumped([body])]
    return ["[]", *frames]


def numbers(text: str) -> Items:
    """Numbers as JSON numbers where the venue says them as text."""
    return [dumped(_numbers(orjson.loads(text)))]


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(row) for row in value]
    if not isinstance(value, dict):
        return value
    return {name: _number(row) if name in NUMBERS else _numbers(row) for name, row in value.items()}


def _number(value: Any) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else number


def bad_elements(text: str) -> Items:
    """The good events in the middle of an unknown one, one that lacks what it must have, and one that is no object."""
    good = events_of(text)
    missing = ("id", "asset_id", "price_changes")
    spoiled = [{name: row for name, row in event.items() if name not in missing} for event in good[:1]]
    return [dumped([{"event_type": "weather", "forecast": "rain"}, *good, *spoiled, 17])]


# -- W07, W08, W09: damage below JSON --------------------------------------------------------------------------------


def truncated(text: str) -> Items:
    return [text[: max(1, len(text) // 2)]]


def malformed(text: str) -> Items:
    return [text.replace(":", ";", 1) + "]"]


def not_utf8(text: str) -> Items:
    data, middle = text.encode(), len(text) // 2
    return [raw(ws_frame(data[:middle] + b"\xff\xc3\x28" + data[middle:]))]


def oversized(stream: str) -> Items:
    return [big(CAPS[stream])]


def fragmented(_: str = "") -> Items:
    return [endless(FRAGMENTS)]


def cut_in_the_middle(text: str) -> Items:
    frame = ws_frame(text.encode())
    return [cut_after(frame[: len(frame) // 2])]


# -- W11: books ------------------------------------------------------------------------------------------------------


def crossed(text: str) -> Items:
    """The price change with a bid more, at the best offer, and its mirror for the other token."""
    body = orjson.loads(text)
    changes = body["price_changes"]
    first = next((row for row in changes if float(row["best_ask"]) < 1), None)
    if first is None:
        return [text]
    ask = first["best_ask"]
    extra = [{**first, "price": ask, "size": "25", "side": "BUY", "best_bid": ask}]
    other = next((row for row in changes if row["asset_id"] != first["asset_id"]), None)
    if other is not None:
        bid = other["best_bid"]
        extra.append({**other, "price": bid, "size": "25", "side": "SELL", "best_ask": bid})
    return [dumped({**body, "price_changes": [*changes, *extra]})]


def without(text: str, tokens: frozenset[str]) -> Items:
    """The frame less what it says of these tokens."""
    kept: list[dict[str, Any]] = []
    for event in events_of(text):
        if event.get("asset_id") in tokens:
            continue
        if "price_changes" in event:
            changes = [row for row in event["price_changes"] if row["asset_id"] not in tokens]
            if not changes:
                continue
            event = {**event, "price_changes": changes}
        kept.append(event)
    if not kept:
        return []
    return [dumped(kept if text.startswith("[") else kept[0])]


# -- the user stream -------------------------------------------------------------------------------------------------


def vocabulary(text: str, turn: int) -> Items:
    """Statuses with their long prefix, in small letters, or in new words; RETRYING before the chain has it."""
    event = orjson.loads(text)
    status = str(event["status"])
    if event["event_type"] == "order":
        return [dumped({**event, "status": f"ORDER_STATUS_{status}"})]
    if status == "MATCHED":
        words = (f"TRADE_STATUS_{status}", "MATCHED_NOT_BROADCASTED", status.lower())
        return [dumped({**event, "status": words[turn % len(words)]})]
    if status == "MINED":
        return [dumped({**event, "status": "TRADE_STATUS_RETRYING"}), text]
    return [dumped({**event, "status": f"TRADE_STATUS_{status}"})]


def unknown_status(text: str) -> Items:
    return [dumped({**orjson.loads(text), "status": "TRADE_STATUS_POSTPONED"})]


def noisy_twin(text: str) -> Items:
    """The trade, and the same trade again with other sizes and prices."""
    event = orjson.loads(text)
    makers = [{**row, "matched_amount": _more(row["matched_amount"])} for row in event["maker_orders"]]
    return [text, dumped({**event, "size": _more(event["size"]), "maker_orders": makers})]


def _more(amount: str) -> str:
    return f"{float(amount) + 1:.2f}"


def steps(text: str) -> Items:
    """Settlement steps twice, and after CONFIRMED those before it."""
    event = orjson.loads(text)
    if event["status"] != "CONFIRMED":
        return [text, text]
    earlier = [dumped({**event, "status": word}) for word in ("RETRYING", "MINED", "MATCHED")]
    return [earlier[0], text, *earlier[1:], text]


# -- the reference feed ----------------------------------------------------------------------------------------------


def nonsense(text: str, turn: int) -> Items:
    """The best bid and offer with prices that cannot be."""
    body = orjson.loads(text)
    data = body.get("data", body)
    variant = turn % (len(NONSENSE) + 1)
    if variant < len(NONSENSE):
        data["b"], data["a"] = NONSENSE[variant]
    else:
        data["b"], data["a"] = (f"{float(data[side]) * 10:.8f}" for side in ("b", "a"))
    return [dumped(body)]


Rewrite: TypeAlias = Callable[[str], Items]
