"""A few seconds of the embedded venue, recorded over loopback and traded again on a virtual clock."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from click.testing import CliRunner

from bot.access import from_info
from bot.caches import Caches
from bot.cli import bot
from bot.errors import SettingsError
from bot.history.recording import Heard, Recording, RecordingWriter, told
from bot.messages import MarketListed, MarketResolved, Message
from bot.ports import TapeKind
from bot.quoting.parameters import Parameters
from bot.quoting.strategy import Strategy
from bot.recorder import Listening
from bot.settings import Settings
from bot.sim.backtest.scene import Prints, Recorded
from bot.sim.server import VenueOptions, VenueThread
from bot.sim.trial.clock import Agenda
from bot.sim.trial.session import Result, Session
from bot.sim.trial.virtual_bot import Latencies, Make
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE

SERIES = "btc-updown-1m"
RECORDED_S = 14.0
CLOCK = threading.Event()  # never set: waits between two looks


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "made"
    with VenueThread(VenueOptions(seed=5, series=(SERIES,))) as venue:
        access = from_info(venue.info)
        settings = Settings.model_validate({"run": {"series": [SERIES]}})
        listening = Listening(settings, access.endpoints, access.credentials, out)
        listening.start()
        while listening.report()["seconds"] < RECORDED_S:
            CLOCK.wait(0.1)
            listening.look()
        listening.stop()
    return out


def edited(recorded: Path, out: Path, edit: Callable[[list[Heard]], Iterable[Heard]]) -> Path:
    recording = Recording(recorded)
    writer = RecordingWriter(out, recording.head, utc_ns=lambda now_ns: now_ns)
    for one in edit(list(recording)[1:]):
        writer.tape(one.source)(one.kind, one.data, one.utc_ns)
    writer.close()
    return out


def traded(folder: Path, make: Make = Strategy, latencies: Latencies = Latencies()) -> Result:
    scene = Recorded(Recording(folder), stream_ms=latencies.stream_ms)
    return Session(make, scene, parameters=Parameters(), latencies=latencies, seed="1").run()


def test_the_recorded_window_is_quoted_and_the_books_agree(recorded: Path) -> None:
    result = traded(recorded)
    (window,) = result.windows
    assert not window.settled
    assert window.requests > 0
    assert window.both_s > 0.5 * window.live_s > 0
    assert result.ledger_error_e6 == 0
    assert result.halts == 0
    assert result.seconds == pytest.approx(RECORDED_S, abs=2.0)


def test_the_same_recording_gives_the_same_result(recorded: Path) -> None:
    assert msgspec.json.encode(traded(recorded)) == msgspec.json.encode(traded(recorded))


class Watcher(Strategy):
    """Looks at what the caches hold, and when."""

    def __init__(self, parameters: Parameters, caches: Caches) -> None:
        super().__init__(parameters, caches)
        self.caches = caches
        self.late: list[float] = []

    def handle(self, message: Message, now_ns: int) -> list[Message]:
        for reference in self.caches.reference.values():
            assert reference.latest is None or reference.latest.recv_ns <= now_ns
        for book in self.caches.books.values():
            assert book.latest is None or book.latest.recv_ns <= now_ns
        for stream in self.caches.settlement.values():
            assert stream.latest is None or stream.latest.recv_ns <= now_ns
        return super().handle(message, now_ns)


def test_nothing_is_heard_before_its_time(recorded: Path) -> None:
    assert traded(recorded, Watcher).windows


def trade_of(token: str, px: str, side: str, name: str) -> bytes:
    event = {"event_type": "last_trade_price", "asset_id": token, "price": px, "size": "500", "side": side}
    return orjson.dumps(event | {"market": "", "timestamp": "0", "transaction_hash": name})


def test_a_resolution_settles_the_window_at_what_it_paid(recorded: Path, tmp_path: Path) -> None:
    """Also where it comes before the trades of the window are settled."""

    def resolve(lines: list[Heard]) -> Iterator[Heard]:
        yield from lines
        listed = next(told(one) for one in lines if one.kind is TapeKind.TOLD)
        assert isinstance(listed, MarketListed)
        market, at_ns = listed.market, lines[-1].utc_ns
        for name, px, side in (("0x1", "0.01", "SELL"), ("0x2", "0.99", "BUY"), ("0x2", "0.99", "BUY")):
            yield Heard(at_ns + 300 * NS_PER_MS, "market", TapeKind.FRAME, trade_of(market.up_token, px, side, name))
        # The same trades, told for the other token.
        for name, px, side in (("0x1", "0.99", "BUY"), ("0x2", "0.01", "SELL")):
            yield Heard(at_ns + 310 * NS_PER_MS, "market", TapeKind.FRAME, trade_of(market.down_token, px, side, name))
        resolved = MarketResolved(symbol=market.symbol, winning_asset_id=market.down_token)
        yield Heard(at_ns + NS_PER_S, "markets", TapeKind.TOLD, msgspec.json.encode(resolved))
        yield Heard(at_ns + 8 * NS_PER_S, "market", TapeKind.FRAME, b"PONG")

    result = traded(edited(recorded, tmp_path / "resolved", resolve))
    (window,) = result.windows
    assert window.settled
    assert window.fills >= 2  # trades through both of our prices, before the resolution
    assert window.pnl_usd == pytest.approx(sum(window.parts.values()))
    assert result.ledger_error_e6 == 0


def test_a_trade_counts_once_in_up_terms_for_whichever_token_it_is_told(recorded: Path) -> None:
    listed = next(told(one) for one in Recording(recorded) if one.kind is TapeKind.TOLD)
    assert isinstance(listed, MarketListed)
    market, prints = listed.market, Prints(Caches(), Agenda(1), 0)
    prints.command(listed)
    up, down = market.up_token, market.down_token
    for token, px, side, name in (
        (up, "0.52", "SELL", "0x1"),
        (down, "0.48", "BUY", "0x1"),  # the same
        (down, "0.48", "BUY", "0x2"),  # another of its size and price
        (up, "0.53", "BUY", "0x2"),  # of one transaction, but another price
        (down, "0.47", "SELL", ""),
        (down, "0.47", "SELL", ""),  # without a name each is one
        ("another market's", "0.47", "SELL", "0x3"),
        (up, "1.5", "SELL", "0x4"),
    ):
        prints.decode(trade_of(token, px, side, name), 2)
    of = market.symbol, 500 * QTY_ONE
    assert [(symbol, qty) for symbol, _, _, qty in prints.trades] == [of] * 5
    bids, asks = (True, 5200), (False, 5300)
    assert [(bid, px) for _, bid, px, _ in prints.trades] == [bids, bids, asks, asks, asks]


def test_a_lost_connection_takes_the_quotes_away_and_they_come_back(recorded: Path, tmp_path: Path) -> None:
    """The user stream is taken to go with the market's: everything is cancelled, and read anew."""

    def cut(lines: list[Heard]) -> Iterator[Heard]:
        from_ns = lines[0].utc_ns + 6 * NS_PER_S
        books = [one for one in lines if b'"event_type":"book"' in one.data and one.utc_ns < from_ns][-2:]
        for one in lines:
            if one.source == "market" and from_ns <= one.utc_ns < from_ns + NS_PER_S:
                if books:
                    yield Heard(from_ns, "market", TapeKind.LOST, b"cut")
                    yield Heard(from_ns + 900 * NS_PER_MS, "market", TapeKind.OPEN, b"")
                    for book in books:
                        yield Heard(from_ns + 900 * NS_PER_MS, "market", TapeKind.FRAME, book.data)
                    books = []
            else:
                yield one

    result = traded(edited(recorded, tmp_path / "cut", cut))
    assert result.ledger_error_e6 == 0
    assert result.windows[0].reason_s.get("USER_WS", 0) > 0
    assert result.windows[0].both_s < traded(recorded).windows[0].both_s


def test_slower_streams_are_heard_later_by_the_bot_alone(recorded: Path) -> None:
    """A venue that lives 40 ms earlier has the same end, and its fills are others."""
    fast, slow = (traded(recorded, latencies=Latencies(stream_ms=ms)) for ms in (0.0, 400.0))
    assert fast.ledger_error_e6 == slow.ledger_error_e6 == 0
    assert msgspec.json.encode(fast) != msgspec.json.encode(slow)


# -- the command -----------------------------------------------------------------------------------------------------


def run(*options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(bot, ["backtest", "--jobs", "1", *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_command_tells_what_was_made_and_compares_a_sweep(recorded: Path, tmp_path: Path) -> None:
    sweep, page = tmp_path / "sweep.toml", tmp_path / "page.html"
    sweep.write_text("[strategy]\ngamma = [0.01, 0.05]\nomega = [0.5]\n")
    code, out, err = run(str(recorded), "--sweep", str(sweep), "--json", "--html", str(page))
    assert code == 0, err
    told: dict[str, Any] = orjson.loads(out)
    assert list(told["strategies"]) == ["ours", "gamma=0.01,omega=0.5", "gamma=0.05,omega=0.5"]
    assert set(told["sweep"]) == {"gamma=0.01,omega=0.5", "gamma=0.05,omega=0.5"}
    assert (told["windows"], told["unsettled"], told["ledger_error_e6"]) == (1, 1, 0)
    assert told["series"] == [SERIES]
    assert "forecast no live profit" in told["note"]
    assert told["torn"] == told["trading"] == []
    text = page.read_text()
    assert "Recorded from a generated market" in text
    assert not re.search(r"(src|href)=[\"']?https?:|@import|<script[^>]*src", text)
    code, out, err = run(str(recorded))
    assert "1 windows (1 not settled: at their last price) of btc-updown-1m" in out


def test_shards_together_are_the_whole(recorded: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.toml"
    sweep.write_text("[strategy]\ngamma = [0.01, 0.03, 0.05]\n")

    def points(*options: str) -> dict[str, Any]:
        figures: dict[str, Any] = orjson.loads(run(str(recorded), "--json", *options)[1])["strategies"]
        return figures

    whole = points("--sweep", str(sweep))
    parts = [points("--sweep", str(sweep), "--shard", f"{n}/2") for n in (1, 2)]
    assert [len(part) for part in parts] == [3, 2]  # ours is in each, to compare with
    assert parts[0] | parts[1] == whole


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gamma = [0.01]", "one section"),
        ("[strategy]\n", "one section"),
        ("[limits]\nq_max = [60]\n", "one section"),
        ("[strategy]\ngamma = 0.01\n", "strategy.gamma: a list of values"),
        ("[strategy]\ngamma = []\n", "strategy.gamma: a list of values"),
        ("[strategy]\ngama = [0.01]\n", "strategy.gama: unknown key"),
        ("[strategy]\ngamma = [0.01, 5.0]\n", "gamma=5.0: strategy.gamma"),
        ("[strategy\n", "not valid TOML"),
    ],
)
def test_a_sweep_that_is_none_is_refused_with_its_fault(recorded: Path, tmp_path: Path, text: str, why: str) -> None:
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(why)):
        run(str(recorded), "--sweep", str(sweep))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "2/2"])
def test_a_shard_that_is_none_is_refused(recorded: Path, shard: str) -> None:
    with pytest.raises(SettingsError, match="--shard"):
        run(str(recorded), "--shard", shard)


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no recording"):
        run(str(tmp_path))


def test_a_recording_without_a_market_says_so(recorded: Path, tmp_path: Path) -> None:
    out = edited(recorded, tmp_path / "bare", lambda lines: [one for one in lines if one.kind is not TapeKind.TOLD])
    with pytest.raises(SettingsError, match="no market was found"):
        run(str(out))
