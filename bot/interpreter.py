"""How the interpreter of a process that trades is set. docs/performance.md has the figure behind each setting."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

SWITCH_INTERVAL_S = 0.0001  # the default 5 ms is the tail of every hand-over while a thread parses a backlog
M_ARENA_MAX = -8  # the option of mallopt, from glibc's malloc.h
ARENAS_MAX = 2  # glibc's default is eight a core: a score of threads that mostly sleep would each keep what it freed


def settle() -> None:
    """To be called once, when everything is imported and before threads are started."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS_MAX)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what the imports made is never looked at again


def give_back() -> None:
    """Pages that glibc's heap holds and nobody uses go back to the system; what comes and goes leaves holes there."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
