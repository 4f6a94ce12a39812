"""The venue's quirks by name: all of them stand in the documentation, and a wrong one is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.sim.quirks import Quirks, parsed

PAGE = Path(__file__).parents[3] / "docs" / "protocol.md"


def test_texts_become_quirks() -> None:
    given = parsed(["page_size=2", "late_hashes=true", "cached_s=1.5", "ip_limits=429", "tier=Gold"])
    assert given == Quirks(page_size=2, late_hashes=True, cached_s=1.5, ip_limits="429", tier="Gold")
    assert parsed([]) == Quirks()


@pytest.mark.parametrize(
    "text", ["page_size", "speed=9", "page_size=two", "tier=Tin", "late_hashes=perhaps", "tier=\udcff"]
)
def test_a_wrong_one_is_named(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parsed([text])
    assert text.partition("=")[0] in str(refused.value)


def test_the_page_lists_every_quirk_with_its_default() -> None:
    rows = re.findall(r"^\| (`[a-z_0-9`, ]+`) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    told = {}
    for names, values in rows:
        defaults = [value.strip() for value in values.split(",")]
        told |= dict(zip(re.findall(r"`([a-z_0-9]+)`", names), defaults, strict=True))
    defaults = Quirks()
    shown = {name: getattr(defaults, name) for name in Quirks.__struct_fields__}
    assert told == {
        name: f"{value:g}" if isinstance(value, float) else str(value).replace("False", "false")
        for name, value in shown.items()
    }
