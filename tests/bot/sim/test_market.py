"""The generated world: determinism, the life of windows, the crowd, and what a newcomer meets. Time is a number."""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import partial

import msgspec
import pytest

from bot.errors import SettingsError
from bot.messages import Side
from bot.sim.binance_intervals import opened
from bot.sim.exchange import Exchange, Listed, Printed, Resolved, SimMarket, Submit, TickChanged
from bot.sim.market import BinanceQuote, BinanceTrade, SourcePrice, Twap, World, WorldParameters
from bot.sim.prices import PricePath, gathered
from bot.sim.traders import Crowd, Noise
from bot.sim.window import Life

START = 1_760_000_000_123
USD = 1_000_000
SHARE = 1_000_000
EMPTY = WorldParameters(makers=0, noise_per_s=0.0, informed_fast_per_s=0.0, informed_slow_per_s=0.0)
TOLD_EARLY = msgspec.structs.replace(EMPTY, source_delay_ms=300)


def world_of(
    *series: str, seed: int = 1, aligned: bool = False, parameters: WorldParameters | None = None, start: int = START
) -> World:
    exchange = Exchange()
    return World(
        exchange, seed=seed, series=series or ["btc-updown-5m"], start_ms=start, aligned=aligned, parameters=parameters
    )


def markets(world: World) -> list[SimMarket]:
    return list(world.exchange.markets.values())


def digest(seed: int, call_every_ms: int, seconds: int = 60) -> str:
    world = world_of(seed=seed)
    text = hashlib.sha256()
    for now in range(START, START + seconds * 1000 + 1, call_every_ms):
        for event in world.step(now):
            text.update(msgspec.json.encode(event))
    for booked in world.exchange.take_events():
        text.update(msgspec.json.encode(booked))
    return text.hexdigest()


# -- determinism ------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_minute_however_often_it_is_called() -> None:
    assert digest(1, 10) == digest(1, 60)
    assert digest(1, 60, 5) != digest(2, 60, 5)


def test_an_unknown_series_is_refused_by_name() -> None:
    for name in ("doge-updown-5m", "btc-updown-5h", "btc-updown-0m", "btc-up-or-down"):
        with pytest.raises(SettingsError, match=name):
            world_of(name)


# -- prices --------------------------------------------------------------------------------------------------------


def test_the_reference_feed_has_the_rates_and_the_one_tick_spread_of_the_real_one() -> None:
    world = world_of(parameters=EMPTY)
    events = [event for second in range(1, 61) for event in world.step(START + second * 1000)]
    quotes = [event for event in events if isinstance(event, BinanceQuote)]
    trades = [event for event in events if isinstance(event, BinanceTrade)]
    assert 10 <= len(quotes) / 60 <= 60
    assert 1 <= len(trades) / 60 <= 15
    assert {quote.ask_e8 - quote.bid_e8 for quote in quotes} == {1_000_000}
    assert all(a.update_id < b.update_id for a, b in itertools.pairwise(quotes))
    assert all(quote.bid_qty > 0 and quote.ask_qty > 0 and quote.symbol == "BTCUSDT" for quote in quotes)


def test_settlement_values_come_each_second_late_and_stay_what_they_were() -> None:
    world = world_of(parameters=EMPTY)
    seen: list[tuple[int, Twap | SourcePrice]] = []
    for now in range(START, START + 30_000, 10):
        seen += [(now, event) for event in world.step(now) if isinstance(event, Twap | SourcePrice)]
    twaps = [(now, event) for now, event in seen if isinstance(event, Twap)]
    assert [event.ts_ms for _, event in twaps] == list(range(twaps[0][1].ts_ms, twaps[-1][1].ts_ms + 1, 1000))
    assert all(1_500 <= now - event.ts_ms <= 1_620 and event.window_s == 60 for now, event in twaps)
    history = dict(world.settlement_history("btc", 60, 120))
    assert len(history) == 120
    assert all(history[event.ts_ms] == event.value for _, event in twaps)
    spots = {event.ts_ms: event.value for _, event in seen if isinstance(event, SourcePrice)}
    assert len(spots) == 30
    assert all(dict(world.source_history("btc", 60))[ts_ms] == value for ts_ms, value in spots.items())


def test_the_mean_is_the_mean_of_the_source_read_with_the_lag() -> None:
    path = PricePath("btc", 3, START, EMPTY)
    stamp = path.now_ms // 1000 * 1000
    samples = [path.mean_source(ms - 100, ms) for ms in range(stamp - 1_000 - 59_900, stamp - 1_000 + 1, 100)]
    assert path.twap(stamp, 60) == pytest.approx(sum(samples) / 600, rel=1e-12)
    candle = gathered(path.minutes(), partial(opened, "1m"))[-3]
    assert math.log(path.twap(stamp, 60) / candle[4]) == pytest.approx(-2e-4, abs=0.02)


def test_klines_reach_back_far_enough_and_join_without_holes() -> None:
    world = world_of("btc-updown-5m", "eth-updown-5m", parameters=EMPTY)
    world.step(START + 500)
    rows = world.klines("ETHUSDT", "1s", 0, 0, 1000)
    assert len(rows) == 1000
    assert [row[0] for row in rows] == list(range(rows[0][0], rows[0][0] + 1_000_000, 1000))
    assert all(low <= min(first, close) <= max(first, close) <= high for _, first, high, low, close in rows)
    minutes = world.klines("BTCUSDT", "1m", 0, 0, 5)
    assert [row[0] % 60_000 for row in minutes] == [0] * 5
    assert world.klines("BTCUSDT", "1s", rows[10][0], rows[12][0], 1000)[0][0] == rows[10][0]


# -- windows -------------------------------------------------------------------------------------------------------


def test_the_first_window_began_five_seconds_ago_with_its_strike_and_two_more_are_listed() -> None:
    world = world_of()
    listed = [event for event in world.exchange.take_events() if isinstance(event, Listed)]
    begin = START // 1000 * 1000 - 5_000
    assert [market.start_ms - begin for market in markets(world)] == [0, 300_000, 600_000]
    assert len(listed) == 3
    first, second, _ = markets(world)
    assert first.slug == f"btc-updown-5m-{begin // 1000}"
    assert first.strike == dict(world.settlement_history("btc", 60, 20))[begin]
    assert (first.window_s, first.version, second.strike) == (60, 2, None)
    assert first.end_ms == second.start_ms
    bids, asks = world.exchange.book(first.up_token)
    assert bids[-1][0] < asks[-1][0]


def test_an_aligned_world_uses_the_grid_of_the_real_venue() -> None:
    first = markets(world_of("btc-updown-15m", aligned=True, parameters=EMPTY))[0]
    assert first.start_ms % 900_000 == 0
    assert first.start_ms <= START < first.end_ms
    assert first.strike is not None


def test_ids_of_the_third_generation_have_its_layout_and_those_of_the_others_have_not() -> None:
    def ids(protocol: int) -> list[tuple[str, list[int]]]:
        world = World(Exchange(), seed=1, series=["btc-updown-5m"], start_ms=START, aligned=False, protocol=protocol)
        return [(market.condition_id, [int(market.up_token), int(market.down_token)]) for market in markets(world)]

    reserved = (1 << 64) - 1 << 40
    for condition_id, tokens in ids(3):
        assert [token >> 248 for token in tokens] == [1, 1]  # the binary module
        assert [token & reserved for token in tokens] == [0, 0]
        assert [token & 255 for token in tokens] == [0, 1]  # outcome
        assert condition_id == f"0x{tokens[0] >> 8:062x}00"
        assert tokens[0] >> 8 == tokens[1] >> 8
    assert all(token & reserved for _, tokens in ids(2) for token in tokens)
    assert len({condition_id for condition_id, _ in ids(3)}) == 3


def test_windows_close_settle_by_their_means_and_the_next_strike_is_the_last_final() -> None:
    world = world_of("btc-updown-1m")
    resolved: list[Resolved] = []
    for second in range(200):
        world.step(START + second * 1000)
        resolved += [event for event in world.exchange.take_events() if isinstance(event, Resolved)]
    rows = markets(world)
    assert [event.condition_id for event in resolved] == [market.condition_id for market in rows[:3]]
    for market, after in itertools.pairwise(rows[:4]):
        assert market.closed
        assert market.final is not None
        assert market.strike is not None
        assert market.outcome == ("up" if market.final >= market.strike else "down")
        assert after.strike == market.final
        assert market.window_s == 10
    assert [market.closed for market in rows[3:]] == [False] * 3
    assert world.exchange.imbalance() == 0
    assert not any(market.outcome for market in rows[3:])


def test_the_grid_gets_finer_at_most_once_and_only_at_the_extremes() -> None:
    world = world_of("btc-updown-1m", seed=4)
    changes: list[TickChanged] = []
    for now in range(START, START + 130_000, 100):
        world.step(now)
        for event in world.exchange.take_events():
            if isinstance(event, TickChanged):
                changes.append(event)
                bid, ask = world.exchange.best(event.condition_id)
                assert not (bid and ask) or not 700 < (bid + ask) / 2 < 9_300
    assert changes
    assert len({event.condition_id for event in changes}) == len(changes)
    assert {(event.old, event.new) for event in changes} == {(100, 10)}


# -- true p --------------------------------------------------------------------------------------------------------


def test_true_p_is_calibrated_against_what_happens() -> None:
    path = PricePath("btc", 9, START, TOLD_EARLY)
    listing = markets(world_of("btc-updown-1m", parameters=TOLD_EARLY))[0]
    errors: list[float] = []
    spreads: list[float] = []
    for _ in range(150):
        begin = path.now_ms // 1000 * 1000 + 15_000
        market = msgspec.structs.replace(listing, start_ms=begin, end_ms=begin + 60_000, strike=None)
        crowd = Crowd(Exchange())
        noise = Noise(market, crowd, TOLD_EARLY, "x", path.now_ms)
        life = Life(market, path, crowd.exchange, TOLD_EARLY, [], [], noise)
        ps = [life.fair(path.now_ms)]
        for at_ms in (begin - 4_000, begin + 20_000, begin + 52_000, begin + 60_000):
            path.skip_to(at_ms)
            ps.append(life.fair(path.now_ms))
        assert ps[0] == 0.5
        outcome = ps[-1]
        assert outcome in (0.0, 1.0)
        errors += [outcome - p for p in ps[1:4]]
        spreads += [p * (1 - p) for p in ps[1:4]]
    assert abs(sum(errors)) < 4 * math.sqrt(3 * sum(spreads))
    assert sum(e * e for e in errors) == pytest.approx(sum(spreads), rel=0.15)


# -- the crowd -----------------------------------------------------------------------------------------------------


def quoter_fills(series: str, seed: int, away: int) -> tuple[int, int]:
    """A newcomer quotes this far from the touch on both sides for a minute, re-quoting twice a second."""
    world = world_of(series, seed=seed)
    exchange, market = world.exchange, markets(world)[0]
    exchange.deposit("0xme", 10_000 * USD)
    working: dict[str, tuple[str, int]] = {}
    for turn in range(110):
        world.step(START + turn * 500)
        exchange.take_events()
        bid, ask = exchange.best(market.condition_id)
        for token, px in ((market.up_token, bid - away), (market.down_token, 10_000 - ask - away)):
            order_id, old = working.get(token, ("", 0))
            resting = order_id in exchange.account("0xme").orders
            if (resting and abs(old - px) < 100) or not bid or not ask or not 100 <= px <= 9_900:
                continue
            exchange.cancel("0xme", [order_id], world.now_ms)
            px = px // market.tick * market.tick
            submit = Submit(
                order_id=f"0x{turn}{token}", owner="0xme", api_key="me", token=token, side=Side.BUY, px=px, qty=20 * SHARE,
                post_only=True,
            )  # fmt: skip
            if exchange.submit(submit, world.now_ms).status:
                working[token] = (submit.order_id, px)
    orders = exchange.orders_of("0xme")
    assert exchange.imbalance() == 0
    filled = [
        sum(order.matched > 0 for order in orders if order.token == t) for t in (market.up_token, market.down_token)
    ]
    return filled[0], filled[1]


def test_a_newcomer_near_the_touch_is_filled_on_both_sides_within_a_minute() -> None:
    runs = [quoter_fills("btc-updown-5m", seed, 100) for seed in range(3)]
    assert all(up + down > 0 for up, down in runs)
    assert sum(up > 0 and down > 0 for up, down in runs) >= 2


def test_in_a_short_series_even_quotes_three_cents_away_are_filled_on_both_sides() -> None:
    runs = [quoter_fills("btc-updown-1m", seed, 300) for seed in range(3)]
    assert sum(up > 0 and down > 0 for up, down in runs) >= 2


def test_those_who_know_take_a_quote_that_is_wrong_whoever_made_it() -> None:
    quiet = WorldParameters(noise_per_s=0.0, makers=0)
    world = world_of(parameters=quiet)
    exchange, market = world.exchange, markets(world)[0]
    exchange.deposit("0xme", 100 * USD)
    world.step(START + 100)
    p = world.true_p(market.condition_id)
    assert p is not None
    px = math.ceil(p * 100 + 6) * 100
    exchange.submit(
        Submit(order_id="0x1", owner="0xme", api_key="me", token=market.up_token, side=Side.BUY, px=px, qty=20 * SHARE),
        world.now_ms,
    )
    world.step(START + 160)
    assert not exchange.trades_of("0xme")  # not before the taker delay is over
    for tenth in range(2, 22):
        world.step(START + tenth * 100)
    trades = exchange.trades_of("0xme")
    assert trades
    assert trades[0].taker_owner.startswith("informed")
    assert trades[0].match_ms >= START + 250


def test_without_takers_nothing_trades() -> None:
    world = world_of(parameters=WorldParameters(noise_per_s=0.0, informed_fast_per_s=0.0, informed_slow_per_s=0.0))
    for second in range(30):
        world.step(START + second * 1000)
    assert not any(isinstance(event, Printed) for event in world.exchange.take_events())


# -- late calls ----------------------------------------------------------------------------------------------------


def test_a_call_ten_seconds_late_jumps_there_and_the_market_goes_on() -> None:
    world = world_of()
    world.step(START + 5_000)
    world.exchange.take_events()
    events = world.step(START + 15_000)
    assert not any(isinstance(event, BinanceQuote) for event in events)
    assert sum(isinstance(event, Twap) for event in events) == 10
    assert world.now_ms == (START + 15_000) // 10 * 10
    bid, ask = world.exchange.best(markets(world)[0].condition_id)
    assert 0 < bid < ask
    more = world.step(START + 16_000)
    assert any(isinstance(event, BinanceQuote) for event in more)
    assert all(event.ts_ms > START + 14_990 for event in more if isinstance(event, BinanceQuote))


def test_a_call_hours_late_settles_what_ended_and_lists_what_is_now_in_bounded_work() -> None:
    world = world_of("btc-updown-1m")
    world.step(START + 5_000)
    late = START + 7 * 3_600_000
    events = world.step(late)
    assert len(events) < 200
    for second in range(1, 6):
        world.step(late + second * 1000)
    rows = markets(world)
    assert len(rows) <= 7
    assert all(market.outcome for market in rows if market.end_ms < late)
    current = next(market for market in rows if market.start_ms <= late < market.end_ms)
    assert (current.start_ms - rows[0].start_ms) % 60_000 == 0
    bid, ask = world.exchange.best(current.condition_id)
    assert 0 < bid < ask
    assert world.exchange.imbalance() == 0
