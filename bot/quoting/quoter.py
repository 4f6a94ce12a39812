"""One market's quotes: what the model, the book, the guards and the position together want resting now.

Remembers what must outlive one look (mode, last intent, held prices, what the book taught). Decides for its own market
only; what the markets of a wallet share is handed in. Keeps the parts of its last decision, so that they can be shown.
"""

from __future__ import annotations

from collections.abc import Collection

from bot.caches import BookView, Caches
from bot.market import Market
from bot.messages import BotState, OrderState, PositionReport, QuoteIntent, QuoteMode, Side
from bot.quoting.asset import AssetModel
from bot.quoting.blend import Blend
from bot.quoting.debounce import Hold, SideState, next_px, worth_sending
from bot.quoting.fair_value import Fair, State, fair_value
from bot.quoting.guards import Divergence, book_reasons, guard_band, settlement_reasons
from bot.quoting.modes import Modes, Reason
from bot.quoting.parameters import Parameters
from bot.quoting.phases import Phase, phase_of, phase_reasons
from bot.quoting.quotes import NO_LEG, Account, Leg, leg, prices, within_cash
from bot.quoting.shock import Pull
from bot.quoting.spread import Terms, half_spread, leeway, skew, spread_terms, wide
from bot.quoting.touch import NO_TOUCH, Touch, touch_of
from bot.quoting.toxicity import Markouts, Toxicity
from bot.quoting.window import Window
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE, Ns, Px, Usd, notional

MICRO_NS_MAX: Ns = NS_PER_S  # an older book teaches nothing
IDLE_NS: Ns = 200 * NS_PER_MS  # between looks at a market that cannot be priced


class Quoter:
    """Invariant: what it wants is at most what every active reason allows."""

    def __init__(
        self, market: Market, window: Window, model: AssetModel, parameters: Parameters, toxicity: Toxicity
    ) -> None:
        self.market = market
        self.window = window
        self.model = model
        self.tick: Px = market.tick
        self.position: PositionReport | None = None
        self.modes = Modes(round(parameters.cool_def * NS_PER_MS))
        self.blend = Blend(parameters)
        self.pull = Pull(parameters)
        self.markouts = Markouts(toxicity)
        self.bid = SideState(bid=True)
        self.ask = SideState(bid=False)
        self.intent: QuoteIntent | None = None
        self.parameters = parameters
        self._divergence = Divergence(parameters)
        self._ttl_ns = round(parameters.ttl * NS_PER_MS)
        self._min_rest_ns = round(parameters.min_rest * NS_PER_MS)
        self._seq = 0
        self._learnt_ns: Ns = 0
        self._book_recv_ns: Ns = 0
        self._fair_at_book = 0.0  # fair value when the book's newest frame came
        self._seen: PositionReport | None = None  # the position whose orders were taken out of the book
        # The last decision.
        self.now_ns: Ns = 0
        self.phase = Phase.PRE
        self.left_s = 0.0
        self.view: BookView | None = None
        self.touch: Touch = NO_TOUCH
        self.state: State | None = None
        self.fair: Fair | None = None
        self.p = 0.0  # what is quoted around: the model's p, moved by what the book taught; 0 unknown
        self.terms: Terms | None = None
        self.reasons = 0
        self.lean = 0.0
        self.widths = (0.0, 0.0)  # half-spreads of bid and ask
        self.leeway = 0.0  # and what p may move meanwhile, to both
        self.targets: tuple[Px, Px] = (0, 0)  # before anything is held, pulled or sized
        self.held: tuple[Px, Px] = (0, 0)  # before it is sized
        self.keeps = [False, False]  # a working price is still good
        self.account: Account | None = None
        self.worth = 1.0  # the share of the usual size that our fills justify
        self.legs: tuple[Leg, Leg] = (NO_LEG, NO_LEG)
        self.guards = (0, 0)

    @property
    def net(self) -> float:
        """Shares of Up minus shares of Down."""
        return (self.position.up_qty - self.position.down_qty) / QTY_ONE if self.position else 0.0

    @property
    def invested(self) -> Usd:
        return self.position.invested if self.position else 0

    @property
    def loss(self) -> Usd:
        """The most that can be lost at settlement: net USD paid in, less what pairs surely pay."""
        position = self.position
        return position.invested - min(position.up_qty, position.down_qty) if position else 0

    @property
    def outer(self) -> tuple[float, float]:
        """Distances of bid and ask from the reservation price where a new price is placed."""
        return self.widths[0] + self.leeway, self.widths[1] + self.leeway

    @property
    def idle(self) -> bool:
        """Before its window, or after: nothing is priced."""
        return self.phase is Phase.PRE or self.phase is Phase.SETTLE

    def rests(self, now_ns: Ns, utc_ns: Ns) -> bool:
        """It is idle, was looked at lately, and its window has not begun since."""
        begun = self.phase is Phase.PRE and utc_ns >= self.market.start_utc_ns
        return self.idle and not begun and 0 < self.now_ns > now_ns - IDLE_NS

    def told(self, report: PositionReport) -> bool:
        """Take in a position; True when it is worth a new look at once. An acknowledged order is not."""
        old, self.position, self.tick = self.position, report, report.tick
        if old is None or self.intent is None or self.intent.quote_mode is QuoteMode.NO_QUOTE:
            return False
        return (
            old.up_qty != report.up_qty
            or old.down_qty != report.down_qty
            or old.state is not report.state
            or old.epoch != report.epoch
            or old.tick != report.tick
        )

    def concerned(self, view: BookView | None, mid_e8: int) -> bool:
        """Whether a nudge may mean this market: the top of its book is new, or the reference left the guard band."""
        if self.idle:
            return False
        if (view is None) != (self.view is None):
            return True
        if view is not None and self.view is not None and view.changed_ns != self.view.changed_ns:
            return True
        low, high = self.guards
        return bool((low and mid_e8 < low) or (high and mid_e8 > high))

    # -- one look --------------------------------------------------------------------------------------------------

    def look(
        self, caches: Caches, down: Collection[str], stepped: bool, capital_room: Usd, now_ns: Ns, utc_ns: Ns
    ) -> None:
        """Decide anew. `down`: feeds that are not connected; `stepped`: wall time jumped; `capital_room`: what may still
        be paid into all markets together."""
        market, window = self.market, self.window
        self.now_ns = now_ns
        self.left_s = (market.end_utc_ns - utc_ns) / NS_PER_S
        strike_known = window.find_strike(utc_ns)
        self.phase = phase_of(market, window.schedule, utc_ns, strike_known)
        self.state = window.state(utc_ns) if strike_known else None
        reasons = phase_reasons(self.phase, strike_known)
        if self.idle:
            self.fair, self.terms, self.p = None, None, 0.0
        else:
            book = caches.books.get(market.symbol)
            self._see(book.latest if book is not None else None, caches.ours_shown)
            self._price(now_ns)
            reasons |= self._reasons(caches, down, now_ns)
            if stepped:
                reasons |= Reason.CLOCK
        self.reasons = reasons
        settle_lost = bool(reasons & Reason.SETTLE_HARD) and self.left_s < 2 * market.window_s
        mode = self.modes.update(reasons, now_ns, no_quote=settle_lost)
        self.legs = (NO_LEG, NO_LEG)
        self.widths = (0.0, 0.0)
        self.lean = self.leeway = 0.0
        self.targets = self.held = (0, 0)
        if mode is not QuoteMode.NO_QUOTE:
            self._quote(mode, capital_room, now_ns)
        self.guards = (0, 0)
        bid, ask = self.legs
        if self.state is not None and self.fair is not None and (bid.px or ask.px):
            self.guards = guard_band(self.state, self.fair.s, self.blend, window.log_distance, bid.px, ask.px)

    def _see(self, view: BookView | None, ours_shown: bool) -> None:
        """The book without our own orders; the same one as before when neither changed."""
        if view is not self.view or self.position is not self._seen:
            working = self.position.working if self.position is not None and ours_shown else ()
            self.touch = touch_of(view.bids, view.asks, working, self.market) if view is not None else NO_TOUCH
            self.view, self._seen = view, self.position

    def _price(self, now_ns: Ns) -> None:
        """Fair value, what the book says to it, and the terms of the spread."""
        state, market, parameters = self.state, self.market, self.parameters
        if state is None:
            self.fair, self.terms, self.p = None, None, 0.0
            self.markouts.passed(0.0, 0.0, now_ns)
            return
        self.fair = fair = fair_value(state)
        self.pull.look(self.model.moves, fair.delta_x, now_ns)
        touch, view = self.touch, self.view
        if view is not None and touch.spread <= parameters.mp_max_spread:
            micro = touch.micro
            if now_ns - view.recv_ns <= MICRO_NS_MAX:
                self._divergence.update(fair.p - micro, now_ns)
                self.blend.learn(fair.p, micro, min(now_ns - self._learnt_ns, MICRO_NS_MAX) / NS_PER_S)
                self._learnt_ns = now_ns
        else:
            micro = 0.0
        self.p = self.blend.blended(fair.p)
        self.markouts.passed(micro, self.p, now_ns)
        toxicity = self.markouts.toxicity
        self.terms = spread_terms(
            parameters,
            fair,
            self.p,
            fee_rate=market.fee_rate,
            fee_exponent=market.fee_exponent,
            rebate_rate=market.rebate_rate,
            m5_bid=toxicity.bid.m5,
            m5_ask=toxicity.ask.m5,
        )

    def _reasons(self, caches: Caches, down: Collection[str], now_ns: Ns) -> int:
        """Everything but the phase that speaks against quoting freely."""
        parameters, market, position, window = self.parameters, self.market, self.position, self.window
        reasons = self.model.reasons | self.markouts.toxicity.reasons(now_ns) | self._divergence.reasons(now_ns)
        if not self.model.volatility.warm:
            reasons |= Reason.NOT_WARM
        if not window.priceable:
            reasons |= Reason.META
        if "user" in down:
            reasons |= Reason.USER_WS
        if position is None or position.state is not BotState.QUOTING:
            reasons |= Reason.RESYNC
        elif abs(self.net) >= parameters.q_max:
            reasons |= Reason.INV_LIMIT
        if position is not None and position.day_lost:
            reasons |= Reason.DAY_LOSS
        if self.loss >= parameters.loss_max_mkt * USD_ONE:
            reasons |= Reason.MKT_LOSS
        if self.pull.active(now_ns):
            reasons |= Reason.SHOCK
        basis = window.basis
        if basis is not None:
            stream = caches.settlement_of(market.asset, market.window_s)
            reasons |= settlement_reasons(stream.latest, now_ns)
            # An end of the window that is known to a few seconds only makes the price as doubtful as an old stream.
            if not basis.sharp or "settle" in down:
                reasons |= Reason.SETTLE_SOFT
            if basis.diverged:
                reasons |= Reason.DIVERGE
        moved = 0.0
        if self.fair is not None and self.terms is not None:
            if self.view is not None and self.view.recv_ns != self._book_recv_ns:
                self._book_recv_ns = self.view.recv_ns
                self._fair_at_book = self.p
            moved = self.p - self._fair_at_book
            if self.fair.sigma_p > window.schedule.sp_max:
                reasons |= Reason.GAMMA
            if not parameters.p_lo <= self.p <= parameters.p_hi:
                reasons |= Reason.BAND
            if wide(parameters, self.terms):
                reasons |= Reason.WIDE
        elif not reasons & Reason.NOT_WARM and window.strike:
            reasons |= Reason.PHASE  # the effective end has passed: the outcome is fixed
        return reasons | book_reasons(self.view, caches.market_frame_ns, "market" not in down, moved, now_ns)

    # -- quotes ----------------------------------------------------------------------------------------------------

    def _quote(self, mode: QuoteMode, capital_room: Usd, now_ns: Ns) -> None:
        fair, terms, position = self.fair, self.terms, self.position
        assert fair is not None, "quoting needs a fair value"
        assert terms is not None, "quoting needs the terms of its spread"
        assert position is not None, "quoting needs a position"
        parameters, market, touch = self.parameters, self.market, self.touch
        defensive = self.modes.defensive
        self.widths = (
            half_spread(parameters, terms.sum_bid, defensive),
            half_spread(parameters, terms.sum_ask, defensive),
        )
        to_stop_s = self.left_s - self.window.schedule.stop_s
        self.lean = skew(parameters, self.p, terms.variance, self.net, to_stop_s)
        centre = self.p - self.lean
        self.leeway = leeway(parameters, self.window.schedule.c_leeway, fair)
        self.targets = self.wanted(centre, self.outer, touch)
        self.account = account = self._account(position, capital_room)
        self.held = (
            0 if self.pull.bid(now_ns) else self._hold(self.bid, self.targets[0], touch.ask, centre, mode),
            0 if self.pull.ask(now_ns) else self._hold(self.ask, self.targets[1], touch.bid, centre, mode),
        )
        reduce_only = mode is QuoteMode.REDUCE_ONLY
        self.worth = self.markouts.toxicity.worth.factor(now_ns)
        bid, ask = (
            leg(
                parameters,
                account,
                bid=side.bid,
                px=px,
                min_qty=market.min_qty,
                defensive=defensive,
                reduce_only=reduce_only,
                worth=self.worth,
                keep_route=side.kept_route(now_ns),
            )
            for side, px in ((self.bid, self.held[0]), (self.ask, self.held[1]))
        )
        self.legs = within_cash(bid, ask, min(account.cash, account.capital_room), market.min_qty)
        assert not bid.px or not ask.px or bid.px < ask.px, "our own quotes must not meet"

    def wanted(self, centre: float, widths: tuple[float, float], touch: Touch) -> tuple[Px, Px]:
        """Bid and ask, 0 for none, before anything is held. A baseline differs here and nowhere else."""
        return prices(self.parameters, centre, *widths, self.tick, touch.bid, touch.ask, self.net)

    def _hold(self, side: SideState, target: Px, opposite: Px, centre: float, mode: QuoteMode) -> Px:
        """The side's price: its target, or the working one where that is still good."""
        parameters = self.parameters
        hold = None
        edge = self.p * PX_ONE - side.px if side.bid else side.px - self.p * PX_ONE
        same_mode = self.intent is not None and self.intent.quote_mode is mode
        # With no edge left the guard band was crossed. Rewards are for quotes near the mid: one that could earn them
        # and does not is let go.
        if same_mode and edge > 0 and not self.pull.active(self.now_ns) and self._rewarded(side.px, target):
            width = self.widths[0] if side.bid else self.widths[1]
            hold = Hold(
                reservation=centre,
                nearest=max(parameters.hold_min, self.leeway),
                farthest=width + self.leeway + parameters.hold_slack,
            )
        self.keeps[0 if side.bid else 1] = hold is not None and hold.keeps(side.px, side.bid)
        return next_px(
            side,
            target,
            tick=self.tick,
            opposite=opposite,
            hold=hold,
            now_ns=self.now_ns,
            min_rest_ns=self._min_rest_ns,
        )

    def _rewarded(self, px: Px, target: Px) -> bool:
        """False for a price too far from the others' mid for rewards that are paid, where the target is near enough."""
        market, touch = self.market, self.touch
        if not market.reward_usd_day or not touch.bid or not touch.ask:
            return True
        reach, mid2 = 2 * market.reward_spread, touch.bid + touch.ask
        return abs(2 * px - mid2) <= reach or abs(2 * target - mid2) > reach

    def _account(self, position: PositionReport, capital_room: Usd) -> Account:
        """What the legs may use. Their own working orders will be gone before their successors are placed, so these
        give back what they reserve; an order of unknown outcome may hold its shares or cash for good."""
        up_stuck = down_stuck = reserved = 0
        for order in position.working:
            unknown = order.state is OrderState.UNKNOWN
            if order.side is Side.BUY:
                reserved += 0 if unknown else notional(order.px, order.leaves_qty)
            elif unknown and order.asset_id == self.market.up_token:
                up_stuck += order.leaves_qty
            elif unknown:
                down_stuck += order.leaves_qty
        return Account(
            q=self.net,
            up_free=max(0, position.up_qty - up_stuck),
            down_free=max(0, position.down_qty - down_stuck),
            cash=max(0, position.cash + reserved),
            loss_room=max(0, round(self.parameters.loss_max_mkt * USD_ONE) - self.loss),
            capital_room=max(0, capital_room),
        )

    # -- out -------------------------------------------------------------------------------------------------------

    def speak(self, cause_ns: Ns) -> QuoteIntent | None:
        """The last decision as an intent, if it is worth sending."""
        now_ns, mode = self.now_ns, self.modes.mode
        bid, ask = self.legs
        intent = QuoteIntent(
            symbol=self.market.symbol,
            # Microseconds, so that a strategy that was restarted still counts upward.
            seq=max(self._seq + 1, now_ns // 1000),
            epoch=self.position.epoch if self.position else 0,
            made_ns=now_ns,
            valid_until_ns=now_ns + self._ttl_ns,
            quote_mode=mode,
            reasons=self.reasons,
            tick=self.tick,
            bid_px=bid.px,
            bid_size=bid.size,
            bid_route=bid.route,
            offer_px=ask.px,
            offer_size=ask.size,
            offer_route=ask.route,
            cancel_first=mode is QuoteMode.NO_QUOTE,
            guard_lo_e8=self.guards[0],
            guard_hi_e8=self.guards[1],
            fair_e6=round(self.p * 1e6),
            sigma_p_e6=round(self.fair.sigma_p * 1e6) if self.fair is not None else 0,
            cause_ns=cause_ns,
        )
        if not worth_sending(self.intent, intent, self._ttl_ns // 2):
            return None
        self.bid.record(bid.px, bid.route, now_ns)
        self.ask.record(ask.px, ask.route, now_ns)
        self._seq = intent.seq
        self.intent = intent
        return intent
