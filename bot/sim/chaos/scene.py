"""What the simulation has seen of bot and venue: the facts that the invariants are about. Judges nothing by itself.

It hears the executor's steps, what leaves the executor, what is asked of the venue and what the venue's ledger does, and
keeps of it what a check needs. After each it runs that moment's rows of the table in invariants.py.
"""

from __future__ import annotations

import hashlib
import traceback
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from bot.errors import JournalError
from bot.messages import (
    Balance,
    BotState,
    ExecutionReport,
    Fill,
    MassCancelReport,
    Message,
    NewOrder,
    OrderState,
    QuoteIntent,
    Restarted,
    Settled,
    Side,
    Source,
    TradesRead,
)
from bot.sim import records as rec
from bot.sim.chaos.process import Process, Watch
from bot.sim.chaos.rest import Request
from bot.sim.chaos.venue import OWNER, Venue
from bot.sim.chaos.world import World
from bot.units import NS_PER_MS, NS_PER_S, Ns, Qty, Usd, notional

if TYPE_CHECKING:
    from bot.sim.chaos.hub import Hub

TOLD_MAX = 4_000  # events kept for the story of a failure
HEALTHY_NS: Ns = 5 * NS_PER_S
GUARDED_NS: Ns = 3 * NS_PER_S
KILLED_NS: Ns = 12 * NS_PER_S  # 10 s without beats, and the looks of the venue and of ours
DEAD_MAN_NS: Ns = 16 * NS_PER_S  # 5 s until beats stop on purpose, 10 s of silence, and the venue's look
CLEARING = (BotState.FAILING, BotState.HALTED, BotState.STOPPING)
FOREIGN = ("0xf0", "0xe0")  # ids of orders that no bot of ours sent

Key = tuple[str, str]
AT_ONCE_NS: Ns = 10 * NS_PER_MS  # panic, told together with the executor, may be the first


class Violation(Exception):
    """Something that must hold did not."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(invariant, text)  # as given, so that another process can be told
        self.invariant = invariant
        self.text = text

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


class Scene(Watch):
    """`judge(moment)` runs the checks of one kind of moment; the first violation ends the run."""

    def __init__(self, hub: Hub, venue: Venue, world: World, judge: Callable[[Scene, str], Violation | None]) -> None:
        self.hub = hub
        self.venue = venue
        self.world = world
        self._judge = judge
        self.violation: Violation | None = None
        self.process: Process | None = None
        self.told: deque[tuple[Ns, str, Any]] = deque(maxlen=TOLD_MAX)
        self.steps = 0
        self.state = BotState.STARTING
        self.state_ns = hub.now_ns
        self.quoting_ns: Ns = 0
        self.forced_ns: Ns = 0
        self.forced_since_ns: Ns = 0
        self.states: Counter[str] = Counter()
        self._hash = hashlib.blake2b(digest_size=16)
        self._encoder = msgspec.msgpack.Encoder()
        self.leaked = False
        self.passing: Callable[[Process, str], None] = lambda process, point: None
        # of this moment
        self.heard: Message | None = None  # what the executor's step was about
        self.quarantined = 0  # user events before it
        self.message: Message | None = None  # of what it says
        self.orders: list[NewOrder] = []
        self.fills: list[Fill] = []
        self.placed: list[NewOrder] = []
        # of the wallet, whatever process
        self.posted: set[str] = set()
        self.slack = venue.surprise
        self.posts: deque[tuple[Ns, int]] = deque()
        self.deletes: deque[tuple[Ns, int]] = deque()
        self.reads: deque[Ns] = deque()
        self.repeats: dict[tuple[str, str, int], deque[Ns]] = {}
        self.landed: dict[str, Ns] = {}  # our orders that rest, since when
        self.left_ns: Ns = 0  # when one of them last ended
        self.befallen: dict[str, Ns] = {}  # faults, and when each was last planned to happen
        self.halt = ""
        self.forced = False  # failure mode, by the simulation
        self.down_ns: Ns = 0  # since when no process runs, 0: one does
        self.unreachable_ns: Ns = -NS_PER_S * 100  # the last time a request found no connection
        self.stopped_ns: Ns = 0  # the process stood still from then ...
        self.thawed_ns: Ns = 0  # ... until then
        venue.listeners.append(self._hear)
        self.begin(None)

    guarded = False  # whether the guardian watched when the process died

    def begin(self, process: Process | None) -> None:
        """Another process; what the last one knew is gone."""
        gone, self.process = self.process, process
        self._enter(BotState.STARTING)
        self.failed_ns: Ns = 0
        self.resumed = True
        self.trigger_ns: Ns = 0  # a cancel-all is owed since then
        self.cancel_all_ns: Ns = 0  # when one left
        self.flat = False  # the executor says so
        self.proofs: list[Ns] = []  # panic's reads of open orders since its last cancel-all
        self.cancelled = False  # a cancel-all was answered since it owes it
        self.handled_ns: Ns = 0
        self.frame_ns: Ns = 0
        self.read_ns: Ns = 0
        self.beats: deque[Ns] = deque(maxlen=4)
        self.beat_ns: Ns = 0  # when the last accepted beat was begun
        self.mark: tuple[Any, ...] | None = None  # the executor's state after its last step
        self.booked: dict[Key, int] = {}  # 1: booked, 2: voided
        self.cash: Usd | None = None
        self.baseline = False  # the first read of trades told what earlier processes left
        self.seen: dict[str, tuple[OrderState, Qty, Qty, Qty]] = {}  # state, cum, venue_cum, voided when last looked at
        self.air: dict[str, NewOrder] = {}  # sent by the executor, and not decided by the venue yet
        self.intents: dict[str, QuoteIntent] = {}
        self.accepted = 0  # intents handled
        self.carried = (
            process.executor.counts["placed"] if process is not None else 0
        )  # until it is told of its restart
        self.delivered: deque[ExecutionReport] = deque()  # user events on their way to the executor
        self.disordered = ""
        self.began_ns = self.hub.now_ns
        self.down_ns = 0 if process is not None else self.hub.now_ns
        self.guarded = gone is not None and gone.guardian.watching
        if process is not None:
            self._known_before(process)

    # -- the hash and the story ------------------------------------------------------------------------------------

    def note(self, kind: str, what: Any) -> None:
        self.told.append((self.hub.now_ns, kind, what))

    def digest(self, what: Any) -> None:
        data = self._encoder.encode((self.hub.now_ns, what))
        self._hash.update(data)
        self.leaked = self.leaked or b"canary" in data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def judge(self, moment: str) -> None:
        if self.violation is None:
            self.violation = self._judge(self, moment)

    # -- what the process does ---------------------------------------------------------------------------------------

    def handling(self, process: Process) -> None:
        self.quarantined = process.executor.user_events["quarantined"]
        if self.mark is not None and self.mark != fingerprint(process):
            self.violation = self.violation or Violation("I1", "the executor changed between two of its steps")

    def handled(self, process: Process, message: Message, emitted: list[Message]) -> None:
        self.steps += 1
        self.told.append((self.hub.now_ns, "executor", (message, emitted)))
        self.digest((message, emitted))
        self.handled_ns = self.hub.now_ns
        self.heard = message
        self.mark = fingerprint(process)
        self._taken(process, message)
        self.fills = []
        self.placed = []
        for made in emitted:
            if isinstance(made, Fill):
                self.fills.append(made)
                self._money(made, emitted)
            elif isinstance(made, Settled):
                self._money(made, emitted)
            elif isinstance(made, NewOrder):
                self.placed.append(made)
        self.judge("handled")
        if self.fills:
            self.judge("fill")
        if self.placed:
            self.judge("placed")
        if process.executor.recovery.state is not self.state:
            self._state_changed(process.executor.recovery.state)
            self.judge("state")
        if process.executor.recovery.flat and not self.flat:
            self.judge("flat")
        self.flat = process.executor.recovery.flat
        for order in process.executor.orders.live.values():
            self.seen[order.order_id] = (order.state, order.cum_qty, order.venue_cum, order.voided)
        if self.cash is None and process.executor.cash_known:
            self.cash = process.executor.positions.cash

    def _taken(self, process: Process, message: Message) -> None:
        match message:
            case QuoteIntent():
                desk = process.executor.desks.get(message.symbol)
                if desk is not None and desk.intent is message:
                    self.intents[message.symbol] = message
                self.accepted += 1
            case Restarted():
                self.carried = 0
            case ExecutionReport():
                if message.source is Source.USER:
                    expected = self.delivered.popleft() if self.delivered else None
                    if expected is not message:
                        self.disordered = "a user event overtook another, or was lost"
                self.air.pop(message.order_id, None)
            case Balance():
                self.cash = None
            case MassCancelReport() if message.known and not message.symbol:
                self.cancelled = True
            case TradesRead():
                self._known_before(process)
                if not self.baseline:
                    self.baseline, self.cash = process.executor.baseline_done, None
            case _:
                pass

    def _known_before(self, process: Process) -> None:
        """Fills of earlier processes are no news of this one, nor are those of strangers that its first read told."""
        for key, record in process.executor.positions.fills.items():
            stranger = not self.baseline and record.order_id not in process.executor.orders.by_id
            if record.history or record.booked_ns < process.started_ns or stranger:
                self.booked.setdefault(key, 2 if record.void else 1)

    def _money(self, made: Fill | Settled, emitted: list[Message]) -> None:
        if self.cash is None:
            return
        if isinstance(made, Settled):
            self.cash += made.payout
            return
        cost = notional(made.px, abs(made.qty)) * (1 if made.qty > 0 else -1)
        self.cash -= cost if made.side is Side.BUY else -cost
        assert self.process is not None
        paid_now = any(isinstance(other, Settled) and other.symbol == made.symbol for other in emitted)
        if self.process.executor.positions.of(made.symbol).winner == made.asset_id and not paid_now:
            self.cash += made.qty if made.side is Side.BUY else -made.qty

    def _enter(self, state: BotState) -> None:
        if self.state is BotState.QUOTING:
            self.quoting_ns += self.hub.now_ns - self.state_ns
        self.state, self.state_ns = state, self.hub.now_ns

    def _state_changed(self, state: BotState) -> None:
        before = self.state
        self._enter(state)
        if state is BotState.QUOTING and self.forced_since_ns:
            self.forced_ns += self.hub.now_ns - self.forced_since_ns
            self.forced_since_ns = 0
        self.states[state.value] += 1
        if state is BotState.FAILING and before is not BotState.HALTED:
            self.failed_ns, self.resumed = self.hub.now_ns, False
        if before is BotState.HALTED:
            self.resumed = True
        self.cancelled = self.cancelled and before in CLEARING
        if state in CLEARING and before not in CLEARING and self.hub.now_ns - self.cancel_all_ns > AT_ONCE_NS:
            self.trigger_ns = self.hub.now_ns

    def sending(self, process: Process, message: Message) -> None:
        self.message = message
        self.judge("sending")
        if isinstance(message, NewOrder):
            self.air[message.order_id] = message
            self.judge("order")

    def asked(self, process: Process, who: str, request: Request) -> None:
        now = self.hub.now_ns
        self.told.append((now, "asked", (who, request)))
        if request.method == "DELETE":
            if request.path == "/cancel-all":
                self.cancel_all_ns = now
                if who == "panic":
                    self.proofs = []
            self.deletes.append((now, request.body.count(b"0x")))
            self.judge("delete")
            self.trigger_ns = 0
        elif request.method == "GET":
            self.reads.append(now)
            if who == "panic" and request.path == "/data/orders":
                self.proofs.append(now)
        elif request.path == "/v1/heartbeats":
            self.beats.append(now)
            self.judge("beat")
        else:
            self.orders = request.orders
            self.posts.append((now, len(self.orders)))
            self.judge("post")
            self.posted.update(order.order_id for order in self.orders)

    def answered(self, process: Process, who: str, request: Request, status: int) -> None:
        if request.path == "/v1/heartbeats" and status == 200 and self.beats:
            self.beat_ns = self.beats[-1]
        elif request.path == "/data/orders" and status == 200 and who == "reads":
            self.read_ns = self.hub.now_ns

    def frame(self, now_ns: Ns) -> None:
        self.frame_ns = now_ns

    def failed(self, process: Process, who: str) -> None:
        """A request found no connection, or lost it."""
        self.unreachable_ns = self.hub.now_ns

    def proven(self, process: Process) -> None:
        """Panic says that nothing rests."""
        self.judge("proven")

    def point(self, process: Process, name: str) -> None:
        self.passing(process, name)

    def delivering(self, process: Process, messages: list[Message]) -> None:
        self.delivered.extend(message for message in messages if isinstance(message, ExecutionReport))

    def died(self, process: Process, name: str, error: Exception) -> None:
        """An actor has ended by an error: one that we injected, or a fault of ours."""
        self.note("died", f"{name}: {type(error).__name__}: {error}")
        if process.group.dead or "injected fault" in str(error) or isinstance(error, JournalError):
            return
        frames = "".join(traceback.format_exception(error)).strip().splitlines()
        where = next((line.strip() for line in reversed(frames) if line.lstrip().startswith("File")), "")
        self.note("died", "\n".join(frames))
        text = f"{name} failed by itself: {type(error).__name__}: {error} ({where})"
        self.violation = self.violation or Violation("I0", text)

    # -- what excuses lateness ---------------------------------------------------------------------------------------

    def excused_cancel(self) -> bool:
        """Nothing can leave while nothing gets through."""
        return self.unreachable_ns > self.trigger_ns - NS_PER_S or self.thawed_ns > self.hub.now_ns

    def flat_within_ns(self) -> Ns:
        """How long an order may rest while flat is owed."""
        sick_ns = max(self.venue.sick_ns, self.unreachable_ns)
        return HEALTHY_NS if sick_ns < self.hub.now_ns - 2 * HEALTHY_NS else DEAD_MAN_NS

    def dead_within_ns(self) -> Ns:
        """The same after the death of the process, or while it stands still."""
        sick_ns = max(self.venue.sick_ns, self.unreachable_ns)
        guarded = self.guarded if self.process is None else self.process.guardian.watching
        well = guarded and sick_ns < self.hub.now_ns - 2 * HEALTHY_NS
        return GUARDED_NS if well else KILLED_NS

    # -- what the venue does -----------------------------------------------------------------------------------------

    def submitted(self, order: NewOrder, error: str) -> None:
        self.air.pop(order.order_id, None)
        if not error:
            self.landed[order.order_id] = self.hub.now_ns
            self.message = order
            self.judge("landed")

    def in_the_air(self) -> list[NewOrder]:
        """Sent, not decided by the venue, and not known to have ended."""
        assert self.process is not None
        known = self.process.executor.orders.by_id
        over = [order_id for order_id in self.air if order_id in known and not known[order_id].is_open]
        for order_id in over:
            del self.air[order_id]
        return list(self.air.values())

    def rests(self, order_id: str) -> bool:
        """Now: of some ends the venue tells nobody, and `landed` learns of them a second later."""
        found = self.venue.exchange.order(order_id)
        return found is not None and found.open

    def _hear(self, event: rec.Event) -> None:
        match event:
            case rec.OrderEvent():
                self.told.append((self.hub.now_ns, "venue", event))
                if not event.order.open:
                    self.landed.pop(event.order.order_id, None)
                    self.left_ns = self.hub.now_ns
            case rec.TradeEvent(trade=trade):
                self.told.append((self.hub.now_ns, "venue", event))
                self.slack[trade.condition_id] += trade.fee_qty
                if trade.status == "FAILED":
                    for qty in legs_of(trade).values():
                        self.slack[trade.condition_id] += qty
            case _:
                return

    def invested(self, condition_id: str) -> Usd:
        """Net USD paid into a market, by the venue's own trades."""
        exchange, paid = self.venue.exchange, 0
        listed_ms = exchange.markets[condition_id].listed_ms
        for trade_id in reversed(exchange.account(OWNER).trades):
            trade = exchange.trades[trade_id]
            if trade.match_ms < listed_ms:
                break
            if trade.condition_id == condition_id and trade.status != "FAILED":
                for side, px, qty, owner in _sides(trade):
                    if owner == OWNER:
                        paid += notional(px, qty) if side is Side.BUY else -notional(px, qty)
        return paid

    def latched(self, reason: str) -> None:
        """The halt latch was set."""
        self.note("latch", reason)
        self.halt = reason
        self.judge("latch")

    def befell(self, fault_id: str) -> None:
        self.befallen[fault_id] = self.hub.now_ns

    def second(self) -> None:
        horizon = self.hub.now_ns - 10 * NS_PER_S
        for counted in (self.posts, self.deletes):
            while counted and counted[0][0] < horizon:
                counted.popleft()
        while self.reads and self.reads[0] < horizon:
            self.reads.popleft()
        for order in self.venue.open_orders():
            self.landed.setdefault(order.order_id, self.hub.now_ns)
        for order_id in list(self.landed):
            if not self.rests(order_id):
                del self.landed[order_id]
        self.judge("second")


def fingerprint(process: Process) -> tuple[Any, ...]:
    """What changes with every change of orders, inventory, limits or state."""
    executor = process.executor
    orders = executor.orders
    return (
        executor.recovery.state,
        executor.recovery.epoch,
        executor.positions.cash,
        len(executor.positions.fills),
        len(orders.by_id),
        len(orders.live),
        orders.changed_ns,
    )


def legs_of(trade: rec.Trade) -> dict[str, Qty]:
    """Our own legs of a trade: order id to size."""
    legs = {leg.order_id: leg.qty for leg in trade.makers if leg.owner == OWNER}
    if trade.taker_owner == OWNER:
        legs[trade.taker_order_id] = trade.qty
    return legs


def _sides(trade: rec.Trade) -> list[tuple[Side, int, Qty, str]]:
    sides = [(leg.side, leg.px, leg.qty, leg.owner) for leg in trade.makers]
    return [*sides, (trade.side, trade.px, trade.qty, trade.taker_owner)]


TERMINAL = (OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED)
