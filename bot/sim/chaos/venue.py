"""The venue on the hub: the real exchange with one wallet of ours, its dead-man switch and its user streams.

Its ledger is the truth that everything is held against. Knows no bot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bot.messages import Side
from bot.sim import records as rec
from bot.sim.accounts import Beats
from bot.sim.exchange import Exchange
from bot.sim.faults import Fault, Faults
from bot.sim.quirks import Quirks
from bot.units import NS_PER_MS, NS_PER_S, PX_ONE, USD_ONE, Ns, Px, Qty, Usd

OWNER = "0x" + "b0" * 20
API_KEY = "key-of-the-bot"
FUNDS: Usd = 2_000 * USD_ONE
START_MS = 1_793_750_400_000  # the venue's wall clock when the hub's clock is 0
STRANGER = "stranger"


class Venue:
    """Exchange, wallet and clock. What the exchange did goes to `listeners`, in order, whenever `tell` is called."""

    def __init__(self, clock: Callable[[], Ns], faults: Faults, quirks: Quirks, seed: int) -> None:
        self.clock = clock
        self.faults = faults
        self.quirks = quirks
        self.exchange = Exchange(salt=str(seed))
        self.exchange.settlement = self._settlement
        self.exchange.fee_in_shares = lambda taker: taker.order_id == self.crossing
        self.exchange.deposit(OWNER, FUNDS)
        self.exchange.deposit(STRANGER, 1_000_000 * USD_ONE)
        self.beats = Beats()
        self.skew_s = 0.0
        self.sick_ns: Ns = -(10**12)  # the last time that a fault befell a call
        self.listeners: list[Callable[[rec.Event], None]] = []
        self.crossing = ""  # S06: our order that is to match although it is post-only, with its fee in shares
        self.surprise: Counter[str] = Counter()  # by market: shares that nobody could foresee, for who judges exposure
        self._strangers = 0
        self.untold: set[str] = set()  # orders of which the user channel says nothing
        self._telling = False

    # -- clocks and faults -----------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return START_MS + self.clock() // NS_PER_MS

    @property
    def age_s(self) -> float:
        return self.clock() / NS_PER_S

    def hit(self, fault_id: str, subject: str, kind: str = "") -> Fault | None:
        """The fault that befalls this call, frame or trade now, if any; asking counts it."""
        if not self.faults.busy:
            return None
        fault = self.faults.hit(fault_id, subject, self.age_s, kind)
        if fault is not None and fault.entry.where != "stream":
            self.sick_ns = self.clock()
        return fault

    def step(self) -> None:
        """Everything that fell due; a key whose beats stopped loses its orders."""
        self.faults.advance(self.age_s)
        self.exchange.step(self.now_ms)
        if self.beats.lapsed(self.now_ms):
            self.exchange.cancel_all(OWNER, self.now_ms)
        self.tell()

    def tell(self) -> None:
        """A listener may act on the exchange: what that makes happen is told behind."""
        if self._telling:
            return
        self._telling = True
        while events := self.exchange.take_events():
            for event in events:
                for listener in self.listeners:
                    listener(event)
        self._telling = False

    # -- ours ------------------------------------------------------------------------------------------------------

    def open_orders(self) -> list[rec.Order]:
        return self.exchange.orders_of(OWNER, open_only=True)

    def resting(self) -> list[rec.Order]:
        """Those that somebody can meet, oldest first."""
        markets = self.exchange.markets
        return [o for o in self.open_orders() if o.status == rec.LIVE and markets[o.condition_id].accepting]

    # -- what nobody would do by himself -----------------------------------------------------------------------------

    def meet(self, order: rec.Order, qty: Qty) -> bool:
        """A stranger takes so much of an order."""
        done = bool(self.exchange.sweep(order.order_id, qty, self.now_ms))
        self.tell()
        return done

    def trade(
        self, token: str, side: Side, px: Px, qty: Qty, order_type: str = "FAK", api_key: str = ""
    ) -> rec.Submitted:
        """A stranger's order, matched at once."""
        market = self.exchange.by_token[token]
        if side is Side.SELL:
            self.exchange.grant(STRANGER, token, qty)
        self._strangers += 1
        delay_ms, market.taker_delay_ms = market.taker_delay_ms, 0
        submitted = self.exchange.submit(
            rec.Submit(
                order_id=f"{STRANGER}-{self._strangers}",
                owner=STRANGER,
                api_key=api_key,
                token=token,
                side=side,
                px=px,
                qty=qty,
                order_type=order_type,
            ),
            self.now_ms,
        )
        market.taker_delay_ms = delay_ms
        self.tell()
        return submitted

    def foreign(self, market: rec.SimMarket, px: Px) -> bool:
        """A resting order of our key that no bot of ours sent. Of about half of them the user channel says nothing."""
        self._strangers += 1
        if self._strangers % 2 == 0:
            self.untold.add(f"0xf0{self._strangers:062x}")
        submitted = self.exchange.submit(
            rec.Submit(
                order_id=f"0xf0{self._strangers:062x}",
                owner=OWNER,
                api_key=API_KEY,
                token=market.up_token,
                side=Side.BUY,
                px=px,
                qty=market.min_qty,
                post_only=True,
            ),
            self.now_ms,
        )
        self.tell()
        return bool(submitted.status)

    def _settlement(self, trade: rec.Trade) -> tuple[tuple[int, str], ...]:
        """The steps of a trade that goes wrong; () for one that does not."""
        subject = "trade taker" if trade.taker_api_key else "trade maker"
        match = (0, rec.MATCHED)
        if (fault := self.hit("S04", subject)) is not None:
            return ((fault["delay_ms"], "FAILED"), (2 * fault["delay_ms"], rec.MATCHED))
        if (fault := self.hit("S02", subject)) is not None:
            failed = (fault["delay_ms"], "FAILED")
            retrying = (max(fault["delay_ms"] // 2, 1), "RETRYING")
            return (match, retrying, failed) if fault.kind == "retrying" else (match, failed)
        if not trade.taker_api_key and (fault := self.hit("S03", subject)) is not None:
            if not fault["hang_s"]:
                return (match,)
            late_ms = round(fault["hang_s"] * 1000)
            return (match, (late_ms, "MINED"), (late_ms + 2000, "CONFIRMED"))
        return ()


def leg_is_bid(market: rec.SimMarket, token: str, side: Side) -> bool:
    """In Up terms."""
    return (token == market.up_token) == (side is Side.BUY)


def mirrored(px: Px) -> Px:
    return PX_ONE - px
