"""When the guardian cancels, how long it goes on, and when it leaves; on a clock of ours. Then the real process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flat_venue import Venue

from bot.access import from_info
from bot.guardian import BYE, DONE, NOT_FLAT, SILENCE_NS, Guardian, VenueClock, in_charge, note_in
from bot.guarding import GuardianLost, GuardianProcess
from bot.sim.server import VenueOptions, VenueThread
from bot.state import WalletLock
from bot.units import NS_PER_S

LEASE = b"1000"
EVERY_S = 0.25
PAUSE = threading.Event()  # never set: what a poll waits on between two looks


class Script:
    """The bot's end of the socket on the venue's virtual clock: packets at given seconds, the last one for ever if it is the end."""

    def __init__(self, venue: Venue, *packets: tuple[float, bytes]) -> None:
        self.venue = venue
        self.packets = [(int(at_s * NS_PER_S), packet) for at_s, packet in packets]
        self.said: list[tuple[bytes, float]] = []

    def heard(self, timeout_s: float) -> list[bytes]:
        until_ns = self.venue.now_ns + int(timeout_s * NS_PER_S)
        if self.packets and self.packets[0][0] <= until_ns:
            until_ns = max(self.venue.now_ns, self.packets[0][0])
        self.venue.now_ns = until_ns
        packets = []
        while self.packets and self.packets[0][0] <= self.venue.now_ns:
            packets.append(self.packets[0][1])
            if self.packets[0][1] == b"":
                break
            self.packets.pop(0)
        return packets

    def say(self, word: bytes) -> None:
        self.said.append((word, self.venue.now_ns / NS_PER_S))


def leases(from_s: float, to_s: float) -> list[tuple[float, bytes]]:
    return [(from_s + number * EVERY_S, LEASE) for number in range(int((to_s - from_s) / EVERY_S) + 1)]


class Watch:
    """A guardian that has run to its end."""

    def __init__(
        self, venue: Venue, *packets: tuple[float, bytes], patience_s: float = 900.0, taken_over: bool = False
    ) -> None:
        self.script = Script(venue, *packets)
        self.notes: list[str] = []
        self.clock = VenueClock()
        self.guardian = Guardian(
            self.script,
            venue,
            self.clock,
            patience_s=patience_s,
            taken_over=lambda: taken_over,
            note=lambda message, level="": self.notes.append(message),
            clock=venue.clock,
            sleep=venue.sleep,
        )
        self.code = self.guardian.run()
        self.ended_s = venue.now_ns / NS_PER_S

    def said(self, word: bytes) -> list[float]:
        return [at_s for said, at_s in self.script.said if said == word]


def first_cancel_s(venue: Venue) -> float:
    return next(at_s for name, at_s in venue.calls if name == "cancel_all")


def test_a_bot_that_ends_flat_is_left_alone() -> None:
    venue = Venue("0x1")
    watch = Watch(venue, *leases(0, 5), (5.1, BYE), (5.1, b""))
    assert (watch.code, venue.calls, watch.notes) == (DONE, [], [])
    assert watch.ended_s == pytest.approx(5.1)


def test_each_lease_is_answered_and_tells_the_venues_clock() -> None:
    watch = Watch(Venue(), *leases(0, 2), (2.1, BYE))
    assert len(watch.said(b".")) == 9
    assert watch.clock.ahead_ns == 1000


def test_a_bot_that_is_gone_without_a_word_is_cancelled_for_at_once() -> None:
    venue = Venue("0x1", "0x2")
    watch = Watch(venue, *leases(0, 5), (5.1, b""))
    assert first_cancel_s(venue) == pytest.approx(5.1, abs=0.01)
    assert (watch.code, venue.orders) == (DONE, set())
    assert watch.notes[0] == "cancelling all: the bot is gone"
    assert watch.notes[1].startswith("verified flat after") and watch.notes[1].endswith("2 canceled")


def test_what_was_under_way_when_the_bot_died_is_cancelled_when_it_lands() -> None:
    """A POST has a deadline of 3 s, and nobody can say whether there was one."""
    venue = Venue("0x1")
    venue.out = {"0x9": int(7.9 * NS_PER_S)}
    watch = Watch(venue, *leases(0, 5), (5.0, b""))
    assert venue.orders == set() and not venue.out
    assert 8.5 < watch.ended_s < 10


def test_silence_is_taken_for_a_stopped_or_hung_bot() -> None:
    venue = Venue("0x1")
    watch = Watch(venue, *leases(0, 5), *leases(20, 25), (25.1, BYE))
    assert first_cancel_s(venue) == pytest.approx(5 + SILENCE_NS / NS_PER_S, abs=0.01)
    assert watch.said(b"!") == [first_cancel_s(venue)]
    assert len(watch.said(b"=")) == 1 and watch.said(b"=")[0] < 12
    assert watch.notes[0] == "cancelling all: no lease for 1.25 s"
    assert watch.code == DONE


def test_after_the_leases_came_back_it_watches_again() -> None:
    venue = Venue("0x1")
    watch = Watch(venue, *leases(0, 5), *leases(20, 25), (60.0, BYE))
    assert watch.said(b"!") == pytest.approx([6.25, 26.25], abs=0.02)


def test_a_lease_that_comes_back_meanwhile_does_not_end_the_cancelling() -> None:
    venue = Venue("0x1")
    venue.failing_reads = 4
    watch = Watch(venue, *leases(0, 5), *leases(6.5, 20), (20.1, BYE))
    assert len(watch.said(b"!")) == len(watch.said(b"=")) == 1
    assert venue.orders == set()


def test_before_the_first_lease_there_is_nothing_to_watch() -> None:
    venue = Venue("0x1")
    assert Watch(venue, (60.0, b"")).code == DONE
    assert venue.calls == []


def test_a_goodbye_meanwhile_ends_it() -> None:
    venue = Venue("0x1")
    venue.failing_cancels = 1 << 30
    watch = Watch(venue, *leases(0, 5), (9.0, BYE))
    assert watch.code == DONE and watch.ended_s < 10.5
    assert watch.notes[-1] == "the bot ended flat by itself"


def test_a_venue_that_cannot_be_reached_is_tried_again_until_patience_is_over() -> None:
    venue = Venue("0x1")
    venue.failing_cancels = 1 << 30
    watch = Watch(venue, *leases(0, 5), (5.0, b""), patience_s=60.0)
    assert watch.code == NOT_FLAT
    assert 60 < watch.ended_s < 80
    assert 50 < len(venue.calls) < 100
    assert watch.notes[-1].startswith("gave up after") and "503" in watch.notes[-1]


def test_a_venue_that_comes_back_is_emptied() -> None:
    venue = Venue("0x1")
    venue.failing_cancels = 40
    watch = Watch(venue, *leases(0, 5), (5.0, b""))
    assert (watch.code, venue.orders) == (DONE, set())


def test_when_another_bot_is_in_charge_its_orders_are_not_touched_for_long() -> None:
    venue = Venue("0x1")
    watch = Watch(venue, *leases(0, 5), (5.0, b""), taken_over=True)
    assert watch.code == DONE and watch.ended_s < 6.5
    assert watch.notes[-1] == "another bot is in charge of this wallet"


def test_a_bug_in_the_client_does_not_end_it() -> None:
    class Odd(Venue):
        def resting(self, symbol: str) -> list[str]:
            if len(self.calls) < 6:
                self._called("read")
                raise TypeError("no rows")
            return super().resting(symbol)

    venue = Odd("0x1")
    assert Watch(venue, *leases(0, 5), (5.0, b"")).code == DONE
    assert venue.orders == set()


def test_who_holds_the_wallet_is_read_from_its_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert in_charge(path) == 0
    lock = WalletLock(tmp_path)
    lock.take(tmp_path)
    assert in_charge(path) == os.getpid()
    Path(path).write_bytes(b"")
    assert in_charge(path) == -1
    lock.release()
    assert in_charge(path) == 0


def test_what_it_does_is_noted_in_lines_like_the_bots_own(tmp_path: Path) -> None:
    note_in(str(tmp_path / "guardian.log"))("cancelling all: a test")
    line = json.loads((tmp_path / "guardian.log").read_text())
    assert line["message"] == "cancelling all: a test" and line["level"] == "warning"
    note_in(str(tmp_path / "nowhere" / "guardian.log"))("nobody reads this")


# -- the process -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue_thread() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=7)) as venue:
        yield venue


@pytest.fixture
def guardian(venue_thread: VenueThread, tmp_path: Path) -> Iterator[GuardianProcess]:
    made = GuardianProcess(
        from_info(venue_thread.info),
        log=tmp_path / "guardian.log",
        lock=tmp_path / "lock",
        patience_s=1.0,
        clock=time.monotonic_ns,
        utc_ns=lambda now_ns: now_ns + time.time_ns() - time.monotonic_ns(),
    )
    made.start()
    yield made
    made.kill()


def heard(guardian: GuardianProcess, words: bytes) -> bytes:
    """What it says until all these words have come."""
    said, until = b"", time.monotonic() + 10
    while not set(words) <= set(said) and time.monotonic() < until:
        said += guardian.words()
        PAUSE.wait(0.01)
    return said


def test_the_process_is_small_imports_little_and_shows_no_secret(
    guardian: GuardianProcess, venue_thread: VenueThread
) -> None:
    process = Path(f"/proc/{guardian.pid}")
    kb = int(next(line for line in (process / "status").read_text().splitlines() if "VmRSS" in line).split()[1])
    assert kb < 20_000
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    for name in ("private_key", "api_secret", "api_passphrase"):
        assert venue_thread.info[name].encode() not in shown
    assert os.getsid(guardian.pid) == guardian.pid, "a session of its own: a Ctrl-C of the terminal is not for it"


def test_it_answers_leases_survives_the_signals_meant_for_the_bot_and_leaves_when_dismissed(
    guardian: GuardianProcess,
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT):
        os.kill(guardian.pid, number)
    guardian.renew()
    assert guardian.unanswered_ns
    assert heard(guardian, b".") == b"."
    assert not guardian.unanswered_ns
    guardian.bye()
    with pytest.raises(GuardianLost):
        guardian.words()


def test_it_notices_silence_by_itself_and_is_found_out_when_it_ends(guardian: GuardianProcess, tmp_path: Path) -> None:
    guardian.renew()
    assert b"!" in heard(guardian, b"!")
    assert "no lease for" in (tmp_path / "guardian.log").read_text()
    os.kill(guardian.pid, signal.SIGKILL)
    with pytest.raises(GuardianLost):
        heard(guardian, b"=")


def test_the_modules_it_loads_are_the_standard_librarys_and_a_few_of_ours() -> None:
    ours = {"bot", "bot.errors", "bot.flat", "bot.guardian", "bot.venues"} | {
        f"bot.venues.{name}" for name in ("cancel_client", "clob_answer", "clob_calls", "clob_http", "clob_login")
    }
    code = "import sys; sys.path.append('.'); import bot.guardian; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True).stdout
    loaded = set(out.split())
    assert {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names} - {"__main__"} == ours
    assert not loaded & {"asyncio", "dataclasses", "email", "http", "inspect", "subprocess", "typing", "urllib"}


def test_a_bot_that_died_before_it_could_hand_over_ends_it() -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = "import sys; sys.path.append('.'); from bot.guardian import main; main()"
    with its:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=its.fileno())
    ours.close()
    assert process.wait(10) == DONE
