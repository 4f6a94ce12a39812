"""What Binance may send, and what of it reaches the reference caches. Frames are composed by us."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import requests

from bot.caches import Caches, ReferenceCache
from bot.messages import FeedStatus, Nudge
from bot.units import NS_PER_S, Ns
from bot.venues.binance import CLOSES_KEPT, GAP_NS_MAX, HOUR, MINUTE, ROTATE_NS, SILENT_SYMBOL_NS_MAX, BinanceFeed

START_S = 1_795_338_000
UTC_AT_ZERO = START_S * NS_PER_S


class Answer:
    def __init__(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.content = orjson.dumps(body)
        self.status_code = status
        self.headers = headers or {}


class Rest(requests.Session):
    """Answers from a table by interval; keeps what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, url: str, **options: Any) -> Any:  # type: ignore[override]
        self.asked.append((url, options["params"]))
        return self.answers[options["params"]["interval"]]


class Bench:
    """A feed on a clock that stands where it is put."""

    def __init__(
        self, assets: tuple[str, ...] = ("btc",), candles: dict[str, list[str]] | None = None, rest: Any = None
    ) -> None:
        self.caches = Caches()
        self.now_ns: Ns = 0
        self.feed = BinanceFeed(
            ws_url=["wss://main", "wss://spare"],
            rest_url="http://rest/",
            assets=assets,
            caches=self.caches,
            clock=lambda: self.now_ns,
            utc=lambda now_ns: UTC_AT_ZERO + now_ns,
            candles=candles or {},
            session=rest,
        )

    @property
    def btc(self) -> ReferenceCache:
        return self.caches.reference["btc"]

    def quote(
        self, u: int, bid: str, ask: str, now_ns: Ns = 0, raw: bool = False, symbol: str = "BTCUSDT"
    ) -> list[Any]:
        data = {"u": u, "s": symbol, "b": bid, "B": "1.2", "a": ask, "A": "0.4"}
        return self.send(data if raw else {"stream": f"{symbol.lower()}@bookTicker", "data": data}, now_ns)

    def send(self, body: Any, now_ns: Ns = 0) -> list[Any]:
        return self.feed.decode(orjson.dumps(body), now_ns)


def trade(stamp: int) -> dict[str, Any]:
    data = {"e": "aggTrade", "E": stamp, "s": "BTCUSDT", "a": 1, "p": "60010.11", "q": "0.01", "T": stamp, "m": False}
    return {"stream": "btcusdt@aggTrade", "data": data}


def klines(first_s: int, closes: list[str]) -> list[list[Any]]:
    return [
        [(first_s + n) * 1000, "1", "1", "1", close, "1", (first_s + n) * 1000 + 999, "1", 1, "1", "1", "0"]
        for n, close in enumerate(closes)
    ]


def test_one_combined_connection_for_all_assets_and_the_hosts_take_turns() -> None:
    feed = Bench(("btc", "eth"), candles={"eth": [HOUR, MINUTE]}).feed
    streams = (
        "btcusdt@bookTicker/btcusdt@aggTrade/ethusdt@bookTicker/ethusdt@aggTrade/ethusdt@kline_1h/ethusdt@kline_1m"
    )
    assert [feed.url() for _ in range(3)] == [
        f"wss://{host}/stream?streams={streams}" for host in ("main", "spare", "main")
    ]


def test_a_quote_reaches_the_cache_in_integers() -> None:
    bench = Bench()
    bench.quote(7, "60010.10000000", "60010.11000000", now_ns=5)
    latest = bench.btc.latest
    assert latest is not None and bench.btc.frame_ns == 5
    assert (latest.bid_e8, latest.ask_e8, latest.update_id, latest.recv_ns) == (6001010000000, 6001011000000, 7, 5)
    assert bench.btc.seconds.at(START_S + 1) == latest.mid_e8


def test_combined_and_raw_frames_are_read_alike() -> None:
    combined, raw = Bench(), Bench()
    combined.quote(7, "60010.10", "60010.11", now_ns=5)
    raw.quote(7, "60010.10", "60010.11", now_ns=5, raw=True)
    assert combined.btc.latest == raw.btc.latest is not None


def test_equal_and_lower_update_ids_are_dropped() -> None:
    bench = Bench()
    bench.quote(7, "60010", "60011")
    bench.quote(7, "60020", "60021")
    bench.quote(6, "60030", "60031")
    assert bench.btc.latest is not None and bench.btc.latest.update_id == 7
    assert bench.feed.duplicates == 2


@pytest.mark.parametrize("scale", [1, 1000])
def test_milliseconds_and_microseconds_give_the_same_lag(scale: int) -> None:
    bench = Bench()
    bench.send(trade(START_S * 1000 * scale), now_ns=40_000_000)
    bench.quote(1, "60010", "60011", now_ns=41_000_000)
    assert bench.btc.latest is not None and bench.btc.latest.lag_ms == pytest.approx(40.0)


def test_lag_is_smoothed() -> None:
    bench = Bench()
    bench.send(trade(START_S * 1000), now_ns=10_000_000)
    bench.send(trade(START_S * 1000), now_ns=110_000_000)
    bench.quote(1, "60010", "60011")
    assert bench.btc.latest is not None and bench.btc.latest.lag_ms == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        ("0", "60011"),
        ("NaN", "60011"),
        ("-1", "60011"),
        ("", ""),
        ("60012", "60011"),
        ("6", "7"),
        ("700000", "700001"),
        ("600000", "600009"),  # ten times a price that fell a little since the last quote
        ("6001.2", "6001.3"),
    ],
)
def test_nonsense_prices_are_dropped_and_the_third_in_a_row_ends_trust(bid: str, ask: str) -> None:
    bench = Bench()
    bench.quote(1, "60010", "60011")
    bench.quote(2, bid, ask)
    bench.quote(3, bid, ask)
    assert bench.btc.latest is not None and bench.btc.latest.update_id == 1
    bench.quote(4, bid, ask)
    assert bench.btc.latest is None and bench.feed.nonsense == 3
    bench.quote(5, "60012", "60013")
    assert bench.btc.latest is not None


def test_a_new_connection_does_not_compare_with_the_level_before_it() -> None:
    bench = Bench()
    bench.quote(9, "600", "601")
    bench.feed.lost("gone", 1)
    bench.feed.connected(2)
    bench.quote(1, "60010", "60011")
    assert bench.btc.latest is not None and bench.btc.latest.update_id == 1


def test_a_mid_outside_the_guard_band_nudges_once_for_each_new_mid() -> None:
    bench = Bench(("btc", "eth"))
    bench.caches.guards["0xc"] = ("btc", 6_000_000_000_000, 6_100_000_000_000)
    assert bench.quote(1, "60500", "60501", now_ns=1) == []
    assert bench.quote(2, "61000", "61001", now_ns=2) == [Nudge(cause_ns=2, guard=True)]
    assert bench.quote(3, "61000", "61001", now_ns=3) == []
    assert bench.quote(4, "59990", "59991", now_ns=4) == [Nudge(cause_ns=4, guard=True)]
    assert bench.quote(5, "61000", "61001", now_ns=5, symbol="ETHUSDT") == []
    bench.caches.guards["0xc"] = ("btc", 0, 0)
    assert bench.quote(6, "59980", "59981", now_ns=6) == []


def test_answers_to_requests_never_reach_the_price_cache() -> None:
    bench = Bench()
    bench.send({"result": None, "id": 1})
    bench.send({"code": 2, "msg": "Invalid request", "id": None})
    bench.send({"id": 3, "u": 1, "s": "BTCUSDT", "b": "1", "a": "2"})
    assert bench.btc.latest is None and bench.feed.answers == 3 and bench.feed.refused == 2


@pytest.mark.parametrize(
    "shutdown",
    [
        {"e": "serverShutdown", "E": 1795338000000},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1795338000000}},
    ],
)
def test_a_server_shutdown_asks_for_a_second_connection_at_once(shutdown: dict[str, Any]) -> None:
    bench = Bench()
    bench.feed.connected(0)
    assert not bench.feed.rotate(1)
    bench.send(shutdown, 2)
    assert bench.feed.rotate(2) and not bench.feed.rotate(3)


def test_a_connection_is_renewed_before_the_venue_ends_it() -> None:
    feed = Bench().feed
    feed.connected(0)
    assert not feed.rotate(ROTATE_NS)
    assert feed.rotate(ROTATE_NS + 1) and not feed.rotate(ROTATE_NS + 2)


def test_a_symbol_without_quotes_is_stale_although_frames_come() -> None:
    bench = Bench(("btc", "eth"))
    bench.feed.connected(0)
    bench.quote(1, "60010", "60011", now_ns=NS_PER_S)
    assert bench.feed.stale(SILENT_SYMBOL_NS_MAX) is None
    assert bench.feed.stale(SILENT_SYMBOL_NS_MAX + 1) == "no quote of ETHUSDT for 15 s"


def test_silence_shows_in_the_age_of_the_last_frame_and_unknown_frames_count_as_life() -> None:
    bench = Bench()
    bench.quote(1, "60010", "60011", now_ns=1)
    bench.send({"stream": "btcusdt@avgPrice", "data": {"e": "avgPrice"}}, now_ns=2 * NS_PER_S)
    assert bench.btc.frame_ns == 2 * NS_PER_S and bench.btc.latest is not None and bench.btc.latest.recv_ns == 1


def test_frames_that_cannot_be_read_are_counted() -> None:
    bench = Bench()
    for frame in (b"\xff", b"{", b"[1]", b'{"e":"aggTrade"}', b'{"e":"kline","k":{"s":"BTCUSDT"}}'):
        assert bench.feed.decode(frame, 1) == []
    assert bench.feed.malformed == 5


def test_the_open_of_an_hourly_candle_is_kept_by_its_start() -> None:
    bench = Bench(candles={"btc": [HOUR]})
    candle = {"t": START_S * 1000, "s": "BTCUSDT", "i": "1h", "o": "60000.00", "c": "60010.00", "x": False}
    bench.send({"stream": "btcusdt@kline_1h", "data": {"e": "kline", "s": "BTCUSDT", "k": candle}})
    assert bench.btc.candle_open_e8 == {START_S: 6_000_000_000_000}


def test_the_close_of_a_minutes_candle_is_kept_once_it_is_final() -> None:
    bench = Bench(candles={"btc": [MINUTE]})
    for close, over in (("60010.00", False), ("60020.00", True)):
        candle = {"t": START_S * 1000, "s": "BTCUSDT", "i": "1m", "o": "60000.00", "c": close, "x": over}
        assert bench.btc.candle_close_e8 == {}
        bench.send({"stream": "btcusdt@kline_1m", "data": {"e": "kline", "s": "BTCUSDT", "k": candle}})
    assert bench.btc.candle_close_e8 == {START_S: 6_002_000_000_000}
    assert bench.btc.candle_open_e8 == {}


class Minutes(requests.Session):
    """A candle for each minute that was asked for, up to the one under way; its close is its start's number."""

    def __init__(self, now_s: int) -> None:
        super().__init__()
        self.now_s = now_s
        self.asked: list[str] = []

    def get(self, url: str, **options: Any) -> Any:  # type: ignore[override]
        asked = options["params"]
        if asked["interval"] == "1s":
            return Answer(klines(self.now_s - 3, ["1", "1", "1"]))
        self.asked.append(asked["startTime"])
        first = -(-int(asked["startTime"]) // 60_000) * 60
        rows = [klines(second, [str(second)])[0] for second in range(first, self.now_s + 1, 60)]
        return Answer(rows[: int(asked["limit"])])


def test_a_market_that_began_yesterday_finds_the_close_it_is_held_against() -> None:
    """Twenty-six hours of minutes take two calls; the minute under way has no close yet."""
    rest = Minutes(START_S + 30)
    bench = Bench(candles={"btc": [MINUTE]}, rest=rest)
    bench.now_ns = 30 * NS_PER_S
    bench.feed.bootstrap()
    closes = bench.btc.candle_close_e8
    assert len(rest.asked) == 2
    assert closes[START_S - 25 * 3600] == (START_S - 25 * 3600) * 10**8
    assert closes[START_S - 60] == (START_S - 60) * 10**8
    assert START_S not in closes


def test_closes_of_days_past_are_forgotten() -> None:
    bench = Bench(candles={"btc": [MINUTE]})
    for n in range(CLOSES_KEPT + 5):
        candle = {"t": (START_S + 60 * n) * 1000, "s": "BTCUSDT", "i": "1m", "o": "1", "c": "1", "x": True}
        bench.send({"e": "kline", "s": "BTCUSDT", "k": candle})
    assert len(bench.btc.candle_close_e8) == CLOSES_KEPT
    assert START_S not in bench.btc.candle_close_e8


def test_bootstrap_seeds_each_second_with_the_close_before_it_and_leaves_the_unfinished_one() -> None:
    rest = Rest(
        {
            "1s": Answer(klines(START_S - 4, ["100", "101", "102", "999"])),
            "1h": Answer(klines(START_S - 3600, ["5"])),
        }
    )
    bench = Bench(candles={"btc": [HOUR]}, rest=rest)
    bench.feed.bootstrap()
    assert [bench.btc.seconds.at(START_S - n) for n in (3, 2, 1)] == [100_0000_0000, 101_0000_0000, 102_0000_0000]
    assert bench.btc.seeded_s == 2 and bench.btc.candle_open_e8 == {START_S - 3600: 1_0000_0000}
    assert rest.asked[0] == ("http://rest/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1s", "limit": "1000"})
    bench.feed.connected(0)
    bench.quote(1, "102", "102", now_ns=NS_PER_S)
    assert bench.btc.seeded_s == 4


def test_429_is_not_asked_again_before_the_time_it_names() -> None:
    rest = Rest({"1s": Answer({"code": -1003, "msg": "too many"}, 429, {"Retry-After": "30"})})
    bench = Bench(rest=rest)
    bench.feed.bootstrap()
    bench.now_ns = 29 * NS_PER_S
    bench.feed.bootstrap()
    assert len(rest.asked) == 1
    bench.now_ns = 31 * NS_PER_S
    bench.feed.bootstrap()
    assert len(rest.asked) == 2 and bench.btc.seeded_s == 0


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        [[1]],
        [[1, "1", "1", "1", "x"]],
        # the first row tells nothing of the others
        [*klines(START_S, ["1"]), []],
        [*klines(START_S, ["1"]), {}],
        [*klines(START_S, ["1"]), ["x", "1", "1", "1", "1"]],
        klines(START_S, ["1", "0"]),
        klines(START_S, ["1", "1e400"]),
        klines(START_S, ["1", "-1"]),
    ],
)
def test_history_that_cannot_be_read_is_left_to_grow_live(body: Any) -> None:
    bench = Bench(rest=Rest({"1s": Answer(body)}))
    bench.feed.bootstrap()
    assert bench.btc.seeded_s == 0 and bench.feed.refused == 1


def test_a_short_loss_keeps_the_history_and_a_long_one_starts_it_again() -> None:
    bench = Bench()
    bench.quote(1, "100", "101", now_ns=0)
    bench.quote(2, "100", "101", now_ns=100 * NS_PER_S)
    assert bench.btc.seeded_s == 100
    bench.feed.lost("x", 100 * NS_PER_S)
    bench.feed.connected(100 * NS_PER_S + GAP_NS_MAX)
    bench.quote(3, "100", "101", now_ns=106 * NS_PER_S)
    assert bench.btc.seeded_s == 106
    bench.feed.lost("x", 106 * NS_PER_S)
    told = bench.feed.connected(120 * NS_PER_S)
    assert told == [FeedStatus(feed="binance", connected=True, now_ns=120 * NS_PER_S)]
    bench.quote(4, "100", "101", now_ns=121 * NS_PER_S)
    assert bench.btc.seeded_s == 0


@pytest.mark.parametrize("wait", ["", "-1", "soon", "\u00b2", "9" * 5000])
def test_a_429_that_names_no_time_is_not_asked_again_for_a_minute(wait: str) -> None:
    bench = Bench(rest=Rest({"1s": Answer({}, 429, {"Retry-After": wait})}))
    bench.feed.bootstrap()
    assert bench.feed.not_before_ns == 60 * NS_PER_S


def test_minutes_that_never_come_nearer_end_the_search() -> None:
    class Stuck(Rest):
        def get(self, url: str, **options: Any) -> Any:  # type: ignore[override]
            super().get(url, **options)
            return Answer(klines(START_S - 10**6, ["1"] * 1000))

    rest = Stuck(dict.fromkeys(("1s", "1m"), Answer([])))
    bench = Bench(candles={"btc": [MINUTE]}, rest=rest)
    bench.feed.bootstrap()
    assert len(rest.asked) == 2
