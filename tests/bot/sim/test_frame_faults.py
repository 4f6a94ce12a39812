"""Faults of frames fall on one frame together: each takes whatever another has made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bot.sim import frame_faults as frames

BOOK = {"event_type": "book", "asset_id": "7", "bids": [{"price": "0.4", "size": "5"}], "asks": []}
ORDER = {"event_type": "order", "id": "0x1", "type": "UPDATE", "status": "LIVE", "size_matched": "3", "price": "0.5"}
SHAPES: dict[str, Callable[[str], list[Any]]] = {
    "array": frames.array,
    "numbers": frames.numbers,
    "bad elements": frames.bad_elements,
    "truncated": frames.truncated,
    "malformed": frames.malformed,
    "not UTF-8": frames.not_utf8,
}


@pytest.mark.parametrize("event", [BOOK, ORDER], ids=["market", "user"])
@pytest.mark.parametrize("second", SHAPES)
@pytest.mark.parametrize("first", ["array", "numbers", "bad elements"])
def test_one_fault_of_frames_takes_what_another_made(first: str, second: str, event: dict[str, Any]) -> None:
    for text in (json.dumps(event), json.dumps([event, event]), "[]"):
        for made in SHAPES[first](text):
            assert SHAPES[second](made), "a frame never vanishes for being misshapen"


def test_an_empty_frame_among_bad_elements_has_only_bad_ones() -> None:
    assert json.loads(frames.bad_elements("[]")[0]) == [{"event_type": "weather", "forecast": "rain"}, 17]
