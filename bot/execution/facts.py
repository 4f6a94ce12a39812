"""What the venue tells of single orders: reports, refusals and answers that never came, each told to its order.

Sorts a fact into the event of the order table that it is, and learns from refusals when a side may try again.
"""

from __future__ import annotations

from collections import deque

from bot.execution.books import Books
from bot.execution.budget import Rates
from bot.execution.orders import Event, Order, W
from bot.execution.risk import Limits
from bot.execution.slots import Slot
from bot.execution.timers import Timers, backoff
from bot.messages import (
    BotState,
    CancelReject,
    ExecType,
    ExecutionReport,
    MassCancelReport,
    OutcomeUnknown,
    Reject,
    Request,
    Source,
    TradeStatus,
)
from bot.units import NS_PER_S, PX_ONE, Ns

BURST_NS: Ns = 2 * NS_PER_S  # two cancellations nobody asked for within this are a failure


class Facts(Books):
    """Invariant: every fact of the user stream is counted once: handled, duplicate or quarantined."""

    def __init__(self, *, limits: Limits, rates: Rates, timers: Timers, clean_start: bool) -> None:
        super().__init__(limits=limits, rates=rates, timers=timers, clean_start=clean_start)
        self._unasked: deque[Ns] = deque(maxlen=2)
        self.unanswered = 0  # orders in a row without usable answer
        self.refused = 0  # refusals in a row that we cannot tell apart
        self._versions = 0

    def report(self, report: ExecutionReport) -> None:
        order = self.orders.get(report.order_id)
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
                self.tell(Event.UPDATE, order, report, cum=report.cum_qty)
            case ExecType.CANCELED if report.source is Source.CANCEL:
                self.tell(Event.CANCEL_OK, order, report)
            case ExecType.CANCELED:
                self._cancellation(order, report)
            case _:  # REJECTED
                self.tell(Event.GATE_REFUSED if report.source is Source.GATE else Event.REJECTED, order, report)
                if order is not None:
                    self._rejected(order, report)

    def _acked(self, event: Event, order: Order | None, report: ExecutionReport) -> None:
        self.tell(event, order, report, cum=report.cum_qty)
        if order is None:
            return
        self.counts["acked"] += 1
        self.unanswered = self.refused = self._versions = 0
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
        rested = order is not None and order.is_open and not order.cancel_wanted and not self._over(order.symbol)
        self.tell(Event.CANCELLATION, order, report, cum=report.cum_qty)
        if rested:
            self._unasked.append(self.now)
            if len(self._unasked) == 2 and self.now - self._unasked[0] <= BURST_NS:
                self.fail("the venue cancelled orders that nobody asked it to")

    def _over(self, symbol: str) -> bool:
        """Has this market ended, so that the venue may cancel by itself?"""
        desk = self.desks.get(symbol)
        return desk is None or bool(desk.winner) or self.utc_ns() >= desk.market.end_utc_ns

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
                    self.tell(Event.TRADE_AGAIN, order)
        elif not report.exec_id or report.last_qty <= 0 or not 0 < report.last_px < PX_ONE:
            self.quarantine(order, report, "a trade without id, size or price")
        elif order is None:
            self.tell(Event.TRADE, None, report)
        elif (report.asset_id and report.asset_id != order.asset_id) or report.side not in (None, order.side):
            self.quarantine(order, report, "a trade of another token or side than our order")
        elif report.trade_status is None:
            # A step this code has no word for: owed until a read says what it means.
            self.alert(2, f"trade {report.exec_id} has an unknown status")
            self.tell(Event.UPDATE, order, cum=order.cum_qty + order.voided + report.last_qty)
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
            self.tell(Event.FAILED_FIRST, order, report, qty=report.last_qty)
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

    def _rejected(self, order: Order, report: ExecutionReport) -> None:
        """What a refusal teaches: when this side, or the bot, may try again."""
        slot = self.slot_of(order) or Slot(order.leg)
        limits = self.risk.limits
        match report.reject:
            case Reject.STALE | Reject.SHUT:
                # Ours, and nothing was sent. A shut gate opens when a stamp is fresh again: no need to try at 20 Hz.
                slot.unsent(order.up_px)
                slot.cool_until_ns = max(slot.cool_until_ns, self.now + self.timers.retry_ns)
            case Reject.EPOCH:
                slot.unsent(order.up_px)
                if order.epoch == self.epoch_of(order.symbol) and self.recovery.state is BotState.QUOTING:
                    self.fail("the gate's epoch is ahead of ours: somebody shut it")
            case Reject.POST_ONLY:
                if slot.would_cross(self.now) >= limits.crossed_max:
                    slot.cool(self.now, self.timers)
            case Reject.BALANCE:
                slot.balance_rejects += 1
                slot.cool(self.now, self.timers)
                if slot.balance_rejects >= limits.balance_rejects_max:
                    slot.off = True
                    self.alert(
                        1, f"{order.leg} of {order.symbol} is off: {slot.balance_rejects} balance rejects in a row"
                    )
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
                self.refused += 1
                slot.cool(self.now, self.timers)
                if self.refused >= limits.refused_max:
                    self.refused = 0
                    self.fail(f"{limits.refused_max} orders in a row were refused: {report.text}")

    def cancel_reject(self, message: CancelReject) -> None:
        self.tell_known(Event.CANCEL_REFUSED, message.order_id)

    def outcome_unknown(self, message: OutcomeUnknown) -> None:
        order = self.orders.get(message.order_id)
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
        self.unanswered += 1
        if self.unanswered >= self.risk.limits.unanswered_max:
            self.unanswered = 0
            self.fail(f"{self.risk.limits.unanswered_max} orders in a row got no usable answer: {message.text}")

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
