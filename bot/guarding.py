"""The guardian seen from the bot: started with a session of its own, handed the API credentials over a socket that no
other process has, renewed, listened to, and dismissed when the run ended flat."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from bot.access import Access
from bot.errors import BotError
from bot.guardian import BYE
from bot.ports import Clock
from bot.units import Ns

ROOT = Path(__file__).parent.parent
MAIN = f"import sys; sys.path.append({str(ROOT)!r}); from bot.guardian import main; main()"
READY_S_MAX = 4.0
LEAVE_S_MAX = 1.0


class GuardianLost(BotError):
    """Nobody watches over the orders."""


class GuardianProcess:
    """One guardian at a time. `renew` is the root's, `bye` the main thread's, everything else one other thread's."""

    def __init__(
        self,
        access: Access,
        *,
        log: Path,
        lock: Path,
        patience_s: float,
        clock: Clock,
        utc_ns: Callable[[Ns], Ns],
    ) -> None:
        """`patience_s`: how long it goes on trying to reach a venue that does not answer. `utc_ns`: the venue's time."""
        self._access = access
        self._log = log
        self._lock = lock
        self._patience_s = patience_s
        self._clock = clock
        self._utc_ns = utc_ns
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self.unanswered_ns: Ns = 0  # when the oldest lease that it has not answered was given, 0: none

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def spawn(self) -> None:
        """Begin to start it: the 0.1 s that an interpreter takes can pass beside other things."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its, self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", MAIN, "clobmaker-guardian"],
                stdin=its.fileno(), stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
            )  # fmt: skip
        keys = self._access.credentials
        told = {
            "rest_url": self._access.endpoints.rest_url, "address": self._access.signer.address, "api_key": keys.api_key,
            "secret": keys.secret, "passphrase": keys.passphrase, "log": str(self._log), "lock": str(self._lock),
            "pid": os.getpid(), "patience_s": self._patience_s,
        }  # fmt: skip
        with contextlib.suppress(OSError):
            ours.send(orjson.dumps(told))
        ours.setblocking(False)
        self.unanswered_ns = 0
        self._sock = ours

    def start(self) -> None:
        """Returns when it watches. Raises GuardianLost."""
        if self._sock is None:
            self.spawn()
        assert self._sock is not None
        select.select([self._sock], [], [], READY_S_MAX)
        if not self.words():
            raise GuardianLost(f"the guardian did not come up within {READY_S_MAX:g} s; see {self._log}")

    def renew(self) -> None:
        """A lease: executor and root are alive. Never blocks; a guardian that takes no more is found out by its silence."""
        if (sock := self._sock) is None:
            return
        now_ns = self._clock()
        self.unanswered_ns = self.unanswered_ns or now_ns
        with contextlib.suppress(OSError):
            sock.send(b"%d" % (self._utc_ns(now_ns) - time.monotonic_ns()))

    def words(self) -> bytes:
        """What it said since the last time, in order. Raises GuardianLost when it has ended."""
        assert self._sock is not None
        said = b""
        try:
            while word := self._sock.recv(64):
                said += word
                self.unanswered_ns = 0
        except BlockingIOError:
            return said
        except OSError as error:
            raise GuardianLost(f"the guardian cannot be heard: {error}") from None
        raise GuardianLost(f"the guardian ended; see {self._log}")

    def bye(self) -> None:
        """The run ended flat: nothing has to be watched any more."""
        if self._sock is not None and self._process is not None:
            with contextlib.suppress(OSError):
                self._sock.send(BYE)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVE_S_MAX)

    def kill(self) -> None:
        sock, self._sock = self._sock, None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if sock is not None:
            sock.close()
