"""The generated market on a virtual clock: to the byte the same for one seed, whoever drives it, and quick."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from bot.sim import worlds
from bot.sim.virtual import SERIES, VirtualVenue, main


def digest(seed: int, seconds: float, step_ms: int = 100, world: str = "tight", series: Sequence[str] = SERIES) -> str:
    venue = VirtualVenue(seed=seed, series=series, parameters=worlds.world(world))
    venue.run(seconds, step_ms)
    assert venue.exchange.imbalance() == 0
    return venue.hexdigest()


def test_four_series_hash_the_same_twice_and_otherwise_for_another_seed() -> None:
    mixed = ["btc-updown-1m", "eth-updown-5m", "sol-updown-15m", "xrp-updown-1m"]
    first = digest(7, 70, series=mixed)  # the first one-minute windows have ended and were settled
    assert digest(7, 70, series=mixed) == first
    assert digest(8, 1) != digest(7, 1)


def test_the_hash_does_not_depend_on_how_often_it_is_stepped() -> None:
    for world in ("tight", "storm"):
        assert len({digest(3, 12, step_ms, world, ["btc-updown-1m"]) for step_ms in (10, 70, 2_000)}) == 1


def test_the_command_prints_the_hash_and_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hours", "0.005", "--series", "btc-updown-1m", "--seed", "5", "--world", "calm"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert len(first) == 64
    assert "times as fast as the clock" in second
    assert "ledger off by 0" in second
    for words, said in (
        (["--world", "stormy"], "unknown world"),
        (["--series", "doge"], "unknown series"),
        (["--hours", "0"], "--hours"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.soak
def test_six_hours_of_four_series_take_less_than_fifteen_minutes_of_one_core() -> None:
    venue = VirtualVenue(seed=7, series=SERIES)
    began = time.process_time()
    for _ in range(6):
        venue.run(3600)
        assert venue.exchange.imbalance() == 0
    assert time.process_time() - began < 900
    settled = [market for market in venue.exchange.markets.values() if market.outcome]
    assert len(settled) >= 3 * 71 + 23
    assert 0.3 < sum(market.outcome == "up" for market in settled) / len(settled) < 0.7
