"""What others may see of the executor: the position report of a market and the executor's part of the status record.

Reads the books, changes nothing. USD and shares here are floats, under the contract's keys.
"""

from __future__ import annotations

from typing import Any

from bot.execution.books import Books
from bot.execution.orders import UNK
from bot.execution.slots import Desk
from bot.messages import BotState, PositionReport, WorkingOrder
from bot.units import PX_ONE, QTY_ONE, USD_ONE, Usd


def position_report(books: Books, desk: Desk, free_cash: Usd) -> PositionReport:
    symbol = desk.market.symbol
    up, down = books.positions.quantities(desk.market)
    working = tuple(
        WorkingOrder(
            cl_ord_id=order.cl_ord_id,
            order_id=order.order_id,
            asset_id=order.asset_id,
            side=order.side,
            px=order.px,
            leaves_qty=order.leaves_qty,
            state=order.state,
        )
        for order in books.orders.of_market(symbol)
        if order.is_open
    )
    return PositionReport(
        symbol=symbol,
        state=books.recovery.state,
        epoch=books.epoch_of(symbol),
        tick=desk.tick,
        up_qty=up,
        down_qty=down,
        cash=free_cash,
        invested=books.positions.of(symbol).invested,
        working=working,
    )


def status_body(books: Books, intents: dict[str, int]) -> dict[str, Any]:
    recovery = books.recovery
    reasons = list(recovery.reasons)
    if recovery.state is BotState.RECONCILING:
        reasons += recovery.missing(books.orders)
    open_orders = books.orders.open_orders()
    uses = [books.use(desk) for desk in books.desks.values()]
    return {
        "state": recovery.state.value,
        "reasons": reasons,
        "epoch": recovery.epoch,
        "flat": recovery.flat,
        "orders": {
            **books.counts,
            "unknown": sum(order.state is UNK for order in open_orders),
            "open": len(open_orders),
        },
        "user_events": dict(books.user_events),
        "intents": dict(intents),
        "risk": books.risk.report(uses, len(books.orders.live)),
        "budget": books.budget.levels(),
        "day": {"utc_day": books.risk.day, "pnl_usd": books.risk.realised_day / USD_ONE},
        "cash_usd": books.positions.cash / USD_ONE,
        "positions": {
            token: qty / QTY_ONE for symbol in books.desks for token, qty in books.positions.of(symbol).tokens.items()
        },
        "markets": {symbol: _market(books, desk) for symbol, desk in books.desks.items()},
        "alerts": [{"seq": alert.seq, "level": alert.level, "text": alert.text} for alert in books.alerts],
    }


def _market(books: Books, desk: Desk) -> dict[str, Any]:
    up, down = books.positions.quantities(desk.market)
    working = [
        {
            "cl_ord_id": order.cl_ord_id,
            "order_id": order.order_id,
            "asset_id": order.asset_id,
            "side": order.side.value,
            "px": order.px / PX_ONE,
            "leaves_qty": order.leaves_qty / QTY_ONE,
            "state": order.state.value,
        }
        for order in books.orders.of_market(desk.market.symbol)
        if order.is_open
    ]
    return {
        "position": {"up": up / QTY_ONE, "down": down / QTY_ONE, "net": (up - down) / QTY_ONE},
        "bid": _quote(desk, "bid"),
        "ask": _quote(desk, "offer"),
        "working": working,
    }


def _quote(desk: Desk, slot: str) -> dict[str, float] | None:
    order = desk.slots[slot].order
    if order is None or not order.is_open:
        return None
    return {"px": order.up_px / PX_ONE, "size": order.leaves_qty / QTY_ONE}
