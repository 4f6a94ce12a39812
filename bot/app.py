"""Composition root: which cores, ports and caches a bot is made of, who is told what, and in which order they start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pykka
from loguru import logger

from actors.executor import ExecutorActor
from actors.feed import FeedActor
from actors.gateway import CancelsDesk, Desk, GatewayActor, OrdersDesk, ReadsDesk
from actors.guardian import GuardianActor
from actors.heartbeat import HeartbeatActor
from actors.journal import JournalActor
from actors.monitor import MonitorActor
from actors.root import RootActor
from actors.router import Directory, Router
from actors.strategy import StrategyActor
from actors.supervision import LEASE_NS_MAX, ChildSpec
from actors.timer import TimerActor
from actors.wiring import FEEDS, PERIODS_NS, PERP, ROUTES, Overheard, Remembering, children
from bot import interpreter
from bot import messages as m
from bot.access import Access
from bot.caches import Caches
from bot.control import ControlServer
from bot.desk import OperatorDesk
from bot.errors import JournalError, SettingsError
from bot.execution.gate import Gate
from bot.execution.risk import limits_of
from bot.execution.snapshot import snapshot
from bot.execution.timers import Timers
from bot.faults import FaultWatch
from bot.feeds import TapedSession, public_feed
from bot.flat import FlatReport
from bot.guarding import GuardianProcess
from bot.history.journal import Journal
from bot.history.recording import Head, RecordingWriter
from bot.history.records import Run, Wallet
from bot.latency import NAMES, GcWatch, Latency
from bot.market import Market, Rule
from bot.panic import OVERDUE_NS, Panic
from bot.pnl import Pnl
from bot.ports import Sender
from bot.quoting.strategy import Strategy
from bot.restart import begin_run
from bot.settings import Settings
from bot.state import Latch, RunDir
from bot.status import Status
from bot.units import NS_PER_MS, NS_PER_S, USD_ONE, Ns, Usd
from bot.venues.conversation import Conversation
from bot.venues.polymarket_gateway import ClobApi
from bot.venues.polymarket_markets import JsonReader, Markets
from bot.venues.polymarket_metadata import parse_series
from bot.venues.polymarket_user import UserFeed
from bot.venues.venue_clock import VenueClock
from bot.venues.websocket import Reader

HISTORY_MARGIN_S = 3600  # trades settle late
TICKS_APART_NS: Ns = 10 * NS_PER_MS  # a dozen threads woken at once hold up a fill for milliseconds
ROOT_SILENT_NS: Ns = 2 * NS_PER_S  # at the end of a run nobody waits longer for the root to speak
LAST_CHANCE_S = 0.5  # for flat, after the root gave it up
PATIENCE_S = 900.0  # of the guardian with a venue that does not answer; its own switch has fired long before
EMBEDDED_PATIENCE_S = 30.0  # a venue of ours that is gone has taken its orders along
HURRY_S_MAX = 3.0  # for the answer to a cancel-all, when nobody waits for the verification


@dataclass(frozen=True, slots=True)
class Ending:
    flat_verified: bool
    open_orders: int | None
    internal_failure: bool
    reason: str


def day_of(path: Path) -> tuple[int, Usd]:
    """The UTC day that was last traded and its result. Raises SettingsError: a loss that is forgotten would be no limit."""
    try:
        record = orjson.loads(path.read_bytes())
        return int(record["utc_day"]), round(record["pnl_usd"] * USD_ONE)
    except FileNotFoundError:
        return 0, 0
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(
            f"{path}: what was lost today cannot be read; remove the file to begin the day's limit anew"
        ) from None


def history_ns(series: Sequence[str]) -> Ns:
    """How old a trade may be whose market is still open. A whole day of a busy market is more than one read can bring."""
    return (max(round(parse_series(name).length_s) for name in series) + HISTORY_MARGIN_S) * NS_PER_S


def run_of(settings: Settings, access: Access, clean_start: bool) -> Run:
    """What settings and wallet say of a run."""
    signer = access.signer
    return Run(
        clean_start=clean_start,
        limits=limits_of(**settings.limits.model_dump()),
        timers=Timers(
            history_ns=history_ns(settings.run.series),
            cooldown_ns=round(settings.recovery.cooldown_s * NS_PER_S),
            cooldown_ns_max=round(settings.recovery.cooldown_s_max * NS_PER_S),
        ),
        wallet=Wallet(
            chain_id=signer.chain_id,
            funder=signer.funder,
            signer=signer.address,
            signature_type=signer.signature_type,
        ),
    )


class Bot:
    """One wallet's bot: everything is made here and started by the root; `stop` ends it flat."""

    def __init__(
        self,
        *,
        settings: Settings,
        access: Access,
        run_dir: RunDir,
        state_dir: Path,
        latch: Latch,
        clean_start: bool = True,
    ) -> None:
        self.settings = settings
        self.access = access
        self.latch = latch
        journal = state_dir / "journal"
        utc_day, day_pnl = day_of(state_dir / "day_loss")
        begun = begin_run(journal, run_of(settings, access, clean_start), utc_day=utc_day, day_loss=-day_pnl)
        self.clock, self.executor = begun.clock, begun.executor
        self.run, self._first = begun.run, begun.first
        self.journal = Journal(journal, run=self.run, snapshot=lambda: snapshot(self.executor))
        self.wall = VenueClock(self.clock)
        self.caches = Caches()
        self._leads = settings.parameters().w_perp > 0
        self.recording: RecordingWriter | None = None
        if settings.run.record:
            head = Head(mode=settings.run.mode, series=settings.run.series, perp=self._leads, trading=True)
            self.recording = RecordingWriter(run_dir.frames, head, utc_ns=self.wall.utc_ns, complain=logger.error)
        self.gc = GcWatch(self.clock)
        self.latency = {name: Latency(self.clock, self.gc.within) for name in NAMES} | {"gc_pause": self.gc.latency}
        self.directory = Directory()
        self.gate = Gate(latched=latch.is_set)
        self.ended = threading.Event()
        self.end_reason = ""
        self._failed = False
        self._kept: dict[tuple[type[m.Message], str], m.Message] = {}
        self._user_feed: UserFeed | None = None
        pnl = Pnl(self.caches.books, lambda symbol: self.status.market_of(symbol))
        self.status = Status(
            path=run_dir.status,
            fixed={"mode": settings.run.mode, "series": list(settings.run.series)},
            started_ns=self.clock(),
            pnl=pnl,
            latency=self.latency,
            mailboxes=self._mailboxes,
            strikes=self._strikes,
            day_file=state_dir / "day_loss",
        )
        for desk in self.executor.desks.values():  # an earlier run's: whoever starts is told of their markets
            listed = m.MarketListed(market=desk.market)
            self._kept[m.MarketListed, desk.market.symbol] = listed
            self.status.observe(listed, self.clock())
        self.panic = Panic(
            access.canceller(self.wall.utc, self.clock),
            inflight=self.gate.inflight,
            clock=self.clock,
            told=lambda report: self.directory.tell("executor", report),
        )
        self.desk = OperatorDesk(gate=self.gate, panic=self.panic, latch=latch, record=lambda: self.status.record)
        self.control = ControlServer(run_dir.socket, self.desk)
        self.guardian = GuardianProcess(
            access,
            log=run_dir.path / "guardian.log",
            lock=state_dir / "lock",
            patience_s=EMBEDDED_PATIENCE_S if access.venue_url else PATIENCE_S,
            clock=self.clock,
            utc_ns=self.wall.utc_ns,
        )
        self.faults = FaultWatch(access.venue_url, self.directory.tell) if access.venue_url else None

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when the root has started; quoting begins when the executor has reconciled."""
        self.guardian.spawn()
        interpreter.settle()
        interpreter.run_soon()
        self.gc.start()
        self.panic.start()
        self.status.publish(self.clock(), self.wall.utc_ns(self.clock()))
        self.control.start()
        RootActor.start(
            children=self._children(),
            gate=self.gate,
            panic=self.panic,
            end=self._end,
            latch=self.latch.set,
            latched=self.latch.reason,
            cancel_due=self.executor.recovery.cancel_due_ns,
            renew=self.guardian.renew,
            directory=self.directory,
            router=Router(self.directory, ROUTES["root"]),
            clock=self.clock,
        )
        if self.faults is not None:
            self.faults.start()

    def stop(self, reason: str, *, deadline_s: float, hurry: Callable[[], bool]) -> Ending:
        """Through the root where it still works, else by panic alone. `hurry` cuts the verification short, never the cancel."""
        logger.info("stopping: {}", reason)
        by_s = time.monotonic() + deadline_s
        if not self.ended.is_set():
            self.directory.tell("root", m.Shutdown(reason=reason))
            began_ns = self.clock()
            while not self.ended.wait(0.05) and time.monotonic() < by_s and not hurry():
                if self.clock() - max(began_ns, self.gate.root_lease_ns) > ROOT_SILENT_NS:
                    self.give_up("the root actor does not answer")
        if self.ended.is_set():
            report = self.panic.newest()
        else:  # the root did not come to its end: what panic said last may be older than our orders
            self.gate.shut("main", reason)
            report = None
        report = self._flat(report, by_s, hurry)
        if report is not None and report.verified:
            self.guardian.bye()  # otherwise it goes on when this process is gone
        self.control.stop()
        self._last_words()
        return Ending(
            flat_verified=report is not None and report.verified,
            open_orders=report.open_orders if report is not None else None,
            internal_failure=self._failed,
            reason=self.end_reason or reason,
        )

    def _flat(self, report: FlatReport | None, by_s: float, hurry: Callable[[], bool]) -> FlatReport | None:
        """Panic's word, waited for until it is verified, its time is over or somebody is in a hurry."""
        if report is not None and report.verified:
            return report
        ticket = self.panic.request("the end of the run")
        by_s = max(by_s, time.monotonic() + LAST_CHANCE_S)
        while (report is None or not report.verified) and time.monotonic() < by_s:
            if hurry():
                self.panic.wait_canceled(ticket, HURRY_S_MAX)
                return self.panic.result(ticket)
            report = self.panic.wait(ticket, 0.05)
        return report

    def alive(self) -> bool:
        """Executor and root hold their leases."""
        return self.clock() - min(self.gate.executor_lease_ns, self.gate.root_lease_ns) < LEASE_NS_MAX

    def give_up(self, reason: str) -> None:
        """The root stopped beating, or the main thread broke: panic, and the process ends."""
        self.gate.shut("main", reason)
        self.panic.request(reason)
        self._end(True, reason)

    def _end(self, failed: bool, reason: str) -> None:
        if not self.ended.is_set():
            self._failed = failed
            self.end_reason = reason
            self.ended.set()

    def _last_words(self) -> None:
        """The record takes the executor's final figures from the core itself, whose thread has ended. A full disk does
        not change how the run ended."""
        now_ns = self.clock()
        health = self.directory.health("executor")
        thread = health.thread if health is not None else None
        if thread is not None and thread.is_alive():  # the root did not live to stop it
            self.directory.stop("executor")
            thread.join(1.0)
        quiet = thread is None or not thread.is_alive()
        try:
            if quiet:
                self.status.observe(self.executor.status_report(), now_ns)
            for _ in range(2):  # the second look tells what was lost from what was on its way
                self.status.publish(now_ns, self.wall.utc_ns(now_ns))
            if quiet and health is not None and not health.failed:  # or its state is half a message on
                self.journal.seal()
            self.journal.close()
            if self.recording is not None:
                self.recording.close()
        except (OSError, JournalError) as error:
            logger.error("the end is not recorded: {}", error)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _children(self) -> list[ChildSpec]:
        return children(
            {
                "journal": lambda: self._actor(JournalActor, "journal", journal=self.journal),
                "monitor": lambda: self._actor(MonitorActor, "monitor", status=self.status, tidy=interpreter.give_back),
                **{name: partial(self._gateway, name) for name in ("cancels", "orders", "reads")},
                "heartbeat": self._heartbeat,
                "guardian": lambda: self._actor(GuardianActor, "guardian", port=self.guardian, gate=self.gate),
                "executor": self._executor,
                "strategy": self._strategy,
                "timer": self._timer,
                **{name: partial(self._feed, name) for name in FEEDS if name != PERP or self._leads},
            }
        )

    def _actor(self, kind: type[pykka.Actor], name: str, **arguments: Any) -> pykka.ActorRef[Any]:
        router: Sender = Router(self.directory, ROUTES[name])
        if name in ("reads", "executor"):
            router = Remembering(router, self._kept)
        if name == "reads" and self.recording is not None:
            router = Overheard(router, self.recording.tell, self.clock)
        return kind.start(name=name, directory=self.directory, router=router, clock=self.clock, **arguments)

    def _api(self) -> ClobApi:
        return self.access.api(self.wall.utc, self.clock)

    def _executor(self) -> pykka.ActorRef[Any]:
        return self._actor(
            ExecutorActor,
            "executor",
            core=self.executor,
            journal=self.journal,
            gate=self.gate,
            latency=self.latency,
            first=self._first,
        )

    def _strategy(self) -> pykka.ActorRef[Any]:
        parameters = self.settings.parameters()
        core = Strategy(parameters, self.caches)
        for message in list(self._kept.values()):
            core.handle(message, self.clock())
        return self._actor(
            StrategyActor, "strategy", core=core, max_hz=parameters.max_hz, decision=self.latency["decision"]
        )

    def _gateway(self, name: str) -> pykka.ActorRef[Any]:
        api = self._api()
        desk: Desk
        if name == "orders":
            desk = OrdersDesk(api, self.gate, self.clock, self.latency)
        elif name == "cancels":
            desk = CancelsDesk(api, self.clock, self.latency)
        else:
            ends, http = self.access.endpoints, JsonReader()
            markets = Markets(http, ends.gamma_url, ends.rest_url, self.settings.run.series, logger.info)
            for message in list(self._kept.values()):
                if isinstance(message, m.MarketListed):  # by a predecessor, which followed it to its resolution
                    markets.watch(message.market)
            desk = ReadsDesk(
                api, self.gate, markets, self.clock, lambda: self.wall.sync(http, ends.binance_rest_url, ends.rest_url)
            )
        return self._actor(GatewayActor, name, desk=desk)

    def _heartbeat(self) -> pykka.ActorRef[Any]:
        return self._actor(HeartbeatActor, "heartbeat", api=self._api(), gate=self.gate, silenced=self._flat_overdue)

    def _flat_overdue(self) -> bool:
        """Neither panic nor the executor could confirm flat for so long that the venue's dead-man switch should fire."""
        since_ns = self.executor.recovery.clearing_ns
        return self.panic.overdue() or 0 < since_ns < self.clock() - OVERDUE_NS

    def _timer(self) -> pykka.ActorRef[Any]:
        schedule = {**PERIODS_NS, "strategy": round(NS_PER_S / self.settings.parameters().hz)}
        lateness = self.latency["timer_lateness"]
        return self._actor(
            TimerActor, "timer", schedule=schedule, utc=self.wall.utc_ns, lateness=lateness, apart_ns=TICKS_APART_NS
        )

    def _feed(self, name: str) -> pykka.ActorRef[Any]:
        on_frame = self._user_frame if name == "user" else None
        # The user stream is ours alone, and names our API key.
        tape = self.recording.tape(name) if self.recording is not None and name != "user" else None
        reference = self._actor(
            FeedActor,
            name,
            feed=name,
            make_reader=lambda deliver: Reader(
                self._conversation(name), deliver, clock=self.clock, on_frame=on_frame, tape=tape
            ),
        )
        if m.MarketListed in ROUTES["reads"] and name in ROUTES["reads"][m.MarketListed]:
            for (kind, _), message in list(self._kept.items()):
                if kind is m.MarketListed:
                    self.directory.tell(name, message)
        return reference

    def _conversation(self, name: str) -> Conversation:
        ends, keys = self.access.endpoints, self.access.credentials
        if name != "user":
            return public_feed(
                name,
                ends,
                keys,
                self.settings.run.series,
                self.caches,
                clock=self.clock,
                utc_ns=self.wall.utc_ns,
                session=TapedSession(self.recording.tape(name), self.clock) if self.recording is not None else None,
            )
        self._user_feed = UserFeed(
            url=ends.user_ws_url,
            wallets=(self.access.signer.address, self.access.funder),
            before=self._user_feed,
            api_key=keys.api_key,
            secret=keys.secret,
            passphrase=keys.passphrase,
        )
        return self._user_feed

    def _user_frame(self, now_ns: Ns) -> None:
        self.gate.user_frame_ns = now_ns

    # -- views -----------------------------------------------------------------------------------------------------

    def _mailboxes(self, now_ns: Ns) -> dict[str, dict[str, Any]]:
        rows = {}
        for name in self.directory.names():
            health = self.directory.health(name)
            if health is not None:
                stats = health.mailbox.stats(now_ns)
                rows[name] = {
                    "depth": stats.depth,
                    "high_water": stats.high_water,
                    "oldest_ms": round(stats.oldest_ns / NS_PER_MS, 1),
                    "conflated": stats.conflated,
                }
        return rows

    def _strikes(self, symbol: str) -> tuple[float | None, float | None]:
        """Value of the settlement source at a market's start and end, where it was seen."""
        market = self.status.market_of(symbol)
        if market is None:
            return None, None
        return self._source_at(market, market.start_utc_ns), self._source_at(market, market.end_utc_ns)

    def _source_at(self, market: Market, utc_ns: Ns) -> float | None:
        if market.rule is not Rule.TWAP:
            cache = self.caches.reference[market.asset]
            prices = cache.candle_close_e8 if market.rule is Rule.CLOSES else cache.candle_open_e8
            value = prices.get(utc_ns // NS_PER_S)
            return None if value is None else value / 1e8
        settlement = self.caches.settlement_of(market.asset, market.window_s).first_at_or_after(utc_ns // NS_PER_MS)
        return None if settlement is None else settlement.value_e8 / 1e8
