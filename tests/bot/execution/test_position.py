"""Fills and what they add up to."""

from __future__ import annotations

import pytest
from desk_fake import DOWN, SYMBOL, UP, a_market, trade

from bot.execution.position import Positions
from bot.messages import Side, TradeStatus
from bot.units import NS_PER_S, QTY_ONE, USD_ONE


def booked(positions: Positions, shares: float, **given: object) -> None:
    fields: dict[str, object] = {
        "asset": UP,
        "side": Side.BUY,
        "exec_id": "t1",
        "px": 4000,
        "now": NS_PER_S,
        "history": False,
    }
    fields.update(given)
    positions.book(
        trade("o", shares, exec_id=str(fields["exec_id"]), px=int(str(fields["px"]))),
        SYMBOL,
        str(fields["asset"]),
        Side(fields["side"]),
        int(str(fields["now"])),
        history=bool(fields["history"]),
    )


def test_shares_cash_and_money_paid_in_are_the_sums_of_the_fills() -> None:
    positions = Positions()
    booked(positions, 10)
    booked(positions, 4, exec_id="t2", asset=DOWN, px=5500)
    booked(positions, 3, exec_id="t3", side=Side.SELL, px=4200)
    assert positions.quantities(a_market()) == (7 * QTY_ONE, 4 * QTY_ONE)
    paid = 4_000_000 + 2_200_000 - 1_260_000
    assert (positions.cash, positions.of(SYMBOL).invested) == (-paid, paid)


def test_a_fill_is_booked_once_and_voided_once() -> None:
    positions = Positions()
    booked(positions, 10)
    with pytest.raises(AssertionError):
        booked(positions, 10)
    positions.void(trade("o", 10), 9)
    assert (positions.quantities(a_market()), positions.cash) == ((0, 0), 0)
    with pytest.raises(AssertionError):
        positions.void(trade("o", 10), 9)


def test_one_trade_may_fill_two_of_our_orders() -> None:
    positions = Positions()
    positions.book(trade("o1", 1), SYMBOL, UP, Side.BUY, 1)
    positions.book(trade("o2", 2), SYMBOL, UP, Side.BUY, 1)
    assert positions.quantities(a_market()) == (3 * QTY_ONE, 0)


def test_the_settlement_step_only_rises() -> None:
    positions = Positions()
    booked(positions, 10)
    assert positions.unsettled_qty(UP) == 10 * QTY_ONE
    mined = trade("o", 10, status=TradeStatus.MINED)
    assert positions.rises(mined)
    positions.settle_step(mined)
    assert positions.unsettled_qty(UP) == 0
    assert not positions.rises(trade("o", 10, status=TradeStatus.RETRYING))
    assert positions.rises(trade("o", 10, status=TradeStatus.CONFIRMED))


def test_shares_matched_long_ago_and_never_mined_are_told_apart() -> None:
    positions = Positions()
    booked(positions, 10, now=NS_PER_S)
    booked(positions, 5, exec_id="t2", now=50 * NS_PER_S)
    assert positions.unsettled_qty(UP, booked_before_ns=20 * NS_PER_S) == 10 * QTY_ONE


def test_a_buried_key_is_void_and_counts_nothing() -> None:
    positions = Positions()
    positions.bury(trade("o", 10), SYMBOL, 1)
    known = positions.known(trade("o", 10))
    assert known is not None and known.void
    assert positions.quantities(a_market()) == (0, 0)


def test_history_moves_shares_but_not_the_cash_that_has_seen_it() -> None:
    positions = Positions()
    positions.cash = 100 * USD_ONE
    booked(positions, 10, history=True)
    assert positions.cash == 100 * USD_ONE
    assert (positions.quantities(a_market())[0], positions.of(SYMBOL).invested) == (10 * QTY_ONE, 4 * USD_ONE)
    positions.void(trade("o", 10), 9)
    assert positions.cash == 104 * USD_ONE


@pytest.mark.parametrize(("winner", "payout"), [(UP, 10 * USD_ONE), (DOWN, 4 * USD_ONE)])
def test_the_winning_shares_pay_one_dollar_each(winner: str, payout: int) -> None:
    positions = Positions()
    booked(positions, 10)
    booked(positions, 4, exec_id="t2", asset=DOWN)
    cash = positions.cash
    assert positions.pay_out(SYMBOL, winner, 1) == payout
    assert positions.cash == cash + payout
    assert positions.quantities(a_market()) == (0, 0)


def test_a_fill_told_after_the_payout_is_booked_and_paid() -> None:
    positions = Positions()
    positions.pay_out(SYMBOL, UP, 1)
    booked(positions, 10, px=4000)
    assert positions.cash == 10 * USD_ONE - 4 * USD_ONE
    positions.void(trade("o", 10), 9)
    assert positions.cash == 0
    booked(positions, 10, exec_id="t2", asset=DOWN)
    assert positions.cash == -4 * USD_ONE


def test_old_keys_are_forgotten_but_not_what_they_added_up_to() -> None:
    positions = Positions()
    booked(positions, 10)
    positions.prune(100 * NS_PER_S, keep_ns=10 * NS_PER_S)
    assert positions.known(trade("o", 10)) is None
    assert positions.quantities(a_market())[0] == 10 * QTY_ONE


def test_a_market_is_forgotten_when_it_is_paid_out_and_nobody_will_speak_of_its_fills() -> None:
    positions = Positions()
    booked(positions, 10, now=1)
    positions.pay_out(SYMBOL, UP, 5)
    positions.pay_out("0xnone", UP, 9)
    positions.prune(11, keep_ns=10)
    assert set(positions.holdings) == {SYMBOL, "0xnone"}, "its fill is still known"
    positions.prune(15, keep_ns=10)
    assert set(positions.holdings) == {SYMBOL, "0xnone"}, "a late fill would be paid at once"
    positions.prune(16, keep_ns=10)
    assert set(positions.holdings) == {"0xnone"}
    positions.prune(20, keep_ns=10)
    assert not positions.holdings


def test_a_look_at_a_market_without_fills_leaves_no_trace() -> None:
    positions = Positions()
    assert positions.of(SYMBOL).invested == 0 and positions.quantities(a_market()) == (0, 0)
    assert not positions.holdings


@pytest.mark.parametrize(
    ("status", "unsettled"), [(s, s in (TradeStatus.MATCHED, TradeStatus.RETRYING)) for s in list(TradeStatus)[:4]]
)
def test_a_fill_is_unsettled_until_it_is_mined(status: TradeStatus, unsettled: bool) -> None:
    positions = Positions()
    positions.book(trade("o", 10, status=status), SYMBOL, UP, Side.BUY, 1)
    assert (positions.unsettled_qty(UP) > 0) is unsettled
    positions = Positions()
    booked(positions, 10)
    if status is not TradeStatus.MATCHED:
        positions.settle_step(trade("o", 10, status=status))
    assert (positions.unsettled_qty(UP) > 0) is unsettled


def test_what_was_sold_or_is_of_another_token_is_not_unsettled_inventory() -> None:
    positions = Positions()
    booked(positions, 10, side=Side.SELL)
    booked(positions, 10, exec_id="t2", asset=DOWN)
    assert positions.unsettled_qty(UP) == 0


def test_a_voided_fill_is_not_unsettled_and_never_rises_again() -> None:
    positions = Positions()
    booked(positions, 10)
    assert positions.void(trade("o", 10), 9).status is TradeStatus.FAILED
    assert positions.unsettled == {}
    assert not positions.rises(trade("o", 10, status=TradeStatus.CONFIRMED))


def test_a_fill_that_was_mined_may_still_be_voided_and_forgotten() -> None:
    positions = Positions()
    for key in ("t1", "t2"):
        positions.book(trade("o", 10, exec_id=key, status=TradeStatus.MINED), SYMBOL, UP, Side.BUY, 1)
    positions.void(trade("o", 10), 9)
    positions.prune(100, keep_ns=1)
    assert positions.fills == {} and positions.quantities(a_market())[0] == 10 * QTY_ONE


def test_a_step_without_a_word_does_not_rise() -> None:
    positions = Positions()
    booked(positions, 10)
    assert not positions.rises(trade("o", 10, status=None))
    assert not positions.rises(trade("o", 10, status=TradeStatus.MATCHED))
    with pytest.raises(AssertionError):
        positions.settle_step(trade("o", 10, status=None))


def test_money_paid_is_kept_by_token() -> None:
    positions = Positions()
    booked(positions, 10)
    booked(positions, 4, exec_id="t2", asset=DOWN, px=5500)
    booked(positions, 5, exec_id="t3", side=Side.SELL, px=8000)
    holding = positions.of(SYMBOL)
    assert holding.paid == {UP: 0, DOWN: 2_200_000}
    assert holding.invested == 2_200_000
    positions.void(trade("o", 10), 9)
    assert (holding.paid[UP], holding.tokens[UP]) == (-4_000_000, -5 * QTY_ONE)


def test_a_fill_keeps_what_was_told_of_it() -> None:
    positions = Positions()
    record = positions.book(trade("o", 10, px=4000, status=None), SYMBOL, UP, Side.SELL, 7, history=True)
    assert (record.symbol, record.order_id, record.asset_id, record.side) == (SYMBOL, "o", UP, Side.SELL)
    assert (record.px, record.qty, record.cost, record.signed_qty) == (4000, 10 * QTY_ONE, -4_000_000, -10 * QTY_ONE)
    assert (record.status, record.booked_ns, record.void, record.history) == (TradeStatus.MATCHED, 7, False, True)
    assert positions.known(trade("o", 1)) is record
    assert positions.cash_changed_ns == 7


def test_a_tombstone_keeps_the_key_and_the_first_word_stands() -> None:
    positions = Positions()
    positions.bury(trade("o", 10, px=4000, asset_id=DOWN, side=Side.SELL), SYMBOL, 7)
    record = positions.known(trade("o", 10))
    assert record is not None
    assert (record.symbol, record.order_id, record.asset_id, record.side) == (SYMBOL, "o", DOWN, Side.SELL)
    assert (record.px, record.qty, record.cost, record.void) == (4000, 10 * QTY_ONE, 0, True)
    assert (record.status, record.booked_ns) == (TradeStatus.FAILED, 7)
    positions.bury(trade("o", 99), "other", 8)
    assert positions.known(trade("o", 10)) is record
    positions.bury(trade("p", 10), SYMBOL, 7)
    assert positions.fills["t1", "p"].side is Side.BUY  # nobody said


def test_a_market_is_paid_out_once() -> None:
    positions = Positions()
    booked(positions, 10)
    assert positions.pay_out(SYMBOL, UP, 1) == 10 * QTY_ONE
    holding = positions.of(SYMBOL)
    assert (holding.winner, holding.tokens, holding.paid) == (UP, {}, {})
    with pytest.raises(AssertionError):
        positions.pay_out(SYMBOL, UP, 1)
    assert Positions().pay_out(SYMBOL, UP, 1) == 0


def test_of_a_market_that_is_paid_out_no_fill_is_awaited_on_the_chain() -> None:
    """One that is never mined would keep the balance, which knows what came of it, from being believed."""
    positions = Positions()
    booked(positions, 10, exec_id="ghost")
    positions.pay_out("0xother", "w", 1)
    assert positions.unsettled_qty(UP) == 10 * QTY_ONE
    positions.pay_out(SYMBOL, UP, 1)
    booked(positions, 5, exec_id="late")
    assert positions.unsettled == {}


def test_history_told_after_the_payout_is_paid_and_not_charged() -> None:
    positions = Positions()
    positions.pay_out(SYMBOL, UP, 1)
    booked(positions, 10, history=True)
    assert positions.cash == 10 * USD_ONE
    assert positions.of(SYMBOL).tokens == {}


def test_keys_as_old_as_the_limit_are_kept_and_the_unsettled_go_with_the_old() -> None:
    positions = Positions()
    booked(positions, 10, now=1)
    booked(positions, 10, exec_id="t2", now=2)
    positions.prune(12, keep_ns=10)
    assert list(positions.fills) == list(positions.unsettled) == [("t2", "o")]
