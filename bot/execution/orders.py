"""Order state machine: what we asked for, what the venue said, what may happen next. Knows nothing of prices we would like.

TABLE is the table of the fault catalogue, cell by cell; read the two side by side. A cell is a list of steps:
    >XX        go to that state                     =       nothing
    >W*        go to W, or to PC with D if cancel was wanted or the epoch is old
    w          remember that cancel is wanted       D       send DELETE
    D?         send DELETE if cancel was wanted     D@      send DELETE if the last one went before the read was asked
    Q          ask order and trades by id           V       raise the venue's cumulative figure
    F          book the fill                        X       void the fill key
    tomb       remember the key as void             rank    settlement step rises      count   count a duplicate
    O          orphan buffer                        adopt   make a foreign record      hold    new order waits for the end
    new        the slot is free for a new order     over    ! when more than the order was matched
    gone       absent in a valid read: twice, an empty query and no debt end the order (`gone5`: after T_settle too)
    back       listed in two valid reads in a row: ! >PC D
    RJ?        >RJ when nothing was ever matched, else ! Q
    !          contradiction: page, cancel all      !m      the same for this market only
    warn       tell a person, and nothing else      bug     cannot happen: assertion
Cumulative figures never touch inventory, only trades do. Ended orders stay findable: late events must still find them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

import msgspec

from bot.execution.archive import Archive
from bot.execution.timers import Timers, backoff
from bot.messages import OrderState, Side
from bot.units import LOT, Ns, Px, Qty

# Two cells differ from the catalogue: E2 in UNK and CX. An order that waits in a stuck gateway's queue passes its ack
# timer there, and may be given up, before the gate refuses it; that refusal is proof that nothing was sent.
# The ! of E22 is for the market alone, as row S02 and the sequence "ghost" have it. E25 also stands for a read of one
# order that says live. E28C and E28M are E28's two halves. Ended orders are asked for (E29, E30) by the one read of
# trades that every gap and restart makes, not one by one: it goes back to 60 s before the last moment we trust.
TABLE = """
event                        | none      | CR      | PN       | UNK      | W        | PC      | CX     | FL       | RJ
E1 submit                    | bug       | >PN     | bug      | bug      | bug      | bug     | bug    | bug      | bug
E2 gate refuses              | bug       | >RJ     | >RJ      | >RJ      | bug      | bug     | =      | bug      | bug
E3 cancel wanted             | =         | >RJ     | w D      | w D      | >PC D    | =       | =      | =        | =
E4 cancel-all, failure mode  | =         | >RJ     | w        | w        | >PC      | =       | =      | =        | =
E5 replace wanted            | new       | >RJ new | w D hold | w D hold | >PC D hold | hold  | new    | new      | new
E6 ack timer                 | =         | =       | >UNK Q   | Q        | =        | =       | =      | =        | =
E7 cancel timer              | =         | =       | D?       | D?       | =        | D       | =      | =        | =
E8 ack live, delayed         | !         | bug     | >W*      | >W*      | =        | =       | late   | =        | ! >PC D
E9 ack matched(m)            | !         | bug     | >W* V Q  | >W* V Q  | V Q      | V Q     | V Q    | =        | ! >PC V Q
E10 definite reject          | !         | bug     | >RJ      | RJ?      | ! Q      | Q       | =      | ! Q      | =
E11 ambiguous result         | =         | bug     | >UNK Q   | Q        | =        | =       | =      | =        | =
E12 duplicated               | =         | bug     | >UNK Q   | Q        | =        | =       | =      | =        | ! >PC D
E13 cancel ok, oid listed    | =         | bug     | >CX Q    | >CX Q    | >CX Q    | >CX Q   | =      | =        | !
E14 cancel no                | =         | bug     | w        | w Q      | >PC Q    | Q       | =      | =        | =
E15 cancel outcome unknown   | =         | bug     | w        | w        | >PC      | =       | =      | =        | =
E16 cancel-all, not listed   | =         | =       | w        | w Q      | >PC D    | D       | =      | =        | =
E17 PLACEMENT                | O         | !       | >W*      | >W*      | =        | =       | late   | =        | ! >PC D
E18 UPDATE(m)                | O         | !       | >W* V    | >W* V    | V        | V       | V      | V over   | ! >PC V
E19 trade, new key           | O         | !       | >W* F    | >W* F    | F        | F       | F      | F over   | ! >PC F
E20 trade, higher rank       | O         | bug     | rank     | rank     | rank     | rank    | rank   | rank     | rank
E21 trade, no higher rank    | O         | bug     | count    | count    | count    | count   | count  | count    | count
E22 FAILED, known key        | O         | bug     | bug      | X Q !m   | X !m     | X !m    | X !m   | X >UNK Q !m | X !m
E23 FAILED, new key          | O tomb    | !       | >W* tomb | >W* tomb | tomb     | tomb    | tomb   | tomb     | ! >PC tomb
E24 CANCELLATION(m)          | O         | !       | >CX V    | >CX V    | >CX V    | >CX V   | V      | V        | V warn
E25 snapshot lists oid(m)    | adopt >PC D ! | !   | >W* V    | >W* V    | V        | V D@    | back   | back     | ! >PC D
E26 snapshot lacks oid       | =         | =       | =        | Q gone5  | >UNK Q   | Q gone  | =      | =        | =
E27 query says null          | =         | bug     | =        | gone5    | >UNK Q   | gone    | =      | =        | =
E28C query says canceled(m)  | adopt !   | bug     | >CX V    | >CX V    | >CX V    | >CX V   | V      | =        | ! V Q
E28M query says matched(m)   | adopt !   | bug     | >UNK V Q | V Q      | V Q      | V Q     | V      | =        | ! V Q
E29 user-stream gap          | =         | >RJ     | w        | w        | >PC      | =       | Q      | Q        | Q
E30 restart replay           | =         | >RJ     | >UNK w   | >UNK w   | >UNK w   | >UNK w  | Q      | Q        | Q
"""


class Event(enum.StrEnum):
    """The events of TABLE by their catalogue numbers."""

    SUBMIT = "E1"
    GATE_REFUSED = "E2"
    CANCEL_WANTED = "E3"
    CANCEL_ALL = "E4"
    REPLACE_WANTED = "E5"
    ACK_TIMER = "E6"
    CANCEL_TIMER = "E7"
    ACKED = "E8"
    ACK_MATCHED = "E9"
    REJECTED = "E10"
    AMBIGUOUS = "E11"
    DUPLICATED = "E12"
    CANCEL_OK = "E13"
    CANCEL_REFUSED = "E14"
    CANCEL_UNKNOWN = "E15"
    NOT_LISTED = "E16"
    PLACEMENT = "E17"
    UPDATE = "E18"
    TRADE = "E19"
    TRADE_STEP = "E20"
    TRADE_AGAIN = "E21"
    FAILED_KNOWN = "E22"
    FAILED_FIRST = "E23"
    CANCELLATION = "E24"
    SNAPSHOT_LISTS = "E25"
    SNAPSHOT_LACKS = "E26"
    QUERY_NULL = "E27"
    QUERY_CANCELED = "E28C"
    QUERY_MATCHED = "E28M"
    GAP = "E29"
    RESTART = "E30"


class Do(enum.StrEnum):
    """What the executor must do besides what the record already did to itself."""

    DELETE = "delete"
    QUERY = "query"
    FILL = "fill"
    VOID = "void"
    TOMB = "tomb"
    RANK = "rank"
    COUNT = "count"
    ORPHAN = "orphan"
    ADOPT = "adopt"
    HOLD = "hold"
    NEW = "new"
    ALARM = "alarm"  # contradiction: page and cancel all
    ALARM_MARKET = "alarm_market"
    WARN = "warn"
    HALT = "halt"  # more was filled than ordered
    ENDED = "ended"


CR, PN, UNK = OrderState.CREATED, OrderState.PENDING_NEW, OrderState.UNKNOWN
W, PC = OrderState.WORKING, OrderState.PENDING_CANCEL
CX, FL, RJ = OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED
COLUMNS = {"none": None, "CR": CR, "PN": PN, "UNK": UNK, "W": W, "PC": PC, "CX": CX, "FL": FL, "RJ": RJ}
OPEN = frozenset({CR, PN, UNK, W, PC})
# Less than one lot open is nothing: the venue matches in whole lots. The catalogue says "within 0.01"; a whole lot open
# is not taken for nothing here, because it may rest at the venue, which two reads would then call a contradiction.
DUST = LOT


class Order(msgspec.Struct, kw_only=True):
    """One order's record. Invariant: cum_qty is the sum of booked fills; no ended order becomes WORKING again."""

    cl_ord_id: str
    order_id: str
    symbol: str
    asset_id: str
    side: Side
    px: Px
    order_qty: Qty
    epoch: int
    created_ns: Ns
    leg: str = ""  # "bid" or "offer" in Up terms
    up_px: Px = 0
    mirror: bool = False  # placed as the mirror of a sale for want of settled shares
    foreign: bool = False  # not in our journal
    state: OrderState = CR
    cum_qty: Qty = 0
    venue_cum: Qty = 0
    voided: Qty = 0
    cancel_wanted: bool = False
    answered: bool = False  # the gateway told the outcome of the POST
    echoed: bool = False  # the user stream has spoken of it
    since_ns: Ns = 0  # when it entered its state
    sent_ns: Ns = 0
    acked_ns: Ns = 0
    changed_ns: Ns = 0  # last local change or cancel: reads asked sooner than T_snap after it prove nothing
    delete_ns: Ns = 0  # last DELETE
    delete_due_ns: Ns = 0  # next DELETE, 0: none planned
    deletes: int = 0
    query_ns: Ns = 0  # a query asked then is not answered yet, 0: none
    query_due_ns: Ns = 0  # next query, 0: none planned
    queried_ns: Ns = 0  # last query asked
    queries: int = 0  # failed in a row
    empty_query: bool = False  # a query since the last news found nothing
    absent: int = 0  # valid reads in a row without it
    absent_ns: Ns = 0
    listed: int = 0  # valid reads in a row that list it although it ended
    landed: bool = False  # the venue has shown that it took it: by an answer, an event, a fill or a read
    given_up: bool = False  # ended because no read showed it, and it had never landed
    tail_ns: Ns = 0  # ended without a matched size at that time; 0: the size is known
    debt_since_ns: Ns = 0

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def leaves_qty(self) -> Qty:
        return max(0, self.order_qty - self.cum_qty) if self.state in OPEN else 0

    @property
    def debt(self) -> Qty:
        """What the venue says was matched and no trade has shown yet."""
        owed = self.venue_cum - self.cum_qty - self.voided
        return owed if owed >= DUST else 0

    @property
    def exposure(self) -> Qty:
        """What may still be filled or may have been: the bound that every limit counts."""
        if self.state in OPEN or self.tail_ns:
            return max(0, self.order_qty - self.cum_qty, self.debt)
        return 0 if self.state is RJ else self.debt


class Orders:
    """All orders of the wallet. `epoch_of(symbol)` says which epoch is current; an older one may not work.

    `get` finds an order by its id: in `by_id`, or in the archive of those that `ended` a while ago. `live` holds the
    orders that are open or still expose us; `apply` is the only way an order changes.
    """

    def __init__(self, epoch_of: Callable[[str], int], timers: Timers = Timers()) -> None:
        self._epoch_of = epoch_of
        self._timers = timers
        self.by_id: dict[str, Order] = {}
        self.ended = Archive(Order, "order_id")
        self.live: dict[str, Order] = {}
        self.changed_ns: Ns = 0  # last local change or cancel of any order
        self._now: Ns = 0
        self._cum: Qty | None = None
        self._qty: Qty = 0
        self._asked_ns: Ns = 0
        self._event = Event.SUBMIT
        self._do: list[Do] = []

    def add(self, order: Order) -> None:
        assert self.get(order.order_id) is None
        order.since_ns = order.changed_ns = order.created_ns
        self.changed_ns = max(self.changed_ns, order.created_ns)
        self.by_id[order.order_id] = order
        self.live[order.order_id] = order

    def get(self, order_id: str) -> Order | None:
        order = self.by_id.get(order_id)
        if order is None and (order := self.ended.take(order_id)) is not None:
            self.by_id[order_id] = order
        return order

    def of_market(self, symbol: str) -> Iterator[Order]:
        return (order for order in self.live.values() if order.symbol == symbol)

    def open_orders(self) -> list[Order]:
        return [order for order in self.live.values() if order.state in OPEN]

    def on_wire(self, now_ns: Ns) -> bool:
        """Is a POST neither answered nor past its deadline?"""
        limit = self._timers.http_ns
        return any(
            order.state in (PN, UNK) and not order.answered and now_ns - order.sent_ns < limit
            for order in self.live.values()
        )

    def debts(self) -> bool:
        return any(order.debt for order in self.live.values())

    def unresolved(self) -> list[Order]:
        return [order for order in self.live.values() if order.state in (PN, UNK, PC)]

    def deleted(self, order: Order, now_ns: Ns) -> None:
        """A DELETE leaves now."""
        order.delete_ns = order.changed_ns = self.changed_ns = now_ns
        order.delete_due_ns = now_ns + backoff(self._timers.cancel_ns, 4 * self._timers.cancel_ns, order.deletes)
        order.deletes += 1

    def asked(self, order: Order, now_ns: Ns) -> None:
        """A query leaves now."""
        order.query_ns = order.queried_ns = now_ns
        order.query_due_ns = 0

    def query_answered(self, order: Order, asked_ns: Ns) -> None:
        """The query's answer came and its facts were applied."""
        order.query_ns = order.queries = 0
        if order.tail_ns and asked_ns >= order.tail_ns:
            order.tail_ns = 0
        self._after(order)

    def query_failed(self, order: Order, now_ns: Ns) -> None:
        """No usable answer came: it is asked again later."""
        order.query_ns = 0
        order.queries += 1
        order.query_due_ns = now_ns + backoff(self._timers.retry_ns, self._timers.retry_ns_max, order.queries)
        self._after(order)

    def write_off(self, order: Order) -> None:
        """What the venue says was matched and no trade ever showed is given up."""
        order.voided += order.debt
        self._after(order)

    def valid(self, order: Order, asked_ns: Ns) -> bool:
        """May a read asked then be believed about this order?"""
        return asked_ns >= order.changed_ns + self._timers.snap_ns

    def tidy(self, now_ns: Ns) -> None:
        """Pack what ended a while ago, and drop what is older than late events may come."""
        quiet = [
            order
            for order_id, order in self.by_id.items()
            if order_id not in self.live and now_ns - max(order.since_ns, order.changed_ns) > self._timers.pack_ns
        ]
        for order in quiet:
            del self.by_id[order.order_id]
        self.ended.put(quiet, now_ns)
        self.ended.forget(now_ns - self._timers.keep_ns)

    def apply(
        self,
        event: Event,
        order: Order | None,
        now_ns: Ns,
        *,
        cum: Qty | None = None,
        qty: Qty = 0,
        asked_ns: Ns = 0,
    ) -> list[Do]:
        """Run one cell, then the rules that hold after every event.

        `cum` is m of V(m), None where it was not said; `qty` a trade's size; `asked_ns` when a read was asked.
        """
        self._event, self._now, self._cum, self._qty, self._asked_ns = event, now_ns, cum, qty, asked_ns
        self._do = []
        if order is None:
            for code in CELLS[event, None]:
                assert code != "bug", f"{event} for an order we do not know"
                if code in EMIT:
                    self._do.append(EMIT[code])
            return self._do
        if event is Event.SNAPSHOT_LISTS:
            order.absent = 0
        elif event is Event.SNAPSHOT_LACKS:
            order.listed = 0
        for code in CELLS[event, order.state]:
            assert code != "bug", f"{event} in state {order.state}"
            if code in STEPS:
                STEPS[code](self, order)
            elif code in GO:
                self._enter(order, GO[code])
            else:
                self._do.append(EMIT[code])
        self._after(order)
        return self._do

    def _after(self, order: Order) -> None:
        """The rules that hold after every event, in their order; those with a clock in them are the executor's."""
        if order.state in (W, PC, UNK, CX) and order.cum_qty > order.order_qty - DUST:
            self._enter(order, FL)
        if order.cum_qty > order.order_qty + DUST:
            self._do.append(Do.HALT)
        if order.state is W and order.epoch < self._epoch_of(order.symbol):
            self._enter(order, PC)
            self._do.append(Do.DELETE)
        if not order.debt:
            order.debt_since_ns = 0
        elif not order.debt_since_ns:
            order.debt_since_ns = self._now
        if order.state in OPEN or order.exposure or order.query_ns or order.query_due_ns:
            self.live[order.order_id] = order
        else:
            self.live.pop(order.order_id, None)

    def _enter(self, order: Order, state: OrderState) -> None:
        if state is order.state:
            return
        ends = order.state in OPEN and state not in OPEN
        order.state = state
        order.since_ns = self._now
        order.absent = order.listed = 0
        order.empty_query = order.given_up = False
        if state is PC:
            order.cancel_wanted = True
            if not order.delete_due_ns:
                order.delete_due_ns = self._now + self._timers.cancel_ns
        if state in (FL, RJ):
            order.tail_ns = 0
        if ends:
            order.delete_due_ns = 0
            self._do.append(Do.ENDED)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _pass(self, order: Order) -> None:
        return

    def _work(self, order: Order) -> None:
        order.landed = True
        if order.cancel_wanted or order.epoch < self._epoch_of(order.symbol):
            self._enter(order, PC)
            self._do.append(Do.DELETE)
        else:
            self._enter(order, W)

    def _submit(self, order: Order) -> None:
        order.sent_ns = order.changed_ns = self.changed_ns = self._now
        self._enter(order, PN)

    def _cancel(self, order: Order) -> None:
        self._enter(order, CX)
        order.tail_ns = self._now  # until V or a query tells how much was matched

    def _want_cancel(self, order: Order) -> None:
        order.cancel_wanted = True
        if not order.delete_due_ns:
            order.delete_due_ns = self._now + self._timers.cancel_ns

    def _delete_if_wanted(self, order: Order) -> None:
        if order.cancel_wanted:
            self._do.append(Do.DELETE)

    def _delete_if_before(self, order: Order) -> None:
        if order.delete_ns < self._asked_ns:
            self._do.append(Do.DELETE)

    def _query(self, order: Order) -> None:
        if not order.query_due_ns:
            order.query_due_ns = max(self._now, order.queried_ns + self._timers.query_gap_ns)
        self._do.append(Do.QUERY)

    def _raise_cum(self, order: Order) -> None:
        if self._cum is None:
            return
        order.venue_cum = max(order.venue_cum, self._cum)
        if self._event in (Event.CANCELLATION, Event.QUERY_CANCELED):
            order.tail_ns = 0

    def _fill(self, order: Order) -> None:
        order.cum_qty += self._qty
        order.empty_query = False
        self._do.append(Do.FILL)

    def _void(self, order: Order) -> None:
        order.cum_qty -= self._qty
        order.voided += self._qty
        self._do.append(Do.VOID)

    def _tomb(self, order: Order) -> None:
        order.voided += self._qty  # matched and reverted: the venue's cumulative figure may hold it, no trade will
        self._do.append(Do.TOMB)

    def _gone(self, order: Order) -> None:
        if self._event is Event.QUERY_NULL:
            order.empty_query = True
        if self._asked_ns >= order.absent_ns + self._timers.snap_ns or not order.absent:
            order.absent += 1
            order.absent_ns = self._asked_ns
        if order.absent >= 2 and order.empty_query and not order.debt:
            self._cancel(order)
            order.given_up = not order.landed

    def _gone_after_settle(self, order: Order) -> None:
        since = max(order.sent_ns, order.since_ns) if order.voided else order.sent_ns
        if self._now - since >= self._timers.settle_ns:
            self._gone(order)
        elif self._event is Event.QUERY_NULL:
            order.empty_query = True

    def _back(self, order: Order) -> None:
        order.listed += 1
        if order.listed >= 2 or order.given_up:
            self._revive(order)

    def _late(self, order: Order) -> None:
        if order.given_up:
            self._revive(order)

    def _revive(self, order: Order) -> None:
        self._do.append(Do.ALARM)
        self._enter(order, PC)
        self._do.append(Do.DELETE)

    def _over(self, order: Order) -> None:
        if max(order.cum_qty, order.venue_cum) > order.order_qty + DUST:
            self._do.append(Do.ALARM)

    def _reject_if_unmatched(self, order: Order) -> None:
        if order.venue_cum or order.cum_qty:
            self._do.append(Do.ALARM)
            self._query(order)
        else:
            self._enter(order, RJ)


Step = Callable[[Orders, Order], None]

STEPS: dict[str, Step] = {
    "=": Orders._pass,
    ">W*": Orders._work,
    ">PN": Orders._submit,
    ">CX": Orders._cancel,
    "w": Orders._want_cancel,
    "D?": Orders._delete_if_wanted,
    "D@": Orders._delete_if_before,
    "Q": Orders._query,
    "V": Orders._raise_cum,
    "F": Orders._fill,
    "X": Orders._void,
    "tomb": Orders._tomb,
    "gone": Orders._gone,
    "gone5": Orders._gone_after_settle,
    "back": Orders._back,
    "late": Orders._late,
    "over": Orders._over,
    "RJ?": Orders._reject_if_unmatched,
}
GO = {">UNK": UNK, ">PC": PC, ">RJ": RJ}
EMIT = {
    "D": Do.DELETE,
    "O": Do.ORPHAN,
    "adopt": Do.ADOPT,
    "tomb": Do.TOMB,
    "rank": Do.RANK,
    "count": Do.COUNT,
    "hold": Do.HOLD,
    "new": Do.NEW,
    "!": Do.ALARM,
    "!m": Do.ALARM_MARKET,
    "warn": Do.WARN,
}
# Without a record there is nothing to change: only these codes mean something (adopt makes the record, which is then PC).
WITHOUT = {"bug", "=", "O", "adopt", ">PC", "D", "tomb", "new", "!"}
WITH = {"bug", *STEPS, *GO, *EMIT} - {"O", "adopt"}


def parse(table: str) -> dict[tuple[Event, OrderState | None], tuple[str, ...]]:
    """The grid as a lookup by event and state. Raises KeyError or ValueError for a row or code it does not know."""
    head, *rows = (line.split("|") for line in table.strip().splitlines())
    states = [COLUMNS[name.strip()] for name in head[1:]]
    cells: dict[tuple[Event, OrderState | None], tuple[str, ...]] = {}
    for name, *row in rows:
        event = Event(name.split()[0])
        for state, cell in zip(states, row, strict=True):
            codes = tuple(cell.split())
            if not codes or not (WITHOUT if state is None else WITH).issuperset(codes):
                raise ValueError(f"{event} in {state}: {cell!r}")
            cells[event, state] = codes
    return cells


CELLS = parse(TABLE)
