"""The settlement stream: credentials, subscriptions, snapshots, numbers. Frames are composed by us."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bot.caches import Caches, SettlementCache
from bot.market import Market, Rule
from bot.messages import FeedStatus, MarketListed
from bot.units import NS_PER_S, Ns
from bot.venues.settlement_price import AUTH_NS_MAX, SILENT_NS_MAX, SettlementFeed


def listed(asset: str = "btc", window_s: int = 60, rule: Rule = Rule.TWAP) -> MarketListed:
    return MarketListed(
        market=Market(
            symbol="0xc",
            slug=f"{asset}-updown-5m-0",
            series=f"{asset}-updown-5m",
            asset=asset,
            up_token="1",
            down_token="2",
            version=2,
            rule=rule,
            window_s=window_s,
            start_utc_ns=0,
            end_utc_ns=300 * NS_PER_S,
            tick=100,
            min_qty=5_000_000,
            fee_rate=0.07,
        )
    )


class Bench:
    def __init__(self) -> None:
        self.caches = Caches()
        self.now_ns: Ns = 0
        self.feed = SettlementFeed(
            url="ws://x", api_key="k", secret="s", passphrase="p", caches=self.caches, clock=lambda: self.now_ns
        )
        self.feed.command(listed())

    @property
    def cache(self) -> SettlementCache:
        return self.caches.settlement_of("btc", 60)

    def send(self, body: Any, now_ns: Ns = 0) -> list[Any]:
        self.now_ns = now_ns
        return self.feed.decode(orjson.dumps(body), now_ns)

    def sent(self) -> list[dict[str, Any]]:
        frames = [orjson.loads(text) for text in self.feed.outbox]
        self.feed.outbox.clear()
        return frames

    def ready(self) -> None:
        self.feed.opening()
        self.send({"op": "authed", "rid": "1"})
        self.sent()


def update(seq: int, stamp_ms: int, value: Any, symbol: str = "btcusd", **payload: Any) -> dict[str, Any]:
    body = {"symbol": symbol, "timestamp": stamp_ms, "value": value, "window_seconds": 60} | payload
    return {"v": 1, "channel": "price.crypto.twap", "seq": seq, "ts": stamp_ms, "payload": body}


def wish(asset: str, window_s: int) -> dict[str, Any]:
    return {"channel": "price.crypto.twap", "filter": {"symbol": f"{asset}usd", "window_seconds": window_s}}


def test_without_a_market_that_needs_it_there_is_no_address() -> None:
    feed = SettlementFeed(url="ws://x", api_key="k", secret="s", passphrase="p", caches=Caches(), clock=lambda: 0)
    feed.command(listed(rule=Rule.CANDLE))
    assert feed.url() == ""
    feed.command(listed())
    assert feed.url() == "ws://x"


def test_credentials_go_first_and_subscriptions_only_after_the_answer() -> None:
    bench = Bench()
    assert bench.feed.command(listed("eth", 30)) == []
    (auth,) = [orjson.loads(text) for text in bench.feed.opening()]
    assert auth["op"] == "auth" and auth["auth"] == {"apiKey": "k", "secret": "s", "passphrase": "p"}
    assert bench.sent() == []
    bench.send({"op": "authed", "rid": "1"})
    (subscribe,) = bench.sent()
    assert subscribe["op"] == "subscribe" and subscribe["subscriptions"] == [wish("btc", 60), wish("eth", 30)]


def test_a_new_pair_on_an_open_connection_is_subscribed_at_once_and_a_known_one_not_again() -> None:
    bench = Bench()
    bench.ready()
    (text,) = bench.feed.command(listed("eth"))
    assert orjson.loads(text)["subscriptions"] == [wish("eth", 60)]
    assert bench.feed.command(listed("eth")) == []


def test_a_snapshot_is_history_and_updates_follow_it() -> None:
    bench = Bench()
    bench.ready()
    data = [{"timestamp": 1793750399000, "value": 101.5}, {"timestamp": 1793750400000, "value": 102.5}]
    bench.send(update(1, 0, 0, snapshot=True, data=data), 5)
    bench.send(update(2, 1793750401000, 103.5, full_accuracy_value="103.123456789"), 6)
    assert [(value.utc_ms, value.value_e8) for value in bench.cache.history] == [
        (1793750399000, 101_5000_0000),
        (1793750400000, 102_5000_0000),
        (1793750401000, 103_1234_5679),
    ]
    assert bench.cache.latest is not None and bench.cache.latest.recv_ns == 6


@pytest.mark.parametrize(
    ("value", "full", "expected"),
    [
        (101234.56, "101234.567", 101234_5670_0000),
        (101234.56, "101234560000000000000000", 101234_5600_0000),  # scaled by 1e18, as its predecessor sends it
        (101234.56, None, 101234_5600_0000),
        ("101234.56", "", 101234_5600_0000),
        (None, "101234.5", 101234_5000_0000),
    ],
)
def test_the_most_accurate_value_is_taken(value: Any, full: Any, expected: int) -> None:
    bench = Bench()
    bench.ready()
    bench.send(update(1, 1793750400000, value, full_accuracy_value=full))
    assert bench.cache.latest is not None and bench.cache.latest.value_e8 == expected


def test_both_spellings_of_a_symbol_and_foreign_pairs() -> None:
    bench = Bench()
    bench.ready()
    bench.send(update(1, 1793750400000, 100, symbol="BTC/USD"))
    bench.send(update(1, 1793750400000, 100, symbol="ethusd"))
    assert bench.cache.latest is not None and ("eth", 60) not in bench.caches.settlement
    assert bench.feed.malformed == 0


@pytest.mark.parametrize("value", [0, -1, None, "NaN", "x"])
def test_values_that_are_no_price_are_counted_and_dropped(value: Any) -> None:
    bench = Bench()
    bench.ready()
    bench.send(update(1, 1793750400000, value))
    assert bench.cache.latest is None and bench.feed.malformed == 1


def test_frames_that_cannot_be_read_and_refusals_are_counted() -> None:
    bench = Bench()
    for frame in (b"\xff", b"[]", b'{"channel":"price.crypto.twap"}'):
        bench.feed.decode(frame, 1)
    bench.send({"op": "error", "rid": "2", "message": "unknown symbol"})
    assert (bench.feed.malformed, bench.feed.refused, bench.feed.last_error) == (3, 1, "unknown symbol")


def test_a_hole_in_the_numbers_subscribes_that_pair_again_but_not_without_end() -> None:
    bench = Bench()
    bench.ready()
    for seq in (1, 2, 5, 9):
        bench.send(update(seq, 1793750400000 + seq, 100), seq)
    assert [(body["op"], body["subscriptions"]) for body in bench.sent()] == [
        ("unsubscribe", [wish("btc", 60)]),
        ("subscribe", [wish("btc", 60)]),
    ]
    assert bench.feed.gaps == 2


@pytest.mark.parametrize("numbers", [[(1, 1), (2, 2), (3, 3)], [(1, 2), (3, 4), (5, 6)]])
def test_numbers_may_run_through_the_channel_or_through_each_pair(numbers: list[tuple[int, int]]) -> None:
    bench = Bench()
    bench.feed.command(listed("eth"))
    bench.ready()
    for turn, (btc, eth) in enumerate(numbers):
        bench.send(update(btc, 1793750400000 + turn, 100))
        bench.send(update(eth, 1793750400000 + turn, 100, symbol="ethusd"))
    assert bench.feed.gaps == 0


def test_no_answer_to_the_credentials_and_no_values_are_stale() -> None:
    bench = Bench()
    bench.feed.opening()
    assert bench.feed.stale(AUTH_NS_MAX) is None
    assert bench.feed.stale(AUTH_NS_MAX + 1) == "no answer to our credentials"
    bench.send({"op": "authed"}, 100)
    bench.send(update(1, 1793750400000, 100), 200)
    assert bench.feed.stale(200 + SILENT_NS_MAX) is None
    assert bench.feed.stale(201 + SILENT_NS_MAX) == "no 60 s value of btc for 10 s"
    assert bench.feed.lost("x", 9) == [FeedStatus(feed="settle", connected=False, text="x", now_ns=9)]


def test_an_acknowledgement_that_names_its_channel_is_no_malformed_event() -> None:
    bench = Bench()
    bench.ready()
    for op in ("subscribed", "unsubscribed"):
        assert bench.send({"op": op, "rid": "2", "channel": "price.crypto.twap"}) == []
    assert bench.feed.malformed == 0


@pytest.mark.parametrize("value", ["1e999990", "1e999999999", "1e60", "1e-9", "-1", "9" * 5000, "nan", [], None])
@pytest.mark.parametrize("name", ["value", "full_accuracy_value"])
def test_a_value_that_is_no_price_is_counted_and_nothing_else(name: str, value: Any) -> None:
    bench = Bench()
    bench.ready()
    body = update(1, 1_793_750_400_000, "nan")
    body["payload"][name] = value
    bench.send(body)
    assert bench.cache.latest is None and bench.feed.malformed == 1
