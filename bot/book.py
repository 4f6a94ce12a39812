"""A market's order book from snapshots and deltas: one ladder for each token, one view in Up terms.

The two tokens' books are mirrors of each other (a bid for Up at p is an offer of Down at 1 - p), so the view is taken
from the Up ladder, or from the Down ladder until the Up snapshot came, and the other one serves as a check. The venue
numbers nothing, so lost deltas show only as a contradiction: a crossed book, broken mirrors, a top other than the one
it says. Knows no frame and no socket.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

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

    __slots__ = ("_kept", "bid", "ranks", "sizes")

    def __init__(self, bid: bool) -> None:
        self.bid = bid
        self.ranks: list[int] = []
        self.sizes: dict[int, Qty] = {}
        self._kept: dict[bool, Levels] = {}

    def load(self, levels: Iterable[tuple[Px, Qty]]) -> None:
        sign = -1 if self.bid else 1
        self.sizes = {sign * px: qty for px, qty in levels if qty > 0}
        self.ranks = sorted(self.sizes)
        self._kept = {}

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
            self._kept = {}
        if qty > 0:
            sizes[rank] = qty
        else:
            del sizes[rank]
            del ranks[bisect_left(ranks, rank)]

    def best(self) -> Px | None:
        return abs(self.ranks[0]) if self.ranks else None

    def levels(self, mirrored: bool = False) -> Levels:
        """The kept levels, best first; mirrored: as prices of the other token. The same object until changed."""
        kept = self._kept.get(mirrored)
        if kept is None:
            sizes = self.sizes
            if mirrored:
                kept = tuple([(PX_ONE - abs(rank), sizes[rank]) for rank in self.ranks[:DEPTH]])
            else:
                kept = tuple([(abs(rank), sizes[rank]) for rank in self.ranks[:DEPTH]])
            self._kept[mirrored] = kept
        return kept


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
        self.bids.load(())
        self.asks.load(())

    def crossed(self) -> bool:
        bids, asks = self.bids.ranks, self.asks.ranks
        return bool(bids) and bool(asks) and -bids[0] >= asks[0]

    def top(self) -> tuple[Px | None, Px | None]:
        return self.bids.best(), self.asks.best()


class MarketBook:
    """The book of one market: feed it what the frames say, ask it for the view after each frame.

    Invariant: `view` never is crossed, and is None whenever no token has a snapshot of the current epoch.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.tick = market.tick
        self.up = TokenBook()
        self.down = TokenBook()
        self.epoch = 0  # grows when the ladders were dropped
        self.view: BookView | None = None
        self._crossed_ns: Ns = 0
        self._contradicted_ns: Ns = 0

    def snapshot(self, up: bool, bids: Iterable[tuple[Px, Qty]], asks: Iterable[tuple[Px, Qty]], now_ns: Ns) -> None:
        """All levels of one token."""
        token = self.up if up else self.down
        token.bids.load(bids)
        token.asks.load(asks)
        token.ready = True
        token.frame_ns = now_ns

    def change(self, up: bool, bid: bool, px: Px, qty: Qty, now_ns: Ns) -> None:
        """A level's new total; ignored before the token's snapshot."""
        token = self.up if up else self.down
        token.frame_ns = now_ns
        if token.ready:
            (token.bids if bid else token.asks).put(px, qty)

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
        self.view = None
        self._crossed_ns = self._contradicted_ns = 0

    def refresh(self, now_ns: Ns, says: tuple[bool, Px | None, Px | None] | None = None) -> bool:
        """Renew the view after a frame; True when its top changed.

        `says` is the top of one token as the frame tells it (Up or not, bid, ask). While the book is crossed the
        last sound view stays and ages.
        """
        up = self.up
        source = up if up.ready else self.down
        if not source.ready:
            return False
        if source.crossed():
            self._crossed_ns = self._crossed_ns or now_ns
            return False
        self._crossed_ns = 0
        if self._contradiction(says):
            self._contradicted_ns = self._contradicted_ns or now_ns
        else:
            self._contradicted_ns = 0
        if source is up:
            bids, asks = up.bids.levels(), up.asks.levels()
        else:
            bids, asks = source.asks.levels(mirrored=True), source.bids.levels(mirrored=True)
        old = self.view
        same = old is not None and old.bids[:1] == bids[:1] and old.asks[:1] == asks[:1]
        self.view = BookView(
            bids=bids,
            asks=asks,
            tick=self.tick,
            recv_ns=source.frame_ns,
            changed_ns=old.changed_ns if old is not None and same else now_ns,
        )
        return not same

    def _contradiction(self, says: tuple[bool, Px | None, Px | None] | None) -> bool:
        up, down = self.up, self.down
        if says is not None:
            token = up if says[0] else down
            if token.ready and token.top() != says[1:]:
                return True
        if not (up.ready and down.ready):
            return False
        up_bids, up_asks, down_bids, down_asks = up.bids.ranks, up.asks.ranks, down.bids.ranks, down.asks.ranks
        # Ranks of bids are negative: Up's best bid p mirrors Down's best ask 1 - p.
        if bool(up_bids) != bool(down_asks) or (up_bids and -up_bids[0] != PX_ONE - down_asks[0]):
            return True
        return bool(up_asks) != bool(down_bids) or bool(up_asks and up_asks[0] != PX_ONE + down_bids[0])

    def fault(self, now_ns: Ns) -> str | None:
        """Why the book cannot be believed and must be asked for again, or None."""
        if self._crossed_ns and now_ns - self._crossed_ns > CROSSED_NS_MAX:
            return "crossed book"
        if self._contradicted_ns and now_ns - self._contradicted_ns > CONTRADICTED_NS_MAX:
            return "contradictory book"
        return None
