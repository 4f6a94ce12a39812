"""The network between bot and venue on the hub: HTTP connections that take time and break, and streams that do.

Client ends are what the real gateway and feeds ask for; what the venue does with a request is rest.py's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
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


class Net:
    """What lies between: latencies, and outages in which nothing gets through."""

    def __init__(self, hub: Hub, group: Group, rest: Rest, random: Random) -> None:
        self.hub = hub
        self.group = group  # the venue's: it lives on when a bot's process dies
        self.rest = rest
        self.random = random
        self.down_until_ns: Ns = 0
        self.connections: list[Connection] = []
        self.slow = 1.0

    @property
    def down(self) -> bool:
        return self.hub.now_ns < self.down_until_ns

    def latency_ns(self) -> Ns:
        return int((ONE_WAY_NS + self.random.expovariate(1.0) * SPREAD_NS) * self.slow)

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
        headers: Mapping[str, str] | None = None,
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


class Link:
    """A stream's connection as the venue sees it. What is sent arrives in order, each frame after its latency."""

    def __init__(self, net: Net, name: str, joined_ns: Ns) -> None:
        self._net = net
        self.name = name
        self.joined_ns = joined_ns
        self.mute = False  # half open: nothing comes through, and nobody says so
        self.open = True
        self.ended = ""
        self.frames: deque[bytes] = deque()
        self.came = Signal(net.hub)
        self._last_ns: Ns = 0

    def send(self, frame: bytes) -> None:
        if self.mute or not self.open:
            return
        self._last_ns = max(self._last_ns, self._net.hub.now_ns + self._net.latency_ns())
        self._net.hub.at(self._last_ns, lambda: self._arrive(frame))

    def _arrive(self, frame: bytes) -> None:
        if self.open and not self.mute and not self.ended:
            self.frames.append(frame)
            self.came.notify_all()

    def cut(self, reason: str) -> None:
        """The client notices at once."""
        if self.open:
            self.open = False
            self.ended = reason
            self.came.notify_all()


class HubReader:
    """actors.feed.ReaderThread on the hub: connects, reads, pings, notices silence, reconnects; as Reader does."""

    def __init__(
        self,
        net: Net,
        group: Group,
        random: Random,
        conversation: Conversation,
        deliver: Callable[[list[Message]], None],
        connect: Callable[[str, bool], Link | None],
        heard: Callable[[Ns], None],
    ) -> None:
        """`connect(name, subscribed)` gives the venue's end of a new connection, or None where it is refused."""
        self._net = net
        self._hub = net.hub
        self._group = group
        self._random = random
        self.conversation = conversation
        self._deliver = deliver
        self._connect = connect
        self._heard = heard
        self._link: Link | None = None
        self._failures = 0
        self._task: Task | None = None
        self._stopped = False
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
        self.conversation.command(message)

    def counters(self) -> dict[str, int]:
        return self.conversation.counters()

    def stop(self) -> None:
        self._stopped = True
        if self._link is not None:
            self._link.open = False
            self._link.came.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._live()
        except Exception as error:  # noqa: BLE001 - the owner raises it
            self.error = error

    def _live(self) -> None:
        link = None if self._net.down else self._connect(self.conversation.name, True)
        self._rest(4 * self._net.latency_ns())
        if link is None:
            self.reason = "ConnectionRefusedError"
        elif link.open:
            since_ns = self._hub.now_ns
            self._link = link
            self._open()
            self.reason = self._serve(link)
            self._link = None
            link.open = False
            if self._stopped:
                return
            if self._hub.now_ns - since_ns >= HEALTHY_NS:
                self._failures = 0
            self.connected = False
            self._tell(self.conversation.lost(self.reason, self._hub.now_ns))
        else:
            self.reason = link.ended
        delay_s = self._random.random() * min(BACKOFF_S_MAX, BACKOFF_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._rest(int(delay_s * NS_PER_S))

    def _open(self) -> None:
        now = self._hub.now_ns
        self.connections += 1
        self.connected = True
        self.last_frame_ns = now
        self._tell(self.conversation.connected(now))

    def _serve(self, link: Link) -> str:
        hub = self._hub
        silence_ns = int(self.conversation.silence_max_s * NS_PER_S)
        ping_ns = hub.now_ns
        while not self._stopped:
            now = self.stamp_ns = hub.now_ns
            if now >= ping_ns:
                ping_ns = now + int(self.conversation.ping_every_s * NS_PER_S)
                link.send(b"PONG")
            if now - self.last_frame_ns > silence_ns:
                return f"no frame for {self.conversation.silence_max_s:g} s"
            while link.frames:
                if ended := self._take(link.frames.popleft()):
                    return ended
            if link.ended:
                return link.ended
            link.came.wait(min(SLICE_NS, ping_ns - now))
        return "stopped"

    def _take(self, frame: bytes) -> str:
        now = self.last_frame_ns = self._hub.now_ns
        self._heard(now)
        self.messages += 1
        try:
            self._tell(self.conversation.decode(frame, now))
        except FrameError as error:
            return str(error)
        return ""

    def _tell(self, messages: list[Message]) -> None:
        if messages:
            self._deliver(messages)

    def _rest(self, delay_ns: Ns) -> None:
        end_ns = self._hub.now_ns + delay_ns
        while not self._stopped and self._hub.now_ns < end_ns:
            self.stamp_ns = self._hub.now_ns
            self._hub.pause(min(SLICE_NS, end_ns - self._hub.now_ns))
        self.stamp_ns = self._hub.now_ns
