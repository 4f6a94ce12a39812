"""What all parts of the embedded venue share: the exchange, the accounts, the books, the request log and the clock.

`tell` hands what the exchange did to everyone who listens. Knows no HTTP and no socket.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from bot.sim import records as rec
from bot.sim.accounts import Accounts
from bot.sim.addresses import Addresses
from bot.sim.exchange import Exchange
from bot.sim.faults import Fault, Faults
from bot.sim.quirks import Quirks
from bot.sim.rates import Rates
from bot.sim.render import Books, market_row, notice, redeemed
from bot.units import USD_ONE, Qty, Usd, shares, usd

LOG_MAX = 500_000
BEATS_CHECKED_MS = 5_000
PAUSE_MS = 1_000  # the process was stopped: what waits in the sockets is heard before anyone is punished for silence
CANCELLED, FILLED, RESOLVED, FILL_FAILED, REDEEMED = 1, 2, 4, 8, 9  # kinds of notifications
FUNDS: Usd = 10_000 * USD_ONE

if TYPE_CHECKING:
    from bot.sim.market import World


class Request(msgspec.Struct, kw_only=True):
    """One CLOB request as the log shows it; the status is 0 until it was answered."""

    seq: int
    monotonic_ns: int
    method: str
    path: str
    owner: str = ""
    status: int = 0


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Venue:
    """The shared state. Everything runs on one event loop, so nothing here is locked."""

    def __init__(
        self,
        exchange: Exchange,
        accounts: Accounts,
        protocol: int,
        enforce_rates: bool = False,
        faults: Faults | None = None,
        quirks: Quirks | None = None,
    ) -> None:
        self.exchange = exchange
        self.accounts = accounts
        self.protocol = protocol
        self.books = Books(exchange)
        self.quirks = quirks or Quirks()
        exchange.redeem_ms = self.quirks.redeem_ms
        self.rates = Rates(enforce_rates, self.quirks.tier)
        self.addresses = Addresses()
        self.world: World | None = None
        self.info: dict[str, Any] = {}
        self.faults = faults or Faults()
        self.skew_s = 0.0  # how far the clock it tells and checks proofs by is off
        self.started_ns = time.monotonic_ns()  # set again when it is ready
        self.requests: deque[Request] = deque(maxlen=LOG_MAX)
        self.held: dict[str, Callable[[], None]] = {}  # orders in their taker delay, and whom to wake
        self.listeners: list[Callable[[rec.Event], None]] = []
        self.flushers: list[Callable[[], None]] = []
        self._sequence = itertools.count(1)
        self._notice = itertools.count(1)
        self._strays = itertools.count(1)
        self._numbers: dict[str, int] = {}
        self._stepped_ms = 0
        self._beats_checked = 0
        self._paused_until_ms = 0

    def log(self, method: str, path: str) -> Request:
        row = Request(seq=next(self._sequence), monotonic_ns=time.monotonic_ns(), method=method, path=path)
        self.requests.append(row)
        return row

    def stray_id(self) -> str:
        """For an order under an account's key that its owner never sent."""
        return f"0x{next(self._strays):064x}"

    def age_s(self) -> float:
        """The clock of the faults: seconds since the venue was ready."""
        return (time.monotonic_ns() - self.started_ns) / 1e9

    def hit(self, fault_id: str, subject: str, kind: str = "") -> Fault | None:
        """The fault that befalls this call, frame or trade now, if any; asking counts it."""
        return self.faults.hit(fault_id, subject, self.age_s(), kind) if self.faults.busy else None

    def number_of(self, condition_id: str) -> int:
        """The numeric id that metadata shows beside the condition id."""
        return self._numbers.setdefault(condition_id, 2_100_001 + len(self._numbers))

    def tradable(self, token: str) -> bool:
        """Whether there is a book."""
        market = self.exchange.by_token.get(token)
        return market is not None and not market.outcome and self.ready(market)

    def ready(self, market: rec.SimMarket) -> bool:
        """Whether the order book knows the market already; what has begun it knows."""
        now_ms = wall_ms()
        return now_ms >= min(market.start_ms, market.listed_ms + self.quirks.unready_ms)

    # -- time and events ------------------------------------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """Everything in the exchange that fell due, and the dead-man switches."""
        if self._stepped_ms and now_ms - self._stepped_ms > PAUSE_MS:
            self._paused_until_ms = now_ms + PAUSE_MS
        self._stepped_ms = now_ms
        self.exchange.step(now_ms)
        if now_ms >= self._paused_until_ms:
            self._check_beats(now_ms)
        self.tell()
        for order_id in [held for held in self.held if not self._waits(held)]:
            self.held.pop(order_id)()

    def _check_beats(self, now_ms: int) -> None:
        """Now and then, as the venue does: a silent key loses its orders up to that much later than it might."""
        if now_ms // BEATS_CHECKED_MS == self._beats_checked:
            return
        self._beats_checked = now_ms // BEATS_CHECKED_MS
        for api_key, beats in self.accounts.beats.items():
            if beats.lapsed(now_ms):
                self.cancel_key(api_key, now_ms)

    def _waits(self, order_id: str) -> bool:
        order = self.exchange.order(order_id)
        return order is not None and order.status == rec.DELAYED

    def cancel_key(self, api_key: str, now_ms: int) -> None:
        """Cancel every open order of one API key."""
        account = self.accounts.by_key[api_key][0]
        for owner in account.owners:
            mine = [o.order_id for o in self.exchange.orders_of(owner, open_only=True) if o.api_key == api_key]
            self.exchange.cancel(owner, mine, now_ms)

    def tell(self) -> None:
        """Drain the exchange and let everyone hear it. Called after anything that may have changed it."""
        events = self.exchange.take_events()
        for event in events:
            self.books.note(event)
        for event in events:
            self._notify(event)
            for listener in self.listeners:
                listener(event)
        for flush in self.flushers:
            flush()

    def _notify(self, event: rec.Event) -> None:
        """The notifications a user can read back, by what happened."""
        markets = self.exchange.markets
        match event:
            case rec.OrderEvent(kind="CANCELLATION", order=order):
                self._note(CANCELLED, order.api_key, notice(order, markets[order.condition_id]), event.ts_ms)
            case rec.TradeEvent(trade=trade) if trade.status in (rec.MATCHED, "FAILED"):
                kind = FILLED if trade.status == rec.MATCHED else FILL_FAILED
                for order_id in dict.fromkeys([trade.taker_order_id, *(leg.order_id for leg in trade.makers)]):
                    filled = self.exchange.order(order_id)
                    if filled is not None and filled.api_key:
                        payload = notice(filled, markets[trade.condition_id], trade if kind == FILLED else None)
                        self._note(kind, filled.api_key, payload, event.ts_ms)
            case rec.Resolved(condition_id=cid):
                for api_key in self._keys_of(event.holders):
                    self._note(RESOLVED, api_key, market_row(markets[cid], self.books), event.ts_ms)
            case rec.Redeemed(condition_id=cid):
                for owner, paid in event.paid.items():
                    for api_key in self._keys_of((owner,)):
                        self._note(REDEEMED, api_key, redeemed(markets[cid], owner, paid), event.ts_ms)

    def _keys_of(self, owners: Iterable[str]) -> list[str]:
        """One API key of each account that acts for one of these."""
        accounts = self.accounts.by_address.values()
        theirs = [one for one in accounts if one.keys and not set(one.owners).isdisjoint(owners)]
        return [next(iter(one.keys.values())).api_key for one in theirs]

    def _note(self, kind: int, api_key: str, payload: dict[str, Any], ts_ms: int) -> None:
        found = self.accounts.by_key.get(api_key)
        if found is not None:
            row = {"id": next(self._notice), "type": kind, "owner": api_key, "payload": payload}
            found[0].notices.append({**row, "timestamp": ts_ms // 1000})

    # -- the truth, and what outlives the process ----------------------------------------------------------------------

    def ledger(self) -> dict[str, Any]:
        """What every wallet has, by owner address, in USD and shares."""
        keys: dict[str, list[str]] = {}
        for account in self.accounts.by_address.values():
            for owner in account.owners:
                keys.setdefault(owner, []).extend(key.api_key for key in account.keys.values())
        owners = {*keys, *(owner for owner in self.exchange.accounts if owner.startswith("0x"))}
        return {owner: self._ledger_of(owner, keys.get(owner, [])) for owner in sorted(owners)}

    def _ledger_of(self, owner: str, api_keys: list[str]) -> dict[str, Any]:
        account = self.exchange.account(owner)
        return {
            "api_keys": api_keys,
            "cash_usd": usd(account.cash),
            "orders": [_ledger_order(order) for order in self.exchange.orders_of(owner)],
            "fills": [fill for trade in self.exchange.trades_of(owner) for fill in _fills(trade, owner)],
            "positions": {token: shares(qty) for token, qty in account.tokens.items() if qty},
        }

    def record(self) -> dict[str, Any]:
        """The ledger as a state file keeps it: cash and positions; resting orders are not kept."""
        return {
            owner: {"cash": account.cash, "positions": {token: qty for token, qty in account.tokens.items() if qty}}
            for owner, account in self.exchange.accounts.items()
            if owner.startswith("0x")
        }

    def restore(self, rows: dict[str, dict[str, Any]]) -> None:
        for owner, row in rows.items():
            self.exchange.deposit(owner, row["cash"])
            for token, qty in row["positions"].items():
                self.exchange.grant(owner, token, qty)


def _ledger_order(order: rec.Order) -> dict[str, Any]:
    status = rec.CANCELED if order.status.startswith(rec.CANCELED) else order.status
    return {
        "id": order.order_id,
        "status": status,
        "asset_id": order.token,
        "side": str(order.side),
        "price": order.px / 10_000,
        "original_size": shares(order.qty),
        "size_matched": shares(order.matched),
    }


def _fills(trade: rec.Trade, owner: str) -> Iterable[dict[str, Any]]:
    """The owner's own legs of a trade: (trade_id, order_id) is unique."""
    legs: list[tuple[str, str, str, int, Qty]] = [
        (leg.order_id, leg.token, str(leg.side), leg.px, leg.qty) for leg in trade.makers if leg.owner == owner
    ]
    if trade.taker_owner == owner:
        legs.append((trade.taker_order_id, trade.token, str(trade.side), trade.px, trade.qty))
    for order_id, token, side, px, qty in legs:
        yield {
            "trade_id": trade.trade_id,
            "order_id": order_id,
            "asset_id": token,
            "side": side,
            "price": px / 10_000,
            "size": shares(qty),
            "status": trade.status,
        }
