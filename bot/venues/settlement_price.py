"""The price stream that settles TWAP markets (PolyBolt), by asset and window, into the settlement caches.

Credentials first, then one subscription for each pair a listed market needs; a pair stays subscribed, for the next
window of its series follows. Knows no market's strike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import orjson

from bot.caches import Caches, Settlement
from bot.market import Rule
from bot.messages import MarketListed, Message
from bot.units import E8, NS_PER_MS, NS_PER_S, Ns, is_storable
from bot.venues.conversation import Conversation
from bot.venues.decimals import utc_ns

CHANNEL = "price.crypto.twap"
SILENT_NS_MAX: Ns = 10 * NS_PER_S  # values come once a second
AUTH_NS_MAX: Ns = 5 * NS_PER_S
RESUBSCRIBE_NS: Ns = 10 * NS_PER_S  # at most so often for one pair, however many gaps
DIGITS_MAX = 60  # of a value, before or behind the point: far from where arithmetic overflows

Pair = tuple[str, int]  # asset and window in seconds


class SettlementFeed(Conversation):
    """Invariant: nothing is subscribed before the venue said that we are authenticated."""

    name = "settle"
    silence_max_s = 60.0  # the venue pings each 25 s; that values come is watched for each pair
    message_bytes_max = 1024 * 1024

    def __init__(
        self, *, url: str, api_key: str, secret: str, passphrase: str, caches: Caches, clock: Callable[[], Ns]
    ) -> None:
        super().__init__()
        self._url = url
        self._api_key = api_key
        self._secret = secret
        self._passphrase = passphrase
        self._caches = caches
        self._clock = clock
        self._wanted: dict[Pair, Ns] = {}  # by pair: when it was last asked for or heard
        self._authed = False
        self._since_ns: Ns = 0
        self._rid = 0
        self._channel_seq = 0
        self._pair_seq: dict[Pair, int] = {}
        self._resubscribed_ns: dict[Pair, Ns] = {}
        self.values = 0
        self.malformed = 0
        self.gaps = 0
        self.refused = 0
        self.last_error = ""

    # -- conversation ----------------------------------------------------------------------------------------------

    def url(self) -> str:
        return self._url if self._wanted else ""

    def opening(self) -> list[str]:
        self._authed = False
        self._channel_seq = 0
        self._pair_seq.clear()
        self._since_ns = self._clock()
        auth = {"apiKey": self._api_key, "secret": self._secret, "passphrase": self._passphrase}
        return [orjson.dumps({"op": "auth", "rid": self._next_rid(), "auth": auth}).decode()]

    def command(self, message: Message) -> list[str]:
        if not isinstance(message, MarketListed) or message.market.rule is not Rule.TWAP:
            return []
        pair = (message.market.asset, message.market.window_s)
        if pair in self._wanted:
            return []
        self._wanted[pair] = self._clock()
        self._caches.settlement_of(*pair)
        return [self._request("subscribe", [pair])] if self._authed else []

    def stale(self, now_ns: Ns) -> str | None:
        if not self._authed:
            return "no answer to our credentials" if now_ns - self._since_ns > AUTH_NS_MAX else None
        for (asset, window_s), heard_ns in self._wanted.items():
            if now_ns - heard_ns > SILENT_NS_MAX:
                return f"no {window_s} s value of {asset} for {SILENT_NS_MAX // NS_PER_S} s"
        return None

    def counters(self) -> dict[str, int]:
        return {"values": self.values, "malformed": self.malformed, "gaps": self.gaps, "refused": self.refused}

    def _next_rid(self) -> str:
        self._rid += 1
        return str(self._rid)

    def _request(self, op: str, pairs: Iterable[Pair]) -> str:
        wishes = [
            {"channel": CHANNEL, "filter": {"symbol": f"{asset}usd", "window_seconds": window_s}}
            for asset, window_s in pairs
        ]
        return orjson.dumps({"op": op, "rid": self._next_rid(), "subscriptions": wishes}).decode()

    # -- frames ----------------------------------------------------------------------------------------------------

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        try:
            body = orjson.loads(frame)
            op = body.get("op")
            if op == "authed":
                self._start(now_ns)
            elif op == "error" or "error" in body:
                self.refused += 1
                self.last_error = str(body.get("message") or body.get("error") or "")[:200]
            elif op is None and body.get("channel") == CHANNEL:  # acknowledgements name their channel, too
                self._event(body, now_ns)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            self.malformed += 1
        return []

    def _start(self, now_ns: Ns) -> None:
        self._authed = True
        if self._wanted:
            for pair in self._wanted:
                self._wanted[pair] = now_ns
            self.outbox.append(self._request("subscribe", self._wanted))

    def _event(self, body: dict[str, Any], now_ns: Ns) -> None:
        payload = body["payload"]
        pair = _asset(payload["symbol"]), int(payload["window_seconds"])
        if pair not in self._wanted:
            return
        self._sequence(pair, body.get("seq"), now_ns)
        cache = self._caches.settlement_of(*pair)
        rows = payload["data"] if isinstance(payload.get("data"), list) else [payload]
        for row in rows:
            value_e8 = _value_e8(row)
            cache.put(Settlement(value_e8=value_e8, utc_ms=utc_ns(row["timestamp"]) // NS_PER_MS, recv_ns=now_ns))
            self.values += 1
        if rows:
            self._wanted[pair] = now_ns

    def _sequence(self, pair: Pair, seq: object, now_ns: Ns) -> None:
        """Numbers run through the channel or through each subscription; only what breaks both readings is a gap."""
        if not isinstance(seq, int):
            return
        before = self._pair_seq.get(pair)
        gap = before is not None and seq > before + 1 and seq > self._channel_seq + 1
        self._pair_seq[pair] = seq
        self._channel_seq = seq
        if not gap:
            return
        self.gaps += 1
        if now_ns - self._resubscribed_ns.get(pair, -RESUBSCRIBE_NS) >= RESUBSCRIBE_NS:
            self._resubscribed_ns[pair] = now_ns
            self.outbox.append(self._request("unsubscribe", [pair]))
            self.outbox.append(self._request("subscribe", [pair]))


def _asset(symbol: str) -> str:
    """ "btcusd" and "btc/usd" to "btc"."""
    return symbol.lower().replace("/", "").removesuffix("usd")


def _value_e8(row: dict[str, Any]) -> E8:
    """The full-accuracy text where it is a plain decimal (elsewhere it is scaled by 1e18), else the number. ValueError."""
    value = _decimal(row.get("value"))
    full = _decimal(row.get("full_accuracy_value"))
    if full is not None and value is not None and abs(full - value) > abs(value) / 100:
        full = None
    best = full if full is not None else value
    value_e8 = int(best.scaleb(8).to_integral_value()) if best is not None and is_storable(best.scaleb(8)) else 0
    if value_e8 <= 0:
        raise ValueError("no value")
    return value_e8


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < DIGITS_MAX else None
