"""The Reader against a small server of our own on the loopback: what it sends, survives and gives up on."""

from __future__ import annotations

import socket
import threading

import pytest
import websocket
from reader_desk import CLOSE, PING, PONG, TEXT, WAIT_S, Desk, Talk, Venue, start

import bot.venues.websocket as module
from bot.messages import FeedStatus, Message, Nudge, TimerTick
from bot.units import Ns
from bot.venues.websocket import Reader


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
