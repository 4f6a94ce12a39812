"""Every actor: its failure reaches the root before anything else, and what it left is not lost."""

from __future__ import annotations

import threading
from typing import Any

import pykka
import pytest

from actors.base import Actor, ActorFailure
from actors.router import Directory, Router
from bot.messages import CancelOrder, ChildFailed, InjectedFault, Message, Nudge, Resume

FOREVER_S = 10.0


class House:
    """A directory without a root; told facts for names nobody bears are written down."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, Message]] = []
        self.told_root = threading.Event()
        self.directory = Directory(self.dead_letter)

    def dead_letter(self, name: str, message: Message) -> bool:
        self.letters.append((name, message))
        if name == "root":
            self.told_root.set()
        return True

    def start(self, kind: type[Probe], **more: Any) -> Any:
        return kind.start(name="probe", directory=self.directory, router=Router(self.directory, {}), **more)


class Probe(Actor):
    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.seen: list[Any] = []
        self.events: list[str] = []
        self.entered = threading.Event()
        self.release = threading.Event()
        self.torn_down = threading.Event()

    def setup(self) -> None:
        self.events.append("setup")

    def handle(self, message: Any) -> Any:
        self.seen.append(message)
        if message == Resume(by="raise"):
            raise ValueError("as told")
        if message == Resume(by="exit"):
            raise SystemExit(1)
        if message == Resume(by="wait"):
            self.entered.set()
            assert self.release.wait(FOREVER_S)
        if message == Resume(by="batch"):
            self.take(CancelOrder, 2)
            raise ValueError("with a batch")

    def teardown(self) -> None:
        self.events.append(f"teardown {self.health.failed}".strip())
        self.torn_down.set()


def cancel(number: int) -> CancelOrder:
    return CancelOrder(cl_ord_id=str(number), order_id="", symbol="")


def joined(house: House) -> None:
    health = house.directory.health("probe")
    assert health is not None
    assert health.thread is not None
    health.thread.join(FOREVER_S)
    assert not health.thread.is_alive()


@pytest.fixture
def house(caplog: pytest.LogCaptureFixture) -> House:
    caplog.set_level("CRITICAL", logger="pykka")
    return House()


def test_an_actor_is_ready_after_setup_on_a_daemon_thread_of_its_name(house: House) -> None:
    house.start(Probe)
    health = house.directory.health("probe")
    assert health is not None
    assert health.ready.wait(FOREVER_S)
    assert health.thread is not None
    assert (health.failed, health.thread.daemon, health.thread.name) == ("", True, "probe")
    house.directory.stop("probe")
    joined(house)


def test_a_stop_handles_what_came_before_and_hands_over_what_comes_after(house: House) -> None:
    reference = house.start(Probe)
    actor = reference._actor_weakref()
    house.directory.tell("probe", Resume(by="1"))
    house.directory.stop("probe")
    joined(house)
    house.directory.tell("probe", Resume(by="2"))
    assert actor.seen == [Resume(by="1")]
    assert actor.events == ["setup", "teardown"]
    assert house.letters == [("probe", Resume(by="2"))]


def test_a_raise_tells_the_root_first_then_hands_over_the_rest_then_tears_down(house: House) -> None:
    actor = house.start(Probe)._actor_weakref()
    house.directory.tell("probe", Resume(by="wait"))
    assert actor.entered.wait(FOREVER_S)
    house.directory.tell("probe", Resume(by="raise"))
    house.directory.tell("probe", Nudge())
    house.directory.tell("probe", Resume(by="left"))
    actor.release.set()
    joined(house)
    assert house.letters == [
        ("root", ChildFailed(actor="probe", error="ValueError: as told")),
        ("probe", Resume(by="left")),
    ]
    assert actor.health.in_hands == (Resume(by="raise"),)
    assert actor.events == ["setup", "teardown ValueError: as told"]


def test_a_raise_in_setup_is_a_failure_too_and_ends_the_wait_for_ready(house: House) -> None:
    class Unborn(Probe):
        def setup(self) -> None:
            raise ValueError("no port")

    house.start(Unborn)
    health = house.directory.health("probe")
    assert health is not None
    assert health.ready.wait(FOREVER_S)
    assert health.failed == "ValueError: no port"
    joined(house)
    assert house.letters == [("root", ChildFailed(actor="probe", error="ValueError: no port", setup=True))]


def test_a_batch_counts_as_in_hands(house: House) -> None:
    actor = house.start(Probe)._actor_weakref()
    house.directory.tell("probe", Resume(by="wait"))
    assert actor.entered.wait(FOREVER_S)
    for message in (Resume(by="batch"), cancel(1), cancel(2), cancel(3)):
        house.directory.tell("probe", message)
    actor.release.set()
    joined(house)
    assert actor.health.in_hands == (Resume(by="batch"), cancel(1), cancel(2))
    assert ("probe", cancel(3)) in house.letters


def test_a_failure_under_ask_ends_the_actor_like_any_other(house: House) -> None:
    reference = house.start(Probe)
    with pytest.raises(ValueError, match="as told"):
        reference.ask(Resume(by="raise"), timeout=FOREVER_S)
    joined(house)
    assert house.told_root.is_set()
    with pytest.raises(pykka.ActorDeadError):
        reference.ask(Resume(by="again"), timeout=FOREVER_S)


def test_an_exit_inside_a_handler_ends_this_actor_and_no_other(house: House) -> None:
    other = House()
    other.start(Probe)
    house.start(Probe)
    house.directory.tell("probe", Resume(by="exit"))
    joined(house)
    assert house.letters == [("root", ChildFailed(actor="probe", error="SystemExit: 1"))]
    neighbour = other.directory.health("probe")
    assert neighbour is not None
    assert neighbour.thread is not None
    assert neighbour.thread.is_alive()
    other.directory.stop("probe")
    joined(other)
    assert issubclass(ActorFailure, Exception)


def test_busy_is_shown_while_a_handler_runs(house: House) -> None:
    actor = house.start(Probe, clock=lambda: 7)._actor_weakref()
    house.directory.tell("probe", Resume(by="wait"))
    assert actor.entered.wait(FOREVER_S)
    assert actor.health.busy_since_ns == 7
    assert actor.health.in_hands == (Resume(by="wait"),)
    actor.release.set()
    house.directory.stop("probe")
    joined(house)
    assert actor.health.busy_since_ns == 0
    assert actor.health.in_hands == ()


def test_an_injected_fault_raises_or_hangs(house: House) -> None:
    house.start(Probe)
    house.directory.tell("probe", InjectedFault(kind="hang", hang_s=0.0))
    house.directory.tell("probe", InjectedFault(kind="raise"))
    joined(house)
    assert house.letters == [("root", ChildFailed(actor="probe", error="RuntimeError: injected fault: raise"))]


def test_an_error_of_a_thread_the_actor_owns_is_raised_on_its_own_thread(house: House) -> None:
    actor = house.start(Probe)._actor_weakref()
    actor.raise_here(OSError("reader died"))
    joined(house)
    assert house.letters == [("root", ChildFailed(actor="probe", error="OSError: reader died"))]


def test_an_abandoned_actor_ends_when_it_comes_back_and_reports_nothing(house: House) -> None:
    actor = house.start(Probe)._actor_weakref()
    house.directory.tell("probe", Resume(by="wait"))
    assert actor.entered.wait(FOREVER_S)
    house.directory.tell("probe", Resume(by="left"))
    actor.health.failed = "hangs"
    house.directory.close("probe")
    actor.release.set()
    joined(house)
    assert house.letters == [("probe", Resume(by="left"))]
    assert actor.torn_down.is_set()
