"""Answers out of bytes, however they are cut; held against the standard library's reader."""

from __future__ import annotations

import http.client
import io
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.venues.clob_answer import LINE_MAX, SIZE_MAX, Reply, read_answer

OK = b"HTTP/1.1 200 OK\r\n"


def in_pieces(data: bytes, *cuts: int) -> Callable[[], bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges) if end > start]
    return lambda: pieces.pop(0) if pieces else b""


def read(data: bytes, *cuts: int) -> tuple[int, bytes, bool]:
    reply, keep = read_answer(in_pieces(data, *cuts))
    return reply.status, reply.body, keep


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (OK + b"Content-Length: 2\r\n\r\n{}", (200, b"{}", True)),
        (OK + b"content-length:0\r\n\r\n", (200, b"", True)),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n",
            (200, b"abcde", True),
        ),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", (204, b"", True)),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", (200, b"x", True)),
        (b"HTTP/1.1 502 Bad Gateway\nContent-Length: 1\n\nx", (502, b"x", True)),
        (b"HTTP/1.1 429\r\nContent-Length: 0\r\n\r\n", (429, b"", True)),
        (OK + b"Content-Length: 1\r\nConnection: Close\r\n\r\nx", (200, b"x", False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", (200, b"x", False)),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", (200, b"x", True)),
        (OK + b"\r\nuntil it closes", (200, b"until it closes", False)),
        (OK + b"Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK", (200, b"x", False)),  # of whom is what follows?
    ],
)
def test_every_kind_of_answer_is_read_whichever_way_it_is_cut(data: bytes, answer: tuple[int, bytes, bool]) -> None:
    assert read(data) == answer
    if answer[2]:
        assert read(data, *range(len(data))) == answer
        assert all(read(data, cut) == answer for cut in range(len(data)))


def test_header_names_are_lower_case_and_a_name_that_comes_twice_keeps_both() -> None:
    reply, _ = read_answer(in_pieces(OK + b"X-A:  1 \r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"))
    assert reply.headers == {"x-a": "1, 2", "content-length": "0"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"not http at all\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        OK,
        OK + b"no colon\r\n\r\n",
        OK + b": no name\r\n\r\n",
        OK + b"Content-Length: 9\r\n\r\nshort",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1_0\r\n\r\n" + bytes(10),
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: %d\r\n\r\n" % (SIZE_MAX + 1),
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        OK + b"X: " + b"x" * (LINE_MAX + 1),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(data)


def test_an_answer_without_end_is_refused_at_its_cap() -> None:
    for head in (b"\r\n", b"Transfer-Encoding: chunked\r\n\r\nFFFFFF\r\n"):
        pieces = iter([OK + head])
        with pytest.raises(ValueError, match="too large"):
            read_answer(lambda pieces=pieces: next(pieces, b"x" * 65536))  # type: ignore[misc]


class Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def stock(data: bytes) -> Reply:
    response = http.client.HTTPResponse(Socket(data), method="POST")  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


NAMES = st.text("abcdefXYZ-", min_size=1, max_size=8).map(lambda name: f"x-{name}")
VALUES = st.text("abc XYZ019;=/\"'", max_size=20)


@given(
    status=st.sampled_from([200, 201, 400, 425, 429, 503]),
    headers=st.dictionaries(NAMES.map(str.lower), VALUES, max_size=5),
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
)
def test_what_the_standard_library_reads_is_read_the_same(
    status: int, headers: dict[str, str], chunks: list[bytes], chunked: bool, cuts: list[int]
) -> None:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    body = b"".join(chunks)
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    if chunked:
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    data = f"HTTP/1.1 {status} Word\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body
    theirs = stock(data)
    ours, keep = read_answer(in_pieces(data, *cuts))
    assert (ours.status, ours.body, keep) == (theirs.status, theirs.body, True)
    assert ours.headers == {name: value.strip() for name, value in theirs.headers.items()}


@given(st.binary(max_size=200), st.sampled_from([b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"]))
def test_no_bytes_raise_anything_else(data: bytes, head: bytes) -> None:
    try:
        read(head + data)
    except ValueError:
        return


def test_what_is_wrong_is_said_in_a_few_words() -> None:
    with pytest.raises(ValueError) as refused:
        read(OK + b"Transfer-Encoding: " + b"x" * 5000 + b"\r\n\r\n")
    assert len(str(refused.value)) < 200
