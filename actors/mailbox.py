"""The inbox of every actor: three lanes, plugged into pykka's private inbox hook.

URGENT goes first, then LOSSLESS, then LATEST; order holds inside a lane only. A LATEST message replaces the waiting
one of its type and key and keeps that one's place; a quiet one waits for something to come that wakes. What is asked (`reply_to`), and what is no Message of ours (pykka's
stop, proxy calls), is LOSSLESS: coalescing an ask away would hang its caller. Knows no actor and no name.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from bot.bell import Bell
from bot.messages import Lane, Message
from bot.ports import Clock
from bot.units import NS_PER_S, Ns

M = TypeVar("M", bound=Message)
Waiting = tuple[Ns, Any, "pykka.Future[Any] | None"]  # since when, the message, where its answer goes


URGENT, LOSSLESS, LATEST = Lane.URGENT, Lane.LOSSLESS, Lane.LATEST  # an enum's own lookup costs more than the append
lane_of: dict[type, Lane] = {}  # of the types of Message met so far: to ask a Struct's isinstance is a third of a put


def _learn(kind: type) -> Lane:
    if not issubclass(kind, Message):
        return LOSSLESS
    return lane_of.setdefault(kind, kind.lane)


@dataclass(frozen=True, slots=True)
class MailboxStats:
    """Exact when nobody puts or gets meanwhile, else a moment's view."""

    depth: int
    high_water: int
    oldest_ns: Ns  # age of the oldest message of any lane, 0 when empty
    delivered: int
    conflated: int
    dead_lettered: int
    dropped: int  # at or after close: views, and asks (answered with ActorDeadError)

    @property
    def taken(self) -> int:
        return self.depth + self.delivered + self.conflated + self.dead_lettered + self.dropped


class Mailbox:
    """Invariant: a LOSSLESS or URGENT message leaves exactly once, to the reader or to the dead-letter callback.

    Any thread may put, without blocking; one thread, the actor's, gets and takes. There is no lock around the two fact
    lanes: append and popleft are atomic, and a thread that loses the GIL inside a lock makes every other one wait (one
    lock around all lanes: 0.1 million messages a second, no better than pykka's own queue; this: 0.3 to 0.6 million). The
    reader says that it sleeps before it looks a last time, and a sender looks whether it sleeps after its append.
    """

    def __init__(self, clock: Clock = time.monotonic_ns) -> None:
        self.clock = clock
        self.bell: Bell | None = None  # made at the latest when the reader first sleeps; in a simulation none ever does
        self._asleep = False
        self._urgent: deque[Waiting] = deque()
        self._lossless: deque[Waiting] = deque()
        self._views_lock = threading.Lock()
        self._views: dict[tuple[type, Hashable], Waiting] = {}
        self._keys: deque[tuple[type, Hashable]] = deque()
        self._quiet: dict[tuple[type, Hashable], Waiting] = {}  # until something comes that wakes
        # Held while dead letters are handed over: a later put of the same sender waits for its earlier ones.
        self._closing = threading.RLock()
        self._dead_letter: Callable[[Message], None] | None = None
        # These are the reader's own.
        self._alarm: tuple[Ns, Message] | None = None
        self._delivered = self._high_water = 0
        self._conflated = self._dead_lettered = self._dropped = 0

    def put(self, envelope: Envelope[Any]) -> None:
        """What pykka's own `tell` and `ask` call."""
        self.add(envelope.message, envelope.reply_to)
        self.ring()

    def tell(self, message: Any) -> None:
        """After `close` the message goes to the dead-letter callback on the caller's thread."""
        self.add(message)
        self.ring()

    def add(self, message: Any, reply_to: pykka.Future[Any] | None = None) -> None:
        """Like tell, for someone who rings later: whoever is woken by the first of several may run before the second comes."""
        try:
            lane = lane_of[type(message)]
        except KeyError:
            lane = _learn(type(message))
        if lane is LOSSLESS or reply_to is not None:
            self._lossless.append((self.clock(), message, reply_to))
        elif lane is URGENT:
            self._urgent.append((self.clock(), message, None))
        elif not self._put_view((type(message), message.key), message, message.quiet):
            return
        if self._quiet:
            self._rouse()
        if self._dead_letter is not None:  # asked after the append: what the closing thread missed is handed over here
            self._hand_over()

    def ring(self) -> None:
        """Wake the reader, if it sleeps and something waits for it."""
        if self._asleep and not self.empty():
            self._wake()

    def get(self) -> Envelope[Any]:
        """Blocks until there is something; from a closed mailbox it is a stop, so that no thread is left behind."""
        while self._dead_letter is None:
            if self._alarm is not None and not self._urgent and self._alarm[0] <= self.clock():
                _, message = self._alarm
                self._alarm = None
                return Envelope(message)
            depth = len(self._urgent) + len(self._lossless) + len(self._keys)
            if not depth:
                self._sleep()
                continue
            if depth > self._high_water:  # it only grows between two gets, so its peaks are all seen here
                self._high_water = depth
            waiting = self._next()
            if waiting is not None:
                self._delivered += 1
                return Envelope(waiting[1], waiting[2])
        return Envelope(_ActorStop())

    def _sleep(self) -> None:
        """Until the next ring, or until the alarm is due; returns at once where a ring came too late for the last sleep."""
        if self.bell is None:
            self.bell = Bell()
        self._asleep = True
        if self.empty() and self._dead_letter is None:
            self.bell.wait(None if self._alarm is None else (self._alarm[0] - self.clock()) / NS_PER_S)
        self._asleep = False

    def _wake(self) -> None:
        self._asleep = False  # one ring is enough
        assert self.bell is not None
        self.bell.ring()

    def empty(self) -> bool:
        return not (self._urgent or self._lossless or self._keys)

    def take(self, message_type: type[M], limit: int) -> list[M]:
        """Up to `limit` more messages of one type from the head of their lane, without blocking; stops at another."""
        assert message_type.lane is not LATEST, "views are not batched"
        lane = self._urgent if message_type.lane is URGENT else self._lossless
        batch: list[M] = []
        while lane and len(batch) < limit:
            try:
                waiting = lane.popleft()
            except IndexError:
                break  # closed by another thread meanwhile
            if type(waiting[1]) is not message_type or waiting[2] is not None:
                lane.appendleft(waiting)
                break
            batch.append(waiting[1])
        self._delivered += len(batch)
        if self._dead_letter is not None:
            self._hand_over()
        return batch

    def set_alarm(self, at_ns: Ns, message: Message) -> None:
        """The reader's own timer, one at a time: `get` returns this message at that time, behind URGENT ones only."""
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
            if self._dead_letter is not None:
                return
            self._dead_letter = dead_letter
            if self._asleep:
                self._wake()
            self._hand_over()

    def waiting_ns(self, now_ns: Ns) -> Ns:
        """Age of the oldest URGENT or LOSSLESS message, 0 without any: what a hang is judged by, many times a second."""
        oldest_ns = now_ns
        for lane in (self._urgent, self._lossless):
            if lane:
                with contextlib.suppress(IndexError):  # the reader may empty the lane meanwhile
                    oldest_ns = min(oldest_ns, lane[0][0])
        return now_ns - oldest_ns

    def stats(self, now_ns: Ns | None = None) -> MailboxStats:
        now = self.clock() if now_ns is None else now_ns
        facts = _oldest(self._urgent) + _oldest(self._lossless)
        with self._views_lock:
            views = [self._views[self._keys[0]][0]] if self._keys else []
            views += [waiting[0] for waiting in self._quiet.values()]
            depth = len(self._urgent) + len(self._lossless) + len(self._views) + len(self._quiet)
        return MailboxStats(
            depth=depth,
            high_water=max(depth, self._high_water),
            oldest_ns=max(0, now - min(facts + views)) if facts or views else 0,
            delivered=self._delivered,
            conflated=self._conflated,
            dead_lettered=self._dead_lettered,
            dropped=self._dropped,
        )

    def _put_view(self, key: tuple[type, Hashable], message: Message, quiet: bool) -> bool:
        """Does it wait for the reader now? Not where it is quiet, nor where it replaced one that waits already."""
        now_ns = self.clock()
        with self._views_lock:
            if self._dead_letter is not None and quiet:
                self._dropped += 1
                return False
            for views in (self._views, self._quiet):
                waiting = views.get(key)
                if waiting is not None and (quiet or views is self._views):
                    views[key] = (waiting[0], message, None)
                    self._conflated += 1
                    return False
            if quiet:
                self._quiet[key] = (now_ns, message, None)
                return False
            if self._quiet.pop(key, None) is not None:
                self._conflated += 1
            self._views[key] = (now_ns, message, None)
            self._keys.append(key)
            return True

    def _rouse(self) -> None:
        """The quiet views join those that wait: what they tell is known before what comes now."""
        with self._views_lock:
            quiet, self._quiet = self._quiet, {}
            self._views |= quiet
            self._keys.extendleft(reversed(quiet))

    def _next(self) -> Waiting | None:
        """None: closed by another thread meanwhile, and emptied."""
        try:
            if self._urgent:
                return self._urgent.popleft()
            if self._lossless:
                return self._lossless.popleft()
            with self._views_lock:
                return self._views.pop(self._keys.popleft())
        except IndexError:
            return None

    def _hand_over(self) -> None:
        with self._closing:
            while (waiting := self._next()) is not None:
                _, message, reply_to = waiting
                if reply_to is not None:
                    self._dropped += 1
                    _answer_dead(message, reply_to)
                elif isinstance(message, Message) and message.lane is not LATEST:
                    self._dead_lettered += 1
                    assert self._dead_letter is not None
                    self._dead_letter(message)
                else:
                    self._dropped += 1
            with self._views_lock:
                self._dropped += len(self._quiet)
                self._quiet = {}


def _oldest(lane: deque[Waiting]) -> list[Ns]:
    """When the head of the lane came, if there is one; the reader may empty the lane meanwhile."""
    try:
        return [lane[0][0]]
    except IndexError:
        return []


def _answer_dead(message: Any, reply_to: pykka.Future[Any]) -> None:
    if isinstance(message, _ActorStop):
        reply_to.set(None)
        return
    dead = pykka.ActorDeadError("the actor stopped before handling the message")
    reply_to.set_exception((pykka.ActorDeadError, dead, None))
