"""Spoilt inputs into everything that reads bytes: `python tests/fuzz.py [TARGET...] [--inputs N] [--seed N] [--at N]`.

An input is a valid one (fuzz_targets.py) spoilt in one to six ways, and follows from target, seed and number alone. What
must not happen raises: an error other than the documented ones, or an assertion of the target. A failure is made small by
leaving bytes out and shown with the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

HERE = Path(__file__).parent
INPUT_BYTES_MAX = 20_000
CPU_S_MAX = 5.0  # of one input: they take milliseconds, and what takes seconds grows without bound
MEMORY_MAX = 3 << 30
SHRINKS_MAX = 600

# What stands where a number, a text or a list is awaited. Digits without end and deep nests are what parsers die of.
ODD = (
    'null', 'true', 'false', '0', '-1', '1', '0.5', '1.5', '1e18', '1e19', '1e300', '1e999', '-0.0', 'nan', 'inf',
    '9223372036854775807', '9223372036854775808', '1793750400', '0001-01-01T00:00:00+14:00', '9999-12-31T23:59:59-12:00',
    '1e99999', '1e999990', '1e-999990', '"', '""', '"x"', '"0"', '"nan"', '"-inf"', '"1e400"', '"1e999990"', '[]', '{}',
    '[{}]', '[[]]', '[null]', '{"":0}', '"\\u0000"', '"²"', '"é\\n"', '9' * 5000, '"' + '9' * 5000 + '"', '[' * 300 + ']' * 300,
    '[' * 2000 + ']' * 2000, '{"a":' * 260 + '0' + '}' * 260, 'x' * 300, '\0', '=', ':', ',', '\n', '\r\n', '..', '-',
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 0.5, 1e19, 1e300, -1e-300, "", "0", "-1", "nan", "inf", "1e400",
    "1e99999", "1e999990", "9" * 5000, "x", "\0", "²", "é", [], {}, [None], [[]], [{}], {"": None}, "2026-13-01", "0x",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "BUY", "MATCHED", "FAILED", "0.5", 1793750400, "🙂",
)  # fmt: skip
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.0-9eE]+|\w+|\s+|.', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises for what must not happen. The first `head` bytes of an input say what it is for, and mostly stay."""

    name: str
    run: Callable[[bytes], None]
    corpus: tuple[bytes, ...]
    json: bool = False
    head: int = 0
    words: tuple[str, ...] = field(default=())  # further tokens that mean something here


# -- spoiling ------------------------------------------------------------------------------------------------------


def spoilt(target: Target, seed: int, number: int) -> bytes:
    """The input of that number."""
    chance = random.Random(f"{target.name} {seed} {number}")
    data = chance.choice(target.corpus)
    head, body = data[: target.head], data[target.head :]
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 6))):
        way = chance.random()
        if target.json and way < 0.5:
            body = _value_changed(chance, target, body)
        elif way < 0.75:
            body = _token_changed(chance, target, body)
        else:
            body = _bytes_changed(chance, target, body)
    if target.head and chance.random() < 0.1:
        head = bytes(chance.randrange(256) for _ in head)
    return head + body[:INPUT_BYTES_MAX]


def _value_changed(chance: random.Random, target: Target, body: bytes) -> bytes:
    """A JSON value in place of another, taken away, told twice or wrapped."""
    try:
        root: list[Any] = [orjson.loads(body)]
    except orjson.JSONDecodeError:
        return _bytes_changed(chance, target, body)
    places: list[tuple[Any, Any]] = []
    left: list[Any] = [root]
    while left and len(places) < 5000:
        node = left.pop()
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            places.append((node, key))
            if isinstance(value, dict | list):
                left.append(value)
    node, key = chance.choice(places)
    way = chance.randrange(8)
    if way < 4:
        node[key] = chance.choice(VALUES)
    elif way == 4:
        other, name = chance.choice(places)
        node[key] = other[name] if other is not node else [other[name], other[name]]
    elif way == 5 and node is not root:
        del node[key]
    elif way == 6 and isinstance(node, list):
        node.insert(key, node[key])
    else:
        node[key] = [node[key]] if chance.random() < 0.5 else str(node[key])
    try:
        return orjson.dumps(root[0]) if root else b""
    except (orjson.JSONEncodeError, RecursionError):  # it holds itself, or is too deep
        return body


def _token_changed(chance: random.Random, target: Target, body: bytes) -> bytes:
    tokens = TOKEN.findall(body[:INPUT_BYTES_MAX])
    if not tokens:
        return chance.choice(ODD).encode()
    at = chance.randrange(len(tokens))
    way = chance.randrange(6)
    if way < 3:
        word = chance.choice(target.words) if target.words and chance.random() < 0.4 else chance.choice(ODD)
        tokens[at] = word.encode()
    elif way == 3:
        del tokens[at : at + chance.choice((1, 1, 2, 5))]
    elif way == 4:
        tokens[at] = chance.choice(tokens)
    else:
        tokens[at] *= chance.choice((2, 2, 3, 400))
    return b"".join(tokens)


def _bytes_changed(chance: random.Random, target: Target, body: bytes) -> bytes:
    data = bytearray(body[:INPUT_BYTES_MAX])
    at = chance.randrange(len(data) + 1)
    size = min(chance.choice((1, 1, 2, 4, 8, 64, 500)), len(data) - at)
    match chance.randrange(8):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, chance.randrange(256)))
        case 2:
            del data[at:]
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size] * chance.choice((1, 1, 2, 30))
        case 5:
            data[at:at] = chance.randbytes(chance.choice((1, 2, 4, 16)))
        case 6:
            data[at : at + size] = bytes(size)
        case _:
            other = chance.choice(target.corpus)[target.head :]
            data[at:] = other[chance.randrange(len(other) + 1) :]
    return bytes(data)


# -- running -------------------------------------------------------------------------------------------------------


def trouble(target: Target, data: bytes) -> tuple[str, str] | None:
    """What went wrong with this input, as its kind (which stays while it is made small) and in full; None: nothing."""
    began_s = time.thread_time()
    try:
        target.run(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        return kind, "".join(traceback.format_exception(error, limit=-6))[-3000:]
    took_s = time.thread_time() - began_s
    return ("slow", f"it took {took_s:.1f} s of CPU time") if took_s > CPU_S_MAX else None


def smallest(target: Target, data: bytes, kind: str) -> bytes:
    """Leaves out ever shorter pieces as long as the same goes wrong."""
    tries, size = 0, max(1, len(data) // 2)
    while size and tries < SHRINKS_MAX and kind != "slow":
        at = target.head
        while at < len(data) and tries < SHRINKS_MAX:
            less = data[:at] + data[at + size :]
            tries += 1
            found = trouble(target, less)
            if found is not None and found[0] == kind:
                data = less
            else:
                at += size
        size //= 2
    return data


def hunt(target: Target, inputs: int, seed: int, first: int = 0, most: int = 1) -> list[str]:
    """Descriptions of the first failures, each of another kind; ends at `most` of them."""
    found: dict[str, str] = {}
    for number in range(first, first + inputs):
        data = spoilt(target, seed, number)
        if (bad := trouble(target, data)) is not None and bad[0] not in found:
            small = smallest(target, data, bad[0])
            found[bad[0]] = (
                f"{target.name}: {bad[0]}\n{bad[1]}\nof {len(data)} bytes these are enough: {small[:2000]!r}\n"
                f"again: python tests/fuzz.py {target.name} --seed {seed} --at {number}"
            )
            if len(found) >= most:
                break
    return list(found.values())


def main() -> int:
    sys.path[:1] = [str(HERE.parent), str(HERE), str(HERE / "bot/execution")]  # or tests/bot would pass for bot
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(prog="python tests/fuzz.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TARGET", help=f"of {', '.join(t.name for t in TARGETS)}")
    parser.add_argument("--inputs", type=int, default=20_000, help="in all, in equal shares (default: 20,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", type=int, help="only the input of this number")
    parser.add_argument("--most", type=int, default=1, help="kinds of failure to show of a target (default: 1)")
    options = parser.parse_args()
    if unknown := set(options.names) - {target.name for target in TARGETS}:
        parser.error(f"no target {', '.join(sorted(unknown))}")
    chosen = [target for target in TARGETS if not options.names or target.name in options.names]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))  # memory without bound ends as a MemoryError
    done = failures = 0
    for place, target in enumerate(chosen):
        share = options.inputs * (place + 1) // len(chosen) - options.inputs * place // len(chosen)
        first, count = (0, share) if options.at is None else (options.at, 1)
        began_s = time.process_time()
        found = hunt(target, count, options.seed, first, options.most)
        took_s = time.process_time() - began_s
        done, failures = done + count, failures + len(found)
        verdict = f"{len(found)} FAILED" if found else "ok"
        print(f"{target.name:10} {count:>9,} inputs {took_s:7.1f} s CPU {1e3 * took_s / count:7.3f} ms each  {verdict}")
        for text in found:
            print(f"\n{text}\n")
        sys.stdout.flush()
    print(f"{done:,} inputs with seed {options.seed}: {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
