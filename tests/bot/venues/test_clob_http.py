"""The warm connection against a loopback server that misbehaves on demand."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

import bot.venues.clob_http as module
from bot.venues import polymarket_markets
from bot.venues.clob_answer import Reply
from bot.venues.clob_calls import Calls
from bot.venues.clob_http import Connection, RequestFailed
from bot.venues.polymarket_markets import JsonReader

Script = Callable[[socket.socket, bytes], None]


def answer(body: bytes = b"{}", status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


class LoopbackServer:
    """Accepts connections; each request read whole is handed to the next script (the last one repeats)."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.scripts: list[Script] = [lambda sock, _: sock.sendall(answer())]
        self.requests: list[bytes] = []
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            while request := self._read(sock):
                self.requests.append(request)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                script(sock, request)
        except OSError:
            return

    @staticmethod
    def _read(sock: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        parts, have = [rest], len(rest)
        while have < length:
            parts.append(sock.recv(65536))
            have += len(parts[-1])
        return head + b"\r\n\r\n" + b"".join(parts)

    def hang_up(self) -> None:
        for sock in self._open:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._open.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # close alone leaves the waiting accept in place
        self._listener.close()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    made = LoopbackServer()
    yield made
    with contextlib.suppress(OSError):
        made.close()


def quiet(release: threading.Event) -> Script:
    def script(sock: socket.socket, _: bytes) -> None:
        release.wait(10)

    return script


def trickle(sock: socket.socket, _: bytes) -> None:
    """A head without end, one byte at a time: every single read succeeds."""
    while True:
        sock.sendall(b"X")
        threading.Event().wait(0.02)


def ready(connection: Connection) -> Connection:
    """To connect is not what the test's deadline is about."""
    connection.ready()
    return connection


def test_one_connection_carries_many_requests_each_in_one_piece(server: LoopbackServer) -> None:
    connection = Connection(server.url)
    seen: list[str] = []
    for _ in range(3):
        reply = connection.request(
            "POST", "/order", headers="POLY_ADDRESS: 0x1\r\n", body=b'{"a":1}', written=lambda: seen.append("written")
        )
        assert (reply.status, reply.body) == (200, b"{}")
    assert (server.accepted, connection.connects, len(seen)) == (1, 1, 3)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /order HTTP/1.1"
    assert {"POLY_ADDRESS: 0x1", "Content-Length: 7", "Content-Type: application/json"} <= set(lines)
    assert any(line.startswith("User-Agent: clobmaker") for line in lines)
    assert body == b'{"a":1}'


def test_a_path_in_the_address_is_kept_and_a_bodyless_delete_has_no_length(server: LoopbackServer) -> None:
    Connection(server.url + "/clob/").request("DELETE", "/cancel-all")
    assert server.requests[0].startswith(b"DELETE /clob/cancel-all HTTP/1.1\r\n")
    assert b"Content-Length" not in server.requests[0]


def test_chunked_answers_and_headers_are_read(server: LoopbackServer) -> None:
    server.scripts = [
        lambda sock, _: sock.sendall(
            b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
    ]
    reply = Connection(server.url).request("GET", "/x")
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (429, b"abc", "7")


def test_a_silent_peer_is_given_up_at_the_deadline(server: LoopbackServer) -> None:
    release = threading.Event()
    server.scripts = [quiet(release)]
    connection = ready(Connection(server.url, deadline_s=0.15))
    began = time.monotonic()
    with pytest.raises(RequestFailed) as failure:
        connection.request("POST", "/order", body=b"{}")
    release.set()
    assert failure.value.sent
    assert time.monotonic() - began < 1.0


def test_a_trickling_peer_cannot_stretch_the_deadline(server: LoopbackServer) -> None:
    server.scripts = [trickle]
    connection = ready(Connection(server.url, deadline_s=0.2))
    began = time.monotonic()
    with pytest.raises(RequestFailed) as failure:
        connection.request("GET", "/x")
    assert failure.value.sent
    assert time.monotonic() - began < 1.0


def test_an_idle_connection_that_died_is_replaced_before_use(server: LoopbackServer) -> None:
    connection = Connection(server.url)
    connection.request("GET", "/time")
    server.hang_up()
    for _ in range(200):  # the end of the stream crosses loopback in microseconds
        if server.accepted == 1 and not _probe(connection):
            break
    assert connection.request("POST", "/order", body=b"{}").status == 200
    assert connection.connects == 2
    assert len(server.requests) == 2  # nothing was sent twice


def _probe(connection: Connection) -> bool:
    from bot.venues.clob_http import _is_alive

    return connection._sock is not None and _is_alive(connection._sock)


def test_a_connection_is_looked_at_once_before_each_request(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[socket.socket] = []
    look = module._is_alive
    monkeypatch.setattr(module, "_is_alive", lambda sock: looks.append(sock) or look(sock))
    now_ns = 10**9
    connection = Connection(server.url, clock=lambda: now_ns)
    connection.ready()
    for _ in range(2):
        connection.ready()
        connection.request("POST", "/order", body=b"{}")
    assert len(looks) == 2
    connection.request("POST", "/order", body=b"{}")
    assert len(looks) == 3
    connection.ready()
    now_ns += round(2 * module.FRESH_S * 1e9)
    connection.request("POST", "/order", body=b"{}")
    assert len(looks) == 5 and len(server.requests) == 4


def test_a_connection_cut_after_the_request_left_is_not_tried_again(server: LoopbackServer) -> None:
    server.scripts = [lambda sock, _: sock.close()]
    with pytest.raises(RequestFailed) as failure:
        Connection(server.url).request("POST", "/order", body=b"{}")
    assert failure.value.sent
    assert len(server.requests) == 1


@pytest.mark.parametrize("garbage", [b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"])
def test_an_unreadable_answer_counts_as_sent_without_answer(server: LoopbackServer, garbage: bytes) -> None:
    def script(sock: socket.socket, _: bytes) -> None:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)

    server.scripts = [script]
    with pytest.raises(RequestFailed) as failure:
        Connection(server.url, deadline_s=0.5).request("GET", "/x")
    assert failure.value.sent


def test_nothing_listening_proves_that_nothing_was_sent(server: LoopbackServer) -> None:
    server.close()
    with pytest.raises(RequestFailed) as failure:
        Connection(server.url).request("POST", "/order", body=b"{}")
    assert not failure.value.sent


def test_no_time_left_proves_that_nothing_was_sent(server: LoopbackServer) -> None:
    connection = Connection(server.url)
    connection.ready()
    with pytest.raises(RequestFailed) as failure:
        connection.request("POST", "/order", body=b"{}", until=time.monotonic() - 1)
    assert not failure.value.sent
    assert server.requests == []


def test_a_peer_that_wants_to_close_gets_a_new_connection(server: LoopbackServer) -> None:
    server.scripts = [lambda sock, _: sock.sendall(answer(extra="Connection: close\r\n"))]
    connection = Connection(server.url)
    connection.request("GET", "/x")
    connection.request("GET", "/x")
    assert connection.connects == 2


def test_a_name_is_resolved_and_remembered(server: LoopbackServer) -> None:
    connection = Connection(server.url.replace("127.0.0.1", "localhost"))
    assert connection.request("GET", "/x").status == 200


# -- TLS, and what does not go through in one piece ---------------------------------------------------------------------


class Secure:
    """A server with a certificate, and what a client needs to believe it."""

    def __init__(self) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.server = LoopbackServer(context)
        self.believes = ssl.create_default_context()
        authority.configure_trust(self.believes)


@pytest.fixture
def secure() -> Iterator[Secure]:
    made = Secure()
    yield made
    made.server.close()


def piecemeal(url: str) -> str:
    """The address of a relay to that server whose bytes come back one by one."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme, _, port = url.rpartition(":")

    def back(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                for byte in data:
                    client.sendall(bytes([byte]))
        client.close()

    def serve() -> None:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.create_connection(("127.0.0.1", int(port)))
        threading.Thread(target=back, args=(server, client), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        server.close()
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"{scheme}:{listener.getsockname()[1]}"


def test_a_secure_connection_is_kept_and_seen_to_end(secure: Secure) -> None:
    server = secure.server
    connection = Connection(server.url, context=secure.believes)
    now_ns = time.monotonic_ns()
    connection._clock = lambda: now_ns
    for _ in range(3):  # the tickets that TLS sends after the first answer are no answer of their own
        assert connection.request("POST", "/order", body=b'{"a":1}').body == b"{}"
        now_ns += 10**9
    assert (connection.connects, server.accepted) == (1, 1)
    server.scripts = [lambda sock, _: sock.close()]
    with pytest.raises(RequestFailed):
        connection.request("POST", "/order", body=b"{}")
    server.scripts = [lambda sock, _: sock.sendall(answer())]
    assert connection.request("GET", "/x").status == 200
    assert (connection.connects, len(server.requests)) == (2, 5)


def test_a_peer_nobody_vouches_for_gets_nothing(secure: Secure) -> None:
    with pytest.raises(RequestFailed, match="certificate") as failure:
        Connection(secure.server.url).request("POST", "/order", body=b"{}")
    assert not failure.value.sent and secure.server.requests == []


def test_a_silent_secure_peer_is_given_up_at_the_deadline(secure: Secure) -> None:
    release = threading.Event()
    secure.server.scripts = [quiet(release)]
    connection = ready(Connection(secure.server.url, context=secure.believes, deadline_s=0.3))
    with pytest.raises(RequestFailed, match="timed out") as failure:
        connection.request("POST", "/order", body=b"{}")
    release.set()
    assert failure.value.sent


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_does_not_go_through_in_one_piece_goes_through_whole(tls: bool, secure: Secure) -> None:
    server = secure.server if tls else LoopbackServer()
    large = bytes(range(256)) * 20_000  # five megabytes: beyond what a socket holds, and hundreds of TLS records
    server.scripts = [lambda sock, request: sock.sendall(answer(request.partition(b"\r\n\r\n")[2]))]
    connection = Connection(server.url, context=secure.believes)
    assert connection.request("POST", "/echo", body=large).body == large
    assert connection.request("POST", "/echo", body=b"small").body == b"small"
    assert server.accepted == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_answer_that_comes_byte_by_byte_is_read_whole(tls: bool, secure: Secure) -> None:
    server = secure.server if tls else LoopbackServer()
    connection = Connection(piecemeal(server.url), context=secure.believes)
    assert connection.request("POST", "/order", body=b"{}").body == b"{}"
    assert connection.request("POST", "/order", body=b"{}").body == b"{}"
    assert server.accepted == 1
    connection.close()


def test_a_peer_that_does_not_read_is_given_up_at_the_deadline(server: LoopbackServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection = ready(Connection(f"http://127.0.0.1:{deaf.getsockname()[1]}", deadline_s=0.5))
        with pytest.raises(RequestFailed, match="timed out") as failure:
            connection.request("POST", "/order", body=bytes(16_000_000))  # more than both buffers hold
    assert failure.value.sent


@pytest.mark.parametrize("url", ["ftp://host", "localhost:80", "http://"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        Connection(url)


# -- public JSON over it ---------------------------------------------------------------------------------------------


def test_public_json_is_read_with_its_query_over_one_connection(server: LoopbackServer) -> None:
    server.scripts = [lambda sock, _: sock.sendall(answer(b'[{"a": 1}]'))]
    reader = JsonReader()
    assert reader.get(f"{server.url}/events", {"slug": "btc-updown 5m", "next": "MA=="}) == (200, [{"a": 1}])
    assert reader.get(f"{server.url}/time")[0] == 200
    assert server.requests[0].startswith(b"GET /events?slug=btc-updown%205m&next=MA%3D%3D HTTP/1.1\r\n")
    assert server.accepted == 1
    reader.close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff"])
def test_what_is_no_json_is_no_answer(server: LoopbackServer, body: bytes) -> None:
    server.scripts = [lambda sock, _: sock.sendall(answer(body))]
    assert JsonReader().get(f"{server.url}/events") == (0, None)


def test_a_resolver_that_is_cut_off_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up of a name has no deadline: four hangs of the reads gateway in ten minutes would halt the bot."""
    release = threading.Event()

    def look_up(host: str, port: int, **how: object) -> list[object]:
        if how.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror("a name")
        release.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(polymarket_markets, "READ_S_MAX", 0.1)
    assert JsonReader().get("https://gamma.example/events") == (0, None)
    assert not release.is_set()
    release.set()


class Deadlines:
    """Only remembers how long it is given."""

    used_s = 0.0

    def __init__(self) -> None:
        self.untils: list[float | None] = []

    def ready(self, until: float | None = None) -> None:
        self.untils.append(until)

    def request(self, method: str, path: str, *, until: float | None = None, **_: object) -> Reply:
        self.untils.append(until)
        return Reply(200, {}, b"1")

    def close(self) -> None: ...


def test_getting_ready_is_short_and_keeping_warm_has_one_deadline_for_all() -> None:
    http = Deadlines()
    calls = Calls(http, lambda *_: {}, clock=lambda: 10_000_000_000)
    calls.ready()
    calls.warm()
    assert http.untils == [10.4, 11.0, 11.0]
