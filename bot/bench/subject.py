"""The bot under measurement: a real `bot start` on an embedded venue, with a tap between the two.

Orders, cancels, the reference stream and the user stream pass the tap; books, settlement prices and metadata come from
the venue directly. The reference prices are the venue's own, moved by the tap when a quote shall be threatened.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

from bot.bench.figures import BenchError
from bot.bench.listener import open_stream
from bot.bench.tap import MESSAGE_MAX, READ_BYTES, Answerer, Relay, Request, Stream, Tap, Through
from bot.embedded import EmbeddedVenue
from bot.state import read_json
from bot.units import Ns
from bot.venues.clob_http import Connection
from bot.venues.frames import TEXT, FrameBuffer

SERIES = "btc-updown-5m"
SYMBOL = "BTCUSDT"
QUOTING_S_MAX = 25.0
# Wide limits, for hundreds of fills; requoting as often as the settings allow; and a volatility that makes each step of
# the tap leave the guard band, as an ordinary move does, without being a shock or a contradiction of the book. The spread
# is wide, for dozens of fills within seconds share their luck, and would else look toxic every other time.
CONFIG = """
[limits]
q_max = 5000
order_size_max = 100
loss_max_mkt = 100000
loss_max_day = 100000
capital_max = 500000
[strategy]
order_size = {order_size}
gamma = 0.001
min_rest = 100
hold_slack = 0.05
c_size = 0
delta_min = 0.05
sigma_floor = 1e-4
sigma_cap = 1.01e-4
k = 10
theta_p = 0.05
div_soft = 0.2
div_hard = 0.4
"""


# A quiet market, as volatile as the settings above say.
WORLD = """
sigma = 1e-4
sigma_sd = 0.0
jump_every_s = 3600.0
noise_per_s = 0.7
informed_fast_per_s = 1.0
informed_slow_per_s = 1.0
disconnect_every_s = 0.0
"""


class Subject:
    """A context: what it started has ended when it is left. `orders` holds what rests of the first series, by slot: "bid"
    or "offer"."""

    def __init__(self, *, order_size: int = 20, series: Sequence[str] = (SERIES,)) -> None:
        self.tap = Tap()
        self.orders: dict[str, str] = {}
        self.asked: list[Request] = []  # orders and cancels, as they came
        self.passing: Callable[[bytes], None] = lambda text: None  # sees each text of the user stream
        self.holding = False  # answers to orders stay here
        self.still = False  # the venue's own quotes stay here
        self.mid = 0.0
        self._series = series
        self._order_size = order_size
        self._sides: dict[str, str] = {}  # token to "up" or "down"
        self._update_id = 1
        self._moved = 1.0
        self._streams: list[Stream] = []
        self._users: list[Relay] = []
        self._folder = tempfile.TemporaryDirectory(prefix="clobmaker-bench-")
        self.run_dir = Path(self._folder.name) / "run"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.cleanup)
            stack.callback(self.tap.close)
            self._start(stack)
            self._ends = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        words = [word for name in self._series for word in ("--series", name)]
        world = Path(self._folder.name) / "world.toml"
        world.write_text(WORLD)
        venue = EmbeddedVenue([*words, "--world", str(world), "--seed", "1"], Path(self._folder.name) / "venue.log")
        stack.callback(venue.stop)
        self.info = venue.info()
        self._control = Connection(self.info["url"])
        self._quotes, self._frames = open_stream(self._quotes_url()), FrameBuffer(MESSAGE_MAX)
        self.tap.serve(self._quotes, self._quoted)
        config = Path(self._folder.name) / "bot.toml"
        config.write_text(CONFIG.format(order_size=self._order_size))
        self._bot = subprocess.Popen(
            [
                sys.executable, "-m", "bot.cli", "start", "--venue", self._listen(), "--config", str(config),
                *words, "--run-dir", str(self.run_dir), "--ui", "none", "--json",
            ],
            stdout=subprocess.PIPE, stderr=(Path(self._folder.name) / "bot.err").open("wb"),
            env={**os.environ, "XDG_STATE_HOME": str(Path(self._folder.name) / "state")},
        )  # fmt: skip
        stack.callback(self._stop_bot)
        self.quoting()

    def _listen(self) -> str:
        """The address of a page that tells the venue's addresses, with ours in the place of some."""
        info, tap = self.info, self.tap
        http = tap.listen(
            lambda sock: _kept(Through(tap, sock, info["rest_url"], self._asked, self._answered, lambda: self.holding))
        )
        binance = tap.listen(lambda sock: self._streams.append(Stream(tap, sock)))
        user = tap.listen(
            lambda sock: self._users.append(Relay(tap, sock, info["user_ws_url"], lambda text: self.passing(text)))
        )
        told = info | {
            "rest_url": f"http://127.0.0.1:{http}",
            "binance_ws_url": f"ws://127.0.0.1:{binance}",
            "user_ws_url": f"ws://127.0.0.1:{user}{urlsplit(info['user_ws_url']).path}",
        }
        page = tap.listen(lambda sock: _kept(Answerer(tap, sock, lambda _: orjson.dumps(told))))
        return f"http://127.0.0.1:{page}"

    def _quotes_url(self) -> str:
        return f"{self.info['binance_ws_url']}/ws/{SYMBOL.lower()}@bookTicker"

    def _stop_bot(self) -> None:
        self._bot.terminate()
        self.tap.run(15.0, lambda: self._bot.poll() is not None)
        self._bot.kill()
        self._bot.wait()

    # -- what is done to it ---------------------------------------------------------------------------------------------

    def quoting(self) -> None:
        """Wait until an order rests on either side."""
        if not self.tap.run(QUOTING_S_MAX, lambda: len(self.orders) == 2):
            said = (Path(self._folder.name) / "bot.err").read_text() or self.status().get("reasons")
            raise BenchError(f"the bot does not quote: {said}")

    def move(self, factor: float) -> Ns:
        """The reference price is now so much of the venue's; when the frame was written."""
        self._moved = factor
        return self._quote()

    def take(self, slot: str) -> None:
        """Somebody takes the whole order of a slot. Blocks for a moment; the fill passes the tap later."""
        order_id = self.orders.pop(slot)
        body = orjson.dumps({"order_id": order_id, "size": 1000})
        self._control.request("POST", "/control/take", body=body)

    def tell_user(self, text: bytes) -> Ns:
        """Say something on the bot's user stream; when."""
        return self._users[-1].send(text)

    def load(self, frames_per_s: float) -> None:
        self._control.request("POST", "/control/load", body=orjson.dumps({"frames_per_s": frames_per_s}))

    def halt(self) -> Ns:
        """Say it to the control socket, without waiting for the answer; when."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(self.run_dir / "control.sock"))
        self.tap.serve(sock, lambda: self.tap.drop(sock))
        at_ns = time.monotonic_ns()
        sock.sendall(b'{"cmd":"halt","reason":"bench"}\n')
        return at_ns

    def status(self) -> dict[str, Any]:
        return read_json(self.run_dir / "status.json")

    # -- what passes ----------------------------------------------------------------------------------------------------

    def _asked(self, request: Request) -> None:
        if request.method == "DELETE" or (request.method == "POST" and request.path.startswith("/order")):
            self.asked.append(request)

    def _answered(self, request: Request, body: bytes) -> None:
        if request.method == "POST" and request.path in ("/order", "/orders"):
            asked, told = orjson.loads(request.body), orjson.loads(body)
            pairs = zip(asked, told, strict=True) if isinstance(asked, list) else [(asked, told)]
            for posted, answer in pairs:
                slot = self._slot(posted["order"]["tokenId"], posted["order"]["side"])
                if slot and answer.get("orderID"):
                    self.orders[slot] = answer["orderID"]
        elif request.method == "DELETE":
            canceled = set(orjson.loads(body).get("canceled") or ())
            self.orders = {slot: order_id for slot, order_id in self.orders.items() if order_id not in canceled}

    def _slot(self, token: str, side: str) -> str:
        """Empty for a market of another series than the first."""
        if token not in self._sides:
            events = orjson.loads(Connection(self.info["gamma_url"]).request("GET", "/events?closed=false").body)
            for market in (market for event in events for market in event["markets"]):
                up, down = orjson.loads(market["clobTokenIds"])
                ours = market["slug"].startswith(self._series[0])
                self._sides |= {up: "up" if ours else "", down: "down" if ours else ""}
        if not self._sides.setdefault(token, ""):
            return ""
        return "bid" if (self._sides[token] == "up") == (side == "BUY") else "offer"

    def _quoted(self) -> None:
        for opcode, payload in self._frames.feed(self._quotes.recv(READ_BYTES)):
            if opcode == TEXT:
                told = orjson.loads(payload)
                self.mid = (float(told["b"]) + float(told["a"])) / 2
        if self.mid and not self.still:
            self._quote()

    def _quote(self) -> Ns:
        self._update_id += 1
        mid = self.mid * self._moved
        frame = (
            b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%.8f","B":"1.50000000","a":"%.8f","A":"2.10000000"}}'
            % (self._update_id, mid - 0.005, mid + 0.005)
        )
        at_ns = time.monotonic_ns()
        for stream in self._streams:
            if stream.open:
                at_ns = stream.send(frame)
        return at_ns


def _kept(served: Answerer | Through) -> None:
    """It lives by what the tap serves."""
