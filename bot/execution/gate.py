"""The gate between deciding an order and writing it: epochs, who shut it, what is on the wire, freshness stamps.

One small locked object shared by executor, orders gateway, root and panic (architecture decision 7). After a shut
no order enters `inflight`; what was already there is listed and chased. Cancels never ask it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.messages import GateChange, NewOrder, Reject
from bot.units import NS_PER_S, Ns


@dataclass(frozen=True, slots=True)
class Freshness:
    """Oldest age at which each stamp still lets a new order pass."""

    heartbeat_ns_max: Ns = 7 * NS_PER_S
    user_ns_max: Ns = 10 * NS_PER_S
    open_orders_ns_max: Ns = 30 * NS_PER_S
    lease_ns_max: Ns = 2 * NS_PER_S


class Gate:
    """Invariant: an order enters `inflight` only at the current epoch of its market, unshut, with every stamp fresh.

    A market's epoch is the global epoch plus its own counter, so raising either raises it. `latched` is asked at
    each admission (the halt latch is a file that may be written while this process is stopped).
    """

    def __init__(self, freshness: Freshness = Freshness(), latched: Callable[[], bool] = lambda: False) -> None:
        self._lock = threading.Lock()
        self._freshness = freshness
        self._latched = latched
        self._global = 0
        self._market: dict[str, int] = {}
        self._shut: dict[str, str] = {"start": "not reconciled yet"}
        self._inflight: dict[str, Ns] = {}
        # Stamps are single attribute stores of monotonic ns by their owners; 0 means never.
        self.heartbeat_ack_ns: Ns = 0
        self.user_frame_ns: Ns = 0
        self.open_orders_ns: Ns = 0
        self.executor_lease_ns: Ns = 0
        self.root_lease_ns: Ns = 0

    def epoch(self, symbol: str = "") -> int:
        with self._lock:
            return self._global + self._market.get(symbol, 0)

    def shut(self, by: str, reason: str) -> int:
        """Shut in somebody's name and raise the global epoch; returns the epoch.

        Again in the same name changes nothing: no order has passed since, and an epoch that rose unheard would leave the
        executor behind.
        """
        with self._lock:
            if by not in self._shut:
                self._shut[by] = reason
                self._global += 1
            return self._global

    def open(self, by: str) -> None:
        """Take back one name's shut; the gate is open when none is left."""
        with self._lock:
            self._shut.pop(by, None)

    def apply(self, change: GateChange) -> None:
        """What the executor decided: epochs only rise."""
        with self._lock:
            if change.symbol:
                self._market[change.symbol] = max(self._market.get(change.symbol, 0), change.epoch - self._global)
            else:
                self._global = max(self._global, change.epoch)
            if change.shut is True:
                self._shut["executor"] = change.reason
            elif change.shut is False:
                self._shut.pop("executor", None)
                self._shut.pop("start", None)

    def shut_by(self) -> dict[str, str]:
        with self._lock:
            return dict(self._shut)

    def inflight(self) -> dict[str, Ns]:
        """Order ids on the wire with the time they entered."""
        with self._lock:
            return dict(self._inflight)

    def blocked(self, now_ns: Ns) -> str:
        """Why no order may pass now, or an empty string. Does not look at epochs."""
        if self._shut:
            by, reason = next(iter(self._shut.items()))
            return f"shut by {by}: {reason}"
        limits = self._freshness
        for name, stamp, oldest in (
            ("heartbeat ack", self.heartbeat_ack_ns, limits.heartbeat_ns_max),
            ("user stream", self.user_frame_ns, limits.user_ns_max),
            ("open-orders read", self.open_orders_ns, limits.open_orders_ns_max),
            ("executor lease", self.executor_lease_ns, limits.lease_ns_max),
            ("root lease", self.root_lease_ns, limits.lease_ns_max),
        ):
            if not stamp:
                return f"no {name} yet"
            if now_ns - stamp > oldest:
                return f"{name} is {(now_ns - stamp) / NS_PER_S:.1f} s old"
        if self._latched():
            return "the halt latch is set"
        return ""

    def admit(self, orders: Sequence[NewOrder], now_ns: Ns) -> list[tuple[Reject, str] | None]:
        """For each order None (it is in `inflight` now: write it, then call `landed`) or why it must not be sent."""
        with self._lock:
            blocked = self.blocked(now_ns)
            verdicts: list[tuple[Reject, str] | None] = []
            for order in orders:
                epoch = self._global + self._market.get(order.symbol, 0)
                if order.epoch < epoch:
                    verdicts.append((Reject.EPOCH, f"epoch {order.epoch} is older than {epoch}"))
                elif now_ns > order.valid_until_ns:
                    verdicts.append((Reject.STALE, "waited too long before the gate"))
                elif blocked:
                    verdicts.append((Reject.SHUT, blocked))
                else:
                    self._inflight[order.order_id] = now_ns
                    verdicts.append(None)
            return verdicts

    def landed(self, order_ids: Sequence[str]) -> None:
        """The outcome of these POSTs is known or their deadline passed."""
        with self._lock:
            for order_id in order_ids:
                self._inflight.pop(order_id, None)
