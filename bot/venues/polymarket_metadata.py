"""Series, slugs and market metadata: what the venue publishes of a market, read into ours. Pure.

A market whose settlement rule is not one we model is refused here, with the reason, and never traded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson

from bot.errors import BotError, FrameError, SettingsError
from bot.market import Market, Rule
from bot.units import NS_PER_S, PX_ONE, Ns, Qty, parse_px, parse_qty
from bot.venues.polymarket_trades import text_of

# How long a marketable crypto order is held before matching, where the venue only says that it is.
TAKER_DELAY_MS = 150

_FULL_NAMES = {
    "btc": "bitcoin",
    "eth": "ethereum",
    "sol": "solana",
    "xrp": "xrp",
    "doge": "dogecoin",
    "bnb": "bnb",
    "hype": "hyperliquid",
}
_SERIES = re.compile(r"([a-z0-9]+)-updown-([1-9][0-9]*)(m|h|d)")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400}
_TWAP_SOURCE = re.compile(r"twap-(\d{1,6})s")
_CANDLE = re.compile(r"\b1[ -](hour|minute) candle")
HOUR_S = 3600


class Unusable(BotError):
    """The metadata is readable, and says that the market is none for us; final for this market."""


@dataclass(frozen=True, slots=True)
class Series:
    """A recurring market: "btc-updown-5m". Windows follow each other without a gap."""

    name: str
    asset: str
    length_s: int
    form: str  # "epoch": slugs carry the start second; "hourly", "daily": slugs carry Eastern wall time

    @property
    def by_wall_clock(self) -> bool:
        """Windows keep to the clock of New York, whose offset to UTC changes twice a year."""
        return self.length_s > HOUR_S

    def start_of(self, utc_s: float) -> int:
        """Start of the window that holds this second, on the venue's own grid."""
        second = math.floor(utc_s)
        if not self.by_wall_clock:
            return second - second % self.length_s
        local = datetime.fromtimestamp(second, _eastern())
        hours = 12 if self.form == "daily" else local.hour - local.hour % (self.length_s // HOUR_S)
        start = local.replace(hour=hours, minute=0, second=0, microsecond=0, fold=0)
        if start > local:
            start -= timedelta(days=1)
        return int(start.timestamp())

    def end_of(self, start_s: int) -> int:
        """End of the window that starts then: where the clock is turned, an hour sooner or later."""
        if not self.by_wall_clock:
            return start_s + self.length_s
        local = datetime.fromtimestamp(start_s, _eastern()).replace(fold=0) + timedelta(seconds=self.length_s)
        return int(local.timestamp())

    def slug(self, start_s: int) -> str:
        """The venue's address of the window that starts then. The two hours around the turn to winter share one."""
        if self.form == "epoch":
            return f"{self.name}-{start_s}"
        full = _FULL_NAMES[self.asset]
        if self.form == "daily":
            # A daily market is named after the day it ends on.
            end = datetime.fromtimestamp(self.end_of(start_s), _eastern())
            return f"{full}-up-or-down-on-{end:%B}-{end.day}-{end.year}".lower()
        start = datetime.fromtimestamp(start_s, _eastern())
        hour = start.hour % 12 or 12
        half = "am" if start.hour < 12 else "pm"
        return f"{full}-up-or-down-{start:%B}-{start.day}-{start.year}-{hour}{half}-et".lower()

    def owns(self, slug: str) -> bool:
        if self.form == "epoch":
            return slug.startswith(f"{self.name}-")
        prefix = f"{_FULL_NAMES[self.asset]}-up-or-down-"
        daily = slug.startswith(f"{prefix}on-")
        # One of two that would share a slug has something behind it.
        return daily if self.form == "daily" else slug.startswith(prefix) and "-et" in slug and not daily


def _eastern() -> ZoneInfo:
    return ZoneInfo("America/New_York")


def parse_series(name: str) -> Series:
    """Raises SettingsError."""
    match = _SERIES.fullmatch(name)
    if match is None:
        raise SettingsError(f"series {name!r} is not of the form <coin>-updown-<length>, such as btc-updown-5m")
    asset, count, unit = match.groups()
    length_s = int(count) * _UNIT_S[unit]
    form = {("1", "h"): "hourly", ("1", "d"): "daily"}.get((count, unit), "epoch")
    if form != "epoch" and asset not in _FULL_NAMES:
        raise SettingsError(f"series {name!r}: the venue's full name of {asset!r} is not known")
    if length_s > 3600 and form == "epoch" and 86_400 % length_s:
        raise SettingsError(f"series {name!r}: a window longer than an hour must divide the day")
    return Series(name, asset, length_s, form)


def utc_ns_of(value: object) -> Ns:
    """An ISO time with its zone, of a year in which we may trade. Raises FrameError."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise FrameError(f"not a time: {value!r}") from None
    if moment.tzinfo is None or not 2000 < moment.year < 2200:
        raise FrameError(f"a time without zone, or none of ours: {value!r}")
    return round(moment.timestamp() * 1000) * 1_000_000


def objects_in(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in a list field; none where it is missing or no list."""
    rows = record.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _rate(value: Any) -> float:
    """A number that is one, and not negative. Raises ValueError or TypeError."""
    number = float(value)
    if not 0 <= number < 1e9:
        raise ValueError(f"{number} is out of range")
    return number


def listed_in_text(value: object) -> list[Any]:
    """A list, which the venue often encodes once more inside a string. Raises FrameError."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise FrameError(f"no list in {value!r}") from None
    if not isinstance(value, list):
        raise FrameError(f"not a list: {value!r}")
    return value


def rule_of(series: Series, event: Mapping[str, Any], market: Mapping[str, Any]) -> tuple[Rule, int]:
    """What settles it, with the averaging window in seconds. Never guessed from the duration. Raises Unusable for a
    rule or source we do not model, and for metadata that contradicts itself."""
    config = market.get("cryptoMarketConfig")
    config = config if isinstance(config, Mapping) else {}
    source = str(market.get("resolutionSource") or event.get("resolutionSource") or "").lower()
    if str(config.get("asset") or series.asset).lower() != series.asset:
        raise Unusable(f"it settles on {config['asset']!r}")
    if "binance" in source:
        return _candle_rule(series, event, market, source), 0
    named = _TWAP_SOURCE.search(source)
    window_s: object = int(named.group(1)) if named is not None else None
    if config.get("twapEnabled") is True:
        said, window_s = window_s, config.get("twapLookbackSeconds")
        if said not in (None, window_s):
            raise Unusable(f"a mean over {window_s!r} seconds by its settings and {said} by its source")
    if window_s is None or (source and f"chain.link/streams/{series.asset}-usd" not in source):
        raise Unusable(f"unknown settlement rule (source {source[:80]!r})")
    if not isinstance(window_s, int) or window_s <= 0:
        raise Unusable(f"a mean over {window_s!r} seconds")
    return Rule.TWAP, window_s


def _candle_rule(series: Series, event: Mapping[str, Any], market: Mapping[str, Any], source: str) -> Rule:
    """Which candles of Binance: only the rules' text says it."""
    if f"{series.asset}_usdt" not in source:
        raise Unusable(f"it settles on another pair ({source[:80]!r})")
    text = str(market.get("description") or event.get("description") or "").lower()
    candles = set(_CANDLE.findall(text))
    if candles == {"hour"} and series.length_s == HOUR_S:
        return Rule.CANDLE
    if candles == {"minute"} and "12:00 in the et timezone" in text and series.form == "daily":
        return Rule.CLOSES
    raise Unusable(f"its rules name {' and '.join(sorted(candles)) or 'no'} candles of Binance that we do not model")


def read_market(series: Series, event: Mapping[str, Any], market: Mapping[str, Any], clob_version: int) -> Market:
    """Gamma's metadata as a Market. Raises FrameError (unreadable, try again) or Unusable (readable, not for us)."""
    symbol = text_of(market, "conditionId")
    slug = text_of(market, "slug")
    start_ns = utc_ns_of(market.get("eventStartTime") or event.get("startTime"))
    end_ns = utc_ns_of(market.get("endDate") or event.get("endDate"))
    start_s, end_s = start_ns // NS_PER_S, end_ns // NS_PER_S
    if min(abs(end_s - start_s - series.length_s), abs(end_s - series.end_of(start_s))) > 1:
        raise Unusable(f"its window lasts {(end_ns - start_ns) / NS_PER_S:.0f} s")
    named = str(market.get("version") or "v1").lower()
    if named not in ("v1", "v2"):
        raise Unusable(f"unknown version {named!r}")
    version = 3 if named == "v2" else (1 if clob_version == 1 else 2)
    up_token, down_token = _tokens(market, "positionIds" if version == 3 else "clobTokenIds")
    rule, window_s = rule_of(series, event, market)
    if rule is Rule.CLOSES and (series.start_of(start_s), series.end_of(start_s)) != (start_s, end_s):
        raise Unusable("it compares the closes of two noons, and its window is not between them")
    fees = market.get("feeSchedule")
    fees = fees if isinstance(fees, Mapping) else {}
    try:
        return Market(
            symbol=symbol,
            slug=slug,
            series=series.name,
            asset=series.asset,
            up_token=up_token,
            down_token=down_token,
            version=version,
            neg_risk=market.get("negRisk") is True,
            rule=rule,
            window_s=window_s,
            start_utc_ns=start_ns,
            end_utc_ns=end_ns,
            tick=_tick(market.get("orderPriceMinTickSize")),
            min_qty=_size(market.get("orderMinSize", 5)),
            fee_rate=_rate(fees.get("rate", 0.0)),
            fee_exponent=_rate(fees.get("exponent", 1.0)),
            rebate_rate=_rate(fees.get("rebateRate", 0.0)),
            reward_usd_day=_daily_rewards(market, start_ns),
            reward_min_qty=_size(market.get("rewardsMinSize") or 0),
            reward_spread=round(_rate(market.get("rewardsMaxSpread") or 0) * 100),  # told in cents
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise FrameError(f"metadata of {slug}: {error}") from None


def _tokens(market: Mapping[str, Any], name: str) -> tuple[str, str]:
    tokens = [str(token) for token in listed_in_text(market.get(name))]
    outcomes = [str(outcome).lower() for outcome in listed_in_text(market.get("outcomes"))]
    if len(tokens) != 2 or not all(token.isdigit() for token in tokens) or tokens[0] == tokens[1]:
        raise FrameError(f"{name} does not hold two token ids")
    if outcomes == ["up", "down"]:
        return tokens[0], tokens[1]
    if outcomes == ["down", "up"]:
        return tokens[1], tokens[0]
    raise Unusable(f"its outcomes are {outcomes}")


def _daily_rewards(market: Mapping[str, Any], start_ns: Ns) -> float:
    """USD a day for resting orders by the programmes that cover the window's start; sizes and spreads alone pay nothing."""
    day = datetime.fromtimestamp(start_ns / NS_PER_S, UTC).date().isoformat()
    rates = (
        _rate(row.get("rewardsDailyRate") or 0)
        for row in objects_in(market, "clobRewards")
        if str(row.get("startDate") or day)[:10] <= day <= str(row.get("endDate") or day)[:10]
    )
    return sum(rates, 0.0)


def _size(value: Any) -> Qty:
    qty = parse_qty(value)
    if qty < 0:
        raise ValueError(f"a size of {value!r}")
    return qty


def _tick(value: Any) -> int:
    tick = parse_px(value)
    if tick <= 0 or PX_ONE % tick:
        raise ValueError(f"tick {value!r} does not divide one dollar")
    return tick


def with_clob_facts(market: Market, facts: Mapping[str, Any]) -> Market:
    """The order book's own word on tick, size, fee and delay. Raises FrameError while it is not ready for orders."""
    if str(facts.get("c", "")).lower() != market.symbol.lower():
        raise FrameError("the order book's facts are of another market")
    if facts.get("ao") is False:
        raise FrameError("the order book does not accept orders yet")
    if market.version != 3:
        tokens = {str(entry.get("t")) for entry in objects_in(facts, "t")}
        if tokens != {market.up_token, market.down_token}:
            raise FrameError("the order book names other tokens")
    fees = facts.get("fd")
    fees = fees if isinstance(fees, Mapping) else {}
    try:
        return msgspec.structs.replace(
            market,
            tick=_tick(facts.get("mts", market.tick / PX_ONE)),
            min_qty=_size(facts["mos"]) if "mos" in facts else market.min_qty,
            neg_risk=facts.get("nr") is True or market.neg_risk,
            fee_rate=_rate(fees.get("r", market.fee_rate)),
            fee_exponent=_rate(fees.get("e", market.fee_exponent)),
            taker_delay_ms=TAKER_DELAY_MS if facts.get("itode") is True else round(1000 * _rate(facts.get("sd") or 0)),
        )
    except (TypeError, ValueError) as error:
        raise FrameError(f"the order book's facts of {market.slug}: {error}") from None


def winner_by_prices(market: Market, event: Mapping[str, Any]) -> str | None:
    """Gamma: the winning token of a closed market, "" when it paid both alike, None while it is open.

    Raises FrameError.
    """
    for record in objects_in(event, "markets"):
        if str(record.get("conditionId", "")).lower() == market.symbol.lower():
            if record.get("closed") is not True:
                return None
            prices = [str(price) for price in listed_in_text(record.get("outcomePrices"))]
            outcomes = [str(outcome).lower() for outcome in listed_in_text(record.get("outcomes"))]
            if sorted(outcomes) != ["down", "up"]:
                raise FrameError(f"its outcomes are {outcomes}")
            up_first = outcomes[0] == "up"
            try:
                values = [float(price) for price in prices]
            except ValueError:
                raise FrameError("outcomePrices are no numbers") from None
            if values == [0.5, 0.5]:
                return ""
            if sorted(values) != [0.0, 1.0]:
                return None
            return market.up_token if (values[0] == 1.0) == up_first else market.down_token
    raise FrameError("the event holds no such market")


def winner_by_tokens(market: Market, record: Mapping[str, Any]) -> str | None:
    """The order book's long form: the token marked as winner, None while there is none."""
    for entry in objects_in(record, "tokens"):
        if entry.get("winner") is True:
            token = str(entry.get("token_id"))
            if token in (market.up_token, market.down_token):
                return token
            outcome = str(entry.get("outcome") or "").lower()
            return {"up": market.up_token, "down": market.down_token}.get(outcome)
    return None
