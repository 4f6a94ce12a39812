"""The matching engine: priority, mirrored tokens, refusals, money, taker delay, settlement. Time is a number."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.market import Rule
from bot.messages import Side
from bot.sim.exchange import (
    BookChanged,
    Event,
    Exchange,
    OrderEvent,
    Printed,
    SimMarket,
    Submit,
    Submitted,
    TickChanged,
    TradeEvent,
    taker_fee,
)

SHARE = 1_000_000
USD = 1_000_000
BUY, SELL = Side.BUY, Side.SELL
UP, DOWN = "111", "222"
CID = "0xc1"
NOW = 1_000_000_000_000
ids = itertools.count(1)


def market(cid: str = CID, up: str = UP, down: str = DOWN, delay_ms: int = 0) -> SimMarket:
    return SimMarket(
        condition_id=cid,
        slug=f"btc-updown-5m-{cid}",
        series="btc-updown-5m",
        asset="btc",
        question="Up or down?",
        up_token=up,
        down_token=down,
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_ms=NOW,
        end_ms=NOW + 300_000,
        listed_ms=NOW,
        taker_delay_ms=delay_ms,
    )


def venue(delay_ms: int = 0) -> Exchange:
    exchange = Exchange()
    exchange.list_market(market(delay_ms=delay_ms), NOW)
    for owner in ("a", "b", "c"):
        exchange.deposit(owner, 1_000 * USD)
    exchange.take_events()
    return exchange


def order(owner: str, side: Side, px: int, shares: float = 10, token: str = UP, **more: object) -> Submit:
    fields: dict[str, object] = {
        "order_id": f"0x{next(ids)}",
        "owner": owner,
        "api_key": f"key-{owner}",
        "token": token,
        "side": side,
        "px": px,
        "qty": round(shares * SHARE),
    }
    return Submit(**{**fields, **more})  # type: ignore[arg-type]


def put(exchange: Exchange, *args: object, now: int = NOW, **more: object) -> tuple[str, Submitted]:
    submit = order(*args, **more)  # type: ignore[arg-type]
    return submit.order_id, exchange.submit(submit, now)


def told(events: list[Event], kind: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


# -- book and matching ---------------------------------------------------------------------------------------------


def test_a_bid_for_up_is_an_ask_for_down_with_the_best_last() -> None:
    exchange = venue()
    put(exchange, "a", BUY, 4_800)
    put(exchange, "a", BUY, 4_900)
    put(exchange, "a", BUY, 4_700, token=DOWN)
    assert exchange.book(UP) == ([(4_800, 10 * SHARE), (4_900, 10 * SHARE)], [(5_300, 10 * SHARE)])
    assert exchange.book(DOWN) == ([(4_700, 10 * SHARE)], [(5_200, 10 * SHARE), (5_100, 10 * SHARE)])


def test_the_older_order_of_a_level_goes_first_and_a_better_price_before_both() -> None:
    exchange = venue()
    first, _ = put(exchange, "a", BUY, 4_900)
    second, _ = put(exchange, "b", SELL, 5_100, token=DOWN)[0], None
    assert exchange.order(second) is None  # b has no Down to sell
    exchange.grant("b", DOWN, 10 * SHARE)
    second, _ = put(exchange, "b", SELL, 5_100, token=DOWN)
    better, _ = put(exchange, "b", BUY, 5_000)
    _, reply = put(exchange, "c", BUY, 5_000, 25, token=DOWN)
    assert reply.status == "matched"
    assert [exchange.order(o).matched for o in (better, first, second)] == [10 * SHARE, 0, 0]  # type: ignore[union-attr]
    put(exchange, "c", BUY, 5_100, 15, token=DOWN)
    assert [exchange.order(o).matched // SHARE for o in (first, second)] == [10, 5]  # type: ignore[union-attr]


def test_two_buys_mint_a_set_at_the_makers_price_and_improvement_goes_to_the_taker() -> None:
    exchange = venue()
    maker, _ = put(exchange, "a", BUY, 5_200)
    _, reply = put(exchange, "b", BUY, 5_000, token=DOWN)
    assert (reply.status, reply.making, reply.taking) == ("matched", 4_800_000, 10 * SHARE)
    trade = exchange.trades_of("a")[0]
    assert (trade.token, trade.side, trade.px, trade.fee) == (DOWN, BUY, 4_800, 174_720)
    assert [(leg.order_id, leg.token, leg.side, leg.px) for leg in trade.makers] == [(maker, UP, BUY, 5_200)]
    assert exchange.account("a").cash == 1_000 * USD - 5_200_000
    assert exchange.account("b").cash == 1_000 * USD - 4_800_000 - 174_720
    assert exchange.account("a").tokens == {UP: 10 * SHARE}
    assert exchange.account("b").tokens == {DOWN: 10 * SHARE}
    assert exchange.money.locked[CID] == 10 * USD
    assert exchange.imbalance() == 0


def test_two_sells_merge_and_free_the_collateral() -> None:
    exchange = venue()
    for owner in "ab":
        assert exchange.split(owner, CID, 10 * SHARE)
    put(exchange, "a", SELL, 4_000)
    _, reply = put(exchange, "b", SELL, 5_500, token=DOWN)
    assert (reply.making, reply.taking) == (10 * SHARE, 6_000_000)
    assert exchange.money.locked[CID] == 10 * USD
    assert exchange.account("a").cash == 994 * USD
    assert exchange.imbalance() == 0


def test_a_sell_into_a_bid_transfers_and_deducts_the_fee() -> None:
    exchange = venue()
    exchange.split("b", CID, 10 * SHARE)
    put(exchange, "a", BUY, 5_000)
    put(exchange, "b", SELL, 4_900)
    assert exchange.account("b").cash == 990 * USD + 5 * USD - 175_000
    assert exchange.account("a").tokens == {UP: 10 * SHARE}
    assert exchange.imbalance() == 0


def test_fees_follow_the_published_table() -> None:
    table = {
        5_000: 1_750_000,
        3_000: 1_470_000,
        7_000: 1_470_000,
        1_000: 630_000,
        500: 332_500,
        9_700: 203_700,
        7_200: 1_411_200,
    }
    assert {px: taker_fee(100 * SHARE, px, 0.07) for px in table} == table
    assert taker_fee(10_000, 10, 0.07) == 0


def test_events_of_a_fill_reach_both_parties_and_the_tape_once_per_level() -> None:
    exchange = venue()
    put(exchange, "a", BUY, 5_000)
    put(exchange, "a", BUY, 5_000)
    exchange.take_events()
    put(exchange, "b", BUY, 5_000, 15, token=DOWN)
    events = exchange.take_events()
    assert [(e.px, e.qty) for e in told(events, BookChanged)] == [(5_000, 5 * SHARE)]  # type: ignore[union-attr]
    assert [(e.token, e.qty) for e in told(events, Printed)] == [(DOWN, 15 * SHARE)]  # type: ignore[union-attr]
    assert len(told(events, TradeEvent)) == 1
    updates = [(e.order.owner, e.status, e.order.matched // SHARE) for e in told(events, OrderEvent)]  # type: ignore[union-attr]
    assert updates == [("a", "MATCHED", 10), ("a", "LIVE", 5), ("b", "MATCHED", 15)]


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"px": 4_950}, "breaks minimum tick size rule: 0.01"),
        ({"px": 10_000}, "breaks minimum tick size rule: 0.01"),
        ({"shares": 4.99}, "Size (4.99) lower than the minimum: 5"),
        ({"expiration_s": NOW // 1000 + 600}, "invalid expiration"),
        ({"order_type": "GTD"}, "invalid expiration"),
        ({"order_type": "GTD", "expiration_s": NOW // 1000 + 60}, "invalid expiration"),
        ({"token": "9"}, "the orderbook 9 does not exist"),
        ({"px": 9_900, "shares": 2_000}, "balance: 1000000000, order amount: 1980000000"),
        ({"side": SELL}, "not enough balance / allowance: the balance is not enough -> balance: 0"),
        ({"order_type": "FAK", "px": 4_000}, "no orders found to match with FAK order."),
        ({"order_type": "FOK", "shares": 11}, "order couldn't be fully filled. FOK orders are"),
        ({"order_type": "FAK", "shares": 1.5}, "invalid amount for a marketable BUY order ($0.75), min size: $1"),
        ({"post_only": True}, "invalid post-only order: order crosses book"),
    ],
)
def test_a_bad_order_is_refused_in_the_venues_words_and_leaves_no_trace(more: dict[str, object], text: str) -> None:
    exchange = venue()
    put(exchange, "b", BUY, 5_000, token=DOWN)
    exchange.take_events()
    fields: dict[str, object] = {"side": BUY, "px": 5_000, "shares": 10.0, **more}
    order_id, reply = put(exchange, "a", **fields)  # type: ignore[arg-type]
    assert reply.status == ""
    assert text in reply.error
    assert exchange.order(order_id) is None
    assert exchange.take_events() == []
    assert not any(exchange.account("a").open_buy.values())


def test_the_same_order_twice_is_a_duplicate_even_after_it_ended() -> None:
    exchange = venue()
    first = order("a", BUY, 5_000)
    assert exchange.submit(first, NOW).status == "live"
    assert exchange.submit(first, NOW).error == f"order {first.order_id} is invalid. Duplicated."
    exchange.cancel("a", [first.order_id], NOW)
    assert "Duplicated" in exchange.submit(first, NOW).error


def test_fok_and_fak_take_what_they_promise() -> None:
    exchange = venue()
    put(exchange, "b", BUY, 5_000, token=DOWN)
    put(exchange, "b", BUY, 4_900, token=DOWN)
    _, reply = put(exchange, "a", BUY, 5_100, 12, order_type="FOK")
    assert (reply.taking, len(reply.trade_ids), reply.making) == (12 * SHARE, 2, 5 * USD + 1_020_000)
    order_id, reply = put(exchange, "a", BUY, 5_100, 12, order_type="FAK")
    assert (reply.status, reply.taking) == ("matched", 8 * SHARE)
    assert exchange.order(order_id).status.startswith("CANCELED")  # type: ignore[union-attr]
    assert exchange.book(UP) == ([], [])


# -- money ---------------------------------------------------------------------------------------------------------


def test_open_buys_of_one_market_share_the_cash_and_other_markets_use_it_again() -> None:
    exchange = venue()
    exchange.list_market(market("0xc2", "333", "444"), NOW)
    put(exchange, "a", BUY, 5_000, 1_900)
    _, reply = put(exchange, "a", BUY, 5_000, 200)
    assert "balance: 1000000000, sum of active orders: 950000000, order amount: 100000000" in reply.error
    other, reply = put(exchange, "a", BUY, 5_000, 1_900, token="333")
    assert reply.status == "live"
    exchange.take_events()
    put(exchange, "b", BUY, 5_000, 500, token=DOWN)
    assert exchange.order(other).status == "CANCELED_NOT_ENOUGH_BALANCE"  # type: ignore[union-attr]
    kinds = [(e.kind, e.status) for e in told(exchange.take_events(), OrderEvent)]  # type: ignore[union-attr]
    assert ("CANCELLATION", "CANCELED_NOT_ENOUGH_BALANCE") in kinds
    assert len(exchange.orders_of("a", open_only=True)) == 1


def test_merge_needs_sets_that_no_sell_reserves() -> None:
    exchange = venue()
    exchange.split("a", CID, 10 * SHARE)
    put(exchange, "a", SELL, 6_000, 6)
    assert not exchange.merge("a", CID, 5 * SHARE)
    assert exchange.merge("a", CID, 4 * SHARE)
    assert exchange.account("a").cash == 994 * USD
    assert exchange.imbalance() == 0


def test_resolution_cancels_rests_pays_winners_and_forgets_positions() -> None:
    exchange = venue()
    put(exchange, "a", BUY, 5_000)
    put(exchange, "b", BUY, 5_000, token=DOWN)
    resting, _ = put(exchange, "a", BUY, 3_000)
    exchange.close(CID, NOW)
    assert "does not exist" in put(exchange, "a", BUY, 3_000)[1].error
    exchange.resolve(CID, "up", NOW)
    assert exchange.order(resting).status == "CANCELED_MARKET_RESOLVED"  # type: ignore[union-attr]
    assert exchange.account("a").cash == 1_005 * USD
    assert exchange.account("b").cash == 995 * USD - 175_000
    assert exchange.account("a").tokens == exchange.account("b").tokens == {}
    assert exchange.imbalance() == 0


# -- time ----------------------------------------------------------------------------------------------------------


def test_a_taker_is_held_for_the_delay_and_the_maker_can_leave_meanwhile() -> None:
    exchange = venue(delay_ms=150)
    maker, _ = put(exchange, "a", BUY, 5_000)
    taker, reply = put(exchange, "b", BUY, 5_000, token=DOWN)
    assert reply.status == "delayed"
    assert exchange.cancel("b", [taker], NOW)[1][taker] == "order match delayed due to market conditions"
    exchange.step(NOW + 149)
    assert exchange.order(taker).status == "DELAYED"  # type: ignore[union-attr]
    exchange.cancel("a", [maker], NOW + 149)
    exchange.step(NOW + 150)
    assert exchange.order(taker).status == "LIVE"  # type: ignore[union-attr]
    assert exchange.book(UP) == ([], [(5_000, 10 * SHARE)])


def test_a_held_taker_matches_when_the_quote_is_still_there() -> None:
    exchange = venue(delay_ms=150)
    put(exchange, "a", BUY, 5_000)
    taker, _ = put(exchange, "b", BUY, 5_000, token=DOWN, order_type="FAK")
    exchange.step(NOW + 10_000)
    assert exchange.order(taker).status == "MATCHED"  # type: ignore[union-attr]
    assert exchange.trades_of("b")[0].match_ms == NOW + 150


def test_a_trade_is_mined_and_confirmed_in_time_and_every_step_is_told() -> None:
    exchange = venue()
    put(exchange, "a", BUY, 5_000)
    put(exchange, "b", BUY, 5_000, token=DOWN)
    exchange.take_events()
    exchange.step(NOW + 1_999)
    assert exchange.take_events() == []
    exchange.step(NOW + 60_000)
    steps = [(e.trade.status, e.ts_ms - NOW) for e in told(exchange.take_events(), TradeEvent)]  # type: ignore[union-attr]
    assert steps == [("MINED", 2_000), ("CONFIRMED", 7_000)]


def test_a_failed_trade_gives_everything_back_and_stays_failed() -> None:
    exchange = venue()
    put(exchange, "a", BUY, 5_000)
    _, reply = put(exchange, "b", BUY, 5_000, token=DOWN)
    assert exchange.fail(reply.trade_ids[0], NOW + 1)
    assert not exchange.fail(reply.trade_ids[0], NOW + 2)
    exchange.step(NOW + 60_000)
    assert exchange.trades_of("a")[0].status == "FAILED"
    assert exchange.account("a").cash == exchange.account("b").cash == 1_000 * USD
    assert exchange.money.locked[CID] == exchange.money.fees == exchange.imbalance() == 0


def test_gtd_orders_expire_a_minute_early() -> None:
    exchange = venue()
    order_id, _ = put(exchange, "a", BUY, 5_000, order_type="GTD", expiration_s=NOW // 1000 + 100)
    exchange.step(NOW + 39_999)
    assert exchange.order(order_id).open  # type: ignore[union-attr]
    exchange.step(NOW + 40_000)
    assert exchange.order(order_id).status == "CANCELED_EXPIRED_ORDER"  # type: ignore[union-attr]
    assert exchange.book(UP) == ([], [])


def test_cancels_say_why_they_did_nothing() -> None:
    exchange = venue()
    gone, _ = put(exchange, "a", BUY, 4_000)
    matched, _ = put(exchange, "a", BUY, 5_000)
    foreign, _ = put(exchange, "b", BUY, 5_000, token=DOWN)
    assert exchange.cancel("a", [gone], NOW) == ([gone], {})
    assert exchange.cancel("a", [gone, matched, foreign, "0x?"], NOW) == (
        [],
        {
            gone: "Order already canceled",
            matched: "Order already matched",
            foreign: "Order not found",
            "0x?": "Order not found",
        },
    )


def test_mass_cancels_touch_only_what_they_name() -> None:
    exchange = venue()
    exchange.list_market(market("0xc2", "333", "444"), NOW)
    up, down, other = (put(exchange, "a", BUY, 3_000, token=token)[0] for token in (UP, DOWN, "333"))
    put(exchange, "b", BUY, 3_000)
    assert exchange.cancel_market("a", token=DOWN, now_ms=NOW)[0] == [down]
    assert exchange.cancel_market("a", condition_id=CID, now_ms=NOW)[0] == [up]
    assert exchange.cancel_all("a", NOW)[0] == [other]
    assert len(exchange.orders_of("b", open_only=True)) == 1


def test_a_finer_tick_takes_finer_prices_and_keeps_what_rests() -> None:
    exchange = venue()
    put(exchange, "a", BUY, 300)
    exchange.change_tick(CID, 10, NOW)
    assert [(e.old, e.new) for e in told(exchange.take_events(), TickChanged)] == [(100, 10)]  # type: ignore[union-attr]
    assert put(exchange, "a", BUY, 310)[1].status == "live"
    assert len(exchange.book(UP)[0]) == 2


def test_dust_below_a_lot_counts_as_filled() -> None:
    exchange = venue()
    maker, _ = put(exchange, "a", BUY, 5_000, 10.004)
    put(exchange, "b", BUY, 5_000, 12, token=DOWN)
    assert exchange.order(maker).status == "MATCHED"  # type: ignore[union-attr]
    assert exchange.order(maker).matched == 10 * SHARE  # type: ignore[union-attr]
    assert exchange.account("a").open_buy[CID] == 0


# -- properties ----------------------------------------------------------------------------------------------------

ACTION = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([BUY, SELL]),
    st.sampled_from([UP, DOWN]),
    st.integers(40, 60),
    st.integers(500, 40_000),
    st.sampled_from(["GTC", "GTC", "GTC", "FAK", "FOK", "cancel", "fail", "split"]),
    st.booleans(),
    st.integers(0, 300),
)


def check_invariants(exchange: Exchange) -> None:
    assert exchange.imbalance() == 0
    bid, ask = exchange.best(CID)
    assert not (bid and ask) or bid < ask
    for token in (UP, DOWN):
        assert sum(account.tokens.get(token, 0) for account in exchange.accounts.values()) == exchange.money.locked[CID]
    for account in exchange.accounts.values():
        buys = [o.px * o.leaves // 10_000 for o in account.orders.values() if o.side is BUY]
        assert account.open_buy.get(CID, 0) == sum(buys)
        assert account.open_buy.get(CID, 0) <= max(account.cash, 0)
        for token in (UP, DOWN):
            sells = sum(o.leaves for o in account.orders.values() if o.side is SELL and o.token == token)
            assert account.open_sell.get(token, 0) == sells <= max(account.tokens.get(token, 0), 0)
    resting: dict[tuple[bool, int], int] = {}
    for account in exchange.accounts.values():
        for o in account.orders.values():
            if o.status == "LIVE":
                resting[o.is_bid, o.up_px] = resting.get((o.is_bid, o.up_px), 0) + o.leaves
    bids, asks = exchange.book(UP)
    assert resting == {**{(True, px): qty for px, qty in bids}, **{(False, px): qty for px, qty in asks}}


@settings(max_examples=120, deadline=None)
@given(st.lists(ACTION, max_size=60), st.sampled_from([0, 150]))
def test_random_orders_never_make_or_lose_money_nor_cross_the_book(actions: list[tuple], delay_ms: int) -> None:  # type: ignore[type-arg]
    exchange = venue(delay_ms)
    now = NOW
    failed = False
    for owner, side, token, cents, lots, what, post_only, wait_ms in actions:
        now += wait_ms
        exchange.step(now)
        if what == "cancel":
            exchange.cancel(owner, [o.order_id for o in exchange.orders_of(owner, open_only=True)][:1], now)
        elif what == "fail":
            failed = any(exchange.fail(trade.trade_id, now) for trade in exchange.trades_of(owner)[-1:]) or failed
        elif what == "split":
            exchange.split(owner, CID, lots * 10_000)
        else:
            more = {"order_type": what, "post_only": post_only and what == "GTC"}
            put(exchange, owner, side, cents * 100, lots / 100, token, now=now, **more)
        check_invariants(exchange)
        assert failed or all(account.cash >= 0 for account in exchange.accounts.values())
    exchange.resolve(CID, "down", now)
    assert exchange.imbalance() == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(500, 3_000), min_size=2, max_size=12), st.integers(500, 20_000))
def test_within_a_level_nobody_is_overtaken(sizes: list[int], taken: int) -> None:
    exchange = venue()
    queue = [put(exchange, "a", BUY, 1_000, lots / 100)[0] for lots in sizes]
    exchange.split("b", CID, 200 * SHARE)
    put(exchange, "b", SELL, 1_000, taken / 100, order_type="FAK")
    left = taken
    for order_id, lots in zip(queue, sizes, strict=True):
        assert exchange.order(order_id).matched == min(lots, left) * 10_000  # type: ignore[union-attr]
        left -= min(lots, left)


# -- what goes wrong on purpose ------------------------------------------------------------------------------------


def settlement_words(plan: tuple[tuple[int, str], ...]) -> tuple[Exchange, list[str], str]:
    """The steps told of one trade whose settlement follows a plan; its status at the end."""
    exchange = venue()
    exchange.settlement = lambda trade: plan
    put(exchange, "a", BUY, 5_000)
    _, reply = put(exchange, "b", BUY, 5_000, token=DOWN)
    for now in range(NOW, NOW + 10_000, 500):
        exchange.step(now)
    steps = [event.trade.status for event in exchange.take_events() if isinstance(event, TradeEvent)]
    return exchange, steps, exchange.trades[reply.trade_ids[0]].status


def test_settlement_steps_may_repeat_and_come_out_of_order_and_rank_only_rises() -> None:
    plan = ((0, "MATCHED"), (1, "RETRYING"), (2, "CONFIRMED"), (3, "MINED"), (4, "CONFIRMED"))
    _, steps, status = settlement_words(plan)
    assert steps == ["MATCHED", "RETRYING", "CONFIRMED", "MINED", "CONFIRMED"]
    assert status == "CONFIRMED"


def test_a_trade_that_fails_gives_everything_back() -> None:
    exchange, steps, status = settlement_words(((0, "MATCHED"), (2_000, "FAILED")))
    assert (steps, status) == (["MATCHED", "FAILED"], "FAILED")
    assert exchange.account("a").cash == exchange.account("b").cash == 1_000 * USD
    assert exchange.imbalance() == 0


def test_a_failure_may_be_told_before_its_match() -> None:
    exchange, steps, status = settlement_words(((1_000, "FAILED"), (2_000, "MATCHED")))
    assert (steps, status) == (["FAILED", "MATCHED"], "FAILED")
    assert exchange.account("a").cash == 1_000 * USD


def test_a_stranger_takes_from_an_order_out_of_its_turn() -> None:
    exchange = venue()
    better, _ = put(exchange, "b", BUY, 5_000)
    mine, _ = put(exchange, "a", BUY, 4_000)
    assert exchange.sweep(mine, 4 * SHARE, NOW)
    assert [exchange.order(one).matched // SHARE for one in (better, mine)] == [0, 4]  # type: ignore[union-attr]
    assert exchange.level(CID, BUY, 4_000) == 6 * SHARE
    assert exchange.sweep(mine, 100 * SHARE, NOW)
    order = exchange.order(mine)
    assert order is not None
    assert order.status == "MATCHED"
    assert exchange.level(CID, BUY, 4_000) == 0
    assert exchange.account("a").cash == 996 * USD
    assert not exchange.sweep(mine, SHARE, NOW)
    exchange.resolve(CID, "up", NOW)
    assert exchange.account("a").cash == 1_006 * USD
    assert exchange.imbalance() == 0


def test_a_cancelled_order_may_still_be_filled_by_the_venue() -> None:
    exchange = venue()
    mine, _ = put(exchange, "a", BUY, 4_000)
    assert exchange.cancel("a", [mine], NOW) == ([mine], {})
    exchange.take_events()
    assert exchange.sweep(mine, 3 * SHARE, NOW)
    order = exchange.order(mine)
    assert order is not None
    assert (order.status, order.matched, exchange.account("a").tokens[UP]) == ("CANCELED", 3 * SHARE, 3 * SHARE)
    assert [type(event) for event in exchange.take_events()] == [Printed, TradeEvent]
    assert exchange.imbalance() == 0


def test_a_fee_may_be_kept_back_in_shares() -> None:
    exchange = venue()
    exchange.fee_in_shares = lambda taker: True
    put(exchange, "a", BUY, 5_000, token=DOWN)
    _, reply = put(exchange, "b", BUY, 5_000, 5)
    fee = taker_fee(5 * SHARE, 5_000, 0.07)
    assert exchange.account("b").cash == 1_000 * USD - reply.making
    assert exchange.account("b").tokens[UP] == 5 * SHARE - 2 * fee
    assert exchange.fail(reply.trade_ids[0], NOW)
    assert exchange.account("b").tokens[UP] == 0
    assert exchange.imbalance() == 0


def test_an_order_may_be_held_though_it_would_rest() -> None:
    exchange = venue()
    _, reply = put(exchange, "a", BUY, 4_000)
    held = order("a", BUY, 4_100, post_only=True)
    assert exchange.submit(held, NOW, hold_ms=500).status == "delayed"
    assert exchange.cancel("a", [held.order_id], NOW)[1]
    exchange.step(NOW + 500)
    found = exchange.order(held.order_id)
    assert found is not None
    assert (found.status, reply.status) == ("LIVE", "live")


def test_a_held_post_only_order_never_takes() -> None:
    exchange = venue()
    held = order("a", BUY, 5_000, post_only=True)
    exchange.submit(held, NOW, hold_ms=500)
    put(exchange, "b", BUY, 5_000, token=DOWN)
    exchange.step(NOW + 500)
    found = exchange.order(held.order_id)
    assert found is not None
    assert (found.status.split("_")[0], found.matched) == ("CANCELED", 0)


def test_the_venue_may_cancel_by_itself_and_keep_silent() -> None:
    exchange = venue()
    mine = [put(exchange, "a", BUY, 4_000)[0] for _ in range(2)]
    exchange.take_events()
    assert exchange.cancel_by_venue(mine[:1], "CANCELED", NOW) == mine[:1]
    assert len(told(exchange.take_events(), OrderEvent)) == 1
    assert exchange.cancel_by_venue(mine, "CANCELED", NOW, told=False) == mine[1:]
    assert told(exchange.take_events(), OrderEvent) == []
    assert exchange.level(CID, BUY, 4_000) == 0
