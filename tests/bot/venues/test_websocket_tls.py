"""The Reader over TLS, as every real venue is spoken to: what was decrypted already, and records that come in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from reader_desk import PING, PONG, TEXT, Desk, Talk, Venue, start
from test_clob_http import piecemeal

from bot.messages import FeedStatus, Nudge


class Front:
    """Speaks TLS to the outside, and plain bytes with a server behind it."""

    def __init__(self, behind: str, context: ssl.SSLContext) -> None:
        self._port = int(behind.rpartition(":")[2].partition("/")[0])
        self._context = context
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._up.wait(5)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context) as server:
            self.url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._up.set()
            await self._over.wait()

    async def _serve(self, near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        far, into = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_pump(near, into), _pump(far, out))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(5)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 20):
            sink.write(data)
            await sink.drain()
    sink.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def front(venue: Venue, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(tmp_path / "authority.pem"))
    front = Front(venue.url, context)
    yield front
    front.close()


def test_a_burst_of_many_records_is_taken_whole(venue: Venue, front: Front, desks: list[Desk]) -> None:
    desk = start(desks, Talk(front.url))
    session = venue.session()
    assert session.next() == (TEXT, b"hello")
    assert isinstance(desk.next(), FeedStatus)
    for number in range(20):  # each larger than a TLS record, together many times what one read takes
        session.send(str(number).encode().rjust(60_000))
    assert [desk.next() for _ in range(20)] == [Nudge(cause_ns=number) for number in range(20)]
    session.send(b"7", PING)
    assert session.next() == (PONG, b"7")
    desk.reader.send(["more"])
    assert session.next() == (TEXT, b"more")
    assert desk.reader.reconnects == 0


def test_frames_that_come_in_one_record_with_the_handshake_are_not_left_lying(
    venue: Venue, front: Front, desks: list[Desk]
) -> None:
    venue.greeting = b"\x81\x015\x81\x016"
    desk = start(desks, Talk(front.url, opening=[]))  # which asks for nothing that would stir the socket
    assert isinstance(desk.next(), FeedStatus)
    assert [desk.next(), desk.next()] == [Nudge(cause_ns=5), Nudge(cause_ns=6)]


def test_records_that_come_byte_by_byte_are_waited_for(venue: Venue, front: Front, desks: list[Desk]) -> None:
    desk = start(desks, Talk(piecemeal(front.url)))
    session = venue.session()
    assert session.next() == (TEXT, b"hello")
    for number in range(5):
        session.send(str(number).encode().rjust(100))
    assert isinstance(desk.next(), FeedStatus)
    assert [desk.next() for _ in range(5)] == [Nudge(cause_ns=number) for number in range(5)]


def test_the_end_of_a_secure_stream_is_seen_and_another_made(venue: Venue, front: Front, desks: list[Desk]) -> None:
    desk = start(desks, Talk(front.url))
    session = venue.session()
    session.next()
    session.reset()
    assert desk.reason()
    assert venue.session().next() == (TEXT, b"hello")


def test_a_stream_nobody_vouches_for_is_refused(
    venue: Venue, front: Front, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBSOCKET_CLIENT_CA_BUNDLE")
    desk = Desk(Talk(front.url))
    link = desk.reader._connect(front.url)
    assert link is None and "certificate" in desk.reader.reason.lower()
    desk.reader._end()
