"""The bot's cores on a virtual clock: a strategy core, the executor core, the gate, and connections that take their time.

One thread, no socket, no journal. What is sent has the order it would have on its connection, and an order waits for the
answer to the one before. Knows neither where prices come from nor who trades.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from bot.caches import Caches
from bot.execution.executor import Executor
from bot.execution.gate import Freshness, Gate
from bot.execution.risk import Limits
from bot.messages import (
    BalanceRequest,
    CancelOrder,
    ExecType,
    ExecutionReport,
    FeedStatus,
    Fill,
    GateChange,
    Halt,
    MassCancel,
    Message,
    NewOrder,
    Nudge,
    OrderMassStatusRequest,
    OrderStatusRequest,
    PositionReport,
    QuoteIntent,
    Resume,
    Settled,
    Source,
    TimerTick,
    TradesRequest,
)
from bot.ports import PartedCore
from bot.quoting.parameters import Parameters
from bot.sim.exchange import OrderEvent, TradeEvent
from bot.sim.prices import STEP_MS
from bot.sim.trial.clock import Agenda, Line
from bot.sim.trial.connection import Admit, Connection, Serve
from bot.sim.trial.wallet import Wallet, order_id_of
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE, USD_ONE, Ns, Usd

EXECUTOR_NS: Ns = 50 * NS_PER_MS
RESUME_NS: Ns = 60 * NS_PER_S  # a person lifts a halt after that long: a trial of a halted bot measures nothing
NEVER: Ns = 1 << 62

Make = Callable[[Parameters, Caches], PartedCore]
Asked = Callable[[str], None]


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Medians in ms, one way: of the three kinds of streams, of orders and cancels until they take effect, of answers."""

    reference_ms: float = 40.0
    stream_ms: float = 40.0
    order_ms: float = 100.0
    cancel_ms: float = 100.0
    answer_ms: float = 40.0


class VirtualBot:
    """Invariant: a core hears nothing before its line brought it, and nothing it sent acts sooner than its way takes."""

    def __init__(
        self,
        make: Make,
        *,
        wallet: Wallet,
        agenda: Agenda,
        caches: Caches,
        parameters: Parameters,
        latencies: Latencies,
        origin_ns: Ns,
        seed: str,
        acted: Callable[[], None],
        asked: Asked,
    ) -> None:
        """`acted` follows each request that the venue has served, `asked` each order or cancel with its market.
        `origin_ns` is wall clock minus clock."""
        self._wallet = wallet
        self._agenda = agenda
        self._parameters = parameters
        self._origin_ns = origin_ns
        self._acted = acted
        self._asked = asked
        everything = Freshness(heartbeat_ns_max=NEVER, user_ns_max=NEVER, open_orders_ns_max=NEVER, lease_ns_max=NEVER)
        self._gate = Gate(everything)
        for stamp in ("heartbeat_ack_ns", "user_frame_ns", "open_orders_ns", "executor_lease_ns", "root_lease_ns"):
            setattr(self._gate, stamp, agenda.now_ns)

        def line(name: str, median_ms: float) -> Line:
            return Line(name, median_ms, seed)

        def connection(name: str, way_ms: float, serve: Serve, **more: Admit) -> Connection:
            back = line(f"{name} back", latencies.answer_ms)
            return Connection(agenda, line(name, way_ms), back, serve, partial(self.tell, "executor"), **more)

        self._user = line("user", latencies.stream_ms)
        self._orders = connection("orders", latencies.order_ms, self._post, admit=self._admit)
        self._cancels = connection("cancels", latencies.cancel_ms, self._cancel)
        self._reads = connection("reads", latencies.order_ms, self._read)
        self._strategy = make(parameters, caches)
        self.executor = Executor(
            limits=Limits(
                q_max=round(parameters.q_max * QTY_ONE),
                loss_max_mkt=round(parameters.loss_max_mkt * USD_ONE),
                loss_max_day=NEVER,  # a trial goes on where a bot would stop for the day
                capital_max=round(parameters.capital_max * USD_ONE),
            ),
            order_id_of=order_id_of,
            salt_base=1 << 40,
        )
        self._inbox: deque[tuple[str, Message]] = deque()
        self._draining = False
        self._gap_ns = int(NS_PER_S / parameters.max_hz)
        self._wake_ns: Ns = 0  # the strategy runs no sooner
        self._nudged = False
        self.settled: dict[str, Usd] = {}  # by market: what the executor says it made
        self.halts = 0

    # -- time ------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """The user stream is there."""
        self.tell("executor", FeedStatus(feed="user", connected=True, now_ns=self._agenda.now_ns))

    def start(self) -> None:
        """The timer ticks from now on."""
        now_ns = self._agenda.now_ns
        self._agenda.at(now_ns, partial(self._tick, "strategy", round(NS_PER_S / self._parameters.hz)))
        self._agenda.at(now_ns, partial(self._tick, "executor", EXECUTOR_NS))

    def _tick(self, name: str, period_ns: Ns, now_ns: Ns) -> None:
        self._agenda.at(now_ns + period_ns, partial(self._tick, name, period_ns))
        self.tell(name, TimerTick(name=name, now_ns=now_ns, utc_ns=now_ns + self._origin_ns))

    @property
    def _venue_ms(self) -> int:
        """The venue's clock, on the grid of its steps."""
        return -(-(self._agenda.now_ns + self._origin_ns) // (STEP_MS * NS_PER_MS)) * STEP_MS

    # -- the user stream -------------------------------------------------------------------------------------------

    def report(self, event: OrderEvent | TradeEvent) -> None:
        """Something happened to an order of ours just now: we hear of it later."""
        self._agenda.at(self._user.arrival(self._agenda.now_ns), partial(self._hear, event))

    def _hear(self, event: OrderEvent | TradeEvent, now_ns: Ns) -> None:
        for report in self._wallet.told(event, now_ns):
            self.tell("executor", report)

    # -- requests --------------------------------------------------------------------------------------------------

    def _admit(self, batch: list[Message], now_ns: Ns) -> list[Message]:
        """Through the gate, as the orders gateway does."""
        orders = [order for order in batch if isinstance(order, NewOrder)]
        admitted: list[Message] = []
        for order, verdict in zip(orders, self._gate.admit(orders, now_ns), strict=True):
            if verdict is None:
                admitted.append(order)
                continue
            self.tell(
                "executor",
                ExecutionReport(
                    order_id=order.order_id,
                    cl_ord_id=order.cl_ord_id,
                    symbol=order.symbol,
                    asset_id=order.asset_id,
                    side=order.side,
                    exec_type=ExecType.REJECTED,
                    source=Source.GATE,
                    reject=verdict[0],
                    text=verdict[1],
                    recv_ns=now_ns,
                ),
            )
        return admitted

    def _post(self, batch: list[Message], heard_ns: Ns) -> list[Message]:
        orders = [order for order in batch if isinstance(order, NewOrder)]
        answers = self._wallet.post(orders, self._venue_ms, heard_ns)
        self._gate.landed([order.order_id for order in orders])
        self._acted()
        return answers

    def _cancel(self, batch: list[Message], heard_ns: Ns) -> list[Message]:
        answers: list[Message] = []
        for message in batch:
            if isinstance(message, MassCancel):
                answers.append(self._wallet.cancel_all(message, self._venue_ms, heard_ns))
        answers += self._wallet.cancel([c for c in batch if isinstance(c, CancelOrder)], self._venue_ms, heard_ns)
        self._acted()
        return answers

    def _read(self, batch: list[Message], heard_ns: Ns) -> list[Message]:
        return [self._wallet.read(message, heard_ns) for message in batch]

    # -- the cores -------------------------------------------------------------------------------------------------

    def tell(self, component: str, message: Message) -> None:
        """Deliver now, and whatever follows from it."""
        self._inbox.append((component, message))
        if self._draining:
            return
        self._draining = True
        while self._inbox:
            component, message = self._inbox.popleft()
            if component == "strategy":
                self._to_strategy(message)
            else:
                for emitted in self.executor.handle(message, self._agenda.now_ns):
                    self._route(emitted)
        self._draining = False

    def _to_strategy(self, message: Message) -> None:
        """Never more often than max_hz; a nudge that comes too soon waits, and what is left over has one of its own."""
        now_ns = self._agenda.now_ns
        if isinstance(message, Nudge):
            if self._nudged:
                return
            if self._agenda.now_ns < self._wake_ns:
                self._nudged = True
                self._agenda.at(self._wake_ns, partial(self._wake, message))
                return
        if isinstance(message, Nudge | TimerTick):
            self._wake_ns = self._agenda.now_ns + self._gap_ns
        for emitted in self._strategy.handle(message, now_ns):
            if isinstance(emitted, QuoteIntent):
                self._inbox.append(("executor", emitted))
        if self._strategy.left and not self._nudged:
            self._nudged = True
            self._agenda.at(self._wake_ns, partial(self._wake, Nudge()))

    def _wake(self, message: Message, now_ns: Ns) -> None:
        self._nudged = False
        self.tell("strategy", message)

    def _route(self, message: Message) -> None:
        match message:
            case NewOrder():
                self._asked(message.symbol)
                self._orders.put(message, self._agenda.now_ns)
            case CancelOrder():
                self._asked(message.symbol)
                self._cancels.put(message, self._agenda.now_ns)
            case MassCancel():
                self._cancels.put(message, self._agenda.now_ns, urgent=True)
            case OrderMassStatusRequest() | OrderStatusRequest() | TradesRequest() | BalanceRequest():
                self._reads.put(message, self._agenda.now_ns)
            case PositionReport() | Fill():
                self._inbox.append(("strategy", message))
            case GateChange():
                self._gate.apply(message)
            case Settled():
                self.settled[message.symbol] = message.pnl
            case Halt():
                self.halts += 1
                self._agenda.at(self._agenda.now_ns + RESUME_NS, self._resume)

    def _resume(self, now_ns: Ns) -> None:
        self.tell("executor", Resume(by="the trial"))
