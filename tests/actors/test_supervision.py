"""The policy of supervision, without a thread: what is a failure, who comes back, what is answered, how a run ends."""

from __future__ import annotations

from typing import Any

import pykka
import pytest

from actors.supervision import (
    ChildSpec,
    Facts,
    Supervisor,
    Verdict,
    answer_in_hands,
    answer_undelivered,
    diagnose,
)
from bot.messages import (
    Balance,
    BalanceRequest,
    CancelOrder,
    ExecType,
    ExecutionReport,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    Nudge,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    Reject,
    Request,
    Shares,
    SharesRequest,
    Side,
    Source,
    TradesRead,
    TradesRequest,
)
from bot.units import NS_PER_S

HANG_NS = 2 * NS_PER_S
MINUTE = 60 * NS_PER_S


def start() -> pykka.ActorRef[Any]:
    raise NotImplementedError


def spec(name: str, fatal: bool = False) -> ChildSpec:
    return ChildSpec(name=name, start=start, fatal=fatal)


def facts(**what: Any) -> Facts:
    healthy: dict[str, Any] = {"failed": "", "alive": True, "busy_ns": 0, "waiting_ns": 0, "stamp_ns": 0}
    return Facts(**healthy | what)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (facts(), ""),
        (facts(busy_ns=HANG_NS, waiting_ns=HANG_NS, stamp_ns=HANG_NS), ""),
        (facts(failed="ValueError: x"), "ValueError: x"),
        (facts(alive=False), "its thread died"),
        (facts(busy_ns=HANG_NS + NS_PER_S), "hangs in a handler for 3.0 s"),
        (facts(waiting_ns=HANG_NS + NS_PER_S), "leaves a message waiting for 3.0 s"),
        (facts(stamp_ns=HANG_NS + NS_PER_S), "owns a thread that gave no sign for 3.0 s"),
    ],
)
def test_a_child_failed_when_it_raised_died_or_hangs(seen: Facts, found: str) -> None:
    assert diagnose(seen, HANG_NS) == found


def test_three_failures_in_ten_minutes_are_forgiven_and_the_fourth_latches() -> None:
    supervisor = Supervisor()
    verdicts = [supervisor.failed(spec("a"), at * MINUTE) for at in (0, 3, 6, 9)]
    assert verdicts == [Verdict.RESTART, Verdict.RESTART, Verdict.RESTART, Verdict.LATCH]


def test_failures_further_apart_never_latch() -> None:
    supervisor = Supervisor()
    assert {supervisor.failed(spec("a"), at * MINUTE) for at in range(0, 100, 4)} == {Verdict.RESTART}


def test_each_child_has_its_own_count_and_a_person_may_clear_it() -> None:
    supervisor = Supervisor()
    for name in ("a", "b"):
        assert {supervisor.failed(spec(name), 0) for _ in range(3)} == {Verdict.RESTART}
    supervisor.forgive("a")
    assert supervisor.failed(spec("a"), 1) is Verdict.RESTART
    assert supervisor.failed(spec("b"), 1) is Verdict.LATCH


def test_a_fatal_child_ends_the_run_the_first_time() -> None:
    assert Supervisor().failed(spec("executor", fatal=True), 0) is Verdict.END


NEW = NewOrder(
    cl_ord_id="c",
    order_id="o",
    symbol="m",
    asset_id="t",
    side=Side.BUY,
    px=5000,
    order_qty=9,
    maker_amount=1,
    taker_amount=2,
    salt=3,
    timestamp_ms=4,
    version=2,
    neg_risk=False,
    tick=100,
    epoch=1,
    valid_until_ns=5,
    made_ns=6,
)
CANCEL = CancelOrder(cl_ord_id="c", order_id="o", symbol="m")
READS: list[tuple[Message, Message]] = [
    (OrderMassStatusRequest(asked_ns=1), OpenOrders(orders=None, asked_ns=1, recv_ns=9, text="gone")),
    (BalanceRequest(asked_ns=2), Balance(cash=None, asked_ns=2, recv_ns=9, text="gone")),
    (
        SharesRequest(symbol="m", asset_id="t", asked_ns=2),
        Shares(symbol="m", asset_id="t", qty=None, asked_ns=2, recv_ns=9, text="gone"),
    ),
    (
        TradesRequest(after_utc_s=7, asked_ns=3),
        TradesRead(trades=None, after_utc_s=7, asked_ns=3, recv_ns=9, text="gone"),
    ),
    (
        OrderStatusRequest(cl_ord_id="c", order_id="o", symbol="m", asked_ns=4),
        OrderStatusReport(cl_ord_id="c", order_id="o", found=None, asked_ns=4, recv_ns=9, text="gone"),
    ),
]


def test_an_order_no_gateway_took_was_never_sent() -> None:
    answer = answer_undelivered(NEW, 9, "gone")
    assert answer == ExecutionReport(
        order_id="o",
        cl_ord_id="c",
        symbol="m",
        asset_id="t",
        side=Side.BUY,
        px=5000,
        order_qty=9,
        exec_type=ExecType.REJECTED,
        source=Source.GATE,
        reject=Reject.SHUT,
        text="gone",
        recv_ns=9,
    )


def test_an_order_in_the_hands_of_a_dead_gateway_may_be_live() -> None:
    assert answer_in_hands(NEW, 9, "gone") == OutcomeUnknown(
        order_id="o", cl_ord_id="c", request=Request.NEW, text="gone", recv_ns=9
    )


def test_cancels_no_gateway_took_wait_for_its_successor() -> None:
    assert answer_undelivered(CANCEL, 9, "gone") is None
    assert answer_undelivered(MassCancel(), 9, "gone") is None


def test_cancels_in_the_hands_of_a_dead_gateway_have_no_known_outcome() -> None:
    assert answer_in_hands(CANCEL, 9, "gone") == OutcomeUnknown(
        order_id="o", cl_ord_id="c", request=Request.CANCEL, text="gone", recv_ns=9
    )
    assert answer_in_hands(MassCancel(symbol="m", made_ns=3), 9, "gone") == MassCancelReport(
        symbol="m", known=False, asked_ns=3, recv_ns=9, text="gone"
    )


@pytest.mark.parametrize(("request_", "answer"), READS)
def test_a_read_that_did_not_happen_is_unknown_and_never_empty(request_: Message, answer: Message) -> None:
    assert answer_undelivered(request_, 9, "gone") == answer
    assert answer_in_hands(request_, 9, "gone") == answer


def test_what_is_no_request_has_no_answer() -> None:
    assert answer_undelivered(Nudge(), 9, "gone") is None
    assert answer_in_hands(Nudge(), 9, "gone") is None
