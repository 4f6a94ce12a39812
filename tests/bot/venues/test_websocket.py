"""The Reader against a small server of our own on the loopback: what it sends, survives and gives up on."""

from __future__ import annotations

import base64
import hashlib
import queue
import socket
import threading
from collections.abc import Iterator

import pytest
import websocket

import bot.venues.websocket as module
from bot.errors import FrameError
from bot.messages import FeedStatus, Message, Nudge, TimerTick
from bot.units import Ns
from bot.venues.conversation import Conversation
from bot.venues.websocket import Reader

WAIT_S = 5.0
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Session:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self.path = ""
        self.greeting = b""  # in one piece with the answer to the handshake
        self.received: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def handshake(self) -> bool:
        lines = []
        while (line := self._file.readline().strip()) != b"":
            lines.append(line.decode())
        if not lines:
            return False
        self.path = lines[0].split()[1]
        key = next(line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + self.greeting
        )
        return True

    def listen(self) -> None:
        """Frames of the client (all short) until it goes."""
        try:
            while len(head := self._file.read(2)) == 2:
                size = head[1] & 0x7F
                if size == 126:
                    size = int.from_bytes(self._file.read(2), "big")
                mask = self._file.read(4)
                masked = self._file.read(size)
                payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(masked))
                self.received.put((head[0] & 0x0F, payload))
        except OSError:
            pass
        self.received.put((-1, b""))

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.raw(bytes([0x80 | opcode]) + size + payload)

    def raw(self, data: bytes) -> None:
        self._sock.sendall(data)

    def next(self) -> tuple[int, bytes]:
        return self.received.get(timeout=WAIT_S)

    def reset(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)


class Venue:
    """Accepts connections and hands out their sessions in order; refuses while `refusing` is set."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/ws"
        self.sessions: queue.Queue[Session] = queue.Queue()
        self.greeting = b""
        self.refusing = False
        self.refused = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                sock.close()
                self.refused.release()
            else:
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        session = Session(sock)
        session.greeting = self.greeting
        if session.handshake():
            self.sessions.put(session)
            session.listen()

    def session(self) -> Session:
        return self.sessions.get(timeout=WAIT_S)

    def close(self) -> None:
        self._listener.close()


class Talk(Conversation):
    """Remembers what it was told; decodes every text into a Nudge whose cause is the number in it."""

    name = "talk"

    def __init__(self, url: str, opening: list[str] | None = None) -> None:
        super().__init__()
        self.address = url
        self.first = ["hello"] if opening is None else opening
        self.reasons: queue.Queue[str] = queue.Queue()
        self.stale_reason: str | None = None
        self.renew = False
        self.prepared = 0

    def url(self) -> str:
        return self.address

    def opening(self) -> list[str]:
        return self.first

    def bootstrap(self) -> None:
        self.prepared += 1

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        if frame == b"boom":
            raise ZeroDivisionError("boom")
        if frame == b"noise":
            raise FrameError("noise")
        if frame == b"leave":
            self.renew = True
            return []
        if frame == b"ask":
            self.outbox.append("answer")
            return []
        return [Nudge(cause_ns=int(frame))]

    def command(self, message: Message) -> list[str]:
        self.address = self.address or message.name  # type: ignore[attr-defined]
        return ["commanded"]

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        self.reasons.put(reason)
        return super().lost(reason, now_ns)

    def stale(self, now_ns: Ns) -> str | None:
        reason, self.stale_reason = self.stale_reason, None
        return reason

    def rotate(self, now_ns: Ns) -> bool:
        renew, self.renew = self.renew, False
        return renew


class Desk:
    """A Reader and the messages it delivered."""

    def __init__(self, talk: Talk, jitter: float = 0.0) -> None:
        self.talk = talk
        self.told: queue.Queue[Message] = queue.Queue()
        self.frames: list[Ns] = []
        self.reader = Reader(talk, self._deliver, jitter=lambda: jitter, on_frame=self.frames.append)

    def _deliver(self, messages: list[Message]) -> None:
        for message in messages:
            self.told.put(message)

    def next(self) -> Message:
        return self.told.get(timeout=WAIT_S)

    def reason(self) -> str:
        return self.talk.reasons.get(timeout=WAIT_S)


@pytest.fixture
def venue() -> Iterator[Venue]:
    venue = Venue()
    yield venue
    venue.close()


@pytest.fixture
def desks() -> Iterator[list[Desk]]:
    started: list[Desk] = []
    yield started
    for desk in started:
        desk.reader.stop()
        assert not desk.reader.is_alive()


def start(desks: list[Desk], talk: Talk, jitter: float = 0.0) -> Desk:
    desk = Desk(talk, jitter)
    desks.append(desk)
    desk.reader.start()
    return desk


def test_frames_become_messages_after_the_connection_was_announced(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(venue.url))
    session = venue.session()
    assert session.path == "/ws" and session.next() == (TEXT, b"hello")
    for number in range(200):
        session.send(str(number).encode())
    announced = desk.next()
    assert isinstance(announced, FeedStatus) and announced.connected
    assert [desk.next() for _ in range(200)] == [Nudge(cause_ns=number) for number in range(200)]
    assert desk.reader.messages == 200 and desk.reader.reconnects == 0 and desk.reader.connected
    assert desk.talk.prepared == 1 and desk.frames and desk.frames[-1] == desk.reader.last_frame_ns


@pytest.mark.parametrize(
    ("gives_way", "lengths", "events"),
    [
        (True, [600] * 70, ["told", 34, "told", 68, "told"]),  # when so much was read
        (True, [600, 600, 10_000, 600, 10_000], [3, "told", 5]),  # after each long one, and not before it was told
        (True, [600] * 30, ["told"]),
        (False, [600] * 30 + [10_000], ["told"]),
    ],
)
def test_only_a_stream_that_gives_way_pauses_within_a_burst(
    gives_way: bool, lengths: list[int], events: list[int | str]
) -> None:
    seen: list[int | str] = []

    class Settled(Talk):
        def settle(self, now_ns: Ns) -> list[Message]:
            seen.append("told")
            return []

    class Counted(Reader):
        """Notes after how many frames it would pause, and does not."""

        def _pause(self) -> None:
            seen.append(self.messages)

    near, far = socket.socketpair()
    with near, far:
        ws = websocket.WebSocket()
        ws.sock = near
        link = module.Link(ws, 1 << 20)
        frames = [str(number).encode().rjust(length) for number, length in enumerate(lengths)]
        burst = b"".join(b"\x81\x7e" + len(frame).to_bytes(2, "big") + frame for frame in frames)
        talk = Settled("")
        talk.gives_way = gives_way
        told: list[Message] = []
        assert Counted(talk, told.extend)._take(link, burst) == ""
    assert told == [Nudge(cause_ns=number) for number in range(len(lengths))] and seen == events


def test_text_pings_start_after_the_subscription_and_go_on(venue: Venue, desks: list[Desk]) -> None:
    talk = Talk(venue.url)
    talk.ping_text, talk.ping_every_s = "PING", 0.01
    start(desks, talk)
    session = venue.session()
    assert [session.next()[1] for _ in range(3)] == [b"hello", b"PING", b"PING"]


def test_no_ping_before_anything_was_subscribed(venue: Venue, desks: list[Desk]) -> None:
    talk = Talk(venue.url, opening=[])
    talk.ping_text, talk.ping_every_s = "PING", 0.01
    desk = start(desks, talk)
    session = venue.session()
    desk.next()
    desk.reader.send(["subscribe"])
    assert session.next()[1] == b"subscribe" and session.next()[1] == b"PING"


def test_pings_of_the_protocol_are_answered_with_their_own_payload(venue: Venue, desks: list[Desk]) -> None:
    start(desks, Talk(venue.url))
    session = venue.session()
    session.next()
    session.send(b"1763", PING)
    assert session.next() == (PONG, b"1763")


def test_what_decoding_leaves_in_the_outbox_is_sent(venue: Venue, desks: list[Desk]) -> None:
    start(desks, Talk(venue.url))
    session = venue.session()
    session.next()
    session.send(b"ask")
    assert session.next() == (TEXT, b"answer")


def test_commands_go_to_the_conversation_and_its_frames_to_the_venue(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(venue.url))
    session = venue.session()
    session.next()
    desk.reader.command(TimerTick(name="", now_ns=0, utc_ns=0))
    assert session.next() == (TEXT, b"commanded")


def test_without_an_address_it_waits_until_a_command_brings_one(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(""))
    desk.reader.command(TimerTick(name=venue.url, now_ns=0, utc_ns=0))
    session = venue.session()
    assert session.next() == (TEXT, b"hello")


def test_silence_ends_the_connection(venue: Venue, desks: list[Desk]) -> None:
    talk = Talk(venue.url)
    talk.silence_max_s = 0.05
    desk = start(desks, talk)
    venue.session()
    assert desk.reason() == "no frame for 0.05 s"
    venue.session()
    assert desk.reader.error is None


def test_a_stale_conversation_is_connected_again(
    venue: Venue, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_NS", 1_000_000)
    talk = Talk(venue.url)
    talk.stale_reason = "a silent token"
    desk = start(desks, talk)
    venue.session()
    assert desk.reason() == "a silent token"
    assert venue.session().next() == (TEXT, b"hello")
    assert [getattr(desk.next(), "connected", None) for _ in range(3)] == [True, False, True]


def test_an_error_of_ours_kills_the_reader_and_is_kept(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(venue.url))
    session = venue.session()
    session.send(b"boom")
    desk.reader.join(WAIT_S)
    assert isinstance(desk.reader.error, ZeroDivisionError)
    assert "boom" in desk.reason() and not desk.reader.connected


def test_an_unreadable_frame_only_costs_the_connection(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(venue.url))
    venue.session().send(b"noise")
    assert desk.reason() == "noise"
    venue.session().send(b"5")
    assert desk.reader.is_alive()


def test_a_message_above_the_cap_ends_with_1009(venue: Venue, desks: list[Desk]) -> None:
    talk = Talk(venue.url)
    talk.message_bytes_max = 1000
    desk = start(desks, talk)
    session = venue.session()
    session.next()
    session.raw(b"\x81\x7e\xff\xff")
    assert session.next() == (CLOSE, (1009).to_bytes(2, "big"))
    assert "1000 bytes" in desk.reason()


def test_a_close_frame_is_the_reason(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(venue.url))
    venue.session().send((4001).to_bytes(2, "big") + b"auth", CLOSE)
    assert desk.reason() == "closed by the venue: 4001 auth"


def test_resets_in_mid_frame_leave_no_thread_behind(venue: Venue, desks: list[Desk]) -> None:
    before = set(threading.enumerate())  # of other tests, and about to end
    desk = start(desks, Talk(venue.url))
    for _ in range(5):
        session = venue.session()
        session.raw(b"\x81\x7e\x01")
        session.reset()
        desk.reason()
    venue.session().send(b"1")
    ours = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread.name for thread in ours].count("reader-talk") == 1
    attempts = [thread for thread in ours if thread.name == "connect-talk"]
    for attempt in attempts:  # it tells its outcome, and ends a moment later
        attempt.join(WAIT_S)
    assert not any(attempt.is_alive() for attempt in attempts)
    assert desk.reader.reconnects >= 4


def test_refused_attempts_back_off_doubling_to_a_limit_and_a_long_life_resets_it(venue: Venue) -> None:
    rests: list[float] = []

    class Impatient(Reader):
        """Notes how long it would rest, and does not."""

        def _rest(self, seconds: float, until: threading.Event | None = None, until_told: bool = False) -> None:
            if until is not None:
                until.wait(WAIT_S)
                return
            rests.append(seconds)
            if len(rests) == 9:
                self._stopping.set()

    venue.refusing = True
    reader = Impatient(Talk(venue.url), lambda messages: None, jitter=lambda: 1.0)
    reader.start()
    reader.join(WAIT_S)
    assert rests == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert reader.connections == 0 and reader.reason
    reader._since_ns = -module.HEALTHY_NS
    reader._drop()
    assert reader._failures == 0


def test_a_handshake_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch, desks: list[Desk]) -> None:
    monkeypatch.setattr(module, "CONNECT_DEADLINE_NS", 0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        desk = start(desks, Talk(f"ws://127.0.0.1:{mute.getsockname()[1]}/"))
        mute.settimeout(WAIT_S)
        held = [mute.accept()[0] for _ in range(2)]  # the second comes only when the first was given up
        held[0].settimeout(WAIT_S)
        while held[0].recv(4096):
            pass
        for sock in held:
            sock.close()
    assert desk.reader.connections == 0 and desk.reader.error is None


def test_stop_is_prompt_while_it_waits_for_another_try(venue: Venue, desks: list[Desk]) -> None:
    venue.refusing = True
    desk = start(desks, Talk(venue.url), jitter=1000.0)
    assert venue.refused.acquire(timeout=WAIT_S)
    desk.reader.stop()
    assert not desk.reader.is_alive() and desk.reader.error is None


def test_stop_says_goodbye(venue: Venue, desks: list[Desk]) -> None:
    desk = start(desks, Talk(venue.url))
    session = venue.session()
    desk.next()
    desk.reader.stop()
    assert [session.next()[0] for _ in range(3)] == [TEXT, CLOSE, -1]


def test_the_stamp_moves_while_nothing_can_be_reached(desks: list[Desk]) -> None:
    desk = start(desks, Talk(""))
    before = desk.reader.stamp_ns
    moved = threading.Event()

    def watch() -> None:
        while desk.reader.stamp_ns == before and desk.reader.is_alive():
            moved.wait(0.001)
        moved.set()

    threading.Thread(target=watch, daemon=True).start()
    assert moved.wait(WAIT_S)


def test_renewal_makes_the_second_connection_before_it_leaves_the_first(
    venue: Venue, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_NS", 1_000_000)
    talk = Talk(venue.url)
    desk = start(desks, talk)
    first = venue.session()
    assert isinstance(desk.next(), FeedStatus)
    talk.renew = True
    desk.reader.send(["wake"])
    second = venue.session()
    assert second.next() == (TEXT, b"hello")
    first.send(b"1")
    assert desk.next() == Nudge(cause_ns=1)
    second.send(b"2")
    assert desk.next() == Nudge(cause_ns=2)
    while first.next()[0] != -1:
        pass
    second.send(b"3")
    assert desk.next() == Nudge(cause_ns=3)
    assert desk.reader.reconnects == 0 and talk.reasons.empty()


def test_a_frame_that_asks_for_a_renewal_is_heeded_at_once(
    venue: Venue, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_NS", 10**12)
    desk = start(desks, Talk(venue.url))
    first = venue.session()
    first.send(b"leave")
    second = venue.session()
    assert second.next() == (TEXT, b"hello")
    assert desk.reader.reconnects == 0


def test_a_second_connection_that_fails_at_once_leaves_the_first_alone(
    venue: Venue, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_NS", 1_000_000)
    talk = Talk(venue.url)
    desk = start(desks, talk)
    first = venue.session()
    assert isinstance(desk.next(), FeedStatus)
    send, failed = module.Link.send, threading.Event()

    def fails(link: module.Link, text: str) -> None:
        if link is not desk.reader._link:
            failed.set()
            raise BrokenPipeError
        send(link, text)

    monkeypatch.setattr(module.Link, "send", fails)
    talk.renew = True
    desk.reader.send(["wake"])
    assert failed.wait(WAIT_S)
    first.send(b"1")
    assert desk.next() == Nudge(cause_ns=1)
    assert talk.reasons.empty()


def test_a_first_connection_that_ends_during_renewal_is_replaced_without_a_gap(
    venue: Venue, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_NS", 1_000_000)
    talk = Talk(venue.url)
    desk = start(desks, talk)
    first = venue.session()
    desk.next()
    talk.renew = True
    desk.reader.send(["wake"])
    second = venue.session()
    assert second.next() == (TEXT, b"hello")
    first.reset()
    second.send(b"2")
    assert desk.next() == Nudge(cause_ns=2)
    assert talk.reasons.empty()
