"""What the generated market says, as it reaches the caches and the cores: each stream late by its own line.

Keeps the bot's books and rings as the real feeds do, without their frames. Knows no order of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from bot.book import MarketBook
from bot.caches import RING_S, BookCache, Caches, Reference, ReferenceCache, Settlement
from bot.market import Market
from bot.messages import FeedStatus, Message, Nudge, Side, StreamGap, TickSizeChange
from bot.sim.exchange import BookChanged, Event, Printed, SimMarket, TickChanged
from bot.sim.market import BinanceQuote, BinanceTrade, Disconnected, Twap, World, WorldEvent
from bot.sim.trial.clock import Action, Agenda, Line
from bot.units import NS_PER_MS, PX_ONE, Ns, Px, Qty

LAG_WEIGHT = 0.1  # of a new measurement of the reference feed's delay
HISTORY_S = 1000  # of the reference, as one REST call gives it
SETTLEMENT_S = 120  # of the settlement stream, as a subscription begins with it
RECONNECT_NS: Ns = 250 * NS_PER_MS

Tell = Callable[[str, Message], None]  # component, message


class Misjudged(msgspec.Struct, frozen=True, kw_only=True):
    """What the bot is told wrongly, as if it had misjudged it: strikes by a log (the same as a basis that far off), and
    the stamps of the settlement stream (so that its lag is learnt that much too long)."""

    strike_log: float = 0.0
    stamp_s: int = 0


def market_of(listing: SimMarket) -> Market:
    return Market(
        symbol=listing.condition_id,
        slug=listing.slug,
        series=listing.series,
        asset=listing.asset,
        up_token=listing.up_token,
        down_token=listing.down_token,
        version=listing.version,
        rule=listing.rule,
        window_s=listing.window_s,
        start_utc_ns=listing.start_ms * NS_PER_MS,
        end_utc_ns=listing.end_ms * NS_PER_MS,
        tick=listing.tick,
        min_qty=listing.min_qty,
        fee_rate=listing.fee_rate,
        rebate_rate=listing.rebate_rate,
        taker_delay_ms=listing.taker_delay_ms,
    )


class Feeds:
    """Invariant: a cache holds nothing that its stream's line has not delivered. `origin_ns` is wall clock minus clock."""

    def __init__(
        self,
        world: World,
        caches: Caches,
        agenda: Agenda,
        *,
        lines: dict[str, Line],
        origin_ns: Ns,
        guarded: bool,
        misjudged: Misjudged,
    ) -> None:
        """`guarded`: a reference price beyond a quote's guard wakes the strategy at once."""
        self._world = world
        self._caches = caches
        self._agenda = agenda
        self._tell: Tell = lambda component, message: None
        self._lines = lines
        self._origin_ns = origin_ns
        self._guarded = guarded
        self._misjudged = misjudged
        self._books: dict[str, tuple[MarketBook, BookCache]] = {}
        self._symbols: dict[str, tuple[str, ReferenceCache]] = {}
        self._history_from: dict[str, int] = {}  # by symbol: the second its ring begins with
        self._lag_ms: dict[str, float] = {}
        self._cut_until_ns: Ns = 0

    # -- the start -------------------------------------------------------------------------------------------------

    def begin(self, tell: Tell, now_ns: Ns) -> None:
        """What is said is told by `tell` from now on. Before that, the history that a bot reads before it quotes."""
        self._tell = tell
        for asset, path in self._world.paths.items():
            cache = self._caches.reference.setdefault(asset, ReferenceCache(path.symbol))
            self._symbols[path.symbol] = (asset, cache)
            rows = path.seconds()[-HISTORY_S:-1]
            for open_ms, *_, close in rows:
                cache.seconds.seed(open_ms // 1000 + 1, round(close * 1e8))
            self._history_from[path.symbol] = rows[0][0] // 1000 + 1
            cache.seeded_s = len(rows) - 1
        for asset, window_s in self._world.streams:
            stream = self._caches.settlement_of(asset, window_s)
            for stamp_ms, value in self._world.settlement_history(asset, window_s, SETTLEMENT_S):
                stream.put(self._settlement(asset, stamp_ms, value, now_ns))

    def follow(self, market: Market, now_ns: Ns) -> None:
        """Subscribe to a market's book."""
        self._books[market.symbol] = MarketBook(market), self._caches.book_of(market.symbol)
        self._snapshot(market.symbol, now_ns)

    def leave(self, symbol: str) -> None:
        self._books.pop(symbol, None)
        self._caches.books.pop(symbol, None)

    # -- what is said ----------------------------------------------------------------------------------------------

    def hear_prices(self, events: Iterable[WorldEvent], now_ns: Ns) -> None:
        for event in events:
            match event:
                case BinanceQuote():
                    self._later("binance", now_ns, partial(self._quote, event))
                case BinanceTrade():
                    self._later("binance", now_ns, partial(self._trade, event, now_ns))
                case Twap():
                    self._later("settle", now_ns, partial(self._twap, event))

    def hear_trading(self, events: Iterable[Event], now_ns: Ns) -> None:
        """All changes of one moment come as one frame."""
        if now_ns < self._cut_until_ns:
            return
        changes: list[BookChanged] = []
        for event in events:
            match event:
                case BookChanged() if event.condition_id in self._books:
                    changes.append(event)
                case Printed() if event.condition_id in self._books:
                    self._later("market", now_ns, partial(self._print, event))
                case TickChanged() if event.condition_id in self._books:
                    self._snapshot(event.condition_id, now_ns)
        if changes:
            self._later("market", now_ns, partial(self._changes, changes))

    def cut(self, event: Disconnected, now_ns: Ns) -> None:
        """The two CLOB streams are gone; what is said meanwhile is lost, and books are read anew after it."""
        self._cut_until_ns = event.until_ms * NS_PER_MS - self._origin_ns + RECONNECT_NS
        for book, cache in self._books.values():
            book.drop()
            cache.latest = None
        text = "the connection was lost"
        for feed, components in (("market", ("strategy",)), ("user", ("executor", "strategy"))):
            for component in components:
                self._tell(component, FeedStatus(feed=feed, connected=False, text=text, now_ns=now_ns))
        self._tell("executor", StreamGap(feed="user", reason=text, now_ns=now_ns))
        self._agenda.at(self._cut_until_ns, self._reconnect)

    @property
    def cut_until_ns(self) -> Ns:
        return self._cut_until_ns

    def _reconnect(self, now_ns: Ns) -> None:
        self._tell("executor", StreamGap(feed="user", reason="reconnected", now_ns=now_ns))
        for feed, components in (("user", ("executor", "strategy")), ("market", ("strategy",))):
            for component in components:
                self._tell(component, FeedStatus(feed=feed, connected=True, now_ns=now_ns))
        for symbol in self._books:
            self._snapshot(symbol, now_ns)

    # -- as it arrives ---------------------------------------------------------------------------------------------

    def _later(self, line: str, now_ns: Ns, action: Action) -> None:
        self._agenda.at(self._lines[line].arrival(now_ns), action)

    def _quote(self, event: BinanceQuote, now_ns: Ns) -> None:
        asset, cache = self._symbols[event.symbol]
        before = cache.latest
        reference = Reference(
            bid_e8=event.bid_e8,
            ask_e8=event.ask_e8,
            update_id=event.update_id,
            recv_ns=now_ns,
            lag_ms=self._lag_ms.get(asset, 0.0),
        )
        cache.frame_ns = now_ns
        cache.put(reference, now_ns + self._origin_ns)
        cache.seeded_s = min(cache.seconds.last_second - self._history_from[event.symbol], RING_S - 1)
        mid_e8 = reference.mid_e8
        if not self._guarded or (before is not None and before.mid_e8 == mid_e8):
            return
        for guarded, low_e8, high_e8 in self._caches.guards.values():
            if guarded == asset and ((low_e8 and mid_e8 < low_e8) or (high_e8 and mid_e8 > high_e8)):
                self._tell("strategy", Nudge(cause_ns=now_ns))
                return

    def _trade(self, event: BinanceTrade, said_ns: Ns, now_ns: Ns) -> None:
        """Trades carry the venue's time, so the delay of the feed is measured on them."""
        asset, cache = self._symbols[event.symbol]
        cache.frame_ns = now_ns
        lag_ms = (now_ns - said_ns) / NS_PER_MS
        known = self._lag_ms.get(asset, lag_ms)
        self._lag_ms[asset] = known + LAG_WEIGHT * (lag_ms - known)

    def _twap(self, event: Twap, now_ns: Ns) -> None:
        value = self._settlement(event.asset, event.ts_ms, event.value, now_ns)
        self._caches.settlement_of(event.asset, event.window_s).put(value)

    def _settlement(self, asset: str, stamp_ms: int, value: float, now_ns: Ns) -> Settlement:
        wrong = self._misjudged
        stamp_ms += wrong.stamp_s * 1000
        markets = self._world.exchange.markets.values()
        if wrong.strike_log and any(m.start_ms == stamp_ms and m.asset == asset for m in markets):
            value *= math.exp(wrong.strike_log)
        return Settlement(value_e8=round(value * 1e8), utc_ms=stamp_ms, recv_ns=now_ns)

    def _changes(self, changes: list[BookChanged], now_ns: Ns) -> None:
        self._caches.market_frame_ns = now_ns
        touched: dict[str, None] = {}
        for event in changes:
            found = self._books.get(event.condition_id)
            if found is not None:
                found[0].up.change(event.side is Side.BUY, event.px, event.qty, now_ns)
                touched[event.condition_id] = None
        for symbol in touched:
            self._publish(symbol, now_ns)

    def _publish(self, symbol: str, now_ns: Ns) -> None:
        book, cache = self._books[symbol]
        moved = book.refresh(now_ns)
        cache.latest = book.view
        if moved:
            self._tell("strategy", Nudge())

    def _snapshot(self, symbol: str, now_ns: Ns) -> None:
        """As the venue has it now; on the line like everything else."""
        exchange = self._world.exchange
        bids, asks = exchange.book(self._books[symbol][0].market.up_token)
        tick = exchange.markets[symbol].tick
        self._later("market", now_ns, partial(self._book, symbol, dict(bids), dict(asks), tick))

    def _book(self, symbol: str, bids: dict[Px, Qty], asks: dict[Px, Qty], tick: Px, now_ns: Ns) -> None:
        found = self._books.get(symbol)
        if found is None:
            return
        self._caches.market_frame_ns = now_ns
        if found[0].change_tick(tick):
            for component in ("executor", "strategy"):
                self._tell(component, TickSizeChange(symbol=symbol, tick=tick))
        found[0].up.snapshot(bids, asks, now_ns)
        self._publish(symbol, now_ns)

    def _print(self, event: Printed, now_ns: Ns) -> None:
        found = self._books.get(event.condition_id)
        if found is not None:
            px = event.px if event.token == found[0].market.up_token else PX_ONE - event.px
            found[1].last_trade = (px, event.qty, now_ns)
