"""What we rely on inside pykka 4.5, so that another version fails here and not in a market."""

from __future__ import annotations

import importlib.metadata
import inspect
import threading
from typing import Any

import pykka
import pytest
from pykka._actor import ActorInbox
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.mailbox import Mailbox

FOREVER_S = 10.0


class Plain(pykka.ThreadingActor):
    use_daemon_thread = True

    @staticmethod
    def _create_actor_inbox() -> ActorInbox:
        return Mailbox()

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.threads: list[threading.Thread] = []

    def on_receive(self, message: Any) -> Any:
        self.threads.append(threading.current_thread())
        self.seen.append(message)
        if isinstance(message, Exception):
            raise message
        return message


def test_pykka_is_the_version_we_read() -> None:
    major, minor = importlib.metadata.version("pykka").split(".")[:2]
    assert (int(major), int(minor)) >= (4, 5)
    assert int(major) < 5


def test_the_inbox_hook_is_a_staticmethod_and_its_result_is_what_actor_and_reference_use() -> None:
    assert isinstance(inspect.getattr_static(pykka.ThreadingActor, "_create_actor_inbox"), staticmethod)
    actor = Plain()
    assert isinstance(actor.actor_inbox, Mailbox)
    assert actor.actor_ref.actor_inbox is actor.actor_inbox


def test_an_envelope_is_a_message_and_who_waits_for_a_reply() -> None:
    assert Envelope.__slots__ == ["message", "reply_to"]
    actor = Plain()
    actor.actor_ref.tell("told")
    future = actor.actor_ref.ask("asked", block=False)
    told, asked = actor.actor_inbox.get(), actor.actor_inbox.get()
    assert (told.message, told.reply_to) == ("told", None)
    assert (asked.message, asked.reply_to) == ("asked", future)


def test_a_stop_is_an_ordinary_message_at_the_tail() -> None:
    actor = Plain()
    actor.actor_ref.tell("first")
    actor.actor_ref.stop(block=False)
    assert actor.actor_inbox.get().message == "first"
    assert isinstance(actor.actor_inbox.get().message, _ActorStop)


def test_the_daemon_flag_of_the_class_reaches_the_thread() -> None:
    reference = Plain.start()
    assert reference.ask("hello", timeout=FOREVER_S) == "hello"
    assert reference.proxy().threads.get(timeout=FOREVER_S)[0].daemon
    assert reference.stop(timeout=FOREVER_S)


def test_a_raise_from_a_tell_ends_the_actor_and_calls_on_failure(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    class Fragile(Plain):
        def on_failure(self, *error: Any) -> None:
            ended.set()

    reference = Fragile.start()
    reference.tell(ValueError("no"))
    assert ended.wait(FOREVER_S)
    assert not reference.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        reference.tell("late")


def test_a_raise_in_on_start_calls_no_hook_and_start_returns_normally(caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []

    class Unborn(Plain):
        def on_start(self) -> None:
            raise ValueError("no")

        def on_failure(self, *error: Any) -> None:
            called.append("on_failure")

        def on_stop(self) -> None:
            called.append("on_stop")

    reference = Unborn.start()
    assert reference.actor_stopped.wait(FOREVER_S)
    assert called == []
