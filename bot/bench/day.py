"""What an executor is told on a busy day by a venue that obeys: ticks, wishes, acks, fills, one market after another.

`journal_of_a_day` has it written down as a bot would.

Its mix is that of a recorded run on the embedded venue: of 100 messages 63 ticks, 24 wishes, 11 answers to orders, 2 reads.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from bot.execution.executor import Executor
from bot.execution.snapshot import snapshot
from bot.history.journal import Journal
from bot.history.records import Run, Wallet
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
    MarketDropped,
    MarketListed,
    MarketResolved,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    QuoteIntent,
    QuoteMode,
    Route,
    Settled,
    Shutdown,
    Side,
    Source,
    TimerTick,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.restart import executor_of
from bot.units import LOT, NS_PER_MS, NS_PER_S, QTY_ONE, USD_ONE, Ns, Px, Usd, notional

STEP_NS: Ns = 50 * NS_PER_MS
BEGAN_UTC_NS: Ns = 1_790_000_000 * NS_PER_S
WINDOW_S = 300
WISHES_PER_STEP = 0.4
MOVES_PER_WISH = 0.045  # of the price, by a tick
FILLS_PER_STEP = 0.0025
TICK: Px = 100


WALLET = Wallet(chain_id=137, funder="0x" + "11" * 20, signer="0x" + "11" * 20, signature_type=0)


def journal_of_a_day(directory: Path, records: int, wallet: Wallet = WALLET) -> None:
    """That many records and a few more, up to a flat end."""
    run = Run(salt_base=1 << 40, started_utc_ns=BEGAN_UTC_NS, wallet=wallet)
    executor = executor_of(run)
    journal = Journal(directory, run=run, snapshot=lambda: snapshot(executor))
    day = Day(executor)
    for now_ns, message, emitted in chain(islice(day.messages(), records), day.ending()):
        journal.append(now_ns, message, emitted)
        journal.rotate()
    journal.close()


class Day:
    """A venue and a strategy around one executor, in one thread."""

    def __init__(self, executor: Executor, *, seed: int = 1, cash: Usd = 10_000 * USD_ONE) -> None:
        self._executor = executor
        self._random = random.Random(seed)
        self._now_ns: Ns = max(executor.now, 1000 * NS_PER_S)
        self._resting: dict[str, NewOrder] = {}
        self._filled: dict[str, int] = {}
        self._due: deque[Message] = deque()
        self._cash = cash
        self._mid: Px = 5000
        self._seq = self._trade = 0
        self._market = self._next_market()
        self._due.extend((MarketListed(market=self._market), FeedStatus(feed="user", connected=True)))

    def messages(self) -> Iterator[tuple[Ns, Message, list[Message]]]:
        """When, what the executor was told and what it said; without end."""
        while True:
            self._step()
            yield from self._told()

    def ending(self) -> Iterator[tuple[Ns, Message, list[Message]]]:
        """The same to a flat end."""
        self._due.append(Shutdown(reason="the day is over"))
        while self._executor.recovery.state is not BotState.STOPPED:
            yield from self._told()
            self._now_ns += STEP_NS
            self._due.append(TimerTick(name="executor", now_ns=self._now_ns, utc_ns=self._utc_ns()))

    def _told(self) -> Iterator[tuple[Ns, Message, list[Message]]]:
        while self._due:
            message = self._due.popleft()
            emitted = self._executor.handle(message, self._now_ns)
            yield self._now_ns, message, emitted
            for request in emitted:
                self._answer(request)
            self._now_ns += 20_000

    def _utc_ns(self) -> Ns:
        return BEGAN_UTC_NS + self._now_ns

    def _next_market(self) -> Market:
        start_ns = self._utc_ns()
        return Market(
            symbol=f"0x{start_ns:064x}",
            slug=f"btc-updown-5m-{start_ns // NS_PER_S}",
            series="btc-updown-5m",
            asset="btc",
            up_token=str(10**76 + 2 * start_ns),
            down_token=str(10**76 + 2 * start_ns + 1),
            version=2,
            rule=Rule.TWAP,
            window_s=60,
            start_utc_ns=start_ns,
            end_utc_ns=start_ns + WINDOW_S * NS_PER_S,
            tick=TICK,
            min_qty=5 * QTY_ONE,
            fee_rate=0.07,
        )

    def _step(self) -> None:
        self._now_ns += STEP_NS
        self._due.append(TimerTick(name="executor", now_ns=self._now_ns, utc_ns=self._utc_ns()))
        if self._utc_ns() >= self._market.end_utc_ns:
            over, self._market = self._market, self._next_market()
            self._due.extend(
                (
                    MarketResolved(symbol=over.symbol, winning_asset_id=over.up_token),
                    MarketDropped(symbol=over.symbol),
                    MarketListed(market=self._market),
                )
            )
        if self._random.random() < WISHES_PER_STEP:
            self._wish()
        if self._resting and self._random.random() < FILLS_PER_STEP:
            self._fill(self._random.choice(list(self._resting.values())))

    def _wish(self) -> None:
        if self._random.random() < MOVES_PER_WISH:
            self._mid = min(8000, max(2000, self._mid + self._random.choice((-TICK, TICK))))
        self._seq += 1
        # Inventory leans the quotes, or a limit would end the day's quoting.
        up, down = self._executor.positions.quantities(self._market)
        lean = -TICK if up > down else TICK if down > up else 0
        self._due.append(
            QuoteIntent(
                symbol=self._market.symbol,
                seq=self._seq,
                epoch=self._executor.epoch_of(self._market.symbol),
                made_ns=self._now_ns,
                valid_until_ns=self._now_ns + 3 * NS_PER_S,
                quote_mode=QuoteMode.NORMAL,
                tick=TICK,
                bid_px=self._mid - 2 * TICK + lean,
                bid_size=20 * QTY_ONE if up - down < 40 * QTY_ONE else 0,
                bid_route=Route.BUY_YES,
                offer_px=self._mid + 2 * TICK + lean,
                offer_size=20 * QTY_ONE if down - up < 40 * QTY_ONE else 0,
                offer_route=Route.BUY_NO,
                guard_lo_e8=6_000_000_000_000 + self._seq,
                guard_hi_e8=6_000_000_000_000 - self._seq,
                fair_e6=self._mid * 100 + self._random.randrange(100),
                sigma_p_e6=4_000 + self._random.randrange(100),
                cause_ns=self._now_ns,
            )
        )

    def _fill(self, order: NewOrder) -> None:
        left = order.order_qty - self._filled[order.order_id]
        qty = left if self._random.random() < 0.5 else max(LOT, left // 2 // LOT * LOT)
        filled = self._filled[order.order_id] = self._filled[order.order_id] + qty
        self._trade += 1
        self._cash -= notional(order.px, qty) if order.side is Side.BUY else -notional(order.px, qty)
        for status in (TradeStatus.MATCHED, TradeStatus.MINED, TradeStatus.CONFIRMED):
            self._due.append(
                self._report(
                    order,
                    ExecType.TRADE,
                    Source.USER,
                    exec_id=f"{self._trade:08x}-0000-4000-8000-000000000000",
                    trade_status=status,
                    last_px=order.px,
                    last_qty=qty,
                )
            )
        self._due.append(self._report(order, ExecType.UPDATE, Source.USER, cum_qty=filled))
        if filled == order.order_qty:
            del self._resting[order.order_id]

    def _report(self, order: NewOrder, exec_type: ExecType, source: Source, **more: object) -> ExecutionReport:
        return ExecutionReport(
            order_id=order.order_id,
            exec_type=exec_type,
            source=source,
            cl_ord_id=order.cl_ord_id,
            symbol=order.symbol,
            asset_id=order.asset_id,
            side=order.side,
            px=order.px,
            order_qty=order.order_qty,
            utc_ns=self._utc_ns(),
            recv_ns=self._now_ns,
            **more,  # type: ignore[arg-type]
        )

    def _answer(self, request: Message) -> None:
        now_ns = self._now_ns
        match request:
            case NewOrder():
                self._resting[request.order_id] = request
                self._filled[request.order_id] = 0
                self._due.append(self._report(request, ExecType.NEW, Source.POST))
                self._due.append(self._report(request, ExecType.NEW, Source.USER))
            case CancelOrder(order_id=order_id):
                self._cancel(order_id)
            case MassCancel():
                gone = tuple(self._resting)
                for order_id in gone:
                    self._cancel(order_id)
                self._due.append(
                    MassCancelReport(symbol=request.symbol, known=True, canceled=gone, asked_ns=request.made_ns)
                )
            case OrderMassStatusRequest(asked_ns=asked_ns):
                self._due.append(OpenOrders(orders=self._rows(), asked_ns=asked_ns, recv_ns=now_ns))
            case OrderStatusRequest(order_id=order_id):
                found = FoundStatus.LIVE if order_id in self._resting else FoundStatus.CANCELED
                self._due.append(
                    OrderStatusReport(
                        order_id=order_id, found=found, cum_qty=self._filled.get(order_id, 0), asked_ns=now_ns
                    )
                )
            case TradesRequest():
                self._due.append(
                    TradesRead(trades=(), after_utc_s=request.after_utc_s, asked_ns=request.asked_ns, recv_ns=now_ns)
                )
            case Settled(payout=payout):
                self._cash += payout
            case BalanceRequest():
                self._due.append(Balance(cash=self._cash, asked_ns=request.asked_ns, recv_ns=now_ns))

    def _cancel(self, order_id: str) -> None:
        order = self._resting.pop(order_id, None)
        if order is not None:
            self._due.append(self._report(order, ExecType.CANCELED, Source.CANCEL))
            self._due.append(self._report(order, ExecType.CANCELED, Source.USER, cum_qty=self._filled[order_id]))

    def _rows(self) -> tuple[OpenOrder, ...]:
        return tuple(
            OpenOrder(
                order_id=order.order_id,
                symbol=order.symbol,
                asset_id=order.asset_id,
                side=order.side,
                px=order.px,
                order_qty=order.order_qty,
                cum_qty=self._filled[order.order_id],
            )
            for order in self._resting.values()
        )
