"""For every test: generated examples are the same in each run, and no example fails for being slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)  # --hypothesis-profile=search: further, at random
settings.load_profile("default")
