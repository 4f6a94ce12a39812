"""The venue's user WebSocket: order and trade events of whoever holds the API key.

Nothing is ever replayed: who was not connected has to ask by REST.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from bot.sim import records as rec
from bot.sim.accounts import Caller
from bot.sim.render import order_event, trade_event
from bot.sim.sockets import PingedClient
from bot.sim.venue import Venue

INVALID = "invalid subscription payload"
INVALID_OPERATION = "INVALID OPERATION"  # a text frame, no JSON


class UserClient(PingedClient):
    """A user connection: whose, and for which markets (None: all)."""

    stream = "user"

    def __init__(self, silence_s: float) -> None:
        super().__init__(silence_s)
        self.caller: Caller | None = None
        self.markets: set[str] | None = None


class UserStream:
    """All user connections."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._clients: set[UserClient] = set()

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        client = UserClient(self._venue.quirks.silence_s)
        self._clients.add(client)
        try:
            return await client.run(request, lambda text: self._heard(client, text))
        finally:
            self._clients.discard(client)

    def _heard(self, client: UserClient, text: str) -> None:
        if client.pinged(text):
            return
        try:
            message = orjson.loads(text)
            markets = [str(market) for market in message.get("markets") or []]
        except (ValueError, AttributeError, TypeError):
            client.close(1008, INVALID)
            return
        if client.caller is None:
            client.caller = self._venue.accounts.stream_caller(message.get("auth"))
            if client.caller is None:
                client.close(1008, "invalid auth")
                return
            client.markets = set(markets) if markets else None
            client.subscribed = True
        elif "operation" not in message:
            client.send(INVALID_OPERATION)
        elif message.get("operation") == "subscribe" and client.markets is not None:
            client.markets.update(markets)
        elif message.get("operation") == "unsubscribe" and client.markets is not None:
            client.markets.difference_update(markets)

    def cut(self) -> None:
        """Cut every connection without a word."""
        for client in self._clients:
            client.abort()

    def hear(self, event: rec.Event) -> None:
        markets = self._venue.exchange.markets
        match event:
            case rec.OrderEvent(order=order):
                market = markets[order.condition_id]
                self._send(order.owner, order.condition_id, partial(order_event, event, market))
            case rec.TradeEvent(trade=trade):
                # One frame per owner in the trade: the taker's view on top, with that owner's role.
                market, late_hash = markets[trade.condition_id], self._venue.quirks.late_hashes
                for owner in dict.fromkeys([trade.taker_owner, *(leg.owner for leg in trade.makers)]):
                    self._send(owner, trade.condition_id, partial(trade_event, event, market, owner, late_hash))
            case _:
                pass

    def _send(self, owner: str, condition_id: str, build: Callable[[], dict[str, Any]]) -> None:
        clients = self._hearing(owner, condition_id)
        if clients:
            frame = orjson.dumps(build()).decode()
            for client in clients:
                client.send(frame)

    def _hearing(self, owner: str, condition_id: str) -> list[UserClient]:
        return [
            client
            for client in self._clients
            if client.caller is not None
            and owner in client.caller.account.owners
            and (client.markets is None or condition_id in client.markets)
        ]
