"""Recordings on disk: what was told comes back in its order, a kill takes the last seconds and no more, damage is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.history.recording import Head, Recording, RecordingWriter, told
from bot.market import Market, Rule
from bot.messages import MarketDropped, MarketListed, MarketResolved, Nudge
from bot.ports import TapeKind
from bot.units import NS_PER_S

HEAD = Head(mode="sim", series=("btc-updown-5m",))
ORIGIN_NS = 1_793_750_400 * NS_PER_S
MARKET = Market(
    symbol="0xabc", slug="btc-updown-5m-1", series="btc-updown-5m", asset="btc", up_token="1", down_token="2", version=2,
    rule=Rule.TWAP, window_s=60, start_utc_ns=NS_PER_S, end_utc_ns=301 * NS_PER_S, tick=100, min_qty=5_000_000, fee_rate=0.07,
)  # fmt: skip


def utc_ns(now_ns: int) -> int:
    return ORIGIN_NS + now_ns


def written(folder: Path, *lines: tuple[str, TapeKind, bytes, int]) -> RecordingWriter:
    writer = RecordingWriter(folder, HEAD, utc_ns=utc_ns)
    for source, kind, data, now_ns in lines:
        writer.tape(source)(kind, data, now_ns)
    writer.close()
    return writer


def test_what_was_told_comes_back_as_it_was(tmp_path: Path) -> None:
    written(
        tmp_path / "made",
        ("binance", TapeKind.REST, b"200 [[1,2]]", 5),
        ("binance", TapeKind.OPEN, b"", 6),
        ("market", TapeKind.FRAME, b'{"a": "b c"}', 7),
        ("market", TapeKind.FRAME, b"\xff\x00 not even text", 8),
        ("market", TapeKind.LOST, "silent \u2013 for 10 s".encode(), 9),
    )
    recording = Recording(tmp_path / "made")
    assert recording.head == HEAD
    assert recording.start_ns == ORIGIN_NS + 5
    lines = [(one.utc_ns - ORIGIN_NS, one.source, one.kind, one.data) for one in recording][1:]
    assert lines == [
        (5, "binance", TapeKind.REST, b"200 [[1,2]]"),
        (6, "binance", TapeKind.OPEN, b""),
        (7, "market", TapeKind.FRAME, b'{"a": "b c"}'),
        (8, "market", TapeKind.FRAME, b"\xff\x00 not even text"),
        (9, "market", TapeKind.LOST, "silent \u2013 for 10 s".encode()),
    ]
    assert not recording.torn


def test_a_line_is_a_line_and_time_never_goes_back(tmp_path: Path) -> None:
    """A frame may hold line ends between its words; readers stamp their frames before they queue here."""
    written(tmp_path, ("a", TapeKind.FRAME, b'{\n"x":\n1}', 9), ("b", TapeKind.FRAME, b"{}", 7))
    lines = list(Recording(tmp_path))[1:]
    assert [(one.utc_ns - ORIGIN_NS, one.data) for one in lines] == [(9, b'{ "x": 1}'), (9, b"{}")]


def test_of_messages_those_about_markets_are_kept(tmp_path: Path) -> None:
    messages = [
        MarketListed(market=MARKET),
        Nudge(),
        MarketResolved(symbol="0xabc", winning_asset_id="2"),
        MarketDropped(symbol="0xabc"),
    ]
    writer = RecordingWriter(tmp_path, HEAD, utc_ns=utc_ns)
    writer.tell(messages, 3)
    writer.close()
    assert [told(one) for one in Recording(tmp_path) if one.kind is TapeKind.TOLD] == [messages[0], *messages[2:]]


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_torn_end_is_read_up_to_where_it_is_torn(tmp_path: Path, cut: int) -> None:
    frames = [("a", TapeKind.FRAME, b'{"n":%d}' % n, n) for n in range(1_000)]
    written(tmp_path, *frames)
    (part,) = tmp_path.glob("part-*.gz")
    part.write_bytes(part.read_bytes()[:-cut])
    recording = Recording(tmp_path)
    lines = [one.data for one in recording if one.kind is TapeKind.FRAME]
    assert recording.torn
    assert lines == [frame[2] for frame in frames][: len(lines)]
    assert len(lines) > 500


def test_damage_in_the_middle_is_refused_with_its_place(tmp_path: Path) -> None:
    written(tmp_path, ("a", TapeKind.FRAME, b"{}", 1))
    (tmp_path / "part-000002.gz").write_bytes(gzip.compress(b"7 a frame {}\n"))
    with pytest.raises(SettingsError, match=r"part-000002.gz: line 1 is no line"):  # earlier than the part before it
        list(Recording(tmp_path))
    (tmp_path / "part-000002.gz").write_bytes(gzip.compress(b"hello\n"))
    with pytest.raises(SettingsError, match=r"part-000002.gz: line 1 is no line"):
        list(Recording(tmp_path))
    first = tmp_path / "part-000001.gz"
    first.write_bytes(first.read_bytes()[:-3])
    with pytest.raises(SettingsError, match=r"part-000001.gz: damaged after line \d"):
        list(Recording(tmp_path))


@pytest.mark.parametrize("text", [b"", b"1 a frame {}\n", b"1 recorder begun {}\n", b"1 recorder begun nonsense\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(SettingsError, match="no recording"):
        Recording(tmp_path)
    (tmp_path / "part-000001.gz").write_bytes(gzip.compress(text))
    with pytest.raises(SettingsError, match="does not begin as a recording does"):
        Recording(tmp_path)


def test_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "part-000001.gz").write_bytes(
        gzip.compress(b'1 recorder begun {"format":9,"mode":"sim","series":["btc-updown-5m"]}\n')
    )
    with pytest.raises(SettingsError, match="of format 9"):
        Recording(tmp_path)


def test_no_recording_is_written_over(tmp_path: Path) -> None:
    written(tmp_path, ("a", TapeKind.FRAME, b"{}", 1))
    with pytest.raises(SettingsError, match="holds a recording already"):
        RecordingWriter(tmp_path, HEAD, utc_ns=utc_ns)


def test_parts_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.history.recording.PART_BYTES", 1)
    monkeypatch.setattr("bot.history.recording.FLUSH_S", 60.0)
    writer = RecordingWriter(tmp_path, HEAD, utc_ns=utc_ns)
    tape = writer.tape("a")
    for n in range(3):
        tape(TapeKind.FRAME, b"%d" % n, n)
        writer._flush()
    writer.close()
    assert [part.name for part in sorted(tmp_path.iterdir())] == [f"part-00000{n}.gz" for n in (1, 2, 3, 4)]
    assert [one.data for one in Recording(tmp_path)][1:] == [b"0", b"1", b"2"]


def test_a_full_disk_ends_the_recording_and_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    writer = RecordingWriter(tmp_path, HEAD, utc_ns=utc_ns, complain=said.append)
    writer._file.close()
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    tape = writer.tape("a")
    tape(TapeKind.FRAME, b"{}", 1)
    writer.close()
    tape(TapeKind.FRAME, b"{}", 2)
    assert said == [writer.error]
    assert "the recording ends here: No space left" in writer.error
    assert writer.lines == 2


def test_a_disk_that_cannot_keep_up_ends_it_before_the_memory_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.history.recording.WAITING_MAX", 2_000)
    monkeypatch.setattr("bot.history.recording.FLUSH_S", 60.0)
    writer = RecordingWriter(tmp_path, HEAD, utc_ns=utc_ns)
    tape = writer.tape("a")
    for n in range(100):
        tape(TapeKind.FRAME, b"x" * 100, n)
    writer.close()
    assert "does not keep up" in writer.error
    assert (
        sum(one.kind is TapeKind.FRAME for one in Recording(tmp_path)) < 100
    )  # what it had taken is there, without a hole


def test_the_disk_is_not_filled_to_the_brim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot whose journal cannot be written ends; one that no longer records goes on."""
    monkeypatch.setattr("bot.history.recording.FREE_MIN", 1 << 62)
    writer = written(tmp_path, ("a", TapeKind.FRAME, b"{}", 1))
    assert "of the disk are free" in writer.error
    assert writer.bytes == 0
