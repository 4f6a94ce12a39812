"""The venue's own control routes: its facts, its ledger, its request log, and faults on order.

Faults known here: W09 cuts every connection and refuses new ones for a while; T01 is only kept for the bot to fetch.
The control routes themselves are never cut.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiohttp import web

from bot.sim.http import Refusal, answer, number
from bot.sim.venue import Venue

PREFIX = "/control/"
WAIT_S_MAX = 60.0
KINDS = ("raise", "hang")
LOG_PAGE = 100_000


class Faults:
    """What was injected, oldest first, and whether the venue is cut off now."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._sequence = itertools.count(1)
        self._counts: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._down_until = 0.0
        self._control: set[Any] = set()  # connections that asked control routes
        self.rows: list[dict[str, Any]] = []
        self.connections: Callable[[], Iterable[Any]] = tuple  # of the server, once it runs

    @property
    def down(self) -> bool:
        return time.monotonic() < self._down_until

    def admit(self, request: web.Request) -> bool:
        """Whether a request may be served; one that may not has had its connection cut."""
        if request.path.startswith(PREFIX):
            self._control = {request.protocol, *self._control.intersection(self.connections())}
            return True
        self._control.discard(request.protocol)
        if self.down and request.transport is not None:
            request.transport.abort()
        return not self.down

    def inject(self, fault: Any) -> dict[str, Any]:
        """Do it, or keep it for the bot. Raises Refusal for one that is not known."""
        if not isinstance(fault, dict) or not isinstance(fault.get("id"), str):
            raise Refusal('a fault is an object with an id, such as {"id": "W09", "duration_s": 10}')
        match fault["id"]:
            case "W09":
                row: dict[str, Any] = {"duration_s": _seconds(fault, "duration_s", 10.0)}
                self._cut(row["duration_s"])
            case "T01":
                kind, actor = fault.get("kind", "raise"), fault.get("actor")
                if kind not in KINDS or not isinstance(actor, str) or not actor:
                    raise Refusal(f"T01 needs an actor and a kind of {' or '.join(KINDS)}")
                row = {"actor": actor, "kind": kind, "hang_s": _seconds(fault, "hang_s", 0.0)}
            case other:
                raise Refusal(f"unknown fault {other}; this venue knows W09 and T01")
        return self._keep(fault["id"], row)

    def _keep(self, fault_id: str, row: dict[str, Any]) -> dict[str, Any]:
        self._counts[fault_id] = self._counts.get(fault_id, 0) + 1
        at_s = round((time.monotonic_ns() - self._venue.started_ns) / 1e9, 3)
        kept = {"seq": next(self._sequence), "id": fault_id, "at_s": at_s, "count": self._counts[fault_id], **row}
        self.rows.append(kept)
        self._changed.set()
        self._changed = asyncio.Event()
        return kept

    def _cut(self, duration_s: float) -> None:
        self._down_until = max(self._down_until, time.monotonic() + duration_s)
        for connection in list(self.connections()):
            if connection not in self._control and connection.transport is not None:
                connection.transport.abort()

    async def after(self, seq: int, wait_s: float) -> list[dict[str, Any]]:
        """Rows beyond a sequence number, as soon as there is one or the wait is over."""
        deadline = time.monotonic() + min(wait_s, WAIT_S_MAX)
        while True:
            rows = [row for row in self.rows if row["seq"] > seq]
            left = deadline - time.monotonic()
            if rows or left <= 0:
                return rows
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                continue


class ControlRoutes:
    """Handlers under /control/."""

    def __init__(self, venue: Venue, faults: Faults) -> None:
        self._venue = venue
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX + "info", self.info),
            web.get(PREFIX + "ledger", self.ledger),
            web.get(PREFIX + "log", self.log),
            web.get(PREFIX + "faults", self.list_faults),
            web.post(PREFIX + "faults", self.inject),
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
        try:
            wait_s = float(request.query.get("wait_s", "0"))
        except ValueError:
            raise Refusal("wait_s is a number of seconds") from None
        return answer(await self._faults.after(number(request, "after", 0), wait_s))

    async def inject(self, request: web.Request) -> web.Response:
        try:
            fault = orjson.loads(await request.read())
        except ValueError:
            raise Refusal("the body is one fault as a JSON object") from None
        return answer(self._faults.inject(fault))


def _seconds(fault: dict[str, Any], name: str, default: float) -> float:
    value = fault.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise Refusal(f"{name} is a number of seconds")
    return float(value)
