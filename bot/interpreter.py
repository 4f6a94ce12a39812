"""How the interpreter of a process that trades is set. docs/performance.md has the figure behind each setting."""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_S = 0.0001  # the default 5 ms is the tail of every hand-over while a thread parses a backlog


def settle() -> None:
    """To be called once, when everything is imported."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what the imports made is never looked at again
