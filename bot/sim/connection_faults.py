"""Faults that befall whole connections, and those that need trades or orders nobody made: what the venue does of its own
accord when the engine says so, and what it does around two kinds of request. Knows no trigger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from bot.messages import Side
from bot.sim import frame_faults as frames
from bot.sim import records as rec
from bot.sim.faults import Fault
from bot.sim.flicker import Flicker
from bot.sim.frame_faults import dumped
from bot.sim.outage import Outage
from bot.sim.provoked import Stranger
from bot.sim.render import order_event
from bot.sim.sockets import StreamClient
from bot.sim.stream_faults import StreamFaults, later, reset_client
from bot.sim.user_stream import UserClient
from bot.sim.venue import Venue, wall_ms
from bot.sim.wire import cut_after, ws_frame
from bot.units import LOT

STORM = {"trades": 1_000, "deltas": 10_000}  # per second, and so many in all
STORM_PARTS = 50  # of a second
INVALID = "invalid subscription payload"
HALF_A_FRAME = ws_frame(b'{"event_type":"price_change","market":"0x', announced=400)


class ConnectionFaults:
    """Gives the engine its acts on connections."""

    def __init__(self, venue: Venue, tap: StreamFaults, stranger: Stranger, outage: Outage) -> None:
        self._venue = venue
        self._tap = tap
        self._stranger = stranger
        self._outage = outage
        self._flicker = Flicker(venue.exchange, venue.books, "storm")
        self._tasks: set[asyncio.Task[None]] = set()
        acts: dict[str, Callable[[Fault], int]] = {
            "W02": self._half_open,
            "W03": lambda fault: self._each(fault, lambda client: client.close(1008, INVALID)),
            "W04": self._control_text,
            "W08": self._too_much,
            "W09": self._reset,
            "U09": lambda _: self._meet_by_complement(),
            "U10": self._foreign_order,
            "U13": self._dust,
            "U14": self._storm,
            "B01": lambda _: self._each_of("binance", lambda client: client.close(1001)),
            "B02": self._shutdown,
            "B04": self._pong_missed,
        }
        for fault_id, act in acts.items():
            venue.faults.on(fault_id, act)

    # -- what begins -----------------------------------------------------------------------------------------------

    def _each(self, fault: Fault, act: Callable[[StreamClient], None]) -> int:
        return self._each_of(fault.pattern, act)

    def _each_of(self, pattern: str, act: Callable[[StreamClient], None]) -> int:
        clients = self._tap.clients(pattern)
        for client in clients:
            act(client)
        return len(clients)

    def _half_open(self, fault: Fault) -> int:
        clients = self._tap.clients(fault.pattern)
        if fault.kind == "drip":
            self._tap.drip(clients, fault["bytes_per_s"], fault.lasts_s)
            return len(clients)
        for client in clients:
            client.mute = True
            later(fault.lasts_s, partial(reset_client, client))
        return len(clients)

    def _control_text(self, fault: Fault) -> int:
        return self._each(fault, lambda client: client.put("INVALID OPERATION" if fault.kind == "invalid" else "PONG"))

    def _too_much(self, fault: Fault) -> int:
        def flood(client: StreamClient) -> None:
            for item in frames.oversized(client.stream) if fault.kind == "oversized" else frames.fragmented():
                client.put(item)

        return self._each(fault, flood)

    def _reset(self, fault: Fault) -> int:
        if fault.kind == "all":
            return self._outage.cut(fault)
        return self._each(fault, lambda client: client.put(cut_after(HALF_A_FRAME)))

    def _shutdown(self, fault: Fault) -> int:
        def leave(client: StreamClient) -> None:
            event: dict[str, Any] = {"e": "serverShutdown", "E": wall_ms()}
            combined = getattr(client, "combined", False)
            client.put(dumped({"stream": "!serverShutdown", "data": event} if combined else event))
            later(fault["grace_s"], partial(client.close, 1001))

        return self._each_of("binance", leave)

    def _pong_missed(self, fault: Fault) -> int:
        def forget(client: StreamClient) -> None:
            client.pongs_count = False
            self._task(client.ping())
            later(fault["within_s"], partial(reset_client, client))

        return self._each_of("binance", forget)

    # -- trades and orders that nobody made ------------------------------------------------------------------------

    def _meet_by_complement(self) -> int:
        return sum(self._stranger.meet(order, complement=True) for order in self._stranger.targets()[:1])

    def _dust(self, fault: Fault) -> int:
        targets = [order for order in self._stranger.targets() if order.leaves % LOT == 0]
        return sum(self._stranger.dust(order, fault.kind == "over") for order in targets[:1])

    def _foreign_order(self, fault: Fault) -> int:
        if fault.kind == "live":
            return int(self._stranger.foreign() is not None)
        market = self._stranger.market(wall_ms())
        clients = [client for client in self._tap.clients("user") if isinstance(client, UserClient) and client.caller]
        if market is None:
            return 0
        for client in clients:
            assert client.caller is not None
            order = _made_up(market, client.caller.account.owners[-1], client.caller.api_key, self._venue.stray_id())
            event = rec.OrderEvent(kind="PLACEMENT", order=order, status=rec.LIVE, ts_ms=wall_ms())
            client.put(dumped(order_event(event, market)))
        return len(clients)

    def _storm(self, fault: Fault) -> int:
        number = fault["number"] or STORM[fault.kind]
        if fault.kind == "trades":
            targets = self._stranger.targets()
            if not targets:
                return 0
            self._task(self._trade_storm(max(targets, key=lambda order: order.leaves), number))
            return 1
        market = self._stranger.market(wall_ms())
        clients = self._tap.clients("market")
        if market is not None and clients:
            self._task(self._delta_storm(market, clients, number))
        return len(clients)

    async def _trade_storm(self, order: rec.Order, number: int) -> None:
        """Pieces of one order, one lot each."""
        async for part in _paced(number, STORM["trades"]):
            for _ in range(part):
                self._stranger.meet(order, LOT)

    async def _delta_storm(self, market: rec.SimMarket, clients: list[StreamClient], number: int) -> None:
        """True changes that end where they began."""
        async for part in _paced(number, STORM["deltas"]):
            for frame in self._flicker.frames(market, part, wall_ms()):
                for client in clients:
                    client.send(frame)

    # -- around requests -------------------------------------------------------------------------------------------

    @web.middleware
    async def around(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """U04: a fill before the answer to its POST. W11: a book by REST that is not the stream's."""
        response = await handler(request)
        if not self._venue.faults.busy or response.status != 200 or not isinstance(response, web.Response):
            return response
        subject = f"{request.method} {request.path}"
        if subject in ("POST /order", "POST /orders"):
            await self._fill_first(subject, response)
        elif subject in ("GET /book", "POST /books") and self._venue.hit("W11", subject, "stale"):
            return _stale(response)
        return response

    async def _fill_first(self, subject: str, response: web.Response) -> None:
        fault = self._venue.hit("U04", subject)
        if fault is None:
            return
        replies = _body(response)
        for reply in replies if isinstance(replies, list) else [replies]:
            order = self._venue.exchange.order(reply.get("orderID", ""))
            if order is not None:
                self._stranger.meet(order, order.qty // 4 // LOT * LOT)
        await asyncio.sleep(fault["delay_s"])

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a connection that went meanwhile


async def _paced(number: int, per_s: int) -> AsyncIterator[int]:
    """Parts of a number, as many a second as asked; one that comes late is followed by the next at once."""
    started, part = time.monotonic(), per_s // STORM_PARTS
    for done in range(0, number, part):
        yield min(part, number - done)
        await asyncio.sleep(max(0.0, started + (done + part) / per_s - time.monotonic()))


def _body(response: web.Response) -> Any:
    return orjson.loads(response.body if isinstance(response.body, bytes) else b"[]")


def _made_up(market: rec.SimMarket, owner: str, api_key: str, order_id: str) -> rec.Order:
    return rec.Order(
        order_id=order_id,
        owner=owner,
        api_key=api_key,
        condition_id=market.condition_id,
        token=market.up_token,
        side=Side.BUY,
        px=market.tick,
        qty=market.min_qty,
        order_type="GTC",
        post_only=True,
        expiration_s=0,
        created_ms=wall_ms(),
        is_bid=True,
        up_px=market.tick,
    )


def _stale(response: web.Response) -> web.Response:
    """The book of a market nobody quotes."""
    body = _body(response)
    for book in body if isinstance(body, list) else [body]:
        book["bids"], book["asks"] = [{"price": "0.01", "size": "100"}], [{"price": "0.99", "size": "100"}]
    return web.json_response(body)
