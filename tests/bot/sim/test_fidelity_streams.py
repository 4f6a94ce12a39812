"""The market and user streams: snapshots, subscriptions while they run, silence, and both clocks of the user stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from fidelity import (
    QUIET,
    closed_with,
    compact,
    connect,
    events,
    order_body,
    signed,
    stock_client,
    tokens,
    until,
    until_pong,
    user_auth,
    windows,
)
from py_clob_client_v2 import clob_types as types

from bot.sim.quirks import Quirks
from bot.sim.server import VenueOptions, VenueThread


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=41, parameters=QUIET)) as running:
        yield running


@pytest.fixture(scope="module")
def client(venue: VenueThread) -> Any:
    return stock_client(venue)


def market_ws(venue: VenueThread, assets: list[str], **fields: Any) -> Any:
    return connect(venue.info["market_ws_url"], {"assets_ids": assets, "type": "market", **fields})


def books(heard: list[dict[str, Any]]) -> list[str]:
    return [event["asset_id"] for event in heard if event["event_type"] == "book"]


# -- market ------------------------------------------------------------------------------------------------------------


def test_first_frame_is_an_array_of_books_unless_no_dump_is_wanted(venue: VenueThread) -> None:
    pair = tokens(venue, 2)
    for level in (1, 2, 3):
        ws = market_ws(venue, pair, level=level)
        first = json.loads(ws.recv())
        assert isinstance(first, list) and books(first) == pair
        assert first[0].keys() >= {"market", "bids", "asks", "timestamp", "hash", "tick_size", "last_trade_price"}
        ws.close()
    ws = market_ws(venue, pair, initial_dump=False)
    assert books(until_pong(ws)) == []
    ws.close()


def test_an_asset_that_is_added_again_gets_no_book_and_one_that_returns_does(venue: VenueThread) -> None:
    up, down = tokens(venue, 2)
    ws = market_ws(venue, [up, down])
    assert books(until_pong(ws)) == [up, down]
    ws.send(compact({"operation": "subscribe", "assets_ids": [up]}))
    assert books(until_pong(ws)) == []
    ws.send(compact({"operation": "unsubscribe", "assets_ids": [up]}))
    ws.send(compact({"operation": "subscribe", "assets_ids": [up]}))
    assert books(until_pong(ws)) == [up]
    ws.close()


def test_naming_an_active_asset_again_sets_the_custom_flag(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue, 2)
    ws = market_ws(venue, [up, down])
    until_pong(ws)
    ws.send(compact({"operation": "subscribe", "assets_ids": [up], "custom_feature_enabled": True}))
    until_pong(ws)
    book = client.get_order_book(up)
    bid, ask = float(book["bids"][-1]["price"]), float(book["asks"][-1]["price"])
    assert ask - bid > 0.015, "the test needs room inside the spread"
    args = types.OrderArgs(token_id=up, price=round(bid + 0.01, 2), size=5, side="BUY")
    client.create_and_post_order(args, post_only=True)
    assert until(ws, lambda event: event["event_type"] == "best_bid_ask")["asset_id"] == up
    client.cancel_all()
    ws.close()


def test_a_second_opening_is_answered_by_a_text_that_is_no_json(venue: VenueThread, client: Any) -> None:
    opening = {"assets_ids": tokens(venue, 2), "type": "market"}
    for url, first in (
        (venue.info["market_ws_url"], opening),
        (venue.info["user_ws_url"], {"auth": user_auth(client), "type": "user"}),
    ):
        ws = connect(url, first, first)
        texts = [ws.recv()]
        while "INVALID" not in texts[-1]:
            texts.append(ws.recv())
        assert texts[-1] == "INVALID OPERATION"
        ws.close()


def test_more_than_five_hundred_assets_get_no_book(venue: VenueThread) -> None:
    up, down = tokens(venue, 2)
    strangers = [str(n) for n in range(1, 500)]
    ws = market_ws(venue, [*strangers, up, down])
    assert books(until_pong(ws)) == [up]
    ws.close()


def test_books_tell_the_last_trade_with_three_decimals_and_may_tell_nothing_else_but_the_book() -> None:
    with VenueThread(VenueOptions(seed=43, parameters=QUIET, quirks=Quirks(bare_books=True))) as venue:
        up, client = tokens(venue)[0], stock_client(venue)
        ws = market_ws(venue, [up])
        (first,) = json.loads(ws.recv())
        assert (first["last_trade_price"], first["tick_size"], first["min_order_size"]) == ("0.500", "0.01", "5")
        client.create_and_post_order(types.OrderArgs(token_id=up, price=0.97, size=6, side="BUY"))
        traded = until(ws, lambda event: event["event_type"] == "last_trade_price")
        later = until(ws, lambda event: event["event_type"] == "book")
        assert later.keys() == {"event_type", "market", "asset_id", "timestamp", "hash", "bids", "asks"}
        last = client.get_order_book(up)["last_trade_price"]
        assert len(last) == 5 and float(last) == float(traded["price"])
        assert client.get_last_trade_price(up)["price"] == traded["price"]
        ws.close()


def test_streams_that_hear_no_ping_are_hung_up() -> None:
    with VenueThread(VenueOptions(seed=42, parameters=QUIET, quirks=Quirks(silence_s=0.3))) as venue:
        ws = market_ws(venue, ["1"])
        with pytest.raises(
            (websocket.WebSocketConnectionClosedException, ConnectionError)
        ):  # cut, without a close frame
            while True:
                ws.recv()


def test_a_tick_that_changes_is_told_for_both_tokens_and_binds_at_once(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue, 2)
    ws = market_ws(venue, [up, down])
    until_pong(ws)
    market = windows(venue)[2]["conditionId"]
    venue.call(lambda inside: inside.exchange.change_tick(market, 10, int(time.time() * 1000)))
    changes = [until(ws, lambda event: event["event_type"] == "tick_size_change") for _ in range(2)]
    assert {change["asset_id"] for change in changes} == {up, down}
    assert {(change["old_tick_size"], change["new_tick_size"]) for change in changes} == {("0.01", "0.001")}
    assert stock_client(venue).get_tick_size(up) == "0.001"
    fresh = stock_client(venue)
    reply = fresh.create_and_post_order(types.OrderArgs(token_id=up, price=0.021, size=5, side="BUY"))
    assert reply["status"] == "live"
    assert client.get_order_book(up)["tick_size"] == "0.001"
    fresh.cancel_all()
    ws.close()


# -- user --------------------------------------------------------------------------------------------------------------


def test_order_events_tell_time_in_seconds_and_in_milliseconds(venue: VenueThread, client: Any) -> None:
    up = tokens(venue)[0]
    ws = connect(venue.info["user_ws_url"], {"auth": user_auth(client), "type": "user"})
    until_pong(ws)
    order_id = signed(venue, "POST", "/order", compact(order_body(client, up, 0.02, 5))).json()["orderID"]
    placed = next(events(ws))
    assert (placed["id"], placed["type"], placed["status"]) == (order_id, "PLACEMENT", "LIVE")
    assert (len(placed["created_at"]), len(placed["timestamp"])) == (10, 13)
    assert placed["order_owner"] == placed["owner"] == client.creds.api_key
    client.cancel_all()
    own = next(events(ws))
    assert (own["type"], own["status"], own["size_matched"]) == ("CANCELLATION", "CANCELED", "0")
    assert len(own["timestamp"]) == 13
    expiring = types.OrderArgs(token_id=up, price=0.02, size=5, side="BUY", expiration=int(time.time()) + 120)
    client.create_and_post_order(expiring, order_type=types.OrderType.GTD)
    next(events(ws))
    venue.call(lambda inside: inside.exchange.step(int(time.time() * 1000) + 61_000))
    expired = next(events(ws))
    assert (expired["type"], expired["status"]) == ("CANCELLATION", "CANCELED_EXPIRED_ORDER")
    assert (expired["created_at"], expired["expiration"], expired["associate_trades"]) == ("", None, None)
    assert len(expired["timestamp"]) == 10
    ws.close()


def test_a_killed_order_has_no_size_and_a_free_text_status(venue: VenueThread, client: Any) -> None:
    """It was marketable when it came, and what it would have matched was gone when its delay was over."""
    up = tokens(venue)[0]
    market = windows(venue)[1]["conditionId"]
    ws = connect(venue.info["user_ws_url"], {"auth": user_auth(client), "type": "user"})
    until_pong(ws)
    order = client.create_order(types.OrderArgs(token_id=up, price=0.97, size=20, side="BUY"))

    def empty_the_book(inside: Any) -> None:
        now_ms = int(time.time() * 1000)
        for owner in list(inside.exchange.accounts):
            inside.exchange.cancel_market(owner, market, now_ms=now_ms)
        inside.exchange.step(now_ms + 61_000)

    venue.call(lambda inside: setattr(inside.exchange.markets[market], "taker_delay_ms", 60_000))
    reply = client.post_order(order, types.OrderType.FOK, defer_exec=True)
    assert reply["status"] == "delayed"
    venue.call(empty_the_book)
    killed = until(ws, lambda event: event.get("id") == reply["orderID"])
    assert killed["type"] == "CANCELLATION" and killed["status"].startswith("CANCELED_order couldn't be")
    assert killed["size_matched"] == ""
    ws.close()


def test_trades_tell_both_clocks(venue: VenueThread, client: Any) -> None:
    ws = connect(venue.info["user_ws_url"], {"auth": user_auth(client), "type": "user"})
    until_pong(ws)
    client.create_and_post_order(types.OrderArgs(token_id=tokens(venue, 0)[0], price=0.97, size=6, side="BUY"))
    trade = until(ws, lambda event: event["event_type"] == "trade")
    assert (len(trade["match_time"]), len(trade["last_update"]), len(trade["timestamp"])) == (10, 10, 13)
    assert len(trade["match_time_nano"]) == 19
    update = until(ws, lambda event: event.get("type") == "UPDATE")
    assert (len(update["created_at"]), len(update["timestamp"])) == (10, 13)
    ws.close()


def test_a_user_stream_for_one_market_can_be_widened_and_narrowed(venue: VenueThread, client: Any) -> None:
    near, far = windows(venue)[1], windows(venue)[2]
    ws = connect(
        venue.info["user_ws_url"], {"auth": user_auth(client), "type": "user", "markets": [near["conditionId"]]}
    )
    until_pong(ws)

    def heard_of(window: int) -> bool:
        args = types.OrderArgs(token_id=tokens(venue, window)[0], price=0.02, size=5, side="BUY")
        order_id = client.create_and_post_order(args)["orderID"]
        return any(event["id"] == order_id for event in until_pong(ws))

    assert heard_of(1) and not heard_of(2)
    ws.send(compact({"operation": "subscribe", "markets": [far["conditionId"]]}))
    until_pong(ws)
    assert heard_of(1) and heard_of(2)
    ws.send(compact({"operation": "unsubscribe", "markets": [near["conditionId"]]}))
    until_pong(ws)
    assert not heard_of(1) and heard_of(2)
    client.cancel_all()
    ws.close()


def test_pings_before_a_subscription_end_both_streams(venue: VenueThread) -> None:
    for name in ("market_ws_url", "user_ws_url"):
        assert closed_with(connect(venue.info[name], "PING")) == (1008, "invalid subscription payload")
    assert closed_with(connect(venue.info["market_ws_url"], "{"))[0] == 1008


def test_another_websocket_client_hears_all_three_streams(venue: VenueThread, client: Any) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect as other_connect

    up, down = tokens(venue, 0)
    with other_connect(venue.info["market_ws_url"]) as market:
        market.send(compact({"assets_ids": [up, down], "type": "market"}))
        assert books(json.loads(market.recv(timeout=5))) == [up, down]
        assert json.loads(market.recv(timeout=5))["event_type"] == "price_change"
    with other_connect(venue.info["user_ws_url"]) as user:
        user.send(compact({"auth": user_auth(client), "type": "user"}))
        user.send("PING")
        assert user.recv(timeout=5) == "PONG"
        order_id = client.create_and_post_order(types.OrderArgs(token_id=up, price=0.02, size=5, side="BUY"))["orderID"]
        assert json.loads(user.recv(timeout=5))["id"] == order_id
        client.cancel_all()
    with other_connect(venue.info["settlement_ws_url"]) as live:
        live.send(compact({"op": "auth", "rid": "1", "auth": {"apiKey": "x", "secret": "x", "passphrase": "x"}}))
        assert json.loads(live.recv(timeout=5))["code"] == "auth_invalid"
        with pytest.raises(ConnectionClosed) as closed:
            live.recv(timeout=5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4001
