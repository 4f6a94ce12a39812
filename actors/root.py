"""Starts the actors, watches them, and acts when one fails: shut the gate, let panic cancel all, then restart it or end
the run. Cancels never go through the part that failed. The policy is in supervision.py; nothing here knows a venue.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from loguru import logger

from actors.base import ROOT, Actor
from actors.router import Health
from actors.supervision import (
    LEASE_NS_MAX,
    ChildSpec,
    Facts,
    Supervisor,
    Verdict,
    answer_in_hands,
    answer_undelivered,
    diagnose,
)
from bot.messages import ChildFailed, Fail, Halt, InjectedFault, Message, NewOrder, Resume, Shutdown, TimerTick
from bot.units import NS_PER_S, Ns

EXECUTOR = "executor"
HEARTBEAT = "heartbeat"
LATCH = "latch"
SHUTDOWN = "shutdown"


class GatePort(Protocol):
    root_lease_ns: Ns
    executor_lease_ns: Ns

    def shut(self, by: str, reason: str) -> int: ...

    def open(self, by: str) -> None: ...

    def landed(self, order_ids: Sequence[str]) -> None: ...


class FlatReport(Protocol):
    @property
    def verified(self) -> bool: ...


class PanicPort(Protocol):
    """Cancels all and verifies flat on a thread and connection of its own; neither call blocks."""

    def request(self, reason: str) -> int: ...

    def result(self, ticket: int) -> FlatReport | None: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the root waits for what."""

    diagnose_every_ns: Ns = NS_PER_S // 10
    look_every_ns: Ns = NS_PER_S // 10
    lease_every_ns: Ns = NS_PER_S // 4  # to the guardian
    ready_ns: Ns = 5 * NS_PER_S  # a child's setup
    restart_delay_ns: Ns = NS_PER_S
    fatal_ns: Ns = 5 * NS_PER_S  # for flat, after a failure that ends the run
    shutdown_ns: Ns = 10 * NS_PER_S  # for flat, at an ordered end
    stop_ns: Ns = NS_PER_S  # for one child's thread to end
    late_ns: Ns = NS_PER_S  # later than this itself, the root does not trust the ages it sees


class ChildState(enum.Enum):
    STARTING = "starting"
    UP = "up"
    DOWN = "down"  # until it may be restarted
    GIVEN_UP = "given up"  # until a person lifts the latch


@dataclass(slots=True)
class Child:
    spec: ChildSpec
    state: ChildState = ChildState.DOWN
    since_ns: Ns = 0
    health: Health | None = None


class RootActor(Actor):
    """Invariant: while a child is not up, or its own lease was lost and flat is not verified since, the gate is shut in
    the root's name, and no later than the panic request.

    It wakes itself by its mailbox's alarm, so that it needs no timer to watch the timer. `end(failed, reason)`,
    `latch(reason, by)` and `renew()`, which gives the guardian its lease, are called on its thread; `latched()` gives the
    reason while the halt latch is set; `cancel_due()` is when a mass cancel of the executor's will have waited too long
    for its answer (0: none waits).
    """

    def __init__(
        self,
        *,
        children: Sequence[ChildSpec],
        gate: GatePort,
        panic: PanicPort,
        end: Callable[[bool, str], None],
        latch: Callable[[str, str], object],
        latched: Callable[[], str | None],
        cancel_due: Callable[[], Ns] = lambda: 0,
        renew: Callable[[], object] = lambda: None,
        patience: Patience = Patience(),
        supervisor: Supervisor | None = None,
        **base: Any,
    ) -> None:
        super().__init__(name=ROOT, **base)
        self._children = {spec.name: Child(spec) for spec in children}  # in start order
        self._gate = gate
        self._panic = panic
        self._end_run = end
        self._latch = latch
        self._latched = latched
        self._cancel_due = cancel_due
        self._renew = renew
        self._renew_due_ns: Ns = 0
        self._diagnose_due_ns: Ns = 0
        self._sent_again_ns: Ns = 0  # the due time of the mass cancel that panic was asked for
        self._patience = patience
        self._supervisor = supervisor or Supervisor()
        self._ticket: int | None = None  # of the newest panic request, until it verified flat
        self._flat = False
        self._shut = False
        self._halted = False
        self._watched_ns: Ns = 0
        self._trust_from_ns: Ns = 0
        self._end_reason = ""  # set: the run is ending
        self._end_by_ns: Ns = 0
        self._end_failed = False
        self._ended = False
        self.directory.dead_letter = self._dead_letter

    # -- life ----------------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Each child is ready before the next starts, so sinks are there when sources speak."""
        for child in self._children.values():
            if self._end_reason:
                break
            self._gate.root_lease_ns = self.clock()
            self._start(child)
            if child.state is ChildState.STARTING and child.health is not None:
                child.health.ready.wait(self._patience.ready_ns / NS_PER_S)
                self._judge_start(child, self.clock(), late=True)
        self._watched_ns = self.clock()
        self._watch()

    def handle(self, message: Message) -> None:
        if isinstance(message, ChildFailed):
            child = self._children.get(message.actor)
            if child is not None and child.state in (ChildState.UP, ChildState.STARTING):
                self._child_failed(child, message.error)
        elif isinstance(message, Halt):
            self._set_latch(message.reason, message.by)
        elif isinstance(message, Shutdown):
            self._shut_down(message.reason)
        self._watch()

    def failed(self, error: BaseException, setup: bool) -> None:
        """Nobody watches the root: it asks for the cancel itself and gives the run up. The main thread sees to flat."""
        reason = f"root failed: {self.health.failed}"
        epoch = self._gate.shut(ROOT, reason)
        self._panic.request(reason)
        self.directory.tell(EXECUTOR, Fail(reason=reason, epoch=epoch))
        self._end_run(True, reason)

    def _watch(self) -> None:
        if self._ended:
            return
        now_ns = self.clock()
        self._gate.root_lease_ns = now_ns
        if now_ns - self._watched_ns > self._patience.late_ns:
            # The whole process stood still (a stopped or starved machine): so did the children, which is no hang.
            self._trust_from_ns = now_ns + self._patience.late_ns
        if now_ns - self._watched_ns > LEASE_NS_MAX:
            self._suspend(f"the root stood still for {(now_ns - self._watched_ns) / NS_PER_S:.1f} s")
        self._watched_ns = now_ns
        self._give_lease(now_ns)
        self._look_at_latch()
        if now_ns >= self._diagnose_due_ns:
            self._diagnose_due_ns = now_ns + self._patience.diagnose_every_ns
            self._look_at_children(now_ns)
        next_ns = self._look_at_cancels(now_ns)
        self._look_at_panic()
        if self._end_reason:
            self._end_when_due(now_ns)
        else:
            self._recover(now_ns)
        if not self._ended:
            self.mailbox.set_alarm(next_ns, TimerTick(name=ROOT, now_ns=now_ns, utc_ns=0))

    def _give_lease(self, now_ns: Ns) -> None:
        """Only while the executor holds its own: whatever the reason, orders that nobody minds must go."""
        if now_ns >= self._renew_due_ns and now_ns - self._gate.executor_lease_ns < LEASE_NS_MAX:
            self._renew()
            self._renew_due_ns = now_ns + self._patience.lease_every_ns

    # -- children ------------------------------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        name = child.spec.name
        child.since_ns = self.clock()
        child.state = ChildState.STARTING
        try:
            child.spec.start()
            child.health = self.directory.health(name)
            assert child.health is not None, f"{name} is not in the directory under its name"
        except Exception as error:  # noqa: BLE001  whatever a constructor raises is the child's failure, not the root's
            self._child_failed(child, f"could not start: {type(error).__name__}: {error}")

    def _look_at_children(self, now_ns: Ns) -> None:
        for child in self._children.values():
            if child.state is ChildState.STARTING:
                self._judge_start(child, now_ns)
            elif child.state is ChildState.UP and (error := self._diagnose(child, now_ns)):
                self._child_failed(child, error)

    def _judge_start(self, child: Child, now_ns: Ns, late: bool = False) -> None:
        health = child.health
        assert health is not None
        if health.ready.is_set():
            if health.failed:
                self._child_failed(child, health.failed)
            else:
                child.state = ChildState.UP
        elif late or now_ns - child.since_ns > self._patience.ready_ns:
            self._child_failed(child, f"was not ready within {self._patience.ready_ns / NS_PER_S:g} s")

    def _diagnose(self, child: Child, now_ns: Ns) -> str:
        health = child.health
        assert health is not None
        trusted = now_ns >= self._trust_from_ns

        def age(since_ns: Ns) -> Ns:
            return now_ns - since_ns if since_ns and trusted else 0

        waiting_ns = health.mailbox.waiting_ns(now_ns) if trusted else 0
        if child.spec.holds_requests:
            # A venue that lets every request time out is no hang of ours, as long as the next one is begun.
            waiting_ns = min(waiting_ns, age(health.began_ns))
        return diagnose(
            Facts(
                failed=health.failed,
                alive=health.thread is not None and health.thread.is_alive(),
                busy_ns=age(health.busy_since_ns),
                waiting_ns=waiting_ns,
                stamp_ns=age(health.extra_stamp()) if health.extra_stamp is not None else 0,
            ),
            child.spec.hang_ns,
        )

    def _child_failed(self, child: Child, error: str) -> None:
        name = child.spec.name
        reason = f"{name}: {error}"
        self._suspend(reason, told=name != EXECUTOR)  # first of all
        now_ns = self.clock()
        logger.error("{} failed: {}", name, error)
        child.state = ChildState.DOWN
        child.since_ns = now_ns
        if child.health is not None:
            # A hung thread cannot be killed: it is left to itself, and ends when it next looks for a message.
            child.health.failed = child.health.failed or error
            self.directory.close(name)
            if child.spec.holds_requests:
                for request in child.health.in_hands:
                    self._answer(answer_in_hands(request, now_ns, f"{name} failed"))
        verdict = self._supervisor.failed(child.spec, now_ns)
        if verdict is Verdict.END:
            self._end_failed = True
            if not self._end_reason:
                self._end_reason = reason
                self._end_by_ns = now_ns + self._patience.fatal_ns
        elif verdict is Verdict.LATCH and not self._end_reason:
            child.state = ChildState.GIVEN_UP
            self._set_latch(f"{name} failed too often, the last time because: {error}", ROOT)

    def _suspend(self, reason: str, told: bool = True) -> None:
        """Nothing is placed until flat is verified and every child is up."""
        epoch = self._shut_and_panic(ROOT, reason)
        self._shut = True
        if told:
            self.directory.tell(EXECUTOR, Fail(reason=reason, epoch=epoch))

    def _recover(self, now_ns: Ns) -> None:
        """Back only when nothing rests: then the restart, then the gate."""
        if not self._shut or not self._flat:
            return
        for child in self._children.values():
            if child.state is ChildState.DOWN and now_ns - child.since_ns >= self._patience.restart_delay_ns:
                logger.info("restarting {}", child.spec.name)
                if child.health is not None:
                    orders = [message for message in child.health.in_hands if isinstance(message, NewOrder)]
                    self._gate.landed([order.order_id for order in orders])
                self._start(child)
        if all(child.state is ChildState.UP for child in self._children.values()):
            self._shut = False
            self._gate.open(ROOT)
            logger.info("all actors are up again")

    def _dead_letter(self, name: str, message: Message) -> bool:
        """On any thread. True: dealt with; else it waits for the successor of that name."""
        child = self._children.get(name)
        if child is None or child.spec.fatal or self._end_reason or isinstance(message, InjectedFault):
            logger.warning("{} for {} was not delivered", type(message).__name__, name)
            return True
        if not child.spec.holds_requests:
            return False
        return self._answer(answer_undelivered(message, self.clock(), f"{name} failed before taking it"))

    def _answer(self, answer: Message | None) -> bool:
        if answer is not None:
            self.directory.tell(EXECUTOR, answer)
        return answer is not None

    # -- panic, latch, end ---------------------------------------------------------------------------------------------

    def _shut_and_panic(self, by: str, reason: str) -> int:
        epoch = self._gate.shut(by, reason)
        self._ticket = self._panic.request(reason)
        self._flat = False
        return epoch

    def _look_at_panic(self) -> None:
        if self._ticket is None:
            return
        report = self._panic.result(self._ticket)
        if report is None:
            return
        if report.verified:
            self._ticket = None
            self._flat = True
        else:
            self._ticket = self._panic.request("not verified flat yet")

    def _look_at_cancels(self, now_ns: Ns) -> Ns:
        """What the cancels gateway has no answer to is asked once more, past it. When to look again: not a moment late."""
        next_ns = now_ns + self._patience.look_every_ns
        due_ns = self._cancel_due()
        if not due_ns or due_ns == self._sent_again_ns:
            return next_ns
        if due_ns > now_ns:
            return min(next_ns, due_ns)
        self._sent_again_ns = due_ns
        self._panic.request("a mass cancel is not answered")
        return next_ns

    def _set_latch(self, reason: str, by: str) -> None:
        """What no person asked for, a person must hear of."""
        logger.error("{} halts the bot: {}", by, reason)
        self._latch(reason, by)

    def _look_at_latch(self) -> None:
        reason = self._latched()
        if reason is not None and not self._halted:
            self._halted = True
            epoch = self._shut_and_panic(LATCH, reason)
            self.directory.tell(EXECUTOR, Halt(reason=reason, by=LATCH, epoch=epoch))
            logger.warning("halted: {}", reason)
        elif reason is None and self._halted:
            self._halted = False
            for child in self._children.values():
                if child.state is ChildState.GIVEN_UP:
                    child.state = ChildState.DOWN
                    self._supervisor.forgive(child.spec.name)
            self._gate.open(LATCH)
            for name in (EXECUTOR, HEARTBEAT):
                if name in self._children:
                    self.directory.tell(name, Resume(by="operator"))
            logger.info("the halt latch was lifted")

    def _shut_down(self, reason: str) -> None:
        if self._end_reason:
            return
        epoch = self._shut_and_panic(SHUTDOWN, reason)
        self.directory.tell(EXECUTOR, Shutdown(reason=reason, epoch=epoch))
        self._end_reason = reason
        self._end_by_ns = self.clock() + self._patience.shutdown_ns

    def _end_when_due(self, now_ns: Ns) -> None:
        if not (self._flat and self._executor_is_done()) and now_ns < self._end_by_ns:
            return
        logger.info("ending {}: {}", "flat" if self._flat else "without proof of flat", self._end_reason)
        self._ended = True
        self.mailbox.clear_alarm()
        self._stop_children()
        self._end_run(self._end_failed, self._end_reason)

    def _executor_is_done(self) -> bool:
        """Facts that came before the venue was seen empty belong in the journal."""
        child = self._children.get(EXECUTOR)
        if child is None or child.health is None or child.state is not ChildState.UP:
            return True
        return child.health.mailbox.empty() and not child.health.busy_since_ns

    def _stop_children(self) -> None:
        """Sources first. A child that does not end in its time is left behind: its thread dies with the process."""
        for name, child in reversed(self._children.items()):
            self._gate.root_lease_ns = self.clock()
            if child.health is None or child.health.thread is None or child.state is not ChildState.UP:
                continue
            self.directory.stop(name)
            child.health.thread.join(self._patience.stop_ns / NS_PER_S)
            if child.health.thread.is_alive():
                self.directory.close(name)
                logger.warning("{} did not stop in time", name)
