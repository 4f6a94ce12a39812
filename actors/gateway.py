"""The actors that wait for the venue: one class, three instances (orders, cancels, reads), each with a desk of its own.

A desk knows which calls its messages become; the calls themselves, the gate and the clocks are injected. Every request is
answered: by the venue's word, by our own refusal, or by the admission that the outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from actors.base import Actor
from bot.errors import VenueUnavailable
from bot.messages import (
    Balance,
    BalanceRequest,
    CancelOrder,
    ExecType,
    ExecutionReport,
    Halt,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    Reject,
    Shares,
    SharesRequest,
    Source,
    TimerTick,
    TradesRead,
    TradesRequest,
)
from bot.ports import Clock, Samples
from bot.units import NS_PER_S, NS_PER_US, Ns

M = TypeVar("M", bound=Message)

ORDERS_MAX = 15  # of one POST /orders
CANCELS_MAX = 100  # of one DELETE /orders; the venue takes 1000, but a cancel should not wait for that many
SYNC_EVERY_NS = 60 * NS_PER_S
SYNC_RETRY_NS = 5 * NS_PER_S
SKEW_HALT_S = 5.0


class Take(Protocol):
    """More waiting messages of one type, at once."""

    def __call__(self, message_type: type[M], limit: int, /) -> list[M]: ...


class OrderPort(Protocol):
    def ready(self) -> None: ...

    def warm(self) -> None: ...

    def post_orders(
        self, orders: Sequence[NewOrder], written: Callable[[list[str]], None] | None = None
    ) -> list[Message]: ...


class CancelPort(Protocol):
    def warm(self) -> None: ...

    def cancel_orders(
        self, cancels: Sequence[CancelOrder], written: Callable[[], None] | None = None
    ) -> list[Message]: ...

    def cancel_all(self, request: MassCancel, written: Callable[[], None] | None = None) -> MassCancelReport: ...


class ReadPort(Protocol):
    def warm(self) -> None: ...

    def open_orders(self, asked_ns: Ns) -> OpenOrders: ...

    def trades(self, request: TradesRequest) -> TradesRead: ...

    def order_status(self, request: OrderStatusRequest) -> OrderStatusReport: ...

    def balance(self, request: BalanceRequest) -> Balance: ...

    def shares(self, request: SharesRequest) -> Shares: ...


class GatePort(Protocol):
    open_orders_ns: Ns

    def admit(self, orders: Sequence[NewOrder], now_ns: Ns) -> list[tuple[Reject, str] | None]: ...

    def landed(self, order_ids: Sequence[str]) -> None: ...


class MarketsPort(Protocol):
    def poll(self, utc_ns: Ns, now_ns: Ns) -> list[Message]: ...


class Desk(Protocol):
    def serve(self, message: Message, take: Take) -> list[Message]: ...


class GatewayActor(Actor):
    """Lends a thread and its mailbox to a desk. Its handler may wait, at most as long as the desk's calls do."""

    def __init__(self, *, desk: Desk, **base: Any) -> None:
        super().__init__(**base)
        self.desk = desk

    def handle(self, message: Message) -> None:
        self.router.send(self.desk.serve(message, self.take))


class OrdersDesk:
    """Invariant: only what the gate admitted is written, and it is in flight until its outcome is known."""

    def __init__(
        self, api: OrderPort, gate: GatePort, clock: Clock, latency: Mapping[str, Samples] | None = None
    ) -> None:
        self._api = api
        self._gate = gate
        self._clock = clock
        self._tick_to_wire = (latency or {}).get("tick_to_wire")
        self._round_trip = (latency or {}).get("wire_round_trip")
        self._written_ns: Ns = 0

    def serve(self, message: Message, take: Take) -> list[Message]:
        match message:
            case NewOrder():
                return self._post([message, *take(NewOrder, ORDERS_MAX - 1)])
            case TimerTick():
                self._api.warm()
                return []
            case _:
                raise AssertionError(f"not for the orders gateway: {type(message).__name__}")

    def _post(self, orders: list[NewOrder]) -> list[Message]:
        """A dead connection is replaced before the gate is asked, so that no connect lies between gate and wire."""
        try:
            self._api.ready()
        except VenueUnavailable as error:
            return [self._refusal(order, Reject.OTHER, f"not sent: {error}") for order in orders]
        verdicts = self._gate.admit(orders, self._clock())
        replies: list[Message] = []
        admitted: list[NewOrder] = []
        for order, verdict in zip(orders, verdicts, strict=True):
            if verdict is None:
                admitted.append(order)
            else:
                replies.append(self._refusal(order, *verdict))
        if not admitted:
            return replies
        self._written_ns = 0
        try:
            replies += self._api.post_orders(admitted, lambda _: self._written(admitted))
        finally:
            self._gate.landed([order.order_id for order in admitted])
        if self._round_trip is not None and self._written_ns:
            self._round_trip.record(self._clock() - self._written_ns, lambda: f"POST of {len(admitted)}")
        return replies

    def _written(self, orders: Sequence[NewOrder]) -> None:
        now_ns = self._written_ns = self._clock()
        if self._tick_to_wire is not None:
            for order in orders:
                if order.cause_ns:
                    self._tick_to_wire.record(now_ns - order.cause_ns, partial(_told, order, now_ns))

    def _refusal(self, order: NewOrder, reject: Reject, text: str) -> ExecutionReport:
        return ExecutionReport(
            order_id=order.order_id,
            cl_ord_id=order.cl_ord_id,
            symbol=order.symbol,
            asset_id=order.asset_id,
            side=order.side,
            exec_type=ExecType.REJECTED,
            source=Source.GATE,
            reject=reject,
            text=text,
            recv_ns=self._clock(),
        )


class CancelsDesk:
    """Cancels ask no gate and keep no budget: what is told goes out."""

    def __init__(self, api: CancelPort, clock: Clock, latency: Mapping[str, Samples] | None = None) -> None:
        self._api = api
        self._clock = clock
        self._tick_to_cancel = (latency or {}).get("tick_to_cancel")
        self._round_trip = (latency or {}).get("wire_round_trip")
        self._written_ns: Ns = 0
        self._cancel_all = (latency or {}).get("cancel_all")

    def serve(self, message: Message, take: Take) -> list[Message]:
        match message:
            case MassCancel():
                return [self._api.cancel_all(message, lambda: self._measure(self._cancel_all, message.made_ns))]
            case CancelOrder():
                return self._cancel([message, *take(CancelOrder, CANCELS_MAX - 1)])
            case TimerTick():
                self._api.warm()
                return []
            case _:
                raise AssertionError(f"not for the cancels gateway: {type(message).__name__}")

    def _cancel(self, cancels: list[CancelOrder]) -> list[Message]:
        self._written_ns = 0
        replies = self._api.cancel_orders(cancels, lambda: self._written(cancels))
        if self._round_trip is not None and self._written_ns:
            self._round_trip.record(self._clock() - self._written_ns, lambda: f"DELETE of {len(cancels)}")
        return replies

    def _written(self, cancels: list[CancelOrder]) -> None:
        now_ns = self._written_ns = self._clock()
        if self._tick_to_cancel is not None:
            for cancel in cancels:
                if cancel.cause_ns:
                    self._tick_to_cancel.record(now_ns - cancel.cause_ns, partial(_told, cancel, now_ns))

    def _measure(self, samples: Samples | None, since_ns: Ns) -> None:
        if samples is not None and since_ns:
            samples.record(self._clock() - since_ns)


def _told(request: NewOrder | CancelOrder, now_ns: Ns) -> str:
    """Where the time between frame and wire went."""
    decided_us, sent_us = (request.made_ns - request.cause_ns) // NS_PER_US, (now_ns - request.made_ns) // NS_PER_US
    return f"{decided_us} us from the frame to the executor, then {sent_us} us to the wire"


class ReadsDesk:
    """Reads, market discovery and the clock: what must delay neither orders nor cancels."""

    def __init__(
        self,
        api: ReadPort,
        gate: GatePort,
        markets: MarketsPort,
        clock: Clock,
        sync: Callable[[], float | None] = lambda: 0.0,
    ) -> None:
        """`sync` measures the venue's clock and gives its offset to ours in seconds, or None when it could not."""
        self._api = api
        self._gate = gate
        self._markets = markets
        self._clock = clock
        self._sync = sync
        self._sync_due_ns: Ns = 0
        self._skewed = 0

    def serve(self, message: Message, take: Take) -> list[Message]:
        match message:
            case OrderMassStatusRequest():
                read = self._api.open_orders(message.asked_ns)
                if read.orders is not None:
                    self._gate.open_orders_ns = self._clock()
                return [read]
            case OrderStatusRequest():
                return [self._api.order_status(message)]
            case TradesRequest():
                return [self._api.trades(message)]
            case BalanceRequest():
                return [self._api.balance(message)]
            case SharesRequest():
                return [self._api.shares(message)]
            case TimerTick():
                return self._tick(message)
            case _:
                raise AssertionError(f"not for the reads gateway: {type(message).__name__}")

    def _tick(self, tick: TimerTick) -> list[Message]:
        """The clock or the markets, not both: one tick's work stays short."""
        if tick.now_ns >= self._sync_due_ns:
            offset_s = self._sync()
            self._sync_due_ns = tick.now_ns + (SYNC_RETRY_NS if offset_s is None else SYNC_EVERY_NS)
            return [] if offset_s is None else self._judge(offset_s, tick.now_ns)
        self._api.warm()
        return self._markets.poll(tick.utc_ns, tick.now_ns)

    def _judge(self, offset_s: float, now_ns: Ns) -> list[Message]:
        """A clock that far off is a broken host; one odd measurement is measured again before anything is done."""
        if abs(offset_s) <= SKEW_HALT_S:
            self._skewed = 0
            return []
        self._skewed += 1
        if self._skewed == 1:
            self._sync_due_ns = now_ns + SYNC_RETRY_NS
            return []
        return [Halt(reason=f"our clock is {-offset_s:+.1f} s off the venue's", by="reads")]
