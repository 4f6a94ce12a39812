"""What the market channel may send, and what of it reaches the book caches. Frames are composed by us."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bot.caches import BookView, Caches
from bot.errors import FrameError
from bot.market import Market, Rule
from bot.messages import FeedStatus, MarketDropped, MarketListed, MarketResolved, Nudge, TickSizeChange
from bot.units import NS_PER_MS, NS_PER_S, Ns
from bot.venues import polymarket_book
from bot.venues.polymarket_book import ASKS_MAX, USUAL_END, USUAL_HEAD, MarketFeed

START_NS = 1_793_750_400 * NS_PER_S
UP, DOWN = "123456789", "987654321"


def market(symbol: str = "0xc", up: str = UP, down: str = DOWN, duration_s: int = 300) -> Market:
    return Market(
        symbol=symbol,
        slug="btc-updown-5m-1793750400",
        series="btc-updown-5m",
        asset="btc",
        up_token=up,
        down_token=down,
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_utc_ns=START_NS,
        end_utc_ns=START_NS + duration_s * NS_PER_S,
        tick=100,
        min_qty=5_000_000,
        fee_rate=0.07,
    )


class Bench:
    """A feed that follows one market, its window open at time zero of the clock."""

    def __init__(self, duration_s: int = 300) -> None:
        self.caches = Caches()
        self.now_ns: Ns = 0
        self.feed = MarketFeed(
            url="ws://x/ws/market",
            caches=self.caches,
            clock=lambda: self.now_ns,
            utc=lambda now_ns: START_NS + now_ns,
        )
        self.feed.command(MarketListed(market=market(duration_s=duration_s)))
        self.feed.opening()

    @property
    def view(self) -> BookView | None:
        return self.caches.books["0xc"].latest

    def send(self, body: Any, now_ns: Ns = 0) -> list[Any]:
        """As one burst."""
        self.now_ns = now_ns
        return [*self.feed.decode(orjson.dumps(body), now_ns), *self.feed.settle(now_ns)]

    def asked_again(self) -> list[dict[str, Any]]:
        frames = [orjson.loads(text) for text in self.feed.outbox]
        self.feed.outbox.clear()
        return frames


def level(px: str, size: str) -> dict[str, str]:
    return {"price": px, "size": size}


def up_book(**more: Any) -> dict[str, Any]:
    return {
        "event_type": "book",
        "asset_id": UP,
        "market": "0xc",
        "bids": [level("0.51", "20"), level("0.52", "35")],
        "asks": [level("0.54", "7"), level("0.53", "8.5")],
        "timestamp": "1793750400123",
        "hash": "0",
        **more,
    }


def down_book() -> dict[str, Any]:
    return {
        "event_type": "book",
        "asset_id": DOWN,
        "market": "0xc",
        "bids": [level("0.46", "7"), level("0.47", "8.5")],
        "asks": [level("0.49", "20"), level("0.48", "35")],
        "timestamp": "1793750400123",
        "hash": "0",
    }


def change(token: str, px: str, size: str, side: str, best: tuple[str, str] | None = None) -> dict[str, str]:
    told = {"asset_id": token, "price": px, "size": size, "side": side, "hash": "0"}
    return told if best is None else told | {"best_bid": best[0], "best_ask": best[1]}


def changes(*entries: Any) -> dict[str, Any]:
    return {"event_type": "price_change", "market": "0xc", "timestamp": "1793750400456", "price_changes": list(entries)}


def snapshots(bench: Bench, now_ns: Ns = 0) -> None:
    bench.send([up_book(), down_book()], now_ns)


def test_without_a_market_there_is_no_address() -> None:
    feed = MarketFeed(url="ws://x", caches=Caches(), clock=lambda: 0, utc=lambda now_ns: now_ns)
    assert feed.url() == ""
    feed.command(MarketListed(market=market()))
    assert feed.url() == "ws://x"
    feed.command(MarketDropped(symbol="0xc"))
    assert feed.url() == ""


def test_the_first_frame_subscribes_both_tokens_of_every_market() -> None:
    bench = Bench()
    bench.feed.command(MarketListed(market=market("0xd", "3", "4")))
    assert [orjson.loads(text) for text in bench.feed.opening()] == [
        {"assets_ids": [UP, DOWN, "3", "4"], "type": "market", "custom_feature_enabled": True, "initial_dump": True}
    ]


def test_markets_come_and_go_on_an_open_connection() -> None:
    bench = Bench()
    listed = bench.feed.command(MarketListed(market=market("0xd", "3", "4")))
    assert [orjson.loads(text) for text in listed] == [
        {"operation": "subscribe", "assets_ids": ["3", "4"], "custom_feature_enabled": True}
    ]
    assert bench.feed.command(MarketListed(market=market("0xd", "3", "4"))) == []
    dropped = bench.feed.command(MarketDropped(symbol="0xd"))
    assert [orjson.loads(text) for text in dropped] == [{"operation": "unsubscribe", "assets_ids": ["3", "4"]}]
    assert "0xd" not in bench.caches.books and bench.feed.command(MarketDropped(symbol="0xd")) == []


def test_a_snapshot_in_an_array_becomes_a_view_best_first() -> None:
    bench = Bench()
    assert bench.send([up_book(), down_book()], 5) == [Nudge()]
    assert bench.view is not None and bench.caches.market_frame_ns == 5
    assert bench.view.bids == ((5200, 35_000_000), (5100, 20_000_000))
    assert bench.view.asks == ((5300, 8_500_000), (5400, 7_000_000))


def test_only_a_change_of_the_top_nudges() -> None:
    bench = Bench()
    snapshots(bench)
    assert bench.send(changes(change(UP, "0.51", "21", "BUY"), change(DOWN, "0.49", "21", "SELL")), 6) == []
    assert bench.view is not None and bench.view.recv_ns == 6
    told = bench.send(changes(change(UP, "0.52", "0", "BUY"), change(DOWN, "0.48", "0", "SELL")), 7)
    assert told == [Nudge()] and bench.view.bids == ((5100, 21_000_000),)


def test_deltas_before_the_snapshot_and_of_other_markets_are_ignored() -> None:
    bench = Bench()
    assert bench.send(changes(change(UP, "0.52", "1", "BUY"), change("77", "0.52", "1", "BUY"))) == []
    assert bench.view is None
    bench.send(up_book() | {"asset_id": "77"})
    assert bench.view is None and bench.feed.skipped == 0


@pytest.mark.parametrize("frame", [b"PONG", b"[]"])
def test_liveness_frames_say_nothing(frame: bytes) -> None:
    bench = Bench()
    assert bench.feed.decode(frame, 9) == [] and bench.caches.market_frame_ns == 9


@pytest.mark.parametrize("frame", [b"INVALID OPERATION", b"", b"\xff\xfe"])
def test_other_texts_cost_the_connection(frame: bytes) -> None:
    with pytest.raises(FrameError):
        Bench().feed.decode(frame, 9)


def test_bad_elements_are_skipped_among_good_siblings() -> None:
    bench = Bench()
    bad: list[Any] = [
        7,
        {},
        {"event_type": "novelty"},
        {"event_type": "book", "asset_id": UP},
        up_book(bids=[level("NaN", "1")]),
        up_book(bids=[level("1.5", "1")]),
        changes(change(UP, "0.5", "-3", "BUY"), change(UP, "x", "1", "BUY"), change(UP, "0.5", "1", "HOLD"), {}),
    ]
    bench.send([*bad, up_book()])
    assert bench.view is not None and bench.view.bids[0] == (5200, 35_000_000)
    assert bench.feed.skipped == 10 and bench.feed.malformed == 0


def test_a_bad_change_does_not_take_the_good_ones_of_its_frame_with_it() -> None:
    bench = Bench()
    snapshots(bench)
    bench.send(changes({}, change(UP, "0.52", "36", "BUY"), {}), 3)
    assert bench.view is not None and bench.view.bids[0] == (5200, 36_000_000)


ODD_ROWS: list[Any] = [
    7,
    {},
    change(UP, "NaN", "1", "BUY"),
    change(UP, "0.5", "Infinity", "BUY"),
    change(UP, "0.5", "-1", "BUY"),
    change(UP, "1", "1", "BUY"),
    change(UP, "0.5", "1", "HOLD"),
    change(UP, "", "1", "BUY"),
    {"asset_id": 5, "price": "0.5", "size": "1", "side": "BUY"},
    {"asset_id": UP, "price": "0.5", "side": "BUY"},
]


@pytest.mark.parametrize("odd", [None, *ODD_ROWS])
def test_the_usual_order_of_keys_is_read_as_any_other_is(odd: Any) -> None:
    """Nearly every frame begins or ends with its type, and takes a faster way."""
    rows = [
        change(UP, "0.52", "36.123456", "BUY", ("0.52", "0.53")),
        change(DOWN, "0.48", "36.123456", "SELL", ("", "")),
        {"asset_id": UP, "price": 0.51, "size": 7, "side": "BUY"},
        change(UP, "0.53", "0", "SELL"),
        change("77", "0.5", "1", "BUY"),
        *([] if odd is None else [odd]),
    ]
    first = changes(*rows)
    last = {key: first[key] for key in ("market", "price_changes", "timestamp", "event_type")}
    other = {key: first[key] for key in ("market", "event_type", "price_changes", "timestamp")}
    assert orjson.dumps(first).startswith(USUAL_HEAD) and orjson.dumps(last).endswith(USUAL_END)
    assert not orjson.dumps(other).startswith(USUAL_HEAD) and not orjson.dumps(other).endswith(USUAL_END)
    found = []
    for body in (other, first, last):
        bench = Bench()
        snapshots(bench)
        bench.send(body, 3)
        assert bench.view is not None
        found.append((bench.view, bench.feed.counters(), bench.feed.stale(4)))
    assert found[0] == found[1] == found[2]
    assert found[0][0].bids[:2] == ((5200, 36_123_456), (5100, 7_000_000)) and found[0][0].asks == ((5400, 7_000_000),)
    assert found[0][1]["skipped"] == (odd is not None)


@pytest.mark.parametrize("first", [True, False])
def test_both_usual_orders_take_the_faster_way(monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    bench = Bench()
    snapshots(bench)
    frame = changes(change(UP, "0.52", "36", "BUY"))
    keys = sorted(frame, key=lambda key: (key == "event_type") != first)
    text = orjson.dumps({key: frame[key] for key in keys})
    monkeypatch.setattr(polymarket_book.orjson, "loads", lambda text: pytest.fail("read the long way"))
    assert bench.feed.decode(text, 3) == []
    assert [type(message) for message in bench.feed.settle(3)] == [Nudge]


@pytest.mark.parametrize(
    "frame",
    [
        b'{"price_changes":[' + USUAL_END,
        b'{"price_changes":"\xff",' + USUAL_END,
        USUAL_HEAD + b'"price_changes":[',
        USUAL_HEAD[:-1],
        USUAL_HEAD + b'"unread":"\xff","price_changes":[]}',
        b'{"unread":"\xff","price_changes":[],' + USUAL_END,
        b'{"price_changes":[{"asset_id":"1\xff\xc3("}],' + USUAL_END,
    ],
)
def test_a_frame_that_only_looks_usual_is_malformed(frame: bytes) -> None:
    bench = Bench()
    snapshots(bench)
    assert bench.feed.decode(frame, 9) == []
    assert bench.view is None and bench.feed.malformed == 1


def test_events_that_are_not_for_us_are_no_errors() -> None:
    bench = Bench()
    bench.send(
        [
            {"event_type": "best_bid_ask", "asset_id": UP, "market": "0xc", "best_bid": "0.52", "best_ask": "0.53"},
            {"event_type": "new_market", "market": "0xe"},
            {"event_type": "market_resolved", "market": "0xe", "winning_asset_id": "1"},
        ]
    )
    assert bench.feed.skipped == 0


def test_a_malformed_frame_drops_the_books_and_asks_for_them_again_not_more_than_once_a_second() -> None:
    bench = Bench()
    snapshots(bench)
    bench.now_ns = 2 * NS_PER_S
    assert bench.feed.decode(b'{"event_type":', bench.now_ns) == []
    assert bench.view is None and [body["operation"] for body in bench.asked_again()] == ["unsubscribe", "subscribe"]
    bench.feed.decode(b"[", bench.now_ns)
    assert bench.asked_again() == [] and bench.feed.malformed == 2


def test_a_book_lost_to_a_second_malformed_frame_is_asked_for_as_soon_as_it_may_be() -> None:
    bench = Bench()
    snapshots(bench)
    bench.now_ns = 2 * NS_PER_S
    bench.feed.decode(b"[", bench.now_ns)
    snapshots(bench)
    bench.asked_again()
    bench.now_ns = 2 * NS_PER_S
    bench.feed.decode(b"[", bench.now_ns)
    assert bench.feed.stale(bench.now_ns) is None and bench.asked_again() == []
    assert bench.feed.stale(bench.now_ns + NS_PER_S + 1) is None
    assert [body["operation"] for body in bench.asked_again()] == ["unsubscribe", "subscribe"]


def test_a_print_is_kept_in_up_terms() -> None:
    bench = Bench()
    printed = {"event_type": "last_trade_price", "market": "0xc", "price": "0.47", "size": "5", "side": "BUY"}
    bench.send(printed | {"asset_id": DOWN}, 8)
    assert bench.caches.books["0xc"].last_trade == (5300, 5_000_000, 8)
    bench.send(printed | {"asset_id": UP}, 9)
    assert bench.caches.books["0xc"].last_trade == (4700, 5_000_000, 9)


def tick_change(token: str) -> dict[str, str]:
    return {
        "event_type": "tick_size_change",
        "asset_id": token,
        "market": "0xc",
        "old_tick_size": "0.01",
        "new_tick_size": "0.001",
    }


def test_a_new_tick_is_told_once_and_starts_a_new_book() -> None:
    bench = Bench()
    snapshots(bench)
    assert bench.send(tick_change(UP), 5) == [TickSizeChange(symbol="0xc", tick=10)]
    assert bench.view is None
    bench.send(up_book(), 6)
    assert bench.send(tick_change(DOWN), 7) == []
    assert bench.view is not None and bench.view.tick == 10


def test_a_new_tick_without_a_new_snapshot_is_asked_for() -> None:
    bench = Bench()
    snapshots(bench)
    bench.send(tick_change(UP), 5)
    assert bench.feed.stale(4 * NS_PER_S) is None
    assert [body["operation"] for body in bench.asked_again()] == ["unsubscribe", "subscribe"]


def test_a_tick_change_missed_while_away_shows_in_the_snapshot() -> None:
    bench = Bench()
    assert TickSizeChange(symbol="0xc", tick=10) in bench.send(up_book(tick_size="0.001"))
    assert bench.view is not None and bench.view.tick == 10


def test_an_older_snapshot_after_a_tick_change_does_not_take_it_back() -> None:
    bench = Bench()
    snapshots(bench)
    bench.send(tick_change(UP))
    assert bench.send(up_book(tick_size="0.01"), 3) == [Nudge()]


@pytest.mark.parametrize(
    "winner",
    [{"winning_asset_id": DOWN}, {"winning_outcome": "Down"}, {"winning_asset_id": "", "winning_outcome": "No"}],
)
def test_a_resolution_names_the_token_that_pays(winner: dict[str, str]) -> None:
    told = Bench().send({"event_type": "market_resolved", "market": "0xc", **winner})
    assert told == [MarketResolved(symbol="0xc", winning_asset_id=DOWN)]


def test_a_lost_connection_forgets_the_books() -> None:
    bench = Bench()
    snapshots(bench)
    assert bench.feed.lost("reset", 9) == [FeedStatus(feed="market", connected=False, text="reset", now_ns=9)]
    assert bench.view is None


def test_a_missing_snapshot_is_asked_for_three_times_then_the_connection_goes() -> None:
    bench = Bench()
    for second in (4, 8, 12):
        assert bench.feed.stale(second * NS_PER_S) is None
        assert len(bench.asked_again()) == 2
        assert bench.feed.stale((second + 2) * NS_PER_S) is None and bench.asked_again() == []
    assert bench.feed.resyncs == ASKS_MAX
    assert bench.feed.stale(16 * NS_PER_S) == "btc-updown-5m-1793750400: no snapshot"
    bench.now_ns = 17 * NS_PER_S
    bench.feed.opening()
    assert bench.feed.stale(22 * NS_PER_S) is None and bench.asked_again() == []  # more patient with it now
    assert bench.feed.stale(24 * NS_PER_S) is None and len(bench.asked_again()) == 2


def test_a_token_that_fell_silent_is_asked_for_again_and_its_book_stays_until_the_new_one() -> None:
    bench = Bench()
    snapshots(bench)
    bench.send(changes(change(UP, "0.51", "21", "BUY"), change(DOWN, "0.49", "21", "SELL")), 2 * NS_PER_S)
    bench.send(changes(change(UP, "0.51", "22", "BUY")), 11 * NS_PER_S)
    assert bench.feed.stale(12 * NS_PER_S) is None and bench.asked_again() == []
    assert bench.feed.stale(13 * NS_PER_S) is None and len(bench.asked_again()) == 2
    assert bench.view is not None
    snapshots(bench, 14 * NS_PER_S)
    assert bench.feed.stale(23 * NS_PER_S) is None and bench.asked_again() == []


def test_a_quiet_market_of_hours_and_one_that_is_over_are_left_alone() -> None:
    long = Bench(duration_s=4 * 3600)
    snapshots(long)
    assert long.feed.stale(59 * NS_PER_S) is None and long.asked_again() == []
    assert long.feed.stale(61 * NS_PER_S) is None and len(long.asked_again()) == 2
    over = Bench()
    assert over.feed.stale(301 * NS_PER_S) is None and over.asked_again() == []


def test_a_crossed_book_is_held_back_then_dropped_and_asked_for() -> None:
    bench = Bench()
    snapshots(bench)
    sound = bench.view
    bench.send(changes(change(UP, "0.53", "5", "BUY")), NS_PER_S)
    assert bench.view is sound
    assert bench.feed.stale(NS_PER_S + 400 * NS_PER_MS) is None and bench.asked_again() == []
    assert bench.feed.stale(2 * NS_PER_S) is None
    assert bench.view is None and len(bench.asked_again()) == 2


def test_a_top_the_venue_contradicts_for_long_is_asked_for_again() -> None:
    bench = Bench()
    snapshots(bench)
    bench.send(changes(change(DOWN, "0.40", "5", "BUY", ("0.47", "0.48"))), NS_PER_S)
    assert [bench.feed.stale(second * NS_PER_S) for second in (2, 3, 4)] == [None] * 3 and bench.asked_again() == []
    bench.send(changes(change(DOWN, "0.41", "5", "BUY", ("0.46", "0.48"))), 4 * NS_PER_S)
    assert [bench.feed.stale(second * NS_PER_S) for second in (5, 6)] == [None] * 2 and bench.asked_again() == []
    assert bench.feed.stale(7 * NS_PER_S) is None and len(bench.asked_again()) == 2


def test_an_empty_side_is_told_as_zero_or_one() -> None:
    bench = Bench()
    bench.send([up_book(asks=[]), down_book() | {"bids": []}])
    bench.send(changes(change(UP, "0.40", "5", "BUY", ("0.52", "1"))), 1)
    bench.send(changes(change(UP, "0.40", "6", "BUY", ("0.52", ""))), 2)
    assert bench.feed.stale(NS_PER_S) is None and bench.feed.stale(4 * NS_PER_S) is None and bench.asked_again() == []


@pytest.mark.parametrize("tick", ["0.3", "10", "0", "-0.01", "nan"])
def test_a_tick_that_does_not_divide_one_dollar_is_none(tick: str) -> None:
    bench = Bench()
    change = {"event_type": "tick_size_change", "asset_id": UP, "new_tick_size": tick}
    assert bench.send(change) == []
    assert bench.feed.skipped == 1


@pytest.mark.parametrize("size", [-1, "-1", 1e13, 1e300, "1e999", "nan"])
def test_a_size_that_cannot_be_changes_nothing(size: Any) -> None:
    bench = Bench()
    bench.send([up_book(), down_book()])
    before = bench.view
    bench.send({"event_type": "price_change", "price_changes": [
        {"asset_id": UP, "price": "0.52", "size": size, "side": "BUY", "best_bid": "0.52", "best_ask": "0.53"}
    ]})  # fmt: skip
    bench.send({"event_type": "last_trade_price", "asset_id": UP, "price": "0.5", "size": -1})
    assert bench.view == before and bench.caches.books["0xc"].last_trade is None


@pytest.mark.parametrize("deep", [500, 2000])
def test_a_change_with_a_deep_nest_beside_it_is_read_or_forgotten(deep: int) -> None:
    """The reader of usual frames gives up sooner than the other one."""
    bench = Bench()
    bench.send([up_book(), down_book()])
    nest = b"[" * deep + b"]" * deep
    bench.feed.decode(b'{"x":' + nest + b',"price_changes":[],"event_type":"price_change"}', 1)
    assert bench.feed.malformed == (deep > 1024)
