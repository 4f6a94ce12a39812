"""How the interpreter of a process that trades is set. docs/performance.md has the figure behind each setting."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import struct
import sys

from bot.units import Ns

SWITCH_INTERVAL_S = 0.0001  # the default 5 ms is the tail of every hand-over while a thread parses a backlog
M_ARENA_MAX = -8  # the option of mallopt, from glibc's malloc.h
SLICE_NS: Ns = 100_000  # the shortest that Linux grants; its own is milliseconds
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # system call, for glibc knows it from 2.41 on only
ARENAS_MAX = 2  # glibc's default is eight a core: a score of threads that mostly sleep would each keep what it freed


def settle() -> None:
    """To be called once, when everything is imported and before threads are started."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS_MAX)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what the imports made is never looked at again


def run_soon() -> None:
    """This thread, and the threads and processes it starts from now on, rather run soon than long: one that wakes need not
    wait until the slice of another process is over. From Linux 6.12 on; older ones change nothing, and neither does a
    refusal."""
    number = SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    attributes = struct.pack("IIQiIQQQ", 48, os.SCHED_OTHER, 0, os.getpriority(os.PRIO_PROCESS, 0), 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)


def give_back() -> None:
    """Pages that glibc's heap holds and nobody uses go back to the system; what comes and goes leaves holes there."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
