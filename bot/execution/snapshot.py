"""The executor's whole state as bytes, and back: an executor that goes on as if it had never stopped.

Walks every attribute of the executor and of its parts, so that a new one joins by itself. What a constructor is given
under the same name is not state: whoever makes the fresh executor gives it anew; nor is what a class calls DERIVED, which
follows from the rest. A kind of value this walk has no form for is refused when the snapshot is taken, never left out.

Structs are written by type, each once however many places hold it, and read back as the same one: the order in a slot is
the order in the books. Equal states give equal bytes.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections import deque
from functools import cache
from typing import Any

import msgspec

from bot.errors import OtherBuild
from bot.execution.executor import Executor

PLAIN = frozenset({type(None), bool, int, float, str, bytes})

_encoder = msgspec.msgpack.Encoder()


class Snapshot(msgspec.Struct, frozen=True):
    """Structs by the name of their type, and the tree of everything else, which refers to them by their index."""

    structs: dict[str, msgspec.Raw]
    tree: dict[str, Any]


_snapshots = msgspec.msgpack.Decoder(Snapshot)


def snapshot(executor: Executor) -> bytes:
    """Raises TypeError, with the place, for a value that has no form here."""
    writer = _Writer()
    tree = writer.attributes(executor, "executor", _left_out(Executor))
    structs = {name: msgspec.Raw(_encoder.encode(rows)) for name, rows in sorted(writer.structs.items())}
    return _encoder.encode(Snapshot(structs, tree))


def restore(executor: Executor, data: bytes) -> None:
    """Give a fresh executor the state of a snapshot. Raises OtherBuild for one that this code cannot read."""
    try:
        found = _snapshots.decode(data)
        types = _types()
        structs = {
            name: msgspec.msgpack.decode(rows, type=list[types[name]])  # type: ignore[valid-type]
            for name, rows in found.structs.items()
        }
        _Reader(structs).fill(executor, found.tree)
    except (msgspec.MsgspecError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise OtherBuild(f"a snapshot of another build of this program: {type(error).__name__}: {error}") from error


@cache
def _types() -> dict[str, type[Any]]:
    """Every class a snapshot may hold, by name: those of execution and the vocabulary it speaks."""
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("bot.execution.") or name in ("bot.messages", "bot.market")
    ]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }


def _left_out(kind: type[Any]) -> frozenset[str]:
    """Attributes that the constructor sets from an argument of the same name, and those that a class calls DERIVED."""
    names = _arguments(kind)
    return getattr(kind, "DERIVED", frozenset()) | {*names, *(f"_{name}" for name in names)}


def _arguments(kind: type[Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(kind).parameters)


class _Writer:
    def __init__(self) -> None:
        self.structs: dict[str, list[msgspec.Struct]] = {}
        self._index: dict[int, list[Any]] = {}

    def attributes(self, thing: Any, place: str, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
        tree = {}
        for name, value in vars(thing).items():
            if name not in left_out:
                where = f"{place}.{name}"
                if _is_part(value):
                    tree[name] = [type(value).__name__, self.attributes(value, where, _left_out(type(value)))]
                else:
                    tree[name] = self.value(value, where)
        return tree

    def value(self, value: Any, place: str) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if isinstance(value, msgspec.Struct):
            return self._struct(value)
        if isinstance(value, enum.Enum):
            return [kind.__name__, value.value]
        if kind is dict:
            return ["dict", self._all(value.keys(), place), self._all(value.values(), place)]
        if kind is deque:
            return ["deque", self._all(value, place), value.maxlen]
        if kind is set:
            return ["set", self._all(sorted(value), place)]
        if kind in (list, tuple):
            return [kind.__name__, self._all(value, place)]
        if _is_part(value):
            return [kind.__name__, self.attributes(value, place)]
        raise TypeError(f"{place} has no form in a snapshot: {kind.__name__}")

    def _all(self, values: Any, place: str) -> list[Any]:
        return [value if type(value) in PLAIN else self.value(value, place) for value in values]

    def _struct(self, value: msgspec.Struct) -> list[Any]:
        reference = self._index.get(id(value))
        if reference is None:
            name = type(value).__name__
            rows = self.structs.setdefault(name, [])
            reference = self._index[id(value)] = [name, len(rows)]
            rows.append(value)
        return reference


class _Reader:
    def __init__(self, structs: dict[str, list[msgspec.Struct]]) -> None:
        self._structs = structs

    def fill(self, thing: Any, tree: dict[str, Any]) -> None:
        """Attributes that an older build did not know keep what the constructor gave them."""
        for name, value in tree.items():
            own = getattr(thing, name)  # one that this build does not know is refused
            if _is_part(own) and value is not None:
                self.fill(own, value[1])
            else:
                setattr(thing, name, self.value(value))

    def value(self, value: Any) -> Any:
        if type(value) in PLAIN:
            return value
        match value:
            case ["dict", keys, values]:
                return dict(zip(self._all(keys), self._all(values), strict=True))
            case ["deque", values, int() | None as maxlen]:
                return deque(self._all(values), maxlen)
            case ["set", values]:
                return set(self._all(values))
            case ["list", values]:
                return self._all(values)
            case ["tuple", values]:
                return tuple(self._all(values))
            case [name, int() as index] if name in self._structs:
                return self._structs[name][index]
            case [name, dict() as tree]:
                kind = _types()[name]
                given = {each: self.value(tree[each]) for each in _arguments(kind)}
                thing = kind(**given)
                self.fill(thing, tree)
                return thing
            case [name, plain]:
                return _types()[name](plain)
        raise ValueError(f"{value!r} stands for nothing")

    def _all(self, values: list[Any]) -> list[Any]:
        return [value if type(value) in PLAIN else self.value(value) for value in values]


def _is_part(value: Any) -> bool:
    """An object of execution that keeps state in attributes of its own."""
    kind = type(value)
    return (
        kind.__module__.startswith("bot.execution.") and hasattr(value, "__dict__") and not issubclass(kind, enum.Enum)
    )
