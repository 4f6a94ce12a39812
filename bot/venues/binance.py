"""Binance spot market data: best bid and offer, feed delay and candle opens into the reference caches. Reads only.

The best-bid-ask stream carries no event time, so the delay is measured on the trades beside it. Knows no socket;
`bootstrap` makes the one REST call there is, for the history that volatility starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
import requests

from bot.caches import RING_S, Caches, Reference, ReferenceCache
from bot.errors import FrameError
from bot.messages import Message, Nudge
from bot.units import E8, NS_PER_MS, NS_PER_S, Ns
from bot.venues.conversation import Conversation
from bot.venues.decimals import fast_e8, utc_ns

ROTATE_NS: Ns = 23 * 3600 * NS_PER_S  # the venue ends a connection at 24 h
SILENT_SYMBOL_NS_MAX: Ns = 15 * NS_PER_S  # open but no quotes: a wrong path or a dead stream
GAP_NS_MAX: Ns = 5 * NS_PER_S  # a longer loss makes a hole in the history, which is then read again
JUMP_MAX = 2  # no mid is twice the last one; ten times a price that fell a little is less than ten times the last
NONSENSE_MAX = 3  # in a row: what was known is no longer trusted
LAG_WEIGHT = 0.1  # of a new measurement of the feed delay
REST_TIMEOUT_S = (3.0, 5.0)
HISTORY_S = 1000  # the most one call gives
HOUR, MINUTE = "1h", "1m"  # candles that settle markets: by the opens of hours, by the closes of minutes
MINUTE_MS = 60_000
CLOSES_MS = 26 * 3_600_000  # a day on which the clock is turned has 25 hours
CLOSES_KEPT = 2 * CLOSES_MS // MINUTE_MS


@dataclass(slots=True)
class Symbol:
    """One symbol's cache and what is needed to judge its next quote."""

    name: str  # "BTCUSDT"
    asset: str
    cache: ReferenceCache
    update_id: int = 0
    mid_e8: E8 = 0  # of the last quote believed on this connection
    lag_ms: float = 0.0
    lag_known: bool = False
    quote_ns: Ns = 0
    nonsense: int = 0
    history_from: int = 0  # second since which the history has no hole; 0: none yet


def symbol_of(asset: str) -> str:
    return f"{asset.upper()}USDT"


class BinanceFeed(Conversation):
    """Invariant: a cache's update id only rises (also through a renewal, until a loss), and what it holds passed every test of `_quote`.

    `utc` turns a monotonic receive time into the venue's wall clock; `candles` names for each asset the candles
    (HOUR, MINUTE) that its markets may settle on.
    """

    name = "binance"
    message_bytes_max = 1024 * 1024

    def __init__(
        self,
        *,
        ws_url: str | Sequence[str],
        rest_url: str,
        assets: Sequence[str],
        caches: Caches,
        clock: Callable[[], Ns],
        utc: Callable[[Ns], Ns],
        candles: Mapping[str, Collection[str]] = MappingProxyType({}),
        session: requests.Session | None = None,
    ) -> None:
        super().__init__()
        self._hosts = [ws_url] if isinstance(ws_url, str) else list(ws_url)
        self._turn = 0
        self._rest_url = rest_url
        self._session = session
        self._clock = clock
        self._utc = utc
        self._caches = caches
        self._candles = candles
        self._symbols: dict[str, Symbol] = {}
        for asset in assets:
            cache = caches.reference.setdefault(asset, ReferenceCache(symbol_of(asset)))
            self._symbols[symbol_of(asset)] = Symbol(name=symbol_of(asset), asset=asset, cache=cache)
        self._since_ns: Ns = 0
        self._lost_ns: Ns | None = None
        self._leave = False
        self._prepared = False
        self.not_before_ns: Ns = 0  # the REST interface asked us to wait until then
        self.quotes = 0
        self.duplicates = 0
        self.nonsense = 0
        self.malformed = 0
        self.answers = 0
        self.refused = 0  # of them, answers that are errors

    # -- conversation ----------------------------------------------------------------------------------------------

    def url(self) -> str:
        """The hosts take turns, so that a refused or closing one is left."""
        host = self._hosts[self._turn % len(self._hosts)]
        self._turn += 1
        streams: list[str] = []
        for symbol in self._symbols.values():
            low = symbol.name.lower()
            streams += [f"{low}@bookTicker", f"{low}@aggTrade"]
            streams += [f"{low}@kline_{interval}" for interval in self._candles.get(symbol.asset, ())]
        return f"{host.rstrip('/')}/stream?streams={'/'.join(streams)}"

    def connected(self, now_ns: Ns) -> list[Message]:
        gap = self._lost_ns is not None and now_ns - self._lost_ns > GAP_NS_MAX and not self._prepared
        for symbol in self._symbols.values():
            symbol.mid_e8 = symbol.nonsense = 0  # a level that moved while we were away is no jump
            symbol.update_id = 0
            symbol.quote_ns = now_ns
            if gap:
                symbol.history_from = 0
        self._since_ns = now_ns
        self._lost_ns = None
        self._leave = False
        return super().connected(now_ns)

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        self._lost_ns = now_ns
        self._prepared = False
        return super().lost(reason, now_ns)

    def rotate(self, now_ns: Ns) -> bool:
        if self._leave or now_ns - self._since_ns > ROTATE_NS:
            self._leave = False
            self._since_ns = now_ns
            return True
        return False

    def stale(self, now_ns: Ns) -> str | None:
        for symbol in self._symbols.values():
            if now_ns - symbol.quote_ns > SILENT_SYMBOL_NS_MAX:
                return f"no quote of {symbol.name} for {SILENT_SYMBOL_NS_MAX // NS_PER_S} s"
        return None

    def counters(self) -> dict[str, int]:
        return {
            "quotes": self.quotes,
            "duplicates": self.duplicates,
            "nonsense": self.nonsense,
            "malformed": self.malformed,
        }

    # -- frames ----------------------------------------------------------------------------------------------------

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        try:
            body = orjson.loads(frame)
            data = body.get("data", body)
            kind = data.get("e")
        except (ValueError, AttributeError):
            self.malformed += 1
            return []
        for symbol in self._symbols.values():
            symbol.cache.frame_ns = now_ns
        try:
            if "id" in body or "code" in body:  # an answer to a request, never data
                self.answers += 1
                self.refused += body.get("result", 0) is not None
            elif kind is None or kind == "bookTicker":
                if "b" in data and "s" in data:
                    return self._quote(data, now_ns)
            elif kind == "aggTrade" or kind == "trade":
                self._trade(data, now_ns)
            elif kind == "kline":
                self._candle(data["k"])
            elif kind == "serverShutdown":
                self._leave = True
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            self.malformed += 1
        return []

    def _quote(self, data: dict[str, Any], now_ns: Ns) -> list[Message]:
        symbol = self._symbols.get(data["s"])
        if symbol is None:
            return []
        update_id = data["u"]
        if update_id <= symbol.update_id:
            self.duplicates += 1
            return []
        try:
            bid_e8, ask_e8 = fast_e8(data["b"]), fast_e8(data["a"])
        except ValueError:
            bid_e8 = ask_e8 = 0
        mid_e8 = (bid_e8 + ask_e8) // 2
        last_e8 = symbol.mid_e8
        if not 0 < bid_e8 <= ask_e8 or (last_e8 and not last_e8 // JUMP_MAX < mid_e8 < last_e8 * JUMP_MAX):
            self.nonsense += 1
            symbol.nonsense += 1
            if symbol.nonsense >= NONSENSE_MAX:
                symbol.cache.latest = None
            return []
        symbol.nonsense = 0
        symbol.update_id = update_id
        symbol.quote_ns = now_ns
        self.quotes += 1
        utc = self._utc(now_ns)
        symbol.cache.put(
            Reference(bid_e8=bid_e8, ask_e8=ask_e8, update_id=update_id, recv_ns=now_ns, lag_ms=symbol.lag_ms), utc
        )
        second = utc // NS_PER_S
        symbol.history_from = symbol.history_from or second
        symbol.cache.seeded_s = min(second - symbol.history_from, RING_S - 1)
        if mid_e8 == last_e8:
            return []
        symbol.mid_e8 = mid_e8
        # A copy in one step: the strategy's thread writes the guards.
        for asset, low_e8, high_e8 in list(self._caches.guards.values()):
            if asset == symbol.asset and ((low_e8 and mid_e8 < low_e8) or (high_e8 and mid_e8 > high_e8)):
                return [Nudge(cause_ns=now_ns, guard=True)]
        return []

    def _trade(self, data: dict[str, Any], now_ns: Ns) -> None:
        symbol = self._symbols.get(data["s"])
        if symbol is None:
            return
        lag_ms = (self._utc(now_ns) - utc_ns(data["E"])) / NS_PER_MS
        weight = LAG_WEIGHT if symbol.lag_known else 1.0
        symbol.lag_ms += weight * (lag_ms - symbol.lag_ms)
        symbol.lag_known = True

    def _candle(self, candle: dict[str, Any]) -> None:
        symbol = self._symbols.get(candle["s"])
        open_e8, close_e8 = fast_e8(candle["o"]), fast_e8(candle["c"])
        if symbol is None or open_e8 <= 0 or close_e8 <= 0:
            return
        if candle["i"] == HOUR:
            symbol.cache.candle_open_e8[utc_ns(candle["t"]) // NS_PER_S] = open_e8
        elif candle["i"] == MINUTE and candle["x"] is True:
            _keep_close(symbol.cache, utc_ns(candle["t"]) // NS_PER_S, close_e8)

    # -- history ---------------------------------------------------------------------------------------------------

    def bootstrap(self) -> None:
        """Fill the rings from REST at the start and after a long loss. A failure leaves the history to grow live."""
        now_ns = self._clock()
        if self._lost_ns is not None and now_ns - self._lost_ns <= GAP_NS_MAX:
            return
        if now_ns < self.not_before_ns:
            return
        try:
            for symbol in self._symbols.values():
                self._seed(symbol)
                candles = self._candles.get(symbol.asset, ())
                if HOUR in candles:
                    for begun_ns, open_e8, _ in self._klines(symbol.name, HOUR, 3):
                        symbol.cache.candle_open_e8[begun_ns // NS_PER_S] = open_e8
                if MINUTE in candles:
                    self._closes(symbol, self._utc(now_ns) // NS_PER_MS)
            self._prepared = True
        except (requests.RequestException, FrameError):
            self.refused += 1

    def _seed(self, symbol: Symbol) -> None:
        # The last row is the second that is not over.
        rows = self._klines(symbol.name, "1s", HISTORY_S)[:-1]
        begun = [(begun_ns // NS_PER_S + 1, close_e8) for begun_ns, _, close_e8 in rows]
        known = symbol.cache.seconds.last_second
        for second, close_e8 in begun:
            symbol.cache.seconds.seed(second, close_e8)
        if begun:
            symbol.history_from = begun[0][0]
            symbol.cache.seeded_s = max(known, begun[-1][0]) - begun[0][0]

    def _closes(self, symbol: Symbol, now_ms: int) -> None:
        """The closes of a day's minutes: the strike of a market that began yesterday is one of them."""
        start_ms = now_ms - CLOSES_MS
        while start_ms < now_ms - MINUTE_MS:
            rows = self._klines(symbol.name, MINUTE, HISTORY_S, start_ms)
            for begun_ns, _, close_e8 in rows:
                if begun_ns // NS_PER_MS + MINUTE_MS <= now_ms:
                    _keep_close(symbol.cache, begun_ns // NS_PER_S, close_e8)
            if len(rows) < HISTORY_S or rows[-1][0] // NS_PER_MS < start_ms:
                return
            start_ms = rows[-1][0] // NS_PER_MS + MINUTE_MS

    def _klines(self, name: str, interval: str, limit: int, start_ms: int = 0) -> list[tuple[Ns, E8, E8]]:
        """Start, open and close of each candle. Raises FrameError unless all can be read."""
        session = self._session or requests.Session()
        session.trust_env = False  # reading the environment costs more than the call
        answer = session.get(
            f"{self._rest_url.rstrip('/')}/api/v3/klines",
            params={"symbol": name, "interval": interval, "limit": str(limit)}
            | ({"startTime": str(start_ms)} if start_ms else {}),
            timeout=REST_TIMEOUT_S,
        )
        if answer.status_code in (418, 429):
            wait_s = answer.headers.get("Retry-After", "")
            self.not_before_ns = (
                self._clock() + (int(wait_s) if wait_s.isdecimal() and len(wait_s) < 7 else 60) * NS_PER_S
            )
        if answer.status_code != 200:
            raise FrameError(f"klines answered {answer.status_code}")
        try:
            rows = [(utc_ns(row[0]), fast_e8(row[1]), fast_e8(row[4])) for row in orjson.loads(answer.content)]
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise FrameError("klines that cannot be read") from error
        if not rows or min(map(min, rows)) <= 0:
            raise FrameError("no klines, or some without a price")
        return rows


def _keep_close(cache: ReferenceCache, second: int, close_e8: E8) -> None:
    """Oldest first, so that the oldest goes."""
    closes = cache.candle_close_e8
    closes.pop(second, None)
    closes[second] = close_e8
    if len(closes) > CLOSES_KEPT:
        del closes[next(iter(closes))]
