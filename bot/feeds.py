"""The public feeds of a bot: which conversations it has, with whom, about which series. For whoever listens to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import requests

from bot.access import Endpoints
from bot.caches import Caches
from bot.ports import Clock, Tape, TapeKind
from bot.units import Ns
from bot.venues.binance import HOUR, MINUTE, BinanceFeed
from bot.venues.binance_perp import PerpFeed
from bot.venues.clob_login import Credentials
from bot.venues.conversation import Conversation
from bot.venues.polymarket_book import MarketFeed
from bot.venues.polymarket_metadata import parse_series
from bot.venues.settlement_price import SettlementFeed


class TapedSession(requests.Session):
    """Records the answers it gets."""

    def __init__(self, tape: Tape, clock: Clock) -> None:
        super().__init__()
        self._tape = tape
        self._clock = clock

    def get(self, url: str | bytes, **given: Any) -> requests.Response:
        answer = super().get(url, **given)
        self._tape(TapeKind.REST, b"%d %s" % (answer.status_code, answer.content), self._clock())
        return answer


def candles_of(series: Sequence[str]) -> dict[str, list[str]]:
    """The assets of series, and the reference's candles that their markets may settle on."""
    candles: dict[str, list[str]] = {}
    for one in map(parse_series, series):
        candles.setdefault(one.asset, [])
        if one.form != "epoch":
            candles[one.asset].append(HOUR if one.form == "hourly" else MINUTE)
    return candles


def public_feed(
    name: str,
    endpoints: Endpoints,
    credentials: Credentials,
    series: Sequence[str],
    caches: Caches,
    *,
    clock: Clock,
    utc_ns: Callable[[Ns], Ns],
    session: requests.Session | None = None,
) -> Conversation:
    """binance, perp, market or settle, which needs the credentials. `session` asks for the reference's history."""
    candles = candles_of(series)
    if name == "binance":
        return BinanceFeed(
            ws_url=endpoints.binance_ws_url,
            rest_url=endpoints.binance_rest_url,
            assets=list(candles),
            caches=caches,
            clock=clock,
            utc=utc_ns,
            candles=candles,
            session=session,
        )
    if name == "perp":
        return PerpFeed(ws_url=endpoints.binance_futures_ws_url, assets=list(candles), caches=caches, clock=clock)
    if name == "market":
        return MarketFeed(url=endpoints.market_ws_url, caches=caches, clock=clock, utc=utc_ns)
    assert name == "settle"
    return SettlementFeed(
        url=endpoints.settlement_ws_url,
        api_key=credentials.api_key,
        secret=credentials.secret,
        passphrase=credentials.passphrase,
        caches=caches,
        clock=clock,
    )
