"""One session: a strategy core and the executor core trade a generated market through a few windows, on a virtual clock.

One thread, no socket, no journal. Every way between venue and bot takes its time: streams, orders, cancels, answers. What
is sent has the order it would have on its connection, and an order waits for the answer to the one before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
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
    MarketDropped,
    MarketListed,
    MarketResolved,
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
    TradeStatus,
)
from bot.ports import PartedCore
from bot.quoting.modes import names
from bot.quoting.parameters import Parameters
from bot.quoting.phases import schedule_of
from bot.sim.exchange import Exchange, OrderEvent, SimMarket, TradeEvent
from bot.sim.market import Disconnected, World
from bot.sim.parameters import WorldParameters
from bot.sim.prices import STEP_MS
from bot.sim.trial.clock import Agenda, Line
from bot.sim.trial.connection import Connection
from bot.sim.trial.feeds import Feeds, Misjudged, market_of
from bot.sim.trial.measures import SAMPLE_MS, Meter, Window
from bot.sim.trial.wallet import Wallet, order_id_of
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE, USD_ONE, Ns, Usd

START_MS = 1_793_750_400_000  # no result depends on when it was made
START_NS: Ns = 1_000 * NS_PER_S  # monotonic; 0 would mean "never" to the cores
CASH: Usd = 10_000 * USD_ONE
LISTED_AHEAD_MS = 60_000
POLL_MS = 1_000
EXECUTOR_NS: Ns = 50 * NS_PER_MS
RESUME_NS: Ns = 60 * NS_PER_S  # a person lifts a halt after that long: a trial of a halted bot measures nothing
AFTER_MS = 60_000  # by then the last window is settled
NEVER: Ns = 1 << 62

Make = Callable[[Parameters, Caches], PartedCore]


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Medians in ms, one way: of the three kinds of streams, of orders and cancels until they take effect, of answers."""

    reference_ms: float = 40.0
    stream_ms: float = 40.0
    order_ms: float = 100.0
    cancel_ms: float = 100.0
    answer_ms: float = 40.0


class Result(msgspec.Struct, kw_only=True):
    windows: list[Window]
    ledger_error_e6: Usd  # largest disagreement of PnL parts, executor and venue about the money made
    halts: int
    seconds: float  # simulated


class Session:
    """Invariant: a core hears nothing before its line brought it, and nothing it sent acts sooner than its way takes."""

    def __init__(
        self,
        make: Make,
        *,
        seed: int,
        series: Sequence[str],
        seconds: float,
        world: WorldParameters,
        parameters: Parameters,
        latencies: Latencies = Latencies(),
        guarded: bool = True,
        misjudged: Misjudged = Misjudged(),
    ) -> None:
        """Windows that end within `seconds`; each series' first began 5 s ago. `guarded`: see Feeds."""
        self._parameters = parameters
        self._last_ms = START_MS + round(seconds * 1000)
        exchange = self.exchange = Exchange()
        self._world = World(exchange, seed=seed, series=series, start_ms=START_MS, aligned=False, parameters=world)
        self._wallet = Wallet(exchange, CASH)
        self._now_ms = START_MS
        self._origin_ns = START_MS * NS_PER_MS - START_NS
        self._agenda = Agenda(START_NS)
        caches = Caches()

        def line(name: str, median_ms: float) -> Line:
            return Line(name, median_ms, str(seed))

        self._user = line("user", latencies.stream_ms)
        self._feeds = Feeds(
            self._world,
            caches,
            self._agenda,
            self.tell,
            lines={
                "binance": line("binance", latencies.reference_ms),
                "market": line("market", latencies.stream_ms),
                "settle": line("settle", latencies.stream_ms),
            },
            origin_ns=self._origin_ns,
            guarded=guarded,
            misjudged=misjudged,
        )
        self._feeds.load(self._agenda.now_ns)
        everything = Freshness(heartbeat_ns_max=NEVER, user_ns_max=NEVER, open_orders_ns_max=NEVER, lease_ns_max=NEVER)
        self._gate = Gate(everything)
        for stamp in ("heartbeat_ack_ns", "user_frame_ns", "open_orders_ns", "executor_lease_ns", "root_lease_ns"):
            setattr(self._gate, stamp, self._agenda.now_ns)
        answer = partial(self.tell, "executor")
        self._orders = Connection(
            self._agenda,
            line("orders", latencies.order_ms),
            line("orders back", latencies.answer_ms),
            self._post,
            answer,
            self._admit,
        )
        self._cancels = Connection(
            self._agenda,
            line("cancels", latencies.cancel_ms),
            line("cancels back", latencies.answer_ms),
            self._cancel,
            answer,
        )
        self._reads = Connection(
            self._agenda,
            line("reads", latencies.order_ms),
            line("reads back", latencies.answer_ms),
            self._read,
            answer,
        )
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
        self._meters: dict[str, Meter] = {}
        self._settled: dict[str, Usd] = {}
        self._done: list[Window] = []
        self._followed: set[str] = set()
        self._halts = 0

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        self.tell("executor", FeedStatus(feed="user", connected=True, now_ns=self._agenda.now_ns))
        self._poll()
        period_ns = round(NS_PER_S / self._parameters.hz)
        self._agenda.at(self._agenda.now_ns, partial(self._tick, "strategy", period_ns))
        self._agenda.at(self._agenda.now_ns, partial(self._tick, "executor", EXECUTOR_NS))
        world, feeds, agenda = self._world, self._feeds, self._agenda
        while self._now_ms < self._last_ms or self._meters:
            assert self._now_ms < self._last_ms + AFTER_MS, "a window that never settles"
            self._now_ms += STEP_MS
            now_ns = self._now_ms * NS_PER_MS - self._origin_ns
            agenda.run(now_ns)
            feeds.hear_prices(world.step(self._now_ms), now_ns)
            for mishap in world.take_mishaps():
                if isinstance(mishap, Disconnected):
                    feeds.cut(mishap, now_ns)
            self._collect()
            for symbol, meter in self._meters.items():
                meter.step(self._now_ms, world.true_p(symbol))
            if self._now_ms % SAMPLE_MS == 0:
                self._sample()
                if self._now_ms % POLL_MS == 0:
                    self._poll()
        return Result(
            windows=self._done,
            ledger_error_e6=self._ledger_error(),
            halts=self._halts,
            seconds=(self._now_ms - START_MS) / 1000,
        )

    def _ledger_error(self) -> Usd:
        made = self._wallet.account.cash - CASH
        parts = sum(sum(window.parts.values()) for window in self._done)
        return max(abs(round(parts * USD_ONE) - made), abs(sum(self._settled.values()) - made))

    def _tick(self, name: str, period_ns: Ns, now_ns: Ns) -> None:
        self._agenda.at(now_ns + period_ns, partial(self._tick, name, period_ns))
        self.tell(name, TimerTick(name=name, now_ns=now_ns, utc_ns=now_ns + self._origin_ns))

    # -- markets ---------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """What the bot learns of markets by asking: new windows, and how old ones ended."""
        for listing in self.exchange.markets.values():
            symbol = listing.condition_id
            if symbol not in self._followed:
                if listing.end_ms <= self._last_ms and self._now_ms >= listing.start_ms - LISTED_AHEAD_MS:
                    self._follow(listing)
            elif symbol in self._meters and listing.outcome:
                winner = listing.up_token if listing.outcome == "up" else listing.down_token
                self.tell("executor", MarketResolved(symbol=symbol, winning_asset_id=winner))
                if symbol in self._settled:
                    self._leave(listing)

    def _follow(self, listing: SimMarket) -> None:
        market = market_of(listing)
        schedule = schedule_of(market.duration_s, self._parameters)
        phases_ms = (
            max(listing.start_ms + round(schedule.open_wait_s * 1000), self._now_ms),
            listing.end_ms - round(schedule.reduce_s * 1000),
            listing.end_ms - round(schedule.stop_s * 1000),
        )
        self._followed.add(market.symbol)
        self._meters[market.symbol] = Meter(market, phases_ms, self._now_ms + STEP_MS)
        for component in ("strategy", "executor"):  # whose first report of it the strategy must not miss
            self.tell(component, MarketListed(market=market))
        self._feeds.follow(market, self._agenda.now_ns)

    def _leave(self, listing: SimMarket) -> None:
        symbol = listing.condition_id
        meter = self._meters.pop(symbol)
        self._done.append(meter.finish(listing.outcome))
        self._feeds.leave(symbol)
        for component in ("executor", "strategy"):
            self.tell(component, MarketDropped(symbol=symbol))

    def _sample(self) -> None:
        orders = list(self._wallet.account.orders.values())
        for symbol, meter in self._meters.items():
            desk = self.executor.desks.get(symbol)
            intent = desk.intent if desk is not None else None
            meter.sample(
                self._now_ms,
                orders,
                self.exchange.best(symbol),
                intent.quote_mode if intent is not None else None,
                names(intent.reasons) if intent is not None and intent.reasons else (),
            )

    # -- the venue's words -----------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """What the exchange said since the last look, to the streams; and to the meters, which see the venue itself."""
        events = self.exchange.take_events()
        self._feeds.hear_trading(events, self._agenda.now_ns)
        for event in events:
            if not isinstance(event, OrderEvent | TradeEvent):
                continue
            if isinstance(event, TradeEvent):
                meter = self._meters[event.trade.condition_id]
                if event.trade.status == TradeStatus.MATCHED:
                    meter.traded(event.trade)
                elif event.trade.status == TradeStatus.FAILED:
                    meter.failed(event.trade.trade_id)
            if self._agenda.now_ns >= self._feeds.cut_until_ns:
                heard_ns = self._user.arrival(self._agenda.now_ns)
                self._agenda.at(heard_ns, partial(self._hear, event))

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
        answers = self._wallet.post(orders, self._now_ms, heard_ns)
        self._gate.landed([order.order_id for order in orders])
        self._collect()
        return answers

    def _cancel(self, batch: list[Message], heard_ns: Ns) -> list[Message]:
        answers: list[Message] = []
        for message in batch:
            if isinstance(message, MassCancel):
                answers.append(self._wallet.cancel_all(message, self._now_ms, heard_ns))
        answers += self._wallet.cancel([c for c in batch if isinstance(c, CancelOrder)], self._now_ms, heard_ns)
        self._collect()
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
                self._count(message.symbol)
                self._orders.put(message, self._agenda.now_ns)
            case CancelOrder():
                self._count(message.symbol)
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
                self._settled[message.symbol] = message.pnl
            case Halt():
                self._halts += 1
                self._agenda.at(self._agenda.now_ns + RESUME_NS, self._resume)

    def _count(self, symbol: str) -> None:
        if symbol in self._meters:
            self._meters[symbol].window.requests += 1

    def _resume(self, now_ns: Ns) -> None:
        self.tell("executor", Resume(by="the trial"))
