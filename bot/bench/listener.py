"""Subscribers of a venue's market stream on plain sockets, in a process of their own: they count, and one of them checks.

`python -m bot.bench.listener URL COUNT CHECK_EVERY` says "ready" once subscribed and follows new markets as they are
listed. On standard input a line "begin" starts the count anew, and "check" has every further hash checked; when it ends,
what came is printed as one JSON line.
"""

from __future__ import annotations

import base64
import hashlib
import os
import selectors
import socket
import statistics
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import orjson

from bot.venues.clob_http import Connection
from bot.venues.frames import CLOSE, FrameBuffer

READ_BYTES = 1 << 18
MESSAGE_MAX = 16 << 20
PING_S = 5.0
DRAIN_MS_MAX = 20_000
RECENT_MAX = 20_000  # verified hashes of a token that are remembered
NEW_MARKET = b'{"event_type":"new_market"'


class TokenMirror:
    """One token's book, built from its frames alone."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._fields = {key: value for key, value in event.items() if key != "event_type"}
        self.sides = {
            "BUY": {row["price"]: row["size"] for row in event["bids"]},
            "SELL": {row["price"]: row["size"] for row in event["asks"]},
        }

    def change(self, change: dict[str, str]) -> None:
        side = self.sides[change["side"]]
        if change["size"] == "0":
            side.pop(change["price"], None)
        else:
            side[change["price"]] = change["size"]

    def digest(self, timestamp: str) -> str:
        """The venue's hash of this book, best level last."""
        bids, asks = (
            [{"price": price, "size": size} for price, size in sorted(side.items(), key=_price, reverse=reverse)]
            for side, reverse in ((self.sides["BUY"], False), (self.sides["SELL"], True))
        )
        frame = {**self._fields, "timestamp": timestamp, "hash": "", "bids": bids, "asks": asks}
        return hashlib.sha1(orjson.dumps(frame), usedforsecurity=False).hexdigest()


def _price(row: tuple[str, str]) -> float:
    return float(row[0])


class Mirror:
    """The books of all tokens heard of; the hash of every n-th change, and of every book, is checked."""

    def __init__(self, check_every: int) -> None:
        self.check_every = check_every
        self._changes = 0
        self.tokens: dict[str, TokenMirror] = {}
        self.verified: dict[str, dict[str, None]] = {}  # hashes found right, newest last
        self.checked = 0
        self.wrong = 0

    def hear(self, payload: bytes) -> None:
        if payload[:1] not in (b"{", b"["):
            return  # PONG
        body = orjson.loads(payload)
        for event in body if isinstance(body, list) else [body]:
            kind = event["event_type"]
            if kind == "book":
                self.tokens[event["asset_id"]] = TokenMirror(event)
                self._check(event["asset_id"], event["timestamp"], event["hash"])
            elif kind == "price_change":
                self._change(event)
            elif kind == "tick_size_change" and event["asset_id"] in self.tokens:
                self.tokens[event["asset_id"]]._fields["tick_size"] = event["new_tick_size"]

    def _change(self, event: dict[str, Any]) -> None:
        last = {}
        for change in event["price_changes"]:
            token = self.tokens.get(change["asset_id"])
            if token is not None:
                token.change(change)
                last[change["asset_id"]] = change["hash"]
        self._changes += 1
        if self._changes % self.check_every == 0:
            for asset, told in last.items():
                self._check(asset, event["timestamp"], told)

    def _check(self, asset: str, timestamp: str, told: str) -> None:
        self.checked += 1
        if self.tokens[asset].digest(timestamp) != told:
            self.wrong += 1
            return
        verified = self.verified.setdefault(asset, {})
        verified[told] = None
        if len(verified) > RECENT_MAX:
            del verified[next(iter(verified))]


def open_stream(url: str) -> socket.socket:
    """A WebSocket's socket after the handshake."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=10.0)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError(f"{url} hung up")
        head += byte
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"no WebSocket at {url}: {head.splitlines()[0].decode()}")
    return sock


class Subscriber:
    """One connection: frames counted by second, and how old the newest one of each read was."""

    def __init__(self, url: str, assets: list[str], mirror: Mirror | None) -> None:
        self.sock = open_stream(url)
        self._buffer = FrameBuffer(MESSAGE_MAX)
        self._mirror = mirror
        self.ended = ""
        self.stamp_ms = 0
        self.begin()
        self.send(orjson.dumps({"assets_ids": assets, "type": "market", "custom_feature_enabled": True}))

    def begin(self) -> None:
        """Count from here."""
        self.frames = self.bytes = 0
        self.by_second: dict[int, int] = {}
        self.lags_ms: list[float] = []

    def send(self, text: bytes) -> None:
        size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
        self.sock.sendall(b"\x81" + size + bytes(4) + text)

    def read(self) -> None:
        chunk = self.sock.recv(READ_BYTES)
        if not chunk:
            self.ended = self.ended or "closed by the venue"
            return
        frames = self._buffer.feed(chunk)
        self.bytes += len(chunk)
        self.frames += len(frames)
        second = int(time.monotonic())
        self.by_second[second] = self.by_second.get(second, 0) + len(frames)
        for opcode, payload in frames:
            if opcode == CLOSE:
                self.ended = f"closed: {payload!r}"
            elif payload.startswith(NEW_MARKET):
                tokens = orjson.loads(payload)["clob_token_ids"]
                self.send(orjson.dumps({"operation": "subscribe", "assets_ids": tokens}))
            if self._mirror is not None and opcode == 1:
                self._mirror.hear(payload)
        stamp = chunk.rfind(b'"timestamp":"') + 13
        if 13 < stamp <= len(chunk) - 13:
            self.stamp_ms = int(chunk[stamp : stamp + 13])
            self.lags_ms.append(time.time() * 1000 - self.stamp_ms)

    def report(self) -> dict[str, Any]:
        whole = sorted(self.by_second)[1:-1]
        rates = [self.by_second[second] for second in whole] or [0]
        lags = sorted(self.lags_ms) or [0.0]
        return {
            "frames": self.frames,
            "bytes": self.bytes,
            "frames_per_s_median": statistics.median(rates),
            "frames_per_s_min": min(rates),
            "lag_ms_p50": round(lags[len(lags) // 2], 1),
            "lag_ms_p99": round(lags[int(len(lags) * 0.99)], 1),
            "lag_ms_max": round(lags[-1], 1),
            "ended": self.ended,
        }


def open_tokens(gamma_url: str) -> list[str]:
    """Both tokens of every market that a venue lists as open."""
    events = orjson.loads(Connection(gamma_url).request("GET", "/events?closed=false").body)
    return [token for event in events for market in event["markets"] for token in orjson.loads(market["clobTokenIds"])]


def main(url: str, count: int, check_every: int) -> None:
    info = orjson.loads(Connection(url).request("GET", "/control/info").body)
    mirror = Mirror(check_every) if check_every else None
    tokens = open_tokens(info["gamma_url"])
    clients = [Subscriber(info["market_ws_url"], tokens, None if n else mirror) for n in range(count)]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ping_s = time.monotonic() + PING_S
    cpu_s = time.process_time()
    end_ms = 0.0  # when standard input ended: what was sent until then is still read
    while not end_ms or (
        time.time() * 1000 < end_ms + DRAIN_MS_MAX and any(c.stamp_ms < end_ms for c in clients if not c.ended)
    ):
        for key, _ in selector.select(1.0):
            if key.data is None:
                told = os.read(sys.stdin.fileno(), 64)
                if not told:
                    end_ms = time.time() * 1000
                    selector.unregister(sys.stdin)
                for client in clients if b"begin" in told else ():
                    client.begin()
                if mirror is not None and b"check" in told:
                    mirror.check_every = 1
                continue
            key.data.read()
            if key.data.ended:
                selector.unregister(key.fileobj)
        if time.monotonic() >= ping_s:
            ping_s += PING_S
            for client in clients:
                if not client.ended:
                    client.send(b"PING")
    report: dict[str, Any] = {"subscribers": [client.report() for client in clients]}
    report["cpu_s"] = round(time.process_time() - cpu_s, 2)
    if mirror is not None:
        report |= {"hashes_checked": mirror.checked, "hashes_wrong": mirror.wrong}
        report["verified"] = {asset: list(hashes)[-RECENT_MAX:] for asset, hashes in mirror.verified.items()}
    sys.stdout.write(orjson.dumps(report).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
