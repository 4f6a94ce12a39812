"""What the tests of the benchmarks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.bench.tap import Tap


@pytest.fixture
def tap() -> Iterator[Tap]:
    made = Tap()
    yield made
    made.close()
