"""Tells systemd that the run is up, alive and what it does, where systemd asked for it (Type=notify); elsewhere nothing.

The watchdog is fed by proof of life only: the main thread calls `alive` when executor and root hold their leases.
"""

from __future__ import annotations

import sdnotify

SEND_S_MAX = 0.1  # a manager that does not read may not hold up the main thread


class ServiceManager:
    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        if self._notifier.socket is not None:
            self._notifier.socket.settimeout(SEND_S_MAX)
        self._ready = False
        self._status = ""

    def alive(self, status: str) -> None:
        """The first proof of life is what the manager waits for at the start."""
        if status != self._status:
            self._status = status
            self._notifier.notify(f"STATUS={status}")
        self._notifier.notify("WATCHDOG=1" if self._ready else "READY=1\nWATCHDOG=1")
        self._ready = True

    def stopping(self, reason: str) -> None:
        """From here the manager's own deadline for stopping runs."""
        self._notifier.notify(f"STOPPING=1\nSTATUS=stopping: {reason}")
