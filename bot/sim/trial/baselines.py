"""What our strategy is compared with: cores that take the same messages and send the same intents, with less in them.

`touch` and `fair2c` are our strategy with one thing replaced, `blend` and `naive` look at nothing but the venue's book, and
`nothing` does nothing. All of them keep the window's phases, the sizes and the limits.
"""

from __future__ import annotations

import msgspec

from bot.caches import BookView, Caches
from bot.market import Market
from bot.messages import (
    BotState,
    MarketDropped,
    MarketListed,
    Message,
    Nudge,
    PositionReport,
    QuoteIntent,
    QuoteMode,
    Side,
    TickSizeChange,
    TimerTick,
)
from bot.quoting.asset import AssetModel
from bot.quoting.debounce import SideState, next_px, worth_sending
from bot.quoting.parameters import Parameters
from bot.quoting.phases import Phase, phase_of, schedule_of
from bot.quoting.quoter import Quoter
from bot.quoting.quotes import (
    NO_LEG,
    Account,
    Leg,
    bounded,
    clamp,
    leg,
    outward,
    uncrossed,
    within_cash,
)
from bot.quoting.strategy import Strategy
from bot.quoting.touch import Touch as OthersTouch
from bot.quoting.touch import touch_of
from bot.quoting.toxicity import Toxicity
from bot.quoting.window import Window
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE, Ns, Px, notional

FAIR_HALF_SPREAD = 0.02
BOOK_HALF_SPREAD = 0.01
NEVER_HOLD = 1.0  # no price is that far from the reservation price
NO_SKEW, NO_BLEND = 0.0, 0.0
ANY = 9.0  # a bound that nothing reaches


class Nothing:
    """Earns 0, or the accounting is wrong."""

    left: tuple[str, ...] = ()

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        pass

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        return []


class TouchQuoter(Quoter):
    def wanted(self, centre: float, widths: tuple[float, float], touch: OthersTouch) -> tuple[Px, Px]:
        tick = self.tick
        return uncrossed(touch.bid // tick * tick, -(-touch.ask // tick) * tick, self.net)


class Touch(Strategy):
    """Joins the best prices of others, with our guards, modes, sizes and limits."""

    quoter = TouchQuoter

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        super().__init__(msgspec.structs.replace(parameters, hold_min=NEVER_HOLD), caches)


class Unmarked(Toxicity):
    """Learns nothing from fills."""

    def mark(self, bid: bool, horizon: int, markout: float, own: float, usual: float, now_ns: Ns) -> None:
        pass


class UnmarkedQuoter(Quoter):
    def __init__(
        self, market: Market, window: Window, model: AssetModel, parameters: Parameters, toxicity: Toxicity
    ) -> None:
        super().__init__(market, window, model, parameters, Unmarked(parameters))


class WithoutToxicity(Strategy):
    """Ours, but whatever its fills were worth."""

    quoter = UnmarkedQuoter


class FairQuoter(UnmarkedQuoter):
    def wanted(self, centre: float, widths: tuple[float, float], touch: OthersTouch) -> tuple[Px, Px]:
        return _safe(centre, FAIR_HALF_SPREAD, self.tick, touch, self.net)


class Fair(Strategy):
    """The model's probability and a fixed distance: no term of the spread, no skew, no look at the book, no guard of ours
    but those of stale feeds. It wakes as fast as we do."""

    quoter = FairQuoter

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        bare = msgspec.structs.replace(
            parameters,
            hold_min=NEVER_HOLD,
            sk_max=NO_SKEW,
            rho=NO_BLEND,
            sp_max=ANY,
            div_soft=ANY,
            div_hard=ANY,
            k=1e9,
            p_lo=0.0,
            p_hi=1.0,
        )
        super().__init__(bare, caches)


def _safe(centre: float, half: float, tick: Px, others: OthersTouch, q: float) -> tuple[Px, Px]:
    """Rounded outward, and never across the others' best."""
    bid, ask = clamp(*outward(centre, half, half, tick), others.bid, others.ask, tick, PX_ONE)
    bid, ask = bounded(bid, ask, tick)
    return uncrossed(bid * tick, ask * tick, q)


class _Quoted:
    def __init__(self, market: Market) -> None:
        self.market = market
        self.tick: Px = market.tick
        self.position: PositionReport | None = None
        self.bid = SideState(bid=True)
        self.ask = SideState(bid=False)
        self.intent: QuoteIntent | None = None


class Book:
    """Quotes around the microprice of the venue's book and looks at no reference price; wakes with every change."""

    left: tuple[str, ...] = ()
    half_spread = BOOK_HALF_SPREAD
    every_ns: Ns = 0  # the least time between two looks

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        self._parameters = parameters
        self._caches = caches
        self._ttl_ns = round(parameters.ttl * NS_PER_MS)
        self._min_rest_ns = round(parameters.min_rest * NS_PER_MS)
        self._markets: dict[str, _Quoted] = {}
        self._offset_ns: Ns = 0
        self._looked_ns: Ns = 0

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        match message:
            case TimerTick():
                self._offset_ns = message.utc_ns - message.now_ns
                return self._look(now_ns)
            case Nudge():
                return self._look(now_ns)
            case PositionReport() if message.symbol in self._markets:
                quoted = self._markets[message.symbol]
                quoted.position, quoted.tick = message, message.tick
            case TickSizeChange() if message.symbol in self._markets:
                self._markets[message.symbol].tick = message.tick
            case MarketListed():
                self._markets.setdefault(message.market.symbol, _Quoted(message.market))
            case MarketDropped():
                self._markets.pop(message.symbol, None)
        return []

    def distance(self, tick: Px) -> float:
        return self.half_spread

    def _look(self, now_ns: Ns) -> list[Message]:
        if not self._offset_ns:
            return []
        fresh = now_ns - self._looked_ns >= self.every_ns
        if fresh:
            self._looked_ns = now_ns
        out: list[Message] = []
        for quoted in self._markets.values():
            intent = self._intent(quoted, now_ns) if fresh or quoted.intent is None else self._again(quoted, now_ns)
            if worth_sending(quoted.intent, intent, self._ttl_ns // 2):
                quoted.bid.record(intent.bid_px, intent.bid_route, now_ns)
                quoted.ask.record(intent.offer_px, intent.offer_route, now_ns)
                quoted.intent = intent
                out.append(intent)
        return out

    def _again(self, quoted: _Quoted, now_ns: Ns) -> QuoteIntent:
        """What was wanted at the last look, kept from growing too old."""
        assert quoted.intent is not None
        epoch = quoted.position.epoch if quoted.position is not None else 0
        return msgspec.structs.replace(
            quoted.intent, seq=now_ns // 1000, epoch=epoch, made_ns=now_ns, valid_until_ns=now_ns + self._ttl_ns
        )

    def _intent(self, quoted: _Quoted, now_ns: Ns) -> QuoteIntent:
        market, position = quoted.market, quoted.position
        phase = phase_of(market, schedule_of(market.duration_s, self._parameters), now_ns + self._offset_ns, True)
        cache = self._caches.books.get(market.symbol)
        view = cache.latest if cache is not None else None
        mode = QuoteMode.NO_QUOTE
        bid = ask = NO_LEG
        ready = position is not None and position.state is BotState.QUOTING
        if ready and phase in (Phase.LIVE, Phase.CLOSE) and view is not None and view.bids and view.asks:
            assert position is not None
            mode = QuoteMode.NORMAL if phase is Phase.LIVE else QuoteMode.REDUCE_ONLY
            bid, ask = self._legs(quoted, position, view, mode, now_ns)
        return QuoteIntent(
            symbol=market.symbol,
            seq=max(now_ns // 1000, quoted.intent.seq + 1 if quoted.intent is not None else 1),
            epoch=position.epoch if position is not None else 0,
            made_ns=now_ns,
            valid_until_ns=now_ns + self._ttl_ns,
            quote_mode=mode,
            tick=quoted.tick,
            bid_px=bid.px,
            bid_size=bid.size,
            bid_route=bid.route,
            offer_px=ask.px,
            offer_size=ask.size,
            offer_route=ask.route,
            cancel_first=mode is QuoteMode.NO_QUOTE,
        )

    def _legs(
        self, quoted: _Quoted, position: PositionReport, view: BookView, mode: QuoteMode, now_ns: Ns
    ) -> tuple[Leg, Leg]:
        market, tick = quoted.market, quoted.tick
        others = touch_of(view.bids, view.asks, position.working, market)
        if not others.micro:
            return NO_LEG, NO_LEG
        net = (position.up_qty - position.down_qty) / QTY_ONE
        targets = _safe(others.micro, self.distance(tick), tick, others, net)
        reserved = sum(notional(order.px, order.leaves_qty) for order in position.working if order.side is Side.BUY)
        account = Account(
            q=net,
            up_free=position.up_qty,
            down_free=position.down_qty,
            cash=max(0, position.cash + reserved),
            loss_room=round(self._parameters.loss_max_mkt * USD_ONE),
            capital_room=round(self._parameters.capital_max * USD_ONE),
        )
        legs = [
            leg(
                self._parameters,
                account,
                bid=side.bid,
                px=next_px(
                    side,
                    target,
                    tick=tick,
                    opposite=opposite,
                    hold=None,
                    now_ns=now_ns,
                    min_rest_ns=self._min_rest_ns,
                ),
                min_qty=market.min_qty,
                defensive=False,
                reduce_only=mode is QuoteMode.REDUCE_ONLY,
                keep_route=side.kept_route(now_ns),
            )
            for side, target, opposite in ((quoted.bid, targets[0], others.ask), (quoted.ask, targets[1], others.bid))
        ]
        return within_cash(legs[0], legs[1], account.cash, market.min_qty)


class Naive(Book):
    """A tick around the microprice, looked at once a second."""

    every_ns = NS_PER_S

    def distance(self, tick: Px) -> float:
        return tick / PX_ONE
