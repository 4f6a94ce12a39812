"""Packed records: each is found as it was, in the last pack it was put in, until that is forgotten."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from story import an_executor

from bot.execution.archive import Archive
from bot.execution.orders import Order
from bot.execution.snapshot import restore, snapshot
from bot.messages import OrderState, Side


def an_order(number: int, **given: object) -> Order:
    """As different from its neighbours as real ones are."""
    fields: dict[str, object] = {
        "cl_ord_id": f"2611a56fa7cd4-{number}",
        "order_id": "0x" + hashlib.sha256(str(number).encode()).hexdigest(),
        "symbol": f"0x{number // 40:064x}",
        "asset_id": str(10**76 + number % 2),
        "side": Side.BUY if number % 3 else Side.SELL,
        "px": 4900 + number % 7 * 100,
        "order_qty": 20_000_000,
        "epoch": 1,
        "created_ns": 10**15 + number * 1_234_567,
        "state": OrderState.CANCELED if number % 5 else OrderState.FILLED,
        "leg": "bid",
        "cum_qty": number % 3 * 1_000_000,
    }
    return Order(**{**fields, **given})  # type: ignore[arg-type]


def an_archive(count: int = 100) -> tuple[Archive[Order], list[Order]]:
    archive, orders = Archive(Order, "order_id"), [an_order(number) for number in range(count)]
    archive.put(orders, 1)
    return archive, orders


@pytest.mark.parametrize("count", [1, 2, 3, 40, 300])
def test_each_record_comes_out_as_it_went_in(count: int) -> None:
    archive, orders = an_archive(count)
    assert len(archive) == count
    for order in orders:
        taken = archive.take(order.order_id)
        assert taken == order and taken is not order
        assert [type(getattr(taken, name)) for name in order.__struct_fields__] == [
            type(getattr(order, name)) for name in order.__struct_fields__
        ]
    assert len(archive) == 0


def test_a_record_is_taken_once() -> None:
    archive, orders = an_archive()
    assert archive.take(orders[7].order_id) == orders[7]
    assert archive.take(orders[7].order_id) is None
    assert archive.take("0xunknown") is None


def test_what_is_put_again_is_found_as_it_is_then() -> None:
    archive, orders = an_archive()
    taken = archive.take(orders[7].order_id)
    assert taken is not None
    taken.cum_qty = 7
    archive.put([taken], 2)
    archive.forget(2)  # the first pack, with what it was before
    again = archive.take(orders[7].order_id)
    assert again is not None and again.cum_qty == 7
    assert archive.take(orders[8].order_id) is None
    assert len(archive) == 0


def test_packs_are_forgotten_by_their_age() -> None:
    archive, _ = an_archive()
    archive.put([an_order(1000)], 5)
    archive.forget(1)
    assert len(archive) == 101
    archive.forget(5)
    assert len(archive) == 1 and archive.take(an_order(1000).order_id) == an_order(1000)


def test_nothing_is_no_pack() -> None:
    archive = Archive(Order, "order_id")
    archive.put([], 1)
    assert archive._packs == {}


@pytest.mark.parametrize("order_id", ["", "0x", "0xF0", "0xabc", "plain", "0x0g", "0x 1", "0x00ff"])
def test_any_text_may_be_an_id(order_id: str) -> None:
    archive = Archive(Order, "order_id")
    orders = [an_order(1), an_order(2, order_id=order_id), an_order(3)]
    archive.put(orders, 1)
    assert archive.take(order_id) == orders[1]


def test_a_packed_order_takes_less_than_a_sixth_of_its_own_encoding() -> None:
    archive, orders = an_archive(45)
    assert sum(len(pack) for _, pack in archive._packs.values()) < len(msgspec.msgpack.encode(orders)) / 6


def test_an_executor_s_archive_outlives_it() -> None:
    executor = an_executor()
    executor.orders.ended.put([an_order(1), an_order(2)], 1)
    fresh = an_executor()
    restore(fresh, snapshot(executor))
    assert fresh.orders.get(an_order(2).order_id) == an_order(2)
