"""The bot's state: how a cancel-all is confirmed, when quoting begins again, and what others see of it meanwhile."""

from __future__ import annotations

from itertools import pairwise

import pytest
from desk_fake import SYMBOL, TICKS_MAX, UP

from bot.execution.orders import Event, Order, Orders
from bot.execution.recovery import Ask, Recovery
from bot.execution.timers import Timers
from bot.messages import (
    BalanceRequest,
    BotState,
    GateChange,
    MassCancel,
    MassCancelReport,
    Message,
    OpenOrder,
    OpenOrders,
    OrderMassStatusRequest,
    OrderState,
    Side,
    TradesRequest,
)
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE, Ns

S, MS = NS_PER_S, NS_PER_MS
T0 = 1000 * S
TIMERS = Timers()
ROW = OpenOrder(order_id="o", symbol=SYMBOL, asset_id=UP, side=Side.BUY, px=5000, order_qty=QTY_ONE, cum_qty=0)


class Story:
    """A recovery, its orders and a clock; nothing is answered but by the test."""

    def __init__(self, *, clean_start: bool = True) -> None:
        self.recovery = Recovery(TIMERS, clean_start=clean_start)
        self.orders = Orders(lambda symbol: 0, TIMERS)
        self.now: Ns = T0
        self.said: list[Message] = []
        self.answered = 0  # of what was said
        self.steps = 0

    @property
    def state(self) -> BotState:
        return self.recovery.state

    def step(self, ms: float = 50) -> list[Message]:
        self.now += round(ms * MS)
        self.steps += 1
        assert self.steps < TICKS_MAX, "what the test waits for never comes"
        said = self.recovery.step(self.now, self.now, self.orders)
        self.said += said
        return said

    def order(self, state: OrderState, **given: object) -> Order:
        order = Order(
            cl_ord_id="c", order_id=f"o{len(self.orders.by_id)}", symbol=SYMBOL, asset_id=UP, side=Side.BUY, px=5000,
            order_qty=QTY_ONE, epoch=0, created_ns=self.now, state=state, sent_ns=self.now, **given,  # type: ignore[arg-type]
        )  # fmt: skip
        self.orders.add(order)
        return order

    def canceled(self, *, known: bool = True, ago_ms: float = 0) -> None:
        report = MassCancelReport(symbol="", known=known, asked_ns=self.now - round(ago_ms * MS))
        self.recovery.mass_cancel_told(report, self.now)

    def read(self, *rows: OpenOrder, known: bool = True, ago_ms: float = 0) -> list[Message]:
        asked_ns = self.now - round(ago_ms * MS)
        report = OpenOrders(orders=rows if known else None, asked_ns=asked_ns, recv_ns=self.now)
        said = self.recovery.open_orders_told(report, self.now, self.orders)
        self.said += said
        return said

    def obey(self, seconds: float) -> list[str]:
        """Every request is answered well and at once; returns the states on the way."""
        states = [self.state.value]
        for _ in range(round(seconds * 20)):
            requests, self.answered = self.said[self.answered :], len(self.said)
            for request in requests:
                match request:
                    case MassCancel():
                        self.canceled()
                    case OrderMassStatusRequest(asked_ns=asked_ns):
                        self.read(ago_ms=(self.now - asked_ns) / MS)
                    case TradesRequest(asked_ns=asked_ns):
                        self.recovery.trades_told(asked_ns, self.now, known=True)
                    case BalanceRequest(asked_ns=asked_ns):
                        self.recovery.balance_told(asked_ns, self.now, known=True)
            self.step()
            if self.state.value != states[-1]:
                states.append(self.state.value)
        return states

    def quoting(self) -> Story:
        self.recovery.user_up = True
        self.obey(0.5)
        assert self.state is BotState.QUOTING
        self.said.clear()
        self.answered = 0
        return self


def kinds(said: list[Message]) -> list[type[Message]]:
    return [type(message) for message in said]


# -- one kind of request ---------------------------------------------------------------------------------------------


def test_one_request_of_a_kind_is_on_its_way_and_an_overdue_answer_counts_as_none() -> None:
    ask = Ask(TIMERS)
    assert ask.ready(T0)
    ask.sent(T0)
    assert not ask.ready(T0 + TIMERS.read_deadline_ns)
    assert ask.sent_ns == T0
    assert not ask.ready(T0 + TIMERS.read_deadline_ns + 1)  # a wait begins
    assert (ask.sent_ns, ask.tries, ask.due_ns) == (0, 1, T0 + TIMERS.read_deadline_ns + 1 + 500 * MS)


def test_waits_between_tries_double_up_to_their_most_and_a_good_answer_forgets_them() -> None:
    ask = Ask(TIMERS)
    waits = []
    for _ in range(5):
        ask.sent(T0)
        ask.answered(T0, known=False)
        assert not ask.ready(ask.due_ns - 1) and ask.ready(ask.due_ns)
        waits.append((ask.due_ns - T0) / S)
    assert waits == [0.5, 1, 2, 4, 4]
    ask.sent(T0)
    ask.answered(T0, known=True)
    assert (ask.done, ask.tries, ask.sent_ns) == (True, 0, 0)
    assert not ask.ready(T0 + 99 * S)
    ask.again(T0 + S)
    assert not ask.ready(T0 + S - 1) and ask.ready(T0 + S)
    ask.sent(T0)
    ask.reset(T0 + 2 * S)
    assert (ask.sent_ns, ask.due_ns, ask.tries, ask.done) == (0, T0 + 2 * S, 0, False)


# -- going flat ------------------------------------------------------------------------------------------------------


def test_a_failure_shuts_the_gate_and_cancels_all_before_anything_else() -> None:
    story = Story().quoting()
    said = story.recovery.fail("why", story.now, epoch=5)
    assert said == [
        GateChange(epoch=6, shut=True, reason="why"),
        MassCancel(reason="why", made_ns=story.now),
    ]
    assert (story.state, story.recovery.epoch, story.recovery.reasons) == (BotState.FAILING, 6, ["why"])
    assert (story.recovery.flat, story.recovery.clearing_ns) == (False, story.now)


def test_flat_needs_a_second_cancel_all_and_two_empty_reads_half_a_second_apart() -> None:
    story = Story().quoting()
    story.said += story.recovery.fail("why", story.now)
    story.canceled()
    assert story.step() == [
        MassCancel(reason="not confirmed yet", made_ns=story.now)
    ]  # the first may have passed a POST
    story.canceled()
    assert story.step() == []
    assert kinds(story.step(400)) == [OrderMassStatusRequest]
    story.read()
    assert not story.recovery.flat and story.step(400) == []
    assert kinds(story.step(100)) == [OrderMassStatusRequest]
    story.read()
    assert story.recovery.flat and story.recovery.clearing_ns == 0
    assert story.state is BotState.COOLDOWN


@pytest.mark.parametrize(("apart_ms", "flat"), [(499, False), (500, True)])
def test_reads_nearer_than_t_snap_are_one(apart_ms: int, flat: bool) -> None:
    story = cleared()
    story.read()
    story.now += apart_ms * MS
    story.read()
    assert story.recovery.flat is flat


def cleared() -> Story:
    """Failing, with a good and clean cancel-all, long enough after any change; only the reads are missing."""
    story = Story().quoting()
    story.recovery.fail("why", story.now)
    story.canceled()
    story.step()
    story.canceled()
    story.now += S
    return story


def test_a_read_counts_from_t_snap_after_the_last_change_on() -> None:
    story = cleared()
    story.orders.changed_ns = story.now
    for _ in range(2):
        story.now += 500 * MS
        story.read()
    assert story.recovery.flat
    assert story.state is BotState.COOLDOWN
    story.step(4999)
    assert story.state is BotState.COOLDOWN
    story.step(1)
    assert story.state is BotState.RECONCILING


def test_a_read_that_could_prove_nothing_is_not_asked() -> None:
    story = cleared()
    story.orders.changed_ns = story.now
    story.read(ago_ms=400)
    assert OrderMassStatusRequest not in kinds(story.step(499))
    assert OrderMassStatusRequest in kinds(story.step(1))


def test_a_read_that_says_nothing_repeats_what_was_cancelled_after_a_while_and_puts_no_repeat_off() -> None:
    story = cleared()
    story.read(known=False)
    assert MassCancel not in kinds(story.step(499))
    assert MassCancel in kinds(story.step(1))
    story = Story().quoting()
    story.recovery.fail("why", story.now)
    story.canceled(known=False)
    story.now += 400 * MS
    story.read(known=False)
    assert MassCancel not in kinds(story.step(99))
    assert MassCancel in kinds(story.step(1))


def test_an_unknown_read_is_no_empty_one() -> None:
    story = cleared()
    for _ in range(3):
        story.now += S
        story.read(known=False)
    assert not story.recovery.flat


def test_while_reads_say_nothing_the_cancel_all_is_repeated_ever_later() -> None:
    story = cleared()
    story.recovery._read.tries = 0
    repeats = []
    for _ in range(20 * 40):
        for message in story.step():
            if isinstance(message, MassCancel):
                repeats.append(story.now)
                story.canceled()
            else:
                story.read(known=False)
    waits = [(later - sooner) / S for sooner, later in pairwise(repeats)]
    assert len(repeats) >= 8 and max(waits) >= 4 and min(waits) >= 0.5
    story.answered = len(story.said)
    assert story.obey(6)[:2] == ["failing", "cooldown"]


def test_an_unknown_read_of_a_bot_that_is_flat_or_quoting_cancels_nothing() -> None:
    story = Story().quoting()
    story.read(known=False)
    assert MassCancel not in kinds(story.step(S / MS))
    story.said += story.recovery.halt("why", story.now)
    story.obey(3)
    assert story.recovery.flat
    story.read(known=False)
    assert MassCancel not in kinds(story.step(S / MS))


def test_a_read_asked_too_soon_after_a_change_is_no_proof() -> None:
    story = cleared()
    story.orders.changed_ns = story.now
    for _ in range(2):
        story.now += 249 * MS
        story.read()
    for _ in range(2):
        story.now += 2 * MS
        story.read()
    assert not story.recovery.flat
    story.now += 500 * MS
    story.read()
    assert story.recovery.flat


def test_an_order_that_is_left_begins_the_proof_anew_with_another_cancel_all() -> None:
    story = cleared()
    story.read()
    story.now += S
    story.read(ROW)
    assert MassCancel not in kinds(story.step(499))
    assert MassCancel in kinds(story.step(1))
    story.canceled()
    story.now += S
    story.read()
    assert not story.recovery.flat
    story.now += S
    story.read()
    assert story.recovery.flat


@pytest.mark.parametrize("why", ["unanswered", "unusable", "post on the wire"])
def test_empty_reads_prove_nothing_without_a_good_cancel_all(why: str) -> None:
    story = Story().quoting()
    if why == "post on the wire":
        story.order(OrderState.PENDING_NEW)
    story.recovery.fail("why", story.now)
    if why != "unanswered":
        story.canceled(known=why != "unusable")
    for _ in range(3):
        story.now += 600 * MS
        story.read()
        assert not story.recovery.flat


def test_a_cancel_all_asked_while_a_post_was_out_is_asked_again_when_it_is_not() -> None:
    story = Story().quoting()
    order = story.order(OrderState.PENDING_NEW)
    story.recovery.fail("why", story.now)
    story.canceled()
    assert MassCancel not in kinds(story.step())
    order.answered = True
    assert kinds(story.step()) == [MassCancel]
    story.canceled()
    assert MassCancel not in kinds(story.step())


def test_a_cancel_all_asked_again_while_a_post_is_out_is_not_the_last_word_either() -> None:
    story = Story().quoting()
    order = story.order(OrderState.PENDING_NEW)
    story.recovery.fail("why", story.now)
    story.canceled(known=False)
    assert MassCancel in kinds(story.step(500))
    story.canceled()
    order.answered = True
    assert MassCancel in kinds(story.step())


def test_a_debt_holds_flat_up_and_not_for_longer() -> None:
    story = cleared()
    order = story.order(OrderState.WORKING, venue_cum=QTY_ONE)
    story.orders.apply(Event.CANCELLATION, order, story.now, cum=QTY_ONE)
    story.now += S
    for _ in range(3):
        story.now += S
        story.read()
    assert not story.recovery.flat
    story.orders.apply(Event.TRADE, order, story.now, qty=QTY_ONE)
    story.now += S
    story.read()
    assert story.recovery.flat


def test_reads_go_on_although_cancels_are_not_answered() -> None:
    story = Story().quoting()
    story.recovery.fail("why", story.now)
    said = [message for _ in range(100) for message in story.step()]
    assert OrderMassStatusRequest in kinds(said) and MassCancel in kinds(said)


def test_an_answer_of_another_cancel_all_or_of_one_market_counts_for_nothing() -> None:
    story = Story().quoting()
    story.recovery.fail("why", story.now)
    story.now += MS
    story.recovery.mass_cancel_told(MassCancelReport(symbol=SYMBOL, known=True, asked_ns=story.now), story.now)
    story.canceled(ago_ms=2)
    story.recovery.mass_cancel_told(MassCancelReport(symbol="", known=True, asked_ns=1), story.now)
    assert MassCancel not in kinds(story.step())
    assert story.recovery.cancel_due_ns()
    story.recovery.mass_cancel_told(MassCancelReport(symbol="", known=True), story.now)  # it does not say when
    assert not story.recovery.cancel_due_ns()
    assert MassCancel in kinds(story.step())


def test_an_answer_that_comes_twice_counts_once() -> None:
    story = cleared()
    story.canceled(known=False)
    assert MassCancel not in kinds(story.step(S / MS))


def test_a_mass_cancel_is_due_from_somebody_else_180_ms_after_it_was_sent_until_its_answer() -> None:
    recovery = Recovery()
    assert recovery.cancel_due_ns() == 0
    recovery.fail("test", T0)
    assert recovery.cancel_due_ns() == T0 + 180 * NS_PER_MS
    recovery.mass_cancel_told(MassCancelReport(symbol="", known=True, asked_ns=T0 + 1), T0 + 300 * NS_PER_MS)
    assert recovery.cancel_due_ns() == 0


def test_flat_is_owed_from_the_first_failure_to_its_confirmation() -> None:
    story = Story().quoting()
    since = story.now
    story.said += story.recovery.fail("test", since)
    story.now += S
    story.said += story.recovery.halt("worse", story.now)
    assert story.recovery.clearing_ns == since
    story.obey(3)
    assert story.recovery.flat and story.recovery.clearing_ns == 0


# -- while failing, halted, stopping ---------------------------------------------------------------------------------


def test_more_reasons_while_clearing_are_noted_once_and_up_to_eight() -> None:
    story = cleared()
    story.read()
    assert story.recovery.fail("also", story.now) == []
    assert story.recovery.fail("also", story.now) == []
    assert story.recovery.reasons == ["why", "also"]
    story.now += S
    story.read()
    assert not story.recovery.flat  # news: the proof begins anew
    for n in range(20):
        story.recovery.fail(f"r{n}", story.now)
    assert len(story.recovery.reasons) == 8


def test_a_gate_that_somebody_shut_meanwhile_is_gone_above() -> None:
    story = cleared()
    assert story.recovery.fail("root", story.now, epoch=9) == [GateChange(epoch=10, shut=True, reason="root")]
    assert story.recovery.fail("root", story.now, epoch=3) == [GateChange(epoch=11, shut=True, reason="root")]


@pytest.mark.parametrize(
    ("end", "state", "clears"),
    [("halt", BotState.HALTED, BotState.HALTED), ("stop", BotState.STOPPED, BotState.STOPPING)],
)
def test_what_happens_to_a_flat_bot_that_stays_out_is_cleared_again(
    end: str, state: BotState, clears: BotState
) -> None:
    story = Story().quoting()
    story.said += getattr(story.recovery, end)("why", story.now, 0)
    story.obey(3)
    assert (story.state, story.recovery.flat) == (state, True)
    epoch = story.recovery.epoch
    how = story.recovery.fail if end == "halt" else story.recovery.halt
    said = how("an order of ours appeared", story.now, epoch + 5)
    assert said == [
        GateChange(epoch=epoch + 6, shut=True, reason="an order of ours appeared"),
        MassCancel(reason="an order of ours appeared", made_ns=story.now),
    ]
    assert story.recovery.clearing_ns == story.now
    assert (story.state, story.recovery.flat) == (clears, False)
    story.said += said
    story.obey(3)
    assert (story.state, story.recovery.flat) == (state, True)


def test_a_halt_while_failing_stays_out_and_a_halt_while_stopping_only_adds_a_reason() -> None:
    story = cleared()
    assert kinds(story.recovery.halt("worse", story.now)) == [GateChange, MassCancel]
    assert story.state is BotState.HALTED
    assert kinds(story.recovery.stop("the end", story.now, 0)) == [GateChange, MassCancel]
    assert story.state is BotState.STOPPING
    assert story.recovery.halt("too late", story.now) == []
    assert kinds(story.recovery.halt("too late", story.now, 99)) == [GateChange]
    assert story.recovery.epoch == 100
    assert story.state is BotState.STOPPING and "too late" in story.recovery.reasons
    story.said.append(MassCancel())
    assert story.obey(3) == ["stopping", "stopped"]


def test_a_resume_of_a_flat_bot_reconciles_and_of_another_first_clears() -> None:
    story = Story().quoting()
    story.said += story.recovery.halt("why", story.now)
    story.recovery.resume(story.now)
    assert (story.state, story.recovery.reasons) == (BotState.FAILING, [])
    assert story.obey(8) == ["failing", "cooldown", "reconciling", "quoting"]

    story = Story().quoting()
    story.said += story.recovery.halt("why", story.now)
    story.obey(3)
    story.recovery.resume(story.now)
    assert story.state is BotState.RECONCILING
    assert story.obey(1) == ["reconciling", "quoting"]


def test_only_a_halted_bot_is_resumed() -> None:
    with pytest.raises(AssertionError):
        Story().quoting().recovery.resume(T0)


# -- coming back -----------------------------------------------------------------------------------------------------


def test_a_failure_comes_back_through_cooldown_and_new_reads() -> None:
    story = Story().quoting()
    story.recovery.leftovers = True
    story.said += story.recovery.fail("why", story.now)
    began = story.now
    assert story.obey(7) == ["failing", "cooldown", "reconciling", "quoting"]
    assert story.recovery.reasons == [] and not story.recovery.leftovers
    cool = [message.made_ns for message in story.said if isinstance(message, MassCancel)]
    assert len(cool) == 2 and all(at - began < S for at in cool)


def test_trades_are_read_as_soon_as_the_bot_is_flat_so_that_what_comes_to_light_is_part_of_the_same_failure() -> None:
    story = Story().quoting()
    story.said += story.recovery.fail("why", story.now)
    story.obey(4)
    assert story.state is BotState.COOLDOWN
    assert kinds(story.said).count(TradesRequest) == 1
    story.obey(3)
    assert story.state is BotState.QUOTING
    assert kinds(story.said).count(TradesRequest) == 2  # and again before it quotes


@pytest.mark.parametrize(("apart_s", "cooldown_s"), [(599, 10), (600, 5)])
def test_a_cooldown_doubles_when_the_last_failure_is_not_ten_minutes_ago(apart_s: int, cooldown_s: int) -> None:
    story = Story().quoting()
    for _ in range(2):
        story.said += story.recovery.fail("why", story.now)
        failed = story.now
        while story.state is not BotState.COOLDOWN:
            story.obey(0.05)
        flat = story.now
        while story.state is BotState.COOLDOWN:
            story.obey(0.05)
        waited = story.now - flat
        story.obey(1)
        assert story.state is BotState.QUOTING
        story.now = failed + apart_s * S
        story.recovery._read.sent_ns = 0
    assert cooldown_s * S - 100 * MS < waited <= cooldown_s * S


def test_a_clean_start_reads_everything_and_an_unclean_one_clears_first() -> None:
    assert not Recovery().leftovers
    story = Story()
    assert not story.recovery.flat  # nobody has looked yet
    assert kinds(story.step()) == [TradesRequest, OrderMassStatusRequest]
    assert story.state is BotState.RECONCILING
    story.recovery.trades_told(story.now, story.now, known=True)
    assert kinds(story.step()) == [BalanceRequest]  # which must not know of a fill that we have not booked
    assert not story.recovery.leftovers
    story = Story(clean_start=False)
    assert story.recovery.leftovers
    assert kinds(story.step()) == [GateChange, MassCancel]
    assert (story.state, story.recovery.reasons) == (BotState.FAILING, ["the last run did not end flat"])


def test_the_first_read_of_trades_goes_back_over_the_life_of_a_market_and_later_ones_a_minute() -> None:
    story = Story()
    (request,) = [message for message in story.step() if isinstance(message, TradesRequest)]
    assert request.after_utc_s == story.now // S - TIMERS.history_ns // S
    story = Story().quoting()
    story.step()
    trusted = story.now // S
    story.said += story.recovery.fail("why", story.now)
    story.obey(7)
    requests = [message for message in story.said if isinstance(message, TradesRequest)]
    assert {request.after_utc_s for request in requests} == {trusted - 60}


WAITS = {
    "trades": "trades not read", "balance": "balance not read", "orders": "open orders not read",
    "user": "user stream is not connected", "live": "an order is unresolved",
}  # fmt: skip


@pytest.mark.parametrize("missing", list(WAITS))
def test_quoting_waits_for_every_read_the_stream_and_the_last_order(missing: str) -> None:
    story = Story()
    story.recovery.user_up = missing != "user"
    for _ in range(2):  # first the trades, then the balance
        story.step()
        story.recovery.trades_told(story.now, story.now, known=missing != "trades")
        story.recovery.balance_told(story.now, story.now, known=missing != "balance")
    story.read(known=missing != "orders")
    order = story.order(OrderState.WORKING) if missing == "live" else None
    waits = [WAITS[missing], WAITS["balance"]] if missing == "trades" else [WAITS[missing]]
    assert story.recovery.missing(story.orders) == waits
    assert GateChange not in kinds(story.recovery.reconciling(story.now, story.orders))
    story.recovery.user_up = True
    if order is not None:
        story.orders.apply(Event.CANCELLATION, order, story.now, cum=0)
    story.now += S
    story.obey(2)
    (opened,) = [message for message in story.said if isinstance(message, GateChange)]
    assert opened == GateChange(epoch=0, shut=False, reason="reconciled")
    assert (story.state, story.recovery.flat) == (BotState.QUOTING, False)


@pytest.mark.parametrize("kind", ["trades", "balance", "orders"])
def test_an_answer_asked_before_the_request_is_not_its_answer(kind: str) -> None:
    story = Story()
    story.step()
    if kind == "balance":
        story.recovery.trades_told(story.now, story.now, known=True)
        story.step()
    before = story.now - 1
    if kind == "trades":
        story.recovery.trades_told(before, story.now, known=True)
    elif kind == "balance":
        story.recovery.balance_told(before, story.now, known=True)
    else:
        story.read(ago_ms=1 / MS)
    assert WAITS[kind] in story.recovery.missing(story.orders)


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    story = Story()
    story.recovery.trades_told(T0, T0, known=True)
    story.recovery.balance_told(T0, T0, known=True)
    story.read()
    story.canceled()
    assert len(story.recovery.missing(story.orders)) == 4


def test_an_order_that_is_open_while_reconciling_is_a_failure() -> None:
    story = Story()
    story.step()
    assert kinds(story.read(ROW)) == [GateChange, MassCancel]
    assert (story.state, story.recovery.reasons) == (BotState.FAILING, ["orders are open that should not be"])


def test_a_read_too_soon_after_a_change_is_repeated_while_reconciling() -> None:
    story = Story()
    story.recovery.user_up = True
    story.step()
    story.recovery.trades_told(story.now, story.now, known=True)
    story.step()
    story.recovery.balance_told(story.now, story.now, known=True)
    story.orders.changed_ns = story.now - 100 * MS
    story.read()
    assert story.step(350) == []
    (again,) = story.step(50)
    assert isinstance(again, OrderMassStatusRequest)
    story.read()
    story.step()
    assert story.state is BotState.QUOTING


def test_while_an_order_is_unresolved_open_orders_are_read_each_second_while_reconciling() -> None:
    story = Story()
    story.recovery.user_up = True
    order = story.order(OrderState.PENDING_CANCEL)
    asked = []
    story.step()
    for _ in range(100):
        story.read(ago_ms=0)
        for message in story.step():
            if isinstance(message, OrderMassStatusRequest):
                asked.append(story.now)
    waits = {(later - sooner) // MS for sooner, later in pairwise(asked)}
    assert len(asked) >= 3 and waits == {1000}
    assert order.is_open


def test_a_gap_begins_the_reads_anew_only_while_reconciling() -> None:
    story = Story()
    story.step()
    story.read()
    story.recovery.gap(story.now)
    assert kinds(story.step()) == [TradesRequest, OrderMassStatusRequest]
    story = Story().quoting()
    story.recovery.gap(story.now)
    assert story.state is BotState.QUOTING and story.step() == []


# -- watching --------------------------------------------------------------------------------------------------------


def test_after_the_reads_that_open_the_gate_open_orders_are_not_read_at_once_again() -> None:
    story = Story().quoting()
    assert OrderMassStatusRequest not in kinds([message for _ in range(190) for message in story.step()])


def test_open_orders_are_read_every_ten_seconds_while_quoting_and_every_second_while_one_is_unresolved() -> None:
    story = Story().quoting()
    asked = []

    def watch(seconds: int) -> None:
        asked.clear()
        began = story.now
        for _ in range(seconds * 20):
            for message in story.step():
                assert isinstance(message, OrderMassStatusRequest)
                asked.append((story.now - began) / S)
                story.read()

    watch(31)
    assert [later - sooner for sooner, later in pairwise(asked)] == pytest.approx([10.05, 10.05], abs=0.06)
    order = story.order(OrderState.PENDING_CANCEL)
    order.since_ns = story.now
    watch(6)
    assert len(asked) in (4, 5)
    order.state = OrderState.WORKING
    watch(9)
    assert len(asked) <= 1


def test_a_read_is_put_forward_only_when_an_order_was_unresolved_for_more_than_a_second() -> None:
    story = Story().quoting()
    began = story.order(OrderState.PENDING_CANCEL).since_ns
    while not story.step():
        pass
    assert (story.now - began) // MS == 2050  # a second after it was seen to be late


def test_a_failed_read_while_quoting_is_repeated_soon() -> None:
    story = Story().quoting()
    while not story.step():
        pass
    story.read(known=False)
    assert story.step(499) == []
    assert kinds(story.step(1)) == [OrderMassStatusRequest]


def test_a_flat_bot_that_stays_out_goes_on_reading_and_its_watermark_stays() -> None:
    story = Story().quoting()
    story.step()
    trusted = story.recovery.watermark_utc_s
    assert trusted == story.now // S
    story.said += story.recovery.halt("why", story.now)
    story.obey(60)
    assert story.recovery.watermark_utc_s == trusted
    reads = [message for message in story.said if isinstance(message, OrderMassStatusRequest)]
    assert 6 <= len(reads) <= 9
