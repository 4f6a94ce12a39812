"""One process of the bot on the hub: the real executor, gate, gateways, heartbeat, root and panic, wired as in life.

Only what touches the world is other: connections lead to the simulated venue, the journal is kept in memory, and the
strategy is a plain source of intents. Decides nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Any, cast

import msgspec
import orjson
import pykka

from actors.base import Actor
from actors.executor import ExecutorActor
from actors.feed import FeedActor
from actors.gateway import CancelsDesk, Desk, GatewayActor, OrdersDesk, ReadsDesk
from actors.guardian import GuardianActor
from actors.heartbeat import HeartbeatActor
from actors.journal import JournalActor
from actors.root import RootActor
from actors.router import Router
from actors.strategy import StrategyActor
from actors.timer import TimerActor
from actors.wiring import PERIODS_NS, ROUTES, Remembering, children
from bot.caches import Caches
from bot.desk import OperatorDesk
from bot.errors import JournalError
from bot.execution.executor import Executor
from bot.execution.gate import Gate
from bot.execution.snapshot import snapshot
from bot.flat import FlatReport
from bot.history.records import Record, Run, SegmentStart, said
from bot.history.replay import begin, recover
from bot.messages import MarketListed, Message, NewOrder, Restarted, StatusReport
from bot.panic import OVERDUE_NS, Panic
from bot.sim.chaos.guarded import HubGuardian
from bot.sim.chaos.hub import Group, Hub, Signal
from bot.sim.chaos.net import Connection, HubReader, Net
from bot.sim.chaos.quoter import Quoter
from bot.sim.chaos.rest import Request
from bot.sim.chaos.streams import Streams
from bot.sim.chaos.threads import HubDirectory
from bot.sim.chaos.venue import API_KEY, OWNER, START_MS
from bot.sim.chaos.world import MarketList
from bot.state import Latch
from bot.units import NS_PER_MS, NS_PER_S, Ns, Px
from bot.venues.binance import BinanceFeed
from bot.venues.cancel_client import CancelClient
from bot.venues.clob_login import Credentials, hmac_headers
from bot.venues.conversation import Conversation
from bot.venues.polymarket_book import MarketFeed
from bot.venues.polymarket_gateway import ClobApi
from bot.venues.polymarket_user import UserFeed
from bot.venues.signing import Signer

SECRET = "canary-that-nobody-may-see"
CREDENTIALS = Credentials(API_KEY, base64.urlsafe_b64encode(SECRET.encode()).decode(), f"passphrase-{SECRET}")
SALTS = 1_000_000_000  # of one process
LOOK_S = 0.5
URL = "wss://hub"
REFERENCE_NS_MAX: Ns = 2 * NS_PER_S
ROOT_LEASE_NS_MAX: Ns = 5 * NS_PER_S
END_S_MAX = 10.0
FLAT, INTERNAL, NOT_FLAT = 0, 70, 5
_encode = msgspec.json.encode


class PlainSigner:
    """Orders are sent as they are: what a signature proves is not in question here."""

    address = funder = OWNER
    signature_type = 0

    def body(self, order: NewOrder, owner: str) -> bytes:
        return _encode(order)


def order_id_of(order: NewOrder) -> str:
    """As unlike as salts are."""
    return f"0x{order.salt:064x}"


class Disk:
    """What the journals of all processes leave: the last segment, of which power may take what was not synced."""

    def __init__(self) -> None:
        self.start: SegmentStart | None = None
        self.records: list[Record] = []
        self.synced = 0
        self.segments = 0
        self.power_lost = False  # since the last process began

    def begin(self, run: Run, state: bytes, first_seq: int) -> None:
        self.segments += 1
        self.start = SegmentStart(run=run, segment=self.segments, first_seq=first_seq, snapshot=state)
        self.records = []
        self.synced = 0
        self.power_lost = False

    def items(self) -> list[SegmentStart | Record]:
        return [] if self.start is None else [self.start, *self.records]

    def lose_power(self) -> None:
        del self.records[self.synced :]
        self.power_lost = True


class Memory:
    """The journal of one process, as bot.history.journal.Journal is for its actors."""

    def __init__(self, disk: Disk, run: Run, seq: int, state: Callable[[], bytes], records_max: int) -> None:
        self._disk = disk
        self._run = run
        self._state = state
        self._records_max = records_max
        self.seq = seq
        self.emitted: Sequence[Message] = ()  # of the last record
        self.broken = False
        disk.begin(run, state(), seq + 1)

    def append(self, now_ns: Ns, message: Message, emitted: Sequence[Message]) -> None:
        if self.broken:
            raise JournalError("the journal cannot be written: no space left on device")
        self.seq += 1
        self.emitted = emitted
        self._disk.records.append(Record(self.seq, now_ns, message, said(emitted)))

    def rotate(self) -> None:
        if len(self._disk.records) >= self._records_max:
            self._disk.begin(self._run, self._state(), self.seq + 1)

    def sync(self) -> None:
        if self.broken:
            raise JournalError("the journal cannot be synced: input/output error")
        self._disk.synced = len(self._disk.records)

    def prepare(self) -> None:
        return


def executor_of(run: Run) -> Executor:
    """A fresh executor as this run's was made."""
    return Executor(
        limits=run.limits,
        order_id_of=order_id_of,
        salt_base=run.salt_base,
        timers=run.timers,
        rates=run.rates,
        clean_start=run.clean_start,
    )


class Watch:
    """What the simulation hears of a process, in the order in which it happens; the invariants are behind it."""

    def handling(self, process: Process) -> None: ...

    def handled(self, process: Process, message: Message, emitted: list[Message]) -> None: ...

    def sending(self, process: Process, message: Message) -> None: ...

    def asked(self, process: Process, who: str, request: Request) -> None: ...

    def answered(self, process: Process, who: str, request: Request, status: int) -> None: ...

    def failed(self, process: Process, who: str) -> None: ...

    def delivering(self, process: Process, messages: list[Message]) -> None: ...

    def frame(self, now_ns: Ns) -> None: ...

    def died(self, process: Process, name: str, error: Exception) -> None: ...

    def proven(self, process: Process) -> None: ...

    def point(self, process: Process, name: str) -> None: ...

    def note(self, kind: str, what: Any) -> None: ...


class WatchedCore:
    """The executor between two looks."""

    def __init__(self, process: Process, watch: Watch) -> None:
        self._process = process
        self._watch = watch

    def handle(self, message: Message, now_ns: Ns) -> list[Message]:
        self._watch.point(self._process, "before handling")
        self._watch.handling(self._process)
        emitted = self._process.executor.handle(message, now_ns)
        self._watch.handled(self._process, message, emitted)
        self._watch.point(self._process, "before the journal")
        return emitted

    def status_report(self) -> StatusReport:
        return StatusReport(component="executor", body={})


class WatchedRouter:
    """The executor's way out."""

    def __init__(self, process: Process, router: Any, watch: Watch) -> None:
        self._process = process
        self._router = router
        self._watch = watch

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._watch.point(self._process, "before sending")
            self._watch.sending(self._process, message)
            self._router.send((message,))


class HubBell:
    """A Bell that tasks sleep on."""

    def __init__(self, hub: Hub) -> None:
        self._rings = Signal(hub)
        self._rung = False

    def ring(self) -> None:
        self._rung = True
        self._rings.notify_all()

    def wait(self, timeout_s: float | None) -> None:
        self._rings.wait_for(lambda: self._rung, timeout_s)
        self._rung = False


class HubPanic(Panic):
    """Panic's loop as a task."""

    def __init__(self, hub: Hub, group: Group, port: CancelClient, proven: Callable[[], None], **panic: Any) -> None:
        super().__init__(port, clock=hub.clock, **panic)
        self._proven = proven
        self._bell = cast(Any, HubBell(hub))
        self._changed = cast(Any, Signal(hub))
        self._hub = hub
        self._group = group

    def start(self) -> None:
        self._hub.spawn(self._group, self._serve)

    def _finish(self, ticket: int, report: FlatReport) -> None:
        super()._finish(ticket, report)
        if report.verified:
            self._proven()


class Process:
    """From start to `ended`, or until it is killed. `ended(code)` is called once, by its main task."""

    def __init__(
        self,
        *,
        number: int,
        hub: Hub,
        net: Net,
        streams: Streams,
        markets: Callable[[], MarketList],
        quoter: Callable[[Callable[[str], Px]], Quoter],
        latch: Latch,
        watch: Watch,
        random: Random,
        run: Run,
        disk: Disk,
        tick_ns: Ns,
        skew_s: Callable[[], float],
        ended: Callable[[Process, int], None],
        taken_over: Callable[[Process], bool],
    ) -> None:
        self.number = number
        self.hub = hub
        self.group = Group()
        self.random = random
        self._net = net
        self._streams = streams
        self._markets = markets
        self._quoter = quoter
        self._latch = latch
        self._watch = watch
        self._skew_s = skew_s
        self._schedule = {**SCHEDULE, "executor": tick_ns}
        self._ended_told = ended
        self._end: tuple[bool, str] | None = None
        self.connections: list[Connection] = []  # which end with the process
        self._kept: dict[tuple[type[Message], str], Message] = {}
        self.torn = ""  # who ends by its next request
        self.user_feed: UserFeed | None = None
        self.started_ns = hub.now_ns
        self.utc_step_ns: Ns = 0  # how far the host's wall clock is off
        self.limits = run.limits
        self.timers = run.timers
        last = recover(disk.items(), executor_of)
        self.run = msgspec.structs.replace(run, salt_base=(number + 1) * SALTS, continues=last is not None)
        self.found = b"" if last is None else snapshot(last.executor)
        self.executor = executor_of(self.run) if last is None else begin(executor_of, self.run, self.found)
        self._first = None if last is None else Restarted(power_lost=disk.power_lost)
        self.journal = Memory(
            disk,
            self.run,
            last.seq if last is not None else 0,
            lambda: snapshot(self.executor),
            random.randrange(500, 4_000),
        )
        for desk in self.executor.desks.values():  # whose actors are to be told of them again
            self._kept[MarketListed, desk.market.symbol] = MarketListed(market=desk.market)
        self.caches = Caches()
        self.directory = HubDirectory(lambda name, error: watch.died(self, name, error))
        self.gate = Gate(latched=latch.is_set)
        self.guardian = HubGuardian(
            hub,
            lambda clock: self._canceller("guardian", clock),
            lambda: taken_over(self),
            lambda message: watch.note("guardian", message),
        )
        self.panic = HubPanic(
            hub,
            self.group,
            self._canceller("panic", self._utc_s),
            lambda: watch.proven(self),
            inflight=self.gate.inflight,
            told=lambda report: self.directory.tell("executor", report),
        )
        self.desk = OperatorDesk(
            gate=self.gate, panic=self.panic, latch=latch, record=lambda: {"state": self.executor.recovery.state}
        )
        hub.spawn(self.group, self._main)

    # -- life ----------------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        """bot.run and bot.app in brief: start the root, watch its lease, end flat if that can be had."""
        self.panic.start()
        self._begin(
            lambda: RootActor(
                children=children(
                    {
                        "journal": partial(self._actor, JournalActor, "journal", journal=self.journal),
                        **{name: partial(self._gateway, name) for name in ("cancels", "orders", "reads")},
                        "heartbeat": partial(
                            self._actor,
                            HeartbeatActor,
                            "heartbeat",
                            api=self._api("heartbeat"),
                            gate=self.gate,
                            silenced=self._flat_overdue,
                        ),
                        "guardian": partial(self._actor, GuardianActor, "guardian", port=self.guardian, gate=self.gate),
                        "executor": partial(
                            self._actor,
                            ExecutorActor,
                            "executor",
                            core=WatchedCore(self, self._watch),
                            journal=self.journal,
                            gate=self.gate,
                            first=self._first,
                        ),
                        "strategy": self._strategy,
                        "timer": partial(self._actor, TimerActor, "timer", schedule=self._schedule, utc=self.utc_ns),
                        **{name: partial(self._feed, name) for name in ("binance", "market", "user")},
                    }
                ),
                gate=self.gate,
                panic=self.panic,
                end=lambda failed, reason: self._told_to_end(failed, reason),
                latch=self._latch.set,
                latched=self._latch.reason,
                cancel_due=self.executor.recovery.cancel_due_ns,
                renew=self.guardian.renew,
                directory=self.directory,
                router=Router(self.directory, KNOWN_ROUTES["root"]),
                clock=self.hub.clock,
            )
        )
        while self._end is None:
            self.hub.sleep(LOOK_S)
            lease_ns = self.gate.root_lease_ns
            if lease_ns and self.hub.now_ns - lease_ns > ROOT_LEASE_NS_MAX:
                self.gate.shut("main", "the root actor stopped beating")
                self._told_to_end(True, "the root actor stopped beating")
        failed, _ = self._end
        report = self.panic.newest()
        if report is None or not report.verified:
            report = self.panic.wait(self.panic.request("the end of the run"), END_S_MAX)
        flat = report is not None and report.verified
        if flat:
            self.guardian.bye()
        self._ended_told(self, NOT_FLAT if not flat else INTERNAL if failed else FLAT)

    def _told_to_end(self, failed: bool, reason: str) -> None:
        self._end = self._end or (failed, reason)

    @property
    def end_reason(self) -> str:
        return self._end[1] if self._end is not None else ""

    def utc_ns(self, now_ns: Ns) -> Ns:
        return START_MS * NS_PER_MS + now_ns + self.utc_step_ns

    def _sync(self) -> float:
        """venue_clock in brief: measure how far the venue's clock is from ours, and go by the venue's."""
        offset_s = self._skew_s() - self.utc_step_ns / NS_PER_S
        self.utc_step_ns += int(offset_s * NS_PER_S)
        return offset_s

    def _flat_overdue(self) -> bool:
        since_ns = self.executor.recovery.clearing_ns
        return self.panic.overdue() or 0 < since_ns < self.hub.now_ns - OVERDUE_NS

    # -- parts -----------------------------------------------------------------------------------------------------------

    def _begin(self, make: Callable[[], Actor]) -> pykka.ActorRef[Any]:
        return self.directory.begin(self.hub, self.group, self.random, make)

    def _actor(self, kind: Callable[..., Actor], name: str, **arguments: Any) -> pykka.ActorRef[Any]:
        router: Any = Router(self.directory, KNOWN_ROUTES[name])
        if name in ("reads", "executor"):
            router = Remembering(router, self._kept)
        if name == "executor":
            router = WatchedRouter(self, router, self._watch)
        return self._begin(
            lambda: kind(name=name, directory=self.directory, router=router, clock=self.hub.clock, **arguments)
        )

    def _connection(self, who: str) -> Connection:
        guardian = who == "guardian"
        connection = Connection(
            self._net,
            lambda request: self._watch.asked(self, who, request),
            lambda request, status: self._watch.answered(self, who, request, status),
            lambda: self._watch.failed(self, who),
            lambda name: None if guardian else self._pass(who, name),
        )
        if not guardian:
            self.connections.append(connection)
        return connection

    def _pass(self, who: str, name: str) -> None:
        self._watch.point(self, f"{name} by {who}")
        if who == self.torn and name.startswith("after") and not name.endswith("GET"):
            self.torn = ""
            raise RuntimeError("injected fault: the thread ends with a request in its hands")

    def _canceller(self, who: str, utc: Callable[[], float]) -> CancelClient:
        return CancelClient(
            self._connection(who),
            hmac_headers(CREDENTIALS, OWNER),
            utc=utc,
            clock=self.hub.clock,
            loads=orjson.loads,
        )

    def _utc_s(self) -> float:
        return self.utc_ns(self.hub.now_ns) / NS_PER_S

    def _api(self, who: str) -> ClobApi:
        signer = cast(Signer, PlainSigner())
        return ClobApi(self._connection(who), signer, CREDENTIALS, utc=self._utc_s, clock=self.hub.clock)

    def _gateway(self, name: str) -> pykka.ActorRef[Any]:
        desk: Desk
        if name == "orders":
            desk = OrdersDesk(self._api(name), self.gate, self.hub.clock)
        elif name == "cancels":
            desk = CancelsDesk(self._api(name), self.hub.clock)
        else:
            markets = self._markets()
            for message in self._kept.values():
                if isinstance(message, MarketListed):
                    markets.watch(message.market)
            desk = ReadsDesk(self._api(name), self.gate, markets, self.hub.clock, self._sync)
        return self._actor(GatewayActor, name, desk=desk)

    def _strategy(self) -> pykka.ActorRef[Any]:
        core = self._quoter(self._middle)
        for message in list(self._kept.values()):
            core.handle(message, self.hub.now_ns)
        return self._actor(StrategyActor, "strategy", core=core, max_hz=50)

    def _feed(self, name: str) -> pykka.ActorRef[Any]:
        conversation, stream = self._conversation(name), self._streams.by_name[name]

        def make_reader(deliver: Callable[[list[Message]], None]) -> HubReader:
            if name != "user":
                return HubReader(self._net, self.group, self.random, conversation, deliver, stream.connect)

            def told(messages: list[Message]) -> None:
                self._watch.delivering(self, messages)
                deliver(messages)

            return HubReader(self._net, self.group, self.random, conversation, told, stream.connect, self._user_frame)

        reference = self._actor(FeedActor, name, feed=name, make_reader=make_reader)
        if name in KNOWN_ROUTES["reads"][MarketListed]:
            for message in list(self._kept.values()):
                if isinstance(message, MarketListed):
                    self.directory.tell(name, message)
        return reference

    def _conversation(self, name: str) -> Conversation:
        clock, utc = self.hub.clock, self.utc_ns
        if name == "binance":
            return BinanceFeed(ws_url=URL, rest_url="", assets=["btc"], caches=self.caches, clock=clock, utc=utc)
        if name == "market":
            return MarketFeed(url=URL, caches=self.caches, clock=clock, utc=utc)
        self.user_feed = UserFeed(
            url=URL,
            api_key=CREDENTIALS.api_key,
            secret=CREDENTIALS.secret,
            passphrase=CREDENTIALS.passphrase,
            wallets=(OWNER,),
            before=self.user_feed,
        )
        return self.user_feed

    def _middle(self, symbol: str) -> Px:
        """Of a book that is there, while the reference is fresh; else 0."""
        reference, cache = self.caches.reference["btc"].latest, self.caches.books.get(symbol)
        book = cache.latest if cache is not None else None
        if reference is None or self.hub.now_ns - reference.recv_ns > REFERENCE_NS_MAX:
            return 0
        return (book.bids[0][0] + book.asks[0][0]) // 2 if book is not None and book.bids and book.asks else 0

    def _user_frame(self, now_ns: Ns) -> None:
        self.gate.user_frame_ns = now_ns
        self._watch.frame(now_ns)


UNPLAYED = {"monitor", "settle"}
PLAYED = ROUTES.keys() - UNPLAYED
KNOWN_ROUTES = {
    sender: {kind: tuple(name for name in names if name in PLAYED) for kind, names in routes.items()}
    for sender, routes in ROUTES.items()
    if sender in PLAYED
}
SCHEDULE = {name: every_ns for name, every_ns in PERIODS_NS.items() if name in PLAYED} | {"strategy": 400 * NS_PER_MS}
