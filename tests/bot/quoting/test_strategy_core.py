"""The strategy core: messages and caches in, intents out, time passed by hand."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from strategy_scene import BASIS, LAG, OFFSET, START, Scene, live, market

from bot.caches import Reference, Settlement
from bot.market import Rule
from bot.messages import (
    BotState,
    FeedStatus,
    Fill,
    MarketDropped,
    MarketListed,
    Nudge,
    OrderState,
    QuoteIntent,
    QuoteMode,
    Route,
    Side,
    StatusReport,
    TickSizeChange,
    TimerTick,
    WorkingOrder,
)
from bot.quoting.fair_value import fair_value
from bot.quoting.modes import names
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE


def last(intents: list[QuoteIntent]) -> QuoteIntent:
    assert intents
    return intents[-1]


def check(intent: QuoteIntent) -> None:
    """The invariants of the record."""
    assert (intent.bid_px == 0) == (intent.bid_size == 0) == (intent.bid_route is Route.NONE)
    assert (intent.offer_px == 0) == (intent.offer_size == 0) == (intent.offer_route is Route.NONE)
    assert intent.bid_px % intent.tick == 0
    assert intent.offer_px % intent.tick == 0
    assert intent.bid_size % 10_000 == 0
    assert intent.offer_size % 10_000 == 0
    if intent.bid_px and intent.offer_px:
        assert intent.bid_px < intent.offer_px
    if intent.quote_mode is QuoteMode.NO_QUOTE:
        assert intent.cancel_first
        assert not intent.bid_px
        assert not intent.offer_px


# -- life of a window ----------------------------------------------------------------------------------------------


def test_a_window_is_quoted_from_its_open_wait_until_its_stop_and_never_outside() -> None:
    scene = Scene(gamma=0.001)
    scene.list_market()
    intents = scene.run(3) + scene.run(310, step=0.1)
    for intent in intents:
        check(intent)
    quoted = [(intent.made_ns + OFFSET) / NS_PER_S - START for intent in intents if intent.bid_px or intent.offer_px]
    assert quoted[0] == pytest.approx(2.0, abs=0.06)
    assert quoted[-1] < 225.15  # nothing is held, so reducing only means no quote
    seqs = [intent.seq for intent in intents]
    assert seqs == sorted(set(seqs))
    assert all(intent.valid_until_ns - intent.made_ns == 500 * NS_PER_MS for intent in intents)


def test_the_strike_is_the_streams_first_value_at_the_start() -> None:
    scene = live()
    status = scene.status()
    held = [scene.path[s] for s in range(START - LAG - 59, START - LAG + 1)]
    assert status["strike"] == pytest.approx(sum(held) / 60 * math.exp(BASIS), rel=1e-9)
    assert status["settle_lag_s"] == LAG
    assert status["basis"] == pytest.approx(BASIS, abs=1e-6)
    assert status["phase"] == "LIVE"


def test_until_the_strike_came_nothing_is_quoted() -> None:
    scene = Scene()
    scene.stream_on = False
    scene.list_market()
    intents = scene.run(8)
    assert all(not intent.bid_px and not intent.offer_px for intent in intents)
    assert "NO_STRIKE" in names(last(intents).reasons)
    scene._stamp(START)
    assert last(scene.run(8.5)).bid_px


def test_a_strike_that_contradicts_our_own_mean_is_refused() -> None:
    scene = Scene()
    scene.stream_on = False
    scene.list_market()
    scene.stream.put(Settlement(value_e8=round(60_000 * 1.01 * 1e8), utc_ms=START * 1000, recv_ns=scene.now))
    assert "NO_STRIKE" in names(last(scene.run(8)).reasons)


def test_a_stream_joined_after_the_start_gives_way_to_our_own_mean() -> None:
    scene = Scene()
    scene.stream.history = ()
    scene.stream.latest = None
    scene.stream_on = False
    scene.run(20)
    scene.stream_on = True
    scene.run(60)
    scene.list_market()
    assert last(scene.run(61)).bid_px
    held = [scene.path[s] for s in range(START - 59 - LAG, START - LAG + 1)]
    assert scene.status()["strike"] == pytest.approx(sum(held) / 60 * math.exp(BASIS), rel=1e-5)


def test_a_stream_that_was_silent_at_the_start_gives_way_to_our_own_mean() -> None:
    """Its first value after the hole is that of another moment."""
    scene = Scene()
    scene.stream_on = False
    scene.list_market()
    scene.run(20)
    scene.stream_on = True
    scene.run(25)
    status = scene.status()
    held = [scene.path[s] for s in range(START - 59 - LAG, START - LAG + 1)]
    assert status["strike"] == pytest.approx(sum(held) / 60 * math.exp(BASIS), rel=1e-5)
    assert status["strike_is_ours"]


def test_a_candle_market_takes_its_strike_from_the_candle_and_no_stream() -> None:
    scene = Scene()
    scene.list_market(market(rule=Rule.CANDLE, window_s=0, duration=3600))
    assert "NO_STRIKE" in names(last(scene.run(5)).reasons)
    scene.reference.candle_open_e8[START] = round(scene.price * 1e8)
    intent = last(scene.run(6))
    assert intent.bid_px
    assert 400_000 < intent.fair_e6 < 600_000


def test_near_the_end_only_the_position_is_reduced_and_then_nothing() -> None:
    scene = Scene(sp_max=0.15, p_lo=0.01, p_hi=0.99)
    scene.list_market(up=40, invested=20 * USD_ONE)
    scene.run(230, step=0.5)
    intent = last(scene.run(231))
    assert intent.quote_mode is QuoteMode.REDUCE_ONLY
    assert "CLOSE_PHASE" in names(intent.reasons)
    assert not intent.bid_px
    assert intent.offer_px
    assert intent.offer_route is Route.SELL_YES
    assert intent.offer_size <= 40 * QTY_ONE
    stopped = last(scene.run(256))
    assert stopped.quote_mode is QuoteMode.NO_QUOTE
    assert scene.status()["phase"] == "STOP"


def test_the_next_window_is_quoted_after_this_one() -> None:
    scene = Scene()
    scene.list_market()
    scene.list_market(market("n", START + 300))
    intents = scene.run(303, step=0.2)
    assert not [one for one in intents if one.symbol == "n" and one.bid_px and one.made_ns + OFFSET < START + 300]
    assert any(one.symbol == "n" and one.bid_px for one in scene.run(310))
    scene.tell(MarketDropped(symbol="m"))
    assert {one.symbol for one in scene.run(311)} == {"n"}
    assert set(scene.caches.guards) == {"n"}


# -- what speaks against quoting -----------------------------------------------------------------------------------


def test_without_history_the_market_is_not_warm() -> None:
    scene = Scene(history_s=100)
    scene.list_market()
    assert "NOT_WARM" in names(last(scene.run(5)).reasons)
    scene.reference.seeded_s = 300
    scene.run(6)
    assert "NOT_WARM" not in names(last(scene.run(6.5)).reasons)


def test_without_a_position_report_nothing_is_quoted() -> None:
    scene = Scene()
    scene.tell(MarketListed(market=market()))
    intent = last(scene.run(5))
    assert intent.quote_mode is QuoteMode.NO_QUOTE
    assert "RESYNC" in names(intent.reasons)
    scene.position()
    assert last(scene.run(5.1)).bid_px  # at the start of a market's life no cooldown is due


@pytest.mark.parametrize("state", [state for state in BotState if state is not BotState.QUOTING])
def test_a_bot_that_does_not_quote_pulls_at_once_and_comes_back_slowly(state: BotState) -> None:
    scene = live()
    intent = last(scene.position(state=state))
    check(intent)
    assert intent.quote_mode is QuoteMode.NO_QUOTE
    scene.position()
    assert all(one.quote_mode is QuoteMode.NO_QUOTE for one in scene.run(32.95))
    assert last(scene.run(33.3)).quote_mode is QuoteMode.DEFENSIVE
    assert last(scene.run(34.8)).quote_mode is QuoteMode.NORMAL


def test_a_silent_reference_feed_first_defends_and_then_pulls() -> None:
    scene = live()
    scene.reference_on = False
    assert "BN_SOFT" in names(last(scene.run(30.9)).reasons)
    assert last(scene.run(30.9 + 0.3)).quote_mode is QuoteMode.DEFENSIVE
    gone = last(scene.run(32.3))
    assert gone.quote_mode is QuoteMode.NO_QUOTE
    assert "BN_HARD" in names(gone.reasons)


def test_a_lost_connection_pulls_without_waiting_for_its_age() -> None:
    for feed, reason in (("binance", "BN_HARD"), ("market", "PM_HARD"), ("user", "USER_WS")):
        scene = live()
        intent = last(scene.tell(FeedStatus(feed=feed, connected=False)))
        assert intent.quote_mode is QuoteMode.NO_QUOTE
        assert reason in names(intent.reasons)
        assert scene.tell(FeedStatus(feed=feed, connected=True)) == []
        scene.run(33.1)
        assert any(one.bid_px for one in scene.run(34.5))


def test_a_silent_settling_stream_defends_then_reduces_then_pulls_near_the_end() -> None:
    scene = Scene(p_lo=0.01, p_hi=0.99)
    scene.list_market()
    scene.run(100)
    scene.stream_on = False
    assert last(scene.run(106)).quote_mode is QuoteMode.DEFENSIVE
    assert last(scene.run(116)).quote_mode is QuoteMode.REDUCE_ONLY
    assert last(scene.run(181)).quote_mode is QuoteMode.NO_QUOTE


def test_an_unknown_book_pulls() -> None:
    scene = live()
    scene.book_on = False
    scene.caches.book_of("m").latest = None
    assert "PM_HARD" in names(last(scene.run(30.3)).reasons)


def test_gamma_at_the_money_near_the_end_stops_a_flat_book() -> None:
    scene = Scene(sigma=1e-7, sp_max=0.03, sigma_floor=2e-3, sigma_cap=2e-3)
    scene.list_market()
    intent = last(scene.run(150))
    assert "GAMMA" in names(intent.reasons)
    assert intent.quote_mode is QuoteMode.REDUCE_ONLY
    assert (intent.bid_px, intent.offer_px) == (0, 0)


def test_a_decided_market_is_out_of_the_band() -> None:
    scene = live(sigma_cap=6e-5)
    scene.price *= 1.01
    intent = last(scene.run(33.3))
    assert "BAND" in names(intent.reasons)
    assert (intent.bid_px, intent.offer_px) == (0, 0)


def test_limits_of_inventory_and_loss_leave_only_the_side_that_reduces() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"up": 60, "invested": 30 * USD_ONE}, "INV_LIMIT"),
        ({"up": 30, "invested": 41 * USD_ONE}, "MKT_LOSS"),
    )
    for report, reason in cases:
        scene = live()
        intent = last(scene.position(**report))
        assert reason in names(intent.reasons)
        assert not intent.bid_px
        assert intent.offer_px


# -- quotes --------------------------------------------------------------------------------------------------------


def test_a_flat_market_has_two_buys_around_fair_value() -> None:
    scene = Scene()
    scene.list_market()
    intent = next(one for one in scene.run(30)[::-1] if one.bid_px)
    assert intent.bid_px < intent.fair_e6 / 100 < intent.offer_px
    assert (intent.bid_route, intent.offer_route) == (Route.BUY_YES, Route.BUY_NO)
    assert intent.bid_size == intent.offer_size == 20 * QTY_ONE
    assert intent.quote_mode is QuoteMode.NORMAL
    assert intent.epoch == 1
    lo, hi = intent.guard_lo_e8, intent.guard_hi_e8
    assert lo < scene.price * 1e8 < hi
    asset, low, high = scene.caches.guards["m"]
    assert asset == "btc"
    assert low < scene.price * 1e8 < high


def test_a_fill_leans_the_quotes_at_once() -> None:
    scene = live(q_max=1000)
    flat = last(scene.run(30.3))
    held = last(scene.position(up=400))
    assert held.offer_route is Route.SELL_YES
    assert held.bid_size < flat.bid_size
    assert held.bid_px < flat.bid_px


def test_our_own_resting_quote_is_not_the_market() -> None:
    scene = live(improve=0.0)
    intent = last(scene.run(30.3))
    own = WorkingOrder(
        cl_ord_id="c",
        order_id="o",
        asset_id="m-up",
        side=Side.BUY,
        px=intent.bid_px,
        leaves_qty=intent.bid_size,
        state=OrderState.WORKING,
    )
    view = scene.caches.book_of("m").latest
    assert view is not None
    scene.position(working=(own,))
    scene.book_on = False
    scene.caches.book_of("m").latest = msgspec.structs.replace(
        view, bids=((intent.bid_px, intent.bid_size), (intent.bid_px - 500, 10 * QTY_ONE))
    )
    quoter = scene.core._quoters["m"]
    quoter.parameters = msgspec.structs.replace(quoter.parameters, hold_slack=0.0, hold_min=0.03)
    moved = scene.run(31)
    assert last(moved).bid_px <= intent.bid_px - 400  # no needless improvement on the best of the others


def test_a_new_epoch_makes_it_speak_again() -> None:
    scene = live()
    assert last(scene.position(epoch=7)).epoch == 7
    assert scene.position(epoch=7) == []


def test_a_coarser_grid_moves_the_quotes_to_it() -> None:
    scene = Scene()
    scene.list_market(market(tick=10), tick=10)
    scene.run(30)
    changed = last(scene.tell(TickSizeChange(symbol="m", tick=100)))
    check(changed)
    assert changed.tick == 100


def test_an_unchanged_market_is_refreshed_at_half_its_life_and_not_more() -> None:
    scene = Scene(sigma=0.0)
    scene.list_market()
    scene.run(30)
    assert len(scene.run(40)) == 40


def test_the_hold_saves_requests() -> None:
    def moves(**parameters: Any) -> int:
        scene = Scene(seed=3, **parameters)
        scene.list_market()
        prices = [(one.bid_px, one.offer_px) for one in scene.run(120, step=0.1)]
        return sum(a != b for a, b in pairwise(prices))

    assert moves() < 0.7 * moves(hold_min=0.03, hold_slack=0.0)


def test_a_price_is_placed_with_leeway_and_rests_until_it_is_used_up() -> None:
    scene, bare = live(), live(c_leeway=0.0)
    quoter, without = scene.core._quoters["m"], bare.core._quoters["m"]
    assert quoter.leeway > 0.01
    assert quoter.targets[0] <= without.targets[0] - 100
    assert quoter.targets[1] >= without.targets[1] + 100
    resting = quoter.bid.px
    while quoter.p - resting / PX_ONE > quoter.leeway + 0.002:
        assert quoter.bid.px == resting
        scene.price *= 1 - 2e-6
        scene.ms += 20
        scene._feed()
        scene.tick()
    scene.price *= 1 - 1e-5
    scene._feed()
    scene.tick()
    assert 0 < quoter.bid.px < resting < quoter.p * PX_ONE


def test_a_nudge_reevaluates_and_carries_its_cause() -> None:
    scene = live()
    scene.price *= 1 - 6e-4
    scene._feed()
    intent = last(scene.tell(Nudge(cause_ns=77)))
    assert intent.cause_ns == 77
    assert intent.bid_px < intent.fair_e6 / 100


def test_a_crossed_guard_moves_the_threatened_quote_away_at_once() -> None:
    """By the guard alone: the same move is no shock, and inside the guard the quote stays."""
    scene = live()
    before = last(scene.run(30.3))
    _, low, _ = scene.caches.guards["m"]
    scene.price = (low + 100_000_000) / 1e8
    scene._feed()
    scene.tell(Nudge(cause_ns=1))
    assert scene.core._quoters["m"].bid.px == before.bid_px
    scene.price = (low - 100_000_000) / 1e8
    scene._feed()
    after = last(scene.tell(Nudge(cause_ns=2)))
    assert 0 < after.bid_px < before.bid_px
    assert "SHOCK" not in names(after.reasons)


def test_cash_held_by_our_own_working_orders_is_theirs_to_spend_again() -> None:
    scene = live()
    intent = last(scene.run(30.3))
    own = WorkingOrder(
        cl_ord_id="c",
        order_id="o",
        asset_id="m-up",
        side=Side.BUY,
        px=intent.bid_px,
        leaves_qty=intent.bid_size,
        state=OrderState.WORKING,
    )
    other = msgspec.structs.replace(own, asset_id="m-down", px=10_000 - intent.offer_px, leaves_qty=intent.offer_size)
    scene.position(working=(own, other), cash=0)
    assert last(scene.run(31)).bid_size == intent.bid_size
    stuck = tuple(msgspec.structs.replace(one, state=OrderState.UNKNOWN) for one in (own, other))
    scene.position(working=stuck, cash=0)
    assert (last(scene.run(32)).bid_px, last(scene.run(33)).offer_px) == (0, 0)


def test_capital_over_all_markets_is_bounded() -> None:
    scene = Scene(capital_max=30)
    scene.list_market()
    scene.list_market(market("n", START + 300), invested=30 * USD_ONE)
    assert all(not one.bid_px for one in scene.run(10))


# -- what the book says --------------------------------------------------------------------------------------------


def quote_of(scene: Scene) -> dict[str, Any]:
    quote = scene.status()["quote"]
    assert isinstance(quote, dict)
    return quote


def test_a_book_that_is_dearer_than_the_model_is_believed_within_seconds() -> None:
    scene = live(sigma=0.0)
    model = quote_of(scene)["p_model"]
    middle = round(model * 100)
    scene.book = ((middle + 3) * 100, (middle + 5) * 100)
    scene.run(31)
    early = quote_of(scene)
    scene.run(60)
    late = quote_of(scene)
    assert 0 < early["beta"] < 0.5 * late["beta"]
    assert late["fair"] == pytest.approx((middle + 4) / 100, abs=1e-4)
    assert late["fair"] == pytest.approx(1 / (1 + math.exp(-math.log(model / (1 - model)) - late["beta"])))


def test_the_next_window_begins_without_what_this_ones_book_taught() -> None:
    scene = live(sigma=0.0)
    scene.book = (6000, 6200)
    scene.run(60)
    assert scene.core._quoters["m"].blend.beta > 0
    scene.list_market(market("n", START + 300))
    assert scene.core._quoters["n"].blend.beta == 0


def test_an_old_or_wide_book_teaches_nothing() -> None:
    scene = live(sigma=0.0)
    scene.book = (5000, 5700)
    scene.run(40)
    assert quote_of(scene)["beta"] == 0
    scene.book = (5500, 5600)
    scene.book_on = False
    scene.run(40.5)
    for _ in range(100):
        scene.caches.market_frame_ns = scene.now
        scene.run((scene.ms - START * 1000) / 1000 + 0.05)
    assert quote_of(scene)["beta"] == 0


def test_a_book_far_from_the_model_defends_and_very_far_pulls() -> None:
    scene = live(sigma=0.0)
    scene.book = (5900, 6100)
    assert "DIVERGE" not in names(last(scene.run(31.9)).reasons)
    assert "DIVERGE" in names(last(scene.run(32.5)).reasons)
    scene.book = (7000, 7200)
    gone = last(scene.run(34.6))
    assert "DIVERGE_HARD" in names(gone.reasons)
    assert gone.quote_mode is QuoteMode.NO_QUOTE


# -- jumps ---------------------------------------------------------------------------------------------------------


def test_a_jump_pulls_the_side_in_its_way_and_then_defends() -> None:
    scene = live(sigma=0.0, k=5)
    before = last(scene.run(30.3))
    assert before.bid_px
    scene.price *= math.exp(5.5 * 2.671087e-5 * 0.5)
    after = last(scene.run(30.35))
    assert "SHOCK" in names(after.reasons)
    assert after.bid_px >= before.bid_px
    assert not after.offer_px
    assert quote_of(scene)["ask"]["moved_by"] == ["shock"]
    intents = scene.run(34)
    assert any(one.offer_px and one.quote_mode is QuoteMode.DEFENSIVE for one in intents)
    assert last(intents).quote_mode is QuoteMode.NORMAL


def test_a_huge_jump_pulls_both_sides() -> None:
    scene = live(sigma=0.0, k=5)
    scene.price *= math.exp(-11 * 2.671087e-5 * 0.5)
    after = last(scene.run(30.05))
    assert (after.bid_px, after.offer_px) == (0, 0)


def test_a_nudge_looks_only_at_the_markets_it_may_be_about() -> None:
    scene = live()
    scene.list_market(market("n", START, slug="other"))
    scene.run(31)
    looked = {symbol: quoter.now_ns for symbol, quoter in scene.core._quoters.items()}
    scene.ms += 10
    view = scene.caches.book_of("n").latest
    assert view is not None
    scene.caches.book_of("n").latest = msgspec.structs.replace(view, changed_ns=scene.now)
    scene.tell(Nudge(cause_ns=5))
    assert scene.core._quoters["m"].now_ns == looked["m"]
    assert scene.core._quoters["n"].now_ns == scene.now > looked["n"]


def many(count: int) -> Scene:
    scene = Scene()
    for number in range(count):
        scene.list_market(market(f"m{number}"))
    scene.run(20)
    return scene


def looked(scene: Scene) -> set[str]:
    """Markets that were looked at now."""
    return {symbol for symbol, quoter in scene.core._quoters.items() if quoter.now_ns == scene.now}


def test_of_many_markets_a_tick_leaves_half_to_the_next_wake_up_and_none_is_left_twice() -> None:
    scene = many(6)
    everyone = {f"m{number}" for number in range(6)}
    scene.book_on = False  # or what is new in a book would have it looked at
    for wake_up in (Nudge(cause_ns=5), None, None, Nudge(), None, Nudge()):
        scene.ms += 25
        left = set(scene.core.left)
        if wake_up is None:
            scene.tick()
            assert left <= looked(scene) and set(scene.core.left) == everyone - looked(scene)
            assert len(scene.core.left) == 3 if not left else not scene.core.left
        else:
            scene.tell(wake_up)
            assert looked(scene) == left and not scene.core.left


def test_few_markets_are_looked_at_together() -> None:
    scene = many(4)
    scene.ms += 50
    scene.tick()
    assert len(looked(scene)) == 4 and not scene.core.left


def test_a_tick_leaves_no_market_that_something_new_may_be_about() -> None:
    scene = many(6)
    scene.tell(Nudge())
    scene.ms += 50
    scene.price *= 1.001
    scene._feed()  # each guard is broken, each book is new
    scene.tick()
    assert len(looked(scene)) == 6


def test_a_market_that_cannot_be_priced_is_looked_at_now_and_then_and_at_its_start() -> None:
    scene = Scene()
    scene.list_market()
    times = []
    for _ in range(140):
        scene.ms += 50
        scene._feed()
        scene.tick()
        times += [scene.ms - START * 1000] if looked(scene) else []
    assert times == [*range(-4950, 0, 200), *range(0, 2050, 50)]


def test_the_perpetual_leads_fair_value_and_the_guards_allow_for_it() -> None:
    def scene_with(move: float) -> Scene:
        scene = live(sigma=0.0, w_perp=0.5)
        for up in (0.0, move):
            mid = round(scene.price * 1.0004 * math.exp(up) * 1e8)
            scene.reference.perp = Reference(bid_e8=mid, ask_e8=mid, update_id=1, recv_ns=scene.now + 10**9)
            scene.run((scene.ms - START * 1000) / 1000 + 0.05)
        return scene

    flat, led = scene_with(0.0), scene_with(4e-5)
    assert quote_of(led)["p_model"] > quote_of(flat)["p_model"] + 0.005
    quoter = led.core._quoters["m"]
    low, high = quoter.guards
    assert low < quoter.model.mid_e8 < high
    assert quoter.state is not None
    assert quoter.fair is not None
    distance = quoter.window.log_distance
    at = fair_value(msgspec.structs.replace(quoter.state, log_spot=math.log(low / 1e8) + distance))
    assert at.p == pytest.approx(quoter.legs[0].px / 10_000, abs=1e-6)


# -- our own fills -------------------------------------------------------------------------------------------------


def fills(scene: Scene, count: int, side: Side = Side.BUY, px: int = 5500) -> None:
    for n in range(count):
        fill = Fill(
            symbol="m",
            exec_id=f"e{n}",
            order_id="o",
            cl_ord_id="c",
            asset_id="m-up",
            side=side,
            px=px,
            qty=5 * QTY_ONE,
            up_side=side,
            up_px=px,
            fair_e6=0,
            utc_ns=scene.utc,
            now_ns=scene.now,
        )
        scene.tell(fill)


def test_bids_that_were_run_over_widen_the_bid_and_then_only_reduce() -> None:
    scene = live(sigma=0.0)
    scene.book = (4900, 5000)
    fills(scene, 60, px=6500)
    assert "TOX_SOFT" not in names(last(scene.run(34.9)).reasons)
    intent = last(scene.run(36))
    assert {"TOX_SOFT", "TOX_HARD"} <= set(names(intent.reasons))
    assert intent.quote_mode is QuoteMode.REDUCE_ONLY
    row = scene.status()
    assert isinstance(row["quote"], dict)
    assert row["quote"]["delta_tox_bid"] == pytest.approx(0.155, abs=0.003)
    assert row["quote"]["delta_tox_ask"] == 0
    scene.run(95.5, step=0.1)
    assert "TOX_HARD" not in names(last(scene.run(96.5)).reasons)


def test_what_fills_taught_outlives_the_window() -> None:
    scene = live(sigma=0.0)
    scene.book = (4900, 5000)
    fills(scene, 60, px=6500)
    scene.run(36)
    scene.list_market(market("n", START + 300))
    assert scene.core._quoters["n"].markouts.toxicity.bid.m5 == pytest.approx(-0.155, abs=0.003)
    scene.list_market(market("x", START, series="btc-updown-15m"))
    assert scene.core._quoters["x"].markouts.toxicity.bid.m5 == 0


# -- what nobody may price -----------------------------------------------------------------------------------------


def test_a_step_of_the_wall_clock_pulls_and_heals() -> None:
    scene = live()
    scene.tell(TimerTick(name="strategy", now_ns=scene.now, utc_ns=scene.utc))
    stepped = last(scene.tell(TimerTick(name="strategy", now_ns=scene.now, utc_ns=scene.utc + 300 * NS_PER_MS)))
    assert stepped.quote_mode is QuoteMode.NO_QUOTE
    assert "CLOCK" in names(stepped.reasons)
    scene.run(34)
    assert last(scene.run(35)).bid_px


def test_a_mean_longer_than_our_memory_is_not_priced() -> None:
    scene = Scene()
    scene.list_market(market(window_s=3600, duration=14_400))
    assert "META" in names(last(scene.run(5)).reasons)


def test_a_lost_day_pulls_and_says_so() -> None:
    scene = live()
    intent = last(scene.position(state=BotState.HALTED, day_lost=True))
    assert {"DAY_LOSS", "RESYNC"} <= set(names(intent.reasons))
    assert intent.quote_mode is QuoteMode.NO_QUOTE


def test_a_refused_strike_is_shown() -> None:
    scene = Scene()
    scene.stream_on = False
    scene.list_market()
    scene.stream.put(Settlement(value_e8=round(60_000 * 1.01 * 1e8), utc_ms=START * 1000, recv_ns=scene.now))
    scene.run(8)
    status = scene.status()
    assert status["strike"] is None
    assert status["strike_refused"] == pytest.approx(60_600)


def test_a_market_of_two_closes_waits_a_minute_for_its_strike() -> None:
    scene = Scene()
    scene.list_market(market(rule=Rule.CLOSES, window_s=0, duration=86_400))
    assert "NO_STRIKE" in names(last(scene.run(59)).reasons)
    scene.reference.candle_close_e8[START] = round(scene.price * 1e8)
    intent = last(scene.run(61))
    assert intent.bid_px
    state = scene.core._quoters["m"].state
    assert state is not None
    assert state.tau == pytest.approx(86_400 - 61 + 60)
    assert state.ito == 1


# -- rewards -------------------------------------------------------------------------------------------------------


def test_a_held_quote_too_far_out_for_paid_rewards_is_let_go_when_its_target_is_near_enough() -> None:
    def bid(**rewards: Any) -> int:
        scene = Scene(sigma=0.0, c_leeway=0.0)
        scene.book = (4900, 5100)
        scene.list_market(market(**rewards))
        quoter = scene.core._quoters["m"]
        scene.run(30)
        target = quoter.targets[0]
        quoter.bid.px, quoter.bid.changed_ns = target - 200, scene.now
        return last(scene.run(31)).bid_px - target

    assert bid() == -200
    assert bid(reward_usd_day=0.0, reward_spread=300) == -200
    assert bid(reward_usd_day=100.0, reward_spread=300) == 0


# -- several series ------------------------------------------------------------------------------------------------


def test_series_of_one_coin_share_its_model_and_not_their_windows() -> None:
    scene = Scene()
    scene.list_market()
    scene.list_market(market("q", START, 900, series="btc-updown-15m"))
    intents = {one.symbol: one for one in scene.run(10)}
    five, fifteen = (scene.core._quoters[symbol] for symbol in ("m", "q"))
    assert five.model is fifteen.model
    assert five.fair is not None
    assert fifteen.fair is not None
    assert five.fair.s < fifteen.fair.s
    assert {symbol for symbol, one in intents.items() if one.bid_px} == {"m", "q"}


def test_a_coin_without_feed_stops_nobody_else() -> None:
    scene = Scene()
    scene.list_market()
    scene.list_market(market("e", START, 900, asset="eth", series="eth-updown-15m"))
    intents = {one.symbol: one for one in scene.run(10)}
    assert intents["m"].bid_px
    assert "BN_HARD" in names(intents["e"].reasons)
    assert scene.caches.guards["e"] == ("eth", 0, 0)


def test_a_position_in_one_series_takes_nothing_but_capital_from_another() -> None:
    scene = Scene(capital_max=60)
    scene.list_market()
    scene.list_market(market("q", START, 900, series="btc-updown-15m"), up=60, invested=55 * USD_ONE)
    intents = {one.symbol: one for one in scene.run(10)}
    assert "INV_LIMIT" in names(intents["q"].reasons)
    assert names(intents["m"].reasons) == []
    spent = intents["m"].bid_px * intents["m"].bid_size + (10_000 - intents["m"].offer_px) * intents["m"].offer_size
    assert 0 < spent / 10_000 <= 5 * USD_ONE


# -- feeds over time -----------------------------------------------------------------------------------------------


def test_a_gap_of_the_reference_feed_neither_moves_the_basis_nor_the_volatility_much() -> None:
    scene = live()
    before = scene.status()
    scene.reference_on = False
    scene.run(40)
    scene.reference_on = True
    scene.run(60)
    after = scene.status()
    assert after["basis"] == pytest.approx(before["basis"], abs=5e-6)
    assert after["sigma"] == pytest.approx(before["sigma"], rel=0.4)


def test_reloaded_history_is_taken_in() -> None:
    scene = live()
    model = scene.core._models["btc"]
    scene.reference.seeded_s += 500
    scene.run(31)
    assert model.sums.last == START + 31
    assert model.volatility.warm


def test_fair_value_is_calibrated_over_many_windows() -> None:
    """Against the stream that settles, with the lag and basis that were learnt and not told."""
    errors = []
    for seed in range(12):
        scene = Scene(seed=seed)
        scene.list_market()
        scene.run(150, step=1)
        guesses = [one.fair_e6 / 1e6 for one in scene.run(200, step=0.5) if one.fair_e6]
        strike = scene.status()["strike"]
        scene.run(303, step=1)
        final = scene.stream.first_at_or_after((START + 300) * 1000)
        assert final is not None
        assert isinstance(strike, float)
        outcome = final.value_e8 / 1e8 >= strike
        errors.append(sum((p - outcome) ** 2 for p in guesses) / len(guesses))
    assert sum(errors) / len(errors) < 0.2


def test_a_decision_leaves_nothing_behind_and_makes_only_a_few_small_things() -> None:
    """Of one market that is quoted on both sides, with orders working and no intent due."""
    scene = live(sigma=0.0)
    scene.book = (4900, 5100)
    intent = last(scene.run(30.3))
    own = WorkingOrder(
        cl_ord_id="c",
        order_id="o",
        asset_id="m-up",
        side=Side.BUY,
        px=intent.bid_px,
        leaves_qty=intent.bid_size,
        state=OrderState.WORKING,
    )
    scene.position(working=(own,))
    scene.run(30.35)
    quoter, room = scene.core._quoters["m"], 1000 * USD_ONE

    def decide() -> None:
        quoter.look(scene.caches, (), False, room, scene.now, scene.utc)
        quoter.speak(0)

    def traced() -> tuple[int, int]:
        """Bytes left behind by a hundred decisions, and the most that one of them held."""
        decide()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            decide()
        after, peak = tracemalloc.get_traced_memory()
        return after - before, peak - before

    for _ in range(2500):  # msgspec keeps up to 2000 structs of a size that were let go
        decide()
    tracemalloc.start()
    try:
        rounds = [traced() for _ in range(5)]  # of which other threads of the process may disturb some
    finally:
        tracemalloc.stop()
    assert min(left for left, _ in rounds) < 512
    assert min(most for _, most in rounds) < 4096


def test_the_status_of_many_markets_is_made_over_some_ticks_and_told_whole() -> None:
    """No decision waits for all rows; a market that is dropped meanwhile has none."""
    scene = Scene()
    for number in range(12):
        scene.list_market(market(f"m{number}"))
    told: list[tuple[int, list[str]]] = []
    for _ in range(24):
        scene.ms += 50
        scene.tell(Nudge())
        reports = [one for one in scene.tick() if isinstance(one, StatusReport)]
        told += [(scene.ms, list(one.body["markets"])) for one in reports]
        if reports and len(told) == 2:
            scene.tell(MarketDropped(symbol="m11"))
    (begun_ms, _), (first_ms, first), (_, second) = told  # not all were looked at before the very first
    assert first == [f"m{number}" for number in range(12)] and second == first[:-1]
    assert first_ms - begun_ms == 400
