"""The executor's books: orders, positions, limits and bot state, how one event changes them, and how the bot goes flat.

The base of the Executor; knows no intents and no wire. A contradiction makes the bot fail, a proof of harm makes it halt.
"""

from __future__ import annotations

from collections import deque

import msgspec

from bot.execution.budget import Budget, Rates
from bot.execution.orders import Do, Event, Order, Orders
from bot.execution.position import FillRecord, Positions
from bot.execution.recovery import Recovery
from bot.execution.risk import Exposed, Limits, Risk, Total, Use, total
from bot.execution.slots import Desk, Slot
from bot.execution.timers import Timers
from bot.messages import (
    BalanceRequest,
    BotState,
    CancelOrder,
    ExecutionReport,
    Fill,
    GateChange,
    Halt,
    MassCancel,
    Message,
    Side,
)
from bot.units import NS_PER_S, PX_ONE, Ns, Px, Qty, Usd

HOUR_NS: Ns = 3600 * NS_PER_S
VOIDS_MAX = 3  # reverted fills an hour before the bot halts


class Orphan(msgspec.Struct, kw_only=True):
    """Events of an order we do not know, kept until it is adopted; counted in exposure meanwhile."""

    first_ns: Ns
    symbol: str
    asset_id: str
    side: Side
    px: Px
    reports: list[ExecutionReport] = []
    told: Qty = 0  # the largest size anybody said it has, or had matched
    traded: dict[str, Qty] = {}  # by trade

    @property
    def exposure(self) -> Qty:
        return max(self.told, sum(self.traded.values()))


class Taken(msgspec.Struct, kw_only=True):
    """A token that was bought as taker: when the venue is to be asked what came of it, and what it said."""

    symbol: str
    due_ns: Ns
    theirs: Qty = -1  # -1: not told yet
    ours: Qty = 0  # at that time


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A line for a person: level 1 pages, level 2 warns."""

    seq: int
    level: int
    text: str


class Books:
    """Invariant: orders change by `tell`, positions by fills that a told order booked, and every change is `marked`."""

    DERIVED = frozenset({"_uses", "_total"})  # counted anew where missing: who looks on may fill them, too

    def __init__(self, *, limits: Limits, rates: Rates, timers: Timers, clean_start: bool) -> None:
        self.timers = timers
        self.orders = Orders(self.epoch_of, timers)
        self.positions = Positions()
        self.risk = Risk(limits)
        self.budget = Budget(rates)
        self.recovery = Recovery(timers, clean_start=clean_start)
        self.desks: dict[str, Desk] = {}
        self.orphans: dict[str, Orphan] = {}
        self.queries: dict[str, Order] = {}  # orders with a query planned
        self.taken: dict[str, Taken] = {}  # by token
        self.touched: set[str] = set()  # markets to look at before this message is done
        self.alerts: deque[Alert] = deque(maxlen=20)
        self.alert_seq = 0
        self.counts = dict.fromkeys(("placed", "acked", "rejected", "canceled", "filled"), 0)
        self.wishes = 0  # orders that accepted intents asked for: never fewer than were placed
        self.user_events = dict.fromkeys(("handled", "duplicates", "quarantined"), 0)
        self.now: Ns = 0
        self.cause_ns: Ns = 0  # receive time of the reference frame behind the message being handled
        self.out: list[Message] = []
        self.baseline_done = False  # the first read of trades told us what earlier runs left
        self.venue_down_ns: Ns = 0  # last time the venue gave a cancel or read no usable answer
        self.slow_until_ns: Ns = 0
        self.tick_ns: Ns = 0  # of the last timer tick, with the wall clock it brought
        self.tick_utc_ns: Ns = 0
        self._balance_ns: Ns = 0  # last asked
        self._doubted: tuple[Usd, Usd] | None = None  # the venue's cash and ours, as of the last read that differed
        self._uses: dict[str, Use] = {}
        self._total: Total | None = None
        self._voids: deque[Ns] = deque(maxlen=VOIDS_MAX)

    def epoch_of(self, symbol: str) -> int:
        desk = self.desks.get(symbol)
        return self.recovery.epoch + (desk.pulls if desk is not None else 0)

    def utc_ns(self) -> Ns:
        """Venue-corrected wall clock: the last tick's, plus what passed since; 0 before the first."""
        return self.tick_utc_ns + (self.now - self.tick_ns) if self.tick_utc_ns else 0

    def mark(self, symbol: str) -> None:
        """Something of this market changed: what it uses of the limits is counted anew, and it is looked at and told."""
        self.touched.add(symbol)
        self._uses.pop(symbol, None)
        self._total = None

    def use(self, desk: Desk) -> Use:
        """What a market uses of the limits."""
        use = self._uses.get(desk.market.symbol)
        if use is None:
            use = self._uses[desk.market.symbol] = self.use_without(desk, None)
        return use

    def total(self) -> Total:
        """What all markets use of the limits."""
        if self._total is None:
            self._total = total(self.use(desk) for desk in self.desks.values())
        return self._total

    def use_without(self, desk: Desk, own: Order | None) -> Use:
        """What a market uses, counted anew and as if one order were not there."""
        symbol = desk.market.symbol
        exposed: list[Exposed] = [order for order in self.orders.of_market(symbol) if order is not own]
        exposed.extend(orphan for orphan in self.orphans.values() if orphan.symbol == symbol)
        return self.risk.use(desk.market, self.positions, exposed)

    def live_count(self) -> int:
        """Everything that may be live."""
        return len(self.orders.live) + len(self.orphans)

    def ghosts(self, asset_id: str) -> Qty:
        """Shares matched long ago that never reached the chain."""
        return self.positions.unsettled_qty(asset_id, self.now - self.timers.ghost_ns)

    # -- going flat ----------------------------------------------------------------------------------------------------

    def alert(self, level: int, text: str) -> None:
        self.alert_seq += 1
        self.alerts.append(Alert(seq=self.alert_seq, level=level, text=text))

    def fail(self, reason: str, epoch: int = 0) -> None:
        """CA + CD: shut the gate, cancel all, cool down, reconcile."""
        if self.recovery.state not in (BotState.FAILING, BotState.HALTED):
            self.alert(1, reason)
        self.go(self.recovery.fail(reason, self.now, epoch), Event.CANCEL_ALL)

    def halt(self, reason: str) -> None:
        """CA and stay out: asks root for the latch and does not wait for it."""
        if self.recovery.state in (BotState.HALTED, BotState.STOPPING, BotState.STOPPED):
            return self.fail(reason)
        self.alert(1, reason)
        self.out.append(Halt(reason=reason, by="executor", epoch=self.recovery.epoch + 1))
        self.go(self.recovery.halt(reason, self.now), Event.CANCEL_ALL)
        return None

    def go(self, requests: list[Message], event: Event) -> None:
        """Send what the recovery asks for; a mass cancel among it is told to every order first."""
        if not requests:
            return
        if any(isinstance(request, MassCancel) for request in requests):
            live = list(self.orders.live.values())
            self.budget.charge_cancels(1 + len(live), self.now)
            self.orders.changed_ns = max(self.orders.changed_ns, self.now)
            for order in live:
                self.tell(event, order)
        self.out.extend(requests)
        self.touched.update(self.desks)

    def fail_market(self, symbol: str, reason: str) -> None:
        """CA for one market: a contradiction that concerns nothing else."""
        self.alert(1, reason)
        desk = self.desks.get(symbol)
        if desk is None:
            return
        desk.blocked_until_ns = self.now + self.timers.cooldown_ns
        self.pull(desk, reason)
        self.budget.charge_cancels(1, self.now)
        self.out.append(MassCancel(symbol=symbol, reason=reason, made_ns=self.now))

    def pull(self, desk: Desk, reason: str) -> None:
        """Nothing of this market may rest: raise its epoch and cancel by id, past every throttle. No failure."""
        symbol = desk.market.symbol
        resting = [o for o in self.orders.of_market(symbol) if o.is_open and not o.cancel_wanted]
        if not resting:
            return
        desk.pulls += 1
        self.out.append(GateChange(symbol=symbol, epoch=self.epoch_of(symbol), reason=reason))
        for order in resting:
            self.tell(Event.CANCEL_WANTED, order)

    # -- one event to one order ----------------------------------------------------------------------------------------

    def tell(
        self,
        event: Event,
        order: Order | None,
        report: ExecutionReport | None = None,
        *,
        cum: Qty | None = None,
        qty: Qty = 0,
        asked_ns: Ns = 0,
    ) -> None:
        """Run the order table's cell and do what it asks for."""
        if order is None:
            assert report is not None
            return self._tell_unknown(event, report)
        before = (order.state, order.exposure, order.leaves_qty)
        todo = self.orders.apply(event, order, self.now, cum=cum, qty=qty, asked_ns=asked_ns)
        if todo or before != (order.state, order.exposure, order.leaves_qty):
            self.touched.add(order.symbol)
            if before[1] != order.exposure:  # all that the limits see of an order
                self.mark(order.symbol)
        for do in todo:
            match do:
                case Do.DELETE:
                    self.delete(order)
                case Do.QUERY:
                    self.queries[order.order_id] = order
                case Do.FILL:
                    assert report is not None
                    self._filled(order, report)
                case Do.VOID:
                    assert report is not None
                    self._voided(report, order)
                case Do.TOMB:
                    assert report is not None
                    self.positions.bury(report, order.symbol, self.now)
                case Do.RANK:
                    assert report is not None
                    self.positions.settle_step(report)
                case Do.ALARM:
                    self.fail(f"{event.name} contradicts order {order.order_id}, which was {before[0]}")
                case Do.ALARM_MARKET:
                    self.fail_market(order.symbol, f"{event.name} for order {order.order_id}")
                case Do.WARN:
                    self.alert(2, f"{event.name} of order {order.order_id}, which is {order.state}")
                case Do.HALT:
                    self.halt(f"order {order.order_id} was filled beyond its size")
                case Do.ENDED:
                    self._ended(order)
        return None

    def _tell_unknown(self, event: Event, report: ExecutionReport) -> None:
        """The same for an order we have no record of."""
        todo = self.orders.apply(event, None, self.now)
        if Do.ORPHAN in todo:
            self._orphan(report)
        if Do.TOMB in todo:
            self.positions.bury(report, report.symbol, self.now)
        if Do.ALARM in todo:
            self.fail(f"{event.name} for order {report.order_id}, which we do not know")

    def tell_known(self, event: Event, order_id: str) -> None:
        order = self.orders.get(order_id)
        if order is not None:
            self.tell(event, order)

    def delete(self, order: Order) -> None:
        """Send DELETE for one order; table cells and timers ask for it, so it is never throttled."""
        if order.delete_ns == self.now and order.deletes:
            return
        self.budget.charge_cancels(1, self.now)
        self.orders.deleted(order, self.now)
        self.out.append(
            CancelOrder(
                cl_ord_id=order.cl_ord_id,
                order_id=order.order_id,
                symbol=order.symbol,
                made_ns=self.now,
                cause_ns=self.cause_ns,
            )
        )

    def ask(self, order: Order) -> None:
        """Plan a query, not sooner than the venue should be asked about one order."""
        if not order.query_due_ns:
            order.query_due_ns = max(self.now, order.queried_ns + self.timers.query_gap_ns)
        self.orders.live[order.order_id] = order
        self.queries[order.order_id] = order

    def want_balance(self) -> None:
        self._balance_ns = self.now
        self.out.append(BalanceRequest(asked_ns=self.now))

    def _ended(self, order: Order) -> None:
        if order.state.value in ("canceled", "rejected"):
            self.counts[order.state.value] += 1

    def slot_of(self, order: Order) -> Slot | None:
        desk = self.desks.get(order.symbol)
        return desk.slots.get(order.leg) if desk is not None else None

    def took(self, symbol: str, asset_id: str, side: Side) -> None:
        """As taker: of a purchase the venue may keep its fee back in shares, so what it has is asked for."""
        if side is Side.BUY:
            self.taken[asset_id] = Taken(symbol=symbol, due_ns=self.now + self.timers.settle_ns)

    def _filled(self, order: Order, report: ExecutionReport) -> None:
        before = self.positions.cash
        record = self.positions.book(report, order.symbol, order.asset_id, order.side, self.now)
        self._after_payout(order.symbol, before)
        if order.cum_qty == report.last_qty:
            self.counts["filled"] += 1
        if not report.maker:
            self.alert(2, f"trade {report.exec_id} took liquidity although orders are post-only")
            self.took(order.symbol, order.asset_id, order.side)
        slot = self.slot_of(order)
        if slot is not None:
            slot.filled(order.up_px)
        self.emit_fill(record, report, order.cl_ord_id, 1)

    def _voided(self, report: ExecutionReport, order: Order | None) -> None:
        before = self.positions.cash
        record = self.positions.void(report, self.now)
        self._after_payout(record.symbol, before)
        self.emit_fill(record, report, order.cl_ord_id if order is not None else "", -1)
        self._voids.append(self.now)
        if len(self._voids) == VOIDS_MAX and self.now - self._voids[0] < HOUR_NS:
            self.halt(f"{VOIDS_MAX} fills were reverted within an hour")

    def _after_payout(self, symbol: str, cash_before: Usd) -> None:
        """What moves after its market was paid out is a result of the day at once."""
        if self.positions.of(symbol).winner:
            self.risk.realised_day += self.positions.cash - cash_before

    def emit_fill(self, record: FillRecord, report: ExecutionReport, cl_ord_id: str, sign: int) -> None:
        self.mark(record.symbol)
        desk = self.desks.get(record.symbol)
        up = desk is None or record.asset_id == desk.market.up_token
        bid = up == (record.side is Side.BUY)
        self.out.append(
            Fill(
                symbol=record.symbol,
                exec_id=report.exec_id,
                order_id=record.order_id,
                cl_ord_id=cl_ord_id,
                asset_id=record.asset_id,
                side=record.side,
                px=record.px,
                qty=sign * record.qty,
                up_side=Side.BUY if bid else Side.SELL,
                up_px=record.px if up else PX_ONE - record.px,
                fair_e6=desk.intent.fair_e6 if desk is not None and desk.intent is not None else 0,
                utc_ns=report.utc_ns,
                now_ns=self.now,
            )
        )

    def _orphan(self, report: ExecutionReport) -> None:
        """Keep the event of an order we do not know; it counts in exposure at once."""
        self.mark(report.symbol)
        orphan = self.orphans.get(report.order_id)
        if orphan is None:
            orphan = self.orphans[report.order_id] = Orphan(
                first_ns=self.now,
                symbol=report.symbol,
                asset_id=report.asset_id,
                side=report.side or Side.BUY,
                px=report.px or report.last_px or PX_ONE,
            )
        orphan.told = max(orphan.told, report.order_qty or report.cum_qty or 0)
        if report.exec_id:
            orphan.traded.setdefault(report.exec_id, report.last_qty)
        orphan.reports.append(report)
