"""What others may see of the executor: the position report of a market and the executor's part of the status record.

Reads the books, changes nothing. USD and shares here are floats, under the contract's keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bot.execution.books import Books
from bot.execution.facts import Facts
from bot.execution.orders import UNK
from bot.execution.risk import UNITS
from bot.execution.slots import Desk, lately
from bot.messages import BotState, PositionReport, WorkingOrder
from bot.units import PX_ONE, QTY_ONE, USD_ONE, Usd, notional


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
        day_lost=books.risk.day_is_lost,
        working=working,
    )


def risk_rows(books: Facts) -> dict[str, dict[str, Any]]:
    """Every limit by name: what is used of it, what is allowed, and in what it is counted."""
    limits = books.risk.limits
    used = _used(books)
    rows: dict[str, dict[str, Any]] = {
        name: {"used": used[name] / scale, "max": getattr(limits, name) / scale, "unit": unit}
        for name, (unit, scale) in UNITS.items()
    }
    rows["wishes"] = {"used": books.counts["placed"], "max": books.wishes, "unit": "orders sent and asked for"}
    for name, (now, burst) in books.budget.uses().items():
        rows[name] = {"used": now, "max": burst, "unit": "messages of a burst"}
    return rows


def _used(books: Facts) -> dict[str, int]:
    uses = [books.use(desk) for desk in books.desks.values()]
    tokens = [token for use in uses for token in (use.up, use.down)]
    slots = [slot for desk in books.desks.values() for slot in desk.slots.values()]
    resting = books.orders.open_orders()
    all_, risk = books.total(), books.risk
    repeats = _most(lately(sent, books.now) for slot in slots for sent in slot.sent.values())
    return {
        "order_size_max": _most(order.leaves_qty for order in resting),
        "order_notional_max": _most(notional(order.px, order.leaves_qty) for order in resting),
        "collar": _most(
            abs(slot.order.up_px - desk.intent.fair_e6 // 100)
            for desk in books.desks.values()
            for slot in desk.slots.values()
            if slot.order is not None and slot.order.is_open and desk.intent is not None and desk.intent.fair_e6
        ),
        "token_shares_max": _most(token.shares for token in tokens),
        "token_notional_max": _most(token.notional for token in tokens),
        "token_orders_max": _most(token.orders for token in tokens),
        "unsettled_max": _most(
            books.ghosts(token) for token in {r.asset_id for r in books.positions.unsettled.values()}
        ),
        "q_max": _most(use.net_worst for use in uses),
        "mkt_notional_max": _most(use.capital for use in uses),
        "mkt_orders_max": _most(use.up.orders + use.down.orders for use in uses),
        "loss_max_mkt": _most(use.loss_worst for use in uses),
        "shares_max": all_.shares,
        "capital_max": all_.capital,
        "open_orders_max": books.live_count(),
        "loss_max_all": risk.lost_day + all_.loss,
        "loss_max_day": risk.lost_day,
        "repeats_soft": repeats,
        "repeats_max": repeats,
        "crossed_max": _most(lately(slot.crossed, books.now) for slot in slots),
        "balance_rejects_max": _most(slot.balance_rejects for slot in slots),
        "refused_max": books.refused,
        "unanswered_max": books.unanswered,
    }


def _most(values: Iterable[int]) -> int:
    return max(0, max(values, default=0))


def moves(old: PositionReport, new: PositionReport) -> bool:
    """Is there something to quote otherwise for?"""
    return (
        old.up_qty != new.up_qty
        or old.down_qty != new.down_qty
        or old.state is not new.state
        or old.epoch != new.epoch
        or old.tick != new.tick
    )


def status_body(books: Facts, intents: dict[str, int]) -> dict[str, Any]:
    recovery = books.recovery
    reasons = list(recovery.reasons)
    if recovery.state is BotState.RECONCILING:
        reasons += recovery.missing(books.orders)
    open_orders = books.orders.open_orders()
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
        "risk": risk_rows(books),
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
