"""What the interpreter is set to, in a process of its own: no setting of a test run is touched."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCHED = Path("/proc/thread-self/sched")
CHILD = """
import os, threading
from pathlib import Path
from bot import interpreter

os.nice(3)
interpreter.settle()
interpreter.run_soon()
told = []
sched = Path("/proc/thread-self/sched")
thread = threading.Thread(target=lambda: told.extend(sched.read_text().splitlines() if sched.exists() else ()))
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, 0), *[line.split(":")[1].strip() for line in told if line.startswith("se.slice")])
"""


def _has_slices() -> bool:
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(minor.split("-")[0])) >= (6, 12) and SCHED.exists() and "se.slice" in SCHED.read_text()


def _told() -> list[str]:
    return subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.split()


def test_a_process_keeps_the_niceness_it_was_given() -> None:
    assert _told()[0] == "3"


@pytest.mark.skipif(not _has_slices(), reason="a kernel without slices of one's own, or that does not tell them")
def test_threads_have_short_slices() -> None:
    assert _told()[1] == "100000"
