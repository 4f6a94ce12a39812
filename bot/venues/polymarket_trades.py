"""Our own legs of a venue trade, whether the user stream sent it or a read returned it. Pure; knows no socket.

The venue describes a trade from the taker's side: token, side, price and size at the top are the taker's, and a maker
finds itself in `maker_orders`, possibly several times and possibly on the complementary token.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from bot.errors import FrameError
from bot.messages import ExecType, ExecutionReport, Side, Source, TradeStatus
from bot.units import NS_PER_MS, NS_PER_S, Ns, Px, Qty, is_storable

_STATUS = {status.value: status for status in TradeStatus} | {"MATCHED_NOT_BROADCASTED": TradeStatus.MATCHED}
_SIDES = {side.value: side for side in Side}  # a call of the enum costs more than the rest of a field

_PLAIN_MAX = 18  # digits that are within 64 bits whatever they are

# The venue stamps in seconds or in milliseconds; a number above this is milliseconds.
_MS_ABOVE = 100_000_000_000
_MS_END = 9_000_000_000_000  # the year 2255: in nanoseconds it just fits 64 bits


def trade_status(text: object) -> TradeStatus:
    """ "TRADE_STATUS_MATCHED", "matched" and "MATCHED_NOT_BROADCASTED" are all MATCHED. Raises FrameError."""
    word = str(text).upper().removeprefix("TRADE_STATUS_")
    try:
        return _STATUS[word]
    except KeyError:
        raise FrameError(f"unknown trade status {text!r}") from None


def side_of(text: object) -> Side:
    """Raises FrameError."""
    try:
        return _SIDES[str(text).upper()]
    except KeyError:
        raise FrameError(f"unknown side {text!r}") from None


def _is_plain(digits: str) -> bool:
    """Nearly every number is: then the way over Decimal, long and rarely in the caches, is not needed."""
    return len(digits) <= _PLAIN_MAX and digits.isascii() and digits.isdecimal()


def stamp_ns(value: object) -> Ns:
    """A stamp in seconds or milliseconds, number or text, as wall-clock ns; 0 when absent or no time near ours."""
    text = str(value)
    try:
        number = int(text) if _is_plain(text) else Decimal(text)
        if not 0 < number < _MS_END:
            return 0
    except ArithmeticError:  # no number, or NaN
        return 0
    return int(number * (NS_PER_MS if number > _MS_ABOVE else NS_PER_S))


def decimal_of(record: Mapping[str, Any], name: str, digits: int) -> int:
    """A non-negative decimal field times 10**digits, rounded to the nearest. Raises FrameError.

    Finer digits than ours are rounded and not refused: a taker's average price may have them, and a fill that is not
    booked is the worse error.
    """
    try:
        text = str(record[name])
    except KeyError:
        raise FrameError(f"field {name!r} is missing") from None
    whole_text, _, decimals = text.partition(".")
    scaled = whole_text + decimals.ljust(digits, "0")
    if whole_text and len(decimals) <= digits and _is_plain(scaled):
        return int(scaled)
    try:
        value = Decimal(text).scaleb(digits)
    except ArithmeticError:
        raise FrameError(f"field {name!r} is not a decimal: {str(record[name])[:80]!r}") from None
    if not is_storable(value):
        raise FrameError(f"field {name!r} is no number of ours: {str(record[name])[:80]!r}")
    whole = int(value.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    if whole < 0:
        raise FrameError(f"field {name!r} is negative: {str(record[name])[:80]!r}")
    return whole


def text_of(record: Mapping[str, Any], name: str) -> str:
    """A field that must be non-empty text. Raises FrameError."""
    value = record.get(name)
    if not isinstance(value, str) or not value:
        raise FrameError(f"field {name!r} is missing or no text")
    return value


def legs(
    trade: Mapping[str, Any], *, api_key: str, wallets: Collection[str], source: Source, recv_ns: Ns
) -> list[ExecutionReport]:
    """One report for each of our orders in the trade, in that order's own token, side and price; [] when none is ours.

    FAILED gives TRADE_CANCEL, every other settlement step TRADE. Raises FrameError when a field we need is missing or
    unreadable, and never returns some legs of a trade without the others.
    """
    exec_id = text_of(trade, "id")
    status = trade_status(trade.get("status"))
    symbol = text_of(trade, "market")
    exec_type = ExecType.TRADE_CANCEL if status is TradeStatus.FAILED else ExecType.TRADE
    utc_ns = stamp_ns(trade.get("timestamp")) or stamp_ns(trade.get("last_update")) or stamp_ns(trade.get("match_time"))

    def report(order_id: str, asset_id: str, side: Side, px: Px, qty: Qty, maker: bool) -> ExecutionReport:
        return ExecutionReport(
            order_id=order_id.lower(),
            exec_type=exec_type,
            source=source,
            symbol=symbol,
            asset_id=asset_id,
            side=side,
            exec_id=exec_id,
            trade_status=status,
            last_px=px,
            last_qty=qty,
            maker=maker,
            text=str(trade.get("err_msg") or ""),
            utc_ns=utc_ns,
            recv_ns=recv_ns,
        )

    reports = []
    if _taker_is_ours(trade, api_key, wallets):
        reports.append(
            report(
                text_of(trade, "taker_order_id"),
                text_of(trade, "asset_id"),
                side_of(trade.get("side")),
                decimal_of(trade, "price", 4),
                decimal_of(trade, "size", 6),
                False,
            )
        )
    entries = trade.get("maker_orders") or ()
    if not isinstance(entries, list | tuple):
        raise FrameError("maker_orders is no list")
    for entry in entries:
        if not isinstance(entry, dict):
            raise FrameError("an entry of maker_orders is no object")
        if not _is_ours(entry, api_key, wallets):
            continue
        reports.append(
            report(
                text_of(entry, "order_id"),
                text_of(entry, "asset_id"),
                _maker_side(entry, trade),
                decimal_of(entry, "price", 4),
                decimal_of(entry, "matched_amount", 6),
                True,
            )
        )
    return reports


def _is_ours(record: Mapping[str, Any], api_key: str, wallets: Collection[str]) -> bool:
    return record.get("owner") == api_key or _of_a_wallet(record, wallets)


def _of_a_wallet(record: Mapping[str, Any], wallets: Collection[str]) -> bool:
    return str(record.get("maker_address") or "").lower() in {wallet.lower() for wallet in wallets}


def _taker_is_ours(trade: Mapping[str, Any], api_key: str, wallets: Collection[str]) -> bool:
    """The venue's word counts; against its MAKER both key and wallet must be ours (two of our orders met)."""
    trader_side = str(trade.get("trader_side") or "").upper()
    if trader_side == "TAKER":
        return True
    if trader_side == "MAKER":
        return trade.get("owner") == api_key and _of_a_wallet(trade, wallets)
    return _is_ours(trade, api_key, wallets)


def _maker_side(entry: Mapping[str, Any], trade: Mapping[str, Any]) -> Side:
    """Without an own side: opposite of the taker on the same token, the same on the other one (mint or merge)."""
    if entry.get("side"):
        return side_of(entry["side"])
    taker = side_of(trade.get("side"))
    if entry.get("asset_id") != text_of(trade, "asset_id"):
        return taker
    return Side.SELL if taker is Side.BUY else Side.BUY
