"""What each answer of the venue proves, and which requests the gateway's calls become."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bot.errors import FrameError
from bot.messages import (
    BalanceRequest,
    Budgeted,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    FoundStatus,
    MassCancel,
    Message,
    NewOrder,
    OrderStatusRequest,
    OutcomeUnknown,
    RateLeft,
    Reject,
    Request,
    SharesRequest,
    Side,
    Source,
    TradesRequest,
)
from bot.venues.clob_answer import Reply
from bot.venues.clob_http import RequestFailed
from bot.venues.clob_login import Credentials
from bot.venues.polymarket_gateway import ClobApi, found_status
from bot.venues.signing import Signer

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
SIGNER = Signer(KEY, chain_id=137)
CREDENTIALS = Credentials("api-key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "phrase")
Answer = Reply | RequestFailed


class ScriptedHttp:
    """Gives the answers it was made with, in turn, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.used_s = 0.0
        self.closed = 0

    def ready(self, until: float | None = None) -> None: ...

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: str = "",
        body: bytes = b"",
        until: float | None = None,
        written: Callable[[], None] | None = None,
    ) -> Reply:
        self.asked.append((method, path, body))
        self.headers.append(dict(line.split(": ") for line in headers.splitlines()))
        answer = self.answers.pop(0)
        if isinstance(answer, RequestFailed):
            raise answer
        if written is not None:
            written()
        return answer

    def close(self) -> None:
        self.closed += 1


def ok(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, json.dumps(value).encode())


def raw(status: int, body: bytes) -> Reply:
    return Reply(status, {}, body)


def api(*answers: Answer) -> tuple[ClobApi, ScriptedHttp]:
    http = ScriptedHttp(*answers)
    return ClobApi(http, SIGNER, CREDENTIALS, utc=lambda: 1_700_000_000.7, clock=lambda: 77), http


def order(name: str = "c1", side: Side = Side.BUY, **fields: Any) -> NewOrder:
    values: dict[str, Any] = {
        "cl_ord_id": name,
        "order_id": "",
        "symbol": "0xm",
        "asset_id": "123456789",
        "side": side,
        "px": 5200,
        "order_qty": 10_000_000,
        "maker_amount": 5_200_000,
        "taker_amount": 10_000_000,
        "salt": sum(name.encode()),
        "timestamp_ms": 1793750400123,
        "version": 2,
        "neg_risk": False,
        "tick": 100,
        "epoch": 0,
        "valid_until_ns": 1,
        "made_ns": 0,
    } | fields
    return NewOrder(**(values | {"order_id": SIGNER.order_id_of(NewOrder(**values))}))


def accepted(ordered: NewOrder, **fields: Any) -> dict[str, Any]:
    return {
        "success": True,
        "errorMsg": "",
        "orderID": ordered.order_id,
        "status": "live",
        "makingAmount": "",
        "takingAmount": "",
    } | fields


def refusal(text: str, success: bool = False) -> dict[str, Any]:
    return {"success": success, "errorMsg": text, "orderID": "", "status": ""}


def summary(message: Message) -> tuple[Any, ...]:
    match message:
        case ExecutionReport(exec_type=ExecType.REJECTED):
            return ("rejected", message.reject, message.source)
        case ExecutionReport():
            return (message.exec_type.value, message.cum_qty, message.source)
        case OutcomeUnknown():
            return ("unknown", message.request, message.duplicated)
        case CancelReject():
            return ("not canceled",)
    raise AssertionError(message)


UNKNOWN = ("unknown", Request.NEW, False)
DUPLICATED = ("unknown", Request.NEW, True)


def rejected(reject: Reject) -> tuple[Any, ...]:
    return ("rejected", reject, Source.POST)


# -- one order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["live", "delayed", "unmatched", "ORDER_STATUS_LIVE"])
def test_an_id_means_accepted_and_resting_words_fill_nothing(status: str) -> None:
    ordered = order()
    (report,) = api(ok(accepted(ordered, status=status)))[0].post_orders([ordered])
    assert summary(report) == ("new", None, Source.POST)
    assert isinstance(report, ExecutionReport)
    assert (report.order_id, report.cl_ord_id, report.recv_ns) == (ordered.order_id, "c1", 77)


@pytest.mark.parametrize(
    ("side", "amounts", "cum"),
    [
        (Side.BUY, {"makingAmount": "2.6", "takingAmount": "5"}, 5_000_000),
        (Side.SELL, {"makingAmount": "5.01", "takingAmount": "2.6"}, 5_010_000),
        (Side.BUY, {}, None),
    ],
)
def test_matched_says_how_many_shares_or_nothing(side: Side, amounts: dict[str, str], cum: int | None) -> None:
    ordered = order(side=side)
    (report,) = api(ok(accepted(ordered, status="matched", **amounts)))[0].post_orders([ordered])
    assert summary(report) == ("matched", cum, Source.POST)


@pytest.mark.parametrize(
    ("status", "text", "reject"),
    [
        (400, "invalid post-only order: order crosses book", Reject.POST_ONLY),
        (400, "order 0xab crosses the book", Reject.POST_ONLY),
        (400, "not enough balance / allowance: the balance is not enough -> balance: 0", Reject.BALANCE),
        (400, "order 0xab is invalid. Price (0.521) breaks minimum tick size rule: 0.01", Reject.TICK),
        (400, "order 0xab is invalid. Size (1) lower than the minimum: 5", Reject.MIN_SIZE),
        (400, "order_version_mismatch", Reject.VERSION),
        (500, "order_version_mismatch", Reject.VERSION),
        (400, "invalid signature", Reject.SIGNATURE),
        (401, "Unauthorized/Invalid api key", Reject.SIGNATURE),
        (403, "Trading restricted in your region", Reject.FORBIDDEN),
        (400, "'0x12' address in closed only mode", Reject.FORBIDDEN),
        (400, "maker address not allowed, please use the deposit wallet flow", Reject.FORBIDDEN),
        (400, "the market is not yet ready to process new orders", Reject.RESTRICTED),
        (503, "Trading is currently cancel-only. New orders are not accepted", Reject.RESTRICTED),
        (503, "post-only mode: only post-only orders and cancels are allowed", Reject.RESTRICTED),
        (503, "Trading is currently disabled. Check polymarket.com for updates", Reject.RESTRICTED),
        (400, "Invalid order payload", Reject.OTHER),
    ],
)
def test_definite_refusals_and_their_reasons(status: int, text: str, reject: Reject) -> None:
    ordered = order()
    (report,) = api(ok({"error": text}, status))[0].post_orders([ordered])
    assert summary(report) == rejected(reject)
    if status < 500:
        (late,) = api(ok(refusal(text)))[0].post_orders([ordered])  # older servers say it in a 200
        expected = {401: Reject.SIGNATURE, 403: Reject.FORBIDDEN}.get(status, reject)
        assert summary(late) == rejected(expected)


def test_a_429_is_a_refusal_whatever_its_body() -> None:
    reply = Reply(429, {"retry-after": "3", "poly-ratelimit-remaining": "0", "server": "x"}, b"<html>slow down</html>")
    client, _ = api(reply)
    outcome, left = client.post_orders([order()])
    assert summary(outcome) == rejected(Reject.RATE)
    assert left == RateLeft(kind=Budgeted.ORDERS, left=0)


@pytest.mark.parametrize(("header", "left"), [("-7", -7), ("", None), ("many", None)])
def test_what_the_venue_says_of_its_budget_stands_after_the_outcomes(header: str, left: int | None) -> None:
    reply = Reply(200, {"poly-ratelimit-remaining": header}, b'{"canceled":["0x1"],"not_canceled":{}}')
    said = api(reply)[0].cancel_orders([CancelOrder(cl_ord_id="c", order_id="0x1", symbol="0xm")])
    assert said[1:] == ([] if left is None else [RateLeft(kind=Budgeted.CANCELS, left=left)])


@pytest.mark.parametrize("status", [200, 400, 500])
def test_duplicated_proves_that_it_landed(status: int) -> None:
    ordered = order()
    text = f"order {ordered.order_id} is invalid. Duplicated."
    value = refusal(text) if status == 200 else {"error": text}
    assert summary(api(ok(value, status))[0].post_orders([ordered])[0]) == DUPLICATED


@pytest.mark.parametrize(
    "answer",
    [
        RequestFailed("timed out", sent=True),
        raw(500, b""),
        raw(502, b"<html>bad gateway</html>"),
        ok({"error": "internal error"}, 500),
        ok({"error": "could not insert order"}, 500),
        ok({"error": "order timed out"}, 400),
        ok(refusal("the trade contains rounding issues")),
        raw(425, b"service not ready"),
        ok({"error": "service not ready"}, 425),
        raw(403, b"<html>blocked</html>"),
        raw(400, b""),
        ok({"error": "what"}, 404),
        ok({"error": "what"}, 418),
        raw(200, b""),
        raw(200, b"<html></html>"),
        ok({}),
        ok([]),
        ok(None),
        ok({"success": False, "errorMsg": "", "orderID": ""}),
        ok({"success": True, "orderID": 7}),
    ],
)
def test_everything_else_is_unknown(answer: Answer) -> None:
    client, http = api(answer)
    assert [summary(message) for message in client.post_orders([order()])] == [UNKNOWN]
    assert len(http.asked) == 1  # never sent twice


def test_what_was_never_sent_is_refused_by_our_own_gate() -> None:
    client, _ = api(RequestFailed("connection refused", sent=False))
    assert summary(client.post_orders([order()])[0]) == ("rejected", Reject.OTHER, Source.GATE)


def test_another_id_than_ours_leaves_ours_unknown_and_reports_theirs() -> None:
    ordered = order()
    messages = api(ok(accepted(ordered, orderID="0xELSE")))[0].post_orders([ordered])
    assert [summary(message) for message in messages] == [UNKNOWN, ("new", None, Source.POST)]
    assert isinstance(messages[1], ExecutionReport)
    assert (messages[1].order_id, messages[1].cl_ord_id) == ("0xelse", "")


def test_one_order_goes_to_the_order_path_signed_and_written_is_told() -> None:
    ordered = order()
    client, http = api(ok(accepted(ordered)))
    seen: list[list[str]] = []
    client.post_orders([ordered], written=seen.append)
    assert seen == [[ordered.order_id]]
    method, path, body = http.asked[0]
    assert (method, path, body) == ("POST", "/order", SIGNER.body(ordered, "api-key"))
    assert http.headers[0]["POLY_TIMESTAMP"] == "1700000000"
    assert set(http.headers[0]) == {
        "POLY_ADDRESS",
        "POLY_SIGNATURE",
        "POLY_TIMESTAMP",
        "POLY_API_KEY",
        "POLY_PASSPHRASE",
    }


# -- a batch ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_answered_leg_by_leg_and_success_alone_means_nothing() -> None:
    first, second, third = order("c1"), order("c2"), order("c3")
    client, http = api(ok([accepted(first), refusal("order crosses book", success=True), accepted(third)]))
    outcomes = client.post_orders([first, second, third])
    assert [summary(message)[0] for message in outcomes] == ["new", "rejected", "new"]
    assert http.asked[0][1] == "/orders"
    assert [entry["order"]["salt"] for entry in json.loads(http.asked[0][2])] == [
        o.salt for o in (first, second, third)
    ]


def test_in_a_batch_an_id_rules_over_the_place() -> None:
    first, second = order("c1"), order("c2")
    swapped = [accepted(second), refusal("order crosses book")]
    outcomes = api(ok(swapped))[0].post_orders([first, second])
    assert [summary(message) for message in outcomes] == [UNKNOWN, ("new", None, Source.POST)]


@pytest.mark.parametrize("value", [{"error": "x"}, [], [refusal("order crosses book")], "x", ["x", "y"]])
def test_a_batch_answer_that_does_not_fit_leaves_every_leg_unknown(value: Any) -> None:
    outcomes = api(ok(value))[0].post_orders([order("c1"), order("c2")])
    assert [summary(message) for message in outcomes] == [UNKNOWN, UNKNOWN]


def test_a_short_batch_answer_still_counts_for_the_ids_in_it() -> None:
    first, second = order("c1"), order("c2")
    outcomes = api(ok([accepted(second)]))[0].post_orders([first, second])
    assert [summary(message)[0] for message in outcomes] == ["unknown", "new"]


def test_a_refused_batch_is_refused_whole_unless_it_names_one_order() -> None:
    first, second = order("c1"), order("c2")
    whole = api(ok({"error": "Too many orders in payload: 16, max allowed: 15"}, 400))[0].post_orders([first, second])
    assert [summary(message) for message in whole] == [rejected(Reject.OTHER)] * 2
    one = api(ok({"error": f"order {second.order_id} is invalid. Duplicated."}, 400))[0].post_orders([first, second])
    assert [summary(message) for message in one] == [UNKNOWN, DUPLICATED]


# -- cancels ---------------------------------------------------------------------------------------------------------


def cancel(name: str, order_id: str) -> CancelOrder:
    return CancelOrder(cl_ord_id=name, order_id=order_id, symbol="0xm")


CANCEL_UNKNOWN = ("unknown", Request.CANCEL, False)


def test_one_cancel_goes_to_the_order_path_and_several_to_the_orders_path() -> None:
    client, http = api(ok({"canceled": ["0xaa"], "not_canceled": {}}), ok({"canceled": ["0xAA", "0xbb"]}))
    assert [summary(message) for message in client.cancel_orders([cancel("c1", "0xaa")])] == [
        ("canceled", None, Source.CANCEL)
    ]
    assert len(client.cancel_orders([cancel("c1", "0xaa"), cancel("c2", "0xbb")])) == 2
    assert http.asked == [
        ("DELETE", "/order", b'{"orderID":"0xaa"}'),
        ("DELETE", "/orders", b'["0xaa","0xbb"]'),
    ]


def test_each_cancel_has_its_own_outcome() -> None:
    answer = {
        "canceled": ["0x1"],
        "not_canceled": {"0x2": "Order already matched", "0x3": "Order Not Found", "0x4": "try again later"},
    }
    cancels = [cancel("c", f"0x{number}") for number in range(1, 6)]
    assert [summary(message) for message in api(ok(answer))[0].cancel_orders(cancels)] == [
        ("canceled", None, Source.CANCEL),
        ("not canceled",),
        ("not canceled",),
        CANCEL_UNKNOWN,
        CANCEL_UNKNOWN,
    ]


@pytest.mark.parametrize(
    "answer",
    [raw(425, b""), ok({"error": "x"}, 401), raw(429, b""), raw(503, b"x"), ok({}), ok([]), raw(200, b"<html>")],
)
def test_any_other_answer_to_a_cancel_is_unknown(answer: Reply) -> None:
    assert summary(api(answer)[0].cancel_orders([cancel("c1", "0xaa")])[0]) == CANCEL_UNKNOWN


def test_a_cancel_is_tried_twice_at_most() -> None:
    failure = RequestFailed("reset", sent=True)
    client, http = api(failure, ok({"canceled": ["0xaa"], "not_canceled": {}}))
    assert summary(client.cancel_orders([cancel("c1", "0xaa")])[0])[0] == "canceled"
    client, http = api(failure, failure)
    assert summary(client.cancel_orders([cancel("c1", "0xaa")])[0]) == CANCEL_UNKNOWN
    assert len(http.asked) == 2


def test_cancel_all_lists_what_went_and_what_stayed() -> None:
    client, http = api(
        ok({"canceled": ["0xA"], "not_canceled": {"0xB": "already matched"}}), ok({"canceled": [], "not_canceled": {}})
    )
    report = client.cancel_all(MassCancel())
    assert (report.known, report.canceled, report.not_canceled, report.symbol) == (True, ("0xa",), ("0xb",), "")
    assert client.cancel_all(MassCancel(symbol="0xm")).symbol == "0xm"
    assert http.asked == [("DELETE", "/cancel-all", b""), ("DELETE", "/cancel-market-orders", b'{"market":"0xm"}')]


@pytest.mark.parametrize("answer", [raw(503, b""), ok({}), raw(200, b""), RequestFailed("x", sent=True)])
def test_cancel_all_without_a_good_answer_is_not_known(answer: Answer) -> None:
    assert not api(answer, answer)[0].cancel_all(MassCancel()).known


# -- reads -----------------------------------------------------------------------------------------------------------


def page(rows: list[Any], following: str = "LTE=") -> Reply:
    return ok({"limit": 500, "count": len(rows), "next_cursor": following, "data": rows})


def row(order_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": order_id,
        "status": "ORDER_STATUS_LIVE",
        "market": "0xm",
        "asset_id": "1",
        "side": "BUY",
        "original_size": "10",
        "size_matched": "2.5",
        "price": "0.52",
    } | fields


def test_open_orders_are_read_to_the_last_page() -> None:
    rows = [row("0xA"), row("0xgone", status="CANCELED")]
    client, http = api(page(rows, "Mg=="), page([row("0xb", size_matched="")]))
    read = client.open_orders(asked_ns=5)
    assert read.orders is not None
    assert [(o.order_id, o.px, o.order_qty, o.cum_qty) for o in read.orders] == [
        ("0xa", 5200, 10_000_000, 2_500_000),
        ("0xb", 5200, 10_000_000, 0),
    ]
    assert (read.asked_ns, read.recv_ns) == (5, 77)
    assert [path for _, path, _ in http.asked] == [
        "/data/orders?next_cursor=MA%3D%3D",
        "/data/orders?next_cursor=Mg%3D%3D",
    ]


@pytest.mark.parametrize(
    "answers",
    [
        [raw(500, b"")],
        [ok([])],
        [ok({"data": []})],
        [ok({"data": [], "next_cursor": ""})],
        [ok({"data": None, "next_cursor": "LTE="})],
        [page([], "MA==")],  # a circle
        [page([row("0xa")], "Mg=="), raw(503, b"")],  # a part
        [page([row("0xa")], "Mg=="), RequestFailed("x", sent=True), RequestFailed("x", sent=True)],
        [page(["x"])],
        [page([row("0xa", price=None)])],
        [page([row("0xa", status="SOMETHING")])],
    ],
)
def test_a_failed_or_partial_read_is_unknown_never_empty(answers: list[Answer]) -> None:
    read = api(*answers)[0].open_orders(asked_ns=5)
    assert read.orders is None
    assert read.text


def test_pages_without_end_are_given_up() -> None:
    assert api(*(page([], f"p{n}") for n in range(99)))[0].open_orders(asked_ns=5).orders is None


def trade(trade_id: str, order_id: str) -> dict[str, Any]:
    return {
        "id": trade_id,
        "status": "CONFIRMED",
        "market": "0xm",
        "asset_id": "2",
        "side": "BUY",
        "taker_order_id": "0xt",
        "trader_side": "MAKER",
        "match_time": "1793750401",
        "maker_orders": [
            {
                "order_id": order_id,
                "owner": "api-key",
                "maker_address": WALLET,
                "asset_id": "1",
                "side": "BUY",
                "price": "0.52",
                "matched_amount": "4",
            }
        ],
    }


def test_trades_since_a_second_are_our_own_legs() -> None:
    client, http = api(page([trade("t1", "0xa"), trade("t2", "0xb")]))
    read = client.trades(TradesRequest(after_utc_s=1793750000, asked_ns=5))
    assert read.trades is not None
    assert [(leg.exec_id, leg.order_id, leg.last_qty, leg.source) for leg in read.trades] == [
        ("t1", "0xa", 4_000_000, Source.READ),
        ("t2", "0xb", 4_000_000, Source.READ),
    ]
    assert http.asked[0][1] == "/data/trades?after=1793750000&next_cursor=MA%3D%3D"


def test_one_unreadable_trade_makes_the_read_unknown() -> None:
    broken = trade("t2", "0xb") | {"status": "NEW_WORD"}
    read = api(page([trade("t1", "0xa"), broken]))[0].trades(TradesRequest(after_utc_s=1, asked_ns=5))
    assert read.trades is None


def status_of(*answers: Answer) -> tuple[Any, ScriptedHttp]:
    client, http = api(*answers)
    return client.order_status(OrderStatusRequest(cl_ord_id="c1", order_id="0xa", symbol="0xm", asked_ns=5)), http


@pytest.mark.parametrize(
    ("answer", "found", "cum"),
    [
        (ok(row("0xa")), FoundStatus.LIVE, 2_500_000),
        (ok(row("0xA", status="MATCHED", size_matched="10")), FoundStatus.MATCHED, 10_000_000),
        (ok(row("0xa", status="CANCELED_MARKET_RESOLVED", size_matched=None)), FoundStatus.CANCELED, 0),
        (ok(None), FoundStatus.ABSENT, 0),
        (ok({"error": "order not found"}, 404), FoundStatus.ABSENT, 0),
    ],
)
def test_one_order_by_id_with_its_own_trades(answer: Reply, found: FoundStatus, cum: int) -> None:
    report, http = status_of(answer, page([trade("t1", "0xa"), trade("t2", "0xb")]))
    assert (report.found, report.cum_qty) == (found, cum)
    assert [leg.exec_id for leg in report.trades] == ["t1"]
    assert [path for _, path, _ in http.asked] == ["/data/order/0xa", "/data/trades?market=0xm&next_cursor=MA%3D%3D"]


@pytest.mark.parametrize(
    "answers",
    [
        [raw(404, b"<html>")],
        [raw(500, b"")],
        [ok(row("0xother"))],
        [ok(row("0xa", status="?"))],
        [ok(row("0xa")), raw(500, b"")],
        [RequestFailed("dns", sent=False), RequestFailed("dns", sent=False)],
    ],
)
def test_a_failed_lookup_says_nothing(answers: list[Answer]) -> None:
    report, _ = status_of(*answers)
    assert (report.found, report.cl_ord_id) == (None, "c1")


def test_balance_is_micro_usd() -> None:
    client, http = api(ok({"balance": "25000000", "allowances": {}}))
    read = client.balance(BalanceRequest(asked_ns=5))
    assert read.cash == 25_000_000
    assert http.asked[0][1] == "/balance-allowance?asset_type=COLLATERAL&signature_type=0"
    for answer in (raw(500, b""), ok({}), ok([]), ok({"balance": "x"})):
        assert api(answer)[0].balance(BalanceRequest(asked_ns=5)).cash is None


def test_shares_are_read_by_token() -> None:
    client, http = api(ok({"balance": "4893500", "allowances": {}}))
    read = client.shares(SharesRequest(symbol="0xm", asset_id="77", asked_ns=5))
    assert (read.symbol, read.asset_id, read.qty, read.asked_ns) == ("0xm", "77", 4_893_500, 5)
    assert http.asked[0][1] == "/balance-allowance?asset_type=CONDITIONAL&token_id=77&signature_type=0"
    assert api(raw(500, b""))[0].shares(SharesRequest(symbol="0xm", asset_id="77", asked_ns=5)).qty is None


# -- heartbeat and the rest ------------------------------------------------------------------------------------------


def test_a_beat_is_accepted_with_the_next_id() -> None:
    client, http = api(ok({"heartbeat_id": "h2"}))
    result = client.heartbeat("h1")
    assert (result.accepted, result.next_id, result.ambiguous) == (True, "h2", False)
    assert http.asked[0] == ("POST", "/v1/heartbeats", b'{"heartbeat_id":"h1"}')


def test_a_wrong_beat_names_the_expected_id() -> None:
    result = api(ok({"error_msg": "Invalid Heartbeat ID", "heartbeat_id": "h9"}, 400))[0].heartbeat("h1")
    assert (result.accepted, result.expected_id, result.status, result.ambiguous) == (False, "h9", 400, False)


@pytest.mark.parametrize(
    ("answer", "ambiguous"),
    [
        (RequestFailed("x", sent=True), True),
        (RequestFailed("x", sent=False), False),
        (raw(500, b""), True),
        (raw(200, b"<html>"), True),
        (ok({"error": "x"}), True),
        (raw(401, b""), False),
    ],
)
def test_a_beat_without_good_answer_is_not_accepted(answer: Answer, ambiguous: bool) -> None:
    client, http = api(answer)
    result = client.heartbeat("h1")
    assert (result.accepted, result.ambiguous, len(http.asked)) == (False, ambiguous, 1)


def test_warming_asks_only_when_idle_and_survives_failure() -> None:
    client, http = api(raw(200, b"1"), RequestFailed("x", sent=True))
    client.warm()
    assert http.asked == []
    http.used_s -= 60
    client.warm()
    assert http.asked == [("GET", "/time", b"")]
    client.warm()
    assert http.closed == 1


def test_status_words() -> None:
    assert found_status("ORDER_STATUS_LIVE") is FoundStatus.LIVE
    assert found_status("CANCELED_order couldn't be placed") is FoundStatus.CANCELED
    with pytest.raises(FrameError):
        found_status(None)


@pytest.mark.parametrize("told", ["--1", "\u00b2", "9" * 30, "9" * 5000, "1.5", ""])
def test_a_budget_that_is_no_count_is_not_told(told: str) -> None:
    client, _ = api(ok({"canceled": ["0xaa"]}, headers={"poly-ratelimit-remaining": told}))
    assert len(client.cancel_orders([cancel("c1", "0xaa")])) == 1


def test_a_list_of_what_is_no_id_cancels_nothing() -> None:
    client, _ = api(ok({"canceled": [{"id": "0xaa"}]}))
    assert [summary(message) for message in client.cancel_orders([cancel("c1", "0xaa")])] == [CANCEL_UNKNOWN]
