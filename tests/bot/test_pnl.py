"""PnL parts sum to the cash ledger whatever the path (strategy page, section 14, V10 split)."""

from __future__ import annotations

import pytest

from bot.caches import BookCache, BookView
from bot.messages import Fill, Settled, Side
from bot.pnl import Pnl
from bot.units import NS_PER_S


def book_at(price: float) -> BookView:
    px = round(price * 10_000)
    return BookView(bids=((px - 100, 1_000_000),), asks=((px + 100, 1_000_000),), tick=100, recv_ns=0, changed_ns=0)


def fill(qty: int, up_px: int, side: Side, now_ns: int = 0) -> Fill:
    return Fill(
        symbol="m", exec_id="e", order_id="o", cl_ord_id="c", asset_id="up", side=side, px=up_px, qty=qty,
        up_side=side, up_px=up_px, fair_e6=0, utc_ns=0, now_ns=now_ns,
    )  # fmt: skip


def test_the_split_of_a_bought_fill_is_the_vector_of_the_strategy_page() -> None:
    cache = BookCache("m")
    pnl = Pnl({"m": cache}, lambda _: None)
    cache.latest = book_at(0.735)
    pnl.filled(fill(40_000_000, 7200, Side.BUY))
    for second, price in ((1, 0.731), (5, 0.726), (30, 0.741)):
        cache.latest = book_at(price)
        pnl.passed(second * NS_PER_S)
    pnl.settled(Settled(symbol="m", slug="m", outcome="down", net_qty=40_000_000, payout=0, pnl=0))
    parts = pnl.record()
    expected = {
        "spread": 0.60,
        "drift_1s": -0.16,
        "drift_5s": -0.20,
        "drift_30s": 0.60,
        "settlement": -29.64,
        "total": -28.80,
    }
    assert {name: parts[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_a_market_that_settles_early_still_sums_to_cash() -> None:
    cache = BookCache("m")
    pnl = Pnl({"m": cache}, lambda _: None)
    cache.latest = book_at(0.50)
    pnl.filled(fill(10_000_000, 5200, Side.SELL))
    pnl.settled(Settled(symbol="m", slug="m", outcome="up", net_qty=-10_000_000, payout=0, pnl=0))
    assert pnl.record()["total"] == pytest.approx(10 * (0.52 - 1.0))


def test_open_fills_are_marked_at_the_books_microprice() -> None:
    cache = BookCache("m")
    pnl = Pnl({"m": cache}, lambda _: None)
    cache.latest = book_at(0.50)
    pnl.filled(fill(10_000_000, 4900, Side.BUY))
    cache.latest = book_at(0.47)
    assert pnl.record()["total"] == pytest.approx(10 * (0.47 - 0.49))
