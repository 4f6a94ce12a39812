"""Cancel all in a loop and verify flat. Knows no thread and no message, so that whoever must empty the venue can: panic,
the guardian, `bot cancel-all`.

Flat means: cancel-all was answered, every POST in flight was resolved or timed out, cancel-all was answered again, and
two reads of open orders at least 0.5 s apart succeeded and were empty.
"""

from __future__ import annotations

import time

from bot.errors import BotError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Protocol

    class CancelPort(Protocol):
        """A call that raises BotError has told nothing."""

        def cancel_all(self, symbol: str) -> tuple[list[str], dict[str, str]]:
            """All orders of the key, or of one market: ids canceled, and those not canceled with the reason."""

        def cancel(self, order_ids: list[str]) -> object: ...

        def resting(self, symbol: str) -> list[str]:
            """Ids of all our open orders, or of those in one market."""

        def warm(self) -> None:
            """Keep the connection open while there is nothing to do; never raises."""

    Told = Callable[[int, list[str], dict[str, str]], None]


DEADLINE_S = 10.0
INFLIGHT_NS_MAX = 3_500_000_000  # a POST has a deadline of 3 s
BETWEEN_READS_S = 0.5
BACKOFF_S = 0.1
BACKOFF_S_MAX = 1.0
LOOK_S = 0.02
LEFTOVERS_MAX = 100


class FlatReport:
    """`verified` True: nothing rests. Otherwise `open_orders` is what the last good read saw; None: there was none."""

    __slots__ = ("canceled", "open_orders", "text", "verified")

    def __init__(self, verified: bool, open_orders: int | None = None, canceled: int = 0, text: str = "") -> None:
        self.verified = verified
        self.open_orders = open_orders
        self.canceled = canceled
        self.text = text


class _Run:
    """One attempt to become flat, until it is, its deadline passes, or somebody wants to begin anew."""

    def __init__(
        self,
        port: CancelPort,
        inflight: Callable[[], Collection[str]],
        clock: Callable[[], int],
        sleep: Callable[[float], object],
        deadline_s: float,
        symbol: str,
        told: Told,
        superseded: Callable[[], bool],
    ) -> None:
        self._port = port
        self._inflight = inflight
        self._clock = clock
        self._sleep = sleep
        self._until_ns = clock() + int(deadline_s * 1e9)
        self._inflight_until_ns = clock() + INFLIGHT_NS_MAX
        self._symbol = symbol
        self._told = told
        self._superseded = superseded
        self._canceled: set[str] = set()
        self._backoff_s = BACKOFF_S
        self._last: int | None = None
        self._text = ""

    def report(self) -> FlatReport:
        while True:
            if self._cancel() and self._settled() and self._cancel() and self._empty_twice():
                return FlatReport(True, open_orders=0, canceled=len(self._canceled))
            if self._over():
                break
            self._pause()
        return FlatReport(False, self._last, len(self._canceled), self._text or "the deadline passed")

    def _over(self) -> bool:
        return self._superseded() or self._clock() >= self._until_ns

    def _pause(self) -> None:
        self._sleep(self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)

    def _cancel(self) -> bool:
        asked_ns = self._clock()
        try:
            canceled, left = self._port.cancel_all(self._symbol)
        except BotError as error:
            self._text = f"cancel-all: {error}"
            return False
        self._told(asked_ns, canceled, left)
        self._canceled.update(canceled)
        return True

    def _settled(self) -> bool:
        """No POST is out any more whose order could land after the next cancel-all."""
        while self._inflight() and self._clock() < self._inflight_until_ns:
            if self._over():
                return False
            self._sleep(LOOK_S)
        return True

    def _empty_twice(self) -> bool:
        if not self._empty() or self._over():
            return False
        began_ns = self._clock()
        while self._clock() - began_ns < BETWEEN_READS_S * 1e9:
            self._sleep(BETWEEN_READS_S - (self._clock() - began_ns) / 1e9)
            if self._superseded():
                return False
        return self._empty()

    def _empty(self) -> bool:
        """One good read without an order of ours; what it finds is also cancelled by id."""
        try:
            left = self._port.resting(self._symbol)
        except BotError as error:
            self._text = f"open orders: {error}"
            return False
        self._last = len(left)
        if left:
            self._text = f"{len(left)} orders still rest"
            try:
                self._port.cancel(left[:LEFTOVERS_MAX])
            except BotError as error:
                self._text += f": {error}"
        return not left


def cancel_all_and_verify(
    port: CancelPort,
    *,
    inflight: Callable[[], Collection[str]] = tuple,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] = time.sleep,
    deadline_s: float = DEADLINE_S,
    symbol: str = "",
    told: Told = lambda asked_ns, canceled, left: None,
    superseded: Callable[[], bool] = lambda: False,
) -> FlatReport:
    """Cancel in a loop until flat or out of time; tries at least once. `told` hears each answer to a cancel-all."""
    return _Run(port, inflight, clock, sleep, deadline_s, symbol, told, superseded).report()
