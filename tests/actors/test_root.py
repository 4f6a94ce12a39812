"""The root: cancel first, then answers, restart or end. Most run it unstarted on a clock that is passed in."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from actors.base import Actor
from actors.root import Patience, RootActor
from actors.router import Directory, Router
from actors.supervision import ChildSpec
from bot.messages import (
    CancelOrder,
    ChildFailed,
    ExecutionReport,
    Fail,
    Halt,
    MassCancel,
    Message,
    NewOrder,
    OutcomeUnknown,
    Reject,
    Request,
    Resume,
    Shutdown,
    Side,
    TimerTick,
)
from bot.units import NS_PER_S

FOREVER_S = 10.0
TICK = TimerTick(name="root", now_ns=0, utc_ns=0)
RAISE = Resume(by="raise")
WAIT = Resume(by="wait")


@dataclass(frozen=True)
class Report:
    verified: bool


class Stage:
    """Gate, panic, latch and end in one log, a clock, and five small children."""

    def __init__(self, **patience: Any) -> None:
        self.log: list[Any] = []
        self.now_ns = 1_000 * NS_PER_S
        self.epoch = 0
        self.root_lease_ns = 0
        self.executor_lease_ns = 0
        self.leases: list[int] = []
        self.landed_ids: list[str] = []
        self.tickets = 0
        self.flat: bool | None = None  # what panic answers: not yet, not verified, verified
        self.latch_reason: str | None = None
        self.cancel_due_ns = 0
        self.ended: tuple[bool, str] | None = None
        self.end_called = threading.Event()
        self.panic_called = threading.Event()
        self.born: dict[str, list[Child]] = {}
        self.refuse_to_start: set[str] = set()
        self.refuse_setup: set[str] = set()
        self.directory = Directory()
        self.patience = Patience(**{"stop_ns": NS_PER_S // 100} | patience)

    # gate
    def shut(self, by: str, reason: str) -> int:
        self.epoch += 1
        self.log.append(("shut", by))
        return self.epoch

    def open(self, by: str) -> None:
        self.log.append(("open", by))

    def landed(self, order_ids: Any) -> None:
        self.landed_ids += order_ids

    # panic
    def request(self, reason: str) -> int:
        self.tickets += 1
        self.log.append("panic")
        self.panic_called.set()
        return self.tickets

    def result(self, ticket: int) -> Report | None:
        assert ticket == self.tickets
        return None if self.flat is None else Report(self.flat)

    # latch and end
    def latch(self, reason: str, by: str) -> None:
        self.log.append(("latch", by))
        self.latch_reason = reason

    def read_latch(self) -> str | None:
        return self.latch_reason

    def end(self, failed: bool, reason: str) -> None:
        self.ended = (failed, reason)
        self.end_called.set()

    # children
    def spec(self, name: str, **more: Any) -> ChildSpec:
        def start() -> Any:
            if name in self.refuse_to_start:
                raise ValueError("no")
            return Child.start(
                stage=self, name=name, directory=self.directory, router=Router(self.directory, {}), clock=self.clock
            )

        return ChildSpec(name=name, start=start, **more)

    def clock(self) -> int:
        return self.now_ns

    def arguments(self) -> dict[str, Any]:
        return {
            "children": [
                self.spec("journal", fatal=True),
                self.spec("orders", hang_ns=7 * NS_PER_S // 2, holds_requests=True),
                self.spec("executor", fatal=True),
                self.spec("strategy"),
            ],
            "gate": self,
            "panic": self,
            "end": self.end,
            "latch": self.latch,
            "latched": lambda: self.read_latch(),
            "cancel_due": lambda: self.cancel_due_ns,
            "renew": lambda: self.leases.append(self.now_ns),
            "patience": self.patience,
            "directory": self.directory,
            "router": Router(self.directory, {}),
        }

    def child(self, name: str) -> Child:
        return self.born[name][-1]

    def told(self, name: str) -> list[Message]:
        """What a child has handled, once it is done with all it was told."""
        child = self.child(name)
        done = threading.Event()
        self.directory.tell(name, Done(done))
        assert done.wait(FOREVER_S)
        return child.seen


class Done(Message, frozen=True, kw_only=False, tag=True):
    event: Any


class Child(Actor):
    def __init__(self, *, stage: Stage, **base: Any) -> None:
        super().__init__(**base)
        self.stage = stage
        self.seen: list[Message] = []
        self.entered = threading.Event()
        self.release = threading.Event()
        stage.born.setdefault(self.name, []).append(self)

    def setup(self) -> None:
        if self.name in self.stage.refuse_setup:
            raise ValueError("no setup")

    def handle(self, message: Any) -> None:
        if isinstance(message, Done):
            message.event.set()
            return
        self.seen.append(message)
        if message == WAIT:
            self.entered.set()
            assert self.release.wait(FOREVER_S)
        if message == RAISE or (isinstance(message, NewOrder) and message.cl_ord_id == "raise"):
            raise ValueError("as told")

    def teardown(self) -> None:
        self.stage.log.append(("down", self.name))


class Rig(Stage):
    """A root on no thread of its own: the test hands it what it is told."""

    def __init__(self, **patience: Any) -> None:
        super().__init__(**patience)
        self.root = RootActor(**self.arguments(), clock=self.clock)
        self.directory.register("root", self.root.actor_ref, self.root.mailbox, self.root.health)

    def up(self) -> Rig:
        self.root.setup()
        self.log.clear()
        return self

    def after(self, seconds: float) -> None:
        """Time passes evenly, with the root looking ten times a second."""
        end_ns = self.now_ns + int(seconds * NS_PER_S)
        while self.now_ns < end_ns:
            self.settle()
            self.now_ns = min(end_ns, self.now_ns + NS_PER_S // 10)
            self.root.handle(TICK)

    def settle(self) -> None:
        """The clock of this test may not run ahead of the children's threads, or they would look hung."""
        deadline = time.monotonic() + FOREVER_S
        for children in self.born.values():
            child = children[-1]
            held = child.entered.is_set() and not child.release.is_set()
            while not held and not child.health.failed and (child.health.busy_since_ns or not child.mailbox.empty()):
                assert time.monotonic() < deadline
                held = child.entered.is_set() and not child.release.is_set()
                time.sleep(0)

    def to_its_end(self) -> tuple[bool, str] | None:
        """Looks until the root has ended the run; time stands still, only the children's threads run on."""
        deadline = time.monotonic() + FOREVER_S
        while self.ended is None and time.monotonic() < deadline:
            self.root.handle(TICK)
        return self.ended

    def hear(self, kind: type[Message]) -> None:
        """Until a message of this type has come and was handled."""
        while True:
            message = self.root.mailbox.get().message
            self.root.handle(message)
            if isinstance(message, kind):
                return

    def fail(self, name: str) -> None:
        self.directory.tell(name, RAISE)
        self.hear(ChildFailed)

    def back(self) -> None:
        """Flat is verified, the delay is over and the restarted children are ready."""
        self.flat = True
        self.after(1.0)
        for children in self.born.values():
            assert children[-1].health.ready.wait(FOREVER_S)
        self.after(0.1)

    def close(self) -> None:
        for children in self.born.values():
            for child in children:
                child.release.set()
        for name in self.born:
            self.directory.stop(name)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", logger="pykka")


def new_order(cl_ord_id: str) -> NewOrder:
    return NewOrder(
        cl_ord_id=cl_ord_id,
        order_id=f"0x{cl_ord_id}",
        symbol="m",
        asset_id="t",
        side=Side.BUY,
        px=5000,
        order_qty=9,
        maker_amount=1,
        taker_amount=2,
        salt=3,
        timestamp_ms=4,
        version=2,
        neg_risk=False,
        tick=100,
        epoch=1,
        valid_until_ns=5,
        made_ns=6,
    )


def cancel(number: str) -> CancelOrder:
    return CancelOrder(cl_ord_id=number, order_id=f"0x{number}", symbol="m")


def test_children_start_in_order_and_the_lease_runs_from_the_beginning() -> None:
    rig = Rig()
    rig.up()
    assert list(rig.born) == ["journal", "orders", "executor", "strategy"]
    assert rig.root_lease_ns == rig.now_ns
    rig.after(0.1)
    assert rig.root_lease_ns == rig.now_ns
    assert rig.log == []
    rig.close()


def test_a_failure_shuts_the_gate_and_asks_panic_before_anything_else() -> None:
    rig = Rig().up()
    rig.fail("strategy")
    assert [entry for entry in rig.log if entry != ("down", "strategy")] == [("shut", "root"), "panic"]
    assert rig.told("executor") == [Fail(reason="strategy: ValueError: as told", epoch=1)]
    rig.close()


def test_a_failed_child_comes_back_only_after_flat_is_verified_and_then_the_gate_opens() -> None:
    rig = Rig().up()
    rig.fail("strategy")
    rig.after(3.0)
    assert len(rig.born["strategy"]) == 1
    assert ("open", "root") not in rig.log
    rig.back()
    assert len(rig.born["strategy"]) == 2
    assert rig.log[-1] == ("open", "root")
    rig.close()


def test_panic_is_asked_again_until_it_verifies_flat() -> None:
    rig = Rig().up()
    rig.fail("strategy")
    rig.flat = False
    rig.after(0.3)
    assert rig.tickets >= 3
    assert len(rig.born["strategy"]) == 1
    rig.back()
    assert len(rig.born["strategy"]) == 2
    rig.close()


def test_a_mass_cancel_without_answer_is_sent_again_by_panic_once_and_on_time() -> None:
    rig = Rig().up()
    for _ in range(2):
        rig.log.clear()
        rig.cancel_due_ns = rig.now_ns + NS_PER_S // 4
        rig.after(0.2)
        assert rig.log == []
        alarm = rig.root.mailbox.alarm
        assert alarm is not None and alarm[0] == rig.cancel_due_ns, "it does not wait for its next look"
        rig.after(0.5)
        assert rig.log == ["panic"]
        rig.cancel_due_ns = 0
        rig.after(0.1)
    rig.close()


def test_a_message_for_a_dead_child_reaches_its_successor_first() -> None:
    rig = Rig().up()
    rig.directory.tell("strategy", WAIT)
    assert rig.child("strategy").entered.wait(FOREVER_S)
    rig.directory.tell("strategy", RAISE)
    rig.directory.tell("strategy", Resume(by="left"))
    rig.child("strategy").release.set()
    rig.hear(ChildFailed)
    rig.directory.tell("strategy", Resume(by="late"))
    rig.back()
    assert rig.told("strategy") == [Resume(by="left"), Resume(by="late")]
    rig.close()


def test_a_dead_gateway_is_answered_for_and_its_cancels_reach_its_successor() -> None:
    rig = Rig().up()
    orders = rig.child("orders")
    rig.directory.tell("orders", WAIT)
    assert orders.entered.wait(FOREVER_S)
    for message in (new_order("raise"), new_order("left"), cancel("c"), MassCancel()):
        rig.directory.tell("orders", message)
    orders.release.set()
    rig.hear(ChildFailed)
    assert orders.health.thread is not None
    orders.health.thread.join(FOREVER_S)
    answers = [message for message in rig.told("executor") if not isinstance(message, Fail)]
    unknown = [message for message in answers if isinstance(message, OutcomeUnknown)]
    rejected = [message for message in answers if isinstance(message, ExecutionReport)]
    assert [(message.order_id, message.request) for message in unknown] == [("0xraise", Request.NEW)]
    assert [(message.order_id, message.reject) for message in rejected] == [("0xleft", Reject.SHUT)]
    assert len(answers) == 2
    rig.back()
    assert rig.landed_ids == ["0xraise"]
    # The mass cancel was handled by the first: URGENT goes before the order that killed it.
    assert rig.told("orders") == [cancel("c")]
    rig.close()


def test_a_child_busy_for_longer_than_it_may_is_abandoned_and_replaced() -> None:
    rig = Rig().up()
    first = rig.child("strategy")
    rig.directory.tell("strategy", WAIT)
    assert first.entered.wait(FOREVER_S)
    rig.after(2.0)
    assert rig.log == []
    rig.after(0.2)
    assert rig.log == [("shut", "root"), "panic"]
    assert "hangs in a handler" in first.health.failed
    rig.back()
    assert rig.child("strategy") is not first
    first.release.set()
    assert first.health.thread is not None
    first.health.thread.join(FOREVER_S)
    assert not first.health.thread.is_alive()
    assert rig.root.mailbox.empty(), "it ends without a second report"
    rig.close()


def test_a_gateway_may_take_longer_than_the_others() -> None:
    rig = Rig().up()
    rig.directory.tell("orders", WAIT)
    assert rig.child("orders").entered.wait(FOREVER_S)
    rig.after(3.4)
    assert rig.log == []
    rig.after(0.3)
    assert rig.log[:2] == [("shut", "root"), "panic"]
    rig.close()


def test_a_gateway_that_works_through_requests_that_time_out_is_no_hang() -> None:
    rig = Rig().up()
    orders = rig.child("orders")
    rig.directory.tell("orders", WAIT)
    assert orders.entered.wait(FOREVER_S)
    rig.directory.tell("orders", cancel("waits behind them"))
    for _ in range(4):
        rig.after(3.0)
        orders.health.busy_since_ns = orders.health.began_ns = rig.now_ns  # the next request begins
    assert rig.log == []
    rig.after(3.7)
    assert rig.log[:2] == [("shut", "root"), "panic"]
    rig.close()


def test_a_thread_a_child_owns_that_gives_no_sign_is_a_failure() -> None:
    rig = Rig().up()
    stamp_ns = rig.now_ns
    rig.child("strategy").health.extra_stamp = lambda: stamp_ns
    rig.after(2.2)
    assert rig.log[:2] == [("shut", "root"), "panic"]
    rig.close()


def test_when_the_whole_process_stood_still_all_is_cancelled_but_nobody_is_called_hung() -> None:
    rig = Rig().up()
    rig.directory.tell("strategy", WAIT)
    assert rig.child("strategy").entered.wait(FOREVER_S)
    rig.now_ns += 30 * NS_PER_S
    rig.root.handle(TICK)
    assert rig.log == [("shut", "root"), "panic"]
    assert rig.told("executor") == [Fail(reason="the root stood still for 30.0 s", epoch=1)]
    rig.child("strategy").release.set()
    assert rig.told("strategy") == [WAIT]
    rig.after(2.0)
    assert ("open", "root") not in rig.log, "not before flat is verified"
    rig.flat = True
    rig.after(0.2)
    assert rig.log[-1] == ("open", "root")
    assert len(rig.born["strategy"]) == 1
    rig.close()


def test_a_moment_late_is_no_lost_lease() -> None:
    rig = Rig().up()
    rig.now_ns += 19 * NS_PER_S // 10
    rig.root.handle(TICK)
    assert rig.log == []
    rig.close()


def test_the_guardian_gets_its_lease_four_times_a_second_and_only_while_the_executor_holds_one() -> None:
    rig = Rig().up()
    rig.after(1.0)
    assert rig.leases == [], "the executor has none yet"
    for _ in range(40):
        rig.executor_lease_ns = rig.now_ns
        rig.after(0.1)
    assert 13 <= len(rig.leases) <= 17
    last_ns = rig.executor_lease_ns
    rig.after(4.0)
    assert rig.leases[-1] - last_ns < 2 * NS_PER_S
    rig.close()


def test_a_root_that_stood_still_gives_no_lease_for_an_executor_that_still_does() -> None:
    rig = Rig().up()
    rig.executor_lease_ns = rig.now_ns
    rig.after(0.5)
    rig.leases.clear()
    rig.now_ns += 3 * NS_PER_S
    rig.root.handle(TICK)
    assert rig.leases == []
    rig.executor_lease_ns = rig.now_ns
    rig.root.handle(TICK)
    assert rig.leases == [rig.now_ns]
    rig.close()


def test_a_real_hang_is_still_seen_after_a_standstill() -> None:
    rig = Rig().up()
    rig.directory.tell("strategy", WAIT)
    assert rig.child("strategy").entered.wait(FOREVER_S)
    rig.now_ns += 30 * NS_PER_S
    rig.after(1.5)
    assert rig.child("strategy").health.failed.startswith("hangs in a handler")
    rig.close()


def test_a_dead_executor_ends_the_run_with_70_once_flat() -> None:
    rig = Rig().up()
    rig.fail("executor")
    rig.after(1.0)
    assert rig.ended is None
    rig.flat = True
    assert rig.to_its_end() == (True, "executor: ValueError: as told")
    assert len(rig.born["executor"]) == 1
    rig.close()


def test_a_run_that_cannot_be_verified_flat_ends_after_a_bound_and_says_so() -> None:
    rig = Rig().up()
    rig.fail("journal")
    rig.after(4.9)
    assert rig.ended is None
    rig.after(0.2)
    assert rig.ended == (True, "journal: ValueError: as told")
    rig.close()


def test_the_fourth_failure_in_ten_minutes_latches_and_the_child_stays_down() -> None:
    rig = Rig().up()
    for _ in range(3):
        rig.flat = None
        rig.fail("strategy")
        rig.back()
    assert len(rig.born["strategy"]) == 4
    rig.log.clear()
    rig.flat = None
    rig.fail("strategy")
    rig.flat = True
    rig.after(5.0)
    assert ("latch", "root") in rig.log
    assert len(rig.born["strategy"]) == 4
    assert ("open", "root") not in rig.log
    assert any(isinstance(message, Halt) for message in rig.told("executor"))
    rig.latch_reason = None
    rig.back()
    assert len(rig.born["strategy"]) == 5
    assert rig.log[-1] == ("open", "root")
    rig.close()


def test_the_latch_is_watched_both_ways() -> None:
    rig = Rig().up()
    rig.latch_reason = "a person said so"
    rig.after(0.1)
    assert rig.log == [("shut", "latch"), "panic"]
    rig.after(1.0)
    assert rig.log == [("shut", "latch"), "panic"]
    rig.latch_reason = None
    rig.after(0.1)
    assert rig.log[-1] == ("open", "latch")
    assert rig.told("executor") == [
        Halt(reason="a person said so", by="latch", epoch=1),
        Resume(by="operator"),
    ]
    rig.close()


def test_a_halt_asked_for_by_the_executor_latches_at_once() -> None:
    rig = Rig().up()
    rig.root.handle(Halt(reason="loss limit", by="executor"))
    assert rig.log == [("latch", "executor"), ("shut", "latch"), "panic"]
    assert rig.told("executor") == [Halt(reason="loss limit", by="latch", epoch=1)]
    rig.close()


def test_a_run_that_starts_latched_starts_halted() -> None:
    rig = Rig()
    rig.latch_reason = "from the last run"
    rig.root.setup()
    assert rig.log == [("shut", "latch"), "panic"]
    rig.close()


def test_an_ordered_end_cancels_first_then_stops_children_in_reverse() -> None:
    rig = Rig(stop_ns=10 * NS_PER_S).up()
    rig.root.handle(Shutdown(reason="signal"))
    assert rig.log == [("shut", "shutdown"), "panic"]
    rig.after(1.0)
    assert rig.told("executor") == [Shutdown(reason="signal", epoch=1)]
    assert rig.ended is None
    rig.flat = True
    assert rig.to_its_end() == (False, "signal")
    assert rig.log[2:] == [("down", "strategy"), ("down", "executor"), ("down", "orders"), ("down", "journal")]
    rig.root.handle(TICK)
    assert rig.root.mailbox.alarm is None
    rig.close()


def test_the_end_waits_for_the_facts_the_executor_still_has_to_handle() -> None:
    rig = Rig().up()
    rig.directory.tell("executor", WAIT)
    assert rig.child("executor").entered.wait(FOREVER_S)
    rig.root.handle(Shutdown(reason="signal"))
    rig.flat = True
    rig.after(1.0)
    assert rig.ended is None
    rig.child("executor").release.set()
    assert rig.to_its_end() == (False, "signal")
    rig.close()


def test_an_ordered_end_of_a_halted_run_says_75_and_an_unverified_one_5() -> None:
    halted = Rig().up()
    halted.latch_reason = "a person said so"
    halted.flat = True
    halted.root.handle(Shutdown(reason="signal"))
    assert halted.to_its_end() == (False, "signal")
    halted.close()
    unverified = Rig().up()
    unverified.root.handle(Shutdown(reason="signal"))
    unverified.after(10.1)
    assert unverified.ended == (False, "signal")
    unverified.close()


def test_a_child_that_fails_while_the_run_ends_is_not_restarted() -> None:
    rig = Rig().up()
    rig.root.handle(Shutdown(reason="signal"))
    rig.fail("strategy")
    rig.flat = True
    assert rig.to_its_end() == (False, "signal")
    assert len(rig.born["strategy"]) == 1
    rig.close()


def test_a_fatal_child_that_cannot_start_ends_the_run_before_the_rest_starts() -> None:
    rig = Rig()
    rig.refuse_setup.add("journal")
    rig.root.setup()
    assert list(rig.born) == ["journal"]
    assert rig.log[:1] == [("shut", "root")] or rig.log[:2] == [("down", "journal"), ("shut", "root")]
    rig.flat = True
    assert rig.to_its_end() == (True, "journal: ValueError: no setup")


def test_a_constructor_that_raises_is_a_failure_of_the_child_not_of_the_root() -> None:
    rig = Rig().up()
    rig.refuse_to_start.add("strategy")
    rig.fail("strategy")
    rig.flat = True
    rig.after(5.0)
    assert rig.latch_reason is not None, "three more attempts failed"
    assert "could not start: ValueError: no" in rig.latch_reason
    rig.close()


def test_a_started_root_asks_for_the_cancel_within_milliseconds_and_brings_the_child_back() -> None:
    stage = Stage(restart_delay_ns=0, look_every_ns=NS_PER_S // 200)
    stage.clock = time.monotonic_ns  # type: ignore[method-assign]
    stage.flat = True
    reopened = threading.Event()
    open_gate = stage.open

    def opened(by: str) -> None:
        open_gate(by)
        reopened.set()

    stage.open = opened  # type: ignore[method-assign]
    root = RootActor.start(**stage.arguments())
    health = stage.directory.health("root")
    assert health is not None
    assert health.ready.wait(FOREVER_S)
    began_ns = time.monotonic_ns()
    stage.directory.tell("strategy", RAISE)
    assert stage.panic_called.wait(FOREVER_S)
    assert time.monotonic_ns() - began_ns < NS_PER_S // 4
    assert reopened.wait(FOREVER_S)
    assert len(stage.born["strategy"]) == 2
    root.tell(Shutdown(reason="over"))
    assert stage.end_called.wait(FOREVER_S)
    assert stage.ended == (False, "over")
    root.stop(timeout=FOREVER_S)


def test_a_root_that_fails_itself_asks_for_the_cancel_and_gives_the_run_up() -> None:
    stage = Stage()
    stage.clock = time.monotonic_ns  # type: ignore[method-assign]
    RootActor.start(**stage.arguments())
    health = stage.directory.health("root")
    assert health is not None
    assert health.ready.wait(FOREVER_S)

    def broken() -> str | None:
        raise OSError("disk gone")

    stage.read_latch = broken  # type: ignore[method-assign]
    assert stage.end_called.wait(FOREVER_S)
    assert stage.ended == (True, "root failed: OSError: disk gone")
    assert stage.log[:2] == [("shut", "root"), "panic"]
    assert health.thread is not None
    health.thread.join(FOREVER_S)
    assert not health.thread.is_alive()
    for name in stage.born:
        stage.directory.stop(name)
