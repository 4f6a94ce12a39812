"""The catalogue of faults by id: what it holds for people, as `bot sim --faults list` and docs/faults.md show it."""

from __future__ import annotations

from bot.sim import catalogue_rest, catalogue_streams
from bot.sim.entry import Entry

CATALOGUE: dict[str, Entry] = {**catalogue_streams.ENTRIES, **catalogue_rest.ENTRIES}
ORDER = "WUPCSHABTDV"  # families as the catalogue's readers know them


def ids() -> list[str]:
    return sorted(CATALOGUE, key=lambda name: (ORDER.index(name[0]), name))
