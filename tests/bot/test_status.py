"""The status record keeps the contract's keys from the first moment, and the view can draw it at any."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from bot.caches import BookView
from bot.latency import NAMES, Latency
from bot.market import Market, Rule
from bot.messages import Fill, MarketListed, MarketRefused, Settled, Side, StatusReport
from bot.pnl import Pnl
from bot.status import UNTRADED_KEPT, Status, queue_ahead
from bot.units import NS_PER_S
from bot.view import PlainView, explained, plain_line, render, summary_lines, untraded_lines

CONTRACT = {
    "mode", "state", "reasons", "uptime_s", "series", "markets", "orders", "user_events", "intents", "mailboxes", "feeds",
    "heartbeat", "budget", "latency_us", "pnl_usd", "risk", "process",
}  # fmt: skip

MARKET = Market(
    symbol="0xm", slug="btc-updown-1m-100", series="btc-updown-1m", asset="btc", up_token="1", down_token="2", version=2,
    rule=Rule.TWAP, window_s=10, start_utc_ns=100 * NS_PER_S, end_utc_ns=160 * NS_PER_S, tick=100, min_qty=5_000_000, fee_rate=0.07,
)  # fmt: skip


@pytest.fixture
def status(tmp_path: Path) -> Status:
    made: list[Status] = []
    pnl = Pnl({}, lambda symbol: made[0].market_of(symbol))
    made.append(
        Status(
            path=tmp_path / "status.json",
            fixed={"mode": "sim", "series": ["btc-updown-1m"]},
            started_ns=0,
            pnl=pnl,
            latency={name: Latency() for name in NAMES},
            mailboxes=lambda _: {"executor": {"depth": 0}},
            strikes=lambda _: (100.0, 101.0),
        )
    )
    return made[0]


def a_fill(side: Side = Side.BUY, asset_id: str = "1") -> Fill:
    return Fill(
        symbol="0xm", exec_id="e", order_id="o", cl_ord_id="c", asset_id=asset_id, side=side, px=5000, qty=10_000_000,
        up_side=side, up_px=5000, fair_e6=510_000, utc_ns=0, now_ns=1,
    )  # fmt: skip


def report(component: str, **body: Any) -> StatusReport:
    return StatusReport(component=component, body=body)


def test_the_record_has_every_key_before_anybody_reported(status: Status, tmp_path: Path) -> None:
    status.publish(NS_PER_S, 0)
    written = orjson.loads((tmp_path / "status.json").read_bytes())
    assert set(written) >= CONTRACT
    assert set(written["latency_us"]) == set(NAMES)
    assert written["state"] == "starting" and written["uptime_s"] == 1.0


def test_the_process_is_looked_at_once_a_second(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(10))
    monkeypatch.setattr("bot.status.process_figures", lambda: {"rss_mb": next(looks)})
    seen = []
    for tenth in range(25):
        status.publish(5 * NS_PER_S + tenth * NS_PER_S // 10, 0)
        seen.append(status.record["process"]["rss_mb"])
    assert seen == [0] * 10 + [1] * 10 + [2] * 5


def test_reports_of_strategy_and_executor_meet_in_one_market(status: Status) -> None:
    status.observe(MarketListed(market=MARKET), 0)
    status.observe(
        report("strategy", markets={"0xm": {"phase": "LIVE", "fair": 0.51, "seconds_left": 30.0}}, emitted=7), 0
    )
    status.observe(
        report("executor", state="quoting", markets={"0xm": {"bid": {"px": 0.49, "size": 20}}}, intents={"handled": 5}),
        0,
    )
    status.publish(0, 0)
    market = status.record["markets"]["0xm"]
    assert (market["slug"], market["phase"], market["bid"]["px"]) == (MARKET.slug, "LIVE", 0.49)
    assert status.record["intents"] == {"emitted": 7, "handled": 5, "conflated": 2}


def test_an_event_counts_as_lost_only_when_it_had_time_to_arrive(status: Status) -> None:
    status.observe(report("feed:user", received=3, quarantined=0), 0)
    status.publish(0, 0)
    assert status.record["user_events"]["lost"] == 0
    status.publish(NS_PER_S, 0)
    assert status.record["user_events"]["lost"] == 3
    status.observe(report("executor", user_events={"handled": 2, "duplicates": 1, "quarantined": 0}), 0)
    status.publish(2 * NS_PER_S, 0)
    assert status.record["user_events"]["lost"] == 0


def test_what_the_user_feed_quarantined_is_not_lost(status: Status) -> None:
    status.observe(report("feed:user", received=7, quarantined=1), 0)
    status.observe(report("executor", user_events={"handled": 6, "duplicates": 0, "quarantined": 0}), 0)
    for second in (1, 2):
        status.publish(second * NS_PER_S, 0)
    events = status.record["user_events"]
    assert events == {"received": 7, "handled": 6, "duplicates": 0, "quarantined": 1, "lost": 0}


def test_what_was_handled_was_received_whoever_reports_first(status: Status) -> None:
    status.observe(report("feed:user", received=2, quarantined=0), 0)
    status.observe(report("executor", user_events={"handled": 3, "duplicates": 0, "quarantined": 0}), 0)
    status.publish(0, 0)
    assert status.record["user_events"]["received"] == 3


def test_fills_and_settlements_are_kept_for_the_summary(status: Status) -> None:
    status.observe(MarketListed(market=MARKET), 0)
    status.observe(a_fill(), 0)
    status.observe(a_fill(Side.SELL, "2"), 0)
    status.observe(Settled(symbol="0xm", slug=MARKET.slug, outcome="up", net_qty=0, payout=0, pnl=0), 0)
    status.publish(0, 0)
    assert status.record["fills"] == {"buy": 1, "sell": 1}
    assert status.fills[1]["route"] == "SELL Down"
    assert status.settled[0]["strike"] == 100.0


@pytest.mark.parametrize(
    ("asset_id", "side", "px", "expected"),
    [("1", "BUY", 0.49, 30.0), ("2", "SELL", 0.51, 30.0), ("1", "SELL", 0.52, 0.0), ("1", "BUY", 0.40, None)],
)
def test_the_queue_ahead_is_what_others_show_at_the_price(
    asset_id: str, side: str, px: float, expected: float | None
) -> None:
    view = BookView(bids=((4900, 50_000_000),), asks=((5200, 20_000_000),), tick=100, recv_ns=0, changed_ns=0)
    row = {"asset_id": asset_id, "side": side, "px": px, "leaves_qty": 20.0}
    assert queue_ahead(view, MARKET, row) == expected
    assert queue_ahead(None, MARKET, row) is None


def test_every_view_draws_an_empty_and_a_full_record(status: Status) -> None:
    console = Console(file=StringIO(), width=100)
    plain = PlainView(console=console)
    for _ in range(2):
        console.print(render("t", status.record, list(status.fills)))
        plain.show(status.record, status.fills)
        assert plain_line(status.record)
        status.observe(MarketListed(market=MARKET), 0)
        status.observe(a_fill(), 0)
        status.observe(
            report(
                "strategy",
                markets={
                    "0xm": {"phase": "LIVE", "fair": 0.51, "seconds_left": 30.0, "book_bid": 0.5, "book_ask": 0.52}
                },
            ),
            0,
        )
        status.observe(
            report(
                "executor",
                state="quoting",
                reasons=["x"],
                markets={"0xm": {"bid": {"px": 0.49, "size": 20}, "ask": None}},
            ),
            0,
        )
        status.publish(NS_PER_S, 0)


QUOTE: dict[str, Any] = {
    "p_model": 0.51, "micro": 0.535, "beta": 0.08, "fair": 0.52, "sigma_p": 0.03, "variance": 0.009, "delta_as": 0.0093,
    "delta_lat": 0.0058, "delta_mod": 0.002, "delta_tox_bid": 0.0, "delta_tox_ask": 0.004, "delta_reb": 0.0017,
    "defensive": True, "half_spread_bid": 0.0277, "half_spread_ask": 0.0349, "leeway": 0.0155, "imbalance": 0.2,
    "skew": -0.012, "reservation": 0.532,
    "bid": {"model_px": 0.5, "px": 0.49, "size": 10, "route": "buy_yes", "moved_by": ["improve", "held", "defensive"]},
    "ask": {"model_px": 0.57, "px": None, "size": None, "route": "none", "moved_by": ["shock"]},
}  # fmt: skip


def test_each_quote_is_explained_by_its_parts(status: Status) -> None:
    status.observe(MarketListed(market=MARKET), 0)
    status.observe(report("strategy", markets={"0xm": {"phase": "LIVE", "quote": QUOTE}}), 0)
    status.observe(report("executor", markets={"0xm": {"position": {"up": 0, "down": 20, "net": -20}}}), 0)
    status.publish(0, 0)
    assert explained(status.record["markets"]["0xm"]) == [
        "fair 52.0¢ = model 51.0¢ +1.00 from the book (others' microprice 53.5¢)",
        "half-spread 2.77/3.49 = inventory 0.93 + latency 0.58 + model 0.20 + toxicity 0.00/0.40 - rebate 0.17, "
        "within its limits, times 1.8: defensive; placed 1.55 further out",
        "skew +1.20 for net -20: around 53.2¢; bid 49.0¢ (model's 50.0¢, improve, held, defensive); ask – (model's 57.0¢, shock)",
    ]
    assert explained({"strike_refused": 60_600.0}) == ["strike 60,600.00 refused: it contradicts our own mean"]
    assert explained({}) == []
    assert len(explained({"quote": {**QUOTE, "bid": None, "ask": None}})) == 1


def test_a_market_that_is_not_traded_says_why_until_it_is(status: Status) -> None:
    refused = MarketRefused(slug=MARKET.slug, series=MARKET.series, reason="unknown settlement rule")
    status.observe(refused, 0)
    status.publish(0, 0)
    assert status.record["untraded"] == {MARKET.slug: {"series": "btc-updown-1m", "reason": "unknown settlement rule"}}
    assert untraded_lines(status.record) == [f"not traded: {MARKET.slug}: unknown settlement rule"]
    status.observe(MarketListed(market=MARKET), 0)
    for n in range(UNTRADED_KEPT + 3):
        status.observe(MarketRefused(slug=f"s{n}", series="s", reason="x"), 0)
    status.publish(0, 0)
    assert next(iter(status.record["untraded"])) == "s3"
    assert len(status.record["untraded"]) == UNTRADED_KEPT


def test_the_summary_names_what_a_person_asks_first(status: Status) -> None:
    status.publish(0, 0)
    lines = summary_lines(
        {**status.record, "flat_verified": False, "open_orders_at_exit": 2, "venue_orders_at_exit": 2, "settled": [],
         "violations": [{"invariant": "I2", "text": "2 rest", "seq": None}]}
    )  # fmt: skip
    text = "\n".join(lines)
    assert "NOT verified flat" in text and "VIOLATION I2: 2 rest" in text and "not a forecast" in text
