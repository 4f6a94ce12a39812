"""A snapshot is the whole executor: one made from it is the same, and goes on as if it had never stopped."""

from __future__ import annotations

import enum
import random
import re
from collections import deque
from typing import Any

import msgspec
import pytest
from desk_fake import Bench, digest
from story import SALT_BASE, an_executor, story

from bot.errors import OtherBuild
from bot.execution.budget import Rates
from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.execution.slots import Slot
from bot.execution.snapshot import Snapshot, _types, restore, snapshot
from bot.execution.timers import Timers
from bot.units import NS_PER_S, QTY_ONE


def again(executor: Executor) -> Executor:
    fresh = an_executor()
    restore(fresh, snapshot(executor))
    return fresh


def same(one: Any, other: Any, place: str = "executor") -> None:
    """Every attribute of both, down to plain values, without a look at how a snapshot is made."""
    assert type(one) is type(other), place
    if isinstance(one, msgspec.Struct):
        for name in one.__struct_fields__:
            same(getattr(one, name), getattr(other, name), f"{place}.{name}")
    elif isinstance(one, dict):
        assert list(one) == list(other), place
        for key, value in one.items():
            same(value, other[key], f"{place}[{key!r}]")
    elif isinstance(one, list | tuple | deque):
        assert len(one) == len(other), place
        assert getattr(one, "maxlen", None) == getattr(other, "maxlen", None), place
        for index, value in enumerate(one):
            same(value, other[index], f"{place}[{index}]")
    elif callable(one) or isinstance(one, enum.Enum):
        assert one == other or callable(one), place
    elif hasattr(one, "__dict__"):
        assert list(vars(one)) == list(vars(other)), place
        for name, value in vars(one).items():
            if name not in getattr(one, "DERIVED", ()):
                same(value, vars(other)[name], f"{place}.{name}")
    else:
        assert one == other, place


@pytest.mark.parametrize("seed", range(3))
def test_a_restored_executor_has_every_attribute_of_the_first(seed: int) -> None:
    told = story(seed)
    executor = an_executor()
    looks = sorted(random.Random(seed).sample(range(len(told)), 12))
    for n, (now_ns, message, _) in enumerate(told):
        executor.handle(message, now_ns)
        if n in looks:
            same(executor, again(executor))


@pytest.mark.parametrize("seed", range(6))
def test_stopped_and_restored_at_any_points_it_says_what_it_would_have_said(seed: int) -> None:
    told = story(seed)
    stops = set(random.Random(seed).sample(range(len(told)), 40))
    executor = an_executor()
    for n, (now_ns, message, said) in enumerate(told):
        assert tuple(executor.handle(message, now_ns)) == said, n
        if n in stops:
            executor = again(executor)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_packed_after_each_message_changes_nothing_that_is_said(seed: int) -> None:
    executor = Executor(limits=Limits(), order_id_of=digest, salt_base=SALT_BASE, timers=Timers(pack_ns=0))
    packed = 0
    for n, (now_ns, message, said) in enumerate(story(seed, 1_000)):
        assert tuple(executor.handle(message, now_ns)) == said, n
        executor.orders.tidy(now_ns + 1)
        packed = max(packed, len(executor.orders.ended))
        assert executor.orders.by_id.keys() == executor.orders.live.keys()
    assert packed > 10


def test_an_order_is_one_and_the_same_wherever_it_is_kept() -> None:
    bench = Bench(obey=False)
    bench.intent(bid=4900)
    executor = again(bench.executor)
    (order,) = executor.orders.by_id.values()
    assert executor.orders.live[order.order_id] is order
    assert [desk.slots["bid"].order for desk in executor.desks.values()] == [order]
    assert next(iter(executor.desks.values())).slots["bid"].order is order


def test_what_a_restored_executor_counts_anew_is_what_it_was() -> None:
    executor = an_executor()
    for now_ns, message, _ in story(1):
        executor.handle(message, now_ns)
    fresh = again(executor)
    assert [fresh.use(desk) for desk in fresh.desks.values()] == [
        executor.use(desk) for desk in executor.desks.values()
    ]
    assert fresh.total() == executor.total()


def test_who_looks_on_changes_nothing() -> None:
    executor, watched = an_executor(), an_executor()
    for now_ns, message, _ in story(2):
        executor.handle(message, now_ns)
        watched.handle(message, now_ns)
        watched.status_report()
        assert snapshot(watched) == snapshot(executor)


def test_equal_states_give_equal_bytes() -> None:
    executor = an_executor()
    for now_ns, message, _ in story(1):
        executor.handle(message, now_ns)
    data = snapshot(executor)
    assert snapshot(executor) == data
    assert snapshot(again(executor)) == data


def test_what_the_constructor_is_given_is_not_taken_from_the_snapshot() -> None:
    bench = Bench()
    bench.intent(bid=4900)
    fresh = Executor(
        limits=Limits(q_max=7 * QTY_ONE),
        order_id_of=digest,
        salt_base=99,
        timers=Timers(ack_ns=3 * NS_PER_S),
        rates=Rates(orders_burst=5),
        clean_start=False,
    )
    restore(fresh, snapshot(bench.executor))
    assert fresh.risk.limits.q_max == 7 * QTY_ONE
    assert fresh.timers.ack_ns == 3 * NS_PER_S
    assert fresh.last_salt == 99 + 1
    for _ in range(10):
        fresh.budget.take_order(bench.now + 60 * NS_PER_S)
    assert fresh.budget.levels()["orders"] == 0.0


def test_a_value_without_a_form_is_refused_with_its_place() -> None:
    executor = an_executor()
    executor.risk.added = {"one": object()}  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"executor\.risk\.added has no form in a snapshot: object"):
        snapshot(executor)


def test_a_new_plain_attribute_joins_by_itself() -> None:
    executor, fresh = an_executor(), an_executor()
    value = {"a": deque([1, 2], 3), ("b", 1): {3, 1}, "slot": Slot("bid"), "none": None}
    executor.risk.added, fresh.risk.added = value, {}  # type: ignore[attr-defined]
    restore(fresh, snapshot(executor))
    same(fresh.risk.added, value)  # type: ignore[attr-defined]


def test_an_attribute_that_is_new_keeps_what_the_constructor_gave_it() -> None:
    fresh = an_executor()
    fresh.risk.added = 5  # type: ignore[attr-defined]
    restore(fresh, snapshot(an_executor()))
    assert fresh.risk.added == 5  # type: ignore[attr-defined]


def test_an_attribute_that_is_gone_is_another_build_s() -> None:
    executor = an_executor()
    executor.risk.added = 5  # type: ignore[attr-defined]
    with pytest.raises(OtherBuild, match="added"):
        restore(an_executor(), snapshot(executor))


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_bytes_that_are_no_snapshot_are_another_build_s(cut: int) -> None:
    with pytest.raises(OtherBuild):
        restore(an_executor(), snapshot(an_executor())[:cut])


def test_no_struct_hides_another_that_may_change() -> None:
    """A struct inside a struct is written in place: one that changes would no longer be the same one everywhere."""
    owned = {"TokenUse"}  # has its place in a Use and nowhere else
    structs = [kind for kind in _types().values() if issubclass(kind, msgspec.Struct)]
    mutable = [
        f"{kind.__module__}.{kind.__name__}"
        for kind in structs
        if not kind.__struct_config__.frozen and kind.__name__ not in owned
    ]
    assert "bot.execution.orders.Order" in mutable
    for kind in structs:
        for field in msgspec.structs.fields(kind):
            inside = [name for name in mutable if re.search(rf"{name}\b", str(field.type))]
            assert not inside, f"{kind.__name__}.{field.name} holds {inside}"


def test_a_form_that_this_build_does_not_know_is_another_build_s() -> None:
    written = msgspec.msgpack.decode(snapshot(an_executor()))
    fields = written if isinstance(written, dict) else dict(zip(Snapshot.__struct_fields__, written, strict=True))
    fields["tree"]["counts"] = ["heap", 1, 2]
    with pytest.raises(OtherBuild, match="stands for nothing"):
        restore(an_executor(), msgspec.msgpack.encode(fields))
