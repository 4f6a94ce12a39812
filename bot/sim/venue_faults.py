"""Faults that the venue commits by itself, whoever asks: settlement that fails, cancels, ticks, markets, foreign orders."""

from __future__ import annotations

import asyncio

from bot.messages import Side
from bot.sim import records as rec
from bot.sim.faults import FOREVER, Fault
from bot.sim.venue import Venue, wall_ms
from bot.units import PX_ONE, QTY_ONE

SECOND_COPY_MS = 2_000  # between the steps of a settlement that goes wrong


class VenueFaults:
    """Acts on the exchange, so its ledger stays the truth."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._exchange = venue.exchange
        self._exchange.settlement = self._settlement
        self._exchange.fee_in_shares = lambda taker: venue.hit("S06", "taker") is not None
        venue.faults.on("C09", self._cancel)
        venue.faults.on("P17", self._grid)
        venue.faults.on("T09", self._foreign)
        venue.faults.on("V01", self._close)

    # -- settlement ----------------------------------------------------------------------------------------------------

    def _settlement(self, trade: rec.Trade) -> tuple[tuple[int, str], ...]:
        """The steps of a trade that goes wrong; () for one that does not."""
        subject = "trade taker" if trade.taker_api_key else "trade maker"
        match = (0, rec.MATCHED)
        if (fault := self._venue.hit("S04", subject)) is not None:
            return ((fault["delay_ms"], "FAILED"), (2 * fault["delay_ms"], rec.MATCHED))
        if (fault := self._venue.hit("S02", subject)) is not None:
            failed = (fault["delay_ms"], "FAILED")
            retrying = (max(fault["delay_ms"] // 2, 1), "RETRYING")
            return (match, retrying, failed) if fault.kind == "retrying" else (match, failed)
        if (fault := self._venue.hit("S03", subject)) is not None:
            if not fault["hang_s"]:
                return (match,)
            late_ms = round(fault["hang_s"] * 1000)
            return (match, (late_ms, "MINED"), (late_ms + SECOND_COPY_MS, "CONFIRMED"))
        return ()

    # -- orders --------------------------------------------------------------------------------------------------------

    def _open(self) -> list[rec.Order]:
        """Open orders of API key owners, oldest first."""
        accounts = self._venue.accounts.by_address.values()
        owners = dict.fromkeys(owner for account in accounts for owner in account.owners)
        orders = [order for owner in owners for order in self._exchange.orders_of(owner, open_only=True)]
        return sorted((order for order in orders if order.status == rec.LIVE), key=lambda order: order.created_ms)

    def _cancel(self, fault: Fault) -> int:
        ids = [order.order_id for order in self._open()]
        chosen = ids if fault.kind == "all" else ids[-1:]
        ended = self._exchange.cancel_by_venue(chosen, fault["status"], wall_ms())
        self._venue.tell()
        return len(ended)

    def _foreign(self, fault: Fault) -> int:
        """An order under the key of the test wallet that no bot of ours signed."""
        found = next(iter(self._venue.accounts.by_key.values()), None)
        market = self._under_way()
        if found is None or market is None:
            return 0
        account, credentials = found
        order_id = self._venue.stray_id()
        submitted = self._exchange.submit(
            rec.Submit(
                order_id=order_id,
                owner=account.owners[-1],
                api_key=credentials.api_key,
                token=market.up_token,
                side=Side.BUY,
                px=round(fault["price"] * PX_ONE),
                qty=round(fault["size"] * QTY_ONE),
            ),
            wall_ms(),
        )
        self._venue.tell()
        return 1 if submitted.status else 0

    # -- markets -------------------------------------------------------------------------------------------------------

    def _under_way(self) -> rec.SimMarket | None:
        """The market of the oldest open order, else the one that is under way."""
        for order in self._open():
            if self._exchange.markets[order.condition_id].accepting:
                return self._exchange.markets[order.condition_id]
        now_ms = wall_ms()
        markets = [market for market in self._exchange.markets.values() if market.accepting]
        return min(markets, key=lambda market: (market.start_ms > now_ms, market.start_ms), default=None)

    def _grid(self, fault: Fault) -> int:
        """Another tick or minimum size for all open markets, and the old one again when the fault is over."""
        markets = [market for market in self._exchange.markets.values() if market.accepting]
        told = fault.kind == "tick"
        before = {market.condition_id: (market.tick, market.min_qty) for market in markets}
        for market in markets:
            if fault.kind == "size":
                market.min_qty = round(fault["min_size"] * QTY_ONE)
            else:
                self._exchange.change_tick(market.condition_id, round(fault["tick"] * PX_ONE), wall_ms(), told)

        def back() -> None:
            for market in markets:
                tick, market.min_qty = before[market.condition_id]
                if market.tick != tick and market.accepting:
                    self._exchange.change_tick(market.condition_id, tick, wall_ms(), told)
            self._venue.tell()

        if fault.lasts_s < FOREVER:
            asyncio.get_running_loop().call_later(fault.lasts_s, back)
        self._venue.tell()
        return len(markets)

    def _close(self, fault: Fault) -> int:
        market = self._under_way()
        if market is None:
            return 0
        now_ms, cid = wall_ms(), market.condition_id
        if fault.kind == "close":
            self._exchange.close(cid, now_ms)
        else:
            bid, ask = self._exchange.best(cid)
            outcome = "up" if bid + (ask or PX_ONE) >= PX_ONE else "down"
            self._exchange.resolve(cid, outcome, now_ms, told=fault.kind == "resolve")
        self._venue.tell()
        return 1
