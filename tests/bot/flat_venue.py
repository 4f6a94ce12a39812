"""A venue that is to be emptied, for the tests of whoever empties it."""

from __future__ import annotations

from collections.abc import Collection

from bot.errors import FrameError, VenueUnavailable
from bot.flat import FlatReport, cancel_all_and_verify
from bot.units import NS_PER_S

MARKET = "0xm"


class Venue:
    """A venue on virtual time: orders that rest in one market, and a script of what goes wrong at which call."""

    def __init__(self, *resting: str) -> None:
        self.now_ns = 0
        self.orders = set(resting)
        self.stubborn: set[str] = set()  # cancel-all leaves these
        self.calls: list[tuple[str, float]] = []
        self.failing_cancels = 0
        self.failing_reads = 0
        self.out: dict[str, int] = {}  # POSTs in flight, and when each lands
        self.told: list[list[str]] = []

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ns += int(seconds * NS_PER_S) + 1
        for order_id, lands_ns in list(self.out.items()):
            if lands_ns <= self.now_ns:
                del self.out[order_id]
                self.orders.add(order_id)

    def inflight(self) -> Collection[str]:
        return self.out

    def _called(self, name: str) -> None:
        self.calls.append((name, self.now_ns / NS_PER_S))
        self.now_ns += 1_000_000

    def warm(self) -> None: ...

    def cancel_all(self, symbol: str) -> tuple[list[str], dict[str, str]]:
        self._called("cancel_all")
        if self.failing_cancels:
            self.failing_cancels -= 1
            raise FrameError("HTTP 503")
        gone = sorted(self.orders - self.stubborn)
        self.orders -= set(gone)
        return gone, {}

    def cancel(self, order_ids: list[str]) -> None:
        self._called("cancel")
        self.orders -= set(order_ids)
        self.stubborn -= set(order_ids)

    def resting(self, symbol: str) -> list[str]:
        self._called("read")
        if self.failing_reads:
            self.failing_reads -= 1
            raise VenueUnavailable("HTTP 500")
        return sorted(self.orders) if symbol in ("", MARKET) else []

    def flat(self, symbol: str = "", deadline_s: float = 10.0) -> FlatReport:
        return cancel_all_and_verify(
            self,
            inflight=self.inflight,
            clock=self.clock,
            sleep=self.sleep,
            symbol=symbol,
            deadline_s=deadline_s,
            told=lambda asked_ns, canceled, left: self.told.append(canceled),
        )

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]
