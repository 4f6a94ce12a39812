"""What the user channel may send: everything becomes a report or a gap. Frames are composed by us."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bot.errors import FrameError
from bot.messages import ExecType, ExecutionReport, FeedStatus, Halt, Message, Side, Source, StreamGap, TradeStatus
from bot.units import NS_PER_S
from bot.venues.polymarket_user import QUARANTINE_MAX, UserFeed

KEY = "7c1d0000-0000-0000-0000-000000000000"
WALLET = "0xF39Fd6e51aad88F6F4ce6aB8827279cfffFb92266"


def feed() -> UserFeed:
    return UserFeed(url="ws://x/ws/user", api_key=KEY, secret="s3", passphrase="p4", wallets=[WALLET])


def order(**fields: Any) -> dict[str, Any]:
    return {
        "event_type": "order",
        "type": "PLACEMENT",
        "id": "0xEC20",
        "owner": KEY,
        "market": "0xc",
        "asset_id": "123",
        "side": "BUY",
        "price": "0.52",
        "original_size": "10",
        "size_matched": "0",
        "associate_trades": [],
        "status": "LIVE",
        "created_at": "1793750400",
        "timestamp": "1793750400130",
    } | fields


def trade(**fields: Any) -> dict[str, Any]:
    leg = {
        "order_id": "0xec20",
        "owner": KEY,
        "maker_address": WALLET,
        "asset_id": "123",
        "side": "BUY",
        "price": "0.52",
        "matched_amount": "8",
    }
    return {
        "event_type": "trade",
        "type": "TRADE",
        "id": "b2c1",
        "status": "MATCHED",
        "taker_order_id": "0xtaker",
        "market": "0xc",
        "asset_id": "987",
        "side": "BUY",
        "size": "8",
        "price": "0.48",
        "owner": "taker",
        "maker_address": "0xother",
        "maker_orders": [leg],
        "trader_side": "MAKER",
        "timestamp": "1793750401234",
    } | fields


def decode(user: UserFeed, *events: Any) -> list[Message]:
    return user.decode(orjson.dumps(list(events) if len(events) != 1 else events[0]), 7)


def report(user: UserFeed, event: Any) -> ExecutionReport:
    (told,) = decode(user, event)
    assert isinstance(told, ExecutionReport)
    return told


def test_it_subscribes_every_market_of_the_key() -> None:
    (text,) = feed().opening()
    assert orjson.loads(text) == {"auth": {"apiKey": KEY, "secret": "s3", "passphrase": "p4"}, "type": "user"}


def test_a_placement_is_a_new_order_with_everything_the_venue_said() -> None:
    assert report(feed(), order()) == ExecutionReport(
        order_id="0xec20",
        exec_type=ExecType.NEW,
        source=Source.USER,
        symbol="0xc",
        asset_id="123",
        side=Side.BUY,
        px=5200,
        order_qty=10_000_000,
        cum_qty=0,
        text="LIVE",
        utc_ns=1793750400130_000_000,
        recv_ns=7,
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "UPDATE", "status": "MATCHED"}, ExecType.UPDATE),
        ({"type": "CANCELLATION", "status": "CANCELED"}, ExecType.CANCELED),
        ({"type": "CANCELLATION", "status": "CANCELED_order couldn't be filled"}, ExecType.CANCELED),
        ({"type": "placement", "status": "DELAYED"}, ExecType.NEW),
        ({"type": "", "status": "CANCELED_MARKET_RESOLVED"}, ExecType.CANCELED),
        ({"type": None, "status": "ORDER_STATUS_INVALID"}, ExecType.CANCELED),
        ({"type": "FUTURE", "status": "order_status_live"}, ExecType.NEW),
        ({"type": "FUTURE", "status": "MATCHED_PARTLY"}, ExecType.UPDATE),
    ],
)
def test_types_speak_first_and_statuses_by_their_beginning(fields: dict[str, Any], expected: ExecType) -> None:
    assert report(feed(), order(**fields)).exec_type is expected


def test_empty_and_null_fields_of_a_killed_order_are_unknown_and_no_error() -> None:
    fields = {"size_matched": "", "created_at": "", "timestamp": None, "associate_trades": None, "price": None}
    told = report(feed(), order(type="CANCELLATION", status="CANCELED", original_size="", side="", **fields))
    assert (told.cum_qty, told.px, told.order_qty, told.side, told.utc_ns) == (None, None, None, None, 0)


@pytest.mark.parametrize("stamp", ["1793750400", 1793750400, "1793750400000", 1793750400000])
def test_seconds_and_milliseconds_give_the_same_time(stamp: Any) -> None:
    assert report(feed(), order(timestamp=stamp)).utc_ns == 1793750400 * NS_PER_S


def test_a_trade_gives_our_own_leg() -> None:
    told = report(feed(), trade())
    assert (told.order_id, told.asset_id, told.side, told.last_px, told.last_qty) == (
        "0xec20",
        "123",
        Side.BUY,
        5200,
        8_000_000,
    )
    assert told.exec_type is ExecType.TRADE and told.trade_status is TradeStatus.MATCHED and told.source is Source.USER


def test_a_failed_trade_takes_its_fill_back() -> None:
    assert report(feed(), trade(status="TRADE_STATUS_FAILED")).exec_type is ExecType.TRADE_CANCEL


def test_an_array_keeps_its_order_and_a_bad_element_does_not_cost_its_siblings() -> None:
    user = feed()
    told = decode(user, order(), order(id=""), trade())
    assert [type(message) for message in told] == [ExecutionReport, StreamGap, ExecutionReport]
    assert told[1] == StreamGap(feed="user", reason="quarantine", now_ns=7)
    assert (user.received, user.quarantined) == (3, 1) and orjson.loads(user.quarantine[0])["id"] == ""


@pytest.mark.parametrize(
    "event",
    [
        7,
        None,
        {},
        order(event_type="novelty"),
        order(type="FUTURE", status="NOVEL"),
        order(side="HOLD"),
        order(price="x"),
        order(size_matched="-1"),
        trade(status="TRADE_STATUS_NOVEL"),
        trade(id=""),
        trade(maker_orders=[]),
        trade(maker_orders=7),
    ],
)
def test_what_cannot_be_read_is_put_aside_and_is_a_gap(event: Any) -> None:
    user = feed()
    assert user.decode(orjson.dumps([event]), 7) == [StreamGap(feed="user", reason="quarantine", now_ns=7)]
    assert user.quarantined == 1


@pytest.mark.parametrize("frame", [b'{"event_type":', b"[\xff]"])
def test_a_damaged_frame_is_put_aside_and_is_a_gap(frame: bytes) -> None:
    user = feed()
    assert user.decode(frame, 7) == [StreamGap(feed="user", reason="quarantine", now_ns=7)]
    assert list(user.quarantine) == [frame]


def test_quarantine_is_bounded_and_the_count_is_not() -> None:
    user = feed()
    for _ in range(QUARANTINE_MAX + 5):
        user.decode(b"{", 7)
    assert len(user.quarantine) == QUARANTINE_MAX and user.quarantined == QUARANTINE_MAX + 5


def test_other_texts_cost_the_connection() -> None:
    user = feed()
    assert user.decode(b"PONG", 7) == [] and user.decode(b"[]", 7) == []
    with pytest.raises(FrameError):
        user.decode(b"INVALID OPERATION", 7)
    assert user.quarantined == 1


def test_every_loss_is_a_gap_and_so_is_every_return() -> None:
    user = feed()
    assert user.connected(1) == [FeedStatus(feed="user", connected=True, now_ns=1)]
    decode(user, order())
    assert user.lost("reset", 2) == [
        FeedStatus(feed="user", connected=False, text="reset", now_ns=2),
        StreamGap(feed="user", reason="reset", now_ns=2),
    ]
    assert user.connected(3) == [
        StreamGap(feed="user", reason="reconnected", now_ns=3),
        FeedStatus(feed="user", connected=True, now_ns=3),
    ]


def halts(user: UserFeed, lives_ns: list[int]) -> list[Message]:
    told: list[Message] = []
    for life_ns in lives_ns:
        user.connected(0)
        told += user.lost("closed", life_ns)
    return [message for message in told if isinstance(message, Halt)]


def test_three_connections_in_a_row_that_end_at_once_halt_for_the_credentials() -> None:
    (halt,) = halts(feed(), [1, 1, 1, 1])
    assert isinstance(halt, Halt) and "credentials" in halt.reason and KEY not in halt.reason
    assert halts(feed(), [1, 1, 60 * NS_PER_S, 1, 1]) == []


def test_short_connections_after_an_event_prove_nothing_against_the_credentials() -> None:
    user = feed()
    decode(user, order())
    assert halts(user, [1, 1, 1, 1]) == []


def test_a_successor_counts_on_and_says_that_it_was_not_there() -> None:
    first = feed()
    first.connected(1)
    first.decode(orjson.dumps(order()), 2)
    first.decode(orjson.dumps({"event_type": "new"}), 3)
    second = UserFeed(url="ws://x", api_key=KEY, secret="s3", passphrase="p4", wallets=[WALLET], before=first)
    assert second.counters() == first.counters() == {"received": 2, "quarantined": 1}
    assert [type(message) for message in second.connected(9)] == [StreamGap, FeedStatus]


def test_an_event_nested_deeper_than_it_can_be_written_again_is_put_aside_as_its_frame() -> None:
    user = feed()
    frame = b'[{"event_type":"new","x":' + b"[" * 400 + b"]" * 400 + b"}]"
    assert user.decode(frame, 7) == [StreamGap(feed="user", reason="quarantine", now_ns=7)]
    assert list(user.quarantine) == [frame]
