"""What every actor is: a thread with a mailbox, whose failure reaches the root by itself. Knows no component."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, TypeVar

import pykka
from pykka._actor import ActorInbox

from actors.mailbox import Mailbox, lane_of
from actors.router import Directory, Health
from bot.bell import Bell
from bot.errors import BotError
from bot.messages import ChildFailed, InjectedFault, Message
from bot.ports import Clock, Sender

M = TypeVar("M", bound=Message)
ROOT = "root"


class ActorFailure(BotError):
    """An actor was ended by something that is no Exception, such as SystemExit."""


class Actor(pykka.ThreadingActor):
    """Subclasses override `setup`, `handle` and `teardown`, which all run on the actor's own thread.

    Whatever `setup` or `handle` raises ends the actor: the root is told first, then the mailbox is closed and what was
    left goes to the directory, then `teardown` runs (it also runs at a normal stop, and after a half-done `setup`).
    """

    use_daemon_thread = True
    pause = staticmethod(time.sleep)  # how an injected fault hangs; a simulation has a clock of its own

    def __init__(self, *, name: str, directory: Directory, router: Sender, clock: Clock = time.monotonic_ns) -> None:
        super().__init__()
        assert isinstance(self.actor_inbox, Mailbox), "pykka no longer asks _create_actor_inbox for the inbox"
        self.name = name
        self.directory = directory
        self.router = router
        self.clock = clock
        self.mailbox = self.actor_inbox
        self.mailbox.clock = clock
        self.health = Health(name=name, mailbox=self.mailbox)

    # -- for subclasses ------------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Before the first message; the root waits for it."""

    def handle(self, message: Any) -> None:
        """One message at a time; does not block (gateways, heartbeat, journal and root may)."""
        raise NotImplementedError

    def teardown(self) -> None:
        """After the last message or a failure (`health.failed` tells which); closes what setup opened."""

    def failed(self, error: BaseException, setup: bool) -> None:
        """Tell whom it concerns; runs before anything else is done about the failure."""
        self.directory.tell(ROOT, ChildFailed(actor=self.name, error=self.health.failed, setup=setup))

    def take(self, message_type: type[M], limit: int) -> list[M]:
        """More waiting messages of one type, for a batch; they count as in hands until the handler returns."""
        batch = self.mailbox.take(message_type, limit)
        self.health.in_hands += tuple(batch)
        return batch

    def raise_here(self, error: Exception) -> None:
        """For a thread this actor owns: what killed it is raised on the actor's own thread."""
        self.mailbox.tell(error)

    # -- for pykka -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> ActorInbox:
        return Mailbox()

    def _start_actor_loop(self) -> None:
        self.mailbox.bell = Bell()  # where there is no file left for it, whoever starts the actor is told
        thread = threading.Thread(target=self._actor_loop, name=self.name, daemon=self.use_daemon_thread)
        self.health.thread = thread
        self.directory.register(self.name, self.actor_ref, self.mailbox, self.health)
        thread.start()

    def on_start(self) -> None:
        try:
            self.setup()
        except BaseException as error:
            self._end(error, setup=True)
            raise
        finally:
            self.health.ready.set()

    def _handle_receive(self, message: Any) -> Any:
        """What is ours need not be asked four times which of pykka's own messages it is."""
        if type(message) in lane_of:
            return self.on_receive(message)
        return super()._handle_receive(message)

    def on_receive(self, message: Any) -> None:
        health = self.health
        health.in_hands = (message,)
        health.busy_since_ns = health.began_ns = self.clock()
        try:
            if type(message) is InjectedFault:  # isinstance against a Struct is an ABC check, paid by every message
                self._inject(message)
            elif isinstance(message, Exception):
                raise message
            else:
                self.handle(message)
        except BaseException as error:
            self._end(error, setup=False)
            raise
        health.busy_since_ns = 0
        health.in_hands = ()

    def on_stop(self) -> None:
        self._close()
        self.teardown()

    def _end(self, error: BaseException, *, setup: bool) -> None:
        """An error of teardown is chained to the first, which the caller raises again for pykka to end the thread."""
        if not self.health.failed:  # set already: the root gave this actor up, and knows
            self.health.failed = f"{type(error).__name__}: {error}"
            self.failed(error, setup)
        self._close()
        self.health.busy_since_ns = 0
        self.teardown()
        if not isinstance(error, Exception):
            # pykka answers a BaseException by stopping every actor, each with an endless wait.
            raise ActorFailure(self.health.failed) from error

    def _close(self) -> None:
        self.mailbox.close(partial(self.directory.undelivered, self.name))

    def _inject(self, fault: InjectedFault) -> None:
        if fault.kind == "hang":
            self.pause(fault.hang_s)
            return
        raise RuntimeError(f"injected fault: {fault.kind}")
