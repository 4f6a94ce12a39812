"""Which feeds a bot has, and what they are asked for."""

from __future__ import annotations

from bot.feeds import candles_of


def test_assets_name_the_candles_their_markets_may_settle_on() -> None:
    series = ["btc-updown-5m", "eth-updown-1h", "btc-updown-1d", "sol-updown-4h", "btc-updown-1h"]
    assert candles_of(series) == {"btc": ["1m", "1h"], "eth": ["1h"], "sol": []}
