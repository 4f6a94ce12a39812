"""Our wallet at the embedded exchange: the executor's requests as calls, the exchange's words as messages to the executor.

Without JSON, signatures and sockets, and always in order: what may go wrong on the wire is the business of chaos runs.
Knows no time but what it is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.messages import (
    Balance,
    BalanceRequest,
    CancelOrder,
    CancelReject,
    ExecType,
    ExecutionReport,
    FoundStatus,
    MassCancel,
    MassCancelReport,
    Message,
    NewOrder,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderStatusReport,
    OrderStatusRequest,
    Source,
    TradesRead,
    TradesRequest,
    TradeStatus,
)
from bot.sim.exchange import Exchange, Order, OrderEvent, Submit, Trade, TradeEvent
from bot.sim.records import CANCELED, LIVE
from bot.units import NS_PER_MS, Ns, Usd
from bot.venues.clob_outcomes import reason_of, refused

OWNER = "0xours"
API_KEY = "ours"

_KINDS = {"PLACEMENT": ExecType.NEW, "UPDATE": ExecType.UPDATE, "CANCELLATION": ExecType.CANCELED}


def order_id_of(order: NewOrder) -> str:
    """An id known before sending, as a digest would be, and as unique as the salt."""
    return f"0x{order.salt:064x}"


class Wallet:
    """One API key's view of the exchange. Answers bear the time at which they will be heard."""

    def __init__(self, exchange: Exchange, cash: Usd) -> None:
        self._exchange = exchange
        exchange.deposit(OWNER, cash)
        self.account = exchange.account(OWNER)

    # -- requests --------------------------------------------------------------------------------------------------

    def post(self, orders: Sequence[NewOrder], now_ms: int, heard_ns: Ns) -> list[Message]:
        answers: list[Message] = []
        for order in orders:
            submit = Submit(
                order_id=order.order_id,
                owner=OWNER,
                api_key=API_KEY,
                token=order.asset_id,
                side=order.side,
                px=order.px,
                qty=order.order_qty,
                post_only=True,
            )
            reply = self._exchange.submit(submit, now_ms)
            if reply.error:
                answers.append(refused(order, reason_of(reply.error), reply.error, Source.POST, heard_ns))
                continue
            answers.append(
                ExecutionReport(
                    order_id=order.order_id,
                    cl_ord_id=order.cl_ord_id,
                    symbol=order.symbol,
                    asset_id=order.asset_id,
                    side=order.side,
                    px=order.px,
                    order_qty=order.order_qty,
                    exec_type=ExecType.NEW,
                    source=Source.POST,
                    text=reply.status,
                    recv_ns=heard_ns,
                )
            )
        return answers

    def cancel(self, cancels: Sequence[CancelOrder], now_ms: int, heard_ns: Ns) -> list[Message]:
        """Every refusal here says that the order is over, for a post-only order is never held."""
        done, left = self._exchange.cancel(OWNER, [cancel.order_id for cancel in cancels], now_ms)
        ended = frozenset(done)
        return [
            ExecutionReport(
                order_id=cancel.order_id,
                cl_ord_id=cancel.cl_ord_id,
                symbol=cancel.symbol,
                exec_type=ExecType.CANCELED,
                source=Source.CANCEL,
                recv_ns=heard_ns,
            )
            if cancel.order_id in ended
            else CancelReject(
                order_id=cancel.order_id, cl_ord_id=cancel.cl_ord_id, text=left[cancel.order_id], recv_ns=heard_ns
            )
            for cancel in cancels
        ]

    def cancel_all(self, request: MassCancel, now_ms: int, heard_ns: Ns) -> MassCancelReport:
        done, left = self._exchange.cancel_market(OWNER, request.symbol, now_ms=now_ms)
        return MassCancelReport(
            symbol=request.symbol,
            known=True,
            canceled=tuple(done),
            not_canceled=tuple(left),
            asked_ns=request.made_ns,
            recv_ns=heard_ns,
        )

    def read(self, request: Message, heard_ns: Ns) -> Message:
        match request:
            case OrderMassStatusRequest():
                rows = tuple(_row(order) for order in self._exchange.orders_of(OWNER, open_only=True))
                return OpenOrders(orders=rows, asked_ns=request.asked_ns, recv_ns=heard_ns)
            case TradesRequest():
                trades = self._exchange.trades_of(OWNER, request.after_utc_s)
                legs = tuple(leg for trade in trades for leg in _legs(trade, Source.READ, heard_ns))
                return TradesRead(
                    trades=legs,
                    after_utc_s=request.after_utc_s,
                    asked_ns=request.asked_ns,
                    recv_ns=heard_ns,
                )
            case OrderStatusRequest():
                return self._status(request, heard_ns)
            case BalanceRequest():
                return Balance(cash=self.account.cash, asked_ns=request.asked_ns, recv_ns=heard_ns)
            case _:
                raise AssertionError(f"no read of the venue: {type(request).__name__}")

    def _status(self, request: OrderStatusRequest, heard_ns: Ns) -> OrderStatusReport:
        order = self._exchange.order(request.order_id)
        found, trades = FoundStatus.ABSENT, []
        if order is not None:
            trades = [self._exchange.trades[trade_id] for trade_id in order.trade_ids]
            if order.status == LIVE:
                found = FoundStatus.LIVE
            else:
                found = FoundStatus.CANCELED if order.status.startswith(CANCELED) else FoundStatus.MATCHED
        return OrderStatusReport(
            order_id=request.order_id,
            cl_ord_id=request.cl_ord_id,
            found=found,
            cum_qty=order.matched if order is not None else 0,
            trades=tuple(
                leg
                for trade in trades
                for leg in _legs(trade, Source.READ, heard_ns)
                if leg.order_id == request.order_id
            ),
            asked_ns=request.asked_ns,
            recv_ns=heard_ns,
        )

    # -- the user stream -------------------------------------------------------------------------------------------

    @staticmethod
    def told(event: OrderEvent | TradeEvent, heard_ns: Ns) -> list[ExecutionReport]:
        if isinstance(event, TradeEvent):
            return _legs(event.trade, Source.USER, heard_ns)
        order = event.order
        return [
            ExecutionReport(
                order_id=order.order_id,
                exec_type=_KINDS[event.kind],
                source=Source.USER,
                symbol=order.condition_id,
                asset_id=order.token,
                side=order.side,
                px=order.px,
                order_qty=order.qty,
                cum_qty=order.matched,
                text=event.status,
                utc_ns=event.ts_ms * NS_PER_MS,
                recv_ns=heard_ns,
            )
        ]


def _row(order: Order) -> OpenOrder:
    return OpenOrder(
        order_id=order.order_id,
        symbol=order.condition_id,
        asset_id=order.token,
        side=order.side,
        px=order.px,
        order_qty=order.qty,
        cum_qty=order.matched,
    )


def _legs(trade: Trade, source: Source, heard_ns: Ns) -> list[ExecutionReport]:
    """Our legs; post-only orders are makers."""
    status = TradeStatus(trade.status)
    return [
        ExecutionReport(
            order_id=leg.order_id,
            exec_type=ExecType.TRADE_CANCEL if status is TradeStatus.FAILED else ExecType.TRADE,
            source=source,
            symbol=trade.condition_id,
            asset_id=leg.token,
            side=leg.side,
            exec_id=trade.trade_id,
            trade_status=status,
            last_px=leg.px,
            last_qty=leg.qty,
            utc_ns=trade.match_ms * NS_PER_MS,
            recv_ns=heard_ns,
        )
        for leg in trade.makers
        if leg.api_key == API_KEY
    ]
