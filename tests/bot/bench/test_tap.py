"""What stands between bot and venue passes everything on, and says when it came."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from bot.bench.listener import open_stream
from bot.bench.tap import Answerer, Messages, Relay, Request, Stream, Tap, Through
from bot.venues.clob_http import Connection, RequestFailed
from bot.venues.frames import TEXT, FrameBuffer

WAIT_S = 5.0


def test_messages_are_taken_apart_wherever_the_stream_is_cut() -> None:
    one = b"POST /order HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    two = b"GET /time HTTP/1.1\r\nHost: x\r\n\r\n"
    for cut in range(len(one + two)):
        messages = Messages()
        found = messages.feed((one + two)[:cut]) + messages.feed((one + two)[cut:])
        assert found == [("POST /order HTTP/1.1", b"hello", one), ("GET /time HTTP/1.1", b"", two)]


def asked(url: str, answers: list[bytes], paths: list[str]) -> threading.Thread:
    def ask() -> None:
        connection = Connection(url)
        with contextlib.suppress(RequestFailed):  # the tap may be closed before a held answer comes
            answers.extend(connection.request("POST", path, body=b"{}").body for path in paths)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def test_a_request_goes_through_to_the_venue_and_its_answer_back_unless_it_is_held(tap: Tap) -> None:
    heard: list[Request] = []
    answered: list[tuple[str, bytes]] = []
    held = False
    venue = tap.listen(lambda sock: keep(Answerer(tap, sock, lambda request: request.path.encode())))
    port = tap.listen(
        lambda sock: keep(
            Through(
                tap,
                sock,
                f"http://127.0.0.1:{venue}",
                heard.append,
                lambda request, body: answered.append((request.path, body)),
                lambda: held,
            )
        )
    )
    before_ns, answers = time.monotonic_ns(), list[bytes]()
    asked(f"http://127.0.0.1:{port}", answers, ["/order", "/time"])
    assert tap.run(WAIT_S, lambda: len(answers) == 2)
    assert answers == [b"/order", b"/time"] and answered == [("/order", b"/order"), ("/time", b"/time")]
    assert [(request.method, request.path, request.body) for request in heard] == [
        ("POST", "/order", b"{}"),
        ("POST", "/time", b"{}"),
    ]
    assert before_ns < heard[0].at_ns < heard[1].at_ns < time.monotonic_ns()
    held = True
    asked(f"http://127.0.0.1:{port}", answers, ["/order"])
    assert tap.run(WAIT_S, lambda: len(answered) == 3)
    assert len(answers) == 2


def frames(sock: socket.socket, count: int, tap: Tap) -> list[bytes]:
    """Texts that a client reads meanwhile."""
    found: list[bytes] = []
    buffer = FrameBuffer(1 << 20)
    tap.serve(sock, lambda: found.extend(text for opcode, text in buffer.feed(sock.recv(65536)) if opcode == TEXT))
    assert tap.run(WAIT_S, lambda: len(found) == count)
    return found


def opened(url: str, found: list[socket.socket]) -> None:
    threading.Thread(target=lambda: found.append(open_stream(url)), daemon=True).start()


def test_a_stream_of_ours_is_relayed_with_each_text_seen_on_the_way(tap: Tap) -> None:
    streams: list[Stream] = []
    seen: list[bytes] = []
    venue = tap.listen(lambda sock: streams.append(Stream(tap, sock)))
    port = tap.listen(lambda sock: keep(Relay(tap, sock, f"ws://127.0.0.1:{venue}/ws", seen.append)))
    found: list[socket.socket] = []
    opened(f"ws://127.0.0.1:{port}/ws", found)
    assert tap.run(WAIT_S, lambda: found)
    assert streams[0].send(b"one") < streams[0].send(b"2" * 300) < time.monotonic_ns()
    assert frames(found[0], 2, tap) == [b"one", b"2" * 300] == seen


def keep(_: object) -> None:
    """It lives by what the tap serves."""
