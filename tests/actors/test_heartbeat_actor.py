"""When the switch is fed, with which id, and when it is left to fire. The actor is called, not started."""

from __future__ import annotations

from collections.abc import Iterable

from actors.heartbeat import HeartbeatActor
from actors.router import Directory
from bot.execution.gate import Gate
from bot.messages import Fail, Halt, Message, Resume, StatusReport, TimerTick
from bot.units import NS_PER_S
from bot.venues.polymarket_gateway import HeartbeatResult

TICK_NS = NS_PER_S // 4


class Beats:
    """The venue's side of the chain: accepts the expected id; `fate` overrides the next answers."""

    def __init__(self) -> None:
        self.expected = ""
        self.sent: list[str] = []
        self.fate: list[HeartbeatResult] = []
        self.count = 0

    def heartbeat(self, heartbeat_id: str) -> HeartbeatResult:
        self.sent.append(heartbeat_id)
        if self.fate:
            return self.fate.pop(0)
        if heartbeat_id != self.expected:
            return HeartbeatResult(False, expected_id=self.expected, status=400)
        self.count += 1
        self.expected = f"h{self.count}"
        return HeartbeatResult(True, next_id=self.expected, status=200)


LOST = HeartbeatResult(False, ambiguous=True, text="timed out")
REFUSED = HeartbeatResult(False, status=401)


class Host:
    """The actor on a clock of ours, with leases that are renewed until told otherwise."""

    def __init__(self) -> None:
        self.now_ns = 100 * NS_PER_S
        self.sent: list[Message] = []
        self.gate = Gate()
        self.venue = Beats()
        self.leased = True
        self.actor = HeartbeatActor(
            api=self.venue,
            gate=self.gate,
            name="heartbeat",
            directory=Directory(),
            router=self,
            clock=lambda: self.now_ns,
        )

    def send(self, messages: Iterable[Message]) -> None:
        self.sent += messages

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            if self.leased:
                self.gate.executor_lease_ns = self.gate.root_lease_ns = self.now_ns
            self.actor.handle(TimerTick(name="heartbeat", now_ns=self.now_ns, utc_ns=0))
            self.now_ns += TICK_NS

    @property
    def halts(self) -> list[Halt]:
        return [message for message in self.sent if isinstance(message, Halt)]


def test_a_beat_every_three_seconds_each_with_the_id_of_the_last_answer() -> None:
    host = Host()
    host.run(9)
    assert host.venue.sent == ["", "h1", "h2"]
    assert host.gate.heartbeat_ack_ns == 106 * NS_PER_S


def test_the_first_beat_of_a_run_adopts_and_is_sent_again_at_once() -> None:
    host = Host()
    host.venue.expected = "left by our last run"
    host.run(0.25)
    assert host.venue.sent == ["", "left by our last run"]
    assert host.gate.heartbeat_ack_ns == 100 * NS_PER_S
    assert not host.halts


def test_after_a_lost_answer_the_chain_is_adopted() -> None:
    host = Host()
    host.run(3)
    host.venue.fate = [LOST]
    host.venue.expected = "the lost answer's id"
    host.run(3)
    assert host.venue.sent == ["", "h1", "h1", "the lost answer's id"]
    assert host.actor.misses == 1
    assert not host.halts


def test_a_foreign_id_out_of_the_blue_means_another_host_and_beating_ends() -> None:
    host = Host()
    host.run(3)
    host.venue.expected = "somebody else's"
    host.run(8)
    assert [halt.by for halt in host.halts] == ["heartbeat"]
    assert host.venue.sent == ["", "h1"]


def test_a_foreign_id_right_after_an_adopted_one_means_another_host() -> None:
    host = Host()
    foreign = HeartbeatResult(False, expected_id="x", status=400)
    host.venue.fate = [foreign, foreign]
    host.run(1)
    assert len(host.halts) == 1


def test_resume_by_a_person_takes_the_key_back() -> None:
    host = Host()
    host.run(3)
    host.venue.expected = "somebody else's"
    host.run(3)
    host.actor.handle(Resume(by="operator"))
    host.run(0.25)
    assert host.venue.sent[-2:] == ["h1", "somebody else's"]
    assert host.gate.heartbeat_ack_ns == 106 * NS_PER_S


def test_refused_beats_are_tried_each_second_and_do_not_count() -> None:
    host = Host()
    host.venue.fate = [REFUSED, REFUSED, REFUSED]
    host.run(3)
    assert len(host.venue.sent) == 3
    assert (host.gate.heartbeat_ack_ns, host.actor.misses) == (0, 3)
    host.run(0.25)
    assert host.gate.heartbeat_ack_ns == 103 * NS_PER_S


def test_a_chain_the_venue_forgot_is_begun_anew() -> None:
    host = Host()
    host.run(3)
    host.venue.fate = [HeartbeatResult(False, status=400)]
    host.venue.expected = ""
    host.run(2)
    assert host.venue.sent == ["", "h1", ""]
    assert host.gate.heartbeat_ack_ns == 104 * NS_PER_S


def test_no_lease_no_beat() -> None:
    host = Host()
    host.run(0.25)
    host.leased = False
    host.run(8)
    assert len(host.venue.sent) == 1
    host.leased = True
    host.run(0.25)
    assert len(host.venue.sent) == 2


def test_never_leased_never_beats() -> None:
    host = Host()
    host.leased = False
    host.run(5)
    assert host.venue.sent == []


def test_silenced_on_purpose_it_lets_the_switch_fire() -> None:
    host = Host()
    host.run(1)
    host.actor.silenced = lambda: True
    host.run(12)
    assert len(host.venue.sent) == 1
    host.actor.silenced = lambda: False
    host.run(1)
    assert len(host.venue.sent) == 2


def test_an_outage_is_told_to_the_executor_once_before_the_venue_acts() -> None:
    host = Host()
    host.run(1)
    host.leased = False
    host.run(6)
    assert not [message for message in host.sent if isinstance(message, Fail)]
    host.run(12)
    assert len([message for message in host.sent if isinstance(message, Fail)]) == 1
    host.leased = True
    host.run(1)
    host.leased = False
    host.run(10)
    assert len([message for message in host.sent if isinstance(message, Fail)]) == 2


def test_it_reports_age_and_misses() -> None:
    host = Host()
    host.run(2)
    reports = [message for message in host.sent if isinstance(message, StatusReport)]
    assert len(reports) == 4
    assert reports[-1].body == {"age_ms": 1500, "misses": 0}
