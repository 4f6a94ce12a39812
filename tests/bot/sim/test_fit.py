"""The generated book beside the recorded one, and how the one is fitted to the other."""

from __future__ import annotations

import gzip
import itertools
import json
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from bot.sim import fit, worlds
from bot.sim.parameters import WorldParameters

RECORDED = msgspec.json.decode(files("bot.sim").joinpath("worlds/recorded.json").read_bytes(), type=fit.Figures)


def test_spread_touch_and_depth_of_the_default_world_are_the_recorded_ones() -> None:
    told = fit.generated(worlds.world("tight"), seeds=3, seconds=60)
    assert told.books > 500
    assert told.spreads[0] == pytest.approx(RECORDED.spreads[0], abs=0.08)
    assert told.spreads[1] == pytest.approx(RECORDED.spreads[1], abs=0.08)
    for ours, recorded in itertools.chain(
        zip(told.touch, RECORDED.touch, strict=True), zip(told.depth, RECORDED.depth, strict=True)
    ):
        assert ours == pytest.approx(recorded, rel=0.2)


def book(slug: str, ms: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> str:
    """A recorded frame; sides as the venue sends them, best last."""
    sides = {
        name: [{"price": px, "size": size} for px, size in rows] for name, rows in (("bids", bids), ("asks", asks))
    }
    return json.dumps({"slug": slug, "raw": json.dumps({"event_type": "book", "timestamp": str(ms), **sides})})


def test_a_recording_is_read_where_the_window_is_settled_and_both_sides_are_there(tmp_path: Path) -> None:
    bids, asks = [("0.48", "7"), ("0.49", "30"), ("0.50", "10")], [("0.54", "100"), ("0.53", "5"), ("0.51", "20")]
    rows = [
        book("btc-updown-5m-1000", 1_009_000, [("0.30", "999")], [("0.31", "999")]),  # too early
        book("btc-updown-5m-1000", 1_020_000, bids, asks),
        book("btc-updown-5m-1000", 1_021_000, bids, []),
        book("btc-updown-5m-1000", 1_022_000, [("0.92", "999")], [("0.93", "999")]),  # too far from the middle
        book("btc-updown-5m-1000", 1_216_000, bids, asks),  # too late
    ]
    path = tmp_path / "recording.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    told = fit.recorded(path)
    assert (told.books, told.spreads) == (1, (1.0, 0.0, 0.0))
    assert told.touch == (10.0, 20.0, 20.0)
    assert told.depth == (25.0, 47.0, 47.0)  # 10 + 30 + 7 and 20 + 5: the offer at 0.54 is three cents away


def test_the_search_only_tells_of_what_fits_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a book that answers at once: one whose median touch is what the makers show."""

    def generated(parameters: WorldParameters) -> fit.Figures:
        size = parameters.maker_touch_size
        return fit.Figures(books=1, spreads=(1.0, 0.0, 0.0), touch=(size, size, size), depth=(1.0, 1.0, 1.0))

    monkeypatch.setattr(fit, "generated", generated)
    target = generated(WorldParameters(maker_touch_size=100.0))
    steps = list(fit.fit(target, WorldParameters(maker_touch_size=50.0)))
    assert [misfit for *_, misfit in steps] == sorted((misfit for *_, misfit in steps), reverse=True)
    assert steps[-1][0].maker_touch_size == pytest.approx(100.0, rel=0.03)
    assert steps[-1][2] < 0.003
