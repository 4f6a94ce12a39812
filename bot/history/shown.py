"""A record of the journal as lines for a person: units by the names of fields, times from the start of what is shown."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from bot.history.records import Record, SegmentStart
from bot.units import NS_PER_S, Ns, decimal_text, px_text, qty_text

_PX = ("px", "tick")
_QTY = ("qty", "size", "exposure")
_USD = ("cash", "invested", "payout", "pnl")


class Lines:
    """Items of a journal as text, with times from its first record."""

    def __init__(self) -> None:
        self._began_ns: Ns = 0

    def of(self, item: SegmentStart | Record) -> str:
        if isinstance(item, SegmentStart):
            run = item.run
            how = "goes on" if run.continues else "begins anew"
            size = f"{len(item.snapshot):,} bytes of state"
            return f"segment {item.segment} of the run of {_utc(run.started_utc_ns)}, which {how}: {size}"
        self._began_ns = self._began_ns or item.now_ns
        lines = [
            f"{item.seq:>9} {(item.now_ns - self._began_ns) / NS_PER_S:+.6f} s  {words(item.message, item.now_ns)}"
        ]
        lines += [f"{'->':>12} {words(emitted, item.now_ns)}" for emitted in item.emitted]
        return "\n".join(lines)


def words(thing: msgspec.Struct, now_ns: Ns) -> str:
    """Type and fields; those that have their default value are left out."""
    parts = [type(thing).__name__]
    for field in msgspec.structs.fields(thing):
        value = getattr(thing, field.name)
        if value != field.default:
            parts.append(f"{field.name}={_value(field.name, value, now_ns)}")
    return " ".join(parts)


def _value(name: str, value: Any, now_ns: Ns) -> str:
    if isinstance(value, msgspec.Struct):
        return f"({words(value, now_ns)})"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(name, each, now_ns) for each in value)}]"
    if isinstance(value, bool) or not isinstance(value, int):
        return str(value)
    return _number(name)(value, now_ns)


def _number(name: str) -> Callable[[int, Ns], str]:
    last = name.rpartition("_")[2]
    if name.endswith("utc_ns"):
        return lambda value, _: _utc(value)
    if last == "ns":
        return lambda value, now_ns: f"{(value - now_ns) / NS_PER_S:+.6f}s" if value else "never"
    if last in _PX:
        return lambda value, _: px_text(value)
    if last in _QTY:
        return lambda value, _: qty_text(value)
    if last in _USD:
        return lambda value, _: decimal_text(value, 6)
    if last in ("e6", "e8"):
        return lambda value, _: decimal_text(value, int(last[1]))
    return lambda value, _: str(value)


def _utc(utc_ns: Ns) -> str:
    return datetime.fromtimestamp(utc_ns / NS_PER_S, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
