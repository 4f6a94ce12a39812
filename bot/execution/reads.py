"""What reads of the venue tell: open orders, trades, single orders, cash; and what is done about orders we never sent.

A read says what was true when it was asked: one asked too soon after a change proves nothing.
"""

from __future__ import annotations

from collections import deque

from bot.execution.budget import Rates
from bot.execution.facts import Facts
from bot.execution.orders import PC, Event, Order
from bot.execution.risk import Limits
from bot.execution.slots import leg_of
from bot.execution.timers import Timers
from bot.messages import (
    Balance,
    BotState,
    ExecType,
    ExecutionReport,
    FoundStatus,
    OpenOrder,
    OpenOrders,
    OrderStatusReport,
    Shares,
    Side,
    TradesRead,
    TradeStatus,
)
from bot.units import LOT, NS_PER_S, PX_ONE, QTY_ONE, USD_ONE, Ns

GAPS_MAX, GAPS_NS = 10, 300 * NS_PER_S  # user-stream gaps before the bot halts
CASH_TOLERANCE = USD_ONE // 100


class Reads(Facts):
    """Invariant: an unknown read changes nothing; an order that nobody explains in time is adopted and cancelled."""

    def __init__(self, *, limits: Limits, rates: Rates, timers: Timers, clean_start: bool) -> None:
        super().__init__(limits=limits, rates=rates, timers=timers, clean_start=clean_start)
        self.cash_known = False
        self.cash_carried = False  # it is an earlier run's, so what we learn of that one's fills still moves it
        self._relisted: set[str] = set()  # ended orders that the last valid read still listed
        self._gaps: deque[Ns] = deque(maxlen=GAPS_MAX + 1)

    def open_orders(self, message: OpenOrders) -> None:
        if message.orders is not None:
            listed = {row.order_id: row for row in message.orders}
            for order in list(self.orders.live.values()):
                if order.order_id not in listed and order.is_open and self.orders.valid(order, message.asked_ns):
                    self.tell(Event.SNAPSHOT_LACKS, order, asked_ns=message.asked_ns)
            for order_id in sorted(self._relisted.difference(listed)):
                self.tell_known(Event.SNAPSHOT_LACKS, order_id)
            self._relisted.clear()
            for row in message.orders:
                self._listed(row, message.asked_ns)
        else:
            self.venue_down_ns = self.now
        self.go(self.recovery.open_orders_told(message, self.now, self.orders), Event.CANCEL_ALL)

    def _mark_all(self) -> None:
        for symbol in self.desks:
            self.mark(symbol)

    def _listed(self, row: OpenOrder, asked_ns: Ns) -> None:
        order = self.orders.get(row.order_id)
        if order is None:
            if not self.recovery.leftovers:  # those are what the mass cancel is for
                self.adopt(row, f"order {row.order_id} is open and was never ours")
        elif self.orders.valid(order, asked_ns):
            if not order.is_open:
                self._relisted.add(row.order_id)
            self.tell(Event.SNAPSHOT_LISTS, order, cum=row.cum_qty, asked_ns=asked_ns)

    def adopt(self, row: OpenOrder, halt: str) -> None:
        """Take a foreign order into the books as one to be cancelled, with what was told of it so far."""
        desk = self.desks.get(row.symbol)
        booked, voided = self.positions.told_of(row.order_id)
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
            cum_qty=booked,
            voided=voided,
            venue_cum=max(row.cum_qty, booked),
            epoch=self.epoch_of(row.symbol),
            created_ns=self.now,
            state=PC,
            cancel_wanted=True,
            answered=True,
            echoed=True,
            landed=True,
            foreign=True,
        )
        self.orders.add(order)
        self.mark(order.symbol)
        self.delete(order)
        self.ask(order)
        if halt:
            self.halt(halt)
        orphan = self.orphans.pop(row.order_id, None)
        if orphan is not None:  # what was told of it before it had a record
            counted = dict(self.user_events)  # when it came
            for report in orphan.reports:
                self.report(report)
            self.user_events.update(counted)

    def trades_read(self, message: TradesRead) -> None:
        self.recovery.trades_told(message.asked_ns, self.now, known=message.trades is not None)
        if message.trades is None:
            self.venue_down_ns = self.now
            return
        for trade in message.trades:
            history = not self.baseline_done and self.orders.get(trade.order_id) is None
            if history and trade.asset_id and trade.side is not None and self.positions.known(trade) is None:
                self._baseline(trade, trade.asset_id, trade.side)
            else:
                self.report(trade)
        self.baseline_done = True
        self._mark_all()

    def _baseline(self, trade: ExecutionReport, asset_id: str, side: Side) -> None:
        """A trade of an earlier run: shares of its market, and no contradiction. The cash has seen it if we read it."""
        failed = trade.exec_type is ExecType.TRADE_CANCEL or trade.trade_status is TradeStatus.FAILED
        if failed:
            self.positions.bury(trade, trade.symbol, self.now)
        else:
            history = not self.cash_carried
            self.positions.book(trade, trade.symbol, asset_id, side, self.now, history=history)
            if not trade.maker:
                self.took(trade.symbol, asset_id, side)

    def order_status(self, message: OrderStatusReport) -> None:
        order = self.orders.get(message.order_id)
        if order is None:
            if message.found not in (None, FoundStatus.ABSENT):  # it says too little to adopt it: the next list will
                self.fail(f"the venue knows order {message.order_id}, and we have no record of it")
            return
        if message.found is None:
            self.venue_down_ns = self.now
            self.orders.query_failed(order, self.now)
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
            case _ if valid:  # ABSENT
                self.tell(Event.QUERY_NULL, order, asked_ns=message.asked_ns)
        if order.is_open and valid and message.found is not FoundStatus.LIVE and not news:
            order.empty_query = True
        self.orders.query_answered(order, message.asked_ns)
        self.mark(order.symbol)

    def balance(self, message: Balance) -> None:
        """Cash is what the venue said once, then our own fills; a later read is believed when nothing is in between, and
        while orders may fill or shares be paid out when it is told twice: it may know of what is on its way to us."""
        self.recovery.balance_told(message.asked_ns, self.now, known=message.cash is not None)
        if message.cash is None:
            return
        awaited = self.positions.unsettled or self.orphans or self.orders.debts()
        held = [desk for symbol, desk in self.desks.items() if not desk.settled and self._holds(symbol)]
        quiet = not awaited and not any(self._over(desk.market.symbol) for desk in held)
        fresh = message.asked_ns >= self.positions.cash_changed_ns + self.timers.settle_ns
        told = (message.cash, self.positions.cash)
        sure = not (self.orders.live or held) or told == self._doubted
        if self.cash_known and message.cash != self.positions.cash and not (quiet and fresh and sure):
            self._doubted = told if quiet and fresh else None
            self._balance_ns = self.now + self.timers.settle_ns - self.timers.balance_every_ns  # soon again
            return
        if self.cash_known and abs(message.cash - self.positions.cash) > CASH_TOLERANCE:
            self.alert(
                2, f"cash is {message.cash / USD_ONE:.2f} by the venue, {self.positions.cash / USD_ONE:.2f} by us"
            )
        self.cash_known = True
        self.positions.cash = message.cash
        self._doubted = None
        self._mark_all()

    def shares(self, message: Shares) -> None:
        """What a purchase as taker brought: the venue may have kept its fee back in shares, at most what fees can be."""
        symbol, asset_id = message.symbol, message.asset_id
        taken, desk, holding = self.taken.get(asset_id), self.desks.get(symbol), self.positions.of(symbol)
        if taken is None or desk is None or holding.winner:
            self.taken.pop(asset_id, None)
            return
        ours = self.positions.qty(symbol, asset_id)
        if message.qty is None or (taken.theirs, taken.ours) != (message.qty, ours):
            if message.qty is not None:
                taken.theirs, taken.ours = message.qty, ours
            return  # it is asked again: a fill that is on its way would be known by then
        del self.taken[asset_id]
        short = ours - message.qty
        if short <= 0:
            return
        bought = [r for r in self.positions.fills.values() if r.asset_id == asset_id and not (r.maker or r.void)]
        most = sum(r.qty * (PX_ONE - r.px) / PX_ONE for r in bought if r.side is Side.BUY) * desk.market.fee_rate + LOT
        if short > most:
            self.fail(f"the venue has {message.qty / QTY_ONE:g} of token {asset_id}, {short / QTY_ONE:g} less than we")
            return
        self.positions.keep_back(symbol, asset_id, short)
        self.alert(2, f"{short / QTY_ONE:g} of token {asset_id} were kept back as fee")
        self.mark(symbol)

    def _holds(self, symbol: str) -> bool:
        return any(self.positions.of(symbol).tokens.values())

    def forget_run(self) -> None:
        """A new run with the old one's state: its counts begin anew, and earlier fills are read from the venue again."""
        self.counts = dict.fromkeys(self.counts, 0)
        self.wishes = 0
        self.user_events = dict.fromkeys(self.user_events, 0)
        self.alerts.clear()
        self.alert_seq = 0
        self.cash_known = self.cash_carried = self.cash_known and self.baseline_done
        self.baseline_done = False

    def expire_orphans(self) -> None:
        """Adopt what nobody explained in time; trades that the first read booked meanwhile are explained."""
        if not self.orphans or not self.baseline_done:
            return
        for order_id, orphan in list(self.orphans.items()):
            if self.now - orphan.first_ns < self.timers.orphan_ns:
                continue
            self.mark(orphan.symbol)
            left = [report for report in orphan.reports if self.positions.known(report) is None or report.exec_id == ""]
            if not left or not orphan.asset_id:
                del self.orphans[order_id]
                if left:
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
                order_qty=orphan.exposure,
                cum_qty=0,
            )
            lost = self.recovery.leftovers  # of our own journal, perhaps
            self.adopt(row, f"order {order_id} is live and was never ours" if live and not lost else "")
            if not live:
                self.fail(f"fills of order {order_id}, which was never ours")

    def gap(self, reason: str) -> None:
        """The user stream may have missed something: CA + CD, and every live order is told.

        Ended ones are not asked for one by one: reconciling reads the trades since the last moment we trust.
        """
        for order in list(self.orders.live.values()):
            self.tell(Event.GAP, order)
        self.recovery.gap(self.now)
        if self.recovery.state is BotState.COOLDOWN and not self.orders.live:
            return  # nothing of ours is out, and reconciling reads what was missed
        if self.recovery.state not in (BotState.STARTING, BotState.RECONCILING) or self.orders.open_orders():
            if not self._gaps or self.now - self._gaps[-1] >= NS_PER_S:  # a reconnect tells of itself more than once
                self._gaps.append(self.now)
            if len(self._gaps) > GAPS_MAX and self.now - self._gaps[0] < GAPS_NS:
                self.halt(f"more than {GAPS_MAX} gaps of the user stream in five minutes")
            else:
                self.fail(reason)
