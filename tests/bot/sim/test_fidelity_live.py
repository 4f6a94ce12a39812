"""Both settlement streams: acknowledgements, numbers, close codes, and the older stream's quirks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import websocket
from fidelity import QUIET, closed_with, connect, events, until

from bot.sim.live_stream import PING_S
from bot.sim.server import VenueOptions, VenueThread

TWAP_60 = {"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 60}}
SPOT = {"channel": "price.crypto", "filter": {"symbol": "btcusd"}}


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=31, parameters=QUIET)) as running:
        yield running


def polybolt(venue: VenueThread, *frames: Any) -> websocket.WebSocket:
    info = venue.info
    auth = {"apiKey": info["api_key"], "secret": info["api_secret"], "passphrase": info["api_passphrase"]}
    ws = connect(info["settlement_ws_url"], {"op": "auth", "rid": "a", "auth": auth}, *frames)
    assert json.loads(ws.recv()) == {"op": "authed", "rid": "a"}
    return ws


def rtds(venue: VenueThread, *rows: dict[str, Any]) -> websocket.WebSocket:
    return connect(venue.info["rtds_ws_url"], {"action": "subscribe", "subscriptions": list(rows)})


# -- the newer stream --------------------------------------------------------------------------------------------------


def test_each_subscription_is_answered_with_its_rid_and_channel(venue: VenueThread) -> None:
    wrong = {"channel": "price.weather", "filter": {}}
    unclear = {"channel": "price.crypto.twap", "filter": {"window_seconds": "soon"}}
    ws = polybolt(venue, {"op": "subscribe", "rid": "7", "subscriptions": [TWAP_60, wrong, unclear, SPOT]})
    heard = [next(events(ws)) for _ in range(6)]
    answers = [(e["op"], e.get("code"), e["channel"]) for e in heard if "op" in e]
    assert answers == [
        ("subscribed", None, "price.crypto.twap"),
        ("error", "bad_channel", "price.weather"),
        ("error", "bad_filter", "price.crypto.twap"),
        ("subscribed", None, "price.crypto"),
    ]
    assert {e["rid"] for e in heard if "op" in e} == {"7"}
    assert [(e["channel"], e["seq"], e["snapshot"], len(e["payload"]["data"])) for e in heard if "seq" in e] == [
        ("price.crypto.twap", 1, True, 120),
        ("price.crypto", 1, True, 120),
    ]
    ws.send(json.dumps({"op": "unsubscribe", "rid": "8", "subscriptions": [SPOT]}))
    until(ws, lambda event: event == {"op": "unsubscribed", "rid": "8", "channel": "price.crypto"})
    ws.send(json.dumps({"op": "dance", "rid": "9"}))
    assert until(ws, lambda event: event.get("rid") == "9")["code"] == "bad_op"
    ws.close()


def test_numbers_run_per_channel_and_only_the_first_is_a_snapshot(venue: VenueThread) -> None:
    ws = polybolt(venue, {"op": "subscribe", "rid": "1", "subscriptions": [TWAP_60, SPOT]})
    numbers: dict[str, list[int]] = {"price.crypto.twap": [], "price.crypto": []}
    while min(len(seen) for seen in numbers.values()) < 2:
        event = until(ws, lambda event: "seq" in event)
        numbers[event["channel"]].append(event["seq"])
        assert event.get("snapshot", False) is (event["seq"] == 1)
        assert event["payload"]["source"] == "chainlink"
    assert all(seen == list(range(1, len(seen) + 1)) for seen in numbers.values())
    ws.close()


def test_the_sixty_fifth_subscription_is_refused(venue: VenueThread) -> None:
    many = [{"channel": "price.crypto", "filter": {"symbol": f"coin{n}usd"}} for n in range(65)]
    ws = polybolt(venue, {"op": "subscribe", "rid": "1", "subscriptions": many})
    answers = [next(events(ws)) for _ in range(65)]
    assert [answer["op"] for answer in answers] == ["subscribed"] * 64 + ["error"]
    assert answers[-1]["code"] == "sub_limit"
    ws.close()


def test_close_codes_tell_why(venue: VenueThread) -> None:
    wrong = {"apiKey": "x", "secret": "x", "passphrase": "x"}
    stranger = connect(venue.info["settlement_ws_url"], {"op": "auth", "rid": "1", "auth": wrong})
    assert next(events(stranger))["code"] == "auth_invalid"
    assert closed_with(stranger)[0] == 4001
    hasty = connect(venue.info["settlement_ws_url"], {"op": "subscribe", "rid": "1", "subscriptions": []})
    assert next(events(hasty))["code"] == "auth_required"
    assert closed_with(hasty)[0] == 4001
    chatty = polybolt(venue, *[{"op": "ping", "rid": str(n)} for n in range(20)])  # one frame more than a second allows
    assert closed_with(chatty)[0] == 4008
    assert closed_with(polybolt(venue, "no json"))[0] == 4008
    assert PING_S == 25.0


def test_a_venue_that_stops_drains_its_live_stream() -> None:
    with VenueThread(VenueOptions(seed=32, parameters=QUIET)) as venue:
        ws = polybolt(venue)
        venue.stop()
        assert closed_with(ws) == (4003, "draining")


# -- the older stream --------------------------------------------------------------------------------------------------


def test_rtds_tells_prices_in_three_forms(venue: VenueThread) -> None:
    ws = rtds(
        venue,
        {"topic": "crypto_prices_twap_sixty", "type": "update", "filters": '{"symbol":"btc/usd"}'},
        {"topic": "crypto_prices_chainlink", "type": "*", "filters": '{"symbol":"btc/usd"}'},
        {"topic": "crypto_prices", "type": "update", "filters": '{"symbol":"btcusdt"}'},
    )
    snapshots = [next(events(ws)) for _ in range(3)]
    assert [(e["topic"], e["type"], e["payload"]["symbol"]) for e in snapshots] == [
        ("crypto_prices_twap_sixty", "subscribe", "btc/usd"),
        ("crypto_prices", "subscribe", "btc/usd"),  # mislabelled, as the real one is
        ("crypto_prices", "subscribe", "btcusdt"),
    ]
    assert all(len(e["payload"]["data"]) == 60 for e in snapshots)
    mean = until(ws, lambda event: event["type"] == "update" and event["topic"] == "crypto_prices_twap_sixty")
    assert mean["payload"]["window_s"] == 60
    source = until(ws, lambda event: event["type"] == "update" and event["topic"] == "crypto_prices_chainlink")
    assert source.keys() == {"topic", "type", "timestamp", "connection_id", "payload"}
    for payload in (mean["payload"], source["payload"]):
        assert Decimal(payload["full_accuracy_value"]).scaleb(-18) == Decimal(repr(payload["value"]))
        assert payload["timestamp"] % 1000 == 0
    reference = until(ws, lambda event: event["type"] == "update" and event["topic"] == "crypto_prices")["payload"]
    assert float(reference["full_accuracy_value"]) == reference["value"] and reference["symbol"] == "btcusdt"
    ws.close()


def test_rtds_answers_nothing_to_what_it_dislikes(venue: VenueThread) -> None:
    """A bad topic spoils its whole request, a space in a filter means silence, and a PING has no PONG."""
    ws = connect(
        venue.info["rtds_ws_url"],
        "PING",
        {"action": "subscribe", "subscriptions": [{"topic": "crypto_prices", "type": "update"}, {"topic": "weather"}]},
        {
            "action": "subscribe",
            "subscriptions": [
                {"topic": "crypto_prices_chainlink", "type": "update", "filters": '{"symbol": "btc/usd"}'}
            ],
        },
        {"action": "subscribe", "subscriptions": [{"topic": "crypto_prices_twap_sixty", "type": "update"}]},
    )
    heard = [next(events(ws)) for _ in range(2)]
    assert {event["topic"] for event in heard} == {"crypto_prices_twap_sixty"}
    assert [event["type"] for event in heard] == ["subscribe", "update"]
    ws.send(
        json.dumps({"action": "unsubscribe", "subscriptions": [{"topic": "crypto_prices_twap_sixty", "type": "*"}]})
    )
    ws.close()
