"""Fault W09: every connection is cut without a word, and new ones are cut for a while. Control routes are spared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from bot.sim.faults import Fault

CONTROL = "/control/"


class Outage:
    """Whether the venue is cut off now."""

    def __init__(self) -> None:
        self._until = 0.0
        self._control: set[Any] = set()  # connections that asked control routes
        self.connections: Callable[[], Iterable[Any]] = tuple  # of the server, once it runs

    @property
    def down(self) -> bool:
        return time.monotonic() < self._until

    def admit(self, request: web.Request) -> bool:
        """Whether a request may be served; one that may not has had its connection cut."""
        if request.path.startswith(CONTROL):
            self._control = {request.protocol, *self._control.intersection(self.connections())}
            return True
        self._control.discard(request.protocol)
        if self.down and request.transport is not None:
            request.transport.abort()
        return not self.down

    def cut(self, fault: Fault) -> int:
        """Cut all there are; returns 1, since the network fails once however many use it."""
        self._until = max(self._until, time.monotonic() + fault.lasts_s)
        for connection in list(self.connections()):
            if connection not in self._control and connection.transport is not None:
                connection.transport.abort()
        return 1
