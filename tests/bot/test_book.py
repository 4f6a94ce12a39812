"""Ladders, mirrors and the view in Up terms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.book import CONTRADICTED_NS_MAX, CROSSED_NS_MAX, Ladder, MarketBook
from bot.caches import DEPTH
from bot.market import Market, Rule

PXS = st.integers(1, 40).map(lambda tick: tick * 100)
MARKET = Market(
    symbol="0xc",
    slug="btc-updown-5m-0",
    series="btc-updown-5m",
    asset="btc",
    up_token="1",
    down_token="2",
    version=2,
    rule=Rule.TWAP,
    window_s=60,
    start_utc_ns=0,
    end_utc_ns=300_000_000_000,
    tick=100,
    min_qty=5_000_000,
    fee_rate=0.07,
)


def book_with_both_tokens() -> MarketBook:
    book = MarketBook(MARKET)
    book.up.snapshot({5100: 20, 5200: 35}, {5400: 7, 5300: 8}, 10)
    book.down.snapshot({4600: 7, 4700: 8}, {4900: 20, 4800: 35}, 10)
    book.refresh(10)
    return book


@given(st.booleans(), st.lists(st.tuples(PXS, st.integers(0, 3)), max_size=120))
def test_ladder_equals_a_plain_dictionary_after_every_change(bid: bool, changes: list[tuple[int, int]]) -> None:
    ladder = Ladder(bid)
    model: dict[int, int] = {}
    for px, qty in changes:
        ladder.put(px, qty)
        model[px] = qty
        expected = sorted(((p, q) for p, q in model.items() if q), reverse=bid)[:DEPTH]
        assert list(ladder.levels()) == expected
        assert list(ladder.mirrored()) == [(10_000 - p, q) for p, q in expected]
        assert ladder.best() == (expected[0][0] if expected else None)


def test_levels_behind_the_kept_depth_leave_the_kept_levels_alone() -> None:
    ladder = Ladder(bid=True)
    ladder.load({px * 100: 5 for px in range(1, DEPTH + 10)})
    kept = ladder.levels()
    ladder.put(100, 7)
    ladder.put(200, 0)
    assert ladder.levels() is kept
    ladder.put((DEPTH + 9) * 100, 6)
    assert ladder.levels() is not kept


def test_view_is_best_first_and_in_up_terms() -> None:
    view = book_with_both_tokens().view
    assert view is not None
    assert view.bids == ((5200, 35), (5100, 20))
    assert view.asks == ((5300, 8), (5400, 7))


def test_down_token_alone_gives_the_same_view() -> None:
    book = MarketBook(MARKET)
    book.down.snapshot({4600: 7, 4700: 8}, {4900: 20, 4800: 35}, 10)
    assert book.refresh(10)
    both = book_with_both_tokens().view
    assert book.view is not None and both is not None
    assert (book.view.bids, book.view.asks) == (both.bids, both.asks)


def test_deltas_before_a_snapshot_count_for_nothing() -> None:
    book = MarketBook(MARKET)
    book.up.change(True, 5200, 45, 1)
    assert not book.refresh(1) and book.view is None
    book.up.snapshot({}, {5300: 8}, 2)
    book.refresh(2)
    assert book.view is not None and book.view.bids == ()


def test_only_a_change_of_the_top_is_reported_and_stamped() -> None:
    book = book_with_both_tokens()
    book.up.change(True, 5100, 21, 20)
    book.down.change(False, 4900, 21, 20)
    assert not book.refresh(20)
    assert book.view is not None and (book.view.recv_ns, book.view.changed_ns) == (20, 10)
    book.up.change(True, 5200, 0, 30)
    assert book.refresh(30)
    assert book.view.changed_ns == 30 and book.view.bids == ((5100, 21),)


def test_a_token_that_is_silent_does_not_look_fresh_because_its_mirror_is_not() -> None:
    book = book_with_both_tokens()
    book.down.change(True, 4000, 9, 99)
    book.refresh(99)
    assert book.view is not None and book.view.recv_ns == 10


def test_crossed_book_keeps_the_last_sound_view_and_is_a_fault_after_half_a_second() -> None:
    book = book_with_both_tokens()
    sound = book.view
    book.up.change(True, 5300, 4, 100)
    assert not book.refresh(100) and book.view is sound
    assert book.fault(100 + CROSSED_NS_MAX) is None
    assert book.fault(101 + CROSSED_NS_MAX) == "crossed book"
    book.drop()
    assert book.view is None and book.fault(101 + CROSSED_NS_MAX) is None


def test_a_cross_that_ends_in_time_is_no_fault() -> None:
    book = book_with_both_tokens()
    book.up.change(True, 5300, 4, 100)
    book.refresh(100)
    book.up.change(False, 5300, 0, 200)
    book.down.change(True, 4700, 0, 200)
    book.down.change(False, 4700, 4, 200)
    assert book.refresh(200)
    assert book.fault(200 + CONTRADICTED_NS_MAX + CROSSED_NS_MAX) is None


def test_broken_mirrors_are_a_fault_when_they_last() -> None:
    book = book_with_both_tokens()
    book.up.change(True, 5200, 0, 100)
    book.refresh(100)
    assert book.fault(200) is None
    assert book.fault(199 + CONTRADICTED_NS_MAX) is None
    assert book.fault(200 + CONTRADICTED_NS_MAX) == "contradictory book"
    book.down.change(False, 4800, 0, 300)
    book.refresh(300)
    assert book.fault(9 * CONTRADICTED_NS_MAX) is None


def test_a_contradiction_that_was_mended_between_two_looks_starts_anew() -> None:
    book = book_with_both_tokens()
    book.up.change(True, 5200, 0, 100)
    assert book.fault(200) is None
    book.up.change(True, 5200, 35, 300)
    assert book.fault(400) is None
    book.up.change(True, 5200, 0, 500)
    assert book.fault(600 + CONTRADICTED_NS_MAX) is None


def test_mirrors_of_one_sided_books_agree() -> None:
    book = MarketBook(MARKET)
    book.up.snapshot({9900: 5}, {}, 1)
    book.down.snapshot({}, {100: 5}, 1)
    book.refresh(1)
    assert book.fault(1) is None and book.fault(1 + CONTRADICTED_NS_MAX) is None
    book.up.change(False, 9950, 1, 2)
    book.refresh(2)
    assert book.fault(2) is None and book.fault(2 + CONTRADICTED_NS_MAX) == "contradictory book"


def test_a_top_other_than_the_venue_says_is_a_fault_when_it_lasts() -> None:
    book = book_with_both_tokens()
    book.said = (book.up, 5200, 5300)
    assert book.fault(100) is None and book.fault(100 + CONTRADICTED_NS_MAX) is None
    book.said = (book.down, 4650, 4800)
    assert book.fault(100) is None and book.fault(100 + CONTRADICTED_NS_MAX) == "contradictory book"


def test_tick_change_is_a_new_epoch_once() -> None:
    book = book_with_both_tokens()
    assert book.change_tick(10)
    assert book.view is None and book.epoch == 1
    assert not book.change_tick(10)
    book.up.snapshot({5210: 1}, {}, 50)
    book.refresh(50)
    assert book.view is not None and book.view.tick == 10
