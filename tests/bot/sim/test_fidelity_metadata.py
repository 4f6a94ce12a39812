"""Gamma, the data API, rewards and past prices: stale rows, late facts, pages without offsets, lagging positions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fidelity import QUIET, get, stock_client, tokens, windows
from py_clob_client_v2 import clob_types as types
from py_clob_client_v2.exceptions import PolyApiException

from bot.market import Rule
from bot.messages import MarketListed
from bot.sim.quirks import Quirks
from bot.sim.server import VenueOptions, VenueThread
from bot.units import NS_PER_S
from bot.venues.polymarket_markets import Ask, Fetch, Plan

SERIES = "btc-updown-5m"


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=51, parameters=QUIET, quirks=Quirks(stale_events=7))) as running:
        yield running


@pytest.fixture(scope="module")
def client(venue: VenueThread) -> Any:
    return stock_client(venue)


# -- Gamma -------------------------------------------------------------------------------------------------------------


def test_windows_of_february_are_still_called_open(venue: VenueThread) -> None:
    events = get(venue.info["gamma_url"] + "/events", tag_slug="up-or-down", closed="false", limit="100").json()
    stale = [event for event in events if event["endDate"] < "2026-03"]
    assert len(stale) == 7
    for event in stale:
        (market,) = event["markets"]
        assert market["acceptingOrders"] and not market["closed"] and event["seriesSlug"] == "btc-up-or-down-5m"
        assert get(venue.info["gamma_url"] + "/markets/slug/" + market["slug"]).json()["slug"] == market["slug"]
        token = market["clobTokenIds"].split('"')[1]
        assert get(venue.info["rest_url"] + "/book", token_id=token).status_code == 404
    fresh = get(venue.info["gamma_url"] + "/events", end_date_min="2026-03-01T00:00:00Z").json()
    assert len(fresh) == len(events) - 7


def test_discovery_lists_no_window_that_should_be_gone(venue: VenueThread) -> None:
    """Every question is answered by the whole listing, stale rows first, as if the venue ignored the dates asked for."""
    said: list[str] = []
    plan, utc_s = Plan([SERIES], said.append), time.time()
    listed = []
    for step in range(40):
        now_ns = step * NS_PER_S
        fetch: Fetch | None = plan.due(utc_s, now_ns)
        if fetch is None:
            continue
        if fetch.ask in (Ask.SLUG, Ask.LISTING):
            whole = get(venue.info["gamma_url"] + "/events", closed="false", limit="100").json()
            messages = plan.took(fetch, 200, whole[::-1], utc_s, now_ns)
        else:
            answer = get(venue.info["rest_url"] + fetch.path)
            messages = plan.took(fetch, answer.status_code, answer.json(), utc_s, now_ns)
        listed += [message.market.slug for message in messages if isinstance(message, MarketListed)]
    assert listed == [window["slug"] for window in windows(venue)[:2]]


def test_the_bot_finds_hours_and_days_and_reads_their_rules() -> None:
    series = ["btc-updown-1h", "eth-updown-1d", "sol-updown-4h"]
    with VenueThread(VenueOptions(seed=55, parameters=QUIET, series=tuple(series), aligned=True)) as venue:
        plan, utc_s = Plan(series, lambda _: None), time.time()
        rules: dict[str, Rule] = {}
        for step in range(60):
            fetch = plan.due(utc_s, step * NS_PER_S)
            if fetch is None:
                continue
            base = venue.info["gamma_url" if fetch.ask in (Ask.SLUG, Ask.LISTING) else "rest_url"]
            answer = get(base + fetch.path)
            for message in plan.took(fetch, answer.status_code, answer.json(), utc_s, step * NS_PER_S):
                if isinstance(message, MarketListed):
                    rules.setdefault(message.market.series, message.market.rule)
        assert rules == {series[0]: Rule.CANDLE, series[1]: Rule.CLOSES, series[2]: Rule.TWAP}
        strikes = venue.call(
            lambda inside: {m.series: m.strike for m in inside.exchange.markets.values() if m.strike is not None}
        )
        hour_ms = int(time.time()) // 3600 * 3_600_000
        url = venue.info["binance_rest_url"] + "/api/v3/klines"
        (row,) = get(url, symbol="BTCUSDT", interval="1h", startTime=hour_ms, limit=1).json()
        assert float(row[1]) == strikes[series[0]]
        assert get(venue.info["gamma_url"] + "/events", series_slug="btc-up-or-down-hourly").json()


def test_strike_and_final_are_told_late(venue: VenueThread) -> None:
    slug = windows(venue)[0]["slug"]
    url = venue.info["gamma_url"] + "/events/slug/" + slug

    def ended_ago(seconds: float) -> Any:
        def change(inside: Any) -> None:
            market = next(market for market in inside.exchange.markets.values() if market.slug == slug)
            market.strike, market.final = 100.0, 101.0
            market.end_ms = int((time.time() - seconds) * 1000)

        before = venue.call(lambda inside: next(m.end_ms for m in inside.exchange.markets.values() if m.slug == slug))
        venue.call(change)
        told = get(url).json()["eventMetadata"]
        venue.call(
            lambda inside: [
                setattr(market, "end_ms", before) for market in inside.exchange.markets.values() if market.slug == slug
            ]
        )
        return told

    assert get(url).json()["eventMetadata"] is None
    venue.call(lambda inside: setattr(inside.world, "step", lambda now_ms: []))  # the world would close the window
    assert ended_ago(30) is None
    assert ended_ago(70) == {"priceToBeat": 100.0}
    assert ended_ago(130) == {"priceToBeat": 100.0, "finalPrice": 101.0}


def test_keyset_listings_go_on_where_their_cursor_says(venue: VenueThread) -> None:
    for name in ("events", "markets"):
        url = f"{venue.info['gamma_url']}/{name}/keyset"
        everything = get(venue.info["gamma_url"] + "/" + name, limit="100").json()
        seen, cursor = [], ""
        while True:
            page = get(url, limit="4", after_cursor=cursor).json()
            seen += page[name]
            cursor = page.get("next_cursor", "")
            if not cursor:
                break
            assert len(page[name]) == 4
        assert [row["slug"] for row in seen] == [row["slug"] for row in everything]
        assert get(url, offset="5").status_code == 422
        assert get(url, limit="101").status_code == 422
        assert get(url, after_cursor="zzz").status_code == 422
        one = everything[0]
        assert get(f"{venue.info['gamma_url']}/{name}/{one['id']}").json()["slug"] == one["slug"]
        assert get(f"{venue.info['gamma_url']}/{name}/1").status_code == 404
        assert get(venue.info["gamma_url"] + "/" + name, offset="2", limit="1").json() == [everything[2]]


def test_a_window_that_was_just_listed_has_metadata_and_no_book() -> None:
    with VenueThread(VenueOptions(seed=52, parameters=QUIET, quirks=Quirks(unready_ms=3_600_000))) as venue:
        now, soon = windows(venue)[:2]
        rest, client = venue.info["rest_url"], stock_client(venue)
        for window, status in ((now, 200), (soon, 404)):
            token = window["clobTokenIds"].split('"')[1]
            assert get(rest + "/book", token_id=token).status_code == status
            assert get(rest + "/tick-size", token_id=token).status_code == status
            assert get(rest + "/clob-markets/" + window["conditionId"]).status_code == status
        options = types.CreateOrderOptions(tick_size="0.01", neg_risk=False)
        args = types.OrderArgs(token_id=token, price=0.02, size=5, side="BUY")
        order = client.builder.build_order(args, options, version=2)  # asks the venue nothing
        with pytest.raises(PolyApiException) as refused:
            client.post_order(order)
        assert refused.value.error_msg == {"error": "the market is not yet ready to process new orders"}
        venue.call(lambda inside: setattr(inside, "quirks", Quirks()))
        assert client.post_order(order)["status"] == "live"


def test_answers_of_the_metadata_may_be_old() -> None:
    with VenueThread(VenueOptions(seed=53, parameters=QUIET, quirks=Quirks(cached_s=300.0))) as venue:
        window = windows(venue)[1]
        url = venue.info["gamma_url"] + "/markets/slug/" + window["slug"]
        assert get(url).json()["closed"] is False
        venue.call(lambda inside: inside.exchange.close(window["conditionId"], int(time.time() * 1000)))
        assert get(url).json()["closed"] is False
        assert get(url, again=1).json()["closed"] is True  # another question
        venue.call(lambda inside: setattr(inside, "quirks", Quirks()))
        assert get(url).json()["closed"] is True


def test_the_first_token_of_a_market_is_not_always_up(venue: VenueThread) -> None:
    firsts = set()
    for window in windows(venue):
        pair = json.loads(window["clobTokenIds"])
        told = get(f"{venue.info['rest_url']}/markets-by-token/{pair[0]}").json()
        assert told["condition_id"] == window["conditionId"]
        assert {told["primary_token_id"], told["secondary_token_id"]} == set(pair)
        firsts.add(pair.index(told["primary_token_id"]))
    assert firsts == {0, 1}


def test_numbers_are_whole_where_they_can_be(venue: VenueThread) -> None:
    market = windows(venue)[1]
    assert market["orderMinSize"] == 5 and isinstance(market["orderMinSize"], int)
    assert market["startDate"] < market["eventStartTime"] < market["endDate"]


def test_geoblock_tells_where_one_is(venue: VenueThread) -> None:
    told = get(venue.info["rest_url"] + "/api/geoblock").json()
    assert told.keys() == {"blocked", "ip", "country", "region"} and told["blocked"] is False


# -- data API ----------------------------------------------------------------------------------------------------------


def test_positions_lag_behind_the_book_and_know_their_cost(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue)
    url, user = venue.info["data_url"], venue.info["address"].lower()
    reply = client.create_and_post_order(types.OrderArgs(token_id=up, price=0.97, size=6, side="BUY"))
    market = windows(venue)[1]["conditionId"]
    assert get(url + "/positions", user=user, market=market).json() == []  # not yet
    lag_ms = venue.call(lambda inside: inside.quirks.positions_lag_ms)
    assert lag_ms == 2_000
    venue.call(lambda inside: setattr(inside, "quirks", Quirks(positions_lag_ms=0)))
    (row,) = get(url + "/positions", user=user, market=market).json()
    assert (row["asset"], row["size"], row["outcome"], row["oppositeAsset"]) == (up, 6, "Up", down)
    assert row["avgPrice"] == pytest.approx(float(reply["makingAmount"]) / 6)
    assert row["initialValue"] == pytest.approx(float(reply["makingAmount"]))
    assert isinstance(row["currentValue"], float) and row["negativeRisk"] is False
    assert get(url + "/positions", user=user, sizeThreshold="7").json() == []
    assert get(url + "/positions", user=user, market="0xother").json() == []
    assert get(url + "/positions").status_code == 400
    newer = get(url + "/v2/positions", user=user, condition_id=market).json()
    assert newer["pagination"] == {"has_more": False, "next_cursor": None}
    assert newer["data"][0]["token_id"] == up and newer["data"][0]["current_size"] == 6
    (printed, *_) = get(url + "/trades", market=row["conditionId"]).json()
    assert (printed["asset"], printed["side"], printed["transactionHash"][:2]) == (up, "BUY", "0x")


def test_a_winner_is_redeemable_until_it_is_paid_and_the_owner_is_notified() -> None:
    quirks = Quirks(positions_lag_ms=0, redeem_ms=60_000)
    with VenueThread(VenueOptions(seed=54, parameters=QUIET, quirks=quirks)) as venue:
        client, user = stock_client(venue), venue.info["address"].lower()
        up, market = tokens(venue)[0], windows(venue)[1]["conditionId"]
        client.create_and_post_order(types.OrderArgs(token_id=up, price=0.97, size=6, side="BUY"))
        now_ms = int(time.time() * 1000)
        cash = venue.call(lambda inside: inside.exchange.account(user).cash)
        venue.call(lambda inside: inside.exchange.resolve(market, "up", now_ms))
        (row,) = get(venue.info["data_url"] + "/positions", user=user).json()
        assert (row["size"], row["curPrice"], row["redeemable"], row["mergeable"]) == (6, 1.0, True, False)
        newer = get(venue.info["data_url"] + "/v2/positions", user=user).json()
        assert newer["data"][0]["status"] == "REDEEMABLE"
        assert venue.call(lambda inside: inside.exchange.account(user).cash) == cash
        venue.call(lambda inside: inside.exchange.step(now_ms + 60_000))
        assert get(venue.info["data_url"] + "/positions", user=user).json() == []
        assert venue.call(lambda inside: inside.exchange.account(user).cash) == cash + 6_000_000
        assert venue.call(lambda inside: inside.exchange.imbalance()) == 0
        notices = {notice["type"]: notice["payload"] for notice in client.get_notifications()}
        assert notices[4]["condition_id"] == notices[9]["conditionId"] == market
        assert [token["winner"] for token in notices[4]["tokens"]] == [True, False]
        assert (notices[9]["amount"], notices[9]["position"]) == ("6", "Up")


# -- rewards, rebates, past prices ---------------------------------------------------------------------------------------


def test_rewards_have_their_shapes_and_nothing_was_paid_yet(venue: VenueThread, client: Any) -> None:
    condition_id = windows(venue)[1]["conditionId"]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert client.get_earnings_for_user_for_day(today) == []
    assert client.get_total_earnings_for_user_for_day(today) == []
    assert client.get_reward_percentages() == {}
    assert condition_id in {row["condition_id"] for row in client.get_current_rewards()}
    (row,) = client.get_raw_rewards_for_market(condition_id)
    assert (row["rewards_min_size"], row["rewards_max_spread"], len(row["tokens"])) == (50.0, 4.5, 2)


def test_rebates_are_a_fifth_of_the_fees_that_ones_fills_brought(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue, 2)
    user, today = venue.info["address"].lower(), time.strftime("%Y-%m-%d", time.gmtime())
    venue.call(lambda inside: inside.exchange.deposit("stranger", 1_000_000_000))
    book = client.get_order_book(up)
    inside_px = round((float(book["bids"][-1]["price"]) + float(book["asks"][-1]["price"])) / 2, 2)
    client.create_and_post_order(types.OrderArgs(token_id=up, price=inside_px, size=100, side="BUY"), post_only=True)

    def take(inside: Any) -> None:
        from bot.messages import Side
        from bot.sim.records import Submit

        now_ms = int(time.time() * 1000)
        px = 10_000 - round(inside_px * 10_000)
        inside.exchange.submit(
            Submit(order_id="0xtaker", owner="stranger", api_key="", token=down, side=Side.BUY, px=px, qty=100_000_000),
            now_ms,
        )
        inside.exchange.step(now_ms + 1_000)

    venue.call(take)
    url = venue.info["rest_url"] + "/rebates/current"
    (row,) = get(url, date=today, maker_address=user).json()
    assert row["condition_id"] == windows(venue)[2]["conditionId"]
    assert float(row["rebated_fees_usdc"]) == pytest.approx(0.2 * 100 * 0.07 * inside_px * (1 - inside_px), abs=2e-5)
    assert get(url, date="2020-01-01", maker_address=user).json() == []
    assert get(url, date=today).status_code == 400


def test_past_prices_are_those_of_the_tape(venue: VenueThread, client: Any) -> None:
    up, down = tokens(venue)
    client.create_and_post_order(types.OrderArgs(token_id=up, price=0.97, size=6, side="BUY"))
    first = client.get_prices_history(types.PricesHistoryParams(market=up, interval="1h", fidelity=1))["history"]
    second = client.get_prices_history(types.PricesHistoryParams(market=down, interval="max"))["history"]
    assert first and all(point["t"] % 60 == 0 and 0 < point["p"] < 1 for point in first)
    assert second[-1]["p"] == pytest.approx(1 - first[-1]["p"])
    nothing = client.get_prices_history(types.PricesHistoryParams(market=up, start_ts=1, end_ts=2))
    assert nothing == {"history": []}
    assert get(venue.info["rest_url"] + "/prices-history", market=up, interval="2y").status_code == 400
