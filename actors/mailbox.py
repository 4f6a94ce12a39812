"""The inbox of every actor: three lanes under one lock, plugged into pykka's private inbox hook.

URGENT goes first, then LOSSLESS, then LATEST; order holds inside a lane only. A LATEST message replaces the waiting
one of its type and key and keeps that one's place. What is asked (`reply_to`), and what is no Message of ours (pykka's
stop, proxy calls), is LOSSLESS: coalescing an ask away would hang its caller. Knows no actor and no name.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from bot.messages import Lane, Message
from bot.ports import Clock
from bot.units import NS_PER_S, Ns

M = TypeVar("M", bound=Message)
Waiting = tuple[Ns, Envelope[Any]]  # since when


@dataclass(frozen=True, slots=True)
class MailboxStats:
    """taken = delivered + conflated + dead_lettered + dropped + depth, at every moment."""

    depth: int
    high_water: int
    oldest_ns: Ns  # age of the oldest message of any lane, 0 when empty
    waiting_ns: Ns  # age of the oldest URGENT or LOSSLESS one: what a hang is judged by
    taken: int
    delivered: int
    conflated: int
    dead_lettered: int
    dropped: int  # views that waited when it closed or came later, and asks answered with ActorDeadError


class Mailbox:
    """Invariant: a LOSSLESS or URGENT message leaves exactly once, to the reader or to the dead-letter callback.

    Any thread may put, without blocking; one thread, the actor's, gets and takes. A wake token is only put while that
    thread sleeps, so there is never more than one, and a batch taken past `get` leaves none behind.
    """

    def __init__(self, clock: Clock = time.monotonic_ns) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._sleeping = False
        self._urgent: deque[Waiting] = deque()
        self._lossless: deque[Waiting] = deque()
        self._keys: deque[tuple[type, Hashable]] = deque()
        self._slots: dict[tuple[type, Hashable], Waiting] = {}
        self._alarm: tuple[Ns, Message] | None = None  # the reader's own, touched by its thread only
        # Held while dead letters are handed over, so that a late put cannot overtake what waited before it.
        self._closing = threading.RLock()
        self._dead_letter: Callable[[Message], None] | None = None
        self._depth = self._high_water = 0
        self._taken = self._delivered = self._conflated = self._dead_lettered = self._dropped = 0

    def put(self, envelope: Envelope[Any]) -> None:
        """After `close` the message goes to the dead-letter callback on the caller's thread."""
        if not self._accept(envelope):
            self._refuse(envelope)

    def offer(self, message: Message) -> bool:
        """Like put, but a closed mailbox only says False."""
        return self._accept(Envelope(message))

    def get(self) -> Envelope[Any]:
        """Blocks until there is something; from a closed mailbox it is a stop, so that no thread is left behind."""
        while True:
            with self._lock:
                envelope = self._next()
                if envelope is not None:
                    return envelope
                self._sleeping = True
            self._sleep()

    def empty(self) -> bool:
        return not self._depth

    def take(self, message_type: type[M], limit: int) -> list[M]:
        """Up to `limit` more messages of one type from the head of their lane, without blocking; stops at another."""
        assert message_type.lane is not Lane.LATEST, "views are not batched"
        lane = self._urgent if message_type.lane is Lane.URGENT else self._lossless
        batch: list[M] = []
        with self._lock:
            while lane and len(batch) < limit:
                envelope = lane[0][1]
                if type(envelope.message) is not message_type or envelope.reply_to is not None:
                    break
                lane.popleft()
                batch.append(envelope.message)
            self._depth -= len(batch)
            self._delivered += len(batch)
        return batch

    def set_alarm(self, at_ns: Ns, message: Message) -> None:
        """The reader's own timer, one at a time: `get` returns this message at that time. Newer replaces older."""
        self._alarm = (at_ns, message)

    def clear_alarm(self) -> None:
        self._alarm = None

    @property
    def alarm(self) -> tuple[Ns, Message] | None:
        return self._alarm

    @property
    def closed(self) -> bool:
        return self._dead_letter is not None

    def close(self, dead_letter: Callable[[Message], None]) -> None:
        """Hand over what was not delivered, oldest first within a lane, and everything put later. Idempotent."""
        with self._closing:
            with self._lock:
                if self._dead_letter is not None:
                    return
                self._dead_letter = dead_letter
                left = [envelope for _, envelope in (*self._urgent, *self._lossless)]
                self._taken -= len(left)  # _refuse counts them again
                self._dropped += len(self._slots)
                self._urgent.clear()
                self._lossless.clear()
                self._keys.clear()
                self._slots.clear()
                self._depth = 0
                wake, self._sleeping = self._sleeping, False
            if wake:
                self._wake.put(None)
            for envelope in left:
                self._refuse(envelope)

    def stats(self, now_ns: Ns | None = None) -> MailboxStats:
        now = self.clock() if now_ns is None else now_ns
        with self._lock:
            facts = [lane[0][0] for lane in (self._urgent, self._lossless) if lane]
            views = [self._slots[self._keys[0]][0]] if self._keys else []
            return MailboxStats(
                depth=self._depth,
                high_water=self._high_water,
                oldest_ns=max(0, now - min(facts + views)) if self._depth else 0,
                waiting_ns=max(0, now - min(facts)) if facts else 0,
                taken=self._taken,
                delivered=self._delivered,
                conflated=self._conflated,
                dead_lettered=self._dead_lettered,
                dropped=self._dropped,
            )

    def _accept(self, envelope: Envelope[Any]) -> bool:
        message = envelope.message
        lane = Lane.LOSSLESS
        if isinstance(message, Message) and envelope.reply_to is None:
            lane = message.lane
        key = (type(message), message.key) if lane is Lane.LATEST else None
        now_ns = self.clock()
        with self._lock:
            if self._dead_letter is not None:
                return False
            self._taken += 1
            if key is not None:
                waiting = self._slots.get(key)
                if waiting is not None:
                    self._slots[key] = (waiting[0], envelope)
                    self._conflated += 1
                    return True
                self._slots[key] = (now_ns, envelope)
                self._keys.append(key)
            elif lane is Lane.LOSSLESS:
                self._lossless.append((now_ns, envelope))
            else:
                self._urgent.append((now_ns, envelope))
            self._depth += 1
            if self._depth > self._high_water:
                self._high_water = self._depth
            wake, self._sleeping = self._sleeping, False
        if wake:
            self._wake.put(None)
        return True

    def _next(self) -> Envelope[Any] | None:
        """Under the lock. A due alarm goes after URGENT and before the rest: it cannot starve, and is only one."""
        if self._urgent:
            _, envelope = self._urgent.popleft()
        elif self._alarm is not None and self.clock() >= self._alarm[0]:
            _, message = self._alarm
            self._alarm = None
            return Envelope(message)
        elif self._lossless:
            _, envelope = self._lossless.popleft()
        elif self._keys:
            _, envelope = self._slots.pop(self._keys.popleft())
        elif self._dead_letter is not None:
            return Envelope(_ActorStop())
        else:
            return None
        self._depth -= 1
        self._delivered += 1
        return envelope

    def _sleep(self) -> None:
        if self._alarm is None:
            self._wake.get()
            return
        try:
            self._wake.get(timeout=max(0.0, (self._alarm[0] - self.clock()) / NS_PER_S))
        except Empty:
            # A put may have seen us asleep meanwhile: its token ends the next sleep at once, and `get` looks again.
            with self._lock:
                self._sleeping = False

    def _refuse(self, envelope: Envelope[Any]) -> None:
        message = envelope.message
        if envelope.reply_to is None and isinstance(message, Message) and message.lane is not Lane.LATEST:
            with self._closing:
                with self._lock:
                    self._taken += 1
                    self._dead_lettered += 1
                assert self._dead_letter is not None
                self._dead_letter(message)
            return
        with self._lock:
            self._taken += 1
            self._dropped += 1
        if envelope.reply_to is not None:
            if isinstance(message, _ActorStop):
                envelope.reply_to.set(None)
            else:
                dead = pykka.ActorDeadError("the actor stopped before handling the message")
                envelope.reply_to.set_exception((pykka.ActorDeadError, dead, None))
