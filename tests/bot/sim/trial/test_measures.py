"""What a window was worth: parts that add up, edge against true p, and what rested where."""

from __future__ import annotations

import pytest

from bot.market import Market, Rule
from bot.messages import QuoteMode, Side
from bot.sim.records import MakerFill, Order, Trade
from bot.sim.trial.measures import PARTS, Meter
from bot.sim.trial.wallet import API_KEY
from bot.units import NS_PER_MS, QTY_ONE

END_MS = 300_000


def meter() -> Meter:
    market = Market(
        symbol="m",
        slug="btc-updown-5m-0",
        series="btc-updown-5m",
        asset="btc",
        up_token="up",
        down_token="down",
        version=2,
        rule=Rule.TWAP,
        start_utc_ns=0,
        end_utc_ns=END_MS * NS_PER_MS,
        tick=100,
        min_qty=5 * QTY_ONE,
        fee_rate=0.07,
    )
    return Meter(market, (0, END_MS - 75_000, END_MS - 45_000), 0)


def trade(trade_id: str, ms: int, side: Side, px: int, shares: float, token: str = "up") -> Trade:
    leg = MakerFill(
        order_id="1", owner="0xours", api_key=API_KEY, token=token, side=side, px=px, qty=round(shares * QTY_ONE)
    )
    return Trade(
        trade_id=trade_id,
        condition_id="m",
        taker_order_id="t",
        taker_owner="them",
        taker_api_key="",
        token=token,
        side=Side.SELL,
        px=px,
        qty=leg.qty,
        fee=0,
        makers=(leg,),
        status="MATCHED",
        tx_hash="",
        match_ms=ms,
        updated_ms=ms,
    )


def order(side: Side, up_px: int, shares: float) -> Order:
    return Order(
        order_id="1",
        owner="0xours",
        api_key=API_KEY,
        condition_id="m",
        token="up",
        side=side,
        px=up_px,
        qty=round(shares * QTY_ONE),
        order_type="GTC",
        post_only=True,
        expiration_s=0,
        created_ms=0,
        is_bid=side is Side.BUY,
        up_px=up_px,
    )


def test_the_parts_of_the_specification_s_example() -> None:
    """Bought 40 at 0.72; p was 0.735, 0.731, 0.726 and 0.741 after 0, 1, 5 and 30 s; Down won."""
    taken = meter()
    marks = {0: 0.735, 1_000: 0.731, 5_000: 0.726, 30_000: 0.741}
    for ms in range(0, 40_000, 10):
        taken.step(ms, next(p for at, p in reversed(marks.items()) if ms >= at))
    taken.traded(trade("t1", 0, Side.BUY, 7200, 40))
    window = taken.finish(0.0)
    assert [window.parts[part] for part in PARTS] == pytest.approx([0.60, -0.16, -0.20, 0.60, -29.64])
    assert window.pnl_usd == pytest.approx(-28.80)
    assert sum(window.parts.values()) == pytest.approx(window.pnl_usd, abs=1e-12)
    assert window.edge_usd == pytest.approx(0.60)
    assert window.markouts == pytest.approx([0.44, 0.24, 0.84])
    assert (window.fills, window.shares, window.q_end, window.sniped) == (1, 40.0, 40.0, 0)


def test_a_bid_for_down_sells_up() -> None:
    taken = meter()
    taken.step(0, 0.5)
    taken.traded(trade("t1", 0, Side.BUY, 4700, 10, token="down"))
    window = taken.finish(1.0)
    assert window.q_end == -10
    assert window.edge_usd == pytest.approx(0.30)  # sold Up at 0.53 while it was worth 0.50
    assert window.pnl_usd == pytest.approx(-4.70)


def test_after_the_end_the_outcome_is_what_the_share_is_worth() -> None:
    taken = meter()
    for ms in range(0, END_MS + 5_000, 10):
        taken.step(ms, 0.5)
    taken.traded(trade("t1", END_MS - 2_000, Side.BUY, 5000, 10))
    window = taken.finish(1.0)
    assert [window.parts[part] for part in PARTS] == pytest.approx([0.0, 0.0, 5.0, 0.0, 0.0])


def test_a_trade_that_reverts_never_was() -> None:
    taken = meter()
    taken.step(0, 0.5)
    taken.traded(trade("t1", 0, Side.BUY, 4000, 10))
    taken.traded(trade("t2", 0, Side.BUY, 5000, 10))
    taken.failed("t1")
    window = taken.finish(1.0)
    assert (window.fills, window.pnl_usd, window.edge_usd) == (1, pytest.approx(5.0), pytest.approx(0.0))


def test_time_with_both_sides_at_the_touch_and_beyond_true_p() -> None:
    taken = meter()
    taken.step(0, 0.505)
    both = [order(Side.BUY, 5000, 20), order(Side.SELL, 5200, 10)]
    taken.sample(100, both, (5000, 5100), QuoteMode.NORMAL, ["WIDE"])
    taken.sample(200, both[:1], (5000, 5100), QuoteMode.NORMAL, [])
    taken.sample(300, [order(Side.BUY, 5100, 20)], (5100, 5200), QuoteMode.NORMAL, [])
    taken.sample(END_MS - 60_000, both, (5000, 5100), QuoteMode.REDUCE_ONLY, [])  # not LIVE any more
    window = taken.finish(1.0)
    assert (window.live_s, window.both_s, window.one_s) == (pytest.approx(0.3), pytest.approx(0.1), pytest.approx(0.2))
    assert window.touch_s == pytest.approx(0.15)
    assert window.spread_s == pytest.approx(0.002)
    assert window.share_s == pytest.approx(10.0)
    assert window.wrong_s == pytest.approx(2.0)
    assert window.mode_s == pytest.approx({"NORMAL": 0.3})
    assert window.reason_s == pytest.approx({"WIDE": 0.1})
