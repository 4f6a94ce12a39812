"""What a frame of the market stream costs, from the socket to the book: processor time of this process for each frame."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import websocket

from bot.bench.figures import ROUNDS, BenchError, Figures, against, medians
from bot.caches import Caches
from bot.market import Market, Rule
from bot.messages import MarketListed, Message
from bot.venues.conversation import Conversation
from bot.venues.polymarket_book import MarketFeed
from bot.venues.websocket import Reader

UP, DOWN = "7" * 77, "8" * 77
BURST = 32
BURSTS_PER_S = 10_000 / BURST
FRAMES = 12_800  # of a round
STOCK_FRAMES = 1_600
DECODED = 4_000  # frames of a round without a socket
PASSES = 6  # of ours over them while the peer makes one, so that both see as much of the machine's moods
BOOKS = 200
LEVELS = 140  # of a side; a book of 10 kB
CPU = {"cpu_us": False}
NAUTILUS = "NAUTILUS_PYTHON"  # names the interpreter of an environment that has nautilus_trader


def run() -> Figures:
    with contextlib.ExitStack() as stack:
        python = os.environ.get(NAUTILUS)
        nautilus = stack.enter_context(Nautilus(python)) if python else None
        rounds = [_round(nautilus) for _ in range(ROUNDS)]
    ours, stock, theirs = (medians(figures) for figures in zip(*rounds, strict=True))
    peers = {"websocket_client_default": against(ours, stock, CPU)}
    if nautilus is not None:
        peers["nautilus"] = against(ours, theirs, {"decode_cpu_us": False})
    return {"unit": "us", "n": ROUNDS * FRAMES, **ours, "against": peers}


def _round(nautilus: Nautilus | None) -> tuple[Figures, Figures, Figures]:
    """Ours, stock and nautilus_trader's, close together: a machine may be slow for a while."""
    ours, stock = _over_socket(_read, FRAMES), _over_socket(_read_stock, STOCK_FRAMES)
    decoded, theirs = _decoded(nautilus)
    return {**ours, **decoded}, stock, theirs


# -- frames ----------------------------------------------------------------------------------------------------------


def market() -> Market:
    return Market(
        symbol="0x" + "a" * 64,
        slug="bench",
        series="btc-updown-5m",
        asset="btc",
        up_token=UP,
        down_token=DOWN,
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_utc_ns=0,
        end_utc_ns=2**62,
        tick=10,
        min_qty=5_000_000,
        fee_rate=0.0,
    )


def book_frame(token: str, seed: int) -> bytes:
    """A whole book of one token, as the venue sends it."""
    rng = random.Random(seed)
    up = token == UP

    def side(first: int, step: int) -> list[dict[str, str]]:
        rows = [(first + step * n, rng.randrange(100, 1_000_000)) for n in range(LEVELS)]
        return [{"price": _px(px if up else 1000 - px), "size": f"{size / 100:.2f}"} for px, size in rows]

    bids, asks = side(500, -1), side(501, 1)
    if not up:
        bids, asks = asks, bids
    event = {
        "event_type": "book", "market": market().symbol, "asset_id": token, "timestamp": "1793750400123",
        "hash": "0" * 40, "bids": bids[::-1], "asks": asks[::-1], "tick_size": "0.001", "last_trade_price": "0.500",
    }  # fmt: skip
    return orjson.dumps(event)


def change_frames(count: int, seed: int) -> list[bytes]:
    """Changes near the touch; each is told for both tokens, as the venue does. One in eight moves the top."""
    rng = random.Random(seed)
    frames = []
    for _ in range(count):
        bid = rng.random() < 0.5
        away = 0 if rng.random() < 0.125 else rng.randrange(1, 12)
        px = 500 - away if bid else 501 + away
        size = f"{rng.randrange(100, 100_000) / 100:.2f}"
        rows = [
            {
                "asset_id": token, "price": _px(px if token == UP else 1000 - px), "size": size,
                "side": "BUY" if bid == (token == UP) else "SELL", "hash": f"{rng.getrandbits(160):040x}",
                "best_bid": "0.500" if token == UP else "0.499", "best_ask": "0.501" if token == UP else "0.500",
            }
            for token in (UP, DOWN)
        ]  # fmt: skip
        event = {"market": market().symbol, "price_changes": rows, "timestamp": "1793750400123", "event_type": "price_change"}  # fmt: skip
        frames.append(orjson.dumps(event))
    return frames


def _px(thousandths: int) -> str:
    return f"{thousandths / 1000:.3f}"


def feed() -> MarketFeed:
    """One that follows the market and has its books."""
    made = MarketFeed(url="", caches=Caches(), clock=time.monotonic_ns, utc=lambda now_ns: 0)
    made.command(MarketListed(market=market()))
    for token in (UP, DOWN):
        made.decode(book_frame(token, 0), time.monotonic_ns())
    made.settle(time.monotonic_ns())
    return made


# -- without a socket ------------------------------------------------------------------------------------------------


def _decoded(nautilus: Nautilus | None) -> tuple[Figures, Figures]:
    """Decoding and books alone, ours and the peer's in turn; each frame some times."""
    made = feed()
    changes, books = change_frames(DECODED, 1), [book_frame(UP, seed) for seed in range(BOOKS)]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append({"decode_cpu_us": _each(made, changes * PASSES), "book_cpu_us": _each(made, books)})
        theirs.append({"decode_cpu_us": nautilus.each()} if nautilus is not None else {})
    return medians(ours), medians(theirs)


def _each(made: MarketFeed, frames: list[bytes]) -> float:
    now_ns = time.monotonic_ns()
    began_ns = time.thread_time_ns()
    for count, frame in enumerate(frames, 1):
        made.decode(frame, now_ns)
        if count % BURST == 0:
            made.settle(now_ns)
    return (time.thread_time_ns() - began_ns) / len(frames) / 1000


# -- over a socket ---------------------------------------------------------------------------------------------------


def _over_socket(read: Callable[[str, MarketFeed, threading.Event, int], None], count: int) -> Figures:
    """A process of its own sends; the processor time is of all threads here while the frames come."""
    with contextlib.ExitStack() as stack:
        sender = subprocess.Popen(
            [sys.executable, "-m", "bot.bench.feed", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(sender.wait)
        stack.callback(sender.kill)
        assert sender.stdout is not None
        assert sender.stdin is not None
        url = sender.stdout.readline().strip()
        done, made = threading.Event(), feed()
        reader = threading.Thread(target=read, args=(url, made, done, count), daemon=True)
        reader.start()
        sender.stdout.readline()  # connected
        began_ns, began_s = time.process_time_ns(), time.monotonic()
        sender.stdin.write("go\n")
        sender.stdin.flush()
        if not done.wait(30.0):
            raise BenchError("the frames did not come")
        cpu_us = (time.process_time_ns() - began_ns) / count / 1000
        per_s = count / (time.monotonic() - began_s)
    reader.join()
    return {"cpu_us": cpu_us, "per_s": per_s}


class _Counted(Conversation):
    """Has frames decoded by a feed, and says when the last one was."""

    name = "bench"
    gives_way = MarketFeed.gives_way

    def __init__(self, url: str, made: MarketFeed, done: threading.Event, count: int) -> None:
        super().__init__()
        self._url = url
        self._made = made
        self._done = done
        self._left = count

    def url(self) -> str:
        return self._url

    def opening(self) -> list[str]:
        return ["{}"]

    def decode(self, frame: bytes, now_ns: int) -> list[Message]:
        told = self._made.decode(frame, now_ns)
        self._left -= 1
        if not self._left:
            self._done.set()
        return told

    def settle(self, now_ns: int) -> list[Message]:
        return self._made.settle(now_ns)


def _read(url: str, made: MarketFeed, done: threading.Event, count: int) -> None:
    """As the bot does."""
    reader = Reader(_Counted(url, made, done, count), lambda messages: None)
    reader.start()
    done.wait(30.0)
    reader.stop()


def _read_stock(url: str, made: MarketFeed, done: threading.Event, count: int) -> None:
    """As websocket-client's own examples do, with the same decoder."""
    counted = _Counted(url, made, done, count)

    def on_message(_: Any, frame: str) -> None:
        counted.decode(frame.encode(), time.monotonic_ns())

    websocket.WebSocketApp(url, on_open=lambda ws: ws.send("{}"), on_message=on_message).run_forever()


def send(count: int) -> None:
    """The other process: one client, and what it is sent on a word on standard input: bursts at a steady rate."""
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"ws://127.0.0.1:{listener.getsockname()[1]}/ws\n")
    sys.stdout.flush()
    sock, _ = listener.accept()
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(
        hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    )
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )  # fmt: skip
    sock.recv(4096)  # what it subscribes to
    frames = [b"\x81\x7e" + len(frame).to_bytes(2, "big") + frame for frame in change_frames(count, 2)]
    bursts = [b"".join(frames[at : at + BURST]) for at in range(0, count, BURST)]
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    sys.stdin.readline()
    due_s = time.monotonic()
    for burst in bursts:
        sock.sendall(burst)
        due_s += 1 / BURSTS_PER_S
        time.sleep(max(0.0, due_s - time.monotonic()))
    sys.stdin.readline()


# -- nautilus_trader -------------------------------------------------------------------------------------------------


class Nautilus:
    """The same frames through its Polymarket adapter, by the interpreter of an environment that has it: decoding and books,
    no socket. A context."""

    def __init__(self, python: str) -> None:
        frames = [book_frame(UP, 0), book_frame(DOWN, 0), *change_frames(DECODED, 1)]
        command = [python, str(Path(__file__).with_name("nautilus.py"))]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise BenchError(f"{NAUTILUS} should name a Python interpreter: {error}") from None
        self._ask(b"\n".join([b"%d" % len(frames), *frames]))  # the first answer is of code that never ran

    def __enter__(self) -> Nautilus:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def each(self) -> float:
        """Processor microseconds for each change."""
        return float(self._ask(b"again"))

    def _ask(self, line: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            raise BenchError(f"the interpreter that {NAUTILUS} names cannot run nautilus_trader's Polymarket adapter")
        return answer


if __name__ == "__main__":
    send(int(sys.argv[1]))
