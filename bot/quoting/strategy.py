"""The strategy core: views of the market in, the two-sided quote each market should have out, as QuoteIntents.

Decides from caches and what it was told; knows no order ids, no venue and no thread. What it does not know for certain
(position, strike, fresh feeds) is a reason not to quote.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bot.caches import Caches
from bot.market import Market
from bot.messages import (
    FeedStatus,
    Fill,
    MarketDropped,
    MarketListed,
    Message,
    Nudge,
    PositionReport,
    StatusReport,
    TickSizeChange,
    TimerTick,
)
from bot.quoting.asset import AssetModel
from bot.quoting.explain import market_row, markout_rows
from bot.quoting.parameters import Parameters
from bot.quoting.quoter import Quoter
from bot.quoting.toxicity import Toxicity
from bot.quoting.window import Window
from bot.units import NS_PER_MS, USD_ONE, Ns, Usd

TOGETHER_MAX = 4  # of more markets a tick leaves half to what wakes the strategy next
STATUS_EVERY_NS = 400 * NS_PER_MS
STATUS_SPREAD_NS = 300 * NS_PER_MS  # so that no decision waits for all rows
ROWS_MIN = 3  # at a tick
CLOCK_STEP_NS: Ns = 250 * NS_PER_MS  # seconds of history no longer mean what they meant


class Strategy:
    """Core of the quoting component: its markets, and what they share (assets' models, series' markouts, capital)."""

    quoter = Quoter
    left: Collection[str]  # markets that the last tick left to the next wake-up

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        self._parameters = parameters
        self._caches = caches
        self._capital_max: Usd = round(parameters.capital_max * USD_ONE)
        self._quoters: dict[str, Quoter] = {}
        self._models: dict[str, AssetModel] = {}
        self._toxicity: dict[str, Toxicity] = {}  # by series
        self._invested: Usd = 0  # in all markets together
        self._down: set[str] = set()  # feeds that said they are not connected
        self._offset_ns: Ns | None = None  # wall clock minus monotonic clock
        self._stepped = False
        self.left = ()
        self._status_ns: Ns | None = None  # when the last status was begun
        self._rows: dict[str, Any] = {}  # of the one that is being made: markets, series, and those that are to come
        self._markouts: dict[str, Any] = {}
        self._rows_left: list[str] = []
        self._emitted = 0

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        match message:
            case TimerTick():
                return self._tick(message, now_ns)
            case Nudge():
                return self._nudged(message, now_ns)
            case PositionReport():
                return self._position(message, now_ns)
            case Fill():
                return self._filled(message)
            case MarketListed():
                return self._listed(message.market)
            case MarketDropped():
                return self._dropped(message.symbol)
            case TickSizeChange():
                return self._tick_changed(message, now_ns)
            case FeedStatus():
                return self._feed(message, now_ns)
            case _:
                return []

    # -- messages --------------------------------------------------------------------------------------------------

    def _tick(self, tick: TimerTick, now_ns: Ns) -> list[Message]:
        offset_ns = tick.utc_ns - tick.now_ns
        self._stepped = self._offset_ns is not None and abs(offset_ns - self._offset_ns) > CLOCK_STEP_NS
        self._offset_ns = offset_ns
        before, self.left = self.left, ()
        due = [symbol for symbol, quoter in self._quoters.items() if not quoter.rests(now_ns, tick.utc_ns)]
        if len(due) > TOGETHER_MAX:
            self.left = frozenset(due[1::2]).difference(before)
            due = [symbol for symbol in due if symbol not in self.left]
        return [*self._evaluate_some(due, now_ns), *self._report(now_ns)]

    def _nudged(self, nudge: Nudge, now_ns: Ns) -> list[Message]:
        """Only the markets it may be about, and what the last tick left; the next tick sees to the others."""
        due, self.left = self.left, ()
        return self._evaluate_some(due, now_ns, nudge.cause_ns)

    def _listed(self, market: Market) -> list[Message]:
        if market.symbol in self._quoters:
            return []
        model = self._models.get(market.asset)
        if model is None:
            model = self._models[market.asset] = AssetModel(market.asset, self._parameters, self._caches)
        window = Window(market, self._parameters, self._caches, model)
        toxicity = self._toxicity.setdefault(market.series, Toxicity(self._parameters))
        self._quoters[market.symbol] = self.quoter(market, window, model, self._parameters, toxicity)
        self._caches.guards[market.symbol] = (market.asset, 0, 0)
        return []

    def _dropped(self, symbol: str) -> list[Message]:
        quoter = self._quoters.pop(symbol, None)
        if quoter is not None:
            self._invested -= quoter.invested
        self._caches.guards.pop(symbol, None)
        return []

    def _position(self, report: PositionReport, now_ns: Ns) -> list[Message]:
        quoter = self._quoters.get(report.symbol)
        if quoter is None:
            return []
        self._invested += report.invested - quoter.invested
        return self._evaluate_one(quoter, now_ns) if quoter.told(report) else []

    def _filled(self, fill: Fill) -> list[Message]:
        quoter = self._quoters.get(fill.symbol)
        if quoter is not None:
            quoter.markouts.filled(fill, quoter.fair.sigma_p if quoter.fair is not None else 0.0)
        return []

    def _tick_changed(self, change: TickSizeChange, now_ns: Ns) -> list[Message]:
        quoter = self._quoters.get(change.symbol)
        if quoter is None or quoter.tick == change.tick:
            return []
        quoter.tick = change.tick
        return self._evaluate_one(quoter, now_ns)

    def _feed(self, status: FeedStatus, now_ns: Ns) -> list[Message]:
        if status.connected:
            self._down.discard(status.feed)
            return []
        self._down.add(status.feed)
        return self._evaluate_some(self._quoters, now_ns)

    # -- evaluation ------------------------------------------------------------------------------------------------

    def _advance(self, now_ns: Ns) -> None:
        assert self._offset_ns is not None
        for model in self._models.values():
            model.advance("binance" not in self._down, now_ns, now_ns + self._offset_ns)

    def _evaluate_some(self, due: Collection[str], now_ns: Ns, cause_ns: Ns = 0) -> list[Message]:
        """Those that are due, and those that something new may mean."""
        if self._offset_ns is None:
            return []
        self._advance(now_ns)
        out: list[Message] = []
        for symbol, quoter in self._quoters.items():
            book = self._caches.books.get(symbol)
            concerned = quoter.concerned(book.latest if book is not None else None, quoter.model.mid_e8)
            if concerned or symbol in due:
                self._evaluate(quoter, now_ns, cause_ns if concerned else 0, out)
        return out

    def _evaluate_one(self, quoter: Quoter, now_ns: Ns) -> list[Message]:
        if self._offset_ns is None:
            return []
        quoter.model.advance("binance" not in self._down, now_ns, now_ns + self._offset_ns)
        out: list[Message] = []
        self._evaluate(quoter, now_ns, 0, out)
        return out

    def _evaluate(self, quoter: Quoter, now_ns: Ns, cause_ns: Ns, out: list[Message]) -> None:
        assert self._offset_ns is not None
        room = self._capital_max - self._invested
        quoter.look(self._caches, self._down, self._stepped, room, now_ns, now_ns + self._offset_ns)
        # The reader of the reference feed compares each new mid with these two numbers.
        self._caches.guards[quoter.market.symbol] = (quoter.market.asset, *quoter.guards)
        intent = quoter.speak(cause_ns)
        if intent is not None:
            self._emitted += 1
            out.append(intent)

    # -- out -------------------------------------------------------------------------------------------------------

    def _report(self, now_ns: Ns) -> list[Message]:
        """Some rows, and all of them once they are there."""
        if not self._rows_left:
            if self._status_ns is not None and now_ns - self._status_ns < STATUS_EVERY_NS:
                return []
            self._status_ns, self._rows, self._markouts = now_ns, {}, {}
            self._rows_left = [*self._quoters, *self._toxicity]
        assert self._status_ns is not None
        rows = len(self._rows) + len(self._markouts) + len(self._rows_left)
        still_ns = self._status_ns + STATUS_SPREAD_NS - now_ns
        count = max(ROWS_MIN, len(self._rows_left) - rows * still_ns // STATUS_SPREAD_NS)
        now, self._rows_left = self._rows_left[:count], self._rows_left[count:]
        for key in now:
            quoter, toxicity = self._quoters.get(key), self._toxicity.get(key)
            if quoter is not None and quoter.now_ns:
                self._rows[key] = market_row(quoter)
            elif toxicity is not None:
                self._markouts[key] = markout_rows(toxicity, now_ns)
        if self._rows_left:
            return []
        body = {"markets": self._rows, "markouts": self._markouts, "emitted": self._emitted}
        return [StatusReport(component="strategy", body=body)]
