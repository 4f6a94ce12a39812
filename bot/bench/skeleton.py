"""What our parts take where nothing has to be kept safe: three threads that read, price and sign, and write the order.

No limits, no table of orders, no position, no journal, no gate, no guards. Beside it one sees what these cost.
`python -m bot.bench.skeleton WS_URL REST_URL`
"""

from __future__ import annotations

import math
import socket
import sys
import threading
from queue import SimpleQueue
from urllib.parse import urlsplit

import msgspec

from bot import interpreter
from bot.bench.listener import open_stream
from bot.bench.stock import API_KEY, CHAIN_ID, KEY, PASSPHRASE, SECRET
from bot.bench.tap import MESSAGE_MAX
from bot.market import Rule
from bot.messages import NewOrder, Side
from bot.quoting.fair_value import State, fair_value
from bot.units import PX_ONE, QTY_ONE
from bot.venues.clob_login import Credentials, hmac_headers
from bot.venues.frames import FrameBuffer
from bot.venues.signing import Signer

READ_BYTES = 1 << 16
TICK = 100
QTY = 20 * QTY_ONE


class Quote(msgspec.Struct, gc=False):
    b: float
    a: float


class Frame(msgspec.Struct, gc=False):
    data: Quote


def priced(mids: SimpleQueue[float], orders: SimpleQueue[NewOrder]) -> None:
    """A buy two cents below fair value for each mid."""
    salt = 1 << 40
    while True:
        state = State(
            rule=Rule.CANDLE, log_spot=math.log(mids.get()), log_strike=math.log(60_000.0), sigma=6e-5, tau=200.0
        )
        px = min(PX_ONE - TICK, max(TICK, round((fair_value(state).p - 0.02) * PX_ONE) // TICK * TICK))
        salt += 1
        orders.put(
            NewOrder(
                cl_ord_id="", order_id="", symbol="", asset_id="7" * 77, side=Side.BUY, px=px, order_qty=QTY,
                maker_amount=px * QTY // PX_ONE, taker_amount=QTY, salt=salt, timestamp_ms=1_793_750_400_123, version=2,
                neg_risk=False, tick=TICK, epoch=0, valid_until_ns=0, made_ns=0,
            )
        )  # fmt: skip


def posted(orders: SimpleQueue[NewOrder], rest_url: str) -> None:
    parts = urlsplit(rest_url)
    venue = socket.create_connection((parts.hostname or "", parts.port or 80))
    venue.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    signer = Signer(KEY, chain_id=CHAIN_ID)
    headers = hmac_headers(Credentials(API_KEY, SECRET, PASSPHRASE), signer.address)
    head = f"POST /order HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    while True:
        order = orders.get()
        body = signer.body(msgspec.structs.replace(order, order_id=signer.order_id_of(order)), API_KEY)
        lines = headers("POST", "/order", body, 1_793_750_400)
        venue.sendall(f"{head}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        venue.recv(READ_BYTES)


def main(ws_url: str, rest_url: str) -> None:
    mids: SimpleQueue[float] = SimpleQueue()
    orders: SimpleQueue[NewOrder] = SimpleQueue()
    interpreter.settle()
    interpreter.run_soon()
    threading.Thread(target=priced, args=(mids, orders), daemon=True).start()
    threading.Thread(target=posted, args=(orders, rest_url), daemon=True).start()
    stream, frames = open_stream(ws_url), FrameBuffer(MESSAGE_MAX)
    stream.settimeout(None)
    decode = msgspec.json.Decoder(Frame, strict=False).decode
    while chunk := stream.recv(READ_BYTES):
        for _, payload in frames.feed(chunk):
            quote = decode(payload).data
            mids.put((quote.b + quote.a) / 2)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
