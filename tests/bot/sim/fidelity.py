"""What the fidelity tests share: signed requests, sockets, and a stock client of a venue in a thread."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
import websocket
from py_clob_client_v2 import clob_types as types
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
from py_clob_client_v2.signing.hmac import build_hmac_signature

from bot.sim.parameters import WorldParameters
from bot.sim.server import VenueThread

TIMEOUT_S = 5
# Nobody but makers far from us: what our orders meet is decided by the test. The reference says much, so that nobody waits for it.
QUIET = WorldParameters(
    noise_per_s=0.0, informed_fast_per_s=0.0, informed_slow_per_s=0.0, quotes_per_s=100.0, trades_per_s=20.0
)


def stock_client(venue: VenueThread, key: str = "") -> Any:
    made = ClobClient(venue.info["rest_url"], 137, key=key or venue.info["private_key"])
    made.set_api_creds(made.create_or_derive_api_key())
    return made


def funded(venue: VenueThread, key: str) -> Any:
    """A client of another wallet, with money."""
    made = stock_client(venue, key)
    venue.call(lambda inside: inside.exchange.deposit(made.get_address().lower(), 1_000_000_000))
    return made


def get(url: str, **params: Any) -> requests.Response:
    return requests.get(url, params=params, timeout=TIMEOUT_S)


def windows(venue: VenueThread) -> list[dict[str, Any]]:
    """The open windows, oldest first, as metadata shows them."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    events = get(venue.info["gamma_url"] + "/events", tag_slug="up-or-down", end_date_min=now).json()
    return [event["markets"][0] for event in events]


def tokens(venue: VenueThread, window: int = 1) -> list[str]:
    """Of the current window (0) or one of those after it."""
    return [str(token) for token in json.loads(windows(venue)[window]["clobTokenIds"])]


def signed(venue: VenueThread, method: str, path: str, body: str = "", query: str = "") -> requests.Response:
    """A request with an L2 proof of our own making."""
    info, stamp = venue.info, str(int(time.time()))
    headers = {
        "POLY_ADDRESS": info["address"],
        "POLY_API_KEY": info["api_key"],
        "POLY_PASSPHRASE": info["api_passphrase"],
        "POLY_TIMESTAMP": stamp,
        "POLY_SIGNATURE": build_hmac_signature(info["api_secret"], stamp, method, path, body),
    }
    return requests.request(method, info["rest_url"] + path + query, data=body, headers=headers, timeout=TIMEOUT_S)


def order_body(client: Any, token: str, price: float, size: float, side: str = "BUY", **changes: Any) -> dict[str, Any]:
    """A signed GTC post-only order as the stock client would post it; `changes` alter the body around it."""
    order = client.create_order(types.OrderArgs(token_id=token, price=price, size=size, side=side))
    body: dict[str, Any] = order_to_json_v2(order, client.creds.api_key, "GTC", True)
    return body | changes


def compact(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))


def connect(url: str, *frames: Any) -> websocket.WebSocket:
    ws = websocket.create_connection(url, timeout=TIMEOUT_S)
    for frame in frames:
        ws.send(frame if isinstance(frame, str) else json.dumps(frame))
    return ws


def events(ws: websocket.WebSocket, most: int = 3000) -> Iterator[dict[str, Any]]:
    """Arrays are taken apart; PONGs are left out."""
    for _ in range(most):
        text = ws.recv()
        if text in ("", "PONG"):
            continue
        message = json.loads(text)
        yield from message if isinstance(message, list) else [message]


def until(ws: websocket.WebSocket, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    for event in events(ws):
        if test(event):
            return event
    raise AssertionError("the awaited frame did not come")


def until_pong(ws: websocket.WebSocket) -> list[dict[str, Any]]:
    """Send a PING; every event that came before its PONG."""
    ws.send("PING")
    heard: list[dict[str, Any]] = []
    while (text := ws.recv()) != "PONG":
        message = json.loads(text)
        heard += message if isinstance(message, list) else [message]
    return heard


def closed_with(ws: websocket.WebSocket) -> tuple[int, str]:
    opcode, data = ws.recv_data()
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, data = ws.recv_data()
    return int.from_bytes(data[:2], "big"), data[2:].decode()


def user_auth(client: Any) -> dict[str, str]:
    creds = client.creds
    return {"apiKey": creds.api_key, "secret": creds.api_secret, "passphrase": creds.api_passphrase}
