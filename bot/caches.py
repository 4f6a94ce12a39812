"""Market data as the strategy sees it: immutable snapshots swapped by one reference, and small preallocated rings.

Each cache has one writer, its Reader's thread; anyone may read. Nothing here is ever queued.
"""

from __future__ import annotations

import msgspec

from bot.units import E8, NS_PER_S, Ns, Px, Qty

RING_S = 1024


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Best bid and offer of the reference exchange, with the frame's receive time and the measured feed delay."""

    bid_e8: E8
    ask_e8: E8
    update_id: int
    recv_ns: Ns
    lag_ms: float = 0.0

    @property
    def mid_e8(self) -> E8:
        return (self.bid_e8 + self.ask_e8) // 2


class SecondRing:
    """One mid per wall-clock second: the mid that prevailed when that second began. Holds the last RING_S seconds."""

    def __init__(self, size: int = RING_S) -> None:
        self._second = [0] * size
        self._mid: list[E8] = [0] * size
        self._size = size
        self.last_second = 0
        self.last_mid: E8 = 0

    def put(self, utc_ns: Ns, mid_e8: E8) -> None:
        """A mid seen at a time: seconds that began since the last one had the last mid."""
        second = utc_ns // NS_PER_S
        if self.last_second:
            for begun in range(max(self.last_second + 1, second - self._size + 1), second + 1):
                self._set(begun, self.last_mid)
        self.last_second = max(self.last_second, second)
        self.last_mid = mid_e8

    def seed(self, second: int, mid_e8: E8) -> None:
        """History, oldest first: the close of the 1 s candle that ended as this second began."""
        self._set(second, mid_e8)
        self.last_second = max(self.last_second, second)
        self.last_mid = mid_e8

    def _set(self, second: int, mid_e8: E8) -> None:
        slot = second % self._size
        self._mid[slot] = mid_e8
        self._second[slot] = second

    def at(self, second: int) -> E8:
        """The mid when the second began, or 0 when the ring does not hold it. The newest mid stands for the future."""
        if self.last_second and second > self.last_second:
            return self.last_mid
        slot = second % self._size
        return self._mid[slot] if self._second[slot] == second else 0


class FastRing:
    """Mids on a 50 ms monotonic grid, for shocks: `before(age)` is the mid that prevailed that long ago."""

    def __init__(self, step_ns: Ns = 50_000_000, size: int = 64) -> None:
        self._step = step_ns
        self._size = size
        self._mid: list[E8] = [0] * size
        self._last_slot = 0
        self._last_mid: E8 = 0

    def put(self, now_ns: Ns, mid_e8: E8) -> None:
        slot = now_ns // self._step
        if self._last_slot:
            for begun in range(max(self._last_slot + 1, slot - self._size + 1), slot + 1):
                self._mid[begun % self._size] = self._last_mid
        self._last_slot = max(self._last_slot, slot)
        self._last_mid = mid_e8

    def before(self, now_ns: Ns, age_ns: Ns) -> E8:
        """0 when not known."""
        slot = (now_ns - age_ns) // self._step
        if slot > self._last_slot:
            return self._last_mid
        return self._mid[slot % self._size] if self._last_slot - slot < self._size - 1 else 0


class ReferenceCache:
    """The reference exchange's view of one symbol. `frame_ns` is the last frame of the whole connection."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.latest: Reference | None = None
        self.seconds = SecondRing()
        self.fast = FastRing()
        self.perp: Reference | None = None  # of the perpetual futures, where they are followed
        self.seeded_s = 0  # seconds of history loaded or seen without a gap
        self.frame_ns: Ns = 0
        self.candle_open_e8: dict[int, E8] = {}  # open of an hour's candle, by its wall-clock start second
        self.candle_close_e8: dict[int, E8] = {}  # close of a minute's candle that is over, by its start second

    def put(self, reference: Reference, utc_ns: Ns) -> None:
        self.latest = reference
        self.seconds.put(utc_ns, reference.mid_e8)
        self.fast.put(reference.recv_ns, reference.mid_e8)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the stream that settles TWAP markets, in source units times 1e8."""

    value_e8: E8
    utc_ms: int  # the stamp the value is of
    recv_ns: Ns


class SettlementCache:
    """Recent settlement values of one asset and window, by stamp, newest last; and the newest."""

    def __init__(self, asset: str, window_s: int, size: int = 512) -> None:
        self.asset = asset
        self.window_s = window_s
        self._size = size
        self.latest: Settlement | None = None
        self.history: tuple[Settlement, ...] = ()

    def put(self, value: Settlement) -> None:
        """Values at or before the newest stamp are history already known, and are ignored."""
        if self.latest is not None and value.utc_ms <= self.latest.utc_ms:
            return
        self.history = (*self.history[-self._size + 1 :], value)
        self.latest = value

    def first_at_or_after(self, utc_ms: int) -> Settlement | None:
        """The first value stamped at or after a time; None when it has not come, or the history starts later."""
        history = self.history
        if not history or history[0].utc_ms > utc_ms:
            return None
        return next((value for value in history if value.utc_ms >= utc_ms), None)


class BookView(msgspec.Struct, frozen=True, kw_only=True):
    """A market's book in Up terms, best first, at most DEPTH levels a side; our own orders are still in it, where they are shown."""

    bids: tuple[tuple[Px, Qty], ...]
    asks: tuple[tuple[Px, Qty], ...]
    tick: Px
    recv_ns: Ns  # last frame that changed or confirmed this market
    changed_ns: Ns  # last time the top changed


DEPTH = 12


class BookCache:
    """The venue's book of one market; None until a snapshot came, and again after a gap until the next."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.latest: BookView | None = None
        self.last_trade: tuple[Px, Qty, Ns] | None = None


class Caches:
    """All caches of a run, made before the feeds start; book caches come and go with their markets.

    `market_frame_ns` is the last frame of any kind on the market connection. `ours_shown`: our own orders are in the
    books, as a venue shows them; a recorded book knows nothing of them.
    """

    def __init__(self, *, ours_shown: bool = True) -> None:
        self.ours_shown = ours_shown
        self.reference: dict[str, ReferenceCache] = {}  # by asset: "btc"
        self.settlement: dict[tuple[str, int], SettlementCache] = {}  # by asset and window
        self.books: dict[str, BookCache] = {}  # by market symbol
        self.guards: dict[str, tuple[str, E8, E8]] = {}  # by market symbol: asset, lo, hi (0: none)
        self.market_frame_ns: Ns = 0

    def settlement_of(self, asset: str, window_s: int) -> SettlementCache:
        return self.settlement.setdefault((asset, window_s), SettlementCache(asset, window_s))

    def book_of(self, symbol: str) -> BookCache:
        return self.books.setdefault(symbol, BookCache(symbol))
