"""PnL as the telescoping identity of the strategy page, section 15: spread captured, drift, settlement residual; summing to the cash ledger.

Marks are the market's own microprice, not our fair value: our own model would grade itself. Knows no order and no wire.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.caches import BookCache
from bot.market import Market
from bot.messages import Fill, Settled, Side
from bot.units import NS_PER_S, PX_ONE, QTY_ONE, Ns

HORIZONS_S = (1, 5, 30)
EARNED_KEPT = 20_000


def microprice(view_of: BookCache | None) -> float | None:
    """(bid * ask size + ask * bid size) / both sizes, in USD per share; None without both sides."""
    view = view_of.latest if view_of is not None else None
    if view is None or not view.bids or not view.asks:
        return None
    (bid, bid_qty), (ask, ask_qty) = view.bids[0], view.asks[0]
    return (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty) / PX_ONE


@dataclass(slots=True)
class _Mark:
    """One fill on its way: its sign times shares, its price, and the marks so far (at 0, 1, 5, 30 s)."""

    signed_shares: float
    px: float
    filled_ns: Ns
    marks: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Pnl:
    """Invariant: the parts always sum to cash effects of all fills, open ones marked at the last microprice."""

    books: Mapping[str, BookCache]
    market_of: Callable[[str], Market | None]
    rebate_share: float = 0.5  # of the upper bound a fill could earn
    _open: dict[str, list[_Mark]] = field(default_factory=dict)
    _done: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("spread", "drift_1s", "drift_5s", "drift_30s", "settlement"), 0.0)
    )
    _rebates: float = 0.0
    earned: deque[tuple[Ns, float]] = field(default_factory=lambda: deque(maxlen=EARNED_KEPT))
    """Of each fill marked to its last horizon: when it was, and USD from its price to that mark."""

    def filled(self, fill: Fill) -> None:
        px = fill.up_px / PX_ONE
        shares = fill.qty / QTY_ONE
        mark = _Mark(shares if fill.up_side is Side.BUY else -shares, px, fill.now_ns)
        mark.marks.append(self._now(fill.symbol, px))
        self._open.setdefault(fill.symbol, []).append(mark)
        market = self.market_of(fill.symbol)
        if market is not None:
            self._rebates += self.rebate_share * market.rebate_rate * market.fee_rate * shares * px * (1 - px)

    def passed(self, now_ns: Ns) -> None:
        """Take the marks that are due."""
        for symbol, marks in self._open.items():
            for mark in marks:
                while (taken := len(mark.marks) - 1) < len(HORIZONS_S):
                    if now_ns < mark.filled_ns + HORIZONS_S[taken] * NS_PER_S:
                        break
                    mark.marks.append(self._now(symbol, mark.marks[-1]))
                    if len(mark.marks) > len(HORIZONS_S):
                        self._earn(mark)

    def settled(self, event: Settled) -> None:
        for mark in self._open.pop(event.symbol, []):
            if len(mark.marks) <= len(HORIZONS_S):
                self._earn(mark)
            self._add(self._done, mark, 1.0 if event.outcome == "up" else 0.0)

    def record(self) -> dict[str, float]:
        """The pnl_usd section of the status record; USD."""
        parts = dict(self._done)
        for symbol, marks in self._open.items():
            for mark in marks:
                self._add(parts, mark, self._now(symbol, mark.marks[-1]))
        total = sum(parts.values())
        return {
            name: round(value, 6) + 0.0
            for name, value in {**parts, "rebates_est": self._rebates, "fees": 0.0, "total": total}.items()
        }

    def _earn(self, mark: _Mark) -> None:
        self.earned.append((mark.filled_ns, mark.signed_shares * (mark.marks[-1] - mark.px)))

    def _now(self, symbol: str, otherwise: float) -> float:
        price = microprice(self.books.get(symbol))
        return otherwise if price is None else price

    @staticmethod
    def _add(parts: dict[str, float], mark: _Mark, last: float) -> None:
        path = [mark.px, *mark.marks]
        path += [last] * (2 + len(HORIZONS_S) - len(path)) + [last]
        for name, before, after in zip(parts, path, path[1:], strict=False):
            parts[name] += mark.signed_shares * (after - before)
