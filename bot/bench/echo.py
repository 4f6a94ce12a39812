"""The least that any program can take: a ready request is written when anything comes. `python -m bot.bench.echo WS_URL REST_URL`"""

from __future__ import annotations

import socket
import sys
from urllib.parse import urlsplit

from bot.bench.listener import open_stream

READ_BYTES = 1 << 16
BODY = b"x" * 880  # of a signed order
HEAD = (
    "POST /order HTTP/1.1\r\nHost: {host}\r\nUser-Agent: echo\r\nAccept: */*\r\n"
    "POLY_ADDRESS: {x:x<42}\r\nPOLY_SIGNATURE: {x:x<44}\r\nPOLY_TIMESTAMP: {x:x<10}\r\nPOLY_API_KEY: {x:x<36}\r\n"
    "POLY_PASSPHRASE: {x:x<64}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
)


def main(ws_url: str, rest_url: str) -> None:
    parts = urlsplit(rest_url)
    venue = socket.create_connection((parts.hostname or "", parts.port or 80))
    venue.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = HEAD.format(host=parts.netloc, x="", size=len(BODY)).encode() + BODY
    stream = open_stream(ws_url)
    stream.settimeout(None)
    while stream.recv(READ_BYTES):
        venue.sendall(request)
        venue.recv(READ_BYTES)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
