"""Names, routes and what becomes of messages for the dead."""

from __future__ import annotations

from typing import Any

import pykka
import pytest

from actors.mailbox import Mailbox
from actors.router import Directory, Health, Router
from bot.messages import Fail, Message, Nudge, Resume


def reference() -> Any:
    return pykka.ThreadingActor().actor_ref


def enter(directory: Directory, name: str) -> Mailbox:
    mailbox = Mailbox()
    directory.register(name, reference(), mailbox, Health(name=name, mailbox=mailbox))
    return mailbox


def inside(mailbox: Mailbox) -> list[Any]:
    found = []
    while not mailbox.empty():
        found.append(mailbox.get().message)
    return found


def resume(number: int) -> Resume:
    return Resume(by=str(number))


def test_each_destination_of_a_type_gets_the_message() -> None:
    directory = Directory()
    first, second = enter(directory, "first"), enter(directory, "second")
    Router(directory, {Resume: ["first", "second"], Nudge: ["second"]}).send([resume(1), Nudge()])
    assert inside(first) == [resume(1)]
    assert inside(second) == [resume(1), Nudge()]


def test_a_type_without_a_route_is_a_programming_error() -> None:
    with pytest.raises(AssertionError, match="no route for Nudge"):
        Router(Directory(), {}).send([Nudge()])


class Noted(Directory):
    """Remembers what was done, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, str]] = []

    def add(self, name: str, message: Message) -> None:
        super().add(name, message)
        self.log.append(("add", name))

    def ring(self, name: str) -> None:
        super().ring(name)
        self.log.append(("ring", name))


def test_nobody_is_woken_before_all_of_one_send_is_there() -> None:
    directory = Noted()
    for name in ("first", "second"):
        enter(directory, name)
    router = Router(directory, {Resume: ["first"], Nudge: ["second"]})
    router.send([resume(1), Nudge()])
    assert directory.log == [("add", "first"), ("add", "second"), ("ring", "first"), ("ring", "second")]
    directory.log.clear()
    with pytest.raises(AssertionError):
        router.send([resume(2), Fail(reason="no route")])
    assert directory.log == [("add", "first"), ("ring", "first")], "what was said before must not lie there unheard"
    directory.log.clear()
    directory.tell("first", resume(3))
    assert directory.log == [("add", "first"), ("ring", "first")]


def test_a_type_may_be_routed_to_nobody() -> None:
    Router(Directory(), {Nudge: []}).send([Nudge()])


def test_telling_an_unknown_name_dead_letters_facts_and_drops_views() -> None:
    letters: list[tuple[str, Message]] = []

    def dead_letter(name: str, message: Message) -> bool:
        letters.append((name, message))
        return True

    directory = Directory(dead_letter)
    directory.tell("nobody", resume(1))
    directory.tell("nobody", Nudge())
    directory.tell("nobody", Fail(reason=""))
    assert letters == [("nobody", resume(1)), ("nobody", Fail(reason=""))]


def test_what_nobody_dealt_with_is_the_successors_first_mail_in_order() -> None:
    directory = Directory(lambda name, message: False)
    first = enter(directory, "a")
    directory.tell("a", resume(1))
    directory.close("a")
    directory.tell("a", resume(2))
    directory.tell("a", Nudge())
    assert inside(first) == []
    successor = enter(directory, "a")
    directory.tell("a", resume(3))
    assert inside(successor) == [resume(1), resume(2), resume(3)]


def test_registering_a_successor_closes_the_predecessor_first() -> None:
    directory = Directory(lambda name, message: False)
    first = enter(directory, "a")
    directory.tell("a", resume(1))
    successor = enter(directory, "a")
    assert first.closed
    assert inside(successor) == [resume(1)]


def test_a_sender_that_still_held_the_dead_mailbox_reaches_the_successor() -> None:
    directory = Directory(lambda name, message: False)
    enter(directory, "a")
    successor = enter(directory, "a")
    directory.undelivered("a", resume(1))
    assert inside(successor) == [resume(1)]


def test_health_and_names_show_who_is_there() -> None:
    directory = Directory()
    mailbox = enter(directory, "a")
    health = directory.health("a")
    assert health is not None
    assert health.mailbox is mailbox
    assert directory.health("b") is None
    assert directory.names() == ["a"]
    directory.stop("b")
    directory.close("b")
