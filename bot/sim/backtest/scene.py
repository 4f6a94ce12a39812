"""A recording as the scene of a session: the bot's own feeds decode what was heard, at the time it was heard.

The venue lives `stream_ms` earlier than what is heard of it, so that an order or a cancel meets the book as it was when it
came there. Knows no strategy; who trades with us is the queue's business.
"""

from __future__ import annotations

import io
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import requests

from bot.caches import BookView, Caches
from bot.errors import FrameError
from bot.feeds import candles_of
from bot.history.recording import MARKETS, Heard, Recording, told
from bot.market import Market
from bot.messages import (
    FeedStatus,
    MarketListed,
    MarketResolved,
    Message,
    NewOrder,
    Nudge,
    Side,
    Source,
    StreamGap,
    TickSizeChange,
)
from bot.ports import TapeKind
from bot.sim.backtest.queue import Queue
from bot.sim.exchange import Event, Exchange, SimMarket
from bot.sim.prices import STEP_MS
from bot.sim.rules import POST_ONLY
from bot.sim.trial.clock import Agenda
from bot.sim.trial.feeds import Tell
from bot.sim.trial.session import CASH, START_NS
from bot.sim.trial.virtual_bot import NEVER
from bot.sim.trial.wallet import Wallet
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, Ns, Px, Qty
from bot.venues.binance import BinanceFeed
from bot.venues.binance_perp import PerpFeed
from bot.venues.clob_outcomes import reason_of, refused
from bot.venues.conversation import Conversation
from bot.venues.decimals import fast_px, fast_qty
from bot.venues.polymarket_book import MarketFeed
from bot.venues.settlement_price import SettlementFeed

SEEN_MAX = 4_096  # prints remembered, for the other token's may tell the same trade


class Answers(requests.Session):
    """Gives the answers that were recorded, in their order. Raises what a session raises when none came."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[bytes] = deque()

    def get(self, url: str | bytes, **given: Any) -> requests.Response:
        if not self.waiting:
            raise requests.ConnectionError("nothing was recorded")
        status, _, body = self.waiting.popleft().partition(b" ")
        answer = requests.Response()
        answer.status_code = int(status)
        answer.raw = io.BytesIO(body)
        return answer


class Prints(MarketFeed):
    """The venue's side of the market stream: its books, and every trade once."""

    def __init__(self, caches: Caches, agenda: Agenda, origin_ns: Ns) -> None:
        super().__init__(url="", caches=caches, clock=lambda: agenda.now_ns, utc=lambda now_ns: now_ns + origin_ns)
        self.trades: list[tuple[str, bool, Px, Qty]] = []  # market, with bids, price in Up terms, size
        self._seen: dict[tuple[str, Px, Qty], None] = {}

    def _print(self, event: dict[str, Any], now_ns: Ns) -> None:
        known = self._tokens.get(event["asset_id"])
        px, qty = fast_px(event["price"]), fast_qty(event["size"])
        if known is None or not 0 < px < PX_ONE or qty <= 0:
            return
        followed, token = known
        up = token is followed.book.up
        px = px if up else PX_ONE - px
        key = (event.get("transaction_hash") or "", px, qty)
        if key[0] and key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self.trades.append((followed.market.symbol, (Side(event["side"]) is Side.SELL) == up, px, qty))


class RecordedWallet(Wallet):
    """Our orders rest where nobody else's do: whether they cross, and where they stand, is asked of the queue."""

    def __init__(self, exchange: Exchange, queue: Queue, markets: dict[str, Market]) -> None:
        super().__init__(exchange, CASH)
        self._queue = queue
        self._markets = markets

    def post(self, orders: Iterable[NewOrder], now_ms: int, heard_ns: Ns) -> list[Message]:
        answers: list[Message] = []
        for order in orders:
            market = self._markets[order.symbol]
            if self._queue.crosses(market, order):
                answers.append(refused(order, reason_of(POST_ONLY), POST_ONLY, Source.POST, heard_ns))
                continue
            answers += super().post([order], now_ms, heard_ns)
            if order.order_id in self.account.orders:
                self._queue.join(market, order)
        return answers


class Recorded:
    """One recording from its first line to its last."""

    def __init__(self, recording: Recording, *, stream_ms: float) -> None:
        self._lead_ns = round(stream_ms * NS_PER_MS)
        self.start_ms = (recording.start_ns - self._lead_ns) // (STEP_MS * NS_PER_MS) * STEP_MS - STEP_MS
        self.agenda = Agenda(START_NS)
        self._origin_ns = self.start_ms * NS_PER_MS - START_NS
        self.exchange = Exchange()
        self.caches = Caches(ours_shown=False)
        self._truth = Caches()
        self._markets: dict[str, Market] = {}
        self._trading: dict[str, SimMarket] = {}
        self._known: dict[str, SimMarket] = {}  # to the bot
        self._queue = Queue(self.exchange, self._shown)
        self.wallet = RecordedWallet(self.exchange, self._queue, self._markets)
        self._venue = Prints(self._truth, self.agenda, self._origin_ns)
        self._answers = Answers()
        self._feeds = self._conversations(recording)
        self._connected: dict[str, None] = {}
        self._lines = _together(recording)
        self._next = next(self._lines, None)
        self._look_ns = START_NS + NS_PER_S
        self._tell: Tell = lambda component, message: None
        self._last_ns = START_NS  # of what was put on the agenda
        self._cut = False
        self._p: dict[str, tuple[BookView | None, float]] = {}

    def _conversations(self, recording: Recording) -> dict[str, Conversation]:
        def clock() -> Ns:
            return self.agenda.now_ns

        def utc(now_ns: Ns) -> Ns:
            return now_ns + self._origin_ns

        candles, caches = candles_of(recording.head.series), self.caches
        reference = BinanceFeed(
            ws_url="",
            rest_url="",
            assets=list(candles),
            caches=caches,
            clock=clock,
            utc=utc,
            candles=candles,
            session=self._answers,
        )
        return {
            "binance": reference,
            "perp": PerpFeed(ws_url="", assets=list(candles), caches=caches, clock=clock),
            "market": MarketFeed(url="", caches=caches, clock=clock, utc=utc),
            "settle": SettlementFeed(url="", api_key="", secret="", passphrase="", caches=caches, clock=clock),
        }

    # -- the session's ---------------------------------------------------------------------------------------------

    @property
    def cut_until_ns(self) -> Ns:
        return NEVER if self._cut else 0

    def begin(self, tell: Tell) -> None:
        self._tell = tell

    def over(self, now_ms: int, following: bool) -> bool:
        """With the last line: what is not settled then never will be."""
        return self._next is None and now_ms * NS_PER_MS - self._origin_ns > self._last_ns

    def step(self, now_ms: int, now_ns: Ns) -> None:
        """Put what comes within the next step on the agenda, and let the venue's own clock go on."""
        for market in [market for market in self._trading.values() if now_ms >= market.end_ms]:
            del self._trading[market.condition_id]
            if not market.closed:
                self.exchange.close(market.condition_id, now_ms)
        self.exchange.step(now_ms)
        if now_ns >= self._look_ns:
            self._look_ns += NS_PER_S
            for name in self._connected:
                self._feeds[name].stale(now_ns)  # a connection that is given up ends in the recording too
        until_ns = now_ns + STEP_MS * NS_PER_MS + self._lead_ns
        while self._next is not None and (at_ns := self._next[0].utc_ns - self._origin_ns) <= until_ns:
            if self._next[0].source in ("market", MARKETS):
                self.agenda.at(at_ns - self._lead_ns, partial(self._happen, self._next))
            self.agenda.at(at_ns, partial(self._hear, self._next))
            self._last_ns = at_ns
            self._next = next(self._lines, None)

    def hear(self, events: list[Event], now_ns: Ns) -> None:
        """The recorded streams say nothing of us."""

    def listings(self, now_ms: int) -> Iterable[SimMarket]:
        return list(self._known.values())

    def follow(self, market: Market, now_ns: Ns) -> None:
        """The feeds follow a market from when it was found, as the recorder did."""

    def leave(self, symbol: str) -> None:
        """Likewise."""

    def p(self, symbol: str) -> float:
        """The others' microprice, or the last one there was; a half before any."""
        seen, p = self._p.get(symbol, (None, 0.5))
        view = self._shown(symbol)
        if view is not seen and view is not None and view.bids and view.asks:
            (bid, bid_qty), (ask, ask_qty) = view.bids[0], view.asks[0]
            p = (bid * ask_qty + ask * bid_qty) / ((bid_qty + ask_qty) * PX_ONE)
            self._p[symbol] = view, p
        return p

    def best(self, symbol: str) -> tuple[Px, Px]:
        view = self._shown(symbol)
        if view is None:
            return 0, 0
        return view.bids[0][0] if view.bids else 0, view.asks[0][0] if view.asks else 0

    def _shown(self, symbol: str) -> BookView | None:
        cache = self._truth.books.get(symbol)
        return cache.latest if cache is not None else None

    # -- what happened at the venue ----------------------------------------------------------------------------------

    def _happen(self, lines: list[Heard], now_ns: Ns) -> None:
        now_ms = -(-(now_ns + self._origin_ns) // NS_PER_MS)
        venue, kind = self._venue, lines[0].kind
        if kind is TapeKind.TOLD:
            message = told(lines[0])
            self._say_of_venue([message], now_ms)
            venue.command(message)
        elif kind is TapeKind.LOST:
            venue.lost("", now_ns)
        elif kind is TapeKind.FRAME:
            for line in lines:
                self._say_of_venue(_decoded(venue, line.data, now_ns), now_ms)
                venue.settle(now_ns)
                for symbol, bid, px, qty in venue.trades:
                    self._queue.traded(symbol, bid, px, qty, now_ms)
                venue.trades.clear()
            self._queue.quoted(now_ms)
        venue.outbox.clear()

    def _say_of_venue(self, messages: Iterable[Message], now_ms: int) -> None:
        for message in messages:
            match message:
                case MarketListed(market=market) if market.symbol not in self._markets:
                    self._markets[market.symbol] = market
                    listing = self._trading[market.symbol] = sim_market(market, now_ms)
                    self.exchange.list_market(listing, now_ms)
                case TickSizeChange(symbol=symbol, tick=tick):
                    self.exchange.change_tick(symbol, tick, now_ms)
                case MarketResolved(symbol=symbol) if symbol in self._markets:
                    if not self.exchange.markets[symbol].outcome:
                        outcome = "up" if message.winning_asset_id == self._markets[symbol].up_token else "down"
                        self.exchange.resolve(symbol, outcome, now_ms)

    # -- what was heard --------------------------------------------------------------------------------------------

    def _hear(self, lines: list[Heard], now_ns: Ns) -> None:
        source, kind = lines[0].source, lines[0].kind
        if kind is TapeKind.TOLD:
            message = told(lines[0])
            if isinstance(message, MarketListed):
                self._known[message.market.symbol] = self.exchange.markets[message.market.symbol]
            for name in ("market", "settle"):
                self._feeds[name].command(message)
            return
        feed = self._feeds.get(source)
        if feed is None:
            return
        if kind is TapeKind.REST:
            self._answers.waiting.append(lines[0].data)
        elif kind is TapeKind.OPEN:
            self._open(feed, now_ns)
        elif kind is TapeKind.LOST:
            self._lost(feed, lines[0].data.decode(errors="replace"), now_ns)
        else:
            for line in lines:
                self._say(_decoded(feed, line.data, now_ns))
            self._say(feed.settle(now_ns))
        feed.outbox.clear()

    def _open(self, feed: Conversation, now_ns: Ns) -> None:
        feed.bootstrap()
        feed.opening()
        self._connected[feed.name] = None
        if feed.name == "market" and self._cut:  # the user stream, which nobody recorded, is taken to go with it
            self._cut = False
            self._tell("executor", StreamGap(feed="user", reason="reconnected", now_ns=now_ns))
            for component in ("executor", "strategy"):
                self._tell(component, FeedStatus(feed="user", connected=True, now_ns=now_ns))
        self._say(feed.connected(now_ns))

    def _lost(self, feed: Conversation, reason: str, now_ns: Ns) -> None:
        self._connected.pop(feed.name, None)
        self._say(feed.lost(reason, now_ns))
        if feed.name == "market":
            self._cut = True
            for component in ("executor", "strategy"):
                self._tell(component, FeedStatus(feed="user", connected=False, text=reason, now_ns=now_ns))
            self._tell("executor", StreamGap(feed="user", reason=reason, now_ns=now_ns))

    def _say(self, messages: Iterable[Message]) -> None:
        for message in messages:
            match message:
                case Nudge():
                    self._tell("strategy", message)
                case FeedStatus(feed=name) if name != "perp":
                    self._tell("strategy", message)
                case TickSizeChange():
                    for component in ("executor", "strategy"):
                        self._tell(component, message)
                case MarketResolved():
                    self._tell("executor", message)


def _decoded(feed: Conversation, frame: bytes, now_ns: Ns) -> list[Message]:
    """A frame that ends a connection ends it in the recording too."""
    try:
        return feed.decode(frame, now_ns)
    except FrameError:
        return []


def _together(lines: Iterable[Heard]) -> Iterator[list[Heard]]:
    """Frames of one stream that were read at once are one burst."""
    for (_, _, kind), group in itertools.groupby(lines, lambda one: (one.utc_ns, one.source, one.kind)):
        if kind is TapeKind.FRAME:
            yield list(group)
        else:
            yield from ([line] for line in group)


def sim_market(market: Market, now_ms: int) -> SimMarket:
    """The exchange's listing of a market."""
    return SimMarket(
        condition_id=market.symbol,
        slug=market.slug,
        series=market.series,
        asset=market.asset,
        question="",
        up_token=market.up_token,
        down_token=market.down_token,
        version=market.version,
        rule=market.rule,
        window_s=market.window_s,
        start_ms=market.start_utc_ns // NS_PER_MS,
        end_ms=market.end_utc_ns // NS_PER_MS,
        listed_ms=now_ms,
        tick=market.tick,
        min_qty=market.min_qty,
        fee_rate=market.fee_rate,
        rebate_rate=market.rebate_rate,
        taker_delay_ms=market.taker_delay_ms,
    )
