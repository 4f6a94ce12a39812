"""A connection of ours to the venue, as a gateway uses it: one request at a time, each late by its way there and back.

Knows neither venue nor core: who serves a request and who hears the answer is injected.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from bot.messages import Message
from bot.sim.trial.clock import Agenda, Line
from bot.units import Ns

BATCH_MAX = 15  # messages of one kind in a request

Serve: TypeAlias = Callable[[list[Message], Ns], list[Message]]  # with the time at which the answer will be heard
Admit: TypeAlias = Callable[[list[Message], Ns], list[Message]]


class Connection:
    """Requests on their way and answers on theirs. Invariant: one request is out at a time; what came meanwhile is the next."""

    def __init__(
        self,
        agenda: Agenda,
        way: Line,
        back: Line,
        serve: Serve,
        tell: Callable[[Message], None],
        admit: Admit = lambda batch, now_ns: batch,
    ) -> None:
        self._agenda = agenda
        self._way = way
        self._back = back
        self._serve = serve
        self._tell = tell
        self._admit = admit
        self._waiting: list[Message] = []
        self._busy = False

    def put(self, message: Message, now_ns: Ns, urgent: bool = False) -> None:
        """What is put in one moment leaves together."""
        self._waiting.insert(0 if urgent else len(self._waiting), message)
        if not self._busy:
            self._busy = True
            self._agenda.at(now_ns, self._send)

    def _send(self, now_ns: Ns) -> None:
        kind = type(self._waiting[0])
        count = 0
        while count < min(len(self._waiting), BATCH_MAX) and type(self._waiting[count]) is kind:
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        batch = self._admit(batch, now_ns)
        if batch:
            self._agenda.at(self._way.arrival(now_ns), partial(self._arrive, batch))
        else:
            self._free(now_ns)

    def _arrive(self, batch: list[Message], now_ns: Ns) -> None:
        heard_ns = self._back.arrival(now_ns)
        self._agenda.at(heard_ns, partial(self._heard, self._serve(batch, heard_ns)))

    def _heard(self, answers: list[Message], now_ns: Ns) -> None:
        for answer in answers:
            self._tell(answer)
        self._free(now_ns)

    def _free(self, now_ns: Ns) -> None:
        if self._waiting:
            self._send(now_ns)
        else:
            self._busy = False
