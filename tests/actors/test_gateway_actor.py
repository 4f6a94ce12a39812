"""The three desks behind the gateway actor; called unstarted, but for one that batches from a real mailbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from actors.gateway import CancelsDesk, GatewayActor, OrdersDesk, ReadsDesk
from actors.router import Directory
from bot.execution.gate import Gate
from bot.messages import (
    Balance,
    BalanceRequest,
    CancelOrder,
    ExecType,
    ExecutionReport,
    FoundStatus,
    GateChange,
    Halt,
    MarketDropped,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    Reject,
    Resume,
    Shares,
    SharesRequest,
    Side,
    Source,
    TimerTick,
    TradesRead,
    TradesRequest,
)
from bot.units import NS_PER_S
from bot.venues.clob_http import RequestFailed

NOW = 1_000


class Api:
    """Answers everything well and keeps what it was asked."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.posted: list[list[str]] = []
        self.inflight_at_post: set[str] = set()
        self.canceled: list[list[str]] = []
        self.mass: list[str] = []
        self.warmed = 0
        self.dead = False
        self.broken = False
        self.known = True

    def ready(self) -> None:
        if self.dead:
            raise RequestFailed("connection refused", sent=False)

    def warm(self) -> None:
        self.warmed += 1

    def post_orders(
        self, orders: Sequence[NewOrder], written: Callable[[list[str]], None] | None = None
    ) -> list[Message]:
        self.posted.append([order.order_id for order in orders])
        self.inflight_at_post = set(self.gate.inflight())
        if self.broken:
            raise RuntimeError("bug")
        if written is not None:
            written(self.posted[-1])
        return [
            ExecutionReport(order_id=order.order_id, exec_type=ExecType.NEW, source=Source.POST) for order in orders
        ]

    def cancel_orders(self, cancels: Sequence[CancelOrder], written: Callable[[], None] | None = None) -> list[Message]:
        self.canceled.append([cancel.order_id for cancel in cancels])
        if written is not None:
            written()
        return [
            ExecutionReport(order_id=c.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL) for c in cancels
        ]

    def cancel_all(self, request: MassCancel, written: Callable[[], None] | None = None) -> MassCancelReport:
        self.mass.append(request.symbol)
        if written is not None:
            written()
        return MassCancelReport(symbol=request.symbol, known=True)

    def open_orders(self, asked_ns: int) -> OpenOrders:
        return OpenOrders(orders=() if self.known else None, asked_ns=asked_ns, recv_ns=NOW)

    def trades(self, request: TradesRequest) -> TradesRead:
        return TradesRead(trades=(), after_utc_s=request.after_utc_s, asked_ns=request.asked_ns, recv_ns=NOW)

    def order_status(self, request: OrderStatusRequest) -> OrderStatusReport:
        return OrderStatusReport(order_id=request.order_id, found=FoundStatus.ABSENT)

    def balance(self, request: BalanceRequest) -> Balance:
        return Balance(cash=0, asked_ns=request.asked_ns, recv_ns=NOW)

    def shares(self, request: SharesRequest) -> Shares:
        return Shares(symbol="0xm", asset_id=request.asset_id, qty=0, asked_ns=request.asked_ns, recv_ns=NOW)

    def poll(self, utc_ns: int, now_ns: int) -> list[Message]:
        return [MarketDropped(symbol=f"{utc_ns}")]


class Samples:
    def __init__(self) -> None:
        self.values: list[int] = []

    def record(self, elapsed_ns: int, why: Callable[[], str] = str, /) -> None:
        self.values.append(elapsed_ns)
        self.why = why()


def open_gate() -> Gate:
    gate = Gate()
    for name in ("heartbeat_ack_ns", "user_frame_ns", "open_orders_ns", "executor_lease_ns", "root_lease_ns"):
        setattr(gate, name, NOW)
    gate.apply(GateChange(epoch=1, shut=False))
    return gate


def order(number: int, **fields: Any) -> NewOrder:
    values: dict[str, Any] = {
        "cl_ord_id": f"c{number}",
        "order_id": f"0x{number}",
        "symbol": "0xm",
        "asset_id": "1",
        "side": Side.BUY,
        "px": 5200,
        "order_qty": 10_000_000,
        "maker_amount": 5_200_000,
        "taker_amount": 10_000_000,
        "salt": number,
        "timestamp_ms": 1,
        "version": 2,
        "neg_risk": False,
        "tick": 100,
        "epoch": 1,
        "valid_until_ns": NOW + 50,
        "made_ns": NOW,
        "cause_ns": NOW - 300,
    } | fields
    return NewOrder(**values)


def cancel(number: int) -> CancelOrder:
    return CancelOrder(cl_ord_id=f"c{number}", order_id=f"0x{number}", symbol="0xm", cause_ns=NOW - 200)


def waiting(*messages: Any) -> Any:
    """A mailbox's `take` with these messages in it."""
    left = list(messages)

    def take(message_type: type[Any], limit: int, /) -> list[Any]:
        taken = [message for message in left if type(message) is message_type][:limit]
        for message in taken:
            left.remove(message)
        return taken

    return take


def orders_desk(gate: Gate) -> tuple[OrdersDesk, Api, Samples]:
    api, samples = Api(gate), Samples()
    return OrdersDesk(api, gate, lambda: NOW, {"tick_to_wire": samples}), api, samples


def verdicts(messages: list[Message]) -> list[tuple[str, ExecType, Reject]]:
    reports = [message for message in messages if isinstance(message, ExecutionReport)]
    assert len(reports) == len(messages)
    return [(report.order_id, report.exec_type, report.reject) for report in reports]


# -- orders ----------------------------------------------------------------------------------------------------------


def test_what_waits_goes_as_one_batch_and_is_in_flight_only_while_it_is_out() -> None:
    gate = open_gate()
    desk, api, samples = orders_desk(gate)
    replies = desk.serve(order(1), waiting(order(2), order(3)))
    assert api.posted == [["0x1", "0x2", "0x3"]]
    assert api.inflight_at_post == {"0x1", "0x2", "0x3"}
    assert gate.inflight() == {}
    assert len(replies) == 3
    assert samples.values == [300, 300, 300]


def test_the_way_from_frame_to_wire_and_the_round_trip_are_told_with_where_the_time_went() -> None:
    now = iter(range(NOW, NOW + 100_000_000, 7_000))
    samples = {name: Samples() for name in ("tick_to_wire", "tick_to_cancel", "wire_round_trip")}
    gate = open_gate()
    orders = OrdersDesk(Api(gate), gate, lambda: next(now), samples)
    orders.serve(order(1, made_ns=NOW - 2_000, cause_ns=NOW - 9_000, valid_until_ns=NOW + 10**9), waiting())
    assert samples["tick_to_wire"].values == [16_000]
    assert samples["tick_to_wire"].why == "7 us from the frame to the executor, then 9 us to the wire"
    assert (samples["wire_round_trip"].values, samples["wire_round_trip"].why) == ([7_000], "POST of 1")
    cancels = CancelsDesk(Api(gate), lambda: next(now), samples)
    cancels.serve(cancel(1), waiting(cancel(2)))
    assert len(samples["tick_to_cancel"].values) == 2
    assert (samples["wire_round_trip"].values[1:], samples["wire_round_trip"].why) == ([7_000], "DELETE of 2")


def test_a_batch_holds_fifteen_at_most() -> None:
    desk, api, _ = orders_desk(open_gate())
    desk.serve(order(0), waiting(*(order(number) for number in range(1, 30))))
    assert len(api.posted[0]) == 15


def test_what_the_gate_refuses_is_answered_and_never_posted() -> None:
    desk, api, _ = orders_desk(open_gate())
    late, old = order(2, valid_until_ns=NOW - 1), order(3, epoch=0)
    replies = desk.serve(order(1), waiting(late, old))
    assert api.posted == [["0x1"]]
    assert sorted(verdicts(replies)) == [
        ("0x1", ExecType.NEW, Reject.NONE),
        ("0x2", ExecType.REJECTED, Reject.STALE),
        ("0x3", ExecType.REJECTED, Reject.EPOCH),
    ]
    refusals = [message for message in replies if isinstance(message, ExecutionReport) and message.reject]
    assert all(message.source is Source.GATE for message in refusals if message.exec_type is ExecType.REJECTED)


def test_behind_a_shut_gate_nothing_is_posted() -> None:
    gate = open_gate()
    desk, api, _ = orders_desk(gate)
    gate.shut("root", "test")
    assert verdicts(desk.serve(order(1, epoch=9), waiting())) == [("0x1", ExecType.REJECTED, Reject.SHUT)]
    assert api.posted == []


def test_without_a_connection_orders_are_refused_before_the_gate() -> None:
    gate = open_gate()
    desk, api, _ = orders_desk(gate)
    api.dead = True
    assert verdicts(desk.serve(order(1), waiting())) == [("0x1", ExecType.REJECTED, Reject.OTHER)]
    assert (api.posted, gate.inflight()) == ([], {})


def test_a_bug_while_posting_leaves_nothing_in_flight_and_is_raised() -> None:
    gate = open_gate()
    desk, api, _ = orders_desk(gate)
    api.broken = True
    with pytest.raises(RuntimeError):
        desk.serve(order(1), waiting())
    assert gate.inflight() == {}


# -- cancels ---------------------------------------------------------------------------------------------------------


def test_cancels_go_as_one_batch_and_ask_no_gate() -> None:
    gate = Gate()  # shut
    api, cancels, mass = Api(gate), Samples(), Samples()
    desk = CancelsDesk(api, lambda: NOW, {"tick_to_cancel": cancels, "cancel_all": mass})
    assert len(desk.serve(cancel(1), waiting(cancel(2)))) == 2
    assert (api.canceled, cancels.values) == ([["0x1", "0x2"]], [200, 200])
    (report,) = desk.serve(MassCancel(symbol="0xm", made_ns=NOW - 70), waiting())
    assert isinstance(report, MassCancelReport)
    assert (api.mass, mass.values) == (["0xm"], [70])


def test_ticks_keep_both_hot_connections_warm() -> None:
    desk, api, _ = orders_desk(open_gate())
    tick = TimerTick(name="orders", now_ns=1, utc_ns=1)
    assert desk.serve(tick, waiting()) == []
    assert CancelsDesk(api, lambda: NOW).serve(tick, waiting()) == []
    assert api.warmed == 2


# -- reads -----------------------------------------------------------------------------------------------------------


def tick(seconds: float) -> TimerTick:
    return TimerTick(name="reads", now_ns=int(seconds * NS_PER_S), utc_ns=7)


def test_each_read_is_answered_by_its_own_report() -> None:
    gate = Gate()
    desk = ReadsDesk(Api(gate), gate, Api(gate), lambda: NOW)
    requests = [
        OrderMassStatusRequest(asked_ns=1),
        OrderStatusRequest(cl_ord_id="c", order_id="0x1", symbol="0xm", asked_ns=1),
        TradesRequest(after_utc_s=1, asked_ns=1),
        BalanceRequest(asked_ns=1),
        SharesRequest(symbol="0xm", asset_id="t", asked_ns=1),
    ]
    replies = [type(desk.serve(request, waiting())[0]) for request in requests]
    assert replies == [OpenOrders, OrderStatusReport, TradesRead, Balance, Shares]


def test_only_a_good_read_of_open_orders_freshens_the_gate() -> None:
    gate = Gate()
    api = Api(gate)
    desk = ReadsDesk(api, gate, api, lambda: NOW)
    api.known = False
    desk.serve(OrderMassStatusRequest(asked_ns=1), waiting())
    assert gate.open_orders_ns == 0
    api.known = True
    desk.serve(OrderMassStatusRequest(asked_ns=1), waiting())
    assert gate.open_orders_ns == NOW


def test_ticks_sync_the_clock_each_minute_and_poll_the_markets_otherwise() -> None:
    gate = Gate()
    synced: list[float] = []

    def sync() -> float | None:
        synced.append(0.0)
        return None if len(synced) == 1 else 0.1

    desk = ReadsDesk(Api(gate), gate, Api(gate), lambda: NOW, sync)
    assert desk.serve(tick(0), waiting()) == []
    assert desk.serve(tick(0.25), waiting()) == [MarketDropped(symbol="7")]
    for second in range(1, 130):
        desk.serve(tick(second), waiting())
    assert len(synced) == 4  # at 0 (failed), 5, 65 and 125 s


def test_a_clock_far_off_twice_halts() -> None:
    gate = Gate()
    desk = ReadsDesk(Api(gate), gate, Api(gate), lambda: NOW, lambda: -7.0)
    assert desk.serve(tick(0), waiting()) == []
    (halt,) = desk.serve(tick(5), waiting())
    assert isinstance(halt, Halt)
    assert halt.by == "reads"


def test_a_message_for_another_desk_is_a_bug() -> None:
    gate = open_gate()
    api = Api(gate)
    for desk in (OrdersDesk(api, gate, lambda: 1), CancelsDesk(api, lambda: 1), ReadsDesk(api, gate, api, lambda: 1)):
        with pytest.raises(AssertionError):
            desk.serve(Resume(by="x"), waiting())


# -- the actor -------------------------------------------------------------------------------------------------------


class Outbox:
    def __init__(self, wanted: int) -> None:
        self.sent: list[Message] = []
        self.wanted = wanted
        self.full = threading.Event()

    def send(self, messages: Iterable[Message]) -> None:
        self.sent += messages
        if len(self.sent) >= self.wanted:
            self.full.set()


class HeldDesk:
    """Waits with the first message until it is let go, as a slow venue would."""

    def __init__(self, desk: OrdersDesk) -> None:
        self.desk = desk
        self.entered = threading.Event()
        self.go = threading.Event()

    def serve(self, message: Message, take: Any) -> list[Message]:
        self.entered.set()
        assert self.go.wait(5)
        return self.desk.serve(message, take)


def test_started_it_batches_what_piled_up_behind_a_slow_answer() -> None:
    desk, api, _ = orders_desk(open_gate())
    held = HeldDesk(desk)
    outbox = Outbox(3)
    directory = Directory()
    actor = GatewayActor.start(desk=held, name="orders", directory=directory, router=outbox)
    try:
        directory.tell("orders", order(1))
        assert held.entered.wait(5)
        directory.tell("orders", order(2))
        directory.tell("orders", order(3))
        held.go.set()
        assert outbox.full.wait(5)
    finally:
        actor.stop()
    assert api.posted == [["0x1", "0x2", "0x3"]]
