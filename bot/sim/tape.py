"""The public tape: what was traded in each market, as anybody may read it. Knows no wallet and no route."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

import msgspec

from bot.sim import records as rec
from bot.sim.render import address_of
from bot.units import PX_ONE, shares

PRINTS_MAX = 500  # of a market


class Print(msgspec.Struct, frozen=True):
    """One trade in its taker's terms."""

    event: rec.Printed
    market: rec.SimMarket

    @property
    def up_px(self) -> float:
        px = self.event.px if self.event.token == self.market.up_token else PX_ONE - self.event.px
        return px / PX_ONE

    def row(self) -> dict[str, Any]:
        """As the data API shows it."""
        event, market = self.event, self.market
        up = event.token == market.up_token
        return {
            "proxyWallet": address_of("taker"),
            "side": str(event.side),
            "asset": event.token,
            "conditionId": event.condition_id,
            "size": shares(event.qty),
            "price": event.px / PX_ONE,
            "timestamp": event.ts_ms // 1000,
            "title": market.question,
            "slug": market.slug,
            "eventSlug": market.slug,
            "outcome": "Up" if up else "Down",
            "outcomeIndex": 0 if up else 1,
            "transactionHash": "0x" + hashlib.sha256(repr(event).encode()).hexdigest(),
        }


class Tape:
    """The last trades of every market that is not resolved."""

    def __init__(self, markets: dict[str, rec.SimMarket]) -> None:
        self._markets = markets
        self._prints: dict[str, deque[Print]] = {}

    def hear(self, event: rec.Event) -> None:
        if isinstance(event, rec.Printed):
            tape = self._prints.setdefault(event.condition_id, deque(maxlen=PRINTS_MAX))
            tape.append(Print(event, self._markets[event.condition_id]))
        elif isinstance(event, rec.Resolved):
            self._prints.pop(event.condition_id, None)

    def newest(self, condition_id: str = "") -> list[Print]:
        """Of one market, or of all; newest first."""
        tapes = [self._prints.get(condition_id, deque())] if condition_id else list(self._prints.values())
        return sorted((one for tape in tapes for one in tape), key=lambda one: -one.event.ts_ms)
