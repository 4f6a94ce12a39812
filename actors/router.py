"""Who is reachable under which name, and which message type goes to whom. Knows no actor class and no policy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pykka

from actors.mailbox import Mailbox
from bot.messages import Lane, Message
from bot.units import Ns

DeadLetter = Callable[[str, Message], bool]


@dataclass(slots=True, eq=False)
class Health:
    """What other threads may read of one running actor. Each field is a single store by its owner."""

    name: str
    mailbox: Mailbox
    thread: threading.Thread | None = None
    busy_since_ns: Ns = 0  # 0: idle
    began_ns: Ns = 0  # when the newest handler began
    ready: threading.Event = field(default_factory=threading.Event)  # setup is over; `failed` says whether well
    failed: str = ""
    in_hands: tuple[Message, ...] = ()  # what the running (or failed) handler was given or took
    extra_stamp: Callable[[], Ns] | None = None  # last sign of life of a thread the actor owns; 0: none yet
    abandon: Callable[[], None] | None = None  # bids that thread end, without waiting: its actor may hang


def drop(name: str, message: Message) -> bool:
    return True


class Directory:
    """Name to mailbox. `tell` never raises; LOSSLESS and URGENT messages of a dead actor are dealt with or kept.

    `dead_letter(name, message)` is called on any thread and says whether it has dealt with the message; one that it has
    not waits here, in order, for the successor of that name.
    """

    def __init__(self, dead_letter: DeadLetter = drop) -> None:
        self.dead_letter = dead_letter
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[pykka.ActorRef[Any], Health]] = {}
        self._kept: dict[str, list[Message]] = {}

    def register(self, name: str, ref: pykka.ActorRef[Any], mailbox: Mailbox, health: Health) -> None:
        """From now on the name means this actor; what was kept for it goes in before anything newer."""
        assert health.mailbox is mailbox
        self.close(name)  # returns when the predecessor, if any, has handed over all it had
        with self._lock:
            for message in self._kept.pop(name, []):
                mailbox.tell(message)
            self._entries[name] = (ref, health)

    def tell(self, name: str, message: Message) -> None:
        self.add(name, message)
        self.ring(name)

    def add(self, name: str, message: Message) -> None:
        """Like tell, for someone who rings when all is said."""
        entry = self._entries.get(name)
        if entry is not None:
            # Not ref.tell: it raises for a dead actor, where a closed mailbox hands the message over.
            entry[1].mailbox.add(message)
        else:
            self.undelivered(name, message)

    def ring(self, name: str) -> None:
        entry = self._entries.get(name)
        if entry is not None:
            entry[1].mailbox.ring()

    def undelivered(self, name: str, message: Message) -> None:
        """What nobody of that name will handle; closed mailboxes hand it over here. A view is dropped."""
        if message.lane is Lane.LATEST or self.dead_letter(name, message):
            return
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry[1].mailbox.closed:
                self._kept.setdefault(name, []).append(message)
                return
        # A successor is there already. The sender of later messages waits for this call, so order holds.
        entry[1].mailbox.tell(message)

    def close(self, name: str) -> None:
        """Close the mailbox of a dead or abandoned actor; its thread ends when it next looks."""
        entry = self._entries.get(name)
        if entry is not None:
            entry[1].mailbox.close(partial(self.undelivered, name))
            if entry[1].abandon is not None:
                entry[1].abandon()

    def stop(self, name: str) -> None:
        """Ask it to stop behind what it still has to handle; does not wait."""
        entry = self._entries.get(name)
        if entry is not None:
            entry[0].stop(block=False)

    def health(self, name: str) -> Health | None:
        entry = self._entries.get(name)
        return None if entry is None else entry[1]

    def names(self) -> list[str]:
        return list(self._entries)


class Router:
    """Fixed routes by message type; the shells' way out (bot.ports.Sender). An unrouted type is a programming error."""

    def __init__(self, directory: Directory, routes: Mapping[type[Message], Sequence[str]]) -> None:
        self._directory = directory
        self._routes = {message_type: tuple(names) for message_type, names in routes.items()}

    def send(self, messages: Iterable[Message]) -> None:
        """Nobody is woken before all of it is there: two orders of one decision leave in one request."""
        told: list[str] = []
        try:
            for message in messages:
                names = self._routes.get(type(message))
                assert names is not None, f"no route for {type(message).__name__}"
                told += names
                for name in names:
                    self._directory.add(name, message)
        finally:
            for name in told:
                self._directory.ring(name)
