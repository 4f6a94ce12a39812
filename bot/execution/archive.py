"""Records of which nobody has spoken for a while, packed: they are still found by their id, and a day of them stays small.

An order is some 1,000 bytes as an object and 150 in here, and a snapshot of the executor takes a pack as it is. A pack
is a table of columns: a value once where a whole column or much of it has the same, ids as the bytes their hex says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from bot.units import Ns

S = TypeVar("S", bound=msgspec.Struct)

_encoder = msgspec.msgpack.Encoder()
_columns = msgspec.msgpack.Decoder(dict[str, Any])


class Archive(Generic[S]):
    """Invariant: a record is found in the last pack it was put in, as long as that is kept, until it is taken."""

    def __init__(self, kind: type[S], id_field: str) -> None:
        self._kind = kind
        self._id_field = id_field
        self._packs: dict[int, tuple[Ns, bytes]] = {}  # when and what, by number: the oldest first
        self._where: dict[int, int] = {}  # number of the pack, by a short digest of the id
        self._made = 0

    def __len__(self) -> int:
        return len(self._where)

    def put(self, records: Sequence[S], now_ns: Ns) -> None:
        if not records:
            return
        self._made += 1
        names = self._kind.__struct_fields__
        table = {name: _column([getattr(record, name) for record in records]) for name in names}
        self._packs[self._made] = (now_ns, _encoder.encode(table))
        for record in records:
            self._where[_digest(getattr(record, self._id_field))] = self._made

    def take(self, record_id: str) -> S | None:
        """The record as it was put, which is not in here any more."""
        number = self._where.pop(_digest(record_id), None)
        if number is None:
            return None
        table = _columns.decode(self._packs[number][1])
        row = _all(table[self._id_field]).index(record_id)
        return msgspec.convert({name: _value(column, row) for name, column in table.items()}, self._kind)

    def forget(self, before_ns: Ns) -> None:
        """Drop the packs that were made before that time."""
        old = [number for number, (made_ns, _) in self._packs.items() if made_ns < before_ns]
        for number in old:
            _, pack = self._packs.pop(number)
            for record_id in _all(_columns.decode(pack)[self._id_field]):
                if self._where.get(digest := _digest(record_id)) == number:
                    del self._where[digest]


def _digest(record_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=7).digest(), "big")


def _column(values: list[Any]) -> Any:
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1:
        return distinct
    if 2 * len(distinct) <= len(values):
        places = {value: place for place, value in enumerate(distinct)}
        return {"of": distinct, "at": [places[value] for value in values]}
    return [_packed(value) for value in values]


def _packed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        try:
            data = bytes.fromhex(value[2:])
        except ValueError:
            return value
        if data.hex() == value[2:]:
            return data
    return value


def _all(column: Any) -> list[Any]:
    """The values of a column whose values are all different, as ids are."""
    return [_value(column, row) for row in range(len(column))]


def _value(column: Any, row: int) -> Any:
    if isinstance(column, dict):
        return column["of"][column["at"][row]]
    value = column[0] if len(column) == 1 else column[row]
    return "0x" + value.hex() if isinstance(value, bytes) else value
