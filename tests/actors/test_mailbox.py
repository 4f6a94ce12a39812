"""The mailbox: lanes, conflation, batches, alarms, closing; and a million messages through actors that die."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import Counter
from typing import Any, ClassVar

import pykka
import pytest
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, _ActorStop

from actors.base import Actor
from actors.mailbox import Mailbox
from actors.router import Directory, Router
from bot.bell import Bell
from bot.messages import (
    BotState,
    CancelOrder,
    Halt,
    Lane,
    MassCancel,
    Message,
    Nudge,
    PositionReport,
    Resume,
    StatusReport,
    TimerTick,
)

FOREVER_S = 30.0


def put(mailbox: Mailbox, *messages: Any) -> None:
    for message in messages:
        mailbox.put(Envelope(message))


def drain(mailbox: Mailbox) -> list[Any]:
    found = []
    while not mailbox.empty():
        found.append(mailbox.get().message)
    return found


def tick(name: str, now_ns: int = 0) -> TimerTick:
    return TimerTick(name=name, now_ns=now_ns, utc_ns=0)


def cancel(number: int) -> CancelOrder:
    return CancelOrder(cl_ord_id=str(number), order_id="", symbol="m")


def resume(number: int) -> Resume:
    return Resume(by=str(number))


def test_urgent_overtakes_facts_and_facts_overtake_views() -> None:
    mailbox = Mailbox()
    put(mailbox, Nudge(), resume(1), Halt(reason="", by=""), resume(2), MassCancel())
    assert drain(mailbox) == [Halt(reason="", by=""), MassCancel(), resume(1), resume(2), Nudge()]


def test_a_newer_view_takes_the_place_of_the_waiting_one_of_its_key() -> None:
    mailbox = Mailbox()
    put(mailbox, tick("a", 1), tick("b", 2), Nudge(), tick("a", 3), Nudge(cause_ns=4))
    assert drain(mailbox) == [tick("a", 3), tick("b", 2), Nudge(cause_ns=4)]
    assert mailbox.stats().conflated == 2
    put(mailbox, tick("a", 5))
    assert drain(mailbox) == [tick("a", 5)], "the slot is free again after delivery"


def test_views_of_two_types_with_one_key_do_not_replace_each_other() -> None:
    mailbox = Mailbox()
    put(mailbox, tick(""), Nudge())
    assert len(drain(mailbox)) == 2


def report(name: str, number: int = 0) -> StatusReport:
    return StatusReport(component=name, body={"n": number})


def test_a_quiet_view_waits_for_the_next_that_wakes_and_comes_before_it() -> None:
    mailbox = Mailbox()
    put(mailbox, report("a", 1), report("b", 2), report("a", 3))
    assert mailbox.empty() and mailbox.stats().depth == 2 and mailbox.stats().conflated == 1
    put(mailbox, tick("x"))
    assert drain(mailbox) == [report("a", 3), report("b", 2), tick("x")]
    put(mailbox, report("a", 4), resume(1), report("a", 5), MassCancel())
    assert drain(mailbox) == [MassCancel(), resume(1), report("a", 5)]
    assert mailbox.stats().taken == 8 and mailbox.stats().depth == 0


def position(number: int, quiet: bool) -> PositionReport:
    return PositionReport(
        symbol="m", state=BotState.QUOTING, epoch=0, tick=100, up_qty=number, down_qty=0, cash=0, quiet=quiet
    )


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_of_a_loud_and_a_quiet_one_of_a_key_the_newer_is_delivered_once(first: bool, second: bool) -> None:
    mailbox = Mailbox()
    put(mailbox, position(1, first), position(2, second))
    assert mailbox.empty() == (first and second)
    put(mailbox, Nudge())
    assert drain(mailbox) == [position(2, second), Nudge()]
    assert mailbox.stats().conflated == 1 and mailbox.stats().taken == 3


def test_quiet_views_of_a_closed_mailbox_are_dropped_and_counted() -> None:
    mailbox = Mailbox()
    letters: list[Message] = []
    put(mailbox, report("a"), resume(1))
    put(mailbox, report("b"))
    mailbox.close(letters.append)
    put(mailbox, report("c"))
    assert letters == [resume(1)]
    stats = mailbox.stats()
    assert (stats.dropped, stats.depth, stats.taken) == (3, 0, 4)


def test_an_asked_view_and_unknown_types_keep_their_order_in_the_lossless_lane() -> None:
    mailbox = Mailbox()
    call = ProxyCall(attr_path=("x",), args=(), kwargs={})
    mailbox.put(Envelope(Nudge(), reply_to=pykka.ThreadingFuture()))
    mailbox.put(Envelope(Nudge(), reply_to=pykka.ThreadingFuture()))
    put(mailbox, resume(1), call, "text")
    assert drain(mailbox) == [Nudge(), Nudge(), resume(1), call, "text"]


def test_a_stop_does_not_overtake_facts() -> None:
    mailbox = Mailbox()
    put(mailbox, resume(1), _ActorStop(), resume(2), MassCancel())
    assert drain(mailbox) == [MassCancel(), resume(1), _ActorStop(), resume(2)]


def test_take_returns_the_run_of_one_type_at_the_head_and_nothing_else() -> None:
    mailbox = Mailbox()
    put(mailbox, cancel(1), cancel(2), cancel(3), cancel(4), resume(5), cancel(6))
    assert mailbox.get().message == cancel(1)
    assert mailbox.take(CancelOrder, 2) == [cancel(2), cancel(3)]
    assert mailbox.take(CancelOrder, 9) == [cancel(4)]
    assert mailbox.take(CancelOrder, 9) == []
    assert mailbox.stats().depth == 2
    assert drain(mailbox) == [resume(5), cancel(6)]
    assert mailbox.stats().delivered == 6


def test_take_leaves_an_asked_message_to_get() -> None:
    mailbox = Mailbox()
    mailbox.put(Envelope(cancel(1), reply_to=pykka.ThreadingFuture()))
    assert mailbox.take(CancelOrder, 9) == []


class Heard(Bell):
    """Says when somebody goes to sleep on it."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = threading.Event()

    def wait(self, timeout_s: float | None) -> None:
        self.slept.set()
        super().wait(timeout_s)


def asleep(mailbox: Mailbox) -> tuple[threading.Thread, list[Any]]:
    """A reader that sleeps, and what it gets: one message."""
    got: list[Any] = []
    bell = mailbox.bell = Heard()
    thread = threading.Thread(target=lambda: got.append(mailbox.get().message), daemon=True)
    thread.start()
    assert bell.slept.wait(FOREVER_S)
    return thread, got


def test_who_sleeps_wakes_at_the_ring_and_finds_all_that_was_added_before() -> None:
    mailbox = Mailbox()
    thread, got = asleep(mailbox)
    for message in (cancel(1), report("a"), cancel(2)):
        mailbox.add(message)
    assert mailbox._asleep, "to add wakes nobody"
    mailbox.ring()
    thread.join(FOREVER_S)
    assert got == [cancel(1)] and mailbox.take(CancelOrder, 9) == [cancel(2)]
    mailbox.ring()
    assert drain(mailbox) == [report("a")]


def test_a_quiet_view_wakes_nobody() -> None:
    mailbox = Mailbox()
    thread, got = asleep(mailbox)
    put(mailbox, report("a"))
    assert mailbox._asleep
    put(mailbox, tick("x"))
    thread.join(FOREVER_S)
    assert got == [report("a")] and drain(mailbox) == [tick("x")]


def test_a_ring_that_came_too_late_for_one_sleep_ends_the_next_for_nothing() -> None:
    mailbox = Mailbox()
    got: list[Any] = []
    bell = mailbox.bell = Heard()
    bell.ring()
    thread = threading.Thread(target=lambda: got.append(mailbox.get().message), daemon=True)
    thread.start()
    assert bell.slept.wait(FOREVER_S)
    put(mailbox, resume(1))
    thread.join(FOREVER_S)
    assert got == [resume(1)] and mailbox.empty()


def test_who_sleeps_until_an_alarm_is_woken_before_it() -> None:
    mailbox = Mailbox()
    mailbox.set_alarm(mailbox.clock() + int(2 * FOREVER_S * 1e9), Nudge())
    thread, got = asleep(mailbox)
    put(mailbox, resume(1))
    thread.join(FOREVER_S)
    assert got == [resume(1)]


def test_to_close_ends_a_sleep() -> None:
    mailbox = Mailbox()
    thread, got = asleep(mailbox)
    mailbox.close(lambda message: None)
    thread.join(FOREVER_S)
    assert isinstance(got[0], _ActorStop)


def test_stats_show_depth_high_water_and_age_of_facts_apart_from_views() -> None:
    now = [100]
    mailbox = Mailbox(clock=lambda: now[0])
    put(mailbox, Nudge())
    now[0] = 150
    put(mailbox, resume(1), resume(2))
    stats = mailbox.stats(160)
    assert (stats.depth, stats.high_water, stats.oldest_ns, mailbox.waiting_ns(160)) == (3, 3, 60, 10)
    drain(mailbox)
    stats = mailbox.stats(160)
    assert (stats.depth, stats.high_water, stats.oldest_ns, mailbox.waiting_ns(160)) == (0, 3, 0, 0)
    assert stats.taken == stats.delivered == 3


def test_close_hands_over_facts_in_order_then_later_puts_and_drops_views() -> None:
    mailbox = Mailbox()
    letters: list[Message] = []
    put(mailbox, resume(1), Nudge(), Halt(reason="", by=""), resume(2))
    mailbox.close(letters.append)
    put(mailbox, resume(3), Nudge(), MassCancel())
    assert letters == [Halt(reason="", by=""), resume(1), resume(2), resume(3), MassCancel()]
    assert mailbox.empty()
    stats = mailbox.stats()
    assert (stats.dead_lettered, stats.dropped, stats.taken) == (5, 2, 7)


def test_close_twice_keeps_the_first_callback() -> None:
    mailbox = Mailbox()
    letters: list[Message] = []
    mailbox.close(letters.append)
    mailbox.close(lambda message: pytest.fail("second callback"))
    put(mailbox, resume(1))
    assert letters == [resume(1)]


def test_a_closed_mailbox_answers_asks_and_lets_its_reader_stop() -> None:
    mailbox = Mailbox()
    early: pykka.Future[Any] = pykka.ThreadingFuture()
    late: pykka.Future[Any] = pykka.ThreadingFuture()
    stop: pykka.Future[Any] = pykka.ThreadingFuture()
    mailbox.put(Envelope(resume(1), reply_to=early))
    mailbox.close(lambda message: pytest.fail("an ask is no dead letter"))
    mailbox.put(Envelope(resume(2), reply_to=late))
    mailbox.put(Envelope(_ActorStop(), reply_to=stop))
    for future in (early, late):
        with pytest.raises(pykka.ActorDeadError):
            future.get(timeout=FOREVER_S)
    assert stop.get(timeout=FOREVER_S) is None
    assert isinstance(mailbox.get().message, _ActorStop)


def test_a_dead_letter_callback_may_put_into_the_same_mailbox() -> None:
    mailbox = Mailbox()
    letters: list[Message] = []

    def echo_once(message: Message) -> None:
        letters.append(message)
        if message == resume(1):
            put(mailbox, resume(9))

    put(mailbox, resume(1), resume(2))
    mailbox.close(echo_once)
    assert letters == [resume(1), resume(2), resume(9)]


def test_an_alarm_comes_when_due_before_facts_and_after_urgent_messages() -> None:
    now = [0]
    mailbox = Mailbox(clock=lambda: now[0])
    mailbox.set_alarm(10, Nudge())
    put(mailbox, resume(1), resume(2))
    assert mailbox.get().message == resume(1)
    now[0] = 10
    put(mailbox, MassCancel())
    assert [mailbox.get().message for _ in range(3)] == [MassCancel(), Nudge(), resume(2)]
    assert mailbox.alarm is None


def test_an_alarm_ends_the_sleep_of_an_idle_reader() -> None:
    mailbox = Mailbox()
    mailbox.set_alarm(mailbox.clock() + 1_000_000, Nudge())
    assert mailbox.get().message == Nudge()


# -- a million messages ------------------------------------------------------------------------------------------------

SENDERS = 4
EACH = 250_000
KEYS = 8
DEATHS = 12
BACKLOG = 5_000
NAMES = ("x", "y")
LAST = (-1, 0)


class Fact(Message, frozen=True, kw_only=True, tag=True):
    sender: int
    seq: int


class Alert(Message, frozen=True, kw_only=True, tag=True):
    lane: ClassVar[Lane] = Lane.URGENT
    sender: int
    seq: int


class View(Message, frozen=True, kw_only=True, tag=True):
    lane: ClassVar[Lane] = Lane.LATEST
    slot: tuple[int, int]  # sender, number
    seq: int

    @property
    def key(self) -> tuple[int, int]:
        return self.slot


class Poison(Message, frozen=True, kw_only=True, tag=True):
    pass


class Ledger:
    """What one name saw over all the actors that bore it. Facts and alerts must come in steps of one per sender."""

    def __init__(self) -> None:
        self.next: Counter[tuple[type, int]] = Counter()
        self.views: dict[tuple[int, int], int] = {}
        self.wrong: list[Message] = []
        self.ended = threading.Event()

    def see(self, message: Any) -> None:
        if type(message) is View:
            if message.slot == LAST:
                self.ended.set()
                return
            if message.seq <= self.views.get(message.slot, -1):
                self.wrong.append(message)
            self.views[message.slot] = message.seq
            return
        line = (type(message), message.sender)
        if message.seq != self.next[line]:
            self.wrong.append(message)
        self.next[line] = message.seq + 1


class Mortal(Actor):
    def __init__(self, *, ledger: Ledger, **base: Any) -> None:
        super().__init__(**base)
        self.ledger = ledger

    def handle(self, message: Any) -> None:
        if type(message) is Poison:
            raise RuntimeError("as told")
        self.ledger.see(message)


def test_of_a_million_messages_through_dying_actors_no_fact_is_lost_doubled_or_out_of_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, logger="pykka")
    failed = {name: threading.Semaphore(0) for name in NAMES}

    def dead_letter(name: str, message: Message) -> bool:
        if name == "root":
            failed[message.actor].release()  # type: ignore[attr-defined]
        return name == "root"  # the rest waits for the successor, which must see it once and in order

    directory = Directory(dead_letter)
    ledgers = {name: Ledger() for name in NAMES}
    deaths_over = threading.Event()
    deepest: Counter[str] = Counter()

    def start(name: str) -> None:
        Mortal.start(name=name, ledger=ledgers[name], directory=directory, router=Router(directory, {}))

    last_views: dict[str, dict[tuple[int, int], int]] = {name: {} for name in NAMES}
    sent: dict[str, Counter[tuple[type, int]]] = {name: Counter() for name in NAMES}

    def send(sender: int) -> None:
        facts, alerts = ({name: 0 for name in NAMES} for _ in range(2))
        for number in range(EACH):
            if number == EACH * 9 // 10:
                # Views waiting in a dead actor are dropped; the last of each key comes after the last death.
                assert deaths_over.wait(FOREVER_S)
            name = NAMES[number // 10 & 1]
            kind = number % 10
            if kind < 5:
                directory.tell(name, Fact(sender=sender, seq=facts[name]))
                facts[name] += 1
            elif kind == 5:
                directory.tell(name, Alert(sender=sender, seq=alerts[name]))
                alerts[name] += 1
            else:
                slot = (sender, number % KEYS)
                directory.tell(name, View(slot=slot, seq=number))
                last_views[name][slot] = number
            if not number & 255:
                pace(name)
        for name in NAMES:
            sent[name][Fact, sender] = facts[name]
            sent[name][Alert, sender] = alerts[name]

    def pace(name: str) -> None:
        """Putting never blocks, so four flat-out senders would only measure how much memory there is."""
        health = directory.health(name)
        assert health is not None
        while (depth := health.mailbox.stats().depth) > BACKLOG:
            time.sleep(0)
        deepest[name] = max(deepest[name], depth)

    gc.collect()
    blocks = sys.getallocatedblocks()
    for name in NAMES:
        start(name)
    senders = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(SENDERS)]
    for thread in senders:
        thread.start()
    for _ in range(DEATHS):
        for name in NAMES:
            directory.tell(name, Poison())
            assert failed[name].acquire(timeout=FOREVER_S)
            start(name)
    deaths_over.set()
    for thread in senders:
        thread.join(FOREVER_S)
        assert not thread.is_alive()
    for name in NAMES:
        directory.tell(name, View(slot=LAST, seq=0))  # behind everything: facts first, then keys in the order they came
        assert ledgers[name].ended.wait(FOREVER_S)
        health = directory.health(name)
        assert health is not None
        assert health.thread is not None
        directory.stop(name)
        health.thread.join(FOREVER_S)
        assert not health.thread.is_alive()
    assert [ledger.wrong for ledger in ledgers.values()] == [[], []]
    assert {name: dict(ledger.next) for name, ledger in ledgers.items()} == {name: dict(sent[name]) for name in NAMES}
    assert {name: ledger.views for name, ledger in ledgers.items()} == last_views
    assert max(deepest.values()) < 10 * BACKLOG
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 50_000, "nothing of a million messages stays behind"
