"""What the executor knows, and how facts change it: reports, reads and answers, each told to the order it is about.

The base of the Executor. Decides nothing about quotes; a fact that does not fit makes the bot fail or halt.
"""

from __future__ import annotations

from collections import deque

import msgspec

from bot.execution.budget import Budget, Rates
from bot.execution.orders import PC, Do, Event, Order, Orders, W
from bot.execution.position import FillRecord, Positions
from bot.execution.recovery import Recovery
from bot.execution.risk import Limits, Risk
from bot.execution.slots import BALANCE_MAX, Desk, Slot, leg_of
from bot.execution.timers import Timers, backoff
from bot.messages import (
    Balance,
    BotState,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    Fill,
    FoundStatus,
    GateChange,
    Halt,
    MassCancel,
    MassCancelReport,
    Message,
    OpenOrder,
    OpenOrders,
    OrderStatusReport,
    OutcomeUnknown,
    Reject,
    Request,
    Side,
    Source,
    TradesRead,
    TradeStatus,
)
from bot.units import NS_PER_S, PX_ONE, USD_ONE, Ns, Px, Qty

HOUR_NS: Ns = 3600 * NS_PER_S
BURST_NS: Ns = 2 * NS_PER_S  # two cancellations nobody asked for within this are a failure
VOIDS_MAX = 3  # reverted fills an hour before the bot halts
GAPS_MAX, GAPS_NS = 10, 300 * NS_PER_S  # user-stream gaps before the bot halts
AMBIGUOUS_MAX = 3  # POSTs in a row without usable answer before the bot fails
REFUSED_MAX = 5  # refusals in a row that we cannot tell apart before the bot fails
CASH_TOLERANCE = USD_ONE // 100


class Orphan(msgspec.Struct, kw_only=True):
    """Events of an order we do not know, kept until it is adopted; counted in exposure meanwhile."""

    first_ns: Ns
    symbol: str
    asset_id: str
    side: Side
    px: Px
    exposure: Qty
    reports: list[ExecutionReport]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A line for a person: level 1 pages, level 2 warns."""

    seq: int
    level: int
    text: str


class Facts:
    """State of the executor and the methods that take facts. Invariant: no fact is dropped without being counted."""

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
        self.touched: set[str] = set()  # markets to look at before this message is done
        self.alerts: deque[Alert] = deque(maxlen=20)
        self.alert_seq = 0
        self.counts = dict.fromkeys(("placed", "acked", "rejected", "canceled", "filled"), 0)
        self.user_events = dict.fromkeys(("handled", "duplicates", "quarantined"), 0)
        self.now: Ns = 0
        self.out: list[Message] = []
        self.baseline_done = False  # the first read of trades told us what earlier runs left
        self.cash_known = False
        self.venue_down_ns: Ns = 0  # last time the venue gave a cancel or read no usable answer
        self.slow_until_ns: Ns = 0
        self._relisted: set[str] = set()  # ended orders that the last valid read still listed
        self._unasked: deque[Ns] = deque(maxlen=2)
        self._voids: deque[Ns] = deque(maxlen=VOIDS_MAX)
        self._gaps: deque[Ns] = deque(maxlen=GAPS_MAX + 1)
        self._ambiguous = 0
        self._refused = 0
        self._versions = 0

    def epoch_of(self, symbol: str) -> int:
        desk = self.desks.get(symbol)
        return self.recovery.epoch + (desk.pulls if desk is not None else 0)

    # -- going flat --------------------------------------------------------------------------------------------------

    def alert(self, level: int, text: str) -> None:
        self.alert_seq += 1
        self.alerts.append(Alert(seq=self.alert_seq, level=level, text=text))

    def fail(self, reason: str, epoch: int = 0) -> None:
        """CA + CD: shut the gate, cancel all, cool down, reconcile."""
        if self.recovery.state not in (BotState.FAILING, BotState.HALTED):
            self.alert(1, reason)
        self._go(self.recovery.fail(reason, self.now, epoch), Event.CANCEL_ALL)

    def halt(self, reason: str) -> None:
        """CA and stay out: asks root for the latch and does not wait for it."""
        if self.recovery.state in (BotState.HALTED, BotState.STOPPING, BotState.STOPPED):
            return self.fail(reason)
        self.alert(1, reason)
        self.out.append(Halt(reason=reason, by="executor", epoch=self.recovery.epoch + 1))
        self._go(self.recovery.halt(reason, self.now), Event.CANCEL_ALL)
        return None

    def _go(self, requests: list[Message], event: Event) -> None:
        """Send what the recovery asks for; a mass cancel among it is told to every order first."""
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
        self.touched.add(symbol)

    # -- one event to one order ------------------------------------------------------------------------------------

    def tell(
        self,
        event: Event,
        order: Order | None,
        report: ExecutionReport | None = None,
        *,
        cum: Qty = 0,
        qty: Qty = 0,
        asked_ns: Ns = 0,
    ) -> None:
        """Run the order table's cell and do what it asks for."""
        todo = self.orders.apply(event, order, self.now, cum=cum, qty=qty, asked_ns=asked_ns)
        if order is None:
            assert report is not None
            if Do.ORPHAN in todo:
                self._orphan(report)
            if Do.TOMB in todo:
                self.positions.bury(report, report.symbol, self.now)
            if Do.ALARM in todo:
                self.fail(f"{event.name} for order {report.order_id}, which we do not know")
            return
        self.touched.add(order.symbol)
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
                    self.fail(f"{event.name} contradicts order {order.order_id}, which is {order.state}")
                case Do.ALARM_MARKET:
                    self.fail_market(order.symbol, f"{event.name} for order {order.order_id}")
                case Do.HALT:
                    self.halt(f"order {order.order_id} was filled beyond its size")
                case Do.ENDED:
                    self._ended(order)

    def delete(self, order: Order) -> None:
        """Send DELETE for one order; table cells and timers ask for it, so it is never throttled."""
        if order.delete_ns == self.now and order.deletes:
            return
        self.budget.charge_cancels(1, self.now)
        self.orders.deleted(order, self.now)
        self.out.append(
            CancelOrder(cl_ord_id=order.cl_ord_id, order_id=order.order_id, symbol=order.symbol, made_ns=self.now)
        )

    def _ended(self, order: Order) -> None:
        if order.state.value in ("canceled", "rejected"):
            self.counts[order.state.value] += 1

    def slot_of(self, order: Order) -> Slot | None:
        desk = self.desks.get(order.symbol)
        return desk.slots.get(order.leg) if desk is not None else None

    # -- reports ---------------------------------------------------------------------------------------------------

    def report(self, report: ExecutionReport) -> None:
        order = self.orders.by_id.get(report.order_id)
        if report.source is Source.USER:
            if order is not None:
                order.echoed = True
            self.user_events["handled"] += 1  # taken back where it turns out to be a duplicate or quarantined
        elif order is not None and report.source in (Source.POST, Source.GATE):
            order.answered = True
        match report.exec_type:
            case ExecType.TRADE if report.trade_status is TradeStatus.FAILED:
                self._trade_cancel(order, report)
            case ExecType.TRADE:
                self._trade(order, report)
            case ExecType.TRADE_CANCEL:
                self._trade_cancel(order, report)
            case ExecType.NEW if report.source is Source.POST:
                self._acked(Event.ACKED, order, report)
            case ExecType.NEW:
                self.tell(Event.PLACEMENT, order, report)
            case ExecType.MATCHED:
                self._acked(Event.ACK_MATCHED, order, report)
            case ExecType.UPDATE:
                self.tell(Event.UPDATE, order, report, cum=report.cum_qty or 0)
            case ExecType.CANCELED if report.source is Source.CANCEL:
                self.tell(Event.CANCEL_OK, order, report)
            case ExecType.CANCELED:
                self._cancellation(order, report)
            case ExecType.REJECTED:
                self.tell(Event.GATE_REFUSED if report.source is Source.GATE else Event.REJECTED, order, report)
                if order is not None:
                    self._rejected(order, report)

    def _acked(self, event: Event, order: Order | None, report: ExecutionReport) -> None:
        self.tell(event, order, report, cum=report.cum_qty or 0)
        if order is None:
            return
        self.counts["acked"] += 1
        self._ambiguous = self._refused = self._versions = 0
        if not order.acked_ns:
            order.acked_ns = self.now
        slot = self.slot_of(order)
        if slot is not None:
            slot.accepted()
        took_ns = self.now - order.sent_ns
        if took_ns > self.timers.rtt_max_ns:
            self.slow_until_ns = self.now + self.timers.rtt_pause_ns
            if took_ns > self.timers.stale_ns and order.state is W:
                self.tell(Event.CANCEL_WANTED, order)  # it stands at the price of a second ago

    def _cancellation(self, order: Order | None, report: ExecutionReport) -> None:
        asked_for = order is None or order.cancel_wanted or not order.is_open or self._over(order.symbol)
        self.tell(Event.CANCELLATION, order, report, cum=report.cum_qty or 0)
        if asked_for or order is None or order.state.value == "filled":
            return
        self._unasked.append(self.now)
        if len(self._unasked) == 2 and self.now - self._unasked[0] <= BURST_NS:
            self.fail("the venue cancelled orders that nobody asked it to")

    def _over(self, symbol: str) -> bool:
        """Has this market ended, so that the venue may cancel by itself?"""
        desk = self.desks.get(symbol)
        return desk is None or bool(desk.winner) or self.utc_ns() >= desk.market.end_utc_ns

    def utc_ns(self) -> Ns:
        raise NotImplementedError

    def _trade(self, order: Order | None, report: ExecutionReport) -> None:
        known = self.positions.known(report)
        if known is not None:
            if not known.void and (known.qty, known.px) != (report.last_qty, report.last_px):
                self._noisy(order, report)
            if self.positions.rises(report):
                if order is None:  # of an earlier run, whose orders we have no record of
                    self.positions.settle_step(report)
                else:
                    self.tell(Event.TRADE_STEP, order, report)
            else:
                self._duplicate(report)
                if order is not None:
                    self.tell(Event.TRADE_AGAIN, order, report)
        elif not report.exec_id or report.last_qty <= 0 or not 0 < report.last_px < PX_ONE:
            self.quarantine(order, report, "a trade without id, size or price")
        elif order is None:
            self.tell(Event.TRADE, None, report)
        elif (report.asset_id and report.asset_id != order.asset_id) or report.side not in (None, order.side):
            self.quarantine(order, report, "a trade of another token or side than our order")
        elif report.trade_status is None:
            # A step this code has no word for: owed until a read says what it means.
            self.alert(2, f"trade {report.exec_id} has an unknown status")
            self.tell(Event.UPDATE, order, report, cum=order.cum_qty + order.voided + report.last_qty)
            self.ask(order)
        else:
            self.tell(Event.TRADE, order, report, qty=report.last_qty)

    def _noisy(self, order: Order | None, report: ExecutionReport) -> None:
        self.alert(2, f"trade {report.exec_id} was told again with another size or price; the first stands")
        if report.source is Source.READ:
            self.fail(f"trade {report.exec_id} reads otherwise than it was told")
        elif order is not None:
            self.ask(order)

    def _trade_cancel(self, order: Order | None, report: ExecutionReport) -> None:
        known = self.positions.known(report)
        if known is not None and known.void:
            self._duplicate(report)
        elif known is None:
            self.tell(Event.FAILED_FIRST, order, report)
        elif order is None:
            self._voided(report, None)
            self.fail_market(known.symbol, f"trade {report.exec_id} of an earlier run failed")
        else:
            self.tell(Event.FAILED_KNOWN, order, report, qty=known.qty)

    def _duplicate(self, report: ExecutionReport) -> None:
        if report.source is Source.USER:
            self.user_events["handled"] -= 1
            self.user_events["duplicates"] += 1

    def quarantine(self, order: Order | None, report: ExecutionReport, why: str) -> None:
        """Not applied: what it means must be read from the venue."""
        if report.source is Source.USER:
            self.user_events["handled"] -= 1
            self.user_events["quarantined"] += 1
        self.fail(f"{why} ({report.order_id})")
        if order is not None:
            self.ask(order)

    def ask(self, order: Order) -> None:
        """Plan a query, not sooner than the venue should be asked about one order."""
        if not order.query_due_ns:
            order.query_due_ns = max(self.now, order.queried_ns + self.timers.query_gap_ns)
        self.orders.live[order.order_id] = order
        self.queries[order.order_id] = order

    def _filled(self, order: Order, report: ExecutionReport) -> None:
        record = self.positions.book(report, order.symbol, order.asset_id, order.side, self.now)
        if order.cum_qty == report.last_qty:
            self.counts["filled"] += 1
        if not report.maker:
            self.alert(2, f"trade {report.exec_id} took liquidity although orders are post-only")
        slot = self.slot_of(order)
        if slot is not None:
            slot.filled(order.up_px)
        self.emit_fill(record, report, order.cl_ord_id, 1)

    def _voided(self, report: ExecutionReport, order: Order | None) -> None:
        record = self.positions.void(report)
        self.emit_fill(record, report, order.cl_ord_id if order is not None else "", -1)
        self._voids.append(self.now)
        if len(self._voids) == VOIDS_MAX and self.now - self._voids[0] < HOUR_NS:
            self.halt(f"{VOIDS_MAX} fills were reverted within an hour")

    def emit_fill(self, record: FillRecord, report: ExecutionReport, cl_ord_id: str, sign: int) -> None:
        self.touched.add(record.symbol)
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

    def _rejected(self, order: Order, report: ExecutionReport) -> None:
        """What a refusal teaches: when this side, or the bot, may try again."""
        slot = self.slot_of(order) or Slot(order.leg)
        match report.reject:
            case Reject.STALE | Reject.SHUT:
                pass  # ours, and nothing was sent: the next intent tries again
            case Reject.EPOCH:
                if order.epoch == self.epoch_of(order.symbol) and self.recovery.state is BotState.QUOTING:
                    self.fail("the gate's epoch is ahead of ours: somebody shut it")
            case Reject.POST_ONLY:
                if slot.would_cross(self.now):
                    slot.cool(self.now, self.timers)
            case Reject.BALANCE:
                slot.balance_rejects += 1
                slot.cool(self.now, self.timers)
                if slot.balance_rejects >= BALANCE_MAX:
                    slot.off = True
                    self.alert(1, f"{order.leg} of {order.symbol} is off: {BALANCE_MAX} balance rejects in a row")
                self.want_balance()
            case Reject.TICK:
                slot.blocked_px = order.up_px
                slot.cool(self.now, self.timers)
            case Reject.MIN_SIZE:
                slot.cool(self.now, self.timers)
            case Reject.RATE:
                self.budget.limited(self.now)
            case Reject.VERSION:
                self._versions += 1
                if self._versions >= 2:
                    self.halt("the venue refuses our generation of orders")
                else:
                    slot.cool(self.now, self.timers)
            case Reject.FORBIDDEN:
                self.halt(f"the venue forbids trading: {report.text}")
            case Reject.RESTRICTED:
                self.fail(f"the venue takes no orders: {report.text}")
            case _:
                self._refused += 1
                slot.cool(self.now, self.timers)
                if self._refused >= REFUSED_MAX:
                    self._refused = 0
                    self.fail(f"{REFUSED_MAX} orders in a row were refused: {report.text}")

    def want_balance(self) -> None:
        raise NotImplementedError

    # -- answers without a report ------------------------------------------------------------------------------------

    def cancel_reject(self, message: CancelReject) -> None:
        self.tell_known(Event.CANCEL_REFUSED, message.order_id)

    def tell_known(self, event: Event, order_id: str) -> None:
        order = self.orders.by_id.get(order_id)
        if order is not None:
            self.tell(event, order)

    def outcome_unknown(self, message: OutcomeUnknown) -> None:
        order = self.orders.by_id.get(message.order_id)
        if order is None:
            return
        if message.request is Request.CANCEL:
            self.venue_down_ns = self.now
            self.tell(Event.CANCEL_UNKNOWN, order)
            if order.is_open:
                order.delete_due_ns = self.now + backoff(
                    self.timers.cancel_retry_ns, self.timers.cancel_retry_ns_max, max(0, order.deletes - 1)
                )
            return
        order.answered = True
        self.tell(Event.DUPLICATED if message.duplicated else Event.AMBIGUOUS, order)
        self._ambiguous += 1
        if self._ambiguous >= AMBIGUOUS_MAX:
            self._ambiguous = 0
            self.fail(f"{AMBIGUOUS_MAX} orders in a row got no usable answer: {message.text}")

    def mass_cancel_report(self, message: MassCancelReport) -> None:
        self.recovery.mass_cancel_told(message, self.now)
        if not message.known:
            self.venue_down_ns = self.now
            return
        told = set(message.canceled) | set(message.not_canceled)
        for order_id in message.canceled:
            self.tell_known(Event.CANCEL_OK, order_id)
        for order_id in message.not_canceled:
            self.tell_known(Event.CANCEL_REFUSED, order_id)
        for order in self.orders.open_orders():
            in_scope = not message.symbol or message.symbol == order.symbol
            if in_scope and order.order_id not in told and order.sent_ns <= message.asked_ns:
                self.tell(Event.NOT_LISTED, order)

    # -- reads -----------------------------------------------------------------------------------------------------

    def open_orders(self, message: OpenOrders) -> None:
        if message.known:
            listed = {row.order_id: row for row in message.orders}
            for order in list(self.orders.live.values()):
                if order.order_id not in listed and order.is_open and self.orders.valid(order, message.asked_ns):
                    self.tell(Event.SNAPSHOT_LACKS, order, asked_ns=message.asked_ns)
            for order_id in self._relisted.difference(listed):
                self.tell_known(Event.SNAPSHOT_LACKS, order_id)
            self._relisted.clear()
            for row in message.orders:
                self._listed(row, message.asked_ns)
        else:
            self.venue_down_ns = self.now
        self._go(self.recovery.open_orders_told(message, self.now, self.orders), Event.CANCEL_ALL)

    def _listed(self, row: OpenOrder, asked_ns: Ns) -> None:
        order = self.orders.by_id.get(row.order_id)
        if order is None:
            if self.recovery.quoted:  # before that, it is what an earlier run left, and the mass cancel is for it
                self.adopt(row, f"order {row.order_id} is open and was never ours")
        elif self.orders.valid(order, asked_ns):
            if not order.is_open:
                self._relisted.add(row.order_id)
            self.tell(Event.SNAPSHOT_LISTS, order, cum=row.cum_qty, asked_ns=asked_ns)

    def adopt(self, row: OpenOrder, halt: str) -> Order:
        """Take a foreign order into the books as one to be cancelled."""
        desk = self.desks.get(row.symbol)
        order = Order(
            cl_ord_id="",
            order_id=row.order_id,
            symbol=row.symbol,
            asset_id=row.asset_id,
            side=row.side,
            px=row.px,
            up_px=row.px if desk is None or row.asset_id == desk.market.up_token else PX_ONE - row.px,
            leg=leg_of(desk.market, row.asset_id, row.side) if desk is not None else "",
            order_qty=row.order_qty,
            venue_cum=row.cum_qty,
            epoch=self.epoch_of(row.symbol),
            created_ns=self.now,
            state=PC,
            cancel_wanted=True,
            answered=True,
            echoed=True,
            foreign=True,
        )
        self.orders.add(order)
        self.delete(order)
        self.ask(order)
        if halt:
            self.halt(halt)
        return order

    def trades_read(self, message: TradesRead) -> None:
        self.recovery.trades_told(message.asked_ns, self.now, known=message.known)
        if not message.known:
            self.venue_down_ns = self.now
            return
        for trade in message.trades:
            history = not self.baseline_done and trade.order_id not in self.orders.by_id
            if history and trade.asset_id and trade.side is not None and self.positions.known(trade) is None:
                self._baseline(trade, trade.asset_id, trade.side)
            else:
                self.report(trade)
        self.baseline_done = True
        self.touched.update(self.desks)

    def _baseline(self, trade: ExecutionReport, asset_id: str, side: Side) -> None:
        """A trade of an earlier run: shares of its market, and no contradiction. The cash we read has seen it."""
        failed = trade.exec_type is ExecType.TRADE_CANCEL or trade.trade_status is TradeStatus.FAILED
        if failed:
            self.positions.bury(trade, trade.symbol, self.now)
        else:
            self.positions.book(trade, trade.symbol, asset_id, side, self.now, history=True)

    def order_status(self, message: OrderStatusReport) -> None:
        order = self.orders.by_id.get(message.order_id)
        if order is None:
            return
        if not message.known:
            self.venue_down_ns = self.now
            self.orders.query_answered(order, message.asked_ns, self.now, known=False)
            self.queries[order.order_id] = order
            return
        before = (order.cum_qty, order.voided)
        for trade in message.trades:
            self.report(trade)
        news = before != (order.cum_qty, order.voided)
        valid = self.orders.valid(order, message.asked_ns)
        match message.found:
            case FoundStatus.LIVE if valid:
                self.tell(Event.SNAPSHOT_LISTS, order, cum=message.cum_qty, asked_ns=message.asked_ns)
            case FoundStatus.LIVE:
                if order.is_open:
                    self.tell(Event.UPDATE, order, cum=message.cum_qty)
            case FoundStatus.MATCHED:
                self.tell(Event.QUERY_MATCHED, order, cum=message.cum_qty)
            case FoundStatus.CANCELED:
                self.tell(Event.QUERY_CANCELED, order, cum=message.cum_qty)
            case FoundStatus.ABSENT:
                if valid:
                    self.tell(Event.QUERY_NULL, order, asked_ns=message.asked_ns)
        if order.is_open and message.found is not FoundStatus.LIVE and not news:
            order.empty_query = True
        self.orders.query_answered(order, message.asked_ns, self.now, known=True)

    def balance(self, message: Balance) -> None:
        """Cash is what the venue said once, then our own fills; a later read is believed when nothing is in between."""
        self.recovery.balance_told(message.asked_ns, self.now, known=message.known)
        if not message.known:
            return
        quiet = not self.positions.unsettled and not self.orders.debts()
        fresh = message.asked_ns >= self.positions.last_booked_ns + self.timers.settle_ns
        if not self.cash_known or (quiet and fresh):
            if self.cash_known and abs(message.cash - self.positions.cash) > CASH_TOLERANCE:
                self.alert(
                    2, f"cash is {message.cash / USD_ONE:.2f} by the venue, {self.positions.cash / USD_ONE:.2f} by us"
                )
            self.cash_known = True
            self.positions.cash = message.cash
            self.touched.update(self.desks)

    # -- orphans and gaps ------------------------------------------------------------------------------------------

    def _orphan(self, report: ExecutionReport) -> None:
        qty = report.order_qty or report.last_qty or report.cum_qty or 0
        orphan = self.orphans.get(report.order_id)
        if orphan is None:
            self.orphans[report.order_id] = Orphan(
                first_ns=self.now,
                symbol=report.symbol,
                asset_id=report.asset_id,
                side=report.side or Side.BUY,
                px=report.px or report.last_px or PX_ONE,
                exposure=qty,
                reports=[report],
            )
        else:
            orphan.exposure = max(orphan.exposure, qty)
            orphan.reports.append(report)

    def expire_orphans(self) -> None:
        """Adopt what nobody explained in time; trades that the first read booked meanwhile are explained."""
        if not self.orphans or not self.baseline_done:
            return
        for order_id, orphan in list(self.orphans.items()):
            if self.now - orphan.first_ns < self.timers.orphan_ns:
                continue
            del self.orphans[order_id]
            left = [report for report in orphan.reports if self.positions.known(report) is None or report.exec_id == ""]
            if not left:
                continue
            if not orphan.asset_id:
                self.fail(f"events of order {order_id} say not even its token")
                continue
            live = any(r.exec_type in (ExecType.NEW, ExecType.UPDATE) for r in left) and not any(
                r.exec_type is ExecType.CANCELED for r in left
            )
            row = OpenOrder(
                order_id=order_id,
                symbol=orphan.symbol,
                asset_id=orphan.asset_id,
                side=orphan.side,
                px=orphan.px,
                order_qty=max(orphan.exposure, sum(r.last_qty for r in left if r.exec_type is ExecType.TRADE)),
                cum_qty=0,
            )
            self.adopt(row, f"order {order_id} is live and was never ours" if live else "")
            if not live:
                self.fail(f"fills of order {order_id}, which was never ours")
            counted = dict(self.user_events)  # when they came
            for report in left:
                self.report(report)
            self.user_events.update(counted)

    def gap(self, reason: str) -> None:
        """The user stream may have missed something: CA + CD, and every live order is told."""
        for order in list(self.orders.live.values()):
            self.tell(Event.GAP, order)
        self.recovery.gap(self.now)
        if self.recovery.state not in (BotState.STARTING, BotState.RECONCILING) or self.orders.open_orders():
            self._gaps.append(self.now)
            if len(self._gaps) > GAPS_MAX and self.now - self._gaps[0] < GAPS_NS:
                self.halt(f"more than {GAPS_MAX} gaps of the user stream in five minutes")
            else:
                self.fail(reason)
