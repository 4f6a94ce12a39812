"""An executor with a passed clock, and a small obedient venue that answers its requests at once when asked to."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from bot.execution.executor import Executor
from bot.execution.orders import Order
from bot.execution.risk import Limits, total
from bot.market import Market, Rule
from bot.messages import (
    Balance,
    BalanceRequest,
    BotState,
    CancelOrder,
    ExecType,
    ExecutionReport,
    FeedStatus,
    FoundStatus,
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
    PositionReport,
    QuoteIntent,
    QuoteMode,
    Route,
    Source,
    TimerTick,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE

M = TypeVar("M", bound=Message)
UTC0 = 1_790_000_000 * NS_PER_S
TICKS_MAX = 10_000  # of one test: a story has an end
UP, DOWN, SYMBOL = "up-token", "down-token", "0xc0nd"


def a_market(symbol: str = SYMBOL, up: str = UP, down: str = DOWN, end_s: int = 3600) -> Market:
    return Market(
        symbol=symbol,
        slug="btc-updown-1h-1",
        series="btc-updown-1h",
        asset="btc",
        up_token=up,
        down_token=down,
        version=2,
        rule=Rule.TWAP,
        window_s=60,
        start_utc_ns=UTC0,
        end_utc_ns=UTC0 + end_s * NS_PER_S,
        tick=100,
        min_qty=5 * QTY_ONE,
        fee_rate=0.07,
    )


def digest(order: NewOrder) -> str:
    assert order.order_id == ""
    return "0x" + hashlib.sha256(f"{order.salt}-{order.px}-{order.order_qty}".encode()).hexdigest()[:16]


class Bench:
    """Feeds an executor. `obey` makes the venue answer every request at once; else the test answers by itself."""

    def __init__(self, *, limits: Limits | None = None, obey: bool = True, start: bool = True, **given: object) -> None:
        self.executor = Executor(
            limits=limits if limits is not None else Limits(),
            order_id_of=digest,
            salt_base=0x1000,
            **given,  # type: ignore[arg-type]
        )
        self.now = 10 * NS_PER_S
        self.obey = obey
        self.cash = 500 * QTY_ONE
        self.resting: dict[str, NewOrder] = {}
        self.trades: list[ExecutionReport] = []
        self.sent: list[Message] = []  # all that was ever emitted
        self.seq = 0
        self.ticks = 0
        if start:
            was, self.obey = self.obey, True
            self.tell(MarketListed(market=a_market()))
            self.tell(FeedStatus(feed="user", connected=True))
            self.tick()
            self.tick()
            assert self.executor.recovery.state is BotState.QUOTING
            self.obey = was
            self.sent.clear()

    # -- time and messages

    def tell(self, message: Message) -> list[Message]:
        """One message; returns what it made the executor say, with the venue's answers if it obeys."""
        emitted = self.executor.handle(message, self.now)
        self.check()
        said = list(emitted)
        self.sent += emitted
        if self.obey:
            for request in emitted:
                for answer in self.answers(request):
                    said += self.tell(answer)
        return said

    def tick(self, ms: int = 50) -> list[Message]:
        self.now += ms * NS_PER_MS
        self.ticks += 1
        assert self.ticks < TICKS_MAX, "what the test waits for never comes"
        return self.tell(TimerTick(name="executor", now_ns=self.now, utc_ns=UTC0 + self.now))

    def run(self, seconds: float) -> list[Message]:
        said: list[Message] = []
        for _ in range(round(seconds * 20)):
            said += self.tick()
        return said

    def intent(self, bid: int = 0, offer: int = 0, size: float = 20, **given: object) -> list[Message]:
        self.seq += 1
        fields: dict[str, object] = {
            "symbol": SYMBOL,
            "seq": self.seq,
            "epoch": self.executor.epoch_of(SYMBOL),
            "made_ns": self.now,
            "valid_until_ns": self.now + 60 * NS_PER_S,
            "quote_mode": QuoteMode.NORMAL,
            "tick": 100,
            "bid_px": bid,
            "bid_size": round(size * QTY_ONE) if bid else 0,
            "bid_route": Route.BUY_YES if bid else Route.NONE,
            "offer_px": offer,
            "offer_size": round(size * QTY_ONE) if offer else 0,
            "offer_route": Route.BUY_NO if offer else Route.NONE,
        }
        return self.tell(QuoteIntent(**{**fields, **given}))  # type: ignore[arg-type]

    # -- the venue

    def answers(self, request: Message) -> list[Message]:
        now = self.now
        match request:
            case NewOrder():
                self.resting[request.order_id] = request
                return [acked(request.order_id), placement(request.order_id)]
            case CancelOrder():
                self.resting.pop(request.order_id, None)
                return [
                    ExecutionReport(order_id=request.order_id, exec_type=ExecType.CANCELED, source=Source.CANCEL),
                    ExecutionReport(
                        order_id=request.order_id, exec_type=ExecType.CANCELED, source=Source.USER, cum_qty=0
                    ),
                ]
            case MassCancel():
                gone = tuple(oid for oid, o in self.resting.items() if request.symbol in ("", o.symbol))
                for oid in gone:
                    del self.resting[oid]
                return [MassCancelReport(symbol=request.symbol, known=True, canceled=gone, asked_ns=now, recv_ns=now)]
            case OrderMassStatusRequest():
                return [OpenOrders(orders=self.rows(), asked_ns=request.asked_ns, recv_ns=now)]
            case TradesRequest():
                return [
                    TradesRead(
                        trades=tuple(self.trades),
                        after_utc_s=request.after_utc_s,
                        asked_ns=request.asked_ns,
                        recv_ns=now,
                    )
                ]
            case BalanceRequest():
                return [Balance(cash=self.cash, asked_ns=request.asked_ns, recv_ns=now)]
            case OrderStatusRequest():
                oid = request.order_id
                found = FoundStatus.LIVE if oid in self.resting else FoundStatus.CANCELED
                return [OrderStatusReport(order_id=oid, found=found, asked_ns=request.asked_ns)]
        return []

    def rows(self) -> tuple[OpenOrder, ...]:
        return tuple(
            OpenOrder(
                order_id=oid,
                symbol=o.symbol,
                asset_id=o.asset_id,
                side=o.side,
                px=o.px,
                order_qty=o.order_qty,
                cum_qty=0,
            )
            for oid, o in self.resting.items()
        )

    # -- looking

    def check(self) -> None:
        """What limits are compared with is kept between messages, and must be what it would be if counted anew."""
        executor = self.executor
        anew = {symbol: executor.use_without(desk, None) for symbol, desk in executor.desks.items()}
        assert {symbol: executor.use(desk) for symbol, desk in executor.desks.items()} == anew
        assert executor.total() == total(anew.values())

    @property
    def state(self) -> BotState:
        return self.executor.recovery.state

    def order(self, index: int = 0) -> Order:
        return list(self.executor.orders.by_id.values())[index]

    def net(self) -> float:
        up, down = self.executor.positions.quantities(self.executor.desks[SYMBOL].market)
        return (up - down) / QTY_ONE


def of(kind: type[M], said: list[Message]) -> list[M]:
    return [message for message in said if isinstance(message, kind)]


def requests(said: list[Message]) -> list[Message]:
    """What went to the venue or the gate: all but views."""
    return [message for message in said if not isinstance(message, PositionReport)]


def acked(order_id: str) -> ExecutionReport:
    return ExecutionReport(order_id=order_id, exec_type=ExecType.NEW, source=Source.POST)


def placement(order_id: str) -> ExecutionReport:
    return ExecutionReport(order_id=order_id, exec_type=ExecType.NEW, source=Source.USER)


def trade(
    order_id: str,
    shares: float,
    *,
    exec_id: str = "t1",
    px: int = 5000,
    status: TradeStatus | None = TradeStatus.MATCHED,
    source: Source = Source.USER,
    kind: ExecType = ExecType.TRADE,
    **given: object,
) -> ExecutionReport:
    return ExecutionReport(
        order_id=order_id,
        exec_type=kind,
        source=source,
        exec_id=exec_id,
        trade_status=status,
        last_px=px,
        last_qty=round(shares * QTY_ONE),
        **given,  # type: ignore[arg-type]
    )
