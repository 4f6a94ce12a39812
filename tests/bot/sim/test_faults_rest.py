"""Every fault that shows on REST calls, in settlement and in the markets: caused by its id, seen on the wire."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import websocket
from fidelity import QUIET
from py_clob_client_v2 import clob_types as types
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
from py_clob_client_v2.signing.hmac import build_hmac_signature

from bot.sim.quirks import Quirks
from bot.sim.server import VenueOptions, VenueThread

Wire = Any
salts = itertools.count(1)


class Desk:
    """One wallet at one venue, speaking plain HTTP."""

    def __init__(self, venue: VenueThread) -> None:
        self.venue, self.info = venue, venue.info
        self.client = ClobClient(venue.info["rest_url"], 137, key=venue.info["private_key"])
        self.client.set_api_creds(self.client.create_or_derive_api_key())
        markets = venue.call(lambda inside: list(inside.exchange.markets.values()))
        market = max(markets, key=lambda one: one.start_ms)  # far from its start: nothing of the world's moves it
        self.market, self.up = market.condition_id, market.up_token

    # -- faults --------------------------------------------------------------------------------------------------------

    def fault(self, fault_id: str, **keys: Any) -> dict[str, Any]:
        answer = requests.post(self.info["url"] + "/control/faults", json={"id": fault_id, **keys}, timeout=5)
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def count(self, fault: dict[str, Any]) -> int:
        rows = requests.get(self.info["url"] + "/control/faults", timeout=5).json()
        return sum(int(row["count"]) for row in rows if row["seq"] == fault["seq"])

    def quiet(self) -> None:
        """Nothing rests, no fault goes on."""
        self.venue.call(lambda inside: inside.faults.stop())
        until(lambda: not self.venue.call(lambda inside: inside.skew_s))
        until(lambda: self.cancel_all() and not self.live())

    # -- calls ---------------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, timeout: float = 5.0, **headers: str) -> requests.Response:
        stamp = str(int(time.time()))
        bare, text = path.partition("?")[0], "" if body is None else json.dumps(body, separators=(",", ":"))
        proof = {
            "POLY_ADDRESS": self.info["address"],
            "POLY_API_KEY": self.info["api_key"],
            "POLY_PASSPHRASE": self.info["api_passphrase"],
            "POLY_TIMESTAMP": stamp,
            "POLY_SIGNATURE": build_hmac_signature(self.info["api_secret"], stamp, method, bare, text),
        }
        return requests.request(
            method, self.info["rest_url"] + path, data=text, headers={**proof, **headers}, timeout=timeout
        )

    def order(self, price: float = 0.02, size: float = 10, post_only: bool = True, token: str = "") -> dict[str, Any]:
        """A signed order as it is posted."""
        args = types.OrderArgs(token_id=token or self.up, price=price, size=size, side="BUY")
        body: dict[str, Any] = order_to_json_v2(self.client.create_order(args), self.client.creds.api_key, "GTC", False)
        return {**body, "postOnly": post_only}

    def post(self, body: Any = None, timeout: float = 5.0) -> requests.Response:
        body = body or self.order()
        return self.call("POST", "/orders" if isinstance(body, list) else "/order", body, timeout)

    def placed(self, **keys: Any) -> str:
        """The id of an order that rests."""
        order_id: str = self.post(self.order(**keys)).json()["orderID"]
        return order_id

    def cancel_all(self) -> Any:
        return self.call("DELETE", "/cancel-all").json()

    def cancel(self, order_id: str) -> requests.Response:
        return self.call("DELETE", "/order", {"orderID": order_id})

    def ids(self, cursor: str = "") -> list[str]:
        rows = self.call("GET", f"/data/orders?next_cursor={cursor}").json()["data"]
        return [row["id"] for row in rows]

    def find(self, order_id: str) -> Any:
        return self.call("GET", f"/data/order/{order_id}").json()

    def trades(self, order_id: str) -> list[dict[str, Any]]:
        rows = self.call("GET", "/data/trades").json()["data"]
        return [row for row in rows if any(leg["order_id"] == order_id for leg in row["maker_orders"])]

    def truth(self, order_id: str) -> str:
        """The status of an order in the exchange's own books, "" for one that never was."""
        found = self.venue.call(lambda inside: inside.exchange.order(order_id))
        return found.status if found is not None else ""

    def live(self) -> list[str]:
        """What rests in truth."""
        owner = self.info["address"].lower()
        return self.venue.call(
            lambda inside: [order.order_id for order in inside.exchange.orders_of(owner, open_only=True)]
        )

    def take(self, order_id: str, shares: float = 4) -> str:
        """Somebody trades against our order; the trade's id."""
        return self.venue.call(
            lambda inside: inside.exchange.sweep(order_id, int(shares * 1e6), int(time.time() * 1000))
        )


@pytest.fixture(scope="module")
def running() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=31, parameters=QUIET, quirks=Quirks(positions_lag_ms=0))) as venue:
        yield venue


@pytest.fixture(scope="module")
def shared(running: VenueThread) -> Desk:
    return Desk(running)


@pytest.fixture
def desk(shared: Desk) -> Iterator[Desk]:
    yield shared
    shared.quiet()


def until(test: Callable[[], Any], timeout_s: float = 5.0) -> Any:
    """The first true value; asking is what takes the time."""
    deadline = time.monotonic() + timeout_s
    while not (found := test()):
        assert time.monotonic() < deadline, "it did not come"
    return found


# -- answers to POST ---------------------------------------------------------------------------------------------------

# id, keys; status, part of the text; how many orders rest afterwards
ANSWERS: list[tuple[str, dict[str, Any], int, str, int]] = [
    ("P02", {}, 502, "<h1>502 Bad Gateway</h1>", 1),
    ("P02", {"kind": "html", "effect": False}, 502, "cloudflare", 0),
    ("P02", {"kind": "text"}, 500, '{"error":"could not insert order"}', 1),
    ("P02", {"kind": "empty", "effect": False}, 503, "", 0),
    ("P02", {"kind": "text", "text": "order timed out"}, 500, '{"error":"order timed out"}', 1),
    ("P04", {}, 400, "is invalid. Duplicated.", 1),
    ("P05", {"text": "order canceled in the CTF exchange contract", "status": 400}, 400, "in the CTF exchange", 0),
    ("P05", {}, 200, '"success":false,"errorMsg":"invalid expiration","orderID":"","status":""', 0),
    ("P06", {}, 200, "", 1),
    ("P06", {"kind": "html"}, 200, "<html>", 1),
    ("P06", {"kind": "json", "effect": False}, 200, '{"ok":true}', 0),
    ("P09", {"delay_ms": 100}, 200, '"status":"delayed","makingAmount":"","takingAmount":""', 1),
    ("P09", {"kind": "unmatched", "delay_ms": 100}, 200, '"status":"unmatched","makingAmount":"","takingAmount":""', 1),
    ("P10", {}, 400, '{"error":"order_version_mismatch"}', 0),
    ("P10", {"status": 500}, 500, '{"error":"order_version_mismatch"}', 0),
    ("P11", {"duration_s": 0.3, "post_only_s": 0.0}, 425, "service not ready", 0),
    ("P11", {"kind": "empty", "duration_s": 0.3, "post_only_s": 0.0}, 425, "", 0),
    ("P12", {}, 503, "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed.", 0),
    ("P12", {"kind": "disabled"}, 503, "Trading is currently disabled. Check polymarket.com for updates", 0),
    ("P13", {}, 429, "Too Many Requests", 0),
    ("P13", {"kind": "edge"}, 429, "error code: 1015", 0),
    ("P15", {}, 403, "Sorry, you have been blocked", 0),
    ("P15", {"kind": "geo"}, 403, "Trading restricted in your region", 0),
    ("P16", {}, 400, "not enough balance / allowance: the balance is not enough -> balance: ", 0),
    ("P18", {}, 400, "invalid post-only order: order crosses book", 0),
    ("P18", {"kind": "id"}, 400, " crosses the book", 0),
    ("A01", {}, 401, "Unauthorized/Invalid api key", 0),
    ("A01", {"kind": "skew", "duration_s": 0.2}, 401, "Unauthorized/Invalid api key", 0),
]


@pytest.mark.parametrize("fault_id,keys,status,text,resting", ANSWERS)
def test_a_post_is_answered_so(
    desk: Desk, fault_id: str, keys: dict[str, Any], status: int, text: str, resting: int
) -> None:
    order = desk.order()
    fault = desk.fault(fault_id, **keys)
    answer = desk.post(order)
    assert (answer.status_code, answer.text if not text else text in answer.text) == (status, True if text else "")
    assert len(desk.live()) == resting
    assert desk.count(fault) == 1


BATCHES: list[tuple[str, dict[str, Any], int, str, int]] = [
    ("P02", {"kind": "text"}, 500, '{"error":"could not insert order"}', 2),
    ("P04", {}, 200, "is invalid. Duplicated.", 2),
    ("P05", {}, 200, '[{"success":false,"errorMsg":"invalid expiration"', 0),
    ("P09", {"delay_ms": 100}, 200, '"status":"delayed"', 2),
    ("P16", {}, 200, '"errorMsg":"not enough balance / allowance', 0),
    ("P18", {}, 200, '"errorMsg":"invalid post-only order: order crosses book","orderID":""', 0),
]


@pytest.mark.parametrize("fault_id,keys,status,text,resting", BATCHES)
def test_a_batch_is_answered_so(
    desk: Desk, fault_id: str, keys: dict[str, Any], status: int, text: str, resting: int
) -> None:
    batch = [desk.order(), desk.order(0.03)]
    desk.fault(fault_id, **keys)
    answer = desk.post(batch)
    assert (answer.status_code, text in answer.text, len(desk.live())) == (status, True, resting)
    assert status != 200 or len(answer.json()) == 2


@pytest.mark.parametrize(
    "keys,resting",
    [({}, 1), ({"kind": "lost"}, 0), ({"kind": "silent", "hang_s": 0.2}, 1), ({"kind": "late", "delay_ms": 50}, 1)],
)
def test_p01_no_answer_to_a_post(desk: Desk, keys: dict[str, Any], resting: int) -> None:
    order = desk.order()
    desk.fault("P01", **keys)
    with pytest.raises(requests.ConnectionError):
        desk.post(order)
    if resting:
        until(desk.live)
    assert len(desk.live()) == resting
    answer = desk.post(order)  # asking again proves what happened
    assert ("Duplicated" in answer.text) is bool(resting)


def test_p01_befalls_any_call_that_is_named(desk: Desk) -> None:
    desk.fault("P01", match="/data/trades")
    assert desk.ids() == []
    with pytest.raises(requests.ConnectionError):
        desk.call("GET", "/data/trades")


def test_a_call_without_an_answer_has_no_status_in_the_log(desk: Desk) -> None:
    desk.fault("P01")
    with pytest.raises(requests.ConnectionError):
        desk.post()
    (*_, row) = requests.get(desk.info["url"] + "/control/log", timeout=5).json()
    assert (row["method"], row["path"], row["status"]) == ("POST", "/order", 0)


def test_p03_a_client_that_repeats_by_itself_is_seen_in_the_log(desk: Desk) -> None:
    log = desk.info["url"] + "/control/log"
    last = requests.get(log, timeout=5).json()[-1]["seq"]
    stock = ClobClient(
        desk.info["rest_url"], 137, key=desk.info["private_key"], creds=desk.client.creds, retry_on_error=True
    )
    order = stock.create_order(types.OrderArgs(token_id=desk.up, price=0.02, size=10, side="BUY"))
    desk.fault("P02")
    with pytest.raises(Exception, match="Duplicated"):
        stock.post_order(order)
    rows = requests.get(log, params={"after": last}, timeout=5).json()
    assert [row["status"] for row in rows if row["path"] == "/order"] == [502, 400]
    assert len(desk.live()) == 1


def test_p09_delayed_orders_cannot_be_cancelled_and_rest_later(desk: Desk) -> None:
    desk.fault("P09", delay_ms=300)
    order_id = desk.post().json()["orderID"]
    assert desk.find(order_id)["status"] == "DELAYED"
    assert desk.cancel(order_id).json()["not_canceled"] == {order_id: "order match delayed due to market conditions"}
    until(lambda: desk.find(order_id)["status"] == "LIVE")


def test_p11_after_a_restart_only_post_only_orders_are_taken(desk: Desk) -> None:
    post_only, plain = desk.order(), desk.order(0.03, post_only=False)
    desk.fault("P11", duration_s=0.2, post_only_s=1.0)
    assert desk.call("DELETE", "/cancel-all").status_code == 425
    (answer,) = until(lambda: [reply for reply in [desk.post(plain)] if reply.status_code != 425])
    left_s = int(answer.headers["Retry-After"])
    assert answer.status_code == 503
    assert answer.json() == {
        "error": "post-only mode: only post-only orders and cancels are allowed",
        "code": "post_only_mode",
        "retry_after_seconds": left_s,
    }
    good, bad = desk.post([post_only, plain]).json()
    assert good["errorMsg"] == "" and good["orderID"]
    assert (bad["success"], bad["orderID"]) == (False, "")
    assert bad["errorMsg"].startswith("post-only mode")
    assert desk.cancel_all()["canceled"] == [good["orderID"]]
    until(lambda: desk.post(plain).status_code == 200)


def test_p11_a_post_only_window_may_come_by_itself(desk: Desk) -> None:
    post_only, plain = desk.order(), desk.order(0.03, post_only=False)
    desk.fault("P11", kind="post-only", duration_s=0.3)
    refused = desk.post(plain)
    assert (refused.status_code, refused.json()["code"]) == (503, "post_only_mode")
    assert desk.cancel(desk.post(post_only).json()["orderID"]).status_code == 200
    until(lambda: desk.post(plain).status_code == 200)


def test_p12_cancels_pass_unless_trading_is_disabled(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("P12", kind="disabled", count=1)
    assert desk.call("DELETE", "/cancel-all").status_code == 503
    desk.fault("P12")
    assert desk.cancel(order_id).json()["canceled"] == [order_id]


def test_p13_a_signers_budget_is_told_in_headers(desk: Desk) -> None:
    desk.fault("P13", retry_after_s=3)
    refused = desk.call("DELETE", "/cancel-all")
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "3"
    assert refused.headers["Poly-RateLimit-Remaining"] == "0"
    assert refused.headers["Poly-RateLimit-Tier"] == "Standard"


@pytest.mark.parametrize("status", [429, 418])
def test_p13_the_reference_exchange_refuses_or_bans_and_says_how_long(desk: Desk, status: int) -> None:
    url = desk.info["binance_rest_url"] + "/api/v3/time"
    fault = desk.fault("P13", kind="reference", status=status, retry_after_s=7, count=1)
    assert desk.call("GET", "/time").status_code == 200
    refused, again = requests.get(url, timeout=5), requests.get(url, timeout=5)
    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (status, -1003, "7")
    assert (again.status_code, desk.count(fault)) == (200, 1)


def test_p13_the_reference_exchange_refuses_new_streams(desk: Desk) -> None:
    url = desk.info["binance_ws_url"] + "/stream?streams=btcusdt@trade"
    desk.fault("P13", kind="reference", match="GET /binance/stream", count=1)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(url, timeout=5)
    assert refused.value.status_code == 429
    websocket.create_connection(url, timeout=5).close()


@pytest.mark.parametrize("fault_id", ["P14", "C04"])
def test_a_request_is_held_and_then_accepted(desk: Desk, fault_id: str) -> None:
    order = desk.order()
    desk.fault(fault_id, delay_ms=300)
    begun = time.monotonic()
    assert desk.post(order).json()["status"] == "live"
    assert time.monotonic() - begun > 0.29


def test_c04_an_order_on_its_way_cannot_be_cancelled(desk: Desk) -> None:
    order = desk.order()
    desk.fault("P01", kind="late", delay_ms=200)
    with pytest.raises(requests.ConnectionError):
        desk.post(order)
    answer = desk.post(order, timeout=5)  # its copy overtakes it, and the first becomes the duplicate
    assert desk.cancel(answer.json()["orderID"]).json()["canceled"]


def test_c05_a_post_lands_after_the_cancel_all(desk: Desk, running: VenueThread) -> None:
    from threading import Thread

    order, replies = desk.order(), []
    desk.fault("C05", delay_ms=50)
    poster = Thread(target=lambda: replies.append(desk.post(order).json()))
    poster.start()
    log = desk.info["url"] + "/control/log"
    until(lambda: requests.get(log, timeout=5).json()[-1]["path"] == "/order")
    assert desk.cancel_all()["canceled"] == []
    poster.join(5)
    assert desk.live() == [replies[0]["orderID"]]


def test_p16_a_stale_balance_until_it_is_asked_to_look_again(desk: Desk) -> None:
    order_id = desk.placed(price=0.02, size=10)
    path = "/balance-allowance?asset_type=COLLATERAL&signature_type=0"
    before = int(desk.call("GET", path).json()["balance"])
    desk.fault("P16", kind="stale")
    assert desk.take(order_id, 10)
    assert int(desk.call("GET", path).json()["balance"]) == before
    assert desk.call("GET", "/balance-allowance/update?asset_type=COLLATERAL").json() == "OK"
    assert int(desk.call("GET", path).json()["balance"]) == before - 200_000


def test_p17_a_coarser_tick_is_told_and_refuses(desk: Desk) -> None:
    order = desk.order(0.02)
    stream = websocket.create_connection(desk.info["market_ws_url"], timeout=5)
    stream.send(json.dumps({"assets_ids": [desk.up], "type": "market"}))
    desk.fault("P17", duration_s=0.3)
    change = until(lambda: _event(stream.recv(), "tick_size_change"))
    assert (change["old_tick_size"], change["new_tick_size"]) == ("0.01", "0.1")
    refused = desk.post(order)
    assert "breaks minimum tick size rule: 0.1" in refused.text
    until(lambda: desk.post(order).status_code == 200)
    stream.close()


def test_p17_a_tick_may_change_without_a_word(desk: Desk) -> None:
    stream = websocket.create_connection(desk.info["market_ws_url"], timeout=5)
    stream.send(json.dumps({"assets_ids": [desk.up], "type": "market"}))
    order = desk.order(0.02)
    desk.fault("P17", kind="silent", duration_s=0.3)
    assert "breaks minimum tick size rule: 0.1" in desk.post(order).text
    stream.send("PING")
    told = []
    while (text := stream.recv()) != "PONG":
        told.append(_event(text, "tick_size_change"))
    assert not any(told)
    until(lambda: desk.post(order).status_code == 200)
    stream.close()


def test_p17_a_minimum_size_may_rise(desk: Desk) -> None:
    order = desk.order(size=10)
    desk.fault("P17", kind="size", duration_s=0.3)
    assert "lower than the minimum: 50" in desk.post(order).text
    until(lambda: desk.post(order).status_code == 200)


def _event(text: str, kind: str) -> Any:
    if text in ("", "PONG"):
        return None
    message = json.loads(text)
    events = message if isinstance(message, list) else [message]
    return next((event for event in events if event.get("event_type") == kind), None)


# -- cancels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind,truth", [("matched", "MATCHED"), ("canceled", "CANCELED")])
def test_c01_a_cancel_comes_too_late(desk: Desk, kind: str, truth: str) -> None:
    order_id = desk.placed()
    desk.fault("C01", kind=kind)
    assert desk.cancel(order_id).json() == {
        "canceled": [],
        "not_canceled": {order_id: "already canceled or matched"},
    }
    assert desk.truth(order_id) == truth
    assert bool(desk.trades(order_id)) is (kind == "matched")


def test_c02_a_fill_after_the_cancel_was_confirmed(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("C02", delay_ms=50, size=3)
    assert desk.cancel_all()["canceled"] == [order_id]
    (trade,) = until(lambda: desk.trades(order_id))
    assert trade["maker_orders"][0]["matched_amount"] == "3"
    found = desk.find(order_id)
    assert (found["status"], found["size_matched"]) == ("CANCELED", "3")


C03 = [("500", 500), ("425", 425), ("429", 429), ("reset", 0), ("lost", 0), ("silent", 0)]


@pytest.mark.parametrize("kind,status", C03)
@pytest.mark.parametrize("effect", [True, False])
def test_c03_the_outcome_of_a_cancel_is_unknown(desk: Desk, kind: str, status: int, effect: bool) -> None:
    order_id = desk.placed()
    desk.fault("C03", kind=kind, effect=effect, hang_s=0.1)
    if status:
        assert desk.cancel(order_id).status_code == status
    else:
        with pytest.raises(requests.ConnectionError):
            desk.cancel(order_id)
    expected = "CANCELED" if effect and kind != "lost" else "LIVE"
    assert desk.truth(order_id) == expected


C07 = [
    ("partial", 1, 0, 1),
    ("empty", 0, 0, 2),
    ("refused", 0, 2, 2),
    ("lies", 2, 0, 2),
]


@pytest.mark.parametrize("kind,canceled,refused,resting", C07)
def test_c07_a_cancel_all_is_incomplete(desk: Desk, kind: str, canceled: int, refused: int, resting: int) -> None:
    desk.placed(), desk.placed(price=0.03)
    desk.fault("C07", kind=kind)
    reply = desk.cancel_all()
    assert (len(reply["canceled"]), len(reply["not_canceled"]), len(desk.live())) == (canceled, refused, resting)


def test_c08_an_old_list_shows_the_cancelled_and_misses_the_fresh(desk: Desk) -> None:
    old = desk.placed()
    desk.fault("C08", duration_s=0.3)
    desk.cancel(old)
    fresh = desk.placed(price=0.03)
    assert desk.ids() == [old]
    until(lambda: desk.ids() == [fresh])


def test_c08_the_newest_is_missing_or_on_another_page(desk: Desk) -> None:
    first, second = desk.placed(), desk.placed(price=0.03)
    desk.fault("C08", kind="missing", count=1)
    assert desk.ids() == [first]
    desk.fault("C08", kind="paged")
    page = desk.call("GET", "/data/orders").json()
    assert ([row["id"] for row in page["data"]], page["next_cursor"] != "LTE=") == ([first], True)
    assert desk.ids(page["next_cursor"]) == [second]


@pytest.mark.parametrize("kind,left", [("all", 0), ("one", 1)])
def test_c09_the_venue_cancels_by_itself(desk: Desk, kind: str, left: int) -> None:
    ids = [desk.placed(), desk.placed(price=0.03)]
    fault = desk.fault("C09", kind=kind, status="CANCELED_ADMIN")
    assert desk.live() == ids[: left or None][:left]
    assert desk.find(ids[1])["status"] == "CANCELED_ADMIN"
    assert desk.count(fault) == 2 - left


@pytest.mark.parametrize("kind,status,body", [("null", 200, "null"), ("404", 404, ""), ("500", 500, "")])
def test_c10_a_lookup_finds_nothing(desk: Desk, kind: str, status: int, body: str) -> None:
    order_id = desk.placed()
    desk.fault("C10", kind=kind, count=1)
    answer = desk.call("GET", f"/data/order/{order_id}")
    assert (answer.status_code, answer.text if body else "") == (status, body)
    assert desk.find(order_id)["status"] == "LIVE"


def test_c10_a_lookup_breaks(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("C10", kind="reset", count=1)
    with pytest.raises(requests.ConnectionError):
        desk.find(order_id)


# -- settlement --------------------------------------------------------------------------------------------------------


def test_s02_a_trade_fails_after_its_match(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("S02", delay_ms=100)
    desk.take(order_id)
    cash = requests.get(desk.info["url"] + "/control/ledger", timeout=5).json()[desk.info["address"].lower()]
    until(lambda: desk.trades(order_id)[0]["status"] == "FAILED")
    after = requests.get(desk.info["url"] + "/control/ledger", timeout=5).json()[desk.info["address"].lower()]
    assert after["cash_usd"] == pytest.approx(cash["cash_usd"] + 0.08)


def test_s02_a_trade_may_be_retried_before_it_fails(desk: Desk) -> None:
    stream = user_stream(desk)
    order_id = desk.placed()
    desk.fault("S02", kind="retrying", delay_ms=100)
    desk.take(order_id)
    assert steps(stream, order_id, 3) == ["MATCHED", "RETRYING", "FAILED"]
    stream.close()


def steps(stream: websocket.WebSocket, order_id: str, count: int) -> list[str]:
    """What the user stream says next of the settlement of an order's trade."""
    found: list[str] = []
    while len(found) < count:
        event = _event(stream.recv(), "trade")
        if event is not None and event["maker_orders"][0]["order_id"] == order_id:
            found.append(event["status"])
    return found


def test_s03_a_late_fill_is_mined_after_all(desk: Desk) -> None:
    stream = user_stream(desk)
    order_id = desk.placed()
    desk.fault("S03", hang_s=0.2)
    desk.take(order_id)
    assert steps(stream, order_id, 2) == ["MATCHED", "MINED"]
    stream.close()


def test_s03_a_ghost_fill_is_never_mined(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("S03")
    desk.take(order_id)
    desk.venue.call(lambda inside: inside.exchange.step(int(time.time() * 1000) + 3_000_000))
    assert desk.trades(order_id)[0]["status"] == "MATCHED"


def test_s04_the_failure_is_told_first(desk: Desk) -> None:
    stream = user_stream(desk)
    order_id = desk.placed()
    desk.fault("S04", delay_ms=50)
    desk.take(order_id)
    assert steps(stream, order_id, 2) == ["FAILED", "MATCHED"]
    stream.close()


def user_stream(desk: Desk) -> websocket.WebSocket:
    stream = websocket.create_connection(desk.info["user_ws_url"], timeout=5)
    names = {"apiKey": "api_key", "secret": "api_secret", "passphrase": "api_passphrase"}
    auth = {name: desk.info[key] for name, key in names.items()}
    stream.send(json.dumps({"type": "user", "auth": auth, "markets": []}))
    stream.send("PING")
    until(lambda: stream.recv() == "PONG")
    return stream


def test_s05_the_position_feed_says_zero_nothing_or_old_figures(desk: Desk) -> None:
    def sizes() -> list[float]:
        user = desk.info["address"]
        rows = requests.get(f"{desk.info['data_url']}/positions?user={user}&market={desk.market}", timeout=5).json()
        return [row["size"] for row in rows if row["asset"] == desk.up]

    order_id = desk.placed()
    desk.take(order_id, 2)
    until(sizes)
    for kind, shown in (("zero", [0.0]), ("empty", [])):
        desk.fault("S05", kind=kind, count=1)
        assert sizes() == shown
    owner = desk.info["address"].lower()
    held = desk.venue.call(lambda inside: inside.exchange.account(owner).tokens[desk.up]) / 1e6
    desk.fault("S05", kind="lag", duration_s=0.3)
    desk.take(order_id, 3)
    assert sizes() == [held]
    until(lambda: sizes() == [held + 3])


def test_s06_a_takers_fee_is_taken_in_shares(desk: Desk) -> None:
    desk.fault("S06", count=1)
    reply = desk.post(desk.order(0.97, size=10, post_only=False)).json()
    assert reply["status"] == "matched"
    owner = desk.info["address"].lower()
    (trade,) = [desk.venue.call(lambda inside: inside.exchange.trades[reply["tradeIDs"][0]])]
    assert trade.fee == 0
    assert trade.fee_qty > 0
    held = desk.venue.call(lambda inside: inside.exchange.account(owner).tokens[desk.up])
    assert held % 10_000_000 != 0


def test_u07_reads_may_carry_prefixed_words(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("U07", match="/data/*", duration_s=5)
    assert desk.find(order_id)["status"] == "ORDER_STATUS_LIVE"
    desk.take(order_id)
    assert desk.trades(order_id)[0]["status"] == "TRADE_STATUS_MATCHED"


def test_u12_an_order_knows_of_a_fill_that_the_trades_do_not(desk: Desk) -> None:
    order_id = desk.placed()
    desk.fault("U12", match="/data/trades")
    desk.take(order_id, 4)
    assert desk.find(order_id)["size_matched"] == "4"
    assert desk.trades(order_id) == []
    assert desk.trades(order_id)[0]["maker_orders"][0]["matched_amount"] == "4"


# -- heartbeats, clock, markets ----------------------------------------------------------------------------------------


def test_h01_another_host_has_beaten(desk: Desk) -> None:
    first = desk.call("POST", "/v1/heartbeats", {"heartbeat_id": ""}).json()["heartbeat_id"]
    desk.fault("H01")
    refused = desk.call("POST", "/v1/heartbeats", {"heartbeat_id": first})
    expected = refused.json()["heartbeat_id"]
    assert (refused.status_code, refused.json()["error_msg"]) == (400, "Invalid Heartbeat ID")
    assert desk.call("POST", "/v1/heartbeats", {"heartbeat_id": expected}).status_code == 200
    desk.venue.call(lambda inside: inside.accounts.beats.clear())


@pytest.mark.parametrize("kind,status", [("401", 401), ("500", 500), ("silent", 0)])
def test_h03_a_beat_is_refused_or_not_answered(desk: Desk, kind: str, status: int) -> None:
    desk.fault("H03", kind=kind, count=1, hang_s=0.1)
    if status:
        assert desk.call("POST", "/v1/heartbeats", {"heartbeat_id": ""}).status_code == status
    else:
        with pytest.raises(requests.ConnectionError):
            desk.call("POST", "/v1/heartbeats", {"heartbeat_id": ""})
    assert not desk.venue.call(lambda inside: any(beats.armed for beats in inside.accounts.beats.values()))


def test_a01_who_follows_the_venues_clock_is_let_in(desk: Desk) -> None:
    desk.fault("A01", kind="skew", duration_s=0.4)
    skewed = requests.get(desk.info["rest_url"] + "/time", timeout=5).json()
    assert skewed - time.time() > 58
    assert desk.call("GET", "/data/orders").status_code == 401
    stamp = str(skewed)
    proof = build_hmac_signature(desk.info["api_secret"], stamp, "GET", "/data/orders", "")
    good = desk.call("GET", "/data/orders", POLY_TIMESTAMP=stamp, POLY_SIGNATURE=proof)
    assert good.status_code == 200
    until(lambda: desk.call("GET", "/data/orders").status_code == 200)


def test_t09_a_foreign_order_rests_under_our_key(desk: Desk) -> None:
    desk.fault("T09", price=0.03)
    (order_id,) = desk.ids()
    found = desk.find(order_id)
    assert (found["owner"], found["price"]) == (desk.info["api_key"], "0.03")


def test_faults_inside_the_bot_are_told_to_it(desk: Desk) -> None:
    for fault_id, actor in (("T05", "orders"), ("T06", "executor")):
        row = desk.fault(fault_id)
        assert (row["actor"], row["kind"], row["count"]) == (actor, "hang", 1)


@pytest.mark.parametrize("kind", ["resolve", "silent", "close"])
def test_v01_a_market_ends_with_orders_live(kind: str) -> None:
    with VenueThread(VenueOptions(seed=32, parameters=QUIET)) as venue:
        desk = Desk(venue)
        order_id = desk.placed()
        stream = user_stream(desk)
        fault = desk.fault("V01", kind=kind)
        assert "does not exist" in desk.post(desk.order(0.03)).text
        expected = "LIVE" if kind == "close" else "CANCELED_MARKET_RESOLVED"
        assert (desk.truth(order_id), desk.count(fault)) == (expected, 1)
        stream.send("PING")
        told = until(lambda: stream.recv())
        assert (told != "PONG" and json.loads(told)["status"] == expected) is (kind == "resolve")
        stream.close()


# -- triggers ----------------------------------------------------------------------------------------------------------


def test_the_nth_call_is_hit_and_several_faults_go_together(desk: Desk) -> None:
    waits = desk.fault("P05", nth=2)
    assert (waits["waits"], waits["seq"]) == (True, 0)
    desk.fault("P10", nth=3, duration_s=0)
    orders = [desk.order(0.02 + step / 100) for step in range(4)]
    desk.fault("C09", nth=4, match="POST")
    texts = [desk.post(order).text for order in orders]
    assert '"live"' in texts[0]
    assert "invalid expiration" in texts[1]
    assert '"live"' in texts[3]
    assert desk.truth(json.loads(texts[0])["orderID"]) == "CANCELED"


def test_a_rate_befalls_some_calls(desk: Desk) -> None:
    order = desk.order()
    desk.fault("P05", rate_per_s=50, match="/order")
    desk.post(order)
    until(lambda: desk.post(order).status_code == 200)  # else it is a duplicate
    until(lambda: desk.post(order).status_code == 400)
