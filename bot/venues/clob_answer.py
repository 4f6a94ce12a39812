"""One HTTP/1.1 answer out of bytes as they come. Knows no socket; raises ValueError for what is no such answer.

The standard library's reader parses headers with the mail package: four times our time on a short answer, and 2 MB of the
guardian's 20.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIZE_MAX = 16 * 1024 * 1024
LINE_MAX = 65_536
NO_BODY = (204, 304)


class Reply:
    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers  # names in lower case; of a name that came twice, both values
        self.body = body


class _Bytes:
    """What was received and not yet read."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._data = b""
        self._size = 0

    def more(self) -> bool:
        """False: the peer has closed."""
        received = self._receive()
        self._size += len(received)
        if self._size > SIZE_MAX:
            raise ValueError("the answer is too large")
        self._data += received
        return bool(received)

    def line(self) -> bytes:
        while (end := self._data.find(b"\n")) < 0:
            if len(self._data) > LINE_MAX:
                raise ValueError("a line without end")
            if not self.more():
                raise ValueError("closed within a line")
        line, self._data = self._data[:end], self._data[end + 1 :]
        return line.removesuffix(b"\r")

    def exactly(self, count: int) -> bytes:
        if count > SIZE_MAX:
            raise ValueError("the answer is too large")
        parts = [self._data]  # joined once: a large body comes in many pieces
        have = len(self._data)
        while have < count:
            self._data = b""
            if not self.more():
                raise ValueError("closed within the body")
            parts.append(self._data)
            have += len(self._data)
        whole = b"".join(parts)
        self._data = whole[count:]
        return whole[:count]

    def rest(self) -> bytes:
        while self.more():
            pass
        rest, self._data = self._data, b""
        return rest

    @property
    def empty(self) -> bool:
        return not self._data


def read_answer(receive: Callable[[], bytes]) -> tuple[Reply, bool]:
    """The answer, and whether another may follow it on this connection. `receive` gives what came next; nothing: closed.

    Raises ValueError, and whatever `receive` raises.
    """
    source = _Bytes(receive)
    status, keep = 0, True
    while status < 200:  # what comes before is no answer yet
        keep, status = _status(source.line())
        headers = _headers(source)
    connection = headers.get("connection", "").lower()
    keep = "keep-alive" in connection if not keep else "close" not in connection
    if status in NO_BODY:
        body = b""
    elif (coding := headers.get("transfer-encoding")) is not None:
        if coding.lower() != "chunked":
            raise ValueError(f"transfer-encoding {coding[:80]!r}")
        body = _chunks(source)
    elif (length := headers.get("content-length")) is not None:
        body = source.exactly(_number(length.encode(), 10))
    else:
        body, keep = source.rest(), False
    return Reply(status, headers, body), keep and source.empty


def _status(line: bytes) -> tuple[bool, int]:
    """Whether the version keeps connections, and the status."""
    version, _, rest = line.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit() or rest[3:4] not in (b"", b" "):
        raise ValueError(f"no status line: {line[:80]!r}")
    return version == b"HTTP/1.1", int(rest[:3])


def _headers(source: _Bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := source.line():
        name, colon, value = line.partition(b":")
        if not colon or not name.strip():
            raise ValueError(f"no header: {line[:80]!r}")
        key, text = name.strip().lower().decode("latin-1"), value.strip().decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _chunks(source: _Bytes) -> bytes:
    parts: list[bytes] = []
    while size := _number(source.line().partition(b";")[0].strip(), 16):
        parts.append(source.exactly(size))
        if source.line():
            raise ValueError("a chunk longer than it said")
    _headers(source)  # trailers
    return b"".join(parts)


def _number(text: bytes, base: int) -> int:
    """Digits only: int() would take signs, blanks and underscores."""
    if not text or not all(byte in b"0123456789abcdefABCDEF"[: 10 if base == 10 else 22] for byte in text):
        raise ValueError(f"no length: {text[:80]!r}")
    return int(text, base)
