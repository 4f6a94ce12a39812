"""Fills and what they add up to: shares per token, cash, money paid in, payout. Knows no order states and no limits.

Every fill is booked once per (trade id, order id), may be voided once, and its settlement step only rises.
"""

from __future__ import annotations

import msgspec

from bot.market import Market
from bot.messages import ExecutionReport, Side, TradeStatus
from bot.units import Ns, Px, Qty, Usd, notional

RANK = {status: rank for rank, status in enumerate(TradeStatus)}
MINED = RANK[TradeStatus.MINED]

Key = tuple[str, str]  # trade id, order id


class FillRecord(msgspec.Struct, kw_only=True):
    """One booked leg. `void` fills count for nothing; a tombstone is a void record of quantity 0."""

    symbol: str
    order_id: str
    asset_id: str
    side: Side
    px: Px
    qty: Qty
    cost: Usd  # paid (BUY) or received (SELL, negative)
    status: TradeStatus
    booked_ns: Ns
    void: bool = False
    history: bool = False  # of an earlier run: already in the cash we started with
    maker: bool = True
    fee_qty: Qty = 0  # shares that the venue kept back of a purchase as taker

    @property
    def signed_qty(self) -> Qty:
        return self.qty - self.fee_qty if self.side is Side.BUY else -self.qty


class Holding(msgspec.Struct, kw_only=True):
    """One market's shares and the net USD paid for them, by token. After the payout shares turn into cash at once."""

    tokens: dict[str, Qty] = {}
    paid: dict[str, Usd] = {}
    winner: str = ""  # the token that pays, once it paid ...
    paid_out_ns: Ns = 0  # ... at that time

    @property
    def invested(self) -> Usd:
        return sum(self.paid.values())


class Positions:
    """Invariant: shares and money are the sums of the fills that are not void, and of payouts."""

    def __init__(self) -> None:
        self.cash: Usd = 0
        self.fills: dict[Key, FillRecord] = {}
        self.holdings: dict[str, Holding] = {}
        self.unsettled: dict[Key, FillRecord] = {}
        self.cash_changed_ns: Ns = 0  # last, by a fill, one taken back or a payout

    def of(self, symbol: str) -> Holding:
        """To look at only: of a market without fills it is nobody's."""
        return self.holdings.get(symbol) or Holding()

    def _own(self, symbol: str) -> Holding:
        return self.holdings.setdefault(symbol, Holding())

    def qty(self, symbol: str, asset_id: str) -> Qty:
        """Shares of a token held."""
        return self.of(symbol).tokens.get(asset_id, 0)

    def quantities(self, market: Market) -> tuple[Qty, Qty]:
        """Up and Down shares held."""
        return self.qty(market.symbol, market.up_token), self.qty(market.symbol, market.down_token)

    def unsettled_qty(self, asset_id: str, booked_before_ns: Ns | None = None) -> Qty:
        """Shares of a token that were matched to us and are not on the chain yet (optionally: for too long)."""
        return sum(
            record.qty
            for record in self.unsettled.values()
            if record.asset_id == asset_id
            and record.side is Side.BUY
            and (booked_before_ns is None or record.booked_ns < booked_before_ns)
        )

    def told_of(self, order_id: str) -> tuple[Qty, Qty]:
        """Shares that fills of one order moved, and shares of its fills that failed, with or without a record of it."""
        told = [record for (_, filled), record in self.fills.items() if filled == order_id]
        return sum(r.qty for r in told if not r.void), sum(r.qty for r in told if r.void)

    def known(self, report: ExecutionReport) -> FillRecord | None:
        return self.fills.get((report.exec_id, report.order_id))

    def book(
        self, report: ExecutionReport, symbol: str, asset_id: str, side: Side, now_ns: Ns, *, history: bool = False
    ) -> FillRecord:
        """Book a fill whose key is new."""
        key = (report.exec_id, report.order_id)
        assert key not in self.fills
        cost = notional(report.last_px, report.last_qty)
        record = FillRecord(
            symbol=symbol,
            order_id=report.order_id,
            asset_id=asset_id,
            side=side,
            px=report.last_px,
            qty=report.last_qty,
            cost=cost if side is Side.BUY else -cost,
            status=report.trade_status or TradeStatus.MATCHED,
            booked_ns=now_ns,
            history=history,
            maker=report.maker,
        )
        self.fills[key] = record
        if RANK[record.status] < MINED and not self._own(symbol).winner:
            self.unsettled[key] = record
        self.cash_changed_ns = now_ns
        self._move(record)
        return record

    def rises(self, report: ExecutionReport) -> bool:
        """Would this known fill's settlement step rise?"""
        record = self.fills[report.exec_id, report.order_id]
        status = report.trade_status
        return status is not None and not record.void and RANK[status] > RANK[record.status]

    def settle_step(self, report: ExecutionReport) -> None:
        """Raise the settlement step; quantity is untouched."""
        key = (report.exec_id, report.order_id)
        record = self.fills[key]
        assert report.trade_status is not None
        record.status = report.trade_status
        if RANK[record.status] >= MINED:
            self.unsettled.pop(key, None)

    def void(self, report: ExecutionReport, now_ns: Ns) -> FillRecord:
        """Take a booked fill back; only once."""
        key = (report.exec_id, report.order_id)
        record = self.fills[key]
        assert not record.void
        record.void = True
        record.status = TradeStatus.FAILED
        self.unsettled.pop(key, None)
        self.cash_changed_ns = now_ns
        self._move(record)
        return record

    def keep_back(self, symbol: str, asset_id: str, qty: Qty) -> None:
        """The venue kept so many shares as its fee; the newest purchase as taker bears it."""
        record = next(
            record
            for record in reversed(self.fills.values())
            if record.asset_id == asset_id and record.side is Side.BUY and not (record.maker or record.void)
        )
        record.fee_qty += qty
        self.holdings[symbol].tokens[asset_id] -= qty

    def bury(self, report: ExecutionReport, symbol: str, now_ns: Ns) -> None:
        """Remember a key that failed before it was ever booked: a later MATCHED of it changes nothing."""
        self.fills.setdefault(
            (report.exec_id, report.order_id),
            FillRecord(
                symbol=symbol,
                order_id=report.order_id,
                asset_id=report.asset_id,
                side=report.side or Side.BUY,
                px=report.last_px,
                qty=report.last_qty,
                cost=0,
                status=TradeStatus.FAILED,
                booked_ns=now_ns,
                void=True,
            ),
        )

    def pay_out(self, symbol: str, winner: str, now_ns: Ns) -> Usd:
        """The market resolved: winning shares become cash, the others nothing, and no fill is awaited on the chain any
        more, since the balance tells what came of it. Returns the payout."""
        holding = self._own(symbol)
        assert not holding.winner
        payout = holding.tokens.get(winner, 0)
        holding.winner, holding.paid_out_ns = winner, now_ns
        holding.tokens.clear()
        holding.paid.clear()
        self.unsettled = {key: record for key, record in self.unsettled.items() if record.symbol != symbol}
        self.cash += payout
        self.cash_changed_ns = now_ns
        return payout

    def prune(self, now_ns: Ns, keep_ns: Ns) -> None:
        """Drop the keys of fills so old that nobody will tell them again, and markets of which nothing else is left."""
        old = []
        for key, record in self.fills.items():  # in order of age
            if now_ns - record.booked_ns <= keep_ns:
                break
            old.append(key)
        for key in old:
            del self.fills[key]
            self.unsettled.pop(key, None)
        told = {record.symbol for record in self.fills.values()}
        for symbol, holding in list(self.holdings.items()):
            if symbol not in told and not any(holding.tokens.values()) and now_ns - holding.paid_out_ns > keep_ns:
                del self.holdings[symbol]

    def _move(self, record: FillRecord) -> None:
        holding, sign = self._own(record.symbol), -1 if record.void else 1
        if not record.history or record.void:  # a reverted fill gives its money back whoever paid it
            self.cash -= sign * record.cost
        if not holding.winner:
            token = record.asset_id
            holding.tokens[token] = holding.tokens.get(token, 0) + sign * record.signed_qty
            holding.paid[token] = holding.paid.get(token, 0) + sign * record.cost
        elif holding.winner == record.asset_id:
            self.cash += sign * record.signed_qty  # a fill told after the payout is paid at once
