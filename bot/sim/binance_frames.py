"""How the reference exchange's events look on its wire: spot and futures, in milliseconds or microseconds. Pure.

Prices and quantities are texts, ids and times numbers; spot bookTicker has no time at all, futures' has two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bot.sim.binance_depth import Change, Level
from bot.sim.prices import BinanceQuote, BinanceTrade, Candle
from bot.units import E8, QTY_ONE, Qty


def e8_text(value: E8) -> str:
    return f"{value // 10**8}.{value % 10**8:08d}"


def quantity_text(qty: Qty) -> str:
    return f"{qty // QTY_ONE}.{qty % QTY_ONE:06d}00"


def short_text(value: E8) -> str:
    """As futures write a price or (in E8, too) a quantity: without trailing zeros."""
    text = e8_text(value).rstrip("0")
    return text + "0" if text.endswith(".") else text


def quote(event: BinanceQuote) -> dict[str, Any]:
    return {
        "u": event.update_id,
        "s": event.symbol,
        "b": e8_text(event.bid_e8),
        "B": quantity_text(event.bid_qty),
        "a": e8_text(event.ask_e8),
        "A": quantity_text(event.ask_qty),
    }


def futures_quote(event: BinanceQuote, now_ms: int) -> dict[str, Any]:
    return {
        "e": "bookTicker",
        "u": event.update_id,
        "s": event.symbol,
        "b": short_text(event.bid_e8),
        "B": short_text(event.bid_qty * 100),
        "a": short_text(event.ask_e8),
        "A": short_text(event.ask_qty * 100),
        "T": event.ts_ms,
        "E": now_ms,
    }


def trade(event: BinanceTrade, now_ms: int, unit: int) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": now_ms * unit,
        "s": event.symbol,
        "t": event.trade_id,
        "p": e8_text(event.px_e8),
        "q": quantity_text(event.qty),
        "T": event.ts_ms * unit,
        "m": event.buyer_is_maker,
        "M": True,
    }


def agg_trade(event: BinanceTrade, now_ms: int, unit: int) -> dict[str, Any]:
    return {
        "e": "aggTrade",
        "E": now_ms * unit,
        "s": event.symbol,
        "a": event.trade_id,
        "p": e8_text(event.px_e8),
        "q": quantity_text(event.qty),
        "f": event.trade_id,
        "l": event.trade_id,
        "T": event.ts_ms * unit,
        "m": event.buyer_is_maker,
        "M": True,
    }


def recorded_agg_trade(trade: dict[str, Any]) -> dict[str, Any]:
    """A trade's frame as that of an aggTrade of one match."""
    match = {name: value for name, value in trade.items() if name not in ("e", "t")}
    return {"e": "aggTrade", "a": trade["t"], "f": trade["t"], "l": trade["t"], **match}


def futures_trade(event: BinanceTrade, now_ms: int) -> dict[str, Any]:
    frame = agg_trade(event, now_ms, 1)
    del frame["M"]
    return frame | {"p": short_text(event.px_e8), "q": short_text(event.qty * 100)}


def ticker(event: BinanceQuote) -> dict[str, str]:
    return {
        "symbol": event.symbol,
        "bidPrice": e8_text(event.bid_e8),
        "bidQty": quantity_text(event.bid_qty),
        "askPrice": e8_text(event.ask_e8),
        "askQty": quantity_text(event.ask_qty),
    }


# -- depth -------------------------------------------------------------------------------------------------------------


def levels(rows: Iterable[Level]) -> list[list[str]]:
    return [[e8_text(px), quantity_text(qty)] for px, qty in rows]


def depth_update(symbol: str, change: Change, now_ms: int, unit: int) -> dict[str, Any]:
    return {
        "e": "depthUpdate",
        "E": now_ms * unit,
        "s": symbol,
        "U": change.first_id,
        "u": change.last_id,
        "b": levels(change.bids),
        "a": levels(change.asks),
    }


def futures_depth(symbol: str, change: Change, now_ms: int, before_id: int) -> dict[str, Any]:
    return {**depth_update(symbol, change, now_ms, 1), "T": now_ms, "pu": before_id}


def snapshot(last_id: int, bids: list[Level], asks: list[Level]) -> dict[str, Any]:
    return {"lastUpdateId": last_id, "bids": levels(bids), "asks": levels(asks)}


# -- candles -----------------------------------------------------------------------------------------------------------


def price(value: float) -> str:
    return f"{value:.8f}"


def kline(symbol: str, interval: str, end_ms: int, row: Candle, now_ms: int, unit: int) -> dict[str, Any]:
    open_ms, opened, high, low, close = row
    body = {"t": open_ms * unit, "T": end_ms * unit - 1, "s": symbol, "i": interval, "f": 1, "L": 1}
    prices = {"o": price(opened), "c": price(close), "h": price(high), "l": price(low)}
    volumes = {"v": "1.0", "n": 1, "x": now_ms >= end_ms, "q": price(close), "V": "0.5", "Q": "0.5", "B": "0"}
    return {"e": "kline", "E": now_ms * unit, "s": symbol, "k": {**body, **prices, **volumes}}


def kline_row(row: Candle, end_ms: int, unit: int = 1) -> list[Any]:
    open_ms, *prices = row
    texts = (price(value) for value in prices)
    return [open_ms * unit, *texts, "1.0", end_ms * unit - 1, price(row[4]), 1, "0.5", price(row[4] / 2), "0"]
