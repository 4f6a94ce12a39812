"""What the targets of the fuzzing share: what must hold of all that is told, and whom it is told to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import orjson
from desk_fake import SYMBOL, UP, Bench

from bot.history.records import (
    ANY_MESSAGE,
)
from bot.messages import (
    Message,
)
from bot.venues.clob_login import Credentials
from bot.venues.signing import Signer

PRIVATE_KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SIGNER = Signer(PRIVATE_KEY, chain_id=137)
KEY, WALLET = "7c1d0000-0000-0000-0000-000000000000", SIGNER.address
CREDENTIALS = Credentials(KEY, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "phrase")
T0 = 1_793_750_400  # on the grid of five minutes
INT64 = 2**63
_directory = tempfile.TemporaryDirectory(prefix="fuzz")  # gone when the process ends
HERE = Path(_directory.name)

_any = msgspec.msgpack.Decoder(ANY_MESSAGE)


def _quoting() -> Bench:
    bench = Bench()
    bench.intent(4800, 5200)
    bench.obey = True
    return bench


BID, OFFER = _quoting().executor.orders.by_id


def fits(messages: Iterable[Message]) -> None:
    """As the journal writes it, each reads back as what it was."""
    for message in messages:
        assert _any.decode(msgspec.msgpack.encode(message)) == message


def told(messages: Iterable[Message]) -> None:
    """An executor with two orders at rest takes them, one after the other, and goes on."""
    messages = list(messages)
    fits(messages)
    bench = _quoting()
    for message in messages:
        bench.tell(message)
    for _ in range(4):
        bench.tick(1500)
    for said in bench.sent:
        fits([said])


def leaves(value: Any) -> Iterable[Any]:
    """Keys and single values of a JSON value, without recursion."""
    left = [value]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            left += node.keys()
            left += node.values()
        elif isinstance(node, list):
            left += node
        else:
            yield node


def named_in(data: bytes) -> set[str]:
    """Everything a body says, by the more generous of the two readers: the guardian's."""
    try:
        return {str(leaf).lower() for leaf in leaves(json.loads(data))}
    except (ValueError, RecursionError):
        return set()


def dumped(*values: Any) -> tuple[bytes, ...]:
    return tuple(orjson.dumps(value) for value in values)


def order_event(**fields: Any) -> dict[str, Any]:
    return {
        "event_type": "order", "type": "PLACEMENT", "id": BID, "owner": KEY, "market": SYMBOL, "asset_id": UP,
        "side": "BUY", "price": "0.48", "original_size": "20", "size_matched": "0", "associate_trades": [],
        "status": "LIVE", "created_at": "1793750400", "timestamp": "1793750400130",
    } | fields  # fmt: skip


def trade_event(**fields: Any) -> dict[str, Any]:
    leg = {
        "order_id": BID, "owner": KEY, "maker_address": WALLET, "asset_id": UP, "side": "BUY", "price": "0.48",
        "matched_amount": "8",
    }  # fmt: skip
    return {
        "event_type": "trade", "type": "TRADE", "id": "b2c1", "status": "MATCHED", "taker_order_id": "0x7a",
        "market": SYMBOL, "asset_id": "down-token", "side": "BUY", "size": "8", "price": "0.52", "owner": "taker",
        "maker_address": "0x0ther", "maker_orders": [leg], "trader_side": "MAKER", "timestamp": "1793750401234",
    } | fields  # fmt: skip
