"""The executor against a venue that loses, delays, repeats and reorders: whatever it did, afterwards both agree."""

from __future__ import annotations

import random

import pytest
from desk_fake import DOWN, SYMBOL, UP, UTC0, a_market, digest

from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.messages import (
    Balance,
    BalanceRequest,
    BotState,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    FeedStatus,
    FoundStatus,
    GateChange,
    MarketListed,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    OutcomeUnknown,
    PositionReport,
    QuoteIntent,
    QuoteMode,
    Reject,
    Request,
    Resume,
    Route,
    Side,
    Source,
    StreamGap,
    TimerTick,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.units import LOT, NS_PER_MS, NS_PER_S, QTY_ONE, notional

STEP = 50 * NS_PER_MS


class Rest:
    """One order as the venue has it."""

    def __init__(self, order: NewOrder) -> None:
        self.order = order
        self.cum = 0
        self.live = True


class Chaos:
    """A venue with latency and faults, its own truth, and a strategy that wants something else all the time."""

    def __init__(self, seed: int, faults: float) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.now = 5 * NS_PER_S
        self.executor = Executor(limits=Limits(), order_id_of=digest, salt_base=1)
        self.epoch = 0
        self.gate_epoch: dict[str, int] = {"": 0}
        self.shut = True
        self.rests: dict[str, Rest] = {}
        self.trades: list[ExecutionReport] = []
        self.cash = 500 * QTY_ONE
        self.due: list[tuple[int, int, Message]] = []
        self.n = 0
        self.seq = 0
        self.posts: set[str] = set()
        self.quiet = False  # nobody trades and nobody wants anything new
        self.later(FeedStatus(feed="user", connected=True), 0)
        self.later(MarketListed(market=a_market(end_s=10**6)), 0)

    def later(self, message: Message, delay_ms: float | None = None) -> None:
        if delay_ms is None:
            delay_ms = self.random.expovariate(1 / 60)
            if self.bad(0.3):
                delay_ms *= 30
        self.n += 1
        self.due.append((self.now + round(delay_ms * NS_PER_MS), self.n, message))

    def bad(self, scale: float = 1.0) -> bool:
        return self.random.random() < self.faults * scale

    def user(self, report: ExecutionReport) -> None:
        if self.bad():
            self.later(StreamGap(feed="user", reason="lost a frame"), 200)
            return
        self.later(report)
        if self.bad():
            self.later(report)

    # -- what leaves the executor

    def wire(self, request: Message) -> None:
        now = self.now
        match request:
            case GateChange():
                if request.symbol:
                    self.gate_epoch[request.symbol] = max(self.gate_epoch.get(request.symbol, 0), request.epoch)
                else:
                    self.epoch = max(self.epoch, request.epoch)
                self.shut = self.shut if request.shut is None else request.shut
            case NewOrder():
                self.post(request)
            case CancelOrder():
                self.cancel(request.order_id)
            case MassCancel():
                gone = []
                for oid, rest in self.rests.items():
                    if rest.live and request.symbol in ("", rest.order.symbol) and not self.bad():
                        self.end(rest)
                        gone.append(oid)
                known = not self.bad(2)
                report = MassCancelReport(
                    symbol=request.symbol, known=known, canceled=tuple(gone) if known else (), asked_ns=now
                )
                self.later(report)
            case OrderMassStatusRequest():
                rows = tuple(
                    OpenOrder(
                        order_id=oid, symbol=SYMBOL, asset_id=r.order.asset_id, side=r.order.side, px=r.order.px,
                        order_qty=r.order.order_qty, cum_qty=r.cum,
                    )
                    for oid, r in self.rests.items() if r.live
                )  # fmt: skip
                known = not self.bad(2)
                self.later(OpenOrders(orders=rows if known else None, asked_ns=request.asked_ns, recv_ns=now))
            case TradesRequest():
                known = not self.bad(2)
                trades = tuple(self.trades) if known else None
                self.later(TradesRead(trades=trades, after_utc_s=0, asked_ns=request.asked_ns, recv_ns=now))
            case BalanceRequest():
                self.later(Balance(cash=None if self.bad(2) else self.cash, asked_ns=request.asked_ns, recv_ns=now))
            case OrderStatusRequest():
                self.query(request)

    def post(self, order: NewOrder) -> None:
        epoch = max(self.epoch, self.gate_epoch.get(order.symbol, 0))
        assert order.order_id not in self.posts, "an order was sent twice"
        self.posts.add(order.order_id)
        report = ExecutionReport(order_id=order.order_id, exec_type=ExecType.NEW, source=Source.POST)
        if self.shut or order.epoch < epoch:
            self.later(
                ExecutionReport(
                    order_id=order.order_id, exec_type=ExecType.REJECTED, source=Source.GATE, reject=Reject.EPOCH
                ), 1,
            )  # fmt: skip
            return
        if self.bad():
            self.later(
                ExecutionReport(
                    order_id=order.order_id, exec_type=ExecType.REJECTED, source=Source.POST, reject=Reject.POST_ONLY
                )
            )
            return
        lost = self.bad()
        if not (lost and self.random.random() < 0.5):
            self.rests[order.order_id] = Rest(order)
            self.user(ExecutionReport(order_id=order.order_id, exec_type=ExecType.NEW, source=Source.USER))
        self.later(OutcomeUnknown(order_id=order.order_id, request=Request.NEW) if lost else report)

    def end(self, rest: Rest) -> None:
        rest.live = False
        self.user(
            ExecutionReport(
                order_id=rest.order.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=rest.cum
            )
        )

    def cancel(self, oid: str) -> None:
        rest = self.rests.get(oid)
        if self.bad(0.5):  # never arrived
            self.later(OutcomeUnknown(order_id=oid, request=Request.CANCEL))
        elif rest is None or not rest.live:
            self.later(CancelReject(order_id=oid, text="already canceled or matched"))
        else:
            self.end(rest)
            lost = self.bad()
            self.later(
                OutcomeUnknown(order_id=oid, request=Request.CANCEL) if lost
                else ExecutionReport(order_id=oid, exec_type=ExecType.CANCELED, source=Source.CANCEL)
            )  # fmt: skip

    def query(self, request: OrderStatusRequest) -> None:
        rest = self.rests.get(request.order_id)
        found = FoundStatus.ABSENT
        if rest is not None:
            full = rest.cum >= rest.order.order_qty
            found = FoundStatus.LIVE if rest.live else FoundStatus.MATCHED if full else FoundStatus.CANCELED
        trades = tuple(
            ExecutionReport(**{**{f: getattr(t, f) for f in t.__struct_fields__}, "source": Source.READ})
            for t in self.trades if t.order_id == request.order_id
        )  # fmt: skip
        self.later(
            OrderStatusReport(
                order_id=request.order_id, found=None if self.bad(2) else found, cum_qty=rest.cum if rest else 0,
                trades=trades, asked_ns=request.asked_ns,
            )
        )  # fmt: skip

    # -- what the world does

    def fill(self) -> None:
        live = [rest for rest in self.rests.values() if rest.live]
        if not live or self.random.random() > 0.03:
            return
        rest = self.random.choice(live)
        left = rest.order.order_qty - rest.cum
        qty = left if self.random.random() < 0.5 else max(LOT, left * self.random.randint(1, 9) // 10 // LOT * LOT)
        rest.cum += qty
        rest.live = rest.cum < rest.order.order_qty
        order = rest.order
        money = notional(order.px, qty)
        self.cash += -money if order.side is Side.BUY else money
        for status in (TradeStatus.MATCHED, TradeStatus.MINED):
            report = ExecutionReport(
                order_id=order.order_id, exec_type=ExecType.TRADE, source=Source.USER, symbol=SYMBOL,
                asset_id=order.asset_id, side=order.side, exec_id=f"t{len(self.trades)}", trade_status=status,
                last_px=order.px, last_qty=qty,
            )  # fmt: skip
            self.user(report)
        self.trades.append(report)
        self.user(
            ExecutionReport(
                order_id=order.order_id, exec_type=ExecType.UPDATE, source=Source.USER, cum_qty=rest.cum
            )
        )  # fmt: skip

    def want(self) -> None:
        self.seq += 1
        mid = 5000 + 100 * self.random.randint(-3, 3)
        quiet = self.random.random() < 0.1
        self.later(
            QuoteIntent(
                symbol=SYMBOL, seq=self.seq, epoch=self.executor.epoch_of(SYMBOL), made_ns=self.now,
                valid_until_ns=self.now + NS_PER_S, tick=100, cancel_first=quiet,
                quote_mode=QuoteMode.NO_QUOTE if quiet else QuoteMode.NORMAL,
                bid_px=mid - 200, bid_size=0 if quiet else 20 * QTY_ONE,
                bid_route=self.random.choice([Route.BUY_YES, Route.SELL_NO]),
                offer_px=mid + 200, offer_size=0 if quiet else 20 * QTY_ONE,
                offer_route=self.random.choice([Route.SELL_YES, Route.BUY_NO]),
            ), 1,
        )  # fmt: skip

    def step(self) -> None:
        self.now += STEP
        if not self.quiet:
            self.fill()
            if self.random.random() < 0.2:
                self.want()
        if self.bad(0.02):
            self.later(FeedStatus(feed="user", connected=False), 0)
            self.later(FeedStatus(feed="user", connected=True), 700)
        self.later(TimerTick(name="executor", now_ns=self.now, utc_ns=UTC0 + self.now), 0)
        while ready := [item for item in self.due if item[0] <= self.now]:
            item = min(ready)
            self.due.remove(item)
            for said in self.executor.handle(item[2], self.now):
                self.wire(said)
            self.check()

    # -- what must hold

    def check(self) -> None:
        executor = self.executor
        slots: dict[str, int] = {}
        for order in executor.orders.by_id.values():
            if order.is_open:
                assert order.cum_qty + order.leaves_qty == order.order_qty
                slots[order.leg] = slots.get(order.leg, 0) + 1
        assert all(count == 1 for count in slots.values()), "two live orders in one slot"
        desk = executor.desks.get(SYMBOL)
        if desk is not None:
            assert executor.use(desk).net_worst <= executor.risk.limits.q_max
            assert executor.use(desk) == executor.use_without(desk, None), "a change was not marked"

    def agree(self) -> None:
        executor = self.executor
        live = {oid for oid, rest in self.rests.items() if rest.live}
        assert {order.order_id for order in executor.orders.open_orders()} == live
        for oid, rest in self.rests.items():
            assert executor.orders.by_id[oid].cum_qty == rest.cum
        up = down = 0
        for trade in self.trades:
            qty = trade.last_qty if trade.side is Side.BUY else -trade.last_qty
            up, down = up + qty * (trade.asset_id == UP), down + qty * (trade.asset_id == DOWN)
        assert executor.positions.quantities(executor.desks[SYMBOL].market) == (up, down)
        assert executor.positions.cash == self.cash


@pytest.mark.parametrize("seed", range(4))
def test_after_the_faults_both_agree_and_it_quotes_again(seed: int) -> None:
    chaos = Chaos(seed, faults=0.02 * seed)
    for _ in range(20 * 90):
        chaos.step()
    chaos.faults = 0.0
    halted = chaos.executor.recovery.state is BotState.HALTED
    for _ in range(20 * 20):
        chaos.step()
    if halted:
        chaos.executor.handle(Resume(by="test"), chaos.now)
    for _ in range(20 * 90):
        chaos.step()
    assert chaos.executor.recovery.state is BotState.QUOTING
    chaos.quiet = True
    for _ in range(20 * 3):
        chaos.step()
    chaos.agree()


def test_the_same_story_gives_the_same_answers() -> None:
    def told() -> list[PositionReport | None]:
        chaos = Chaos(3, faults=0.05)
        reports = []
        for _ in range(400):
            chaos.step()
            desk = chaos.executor.desks.get(SYMBOL)
            reports.append(desk.report if desk is not None else None)
        return reports

    assert told() == told()
