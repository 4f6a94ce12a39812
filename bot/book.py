"""A market's order book from snapshots and deltas: one ladder for each token, one view in Up terms.

The two tokens' books are mirrors of each other (a bid for Up at p is an offer of Down at 1 - p), so the view is taken
from the Up ladder, or from the Down ladder until the Up snapshot came, and the other one serves as a check. The venue
numbers nothing, so lost deltas show only as a contradiction: a crossed book, broken mirrors, a top other than the one
it says. Knows no frame and no socket.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

from bot.caches import DEPTH, BookView
from bot.market import Market
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, Ns, Px, Qty

CROSSED_NS_MAX: Ns = 500 * NS_PER_MS  # deltas of one match may arrive in two frames; no match takes this long
CONTRADICTED_NS_MAX: Ns = 2 * NS_PER_S  # snapshots of the two tokens come in separate frames

Levels = tuple[tuple[Px, Qty], ...]


class Ladder:
    """One side of one token's book. `rank` is the price negated for bids, so that the best is always first.

    Invariant: `ranks` is sorted and holds exactly the prices with a positive size.
    """

    __slots__ = ("_kept", "_mirrored", "bid", "ranks", "sizes")

    def __init__(self, bid: bool) -> None:
        self.bid = bid
        self.ranks: list[int] = []
        self.sizes: dict[int, Qty] = {}
        self._kept: Levels | None = None
        self._mirrored: Levels | None = None

    def load(self, levels: Mapping[Px, Qty]) -> None:
        if self.bid:
            self.sizes = {-px: qty for px, qty in levels.items() if qty > 0}
        else:
            self.sizes = {px: qty for px, qty in levels.items() if qty > 0}
        self.ranks = sorted(self.sizes)
        self._kept = self._mirrored = None

    def put(self, px: Px, qty: Qty) -> None:
        """The new total at a price; zero removes the level. Forgets the kept levels only when they changed."""
        rank = -px if self.bid else px
        ranks, sizes = self.ranks, self.sizes
        if rank not in sizes:
            if qty <= 0:
                return
            insort(ranks, rank)
        # Here the level stands in `ranks` whether it comes, changes or goes.
        if len(ranks) <= DEPTH or rank <= ranks[DEPTH - 1]:
            self._kept = self._mirrored = None
        if qty > 0:
            sizes[rank] = qty
        else:
            del sizes[rank]
            del ranks[bisect_left(ranks, rank)]

    def best(self) -> Px | None:
        return abs(self.ranks[0]) if self.ranks else None

    def levels(self) -> Levels:
        """The kept levels, best first; the same object until one of them changed."""
        kept = self._kept
        if kept is None:
            sizes = self.sizes
            if self.bid:
                kept = tuple([(-rank, sizes[rank]) for rank in self.ranks[:DEPTH]])
            else:
                kept = tuple([(rank, sizes[rank]) for rank in self.ranks[:DEPTH]])
            self._kept = kept
        return kept

    def mirrored(self) -> Levels:
        """The kept levels as prices of the other token."""
        mirrored = self._mirrored
        if mirrored is None:
            mirrored = self._mirrored = tuple([(PX_ONE - px, qty) for px, qty in self.levels()])
        return mirrored


class TokenBook:
    """Both ladders of one token; not `ready` until a snapshot came, and deltas before it count for nothing."""

    __slots__ = ("asks", "bids", "frame_ns", "ready")

    def __init__(self) -> None:
        self.bids = Ladder(bid=True)
        self.asks = Ladder(bid=False)
        self.ready = False
        self.frame_ns: Ns = 0

    def drop(self) -> None:
        self.ready = False
        self.bids.load({})
        self.asks.load({})

    def snapshot(self, bids: Mapping[Px, Qty], asks: Mapping[Px, Qty], now_ns: Ns) -> None:
        """All levels of the token."""
        self.bids.load(bids)
        self.asks.load(asks)
        self.ready = True
        self.frame_ns = now_ns

    def change(self, bid: bool, px: Px, qty: Qty, now_ns: Ns) -> None:
        """A level's new total; ignored before the snapshot."""
        self.frame_ns = now_ns
        if self.ready:
            (self.bids if bid else self.asks).put(px, qty)

    def crossed(self) -> bool:
        bids, asks = self.bids.ranks, self.asks.ranks
        return bool(bids) and bool(asks) and -bids[0] >= asks[0]

    def top(self) -> tuple[Px | None, Px | None]:
        return self.bids.best(), self.asks.best()


class MarketBook:
    """The book of one market: feed its tokens what a frame says, refresh, and take the view.

    Invariant: `view` never is crossed, and is None whenever no token has a snapshot of the current epoch.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.tick = market.tick
        self.up = TokenBook()
        self.down = TokenBook()
        self.epoch = 0  # grows when the ladders were dropped
        self.view: BookView | None = None
        self.said: tuple[TokenBook, Px | None, Px | None] | None = None  # a token's top as its last change told it
        self._crossed_ns: Ns = 0
        self._contradicted_ns: Ns = 0

    def change_tick(self, tick: Px) -> bool:
        """A new grid is a new epoch: both ladders go. False when the tick is known already (told for each token)."""
        if tick == self.tick:
            return False
        self.tick = tick
        self.drop()
        return True

    def drop(self) -> None:
        """Nothing is known any more until the next snapshot."""
        self.up.drop()
        self.down.drop()
        self.epoch += 1
        self.view = self.said = None
        self._crossed_ns = self._contradicted_ns = 0

    def refresh(self, now_ns: Ns) -> bool:
        """Renew the view after a frame; True when its top changed. A crossed book leaves the last sound view to age."""
        source = self.up if self.up.ready else self.down
        if not source.ready:
            return False
        if source.crossed():
            self._crossed_ns = self._crossed_ns or now_ns
            return False
        self._crossed_ns = 0
        if source is self.up:
            bids, asks = source.bids.levels(), source.asks.levels()
        else:
            bids, asks = source.asks.mirrored(), source.bids.mirrored()
        old = self.view
        same = old is not None and old.bids[:1] == bids[:1] and old.asks[:1] == asks[:1]
        changed_ns = old.changed_ns if old is not None and same else now_ns
        self.view = BookView(bids=bids, asks=asks, tick=self.tick, recv_ns=source.frame_ns, changed_ns=changed_ns)
        return not same

    def fault(self, now_ns: Ns) -> str | None:
        """Why the book cannot be believed and must be asked for again, or None. To be asked about once a second.

        A contradiction must be seen each time over its limit: between the frames of one event there may be one.
        """
        if self._crossed_ns and now_ns - self._crossed_ns > CROSSED_NS_MAX:
            return "crossed book"
        if not self._contradictory():
            self._contradicted_ns = 0
        elif not self._contradicted_ns:
            self._contradicted_ns = now_ns
        elif now_ns - self._contradicted_ns >= CONTRADICTED_NS_MAX:
            return "contradictory book"
        return None

    def _contradictory(self) -> bool:
        """The two tokens are no mirrors, or a top is not what the venue says."""
        if self.said is not None and self.said[0].ready and self.said[0].top() != self.said[1:]:
            return True
        if not (self.up.ready and self.down.ready):
            return False
        (up_bid, up_ask), (down_bid, down_ask) = self.up.top(), self.down.top()
        return up_bid != _mirror(down_ask) or up_ask != _mirror(down_bid)


def _mirror(px: Px | None) -> Px | None:
    return None if px is None else PX_ONE - px
