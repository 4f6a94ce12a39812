"""One WebSocket connection at a time, kept alive: connect, read, ping, notice silence, reconnect.

What the frames mean is the conversation's business, and where its messages go the owner's.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from bot.errors import FrameError
from bot.messages import Message
from bot.ports import Clock, Tape, TapeKind
from bot.units import NS_PER_S, Ns
from bot.venues.conversation import Conversation
from bot.venues.frames import BINARY, CLOSE, PING, TooBig
from bot.venues.link import BROKEN, Attempt, Link, shut

CONNECT_DEADLINE_NS: Ns = 10 * NS_PER_S  # for the whole handshake, once there is a socket
SLICE_S = 0.25  # longest wait of the loop
LOOK_NS: Ns = NS_PER_S  # how often the conversation is asked whether it is stale
BACKOFF_S = 0.5
BACKOFF_S_MAX = 30.0
HEALTHY_NS: Ns = 60 * NS_PER_S  # a connection that lived this long ends a row of failures
RENEWAL_NS: Ns = 10 * NS_PER_S  # between two tries at a planned second connection
SETTLE_EVERY = 32  # frames of a backlog between two views of what they change
YIELD_BYTES = 20_000  # of a burst between two pauses of a stream that gives way: some thirty changes
LONG_BYTES = 5_000  # a frame after which such a stream pauses at once: a whole book, which takes as long as ten changes
YIELD_S = 300e-6  # so that a fill gets from its reader to the executor without meeting the burst again


class Reader(threading.Thread):
    """Reads one stream for ever. Dies only of an error of ours, kept in `error`, or by `stop`.

    `stamp_ns` moves at least twice a second while the loop is alive, connected or not.
    """

    def __init__(
        self,
        conversation: Conversation,
        deliver: Callable[[list[Message]], None],
        *,
        clock: Clock = time.monotonic_ns,
        jitter: Callable[[], float] = random.random,
        on_frame: Callable[[Ns], None] | None = None,
        tape: Tape | None = None,
    ) -> None:
        super().__init__(name=f"reader-{conversation.name}", daemon=True)
        self.conversation = conversation
        self._deliver = deliver
        self._clock = clock
        self._jitter = jitter
        self._on_frame = on_frame
        self._tape = tape
        self._stopping = threading.Event()
        self._inbox: deque[Message | str] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._poll = select.poll()
        self._polled: tuple[int, ...] = ()  # what the poll looks at besides the wake-ups
        self._poll.register(self._wake_read, select.POLLIN)
        self._link: Link | None = None
        self._spare: Attempt | None = None
        self._heir: Link | None = None
        self._failures = 0
        self._since_ns: Ns = 0
        self._look_ns: Ns = 0
        self._ping_ns: Ns = 0
        self._renewal_due = False
        self._renewal_ns: Ns = 0
        self.error: BaseException | None = None
        self.connected = False
        self.reason = ""  # why the last connection or attempt ended
        self.stamp_ns: Ns = clock()
        self.last_frame_ns: Ns = 0
        self.messages = 0
        self.connections = 0

    @property
    def reconnects(self) -> int:
        """Connections after the first; planned renewals do not count."""
        return max(0, self.connections - 1)

    # -- called by others ------------------------------------------------------------------------------------------

    def command(self, message: Message) -> None:
        """Hand a message to the conversation, on this thread; the frames it asks for are sent when connected."""
        self._inbox.append(message)
        self._wake()

    def send(self, frames: Iterable[str]) -> None:
        """Send frames on the current connection; without one they are dropped."""
        self._inbox.extend(frames)
        self._wake()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close the connection and wait for the thread."""
        self._stopping.set()
        self._wake()
        if not self.is_alive() or threading.current_thread() is self:
            return
        self.join(timeout_s)
        link = self._link
        if self.is_alive() and link is not None:
            shut(link.sock)
            self.join(timeout_s)

    def counters(self) -> dict[str, int]:
        return self.conversation.counters()

    def _wake(self) -> None:
        # Refused when full, and then it will wake anyway, or when closed, and then nobody sleeps.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._live()
        except BaseException as error:  # noqa: BLE001 - the owner raises it
            self.error = error
            self.reason = f"reader died: {error!r}"
        finally:
            self._end()

    def _end(self) -> None:
        link, self._link = self._link, None
        if self._spare is not None:
            self._spare.give_up()
        for open_link in (link, self._heir):
            if open_link is not None:
                open_link.close()
        self._wake_read.close()
        self._wake_write.close()
        if self.connected:
            self.connected = False
            if self.error is not None:
                self._deliver(self.conversation.lost(self.reason, self._clock()))

    def _live(self) -> None:
        """One connection from the first look-up to the rest after its end."""
        url = self.conversation.url()
        if not url:
            self._rest(SLICE_S, until_told=True)
            return
        link = self._connect(url)
        if link is not None:
            self._link = link
            self._since_ns = self._clock()
            self.reason = self._read_out(first=True)
            while self._heir is not None and not self._stopping.is_set():
                self._swap(self._heir)
                self.reason = self._read_out()
            if not self._stopping.is_set():
                self._drop()
        delay_s = self._jitter() * min(BACKOFF_S_MAX, BACKOFF_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._rest(delay_s)

    def _read_out(self, first: bool = False) -> str:
        """Serve the link to its end; returns why it ended."""
        try:
            if first:
                self._open()
            return self._serve()
        except BROKEN as error:
            return f"{type(error).__name__}: {error}"
        except TooBig as error:
            if self._link is not None:
                self._link.close(1009)
            return str(error)
        except FrameError as error:
            return str(error)

    def _connect(self, url: str) -> Link | None:
        attempt = Attempt(self.conversation, url, self._wake, prepare=True)
        attempt.start()
        deadline_ns: Ns | None = None
        while not attempt.ended.is_set():
            if self._stopping.is_set():
                attempt.give_up()
                return None
            if deadline_ns is None and attempt.ws.sock is not None:
                deadline_ns = self._clock() + CONNECT_DEADLINE_NS
            if deadline_ns is not None and self._clock() > deadline_ns:
                attempt.cut()
            self._rest(SLICE_S, until=attempt.ended)
        return self._outcome(attempt)

    def _outcome(self, attempt: Attempt) -> Link | None:
        if attempt.fault is not None:
            raise attempt.fault
        if attempt.refused:
            self.reason = attempt.refused
            return None
        return Link(attempt.ws, self.conversation.message_bytes_max)

    def _open(self) -> None:
        assert self._link is not None
        for text in self.conversation.opening():
            self._link.send(text)
        now = self._clock()
        self.connections += 1
        self.connected = True
        self.last_frame_ns = self._ping_ns = now
        self._look_ns = now + LOOK_NS
        if self._tape is not None:
            self._tape(TapeKind.OPEN, b"", now)
        self._tell(self.conversation.connected(now))

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        if self._spare is not None:
            self._spare.give_up()
            self._spare = None
        self._renewal_due = False
        now = self._clock()
        if now - self._since_ns >= HEALTHY_NS:
            self._failures = 0
        self.connected = False
        self.conversation.outbox.clear()
        if self._tape is not None:
            self._tape(TapeKind.LOST, self.reason.encode(), now)
        self._tell(self.conversation.lost(self.reason, now))

    def _serve(self) -> str:
        """Read until the connection ends; returns why."""
        conversation = self.conversation
        silence_ns = int(conversation.silence_max_s * NS_PER_S)
        while not self._stopping.is_set():
            link = self._link
            assert link is not None
            now = self.stamp_ns = self._clock()
            self._speak(link, now)
            if now >= self._look_ns:
                self._look_ns = now + LOOK_NS
                stale = conversation.stale(now)
                if stale is not None:
                    return stale
                self._renew(now)
            if now - self.last_frame_ns > silence_ns:
                return f"no frame for {conversation.silence_max_s:g} s"
            ready = self._wait(link)
            if self._inherit(ready):
                continue
            if link.fd in ready:
                chunk = link.read()
                if chunk is None:
                    continue
                if not chunk:
                    return "the venue closed the stream"
                ended = self._take(link, chunk)
                if ended:
                    return ended
                self._renew(now)  # the venue may just have said that it will close
        return "stopped"

    def _wait(self, link: Link) -> set[int]:
        """Sockets that can be read now; waits one slice at most."""
        if link.pending():
            return {link.fd}
        fds = (link.fd,) if self._heir is None else (link.fd, self._heir.fd)
        if fds != self._polled:
            self._look_at(fds)
        ready = {fd for fd, _ in self._poll.poll(SLICE_S * 1000)}
        if self._wake_read.fileno() in ready:
            self._drain()
        return ready

    def _look_at(self, fds: tuple[int, ...]) -> None:
        for fd in self._polled:
            self._poll.unregister(fd)
        for fd in fds:
            self._poll.register(fd, select.POLLIN)
        self._polled = fds

    # -- renewal: a second connection is made beside the first and takes over with its first bytes --------------------

    def _renew(self, now: Ns) -> None:
        """Start what the conversation asks for, again after a while when it failed or stayed mute."""
        if self.conversation.rotate(now):
            self._renewal_due = True
        if not self._renewal_due or now < self._renewal_ns or self._spare is not None:
            return
        if self._heir is not None:
            self._heir.close()
            self._heir = None
        self._renewal_ns = now + RENEWAL_NS
        self._spare = Attempt(self.conversation, self.conversation.url(), self._wake, prepare=False)
        self._spare.start()

    def _inherit(self, ready: set[int]) -> bool:
        """True when the second connection took over."""
        heir = self._heir
        if heir is not None and (heir.fd in ready or heir.pending()):
            self._swap(heir)
            return True
        spare = self._spare
        if spare is not None and spare.ended.is_set():
            self._spare = None
            heir = self._outcome(spare)
            if heir is not None and self._greeted(heir):
                self._heir = heir
        return False

    def _greeted(self, heir: Link) -> bool:
        """Say the opening on the second connection. One that fails is no reason to leave the first: the next try comes."""
        try:
            for text in self.conversation.opening():
                heir.send(text)
        except BROKEN:
            heir.close()
            return False
        return True

    def _swap(self, heir: Link) -> None:
        if self._link is not None:
            self._link.close()
        self._link, self._heir = heir, None
        self._renewal_due = False
        self._since_ns = self.last_frame_ns = self._clock()

    def _speak(self, link: Link, now: Ns) -> None:
        conversation = self.conversation
        self._commands(link)
        outbox = conversation.outbox
        while outbox:
            link.send(outbox.popleft())
        # A keepalive before the first subscription is refused by the venue with a close.
        if conversation.ping_text is not None and link.spoken and now >= self._ping_ns:
            self._ping_ns = now + int(conversation.ping_every_s * NS_PER_S)
            link.send(conversation.ping_text)

    def _commands(self, link: Link | None) -> None:
        while self._inbox:
            item = self._inbox.popleft()
            for text in [item] if isinstance(item, str) else self.conversation.command(item):
                if link is not None:
                    link.send(text)

    def _take(self, link: Link, chunk: bytes) -> str:
        """Hand on what the bytes complete; returns why the connection ended, if they say so."""
        now = self._clock()
        frames = link.frames.feed(chunk)
        if not frames:
            return ""
        self.last_frame_ns = now
        if self._on_frame is not None:
            self._on_frame(now)
        decode, deliver = self.conversation.decode, self._deliver
        taken, due = 0, False
        for count, (opcode, payload) in enumerate(frames, 1):
            if due:
                taken, due = 0, False
                self._pause()
            if opcode <= BINARY:
                self.messages += 1
                if self._tape is not None:
                    self._tape(TapeKind.FRAME, payload, now)
                told = decode(payload, now)
                if told:
                    deliver(told)
            elif opcode == PING:
                link.pong(payload)
            elif opcode == CLOSE:
                return (
                    f"closed by the venue: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}"
                )
            if count % SETTLE_EVERY == 0:
                self._tell(self.conversation.settle(now))
                self.stamp_ns = self._clock()
            taken += len(payload)
            due = self.conversation.gives_way and (taken > YIELD_BYTES or len(payload) > LONG_BYTES)
        self._tell(self.conversation.settle(now))
        if due:
            self._pause()
        return ""

    def _pause(self) -> None:
        time.sleep(YIELD_S)

    def _tell(self, messages: list[Message]) -> None:
        if messages:
            self._deliver(messages)

    def _rest(self, seconds: float, until: threading.Event | None = None, until_told: bool = False) -> None:
        """Wait without a connection: the stamp moves, commands are remembered, a stop is heard."""
        end_ns = self._clock() + int(seconds * NS_PER_S)
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        while not self._stopping.is_set() and not (until is not None and until.is_set()):
            now = self.stamp_ns = self._clock()
            told = bool(self._inbox)
            self._commands(None)
            if now >= end_ns or (told and until_told):
                return
            if poll.poll(min(SLICE_S, (end_ns - now) / NS_PER_S) * 1000):
                self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
