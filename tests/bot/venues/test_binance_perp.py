"""Quotes of the perpetual, and what is left of them when the stream is not to be relied on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bot.caches import Caches
from bot.venues.binance import ROTATE_NS
from bot.venues.binance_perp import SILENT_NS_MAX, PerpFeed


def feed_of(*assets: str) -> tuple[PerpFeed, Caches]:
    caches = Caches()
    return PerpFeed(ws_url="wss://futures/", assets=assets or ("btc",), caches=caches, clock=lambda: 0), caches


def quote(**fields: Any) -> bytes:
    data = {
        "e": "bookTicker",
        "u": 7,
        "s": "BTCUSDT",
        "b": "60020.10",
        "B": "5",
        "a": "60020.20",
        "A": "3",
        "E": 1,
        "T": 1,
    }
    return orjson.dumps({"stream": "btcusdt@bookTicker", "data": data | fields})


def test_it_asks_on_the_public_path_for_every_asset() -> None:
    assert feed_of("btc", "eth")[0].url() == "wss://futures/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker"


def test_a_quote_reaches_the_cache_and_an_older_one_does_not() -> None:
    feed, caches = feed_of()
    assert feed.decode(quote(), 5) == []
    feed.decode(quote(u=6, b="1", a="1"), 6)
    perp = caches.reference["btc"].perp
    assert perp is not None
    assert (perp.bid_e8, perp.ask_e8, perp.update_id, perp.recv_ns) == (6_002_010_000_000, 6_002_020_000_000, 7, 5)
    assert caches.reference["btc"].latest is None


@pytest.mark.parametrize(
    "frame", [b"x", b"[]", b"{}", quote(b="0"), quote(b="2", a="1"), quote(b=None), quote(u="x"), quote(s="ETHUSDT")]
)
def test_what_is_no_quote_of_ours_changes_nothing(frame: bytes) -> None:
    feed, caches = feed_of()
    assert feed.decode(frame, 5) == []
    assert caches.reference["btc"].perp is None


def test_a_lost_connection_leaves_no_quote_behind() -> None:
    feed, caches = feed_of()
    feed.decode(quote(), 5)
    feed.lost("gone", 6)
    assert caches.reference["btc"].perp is None
    feed.decode(quote(u=1), 7)
    assert caches.reference["btc"].perp is not None


def test_an_open_stream_that_says_nothing_is_left_and_a_day_old_one_renewed() -> None:
    feed, _ = feed_of()
    feed.connected(0)
    assert feed.stale(SILENT_NS_MAX) is None
    assert feed.stale(SILENT_NS_MAX + 1) is not None
    assert not feed.rotate(ROTATE_NS)
    assert feed.rotate(ROTATE_NS + 1)
    assert not feed.rotate(ROTATE_NS + 2)
