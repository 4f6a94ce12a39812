"""The guardian: a small process beside the bot that empties the venue when the bot was killed, is stopped or hangs.

Its standard input is a packet socket. The bot's first packet hands over where the venue is and the API credentials; the
next ones are leases, of which each tells the venue's clock; "bye" says that the bot ended flat. Without a lease for
SILENCE_NS, or when the bot is gone without a bye, it cancels all until flat is verified. It can do nothing else: it never
sees the private key. Standard library only, and of that little: it has 20 MB.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

from bot.flat import BACKOFF_S_MAX, FlatReport, cancel_all_and_verify
from bot.venues.cancel_client import CancelClient
from bot.venues.clob_http import Connection
from bot.venues.clob_login import Credentials, hmac_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from bot.flat import CancelPort

    class Packets(Protocol):
        def heard(self, timeout_s: float) -> list[bytes]: ...

        def say(self, word: bytes) -> None: ...


BYE = b"bye"
AWAKE, CANCELLING, FLAT = b".", b"!", b"="  # what it says: a lease was heard, it cancels, nothing rests any more
SILENCE_NS = 1_250_000_000  # five leases: less would take a busy machine for a dead bot, more would miss the 2 s
SETTLED_NS = 3_500_000_000  # a POST that the bot had on the wire has met its deadline of 3 s by then
DONE, NOT_FLAT = 0, 5


class Channel:
    """The bot's end of the world. Never blocks longer than asked, and never raises for a bot that is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def heard(self, timeout_s: float) -> list[bytes]:
        """What came, after waiting that long at most for the first; an empty packet is the end."""
        packets: list[bytes] = []
        if select.select([self._sock], [], [], timeout_s)[0]:
            try:
                while not packets or packets[-1]:
                    packets.append(self._sock.recv(65536))
            except BlockingIOError:
                pass
            except OSError:
                packets.append(b"")
        return packets

    def say(self, word: bytes) -> None:
        try:
            self._sock.send(word)
        except OSError:
            return  # nobody listens, which does not change what has to be done


class VenueClock:
    """UTC seconds at the venue, as the bot last told it."""

    def __init__(self) -> None:
        self.ahead_ns = time.time_ns() - time.monotonic_ns()  # of the monotonic clock

    def __call__(self) -> float:
        return (time.monotonic_ns() + self.ahead_ns) / 1e9


class Guardian:
    """Invariant: once a lease was heard, it ends only after a bye, a verified flat, or when somebody else is in charge."""

    def __init__(
        self,
        channel: Packets,
        port: CancelPort,
        venue_clock: VenueClock,
        *,
        patience_s: float,
        taken_over: Callable[[], bool],
        note: Callable[..., None],
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`taken_over`: another bot runs on this wallet, and cancels for itself; asked when ours is gone."""
        self._channel = channel
        self._port = port
        self._venue_clock = venue_clock
        self._patience_ns = int(patience_s * 1e9)
        self._taken_over = taken_over
        self._note = note
        self._clock = clock
        self._sleep = sleep
        self._leased_ns = 0  # 0: there is nothing to watch, yet or any more
        self._trusted = False  # a lease was heard, so there may be orders
        self._gone = self._bye = False

    def run(self) -> int:
        """Until the bot is gone; the exit code."""
        while not self._hear(self._rest_s()):
            if self._gone:
                return DONE if not self._trusted or self._empty("the bot is gone") else NOT_FLAT
            if not self._leased_ns or self._rest_s():
                self._port.warm()
            elif not self._empty(f"no lease for {(self._clock() - self._leased_ns) / 1e9:.2f} s"):
                return NOT_FLAT
        return DONE

    def _rest_s(self) -> float:
        """How long a lease is still waited for."""
        rest_ns = SILENCE_NS - (self._clock() - self._leased_ns) if self._leased_ns else SILENCE_NS
        return max(0, rest_ns) / 1e9

    def _hear(self, timeout_s: float) -> bool:
        """Whether the bot has said goodbye."""
        for packet in self._channel.heard(0 if self._bye else timeout_s):
            if packet == BYE:
                self._bye = True
            elif packet:
                self._venue_clock.ahead_ns = int(packet)
                self._leased_ns = self._clock()
                self._trusted = True
                self._channel.say(AWAKE)
            else:
                self._gone = True
        return self._bye

    def _empty(self, reason: str) -> bool:
        """Cancel until nothing rests, and once more when nothing that was under way can have landed since."""
        began_ns, canceled = self._clock(), 0
        self._leased_ns = 0  # the next lease, if there is one, is watched again
        self._channel.say(CANCELLING)
        self._note(f"cancelling all: {reason}")
        while True:
            settled = self._clock() - began_ns >= SETTLED_NS
            report = self._try()
            canceled += report.canceled
            took_s = (self._clock() - began_ns) / 1e9
            if report.verified and settled:
                self._channel.say(FLAT)
                self._note(f"verified flat after {took_s:.1f} s, {canceled} canceled")
                return True
            if self._hear(0):
                self._note("the bot ended flat by itself")
                return True
            if self._gone and self._taken_over():
                self._note("another bot is in charge of this wallet")
                return True
            if took_s > self._patience_ns / 1e9:
                self._note(f"gave up after {took_s:.0f} s: {report.text}", "error")
                return False

    def _try(self) -> FlatReport:
        try:
            return cancel_all_and_verify(
                self._port, clock=self._clock, sleep=self._sleep, superseded=lambda: self._hear(0)
            )
        except Exception as error:  # noqa: BLE001 - the last line of defence: it waits and tries again
            self._sleep(BACKOFF_S_MAX)
            return FlatReport(False, text=f"{type(error).__name__}: {error}")


def in_charge(lock: str) -> int:
    """The pid of the bot that holds this wallet's lock now; 0: none, -1: it has not written it yet."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return int(json.loads(os.pread(descriptor, 65536, 0))["pid"])
        except (ValueError, KeyError):
            return -1
    finally:
        os.close(descriptor)
    return 0


def note_in(log: str) -> Callable[..., None]:
    """Lines like bot.log's. A full disk loses them."""

    def note(message: str, level: str = "warning") -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}+00:00"
        line = json.dumps({"time": stamp, "level": level, "where": "bot.guardian", "message": message}) + "\n"
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(descriptor, line.encode())
            os.close(descriptor)
        except OSError:
            return

    return note


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT):
        # They are meant for the bot, whose end is seen all the same. SIGABRT is how systemd's watchdog ends a whole group.
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=0)
    first = sock.recv(65536)
    if not first:
        sys.exit(DONE)
    told: dict[str, Any] = json.loads(first)
    credentials = Credentials(told["api_key"], told["secret"], told["passphrase"])
    venue_clock, channel = VenueClock(), Channel(sock)
    client = CancelClient(Connection(told["rest_url"]), hmac_headers(credentials, told["address"]), utc=venue_clock)
    guardian = Guardian(
        channel,
        client,
        venue_clock,
        patience_s=told["patience_s"],
        taken_over=lambda: in_charge(told["lock"]) not in (0, told["pid"]),
        note=note_in(told["log"]),
    )
    channel.say(AWAKE)
    sys.exit(guardian.run())
