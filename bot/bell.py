"""What one thread sleeps on until another one wakes it, without a lock of Python's between the two."""

from __future__ import annotations

import os
import select
import sys


class Bell:
    """What one thread sleeps on. To ring is a system call, for which the ringer lets go of the interpreter: the sleeper
    finds it free. A lock or a queue of Python's would wake it to find that the ringer still has it."""

    ONE = (1).to_bytes(8, sys.byteorder)

    def __init__(self) -> None:
        self._fd = os.eventfd(0)

    def __del__(self) -> None:
        os.close(self._fd)  # not before the last one who might ring is gone

    def ring(self) -> None:
        os.write(self._fd, self.ONE)

    def wait(self, timeout_s: float | None) -> None:
        """Until somebody rings or has rung since the last time, or the time is over."""
        if timeout_s is None or select.select((self._fd,), (), (), max(0.0, timeout_s))[0]:
            os.read(self._fd, 8)
