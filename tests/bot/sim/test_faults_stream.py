"""Every fault of streams and sockets, seen on the wire by two stock WebSocket clients."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
import requests
from fidelity import QUIET
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import OrderArgs
from stock_sockets import LIBRARIES, Ended, Stock

from bot.messages import Side
from bot.sim import frame_faults
from bot.sim.catalogue_streams import ENTRIES
from bot.sim.provoked import Stranger
from bot.sim.records import Order, Submit
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.venue import Venue, wall_ms

Open = Callable[[str], Stock]
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    # A long window, so that its book keeps both sides however late the last test comes.
    with VenueThread(VenueOptions(seed=31, series=("btc-updown-15m",), parameters=QUIET)) as running:
        running.call(settle_soon)
        yield running


def settle_soon(inside: Venue) -> None:
    inside.exchange.mined_ms = inside.exchange.confirmed_ms = 100


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def connect(request: pytest.FixtureRequest, venue: VenueThread) -> Iterator[Open]:
    """Opens a subscribed connection of a stream; closes it with all faults over, and nothing left to tell the next test."""
    opened: list[Stock] = []

    def connect(stream: str, subscribe: bool = True) -> Stock:
        ws = request.param(
            venue.info[f"{stream}_ws_url"] + ("/stream?streams=btcusdt@bookTicker" * (stream == "binance"))
        )
        opened.append(ws)
        if subscribe:
            subscription(venue, stream, ws)
        return ws

    yield connect
    venue.call(clean)
    for ws in opened:
        ws.close()


def clean(inside: Venue) -> None:
    inside.faults.stop()
    inside.exchange.cancel_all(inside.info["address"].lower(), wall_ms())
    inside.exchange.step(wall_ms() + 60_000)
    inside.tell()


def subscription(venue: VenueThread, stream: str, ws: Stock) -> None:
    auth = {
        "apiKey": venue.info["api_key"],
        "secret": venue.info["api_secret"],
        "passphrase": venue.info["api_passphrase"],
    }
    if stream == "market":
        ws.send({"assets_ids": tokens(venue), "type": "market"})
        ws.event(lambda event: event["event_type"] == "book")
    elif stream == "user":
        ws.send({"auth": auth, "type": "user"})
        ws.send("PING")
        ws.until(lambda text: text == "PONG")
    elif stream == "settlement":
        ws.send({"op": "auth", "rid": "1", "auth": auth})
        wish = {"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 60}}
        ws.send({"op": "subscribe", "rid": "2", "subscriptions": [wish]})
        ws.event(lambda event: "channel" in event and "payload" in event)


def tokens(venue: VenueThread) -> list[str]:
    def find(inside: Venue) -> list[str]:
        market = next(market for market in inside.exchange.markets.values() if market.accepting)
        return [market.up_token, market.down_token]

    return venue.call(find)


def inject(venue: VenueThread, **fault: Any) -> dict[str, Any]:
    answer = requests.post(venue.info["url"] + "/control/faults", json=fault, timeout=5)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def row_of(venue: VenueThread, seq: int) -> dict[str, Any]:
    rows = requests.get(venue.info["url"] + "/control/faults", timeout=5).json()
    return next(dict(row) for row in rows if row["seq"] == seq)


def place(venue: VenueThread, qty: int = 20_000_000, side: Side = Side.BUY) -> str:
    """An order of the wallet's own, resting at the best price of its side; its id."""
    up = tokens(venue)[0]
    order_id = f"0xfeed{next(numbers):060x}"

    def submit(inside: Venue) -> None:
        bid, ask = inside.exchange.best(inside.exchange.by_token[up].condition_id)
        owner, api_key = venue.info["address"].lower(), venue.info["api_key"]
        px = bid if side is Side.BUY else ask
        order = Submit(order_id=order_id, owner=owner, api_key=api_key, token=up, side=side, px=px, qty=qty)
        reply = inside.exchange.submit(order, wall_ms())
        assert reply.status == "live", reply

    venue.call(submit)
    return order_id


def cancel(venue: VenueThread, order_id: str) -> None:
    venue.call(lambda inside: inside.exchange.cancel(venue.info["address"].lower(), [order_id], wall_ms()))


def meet(venue: VenueThread, order_id: str, lots: int) -> None:
    """Somebody takes a part of an order."""

    def take(inside: Venue) -> None:
        order = inside.exchange.order(order_id)
        assert order is not None
        assert Stranger(inside).meet(order, lots * 10_000)

    venue.call(take)


def order_of(venue: VenueThread, order_id: str) -> Order:
    found = venue.call(lambda inside: inside.exchange.order(order_id))
    assert found is not None
    return found


def market_event(ws: Stock, kind: str) -> dict[str, Any]:
    return ws.event(lambda event: event.get("event_type") == kind)


def said(event: dict[str, Any]) -> str:
    return str(event["type"] if event["event_type"] == "order" else event["status"])


def about(event: dict[str, Any], order_id: str) -> bool:
    """Whether a user event is about this order; earlier tests leave trades that settle meanwhile."""
    return order_id in (event["id"], *(leg["order_id"] for leg in event.get("maker_orders", ())))


def user_event(ws: Stock, word: str, order_id: str = "") -> dict[str, Any]:
    return ws.event(lambda event: word in said(event) and (not order_id or about(event, order_id)))


def words(ws: Stock, count: int, order_id: str) -> list[str]:
    """What the next user events say about an order."""
    found: list[str] = []
    while len(found) < count:
        found += [said(event) for event in ws.events() if about(event, order_id)]
    return found


# -- W: market data and sockets --------------------------------------------------------------------------------------


def test_w01_freezes_data_while_pongs_come_and_a_new_connection_is_sound(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    row = inject(venue, id="W01", duration_s=30)
    ws.send("PING")
    assert ws.until(lambda text: text == "PONG")
    assert ws.silent(0.3)
    market_event(connect("market"), "price_change")
    assert row_of(venue, row["seq"])["count"] > 0


def test_w01_can_freeze_one_token(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    up, down = tokens(venue)
    inject(venue, id="W01", match=down, duration_s=30)
    ws.send("PING")
    ws.until(lambda text: text == "PONG")
    changes = market_event(ws, "price_change")["price_changes"]
    assert {change["asset_id"] for change in changes} == {up}


def test_w01_can_freeze_the_settlement_stream(venue: VenueThread, connect: Open) -> None:
    ws = connect("settlement")
    row = inject(venue, id="W01", match="settle", duration_s=30)
    ws.send("PING")
    ws.until(lambda text: text == "PONG")
    deadline = time.monotonic() + 10
    while row_of(venue, row["seq"])["count"] < 1:
        assert time.monotonic() < deadline, "no value was held back"
    ws.send("PING")
    assert ws.text() == "PONG"


def test_w02_says_nothing_any_more_not_even_pong(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W02", duration_s=0.6, match="market")
    ws.send("PING")
    while not ws.silent(0.2):
        pass  # what was on its way
    assert ws.end().code == 1006


def test_w02_can_drip(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W02", kind="drip", duration_s=0.8, match="market", bytes_per_s=200)
    for _ in range(50):
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            ws.text(0.3)
        if time.monotonic() - began >= 0.3:
            break
    else:
        raise AssertionError("frames kept their pace")
    market_event(ws, "price_change")


def test_w03_a_ping_before_the_subscription_and_the_fault_close_with_1008(venue: VenueThread, connect: Open) -> None:
    early = connect("market", subscribe=False)
    early.send("PING")
    sound = connect("user")
    inject(venue, id="W03", match="user")
    for ended in (early.end(), sound.end()):
        assert (ended.code, ended.reason) == (1008, "invalid subscription payload")


@pytest.mark.parametrize(("kind", "text"), [("invalid", "INVALID OPERATION"), ("pong", "PONG")])
def test_w04_sends_text_that_is_no_json(venue: VenueThread, connect: Open, kind: str, text: str) -> None:
    ws = connect("user")
    inject(venue, id="W04", kind=kind)
    assert ws.text() == text


def test_w05_shapes_are_arrays_batches_and_numbers(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W05", count=1)
    assert ws.until(lambda text: text == "[]")
    assert isinstance(json.loads(ws.text()), list)
    inject(venue, id="W05", kind="numbers", count=1)
    number = ws.event(lambda event: isinstance(event.get("timestamp"), int))
    if number["event_type"] == "price_change":
        assert isinstance(number["price_changes"][0]["price"], float)
    inject(venue, id="W05", kind="batch", duration_s=1)
    order_id = place(venue)
    user = connect("user")
    meet(venue, order_id, 500)
    batch = json.loads(user.until(lambda text: text.startswith("[")))
    assert {event["event_type"] for event in batch} == {"trade", "order"}
    cancel(venue, order_id)


@pytest.mark.parametrize(
    ("stream", "good"),
    [("market", {"price_change", "book", "last_trade_price", "best_bid_ask"}), ("user", {"order"})],
)
def test_w06_bad_elements_stand_among_good_ones(venue: VenueThread, connect: Open, stream: str, good: set[str]) -> None:
    ws = connect(stream)
    inject(venue, id="W06", match=stream)
    cancel(venue, place(venue))
    body = json.loads(ws.until(lambda text: "weather" in text))
    assert body[0]["event_type"] == "weather"
    assert body[1]["event_type"] in good
    assert body[-1] == 17


@pytest.mark.parametrize(
    ("stream", "kind"),
    [("market", "truncated"), ("market", "malformed"), ("binance", "utf8"), ("settlement", "truncated")],
)
def test_w07_frames_that_cannot_be_read(venue: VenueThread, connect: Open, stream: str, kind: str) -> None:
    ws = connect(stream)
    inject(venue, id="W07", kind=kind, match=stream.replace("settlement", "settle"))
    if kind == "utf8":
        with pytest.raises(UnicodeDecodeError):
            for _ in range(100):
                ws.text()
        return
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Extra|Invalid"):
        for _ in range(100):
            json.loads(ws.text())


def test_w08_a_message_beyond_every_cap(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W08", match="market")
    if ws.name == "websockets":
        assert ws.end().code == 1009  # it has a cap of 1 MiB
    else:
        assert len(ws.until(lambda text: len(text) > 1_000_000)) == 9 << 20


def test_w08_fragments_without_end(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    inject(venue, id="W08", kind="fragments", match="user")
    pieces = list(itertools.islice(ws.fragments(), frame_faults.FRAGMENTS))
    assert len(pieces) == frame_faults.FRAGMENTS  # and still no end


def test_w09_resets_everything_or_one_stream_within_a_frame(venue: VenueThread, connect: Open) -> None:
    market, user = connect("market"), connect("user")
    inject(venue, id="W09", kind="mid-frame", match="user")
    assert user.end().code == 1006
    market_event(market, "price_change")
    inject(venue, id="W09", duration_s=0)
    assert market.end().code == 1006


def test_w10_takes_connections_and_drops_them(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W10", duration_s=30, match="market")
    assert ws.end().code == 1006
    for _ in range(3):
        assert connect("market", subscribe=False).end().code == 1006
    connect("user")


def test_w11_crosses_the_book(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W11", duration_s=1)
    change = ws.event(lambda event: any(row["best_bid"] == row["best_ask"] for row in event.get("price_changes", ())))
    crossed = [row for row in change["price_changes"] if row["best_bid"] == row["best_ask"]]
    assert {row["asset_id"] for row in crossed} == set(tokens(venue))


def test_w11_sends_changes_before_the_book(venue: VenueThread, connect: Open) -> None:
    ws = connect("market")
    inject(venue, id="W11", kind="delta", duration_s=4, delay_s=2)
    assert ws.end().code == 1006
    again = connect("market", subscribe=False)
    again.send({"assets_ids": tokens(venue), "type": "market"})
    assert again.event()["event_type"] == "price_change"
    market_event(again, "book")


def test_w11_tells_a_stale_book_by_rest(venue: VenueThread) -> None:
    inject(venue, id="W11", kind="stale", count=1)
    url, query = venue.info["rest_url"] + "/book", {"token_id": tokens(venue)[0]}
    stale, sound = (requests.get(url, params=query, timeout=5).json() for _ in range(2))
    assert (stale["bids"][-1]["price"], stale["asks"][-1]["price"]) == ("0.01", "0.99")
    assert len(sound["bids"]) > 1


def test_w14_tells_all_twice_and_a_placement_after_the_end(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    inject(venue, id="W14", duration_s=30)
    order_id = place(venue)
    cancel(venue, order_id)
    assert words(ws, 5, order_id) == ["PLACEMENT", "PLACEMENT", "CANCELLATION", "CANCELLATION", "PLACEMENT"]


# -- U, S: the user stream -------------------------------------------------------------------------------------------


def test_u01_is_deaf_but_pongs(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    inject(venue, id="U01", duration_s=30)
    cancel(venue, place(venue))
    ws.send("PING")
    assert ws.text() == "PONG"
    sound = connect("user")
    order_id = place(venue)
    cancel(venue, order_id)
    assert words(sound, 2, order_id) == ["PLACEMENT", "CANCELLATION"]


def test_u02_resets_the_socket_in_place_of_a_fill(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    order_id = place(venue)
    inject(venue, id="U02")
    assert user_event(ws, "PLACEMENT")
    with pytest.raises(Ended) as ended:
        user_event(ws, "MATCHED")
    assert ended.value.code == 1006
    assert order_of(venue, order_id).matched == 20_000_000
    again = connect("user")
    place(venue)
    assert said(again.event(lambda event: about(event, order_id) or said(event) == "PLACEMENT")) in (
        "MINED",
        "PLACEMENT",
    )


def test_u03_loses_the_connection_after_the_credentials(venue: VenueThread, connect: Open) -> None:
    inject(venue, id="U03", count=1)
    ws = connect("user", subscribe=False)
    auth = {
        "apiKey": venue.info["api_key"],
        "secret": venue.info["api_secret"],
        "passphrase": venue.info["api_passphrase"],
    }
    ws.send({"auth": auth, "type": "user"})
    assert ws.end().code == 1006
    connect("user")


def test_u04_a_fill_comes_before_the_answer_to_its_post(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    client = ClobClient(venue.info["rest_url"], 137, key=venue.info["private_key"])
    client.set_api_creds(client.derive_api_key())
    order = client.create_order(OrderArgs(token_id=tokens(venue)[0], price=0.02, size=20, side="BUY"))
    inject(venue, id="U04", delay_s=0.5)
    post = Thread(target=client.post_order, args=(order,))
    post.start()
    trade = user_event(ws, "MATCHED")
    assert post.is_alive()
    (ours,) = [leg for leg in trade["maker_orders"] if leg["owner"] == venue.info["api_key"]]
    assert float(ours["matched_amount"]) == 5
    post.join(5)
    cancel(venue, ours["order_id"])


def test_u05_placement_comes_last(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    inject(venue, id="U05", count=1)
    order_id = place(venue)
    assert words(ws, 3, order_id) == ["MATCHED", "UPDATE", "PLACEMENT"]


def test_u07_statuses_have_prefixes_and_new_words(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    inject(venue, id="U07", duration_s=30)
    order_id = place(venue)
    for _ in range(3):
        meet(venue, order_id, 100)
    wanted = {"TRADE_STATUS_MATCHED", "MATCHED_NOT_BROADCASTED", "matched"}
    while wanted:
        wanted.discard(user_event(ws, "", order_id)["status"])
    assert user_event(ws, "RETRYING")
    venue.call(lambda inside: inside.faults.stop())
    inject(venue, id="U07", kind="unknown", count=1)
    meet(venue, order_id, 100)
    assert user_event(ws, "POSTPONED")
    cancel(venue, order_id)


def test_u09_a_complement_match_has_the_other_token_on_top(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    order_id = place(venue)
    inject(venue, id="U09")
    trade = user_event(ws, "MATCHED", order_id)
    ours = next(leg for leg in trade["maker_orders"] if leg["order_id"] == order_id)
    assert trade["asset_id"] != ours["asset_id"]
    assert (trade["side"], ours["side"]) == ("BUY", "BUY")
    assert float(trade["price"]) + float(ours["price"]) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["event", "live"])
def test_u10_an_order_that_nobody_sent(venue: VenueThread, connect: Open, kind: str) -> None:
    ws = connect("user")
    inject(venue, id="U10", kind=kind)
    order_id = user_event(ws, "PLACEMENT")["id"]
    known = venue.call(lambda inside: inside.exchange.order(order_id))
    assert (known is not None) is (kind == "live")
    if known is not None:
        cancel(venue, order_id)


def test_u10_and_t09_never_share_an_id(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    inject(venue, id="T09")
    inject(venue, id="U10", kind="live")
    inject(venue, id="U10", kind="event")
    assert len({user_event(ws, "PLACEMENT")["id"] for _ in range(3)}) == 3


def test_u11_the_same_trade_with_another_size(venue: VenueThread, connect: Open) -> None:
    ws = connect("user")
    order_id = place(venue)
    inject(venue, id="U11")
    meet(venue, order_id, 200)
    first, second = user_event(ws, "MATCHED", order_id), user_event(ws, "MATCHED", order_id)
    assert first["id"] == second["id"]
    amounts = [
        next(leg["matched_amount"] for leg in trade["maker_orders"] if leg["order_id"] == order_id)
        for trade in (first, second)
    ]
    assert [float(amount) for amount in amounts] == [2, 3]
    cancel(venue, order_id)


@pytest.mark.parametrize("kind", ["late", "lost"])
def test_u12_update_before_its_trade(venue: VenueThread, connect: Open, kind: str) -> None:
    ws = connect("user")
    order_id = place(venue)
    inject(venue, id="U12", kind=kind, delay_s=0.03)
    meet(venue, order_id, 200)
    assert words(ws, 3, order_id) == ["PLACEMENT", "UPDATE", "MATCHED" if kind == "late" else "MINED"]
    cancel(venue, order_id)


@pytest.mark.parametrize(("kind", "matched"), [("short", 19_999_000), ("over", 20_001_000)])
def test_u13_dust_ends_an_order(venue: VenueThread, connect: Open, kind: str, matched: int) -> None:
    ws = connect("user")
    order_id = place(venue)
    inject(venue, id="U13", kind=kind)
    update = user_event(ws, "UPDATE", order_id)
    assert (update["id"], update["status"], float(update["size_matched"]) * 1e6) == (order_id, "MATCHED", matched)
    assert order_of(venue, order_id).matched == matched
    assert venue.call(lambda inside: inside.exchange.imbalance()) == 0


def test_u14_storms_of_trades_and_of_deltas(venue: VenueThread, connect: Open) -> None:
    user, market = connect("user"), connect("market")
    order_id = place(venue)
    inject(venue, id="U14", number=100)
    trades = {user_event(user, "MATCHED", order_id)["id"] for _ in range(100)}
    assert len(trades) == 100
    assert order_of(venue, order_id).matched == 1_000_000
    cancel(venue, order_id)
    row = inject(venue, id="U14", kind="deltas", number=600)
    for _ in range(550):
        market_event(market, "price_change")
    assert row["count"] == 1


def test_s01_steps_repeat_and_reorder(venue: VenueThread, connect: Open) -> None:
    inject(venue, id="S01", duration_s=30)
    venue.call(
        lambda inside: (setattr(inside.exchange, "mined_ms", 100), setattr(inside.exchange, "confirmed_ms", 100))
    )
    ws = connect("user")
    order_id = place(venue)
    meet(venue, order_id, 200)
    found = [word for word in words(ws, 11, order_id) if word not in ("PLACEMENT", "UPDATE")]
    assert found == [
        "MATCHED", "MATCHED", "MINED", "MINED", "RETRYING", "CONFIRMED", "MINED", "MATCHED", "CONFIRMED",
    ]  # fmt: skip
    cancel(venue, order_id)


# -- B: the reference feed -------------------------------------------------------------------------------------------


def test_b01_closes_as_after_a_day(venue: VenueThread, connect: Open) -> None:
    ws = connect("binance")
    inject(venue, id="B01")
    assert ws.end().code == 1001


def test_b02_announces_its_shutdown(venue: VenueThread, connect: Open) -> None:
    ws = connect("binance")
    inject(venue, id="B02", grace_s=0.2)
    said = ws.event(lambda event: event["stream"] == "!serverShutdown")
    assert said["data"]["e"] == "serverShutdown"
    assert ws.end().code == 1001


def test_b03_stalls(venue: VenueThread, connect: Open) -> None:
    ws = connect("binance")
    inject(venue, id="B03", duration_s=0.8)
    while not ws.silent(0.3):
        pass
    assert ws.event()["stream"] == "btcusdt@bookTicker"


def test_b04_counts_no_pong(venue: VenueThread, connect: Open) -> None:
    ws = connect("binance")
    inject(venue, id="B04", within_s=0.2)
    assert ws.end().code == 1006


def test_b06_prices_that_cannot_be(venue: VenueThread, connect: Open) -> None:
    ws = connect("binance")
    inject(venue, id="B06", count=6, duration_s=30)
    seen: list[tuple[str, str]] = []
    while len(seen) < 6:
        data = ws.event()["data"]
        if (data["b"], data["a"]) in frame_faults.NONSENSE or float(data["b"]) > 400_000:
            seen.append((data["b"], data["a"]))
    assert set(frame_faults.NONSENSE) <= set(seen)


def test_every_fault_of_streams_has_its_test_here() -> None:
    named = {name.split("_")[1].upper() for name in globals() if name.startswith("test_")}
    causable = {fault_id for fault_id, entry in ENTRIES.items() if not entry.how}
    assert causable == causable & named
