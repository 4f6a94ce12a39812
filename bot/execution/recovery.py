"""The bot's state: failing, cooling down, reconciling, quoting, halted, stopping, and the requests each of them repeats.

Decides when cancel-all is confirmed and when quoting may begin again. Knows no prices, and changes no order.
"""

from __future__ import annotations

from bot.execution.orders import Orders
from bot.execution.timers import Timers, backoff
from bot.messages import (
    BalanceRequest,
    BotState,
    GateChange,
    MassCancel,
    MassCancelReport,
    Message,
    OpenOrders,
    OrderMassStatusRequest,
    TradesRequest,
)
from bot.units import NS_PER_S, Ns

OVERLAP_S = 60  # trades are read again from this long before the last moment we trust
CLEARING = (BotState.FAILING, BotState.HALTED, BotState.STOPPING)


class Ask:
    """One kind of request: at most one on its way, repeated with growing waits until a usable answer came."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self.reset()

    def reset(self, due_ns: Ns = 0) -> None:
        self.sent_ns: Ns = 0  # of the one on its way, 0: none
        self.due_ns: Ns = due_ns
        self.tries = 0
        self.done = False

    def ready(self, now_ns: Ns) -> bool:
        """May it be sent now? An answer that is overdue counts as none."""
        if self.sent_ns and now_ns - self.sent_ns > self._timers.read_deadline_ns:
            self.answered(now_ns, known=False)
        return not self.done and not self.sent_ns and now_ns >= self.due_ns

    def sent(self, now_ns: Ns) -> None:
        self.sent_ns = now_ns

    def answered(self, now_ns: Ns, *, known: bool) -> None:
        self.sent_ns = 0
        if known:
            self.tries = 0
            self.done = True
        else:
            self.due_ns = now_ns + backoff(self._timers.retry_ns, self._timers.retry_ns_max, self.tries)
            self.tries += 1

    def again(self, at_ns: Ns) -> None:
        """A usable answer came, and the next is wanted at that time."""
        self.done = False
        self.due_ns = at_ns


class Recovery:
    """Invariant: QUOTING is entered only with every read known, nothing of ours open, no debt and the user stream up.

    `epoch` is the global epoch; it rises with every failure, halt and shutdown. `flat` is a confirmed cancel-all.
    """

    def __init__(self, timers: Timers = Timers(), *, clean_start: bool = True) -> None:
        self._timers = timers
        self._clean_start = clean_start
        self.state = BotState.STARTING
        self.epoch = 0
        self.reasons: list[str] = []
        self.flat = False
        self.clearing_ns: Ns = 0  # since when flat is owed and not confirmed, 0: it is not owed
        self.user_up = False
        self.leftovers = (
            not clean_start
        )  # an order that we do not know may be an earlier run's, of which we have no record
        self.watermark_utc_s = 0  # up to here we know every trade
        self._utc_s = 0
        self._after_flat = BotState.COOLDOWN
        self._cancel = Ask(timers)
        self._read = Ask(timers)
        self._trades = Ask(timers)
        self._balance = Ask(timers)
        self.clean = False  # the cancel-all on its way was asked with no POST on the wire
        self._empty_ns: Ns = 0  # when the first of two empty reads was asked
        self._cooldown_until_ns: Ns = 0
        self._cooldown_ns: Ns = 0
        self._failed_ns: Ns = 0

    # -- what happened ---------------------------------------------------------------------------------------------

    def fail(self, reason: str, now_ns: Ns, epoch: int = 0) -> list[Message]:
        """Uncertainty: shut, cancel all, cool down, reconcile. While clearing already, only the reason is added."""
        if self.state in CLEARING or self.state is BotState.STOPPED:
            self._note(reason)
            self._empty_ns = 0
            if self.flat:
                state = BotState.STOPPING if self.state is BotState.STOPPED else self.state
                return self._clear(state, reason, now_ns, epoch)
            return self._raise(epoch, reason) if epoch else []
        repeated = self._failed_ns and now_ns - self._failed_ns < self._timers.cooldown_memory_ns
        self._cooldown_ns = (
            min(self._cooldown_ns * 2, self._timers.cooldown_ns_max) if repeated else self._timers.cooldown_ns
        )
        self._failed_ns = now_ns
        self._after_flat = BotState.COOLDOWN
        self.reasons = []
        return self._clear(BotState.FAILING, reason, now_ns, epoch)

    def halt(self, reason: str, now_ns: Ns, epoch: int = 0) -> list[Message]:
        if self.state in (BotState.STOPPING, BotState.STOPPED):
            return self.fail(reason, now_ns, epoch)
        self._after_flat = BotState.HALTED
        return self._clear(BotState.HALTED, reason, now_ns, epoch)

    def stop(self, reason: str, now_ns: Ns, epoch: int) -> list[Message]:
        self._after_flat = BotState.STOPPED
        return self._clear(BotState.STOPPING, reason, now_ns, epoch)

    def resume(self, now_ns: Ns) -> None:
        assert self.state is BotState.HALTED
        self.reasons = []
        if self.flat:
            self._reconcile(now_ns)
        else:
            self.state, self._after_flat = BotState.FAILING, BotState.COOLDOWN
            self._cooldown_ns = max(self._cooldown_ns, self._timers.cooldown_ns)

    def restart(self, *, leftovers: bool) -> None:
        """A new run with the old one's state: epoch, watermark and how often it failed lately stay."""
        self.state, self._after_flat = BotState.STARTING, BotState.COOLDOWN
        self.reasons = []
        self.flat = self.user_up = self.clean = False
        self.leftovers = leftovers
        self.clearing_ns = self._empty_ns = 0
        for ask in (self._cancel, self._read, self._trades, self._balance):
            ask.reset()

    def gap(self, now_ns: Ns) -> None:
        """The user stream missed something while we reconcile: what was read before proves nothing."""
        if self.state is BotState.RECONCILING:
            self._reconcile(now_ns)

    def cancel_due_ns(self) -> Ns:
        """When somebody else should send the mass cancel that is on its way; 0: none is."""
        sent_ns = self._cancel.sent_ns
        return sent_ns + self._timers.cancel_all_ns if sent_ns else 0

    def mass_cancel_told(self, report: MassCancelReport, now_ns: Ns) -> None:
        if report.symbol or not self._cancel.sent_ns or 0 < report.asked_ns < self._cancel.sent_ns:
            return
        self._cancel.answered(now_ns, known=report.known)

    def open_orders_told(self, report: OpenOrders, now_ns: Ns, orders: Orders) -> list[Message]:
        if self._read.sent_ns and report.asked_ns >= self._read.sent_ns:
            self._read.answered(now_ns, known=report.orders is not None)
        if report.orders is None:
            if self._cancel.done:
                # As long as nobody can say what is left, what was cancelled is cancelled again (while clearing).
                self._cancel.again(now_ns + backoff(self._timers.retry_ns, self._timers.retry_ns_max, self._read.tries))
            return []
        trusted_ns = orders.changed_ns + self._timers.snap_ns
        if self.state in CLEARING and not self.flat:
            self._read.again(max(report.asked_ns + self._timers.snap_ns, trusted_ns))
            if report.orders:  # the cancel-all that follows begins the proof anew
                self._cancel.again(
                    now_ns + backoff(self._timers.retry_ns, self._timers.retry_ns_max, self._cancel.tries)
                )
            elif report.asked_ns >= trusted_ns and self._cancel.done and self.clean:
                if not self._empty_ns:
                    self._empty_ns = report.asked_ns
                elif report.asked_ns - self._empty_ns >= self._timers.snap_ns:
                    self._confirm(now_ns, orders)
        elif self.state is BotState.RECONCILING:
            if report.orders:
                return self.fail("orders are open that should not be", now_ns)
            if report.asked_ns < trusted_ns:
                self._read.again(trusted_ns)
        return []

    def trades_told(self, asked_ns: Ns, now_ns: Ns, *, known: bool) -> None:
        if self._trades.sent_ns and asked_ns >= self._trades.sent_ns:
            self._trades.answered(now_ns, known=known)

    def balance_told(self, asked_ns: Ns, now_ns: Ns, *, known: bool) -> None:
        if self._balance.sent_ns and asked_ns >= self._balance.sent_ns:
            self._balance.answered(now_ns, known=known)

    # -- time passes ----------------------------------------------------------------------------------------------

    def step(self, now_ns: Ns, utc_ns: Ns, orders: Orders) -> list[Message]:
        self._utc_s = utc_ns // NS_PER_S
        out: list[Message] = []
        if self.state is BotState.STARTING:
            if not self._clean_start:
                return self.fail("the last run did not end flat", now_ns)
            self._reconcile(now_ns)
        if self.state in CLEARING and not self.flat:
            self._clearing(now_ns, orders, out)
        elif self.state is BotState.COOLDOWN:
            if now_ns >= self._cooldown_until_ns:
                self._reconcile(now_ns)
            else:
                self._read_trades(now_ns, out)
        if self.state is BotState.RECONCILING:
            out.extend(self.reconciling(now_ns, orders))
        elif self.flat or self.state is BotState.QUOTING:
            self._watching(now_ns, orders, out)
        return out

    def _clearing(self, now_ns: Ns, orders: Orders, out: list[Message]) -> None:
        on_wire = orders.on_wire(now_ns)
        if self._cancel.done and not self.clean and not on_wire:
            self._cancel.again(now_ns)  # a POST was on the wire when it was asked: it may have landed since
        if self._cancel.ready(now_ns):
            self._send_cancel(now_ns, on_wire, out, "not confirmed yet")
        # Reads go on although cancels are not answered: they are what tells which orders are left.
        if self._read.ready(now_ns):
            self._send_read(now_ns, out)

    def reconciling(self, now_ns: Ns, orders: Orders) -> list[Message]:
        """Ask for what is not read yet, and open the gate when nothing is uncertain any more."""
        out: list[Message] = []
        self._read_trades(now_ns, out)
        if self._trades.done and self._balance.ready(now_ns):  # which must not know of a fill that we have not booked
            self._balance.sent(now_ns)
            out.append(BalanceRequest(asked_ns=now_ns))
        if self._read.ready(now_ns):
            self._send_read(now_ns, out)
        elif self._read.done and orders.live:
            self._read.again(max(now_ns, self._read.due_ns + self._timers.read_fast_ns))
        if self.missing(orders):
            return out
        self.state = BotState.QUOTING
        self.reasons = []
        self.flat = False
        self.leftovers = False
        self._read.again(now_ns + self._timers.read_every_ns)
        out.append(GateChange(epoch=self.epoch, shut=False, reason="reconciled"))
        return out

    def missing(self, orders: Orders) -> list[str]:
        """What still stands between reconciling and quoting."""
        waits = {
            "trades not read": not self._trades.done,
            "balance not read": not self._balance.done,
            "open orders not read": not self._read.done,
            "user stream is not connected": not self.user_up,
            "an order is unresolved": bool(orders.live),
        }
        return [text for text, waiting in waits.items() if waiting]

    def _watching(self, now_ns: Ns, orders: Orders, out: list[Message]) -> None:
        if self.state is BotState.QUOTING:
            self.watermark_utc_s = self._utc_s
        if self._read.done:
            self._read.again(now_ns + self._timers.read_every_ns)
        elif not self._read.sent_ns and any(
            now_ns - order.since_ns > self._timers.read_fast_ns for order in orders.unresolved()
        ):
            self._read.due_ns = min(self._read.due_ns, now_ns + self._timers.read_fast_ns)
        if self._read.ready(now_ns):
            self._send_read(now_ns, out)

    # -- steps of the machine --------------------------------------------------------------------------------------

    def _note(self, reason: str) -> None:
        if reason not in self.reasons and len(self.reasons) < 8:
            self.reasons.append(reason)

    def _raise(self, epoch: int, reason: str) -> list[Message]:
        self.epoch = max(self.epoch, epoch) + 1
        return [GateChange(epoch=self.epoch, shut=True, reason=reason)]

    def _clear(self, state: BotState, reason: str, now_ns: Ns, epoch: int) -> list[Message]:
        out = self._raise(epoch, reason)
        self.state = state
        self.flat = False
        self.clearing_ns = self.clearing_ns or now_ns
        self._note(reason)
        self._cancel.reset()
        self._read.reset(now_ns + self._timers.snap_ns)
        # Whatever is on the wire now is looked at when the cancel-all is answered; so this one never counts as the last
        # word while orders are out.
        self._send_cancel(now_ns, True, out, reason)
        return out

    def _send_cancel(self, now_ns: Ns, on_wire: bool, out: list[Message], reason: str) -> None:
        self.clean = not on_wire
        self._empty_ns = 0
        self._cancel.sent(now_ns)
        out.append(MassCancel(reason=reason, made_ns=now_ns))

    def _read_trades(self, now_ns: Ns, out: list[Message]) -> None:
        if self._trades.ready(now_ns):
            self._trades.sent(now_ns)
            after = (
                self.watermark_utc_s - OVERLAP_S
                if self.watermark_utc_s
                else self._utc_s - self._timers.history_ns // NS_PER_S
            )
            out.append(TradesRequest(after_utc_s=after, asked_ns=now_ns))

    def _send_read(self, now_ns: Ns, out: list[Message]) -> None:
        self._read.sent(now_ns)
        out.append(OrderMassStatusRequest(asked_ns=now_ns))

    def _confirm(self, now_ns: Ns, orders: Orders) -> None:
        if orders.debts():
            return
        self.flat = True
        self.clearing_ns = 0
        self.state = self._after_flat
        if self.state is BotState.COOLDOWN:
            self._cooldown_until_ns = now_ns + self._cooldown_ns
            self._trades.reset(now_ns)  # what comes to light is then part of this failure, and not the next one

    def _reconcile(self, now_ns: Ns) -> None:
        self.state = BotState.RECONCILING
        for ask in (self._trades, self._balance, self._read):
            ask.reset(now_ns)
