"""What one strategy did in one window, measured at the venue and against true p. Knows no strategy.

The parts of the PnL telescope: spread captured, drift to 1, 5 and 30 s, and what was left at settlement. Their sum is the
cash the window made, so that an error anywhere shows in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bot.market import Market
from bot.messages import QuoteMode
from bot.sim.exchange import Order, Trade
from bot.sim.prices import STEP_MS
from bot.sim.trial.wallet import API_KEY
from bot.units import NS_PER_MS, PX_ONE, QTY_ONE, Px

HORIZONS_MS = (0, 1_000, 5_000, 30_000)
PARTS = ("spread", "drift_1s", "drift_5s", "drift_30s", "settlement")
SAMPLE_MS = 100


class Window(msgspec.Struct, kw_only=True):
    """Sums over one window: USD, shares, seconds. Markouts are sums over shares, to be divided by `shares`."""

    slug: str
    settled: bool = True  # or what is held is counted at its worth when the session ended
    pnl_usd: float = 0.0
    edge_usd: float = 0.0
    parts: dict[str, float] = msgspec.field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    markouts: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])  # at 1, 5 and 30 s
    fills: int = 0
    shares: float = 0.0
    sniped: int = 0  # fills that lost more than a cent within a second
    live_s: float = 0.0  # the strategy's own phase LIVE by the clock
    both_s: float = 0.0  # of it, with both sides working
    one_s: float = 0.0  # and with just one
    touch_s: float = 0.0  # mean of the two sides' time at the best price shown
    spread_s: float = 0.0  # quoted spread times the time both sides worked
    share_s: float = 0.0  # shares resting times seconds, all the window
    wrong_s: float = 0.0  # of it, beyond true p
    mode_s: dict[str, float] = msgspec.field(default_factory=dict)  # of LIVE, as the last intent said
    reason_s: dict[str, float] = msgspec.field(default_factory=dict)
    requests: int = 0
    quoted_s: float = 0.0  # from the beginning to the stop
    q_end: float = 0.0
    q_abs_max: float = 0.0


class Fill(msgspec.Struct):
    """One leg of ours; `signed` are shares of Up exposure."""

    trade_id: str
    ms: int
    signed: float
    px: float


class Meter:
    """Takes down one window as it goes by; `finish` when its outcome is known."""

    def __init__(self, market: Market, phases_ms: tuple[int, int, int], now_ms: int) -> None:
        """`phases_ms`: when quoting may begin, when it should only reduce, when it must stop."""
        begin_ms, reduce_ms, stop_ms = phases_ms
        self.market = market
        self.window = Window(slug=market.slug, quoted_s=(stop_ms - begin_ms) / 1000)
        self._live_ms = begin_ms, reduce_ms
        self._first_ms = now_ms
        self._end_ms = market.end_utc_ns // NS_PER_MS
        self._p: list[float] = []
        self._fills: list[Fill] = []

    # -- as it goes by ---------------------------------------------------------------------------------------------

    def step(self, now_ms: int, p: float | None) -> None:
        """True p of each step of the world."""
        if p is not None and now_ms <= self._end_ms:
            self._p.append(p)

    def sample(
        self, now_ms: int, orders: Iterable[Order], best: tuple[Px, Px], mode: QuoteMode | None, reasons: Iterable[str]
    ) -> None:
        """Once every SAMPLE_MS: what rests now, and the best prices shown."""
        if not self._p or now_ms > self._end_ms:
            return
        seconds, window, p = SAMPLE_MS / 1000, self.window, self._p[-1] * PX_ONE
        bid: Px = 0
        ask: Px = 0
        for order in orders:
            if order.condition_id != self.market.symbol:
                continue
            shares = order.leaves / QTY_ONE * seconds
            window.share_s += shares
            if order.is_bid:
                bid = max(bid, order.up_px)
                window.wrong_s += shares * (order.up_px > p)
            else:
                ask = min(ask or PX_ONE, order.up_px)
                window.wrong_s += shares * (order.up_px < p)
        if not self._live_ms[0] <= now_ms < self._live_ms[1]:
            return
        window.live_s += seconds
        if mode is not None:
            window.mode_s[mode.name] = window.mode_s.get(mode.name, 0.0) + seconds
            for reason in reasons:
                window.reason_s[reason] = window.reason_s.get(reason, 0.0) + seconds
        window.touch_s += seconds * ((bid > 0 and bid == best[0]) + (ask > 0 and ask == best[1])) / 2
        if bid and ask:
            window.both_s += seconds
            window.spread_s += seconds * (ask - bid) / PX_ONE
        elif bid or ask:
            window.one_s += seconds

    def traded(self, trade: Trade) -> None:
        for leg in trade.makers:
            if leg.api_key == API_KEY:
                up = leg.token == self.market.up_token
                bid = up == (leg.side == "BUY")
                px = (leg.px if up else PX_ONE - leg.px) / PX_ONE
                shares = leg.qty / QTY_ONE
                self._fills.append(Fill(trade.trade_id, trade.match_ms, shares if bid else -shares, px))
        self.window.q_abs_max = max(self.window.q_abs_max, abs(self._net()))

    def failed(self, trade_id: str) -> None:
        """The trade did not settle: it never was."""
        self._fills = [fill for fill in self._fills if fill.trade_id != trade_id]

    def _net(self) -> float:
        return sum(fill.signed for fill in self._fills)

    # -- the end ---------------------------------------------------------------------------------------------------

    def last_p(self) -> float:
        """The last p seen; a half where none was."""
        return self._p[-1] if self._p else 0.5

    def finish(self, last: float, settled: bool = True) -> Window:
        """`last` is what Up was paid, or what it is worth where it never was."""
        window = self.window
        window.settled = settled
        for fill in self._fills:
            marks = [self._at(fill.ms + horizon, last) for horizon in HORIZONS_MS]
            path = [fill.px, *marks, last]
            for name, before, after in zip(PARTS, path, path[1:], strict=False):
                window.parts[name] += fill.signed * (after - before)
            window.edge_usd += fill.signed * (marks[0] - fill.px)
            window.pnl_usd += fill.signed * (last - fill.px)
            window.shares += abs(fill.signed)
            for number, mark in enumerate(marks[1:]):
                window.markouts[number] += fill.signed * (mark - fill.px)
            sign = 1.0 if fill.signed > 0 else -1.0
            window.sniped += sign * (marks[1] - fill.px) < -0.01
        window.fills = len(self._fills)
        window.q_end = self._net()
        return window

    def _at(self, ms: int, last: float) -> float:
        """True p at a time; the outcome once the market has ended."""
        index = (ms - self._first_ms) // STEP_MS
        return self._p[max(index, 0)] if index < len(self._p) else last
