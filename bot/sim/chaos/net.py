"""The network between bot and venue on the hub: HTTP connections that take time and break, and streams that do.

Client ends are what the real gateway and feeds ask for; what the venue does with a request is rest.py's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from bot.errors import FrameError
from bot.messages import Message
from bot.sim.chaos.hub import Group, Hub, Signal, Task
from bot.sim.chaos.rest import Cut, Mute, Request, Rest, request_of
from bot.units import NS_PER_MS, NS_PER_S, Ns
from bot.venues.clob_answer import Reply
from bot.venues.clob_http import DEADLINE_S, RequestFailed
from bot.venues.conversation import Conversation

CONNECT_S = 1.0
ONE_WAY_NS: Ns = 15 * NS_PER_MS  # fastest, each way; then exponential
SPREAD_NS: Ns = 15 * NS_PER_MS  # on average more
BACKOFF_S, BACKOFF_S_MAX = 0.5, 30.0
HEALTHY_NS: Ns = 60 * NS_PER_S
SLICE_NS: Ns = 500 * NS_PER_MS  # the reader's stamp moves this often
LOOK_NS: Ns = NS_PER_S
RENEWAL_NS: Ns = 10 * NS_PER_S


class Net:
    """What lies between: latencies, and outages in which nothing gets through."""

    def __init__(self, hub: Hub, group: Group, rest: Rest, random: Random) -> None:
        self.hub = hub
        self.group = group  # the venue's: it lives on when a bot's process dies
        self.rest = rest
        self.random = random
        self.down_until_ns: Ns = 0
        self.connections: list[Connection] = []

    @property
    def down(self) -> bool:
        return self.hub.now_ns < self.down_until_ns

    def latency_ns(self) -> Ns:
        return int(ONE_WAY_NS + self.random.expovariate(1.0) * SPREAD_NS)

    def cut(self, until_ns: Ns) -> None:
        """Every HTTP connection is reset, and new ones are refused until then."""
        self.down_until_ns = max(self.down_until_ns, until_ns)
        for connection in self.connections:
            connection.reset()


class _Call:
    """One request on its way."""

    __slots__ = ("reply",)

    def __init__(self) -> None:
        self.reply: Reply | str | None = None  # "cut": reset


class Connection:
    """One keep-alive connection, as polymarket_gateway.Http has it. `asked` hears of each request as its bytes leave,
    `answered` of each status that came back."""

    def __init__(
        self,
        net: Net,
        asked: Callable[[Request], None],
        answered: Callable[[Request, int], None],
        failed: Callable[[], None],
        point: Callable[[str], None],
    ) -> None:
        self._net = net
        self._hub = net.hub
        self._asked = asked
        self._told = answered
        self._failed = failed
        self._point = point
        self._open = False
        self._call: _Call | None = None
        self._answered = Signal(net.hub)
        self.used_s = 0.0
        net.connections.append(self)

    def ready(self, until: float | None = None) -> None:
        if self._open:
            return
        if self._net.down:
            self._failed()
            self._hub.sleep(0.2)
            raise RequestFailed("cannot connect: ConnectionRefusedError", sent=False)
        self._hub.pause(2 * self._net.latency_ns())
        self._open = True

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: str = "",
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        hub = self._hub
        deadline_s = hub.now_ns / NS_PER_S + DEADLINE_S
        if until is not None:
            deadline_s = min(deadline_s, until)
        self.ready(deadline_s)
        if deadline_s * NS_PER_S <= hub.now_ns:
            raise RequestFailed("no time left before the request was sent", sent=False)
        request = request_of(method, path, body)
        self._point(f"before {method}")
        self._asked(request)
        call = self._call = _Call()
        hub.spawn(self._net.group, lambda: self._serve(request, call), self._net.latency_ns())
        if written is not None:
            written()
        self._point(f"after {method}")
        self._answered.wait_for(lambda: call.reply is not None, deadline_s - hub.now_ns / NS_PER_S)
        self._call = None
        reply = call.reply
        if not isinstance(reply, Reply):
            self._open = False
            self._failed()
            raise RequestFailed(
                f"{method} {request.path}: {'ConnectionResetError' if reply else 'timed out'}", sent=True
            )
        self.used_s = hub.now_ns / NS_PER_S
        self._told(request, reply.status)
        return reply

    def _serve(self, request: Request, call: _Call) -> None:
        """On the venue's side."""
        if self._net.down:
            return  # lost on the way
        try:
            reply: Reply | str = self._net.rest.serve(request)
        except Cut:
            reply = "cut"
        except Mute:
            return
        self._hub.pause(self._net.latency_ns())
        if call.reply is None and not self._net.down:
            call.reply = reply
            self._answered.notify_all()

    def reset(self) -> None:
        self._open = False
        if self._call is not None and self._call.reply is None:
            self._call.reply = "cut"
            self._answered.notify_all()

    def close(self) -> None:
        self._open = False

    def forget(self) -> None:
        """Its process is gone."""
        self._open = False
        self._net.connections.remove(self)


class Link:
    """A stream's connection as the venue sees it. What is sent arrives in order, each frame after its latency."""

    def __init__(self, net: Net, name: str, heard: Callable[[Link, str], None]) -> None:
        self._net = net
        self._heard = heard
        self.name = name
        self.joined_ns = net.hub.now_ns
        self.mute = False  # half open: nothing comes through, and nobody says so
        self.open = True
        self.ended = ""
        self.frames: deque[bytes] = deque()
        self.came = Signal(net.hub)
        self._last_ns: Ns = 0

    def send(self, frame: bytes) -> None:
        """From the venue."""
        if self.mute or not self.open:
            return
        self._last_ns = max(self._last_ns, self._net.hub.now_ns + self._net.latency_ns())
        self._net.hub.at(self._last_ns, lambda: self._arrive(frame))

    def _arrive(self, frame: bytes) -> None:
        if self.open and not self.mute and not self.ended:
            self.frames.append(frame)
            self.came.notify_all()

    def say(self, text: str) -> None:
        """From the client."""
        if text == "PING":
            self.send(b"PONG")
        elif self.open and not self.mute:
            self._net.hub.later(self._net.latency_ns(), lambda: self._heard(self, text))

    def cut(self, reason: str) -> None:
        """The client notices at once."""
        if self.open:
            self.open = False
            self.ended = reason
            self.came.notify_all()


class HubReader:
    """actors.feed.ReaderThread on the hub: connects, speaks, reads, notices silence, renews, reconnects; as Reader does."""

    def __init__(
        self,
        net: Net,
        group: Group,
        random: Random,
        conversation: Conversation,
        deliver: Callable[[list[Message]], None],
        connect: Callable[[], Link | None],
        heard: Callable[[Ns], None] = lambda now_ns: None,
    ) -> None:
        """`connect` gives the venue's end of a new connection, or None where it is refused."""
        self._net = net
        self._hub = net.hub
        self._group = group
        self._random = random
        self.conversation = conversation
        self._deliver = deliver
        self._connect = connect
        self._heard = heard
        self._link: Link | None = None
        self._heir: Link | None = None
        self._failures = 0
        self._task: Task | None = None
        self._stopped = False
        self._commands: deque[Message] = deque()
        self.error: BaseException | None = None
        self.connected = False
        self.reason = ""
        self.stamp_ns: Ns = net.hub.now_ns
        self.last_frame_ns: Ns = 0
        self.messages = 0
        self.connections = 0

    @property
    def reconnects(self) -> int:
        return max(0, self.connections - 1)

    def start(self) -> None:
        self._task = self._hub.spawn(self._group, self._run)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.ended

    def command(self, message: Message) -> None:
        self._commands.append(message)
        if self._link is not None:
            self._link.came.notify_all()

    def counters(self) -> dict[str, int]:
        return self.conversation.counters()

    def stop(self, timeout_s: float = 2.0) -> None:
        self._stopped = True
        for link in (self._link, self._heir):
            if link is not None:
                link.open = False
                link.came.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._live()
        except Exception as error:  # noqa: BLE001 - the owner raises it
            self.error = error

    def _live(self) -> None:
        if not self.conversation.url():
            self._rest(SLICE_NS)
            return
        link = None if self._net.down else self._connect()
        self._rest(4 * self._net.latency_ns())
        if link is None:
            self.reason = "ConnectionRefusedError"
        elif link.open:
            since_ns = self._hub.now_ns
            self._open(link)
            self.reason = self._serve(link)
            while self._heir is not None and not self._stopped:
                link.open = False
                link, self._heir = self._heir, None
                self.reason = self._serve(link)
            self._link = None
            link.open = False
            if self._stopped:
                return
            if self._hub.now_ns - since_ns >= HEALTHY_NS:
                self._failures = 0
            self.connected = False
            self.conversation.outbox.clear()
            self._tell(self.conversation.lost(self.reason, self._hub.now_ns))
        else:
            self.reason = link.ended
        delay_s = self._random.random() * min(BACKOFF_S_MAX, BACKOFF_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._rest(int(delay_s * NS_PER_S))

    def _open(self, link: Link) -> None:
        now = self._hub.now_ns
        for text in self.conversation.opening():
            link.say(text)
        self.connections += 1
        self.connected = True
        self.last_frame_ns = now
        self._tell(self.conversation.connected(now))

    def _serve(self, link: Link) -> str:
        """Until the connection ends, or the second one has something to say."""
        hub, conversation = self._hub, self.conversation
        self._link = link
        self.last_frame_ns = hub.now_ns
        silence_ns = int(conversation.silence_max_s * NS_PER_S)
        ping_ns = look_ns = hub.now_ns
        renew_ns: Ns = 0
        while not self._stopped:
            now = self.stamp_ns = hub.now_ns
            while self._commands:
                for text in conversation.command(self._commands.popleft()):
                    link.say(text)
            while conversation.outbox:
                link.say(conversation.outbox.popleft())
            if conversation.ping_text is not None and now >= ping_ns:
                ping_ns = now + int(conversation.ping_every_s * NS_PER_S)
                link.say(conversation.ping_text)
            if now >= look_ns:
                look_ns = now + LOOK_NS
                if (stale := conversation.stale(now)) is not None:
                    return stale
                if conversation.rotate(now) or (renew_ns and now >= renew_ns and self._heir is None):
                    renew_ns = now + RENEWAL_NS
                    self._heir = self._second()
            if self._heir is not None and self._heir.frames:
                return "renewed"
            if now - self.last_frame_ns > silence_ns:
                return f"no frame for {conversation.silence_max_s:g} s"
            if link.frames:
                ended = self._burst(link, now)
                if ended:
                    return ended
                continue
            if link.ended:
                return link.ended
            link.came.wait(SLICE_NS)
        return "stopped"

    def _second(self) -> Link | None:
        """A second connection beside the first, which takes over with its first frame."""
        heir = None if self._net.down else self._connect()
        if heir is not None:
            for text in self.conversation.opening():
                heir.say(text)
        return heir

    def _burst(self, link: Link, now: Ns) -> str:
        """All that has come; why the connection ends, if it says so."""
        self.last_frame_ns = now
        self._heard(now)
        while link.frames:
            frame = link.frames.popleft()
            self.messages += 1
            try:
                self._tell(self.conversation.decode(frame, now))
            except FrameError as error:
                return str(error)
        self._tell(self.conversation.settle(now))
        return ""

    def _tell(self, messages: list[Message]) -> None:
        if messages:
            self._deliver(messages)

    def _rest(self, delay_ns: Ns) -> None:
        """Without a connection: the stamp moves, commands are remembered."""
        end_ns = self._hub.now_ns + delay_ns
        while not self._stopped and self._hub.now_ns < end_ns:
            self.stamp_ns = self._hub.now_ns
            while self._commands:
                self.conversation.command(self._commands.popleft())
            self._hub.pause(min(SLICE_NS, end_ns - self._hub.now_ns))
        self.stamp_ns = self._hub.now_ns
