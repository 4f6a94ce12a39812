"""The stock clients, unchanged, against the embedded venue: what they can do there, our own gateways can."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fidelity import QUIET
from py_clob_client import client as v1
from py_clob_client import clob_types as types_v1
from py_clob_client.exceptions import PolyApiException as RefusedV1
from py_clob_client_v2 import clob_types as types_v2
from py_clob_client_v2.client import ClobClient as ClientV2
from py_clob_client_v2.exceptions import PolyApiException as RefusedV2

from bot.sim.server import VenueOptions, VenueThread


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=11, parameters=QUIET)) as running:
        yield running


@pytest.fixture(scope="module")
def old_venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=12, protocol=1, parameters=QUIET)) as running:
        yield running


@pytest.fixture(scope="module")
def new_venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=13, protocol=3, parameters=QUIET)) as running:
        yield running


@pytest.fixture(scope="module")
def client(venue: VenueThread) -> Any:
    return connected(venue)


@pytest.fixture(scope="module")
def old_client(old_venue: VenueThread) -> Any:
    made = v1.ClobClient(old_venue.info["rest_url"], chain_id=137, key=old_venue.info["private_key"])
    made.set_api_creds(made.create_or_derive_api_creds())
    return made


def connected(venue: VenueThread) -> Any:
    made = ClientV2(venue.info["rest_url"], 137, key=venue.info["private_key"])
    made.set_api_creds(made.create_or_derive_api_key())
    return made


def tokens(venue: VenueThread) -> list[str]:
    """Up and Down of the window that follows, whose book has no one in it who trades."""
    events = requests.get(venue.info["gamma_url"] + "/events", timeout=5).json()
    market = events[1]["markets"][0]
    ids = market["positionIds"] if market["version"] == "v2" else json.loads(market["clobTokenIds"])
    return [str(name) for name in ids]


def best(book: dict[str, Any], side: str) -> float:
    return float(book[side][-1]["price"])


def test_v2_derives_the_key_that_the_venue_announced(venue: VenueThread, client: Any) -> None:
    assert client.creds.api_key == venue.info["api_key"]
    assert client.creds.api_secret == venue.info["api_secret"]
    assert client.get_api_keys() == {"apiKeys": [venue.info["api_key"]]}


def test_v2_a_new_wallet_gets_a_key_of_its_own(venue: VenueThread) -> None:
    other = ClientV2(venue.info["rest_url"], 137, key="0x" + "42" * 32)
    made = other.create_api_key()
    assert made == other.derive_api_key()
    with pytest.raises(RefusedV2):
        other.create_api_key()
    assert other.create_or_derive_api_key() == made


def test_v2_book_hash_is_the_stock_clients_hash(venue: VenueThread, client: Any) -> None:
    for token in tokens(venue):
        book = client.get_order_book(token)
        assert book["bids"] and book["asks"]
        assert book["hash"] == client.get_order_book_hash(dict(book))
    both = client.get_order_books([types_v2.BookParams(token_id=token) for token in tokens(venue)])
    assert {book["asset_id"] for book in both} == set(tokens(venue))


def test_v2_rests_reads_and_cancels_an_order(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    args = types_v2.OrderArgs(token_id=up, price=0.02, size=10, side="BUY")
    reply = client.create_and_post_order(args, post_only=True)
    assert reply["status"] == "live" and reply["success"]
    (row,) = client.get_open_orders(types_v2.OpenOrderParams(id=reply["orderID"]))
    assert (row["price"], row["original_size"], row["side"], row["outcome"]) == ("0.02", "10", "BUY", "Up")
    assert client.get_order(reply["orderID"])["status"] == "LIVE"
    assert client.cancel_order(types_v2.OrderPayload(orderID=reply["orderID"]))["canceled"] == [reply["orderID"]]
    assert client.get_open_orders() == []
    again = client.cancel_orders([reply["orderID"]])
    assert again["not_canceled"] == {reply["orderID"]: "Order already canceled"}


def test_v2_crossing_order_returns_matched_without_polling_for_hashes(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    ask = best(client.get_order_book(up), "asks")
    reply = client.create_and_post_order(
        types_v2.OrderArgs(token_id=up, price=min(ask + 0.02, 0.99), size=6, side="BUY")
    )
    (*_, last) = requests.get(venue.info["url"] + "/control/log", timeout=5).json()
    assert (last["method"], last["path"], last["status"]) == ("POST", "/order", 200)
    assert reply["status"] == "matched" and float(reply["takingAmount"]) == 6
    assert reply["transactionsHashes"] and reply["tradeIDs"]
    trades = [trade for trade in client.get_trades() if trade["id"] in reply["tradeIDs"]]
    assert sum(float(trade["size"]) for trade in trades) == 6
    assert {trade["trader_side"] for trade in trades} == {"TAKER"}
    held = types_v2.BalanceAllowanceParams(asset_type=types_v2.AssetType.CONDITIONAL, token_id=up)
    assert int(client.get_balance_allowance(held)["balance"]) == 6_000_000


def test_v2_market_order_is_filled_or_killed(venue: VenueThread, client: Any) -> None:
    down = tokens(venue)[1]
    reply = client.create_and_post_market_order(types_v2.MarketOrderArgs(token_id=down, amount=5, side="BUY"))
    assert reply["status"] == "matched"
    assert 4.9 < float(reply["makingAmount"]) <= 5.0
    with pytest.raises(RefusedV2, match="fully filled"):
        client.create_and_post_market_order(types_v2.MarketOrderArgs(token_id=down, amount=5, side="BUY", price=0.01))


def test_v2_post_only_crossing_is_refused(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    with pytest.raises(RefusedV2, match="crosses book"):
        client.create_and_post_order(types_v2.OrderArgs(token_id=up, price=0.99, size=6, side="BUY"), post_only=True)


def test_v2_batch_and_cancel_all(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue)
    orders = [
        types_v2.PostOrdersV2Args(
            order=client.create_order(types_v2.OrderArgs(token_id=token, price=0.03, size=size, side="BUY")),
            orderType=types_v2.OrderType.GTC,
        )
        for token, size in ((up, 10), (down, 10), (up, 1))
    ]
    first, second, refused = client.post_orders(orders, post_only=True)
    assert first["status"] == second["status"] == "live"
    assert refused["orderID"] == "" and "lower than the minimum" in refused["errorMsg"]
    assert {row["id"] for row in client.get_open_orders()} == {first["orderID"], second["orderID"]}
    assert client.is_order_scoring(types_v2.OrderScoringParams(orderId=first["orderID"])) == {"scoring": False}
    assert set(client.cancel_all()["canceled"]) == {first["orderID"], second["orderID"]}
    assert client.get_open_orders() == []


def test_v2_cancels_one_market(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue)
    posted = [
        client.create_and_post_order(types_v2.OrderArgs(token_id=token, price=0.03, size=5, side="BUY"))["orderID"]
        for token in (up, down)
    ]
    one = client.cancel_market_orders(types_v2.OrderMarketCancelParams(asset_id=down))
    assert one["canceled"] == [posted[1]]
    market = client.get_order_book(up)["market"]
    assert client.cancel_market_orders(types_v2.OrderMarketCancelParams(market=market))["canceled"] == [posted[0]]


def test_v2_heartbeats_are_a_chain(venue: VenueThread, client: Any) -> None:
    first = client.post_heartbeat("")["heartbeat_id"]
    second = client.post_heartbeat(first)["heartbeat_id"]
    with pytest.raises(RefusedV2) as refusal:
        client.post_heartbeat(first)
    assert refusal.value.status_code == 400
    assert refusal.value.error_msg == {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": second}
    assert client.post_heartbeat(second)["heartbeat_id"] not in (first, second)


def test_v2_small_reads_work(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    market = client.get_order_book(up)["market"]
    assert client.get_ok() == "OK"
    assert client.get_version() == 2
    assert abs(client.get_server_time() - time.time()) < 5
    assert client.get_tick_size(up) == "0.01"
    assert client.get_neg_risk(up) is False
    assert client.get_fee_rate_bps(up) == 1000
    assert client.get_clob_market_info(market)["c"] == market
    assert client.get_market(market)["tokens"][0]["token_id"] == up
    assert 0 < float(client.get_midpoint(up)["mid"]) < 1
    assert float(client.get_price(up, "BUY")["price"]) < float(client.get_price(up, "SELL")["price"])
    assert float(client.get_spread(up)["spread"]) > 0
    assert client.get_last_trade_price(up)["price"]
    assert client.get_closed_only_mode() == {"closed_only": False}
    assert isinstance(client.get_notifications(), list)
    assert int(client.get_balance_allowance()["balance"]) > 9_000_000_000


def test_v3_order_of_the_stock_client_is_accepted_and_a_v2_order_is_not(new_venue: VenueThread) -> None:
    client = connected(new_venue)
    up = tokens(new_venue)[0]
    reply = client.create_and_post_order(types_v2.OrderArgs(position_id=up, price=0.02, size=10, side="BUY"))
    assert reply["status"] == "live"
    with pytest.raises(RefusedV2, match="invalid signature"):
        client.create_and_post_order(types_v2.OrderArgs(token_id=up, price=0.02, size=10, side="BUY"))


def test_v1_order_is_refused_by_a_v2_market(venue: VenueThread) -> None:
    made = v1.ClobClient(venue.info["rest_url"], chain_id=137, key=venue.info["private_key"])
    made.set_api_creds(made.create_or_derive_api_creds())
    with pytest.raises(RefusedV1, match="order_version_mismatch"):
        made.create_and_post_order(types_v1.OrderArgs(token_id=tokens(venue)[0], price=0.02, size=10, side="BUY"))


def test_v1_rests_matches_and_cancels_on_a_v1_venue(old_venue: VenueThread, old_client: Any) -> None:
    up = tokens(old_venue)[0]
    resting = old_client.create_and_post_order(types_v1.OrderArgs(token_id=up, price=0.02, size=10, side="BUY"))
    assert resting["status"] == "live"
    ask = float(old_client.get_order_book(up).asks[-1].price)
    taking = old_client.create_and_post_order(
        types_v1.OrderArgs(token_id=up, price=min(round(ask + 0.02, 2), 0.99), size=6, side="BUY")
    )
    assert taking["status"] == "matched"
    assert len(old_client.get_trades()) >= 1
    assert [row["id"] for row in old_client.get_orders()] == [resting["orderID"]]
    assert old_client.cancel(resting["orderID"])["canceled"] == [resting["orderID"]]
    assert old_client.cancel_all() == {"canceled": [], "not_canceled": {}}


def test_v1_book_hash_and_heartbeat(old_venue: VenueThread, old_client: Any) -> None:
    book = old_client.get_order_book(tokens(old_venue)[1])
    told = book.hash
    assert old_client.get_order_book_hash(book) == told
    assert old_client.post_heartbeat(None)["heartbeat_id"]
    assert requests.get(old_venue.info["rest_url"] + "/version", timeout=5).json() == {"version": 1}


def test_v2_client_signs_v1_where_the_venue_says_so(old_venue: VenueThread) -> None:
    client = connected(old_venue)
    args = types_v2.OrderArgs(token_id=tokens(old_venue)[0], price=0.02, size=10, side="BUY")
    reply = client.create_and_post_order(args)
    assert reply["status"] == "live"
    assert client.cancel_all()["canceled"] == [reply["orderID"]]


@pytest.mark.parametrize("signature_type", [1, 2, 3])
def test_v2_trades_for_a_proxy_safe_or_deposit_wallet(signature_type: int) -> None:
    with VenueThread(VenueOptions(seed=14, signature_type=signature_type, parameters=QUIET)) as venue:
        info = venue.info
        assert info["funder"] != info["address"]
        client = ClientV2(
            info["rest_url"], 137, key=info["private_key"], signature_type=signature_type, funder=info["funder"]
        )
        client.set_api_creds(client.create_or_derive_api_key())
        assert client.get_balance_allowance()["balance"] == "10000000000"
        args = types_v2.OrderArgs(token_id=tokens(venue)[0], price=0.02, size=10, side="BUY")
        reply = client.create_and_post_order(args)
        (row,) = client.get_open_orders()
        assert (row["id"], row["maker_address"]) == (reply["orderID"], info["funder"].lower())
        ledger = requests.get(info["url"] + "/control/ledger", timeout=5).json()[info["funder"].lower()]
        assert ledger["api_keys"] == [info["api_key"]]
        assert client.cancel_all()["canceled"] == [reply["orderID"]]
        thief = ClientV2(info["rest_url"], 137, key="0x" + "42" * 32, signature_type=signature_type)
        thief.set_api_creds(thief.create_or_derive_api_key())
        thief.builder.funder = info["funder"]
        with pytest.raises(RefusedV2):
            thief.create_and_post_order(args)
