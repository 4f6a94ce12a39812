"""The venue under load: what it sends is true, whoever does not read is cut, and REST goes on."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

import orjson
import pytest
import requests

from bot.bench.listener import Mirror, Subscriber, open_tokens
from bot.bench.load import measure
from bot.messages import Side
from bot.sim import sockets
from bot.sim.exchange import Exchange
from bot.sim.flicker import Flicker
from bot.sim.load import Depth
from bot.sim.market import World
from bot.sim.parameters import WorldParameters
from bot.sim.records import SimMarket
from bot.sim.render import Books
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.sockets import Batch, StreamClient
from bot.sim.traders import Crowd

T0 = 1_800_000_000_000


def stepped() -> tuple[World, Exchange, Books, SimMarket]:
    """A market with makers in it, two seconds old."""
    exchange = Exchange()
    books = Books(exchange)
    world = World(exchange, seed=5, series=("btc-updown-5m",), start_ms=T0, aligned=False)
    world.step(T0 + 2_000)
    note(exchange, books)
    return world, exchange, books, next(iter(exchange.markets.values()))


def note(exchange: Exchange, books: Books) -> None:
    for event in exchange.take_events():
        books.note(event)


def filled(exchange: Exchange, market: SimMarket) -> Depth:
    depth = Depth(exchange, Crowd(exchange), "5")
    for _ in range(40):
        depth.keep(market, T0 + 2_000)
    return depth


def mirror_of(books: Books, market: SimMarket) -> Mirror:
    mirror = Mirror(check_every=1)
    mirror.hear(orjson.dumps([books.event(token) for token in (market.up_token, market.down_token)]))
    return mirror


def test_every_frame_of_a_flicker_carries_the_hash_of_the_book_it_leaves() -> None:
    _, exchange, books, market = stepped()
    mirror = mirror_of(books, market)
    frames = [frame for n in range(20) for frame in Flicker(exchange, books, str(n)).frames(market, 25, T0 + 2_000 + n)]
    for frame in frames:
        mirror.hear(frame)
    assert len(frames) > 470
    assert (mirror.checked, mirror.wrong) == (2 + 2 * len(frames), 0)


def test_a_slice_ends_with_the_exchanges_own_book_and_its_stamp() -> None:
    _, exchange, books, market = stepped()
    flicker, mirror = Flicker(exchange, books, "x"), mirror_of(books, market)
    for count in (1, 2, 3, 24, 25):
        for frame in flicker.frames(market, count, T0 + 3_000 + count):
            mirror.hear(frame)
        for token in (market.up_token, market.down_token):
            book = books.summary(token)
            assert book["timestamp"] == str(T0 + 3_000 + count)
            assert mirror.tokens[token].digest(book["timestamp"]) == book["hash"]


def test_a_flicker_shows_no_less_than_what_rests_and_leaves_the_touch_alone() -> None:
    _, exchange, books, market = stepped()
    truth = {(side, px): qty for side, rows in zip(("BUY", "SELL"), exchange.book(market.up_token), strict=True) for px, qty in rows}  # fmt: skip
    best = books.best_texts(market.up_token)
    for frame in Flicker(exchange, books, "x").frames(market, 400, T0 + 2_000):
        up, down = orjson.loads(frame)["price_changes"]
        px, qty = round(float(up["price"]) * 10_000), round(float(up["size"]) * 1_000_000)
        assert qty >= truth.get((up["side"], px), 0)
        assert (up["best_bid"], up["best_ask"]) == best
        assert (down["size"], down["side"]) == (up["size"], "SELL" if up["side"] == "BUY" else "BUY")
        assert round(float(down["price"]) * 10_000) == 10_000 - px


def test_book_events_are_those_the_stream_sends() -> None:
    _, exchange, books, market = stepped()
    filled(exchange, market)
    note(exchange, books)
    events = Flicker(exchange, books, "x").text(market, T0 + 2_500).events()
    assert events == [orjson.dumps(books.event(token)) for token in (market.up_token, market.down_token)]


def test_frames_have_the_size_of_real_ones() -> None:
    _, exchange, books, market = stepped()
    filled(exchange, market)
    note(exchange, books)
    flicker = Flicker(exchange, books, "x")
    frames = flicker.frames(market, 100, T0 + 2_500)
    assert 550 < sum(map(len, frames)) / len(frames) < 650
    assert sum(map(len, flicker.text(market, T0 + 2_500).events())) > 6_000


def test_the_same_seed_and_books_make_the_same_frames() -> None:
    made = []
    for _ in range(2):
        _, exchange, books, market = stepped()
        flicker = Flicker(exchange, books, "x")
        made.append([flicker.frames(market, 25, T0 + 2_000 + n) for n in range(4)])
    assert made[0] == made[1]


def test_a_market_without_a_book_does_not_flicker() -> None:
    world, exchange, books, market = stepped()
    for name in (*world.maker_names, "noise-1"):
        exchange.cancel_all(name, T0 + 2_000)
    note(exchange, books)
    assert Flicker(exchange, books, "x").frames(market, 25, T0 + 2_000) == []


def test_depth_keeps_its_distance_and_leaves_before_the_end() -> None:
    _, exchange, _, market = stepped()
    depth = filled(exchange, market)
    bid, ask = exchange.best(market.condition_id)
    resting = exchange.orders_of(depth.name)
    assert len(resting) > 60
    assert all((bid - o.up_px if o.is_bid else o.up_px - ask) >= depth.near * market.tick for o in resting)
    # The touch comes close: somebody bids more.
    Crowd(exchange).send("maker-1", market, Side.BUY, ask - market.tick, 9_000_000, T0, order_type="GTC")
    depth.keep(market, market.end_ms - 10_000)
    assert len(exchange.orders_of(depth.name)) >= 60
    depth.keep(market, market.end_ms - 1_000)
    assert exchange.orders_of(depth.name) == []


# -- over sockets --------------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_batches_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Transport:
        """Takes nothing in."""

        aborted = False

        def get_write_buffer_size(self) -> int:
            return 1 << 30

        def abort(self) -> None:
            self.aborted = True

    client, transport = StreamClient(), Transport()
    monkeypatch.setattr(StreamClient, "transport", property(lambda self: transport))
    batch = Batch([b"x" * 600] * 100)
    assert batch.wire[:4] == b"\x81\x7e\x02\x58"
    for _ in range(sockets.QUEUE_BYTES_MAX // len(batch.wire) + 1):
        client.send_batch(batch)
    assert client.closing
    assert transport.aborted
    assert client.queued == 0


def run_load(venue: VenueThread, rate: float, enough: int, clients: list[Subscriber]) -> None:
    """Command a rate, read until the first client has enough frames, command silence."""
    command = venue.info["url"] + "/control/load"
    assert requests.post(command, json={"frames_per_s": rate, "for_s": 60}, timeout=5).status_code == 200
    deadline_s = time.monotonic() + 30.0
    while clients[0].frames < enough:
        for client in clients:
            client.read()
        assert time.monotonic() < deadline_s
    requests.post(command, json={"frames_per_s": 0}, timeout=5)


def test_a_book_built_from_a_loaded_stream_is_the_one_rest_shows() -> None:
    with VenueThread(VenueOptions(seed=8)) as venue:
        info = venue.info
        mirror = Mirror(check_every=1)
        wanted = open_tokens(info["gamma_url"])[:2]
        clients = [Subscriber(info["market_ws_url"], wanted, mirror), Subscriber(info["market_ws_url"], wanted, None)]
        run_load(venue, 1_500, 1_500, clients)
        status = requests.get(info["url"] + "/control/load", timeout=5).json()
        orders = venue.call(lambda inside: inside.exchange.orders_of(Depth.name))
        books = [requests.get(f"{info['url']}/book?token_id={token}", timeout=5).json() for token in wanted]
        deadline_s = time.monotonic() + 20.0
        while not all(book["hash"] in mirror.verified[book["asset_id"]] for book in books):
            clients[0].read()
            assert time.monotonic() < deadline_s
    assert mirror.wrong == 0
    assert mirror.checked > 2_500
    assert status["frames_per_s"] == 0
    assert orders == []
    assert status["sent"] >= 1_400


class BookFrames(Mirror):
    """Counts arrays of events, and books by token."""

    def __init__(self) -> None:
        super().__init__(check_every=1_000_000)
        self.arrays = 0
        self.books: Counter[str] = Counter()

    def hear(self, payload: bytes) -> None:
        event = orjson.loads(payload)
        self.arrays += isinstance(event, list)
        if isinstance(event, dict) and event["event_type"] == "book":
            self.books[event["asset_id"]] += 1
        super().hear(payload)


def test_of_a_load_a_frame_in_a_hundred_is_a_book_and_of_one_token_only() -> None:
    """A client that follows one of two tokens gets every frame of changes and its own books."""
    with VenueThread(VenueOptions(seed=8)) as venue:
        mirror = BookFrames()
        token = open_tokens(venue.info["gamma_url"])[0]
        client = Subscriber(venue.info["market_ws_url"], [token], mirror)
        run_load(venue, 3_000, 3_000, [client])
    assert set(mirror.books) == {token}
    assert 3 <= mirror.books[token] <= 60  # 15 on average, and those of trades
    assert mirror.arrays <= 1  # the first


def test_a_slow_subscriber_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "QUEUE_BYTES_MAX", 500_000)
    with VenueThread(VenueOptions(seed=8)) as venue:
        info = venue.info
        wanted = open_tokens(info["gamma_url"])[:2]
        quick, slow = (Subscriber(info["market_ws_url"], wanted, None) for _ in range(2))
        run_load(venue, 20_000, 20_000, [quick])
        ended = False
        try:
            while not slow.ended:
                slow.read()
        except ConnectionResetError:
            ended = True
        assert ended or slow.ended
        assert slow.frames < quick.frames
        assert not quick.ended


class Repeats(Mirror):
    """Counts frames that say what the one before said."""

    last = b""
    repeated = 0

    def hear(self, payload: bytes) -> None:
        self.repeated += payload == self.last
        self.last = payload
        super().hear(payload)


def test_a_jump_of_the_world_is_followed_by_a_burst_of_frames_some_of_them_twice() -> None:
    flurries = WorldParameters(
        jump_every_s=1.0, flurry_share=1.0, flurry_per_s=(5_000.0, 5_000.0), flurry_s=(0.5, 0.5), flurry_books=0.1
    )
    with VenueThread(VenueOptions(seed=8, parameters=flurries)) as venue:
        mirror = Repeats(check_every=10)
        client = Subscriber(venue.info["market_ws_url"], open_tokens(venue.info["gamma_url"])[:2], mirror)
        deadline_s = time.monotonic() + 30.0
        while client.frames < 1_500:
            client.read()
            assert time.monotonic() < deadline_s
    assert mirror.wrong == 0
    assert mirror.repeated > 100


def test_a_world_cuts_both_streams_of_the_clob_and_lets_them_come_back() -> None:
    cuts = WorldParameters(disconnect_every_s=0.7, disconnect_s=(0.3, 0.3))
    with VenueThread(VenueOptions(seed=8, parameters=cuts)) as venue:
        url, tokens = venue.info["market_ws_url"], open_tokens(venue.info["gamma_url"])[:2]
        connections, refusals, deadline_s = 0, 0, time.monotonic() + 30.0
        while connections < 2 or not refusals:
            assert time.monotonic() < deadline_s
            try:
                client = Subscriber(url, tokens, None)
            except ConnectionError:
                refusals += 1
                continue
            connections += 1
            with contextlib.suppress(ConnectionResetError):
                while not client.ended:
                    client.read()


def test_a_venue_can_be_started_under_load() -> None:
    with VenueThread(VenueOptions(seed=8, load=500.0)) as venue:
        assert requests.get(venue.info["url"] + "/control/load", timeout=5).json()["frames_per_s"] == 500.0


def test_nonsense_is_refused() -> None:
    with VenueThread(VenueOptions(seed=8)) as venue:
        url = venue.info["url"] + "/control/load"
        for body in (
            {"frames_per_s": -1},
            {"frames_per_s": "many"},
            {"frames_per_s": 1e9},
            {"for_s": 1},
            {"rate": 1},
            [],
        ):
            assert requests.post(url, json=body, timeout=5).status_code == 400
        assert requests.get(url, timeout=5).json()["frames_per_s"] == 0


@pytest.mark.soak
def test_ten_thousand_frames_a_second_for_five_minutes() -> None:
    """Counts and correctness; figures of time are bot.bench.load's to print, on a quiet machine."""
    report = measure(300.0, 3, 10_000.0, check_every=200, seed=1)
    assert report["sent"]["sent"] + report["sent"]["missed"] >= 2_900_000
    assert [client["ended"] for client in report["subscribers"]] == ["", "", ""]
    assert all(client["frames"] >= report["sent"]["sent"] for client in report["subscribers"])
    assert report["hashes_checked"] > 20_000
    assert report["hashes_wrong"] == 0
    assert report["books_true"] == report["books_asked"] > 0
