"""A stream server, and Readers that are stopped when the test is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from reader_desk import Desk, Venue


@pytest.fixture
def venue() -> Iterator[Venue]:
    venue = Venue()
    yield venue
    venue.close()


@pytest.fixture
def desks() -> Iterator[list[Desk]]:
    started: list[Desk] = []
    yield started
    for desk in started:
        desk.reader.stop()
        assert not desk.reader.is_alive()
