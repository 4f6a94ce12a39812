"""What the bot does about what its guardian says, and about one that says nothing. The actor is called, not started."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from actors.guardian import GuardianActor, GuardianSilent
from actors.router import Directory
from bot.errors import BotError
from bot.execution.gate import Gate
from bot.messages import Fail, Message, StatusReport, TimerTick
from bot.units import NS_PER_S

TICK = TimerTick(name="guardian", now_ns=0, utc_ns=0)


class Process:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.unanswered_ns = 0
        self.pid = 9
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def kill(self) -> None:
        self.calls.append("kill")

    def words(self) -> bytes:
        if not self.said:
            return b""
        word = self.said.pop(0)
        if word == b"ended":
            raise BotError("the guardian ended")
        self.unanswered_ns = 0
        return word


class Rig:
    def __init__(self) -> None:
        self.now_ns = NS_PER_S
        self.sent: list[Message] = []
        self.gate = Gate()
        self.gate.open("start")
        self.process = Process()
        self.actor = GuardianActor(
            port=self.process,
            gate=self.gate,
            name="guardian",
            directory=Directory(),
            router=self,
            clock=lambda: self.now_ns,
        )
        self.actor.setup()

    def send(self, messages: Iterable[Message]) -> None:
        self.sent += messages

    def hears(self, word: bytes) -> None:
        self.process.said = [word]
        self.actor.handle(TICK)

    @property
    def fails(self) -> list[Fail]:
        return [message for message in self.sent if isinstance(message, Fail)]

    def state(self) -> str:
        report = self.sent[-1]
        assert isinstance(report, StatusReport)
        return str(report.body["state"])


def test_while_it_watches_nothing_is_done() -> None:
    rig = Rig()
    rig.hears(b"...")
    assert (rig.gate.shut_by(), rig.fails, rig.state(), rig.process.calls) == ({}, [], "watching", ["start"])


def test_when_it_cancels_the_gate_is_shut_and_the_executor_fails_until_it_verified_flat() -> None:
    rig = Rig()
    epoch = rig.gate.epoch()
    rig.hears(b".!")
    assert list(rig.gate.shut_by()) == ["guardian"]
    assert [fail.epoch for fail in rig.fails] == [epoch + 1]
    assert rig.state() == "cancelling"
    rig.hears(b"..")
    assert list(rig.gate.shut_by()) == ["guardian"]
    rig.hears(b"=")
    assert (rig.gate.shut_by(), rig.state(), len(rig.fails)) == ({}, "watching", 1)


def test_a_whole_cancel_between_two_looks_is_a_failure_too() -> None:
    rig = Rig()
    epoch = rig.gate.epoch()
    rig.hears(b"!=")
    assert (rig.gate.shut_by(), len(rig.fails)) == ({}, 1)
    assert rig.gate.epoch() == epoch + 1


def test_one_that_ended_is_a_failure_of_the_actor_and_is_started_again_with_it() -> None:
    rig = Rig()
    with pytest.raises(BotError):
        rig.hears(b"ended")
    rig.hears(b"!")
    rig.actor.health.failed = "BotError: the guardian ended"
    rig.actor.teardown()
    assert rig.process.calls == ["start", "kill"]
    rig.actor.setup()
    assert rig.gate.shut_by() == {}, "the root shut it in its own name, and verified flat since"


def test_one_that_answers_no_lease_for_five_seconds_hangs_unless_it_cancels() -> None:
    rig = Rig()
    rig.process.unanswered_ns = rig.now_ns
    rig.now_ns += 5 * NS_PER_S
    rig.hears(b"")
    rig.process.unanswered_ns = NS_PER_S
    rig.now_ns += 1
    with pytest.raises(GuardianSilent):
        rig.actor.handle(TICK)
    rig.hears(b"!")
    rig.process.unanswered_ns = NS_PER_S
    rig.actor.handle(TICK)


def test_at_an_ordered_end_it_is_left_to_watch_on() -> None:
    rig = Rig()
    rig.actor.teardown()
    assert rig.process.calls == ["start"]
