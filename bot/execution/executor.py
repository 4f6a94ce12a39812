"""Executor core: intents and facts in, order requests out. The only writer of orders, inventory, limits and bot state.

Places what the strategy wants within limits and budget, tells every fact to the record it is about, and goes flat when
the two do not fit. Prices nothing; knows no clock, socket, file or thread: `handle` is a function of what it was told.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bot.execution import slots, views, watch
from bot.execution.budget import Rates
from bot.execution.orders import Event, Order
from bot.execution.reads import Reads
from bot.execution.risk import Limits, Total, Use, total
from bot.execution.slots import Desk, Slot, Target
from bot.execution.timers import Timers
from bot.market import Market
from bot.messages import (
    Balance,
    BotState,
    CancelReject,
    ExecutionReport,
    Fail,
    FeedStatus,
    Halt,
    MarketDropped,
    MarketListed,
    MarketResolved,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrders,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    QuoteIntent,
    QuoteMode,
    RateLeft,
    Restarted,
    Resume,
    Settled,
    Shares,
    Shutdown,
    Side,
    StatusReport,
    StreamGap,
    TickSizeChange,
    TimerTick,
    TradesRead,
)
from bot.units import LOT, NS_PER_S, Ns, Px, Qty, Usd, notional

DAY_NS: Ns = 86_400 * NS_PER_S
USER_FEED = "user"


class Executor(Reads):
    """Invariants: an order is PENDING_NEW before anyone can hear of it; one live order per slot; every limit holds in
    the worst case; nothing is placed outside QUOTING.

    `order_id_of` gives the EIP-712 digest of a NewOrder whose order_id is empty; it must be a pure function.
    `salt_base` must be one that no earlier run used. `day_loss` is what was lost today before this run.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        order_id_of: Callable[[NewOrder], str],
        salt_base: int,
        timers: Timers = Timers(),
        rates: Rates = Rates(),
        clean_start: bool = True,
        day_loss: Usd = 0,
        utc_day: int = 0,
    ) -> None:
        super().__init__(limits=limits, rates=rates, timers=timers, clean_start=clean_start)
        self.risk.day, self.risk.realised_day = utc_day, -day_loss
        self._order_id_of = order_id_of
        self._salt_base = salt_base
        self._salt = 0
        self._pruned_ns: Ns = 0
        self._intents = {"handled": 0, "refused": 0}
        self._told_cash: Usd = -1

    @property
    def last_salt(self) -> int:
        return self._salt_base + self._salt

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        self.now = now_ns
        self.out = []
        self.cause_ns = message.cause_ns if type(message) is QuoteIntent else 0
        before = (self.recovery.state, self.recovery.epoch, self.positions.cash)
        match message:
            case TimerTick():
                self._tick(message)
            case QuoteIntent():
                self._intent(message)
            case ExecutionReport():
                self.report(message)
            case OrderStatusReport():
                self.order_status(message)
            case OpenOrders():
                self.open_orders(message)
            case TradesRead():
                self.trades_read(message)
            case CancelReject():
                self.cancel_reject(message)
            case OutcomeUnknown():
                self.outcome_unknown(message)
            case MassCancelReport():
                self.mass_cancel_report(message)
            case Balance():
                self.balance(message)
            case Shares():
                self.shares(message)
            case RateLeft():
                self.budget.told(message.kind, message.left, now_ns)
            case MarketListed():
                self._listed_market(message.market)
            case MarketDropped():
                self._dropped(message.symbol)
            case MarketResolved():
                self._resolved(message)
            case TickSizeChange():
                self._tick_size(message)
            case StreamGap():
                if message.feed == USER_FEED:
                    self.gap(message.reason)
            case FeedStatus():
                self._feed(message)
            case Fail():
                self.fail(message.reason, message.epoch)
            case Halt():
                self.go(self.recovery.halt(message.reason, now_ns, message.epoch), Event.CANCEL_ALL)
            case Resume():
                self._resume(message)
            case Restarted():
                self._restarted(message)
            case Shutdown():
                self.go(self.recovery.stop(message.reason, now_ns, message.epoch), Event.CANCEL_ALL)
            case _:
                raise AssertionError(f"the executor was sent a {type(message).__name__}")
        self._finish(before)
        return self.out

    def _finish(self, before: tuple[BotState, int, Usd]) -> None:
        """What every message may have made possible: settle, quote, ask, report."""
        if self.recovery.state is BotState.RECONCILING:
            self.go(self.recovery.reconciling(self.now, self.orders), Event.CANCEL_ALL)
        if (self.recovery.state, self.recovery.epoch, self.positions.cash) != before:
            self.touched.update(self.desks)
        if self.touched:
            for desk in self.desks.values():  # what changed in one market may pass a limit on all together
                if self.risk.passed(self.use(desk), self.total()):
                    self._shed(desk)
        for symbol in sorted(self.touched & self.desks.keys()):
            desk = self.desks[symbol]
            self._quote(desk)
            self._settle(desk)
        if self.queries:
            self._flush_queries()
        if self.touched:
            self._report_positions()
            self.touched.clear()

    def _report_positions(self) -> None:
        free_cash = self.positions.cash - self.total().buying
        changed = self.desks if free_cash != self._told_cash else self.touched & self.desks.keys()
        self._told_cash = free_cash
        for symbol in sorted(changed):
            desk = self.desks[symbol]
            report = views.position_report(self, desk, free_cash)
            if report != desk.report:
                quiet = desk.report is not None and not views.moves(desk.report, report)
                desk.report = report
                self.out.append(msgspec.structs.replace(report, quiet=True) if quiet else report)

    def status_report(self) -> StatusReport:
        """For who looks on. Follows from what was handled, so it is asked for and not emitted: half a journal otherwise."""
        return StatusReport(component="executor", body=views.status_body(self, self._intents))

    def _flush_queries(self) -> None:
        for order_id, order in list(self.queries.items()):
            if not order.query_ns and self.now >= order.query_due_ns and self.budget.take_query(self.now):
                del self.queries[order_id]
                self.orders.asked(order, self.now)
                self.out.append(
                    OrderStatusRequest(
                        cl_ord_id=order.cl_ord_id, order_id=order_id, symbol=order.symbol, asked_ns=self.now
                    )
                )

    # -- intents to orders -----------------------------------------------------------------------------------------

    def _intent(self, intent: QuoteIntent) -> None:
        desk = self.desks.get(intent.symbol)
        if desk is None or self.now >= intent.valid_until_ns or intent.epoch != self.epoch_of(intent.symbol):
            self._intents["refused"] += 1
            return
        if intent.tick != desk.tick or (desk.intent is not None and intent.seq <= desk.intent.seq):
            self._intents["refused"] += 1
            return
        fault = slots.fault(intent, desk.tick)
        if fault:
            self._intents["refused"] += 1
            self.alert(2, f"intent {intent.seq} of {intent.symbol} is refused: {fault}")
            return
        self._intents["handled"] += 1
        self.wishes += slots.sides_wanted(intent)
        desk.intent = intent
        if intent.cancel_first or intent.quote_mode is QuoteMode.NO_QUOTE:
            self.pull(desk, "the strategy pulls")
        self._quote(desk)

    def _quote(self, desk: Desk) -> None:
        """Bring what rests nearer to what is wanted: at most one step per slot."""
        intent = desk.intent
        if intent is None:
            return
        if self.now >= intent.valid_until_ns:
            desk.intent = None
            self.pull(desk, "the last intent is too old")
            return
        if self.recovery.state is not BotState.QUOTING:
            return
        calm = True
        for slot in desk.slots.values():
            order = slot.order
            if order is not None and not order.is_open:
                order = slot.order = None
            if order is not None and order.cancel_wanted:
                continue  # a new order waits until the old one has ended, which is told
            target = slots.wanted(desk, slot.name)
            if order is not None and target is not None and slots.keeps(order, target, intent.quote_mode):
                continue
            calm = calm and order is None and target is None
            if order is None:
                fresh = slot.spent_seq != intent.seq and intent.epoch == self.epoch_of(intent.symbol)
                if target is not None and fresh and self._may_place(desk, slot, target):
                    self._place(desk, slot, target, intent)
            elif target is None:
                self.tell(Event.CANCEL_WANTED, order)
            elif not self._still_fits(desk, order, target, intent.quote_mode) and self.budget.take_cancel(self.now):
                self.tell(Event.REPLACE_WANTED, order)
        desk.calm = calm

    def _still_fits(self, desk: Desk, order: Order, target: Target, mode: QuoteMode) -> bool:
        """May an order that is not quite what is wanted stay?"""
        if order.up_px != target.up_px:
            return False
        # The wish may be larger than the limits allow, or not sellable now: compare with what would be placed instead.
        fitted = self._fit(desk, target, order)
        return fitted is not None and slots.keeps(order, fitted, mode)

    def _may_place(self, desk: Desk, slot: Slot, target: Target) -> bool:
        utc_ns = self.utc_ns()
        return not (
            slot.off
            or self.now < slot.cool_until_ns
            or self.now < desk.blocked_until_ns
            or self.now < self.slow_until_ns
            or target.up_px == slot.blocked_px
            or desk.winner
            or desk.dropped
            or not utc_ns
            or utc_ns >= desk.market.end_utc_ns
        )

    def _fit(self, desk: Desk, target: Target, own: Order | None) -> Target | None:
        """The target cut to what inventory, limits and cash allow beside everything but `own`."""
        market, symbol = desk.market, desk.market.symbol
        use, all_ = self._beside(desk, own)
        sellable = self.positions.qty(symbol, target.asset_id) - self.positions.unsettled_qty(target.asset_id)
        fitted = slots.feasible(target, market, use, sellable)
        if self.ghosts(fitted.asset_id) > self.risk.limits.unsettled_max:
            return None
        qty = min(fitted.qty, self._room(use, all_, up_token=fitted.up_token, side=fitted.side, px=fitted.px))
        return msgspec.structs.replace(fitted, qty=qty) if qty >= market.min_qty else None

    def _room(self, use: Use, all_: Total, *, up_token: bool, side: Side, px: Px) -> Qty:
        free_cash = self.positions.cash - all_.buying
        return self.risk.room(use, all_, free_cash, up_token=up_token, side=side, px=px)

    def _beside(self, desk: Desk, own: Order | None) -> tuple[Use, Total]:
        """What everything but `own` uses of the limits, in its market and in all."""
        if own is None:
            return self.use(desk), self.total()
        use = self.use_without(desk, own)
        return use, total([use, *(self.use(other) for other in self.desks.values() if other is not desk)])

    def _shed(self, desk: Desk) -> None:
        """A limit is passed by what we did not place or could not foresee: what has no room now may not rest."""
        for order in list(self.orders.of_market(desk.market.symbol)):
            if not order.is_open or order.cancel_wanted:
                continue
            use, all_ = self._beside(desk, order)
            up_token = order.asset_id == desk.market.up_token
            room = self._room(use, all_, up_token=up_token, side=order.side, px=order.px)
            if room + LOT < order.leaves_qty:  # less is dust
                self.alert(2, f"order {order.order_id} has no room any more within the limits")
                self.tell(Event.CANCEL_WANTED, order)

    def _place(self, desk: Desk, slot: Slot, target: Target, intent: QuoteIntent) -> None:
        limits = self.risk.limits
        fair_px: Px = intent.fair_e6 // 100
        if fair_px and abs(target.up_px - fair_px) > limits.collar:
            slot.spent_seq = intent.seq
            self.alert(2, f"{slot.name} {target.up_px} is too far from fair {fair_px}")
            return
        if self.risk.crowded(self.use(desk), self.live_count(), up_token=target.up_token):
            return
        fitted = self._fit(desk, target, None)
        if fitted is None:
            return
        repeats = slot.repeats(target.up_px, self.now)
        if repeats >= limits.repeats_max:
            self.halt(f"the same {slot.name} was sent {repeats} times in ten seconds and never filled")
            return
        if repeats >= limits.repeats_soft:
            slot.cool_until_ns = self.now + self.timers.side_cooldown_ns
            return
        if self.counts["placed"] >= self.wishes:
            self.halt(f"{self.wishes} orders were asked for and sent, and one more would leave")
            return
        if not self.budget.take_order(self.now):
            return
        slot.spent_seq = intent.seq
        slot.count(target.up_px, self.now)
        self._submit(desk, slot, fitted)

    def _submit(self, desk: Desk, slot: Slot, target: Target) -> None:
        market = desk.market
        self._salt += 1
        money = notional(target.px, target.qty)
        request = NewOrder(
            cl_ord_id=f"{self._salt_base:x}-{self._salt}",
            order_id="",
            symbol=market.symbol,
            asset_id=target.asset_id,
            side=target.side,
            px=target.px,
            order_qty=target.qty,
            maker_amount=money if target.side is Side.BUY else target.qty,
            taker_amount=target.qty if target.side is Side.BUY else money,
            salt=self.last_salt,
            timestamp_ms=self.utc_ns() // 1_000_000,
            version=market.version,
            neg_risk=market.neg_risk,
            tick=desk.tick,
            epoch=self.epoch_of(market.symbol),
            valid_until_ns=self.now + self.timers.valid_ns,
            made_ns=self.now,
            cause_ns=self.cause_ns,
        )
        request = msgspec.structs.replace(request, order_id=self._order_id_of(request))
        order = Order(
            cl_ord_id=request.cl_ord_id,
            order_id=request.order_id,
            symbol=market.symbol,
            asset_id=target.asset_id,
            side=target.side,
            px=target.px,
            order_qty=target.qty,
            epoch=request.epoch,
            created_ns=self.now,
            leg=slot.name,
            up_px=target.up_px,
            mirror=target.mirror,
        )
        self.orders.add(order)
        self.mark(market.symbol)
        self.tell(Event.SUBMIT, order)
        slot.order = order
        self.counts["placed"] += 1
        self.out.append(request)

    # -- markets ---------------------------------------------------------------------------------------------------

    def _listed_market(self, market: Market) -> None:
        if market.symbol not in self.desks:
            desk = self.desks[market.symbol] = Desk(market)
            desk.winner = self.positions.of(market.symbol).winner  # one that was paid out may be listed again
            desk.settled = bool(desk.winner)
        self.mark(market.symbol)

    def _dropped(self, symbol: str) -> None:
        desk = self.desks.get(symbol)
        if desk is not None:
            desk.dropped = True
            desk.intent = None
            self.pull(desk, "the market is over")
            self.mark(symbol)

    def _resolved(self, message: MarketResolved) -> None:
        desk = self.desks.get(message.symbol)
        if desk is None:
            return
        if desk.winner:  # told twice; otherwise than before means that what we paid out is wrong
            if desk.winner != message.winning_asset_id:
                self.halt(f"{desk.market.slug} was resolved twice, and not alike")
            return
        desk.winner = message.winning_asset_id
        desk.intent = None
        self.pull(desk, "the market is resolved")
        self.mark(message.symbol)

    def _settle(self, desk: Desk) -> None:
        """Pay a resolved market out once none of its orders may still fill, and forget a dropped one."""
        if not (desk.winner or desk.dropped):
            return
        symbol = desk.market.symbol
        busy = any(order.symbol == symbol for order in self.orders.live.values())
        if desk.winner and not desk.settled and not busy and self.tick_utc_ns:  # or its result would be of no day
            desk.settled = True
            up, down = self.positions.quantities(desk.market)
            invested = self.positions.of(symbol).invested
            payout = self.positions.pay_out(symbol, desk.winner, self.now)
            self.mark(symbol)
            self.risk.realised_day += payout - invested
            self.out.append(
                Settled(
                    symbol=symbol,
                    slug=desk.market.slug,
                    outcome="up" if desk.winner == desk.market.up_token else "down",
                    net_qty=up - down,
                    payout=payout,
                    pnl=payout - invested,
                )
            )
            self._check_day()
        up_qty, down_qty = self.positions.quantities(desk.market)
        if desk.dropped and not busy and (desk.settled or not (up_qty or down_qty)):
            del self.desks[symbol]

    def _tick_size(self, message: TickSizeChange) -> None:
        desk = self.desks.get(message.symbol)
        if desk is None or desk.tick == message.tick:
            return
        desk.tick = message.tick
        for slot in desk.slots.values():
            slot.blocked_px = 0
            if desk.intent is not None:
                slot.spent_seq = desk.intent.seq  # it was made for the old grid
        for order in list(self.orders.of_market(message.symbol)):
            if order.px % message.tick:
                self.tell(Event.CANCEL_WANTED, order)
        self.mark(message.symbol)

    # -- control ---------------------------------------------------------------------------------------------------

    def _feed(self, message: FeedStatus) -> None:
        if message.feed != USER_FEED:
            return
        was_up = self.recovery.user_up
        self.recovery.user_up = message.connected
        if was_up and not message.connected:
            self.gap(message.text or "the user stream is disconnected")

    def _resume(self, message: Resume) -> None:
        if self.recovery.state is not BotState.HALTED:
            return
        for order in list(self.orders.live.values()):
            if order.debt:  # a person has looked: what never came will not hold the bot for ever
                self.alert(2, f"the fill debt of order {order.order_id} is written off by {message.by}")
                self.orders.write_off(order)
                self.mark(order.symbol)
        self.recovery.resume(self.now)

    def _check_day(self) -> None:
        """What a day may lose is lost: no resume helps, only the next UTC day or a larger limit."""
        if self.risk.day_is_lost and self.recovery.state not in watch.STAYS_OUT:
            self.halt("the loss limit of the day is reached")

    def _restarted(self, message: Restarted) -> None:
        """E30. Nothing we asked for will be answered, and nobody we talk to knows what the last run said."""
        self._salt = 0
        self._intents = dict.fromkeys(self._intents, 0)
        self.forget_run()
        for desk in self.desks.values():
            desk.intent = desk.report = None
            for slot in desk.slots.values():
                slot.spent_seq = 0
            self.mark(desk.market.symbol)
        self.recovery.restart(leftovers=message.power_lost)
        for order in list(self.orders.live.values()):
            self.tell(Event.RESTART, order)

    # -- time ------------------------------------------------------------------------------------------------------

    def _tick(self, tick: TimerTick) -> None:
        self.tick_ns, self.tick_utc_ns = tick.now_ns, tick.utc_ns
        self.risk.roll(self.utc_ns() // DAY_NS)
        self._check_day()
        for order in list(self.orders.live.values()):
            watch.over(self, order)
        self.expire_orphans()
        if self.taken:
            watch.fees(self)
        for desk in self.desks.values():
            if desk.intent is not None and not (desk.calm and self.now < desk.intent.valid_until_ns):
                self._quote(desk)
        self.go(self.recovery.step(self.now, self.utc_ns(), self.orders), Event.CANCEL_ALL)
        if self.recovery.state is BotState.QUOTING and self.now - self._balance_ns >= self.timers.balance_every_ns:
            self.want_balance()
            watch.ghosts(self)
        if self.now - self._pruned_ns >= 60 * NS_PER_S:
            self._pruned_ns = self.now
            self.orders.tidy(self.now)
            self.positions.prune(self.now, 2 * self.timers.keep_ns)
