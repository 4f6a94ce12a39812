"""The strategy core: views of the market in, the two-sided quote each market should have out, as QuoteIntents.

Decides from caches and what it was told; knows no order ids, no venue and no thread. What it does not know for certain
(position, strike, fresh feeds) is a reason not to quote.
"""

from __future__ import annotations

from typing import Any

from bot.caches import BookView, Caches
from bot.market import Market
from bot.messages import (
    BotState,
    FeedStatus,
    MarketDropped,
    MarketListed,
    Message,
    Nudge,
    OrderState,
    PositionReport,
    QuoteIntent,
    QuoteMode,
    Side,
    StatusReport,
    TickSizeChange,
    TimerTick,
)
from bot.quoting.asset import AssetModel
from bot.quoting.debounce import Hold, SideState, next_px, worth_sending
from bot.quoting.fair_value import Fair, State, fair_value
from bot.quoting.guards import book_reasons, guard_band, settlement_reasons
from bot.quoting.modes import Modes, Reason, names
from bot.quoting.parameters import Parameters
from bot.quoting.phases import Phase, phase_of, phase_reasons
from bot.quoting.quotes import NO_LEG, Account, Leg, leg, others_best, prices, within_cash
from bot.quoting.spread import Terms, half_spread, skew, spread_terms, wide
from bot.quoting.window import Window
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE, Ns, Px, Usd, notional

STATUS_EVERY_NS = 250 * NS_PER_MS


class _Quoted:
    """Everything the strategy remembers of one market."""

    def __init__(self, market: Market, window: Window) -> None:
        self.market = market
        self.window = window
        self.tick: Px = market.tick
        self.position: PositionReport | None = None
        self.modes = Modes()
        self.bid = SideState(bid=True)
        self.ask = SideState(bid=False)
        self.intent: QuoteIntent | None = None
        self.seq = 0
        self.book_recv_ns: Ns = 0
        self.fair_at_book = 0.0  # fair value when the book's newest frame came
        self.status: dict[str, Any] = {}

    @property
    def net(self) -> float:
        """Shares of Up minus shares of Down."""
        return (self.position.up_qty - self.position.down_qty) / QTY_ONE if self.position else 0.0

    @property
    def loss(self) -> Usd:
        """The most that can be lost at settlement: net USD paid in, less what pairs surely pay."""
        position = self.position
        return position.invested - min(position.up_qty, position.down_qty) if position else 0


class Strategy:
    """Core of the quoting component. Invariant: what it wants is at most what every active reason allows."""

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        self._parameters = parameters
        self._caches = caches
        self._ttl_ns = round(parameters.ttl * NS_PER_MS)
        self._min_rest_ns = round(parameters.min_rest * NS_PER_MS)
        self._markets: dict[str, _Quoted] = {}
        self._models: dict[str, AssetModel] = {}
        self._down: set[str] = set()  # feeds that said they are not connected
        self._offset_ns: Ns | None = None  # wall clock minus monotonic clock
        self._status_ns: Ns | None = None
        self._emitted = 0

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        match message:
            case TimerTick():
                self._offset_ns = message.utc_ns - message.now_ns
                return [*self._evaluate_all(now_ns, 0), *self._report(now_ns)]
            case Nudge():
                return self._evaluate_all(now_ns, message.cause_ns)
            case PositionReport():
                return self._position(message, now_ns)
            case MarketListed():
                return self._listed(message.market)
            case MarketDropped():
                return self._dropped(message.symbol)
            case TickSizeChange():
                return self._tick_changed(message, now_ns)
            case FeedStatus():
                return self._feed(message, now_ns)
            case _:
                return []

    # -- messages --------------------------------------------------------------------------------------------------

    def _listed(self, market: Market) -> list[Message]:
        if market.symbol in self._markets:
            return []
        model = self._models.get(market.asset)
        if model is None:
            model = self._models[market.asset] = AssetModel(market.asset, self._parameters, self._caches)
        self._markets[market.symbol] = _Quoted(market, Window(market, self._parameters, self._caches, model))
        self._caches.guards[market.symbol] = (market.asset, 0, 0)
        return []

    def _dropped(self, symbol: str) -> list[Message]:
        self._markets.pop(symbol, None)
        self._caches.guards.pop(symbol, None)
        return []

    def _position(self, report: PositionReport, now_ns: Ns) -> list[Message]:
        """A fill or a change of state is worth a new look at once; an acknowledged order is not."""
        quoted = self._markets.get(report.symbol)
        if quoted is None:
            return []
        old, quoted.position, quoted.tick = quoted.position, report, report.tick
        if old is not None and quoted.intent is not None and quoted.intent.quote_mode is not QuoteMode.NO_QUOTE:
            moved = (old.up_qty, old.down_qty, old.state, old.epoch, old.tick) != (
                report.up_qty,
                report.down_qty,
                report.state,
                report.epoch,
                report.tick,
            )
            if moved:
                return self._evaluate_one(quoted, now_ns)
        return []

    def _tick_changed(self, change: TickSizeChange, now_ns: Ns) -> list[Message]:
        quoted = self._markets.get(change.symbol)
        if quoted is None or quoted.tick == change.tick:
            return []
        quoted.tick = change.tick
        return self._evaluate_one(quoted, now_ns)

    def _feed(self, status: FeedStatus, now_ns: Ns) -> list[Message]:
        if status.connected:
            self._down.discard(status.feed)
            return []
        self._down.add(status.feed)
        return self._evaluate_all(now_ns, 0)

    # -- evaluation ------------------------------------------------------------------------------------------------

    def _evaluate_all(self, now_ns: Ns, cause_ns: Ns) -> list[Message]:
        if self._offset_ns is None:
            return []
        utc_ns = now_ns + self._offset_ns
        for model in self._models.values():
            model.advance("binance" not in self._down, now_ns, utc_ns)
        return [
            intent for quoted in self._markets.values() for intent in self._evaluate(quoted, now_ns, utc_ns, cause_ns)
        ]

    def _evaluate_one(self, quoted: _Quoted, now_ns: Ns) -> list[Message]:
        if self._offset_ns is None:
            return []
        utc_ns = now_ns + self._offset_ns
        self._models[quoted.market.asset].advance("binance" not in self._down, now_ns, utc_ns)
        return self._evaluate(quoted, now_ns, utc_ns, 0)

    def _evaluate(self, quoted: _Quoted, now_ns: Ns, utc_ns: Ns, cause_ns: Ns) -> list[Message]:
        market, window, position = quoted.market, quoted.window, quoted.position
        left_s = (market.end_utc_ns - utc_ns) / NS_PER_S
        strike_known = window.find_strike(utc_ns)
        phase = phase_of(market, window.schedule, utc_ns, strike_known)
        state = window.state(utc_ns) if strike_known else None
        fair = fair_value(state) if state is not None else None
        terms = self._terms(market, fair)
        book = self._caches.books.get(market.symbol)
        view = book.latest if book is not None else None
        reasons = phase_reasons(phase, strike_known)
        if phase not in (Phase.PRE, Phase.SETTLE):
            reasons |= self._reasons(quoted, view, fair, terms, now_ns)
        settle_lost = bool(reasons & Reason.SETTLE_HARD) and left_s < 2 * market.window_s
        mode = quoted.modes.update(reasons, now_ns, no_quote=settle_lost)
        bid = ask = NO_LEG
        width = (0.0, 0.0)
        if mode is not QuoteMode.NO_QUOTE and state is not None and fair is not None and terms is not None:
            assert position is not None, "quoting needs a position"
            defensive = quoted.modes.defensive
            parameters = self._parameters
            width = (
                half_spread(parameters, terms.sum_bid, defensive),
                half_spread(parameters, terms.sum_ask, defensive),
            )
            to_stop_s = left_s - window.schedule.stop_s
            centre = fair.p - skew(parameters, fair.p, terms.variance, quoted.net, to_stop_s)
            bid, ask = self._legs(quoted, position, view, mode, fair, centre, width, now_ns)
        self._guard(quoted, state, fair, bid, ask)
        self._describe(quoted, phase, left_s, fair, width, reasons, view)
        return self._emit(quoted, mode, reasons, bid, ask, fair, now_ns, cause_ns)

    def _terms(self, market: Market, fair: Fair | None) -> Terms | None:
        if fair is None:
            return None
        return spread_terms(self._parameters, fair, fee_rate=market.fee_rate, rebate_rate=market.rebate_rate)

    def _reasons(
        self, quoted: _Quoted, view: BookView | None, fair: Fair | None, terms: Terms | None, now_ns: Ns
    ) -> int:
        """Everything but the phase that speaks against quoting freely."""
        parameters, market, position, window = self._parameters, quoted.market, quoted.position, quoted.window
        model = self._models[market.asset]
        reasons = model.reasons
        if not model.volatility.warm:
            reasons |= Reason.NOT_WARM
        if "user" in self._down:
            reasons |= Reason.USER_WS
        if position is None or position.state is not BotState.QUOTING:
            reasons |= Reason.RESYNC
        elif abs(quoted.net) >= parameters.q_max:
            reasons |= Reason.INV_LIMIT
        if quoted.loss >= parameters.loss_max_mkt * USD_ONE:
            reasons |= Reason.MKT_LOSS
        if window.basis is not None:
            stream = self._caches.settlement_of(market.asset, market.window_s)
            reasons |= settlement_reasons(stream.latest, now_ns)
            # An end of the window that is known to a few seconds only makes the price as doubtful as an old stream.
            if not window.basis.sharp or "settle" in self._down:
                reasons |= Reason.SETTLE_SOFT
            if window.basis.diverged:
                reasons |= Reason.DIVERGE
        moved = 0.0
        if fair is not None and terms is not None:
            if view is not None and view.recv_ns != quoted.book_recv_ns:
                quoted.book_recv_ns = view.recv_ns
                quoted.fair_at_book = fair.p
            moved = fair.p - quoted.fair_at_book
            if fair.sigma_p > window.schedule.sp_max:
                reasons |= Reason.GAMMA
            if not parameters.p_lo <= fair.p <= parameters.p_hi:
                reasons |= Reason.BAND
            if wide(parameters, terms):
                reasons |= Reason.WIDE
        elif not reasons & Reason.NOT_WARM and window.strike:
            reasons |= Reason.PHASE  # the effective end has passed: the outcome is fixed
        return reasons | book_reasons(view, self._caches.market_frame_ns, "market" not in self._down, moved, now_ns)

    def _legs(
        self,
        quoted: _Quoted,
        position: PositionReport,
        view: BookView | None,
        mode: QuoteMode,
        fair: Fair,
        centre: float,
        width: tuple[float, float],
        now_ns: Ns,
    ) -> tuple[Leg, Leg]:
        parameters, market, tick = self._parameters, quoted.market, quoted.tick
        best_bid, best_ask = others_best(view.bids, view.asks, position.working, market) if view else (0, 0)
        targets = self.targets(centre, width, tick, best_bid, best_ask, quoted.net)
        account = self._account(quoted, position)
        same_mode = quoted.intent is not None and quoted.intent.quote_mode is mode
        legs: list[Leg] = []
        for side, target, opposite, delta in (
            (quoted.bid, targets[0], best_ask, width[0]),
            (quoted.ask, targets[1], best_bid, width[1]),
        ):
            edge = fair.p * PX_ONE - side.px if side.bid else side.px - fair.p * PX_ONE
            hold = None
            if same_mode and edge > 0:  # with no edge left the guard band was crossed
                hold = Hold(reservation=centre, nearest=parameters.hold_min, farthest=delta + parameters.hold_slack)
            px = next_px(
                side, target, tick=tick, opposite=opposite, hold=hold, now_ns=now_ns, min_rest_ns=self._min_rest_ns
            )
            legs.append(
                leg(
                    parameters,
                    account,
                    bid=side.bid,
                    px=px,
                    min_qty=market.min_qty,
                    defensive=quoted.modes.defensive,
                    reduce_only=mode is QuoteMode.REDUCE_ONLY,
                    keep_route=side.kept_route(now_ns),
                )
            )
        bid, ask = within_cash(legs[0], legs[1], min(account.cash, account.capital_room), market.min_qty)
        assert not bid.px or not ask.px or bid.px < ask.px, "our own quotes must not meet"
        return bid, ask

    def targets(
        self, centre: float, width: tuple[float, float], tick: Px, best_bid: Px, best_ask: Px, q: float
    ) -> tuple[Px, Px]:
        """Bid and ask wanted, 0 for none, before the debounce. A baseline differs here and nowhere else."""
        return prices(self._parameters, centre, *width, tick, best_bid, best_ask, q)

    def _account(self, quoted: _Quoted, position: PositionReport) -> Account:
        """What the legs may use. Their own working orders will be gone before their successors are placed, so these
        give back what they reserve; an order of unknown outcome may hold its shares or cash for good."""
        up_stuck = down_stuck = reserved = 0
        for order in position.working:
            unknown = order.state is OrderState.UNKNOWN
            if order.side is Side.BUY:
                reserved += 0 if unknown else notional(order.px, order.leaves_qty)
            elif unknown and order.asset_id == quoted.market.up_token:
                up_stuck += order.leaves_qty
            elif unknown:
                down_stuck += order.leaves_qty
        invested = sum(other.position.invested for other in self._markets.values() if other.position is not None)
        return Account(
            q=quoted.net,
            up_free=max(0, position.up_qty - up_stuck),
            down_free=max(0, position.down_qty - down_stuck),
            cash=max(0, position.cash + reserved),
            loss_room=max(0, round(self._parameters.loss_max_mkt * USD_ONE) - quoted.loss),
            capital_room=max(0, round(self._parameters.capital_max * USD_ONE) - invested),
        )

    # -- out -------------------------------------------------------------------------------------------------------

    def _guard(self, quoted: _Quoted, state: State | None, fair: Fair | None, bid: Leg, ask: Leg) -> None:
        """Tell the reference feed's reader between which mids our quotes have an edge."""
        band = (0, 0)
        if state is not None and fair is not None and (bid.px or ask.px):
            band = guard_band(state, fair.s, quoted.window.basis_log, bid.px, ask.px)
        self._caches.guards[quoted.market.symbol] = (quoted.market.asset, *band)

    def _emit(
        self,
        quoted: _Quoted,
        mode: QuoteMode,
        reasons: int,
        bid: Leg,
        ask: Leg,
        fair: Fair | None,
        now_ns: Ns,
        cause_ns: Ns,
    ) -> list[Message]:
        symbol = quoted.market.symbol
        _, guard_lo, guard_hi = self._caches.guards[symbol]
        intent = QuoteIntent(
            symbol=symbol,
            # Microseconds, so that a strategy that was restarted still counts upward.
            seq=max(quoted.seq + 1, now_ns // 1000),
            epoch=quoted.position.epoch if quoted.position else 0,
            made_ns=now_ns,
            valid_until_ns=now_ns + self._ttl_ns,
            quote_mode=mode,
            reasons=reasons,
            tick=quoted.tick,
            bid_px=bid.px,
            bid_size=bid.size,
            bid_route=bid.route,
            offer_px=ask.px,
            offer_size=ask.size,
            offer_route=ask.route,
            cancel_first=mode is QuoteMode.NO_QUOTE,
            guard_lo_e8=guard_lo,
            guard_hi_e8=guard_hi,
            fair_e6=round(fair.p * 1e6) if fair is not None else 0,
            sigma_p_e6=round(fair.sigma_p * 1e6) if fair is not None else 0,
            cause_ns=cause_ns,
        )
        if not worth_sending(quoted.intent, intent, self._ttl_ns // 2):
            return []
        quoted.bid.record(bid.px, bid.route, now_ns)
        quoted.ask.record(ask.px, ask.route, now_ns)
        quoted.seq = intent.seq
        quoted.intent = intent
        self._emitted += 1
        return [intent]

    def _describe(
        self,
        quoted: _Quoted,
        phase: Phase,
        left_s: float,
        fair: Fair | None,
        width: tuple[float, float],
        reasons: int,
        view: BookView | None,
    ) -> None:
        model, window = self._models[quoted.market.asset], quoted.window
        quoted.status = {
            "slug": quoted.market.slug,
            "phase": phase,
            "seconds_left": max(0.0, left_s),
            "strike": window.strike or None,
            "fair": fair.p if fair is not None else None,
            "sigma": model.sigma or None,
            "sigma_p": fair.sigma_p if fair is not None else None,
            "spot": window.spot or None,
            "basis": window.basis_log,
            "settle_lag_s": window.basis.lag_s if window.basis is not None else None,
            "half_spread": max(width) or None,
            "book_bid": view.bids[0][0] / PX_ONE if view is not None and view.bids else None,
            "book_ask": view.asks[0][0] / PX_ONE if view is not None and view.asks else None,
            "quote_mode": quoted.modes.mode.name,
            "reasons": reasons,
        }

    def _report(self, now_ns: Ns) -> list[Message]:
        if self._status_ns is not None and now_ns - self._status_ns < STATUS_EVERY_NS:
            return []
        self._status_ns = now_ns
        markets = {
            symbol: {**quoted.status, "phase": str(quoted.status["phase"]), "reasons": names(quoted.status["reasons"])}
            for symbol, quoted in self._markets.items()
            if quoted.status
        }
        return [StatusReport(component="strategy", body={"markets": markets, "emitted": self._emitted})]
