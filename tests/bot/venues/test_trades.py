"""Whose fill it was: the taker's view of a trade turned into our own legs."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.errors import FrameError
from bot.messages import ExecType, Side, Source, TradeStatus
from bot.venues.polymarket_trades import decimal_of, legs, stamp_ns, trade_status

KEY = "7c1d0000-0000-0000-0000-000000000001"
WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
OTHER = "0x00000000000000000000000000000000000000aa"


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "order_id": "0xEC20",
        "owner": KEY,
        "maker_address": WALLET,
        "asset_id": "111",
        "outcome": "Up",
        "side": "BUY",
        "price": "0.52",
        "matched_amount": "8",
        "fee_rate_bps": "0",
    } | fields


def trade(**fields: Any) -> dict[str, Any]:
    """A taker bought Down at .48 against our bid for Up at .52 (a mint)."""
    return {
        "event_type": "trade",
        "type": "TRADE",
        "id": "t1",
        "status": "MATCHED",
        "taker_order_id": "0xtaker",
        "market": "0xm",
        "asset_id": "222",
        "side": "BUY",
        "size": "8",
        "price": "0.48",
        "owner": "taker-key",
        "maker_address": OTHER,
        "maker_orders": [entry()],
        "trader_side": "MAKER",
        "match_time": "1793750401",
        "last_update": "1793750401",
        "timestamp": "1793750401234",
    } | fields


def ours(record: dict[str, Any]) -> list[Any]:
    return legs(record, api_key=KEY, wallets=[WALLET], source=Source.USER, recv_ns=9)


def test_as_maker_only_our_own_entry_counts() -> None:
    (report,) = ours(trade())
    assert (report.order_id, report.asset_id, report.side) == ("0xec20", "111", Side.BUY)
    assert (report.last_px, report.last_qty, report.maker) == (5200, 8_000_000, True)
    assert (report.exec_id, report.symbol, report.exec_type) == ("t1", "0xm", ExecType.TRADE)
    assert (report.trade_status, report.source, report.recv_ns) == (TradeStatus.MATCHED, Source.USER, 9)
    assert report.utc_ns == 1_793_750_401_234_000_000


def test_one_trade_can_hold_several_of_our_orders_and_those_of_strangers() -> None:
    record = trade(
        maker_orders=[
            entry(),
            entry(order_id="0xbb", owner="stranger", maker_address=OTHER),
            entry(order_id="0xcc", matched_amount="1.5", price="0.51"),
        ]
    )
    assert [(report.order_id, report.last_qty) for report in ours(record)] == [
        ("0xec20", 8_000_000),
        ("0xcc", 1_500_000),
    ]


def test_an_entry_of_our_wallet_under_another_key_is_ours() -> None:
    assert len(ours(trade(maker_orders=[entry(owner="second-key", maker_address=WALLET.lower())]))) == 1


def test_as_taker_the_top_level_is_our_leg() -> None:
    record = trade(
        trader_side="TAKER", owner=KEY, maker_orders=[entry(owner="x", maker_address=OTHER)], price="0.4866667"
    )
    (report,) = ours(record)
    assert (report.order_id, report.asset_id, report.side, report.maker) == ("0xtaker", "222", Side.BUY, False)
    assert report.last_px == 4867  # an average price is rounded, not refused


def test_two_of_our_orders_that_met_give_two_legs() -> None:
    record = trade(owner=KEY, maker_address=WALLET)
    assert [report.maker for report in ours(record)] == [False, True]


@pytest.mark.parametrize(("owner", "wallet"), [(KEY, OTHER), ("taker-key", WALLET)])
def test_against_the_word_maker_one_sign_of_the_taker_being_us_is_not_enough(owner: str, wallet: str) -> None:
    assert [report.maker for report in ours(trade(owner=owner, maker_address=wallet))] == [True]


@pytest.mark.parametrize("owner", [KEY, "taker-key"])
def test_without_trader_side_the_owner_decides(owner: str) -> None:
    record = trade(owner=owner, maker_orders=[])
    del record["trader_side"]
    assert len(ours(record)) == (owner == KEY)


def test_a_trade_of_strangers_has_no_leg() -> None:
    assert ours(trade(maker_orders=[entry(owner="x", maker_address=OTHER)])) == []


@pytest.mark.parametrize(("asset", "expected"), [("222", Side.SELL), ("111", Side.BUY)])
def test_a_missing_entry_side_follows_from_the_taker(asset: str, expected: Side) -> None:
    record = entry(asset_id=asset)
    del record["side"]
    (report,) = ours(trade(maker_orders=[record]))
    assert report.side is expected


def test_failed_takes_the_fill_back() -> None:
    (report,) = ours(trade(status="TRADE_STATUS_FAILED", err_msg="reverted"))
    assert (report.exec_type, report.trade_status) == (ExecType.TRADE_CANCEL, TradeStatus.FAILED)
    assert report.text == "reverted"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("TRADE_STATUS_MATCHED", TradeStatus.MATCHED),
        ("matched", TradeStatus.MATCHED),
        ("MATCHED_NOT_BROADCASTED", TradeStatus.MATCHED),
        ("RETRYING", TradeStatus.RETRYING),
        ("MINED", TradeStatus.MINED),
        ("TRADE_STATUS_CONFIRMED", TradeStatus.CONFIRMED),
    ],
)
def test_settlement_words_are_normalised(text: str, status: TradeStatus) -> None:
    assert trade_status(text) is status


@pytest.mark.parametrize(
    "broken",
    [
        {"id": ""},
        {"status": "SOMETHING_NEW"},
        {"status": None},
        {"market": None},
        {"maker_orders": "x"},
        {"maker_orders": ["x"]},
        {"maker_orders": [entry(price="NaN")]},
        {"maker_orders": [entry(matched_amount="")]},
        {"maker_orders": [entry(matched_amount="-1")]},
        {"maker_orders": [entry(matched_amount="Infinity")]},
        {"maker_orders": [entry(), {"owner": KEY}]},
        {"maker_orders": [entry(side="HOLD")]},
    ],
)
def test_an_unreadable_trade_raises_and_gives_no_leg(broken: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        ours(trade(**broken))


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("1793750401", 1_793_750_401 * 10**9),
        (1793750401234, 1_793_750_401_234 * 10**6),
        ("", 0),
        (None, 0),
        ("2026-11-04T00:00:00Z", 0),
        ("NaN", 0),
    ],
)
def test_stamps_come_in_seconds_or_milliseconds(value: object, ns: int) -> None:
    assert stamp_ns(value) == ns


@pytest.mark.parametrize("text", ["1e20", "1e999990", "1e999999999999", "9" * 5000, "nan", "inf", [], True])
def test_a_number_that_64_bits_do_not_hold_is_a_frame_error_at_once(text: Any) -> None:
    """It would be told, and no journal could take it; and int() of ten such bytes takes most of a minute."""
    with pytest.raises(FrameError):
        decimal_of({"size": text}, "size", 6)
    assert stamp_ns(text) == 0


NUMBERS = st.one_of(
    st.from_regex(r"-?[0-9]{0,21}(\.[0-9]{0,8})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"\s?[0-9_\u0660-\u0669]{1,9}\.?[0-9_]{0,7}", fullmatch=True),
    st.sampled_from(["", ".", "NaN", "sNaN", "-Infinity", "0", "-0", "00.50", "+1", " 1", "1__0", "\u0663", "\u00b2"]),
)


@given(text=NUMBERS, digits=st.sampled_from([0, 4, 6]))
@example(text="1793750401234", digits=6)
@example(text="9999999999999", digits=6)  # in our units more than 64 bits hold
@example(text="", digits=6)
@example(text="0.5234567", digits=6)
def test_the_short_way_of_a_number_ends_where_the_long_one_does(text: str, digits: int) -> None:
    expected: int | None
    stamped = 0
    try:
        number = Decimal(text)
        scaled = number.scaleb(digits)
        expected = int(scaled.quantize(Decimal(1), ROUND_HALF_EVEN)) if scaled < 1 << 63 else None
        if 0 < number < 9_000_000_000_000:
            stamped = int(number * (1_000_000 if number > 100_000_000_000 else 1_000_000_000))
    except ArithmeticError:
        expected = None
    if expected is None or expected < 0:
        with pytest.raises(FrameError):
            decimal_of({"size": text}, "size", digits)
    else:
        assert decimal_of({"size": text}, "size", digits) == expected
    assert stamp_ns(text) == stamped
