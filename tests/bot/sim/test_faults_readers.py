"""The bot's own readers against the faults of streams: what they notice, what they keep, and that they come back."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fidelity import QUIET

from bot.caches import BookView, Caches
from bot.market import Market, Rule
from bot.messages import ExecType, ExecutionReport, FeedStatus, Halt, MarketListed, Message, Side, StreamGap
from bot.sim.faults import fault_of
from bot.sim.provoked import Stranger
from bot.sim.records import Submit
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.venue import Venue, wall_ms
from bot.units import NS_PER_MS, NS_PER_S, Ns
from bot.venues import binance, polymarket_book, settlement_price, websocket
from bot.venues.binance import BinanceFeed
from bot.venues.conversation import Conversation
from bot.venues.polymarket_book import MarketFeed
from bot.venues.polymarket_user import UserFeed
from bot.venues.settlement_price import SettlementFeed
from bot.venues.websocket import Reader

WAIT_S = 8.0
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=32, parameters=QUIET)) as running:
        yield running


class Desk:
    """A Reader at work on the venue, and what it delivered."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.told: list[Message] = []
        self._changed = threading.Condition()
        self.reader = Reader(conversation, self._deliver, jitter=lambda: 0.1)

    def _deliver(self, messages: list[Message]) -> None:
        with self._changed:
            self.told += messages
            self._changed.notify_all()

    def await_message(self, test: Callable[[Message], bool], since: int = 0) -> Message:
        """The first delivered message that passes."""

        def found() -> list[Message]:
            return [message for message in self.told[since:] if test(message)]

        with self._changed:
            assert self._changed.wait_for(found, WAIT_S), self.told[-5:]
            return found()[0]

    def await_loss(self) -> str:
        """Lost and back again; why."""
        lost = self.await_message(lambda message: isinstance(message, FeedStatus) and not message.connected)
        assert isinstance(lost, FeedStatus)
        after = self.told.index(lost)
        self.await_message(lambda message: isinstance(message, FeedStatus) and message.connected, after)
        return lost.text

    def gaps(self) -> list[str]:
        return [message.reason for message in self.told if isinstance(message, StreamGap)]

    def reports(self, exec_type: ExecType) -> list[ExecutionReport]:
        return [row for row in self.told if isinstance(row, ExecutionReport) and row.exec_type is exec_type]


@pytest.fixture
def desks(venue: VenueThread) -> Iterator[list[Desk]]:
    started: list[Desk] = []
    yield started
    venue.call(clean)
    for desk in started:
        desk.reader.stop()
        assert not desk.reader.is_alive()
        assert desk.reader.error is None


def clean(inside: Venue) -> None:
    inside.faults.stop()
    inside.exchange.cancel_all(inside.info["address"].lower(), wall_ms())


def inject(venue: VenueThread, **fault: Any) -> None:
    venue.call(lambda inside: inside.faults.inject(fault_of(fault), inside.age_s()))


def until(test: Callable[[], bool]) -> None:
    """Looks again until it is so: for what no message tells."""
    deadline = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not test():
        assert time.monotonic() < deadline
        pause.wait(0.02)


def utc(now_ns: Ns) -> Ns:
    return now_ns + time.time_ns() - time.monotonic_ns()


def market_of(venue: VenueThread) -> Market:
    row = venue.call(lambda inside: next(row for row in inside.exchange.markets.values() if row.accepting))
    return Market(
        symbol=row.condition_id,
        slug=row.slug,
        series=row.series,
        asset=row.asset,
        up_token=row.up_token,
        down_token=row.down_token,
        version=row.version,
        rule=Rule.TWAP,
        window_s=row.window_s,
        start_utc_ns=row.start_ms * NS_PER_MS,
        end_utc_ns=row.end_ms * NS_PER_MS,
        tick=row.tick,
        min_qty=row.min_qty,
        fee_rate=row.fee_rate,
    )


class BookDesk(Desk):
    """A reader of the market channel that follows one market."""

    def __init__(self, venue: VenueThread) -> None:
        self.caches, self.market = Caches(), market_of(venue)
        url, clock = venue.info["market_ws_url"], time.monotonic_ns
        self.feed = MarketFeed(url=url, caches=self.caches, clock=clock, utc=utc)
        super().__init__(self.feed)
        self.reader.command(MarketListed(market=self.market))
        self.reader.start()
        until(lambda: self.view is not None)

    @property
    def view(self) -> BookView | None:
        books = self.caches.books.get(self.market.symbol)
        return None if books is None else books.latest

    def await_new_book(self) -> None:
        began = time.monotonic_ns()
        until(lambda: self.view is not None and self.view.recv_ns > began)


class UserDesk(Desk):
    """A reader of the user channel."""

    def __init__(self, venue: VenueThread) -> None:
        info = venue.info
        self.feed = UserFeed(
            url=info["user_ws_url"],
            api_key=info["api_key"],
            secret=info["api_secret"],
            passphrase=info["api_passphrase"],
            wallets=[info["address"]],
        )
        super().__init__(self.feed)
        self.reader.start()
        self.await_message(lambda message: isinstance(message, FeedStatus) and message.connected)
        until(lambda: self.reader.messages > 0)  # PONG: the venue has heard us


class ReferenceDesk(Desk):
    """A reader of the reference exchange."""

    def __init__(self, venue: VenueThread) -> None:
        self.caches = Caches()
        self.feed = BinanceFeed(
            ws_url=venue.info["binance_ws_url"],
            rest_url=venue.info["binance_rest_url"],
            assets=["btc"],
            caches=self.caches,
            clock=time.monotonic_ns,
            utc=utc,
        )
        super().__init__(self.feed)
        self.reader.start()
        until(lambda: self.caches.reference["btc"].latest is not None)


@pytest.fixture
def book(venue: VenueThread, desks: list[Desk]) -> BookDesk:
    desk = BookDesk(venue)
    desks.append(desk)
    return desk


@pytest.fixture
def user(venue: VenueThread, desks: list[Desk]) -> UserDesk:
    desk = UserDesk(venue)
    desks.append(desk)
    return desk


@pytest.fixture
def reference(venue: VenueThread, desks: list[Desk]) -> ReferenceDesk:
    desk = ReferenceDesk(venue)
    desks.append(desk)
    return desk


def place(venue: VenueThread) -> str:
    order_id = f"0xbeef{next(numbers):060x}"
    market = market_of(venue)

    def submit(inside: Venue) -> None:
        bid, _ = inside.exchange.best(market.symbol)
        owner, api_key = inside.info["address"].lower(), inside.info["api_key"]
        order = Submit(
            order_id=order_id,
            owner=owner,
            api_key=api_key,
            token=market.up_token,
            side=Side.BUY,
            px=bid,
            qty=20_000_000,
        )
        assert inside.exchange.submit(order, wall_ms()).status == "live"

    venue.call(submit)
    return order_id


def meet(venue: VenueThread, order_id: str, lots: int) -> None:
    def take(inside: Venue) -> None:
        order = inside.exchange.order(order_id)
        assert order is not None
        assert Stranger(inside).meet(order, lots * 10_000)

    venue.call(take)


# -- the market channel ------------------------------------------------------------------------------------------------


def test_w01_a_frozen_book_is_asked_for_again_and_then_the_connection_is_left(
    venue: VenueThread, book: BookDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polymarket_book, "QUIET_NS_MAX", NS_PER_S // 2)
    monkeypatch.setattr(polymarket_book, "SNAPSHOT_NS_MAX", NS_PER_S // 4)
    monkeypatch.setattr(websocket, "LOOK_NS", NS_PER_S // 10)
    inject(venue, id="W01", duration_s=60)
    assert book.await_loss().endswith("silent token")
    assert book.feed.resyncs >= polymarket_book.ASKS_MAX
    book.await_new_book()


@pytest.mark.parametrize("kind", ["half-open", "drip"])
def test_w02_silence_ends_the_connection_also_where_bytes_trickle(
    venue: VenueThread, desks: list[Desk], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketFeed, "silence_max_s", 0.6)
    monkeypatch.setattr(MarketFeed, "ping_every_s", 0.2)
    desk = BookDesk(venue)
    desks.append(desk)
    inject(venue, id="W02", kind=kind, duration_s=60, match="market", bytes_per_s=20)
    assert desk.await_loss() == "no frame for 0.6 s"
    desk.await_new_book()


def test_w04_a_text_that_is_no_json_costs_the_connection_only(venue: VenueThread, book: BookDesk) -> None:
    inject(venue, id="W04", match="market")
    assert "INVALID OPERATION" in book.await_loss()
    book.await_new_book()


@pytest.mark.parametrize("kind", ["array", "batch", "numbers"])
def test_w05_every_shape_is_read(venue: VenueThread, book: BookDesk, kind: str) -> None:
    before = book.feed.events
    inject(venue, id="W05", kind=kind, duration_s=60)
    until(lambda: book.feed.events > before + 5)
    assert (book.feed.skipped, book.feed.malformed, book.reader.reconnects) == (0, 0, 0)


def test_w06_a_bad_element_is_skipped_and_its_siblings_count(venue: VenueThread, book: BookDesk) -> None:
    inject(venue, id="W06", match="market")
    until(lambda: book.feed.skipped == 3)
    book.await_new_book()
    assert book.reader.reconnects == 0


@pytest.mark.parametrize("kind", ["truncated", "malformed", "utf8"])
def test_w07_a_damaged_frame_drops_the_book_until_it_came_again(
    venue: VenueThread, book: BookDesk, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polymarket_book, "ASK_EVERY_NS", NS_PER_S // 10)
    monkeypatch.setattr(websocket, "LOOK_NS", NS_PER_S // 10)
    inject(venue, id="W07", kind=kind, match="market")
    until(lambda: book.feed.malformed == 1)
    book.await_new_book()
    assert book.reader.reconnects == 0


@pytest.mark.parametrize(("kind", "reason"), [("oversized", "8388608 bytes"), ("fragments", "pieces")])
def test_w08_a_message_beyond_the_cap_costs_the_connection(
    venue: VenueThread, book: BookDesk, kind: str, reason: str
) -> None:
    inject(venue, id="W08", kind=kind, match="market")
    assert reason in book.await_loss()
    book.await_new_book()


def test_w09_a_reset_within_a_frame_is_one_reconnect(venue: VenueThread, book: BookDesk) -> None:
    threads = threading.active_count()
    inject(venue, id="W09", kind="mid-frame", match="market")
    book.await_loss()
    book.await_new_book()
    assert (book.reader.reconnects, threading.active_count()) == (1, threads)


def test_w11_a_crossed_book_is_never_shown_and_asked_for_again(
    venue: VenueThread, book: BookDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "LOOK_NS", NS_PER_S // 10)
    inject(venue, id="W11", duration_s=1.5)
    views: list[BookView] = []

    def resynced() -> bool:
        if book.view is not None:
            views.append(book.view)
        return book.feed.resyncs > 0

    until(resynced)
    assert all(view.bids[0][0] < view.asks[0][0] for view in views if view.bids and view.asks)
    venue.call(lambda inside: inside.faults.stop())
    book.await_new_book()


def test_w11_changes_before_the_book_make_no_book(venue: VenueThread, book: BookDesk) -> None:
    inject(venue, id="W11", kind="delta", duration_s=60, delay_s=2, count=1)
    book.await_loss()
    assert book.view is None
    before = book.feed.events
    until(lambda: book.feed.events > before or book.view is not None)
    assert book.view is None
    book.await_new_book()


# -- the user channel --------------------------------------------------------------------------------------------------


def test_u02_a_dropped_socket_is_a_gap_when_it_goes_and_when_it_is_back(venue: VenueThread, user: UserDesk) -> None:
    place(venue)
    inject(venue, id="U02")
    user.await_loss()
    assert user.gaps()[-1] == "reconnected"
    assert len(user.gaps()) == 2


def test_u03_credentials_that_are_refused_three_times_halt(venue: VenueThread, user: UserDesk) -> None:
    inject(venue, id="U03", duration_s=60)
    halt = user.await_message(lambda message: isinstance(message, Halt))
    assert isinstance(halt, Halt)
    assert "credentials" in halt.reason


@pytest.mark.parametrize("fault", [{"id": "W06", "match": "user"}, {"id": "W07", "match": "user"}])
def test_what_cannot_be_read_is_put_aside_and_is_a_gap(
    venue: VenueThread, user: UserDesk, fault: dict[str, Any]
) -> None:
    inject(venue, **fault)
    place(venue)
    until(lambda: user.feed.quarantined == (3 if fault["id"] == "W06" else 1))
    assert set(user.gaps()) == {"quarantine"}
    assert user.feed.received == user.feed.quarantined + len(user.reports(ExecType.NEW))


def test_u07_known_words_are_trades_and_an_unknown_one_is_a_gap(venue: VenueThread, user: UserDesk) -> None:
    inject(venue, id="U07", duration_s=60)
    order_id = place(venue)
    for _ in range(3):
        meet(venue, order_id, 100)
    until(lambda: len({row.exec_id for row in user.reports(ExecType.TRADE)}) == 3)
    assert user.feed.quarantined == 0
    venue.call(lambda inside: inside.faults.stop())
    inject(venue, id="U07", kind="unknown", count=1)
    meet(venue, order_id, 100)
    until(lambda: user.feed.quarantined > 0)
    assert "quarantine" in user.gaps()


def test_u09_a_complement_match_is_our_own_leg(venue: VenueThread, user: UserDesk) -> None:
    order_id = place(venue)
    inject(venue, id="U09")
    until(lambda: bool(user.reports(ExecType.TRADE)))
    trade = user.reports(ExecType.TRADE)[0]
    assert (trade.order_id, trade.side, trade.last_qty, trade.maker) == (order_id, Side.BUY, 20_000_000, True)
    assert trade.asset_id == market_of(venue).up_token


@pytest.mark.parametrize("fault", ["W05", "W14", "U11", "U12", "S01"])
def test_noise_of_the_user_channel_is_all_told_and_nothing_is_put_aside(
    venue: VenueThread, user: UserDesk, fault: str
) -> None:
    inject(venue, id=fault)
    order_id = place(venue)
    meet(venue, order_id, 100)
    until(lambda: bool(user.reports(ExecType.TRADE)) and bool(user.reports(ExecType.UPDATE)))
    assert (user.feed.quarantined, user.gaps()) == (0, [])


def test_u14_a_storm_of_own_trades_loses_nothing(venue: VenueThread, user: UserDesk) -> None:
    order_id = place(venue)
    inject(venue, id="U14", number=300)

    def told(exec_type: ExecType) -> list[ExecutionReport]:
        return [row for row in user.reports(exec_type) if row.order_id == order_id]

    until(lambda: len({row.exec_id for row in told(ExecType.TRADE)}) == 300)
    until(lambda: len(told(ExecType.UPDATE)) == 300)
    assert [row.cum_qty for row in told(ExecType.UPDATE)] == [10_000 * n for n in range(1, 301)]
    assert (user.feed.quarantined, user.gaps()) == (0, [])


# -- the reference feed and the settlement price -------------------------------------------------------------------------


def test_b01_and_b02_are_followed_by_a_new_connection(venue: VenueThread, reference: ReferenceDesk) -> None:
    inject(venue, id="B01")
    assert "1001" in reference.await_loss()
    until(lambda: reference.reader.connected)
    told = len(reference.told)
    inject(venue, id="B02", grace_s=0.5)
    closed = time.monotonic() + 0.7
    until(lambda: time.monotonic() > closed)
    quotes = reference.feed.quotes
    until(lambda: reference.feed.quotes > quotes)
    assert reference.told[told:] == []  # the second connection took over before the first ended


def test_b03_a_stall_shows_in_the_age_of_the_quote(
    venue: VenueThread, reference: ReferenceDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance, "SILENT_SYMBOL_NS_MAX", NS_PER_S // 2)
    monkeypatch.setattr(websocket, "LOOK_NS", NS_PER_S // 10)
    inject(venue, id="B03", duration_s=60)
    assert reference.await_loss().startswith("no quote of BTCUSDT")
    until(lambda: reference.reader.connected)


def test_b06_nonsense_is_dropped_and_the_third_in_a_row_ends_trust(
    venue: VenueThread, reference: ReferenceDesk
) -> None:
    sound = reference.caches.reference["btc"].latest
    assert sound is not None
    inject(venue, id="B06", count=6, duration_s=60)
    until(lambda: reference.feed.nonsense == 6)
    until(lambda: reference.caches.reference["btc"].latest is not None)
    again = reference.caches.reference["btc"].latest
    assert again is not None
    assert abs(again.mid_e8 / sound.mid_e8 - 1) < 0.01
    assert reference.reader.reconnects == 0


def test_w01_a_frozen_settlement_price_costs_the_connection(
    venue: VenueThread, desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_price, "SILENT_NS_MAX", 3 * NS_PER_S // 2)
    monkeypatch.setattr(websocket, "LOOK_NS", NS_PER_S // 10)
    info, caches = venue.info, Caches()
    feed = SettlementFeed(
        url=info["settlement_ws_url"],
        api_key=info["api_key"],
        secret=info["api_secret"],
        passphrase=info["api_passphrase"],
        caches=caches,
        clock=time.monotonic_ns,
    )
    desk = Desk(feed)
    desks.append(desk)
    desk.reader.command(MarketListed(market=market_of(venue)))
    desk.reader.start()
    until(lambda: feed.values > 0)
    inject(venue, id="W01", match="settle", duration_s=60)
    assert "value of btc" in desk.await_loss()
    values = feed.values
    until(lambda: feed.values > values)
