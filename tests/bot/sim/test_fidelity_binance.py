"""The reference exchange: depth that a client can keep a book from, candles, futures, limits, and errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests
import websocket
from fidelity import QUIET, closed_with, compact, connect, events, get, until

from bot.sim import binance_api, binance_futures
from bot.sim.binance_rest import BAN_S, IGNORED_MAX, Meter, Spent
from bot.sim.quirks import Quirks
from bot.sim.server import VenueOptions, VenueThread


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=61, parameters=QUIET)) as running:
        yield running


@pytest.fixture
def spot(venue: VenueThread) -> str:
    return str(venue.info["binance_rest_url"]) + "/api/v3"


@pytest.fixture
def futures(venue: VenueThread) -> str:
    return str(venue.info["binance_futures_ws_url"])


# -- depth -------------------------------------------------------------------------------------------------------------


def applied(book: dict[str, dict[str, str]], event: dict[str, Any]) -> None:
    for side in ("b", "a"):
        for price, size in event[side]:
            if float(size):
                book[side][price] = size
            else:
                book[side].pop(price, None)


@pytest.mark.parametrize("stream", ["btcusdt@depth@100ms", "btcusdt@depth"])
def test_a_book_kept_from_changes_is_the_snapshot_that_comes_later(venue: VenueThread, spot: str, stream: str) -> None:
    """The documented way: buffer, snapshot, drop what is older, continue without a gap; then compare at a later number."""
    ws = connect(venue.info["binance_ws_url"] + "/ws/" + stream)
    buffered = [next(events(ws))]
    while True:
        snapshot = get(spot + "/depth", symbol="BTCUSDT", limit=5000).json()
        if snapshot["lastUpdateId"] >= buffered[0]["U"]:
            break
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    last = snapshot["lastUpdateId"]
    while True:
        event = buffered.pop(0) if buffered else next(events(ws))
        assert event["e"] == "depthUpdate" and event["s"] == "BTCUSDT" and abs(event["E"] / 1000 - time.time()) < 5
        if event["u"] > last:
            break
    assert event["U"] <= last + 1 <= event["u"]
    for _ in range(4 if stream.endswith("ms") else 1):
        applied(book, event)
        last = event["u"]
        event = next(events(ws))
        assert event["U"] == last + 1
    late = get(spot + "/depth", symbol="BTCUSDT", limit=5000).json()
    while last < late["lastUpdateId"]:
        applied(book, event)
        last = event["u"]
        event = next(events(ws)) if last < late["lastUpdateId"] else event
    if last == late["lastUpdateId"]:
        assert book == {"b": dict(late["bids"]), "a": dict(late["asks"])}
    assert max(map(float, book["b"])) < min(map(float, book["a"]))
    ws.close()


def test_partial_depth_has_no_symbol_and_so_many_levels(venue: VenueThread) -> None:
    names = [f"btcusdt@depth{n}@100ms" for n in (5, 10, 20)]
    ws = connect(venue.info["binance_ws_url"] + "/stream?streams=" + "/".join(names))
    for name, count in zip(names, (5, 10, 20), strict=True):
        data = until(ws, lambda event, name=name: event["stream"] == name)["data"]
        assert data.keys() == {"lastUpdateId", "bids", "asks"}
        assert len(data["bids"]) == len(data["asks"]) == count
        prices = [float(price) for price, _ in data["bids"]]
        assert prices == sorted(prices, reverse=True) and prices[0] < float(data["asks"][0][0])
    ws.close()


# -- streams -----------------------------------------------------------------------------------------------------------


def test_commands_are_answered_with_their_own_errors(venue: VenueThread) -> None:
    ws = connect(
        venue.info["binance_ws_url"] + "/ws",
        {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1h"], "id": 1},
        {"method": "LIST_SUBSCRIPTIONS", "id": "two"},
        {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 3},
        {"method": "SET_PROPERTY", "params": ["speed", 9], "id": None},
    )
    answers = [until(ws, lambda event: "id" in event) for _ in range(4)]
    assert answers[:2] == [{"result": None, "id": 1}, {"result": ["btcusdt@kline_1h"], "id": "two"}]
    assert [(answer["code"], answer["id"]) for answer in answers[2:]] == [(1, 3), (0, None)]
    ws.close()
    ws = connect(venue.info["binance_ws_url"] + "/ws", "{", {"id": 1}, {"method": "DANCE", "id": 2})
    assert [next(events(ws))["code"] for _ in range(3)] == [3, 2, 2]
    ws.close()


def test_five_messages_a_second_and_no_more(venue: VenueThread) -> None:
    ws = connect(venue.info["binance_ws_url"] + "/ws", *[{"method": "LIST_SUBSCRIPTIONS", "id": n} for n in range(6)])
    assert closed_with(ws)[0] == 1008
    ws = connect(venue.info["binance_ws_url"] + "/ws")
    for _ in range(3):  # pings and pongs count as well
        ws.ping("")
        ws.pong("")
    assert closed_with(ws)[0] == 1008
    too_many = "/".join(f"s{n}@trade" for n in range(1025))
    with pytest.raises(websocket.WebSocketBadStatusException):
        connect(venue.info["binance_ws_url"] + "/stream?streams=" + too_many)
    assert (binance_api.RULES.ping_s, binance_api.RULES.pong_s) == (20, 60)
    assert (binance_futures.RULES.ping_s, binance_futures.RULES.pong_s) == (180, 600)


def test_microseconds_in_every_time_field_and_slow_candles_every_other_second(venue: VenueThread, spot: str) -> None:
    hourly = connect(venue.info["binance_ws_url"] + "/ws/btcusdt@kline_1h")
    query = "?streams=btcusdt@aggTrade/btcusdt@depth@100ms/btcusdt@kline_1s&timeUnit=MICROSECOND"
    ws = connect(venue.info["binance_ws_url"] + "/stream" + query)
    for name in ("aggTrade", "depthUpdate", "kline"):
        data = until(ws, lambda event, name=name: event["data"]["e"] == name)["data"]
        assert data["E"] > 10**15
    assert data["k"]["T"] - data["k"]["t"] == 999_999
    ws.close()
    candle = next(events(hourly))
    assert candle["e"] == "kline" and candle["k"]["i"] == "1h"
    assert candle["k"]["x"] is (candle["E"] > candle["k"]["T"])
    assert candle["E"] // 1000 % 2 == 0
    assert candle["k"]["T"] - candle["k"]["t"] == 3_599_999
    assert float(candle["k"]["l"]) <= float(candle["k"]["c"]) <= float(candle["k"]["h"])
    hourly.close()
    told = requests.get(spot + "/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"}, timeout=5).json()
    assert told["serverTime"] > 10**15


def test_a_connection_lives_for_a_day_at_most() -> None:
    assert Quirks().reference_life_s == 86_400
    with VenueThread(VenueOptions(seed=62, parameters=QUIET, quirks=Quirks(reference_life_s=0.5))) as venue:
        urls = (venue.info["binance_ws_url"], venue.info["binance_futures_ws_url"])
        open_ones = [connect(url + "/ws/btcusdt@trade") for url in urls]
        assert [closed_with(ws)[0] for ws in open_ones] == [1001, 1001]


# -- futures -----------------------------------------------------------------------------------------------------------


def test_futures_streams_speak_on_their_own_path_only(futures: str) -> None:
    public = connect(futures + "/public/stream?streams=btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@aggTrade")
    names = {next(events(public))["stream"] for _ in range(60)}
    assert names == {"btcusdt@bookTicker", "btcusdt@depth@100ms"}
    market = connect(futures + "/market/ws/btcusdt@aggTrade")
    trade = next(events(market))
    assert trade.keys() == {"e", "E", "s", "a", "p", "q", "f", "l", "T", "m"}
    retired = connect(futures + "/ws/btcusdt@bookTicker")
    retired.send(compact({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
    assert next(events(retired)) == {"result": ["btcusdt@bookTicker"], "id": 1}  # open, and silent otherwise
    for _ in range(20):
        next(events(public))
    retired.send(compact({"method": "LIST_SUBSCRIPTIONS", "id": 2}))
    assert next(events(retired))["id"] == 2
    for ws in (public, market, retired):
        ws.close()


def test_futures_payloads_have_times_and_the_number_before(venue: VenueThread, futures: str) -> None:
    ws = connect(futures + "/public/ws/btcusdt@bookTicker")
    quote = next(events(ws))
    assert quote.keys() == {"e", "u", "s", "b", "B", "a", "A", "T", "E"}
    assert len(quote["b"].split(".")[1]) == 1 and float(quote["b"]) < float(quote["a"])
    spot = get(venue.info["binance_rest_url"] + "/api/v3/ticker/bookTicker", symbol="BTCUSDT").json()
    assert 1.0002 < float(quote["b"]) / float(spot["bidPrice"]) < 1.0006
    ws.close()
    marks = connect(futures + "/market/ws/btcusdt@markPrice@1s")
    depths = [connect(futures + "/public/ws/" + stream) for stream in ("btcusdt@depth@100ms", "btcusdt@depth")]
    for ws in depths:
        before = next(events(ws))
        for _ in range(2):
            event = next(events(ws))
            assert event["pu"] == before["u"] and "T" in event
            before = event
        ws.close()
    mark = next(events(marks))
    assert mark["e"] == "markPriceUpdate" and mark["T"] > mark["E"]
    marks.close()


def test_futures_rest(venue: VenueThread) -> None:
    url = venue.info["binance_futures_rest_url"] + "/fapi/v1"
    assert abs(get(url + "/time").json()["serverTime"] / 1000 - time.time()) < 5
    assert len(get(url + "/klines", symbol="BTCUSDT", interval="1m", limit=3).json()) == 3
    assert get(url + "/klines", symbol="BTCUSDT", interval="1s").json()["code"] == -1120
    book = get(url + "/depth", symbol="BTCUSDT", limit=5).json()
    assert len(book["bids"]) == 5 and book["T"]


# -- REST --------------------------------------------------------------------------------------------------------------


def test_errors_have_their_codes(spot: str) -> None:
    for path, code in (
        ("/depth", -1102),
        ("/depth?symbol=NOPE", -1121),
        ("/depth?symbol=btcusdt", -1100),
        ("/depth?symbol=BTCUSDT&limit=x", -1100),
        ("/klines?symbol=BTCUSDT", -1102),
        ("/klines?symbol=BTCUSDT&interval=7m", -1120),
        ("/klines?symbol=BTCUSDT&interval=1d&timeZone=x", -1100),
        ("/ticker/price?symbol=NOPE", -1121),
    ):
        answer = get(spot + path)
        assert answer.status_code == 400
        assert answer.json().keys() == {"code", "msg"} and answer.json()["code"] == code


def test_candles_of_weeks_months_and_other_time_zones(spot: str) -> None:
    for interval, days in (("1w", {7}), ("1M", {28, 29, 30, 31})):
        (*_, row) = get(spot + "/klines", symbol="BTCUSDT", interval=interval, limit=1).json()
        assert (row[6] + 1 - row[0]) // 86_400_000 in days
    (*_, day) = get(spot + "/klines", symbol="BTCUSDT", interval="1d", timeZone="5:30").json()
    assert day[0] % 86_400_000 == (24 - 5.5) * 3_600_000


def test_every_answer_tells_the_weight_used(venue: VenueThread, spot: str) -> None:
    paths = ("/time", "/depth?symbol=BTCUSDT&limit=100", "/depth?symbol=BTCUSDT&limit=1000", "/exchangeInfo")
    while True:
        minute = int(time.time() // 60)
        used = [int(get(spot + path).headers["X-MBX-USED-WEIGHT-1M"]) for path in paths]
        if int(time.time() // 60) == minute:
            break
    assert [after - before for before, after in pairwise(used)] == [5, 50, 20]
    info = get(spot + "/exchangeInfo", symbol="BTCUSDT").json()
    assert {(row["rateLimitType"], row["limit"]) for row in info["rateLimits"]} == {
        ("REQUEST_WEIGHT", 6000),
        ("RAW_REQUESTS", 61_000),
    }
    (symbol,) = info["symbols"]
    assert symbol["filters"][0] == {
        "filterType": "PRICE_FILTER",
        "minPrice": "0.01000000",
        "maxPrice": "1000000.00000000",
        "tickSize": "0.01000000",
    }
    assert len(get(spot + "/ticker/bookTicker").json()) == 1
    assert float(get(spot + "/ticker/price", symbol="BTCUSDT").json()["price"]) > 0


def test_too_much_weight_is_429_and_ignoring_it_418() -> None:
    now = [1_000_000.0]
    meter, spent = Meter(50, lambda: now[0]), Spent()
    assert [meter._charge(spent, 20) for _ in range(3)] == [(0, 0), (0, 0), (429, 20)]
    for _ in range(IGNORED_MAX - 1):
        assert meter._charge(spent, 20)[0] == 429
    assert meter._charge(spent, 20) == (418, BAN_S)
    now[0] += 60
    assert meter._charge(spent, 1) == (418, BAN_S - 60)
    now[0] += 61
    assert meter._charge(spent, 1) == (0, 0)


def test_the_refusal_over_the_wire() -> None:
    quirks = Quirks(reference_weight_max=30)
    with VenueThread(VenueOptions(seed=63, parameters=QUIET, quirks=quirks)) as venue:
        url = venue.info["binance_rest_url"] + "/api/v3/exchangeInfo"
        answers = [get(url) for _ in range(16)]  # enough on either side of a minute's turn
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == -1003 and int(refused.headers["Retry-After"]) >= 1
        assert answers[-1].status_code == 418
        assert json.loads(answers[-1].text)["code"] == -1003
