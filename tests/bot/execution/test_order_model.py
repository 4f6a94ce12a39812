"""The executor against a model of a few lines: orders that a venue has, what of them was matched, and what was told.

hypothesis decides what happens: what is wanted, how each request ends, what is matched, and which message is told next,
again, late or never. The model knows no order table. It keeps the venue's truth, and what a bot must make of what it was
told: each trade once, none that failed. `--hypothesis-profile=search` looks further.
"""

from __future__ import annotations

from desk_fake import DOWN, SYMBOL, UP, UTC0, a_market, digest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.execution.snapshot import restore, snapshot
from bot.execution.timers import Timers
from bot.messages import (
    Balance,
    BalanceRequest,
    BotState,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    Fail,
    FeedStatus,
    Fill,
    FoundStatus,
    GateChange,
    Halt,
    MarketListed,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderState,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    PositionReport,
    QuoteIntent,
    QuoteMode,
    Reject,
    Request,
    Restarted,
    Resume,
    Route,
    Shutdown,
    Side,
    Source,
    StreamGap,
    TimerTick,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.units import LOT, NS_PER_MS, NS_PER_S, QTY_ONE, Ns, Qty, Usd, notional

START_CASH = 500 * QTY_ONE
TIMERS = Timers(cooldown_ns=NS_PER_S, cooldown_ns_max=NS_PER_S)  # the way back is no matter here
LANDS_WITHIN_NS = 3 * NS_PER_S  # the deadline of a POST: what has not come by then never comes
ENDED = (OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED)
STEPS = (TradeStatus.MATCHED, TradeStatus.RETRYING, TradeStatus.MINED, TradeStatus.CONFIRMED)
WEIGHTS = {
    "want": 6, "a request arrives": 8, "all requests arrive": 1, "a late order arrives": 1, "an order is matched": 6,
    "a trade is settled further": 4, "something is told": 10, "all is told": 2, "an event is told twice": 2,
    "an event is lost": 1, "time passes": 6, "something breaks": 1, "it comes back": 1,
}  # fmt: skip
pick = st.sampled_from(range(120))  # evenly, other than integers()


class Trade:
    """A match of one of our orders, in its own token; `step` is how far it is settled, -1: it failed."""

    def __init__(self, trade_id: str, order: NewOrder, qty: Qty) -> None:
        self.trade_id, self.order, self.qty, self.step = trade_id, order, qty, 0

    def report(self, source: Source) -> ExecutionReport:
        failed = self.step < 0
        return ExecutionReport(
            order_id=self.order.order_id, exec_type=ExecType.TRADE_CANCEL if failed else ExecType.TRADE, source=source,
            symbol=SYMBOL, asset_id=self.order.asset_id, side=self.order.side, exec_id=self.trade_id,
            trade_status=TradeStatus.FAILED if failed else STEPS[self.step], last_px=self.order.px, last_qty=self.qty,
        )  # fmt: skip


class Rest:
    """An order as the venue has it."""

    def __init__(self, order: NewOrder) -> None:
        self.order, self.live, self.matched = order, True, 0

    @property
    def leaves(self) -> Qty:
        return self.order.order_qty - self.matched if self.live else 0


class OrderModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runs = 0
        self.executor = self._fresh()
        self.now: Ns = 10 * NS_PER_S
        self.rests: dict[str, Rest] = {}
        self.sent: dict[str, NewOrder] = {}  # every order that ever left the executor
        self.trades: list[Trade] = []
        self.told: dict[
            tuple[str, str], tuple[bool, ExecutionReport]
        ] = {}  # by key: did it fail, and the first telling
        self.wire: list[Message] = []  # requests that have not reached the venue or the gate
        self.late: list[NewOrder] = []  # given up by the gateway, and on the wire still
        self.mail: list[Message] = []  # on its way to the executor
        self.shut, self.epochs = True, {"": 0}
        self.seq = 0
        self.was: dict[str, OrderState] = {}

    def _fresh(self) -> Executor:
        self.runs += 1
        return Executor(limits=Limits(), order_id_of=digest, salt_base=0x1000 * self.runs, timers=TIMERS)

    @initialize()
    def start(self) -> None:
        self.tell(FeedStatus(feed="user", connected=True))
        self.tell(MarketListed(market=a_market(end_s=10**6)))
        self.calm(3)
        assert self.executor.recovery.state is BotState.QUOTING

    # -- to the executor and from it ----------------------------------------------------------------------------------

    def tell(self, message: Message) -> None:
        self._note(message)
        for said in self.executor.handle(message, self.now):
            match said:
                case PositionReport() | Fill():
                    pass
                case GateChange():
                    if said.symbol:
                        self.epochs[said.symbol] = max(self.epochs.get(said.symbol, 0), said.epoch)
                    else:
                        self.epochs[""] = max(self.epochs[""], said.epoch)
                    self.shut = self.shut if said.shut is None else said.shut
                case Halt():  # the latch; it is lifted when things are calm
                    pass
                case NewOrder():
                    assert said.order_id not in self.sent, "an order was sent twice"
                    assert self.executor.recovery.state is BotState.QUOTING, "an order left outside of quoting"
                    assert not self._refused(said), "an order left with an epoch that is over"
                    self.sent[said.order_id] = said
                    self.wire.append(said)
                case _:
                    self.wire.append(said)

    def _note(self, message: Message) -> None:
        """Trades that are in what is told now."""
        reports: tuple[ExecutionReport, ...] = ()
        if isinstance(message, ExecutionReport):
            reports = (message,)
        elif isinstance(message, TradesRead | OrderStatusReport):
            reports = message.trades or ()
        for report in reports:
            if report.exec_type in (ExecType.TRADE, ExecType.TRADE_CANCEL):
                key = (report.exec_id, report.order_id)
                failed = report.exec_type is ExecType.TRADE_CANCEL
                before, first = self.told.get(key, (False, report))
                self.told[key] = (before or failed, first)

    def _refused(self, order: NewOrder) -> bool:
        return self.shut or order.epoch < max(self.epochs[""], self.epochs.get(SYMBOL, 0))

    def user(self, order: NewOrder, exec_type: ExecType, cum: Qty | None = None) -> None:
        self.mail.append(
            ExecutionReport(
                order_id=order.order_id, exec_type=exec_type, source=Source.USER, cum_qty=cum, symbol=SYMBOL
            )
        )

    # -- the venue ----------------------------------------------------------------------------------------------------

    def serve(self, request: Message, how: int = 0) -> None:
        """One request arrives; `how` 0 is as it should be."""
        now, mail = self.now, self.mail
        match request:
            case NewOrder():
                self._post(request, how)
            case CancelOrder():
                rest = self.rests.get(request.order_id)
                reached = how != 1
                done = reached and rest is not None and rest.live
                if done and rest is not None:
                    self._end(rest)
                if how in (1, 2):
                    mail.append(OutcomeUnknown(order_id=request.order_id, request=Request.CANCEL))
                elif done:
                    mail.append(
                        ExecutionReport(order_id=request.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL)
                    )
                else:
                    mail.append(CancelReject(order_id=request.order_id, text="not found or already matched"))
            case MassCancel():
                gone = []
                for place, (order_id, rest) in enumerate(self.rests.items()):
                    if rest.live and how != 1 and not (how == 3 and place % 2):
                        self._end(rest)
                        gone.append(order_id)
                known = how in (0, 3)
                mail.append(
                    MassCancelReport(
                        symbol=request.symbol,
                        known=known,
                        canceled=tuple(gone) if known else (),
                        asked_ns=request.made_ns,
                    )
                )
            case OrderMassStatusRequest():
                rows = tuple(
                    OpenOrder(
                        order_id=order_id, symbol=SYMBOL, asset_id=rest.order.asset_id, side=rest.order.side,
                        px=rest.order.px, order_qty=rest.order.order_qty, cum_qty=rest.matched,
                    )
                    for order_id, rest in self.rests.items() if rest.live
                )  # fmt: skip
                mail.append(OpenOrders(orders=None if how else rows, asked_ns=request.asked_ns, recv_ns=now))
            case TradesRequest():
                found = tuple(trade.report(Source.READ) for trade in self.trades)
                after = request.after_utc_s
                mail.append(
                    TradesRead(trades=None if how else found, after_utc_s=after, asked_ns=request.asked_ns, recv_ns=now)
                )
            case OrderStatusRequest():
                self._query(request, how)
            case BalanceRequest():
                # As the trades that were told make it: so no read can hide an error of ours.
                mail.append(Balance(cash=None if how else self.cash(), asked_ns=request.asked_ns, recv_ns=now))
            case _:
                raise AssertionError(f"a request nobody serves: {request}")

    def _post(self, order: NewOrder, how: int) -> None:
        answer = {"order_id": order.order_id, "source": Source.POST}
        if self._refused(order):
            self.mail.append(
                ExecutionReport(
                    order_id=order.order_id, exec_type=ExecType.REJECTED, source=Source.GATE, reject=Reject.EPOCH
                )
            )
            return
        match how:
            case 1:
                self.mail.append(ExecutionReport(**answer, exec_type=ExecType.REJECTED, reject=Reject.POST_ONLY))
            case 2:  # no answer, and it never arrived
                self.mail.append(OutcomeUnknown(order_id=order.order_id, request=Request.NEW))
            case 3:  # no answer, and it rests
                self._land(order)
                self.mail.append(OutcomeUnknown(order_id=order.order_id, request=Request.NEW))
            case 4:  # no answer, and it may arrive yet
                self.late.append(order)
                self.mail.append(OutcomeUnknown(order_id=order.order_id, request=Request.NEW))
            case 5:  # matched at once
                rest = self._land(order)
                self._match(rest, order.order_qty)
                self.mail.append(ExecutionReport(**answer, exec_type=ExecType.MATCHED, cum_qty=order.order_qty))
            case _:
                self._land(order)
                self.mail.append(ExecutionReport(**answer, exec_type=ExecType.NEW))

    def _land(self, order: NewOrder) -> Rest:
        rest = self.rests[order.order_id] = Rest(order)
        self.user(order, ExecType.NEW, 0)
        return rest

    def _end(self, rest: Rest) -> None:
        rest.live = False
        self.user(rest.order, ExecType.CANCELED, rest.matched)

    def _match(self, rest: Rest, qty: Qty) -> None:
        trade = Trade(f"t{len(self.trades)}", rest.order, qty)
        self.trades.append(trade)
        rest.matched += qty
        self.mail.append(trade.report(Source.USER))
        self.user(rest.order, ExecType.UPDATE, rest.matched)
        rest.live = rest.leaves > 0

    def _query(self, request: OrderStatusRequest, how: int) -> None:
        known = {"order_id": request.order_id, "asked_ns": request.asked_ns, "recv_ns": self.now}
        if how == 1:
            self.mail.append(OrderStatusReport(**known, found=None))
            return
        rest, found = self.rests.get(request.order_id), FoundStatus.ABSENT
        if rest is not None and not (how == 2 and not rest.live):  # what is over may be forgotten
            full = rest.matched == rest.order.order_qty
            found = FoundStatus.LIVE if rest.live else FoundStatus.MATCHED if full else FoundStatus.CANCELED
        self.mail.append(
            OrderStatusReport(
                **known, found=found, cum_qty=rest.matched if rest is not None and found is not FoundStatus.ABSENT else 0,
                trades=tuple(t.report(Source.READ) for t in self.trades if t.order.order_id == request.order_id),
            )
        )  # fmt: skip

    # -- what happens --------------------------------------------------------------------------------------------------

    @rule(what=st.sampled_from([what for what, weight in WEIGHTS.items() for _ in range(weight)]), at=pick, how=pick)
    def something_happens(self, what: str, at: int, how: int) -> None:
        """One thing; where there is nothing to do it to, the next in line of a usual day."""
        live = [rest for rest in self.rests.values() if rest.live]
        open_trades = [trade for trade in self.trades if 0 <= trade.step < len(STEPS) - 1]
        events = [n for n, m in enumerate(self.mail) if isinstance(m, ExecutionReport) and m.source is Source.USER]
        match what:
            case "a trade is settled further" if open_trades:
                trade = open_trades[at % len(open_trades)]
                trade.step = -1 if how < 15 and trade.step < 2 else trade.step + 1
                self.mail.append(trade.report(Source.USER))
            case "an order is matched" if live:
                rest = live[at % len(live)]
                self._match(rest, max(LOT, rest.leaves * (how % 10 + 1) // 10 // LOT * LOT))
            case "an event is told twice" if events:
                self.tell(self.mail[events[at % len(events)]])
            case "an event is lost" if events:
                self.mail[events[at % len(events)]] = StreamGap(feed="user", reason="lost")
            case "something is told" if self.mail:
                self.tell(self.mail.pop(at % len(self.mail)))
            case "all is told" if self.mail:
                while self.mail:
                    self.tell(self.mail.pop(0))
            case "a late order arrives" if self.late:
                self._land(self.late.pop(at % len(self.late)))
            case "something breaks":
                self._break(at, how)
            case "it comes back":
                self._come_back()
            case "want" if self.executor.recovery.state is BotState.QUOTING:
                self._want(at, how)
            case "time passes":
                self.now += (50, 50, 300, 600, 2100)[at % 5] * NS_PER_MS
                self.late = [order for order in self.late if self.now - order.made_ns < LANDS_WITHIN_NS]
                self.tick()
            case "all requests arrive" if self.wire:
                while self.wire:
                    self.serve(self.wire.pop(0))
            case _ if self.wire:
                self.serve(self.wire.pop(at % len(self.wire)), max(0, how % 12 - 6))
            case _ if self.mail:
                self.tell(self.mail.pop(at % len(self.mail)))
            case _ if self.executor.recovery.state is BotState.QUOTING:
                self._want(at, how)
            case _:
                self._come_back()

    def tick(self) -> None:
        self.tell(TimerTick(name="executor", now_ns=self.now, utc_ns=UTC0 + self.now))

    def _want(self, at: int, how: int) -> None:
        self.seq += 1
        mid, qty, quiet = 5000 + 100 * (at % 7 - 3), 10 * QTY_ONE * (at % 3 + 1), how >= 110
        self.tell(
            QuoteIntent(
                symbol=SYMBOL, seq=self.seq, epoch=self.executor.epoch_of(SYMBOL), made_ns=self.now, tick=100,
                valid_until_ns=self.now + 20 * NS_PER_S, quote_mode=QuoteMode.NO_QUOTE if quiet else QuoteMode.NORMAL,
                cancel_first=quiet, bid_px=mid - 200, bid_size=0 if quiet else qty,
                bid_route=Route.SELL_NO if how & 1 else Route.BUY_YES, offer_px=mid + 200,
                offer_size=0 if quiet else qty, offer_route=Route.SELL_YES if how & 2 else Route.BUY_NO,
            )
        )  # fmt: skip

    def _break(self, at: int, how: int) -> None:
        match at % 6:
            case 0:
                self.tell(Fail(reason="x"))
            case 1:
                self.tell(Halt(reason="x", by="operator"))
            case 2:  # the venue cancels by itself
                for rest in self.rests.values():
                    if rest.live:
                        self._end(rest)
            case 3:
                self._restart(how)
            case _:
                self.tell(FeedStatus(feed="user", connected=how & 1 == 1))

    def _come_back(self) -> None:
        """Nothing goes wrong for a while."""
        self.tell(FeedStatus(feed="user", connected=True))
        self.calm(4)
        if self.executor.recovery.state is BotState.HALTED:
            self.tell(Resume(by="operator"))
        self.calm(6)

    def _restart(self, landed: int) -> None:
        """Killed and started again: orders on the wire arrive or do not, and nothing under way is told."""
        for n, request in enumerate(self.wire):
            if isinstance(request, NewOrder) and landed >> n % 3 & 1 and not self._refused(request):
                self._land(request)
        self.wire, self.late, self.mail = [], [], []
        state = snapshot(self.executor)
        self.executor = self._fresh()
        restore(self.executor, state)
        self.shut = True
        self.tell(Restarted())
        self.tell(FeedStatus(feed="user", connected=True))

    # -- what holds after every step -----------------------------------------------------------------------------------

    def counted(self, order_id: str = "") -> list[ExecutionReport]:
        """The trades told so far that did not fail."""
        return [first for (_, oid), (failed, first) in self.told.items() if not failed and order_id in ("", oid)]

    def failed(self, order_id: str) -> bool:
        return any(failed for (_, oid), (failed, _) in self.told.items() if oid == order_id)

    def cash(self) -> Usd:
        paid = (notional(t.last_px, t.last_qty) * (1 if t.side is Side.BUY else -1) for t in self.counted())
        return START_CASH - sum(paid)

    def held(self, token: str) -> Qty:
        return sum(t.last_qty if t.side is Side.BUY else -t.last_qty for t in self.counted() if t.asset_id == token)

    @invariant()
    def what_was_told_is_counted_once(self) -> None:
        desk = self.executor.desks.get(SYMBOL)
        if desk is None:
            return
        positions = self.executor.positions
        assert positions.quantities(desk.market) == (self.held(UP), self.held(DOWN))
        assert not self.executor.cash_known or positions.cash == self.cash()
        assert self.executor.use(desk) == self.executor.use_without(desk, None), "a change was not marked"

    @invariant()
    def no_order_is_better_known_than_told_nor_believed_safer_than_it_is(self) -> None:
        legs: set[str] = set()
        for order_id in self.sent:
            order = self.executor.orders.get(order_id)
            assert order is not None
            told = sum(t.last_qty for t in self.counted(order_id))
            assert order.cum_qty == told, f"{order_id}: {order.cum_qty} filled, {told} told"
            if order.is_open:
                assert order.leaves_qty == order.order_qty - order.cum_qty
                if not self.failed(order_id):  # a filled one whose trade failed is asked after beside the next one
                    assert order.leg not in legs, "two live orders in one slot"
                    legs.add(order.leg)
            rest = self.rests.get(order_id)
            if rest is not None:
                good = sum(t.qty for t in self.trades if t.order.order_id == order_id and t.step >= 0)
                assert order.cum_qty + order.exposure >= good + rest.leaves, "more may be filled than is counted"
                assert not (rest.live and order.state in ENDED), "it rests and is held for over"
            before = self.was.get(order_id)
            if before in ENDED:
                assert order.state is not OrderState.WORKING, "it ended and works again"
            self.was[order_id] = order.state

    # -- and in the end ------------------------------------------------------------------------------------------------

    def calm(self, seconds: float) -> None:
        """Everything arrives in order and is answered as it should be."""
        for _ in range(round(seconds * 5)):
            for order in self.late:
                self._land(order)
            self.late = []
            while self.wire or self.mail:
                while self.wire:
                    self.serve(self.wire.pop(0))
                while self.mail:
                    self.tell(self.mail.pop(0))
            self.now += 200 * NS_PER_MS
            self.tick()

    def teardown(self) -> None:
        if SYMBOL not in self.executor.desks:
            return
        self.tell(FeedStatus(feed="user", connected=True))
        for trade in self.trades:
            if 0 <= trade.step < 2:
                trade.step = 2
                self.mail.append(trade.report(Source.USER))
        for _ in range(3):  # what reads bring to light, such as a third trade that failed, may halt it again
            self.calm(40)
            if self.executor.recovery.state is BotState.HALTED:
                self.tell(Resume(by="operator"))
        self.calm(40)
        assert self.executor.recovery.state is BotState.QUOTING, self.executor.recovery.missing(self.executor.orders)
        self.agree()
        self.tell(Shutdown(reason="the end"))
        self.calm(8)
        assert self.executor.recovery.state is BotState.STOPPED
        assert not any(rest.live for rest in self.rests.values()), "it ended, and orders rest"
        self.agree()

    def agree(self) -> None:
        """The books are the venue's."""
        executor = self.executor
        live = {order_id for order_id, rest in self.rests.items() if rest.live}
        assert {order.order_id for order in executor.orders.open_orders()} == live
        for order_id, rest in self.rests.items():
            order = executor.orders.get(order_id)
            good = sum(t.qty for t in self.trades if t.order.order_id == order_id and t.step >= 0)
            assert order is not None and order.cum_qty == good and not order.debt
            assert order.leaves_qty == rest.leaves
        self.what_was_told_is_counted_once()
        self.no_order_is_better_known_than_told_nor_believed_safer_than_it_is()


TestOrderModel = OrderModel.TestCase
TestOrderModel.settings = settings(stateful_step_count=100)
