"""Level changes at a great rate: participants who add orders around the touch and take them back at once.

A slice of frames ends where it began, at the exchange's own book, so no client's book is ever wrong; every frame
carries the hash of the book it leaves. Nothing is ever shown below what really rests, and the touch stays where it is.
Text is kept by level, so that a frame costs two hashes and a few joins. Pure; knows no socket.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_left
from functools import lru_cache
from typing import Any

import orjson

from bot.messages import Side
from bot.sim.exchange import Exchange
from bot.sim.records import SimMarket
from bot.sim.render import Books
from bot.units import LOT, PX_ONE, Px, Qty, px_text, qty_text

MEAN_DEPTH = 4.0  # levels behind the touch
DEPTH_MAX = 40
MEAN_LOTS = 6_000
REVERT = 0.45  # chance that the next frame takes back what the one before it added

FRAME = (
    b'%b{"asset_id":"%b","price":"%b","size":"%b","side":"%b","hash":"%b",%b,'
    b'{"asset_id":"%b","price":"%b","size":"%b","side":"%b","hash":"%b",%b]}'
)


class SideText:
    """One side of a market in Up terms: its levels as both tokens write them, best last, as the wire wants it."""

    def __init__(self, side: Side, levels: list[tuple[Px, Qty]]) -> None:
        self.side = side
        self.sign = 1 if side is Side.BUY else -1
        self.keys = [self.sign * px for px, _ in levels]
        self.truth = dict(levels)
        self._up = [_level(px, _size(qty)) for px, qty in levels]
        self._down = [_level(PX_ONE - px, _size(qty)) for px, qty in levels]
        self.up, self.down = b",".join(self._up), b",".join(self._down)

    def best(self) -> Px:
        return self.sign * self.keys[-1]

    def text(self) -> tuple[bytes, bytes]:
        return self.up, self.down

    def put(self, px: Px, size: bytes, text: tuple[bytes, bytes] | None = None) -> None:
        """The new total at a price; "0" removes it. `text` is what that makes of the side, where it is known."""
        key = self.sign * px
        at = bisect_left(self.keys, key)
        there = at < len(self.keys) and self.keys[at] == key
        if size == b"0":
            assert there
            del self.keys[at], self._up[at], self._down[at]
        elif there:
            self._up[at], self._down[at] = _level(px, size), _level(PX_ONE - px, size)
        else:
            self.keys.insert(at, key)
            self._up.insert(at, _level(px, size))
            self._down.insert(at, _level(PX_ONE - px, size))
        self.up, self.down = text or (b",".join(self._up), b",".join(self._down))


@lru_cache(PX_ONE)
def _price(px: Px) -> bytes:
    return px_text(px).encode()


@lru_cache(65_536)
def _size(qty: Qty) -> bytes:
    return qty_text(qty).encode()


def _level(px: Px, size: bytes) -> bytes:
    return b'{"price":"%b","size":"%b"}' % (_price(px), size)


class TokenText:
    """A token's summary cut open where it changes: at its stamp, its hash and its levels."""

    def __init__(self, books: Books, token: str) -> None:
        frame = {**books.summary(token), "timestamp": "", "hash": "", "bids": [], "asks": []}
        self.token = token.encode()
        self._head, rest = orjson.dumps(frame).split(b'"timestamp":"', 1)
        self._middle, rest = rest.split(b'"bids":[', 1)  # closes the stamp, and holds the empty hash
        self._between, self._tail = rest.split(b'"asks":[', 1)
        self._hashed = hashlib.sha1(usedforsecurity=False)
        self.best = b""
        self.stamp(0)

    def stamp(self, ts_ms: int) -> None:
        self._opening = b'%b"timestamp":"%d%b"bids":[' % (self._head, ts_ms, self._middle)

    def digest(self, bids: bytes, asks: bytes, same_bids: bool = False) -> bytes:
        """The venue's hash with these levels. With `same_bids` those of the last call that had not, which saves half."""
        if not same_bids:
            self._hashed = hashlib.sha1(b'%b%b%b"asks":[' % (self._opening, bids, self._between), usedforsecurity=False)
        whole = self._hashed.copy()
        whole.update(asks)
        whole.update(self._tail)
        return whole.hexdigest().encode()

    def state(self) -> Any:
        """What `digest` remembers of the bids."""
        return self._hashed

    def put_state(self, state: Any) -> None:
        self._hashed = state

    def event(self, bids: bytes, asks: bytes) -> bytes:
        """The `book` event."""
        digest = b'"hash":"%b"' % self.digest(bids, asks)
        opening = self._opening[1:].replace(b'"hash":""', digest, 1)
        return b'{"event_type":"book",%b%b%b"asks":[%b%b' % (opening, bids, self._between, asks, self._tail)


class MarketText:
    """Both books of one market as text, at one version of them."""

    def __init__(self, exchange: Exchange, books: Books, market: SimMarket) -> None:
        bids, asks = exchange.book(market.up_token)
        self.version = books.version(market.condition_id)
        self.tick = market.tick
        self.sides = SideText(Side.BUY, bids), SideText(Side.SELL, asks)
        self.up, self.down = TokenText(books, market.up_token), TokenText(books, market.down_token)
        for token in (self.up, self.down):
            best = books.best_texts(token.token.decode())
            token.best = b'"best_bid":"%b","best_ask":"%b"}' % (best[0].encode(), best[1].encode())
        self._head = b'{"event_type":"price_change","market":"%b","timestamp":"' % market.condition_id.encode()
        self._opening = b""
        self.ts_ms = -1
        self._hashes = b"", b""
        self._undo: list[tuple[SideText, Px, tuple[bytes, bytes], Any, Any, tuple[bytes, bytes]]] = []

    def stamp(self, ts_ms: int) -> None:
        """All that follows happens at this time. Nothing may be left to take back."""
        assert not self._undo
        self.ts_ms = ts_ms
        self.up.stamp(ts_ms)
        self.down.stamp(ts_ms)
        self._opening = b'%b%d","price_changes":[' % (self._head, ts_ms)
        bids, asks = self.sides
        self._hashes = self.up.digest(bids.up, asks.up), self.down.digest(asks.down, bids.down)

    def add(self, side: SideText, px: Px, qty: Qty) -> bytes:
        """Change a level that was not touched since the stamp, and make the price_change frame that tells it."""
        self._undo.append((side, px, side.text(), self.up.state(), self.down.state(), self._hashes))
        size = _size(qty)
        side.put(px, size)
        bids, asks = self.sides
        self._hashes = (
            self.up.digest(bids.up, asks.up, same_bids=side is asks),
            self.down.digest(asks.down, bids.down, same_bids=side is bids),
        )
        return self._frame(side, px, size)

    def take_back(self) -> bytes:
        """Undo the last change. The book that comes back was hashed before, and is not hashed again."""
        side, px, text, up, down, self._hashes = self._undo.pop()
        size = _size(side.truth.get(px, 0))
        side.put(px, size, text)
        self.up.put_state(up)
        self.down.put_state(down)
        return self._frame(side, px, size)

    def _frame(self, side: SideText, px: Px, size: bytes) -> bytes:
        up_side, down_side = (b"BUY", b"SELL") if side is self.sides[0] else (b"SELL", b"BUY")
        up, down, hashes = self.up, self.down, self._hashes
        return FRAME % (
            *(self._opening, up.token, _price(px), size, up_side, hashes[0], up.best),
            *(down.token, _price(PX_ONE - px), size, down_side, hashes[1], down.best),
        )

    def events(self) -> list[bytes]:
        """A `book` event of each token."""
        bids, asks = self.sides
        return [self.up.event(bids.up, asks.up), self.down.event(asks.down, bids.down)]


class Flicker:
    """Makes slices of frames. Same seed and same books, same frames."""

    def __init__(self, exchange: Exchange, books: Books, seed: str) -> None:
        self._exchange = exchange
        self._books = books
        self._rng = random.Random(seed)
        self._texts: dict[str, MarketText] = {}

    def text(self, market: SimMarket, now_ms: int) -> MarketText:
        """The market's text at the present, stamped; never earlier than it was stamped before."""
        cid = market.condition_id
        found = self._texts.get(cid)
        if found is None or found.version != self._books.version(cid):
            self._texts = {known: text for known, text in self._texts.items() if not self._over(known)}
            found = self._texts[cid] = MarketText(self._exchange, self._books, market)
        stamp = max(now_ms, self._books.stamp(cid))
        if stamp != found.ts_ms:
            found.stamp(stamp)
        if stamp != self._books.stamp(cid):
            self._books.restamp(cid, stamp)
        return found

    def _over(self, condition_id: str) -> bool:
        return bool(self._exchange.markets[condition_id].outcome)

    def frames(self, market: SimMarket, count: int, now_ms: int) -> list[bytes]:
        """So many price_change frames, or one less, that end where they began. None for a market without a book."""
        text, rng = self.text(market, now_ms), self._rng
        if not (text.sides[0].keys and text.sides[1].keys):
            return []
        out: list[bytes] = []
        off: list[tuple[SideText, Px]] = []  # levels that are not what they are in truth
        for left in range(count, 0, -1):
            at = None if off and (len(off) + 1 >= left or rng.random() < REVERT) else self._level(text)
            if off and (at is None or at in off):
                off.pop()
                out.append(text.take_back())
            elif at is not None and left > 1:
                off.append(at)
                side, px = at
                more = LOT * (1 + int(rng.expovariate(1.0 / MEAN_LOTS)))
                out.append(text.add(side, px, side.truth.get(px, 0) + more))
        return out

    def _level(self, text: MarketText) -> tuple[SideText, Px]:
        """Somewhere near the touch, or at it; never beyond."""
        side = text.sides[self._rng.random() < 0.5]
        back = min(int(self._rng.expovariate(1.0 / MEAN_DEPTH)), DEPTH_MAX)
        return side, min(max(side.best() - side.sign * back * text.tick, text.tick), PX_ONE - text.tick)
