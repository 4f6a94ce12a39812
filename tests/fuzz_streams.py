"""Streams (fuzz.py): the frame reader, and the five conversations."""

from __future__ import annotations

import math
from typing import Any

import orjson
import requests
from desk_fake import SYMBOL, UP, a_market
from fuzz import Target
from fuzz_checks import BID, INT64, KEY, OFFER, T0, WALLET, dumped, fits, named_in, order_event, told, trade_event

from bot.caches import Caches
from bot.errors import FrameError
from bot.messages import (
    ExecType,
    ExecutionReport,
    MarketListed,
    MarketResolved,
    Message,
    Source,
    TickSizeChange,
)
from bot.units import NS_PER_S, PX_ONE
from bot.venues.binance import HOUR, MINUTE, BinanceFeed
from bot.venues.binance_perp import PerpFeed
from bot.venues.conversation import Conversation
from bot.venues.frames import FrameBuffer
from bot.venues.polymarket_book import MarketFeed
from bot.venues.polymarket_user import UserFeed
from bot.venues.settlement_price import SettlementFeed


def ws(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    return bytes([first, 126]) + size.to_bytes(2, "big") + payload


def frames_run(data: bytes) -> None:
    """However it is cut, the same comes out; no more is held than one message and what came last."""
    most = 2000
    outcomes = []
    for step in (len(data) or 1, 1 + len(data) // 3, 7):
        buffer = FrameBuffer(most)
        got: list[tuple[int, bytes]] = []
        error = ""
        for start in range(0, len(data), step):
            try:
                got += buffer.feed(data[start : start + step])
            except FrameError as refused:
                error = type(refused).__name__
                break
            held = sum(map(len, buffer._parts)) + len(buffer._message)
            assert held <= 2 * most + 16 + step
        outcomes.append((got, error))
        assert sum(len(payload) for _, payload in got) <= len(data)
        assert all(len(payload) <= most for _, payload in got)
    # What came with the refused bytes is thrown away, and how much that is depends on the cut.
    assert len({error for _, error in outcomes}) == 1
    assert outcomes[0][1] or outcomes[0] == outcomes[1] == outcomes[2]


def decoded(feed: Conversation, data: bytes) -> list[Message]:
    """FrameError is the documented refusal, upon which the connection is renewed."""
    try:
        said = feed.decode(data, 7)
    except FrameError as error:
        assert len(str(error)) < 500
        said = feed.lost("refused", 8)
    said += feed.settle(9)
    feed.stale(60 * NS_PER_S)
    feed.rotate(60 * NS_PER_S)
    for text in feed.outbox:
        orjson.loads(text)
    fits(said)
    return said


def user_run(data: bytes) -> None:
    feed = UserFeed(url="ws://x", api_key=KEY, secret="s3cret", passphrase="p4ss", wallets=[WALLET])
    said = decoded(feed, data)
    reports = [message for message in said if isinstance(message, ExecutionReport)]
    assert feed.received - feed.quarantined == len(reports)
    assert not feed.quarantined or len(said) > len(reports), "put aside, and no gap was told"
    names = named_in(data)
    for report in reports:
        assert report.source is Source.USER and report.order_id in names
        if report.exec_type in (ExecType.TRADE, ExecType.TRADE_CANCEL):
            assert report.exec_id.lower() in names and report.asset_id.lower() in names
            assert names & {KEY, WALLET.lower(), "taker"}, "a fill that names neither us nor our side"
            assert report.last_qty >= 0 and report.last_px >= 0
    if reports:
        told(said)


def market_run(data: bytes) -> None:
    caches, market = Caches(), a_market()
    feed = MarketFeed(url="ws://x", caches=caches, clock=lambda: 5, utc=lambda now: market.start_utc_ns + now)
    feed.command(MarketListed(market=market))
    feed.opening()
    for body in MARKET[:2]:
        feed.decode(body, 6)
    feed.settle(6)
    for message in decoded(feed, data):
        if isinstance(message, TickSizeChange):
            assert message.tick > 0 and PX_ONE % message.tick == 0
        if isinstance(message, MarketResolved):
            assert message.winning_asset_id in (market.up_token, market.down_token)
    cache = caches.books[market.symbol]
    if (view := cache.latest) is not None:
        for levels, sign in ((view.bids, -1), (view.asks, 1)):
            assert all(0 < px < PX_ONE and 0 < qty < INT64 for px, qty in levels)
            assert [sign * px for px, _ in levels] == sorted({sign * px for px, _ in levels})
    if cache.last_trade is not None:
        px, qty, _ = cache.last_trade
        assert 0 < px < PX_ONE and 0 <= qty < INT64


def references_are_sane(caches: Caches) -> None:
    for cache in caches.reference.values():
        for reference in (cache.latest, cache.perp):
            if reference is not None:
                assert 0 < reference.bid_e8 <= reference.ask_e8 < INT64
                assert math.isfinite(reference.lag_ms)
        for table in (cache.candle_open_e8, cache.candle_close_e8):
            assert all(0 <= second < INT64 and 0 < px < INT64 for second, px in table.items())


class Rest(requests.Session):
    """Answers every question with these bytes."""

    def __init__(self, data: bytes, status: int = 200) -> None:
        super().__init__()
        self.data, self.status = data, status

    def get(self, url: Any, **_: Any) -> Any:
        answer = requests.Response()
        answer.status_code = self.status
        answer._content = self.data
        if self.status != 200:
            answer.headers["Retry-After"] = self.data[:5000].decode("latin-1").strip()
        return answer


def binance_feed(caches: Caches, session: requests.Session | None = None) -> BinanceFeed:
    return BinanceFeed(
        ws_url="ws://x", rest_url="http://x", assets=("btc",), caches=caches, clock=lambda: NS_PER_S, session=session,
        utc=lambda now: T0 * NS_PER_S + now, candles={"btc": (HOUR, MINUTE)},
    )  # fmt: skip


def binance_run(data: bytes) -> None:
    caches = Caches()
    feed = binance_feed(caches)
    feed.connected(1)
    decoded(feed, data)
    references_are_sane(caches)
    feed.decode(BINANCE[0], 8)
    decoded(feed, data)
    references_are_sane(caches)


def klines_run(data: bytes) -> None:
    caches = Caches()
    binance_feed(caches, Rest(data, status=429 if data[:1] == b"4" else 200)).bootstrap()
    references_are_sane(caches)


def perp_run(data: bytes) -> None:
    caches = Caches()
    decoded(PerpFeed(ws_url="ws://x", assets=("btc",), caches=caches, clock=lambda: 5), data)
    references_are_sane(caches)


def settlement_run(data: bytes) -> None:
    caches = Caches()
    feed = SettlementFeed(url="ws://x", api_key=KEY, secret="s", passphrase="p", caches=caches, clock=lambda: 5)
    feed.command(MarketListed(market=a_market()))
    feed.opening()
    feed.decode(b'{"op":"authed"}', 6)
    decoded(feed, data)
    value = caches.settlement_of("btc", 60).latest
    if value is not None:
        assert 0 < value.value_e8 < INT64 and 0 <= value.utc_ms <= INT64 // 1_000_000


USER = dumped(
    order_event(),
    [order_event(type="UPDATE", size_matched="8", status="MATCHED"), trade_event()],
    order_event(type="CANCELLATION", status="CANCELED", size_matched="3"),
    trade_event(status="FAILED", err_msg="reverted"),
    [trade_event(), trade_event(status="MINED"), trade_event(status="CONFIRMED"), trade_event(status="FAILED")],
    trade_event(trader_side="TAKER", taker_order_id=OFFER, owner=KEY, maker_orders=[]),
    trade_event(maker_orders=trade_event()["maker_orders"] * 2, trader_side=""),
)


def a_book(token: str, bid: str, ask: str) -> dict[str, Any]:
    return {
        "event_type": "book", "asset_id": token, "market": SYMBOL, "bids": [{"price": "0.01", "size": "9"}, {"price": bid, "size": "35"}],
        "asks": [{"price": "0.99", "size": "7"}, {"price": ask, "size": "8.5"}], "timestamp": "1793750400123",
        "hash": "0", "tick_size": "0.01",
    }  # fmt: skip


def a_change(token: str, px: str, side: str, bid: str = "0.48", ask: str = "0.52") -> dict[str, Any]:
    return {
        "asset_id": token, "price": px, "size": "12", "side": side, "hash": "h", "best_bid": bid, "best_ask": ask,
    }  # fmt: skip


MARKET = dumped(
    a_book(UP, "0.48", "0.52"),
    a_book("down-token", "0.48", "0.52"),
    {"market": SYMBOL, "price_changes": [a_change(UP, "0.47", "BUY"), a_change("down-token", "0.53", "SELL")],
     "timestamp": "1793750400123", "event_type": "price_change"},
    [{"event_type": "price_change", "market": SYMBOL, "price_changes": [a_change(UP, "0.49", "BUY", "0.49")]}, a_book(UP, "0.4", "0.6")],
    {"event_type": "last_trade_price", "asset_id": UP, "market": SYMBOL, "price": "0.5", "size": "3", "side": "BUY"},
    {"event_type": "tick_size_change", "asset_id": UP, "market": SYMBOL, "old_tick_size": "0.01", "new_tick_size": "0.001"},
    {"event_type": "market_resolved", "market": SYMBOL, "winning_asset_id": UP, "winning_outcome": "Up"},
    {"event_type": "best_bid_ask", "asset_id": UP, "best_bid": "0.48"},
) + (b"PONG", b"INVALID OPERATION")  # fmt: skip
BINANCE = dumped(
    {"stream": "btcusdt@bookTicker", "data": {"u": 5, "s": "BTCUSDT", "b": "60010.11", "B": "1", "a": "60010.12", "A": "2"}},
    {"u": 6, "s": "BTCUSDT", "b": "60010.10000000", "B": "1", "a": "60010.12000000", "A": "2"},
    {"stream": "btcusdt@aggTrade", "data": {"e": "aggTrade", "E": T0 * 1000, "s": "BTCUSDT", "p": "1", "q": "1", "T": T0 * 1000}},
    {"stream": "btcusdt@kline_1h", "data": {"e": "kline", "k": {"s": "BTCUSDT", "i": "1h", "t": T0 * 1000, "o": "60000", "c": "60001", "x": False}}},
    {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "k": {"s": "BTCUSDT", "i": "1m", "t": T0 * 1000, "o": "60000", "c": "60001", "x": True}}},
    {"data": {"e": "serverShutdown", "E": 1}},
    {"result": None, "id": 1},
)  # fmt: skip
KLINES = dumped(
    [[(T0 - 9 + n) * 1000, "60000.1", "60001", "59999", f"6000{n}.5", "1", 0, "1", 1, "1", "1", "0"] for n in range(8)]
) + (b"4", b"60")
PERP = dumped(
    {"stream": "btcusdt@bookTicker", "data": {"e": "bookTicker", "u": 5, "s": "BTCUSDT", "b": "60010.1", "a": "60010.2", "T": 1, "E": 2}}
)  # fmt: skip
VALUE = {
    "symbol": "btcusd",
    "window_seconds": 60,
    "value": 60010.5,
    "full_accuracy_value": "60010.51",
    "timestamp": T0 * 1000,
}
SETTLEMENT = dumped(
    {"channel": "price.crypto.twap", "seq": 1, "payload": VALUE},
    {"channel": "price.crypto.twap", "seq": 9, "payload": {**VALUE, "data": [VALUE, {**VALUE, "full_accuracy_value": "60010510000000000000000"}]}},
    {"op": "authed", "rid": "1"},
    {"op": "error", "rid": "1", "message": "no"},
)  # fmt: skip

STREAMS = (
    Target("frames", frames_run, tuple(
        b"".join(ws(payload) for payload in group) for group in (USER[:2], MARKET[:4], BINANCE)
    ) + (ws(b"he", 0x01) + ws(b"!", 0x89) + ws(b"l", 0x00) + ws(b"lo", 0x80) + ws(b"\x03\xe8bye", 0x88) + ws(bytes(300), 0x82),)),
    Target("user", user_run, USER, json=True, words=(f'"{BID}"', f'"{KEY}"', '"TAKER"', '"FAILED"', '"MINED"', '"SELL"', '"20"')),
    Target("market", market_run, MARKET, json=True, words=(f'"{UP}"', '"0.50"', '"0"', '"SELL"', '"book"', '"0.7"')),
    Target("binance", binance_run, BINANCE, json=True),
    Target("klines", klines_run, KLINES, json=True),
    Target("perp", perp_run, PERP, json=True),
    Target("settlement", settlement_run, SETTLEMENT, json=True),
)  # fmt: skip
