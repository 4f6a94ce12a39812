"""The venue's own control routes: its facts, its ledger, its request log, and faults on order. They are never cut."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import orjson
from aiohttp import web

from bot.errors import SettingsError
from bot.sim.faults import fault_of
from bot.sim.http import Refusal, answer, number
from bot.sim.outage import CONTROL
from bot.sim.venue import Venue, wall_ms
from bot.units import QTY_ONE

WAIT_S_MAX = 60.0
LOG_PAGE = 100_000


class ControlRoutes:
    """Handlers under /control/."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._begun = asyncio.Event()
        venue.faults.begun = self._wake

    def _wake(self) -> None:
        self._begun.set()
        self._begun = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(CONTROL + "info", self.info),
            web.get(CONTROL + "ledger", self.ledger),
            web.get(CONTROL + "log", self.log),
            web.get(CONTROL + "faults", self.list_faults),
            web.post(CONTROL + "faults", self.inject),
            web.post(CONTROL + "take", self.take),
        ]

    async def info(self, request: web.Request) -> web.Response:
        return answer(self._venue.info)

    async def ledger(self, request: web.Request) -> web.Response:
        return answer(self._venue.ledger())

    async def log(self, request: web.Request) -> web.Response:
        """CLOB requests with a greater sequence number, oldest first; those not yet answered have status 0."""
        after = number(request, "after", 0)
        requests = self._venue.requests
        first = requests[0].seq if requests else 1
        rows = itertools.islice(requests, max(after - first + 1, 0), max(after - first + 1, 0) + LOG_PAGE)
        return answer(
            [
                {
                    "seq": row.seq,
                    "monotonic_ns": row.monotonic_ns,
                    "method": row.method,
                    "path": row.path,
                    "owner": row.owner,
                    "status": row.status,
                }
                for row in rows
            ]
        )

    async def list_faults(self, request: web.Request) -> web.Response:
        """What was injected, oldest first: when each began, and how many calls, frames or trades it hit so far."""
        try:
            wait_s = float(request.query.get("wait_s", "0"))
        except ValueError:
            raise Refusal("wait_s is a number of seconds") from None
        return answer(await self._faults_after(number(request, "after", 0), wait_s))

    async def _faults_after(self, seq: int, wait_s: float) -> list[dict[str, Any]]:
        """Rows beyond a sequence number, as soon as there is one or the wait is over."""
        deadline = time.monotonic() + min(wait_s, WAIT_S_MAX)
        while True:
            begun = self._begun
            rows = [row for row in self._venue.faults.rows if row["seq"] > seq]
            left = deadline - time.monotonic()
            if rows or left <= 0:
                return rows
            try:
                await asyncio.wait_for(begun.wait(), left)
            except TimeoutError:
                continue

    async def inject(self, request: web.Request) -> web.Response:
        try:
            raw = orjson.loads(await request.read())
        except ValueError:
            raise Refusal("the body is one fault as a JSON object") from None
        try:
            fault = fault_of(raw)
        except SettingsError as error:
            raise Refusal(str(error)) from None
        return answer(self._venue.faults.inject(fault, self._venue.age_s()))

    async def take(self, request: web.Request) -> web.Response:
        """{"order_id": "0x…", "size": 5}: a stranger takes that much of this very order, whatever stands before it."""
        try:
            body = orjson.loads(await request.read())
            order_id, qty = str(body["order_id"]), round(float(body["size"]) * QTY_ONE)
        except (ValueError, KeyError, TypeError):
            raise Refusal('the body is an object such as {"order_id": "0x…", "size": 5}') from None
        trade_id = self._venue.exchange.sweep(order_id, qty, wall_ms())
        self._venue.tell()
        return answer({"trade_id": trade_id})
