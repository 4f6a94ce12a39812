"""The order table, all 270 cells: 30 events in 9 columns, as the fault catalogue has them, and what its guards decide.

CATALOGUE is written from the catalogue and in its notation, not from the code's TABLE: put the three side by side.
A cell says where the order goes and what must be done, in that order. Guarded cells show their plain case here
(`?` marks them); what each guard decides is tested below.
"""

from __future__ import annotations

import msgspec
import pytest
from desk_fake import SYMBOL, UP

from bot.execution.orders import CELLS, COLUMNS, TABLE, Do, Event, Order, Orders, parse
from bot.execution.timers import Timers
from bot.messages import OrderState, Side
from bot.units import LOT, NS_PER_S, QTY_ONE, Ns

CATALOGUE = """
    | none       | CR       | PN         | UNK        | W         | PC       | CX     | FL          | RJ
E1  | bug        | →PN      | bug        | bug        | bug       | bug      | bug    | bug         | bug
E2  | bug        | →RJ      | →RJ        | →RJ        | bug       | bug      | =      | bug         | bug
E3  | =          | →RJ      | w D        | w D        | →PC D     | =        | =      | =           | =
E4  | =          | →RJ      | w          | w          | →PC       | =        | =      | =           | =
E5  | new        | →RJ new  | w D hold   | w D hold   | →PC D hold| hold     | new    | new         | new
E6  | =          | =        | →UNK Q     | Q          | =         | =        | =      | =           | =
E7  | =          | =        | ?          | ?          | =         | D        | =      | =           | =
E8  | !          | bug      | →W         | →W         | =         | =        | ?      | =           | ! →PC D
E9  | !          | bug      | →W V Q     | →W V Q     | V Q       | V Q      | V Q    | =           | ! →PC V Q
E10 | !          | bug      | →RJ        | →RJ ?      | ! Q       | Q        | =      | ! Q         | =
E11 | =          | bug      | →UNK Q     | Q          | =         | =        | =      | =           | =
E12 | =          | bug      | →UNK Q     | Q          | =         | =        | =      | =           | ! →PC D
E13 | =          | bug      | →CX Q      | →CX Q      | →CX Q     | →CX Q    | =      | =           | !
E14 | =          | bug      | w          | w Q        | →PC Q     | Q        | =      | =           | =
E15 | =          | bug      | w          | w          | →PC       | =        | =      | =           | =
E16 | =          | =        | w          | w Q        | →PC D     | D        | =      | =           | =
E17 | O          | !        | →W         | →W         | =         | =        | ?      | =           | ! →PC D
E18 | O          | !        | →W V       | →W V       | V         | V        | V      | V ?         | ! →PC V
E19 | O          | !        | →W F       | →W F       | F         | F        | F      | F ! halt ?  | ! →PC F
E20 | O          | bug      | rank       | rank       | rank      | rank     | rank   | rank        | rank
E21 | O          | bug      | count      | count      | count     | count    | count  | count       | count
E22 | O          | bug      | bug        | X Q !m     | X !m      | X !m     | X !m   | X →UNK Q !m | X !m
E23 | O tomb     | !        | →W tomb    | →W tomb    | tomb      | tomb     | tomb   | tomb        | ! →PC tomb
E24 | O          | !        | →CX V      | →CX V      | →CX V     | →CX V    | V      | V           | V A2
E25 | adopt D !  | !        | →W V       | →W V       | V         | V D ?    | ?      | ?           | ! →PC D
E26 | =          | =        | =          | Q ?        | →UNK Q    | Q ?      | =      | =           | =
E27 | =          | bug      | =          | ?          | →UNK Q    | ?        | =      | =           | =
E28C| adopt !    | bug      | →CX V      | →CX V      | →CX V     | →CX V    | V      | =           | ! V Q
E28M| adopt !    | bug      | →UNK V Q   | V Q        | V Q       | V Q      | V      | =           | ! V Q
E29 | =          | →RJ      | w          | w          | →PC       | =        | Q      | Q           | Q
E30 | =          | →RJ      | →UNK w     | →UNK w     | →UNK w    | →UNK w   | Q      | Q           | Q
"""
DOES = {
    "D": Do.DELETE, "Q": Do.QUERY, "F": Do.FILL, "X": Do.VOID, "tomb": Do.TOMB, "rank": Do.RANK, "count": Do.COUNT,
    "O": Do.ORPHAN, "adopt": Do.ADOPT, "hold": Do.HOLD, "new": Do.NEW, "!": Do.ALARM, "!m": Do.ALARM_MARKET,
    "A2": Do.WARN, "halt": Do.HALT,
}  # fmt: skip
STATES = dict(
    zip(("none", "CR", "PN", "UNK", "W", "PC", "CX", "FL", "RJ"), (None, *OrderState), strict=True)
)  # the columns are the states in the order of their life
HEAD, *ROWS = ([word.strip() for word in line.split("|")] for line in CATALOGUE.strip("\n").splitlines())
EVENTS = [f"E{number}" for number in range(1, 31)]
HALVES = {"E28": ("E28C", "E28M")}  # one row of the catalogue: what the query says decides
SAYS = {(name, column): cell.split() for name, *cells in ROWS for column, cell in zip(HEAD[1:], cells, strict=True)}
CELL_IDS = [f"{event}-{column}" for event in EVENTS for column in STATES]

TIMERS = Timers()
TWENTY, FIVE, THREE = 20 * QTY_ONE, 5 * QTY_ONE, 3 * QTY_ONE
T: Ns = 100 * NS_PER_S
EPOCH = 1


def an_order(state: OrderState, **given: object) -> tuple[Orders, Order]:
    """Twenty shares sent long ago, at the current epoch; FILLED has them all."""
    orders = Orders(epoch_of=lambda symbol: EPOCH, timers=TIMERS)
    fields: dict[str, object] = {
        "cl_ord_id": "c", "order_id": "o", "symbol": SYMBOL, "asset_id": UP, "side": Side.BUY, "px": 5000,
        "order_qty": TWENTY, "epoch": EPOCH, "created_ns": NS_PER_S, "sent_ns": NS_PER_S, "state": state,
        "cancel_wanted": state is OrderState.PENDING_CANCEL,
    }  # fmt: skip
    if state is OrderState.FILLED:
        fields |= {"cum_qty": TWENTY, "venue_cum": TWENTY}
    order = Order(**{**fields, **given})  # type: ignore[arg-type]
    orders.add(order)
    return orders, order


def applied(orders: Orders, event: Event, order: Order | None, now_ns: Ns = T) -> list[Do]:
    done = orders.apply(event, order, now_ns, cum=FIVE, qty=THREE, asked_ns=now_ns)
    return [do for do in done if do is not Do.ENDED]


@pytest.mark.parametrize("cell", CELL_IDS)
def test_cell(cell: str) -> None:
    event, column = cell.split("-")
    for half in HALVES.get(event, (event,)):
        check(Event(half), STATES[column], SAYS[half, column])


def check(event: Event, state: OrderState | None, says: list[str]) -> None:
    orders, order = (Orders(epoch_of=lambda symbol: EPOCH), None) if state is None else an_order(state)
    if says == ["bug"]:
        with pytest.raises(AssertionError):
            orders.apply(event, order, T)
        return
    before = msgspec.structs.asdict(order) if order is not None else {}
    assert applied(orders, event, order) == [DOES[word] for word in says if word in DOES]
    if order is None:
        return
    after = msgspec.structs.asdict(order)
    if says in (["="], ["rank"], ["count"], ["new"], ["hold"]):
        assert after == before
        return
    goes = [word[1:] for word in says if word.startswith("→")]
    assert order.state is (STATES[goes[0]] if goes else state)
    assert order.since_ns == (NS_PER_S if order.state is state else T)
    ends_up_wanted = "w" in says or "PC" in goes
    assert order.cancel_wanted is (before["cancel_wanted"] or ends_up_wanted)
    assert order.venue_cum == (max(before["venue_cum"], FIVE) if "V" in says else before["venue_cum"])
    moved = THREE * (("F" in says) - ("X" in says))
    assert order.cum_qty == before["cum_qty"] + moved
    assert order.voided == (THREE if "X" in says or "tomb" in says else 0)
    assert (order.query_due_ns > 0) is ("Q" in says)
    if ends_up_wanted and order.is_open:
        assert order.delete_due_ns == T + TIMERS.cancel_ns


def test_270_of_270_cells_are_tested() -> None:
    (mark,) = [mark for mark in test_cell.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    tested = set(mark.args[1])
    assert len(tested) == 30 * 9 == 270
    told = {(event.value.rstrip("CM"), column) for event in Event for column in COLUMNS}
    assert {tuple(cell.split("-")) for cell in tested} == told
    assert set(SAYS) == {(event.value, column) for event in Event for column in COLUMNS}
    assert set(CELLS) == {(event, state) for event in Event for state in STATES.values()}


def test_no_cell_leads_from_an_ended_order_back_to_work() -> None:
    for (_, state), codes in CELLS.items():
        if state in (OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED):
            assert ">W*" not in codes


@pytest.mark.parametrize(
    "row", ["E1 x | nonsense", "E1 x | >PC nonsense", "E1 x | O", "E1 x | adopt", "E1 x |", "E99 x | =", "E1 x | = | ="]
)
def test_a_table_with_a_word_that_means_nothing_is_refused(row: str) -> None:
    with pytest.raises(ValueError):
        parse(f"event | PN\n{row}")
    with pytest.raises((KeyError, ValueError)):
        parse("event | XX\nE1 x | =")


def test_without_a_record_only_a_few_words_mean_anything() -> None:
    with pytest.raises(ValueError, match="E1 in None"):
        parse("event | none\nE1 x | Q")
    assert parse("event | none\nE1 x | O tomb") == {(Event.SUBMIT, None): ("O", "tomb")}
    assert len(parse(TABLE)) == 31 * 9


# -- guards ----------------------------------------------------------------------------------------------------------

LANDS = ["E8", "E9", "E17", "E18", "E19", "E23", "E25"]  # →W*


@pytest.mark.parametrize("given", [{"cancel_wanted": True}, {"epoch": EPOCH - 1}], ids=["wanted", "old-epoch"])
@pytest.mark.parametrize("state", [OrderState.PENDING_NEW, OrderState.UNKNOWN])
@pytest.mark.parametrize("event", LANDS)
def test_an_order_that_lands_although_nobody_wants_it_any_more_is_cancelled_at_once(
    event: str, state: OrderState, given: dict[str, object]
) -> None:
    orders, order = an_order(state, **given)
    assert applied(orders, Event(event), order)[0] is Do.DELETE
    assert (order.state, order.cancel_wanted) == (OrderState.PENDING_CANCEL, True)


@pytest.mark.parametrize("state", [OrderState.PENDING_NEW, OrderState.UNKNOWN])
def test_a_delete_is_repeated_by_its_timer_only_if_cancel_was_wanted(state: OrderState) -> None:
    orders, order = an_order(state, cancel_wanted=True)
    assert applied(orders, Event.CANCEL_TIMER, order) == [Do.DELETE]


@pytest.mark.parametrize("given", [{"venue_cum": 1}, {"cum_qty": 1}])
def test_a_reject_of_an_order_that_was_matched_is_a_contradiction(given: dict[str, object]) -> None:
    orders, order = an_order(OrderState.UNKNOWN, **given)
    assert applied(orders, Event.REJECTED, order) == [Do.ALARM, Do.QUERY]
    assert order.state is OrderState.UNKNOWN


@pytest.mark.parametrize(("event", "does"), [(Event.UPDATE, []), (Event.TRADE, [Do.FILL])], ids=["UPDATE", "trade"])
def test_a_filled_order_that_is_told_to_be_fuller_is_a_contradiction_from_a_lot_on(
    event: Event, does: list[Do]
) -> None:
    for more, alarm in ((LOT, []), (LOT + 1, [Do.ALARM])):
        orders, order = an_order(OrderState.FILLED)
        done = orders.apply(event, order, T, cum=TWENTY + more, qty=more)
        halt = [Do.HALT] if alarm and event is Event.TRADE else []
        assert done == does + alarm + halt


@pytest.mark.parametrize(("delete_ns", "does"), [(T - 1, [Do.DELETE]), (T, [])])
def test_a_listed_order_is_deleted_again_unless_the_last_delete_is_younger_than_the_read(
    delete_ns: Ns, does: list[Do]
) -> None:
    orders, order = an_order(OrderState.PENDING_CANCEL, delete_ns=delete_ns)
    assert applied(orders, Event.SNAPSHOT_LISTS, order) == does


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.FILLED])
def test_an_ended_order_must_be_listed_twice_in_a_row_before_it_is_believed(state: OrderState) -> None:
    orders, order = an_order(state)
    assert applied(orders, Event.SNAPSHOT_LISTS, order) == []
    applied(orders, Event.SNAPSHOT_LACKS, order)
    assert applied(orders, Event.SNAPSHOT_LISTS, order) == []
    assert applied(orders, Event.SNAPSHOT_LISTS, order, T + 1) == [Do.ALARM, Do.DELETE]
    # All of a FILLED order was matched: no list outweighs that.
    assert order.state is (OrderState.PENDING_CANCEL if state is OrderState.CANCELED else state)
    assert applied(orders, Event.SNAPSHOT_LISTS, order, T + 2) == (
        [Do.DELETE] if state is OrderState.CANCELED else []
    )  # counted anew


def absent(
    state: OrderState, *events: Event, apart_ns: Ns = TIMERS.snap_ns, start_ns: Ns = T, **given: object
) -> Order:
    """An order after a row of reads, each asked `apart_ns` after the one before it."""
    orders, order = an_order(state, **given)
    for number, event in enumerate(events):
        at_ns = start_ns + number * apart_ns
        orders.apply(event, order, at_ns, asked_ns=at_ns)
    return order


LACKS, NULL = Event.SNAPSHOT_LACKS, Event.QUERY_NULL
BOTH = pytest.mark.parametrize("state", [OrderState.UNKNOWN, OrderState.PENDING_CANCEL])


@BOTH
@pytest.mark.parametrize("events", [(LACKS, NULL), (NULL, LACKS), (NULL, NULL)])
def test_an_order_absent_twice_with_an_empty_query_has_ended(state: OrderState, events: tuple[Event, ...]) -> None:
    order = absent(state, *events)
    assert (order.state, order.tail_ns) == (OrderState.CANCELED, T + TIMERS.snap_ns)
    assert order.exposure == TWENTY  # until its trades are read again


@BOTH
@pytest.mark.parametrize("events", [(LACKS,), (NULL,), (LACKS, LACKS, LACKS)])
def test_an_order_absent_once_or_never_asked_for_has_not_ended(state: OrderState, events: tuple[Event, ...]) -> None:
    assert absent(state, *events).state is state


@BOTH
def test_two_reads_asked_at_once_count_as_one(state: OrderState) -> None:
    assert absent(state, NULL, NULL, apart_ns=TIMERS.snap_ns - 1).state is state


@BOTH
def test_reads_without_it_end_no_order_with_a_debt(state: OrderState) -> None:
    assert absent(state, NULL, NULL, NULL, venue_cum=LOT).state is state


@BOTH
def test_a_read_that_lists_it_starts_the_count_anew(state: OrderState) -> None:
    orders, order = an_order(OrderState.PENDING_CANCEL)
    for number, event in enumerate((NULL, Event.SNAPSHOT_LISTS, NULL, NULL)):
        assert order.is_open
        orders.apply(event, order, T + number * NS_PER_S, asked_ns=T + number * NS_PER_S)
    assert order.state is OrderState.CANCELED


def test_a_fill_takes_back_the_word_of_an_empty_query() -> None:
    orders, order = an_order(OrderState.PENDING_CANCEL)
    orders.apply(NULL, order, T, asked_ns=T)
    orders.apply(Event.TRADE, order, T + 1, qty=THREE)
    orders.apply(LACKS, order, T + NS_PER_S, asked_ns=T + NS_PER_S)
    assert order.state is OrderState.PENDING_CANCEL
    orders.apply(NULL, order, T + 2 * NS_PER_S, asked_ns=T + 2 * NS_PER_S)
    assert order.state is OrderState.CANCELED


SENT = T - TIMERS.settle_ns


@pytest.mark.parametrize(("sent_ns", "state"), [(SENT, OrderState.CANCELED), (SENT + 1, OrderState.UNKNOWN)])
def test_an_unknown_order_is_not_given_up_before_t_settle(sent_ns: Ns, state: OrderState) -> None:
    # Reads before T_settle do not count, but what an early query found empty stays found.
    early = T - TIMERS.snap_ns
    order = absent(OrderState.UNKNOWN, NULL, LACKS, LACKS, start_ns=early, sent_ns=sent_ns)
    assert order.state is state
    assert absent(OrderState.PENDING_CANCEL, NULL, LACKS, start_ns=early, sent_ns=T).state is OrderState.CANCELED


LATE = pytest.mark.parametrize("event", [Event.ACKED, Event.PLACEMENT, Event.SNAPSHOT_LISTS])


@LATE
def test_an_order_given_up_unseen_that_the_venue_took_after_all_is_cancelled_at_once(event: Event) -> None:
    orders, order = an_order(OrderState.UNKNOWN)
    for at_ns in (T, T + TIMERS.snap_ns):
        applied(orders, NULL, order, at_ns)
    assert order.state is OrderState.CANCELED
    assert applied(orders, event, order, T + NS_PER_S) == [Do.ALARM, Do.DELETE]
    assert (order.state, order.cancel_wanted, order.exposure) == (OrderState.PENDING_CANCEL, True, TWENTY)


@LATE
@pytest.mark.parametrize("wanted", [False, True], ids=["working", "pending-cancel"])
@pytest.mark.parametrize("word", [Event.ACKED, Event.PLACEMENT, Event.SNAPSHOT_LISTS, Event.UPDATE])
def test_an_order_the_venue_once_spoke_of_ends_by_reads_and_an_old_word_revives_it_not(
    event: Event, word: Event, wanted: bool
) -> None:
    orders, order = an_order(OrderState.UNKNOWN, cancel_wanted=wanted)
    orders.apply(word, order, T - NS_PER_S, cum=0)
    assert order.state is (OrderState.PENDING_CANCEL if wanted else OrderState.WORKING)
    for number in range(3):  # the first makes a working one unknown
        at_ns = T + number * TIMERS.snap_ns
        orders.apply(NULL, order, at_ns, asked_ns=at_ns)
    assert order.state is OrderState.CANCELED
    assert applied(orders, event, order, T + 2 * NS_PER_S) == []
    assert order.state is OrderState.CANCELED


@LATE
def test_an_order_that_came_late_and_was_cancelled_has_ended_for_good(event: Event) -> None:
    orders, order = an_order(OrderState.UNKNOWN)
    for at_ns in (T, T + TIMERS.snap_ns):
        applied(orders, NULL, order, at_ns)
    applied(orders, Event.PLACEMENT, order, T + NS_PER_S)
    applied(orders, Event.CANCELLATION, order, T + 2 * NS_PER_S)
    assert applied(orders, event, order, T + 3 * NS_PER_S) == []
    assert order.state is OrderState.CANCELED


def test_a_voided_order_gets_t_settle_from_its_void_on() -> None:
    for voided, state in ((0, OrderState.CANCELED), (THREE, OrderState.UNKNOWN)):
        orders, order = an_order(OrderState.UNKNOWN, voided=voided)
        order.since_ns = T
        for at_ns in (T, T + NS_PER_S, T + 2 * NS_PER_S):
            orders.apply(NULL, order, at_ns, asked_ns=at_ns)
        assert order.state is state
    for at_ns in (T + TIMERS.settle_ns, T + TIMERS.settle_ns + NS_PER_S):
        orders.apply(NULL, order, at_ns, asked_ns=at_ns)
    assert order.state is OrderState.CANCELED


def test_the_epoch_that_counts_is_that_of_the_orders_market() -> None:
    orders = Orders(epoch_of={SYMBOL: EPOCH, "0xb": EPOCH + 1}.__getitem__)
    _, first = an_order(OrderState.PENDING_NEW)
    second = msgspec.structs.replace(first, order_id="p", symbol="0xb")
    for order in (first, second):
        orders.add(order)
    assert [orders.apply(Event.ACKED, order, T) for order in (first, second)] == [[], [Do.DELETE]]


def test_voids_and_debts_written_off_add_up() -> None:
    orders, order = an_order(OrderState.WORKING, cum_qty=FIVE)
    for _ in range(2):
        orders.apply(Event.FAILED_KNOWN, order, T, qty=QTY_ONE)
    orders.apply(Event.FAILED_FIRST, order, T, qty=QTY_ONE)
    assert (order.voided, order.cum_qty) == (THREE, FIVE - 2 * QTY_ONE)
    orders.apply(Event.CANCELLATION, order, T, cum=FIVE + THREE)
    assert order.debt == 2 * QTY_ONE
    orders.write_off(order)
    assert (order.debt, order.voided, orders.live) == (0, FIVE, {})


# -- what holds after every event ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [OrderState.WORKING, OrderState.PENDING_CANCEL, OrderState.UNKNOWN, OrderState.CANCELED]
)
@pytest.mark.parametrize(("left", "filled"), [(LOT - 1, True), (LOT, False), (-LOT, True)])
def test_less_than_a_lot_left_or_over_counts_as_filled(state: OrderState, left: int, filled: bool) -> None:
    orders, order = an_order(state)
    done = orders.apply(Event.TRADE, order, T, qty=TWENTY - left)
    lands = OrderState.WORKING if state is OrderState.UNKNOWN else state
    assert order.state is (OrderState.FILLED if filled else lands)
    assert order.cum_qty == TWENTY - left
    assert Do.HALT not in done
    assert (Do.ENDED in done) is (filled and state is not OrderState.CANCELED)


def test_a_filled_order_has_no_tail_for_its_size_is_known() -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.apply(Event.CANCEL_OK, order, T)
    assert order.tail_ns == T
    orders.apply(Event.TRADE, order, T, qty=TWENTY - LOT + 1)
    assert (order.state, order.tail_ns, order.exposure) == (OrderState.FILLED, 0, 0)


def test_more_than_was_ordered_halts_and_stays_true() -> None:
    orders, order = an_order(OrderState.WORKING)
    assert orders.apply(Event.TRADE, order, T, qty=TWENTY + LOT + 1) == [Do.FILL, Do.ENDED, Do.HALT]
    assert (order.cum_qty, order.state) == (TWENTY + LOT + 1, OrderState.FILLED)


def test_a_working_order_of_an_old_epoch_is_cancelled_by_whatever_comes_next() -> None:
    orders, order = an_order(OrderState.WORKING, epoch=EPOCH - 1)
    assert orders.apply(Event.PLACEMENT, order, T) == [Do.DELETE]
    assert order.state is OrderState.PENDING_CANCEL


@pytest.mark.parametrize("state", list(OrderState))
def test_exposure_is_all_that_may_still_fill_or_may_have_filled(state: OrderState) -> None:
    _, order = an_order(state, cum_qty=FIVE, venue_cum=FIVE + THREE)
    open_ones = (OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED)
    expected = {OrderState.CANCELED: THREE, OrderState.FILLED: THREE, OrderState.REJECTED: 0}
    assert order.exposure == (expected[state] if state in open_ones else TWENTY - FIVE)
    assert order.leaves_qty == (0 if state in open_ones else TWENTY - FIVE)
    order.venue_cum = TWENTY + FIVE  # a debt beyond the order's size
    if state in open_ones:
        assert order.exposure == (0 if state is OrderState.REJECTED else TWENTY)
    else:
        assert order.exposure == TWENTY


def test_less_than_a_lot_owed_is_no_debt() -> None:
    _, order = an_order(OrderState.WORKING, cum_qty=FIVE, voided=THREE, venue_cum=FIVE + THREE + LOT - 1)
    assert order.debt == 0
    order.venue_cum += 1
    assert order.debt == LOT


@pytest.mark.parametrize(
    ("event", "tail"),
    [(Event.CANCEL_OK, True), (Event.CANCELLATION, False), (Event.QUERY_CANCELED, False)],
)
def test_the_tail_stays_exposed_where_the_end_said_no_matched_size(event: Event, tail: bool) -> None:
    orders, order = an_order(OrderState.WORKING, cum_qty=FIVE)
    orders.apply(event, order, T, cum=FIVE)
    assert order.exposure == (TWENTY - FIVE if tail else 0)


@pytest.mark.parametrize("event", [Event.CANCELLATION, Event.QUERY_CANCELED])
def test_a_matched_size_told_later_ends_the_tail(event: Event) -> None:
    orders, order = an_order(OrderState.WORKING)
    applied(orders, Event.CANCEL_OK, order)
    applied(orders, Event.UPDATE, order)
    assert order.exposure == TWENTY  # an UPDATE may be old
    applied(orders, event, order)
    assert order.exposure == FIVE  # the debt
    orders.apply(Event.TRADE, order, T, qty=FIVE)
    assert order.exposure == 0


@pytest.mark.parametrize(("asked_ns", "exposure"), [(T - 1, TWENTY), (T, 0)])
def test_only_a_query_asked_after_the_end_ends_the_tail(asked_ns: Ns, exposure: int) -> None:
    orders, order = an_order(OrderState.WORKING)
    applied(orders, Event.CANCEL_OK, order)
    orders.asked(order, asked_ns)
    orders.query_answered(order, asked_ns)
    assert (order.exposure, order.tail_ns) == (exposure, T if exposure else 0)
    assert (order.order_id in orders.live) is bool(exposure)


@pytest.mark.parametrize("event", [Event.CANCELLATION, Event.QUERY_CANCELED, Event.UPDATE])
def test_a_matched_size_that_was_not_said_is_not_nothing(event: Event) -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.apply(event, order, T, cum=None)
    assert (order.exposure, order.venue_cum) == (TWENTY, 0)


def test_a_failed_query_ends_no_tail() -> None:
    orders, order = an_order(OrderState.WORKING)
    applied(orders, Event.CANCEL_OK, order)
    orders.asked(order, T)
    orders.query_failed(order, T + NS_PER_S)
    assert order.exposure == TWENTY


def test_a_debt_is_as_old_as_its_first_moment() -> None:
    orders, order = an_order(OrderState.WORKING)
    applied(orders, Event.UPDATE, order)
    orders.apply(Event.UPDATE, order, T + NS_PER_S, cum=FIVE + THREE)
    assert order.debt_since_ns == T
    orders.apply(Event.TRADE, order, T + NS_PER_S, qty=FIVE + THREE)
    assert (order.debt_since_ns, order.debt) == (0, 0)


def test_an_ended_order_is_live_as_long_as_it_exposes_us_or_is_asked_for() -> None:
    orders, order = an_order(OrderState.WORKING)
    applied(orders, Event.CANCELLATION, order)
    assert orders.debts() and orders.live == {"o": order} and orders.open_orders() == []
    orders.apply(Event.TRADE, order, T, qty=FIVE)
    assert orders.live == {} and not orders.debts() and orders.by_id == {"o": order}
    applied(orders, Event.GAP, order)  # asks
    assert orders.live == {"o": order}
    orders.asked(order, T)
    assert orders.live == {"o": order}
    orders.query_answered(order, T)
    assert orders.live == {}


# -- timers and reads of one order -----------------------------------------------------------------------------------


def test_deletes_are_planned_ever_later_up_to_four_times_t_cxl() -> None:
    orders, order = an_order(OrderState.PENDING_CANCEL)
    waits = []
    for number in range(4):
        orders.deleted(order, T + number)
        waits.append((order.delete_due_ns - T - number) // TIMERS.cancel_ns)
        assert (order.delete_ns, order.changed_ns, orders.changed_ns) == (T + number,) * 3
    assert waits == [1, 2, 4, 4]
    assert order.deletes == 4
    applied(orders, Event.CANCEL_OK, order)
    assert order.delete_due_ns == 0


def test_a_planned_delete_is_not_put_off_by_a_second_wish() -> None:
    orders, order = an_order(OrderState.PENDING_NEW)
    applied(orders, Event.CANCEL_ALL, order)
    applied(orders, Event.CANCEL_ALL, order, T + NS_PER_S)
    applied(orders, Event.ACKED, order, T + NS_PER_S)
    assert order.delete_due_ns == T + TIMERS.cancel_ns


def test_queries_of_one_order_are_a_gap_apart_and_failed_ones_ever_later() -> None:
    orders, order = an_order(OrderState.UNKNOWN)
    applied(orders, Event.ACK_TIMER, order)
    assert order.query_due_ns == T
    applied(orders, Event.ACK_TIMER, order, T + 1)
    assert order.query_due_ns == T  # planned is planned
    orders.asked(order, T)
    assert (order.query_ns, order.queried_ns, order.query_due_ns) == (T, T, 0)
    applied(orders, Event.ACK_TIMER, order, T + 1)
    assert order.query_due_ns == T + TIMERS.query_gap_ns
    waits = []
    for _ in range(5):
        orders.query_failed(order, T)
        waits.append(order.query_due_ns - T)
    assert waits == [round(s * NS_PER_S) for s in (1, 2, 4, 4, 4)]
    orders.query_answered(order, T)
    assert (order.queries, order.query_ns) == (0, 0)


def test_a_read_is_believed_from_t_snap_after_the_last_change_on() -> None:
    orders, order = an_order(OrderState.CREATED)
    applied(orders, Event.SUBMIT, order)
    assert (order.sent_ns, order.changed_ns, orders.changed_ns) == (T, T, T)
    assert not orders.valid(order, T + TIMERS.snap_ns - 1)
    assert orders.valid(order, T + TIMERS.snap_ns)


@pytest.mark.parametrize("state", [OrderState.PENDING_NEW, OrderState.UNKNOWN])
def test_a_post_is_on_the_wire_until_it_is_answered_or_past_its_deadline(state: OrderState) -> None:
    orders, order = an_order(state, sent_ns=T)
    assert orders.on_wire(T + TIMERS.http_ns - 1)
    assert not orders.on_wire(T + TIMERS.http_ns)
    order.answered = True
    assert not orders.on_wire(T)


@pytest.mark.parametrize("state", list(OrderState))
def test_unresolved_are_the_orders_that_wait_for_the_venues_word(state: OrderState) -> None:
    orders, _ = an_order(state, sent_ns=T)
    waits = state in (OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL)
    assert len(orders.unresolved()) == waits
    assert orders.on_wire(T) is (waits and state is not OrderState.PENDING_CANCEL)


def test_what_ended_is_packed_when_nothing_was_heard_of_it_and_found_for_a_day() -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.tidy(T + TIMERS.pack_ns + 1)
    assert set(orders.by_id) == {"o"}, "it is live"
    orders.apply(Event.CANCELLATION, order, T, cum=0)
    orders.tidy(T + TIMERS.pack_ns)
    assert set(orders.by_id) == {"o"} and not len(orders.ended)
    packed_ns = T + TIMERS.pack_ns + 1
    orders.tidy(packed_ns)
    assert not orders.by_id and len(orders.ended) == 1
    orders.tidy(packed_ns + TIMERS.keep_ns)
    found = orders.get("o")
    assert found == order and found is orders.get("o") is orders.by_id["o"] and not len(orders.ended)
    orders.tidy(packed_ns + TIMERS.keep_ns)
    orders.tidy(packed_ns + 2 * TIMERS.keep_ns + 1)
    assert orders.get("o") is None


def test_a_change_of_what_ended_keeps_it_at_hand() -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.apply(Event.CANCELLATION, order, T, cum=0)
    order.changed_ns = T + 5
    orders.tidy(T + 5 + TIMERS.pack_ns)
    assert set(orders.by_id) == {"o"}
    orders.tidy(T + 6 + TIMERS.pack_ns)
    assert not orders.by_id


def test_a_late_fill_finds_the_order_that_was_packed() -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.apply(Event.CANCELLATION, order, T, cum=0)
    orders.tidy(T + TIMERS.pack_ns + 1)
    late = orders.get("o")
    assert late is not None
    orders.apply(Event.TRADE, late, T, qty=5)
    assert orders.by_id["o"].cum_qty == 5


def test_the_id_of_a_packed_order_is_taken() -> None:
    orders, order = an_order(OrderState.WORKING)
    orders.apply(Event.CANCELLATION, order, T, cum=0)
    orders.tidy(T + TIMERS.pack_ns + 1)
    with pytest.raises(AssertionError):
        orders.add(order)


def test_one_id_has_one_record() -> None:
    orders, order = an_order(OrderState.WORKING)
    with pytest.raises(AssertionError):
        orders.add(order)
    assert (order.since_ns, order.changed_ns, orders.changed_ns) == (order.created_ns,) * 3
