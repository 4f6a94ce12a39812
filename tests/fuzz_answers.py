"""Answers over HTTP (fuzz.py): the reader of answers, every private call, and what is asked about markets and time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import orjson
from desk_fake import SYMBOL, UP
from fuzz import Target
from fuzz_checks import (
    BID,
    CREDENTIALS,
    INT64,
    KEY,
    OFFER,
    PRIVATE_KEY,
    T0,
    WALLET,
    fits,
    named_in,
    order_event,
    told,
    trade_event,
)

from bot.errors import BotError
from bot.messages import (
    BalanceRequest,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    MarketListed,
    MassCancel,
    Message,
    NewOrder,
    OrderStatusRequest,
    OutcomeUnknown,
    RateLeft,
    SharesRequest,
    Side,
    TimerTick,
    TradesRequest,
)
from bot.units import NS_PER_S, PX_ONE
from bot.venues.cancel_client import CancelClient
from bot.venues.clob_answer import Reply, read_answer
from bot.venues.clob_login import hmac_headers
from bot.venues.polymarket_gateway import ClobApi
from bot.venues.polymarket_markets import Markets
from bot.venues.signing import Signer
from bot.venues.venue_clock import VenueClock


def http_run(data: bytes) -> None:
    """However it is cut, the same answer or the same refusal."""
    outcomes = []
    for step in (len(data) or 1, 1 + len(data) // 3):
        pieces = iter([data[start : start + step] for start in range(0, len(data), step)])
        try:
            reply, _ = read_answer(lambda pieces=pieces: next(pieces, b""))
        except ValueError as error:
            assert len(str(error)) < 500
            outcomes.append(None)
            continue
        assert 200 <= reply.status <= 999 and len(reply.body) <= len(data)
        outcomes.append((reply.status, reply.body))
    assert outcomes[0] == outcomes[1]


class OneAnswer:
    """A connection on which every request gets the same answer."""

    used_s = 0.0

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def ready(self, until: float | None = None) -> None: ...

    def request(self, *_: Any, **__: Any) -> Reply:
        return self.reply

    def close(self) -> None: ...


def new_order(index: int) -> NewOrder:
    return NewOrder(
        cl_ord_id=f"a-{index}", order_id=(BID, OFFER)[index], symbol=SYMBOL, asset_id="1", side=Side.BUY, px=4800,
        order_qty=20_000_000, maker_amount=9_600_000, taker_amount=20_000_000, salt=index, timestamp_ms=T0 * 1000,
        version=2, neg_risk=False, tick=100, epoch=0, valid_until_ns=10**18, made_ns=0,
    )  # fmt: skip


class Unsigned(Signer):
    """Signs nothing: what is sent does not matter here."""

    def body(self, order: NewOrder, api_key: str) -> bytes:
        return b"{}"


UNSIGNED = Unsigned(PRIVATE_KEY, chain_id=137)
ORDERS = [new_order(0), new_order(1)]
CANCELS = [CancelOrder(cl_ord_id=order.cl_ord_id, order_id=order.order_id, symbol=SYMBOL) for order in ORDERS]
STATUSES = (200, 200, 200, 200, 400, 401, 403, 404, 425, 429, 500, 503)


def _outcomes(requests_: list[Any], messages: list[Message], status: int, names: set[str]) -> list[Message]:
    """Exactly one for each; an ack or a cancel is in the answer by name; a refusal says why."""
    facts = [message for message in messages if not isinstance(message, RateLeft)]
    for request in requests_:
        mine = [m for m in facts if getattr(m, "order_id", "") == request.order_id]
        kinds = {type(m) for m in mine}
        assert len(mine) == 1 and kinds <= {ExecutionReport, OutcomeUnknown, CancelReject}
    for fact in facts:
        if isinstance(fact, ExecutionReport) and fact.exec_type is not ExecType.REJECTED:
            assert status == 200 and fact.order_id in names
        if isinstance(fact, CancelReject):
            assert status == 200 and fact.order_id in names
    return messages


def rest_run(data: bytes) -> None:
    if len(data) < 2:
        return
    status, body = STATUSES[data[1] % len(STATUSES)], data[2:]
    reply = Reply(status, {"poly-ratelimit-remaining": body[:400].decode("latin-1").strip()}, body)
    api = ClobApi(OneAnswer(reply), UNSIGNED, CREDENTIALS, clock=lambda: 10 * NS_PER_S)
    names = named_in(body)
    match data[0] % 10:
        case 0:
            told(_outcomes(ORDERS[:1], api.post_orders(ORDERS[:1]), status, names))
        case 1:
            told(_outcomes(ORDERS, api.post_orders(ORDERS), status, names))
        case 2:
            told(_outcomes(CANCELS, api.cancel_orders(CANCELS), status, names))
        case 3:
            report = api.cancel_all(MassCancel())
            assert not report.known or (status == 200 and set(report.canceled) <= names)
            told([report])
        case 4:
            orders = api.open_orders(1)
            assert orders.orders is None or (status == 200 and {row.order_id for row in orders.orders} <= names)
            told([orders])
            with contextlib.suppress(BotError):
                client = CancelClient(OneAnswer(reply), hmac_headers(CREDENTIALS, WALLET))  # type: ignore[arg-type]
                assert {order_id.lower() for order_id in client.resting("")} <= names
        case 5:
            trades = api.trades(TradesRequest(after_utc_s=T0, asked_ns=1))
            assert trades.trades is None or status == 200
            assert all({t.order_id, t.exec_id.lower()} <= names for t in trades.trades or ())
            told([trades])
        case 6:
            state = api.order_status(OrderStatusRequest(cl_ord_id="a", order_id=BID, symbol="", asked_ns=1))
            assert state.found is None or status in (200, 404)
            told([state])
        case 7:
            cash = api.balance(BalanceRequest(asked_ns=1))
            assert cash.cash is None or (status == 200 and cash.cash >= 0)
            shares = api.shares(SharesRequest(symbol=SYMBOL, asset_id=UP, asked_ns=1))
            assert shares.qty is None or (status == 200 and shares.qty >= 0)
            told([cash, shares])
        case _:
            beat = api.heartbeat("h1")
            assert not beat.accepted or status == 200
            assert not (beat.next_id or beat.expected_id) or (beat.next_id or beat.expected_id).lower() in names


def answers(call: int, *values: Any) -> tuple[bytes, ...]:
    return tuple(bytes([call, 0]) + orjson.dumps(value) for value in values)


def a_page(*rows: Any) -> dict[str, Any]:
    return {"limit": 100, "count": len(rows), "next_cursor": "LTE=", "data": list(rows)}


def acked(order_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "success": True, "errorMsg": "", "orderID": order_id, "status": "live", "takingAmount": "", "makingAmount": "",
        "transactionsHashes": [],
    } | fields  # fmt: skip


REST = (
    answers(0, acked(BID), acked(BID, status="matched", takingAmount="20", makingAmount="9.6"),
            {"success": False, "errorMsg": "not enough balance / allowance"}, {"error": "Duplicated"})
    + (bytes([0, 4]) + b'{"error":"order crosses the book"}', bytes([0, 11]) + b"<html>busy</html>")
    + answers(1, [acked(BID), acked(OFFER, status="delayed")], [acked(OFFER), {"errorMsg": "crosses"}])
    + (bytes([1, 4]) + orjson.dumps({"error": f"order {OFFER} is invalid"}),)
    + answers(2, {"canceled": [BID], "not_canceled": {OFFER: "already matched"}})
    + answers(3, {"canceled": [BID, OFFER], "not_canceled": {}})
    + answers(4, a_page(order_event()), a_page())
    + answers(5, a_page(trade_event(), trade_event(status="FAILED")))
    + answers(6, order_event(status="ORDER_STATUS_MATCHED", size_matched="20"), a_page(trade_event()) | order_event(), None)
    + answers(7, {"balance": "500000000", "allowances": {}})
    + answers(8, {"heartbeat_id": "h2"}, {"status": "ok"})
    + (bytes([8, 4]) + b'{"heartbeat_id":"h3","error_msg":"Invalid Heartbeat ID"}',)
)  # fmt: skip


class Asked:
    """Answers the questions about markets: the spoilt value for those of one kind, good ones for the others."""

    def __init__(self, kind: int, value: Any) -> None:
        self.kind, self.value = kind, value

    def get(self, url: str, params: Mapping[str, str] | None = None) -> tuple[int, Any]:
        kinds = ("/version", "/events", "/clob-markets", "/markets/", "/time")
        kind = next(n for n, part in enumerate(kinds) if part in url)
        if kind == self.kind:
            return 200, self.value
        return 200, (2, A_EVENT, SOME_FACTS, WON, T0)[kind]


def metadata_run(data: bytes) -> None:
    """One market found, listed and followed to its resolution, with one of the answers spoilt."""
    if not data:
        return
    try:
        value = orjson.loads(data[1:])
    except orjson.JSONDecodeError:
        return
    http = Asked(data[0] % 5, value)
    series = SERIES[(data[0] // 5) % len(SERIES)]
    markets = Markets(http, "http://gamma", "http://clob", [series])
    said = markets.poll(T0 * NS_PER_S, NS_PER_S)
    said += markets.poll((T0 + 302) * NS_PER_S, 303 * NS_PER_S)
    said += markets.poll((T0 + 305) * NS_PER_S, 306 * NS_PER_S)
    fits(said)
    for message in said:
        if isinstance(message, MarketListed):
            market = message.market
            assert 0 < market.tick <= PX_ONE and PX_ONE % market.tick == 0 and 0 <= market.min_qty < INT64
            assert market.start_utc_ns < market.end_utc_ns
            rates = (market.fee_rate, market.fee_exponent, market.rebate_rate, market.reward_usd_day)
            assert all(map(math.isfinite, rates))
    clock = VenueClock(monotonic=lambda: 5, wall=lambda: T0 * NS_PER_S)
    for url in ("http://binance", ""):
        clock.sync(http, url, "http://clob")
        fits([TimerTick(name="x", now_ns=1, utc_ns=clock.utc_ns(10**15))])


SERIES = ("btc-updown-5m", "btc-updown-1h", "btc-updown-4h", "btc-updown-1d")
A_MARKET = {
    "conditionId": "0xc1", "slug": f"btc-updown-5m-{T0}", "version": "v1", "outcomes": '["Up", "Down"]', "closed": True,
    "outcomePrices": '["1", "0"]', "clobTokenIds": '["11", "12"]', "positionIds": ["17", "18"], "negRisk": False,
    "orderPriceMinTickSize": 0.01, "orderMinSize": 5, "eventStartTime": "2026-11-04T00:00:00Z", "endDate": "2026-11-04T00:05:00Z",
    "resolutionSource": "https://data.chain.link/streams/btc-usd-twap-60s-streams", "rewardsMinSize": 50,
    "rewardsMaxSpread": 4.5, "clobRewards": [{"rewardsDailyRate": 5, "startDate": "2026-01-01", "endDate": "2027-01-01"}],
    "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
    "cryptoMarketConfig": {"asset": "btc", "twapEnabled": True, "twapLookbackSeconds": 60},
}  # fmt: skip
A_EVENT = {"slug": A_MARKET["slug"], "markets": [A_MARKET | {"closed": False}]}
SOME_FACTS = {
    "c": "0xc1", "t": [{"t": "11", "o": "Up"}, {"t": "12", "o": "Down"}], "mos": 5, "mts": 0.01, "ao": True,
    "itode": False, "sd": 0.5, "nr": False, "fd": {"r": 0.07, "e": 1, "to": True},
}  # fmt: skip
WON = {"condition_id": "0xc1", "tokens": [{"token_id": "11", "outcome": "Up", "winner": True}, {"token_id": "12"}]}
METADATA = (
    tuple(bytes([place]) + orjson.dumps(A_EVENT) for place in (1, 6, 11, 16))
    + (b"\x01" + orjson.dumps([{"slug": A_MARKET["slug"], "markets": [A_MARKET]}]), b"\x00" + b'{"version":2}')
    + (b"\x02" + orjson.dumps(SOME_FACTS), b"\x03" + orjson.dumps(WON), b"\x04" + b"1793750400")
    + (b"\x04" + b'{"serverTime":1793750400123}',)
)

ANSWERS = (
    Target("http", http_run, (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: keep-alive\r\n\r\n{\"status\":\"ok\"}",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.0 502 Bad Gateway\r\nServer: x\r\n\r\n<html>until it closes</html>",
        b"HTTP/1.1 204 No Content\nContent-Length: 5\n\n",
    ), words=("HTTP/1.1", "chunked", "Transfer-Encoding", "Content-Length", "close", "ffffffffff")),
    Target("rest", rest_run, REST, json=True, head=2, words=(f'"{BID}"', f'"{OFFER}"', '"matched"', '"LTE="', '"TAKER"', f'"{KEY}"')),
    Target("metadata", metadata_run, METADATA, json=True, head=1, words=('"v2"', '"binance"', '"[]"', '"0.3"')),
)  # fmt: skip
