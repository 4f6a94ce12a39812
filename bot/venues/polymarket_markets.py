"""Finds the current and the next window of each series, follows them to their resolution, and forgets them.

`Plan` decides what to ask and what an answer means (pure); `Markets` asks. A window is looked for by its slug, and where
that fails in the listing of events, because a venue's windows need not lie on the grid.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from bot.errors import FrameError
from bot.market import Market
from bot.messages import MarketDropped, MarketListed, MarketRefused, MarketResolved, Message
from bot.units import NS_PER_S, Ns
from bot.venues.clob_calls import query_of
from bot.venues.clob_http import Connection, RequestFailed
from bot.venues.polymarket_metadata import (
    HOUR_S,
    Series,
    Unusable,
    objects_in,
    parse_series,
    read_market,
    winner_by_prices,
    winner_by_tokens,
    with_clob_facts,
)

RETRY_NS = NS_PER_S // 2
RETRY_NS_MAX = 5 * NS_PER_S
RESOLVE_EVERY_NS = NS_PER_S
RESOLVE_SLOWLY_AFTER = 120  # questions
RESOLVE_GIVE_UP_S = 6 * 3600  # and not before both were asked: nobody may have looked for longer
DROP_AFTER_NS = 10 * NS_PER_S
FETCHES_MAX = 8  # in one poll
POLL_S_MAX = 0.8  # with one question more and what keeps its connection warm, below what counts as a hang
READ_S_MAX = 1.5
SAID_MAX = 1000
NEVER_NS = 1 << 62


class Stage(enum.Enum):
    FOUND = "found"  # metadata known, the order book's facts not yet
    LISTED = "listed"
    ENDED = "ended"  # waiting for the resolution
    RESOLVED = "resolved"
    SKIPPED = "skipped"  # not for us; kept so that it is not looked for again


@dataclass(slots=True, eq=False)
class Window:
    slug: str
    start_s: float
    end_s: float
    stage: Stage
    market: Market | None = None
    due_ns: Ns = 0
    tries: int = 0


@dataclass(slots=True, eq=False)
class Search:
    """One series: the windows known, and when and how to look for the missing one."""

    series: Series
    windows: list[Window] = field(default_factory=list)
    last_end_s: float = 0.0
    due_ns: Ns = 0
    tries: int = 0
    by_listing: bool = False

    def missing(self, utc_s: float) -> int | None:
        """Start of the window to look for: the current one, else the next one, else None."""
        length = self.series.length_s
        current = next((window for window in self.windows if window.start_s <= utc_s < window.end_s), None)
        if current is None:
            if not self.last_end_s or self.last_end_s > utc_s or self.series.by_wall_clock:
                return self.series.start_of(utc_s)
            return round(self.last_end_s + (utc_s - self.last_end_s) // length * length)
        if any(window.start_s > utc_s for window in self.windows):
            return None
        return round(current.end_s)


class Ask(enum.Enum):
    VERSION = "version"
    SLUG = "slug"
    LISTING = "listing"
    BOOK_FACTS = "book facts"
    WINNER_CLOB = "winner, order book"
    WINNER_GAMMA = "winner, gamma"


@dataclass(frozen=True, slots=True)
class Fetch:
    ask: Ask
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    search: Search | None = None
    window: Window | None = None

    @property
    def from_gamma(self) -> bool:
        return self.ask in (Ask.SLUG, Ask.LISTING, Ask.WINNER_GAMMA)


class Plan:
    """Invariant: a market is listed once, resolved at most once, dropped once, in this order."""

    def __init__(self, series: Sequence[str], log: Callable[[str], None]) -> None:
        self.searches = [Search(parse_series(name)) for name in series]
        self.clob_version = 0  # 0: not asked yet
        self._log = log
        self._said: set[str] = set()
        self._watched: list[Market] = []
        self._version_due_ns: Ns = 0

    def watch(self, market: Market) -> None:
        """A market of an earlier run: where it ends before it was found again, it is followed to its resolution all the
        same, without being listed."""
        self._watched.append(market)

    def _follow_ended(self, utc_s: float) -> None:
        ended = [market for market in self._watched if market.end_utc_ns <= utc_s * NS_PER_S]
        for market in ended:
            self._watched.remove(market)
            search = next((known for known in self.searches if known.series.name == market.series), None)
            if search is None:
                search = Search(parse_series(market.series), due_ns=NEVER_NS)
                self.searches.append(search)
            if not _knows(search, market.slug):
                search.windows.append(_window(market, Stage.ENDED))

    def _say(self, text: str) -> bool:
        """Each line once: the same questions are asked again and again. True when it was new."""
        if text in self._said or len(self._said) >= SAID_MAX:
            return False
        self._said.add(text)
        self._log(text)
        return True

    def _refuse(self, series: str, slug: str, text: str, reason: str, refused: list[Message]) -> None:
        if self._say(text):
            refused.append(MarketRefused(slug=slug, series=series, reason=reason))

    def due(self, utc_s: float, now_ns: Ns) -> Fetch | None:
        """The most urgent question whose time has come."""
        if not self.clob_version:
            return Fetch(Ask.VERSION, "/version") if now_ns >= self._version_due_ns else None
        for search in self.searches:
            for window in search.windows:
                if window.stage is Stage.FOUND and now_ns >= window.due_ns:
                    assert window.market is not None, "a found window has metadata"
                    return Fetch(Ask.BOOK_FACTS, f"/clob-markets/{window.market.symbol}", {}, search, window)
        for search in self.searches:
            start_s = search.missing(utc_s) if now_ns >= search.due_ns else None
            if start_s is not None:
                return self._look_for(search, start_s, utc_s)
        for search in self.searches:
            for window in search.windows:
                if window.stage is Stage.ENDED and utc_s >= window.end_s + 1 and now_ns >= window.due_ns:
                    return self._winner(search, window)
        return None

    def _look_for(self, search: Search, start_s: int, utc_s: float) -> Fetch:
        if not search.by_listing:
            return Fetch(Ask.SLUG, f"/events/slug/{search.series.slug(start_s)}", {}, search)
        # The embedded minute windows and the venue's daily ones alike end within two lengths from now.
        params = {
            "tag_slug": "up-or-down",
            "closed": "false",
            "end_date_min": _iso(utc_s),
            "end_date_max": _iso(utc_s + 2 * search.series.length_s + 60),
            "limit": "100",
        }
        return Fetch(Ask.LISTING, "/events", params, search)

    def _winner(self, search: Search, window: Window) -> Fetch:
        assert window.market is not None, "an ended window has metadata"
        if window.tries % 2 == 0:
            return Fetch(Ask.WINNER_CLOB, f"/markets/{window.market.symbol}", {}, search, window)
        return Fetch(Ask.WINNER_GAMMA, f"/events/slug/{window.slug}", {}, search, window)

    def took(self, fetch: Fetch, status: int, value: Any, utc_s: float, now_ns: Ns) -> list[Message]:
        """What an answer (status 0: none came) changes, and what there is to tell."""
        if fetch.ask is Ask.VERSION:
            self._take_version(status, value, now_ns)
            return []
        assert fetch.search is not None
        if fetch.ask in (Ask.SLUG, Ask.LISTING):
            return self._take_events(fetch, fetch.search, status, value, utc_s, now_ns)
        assert fetch.window is not None
        if fetch.ask is Ask.BOOK_FACTS:
            return self._take_facts(fetch.window, status, value, now_ns)
        return self._take_winner(fetch, fetch.window, status, value, utc_s, now_ns)

    def age(self, utc_s: float, now_ns: Ns) -> list[Message]:
        """What time alone does: windows end, and are dropped a while after their resolution."""
        self._follow_ended(utc_s)
        messages: list[Message] = []
        for search in self.searches:
            for window in list(search.windows):
                if window.stage is Stage.LISTED and utc_s >= window.end_s:
                    window.stage, window.tries, window.due_ns = Stage.ENDED, 0, 0
                elif window.stage in (Stage.FOUND, Stage.SKIPPED) and utc_s >= window.end_s:
                    search.windows.remove(window)
                elif window.stage is Stage.ENDED and utc_s >= window.end_s + RESOLVE_GIVE_UP_S and window.tries >= 2:
                    self._say(f"{window.slug}: no resolution after {RESOLVE_GIVE_UP_S} s")
                    window.stage, window.due_ns = Stage.RESOLVED, now_ns
                elif window.stage is Stage.RESOLVED and now_ns >= window.due_ns:
                    assert window.market is not None
                    search.windows.remove(window)
                    messages.append(MarketDropped(symbol=window.market.symbol))
        return messages

    def _take_version(self, status: int, value: Any, now_ns: Ns) -> None:
        version = value.get("version") if isinstance(value, Mapping) else value
        if status == 200 and isinstance(version, int) and not isinstance(version, bool) and version in (1, 2, 3):
            self.clob_version = version
        else:
            self._version_due_ns = now_ns + RETRY_NS

    def _take_events(
        self, fetch: Fetch, search: Search, status: int, value: Any, utc_s: float, now_ns: Ns
    ) -> list[Message]:
        events = value if isinstance(value, list) else [value]
        found = False
        refused: list[Message] = []
        for event in events if status == 200 else ():
            for record in objects_in(event, "markets") if isinstance(event, Mapping) else ():
                if search.series.owns(str(record.get("slug") or "")):
                    found |= self._adopt(search, event, record, utc_s, refused)
        if found:
            search.tries, search.by_listing, search.due_ns = 0, False, 0
        elif fetch.ask is Ask.SLUG:
            search.by_listing = True
        else:
            search.by_listing = False
            search.due_ns = now_ns + min(RETRY_NS << min(search.tries, 8), RETRY_NS_MAX)
            search.tries += 1
        return refused

    def _adopt(
        self,
        search: Search,
        event: Mapping[str, Any],
        record: Mapping[str, Any],
        utc_s: float,
        refused: list[Message],
    ) -> bool:
        """True when a window that was missing is known now."""
        slug = str(record.get("slug"))
        if _knows(search, slug) or record.get("closed") is True:
            return False
        try:
            market = read_market(search.series, event, record, self.clob_version)
            window = _window(market, Stage.FOUND)
        except FrameError as error:
            self._refuse(search.series.name, slug, f"{slug}: {error}", str(error), refused)
            return False
        except Unusable as error:
            self._refuse(search.series.name, slug, f"{slug} is left out: {error}", str(error), refused)
            start_s = search.missing(utc_s)
            if start_s is None or slug != search.series.slug(start_s):
                return False
            window = Window(slug, start_s, search.series.end_of(start_s), Stage.SKIPPED)
        # Stale events stay open for months, and later windows can wait.
        turn_s = HOUR_S if search.series.by_wall_clock else 0  # a day on which the clock is turned may be longer
        if not (window.end_s > utc_s and window.start_s < utc_s + search.series.length_s + turn_s + 1):
            return False
        search.windows.append(window)
        search.windows.sort(key=lambda known: known.start_s)
        search.last_end_s = max(search.last_end_s, window.end_s)
        return True

    def _take_facts(self, window: Window, status: int, value: Any, now_ns: Ns) -> list[Message]:
        assert window.market is not None
        try:
            if status != 200 or not isinstance(value, Mapping):
                raise FrameError(f"no facts of the order book (status {status})")
            window.market = with_clob_facts(window.market, value)
        except FrameError as error:
            window.due_ns = now_ns + min(RETRY_NS << min(window.tries, 8), RETRY_NS_MAX)
            window.tries += 1
            refused: list[Message] = []
            self._refuse(window.market.series, window.slug, f"{window.slug}: {error}", str(error), refused)
            return refused
        window.stage, window.tries = Stage.LISTED, 0
        return [MarketListed(market=window.market)]

    def _take_winner(
        self, fetch: Fetch, window: Window, status: int, value: Any, utc_s: float, now_ns: Ns
    ) -> list[Message]:
        assert window.market is not None
        winner = None
        if status == 200 and isinstance(value, Mapping):
            try:
                by = winner_by_tokens if fetch.ask is Ask.WINNER_CLOB else winner_by_prices
                winner = by(window.market, value)
            except FrameError as error:
                self._say(f"{window.slug}: {error}")
        window.tries += 1
        if winner is None:
            slow = 5 if window.tries > RESOLVE_SLOWLY_AFTER else 1
            window.due_ns = now_ns + slow * RESOLVE_EVERY_NS
            return []
        window.stage, window.due_ns = Stage.RESOLVED, now_ns + DROP_AFTER_NS
        if not winner:
            self._say(f"{window.slug}: both outcomes were paid alike")
            return []
        return [MarketResolved(symbol=window.market.symbol, winning_asset_id=winner)]


class JsonReader:
    """GET of public JSON, over one connection to each host. Never raises; status 0: no readable answer came in time.

    In time means all of it, the look-up of the name as well: a resolver that is cut off would hold up its thread for
    longer than a hang is allowed to last.
    """

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def get(self, url: str, params: Mapping[str, str] | None = None) -> tuple[int, Any]:
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        origin = f"{scheme}://{host}"
        connection = self._connections.get(origin)
        if connection is None:
            connection = self._connections[origin] = Connection(origin, deadline_s=READ_S_MAX)
        try:
            reply = connection.request("GET", slash + path + query_of(params or {}))
            return reply.status, orjson.loads(reply.body)
        except (RequestFailed, orjson.JSONDecodeError):
            return 0, None

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


class Markets:
    """Asks the questions of a Plan, at most a few at a time: it is called often and returns soon."""

    def __init__(
        self,
        http: Any,
        gamma_url: str,
        clob_url: str,
        series: Sequence[str],
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`http.get(url, params)` gives (status, value). Raises SettingsError for a series that cannot be."""
        self.plan = Plan(series, log)
        self._http = http
        self._gamma_url = gamma_url.rstrip("/")
        self._clob_url = clob_url.rstrip("/")

    def watch(self, market: Market) -> None:
        self.plan.watch(market)

    def poll(self, utc_ns: Ns, now_ns: Ns) -> list[Message]:
        utc_s = utc_ns / NS_PER_S
        messages = self.plan.age(utc_s, now_ns)
        began_s = time.monotonic()
        for _ in range(FETCHES_MAX):
            fetch = self.plan.due(utc_s, now_ns)
            if fetch is None or time.monotonic() - began_s > POLL_S_MAX:
                break
            base = self._gamma_url if fetch.from_gamma else self._clob_url
            status, value = self._http.get(base + fetch.path, fetch.params)
            messages += self.plan.took(fetch, status, value, utc_s, now_ns)
        return messages


def _window(market: Market, stage: Stage) -> Window:
    return Window(market.slug, market.start_utc_ns / NS_PER_S, market.end_utc_ns / NS_PER_S, stage, market)


def _knows(search: Search, slug: str) -> bool:
    return any(window.slug == slug for window in search.windows)


def _iso(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
