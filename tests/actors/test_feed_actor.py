"""The feed actor over a Reader of our own, unstarted where no thread is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from actors.feed import STATUS_EVERY_NS, STORM_RECONNECTS, FeedActor, ReaderDied
from actors.router import Directory
from bot.market import Market, Rule
from bot.messages import FeedStatus, Halt, MarketDropped, MarketListed, Message, Nudge, StatusReport, TimerTick
from bot.units import NS_PER_S, Ns

WAIT_S = 5.0
MARKET = Market(
    symbol="0xc",
    slug="btc-updown-5m-0",
    series="btc-updown-5m",
    asset="btc",
    up_token="1",
    down_token="2",
    version=2,
    rule=Rule.TWAP,
    start_utc_ns=0,
    end_utc_ns=1,
    tick=100,
    min_qty=1,
    fee_rate=0.0,
)


class Paper:
    """A Reader that reads nothing and remembers what it was asked."""

    def __init__(self, deliver: Callable[[list[Message]], None]) -> None:
        self.deliver = deliver
        self.error: BaseException | None = None
        self.connected = True
        self.reason = ""
        self.stamp_ns: Ns = 77
        self.last_frame_ns: Ns = 0
        self.messages = 3
        self.reconnects = 0
        self.alive = False
        self.commands: list[Message] = []
        self.stopped = threading.Event()

    def start(self) -> None:
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive

    def command(self, message: Message) -> None:
        self.commands.append(message)

    def counters(self) -> dict[str, int]:
        return {"received": 5, "quarantined": 1}

    def stop(self, timeout_s: float = 2.0) -> None:
        self.alive = False
        self.stopped.set()


class Letters:
    """A router that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, messages: Iterable[Message]) -> None:
        self.sent.extend(messages)

    def of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]


def actor(letters: Letters) -> tuple[FeedActor, Paper]:
    readers: list[Paper] = []

    def make(deliver: Callable[[list[Message]], None]) -> Paper:
        readers.append(Paper(deliver))
        return readers[-1]

    feed = FeedActor(make_reader=make, feed="user", name="feed-user", directory=Directory(), router=letters)
    feed.setup()
    return feed, readers[0]


def tick(now_ns: Ns) -> TimerTick:
    return TimerTick(name="status", now_ns=now_ns, utc_ns=0)


def test_setup_starts_the_reader_and_lends_its_stamp_to_the_health() -> None:
    feed, reader = actor(Letters())
    assert reader.alive and feed.health.extra_stamp is not None
    assert feed.health.extra_stamp() == 77
    reader.stamp_ns = 78
    assert feed.health.extra_stamp() == 78


def test_the_reader_of_a_feed_that_was_given_up_is_stopped_though_the_feed_still_hangs() -> None:
    letters, readers = Letters(), []

    def make(deliver: Callable[[list[Message]], None]) -> Paper:
        readers.append(Paper(deliver))
        return readers[-1]

    feed = FeedActor(make_reader=make, feed="user", name="feed-user", directory=Directory(), router=letters)
    feed.directory.register("feed-user", feed.actor_ref, feed.mailbox, feed.health)
    feed.setup()
    feed.directory.close("feed-user")  # as the root does
    assert readers[0].stopped.is_set()


def test_nobody_may_rely_on_the_stream_of_a_predecessor() -> None:
    letters = Letters()
    actor(letters)
    (told,) = letters.of(FeedStatus)
    assert (told.feed, told.connected) == ("user", False)


def test_what_the_reader_delivers_goes_straight_to_the_router() -> None:
    letters = Letters()
    _, reader = actor(letters)
    reader.deliver([Nudge(cause_ns=1)])
    assert letters.of(Nudge) == [Nudge(cause_ns=1)]


def test_markets_are_handed_to_the_reader() -> None:
    feed, reader = actor(Letters())
    told = [MarketListed(market=MARKET), MarketDropped(symbol="0xc")]
    for message in told:
        feed.handle(message)
    assert reader.commands == told


def test_status_holds_the_reader_and_its_feed_and_comes_not_too_often() -> None:
    letters = Letters()
    feed, reader = actor(letters)
    reader.last_frame_ns = NS_PER_S - 2_500_000
    feed.handle(tick(NS_PER_S))
    feed.handle(tick(NS_PER_S + STATUS_EVERY_NS - 1))
    body = {"connected": True, "age_ms": 2.5, "messages": 3, "reconnects": 0, "reason": ""}
    assert letters.of(StatusReport) == [
        StatusReport(component="feed:user", body=body | {"received": 5, "quarantined": 1}),
    ]
    reader.last_frame_ns = 0
    feed.handle(tick(NS_PER_S + STATUS_EVERY_NS))
    assert letters.of(StatusReport)[1].body["age_ms"] is None


def test_what_killed_the_reader_is_raised_here() -> None:
    feed, reader = actor(Letters())
    reader.error = ZeroDivisionError("boom")
    with pytest.raises(ReaderDied, match="boom"):
        feed.handle(tick(1))


def test_a_reader_whose_thread_is_gone_is_a_failure_too() -> None:
    feed, reader = actor(Letters())
    reader.alive = False
    with pytest.raises(ReaderDied):
        feed.handle(tick(1))


def test_a_storm_of_reconnects_halts_once() -> None:
    letters = Letters()
    feed, reader = actor(letters)
    reader.reconnects = STORM_RECONNECTS
    feed.handle(tick(NS_PER_S))
    assert letters.of(Halt) == []
    reader.reconnects += 1
    feed.handle(tick(200 * NS_PER_S))
    feed.handle(tick(201 * NS_PER_S))
    (halt,) = letters.of(Halt)
    assert halt.by == "feed:user" and "11 times" in halt.reason


def test_reconnects_spread_over_hours_are_no_storm() -> None:
    letters = Letters()
    feed, reader = actor(letters)
    for turn in range(1, 40):
        reader.reconnects = turn
        feed.handle(tick(turn * 60 * NS_PER_S))
    assert letters.of(Halt) == []


def test_the_last_report_is_made_when_nothing_more_can_come() -> None:
    letters = Letters()
    feed, paper = actor(letters)
    paper.messages = 41
    feed.teardown()
    assert paper.stopped.is_set()
    assert letters.of(StatusReport)[-1].body["messages"] == 41


def test_a_stopped_actor_stops_its_reader() -> None:
    readers: list[Paper] = []

    def make(deliver: Callable[[list[Message]], None]) -> Paper:
        readers.append(Paper(deliver))
        return readers[-1]

    ref = FeedActor.start(make_reader=make, feed="user", name="feed-user", directory=Directory(), router=Letters())
    ref.stop(timeout=WAIT_S)
    assert readers[0].stopped.is_set()
