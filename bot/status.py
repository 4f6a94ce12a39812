"""The status record of contract.md, put together from what each component reports; written at least twice a second.

Knows components by their reports only. The same record, with the end's keys added, is summary.json.
"""

from __future__ import annotations

import os
import resource
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from bot.caches import BookView
from bot.latency import Latency
from bot.market import Market
from bot.messages import Fill, MarketListed, MarketRefused, Message, Settled, StatusReport
from bot.pnl import Pnl
from bot.state import write_json
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, Ns, shares, usd

FEEDS = ("binance", "market", "user", "settle")
# What the strategy tells of a market; its reasons beside them are a list.
MODEL_KEYS = (
    *("phase", "seconds_left", "rule", "taker_delay_ms", "strike", "strike_is_ours", "strike_refused", "fair", "sigma"),
    *("spot", "basis", "settle_lag_s", "quote_mode", "book_bid", "book_ask", "quote"),
)
FILLS_KEPT = 50
UNTRADED_KEPT = 20
TIMELINE_KEPT = 20_000
PROCESS_NS: Ns = NS_PER_S  # it costs a quarter of a millisecond to look, in which a fill may wait


class Status:
    """One writer, the monitor's thread; `record` is replaced whole, so the view and the control socket may read it."""

    def __init__(
        self,
        *,
        path: Path,
        fixed: Mapping[str, Any],
        started_ns: Ns,
        pnl: Pnl,
        latency: Mapping[str, Latency],
        mailboxes: Callable[[Ns], dict[str, dict[str, Any]]],
        strikes: Callable[[str], tuple[float | None, float | None]],
        day_file: Path | None = None,
    ) -> None:
        self._path = path
        self._day_file = day_file  # the day's result, which the loss limit must still know after a restart
        self._day: dict[str, Any] = {}
        self._alert_seq = 0
        self._fixed = dict(fixed)  # mode, series
        self._started_ns = started_ns
        self._pnl = pnl
        self._latency = latency
        self._mailboxes = mailboxes
        self._strikes = strikes  # strike and final of a market, as the settlement source had them
        self._reports: dict[str, dict[str, Any]] = {}
        self._received_before = 0
        self._process: dict[str, float | int] = {}
        self._process_ns: Ns = 0
        self._state = ""
        self.markets: dict[str, Market] = {}
        self._untraded: dict[str, dict[str, str]] = {}  # by slug: why a market of ours is not traded
        self.fills: deque[dict[str, Any]] = deque(maxlen=FILLS_KEPT)
        self.filled_buy = self.filled_sell = 0
        self.settled: list[dict[str, Any]] = []
        self.violations: list[dict[str, Any]] = []
        self.timeline: deque[tuple[Ns, str]] = deque(maxlen=TIMELINE_KEPT)  # states, alerts, reconnects: what was done
        self.states: deque[tuple[Ns, str]] = deque(maxlen=TIMELINE_KEPT)  # each from its time on
        self._reconnects: dict[str, int] = {}
        self.record: dict[str, Any] = {"state": "starting", "reasons": [], **self._fixed}

    def observe(self, message: Message, now_ns: Ns) -> None:
        match message:
            case StatusReport(component=component, body=body):
                self._reports[component] = body
            case Fill():
                self._filled(message)
            case Settled():
                self._settled(message)
            case MarketRefused():
                self._untraded[message.slug] = {"series": message.series, "reason": message.reason}
                if len(self._untraded) > UNTRADED_KEPT:
                    del self._untraded[next(iter(self._untraded))]
            case MarketListed(market=market):
                self._untraded.pop(market.slug, None)
                self.markets[market.symbol] = market
                logger.info("market listed: {}", market.slug)

    def publish(self, now_ns: Ns, utc_ns: Ns) -> None:
        self._pnl.passed(now_ns)
        self.record = self._record(now_ns)
        write_json(self._path, self.record)
        self._keep(now_ns)
        if self.record["state"] != self._state:
            self._state = self.record["state"]
            self.states.append((now_ns, self._state))
            self.timeline.append((now_ns, ": ".join([self._state, *self.record["reasons"][:3]])))
            logger.info("state is {}", ": ".join([self._state, *self.record["reasons"][:3]]))

    def _keep(self, now_ns: Ns) -> None:
        """What the executor reported beyond the record: the day's result to its file, new alerts to the log."""
        executor = self._reports.get("executor", {})
        for name in FEEDS:
            count = self._reports.get(f"feed:{name}", {}).get("reconnects", 0)
            if count > self._reconnects.get(name, 0):
                self.timeline.append((now_ns, f"{name} stream connected again"))
            self._reconnects[name] = count
        if self._day_file is not None and (day := executor.get("day")) and day != self._day:
            self._day = day
            write_json(self._day_file, day)
        for alert in executor.get("alerts", []):
            if alert["seq"] > self._alert_seq:
                self._alert_seq = alert["seq"]
                self.timeline.append((now_ns, f"alert: {alert['text']}"))
                logger.log("ERROR" if alert["level"] == 1 else "WARNING", "{}", alert["text"])

    @property
    def earned(self) -> Sequence[tuple[Ns, float]]:
        """When each fill was, and what it had earned after the last horizon, USD."""
        return self._pnl.earned

    def market_of(self, symbol: str) -> Market | None:
        return self.markets.get(symbol)

    def _filled(self, fill: Fill) -> None:
        self._pnl.filled(fill)
        if fill.up_side == "BUY":
            self.filled_buy += 1
        else:
            self.filled_sell += 1
        market = self.markets.get(fill.symbol)
        row = {
            "at_ns": fill.now_ns, "slug": market.slug if market else fill.symbol, "side": fill.up_side.value,
            "px": fill.up_px / PX_ONE, "qty": shares(fill.qty), "fair": fill.fair_e6 / 1e6, "route": f"{fill.side.value} {self._token(fill)}",
        }  # fmt: skip
        self.fills.append(row)
        logger.info("fill {side} {qty:g} at {px:g} of {slug} ({route}), fair {fair:.4f}", **row)

    def _token(self, fill: Fill) -> str:
        market = self.markets.get(fill.symbol)
        return "Up" if market is None or fill.asset_id == market.up_token else "Down"

    def _settled(self, event: Settled) -> None:
        self._pnl.settled(event)
        strike, final = self._strikes(event.symbol)
        row = {
            "slug": event.slug, "condition_id": event.symbol, "outcome": event.outcome, "strike": strike, "final": final,
            "net": shares(event.net_qty), "pnl_usd": usd(event.pnl),
        }  # fmt: skip
        self.settled.append(row)
        logger.info("settled {slug}: {outcome}, net {net:g} shares, {pnl_usd:+.2f} USD", **row)

    def _record(self, now_ns: Ns) -> dict[str, Any]:
        executor = self._reports.get("executor", {})
        strategy = self._reports.get("strategy", {})
        feeds = {name: self._reports.get(f"feed:{name}", {}) for name in FEEDS}
        if "feed:perp" in self._reports:
            feeds["perp"] = self._reports["feed:perp"]
        mailboxes = self._mailboxes(now_ns)
        if not self._process or now_ns - self._process_ns >= PROCESS_NS:
            self._process, self._process_ns = process_figures(), now_ns
        emitted, handled = strategy.get("emitted", 0), executor.get("intents", {}).get("handled", 0)
        return {
            **self._fixed,
            "pid": os.getpid(),
            "state": executor.get("state", "starting"),
            "reasons": executor.get("reasons", []),
            "uptime_s": round((now_ns - self._started_ns) / NS_PER_S, 1),
            "markets": self._markets(executor.get("markets", {}), strategy.get("markets", {})),
            "untraded": dict(self._untraded),
            "markouts": strategy.get("markouts", {}),
            "orders": executor.get("orders", {}),
            "user_events": self._user_events(executor, feeds["user"], mailboxes),
            "intents": {"emitted": emitted, "handled": handled, "conflated": max(0, emitted - handled)},
            "mailboxes": mailboxes,
            "feeds": {
                name: {key: report.get(key) for key in ("connected", "age_ms", "messages", "reconnects")}
                for name, report in feeds.items()
            },
            "heartbeat": self._reports.get("heartbeat", {"age_ms": None, "misses": 0}),
            "guardian": self._reports.get("guardian", {"state": "starting", "pid": None}),
            "budget": executor.get("budget", {}),
            "latency_us": {name: latency.summary() for name, latency in self._latency.items()},
            "latency_slowest": {name: cases for name, each in self._latency.items() if (cases := each.slowest())},
            "pnl_usd": self._pnl.record(),
            "risk": executor.get("risk", {}),
            "cash_usd": executor.get("cash_usd"),
            "positions": executor.get("positions", {}),
            "fills": {"buy": self.filled_buy, "sell": self.filled_sell},
            "process": self._process,
        }

    def _user_events(
        self, executor: Mapping[str, Any], feed: Mapping[str, Any], mailboxes: Mapping[str, Any]
    ) -> dict[str, int]:
        counted = dict(executor.get("user_events", {}))
        quarantined = counted.get("quarantined", 0) + feed.get("quarantined", 0)
        received = feed.get("received", 0)  # quarantined ones are in it
        known = counted.get("handled", 0) + counted.get("duplicates", 0) + quarantined
        queued = mailboxes.get("executor", {}).get("depth", 0)
        # The parts are counted on three threads: what was received a report ago must have arrived by now.
        lost = max(0, min(received, self._received_before) - known - queued)
        self._received_before = received
        return {
            "received": max(received, known),  # what is known was received, though the feed has not said so yet
            "handled": counted.get("handled", 0),
            "duplicates": counted.get("duplicates", 0),
            "quarantined": quarantined,
            "lost": lost,
        }

    def _queue_ahead(self, symbol: str, row: Mapping[str, Any]) -> float | None:
        market, cache = self.markets.get(symbol), self._pnl.books.get(symbol)
        return None if market is None or cache is None else queue_ahead(cache.latest, market, row)

    def _markets(self, held: Mapping[str, Any], priced: Mapping[str, Any]) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for symbol in {**priced, **held}:
            ours, model = held.get(symbol, {}), priced.get(symbol, {})
            rows[symbol] = {
                "slug": self.markets[symbol].slug if symbol in self.markets else symbol,
                **{key: model.get(key) for key in MODEL_KEYS},
                "reasons": model.get("reasons", []),
                "bid": ours.get("bid"),
                "ask": ours.get("ask"),
                "position": ours.get("position", {"up": 0, "down": 0, "net": 0}),
                "working": [{**row, "queue_ahead": self._queue_ahead(symbol, row)} for row in ours.get("working", [])],
            }
        return rows


def queue_ahead(view: BookView | None, market: Market, row: Mapping[str, Any]) -> float | None:
    """Shares of others shown at an order's price now: at most this many are before it. None: not in sight."""
    if view is None:
        return None
    up = row["asset_id"] == market.up_token
    bid = (row["side"] == "BUY") == up
    px = round(row["px"] * PX_ONE)
    levels = dict(view.bids if bid else view.asks)
    shown = levels.get(px if up else PX_ONE - px)
    return None if shown is None else max(0.0, round(shares(shown) - row["leaves_qty"], 6))


def process_figures() -> dict[str, float | int]:
    """This process: resident memory, threads, open files, CPU seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "rss_mb": round(resident / 2**20, 1),
        "threads": threading.active_count(),
        "fds": len(os.listdir("/proc/self/fd")),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    }


def age_ms(stamp_ns: Ns, now_ns: Ns) -> float | None:
    return round((now_ns - stamp_ns) / NS_PER_MS, 1) if stamp_ns else None
