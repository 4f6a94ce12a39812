"""Polymarket's market channel: books, prints, tick changes and resolutions of the markets we are told to follow.

Frames change the books of bot.book; after each burst their views reach the caches, and the strategy hears of a new top.
Other actors hear only of a new tick and a resolution. What cannot be read is skipped and counted, for a book can be
asked for again. Knows no order of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Annotated, Any, Literal

import msgspec
import orjson

from bot.book import MarketBook, TokenBook
from bot.caches import BookCache, Caches
from bot.errors import FrameError
from bot.market import Market
from bot.messages import MarketDropped, MarketListed, MarketResolved, Message, Nudge, TickSizeChange
from bot.units import NS_PER_S, PX_ONE, Ns, Px, Qty
from bot.venues.conversation import Conversation
from bot.venues.decimals import fast_px, fast_qty, known_px, known_qty

SNAPSHOT_NS_MAX: Ns = 3 * NS_PER_S  # from a subscription to its book
QUIET_NS_MAX: Ns = 10 * NS_PER_S  # of a token of a short market that is under way
QUIET_LONG_NS_MAX: Ns = 60 * NS_PER_S  # of one of hours: a quiet book alone is not stale
LONG_S = 3600
ASK_EVERY_NS: Ns = NS_PER_S  # for one market, however many frames are damaged
ASKS_MAX = 3  # of one market again, before a new connection
DOUBLINGS_MAX = 5  # of the patience with a market for which new connections did not help
SIZE_MAX = 9e12  # shares: as micro-shares they just fit 64 bits

USUAL_HEAD = b'{"event_type":"price_change",'  # nearly every frame begins so, or ends as below; any other order of its
USUAL_END = b'"event_type":"price_change"}'  # keys is read as well, which takes twice as long


class Change(msgspec.Struct, gc=False):
    """What is read of one change that can be: its price rounds into 0 to 1. Numbers may come as texts."""

    asset_id: str
    side: Literal["BUY", "SELL"]
    price: Annotated[float, msgspec.Meta(ge=0.00005, lt=0.99995)]
    size: Annotated[float, msgspec.Meta(ge=0.0, lt=SIZE_MAX)]


class Changes(msgspec.Struct, gc=False):
    price_changes: list[Change]


class Top(msgspec.Struct, gc=False):
    """What a change says of its token's top, which is looked at once a second."""

    asset_id: str
    best_bid: Any = None
    best_ask: Any = None


class Tops(msgspec.Struct, gc=False):
    price_changes: list[Top]


_price_of, _size_of = itemgetter("price"), itemgetter("size")
_usual = msgspec.json.Decoder(Changes, strict=False).decode  # half of orjson's time, for it makes only what is read
_tops = msgspec.json.Decoder(Tops).decode


class Followed:
    """One market we follow: its book, its cache, and how often we had to ask again."""

    def __init__(self, market: Market, cache: BookCache, now_ns: Ns) -> None:
        self.market = market
        self.book = MarketBook(market)
        self.cache = cache
        self.asked_ns = now_ns
        self.asks = 0
        self.renewals = 0
        self.damaged = False  # its books were dropped without asking for them
        self.last_changes = b""  # the newest frame that changed it, if none of its snapshots is newer
        self.tick_told = False  # on this connection, by an event of its own

    def tokens(self) -> tuple[str, str]:
        return self.market.up_token, self.market.down_token


class MarketFeed(Conversation):
    """Invariant: a cache's book is None unless a snapshot came on the current subscription and nothing speaks against it.

    `utc` turns monotonic into wall-clock time: a market that is over may be silent.
    """

    name = "market"
    ping_text = "PING"
    gives_way = True

    def __init__(self, *, url: str, caches: Caches, clock: Callable[[], Ns], utc: Callable[[Ns], Ns]) -> None:
        super().__init__()
        self._url = url
        self._caches = caches
        self._clock = clock
        self._utc = utc
        self._markets: dict[str, Followed] = {}
        self._tokens: dict[str, tuple[Followed, TokenBook]] = {}
        self._changed: set[Followed] = set()  # since the caches were brought up to date
        self.events = 0
        self.skipped = 0
        self.malformed = 0
        self.resyncs = 0

    # -- conversation ----------------------------------------------------------------------------------------------

    def url(self) -> str:
        return self._url if self._markets else ""

    def opening(self) -> list[str]:
        self._drop_books(self._markets.values())
        for followed in self._markets.values():
            followed.tick_told = False
        first = {"assets_ids": list(self._tokens), "type": "market", "custom_feature_enabled": True}
        return [orjson.dumps(first | {"initial_dump": True}).decode()]

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        self._drop_books(self._markets.values())
        return super().lost(reason, now_ns)

    def command(self, message: Message) -> list[str]:
        match message:
            case MarketListed(market=market) if market.symbol not in self._markets:
                followed = Followed(market, self._caches.book_of(market.symbol), self._clock())
                self._markets[market.symbol] = followed
                self._tokens[market.up_token] = (followed, followed.book.up)
                self._tokens[market.down_token] = (followed, followed.book.down)
                return [_operation("subscribe", followed)]
            case MarketDropped(symbol=symbol) if symbol in self._markets:
                followed = self._markets.pop(symbol)
                for token in followed.tokens():
                    del self._tokens[token]
                self._caches.books.pop(symbol, None)
                return [_operation("unsubscribe", followed)]
        return []

    def stale(self, now_ns: Ns) -> str | None:
        """Asks again for books that are missing, silent or not to be believed; in vain three times: a new connection."""
        utc = self._utc(now_ns)
        for followed in self._markets.values():
            if utc >= followed.market.end_utc_ns:
                continue
            reason = self._trouble(followed, now_ns, utc)
            if reason is None:
                continue
            if followed.asks >= ASKS_MAX:
                followed.asks = 0
                followed.renewals = min(followed.renewals + 1, DOUBLINGS_MAX)
                return f"{followed.market.slug}: {reason}"
            self._resync(followed, now_ns, drop=reason.endswith("book"))
        return None

    def _trouble(self, followed: Followed, now_ns: Ns, utc: Ns) -> str | None:
        book, market = followed.book, followed.market
        book.said = _said(followed)
        fault = book.fault(now_ns)
        if fault is not None:
            return fault
        waited_ns = now_ns - followed.asked_ns
        patience = 1 << followed.renewals
        if not (book.up.ready and book.down.ready):
            limit_ns = ASK_EVERY_NS if followed.damaged else SNAPSHOT_NS_MAX * patience
            return "no snapshot" if waited_ns > limit_ns else None
        quiet_ns = QUIET_LONG_NS_MAX if market.duration_s >= LONG_S else QUIET_NS_MAX
        heard_ns = min(book.up.frame_ns, book.down.frame_ns)
        if utc >= market.start_utc_ns and min(now_ns - heard_ns, waited_ns) > quiet_ns * patience:
            return "silent token"
        return None

    def _resync(self, followed: Followed, now_ns: Ns, drop: bool = True) -> None:
        """Only a new subscription brings a snapshot."""
        self.resyncs += 1
        followed.asks += 1
        followed.asked_ns = now_ns
        followed.damaged = False
        if drop:
            self._drop_books([followed])
        self.outbox.append(_operation("unsubscribe", followed))
        self.outbox.append(_operation("subscribe", followed))

    def _drop_books(self, markets: Iterable[Followed]) -> None:
        now_ns = self._clock()
        for followed in markets:
            followed.book.drop()
            followed.cache.latest = None
            followed.asked_ns = now_ns
            followed.last_changes = b""

    def counters(self) -> dict[str, int]:
        return {
            "events": self.events,
            "skipped": self.skipped,
            "malformed": self.malformed,
            "resyncs": self.resyncs,
        }

    # -- frames ----------------------------------------------------------------------------------------------------

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        """One object or an array of them. Raises FrameError for text that is neither JSON nor the answer to a ping."""
        self._caches.market_frame_ns = now_ns
        # Ascii, for the faster way passes over what it does not read, and broken text says that the frame is damaged.
        if (frame.startswith(USUAL_HEAD) or frame.endswith(USUAL_END)) and frame.isascii():
            try:
                changes = _usual(frame).price_changes
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # a part of it may still be good
            else:
                self.events += 1
                self._apply(changes, frame, now_ns)
                return []
        if frame == b"PONG":
            return []
        if frame[:1] not in (b"{", b"["):
            raise FrameError(f"the venue said {frame[:80]!r}")
        try:
            body = orjson.loads(frame)
        except ValueError:
            self._forget(now_ns)
            return []
        told: list[Message] = []
        for event in body if isinstance(body, list) else (body,):
            self.events += 1
            try:
                kind = event["event_type"]
                if kind == "price_change":
                    self._changes(event, now_ns)
                elif kind == "book":
                    self._book(event, now_ns, told)
                elif kind == "last_trade_price":
                    self._print(event, now_ns)
                elif kind == "tick_size_change":
                    found = self._tokens.get(event["asset_id"])
                    if found is not None:
                        found[0].tick_told = True
                        self._tick(found[0], fast_px(event["new_tick_size"]), now_ns, told)
                elif kind == "market_resolved":
                    self._resolved(event, told)
                elif kind not in ("best_bid_ask", "new_market"):
                    self.skipped += 1
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                self.skipped += 1
        return told

    def _forget(self, now_ns: Ns) -> None:
        """A frame that cannot be read may have held anything: all books are asked for again."""
        self.malformed += 1
        for followed in self._markets.values():
            if now_ns - followed.asked_ns > ASK_EVERY_NS:
                self._resync(followed, now_ns)
            else:
                followed.book.drop()
                followed.cache.latest = None
                followed.damaged = True

    def _changes(self, event: dict[str, Any], now_ns: Ns) -> None:
        good = []
        for row in event["price_changes"]:
            try:
                good.append(msgspec.convert(row, Change, strict=False))
            except msgspec.ValidationError:
                self.skipped += 1
        self._apply(good, orjson.dumps(event), now_ns)

    def _apply(self, changes: list[Change], frame: bytes, now_ns: Ns) -> None:
        tokens, changed = self._tokens, self._changed
        for change in changes:
            known = tokens.get(change.asset_id)
            if known is None:
                continue
            followed, token = known
            token.frame_ns = now_ns
            if token.ready:  # TokenBook.change without its call: this is done for each change of each frame
                ladder = token.bids if change.side == "BUY" else token.asks
                ladder.put(int(change.price * 1e4 + 0.5), int(change.size * 1e6 + 0.5))
            followed.last_changes = frame
            changed.add(followed)

    def _book(self, event: dict[str, Any], now_ns: Ns, told: list[Message]) -> None:
        known = self._tokens.get(event["asset_id"])
        if known is None:
            return
        followed, token = known
        bids, asks = _levels(event["bids"]), _levels(event["asks"])
        tick = event.get("tick_size")
        # A change missed while we were away shows here; after an event of its own, a snapshot may be the older one.
        if tick and not followed.tick_told:
            self._tick(followed, fast_px(tick), now_ns, told)
        token.snapshot(bids, asks, now_ns)
        book = followed.book
        followed.last_changes = b""
        if book.up.ready and book.down.ready:
            followed.asks = followed.renewals = 0
            followed.damaged = False
        self._changed.add(followed)

    def settle(self, now_ns: Ns) -> list[Message]:
        nudge = False
        for followed in self._changed:
            nudge = followed.book.refresh(now_ns) or nudge
            followed.cache.latest = followed.book.view
        self._changed.clear()
        return [Nudge()] if nudge else []

    def _print(self, event: dict[str, Any], now_ns: Ns) -> None:
        known = self._tokens.get(event["asset_id"])
        px, qty = fast_px(event["price"]), fast_qty(event["size"])
        if known is not None and 0 < px < PX_ONE and qty >= 0:
            followed, token = known
            followed.cache.last_trade = (px if token is followed.book.up else PX_ONE - px, qty, now_ns)

    def _tick(self, followed: Followed, tick: Px, now_ns: Ns, told: list[Message]) -> None:
        """A new grid drops both ladders; the venue tells it for each token, we tell it once."""
        if tick <= 0 or PX_ONE % tick:
            raise ValueError("a tick that does not divide one dollar")
        if followed.book.change_tick(tick):
            followed.cache.latest = None
            followed.asked_ns = now_ns
            told.append(TickSizeChange(symbol=followed.market.symbol, tick=tick))

    def _resolved(self, event: dict[str, Any], told: list[Message]) -> None:
        followed = self._markets.get(event["market"])
        if followed is None:
            return
        market = followed.market
        winner = event.get("winning_asset_id")
        if winner not in followed.tokens():
            outcome = str(event["winning_outcome"]).lower()
            winner = {
                "up": market.up_token,
                "yes": market.up_token,
                "down": market.down_token,
                "no": market.down_token,
            }[outcome]
        told.append(MarketResolved(symbol=market.symbol, winning_asset_id=winner))


def _operation(word: str, followed: Followed) -> str:
    body: dict[str, Any] = {"operation": word, "assets_ids": list(followed.tokens())}
    if word == "subscribe":
        body["custom_feature_enabled"] = True
    return orjson.dumps(body).decode()


def _levels(rows: Sequence[dict[str, str]]) -> dict[Px, Qty]:
    """Without a call of Python's for a level whose texts are known: a book has hundreds, and the interpreter while it is read."""
    return dict(zip(map(known_px, map(_price_of, rows)), map(known_qty, map(_size_of, rows)), strict=True))


def _said(followed: Followed) -> tuple[TokenBook, Px | None, Px | None] | None:
    """The top the newest frame tells for the token of its last change; an empty side is told as 0 or 1, or not at all."""
    if not followed.last_changes:
        return None
    up, down = followed.tokens()
    try:
        rows = [row for row in _tops(followed.last_changes).price_changes if row.asset_id in (up, down)]
        bid_px, ask_px = fast_px(rows[-1].best_bid), fast_px(rows[-1].best_ask)
    except (msgspec.DecodeError, IndexError, TypeError, ValueError, RecursionError):
        return None
    token = followed.book.up if rows[-1].asset_id == up else followed.book.down
    return token, bid_px if bid_px > 0 else None, ask_px if 0 < ask_px < PX_ONE else None
