"""The officially recommended client (polymarket-client), sync and async, against the embedded venue, unmodified.

Its environments are fixed, so one is made the way the package makes its own: a private function, the only door there is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from fidelity import QUIET, windows

from bot.sim.quirks import Quirks
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.user_stream import UserStream
from bot.sim.venue import Venue

polymarket = pytest.importorskip("polymarket")
environments = pytest.importorskip("polymarket.environments")
streams = pytest.importorskip("polymarket.streams")

TIMEOUT_S = 8.0


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=71, parameters=QUIET)) as running:
        yield running


def embedded(info: dict[str, Any]) -> Any:
    config = dataclasses.replace(
        environments.PRODUCTION._config,
        clob_url=info["rest_url"],
        gamma_url=info["gamma_url"],
        data_url=info["data_url"],
        clob_market_ws_url=info["market_ws_url"],
        clob_user_ws_url=info["user_ws_url"],
        rtds_ws_url=info["rtds_ws_url"],
        realtime_ws_url=info["settlement_ws_url"],
        relayer_url=info["url"] + "/no-relayer",
        rpc_url=info["url"] + "/no-chain",
    )
    return environments._create_environment(name="embedded", config=config)


@pytest.fixture(scope="module")
def public(venue: VenueThread) -> Iterator[Any]:
    client = polymarket.PublicClient(environment=embedded(venue.info))
    yield client
    client.close()


@pytest.fixture(scope="module")
def secure(venue: VenueThread) -> Iterator[Any]:
    """For the wallet itself: other wallets need a relayer, which nothing here stands for."""
    client = polymarket.SecureClient.create(
        private_key=venue.info["private_key"], wallet=venue.info["address"], environment=embedded(venue.info)
    )
    yield client
    client.close()


def pair(venue: VenueThread, window: int = 1) -> tuple[str, str]:
    up, down = json.loads(windows(venue)[window]["clobTokenIds"])
    return up, down


# -- sync --------------------------------------------------------------------------------------------------------------


def test_public_reads(venue: VenueThread, public: Any) -> None:
    up, down = pair(venue)
    window = windows(venue)[1]
    market = public.get_market(slug=window["slug"])
    assert market.condition_id == window["conditionId"]
    page = public.list_events(tag_slug="up-or-down", end_date_min="2026-03-01T00:00:00Z").first_page()
    assert [event.slug for event in page.items] == [window["slug"] for window in windows(venue)]
    assert window["slug"] in {item.slug for item in public.list_markets(page_size=2).iter_items()}
    book = public.get_order_book(asset_id=up)
    best_bid, best_ask = max(level.price for level in book.bids), min(level.price for level in book.asks)
    assert public.get_midpoint(asset_id=up) == (best_bid + best_ask) / 2
    assert public.get_spread(asset_id=up) == best_ask - best_bid
    assert public.get_price(asset_id=up, side="BUY") == best_bid
    assert public.get_midpoints(asset_ids=[up, down])[down] == 1 - (best_bid + best_ask) / 2
    assert len(public.get_order_books(asset_ids=[up, down])) == 2
    assert public.list_current_rewards().first_page().items
    assert public.list_market_rewards(condition_id=window["conditionId"]).first_page().items


def test_an_order_rests_is_read_and_is_cancelled(venue: VenueThread, secure: Any) -> None:
    up, _ = pair(venue)
    order = secure.place_limit_order(asset_id=up, price="0.02", size="10", side="BUY", post_only=True)
    assert order.ok and order.status == "live"
    (row,) = list(secure.list_open_orders(asset_id=up).iter_items())
    assert row.id == order.order_id and row.price == Decimal("0.02")
    assert secure.get_order(order_id=order.order_id).original_size == Decimal(10)
    assert secure.get_order_scoring(order_id=order.order_id) is False
    assert secure.cancel_order(order_id=order.order_id).canceled == (order.order_id,)
    assert secure.cancel_all().canceled == ()
    assert {notification.type for notification in secure.get_notifications()} >= {1}


def test_takers_trade_and_everything_about_it_can_be_read(venue: VenueThread, secure: Any, public: Any) -> None:
    up, down = pair(venue, 2)
    taken = secure.place_limit_order(asset_id=up, price="0.97", size="6", side="BUY")
    assert taken.ok and taken.status == "matched" and taken.taking_amount == 6
    bought = secure.place_market_order(asset_id=down, amount="5", side="BUY")
    assert bought.status == "matched"
    trades = list(secure.list_account_trades(asset_id=up).iter_items())
    assert {trade.taker_order_id for trade in trades} == {taken.order_id}
    assert secure.get_balance_allowance(asset_type="COLLATERAL").balance < 10_000_000_000
    venue.call(lambda inside: setattr(inside, "quirks", at_once(inside.quirks)))
    held = {position.asset_id: position.current_size for position in secure.list_positions().iter_items()}
    assert held[up] == 6
    assert public.list_trades(condition_id=windows(venue)[2]["conditionId"]).first_page().items
    assert {2} <= {notification.type for notification in secure.get_notifications()}
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert secure.get_current_rebates(date=today, maker_address=venue.info["address"]) == ()
    assert list(secure.list_user_earnings_for_day(date=today).iter_items()) == []
    assert secure.get_reward_percentages() == {}
    assert venue.info["api_key"] in secure.fetch_api_keys()
    assert secure.get_closed_only_mode() is False


def at_once(quirks: Quirks) -> Quirks:
    """The same quirks, but positions are told at once."""
    return msgspec.structs.replace(quirks, positions_lag_ms=0)


def test_what_becomes_of_a_winner_is_read_as_positions_and_notifications() -> None:
    with VenueThread(
        VenueOptions(seed=74, parameters=QUIET, quirks=Quirks(positions_lag_ms=0, redeem_ms=60_000))
    ) as venue:
        client = polymarket.SecureClient.create(
            private_key=venue.info["private_key"], wallet=venue.info["address"], environment=embedded(venue.info)
        )
        window, now_ms = windows(venue)[1], int(time.time() * 1000)
        up, _ = pair(venue)
        reply = client.place_limit_order(asset_id=up, price="0.97", size="6", side="BUY")
        venue.call(lambda inside: inside.exchange.fail(reply.trade_ids[0], now_ms))
        bought = client.place_limit_order(asset_id=up, price="0.97", size="6", side="BUY")
        assert bought.status == "matched"
        venue.call(lambda inside: inside.exchange.resolve(window["conditionId"], "up", now_ms))
        (held,) = list(client.list_positions().iter_items())
        assert (held.asset_id, held.current_size, held.status) == (up, 6, "REDEEMABLE")
        venue.call(lambda inside: inside.exchange.step(now_ms + 60_000))
        assert list(client.list_positions().iter_items()) == []
        told = {notice.type.name: notice.payload for notice in client.get_notifications()}
        assert told.keys() == {"ORDER_FILL", "ORDER_FILL_FAILED", "MARKET_RESOLVED", "AUTO_REDEEMED"}
        assert told["MARKET_RESOLVED"].condition_id == told["AUTO_REDEEMED"].condition_id == window["conditionId"]
        assert told["AUTO_REDEEMED"].amount == 6
        client.close()


def test_refusals_come_out_as_the_clients_own_errors(venue: VenueThread, secure: Any) -> None:
    up, _ = pair(venue)
    errors = pytest.importorskip("polymarket.errors")
    with pytest.raises(errors.RequestRejectedError, match="lower than the minimum") as small:
        secure.place_limit_order(asset_id=up, price="0.02", size="1", side="BUY")
    assert small.value.status == 400
    with pytest.raises(errors.RequestRejectedError, match="crosses book"):
        secure.place_limit_order(asset_id=up, price="0.99", size="10", side="BUY", post_only=True)
    beat = secure.send_order_heartbeat()
    with pytest.raises(errors.OrderHeartbeatMismatchError) as stale:
        secure.send_order_heartbeat(heartbeat_id="wrong")
    assert stale.value.heartbeat_id == beat.heartbeat_id
    api_key = venue.info["api_key"]
    venue.call(lambda inside: inside.accounts.beats.pop(api_key))


def test_a_spent_budget_is_the_clients_rate_limit_error() -> None:
    errors = pytest.importorskip("polymarket.errors")
    with VenueThread(VenueOptions(seed=73, parameters=QUIET, enforce_rates=True)) as venue:
        heard: list[Any] = []
        client = polymarket.SecureClient.create(
            private_key=venue.info["private_key"],
            wallet=venue.info["address"],
            environment=embedded(venue.info),
            on_rate_limit_update=heard.append,
        )
        many = [f"0x{n:064x}" for n in range(110)]
        client.cancel_orders(order_ids=many)
        assert heard[-1].tier == "Standard" and heard[-1].remaining < 60
        with pytest.raises(errors.RateLimitError) as refusal:
            client.cancel_orders(order_ids=many)
        assert refusal.value.retry_after >= 1
        client.close()


# -- async -------------------------------------------------------------------------------------------------------------


async def heard(handle: Any, enough: Callable[[list[Any]], bool]) -> list[Any]:
    seen: list[Any] = []

    async def listen() -> None:
        async for event in handle:
            seen.append(event)
            if enough(seen):
                return

    await asyncio.wait_for(listen(), TIMEOUT_S)
    await handle.close()
    return seen


def kinds(seen: list[Any]) -> set[str]:
    return {type(event).__name__ for event in seen}


def told(seen: list[Any]) -> list[tuple[str, str]]:
    """User events, each as its kind and status."""
    return [(type(event).__name__, event.payload.status) for event in seen]


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 30.0))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_async_market_and_older_settlement_streams(venue: VenueThread) -> None:
    async def main() -> None:
        async with polymarket.AsyncPublicClient(environment=embedded(venue.info)) as client:
            spec = streams.MarketSpec(asset_ids=list(pair(venue, 0)), custom_feature_enabled=True)
            wanted = {"MarketBookEvent", "MarketPriceChangeEvent", "MarketBestBidAskEvent"}
            await heard(await client.subscribe(spec), lambda seen: kinds(seen) >= wanted)
            older = await client.subscribe(streams.CryptoPricesChainlinkTwapSpec(window_seconds=60))
            (event, *_) = await heard(older, lambda seen: len(seen) >= 1)
            assert event.payload.symbol == "btc/usd" and event.payload.window_seconds == 60

    run(main)


def somebody_hears(inside: Venue) -> bool:
    return any(
        client.subscribed
        for listener in inside.listeners
        if isinstance(stream := getattr(listener, "__self__", None), UserStream)
        for client in stream._clients
    )


def test_async_user_and_newer_settlement_streams(venue: VenueThread) -> None:
    up, _ = pair(venue, 0)

    async def main() -> None:
        client = await polymarket.AsyncSecureClient.create(
            private_key=venue.info["private_key"], wallet=venue.info["address"], environment=embedded(venue.info)
        )
        async with client:
            prices = await client.subscribe(streams.CryptoTwapPriceSpec(symbols=["btcusd"]))
            seen = await heard(prices, lambda seen: len(seen) >= 2)
            assert [type(event).__name__ for event in seen[:2]] == [
                "CryptoTwapPriceSnapshotEvent",
                "CryptoTwapPriceUpdateEvent",
            ]
            assert seen[1].seq == seen[0].seq + 1
            # Of this market alone: trades of other tests may still be settling in others.
            user = await client.subscribe(streams.UserSpec(markets=[windows(venue)[0]["conditionId"]]))
            filled = {("UserTradeEvent", "MATCHED"), ("UserOrderEvent", "MATCHED")}
            listening = asyncio.create_task(heard(user, lambda seen: filled <= set(told(seen))))
            while not venue.call(somebody_hears):
                await asyncio.sleep(0.01)  # the subscription has no acknowledgement to wait for
            await client.place_limit_order(asset_id=up, price="0.02", size="10", side="BUY", post_only=True)
            await client.cancel_all()
            await client.place_limit_order(asset_id=up, price="0.97", size="6", side="BUY")
            seen = await listening
            assert told(seen)[:2] == [("UserOrderEvent", "LIVE"), ("UserOrderEvent", "CANCELED")]

    run(main)
