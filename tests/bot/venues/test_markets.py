"""Finding, reading, following and forgetting markets, with injected answers and numbers for time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from bot.errors import FrameError, SettingsError
from bot.market import Market, Rule
from bot.messages import MarketDropped, MarketListed, MarketRefused, MarketResolved, Message
from bot.units import NS_PER_S
from bot.venues.polymarket_markets import Markets
from bot.venues.polymarket_metadata import (
    Unusable,
    parse_series,
    read_market,
    winner_by_prices,
    winner_by_tokens,
    with_clob_facts,
)
from bot.venues.venue_clock import VenueClock

T0 = 1_793_750_400  # 2026-11-04T00:00:00Z, on the 5 minute grid
FIVE = parse_series("btc-updown-5m")


def iso(second: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(start: int, length: int = 300, **fields: Any) -> dict[str, Any]:
    return {
        "conditionId": f"0xc{start}",
        "slug": f"btc-updown-5m-{start}",
        "version": "v1",
        "outcomes": '["Up", "Down"]',
        "outcomePrices": '["0.525", "0.475"]',
        "clobTokenIds": json.dumps([f"{start}1", f"{start}2"]),
        "positionIds": [f"{start}7", f"{start}8"],
        "closed": False,
        "negRisk": False,
        "orderPriceMinTickSize": 0.01,
        "orderMinSize": 5,
        "eventStartTime": iso(start),
        "endDate": iso(start + length),
        "startDate": iso(start - 86_400),
        "resolutionSource": "https://data.chain.link/streams/btc-usd-twap-60s-streams",
        "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
        "cryptoMarketConfig": {"asset": "btc", "twapEnabled": True, "twapLookbackSeconds": 60},
    } | fields


def facts(start: int, **fields: Any) -> dict[str, Any]:
    return {
        "c": f"0xc{start}",
        "t": [{"t": f"{start}1", "o": "Up"}, {"t": f"{start}2", "o": "Down"}],
        "mos": 5,
        "mts": 0.01,
        "ao": True,
        "itode": True,
        "sd": 0,
        "fd": {"r": 0.07, "e": 1, "to": True},
        "v": "v1",
    } | fields


class Venue:
    """Answers like the venue's public REST; `windows` are the starts that exist, `down` makes every answer fail."""

    def __init__(self, *windows: int) -> None:
        self.windows = list(windows)
        self.records: dict[int, dict[str, Any]] = {}
        self.facts: dict[int, dict[str, Any]] = {}
        self.winners: dict[int, str] = {}
        self.version: Any = {"version": 2}
        self.down = False
        self.asked: list[str] = []

    def get(self, url: str, params: Mapping[str, str] | None = None) -> tuple[int, Any]:
        path = url.partition("//")[2].partition("/")[2]
        self.asked.append(path)
        if self.down:
            return 0, None
        head, _, last = path.rpartition("/")
        if path == "version":
            return 200, self.version
        if path == "events":
            assert params is not None and params["tag_slug"] == "up-or-down"
            stale = {"slug": "x", "markets": [record(T0 - 86_400 * 200)]}
            return 200, [stale, *(self._event(start) for start in self.windows)]
        if head == "events/slug":
            start = int(last.rpartition("-")[2])
            return (200, self._event(start)) if start in self.windows else (404, {"error": "not found"})
        start = int(last.removeprefix("0xc"))
        if head == "clob-markets":
            return 200, self.facts.get(start, facts(start))
        assert head == "markets"
        tokens = [{"token_id": f"{start}{n}", "winner": self.winners.get(start) == f"{start}{n}"} for n in (1, 2)]
        return 200, {"tokens": tokens}

    def _event(self, start: int) -> dict[str, Any]:
        return {"slug": f"btc-updown-5m-{start}", "markets": [self.records.get(start, record(start))]}


class Follower:
    """Polls four times a second of made-up time and collects what was told."""

    def __init__(self, venue: Venue, series: str = "btc-updown-5m") -> None:
        self.said: list[str] = []
        self.markets = Markets(venue, "http://gamma", "http://clob", [series], self.said.append)
        self.told: list[tuple[float, Message]] = []

    def run(self, begin: float, seconds: float) -> list[str]:
        before = len(self.told)
        for step in range(int(seconds * 4) + 1):
            second = begin + step / 4
            ns = int(second * NS_PER_S)
            polled = self.markets.poll(ns, ns)
            self.told += [(second, message) for message in polled if not isinstance(message, MarketRefused)]
        return [word(message) for _, message in self.told[before:]]


def word(message: Message) -> str:
    match message:
        case MarketListed(market=market):
            return f"listed {market.start_utc_ns // NS_PER_S - T0}"
        case MarketResolved():
            return f"resolved {message.winning_asset_id}"
        case MarketDropped():
            return f"dropped {int(message.symbol[3:]) - T0}"
    raise AssertionError(message)


def test_on_the_grid_current_and_next_are_listed_by_slug_in_one_poll() -> None:
    venue = Venue(*range(T0, T0 + 1500, 300))
    follower = Follower(venue)
    assert follower.run(T0 + 10, 0) == ["listed 0", "listed 300"]
    assert "events" not in venue.asked


def test_windows_off_the_grid_are_found_in_the_listing_then_followed_by_slug() -> None:
    starts = [T0 + 17, T0 + 317, T0 + 617]
    venue = Venue(*starts)
    follower = Follower(venue)
    assert follower.run(T0 + 22, 1) == ["listed 17", "listed 317"]
    venue.asked.clear()
    assert follower.run(T0 + 318, 1)[0] == "listed 617"
    assert "events" not in venue.asked


def test_a_window_is_resolved_after_its_end_and_dropped_ten_seconds_later() -> None:
    venue = Venue(*range(T0, T0 + 1500, 300))
    follower = Follower(venue)
    follower.run(T0 + 10, 290)
    assert follower.run(T0 + 300.25, 5) == []
    venue.winners[T0] = f"{T0}2"
    told = follower.run(T0 + 306, 15)
    assert told == [f"resolved {T0}2", "dropped 0"]
    resolved, dropped = (second for second, message in follower.told[-2:])
    assert 10 <= dropped - resolved < 10.6


def test_gammas_word_resolves_when_the_book_names_no_winner() -> None:
    venue = Venue(T0, T0 + 300)
    follower = Follower(venue)
    follower.run(T0 + 10, 0)
    venue.records[T0] = record(T0, closed=True, outcomePrices='["1", "0"]')
    assert f"resolved {T0}1" in follower.run(T0 + 301, 4)


@pytest.mark.parametrize("prices", ['["0.9995", "0.0005"]', '["0", "0"]'])
def test_prices_that_are_not_paid_out_resolve_nothing(prices: str) -> None:
    venue = Venue(T0, T0 + 300)
    follower = Follower(venue)
    follower.run(T0 + 10, 0)
    venue.records[T0] = record(T0, closed=True, outcomePrices=prices)
    assert not any(text.startswith("resolved") for text in follower.run(T0 + 301, 4))


def test_a_market_that_paid_both_alike_is_dropped_without_a_winner() -> None:
    venue = Venue(T0, T0 + 300)
    follower = Follower(venue)
    follower.run(T0 + 10, 0)
    venue.records[T0] = record(T0, closed=True, outcomePrices='["0.5", "0.5"]')
    assert follower.run(T0 + 301, 15) == ["dropped 0"]


def test_an_outage_backs_off_and_recovers() -> None:
    venue = Venue(T0, T0 + 300)
    follower = Follower(venue)
    venue.down = True
    assert follower.run(T0 + 1, 30) == []
    assert len(venue.asked) < 70
    venue.down = False
    assert follower.run(T0 + 32, 6) == ["listed 0", "listed 300"]


def test_after_a_long_pause_the_grid_is_found_again() -> None:
    venue = Venue(T0 + 17, T0 + 317)
    follower = Follower(venue)
    follower.run(T0 + 22, 0)
    venue.windows = [T0 + 17 + 3000, T0 + 17 + 3300]
    assert follower.run(T0 + 3020, 2)[:2] == ["listed 3017", "listed 3317"]


def test_an_unknown_rule_is_left_out_with_a_reason_and_the_next_window_is_still_found() -> None:
    venue = Venue(T0, T0 + 300)
    venue.records[T0] = record(T0, cryptoMarketConfig=None, resolutionSource="https://example.org/oracle")
    follower = Follower(venue)
    assert follower.run(T0 + 10, 5) == ["listed 300"]
    assert [text for text in follower.said if "left out" in text and "settlement rule" in text]
    assert len(follower.said) == 1


def test_why_a_market_is_not_traded_is_told_once() -> None:
    venue = Venue(T0, T0 + 300)
    venue.records[T0] = record(T0, cryptoMarketConfig=None, resolutionSource="https://example.org/oracle")
    venue.facts[T0 + 300] = facts(T0 + 300, ao=False)
    markets = Markets(venue, "http://gamma", "http://clob", ["btc-updown-5m"])
    told = [message for step in range(20) for message in markets.poll((T0 + 10 + step) * NS_PER_S, step * NS_PER_S)]
    assert told == [
        MarketRefused(
            slug=f"btc-updown-5m-{T0}",
            series="btc-updown-5m",
            reason="unknown settlement rule (source 'https://example.org/oracle')",
        ),
        MarketRefused(
            slug=f"btc-updown-5m-{T0 + 300}",
            series="btc-updown-5m",
            reason="the order book does not accept orders yet",
        ),
    ]


def test_a_book_that_is_not_ready_delays_the_listing() -> None:
    venue = Venue(T0, T0 + 300)
    venue.facts[T0] = facts(T0, ao=False)
    follower = Follower(venue)
    assert follower.run(T0 + 10, 2) == ["listed 300"]
    venue.facts[T0] = facts(T0)
    assert follower.run(T0 + 13, 6) == ["listed 0"]


def test_without_a_protocol_version_nothing_is_listed() -> None:
    venue = Venue(T0, T0 + 300)
    venue.version = {}
    follower = Follower(venue)
    assert follower.run(T0 + 10, 2) == []
    venue.version = 1
    follower.run(T0 + 13, 1)
    listed = follower.told[0][1]
    assert isinstance(listed, MarketListed)
    assert listed.market.version == 1


def test_a_market_of_an_earlier_run_is_followed_to_its_resolution() -> None:
    venue = Venue(T0 + 600, T0 + 900)
    venue.winners[T0] = f"{T0}1"
    follower = Follower(venue)
    old = read(record(T0))
    follower.markets.watch(old)
    follower.markets.watch(old)
    told = follower.run(T0 + 610, 12)
    assert sorted(told) == ["dropped 0", "listed 600", "listed 900", f"resolved {T0}1"]


def test_a_market_that_ended_long_before_this_run_is_asked_after_before_it_is_given_up() -> None:
    day_s = 86_400
    venue = Venue(T0 + day_s, T0 + day_s + 300)
    venue.winners[T0] = f"{T0}1"
    follower = Follower(venue)
    for start_s in (T0, T0 + 300):  # nobody ever says how the second one ended
        follower.markets.watch(read(record(start_s)))
    told = follower.run(T0 + day_s + 10, 14)
    assert {f"resolved {T0}1", "dropped 0", "dropped 300"} <= set(told)


def test_a_running_market_of_an_earlier_run_is_listed_again() -> None:
    follower = Follower(Venue(T0, T0 + 300))
    follower.markets.watch(read(record(T0)))
    assert follower.run(T0 + 10, 0) == ["listed 0", "listed 300"]


def test_a_market_of_an_earlier_run_that_ends_before_it_could_be_found_again_is_followed() -> None:
    """The venue does not answer over its end: what is held of it would never be settled."""
    venue = Venue(T0, T0 + 300)
    venue.winners[T0] = f"{T0}1"
    venue.down = True
    follower = Follower(venue)
    follower.markets.watch(read(record(T0)))
    assert follower.run(T0 + 280, 25) == []
    venue.down = False
    told = follower.run(T0 + 305.25, 14)
    assert [one for one in told if not one.startswith("listed")] == [f"resolved {T0}1", "dropped 0"]
    assert "listed 0" not in told


# -- metadata --------------------------------------------------------------------------------------------------------


def read(market: dict[str, Any], version: int = 2, series: str = "btc-updown-5m") -> Market:
    return read_market(parse_series(series), {}, market, version)


def test_metadata_becomes_a_market() -> None:
    market = with_clob_facts(read(record(T0)), facts(T0, mts=0.001, mos=15))
    assert (market.symbol, market.series, market.asset) == (f"0xc{T0}", "btc-updown-5m", "btc")
    assert (market.up_token, market.down_token, market.version) == (f"{T0}1", f"{T0}2", 2)
    assert (market.rule, market.window_s, market.duration_s) == (Rule.TWAP, 60, 300)
    assert (market.start_utc_ns, market.end_utc_ns) == (T0 * NS_PER_S, (T0 + 300) * NS_PER_S)
    assert (market.tick, market.min_qty, market.fee_rate, market.rebate_rate) == (10, 15_000_000, 0.07, 0.2)
    assert market.taker_delay_ms == 150


@pytest.mark.parametrize("known", [{}, {"clobRewards": [{"rewardsDailyRate": 5}], "feeSchedule": {"rate": 0}}])
def test_a_market_is_the_same_bytes_after_it_was_written_and_read(known: dict[str, Any]) -> None:
    """The journal's replay depends on it: an integer where a float is declared would come back as another thing."""
    for market in (read(record(T0, **known)), with_clob_facts(read(record(T0, **known)), facts(T0, mts=0.001, mos=15))):
        written = msgspec.msgpack.encode(market)
        assert msgspec.msgpack.encode(msgspec.msgpack.decode(written, type=Market)) == written


def test_ids_follow_the_version_never_their_presence() -> None:
    assert read(record(T0, version="v2")).up_token == f"{T0}7"
    assert read(record(T0, version="v2")).version == 3
    assert read(record(T0), version=1).version == 1
    assert read(record(T0, outcomes='["Down", "Up"]')).up_token == f"{T0}2"


BINANCE = {"cryptoMarketConfig": None, "resolutionSource": "https://www.binance.com/en/trade/BTC_USDT"}
HOUR_RULES = (
    "Up if the close is at or above the open of the BTC/USDT 1 hour candle that begins at the time in the title."
)
NOON_RULES = (
    "Up if the close of the Binance 1 minute candle of Nov 3 '26 12:00 in the ET timezone (noon) is below that of the "
    "Nov 4 '26 12:00 ET candle."
)
NOON = T0 - 7 * 3600  # of 3 November in New York


@pytest.mark.parametrize(
    ("fields", "window_s"),
    [
        ({"cryptoMarketConfig": {"twapEnabled": True, "twapLookbackSeconds": 10}, "resolutionSource": None}, 10),
        ({"cryptoMarketConfig": {"asset": "BTC", "twapEnabled": True, "twapLookbackSeconds": 60}}, 60),
        ({"cryptoMarketConfig": None}, 60),
    ],
)
def test_a_trailing_mean_is_read_from_settings_or_source(fields: dict[str, Any], window_s: int) -> None:
    market = read(record(T0, **fields))
    assert (market.rule, market.window_s) == (Rule.TWAP, window_s)


def test_an_hourly_market_compares_the_two_ends_of_its_candle() -> None:
    market = read(record(T0, 3600, **BINANCE, description=HOUR_RULES), series="btc-updown-1h")
    assert (market.rule, market.window_s) == (Rule.CANDLE, 0)
    assert (
        read_market(parse_series("btc-updown-1h"), {"description": HOUR_RULES}, record(T0, 3600, **BINANCE), 2)
        == market
    )


def test_a_daily_market_compares_the_closes_of_two_noons() -> None:
    market = read(record(NOON, 86_400, **BINANCE, description=NOON_RULES), series="btc-updown-1d")
    assert (market.rule, market.duration_s) == (Rule.CLOSES, 86_400)
    with pytest.raises(Unusable, match="two noons"):
        read(record(NOON - 3600, 86_400, **BINANCE, description=NOON_RULES), series="btc-updown-1d")


@pytest.mark.parametrize("length", [23, 25])
def test_on_the_days_the_clock_is_turned_a_daily_market_is_an_hour_shorter_or_longer(length: int) -> None:
    start = {23: 1_772_902_800, 25: 1_793_462_400}[length]  # noons of 7 March and 31 October 2026
    fields = BINANCE | {"description": NOON_RULES}
    market = read(record(start, length * 3600, **fields), series="btc-updown-1d")
    assert market.duration_s == length * 3600
    with pytest.raises(Unusable, match="two noons"):
        read(record(start, 86_400, **fields), series="btc-updown-1d")


def test_fees_and_paid_rewards_are_the_markets_own() -> None:
    fees = {"exponent": 2, "rate": 0.25, "takerOnly": True, "rebateRate": 0.1}
    rewards = {"rewardsMinSize": 50, "rewardsMaxSpread": 4.5}
    market = read(record(T0, feeSchedule=fees, **rewards))
    assert (market.fee_rate, market.fee_exponent, market.rebate_rate) == (0.25, 2.0, 0.1)
    assert (market.reward_usd_day, market.reward_min_qty, market.reward_spread) == (0.0, 50_000_000, 450)
    paid = [
        {"rewardsDailyRate": 100, "startDate": "2026-11-01", "endDate": "2500-12-31"},
        {"rewardsDailyRate": 40.5, "startDate": "2026-11-04"},
        {"rewardsDailyRate": 7, "startDate": "2026-11-05", "endDate": "2026-12-01"},
        {"rewardsDailyRate": 9, "startDate": "2026-10-01", "endDate": "2026-11-03"},
    ]
    assert read(record(T0, clobRewards=paid)).reward_usd_day == 140.5
    assert with_clob_facts(read(record(T0)), facts(T0, fd={"r": 0.06, "e": 1.5, "to": True})).fee_exponent == 1.5


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cryptoMarketConfig": None, "resolutionSource": None}, "unknown settlement rule"),
        ({"cryptoMarketConfig": None, "resolutionSource": "https://data.chain.link/streams/btc-usd"}, "unknown"),
        (
            {"cryptoMarketConfig": {"twapEnabled": True, "twapLookbackSeconds": 0}, "resolutionSource": None},
            "0 seconds",
        ),
        ({"cryptoMarketConfig": {"twapEnabled": True, "twapLookbackSeconds": 30}}, "30 seconds by its settings and 60"),
        ({"resolutionSource": "https://pyth.network/btc-usd-twap-60s"}, "unknown settlement rule"),
        ({"resolutionSource": "https://data.chain.link/streams/eth-usd-twap-60s-streams"}, "unknown settlement rule"),
        ({"cryptoMarketConfig": {"asset": "eth", "twapEnabled": True, "twapLookbackSeconds": 60}}, "settles on 'eth'"),
        (BINANCE, "no candles"),
        (BINANCE | {"resolutionSource": "https://www.binance.com/en/trade/ETH_USDT"}, "another pair"),
        (BINANCE | {"description": HOUR_RULES}, "hour candles"),
        (BINANCE | {"description": NOON_RULES}, "minute candles"),
        (BINANCE | {"description": HOUR_RULES + NOON_RULES}, "hour and minute candles"),
        ({"version": "v9"}, "version"),
        ({"outcomes": '["Yes", "No"]'}, "outcomes"),
        ({"endDate": iso(T0 + 900)}, "lasts 900 s"),
    ],
)
def test_what_we_do_not_model_is_unusable(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(record(T0, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"conditionId": None},
        {"clobTokenIds": "[]"},
        {"clobTokenIds": '["1", "1"]'},
        {"clobTokenIds": "nonsense"},
        {"clobTokenIds": None},
        {"endDate": "soon"},
        {"endDate": "2026-11-04T00:05:00"},
        {"orderPriceMinTickSize": None},
        {"orderPriceMinTickSize": 0.03},
        {"feeSchedule": {"rate": "x"}},
    ],
)
def test_unreadable_metadata_is_a_frame_error(fields: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        read(record(T0, **fields))


@pytest.mark.parametrize("fields", [{"c": "0xother"}, {"ao": False}, {"t": [{"t": "1"}, {"t": "2"}]}, {"mts": "x"}])
def test_facts_that_do_not_fit_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        with_clob_facts(read(record(T0)), facts(T0, **fields))


# -- series and slugs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "now", "start", "slug"),
    [
        ("btc-updown-5m", T0 + 299, T0, f"btc-updown-5m-{T0}"),
        ("eth-updown-15m", T0 + 901, T0 + 900, f"eth-updown-15m-{T0 + 900}"),
        ("btc-updown-1m", T0 + 61, T0 + 60, f"btc-updown-1m-{T0 + 60}"),
        # 2026-11-04 00:00 UTC is 19:00 of the 3rd in New York, so the 4 hour window began at 16:00 there.
        ("btc-updown-4h", T0, T0 - 3 * 3600, f"btc-updown-4h-{T0 - 3 * 3600}"),
        ("btc-updown-1h", T0 + 5, T0, "bitcoin-up-or-down-november-3-2026-7pm-et"),
        ("eth-updown-1h", T0 - 7 * 3600, T0 - 7 * 3600, "ethereum-up-or-down-november-3-2026-12pm-et"),
        ("sol-updown-1h", T0 + 5 * 3600, T0 + 5 * 3600, "solana-up-or-down-november-4-2026-12am-et"),
        ("btc-updown-1d", T0, T0 - 7 * 3600, "bitcoin-up-or-down-on-november-4-2026"),
        ("btc-updown-1d", T0 - 8 * 3600, T0 - 31 * 3600, "bitcoin-up-or-down-on-november-3-2026"),
    ],
)
def test_slugs_of_every_form(series: str, now: int, start: int, slug: str) -> None:
    made = parse_series(series)
    assert made.start_of(now + 0.5) == start
    assert made.slug(start) == slug
    assert made.owns(slug)


FALL_BACK = 1_793_509_200  # 2026-11-01 05:00 UTC: 1 am in New York, and an hour later it is 1 am again
SPRING = 1_772_949_600  # 2026-03-08 06:00 UTC: 1 am, and an hour later it is 3 am


def test_the_hour_that_comes_twice_has_one_slug_and_two_starts() -> None:
    hourly = parse_series("btc-updown-1h")
    assert [hourly.start_of(FALL_BACK + n * 3600 + 5) for n in (0, 1, 2)] == [FALL_BACK + n * 3600 for n in (0, 1, 2)]
    assert [hourly.slug(FALL_BACK + n * 3600) for n in (-1, 0, 1, 2)] == [
        f"bitcoin-up-or-down-november-1-2026-{hour}-et" for hour in ("12am", "1am", "1am", "2am")
    ]
    assert [hourly.slug(SPRING + n * 3600) for n in (0, 1)] == [
        f"bitcoin-up-or-down-march-8-2026-{hour}-et" for hour in ("1am", "3am")
    ]
    assert hourly.owns("bitcoin-up-or-down-november-1-2026-1am-et-2")


@pytest.mark.parametrize(
    ("name", "now", "start", "end"),
    [
        ("btc-updown-1d", FALL_BACK, FALL_BACK - 13 * 3600, FALL_BACK + 12 * 3600),
        ("btc-updown-1d", SPRING, SPRING - 13 * 3600, SPRING + 10 * 3600),
        ("btc-updown-4h", FALL_BACK + 3600, FALL_BACK - 3600, FALL_BACK + 4 * 3600),
        ("btc-updown-4h", SPRING + 3600, SPRING - 3600, SPRING + 2 * 3600),
        ("btc-updown-4h", FALL_BACK + 5 * 3600, FALL_BACK + 4 * 3600, FALL_BACK + 8 * 3600),
    ],
)
def test_long_windows_keep_to_the_clock_of_new_york(name: str, now: int, start: int, end: int) -> None:
    series = parse_series(name)
    assert series.start_of(now) == start
    assert series.end_of(start) == end
    assert series.start_of(end) == end


def test_the_second_one_oclock_is_found_by_its_time_where_the_slug_is_that_of_the_first() -> None:
    """The venue tells the two apart by something behind the slug."""

    class TwoHours(Venue):
        def _event(self, start: int) -> dict[str, Any]:
            behind = "" if start == FALL_BACK else "-2"
            slug = f"bitcoin-up-or-down-november-1-2026-1am-et{behind}"
            rules = BINANCE | {"description": HOUR_RULES}
            return {"slug": slug, "markets": [record(start, 3600, slug=slug, **rules)]}

        def get(self, url: str, params: Mapping[str, str] | None = None) -> tuple[int, Any]:
            if "/events/slug/" in url:
                self.asked.append(url)
                return 200, self._event(FALL_BACK)
            return super().get(url, params)

    venue = TwoHours(FALL_BACK, FALL_BACK + 3600)
    markets = Markets(venue, "http://gamma", "http://clob", ["btc-updown-1h"])
    listed = [
        message.market.start_utc_ns // NS_PER_S - FALL_BACK
        for step in range(8)
        for message in markets.poll((FALL_BACK + 10 + step) * NS_PER_S, step * NS_PER_S)
        if isinstance(message, MarketListed)
    ]
    assert listed == [0, 3600]


def test_the_day_after_a_turn_of_the_clock_is_found_at_once() -> None:
    class Daily(Venue):
        def _event(self, start: int) -> dict[str, Any]:
            slug = parse_series("btc-updown-1d").slug(start)
            length = parse_series("btc-updown-1d").end_of(start) - start
            return {"slug": slug, "markets": [record(start, length, slug=slug, **BINANCE, description=NOON_RULES)]}

        def get(self, url: str, params: Mapping[str, str] | None = None) -> tuple[int, Any]:
            if "/events/slug/" in url:
                known = {parse_series("btc-updown-1d").slug(start): start for start in self.windows}
                start = known.get(url.rpartition("/")[2])
                return (404, None) if start is None else (200, self._event(start))
            return super().get(url, params)

    saturday, sunday = FALL_BACK - 13 * 3600, FALL_BACK + 12 * 3600
    markets = Markets(Daily(saturday, sunday), "http://gamma", "http://clob", ["btc-updown-1d"])
    told = markets.poll((saturday + 60) * NS_PER_S, NS_PER_S)
    assert [one.market.start_utc_ns // NS_PER_S for one in told if isinstance(one, MarketListed)] == [saturday, sunday]


def test_a_series_does_not_own_its_neighbours() -> None:
    hourly, daily = parse_series("btc-updown-1h"), parse_series("btc-updown-1d")
    assert not hourly.owns("bitcoin-up-or-down-on-november-4-2026")
    assert not daily.owns("bitcoin-up-or-down-november-3-2026-7pm-et")
    assert not FIVE.owns(f"btc-updown-15m-{T0}")
    assert not FIVE.owns(f"eth-updown-5m-{T0}")


@pytest.mark.parametrize(
    "name", ["", "btc", "btc-updown", "btc-updown-0m", "btc-updown-5x", "abc-updown-1h", "btc-updown-5h"]
)
def test_other_series_are_settings_errors(name: str) -> None:
    with pytest.raises(SettingsError):
        parse_series(name)


# -- clock -----------------------------------------------------------------------------------------------------------


class TimeServer:
    """Two clocks that stand still, and the answers to give."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def get(self, url: str, params: Mapping[str, str] | None = None) -> tuple[int, Any]:
        value = self.answers.get("binance" if "/api/v3/time" in url else "clob")
        return (200, value) if value is not None else (0, None)


def clock_at(seconds: float) -> VenueClock:
    return VenueClock(monotonic=lambda: 5 * NS_PER_S, wall=lambda: int(seconds * NS_PER_S))


@pytest.mark.parametrize(
    ("answers", "offset"),
    [
        ({"binance": {"serverTime": 1_000_250}}, 0.25),
        ({"clob": 1000}, 0.0),
        ({"clob": 1007}, 7.5),
        ({"binance": {"x": 1}, "clob": 990}, -9.5),
    ],
)
def test_the_venues_clock_is_monotonic_time_and_a_measured_anchor(answers: dict[str, Any], offset: float) -> None:
    clock = clock_at(1000)
    assert clock.sync(TimeServer(**answers), "http://binance", "http://clob") == offset
    assert clock.utc() == 1000.0 + offset
    assert clock.utc_ns(6 * NS_PER_S) == int((1001.0 + offset) * NS_PER_S)
    assert clock.synced


def test_without_any_answer_the_clock_stays() -> None:
    clock = clock_at(1000)
    assert clock.sync(TimeServer(), "http://binance", "http://clob") is None
    assert (clock.utc(), clock.synced) == (1000.0, False)


def test_of_several_samples_the_quickest_counts() -> None:
    now = [0]
    trips = iter([400_000_000, 100_000_000, 300_000_000])

    class Slow:
        def get(self, url: str) -> tuple[int, Any]:
            now[0] += next(trips)
            return 200, {"serverTime": 1_000_000 + now[0] // 1_000_000}

    clock = VenueClock(monotonic=lambda: now[0], wall=lambda: 1000 * NS_PER_S + now[0])
    assert clock.sync(Slow(), "http://binance", "http://clob") == 0.05  # half of the shortest round trip


@pytest.mark.parametrize("stamp", [0, -1, 9_000_000_000, 2**63 - 1, 1.5, "1000", {}])
def test_a_time_of_no_year_of_ours_is_no_answer(stamp: Any) -> None:
    clock = clock_at(1000)
    answers = {"binance": {"serverTime": stamp if not isinstance(stamp, int) else 1000 * stamp}, "clob": stamp}
    assert clock.sync(TimeServer(**answers), "http://binance", "http://clob") is None
    assert clock.utc() == 1000


# -- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonsense", [7, 0.5, "x", True, {"a": 1}, [7], [None], [[]]])
def test_what_is_no_list_of_objects_holds_none(nonsense: Any) -> None:
    market = read_market(FIVE, {}, record(T0), 2)
    assert winner_by_tokens(market, {"tokens": nonsense}) is None
    with pytest.raises(FrameError, match="no such market"):
        winner_by_prices(market, {"markets": nonsense})
    with pytest.raises(FrameError, match="other tokens"):
        with_clob_facts(market, facts(T0, t=nonsense))
    assert read_market(FIVE, {}, record(T0, clobRewards=nonsense), 2).reward_usd_day == 0
    venue = Venue(T0)
    venue.get = lambda url, params=None: (200, 2 if "version" in url else {"markets": nonsense})  # type: ignore[method-assign]
    assert Follower(venue).run(T0 + 10, 2) == []


@pytest.mark.parametrize("outcomes", [[], ["Up"], ["Up", "Up"], "[]"])
def test_prices_of_unnamed_outcomes_name_no_winner(outcomes: Any) -> None:
    market = read_market(FIVE, {}, record(T0), 2)
    closed = record(T0, closed=True, outcomes=outcomes, outcomePrices=["1", "0"])
    with pytest.raises(FrameError, match="outcomes"):
        winner_by_prices(market, {"markets": [closed]})


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "-1", "9" * 5000])
def test_numbers_that_are_none_are_frame_errors(number: str) -> None:
    fees = {"exponent": 1, "rate": 0.07, "rebateRate": 0.2}
    for fields in (
        *({"feeSchedule": fees | {name: number}} for name in fees),
        {"rewardsMaxSpread": number},
        {"rewardsMinSize": number},
        {"orderMinSize": number},
        {"clobRewards": [{"rewardsDailyRate": number}]},
    ):
        with pytest.raises(FrameError):
            read_market(FIVE, {}, record(T0, **fields), 2)
    market = read_market(FIVE, {}, record(T0), 2)
    for changed in ({"mos": number}, {"fd": {"r": number}}, {"fd": {"e": number}}, {"sd": number, "itode": False}):
        with pytest.raises(FrameError):
            with_clob_facts(market, facts(T0, **changed))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1999-01-01T00:00:00Z"])
@pytest.mark.parametrize("name", ["btc-updown-5m", "btc-updown-4h", "btc-updown-1d"])
def test_a_window_of_another_age_is_a_frame_error(name: str, moment: str) -> None:
    with pytest.raises(FrameError):
        read_market(parse_series(name), {}, record(T0, eventStartTime=moment, endDate=moment), 2)


def test_a_mean_over_more_seconds_than_there_are_is_unusable() -> None:
    source = f"https://data.chain.link/streams/btc-usd-twap-{'9' * 5000}s-streams"
    with pytest.raises(Unusable):
        read_market(FIVE, {}, record(T0, resolutionSource=source, cryptoMarketConfig={}), 2)
