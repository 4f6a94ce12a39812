"""Every block of docs/clients.md runs, in the page's order, against one venue."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import py_clob_client.client  # noqa: F401  (before the venue's thread imports it, too)
import py_clob_client_v2.client  # noqa: F401
import pytest

from bot.sim.parameters import WorldParameters
from bot.sim.server import VenueOptions, VenueThread

PAGE = Path(__file__).parents[1] / "docs" / "clients.md"
QUIET = WorldParameters(noise_per_s=0.0, informed_fast_per_s=0.0, informed_slow_per_s=0.0)
FENCE = re.compile(r"^```python ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_client_of_the_page_works_as_the_page_says() -> None:
    text = PAGE.read_text()
    blocks = [
        (needs, code, text[: match.start()].count("\n"))
        for match in FENCE.finditer(text)
        for needs, code in [match.groups()]
    ]
    assert len(blocks) == 7
    missing = []
    with VenueThread(VenueOptions(seed=81, parameters=QUIET)) as venue:
        names: dict[str, Any] = {"VENUE": venue.info["url"]}
        for needs, code, line in blocks:
            if needs and importlib.util.find_spec(needs) is None:
                missing.append(needs)
                continue
            exec(compile("\n" * (line + 1) + code, str(PAGE), "exec"), names)
    if missing:
        pytest.skip(f"all but the blocks that need {', '.join(missing)}, not installed here")


def test_the_page_names_every_address_of_the_venue() -> None:
    text = PAGE.read_text()
    with VenueThread(VenueOptions(seed=82, parameters=QUIET)) as venue:
        unnamed = {key for key in venue.info if key.endswith("_url") and key not in text}
    assert unnamed == set()
