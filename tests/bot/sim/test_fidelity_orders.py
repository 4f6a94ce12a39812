"""Orders, cancels and reads over the wire: texts, batches, expiry, pages, heartbeats, and the venue's variants."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fidelity import QUIET, compact, funded, get, order_body, signed, stock_client, tokens, windows
from py_clob_client_v2 import clob_types as types
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.exceptions import PolyApiException

from bot.sim.accounts import BANNED, CLOSED_ONLY
from bot.sim.quirks import Quirks
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.venue import Venue
from bot.venues.clob_http import USER_AGENT, Connection

OTHER_KEY = "0x" + "42" * 32
VARIED = Quirks(
    page_size=2,
    status_prefixes=True,
    dead_orders_null=True,
    reason_variants=True,
    heartbeat_error_key="error",
    balance_cache_ms=60_000,
)


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=33, parameters=QUIET)) as running:
        yield running


@pytest.fixture(scope="module")
def varied() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=34, parameters=QUIET, quirks=VARIED)) as running:
        yield running


@pytest.fixture(scope="module")
def client(venue: VenueThread) -> Any:
    return stock_client(venue)


def error(venue: VenueThread, body: dict[str, Any]) -> str:
    answer = signed(venue, "POST", "/order", compact(body))
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


def raw_order(client: Any, token: str, price: str, size: str, kind: str = "GTC", **fields: Any) -> dict[str, Any]:
    """An order that the stock client would not build: signed amounts of our own."""
    expiration = int(fields.pop("expiration", 0))
    args = types.OrderArgs(token_id=token, price=0.5, size=10, side="BUY", expiration=expiration)
    order = client.create_order(args)
    qty = round(float(size) * 1e6)
    order.makerAmount, order.takerAmount = str(round(float(price) * qty)), str(qty)
    return resigned(client, order, kind) | fields


def resigned(client: Any, order: Any, kind: str) -> dict[str, Any]:
    from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2
    from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2

    from bot.sim.verify import CHAIN_ID, EXCHANGES

    builder = ExchangeOrderBuilderV2(EXCHANGES[2, False], CHAIN_ID, client.signer, domain_version="2")
    order.signature = builder.build_order_signature(builder.build_order_typed_data(order))
    body: dict[str, Any] = order_to_json_v2(order, client.creds.api_key, kind, False)
    return body


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_every_refusal_has_the_venues_text(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    book = client.get_order_book(up)
    bid, ask = book["bids"][-1]["price"], book["asks"][-1]["price"]
    off_grid = error(venue, raw_order(client, up, "0.525", "10"))
    assert off_grid.startswith("order 0x")
    assert off_grid.endswith(" is invalid. Price (0.525) breaks minimum tick size rule: 0.01")
    assert error(venue, raw_order(client, up, "1", "10")).endswith("Price (1) breaks minimum tick size rule: 0.01")
    small = error(venue, raw_order(client, up, "0.02", "4.99"))
    assert small.endswith(" is invalid. Size (4.99) lower than the minimum: 5")
    assert error(venue, raw_order(client, up, ask, "10", postOnly=True)) == (
        "invalid post-only order: order crosses book"
    )
    assert error(venue, raw_order(client, up, ask, "0.5", "FAK")).startswith(
        "invalid amount for a marketable BUY order ($"
    )
    assert error(venue, raw_order(client, up, bid, "10", "FOK")) == (
        "order couldn't be fully filled. FOK orders are fully filled or killed."
    )
    assert error(venue, raw_order(client, up, bid, "10", "FAK")) == (
        "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
    )
    assert error(venue, raw_order(client, up, "0.5", "60000")).startswith(
        "not enough balance / allowance: the balance is not enough -> balance: 10000000000, order amount: 30000000000"
    )
    assert error(venue, raw_order(client, up, "0.02", "10", "IOC")) == "Invalid order payload"
    assert "post-only" in error(venue, raw_order(client, up, bid, "10", "FOK", postOnly=True))


def test_expiry_goes_with_gtd_and_a_minute_is_lost(venue: VenueThread, client: Any) -> None:
    up, now = tokens(venue)[0], int(time.time())
    for kind, expiration in (("GTC", now + 600), ("GTD", 0), ("GTD", now + 59), ("GTD", now - 5)):
        assert error(venue, raw_order(client, up, "0.02", "10", kind, expiration=expiration)) == "invalid expiration"
    body = raw_order(client, up, "0.02", "10", "GTD", expiration=now + 90)
    order_id = signed(venue, "POST", "/order", compact(body)).json()["orderID"]
    row = client.get_order(order_id)
    assert (row["expiration"], row["order_type"], row["status"]) == (str(now + 90), "GTD", "LIVE")
    venue.call(lambda inside: inside.exchange.step((now + 30) * 1000 - 1))
    assert client.get_order(order_id)["status"] == "LIVE"
    venue.call(lambda inside: inside.exchange.step((now + 30) * 1000))
    assert client.get_order(order_id)["status"].startswith("CANCELED")


def test_banned_and_closed_only_accounts(venue: VenueThread, client: Any) -> None:
    up, address = tokens(venue)[0], client.get_address()

    def become(state: str) -> None:
        venue.call(lambda inside: setattr(inside.accounts.open(address), "state", state))

    body = order_body(client, up, 0.02, 10)
    become(BANNED)
    assert error(venue, body) == f"'{address}' address banned"
    become(CLOSED_ONLY)
    assert error(venue, body) == f"'{address}' address in closed only mode"
    assert client.get_closed_only_mode() == {"closed_only": True}
    assert "not enough balance" in error(venue, order_body(client, up, 0.5, 10, "SELL"))
    become("")
    assert client.get_closed_only_mode() == {"closed_only": False}


def test_the_same_cash_backs_several_markets_but_only_once_each(venue: VenueThread) -> None:
    """And what is no longer covered is cancelled by the venue."""
    poor = stock_client(venue, "0x" + "43" * 32)
    owner = poor.get_address().lower()
    venue.call(lambda inside: inside.exchange.deposit(owner, 10_000_000))
    (up, down), (elsewhere, _) = tokens(venue, 1), tokens(venue, 2)

    def place(token: str) -> str:
        args = types.OrderArgs(token_id=token, price=0.02, size=300, side="BUY")
        return str(poor.create_and_post_order(args, post_only=True)["orderID"])

    placed = [place(up), place(elsewhere)]
    with pytest.raises(PolyApiException) as refusal:
        place(down)
    assert refusal.value.status_code == 400
    assert refusal.value.error_msg["error"].endswith(
        "-> balance: 10000000, sum of active orders: 6000000, order amount: 6000000"
    )
    venue.call(lambda inside: inside.exchange.deposit(owner, -7_000_000))
    venue.call(lambda inside: inside.exchange._enforce(owner, int(time.time() * 1000)))
    assert poor.get_open_orders() == []
    assert {poor.get_order(order_id)["status"] for order_id in placed} == {"CANCELED_NOT_ENOUGH_BALANCE"}


def test_fifteen_orders_fit_a_batch_and_each_has_its_own_answer(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    bodies = [order_body(client, up, 0.02, 5 if n % 2 else 1) for n in range(15)]
    replies = signed(venue, "POST", "/orders", compact(bodies)).json()
    assert [bool(reply["errorMsg"]) for reply in replies] == [n % 2 == 0 for n in range(15)]
    assert all(reply["success"] and bool(reply["orderID"]) is not bool(reply["errorMsg"]) for reply in replies)
    assert signed(venue, "POST", "/orders", "[]").json() == {"error": "Invalid order payload"}
    assert len(client.cancel_all()["canceled"]) == 7


def test_cancels_pass_over_duplicates_and_have_a_maximum(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    order_id = signed(venue, "POST", "/order", compact(order_body(client, up, 0.02, 5))).json()["orderID"]
    reply = signed(venue, "DELETE", "/orders", compact([order_id, order_id, "0xnone"])).json()
    assert reply == {"canceled": [order_id], "not_canceled": {"0xnone": "Order not found"}}
    assert signed(venue, "DELETE", "/orders", compact(["0x0"] * 3001)).status_code == 400


def test_v1_nonce_must_be_nothing() -> None:
    from py_clob_client.client import ClobClient as ClientV1
    from py_clob_client.clob_types import OrderArgs
    from py_clob_client.exceptions import PolyApiException as RefusedV1

    with VenueThread(VenueOptions(seed=35, parameters=QUIET, protocol=1)) as old:
        made = ClientV1(old.info["rest_url"], chain_id=137, key=old.info["private_key"])
        made.set_api_creds(made.create_or_derive_api_creds())
        args = OrderArgs(token_id=tokens(old)[0], price=0.02, size=10, side="BUY", nonce=3)
        with pytest.raises(RefusedV1) as refusal:
            made.create_and_post_order(args)
        assert (refusal.value.status_code, refusal.value.error_msg) == (400, {"error": "invalid nonce"})


# -- budgets -----------------------------------------------------------------------------------------------------------


def test_replies_carry_the_signers_budget_and_warn_where_it_is_not_enforced(venue: VenueThread) -> None:
    many = compact([f"0x{n:064x}" for n in range(130)])
    first = signed(venue, "DELETE", "/orders", compact(["0x0"]))
    assert first.headers["Poly-RateLimit-Tier"] == "Standard"
    assert 0 < int(first.headers["Poly-RateLimit-Remaining"]) <= 120
    assert abs(int(first.headers["Poly-RateLimit-Reset"]) - time.time()) < 5
    assert "Poly-RateLimit-Warning" not in first.headers
    over = signed(venue, "DELETE", "/orders", many)
    assert over.status_code == 200 and over.headers["Poly-RateLimit-Warning"] == "true"
    assert int(over.headers["Poly-RateLimit-Remaining"]) < 0


def ask_ok(venue: Venue) -> float:
    return venue.addresses.wait_s("127.0.0.1", "GET", "/ok", time.monotonic())


@pytest.mark.parametrize("mode", ["429", "1015", "delay"])
def test_an_address_that_asks_too_much_is_refused_or_held_up(mode: Any) -> None:
    with VenueThread(VenueOptions(seed=36, parameters=QUIET, quirks=Quirks(ip_limits=mode))) as venue:
        url = venue.info["rest_url"] + "/ok"
        assert get(url).status_code == 200
        waits = venue.call(lambda inside: [ask_ok(inside) for _ in range(100)])
        assert waits[:99] == [0] * 99 and 0 < waits[99] <= 10
        if mode == "delay":
            venue.call(lambda inside: setattr(inside.addresses, "wait_s", lambda *_: 0.1))
            began = time.monotonic()
            assert get(url).status_code == 200
            assert time.monotonic() - began >= 0.1
            return
        refusal = get(url)
        assert refusal.status_code == 429
        if mode == "429":
            assert int(refusal.headers["Retry-After"]) >= 1 and refusal.json()["error"]
        else:
            assert refusal.text == "error code: 1015"
        assert get(venue.info["rest_url"] + "/time").status_code == 200  # another bucket
        assert get(venue.info["url"] + "/control/info").status_code == 200


# -- reads, and their variants -----------------------------------------------------------------------------------------


def test_lists_come_in_pages_of_the_stock_clients_cursors(varied: VenueThread) -> None:
    client, other = stock_client(varied), funded(varied, OTHER_KEY)
    up, down = tokens(varied)
    sizes = (5, 6, 7, 8, 9)
    posted = [
        client.create_and_post_order(types.OrderArgs(token_id=up, price=0.02, size=size, side="BUY"))["orderID"]
        for size in sizes
    ]
    page = signed(varied, "GET", "/data/orders").json()
    assert (page["limit"], page["count"], len(page["data"]), page["next_cursor"]) == (2, 2, 2, "Mg==")
    assert {row["status"] for row in page["data"]} == {"ORDER_STATUS_LIVE"}
    last = signed(varied, "GET", "/data/orders", query="?next_cursor=NA==").json()
    assert (last["count"], last["next_cursor"]) == (1, "LTE=")
    assert [row["id"] for row in client.get_open_orders()] == posted
    inside = round((float(best(client, up, "bids")) + float(best(client, up, "asks"))) / 2, 2)
    for _ in range(3):
        client.create_and_post_order(types.OrderArgs(token_id=up, price=inside, size=5, side="BUY"), post_only=True)
        other.create_and_post_order(types.OrderArgs(token_id=down, price=round(1 - inside, 2), size=5, side="BUY"))
    trades = client.get_trades()
    assert len(trades) == 3 and {row["trader_side"] for row in trades} == {"MAKER"}
    assert all(row["status"].startswith("TRADE_STATUS_") for row in trades)
    first = signed(varied, "GET", "/data/trades").json()
    assert (first["count"], first["next_cursor"]) == (2, "Mg==")
    now = int(time.time())
    assert signed(varied, "GET", "/data/trades", query=f"?after={now + 60}").json()["data"] == []
    assert signed(varied, "GET", "/data/trades", query=f"?before={now - 60}").json()["data"] == []
    assert signed(varied, "GET", "/data/trades", query=f"?after={now - 60}&before={now + 60}").json()["count"] == 2
    client.cancel_all()
    assert client.get_order(posted[0]) is None  # this venue forgets what no longer rests


def best(client: Any, token: str, side: str) -> str:
    return str(client.get_order_book(token)[side][-1]["price"])


def test_reasons_come_in_other_words(varied: VenueThread) -> None:
    client = stock_client(varied)
    unknown = [f"0x{n:064x}" for n in range(4)]
    reasons = set(client.cancel_orders(unknown)["not_canceled"].values())
    assert reasons == {"Order not found", "Order not found or already canceled"}
    args = types.OrderArgs(token_id=tokens(varied)[0], price=0.02, size=5, side="BUY")
    gone = [client.create_and_post_order(args)["orderID"] for _ in range(12)]
    client.cancel_orders(gone)
    told = set(client.cancel_orders(gone)["not_canceled"].values())
    assert len(told) >= 2 and all("cancel" in text.lower() for text in told)


def test_heartbeat_variants(venue: VenueThread, varied: VenueThread) -> None:
    for running, key in ((venue, "error_msg"), (varied, "error")):
        first = signed(running, "POST", "/v1/heartbeats", '{"heartbeat_id":null}').json()["heartbeat_id"]
        wrong = signed(running, "POST", "/v1/heartbeats", '{"heartbeat_id":"wrong"}')
        assert (wrong.status_code, wrong.json()) == (400, {key: "Invalid Heartbeat ID", "heartbeat_id": first})
        second = signed(running, "POST", "/v1/heartbeats", compact({"heartbeat_id": first})).json()["heartbeat_id"]
        assert second not in ("", first)
        api_key = running.info["api_key"]
        running.call(lambda inside, api_key=api_key: inside.accounts.beats.pop(api_key))
        assert signed(running, "POST", "/v1/heartbeats", '{"heartbeat_id":""}').status_code == 200
        running.call(lambda inside, api_key=api_key: inside.accounts.beats.pop(api_key))


def test_balances_are_as_old_as_the_cache_until_an_update(varied: VenueThread) -> None:
    def balance() -> int:
        return int(signed(varied, "GET", "/balance-allowance", query="?asset_type=COLLATERAL").json()["balance"])

    owner = varied.info["address"].lower()
    signed(varied, "GET", "/balance-allowance/update")
    before = balance()
    varied.call(lambda inside: inside.exchange.deposit(owner, 5_000_000))
    assert balance() == before
    assert signed(varied, "GET", "/balance-allowance/update", query="?asset_type=COLLATERAL").status_code == 200
    assert balance() == before + 5_000_000
    for query, text in (("asset_type=GOLD", "Invalid asset type"), ("signature_type=9", "Invalid signature_type")):
        refusal = signed(varied, "GET", "/balance-allowance", query="?" + query)
        assert (refusal.status_code, refusal.json()) == (400, {"error": text})


def test_only_deposit_wallets_where_the_venue_wants_them() -> None:
    only = Quirks(deposit_wallets_only=True, single_allowance=True)
    with VenueThread(VenueOptions(seed=38, parameters=QUIET, quirks=only, signature_type=3)) as venue:
        up = tokens(venue)[0]
        assert error(venue, order_body(stock_client(venue), up, 0.02, 5)) == (
            "maker address not allowed, please use the deposit wallet flow"
        )
        client = ClobClient(
            venue.info["rest_url"], 137, key=venue.info["private_key"], signature_type=3, funder=venue.info["funder"]
        )
        client.set_api_creds(client.create_or_derive_api_key())
        args = types.OrderArgs(token_id=up, price=0.02, size=5, side="BUY")
        assert client.create_and_post_order(args, post_only=True)["status"] == "live"
        told = signed(venue, "GET", "/balance-allowance", query="?asset_type=COLLATERAL&signature_type=3").json()
        assert told.keys() == {"balance", "allowance"} and told["balance"] == "10000000000"


def test_the_edge_refuses_the_agents_of_libraries_and_lets_stock_clients_and_the_bot_pass() -> None:
    quirks = Quirks(agents_refused=True, tier="Gold")
    with VenueThread(VenueOptions(seed=39, parameters=QUIET, quirks=quirks)) as venue:
        refused = get(venue.info["rest_url"] + "/time")
        assert (refused.status_code, refused.text) == (403, "error code: 1010")
        assert get(venue.info["gamma_url"] + "/events").status_code == 403
        assert get(venue.info["binance_rest_url"] + "/api/v3/time").status_code == 200
        agent = {"User-Agent": USER_AGENT}
        assert requests.get(venue.info["gamma_url"] + "/events", headers=agent, timeout=5).status_code == 200
        client = ClobClient(venue.info["rest_url"], 137, key=venue.info["private_key"])
        client.set_api_creds(client.create_or_derive_api_key())
        assert client.cancel_all() == {"canceled": [], "not_canceled": {}}
        asked = Connection(venue.info["rest_url"]).request("GET", "/time")
        assert asked.status == 200


def test_hashes_may_come_late() -> None:
    with VenueThread(VenueOptions(seed=37, parameters=QUIET, quirks=Quirks(late_hashes=True))) as venue:
        client = stock_client(venue)
        up = tokens(venue)[0]
        body = raw_order(client, up, "0.97", "6")
        reply = signed(venue, "POST", "/order", compact(body)).json()
        assert reply["status"] == "matched" and reply["tradeIDs"] and reply["transactionsHashes"] == []
        (trade,) = [row for row in client.get_trades() if row["id"] == reply["tradeIDs"][0]]
        assert (trade["status"], trade["transaction_hash"]) == ("MATCHED", "")
        venue.call(lambda inside: inside.exchange.step(int(time.time() * 1000) + 2_500))
        (trade,) = [row for row in client.get_trades() if row["id"] == reply["tradeIDs"][0]]
        assert trade["status"] == "MINED" and trade["transaction_hash"].startswith("0x")


def test_many_prices_at_once(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue)
    params = [types.BookParams(token_id=token, side=side) for token in (up, down, "1") for side in ("BUY", "SELL")]
    book = client.get_order_book(up)
    prices = client.get_prices(params)
    assert prices.keys() == {up, down}
    assert prices[up] == {"BUY": book["bids"][-1]["price"], "SELL": book["asks"][-1]["price"]}
    assert client.get_midpoints(params)[up] == client.get_midpoint(up)["mid"]
    assert client.get_spreads(params)[up] == client.get_spread(up)["spread"]
    assert {row["token_id"] for row in client.get_last_trades_prices(params)} == {up, down}


def test_markets_are_listed_long_and_short(venue: VenueThread, client: Any) -> None:
    wanted = {window["conditionId"] for window in windows(venue)}
    for listing in (client.get_markets, client.get_sampling_markets):
        assert wanted <= {row["condition_id"] for row in listing()["data"]}
    short = client.get_simplified_markets()
    assert short["next_cursor"] == "LTE=" and "question" not in short["data"][0]
    facts = client.get_clob_market_info(next(iter(wanted)))
    assert {"c", "t", "mos", "mts", "mbf", "tbf", "ao", "aot", "itode", "sd", "fd", "r", "v"} <= facts.keys()


def test_large_orders_near_the_middle_score(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    bid = float(best(client, up, "bids"))
    scores = {}
    for price, size in ((bid, 60), (bid, 10), (0.02, 60)):
        args = types.OrderArgs(token_id=up, price=price, size=size, side="BUY")
        order_id = client.create_and_post_order(args, post_only=True)["orderID"]
        scores[price, size] = client.is_order_scoring(types.OrderScoringParams(orderId=order_id))["scoring"]
    assert scores == {(bid, 60): True, (bid, 10): False, (0.02, 60): bid < 0.065}
    client.cancel_all()
