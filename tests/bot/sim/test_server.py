"""The embedded venue over its sockets: routes, refusals in order, streams, control, and what a state file keeps."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from fidelity import QUIET
from py_clob_client_v2 import clob_types as types
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.exceptions import PolyApiException
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
from py_clob_client_v2.signing.hmac import build_hmac_signature

from bot.errors import SettingsError
from bot.market import Rule
from bot.messages import Side
from bot.sim.accounts import Accounts, Beats
from bot.sim.exchange import Exchange
from bot.sim.http import Refusal, page
from bot.sim.records import SimMarket, Submit
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.venue import Venue

OTHER_KEY = "0x" + "42" * 32
T0 = 1_800_000_000_000


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=21, parameters=QUIET)) as running:
        running.call(lambda inside: setattr(inside.exchange, "mined_ms", 100))
        yield running


@pytest.fixture(scope="module")
def client(venue: VenueThread) -> Any:
    return stock_client(venue, venue.info["private_key"])


@pytest.fixture(scope="module")
def other(venue: VenueThread) -> Any:
    """A second funded wallet, to trade against ours."""
    made = stock_client(venue, OTHER_KEY)
    venue.call(lambda inside: inside.exchange.deposit(made.get_address().lower(), 1_000_000_000))
    return made


def stock_client(venue: VenueThread, key: str) -> Any:
    made = ClobClient(venue.info["rest_url"], 137, key=key)
    made.set_api_creds(made.create_or_derive_api_key())
    return made


def next_market(venue: VenueThread) -> dict[str, Any]:
    """The window after the current one, of Gamma's listing."""
    events = requests.get(venue.info["gamma_url"] + "/events?tag_slug=up-or-down", timeout=5).json()
    market: dict[str, Any] = events[1]["markets"][0]
    return market


def tokens(venue: VenueThread) -> list[str]:
    return [str(token) for token in json.loads(next_market(venue)["clobTokenIds"])]


def signed(venue: VenueThread, method: str, path: str, body: str = "", **changes: str) -> requests.Response:
    """A request with an L2 proof of our own making; `changes` spoil its headers."""
    info, stamp = venue.info, str(int(time.time()))
    headers = {
        "POLY_ADDRESS": info["address"],
        "POLY_API_KEY": info["api_key"],
        "POLY_PASSPHRASE": info["api_passphrase"],
        "POLY_TIMESTAMP": stamp,
        "POLY_SIGNATURE": build_hmac_signature(info["api_secret"], stamp, method, path, body),
        **changes,
    }
    return requests.request(method, info["rest_url"] + path, data=body, headers=headers, timeout=5)


def order_body(client: Any, token: str, price: float = 0.02, **changes: Any) -> dict[str, Any]:
    """A signed order as the stock client would post it; `changes` alter the signed fields afterwards."""
    order = client.create_order(types.OrderArgs(token_id=token, price=price, size=10, side="BUY"))
    body: dict[str, Any] = order_to_json_v2(order, client.creds.api_key, "GTC", True)
    body["order"] |= changes
    return body


def until(ws: websocket.WebSocket, test: Callable[[dict[str, Any]], bool], frames: int = 3000) -> dict[str, Any]:
    """The first event that passes; arrays are taken apart."""
    for _ in range(frames):
        text = ws.recv()
        if text in ("", "PONG"):
            continue
        message = json.loads(text)
        for event in message if isinstance(message, list) else [message]:
            if test(event):
                return dict(event)
    raise AssertionError("the awaited frame did not come")


def connect(url: str, *frames: Any) -> websocket.WebSocket:
    ws = websocket.create_connection(url, timeout=5)
    for frame in frames:
        ws.send(frame if isinstance(frame, str) else json.dumps(frame))
    return ws


def closed_with(ws: websocket.WebSocket) -> tuple[int, str]:
    opcode, data = ws.recv_data()
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, data = ws.recv_data()
    return int.from_bytes(data[:2], "big"), data[2:].decode()


# -- metadata ----------------------------------------------------------------------------------------------------------


def test_info_holds_every_key_of_the_contract(venue: VenueThread) -> None:
    info = requests.get(venue.info["url"] + "/control/info", timeout=5).json()
    assert info == venue.info
    assert {
        "url", "rest_url", "gamma_url", "data_url", "market_ws_url", "user_ws_url", "settlement_ws_url",
        "rtds_ws_url", "binance_ws_url", "binance_rest_url", "binance_futures_ws_url", "binance_futures_rest_url",
        "private_key", "address", "api_key", "api_secret", "api_passphrase",
        "venue_id", "pid", "seed", "series", "protocol", "chain_id", "funder", "signature_type",
    } <= info.keys()  # fmt: skip


def test_the_first_window_is_backdated_and_others_follow(venue: VenueThread) -> None:
    events = requests.get(venue.info["gamma_url"] + "/events?end_date_min=2026-03-01", timeout=5).json()
    starts = [int(event["slug"].rsplit("-", 1)[1]) for event in events]
    assert starts[0] < time.time() < starts[0] + 300
    assert [start - starts[0] for start in starts] == [300 * n for n in range(len(starts))]
    assert len(starts) == 3


def test_metadata_has_json_in_strings_and_both_times(venue: VenueThread) -> None:
    market = next_market(venue)
    by_slug = requests.get(f"{venue.info['gamma_url']}/markets/slug/{market['slug']}", timeout=5).json()
    assert by_slug["conditionId"] == market["conditionId"]
    (found,) = requests.get(
        venue.info["gamma_url"] + "/markets", params={"condition_ids": market["conditionId"]}, timeout=5
    ).json()
    assert json.loads(found["outcomes"]) == ["Up", "Down"]
    assert found["version"] == "v1"
    assert found["eventStartTime"] < found["endDate"]
    assert found["cryptoMarketConfig"]["twapLookbackSeconds"] == 60
    short = requests.get(f"{venue.info['rest_url']}/clob-markets/{market['conditionId']}", timeout=5).json()
    assert [row["t"] for row in short["t"]] == json.loads(found["clobTokenIds"])
    assert requests.get(venue.info["gamma_url"] + "/events/slug/none", timeout=5).status_code == 404


def test_books_of_both_tokens_mirror_each_other(venue: VenueThread) -> None:
    up, down = tokens(venue)
    rows = requests.post(
        venue.info["rest_url"] + "/books", json=[{"token_id": up}, {"token_id": down}, {"token_id": "1"}], timeout=5
    ).json()
    ours = {row["asset_id"]: row for row in rows}
    assert ours.keys() == {up, down}
    mirrored = [(round(1 - float(level["price"]), 4), level["size"]) for level in ours[down]["asks"]]
    assert [(float(level["price"]), level["size"]) for level in ours[up]["bids"]] == mirrored
    assert float(ours[up]["bids"][0]["price"]) < float(ours[up]["bids"][-1]["price"])
    assert float(ours[up]["asks"][0]["price"]) > float(ours[up]["asks"][-1]["price"])


def test_unknown_books_are_refused_as_the_venue_does(venue: VenueThread) -> None:
    url = venue.info["rest_url"] + "/book"
    missing = requests.get(url, params={"token_id": "12"}, timeout=5)
    assert (missing.status_code, missing.json()["error"]) == (
        404,
        "No orderbook exists for the requested token id",
    )
    assert requests.get(url, params={"token_id": "x"}, timeout=5).json() == {"error": "Invalid token id"}
    too_many = requests.post(venue.info["rest_url"] + "/books", json=[{"token_id": "1"}] * 501, timeout=5)
    assert too_many.json() == {"error": "Payload exceeds the limit"}


# -- orders ------------------------------------------------------------------------------------------------------------


def test_proofs_that_fail_are_401(venue: VenueThread) -> None:
    assert signed(venue, "GET", "/data/orders").status_code == 200
    for spoiled in (
        {"POLY_SIGNATURE": "x"},
        {"POLY_PASSPHRASE": "x"},
        {"POLY_API_KEY": "x"},
        {"POLY_ADDRESS": "0x" + "1" * 40},
        {"POLY_TIMESTAMP": "1"},
    ):
        answer = signed(venue, "GET", "/data/orders", **spoiled)
        assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized/Invalid api key")
    bad = requests.post(venue.info["rest_url"] + "/auth/api-key", timeout=5)
    assert (bad.status_code, bad.json()["error"]) == (401, "Invalid L1 Request headers")


def test_orders_are_checked_in_the_venues_order(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    good = order_body(client, up)

    def error(body: Any, **headers: str) -> str:
        answer = signed(venue, "POST", "/order", json.dumps(body, separators=(",", ":")), **headers)
        assert answer.status_code in (400, 401)
        return str(answer.json()["error"])

    assert error({"order": 1}, POLY_SIGNATURE="x") == "Invalid order payload"
    assert error({**good, "owner": "x"}, POLY_SIGNATURE="x") == "Unauthorized/Invalid api key"
    foreign = {**good["order"], "signer": "0x" + "1" * 40}
    assert error({**good, "owner": "x", "order": foreign}).startswith("the order owner has to be")
    assert error({**good, "order": foreign}).startswith("the order signer address")
    old = {key: value for key, value in good["order"].items() if key not in ("timestamp", "metadata", "builder")}
    assert error({**good, "order": old | {"takerAmount": "1"}}) == "order_version_mismatch"
    assert error(order_body(client, up, takerAmount="10000001")) == "invalid signature"
    assert "lower than the minimum" in error(
        order_body_of(client, types.OrderArgs(token_id=up, price=0.02, size=1, side="BUY"))
    )
    assert "not enough balance" in error(
        order_body_of(client, types.OrderArgs(token_id=up, price=0.02, size=10, side="SELL"))
    )


def order_body_of(client: Any, args: Any) -> dict[str, Any]:
    body: dict[str, Any] = order_to_json_v2(client.create_order(args), client.creds.api_key, "GTC", True)
    return body


def test_the_same_order_twice_is_a_duplicate(venue: VenueThread, client: Any) -> None:
    body = json.dumps(order_body(client, tokens(venue)[0]), separators=(",", ":"))
    first = signed(venue, "POST", "/order", body)
    again = signed(venue, "POST", "/order", body)
    order_id = first.json()["orderID"]
    assert again.json() == {"error": f"order {order_id} is invalid. Duplicated."}
    assert signed(venue, "DELETE", "/order", json.dumps({"orderID": order_id})).json()["canceled"] == [order_id]


def test_sixteen_orders_are_too_many(venue: VenueThread, client: Any) -> None:
    body = json.dumps([order_body(client, tokens(venue)[0])] * 16)
    answer = signed(venue, "POST", "/orders", body)
    assert answer.json() == {"error": "Too many orders in payload: 16, max allowed: 15"}


def test_a_deferred_taker_is_answered_before_its_delay(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    args = types.OrderArgs(token_id=up, price=0.97, size=6, side="BUY")
    reply = client.create_and_post_order(args, defer_exec=True)
    assert (reply["status"], reply["tradeIDs"]) == ("delayed", [])
    assert client.get_order(reply["orderID"])["status"] == "DELAYED"


def test_a_killed_order_is_an_error_of_its_post(venue: VenueThread, client: Any) -> None:
    args = types.OrderArgs(token_id=tokens(venue)[0], price=0.02, size=6, side="BUY")
    for kind in (types.OrderType.FOK, types.OrderType.FAK):
        with pytest.raises(PolyApiException, match="killed"):
            client.create_and_post_order(args, order_type=kind)


def test_one_wallet_cannot_see_or_cancel_anothers_order(venue: VenueThread, client: Any, other: Any) -> None:
    args = types.OrderArgs(token_id=tokens(venue)[0], price=0.02, size=10, side="BUY")
    order_id = client.create_and_post_order(args)["orderID"]
    assert other.get_order(order_id) is None
    assert other.cancel_orders([order_id])["not_canceled"] == {order_id: "Order not found"}
    assert client.cancel_all()["canceled"] == [order_id]


# -- the dead-man switch -----------------------------------------------------------------------------------------------


OWNER = "0x" + "1" * 40


def bare_venue() -> tuple[Venue, Beats]:
    """A venue without sockets, one market, and one resting order "o" of a key with a heartbeat."""
    venue = Venue(Exchange(), Accounts(1), 2)
    made = venue.accounts.create_key(OWNER, 0)
    assert made is not None
    market = SimMarket(
        condition_id="0xc",
        slug="s",
        series="btc-updown-5m",
        asset="btc",
        question="?",
        up_token="1",
        down_token="2",
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_ms=T0,
        end_ms=T0 + 300_000,
        listed_ms=T0,
    )
    venue.exchange.list_market(market, T0)
    venue.exchange.deposit(OWNER, 100_000_000)
    submit = Submit(order_id="o", owner=OWNER, api_key=made.api_key, token="1", side=Side.BUY, px=5000, qty=10_000_000)
    assert venue.exchange.submit(submit, T0).status == "live"
    return venue, venue.accounts.beats.setdefault(made.api_key, Beats())


def open_orders(venue: Venue) -> list[str]:
    return [order.order_id for order in venue.exchange.orders_of(OWNER, open_only=True)]


def test_a_key_that_never_beat_keeps_its_orders() -> None:
    venue, _ = bare_venue()
    for now_ms in range(T0, T0 + 60_000, 500):
        venue.step(now_ms)
    assert open_orders(venue) == ["o"]


def test_silence_after_a_beat_cancels_the_keys_orders() -> None:
    venue, beats = bare_venue()
    assert beats.beat("", T0)
    for now_ms in range(T0, T0 + 15_000, 500):  # after 10 s it is due, and every 5 s it is looked for
        assert not beats.beat("wrong", now_ms)  # a refused beat does not refresh
        assert open_orders(venue) == ["o"]
        venue.step(now_ms)
    venue.step(T0 + 15_000)
    assert open_orders(venue) == []
    assert beats.beat(beats.expected, T0 + 16_000)
    assert not beats.lapsed(T0 + 17_000)


def test_beats_that_waited_in_the_socket_of_a_stopped_venue_still_count() -> None:
    venue, beats = bare_venue()
    beats.beat("", T0)
    venue.step(T0)
    venue.step(T0 + 30_000)  # stopped for 30 s
    beats.beat(beats.expected, T0 + 30_010)
    venue.step(T0 + 31_500)
    assert open_orders(venue) == ["o"]


def test_a_lapsed_chain_may_be_begun_anew_and_a_running_one_may_not() -> None:
    beats = Beats()
    assert beats.beat(None, T0)
    assert not beats.beat("", T0 + 5_000)
    assert beats.beat("", T0 + 10_001)


def test_heartbeats_of_both_routes_are_accepted(venue: VenueThread) -> None:
    assert signed(venue, "POST", "/heartbeats").json() == {"status": "ok"}
    info = venue.info["api_key"]
    venue.call(lambda inside: inside.accounts.beats.pop(info))


# -- streams -----------------------------------------------------------------------------------------------------------


def test_ping_before_subscription_closes_1008(venue: VenueThread) -> None:
    assert closed_with(connect(venue.info["market_ws_url"], "PING")) == (1008, "invalid subscription payload")


def test_every_hash_on_the_market_stream_is_that_of_the_book_it_builds(venue: VenueThread) -> None:
    """A client that applies every change has exactly the venue's book: the strictest check a stream offers."""
    current = requests.get(venue.info["gamma_url"] + "/events", timeout=5).json()[0]["markets"][0]
    wanted = json.loads(current["clobTokenIds"])
    ws = connect(venue.info["market_ws_url"], {"assets_ids": wanted, "type": "market"})
    first = json.loads(ws.recv())
    assert isinstance(first, list) and [event["event_type"] for event in first] == ["book", "book"]
    books = {event["asset_id"]: event for event in first}
    checked = 0
    while checked < 30:
        event = json.loads(ws.recv())
        if event["event_type"] == "book":
            books[event["asset_id"]] = event
        if event["event_type"] != "price_change":
            continue
        sides = {"BUY": "bids", "SELL": "asks"}
        for change in event["price_changes"]:
            book = books[change["asset_id"]]
            levels = [level for level in book[sides[change["side"]]] if level["price"] != change["price"]]
            if change["size"] != "0":
                levels.append({"price": change["price"], "size": change["size"]})
            book[sides[change["side"]]] = sorted(
                levels, key=lambda level: float(level["price"]), reverse=change["side"] == "SELL"
            )
        for change in event["price_changes"]:
            book = books[change["asset_id"]]
            assert change["hash"] == book_hash(book, event["timestamp"])
            assert change["best_bid"] == (book["bids"][-1]["price"] if book["bids"] else "0")
            assert change["best_ask"] == (book["asks"][-1]["price"] if book["asks"] else "1")
            checked += 1
        assert {change["asset_id"] for change in event["price_changes"]} == set(wanted)
    ws.send("PING")
    while ws.recv() != "PONG":
        pass
    ws.close()


def book_hash(book: dict[str, Any], timestamp: str) -> str:
    keys = ("market", "asset_id", "timestamp", "hash", "bids", "asks")
    rest = ("min_order_size", "tick_size", "neg_risk", "last_trade_price")
    payload = {**{key: book[key] for key in (*keys, *rest)}, "timestamp": timestamp, "hash": ""}
    return hashlib.sha1(json.dumps(payload, separators=(",", ":")).encode()).hexdigest()


def test_a_trade_shows_on_both_streams_with_our_slices(venue: VenueThread, client: Any, other: Any) -> None:
    up, down = tokens(venue)
    best = float(client.get_order_book(up)["bids"][-1]["price"])
    ask = float(client.get_order_book(up)["asks"][-1]["price"])
    assert ask - best > 0.015, "the test needs room inside the spread"
    inside = round(best + 0.01, 2)
    creds = client.creds
    auth = {"apiKey": creds.api_key, "secret": creds.api_secret, "passphrase": creds.api_passphrase}
    user = connect(venue.info["user_ws_url"], {"auth": auth, "type": "user"}, "PING")
    assert user.recv() == "PONG"
    market = connect(
        venue.info["market_ws_url"], {"assets_ids": [up, down], "type": "market", "custom_feature_enabled": True}
    )
    ours = [
        client.create_and_post_order(types.OrderArgs(token_id=up, price=inside, size=size, side="BUY"), post_only=True)
        for size in (5, 7)
    ]
    placed = [until(user, lambda event: event["event_type"] == "order") for _ in ours]
    assert [event["id"] for event in placed] == [reply["orderID"] for reply in ours]
    assert {event["type"] for event in placed} == {"PLACEMENT"}
    moved = until(market, lambda event: event["event_type"] == "best_bid_ask" and event["best_bid"] == f"{inside:g}")
    assert (moved["asset_id"], moved["best_ask"], moved["spread"]) == (up, f"{ask:g}", f"{ask - inside:.4g}")
    taken = other.create_and_post_order(types.OrderArgs(token_id=down, price=round(1 - inside, 2), size=10, side="BUY"))
    assert taken["status"] == "matched"

    trade = until(user, lambda event: event["event_type"] == "trade")
    assert (trade["status"], trade["trader_side"], trade["side"], trade["asset_id"]) == (
        "MATCHED",
        "MAKER",
        "BUY",
        down,
    )
    slices = {leg["order_id"]: leg for leg in trade["maker_orders"] if leg["owner"] == creds.api_key}
    assert {order_id: leg["matched_amount"] for order_id, leg in slices.items()} == {
        ours[0]["orderID"]: "5",
        ours[1]["orderID"]: "5",
    }
    assert {(leg["asset_id"], leg["side"], leg["outcome"]) for leg in slices.values()} == {(up, "BUY", "Up")}
    assert len(trade["match_time"]) == 10 and len(trade["timestamp"]) == 13
    full = until(user, lambda event: event["event_type"] == "order" and event["id"] == ours[0]["orderID"])
    assert (full["type"], full["status"], full["size_matched"]) == ("UPDATE", "MATCHED", "5")

    printed = until(market, lambda event: event["event_type"] == "last_trade_price")
    assert (printed["asset_id"], printed["side"], printed["size"]) == (down, "BUY", "10")
    assert until(market, lambda event: event["event_type"] == "book")["market"] == trade["market"]
    mined = until(user, lambda event: event["event_type"] == "trade" and event["id"] == trade["id"])
    assert mined["status"] == "MINED"

    ledger = requests.get(venue.info["url"] + "/control/ledger", timeout=5).json()
    mine = ledger[venue.info["address"].lower()]
    assert {fill["order_id"] for fill in mine["fills"]} >= set(slices)
    assert mine["positions"][up] >= 10
    (row,) = client.get_trades(types.TradeParams(id=trade["id"]))
    assert {leg["order_id"] for leg in row["maker_orders"]} >= set(slices)
    client.cancel_all()
    user.close()
    market.close()


def test_user_stream_can_be_narrowed_to_markets(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    elsewhere = requests.get(venue.info["gamma_url"] + "/events", timeout=5).json()[0]["markets"][0]
    creds = client.creds
    auth = {"apiKey": creds.api_key, "secret": creds.api_secret, "passphrase": creds.api_passphrase}
    narrow = connect(
        venue.info["user_ws_url"], {"auth": auth, "type": "user", "markets": [elsewhere["conditionId"]]}, "PING"
    )
    assert narrow.recv() == "PONG"
    args = types.OrderArgs(token_id=up, price=0.02, size=10, side="BUY")
    unheard = client.create_and_post_order(args)["orderID"]
    narrow.send(json.dumps({"operation": "subscribe", "markets": [next_market(venue)["conditionId"]]}))
    narrow.send("PING")
    assert narrow.recv() == "PONG"  # and nothing of the order placed before
    heard = client.create_and_post_order(args)["orderID"]
    assert json.loads(narrow.recv())["id"] == heard
    assert set(client.cancel_all()["canceled"]) == {unheard, heard}
    gone = json.loads(narrow.recv())
    assert (gone["type"], gone["status"]) == ("CANCELLATION", "CANCELED")
    narrow.close()
    notices = client.get_notifications()
    assert {notice["payload"]["order_id"] for notice in notices if notice["type"] == 1} >= {unheard, heard}
    client.drop_notifications(types.DropNotificationParams(ids=[str(notice["id"]) for notice in notices]))
    assert client.get_notifications() == []


def test_market_stream_subscribes_and_unsubscribes_while_it_runs(venue: VenueThread) -> None:
    up, down = tokens(venue)
    ws = connect(venue.info["market_ws_url"], {"assets_ids": [up], "type": "market"})
    assert [event["asset_id"] for event in json.loads(ws.recv())] == [up]
    ws.send(json.dumps({"operation": "subscribe", "assets_ids": [up, down]}))
    assert until(ws, lambda event: event["event_type"] == "book")["asset_id"] == down
    ws.send(json.dumps({"operation": "unsubscribe", "assets_ids": [up]}))
    ws.send(json.dumps({"operation": "subscribe", "assets_ids": [up]}))
    assert until(ws, lambda event: event["event_type"] == "book")["asset_id"] == up
    ws.close()


def test_lists_come_in_pages() -> None:
    rows: list[dict[str, Any]] = [{"n": n} for n in range(1001)]
    seen, cursor = [], "MA=="
    while cursor != "LTE=":
        answer = page(rows, cursor, 500)
        seen += answer["data"]
        cursor = answer["next_cursor"]
    assert seen == rows
    assert page([], "", 500)["next_cursor"] == "LTE="
    assert page(rows, "LTE=", 500)["data"] == []
    with pytest.raises(Refusal):
        page(rows, "???", 500)


def test_orders_over_the_budget_are_429_where_the_venue_enforces_it() -> None:
    with VenueThread(VenueOptions(seed=24, parameters=QUIET, enforce_rates=True)) as venue:
        ids = json.dumps(["0x" + "0" * 64] + ["0x" + f"{n:064x}" for n in range(1, 115)])
        assert signed(venue, "DELETE", "/orders", ids).status_code == 200
        refusal = signed(venue, "DELETE", "/orders", ids)
        assert refusal.status_code == 429
        assert int(refusal.headers["Retry-After"]) >= 1
        assert refusal.headers["Poly-RateLimit-Tier"] == "Standard"


def test_user_stream_turns_strangers_away(venue: VenueThread) -> None:
    auth = {"apiKey": venue.info["api_key"], "secret": "x", "passphrase": "x"}
    assert closed_with(connect(venue.info["user_ws_url"], {"auth": auth, "type": "user"}))[0] == 1008


def test_settlement_stream_gives_two_minutes_then_each_second(venue: VenueThread) -> None:
    info = venue.info
    auth = {"apiKey": info["api_key"], "secret": info["api_secret"], "passphrase": info["api_passphrase"]}
    twap = {"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 60}}
    spot = {"channel": "price.crypto", "filter": {"symbol": "btcusd"}}
    ws = connect(
        info["settlement_ws_url"],
        {"op": "auth", "rid": "1", "auth": auth},
        {"op": "subscribe", "rid": "2", "subscriptions": [twap, spot]},
    )
    assert json.loads(ws.recv()) == {"op": "authed", "rid": "1"}
    snapshot = until(ws, lambda event: event.get("channel") == "price.crypto.twap" and "seq" in event)
    assert snapshot["snapshot"] is True and snapshot["seq"] == 1
    history = snapshot["payload"]["data"]
    assert len(history) == 120
    assert [row["timestamp"] - history[0]["timestamp"] for row in history] == [1000 * n for n in range(120)]
    update = until(ws, lambda event: event.get("channel") == "price.crypto.twap" and "seq" in event)
    assert update["seq"] == 2 and "snapshot" not in update
    assert update["payload"]["window_seconds"] == 60 and update["payload"]["symbol"] == "btcusd"
    assert update["payload"]["timestamp"] == history[-1]["timestamp"] + 1000
    assert float(update["payload"]["full_accuracy_value"]) == update["payload"]["value"]
    ws.close()


def test_settlement_stream_wants_a_key(venue: VenueThread) -> None:
    ws = connect(venue.info["settlement_ws_url"], {"op": "subscribe", "rid": "2", "subscriptions": []})
    assert closed_with(ws)[0] == 4001


def test_reference_streams_in_both_shapes_and_live_subscription(venue: VenueThread) -> None:
    combined = connect(venue.info["binance_ws_url"] + "/stream?streams=btcusdt@bookTicker/btcusdt@aggTrade")
    quote = until(combined, lambda event: event["stream"] == "btcusdt@bookTicker")["data"]
    assert quote.keys() == {"u", "s", "b", "B", "a", "A"}
    assert len(quote["b"].split(".")[1]) == 8
    assert until(combined, lambda event: event["stream"] == "btcusdt@aggTrade")["data"]["e"] == "aggTrade"
    combined.close()
    raw = connect(
        venue.info["binance_ws_url"] + "/ws/btcusdt@bookTicker",
        {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@kline_1s"], "id": 7},
        {"method": "NONSENSE", "id": "x"},
    )
    assert until(raw, lambda event: "id" in event) == {"result": None, "id": 7}
    assert until(raw, lambda event: "id" in event)["code"] == 2
    assert until(raw, lambda event: event.get("e") == "trade")["s"] == "BTCUSDT"
    assert until(raw, lambda event: event.get("e") == "kline")["k"]["x"] is True
    updates = [until(raw, lambda event: "u" in event)["u"] for _ in range(5)]
    assert updates == sorted(set(updates))
    raw.close()


def test_reference_rest_has_history_from_the_first_moment(venue: VenueThread) -> None:
    url = venue.info["binance_rest_url"] + "/api/v3"
    rows = requests.get(
        url + "/klines", params={"symbol": "BTCUSDT", "interval": "1s", "limit": "1000"}, timeout=5
    ).json()
    assert len(rows) == 1000
    assert all(len(row) == 12 and row[6] == row[0] + 999 for row in rows)
    assert abs(rows[-1][0] / 1000 - time.time()) < 3
    assert abs(requests.get(url + "/time", timeout=5).json()["serverTime"] / 1000 - time.time()) < 5
    assert requests.get(url + "/klines", params={"symbol": "X", "interval": "1s"}, timeout=5).json()["code"] == -1121
    assert requests.get(url + "/ticker/bookTicker", params={"symbol": "BTCUSDT"}, timeout=5).json()["bidPrice"]


# -- control -----------------------------------------------------------------------------------------------------------


def test_log_shows_every_clob_request_with_owner_and_status(venue: VenueThread) -> None:
    url = venue.info["url"] + "/control/log"
    last = max((row["seq"] for row in requests.get(url, timeout=5).json()), default=0)
    before = time.monotonic_ns()
    signed(venue, "GET", "/data/orders")
    requests.get(venue.info["rest_url"] + "/nothing-here", timeout=5)
    rows = requests.get(url, params={"after": last}, timeout=5).json()
    assert [(row["method"], row["path"], row["status"]) for row in rows] == [
        ("GET", "/data/orders", 200),
        ("GET", "/nothing-here", 404),
    ]
    assert rows[0]["owner"] == venue.info["address"].lower()
    assert before < rows[0]["monotonic_ns"] < time.monotonic_ns()
    assert rows[0].keys() == {"seq", "monotonic_ns", "method", "path", "owner", "status"}


def test_unknown_and_malformed_faults_are_refused(venue: VenueThread) -> None:
    url = venue.info["url"] + "/control/faults"
    for fault in ({"id": "X99"}, {}, {"id": "T01"}, {"id": "T01", "actor": "strategy", "kind": "sulk"}, [1]):
        answer = requests.post(url, json=fault, timeout=5)
        assert answer.status_code == 400 and answer.json()["error"]
    assert requests.post(url, data="{", timeout=5).status_code == 400


def test_fault_for_the_bot_ends_its_long_poll(venue: VenueThread) -> None:
    url = venue.info["url"] + "/control/faults"
    fault = {"id": "T01", "actor": "strategy", "kind": "hang", "hang_s": 2}
    kept = requests.post(url, json=fault, timeout=5).json()
    rows = requests.get(url, params={"after": kept["seq"] - 1, "wait_s": 5}, timeout=6).json()
    assert rows == [kept]
    assert kept.items() >= {**fault, "count": 1}.items() and kept["at_s"] > 0
    assert requests.get(url, params={"after": kept["seq"], "wait_s": 0.05}, timeout=5).json() == []
    assert kept in requests.get(url, timeout=5).json()


def test_cut_network_aborts_sockets_and_spares_control() -> None:
    with VenueThread(VenueOptions(seed=22, parameters=QUIET)) as venue:
        url = venue.info["url"]
        stream = connect(venue.info["binance_ws_url"] + "/ws/btcusdt@bookTicker")
        session = requests.Session()
        assert session.get(url + "/time", timeout=5).status_code == 200
        assert requests.post(url + "/control/faults", json={"id": "W09", "duration_s": 0.3}, timeout=5).ok
        with pytest.raises((websocket.WebSocketException, OSError)):
            while True:
                stream.recv()
        with pytest.raises(requests.ConnectionError):
            requests.get(url + "/time", timeout=5)
        (row,) = requests.get(url + "/control/faults", timeout=5).json()
        assert (row["id"], row["count"], row["duration_s"]) == ("W09", 1, 0.3)
        deadline = time.monotonic() + 5
        while True:
            try:
                assert requests.get(url + "/time", timeout=5).status_code == 200
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline, "the cut did not end"


def test_state_file_keeps_wallet_ledger_and_venue_id_but_no_orders(tmp_path: Path) -> None:
    options = VenueOptions(seed=23, parameters=QUIET, state=tmp_path / "venue.json")
    with VenueThread(options) as venue:
        before = venue.info
        client = stock_client(venue, before["private_key"])
        stock_client(venue, OTHER_KEY)
        market = client.get_order_book(tokens(venue)[0])
        client.create_and_post_order(types.OrderArgs(token_id=market["asset_id"], price=0.02, size=10, side="BUY"))
        owner = before["address"].lower()
        venue.call(lambda inside: inside.exchange.deposit(owner, 5_000_000))
    options.seed = None
    with VenueThread(options) as venue:
        for key in ("venue_id", "private_key", "address", "api_key", "api_secret", "api_passphrase", "seed"):
            assert venue.info[key] == before[key]
        ledger = requests.get(venue.info["url"] + "/control/ledger", timeout=5).json()
        assert ledger[owner]["cash_usd"] == 10_005.0
        assert ledger[owner]["orders"] == []
        assert len(ledger) == 2
    with VenueThread(VenueOptions(seed=23, parameters=QUIET)) as fresh:
        assert fresh.info["venue_id"] != before["venue_id"]
        assert fresh.info["private_key"] == before["private_key"]


def test_settings_that_cannot_work_are_one_clear_line(venue: VenueThread, tmp_path: Path) -> None:
    port = int(venue.info["url"].rsplit(":", 1)[1])
    (tmp_path / "bad.json").write_text("{")
    for options in (
        VenueOptions(port=port),
        VenueOptions(series=("doge-updown-5x",)),
        VenueOptions(protocol=4),
        VenueOptions(state=tmp_path / "bad.json"),
        VenueOptions(state=tmp_path / "missing" / "state.json"),
    ):
        with pytest.raises(SettingsError) as refusal, VenueThread(options):
            pass
        assert "\n" not in str(refusal.value)


def test_a_resolved_market_is_gone_and_its_listeners_are_told(venue: VenueThread) -> None:
    events = requests.get(venue.info["gamma_url"] + "/events", timeout=5).json()
    market = events[2]["markets"][0]
    pair = json.loads(market["clobTokenIds"])
    ws = connect(venue.info["market_ws_url"], {"assets_ids": pair, "type": "market", "custom_feature_enabled": True})
    until(ws, lambda event: event["event_type"] == "book")
    copy: SimMarket = venue.call(lambda inside: inside.exchange.markets[market["conditionId"]])
    venue.call(lambda inside: inside.exchange.resolve(copy.condition_id, "up", int(time.time() * 1000)))
    resolved = until(ws, lambda event: event["event_type"] == "market_resolved")
    assert (resolved["winning_asset_id"], resolved["winning_outcome"]) == (pair[0], "Up")
    assert closed_with(ws) == (1000, "all subscribed assets resolved")
    assert requests.get(venue.info["rest_url"] + "/book", params={"token_id": pair[0]}, timeout=5).status_code == 404
