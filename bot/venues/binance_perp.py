"""Best bid and ask of Binance's perpetual futures into the reference caches: a lead on the spot price, where one is wanted.

Only moves of it are ever used, never its level, which carries funding. Nothing else depends on this stream: while it is
down or silent there is no lead. Knows no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from bot.caches import Caches, Reference, ReferenceCache
from bot.messages import Message
from bot.units import NS_PER_S, Ns
from bot.venues.binance import ROTATE_NS, symbol_of
from bot.venues.conversation import Conversation
from bot.venues.decimals import fast_e8

SILENT_NS_MAX: Ns = 10 * NS_PER_S  # a stream asked for on the wrong path stays open and silent


class PerpFeed(Conversation):
    """Invariant: a cache's update id only rises on one connection, and none outlives the connection it came on."""

    name = "perp"
    message_bytes_max = 1024 * 1024

    def __init__(self, *, ws_url: str, assets: Sequence[str], caches: Caches, clock: Callable[[], Ns]) -> None:
        super().__init__()
        self._url = ws_url
        self._clock = clock
        self._caches: dict[str, ReferenceCache] = {
            symbol_of(asset): caches.reference.setdefault(asset, ReferenceCache(symbol_of(asset))) for asset in assets
        }
        self._since_ns: Ns = 0
        self._quote_ns: Ns = 0
        self.quotes = 0
        self.malformed = 0

    def url(self) -> str:
        streams = "/".join(f"{name.lower()}@bookTicker" for name in self._caches)
        return f"{self._url.rstrip('/')}/public/stream?streams={streams}"

    def connected(self, now_ns: Ns) -> list[Message]:
        self._since_ns = self._quote_ns = now_ns
        return super().connected(now_ns)

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        for cache in self._caches.values():
            cache.perp = None
        return super().lost(reason, now_ns)

    def rotate(self, now_ns: Ns) -> bool:
        if now_ns - self._since_ns <= ROTATE_NS:
            return False
        self._since_ns = now_ns
        return True

    def stale(self, now_ns: Ns) -> str | None:
        return "no quote of any perpetual" if now_ns - self._quote_ns > SILENT_NS_MAX else None

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        try:
            data = orjson.loads(frame)["data"]
            cache = self._caches.get(data["s"])
            if data["e"] != "bookTicker" or cache is None:
                return []
            bid_e8, ask_e8, update_id = fast_e8(data["b"]), fast_e8(data["a"]), int(data["u"])
            if not 0 < bid_e8 <= ask_e8:
                raise ValueError("no quote")
        except (KeyError, TypeError, ValueError):
            self.malformed += 1
            return []
        if cache.perp is None or update_id > cache.perp.update_id:
            self.quotes += 1
            self._quote_ns = now_ns
            cache.perp = Reference(bid_e8=bid_e8, ask_e8=ask_e8, update_id=update_id, recv_ns=now_ns)
        return []

    def counters(self) -> dict[str, int]:
        return {"quotes": self.quotes, "malformed": self.malformed}
