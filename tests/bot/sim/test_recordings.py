"""Recordings in both forms, composed by us: told again on the venue's streams, and read by the bot's feeds without an error."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from fidelity import QUIET, connect, events, get

from bot.bench.recording import Drive, drive
from bot.errors import SettingsError
from bot.sim.recordings import MARKET, REFERENCE, Recordings, mirrored, other_token, read
from bot.sim.server import VenueOptions, VenueThread

T0_S = 1_776_331_200  # a whole five minutes
SPEED = 600.0
TOKENS = ("111222333", "444555666")


def reference_lines() -> list[str]:
    """Half a minute of quotes, trades and depth, and the answer of a REST call that the recorder put between them."""
    lines = []
    for n in range(60):
        at_ns, now_ms, px = (T0_S * 1000 + n * 500) * 1_000_000, T0_S * 1000 + n * 500 + 1_270, 61_837.63 + n % 7
        quote = {"u": 500 + 4 * n, "s": "BTCUSDT", "b": f"{px:.8f}", "B": "3.78826000"}
        quote |= {"a": f"{px + 0.01:.8f}", "A": "0.00007000"}
        trade = {"e": "trade", "E": now_ms, "s": "BTCUSDT", "t": 9_000 + n, "p": f"{px:.8f}", "q": "0.02000000"}
        trade |= {"T": now_ms - 1, "m": n % 2 == 0, "M": True}
        depth = {"e": "depthUpdate", "E": now_ms, "s": "BTCUSDT", "U": 500 + 4 * n, "u": 503 + 4 * n}
        depth |= {"b": [[f"{px:.8f}", "0.00000000"]], "a": []}
        for name, data in (("bookTicker", quote), ("trade", trade), ("depth@100ms", depth)):
            frame = {"stream": f"btcusdt@{name}", "data": data}
            lines.append(f"{at_ns} {json.dumps(frame, separators=(',', ':'))}")
    lines.insert(8, f'{T0_S * 10**9} {{"lastUpdateId":505,"bids":[["61837.63000000","3.78826000"]],"asks":[]}}')
    return lines


def book(token: str, at_ms: int, bids: dict[str, str], asks: dict[str, str], **more: str) -> dict[str, Any]:
    sides = [[{"price": price, "size": size} for price, size in side.items()] for side in (bids, asks)]
    frame = {"market": "0x" + token[:2] * 32, "asset_id": token, "bids": sides[0], "asks": sides[1]}
    return frame | {"hash": "ab" * 20, "timestamp": str(at_ms), "event_type": "book", **more}


def market_lines() -> list[str]:
    """Two windows, the books of one token each: ordinary, with prices below a cent, and one-sided at the end."""
    lines = []
    for window, token in enumerate(TOKENS):
        start_s = T0_S + 300 * window
        frames = [book(token, start_s * 1000, {"0.01": "11702.51", "0.46": "234.09"}, {"0.99": "11907.71", "0.5": "7"},
                       tick_size="0.01", last_trade_price="0.460")]  # fmt: skip
        frames += [
            book(token, (start_s + n) * 1000, {"0.4": "15", "0.47": f"{n}.5"}, {"0.6": "3", "0.48": str(n)})
            for n in range(1, 29)
        ]
        frames.append(book(token, (start_s + 29) * 1000, {"0.97": "15", "0.991": "3"}, {"0.999": "0.000001"}))
        frames.append(book(token, (start_s + 30) * 1000, {"0.98": "15", "0.99": "3.25"}, {}))
        for n, frame in enumerate(frames):
            raw = json.dumps([frame] if n == 7 else frame)
            lines.append(json.dumps({"recv_ts": start_s + n + 0.25, "slug": f"btc-updown-5m-{start_s}", "raw": raw}))
    return lines


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The reference's in two gzipped parts that continue each other, named against their order."""
    folder, lines = tmp_path_factory.mktemp("recordings"), reference_lines()
    paths = [folder / "b.gz", folder / "a.gz", folder / "market.jsonl"]
    for path, part in zip(paths, (lines[:90], lines[90:]), strict=False):
        path.write_bytes(gzip.compress("\n".join(part).encode()))
    paths[2].write_text("\n".join(market_lines()))
    return [paths[1], paths[0], paths[2]]


def test_both_forms_are_read_in_order_and_what_is_no_frame_is_passed_over(files: list[Path]) -> None:
    recordings = Recordings(files)
    reference = list(recordings.frames(REFERENCE))
    assert [one.event["u"] for one in reference if one.stream == "btcusdt@bookTicker"] == list(range(500, 740, 4))
    assert len(reference) == 180
    market = list(recordings.frames(MARKET))
    assert len(market) == 62 and {one.event["asset_id"] for one in market} == set(TOKENS)
    assert market[0].at_ns == T0_S * 10**9 + 250_000_000


@pytest.mark.parametrize("content", ["", "{", '{"raw": 1}\n', "17 [1]\n", "seventeen {}\n"])
def test_what_is_no_recording_is_one_clear_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wrong"
    path.write_text(content)
    with pytest.raises(SettingsError, match="wrong: ") as refused:
        Recordings([path])
    assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        list(read(tmp_path / "missing.gz"))


def test_a_mirrors_mirror_is_the_book() -> None:
    once = mirrored(book("1", 5, {"0.01": "7", "0.4": "8.5"}, {"0.999": "9", "0.41": "2"}), other_token("1"))
    assert (once["bids"][-1], once["asks"][-1]) == ({"price": "0.59", "size": "2"}, {"price": "0.6", "size": "8.5"})
    again = mirrored(once, "1")
    assert again | {"hash": "ab" * 20} == book("1", 5, {"0.01": "7", "0.4": "8.5"}, {"0.999": "9", "0.41": "2"})


def test_the_feeds_read_every_frame_and_hold_what_was_told_last(files: list[Path]) -> None:
    options = VenueOptions(seed=91, parameters=QUIET, recordings=tuple(files), recording_speed=SPEED)
    with VenueThread(options) as venue:
        running = Drive(venue.info, files, SPEED)
        try:
            told = running.run()
        finally:
            running.stop()
        assert told == {REFERENCE: {"told": 120, "unheard": 60}, MARKET: {"told": 62, "unheard": 0}}
        reference, market = (running.desks[kind].report() for kind in (REFERENCE, MARKET))
        assert (reference["messages"], reference["quotes"], market["events"]) == (120, 60, 124)
        for report in (reference, market):
            assert [value for name, value in report.items() if name in ("malformed", "nonsense", "skipped")] == [0, 0]
            assert report["losses"] == []
        latest = running.caches.reference["btc"].latest
        assert latest is not None and latest.bid_e8 == 61_840_63000000
        assert latest.lag_ms != 0


def test_a_report_says_whether_all_was_sound(files: list[Path]) -> None:
    options = VenueOptions(seed=92, parameters=QUIET, recordings=(files[2],), recording_speed=SPEED)
    with VenueThread(options) as venue:
        report = drive(venue.info, files[2:], SPEED)
    assert report["sound"] and report["market"]["told"] == 62


def test_any_client_hears_a_recorded_stream_as_it_was(files: list[Path]) -> None:
    options = VenueOptions(seed=93, parameters=QUIET, recordings=tuple(files[:2]), recording_speed=SPEED)
    with VenueThread(options) as venue:
        ws = connect(
            venue.info["binance_ws_url"] + "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@aggTrade"
        )
        heard = [next(events(ws)) for _ in range(180)]
        wanted = [json.loads(line.partition(" ")[2]) for line in reference_lines()]
        wanted = [frame for frame in wanted if frame.get("stream") in ("btcusdt@trade", "btcusdt@depth@100ms")]
        assert [frame for frame in heard if frame["stream"] != "btcusdt@aggTrade"] == wanted
        (merged, *_) = [frame["data"] for frame in heard if frame["stream"] == "btcusdt@aggTrade"]
        assert (merged["e"], merged["a"], merged["f"], merged["l"], merged["q"]) == (
            "aggTrade", 9000, 9000, 9000, "0.02000000",
        )  # fmt: skip
        assert get(venue.info["url"] + "/control/recordings").json()["reference"]["told"] >= 120
        ws.close()
