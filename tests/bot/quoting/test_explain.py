"""What is said about a quote fits the quote, whatever happened to it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from strategy_scene import Scene

import bot.quoting
from bot.messages import QuoteMode
from bot.quoting.explain import market_row
from bot.quoting.modes import Reason

PRICE_WORDS = {"post_only", "improve", "end_of_grid", "meets_own", "shock", "held", "waits"}
SIZE_WORDS = {"own_fills", "defensive", "taper", "reduce_only", "limits", "minimum"}


def check_side(side: dict[str, Any], order_size: float) -> None:
    words = set(side["moved_by"])
    assert words <= PRICE_WORDS | SIZE_WORDS
    assert (side["px"] is None) == (side["size"] is None) == (side["route"] == "none")
    if side["px"] is None:
        assert words & (PRICE_WORDS | SIZE_WORDS)
    elif side["px"] != side["model_px"]:
        assert words & PRICE_WORDS
    if side["size"] is not None and side["size"] != order_size:
        assert words & SIZE_WORDS


@pytest.mark.parametrize("seed", range(6))
def test_every_move_of_price_and_size_has_its_word(seed: int) -> None:
    """Through a window with a book that wanders, positions that come and go, jumps and little cash."""
    rng = random.Random(seed)
    scene = Scene(seed=seed, p_lo=0.01, p_hi=0.99, order_size=20)
    scene.list_market()
    modes = set()
    for n in range(1, 220):
        if rng.random() < 0.1:
            middle = rng.randint(20, 80)
            scene.book = ((middle - rng.randint(0, 3)) * 100, (middle + rng.randint(1, 3)) * 100)
            scene.sizes = (rng.choice((10, 500)), rng.choice((10, 500)))
        if rng.random() < 0.1:
            up = rng.choice((0, 0, 3, 20, 45, 70))
            scene.position(up=up, down=rng.choice((0, 0, 20, up)), cash=rng.choice((10**9, 5 * 10**6)))
        if rng.random() < 0.03:
            scene.price *= 1 + rng.choice((-1, 1)) * 3e-4
        scene.run(n, step=0.25)
        row = market_row(scene.core._quoters["m"])
        modes.add(row["quote_mode"])
        assert row["quote"] is None or row["quote"]["reservation"] == pytest.approx(
            row["quote"]["fair"] - row["quote"]["skew"]
        )
        if row["quote"] is not None:
            for name in ("bid", "ask"):
                side = row["quote"][name]
                assert (side is None) == (row["quote_mode"] == QuoteMode.NO_QUOTE.name)
                if side is not None:
                    check_side(side, 20.0)
    assert len(modes) >= 3


def test_every_reason_is_raised_by_somebody() -> None:
    folder = Path(bot.quoting.__path__[0])
    source = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "modes.py")
    assert [reason.name for reason in Reason if f"Reason.{reason.name}" not in source] == []
