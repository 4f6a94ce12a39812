"""A plain source of intents: quotes around the price that the books show, changing its mind all the time.

It stands where the strategy stands, and as it may be wrong in every way that a strategy may be, so is this one at times.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from bot.market import Market
from bot.messages import (
    BotState,
    MarketDropped,
    MarketListed,
    Message,
    PositionReport,
    QuoteIntent,
    QuoteMode,
    Route,
    TickSizeChange,
    TimerTick,
)
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, Ns, Px, Qty

VALID_NS: Ns = 1_500 * NS_PER_MS
STOP_NS: Ns = 4 * NS_PER_S  # before a market's end
KEEP = 0.7  # share of intents that repeat the last one
SILENT = 0.0005  # share of times at which it says nothing of a market from then on ...
SILENT_NS: Ns = 6 * NS_PER_S  # ... for so long


class _Quoted:
    def __init__(self, market: Market) -> None:
        self.market = market
        self.tick: Px = market.tick
        self.position: PositionReport | None = None
        self.seq = 0
        self.last: QuoteIntent | None = None
        self.silent_until_ns: Ns = 0


class Quoter:
    """A core as the strategy is: messages in, intents out. `middle(symbol)` is a price in Up terms, or 0."""

    left: tuple[str, ...] = ()  # it always looks at all

    def __init__(
        self, random: Random, middle: Callable[[str], Px], lie: Callable[[], bool], still: Callable[[], bool]
    ) -> None:
        """`still`: wants the same all the time."""
        self._random = random
        self._middle = middle
        self._lie = lie
        self._still = still
        self._markets: dict[str, _Quoted] = {}

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        match message:
            case TimerTick():
                utc_ns = message.utc_ns + now_ns - message.now_ns
                return [intent for quoted in self._markets.values() for intent in self._quote(quoted, now_ns, utc_ns)]
            case MarketListed():
                self._markets.setdefault(message.market.symbol, _Quoted(message.market))
            case MarketDropped():
                self._markets.pop(message.symbol, None)
            case PositionReport():
                quoted = self._markets.get(message.symbol)
                if quoted is not None:
                    quoted.position, quoted.tick = message, message.tick
            case TickSizeChange():
                quoted = self._markets.get(message.symbol)
                if quoted is not None:
                    quoted.tick = message.tick
        return []

    def _quote(self, quoted: _Quoted, now_ns: Ns, utc_ns: Ns) -> list[QuoteIntent]:
        position = quoted.position
        if position is None or position.state is not BotState.QUOTING:
            return []
        draw, last = self._random.random, quoted.last
        if draw() < SILENT:
            quoted.silent_until_ns = now_ns + SILENT_NS
        if now_ns < quoted.silent_until_ns:
            return []
        lies = [self._lied(quoted, last) for _ in range(50)] if last is not None and self._lie() else []
        quoted.seq += 1
        stop = utc_ns > quoted.market.end_utc_ns - STOP_NS
        middle = 0 if stop else self._middle(quoted.market.symbol)
        if (
            last is not None
            and middle
            and last.epoch == position.epoch
            and last.tick == quoted.tick
            and (self._still() or draw() < KEEP)
        ):
            intent = _renewed(last, quoted.seq, now_ns)
        elif not middle or draw() < 0.03:
            intent = self._intent(quoted, position, now_ns, QuoteMode.NO_QUOTE)
        else:
            intent = self._wish(quoted, position, now_ns, middle)
        quoted.last = intent
        return [*lies, intent]

    def _wish(self, quoted: _Quoted, position: PositionReport, now_ns: Ns, middle: Px) -> QuoteIntent:
        random, tick = self._random, quoted.tick
        bid: Px = (middle - random.choice((1, 1, 2, 3)) * tick) // tick * tick
        offer: Px = bid + random.choice((2, 2, 3, 4)) * tick
        sizes = [_size(random), _size(random)]
        if random.random() < 0.08:
            sizes[random.randrange(2)] = 0
        mode = QuoteMode.NORMAL
        if random.random() < 0.05:
            mode = QuoteMode.REDUCE_ONLY
            sizes[0 if position.up_qty >= position.down_qty else 1] = 0
        return self._intent(quoted, position, now_ns, mode, bid, offer, sizes, random.random() < 0.03)

    def _intent(
        self,
        quoted: _Quoted,
        position: PositionReport,
        now_ns: Ns,
        mode: QuoteMode,
        bid: Px = 0,
        offer: Px = 0,
        sizes: list[Qty] | None = None,
        cancel_first: bool = False,
    ) -> QuoteIntent:
        bid_size, offer_size = sizes or (0, 0)
        if not quoted.tick <= bid <= PX_ONE - quoted.tick:
            bid_size = 0
        if not quoted.tick <= offer <= PX_ONE - quoted.tick:
            offer_size = 0
        sells_up, sells_down = position.up_qty >= offer_size, position.down_qty >= bid_size
        return QuoteIntent(
            symbol=quoted.market.symbol,
            seq=quoted.seq,
            epoch=position.epoch,
            made_ns=now_ns,
            valid_until_ns=now_ns + VALID_NS,
            quote_mode=mode,
            tick=quoted.tick,
            bid_px=bid if bid_size else 0,
            bid_size=bid_size,
            bid_route=Route.NONE if not bid_size else Route.SELL_NO if sells_down else Route.BUY_YES,
            offer_px=offer if offer_size else 0,
            offer_size=offer_size,
            offer_route=Route.NONE if not offer_size else Route.SELL_YES if sells_up else Route.BUY_NO,
            cancel_first=cancel_first,
            fair_e6=(bid + offer) // 2 * 100,
            cause_ns=now_ns,
        )

    def _lied(self, quoted: _Quoted, intent: QuoteIntent) -> QuoteIntent:
        """What no strategy should ever want."""
        quoted.seq += 1
        wrong = self._random.choice(
            (
                {"bid_px": 5_017, "bid_size": 10 * QTY_ONE, "bid_route": Route.BUY_YES},
                {"bid_px": 5_000, "bid_size": -QTY_ONE, "bid_route": Route.BUY_YES},
                {"bid_px": 12_000, "bid_size": QTY_ONE, "bid_route": Route.BUY_YES},
                {"offer_px": 0, "offer_size": QTY_ONE, "offer_route": Route.BUY_NO},
                {"bid_px": 9_900, "bid_size": 10**15, "bid_route": Route.BUY_YES, "offer_size": 0},
                {"bid_px": 5_000, "bid_size": QTY_ONE, "bid_route": Route.BUY_NO},
            )
        )
        fields = {name: getattr(intent, name) for name in QuoteIntent.__struct_fields__}
        return QuoteIntent(**{**fields, **wrong, "seq": quoted.seq})


def _size(random: Random) -> Qty:
    return random.choice((5, 8, 10, 15, 20, 20, 30, 40, 60)) * QTY_ONE


def _renewed(last: QuoteIntent, seq: int, now_ns: Ns) -> QuoteIntent:
    fields = {name: getattr(last, name) for name in QuoteIntent.__struct_fields__}
    return QuoteIntent(**{**fields, "seq": seq, "made_ns": now_ns, "valid_until_ns": now_ns + VALID_NS})
