"""One seed from begin to end: a bot, a venue, other traders, weather, an operator, and the checks.

Times of chaos and of quiescence take turns. In a quiescence faults stop, the bot must come back, nobody trades while the
quotes stand and both views are compared, and then failure mode is forced and the venue must be empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bot.errors import OtherBuild
from bot.execution.risk import Limits
from bot.execution.snapshot import snapshot
from bot.execution.timers import Timers
from bot.history.records import Run
from bot.messages import BotState, Fail, InjectedFault, OrderState, Shutdown
from bot.sim.chaos.crashes import crash_of
from bot.sim.chaos.hub import Group, Hub
from bot.sim.chaos.invariants import judge
from bot.sim.chaos.mishaps import Mishaps
from bot.sim.chaos.net import Net
from bot.sim.chaos.process import FLAT, INTERNAL, Disk, Process
from bot.sim.chaos.public import MarketStream, ReferenceStream
from bot.sim.chaos.quoter import Quoter
from bot.sim.chaos.rest import Rest
from bot.sim.chaos.scene import CLEARING, Scene, Violation
from bot.sim.chaos.streams import Streams
from bot.sim.chaos.user import UserStream
from bot.sim.chaos.venue import Venue
from bot.sim.chaos.weather import HOST, Planned, forecast
from bot.sim.chaos.world import MarketList, World
from bot.sim.faults import Faults
from bot.sim.quirks import Quirks
from bot.state import Latch
from bot.units import NS_PER_MS, NS_PER_S, QTY_ONE, USD_ONE, Ns

START_NS: Ns = 100 * NS_PER_S
STEP_NS: Ns = 100 * NS_PER_MS
BACK_S_MAX = 90.0
OPERATOR_NS: Ns = 30 * NS_PER_S
SETTLED_S = 9.0
LATE_S_MAX = 60.0  # trades that the venue was told to delay
EMPTY_S_MAX = 2.5
BALANCE_READ_NS: Ns = 20 * NS_PER_S  # after cash changed: asked from five seconds on, and twice
ON_ITS_WAY = frozenset({OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.PENDING_CANCEL})


class MemoryLatch(Latch):
    """The latch without a disk."""

    def __init__(self) -> None:
        self.path = Path("halt")
        self._reason: str | None = None
        self.count = 0

    def set(self, reason: str, by: str) -> bool:
        if self._reason is None:
            self._reason = f"{reason} (by {by})"
            self.count += 1
        return True

    def clear(self) -> None:
        self._reason = None

    def is_set(self) -> bool:
        return self._reason is not None

    def reason(self) -> str | None:
        return self._reason


@dataclass(slots=True)
class Result:
    """What came of one seed."""

    seed: int
    seconds: float = 0.0
    steps: int = 0
    faults_by_id: dict[str, int] = field(default_factory=dict)
    violation: Violation | None = None
    told: list[tuple[Ns, str, object]] = field(default_factory=list)
    quoting_s: float = 0.0
    halted_s: float = 0.0
    forced_s: float = 0.0  # in failure mode because the simulation forced it, and on the way back
    fills: int = 0
    states: dict[str, int] = field(default_factory=dict)
    phases: int = 0  # quiescences
    crashes: int = 0  # at marked points
    hash: str = ""


class Simulation:
    def __init__(
        self,
        seed: int,
        hours: float,
        *,
        every_s: float | None = None,
        only: Collection[str] = (),
        crash_at_s: float | None = None,
    ) -> None:
        """`every_s`: mean time between faults, 0 for none, None for what the seed says; `only` these ids, if any."""
        draw = Random(f"{seed}:run")
        self.seed = seed
        self.end_ns = START_NS + round(hours * 3600 * NS_PER_S)
        self.every_s = draw.choice((3.0, 5.0, 8.0, 15.0, 30.0)) if every_s is None else every_s
        self.hub = Hub(START_NS)
        self.faults = Faults(seed)
        quirks = Quirks(
            page_size=draw.choice((500, 500, 100)),
            status_prefixes=draw.random() < 0.3,
            dead_orders_null=draw.random() < 0.3,
            reason_variants=draw.random() < 0.5,
            late_hashes=draw.random() < 0.3,
        )
        self.limits = Limits(
            q_max=draw.choice((40, 60, 100)) * QTY_ONE,
            order_size_max=draw.choice((20, 40, 50)) * QTY_ONE,
            loss_max_mkt=draw.choice((15, 40, 80)) * USD_ONE,
            loss_max_day=10_000 * USD_ONE,
            capital_max=draw.choice((60, 200, 1_000)) * USD_ONE,
        )
        self.timers = Timers(cooldown_ns_max=draw.choice((5, 5, 10, 60)) * NS_PER_S)
        if not self.every_s or self.every_s >= 60:
            self.timers = Timers()
        self.tick_ns = draw.choice((50, 100, 100)) * NS_PER_MS  # how often time passes for the executor
        self._venues = Group()
        self.venue = Venue(self.hub.clock, self.faults, quirks, seed)
        self.rest = Rest(self.hub, self._venues, self.venue)
        self.net = Net(self.hub, self._venues, self.rest, Random(f"{seed}:net"))
        self.streams = Streams(
            self.hub,
            self.venue,
            self.net,
            [
                UserStream(self.hub, self.venue, self.net),
                MarketStream(self.hub, self.venue, self.net),
                ReferenceStream(self.hub, self.venue, self.net, Random(f"{seed}:reference")),
            ],
        )
        self.world = World(self.hub, self.venue, Random(f"{seed}:world"))
        self.mishaps = Mishaps(self.hub, self.venue, self.world)
        self.scene = Scene(self.hub, self.venue, self.world, judge)
        self.rest.submitted = self.scene.submitted
        self.latch = MemoryLatch()
        self.disk = Disk()
        self.left = b""  # the executor's state as a process left it, if its journal must have all of it
        self.crash = None if crash_at_s is None else crash_of(seed, crash_at_s, START_NS)
        self.crashes = 0
        self.scene.passing = self._passing
        self.latched_ns: Ns = 0
        self.halted_ns: Ns = 0
        self.process: Process | None = None
        self.processes = 0
        self.back_ns: Ns = 0  # when the next process starts
        self.host_counts: Counter[str] = Counter()
        self.lies = 0
        self.still = False
        self.clean = True
        self.phases = 0
        self._spans = self._phases(draw)
        self.weather = forecast(seed, self._spans, self.every_s, only)

    def _phases(self, draw: Random) -> list[tuple[float, float]]:
        """Begin and end of each time of chaos, as if quiescences took no time."""
        spans = []
        at, end = START_NS / NS_PER_S, self.end_ns / NS_PER_S
        while at < end:
            until = min(end, at + max(draw.uniform(100, 260), 5 * self.every_s))
            spans.append((at, until))
            at = until
        return spans

    # -- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        self._start()
        self.hub.later(STEP_NS, self._step)
        self.hub.later(NS_PER_S, self._second)
        plan = iter(self.weather)
        planned = next(plan, None)
        shift = 0.0  # quiescences take the time they take
        for _, until_s in self._spans:
            while planned is not None and planned.at_s < until_s:
                self._until(planned.at_s + shift)
                self._befall(planned)
                planned = next(plan, None)
                if self.scene.violation is not None:
                    break
            self._until(until_s + shift)
            if self.scene.violation is not None:
                break
            before_ns = self.hub.now_ns
            self._quiesce()
            if self.scene.violation is not None:
                break
            shift += (self.hub.now_ns - before_ns) / NS_PER_S
            if self.hub.now_ns >= self.end_ns:
                break
        return self._result()

    def _until(self, at_s: float) -> None:
        """Time passes, unless something was found wrong."""
        at_ns = int(at_s * NS_PER_S)
        while self.scene.violation is None and self.hub.now_ns < at_ns:
            self.hub.run(min(at_ns, self.hub.now_ns + STEP_NS))

    def _wait(self, seconds: float, ready: Callable[[], bool] = lambda: False) -> bool:
        """Until it is so, for so long at most."""
        until_ns = self.hub.now_ns + int(seconds * NS_PER_S)
        while self.scene.violation is None and self.hub.now_ns < until_ns and not ready():
            self.hub.run(min(until_ns, self.hub.now_ns + STEP_NS))
        return ready()

    def _result(self) -> Result:
        scene = self.scene
        if scene.state is BotState.QUOTING:
            scene.quoting_ns += self.hub.now_ns - scene.state_ns
        counts: Counter[str] = Counter(self.host_counts)
        for row in self.faults.rows:
            counts[row["id"]] += bool(row["count"])
        scene.digest(sorted(counts.items()))
        result = Result(
            seed=self.seed,
            seconds=(self.hub.now_ns - START_NS) / NS_PER_S,
            steps=scene.steps,
            faults_by_id=dict(sorted(counts.items())),
            violation=scene.violation,
            told=list(scene.told) if scene.violation is not None else [],
            quoting_s=scene.quoting_ns / NS_PER_S,
            halted_s=self.halted_ns / NS_PER_S,
            forced_s=scene.forced_ns / NS_PER_S,
            fills=sum(1 for trade in self.venue.exchange.trades),
            states=dict(scene.states),
            phases=self.phases,
            crashes=self.crashes,
            hash=scene.hexdigest(),
        )
        self.hub.close()
        return result

    # -- time --------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        self.hub.later(STEP_NS, self._step)
        self.venue.step()

    def _second(self) -> None:
        self.hub.later(NS_PER_S, self._second)
        self.scene.second()
        if self.latch.is_set():
            if not self.latched_ns:
                self.latched_ns = self.hub.now_ns
                self.scene.latched(self.latch.reason() or "")
            self.halted_ns += NS_PER_S
            if self.hub.now_ns - self.latched_ns > OPERATOR_NS:
                self._resume()
        else:
            self.latched_ns = 0

    def _resume(self) -> None:
        if self.process is None:
            self.latch.clear()
        else:
            answer = self.process.desk.resume()
            self.scene.note("operator", f"resume: {answer['error'] or 'done'}")

    # -- the host ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        number = self.processes
        self.processes += 1
        random = Random(f"{self.seed}:process:{number}")
        try:
            process = self._process(number, random)
        except OtherBuild as error:
            self._broke("I14", f"Journal first: replay: {error}")
            return
        self.process = process
        if self.left and process.found != self.left:
            self._broke("I14", "Journal first: what was recovered is not what was left")
        self.clean = False
        self.scene.begin(process)
        self.scene.note("host", f"process {number} starts")

    def _process(self, number: int, random: Random) -> Process:
        return Process(
            number=number,
            hub=self.hub,
            net=self.net,
            streams=self.streams,
            markets=lambda: MarketList(self.world, self.venue),
            quoter=lambda middle: Quoter(Random(f"{self.seed}:quoter:{number}"), middle, self._lie, lambda: self.still),
            latch=self.latch,
            watch=self.scene,
            random=random,
            run=Run(limits=self.limits, timers=self.timers, clean_start=self.clean),
            disk=self.disk,
            tick_ns=self.tick_ns,
            skew_s=lambda: self.venue.skew_s,
            ended=self._ended,
            taken_over=lambda process: self.process not in (None, process),
        )

    def _ended(self, process: Process, code: int) -> None:
        """The process has come to its end by itself; the service manager starts another."""
        self.scene.note("host", f"process {process.number} ends with {code}: {process.end_reason}")
        self.clean = code in (FLAT, INTERNAL)
        self._gone(process, 1.0)

    def _kill(self, process: Process, back_after_s: float) -> None:
        self.scene.note("host", f"process {process.number} is killed")
        self._gone(process, back_after_s)

    def _gone(self, process: Process, back_after_s: float) -> None:
        if process is not self.process:
            return
        self.process = None
        self.left = b"" if process.journal.broken else snapshot(process.executor)
        process.group.dead = True
        for connection in process.connections:
            connection.forget()
        process.guardian.orphan()
        self.streams.gone()
        self.scene.begin(None)
        self.hub.later(0, process.group.kill)
        self.hub.later(int(back_after_s * NS_PER_S), self._start)

    def _lose_power(self) -> None:
        self.disk.lose_power()
        self.left = b""

    def _passing(self, process: Process, point: str) -> None:
        """A marked point; where a crash is due, nothing after it happens."""
        crash = self.crash
        if crash is None or process is not self.process or not crash.due(point, self.hub.now_ns):
            return
        self.crash = None
        self.crashes += 1
        self.scene.befell("T10")
        self.scene.note("host", f"crash {point}{', and power is lost' if crash.power else ''}")
        self._kill(process, crash.back_after_s)
        if crash.power:
            self._lose_power()
        elif point == "before the journal":
            self.left = b""
        self.hub.stop()

    def _broke(self, invariant: str, text: str) -> None:
        self.scene.violation = self.scene.violation or Violation(invariant, text)

    def _lie(self) -> bool:
        self.lies -= 1
        return self.lies >= 0

    # -- faults --------------------------------------------------------------------------------------------------------

    def _befall(self, planned: Planned) -> None:
        self.scene.note("fault", planned.text)
        self.scene.digest(planned.text)
        self.scene.befell(planned.id)
        if planned.id in HOST:
            self._befall_host(planned)
        else:
            self.faults.inject(planned.fault(), self.venue.age_s)

    def _befall_host(self, planned: Planned) -> None:
        process, table = self.process, planned.table
        if process is None:
            return
        self.host_counts[planned.id] += 1
        match planned.id, table["kind"]:
            case "T01", "tear":
                process.torn = table["actor"]
            case (("T01" | "T05"), kind):
                process.directory.tell(table["actor"], InjectedFault(kind=kind, hang_s=table["hang_s"]))
            case "T06", "stop":
                process.group.frozen_until_ns = self.hub.now_ns + int(table["hang_s"] * NS_PER_S)
                self.scene.stopped_ns, self.scene.thawed_ns = self.hub.now_ns, process.group.frozen_until_ns
            case "T06", _:
                process.directory.tell("executor", InjectedFault(kind="hang", hang_s=table["hang_s"]))
            case "T08", _:
                self.lies = 3
            case "T10", "term":
                process.directory.tell("root", Shutdown(reason="signal SIGTERM"))
            case "T10", kind:
                self._kill(process, table["back_after_s"])
                if kind == "power":
                    self._lose_power()
            case "D01", _:
                process.journal.broken = True
            case "A03", _:
                process.utc_step_ns += int(table["step_s"] * NS_PER_S)

    # -- quiescence ----------------------------------------------------------------------------------------------------

    def _quiesce(self) -> None:
        scene = self.scene
        scene.note("phase", "faults stop")
        self._clear_up()
        if not self._comes_back():
            return
        self._wait(5.0)
        self.world.active, self.still = False, True
        self._wait(SETTLED_S)
        self._wait(LATE_S_MAX, lambda: self._calm() and self._settled())
        self._wait(SETTLED_S, self._calm)  # a fill that never settles was waited for in vain
        if self.scene.violation is None and scene.state is BotState.QUOTING:
            scene.note("phase", "quiet: views are compared")
            scene.judge("quiet")
        if self.process is not None and scene.violation is None:
            scene.note("phase", "failure mode is forced")
            scene.forced, scene.forced_since_ns = True, self.hub.now_ns
            self.phases += 1
            self.process.directory.tell("executor", Fail(reason="forced by the simulation"))
            if not self._wait(EMPTY_S_MAX, lambda: scene.state in CLEARING and not self.venue.open_orders()):
                left = len(self.venue.open_orders())
                self._broke("I9", f"Cancel-all arrives: {left} orders rest {EMPTY_S_MAX} s after failure mode")
        self.world.active, self.still, scene.forced = True, False, False
        scene.note("phase", "chaos")

    def _calm(self) -> bool:
        """Is no order on its way?"""
        executor = self.process.executor if self.process is not None else None
        return executor is None or not any(order.state in ON_ITS_WAY for order in executor.orders.live.values())

    def _settled(self) -> bool:
        """Is every fill on the chain, every fee known that was kept back, and the balance read?"""
        executor = self.process.executor if self.process is not None else None
        if executor is None:
            return True
        changing = self.hub.now_ns - executor.positions.cash_changed_ns < BALANCE_READ_NS
        return not (executor.positions.unsettled or executor.taken or changing)

    def _clear_up(self) -> None:
        self.faults.stop()
        self.net.down_until_ns = 0
        self.venue.skew_s = 0.0
        self.lies = 0
        self.streams.heal()
        self.mishaps.heal()

    def _comes_back(self) -> bool:
        """QUOTING within 90 s of the end of the faults, or of the operator's word where the bot was halted."""
        for _ in range(4):
            self._wait(60.0, lambda: not (self.latch.is_set() or self.latched_ns))
            if self._wait(BACK_S_MAX, lambda: self.scene.state is BotState.QUOTING):
                return True
            if self.scene.violation is not None:
                return False
            if not self.latch.is_set() and not self.latched_ns:
                break
        process = self.process
        missing = process.executor.recovery.missing(process.executor.orders) if process is not None else "no process"
        self._broke("I20", f"Comes back: {self.scene.state} {BACK_S_MAX:.0f} s after the faults stopped: {missing}")
        return False
