"""The life of one run, on the main thread: venue, lock, bot, signals, the view, the end and its summary."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import click
import orjson
from loguru import logger

from bot import logs
from bot.embedded import EmbeddedVenue, ask_info, give_faults, ledger_of
from bot.errors import JournalError, SettingsError, VenueRefused, VenueUnavailable
from bot.faults import faults_met
from bot.settings import Settings, check_live, load, validated
from bot.sim.fault_files import load as load_faults
from bot.sim.worlds import world
from bot.state import Latch, RunDir, WalletLock, make_private, state_home, utc_text, wallet_dir, write_json
from bot.systemd import ServiceManager

FLAT, NOT_FLAT, INTERNAL, ENDED_HALTED = 0, 5, 70, 75
LOOK_S = 0.25
SAME_S = 0.2
ROOT_LEASE_NS_MAX = 5_000_000_000
STOP_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The options of `bot start`."""

    config: Path | None = None
    mode: str | None = None
    venue: str | None = None
    series: tuple[str, ...] = ()
    for_s: float | None = None
    run_dir: Path | None = None
    seed: int | None = None
    world: str | None = None
    faults: str | None = None
    ui: str = "auto"
    as_json: bool = False
    yes: bool = False
    debug: bool = False


@dataclass(slots=True)
class Signals:
    """SIGINT, SIGTERM and a terminal that hangs up, as a count: the first asks to stop, the second to stop without verifying.

    What comes within SAME_S of the first is no second one: a shell that hangs up and `timeout` send theirs to the process
    and to its group.
    """

    clock_s: Callable[[], float] = time.monotonic
    count: int = 0
    name: str = ""
    seen: threading.Event = field(default_factory=threading.Event)
    _first_s: float = 0.0

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means to stay
                signal.signal(number, self._on)

    def _on(self, number: int, _: FrameType | None) -> None:
        now_s = self.clock_s()
        if self.count and now_s - self._first_s < SAME_S:
            return
        self._first_s = self._first_s if self.count else now_s
        self.count += 1
        self.name = signal.Signals(number).name
        self.seen.set()


class StoppedEarly(Exception):
    """A signal came before anything could rest at the venue."""


def settings_of(options: StartOptions) -> tuple[Settings, dict[str, Any]]:
    """The file's settings with the command line's words over them. Raises SettingsError."""
    settings, raw = load(options.config)
    words = {key: value for key, value in (("mode", options.mode), ("series", list(options.series))) if value}
    if words:
        raw = {**raw, "run": {**raw.get("run", {}), **words}}
        settings = validated(raw, "command line")
    return settings, raw


def run(options: StartOptions) -> int:
    """Returns the exit code of contract.md."""
    settings, raw = settings_of(options)
    mode = settings.run.mode
    if mode == "paper":
        raise SettingsError("paper mode is not there yet: use --mode sim or --mode live")
    if mode == "live":
        if options.venue or options.seed is not None or options.world or options.faults:
            raise SettingsError("--venue, --seed, --world and --faults belong to sim mode")
        check_live(settings, raw)
        confirm_live(settings, options.yes)
    if options.world:
        if options.venue:
            raise SettingsError("--world belongs to the venue: give it to the `bot sim` that --venue names")
        world(options.world)  # refused here, in one line, rather than by the child
    if options.faults:
        load_faults(options.faults)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the key; the guardian inherits this
    signals = Signals()
    signals.install()  # not before the prompt, which Ctrl-C ends by itself
    try:
        with contextlib.ExitStack() as stack:
            return _run(options, settings, signals, stack)
    except StoppedEarly:
        click.echo(f"stopped by {signals.name} before anything was placed", err=True)
        return FLAT


def confirm_live(settings: Settings, yes: bool) -> None:
    """A typed yes, unless --yes said it. Raises SettingsError without one."""
    if yes:
        return
    limits = settings.limits
    click.echo(
        f"Live trading with wallet {settings.wallet.address} on {', '.join(settings.run.series)}: at most {limits.loss_max_mkt:g} USD "
        f"a market and {limits.loss_max_day:g} USD a day may be lost.",
        err=True,
    )
    try:
        typed = (
            click.prompt('Type "trade" to go on', err=True, default="", show_default=False)
            if sys.stdin.isatty()
            else ""
        )
    except click.Abort:
        typed = ""
    if typed.strip() != "trade":
        raise SettingsError("live trading was not confirmed: type trade when asked, or give --yes")


def _run(options: StartOptions, settings: Settings, signals: Signals, stack: contextlib.ExitStack) -> int:
    mode, seed = settings.run.mode, options.seed
    started_at, began_ns = utc_text(), time.monotonic_ns()
    venue_ended: Callable[[], str] = str
    if options.venue:
        info = ask_info(options.venue)
        series_of_venue(settings, info)
    run_dir = RunDir.new(options.run_dir, mode)
    if mode == "sim" and not options.venue:
        words = [word for name in settings.run.series for word in ("--series", name)]
        words += ["--seed", str(seed)] if seed is not None else []
        words += ["--world", options.world] if options.world else []
        words += ["--faults", options.faults] if options.faults else []
        child = EmbeddedVenue(words, run_dir.path / "venue.log")
        stack.callback(child.stop)
        venue_ended = child.ended
        import_module("bot.app")  # its imports cost as much as the venue's start, so they share the wait
        info = child.info(lambda: signals.count > 0)
        if signals.count:
            raise StoppedEarly
    from bot.access import from_info, from_settings
    from bot.app import Bot

    try:
        access = from_info(info) if mode == "sim" else from_settings(settings)
    except (VenueRefused, VenueUnavailable) as error:
        raise SettingsError(f"{settings.venue.rest_url}: {error}") from None
    log = logs.start(run_dir.log, access.secrets, debug=options.debug)
    stack.callback(log.close)
    if mode == "live":
        state_dir = wallet_dir(access.chain_id, access.funder)
    else:
        state_dir = state_home() / f"sim-{access.venue_id}" if options.venue else run_dir.path
    make_private(state_dir)
    lock = WalletLock(state_dir)
    clean_start = lock.take(run_dir.path)
    stack.callback(lock.release)
    config = str(options.config.absolute()) if options.config else None
    card = {"mode": mode, "venue_url": access.venue_url, "config": config, "state_dir": str(state_dir)}
    run_dir.link(state_dir)
    write_json(run_dir.card, card)  # at once: whoever finds the lock held must find the latch's place
    read = access.api().open_orders(time.monotonic_ns())
    if read.orders is None:
        raise SettingsError(
            f"{access.endpoints.rest_url} does not answer this wallet: {read.text}; nothing was started"
        )
    if signals.count:
        raise StoppedEarly
    try:
        maker = Bot(
            settings=settings,
            access=access,
            run_dir=run_dir,
            state_dir=state_dir,
            latch=Latch(state_dir),
            clean_start=clean_start,
        )
    except JournalError as error:
        raise SettingsError(f"{error}; nothing was started") from None
    if options.faults and maker.faults is not None:
        tables = [fault.table() for fault in load_faults(options.faults)]
        maker.faults.after = give_faults(access.venue_url, tables) if options.venue else 0  # a child of ours has them
    manager = ServiceManager()
    try:
        maker.start()
        stop_reason = _watch(maker, options, signals, run_dir, manager, venue_ended)
    except Exception as error:  # noqa: BLE001 - whatever broke on this thread may not leave an order behind
        stop_reason = f"the main thread failed: {type(error).__name__}: {error}"
        logger.opt(exception=error).error("{}", stop_reason)
        maker.give_up(stop_reason)
    manager.stopping(stop_reason)
    ending = maker.stop(stop_reason, deadline_s=STOP_S_MAX, hurry=lambda: signals.count > 1)
    summary: dict[str, Any] = {
        **maker.status.record,
        "state": "stopped",
        "seed": info.get("seed") if mode == "sim" else None,
        "started_at": started_at,
        "ended_at": utc_text(),
        "flat_verified": ending.flat_verified,
        "open_orders_at_exit": ending.open_orders,
        "venue_orders_at_exit": None,
        "violations": list(maker.status.violations),
        "settled": maker.status.settled,
        "reason": ending.reason,
    }
    if access.venue_url:
        pairs = [(market.up_token, market.down_token) for market in maker.status.markets.values()]
        compare_with_ledger(summary, access.venue_url, access.funder, pairs, failed=ending.internal_failure)
        summary["faults"] = faults_met(
            access.venue_url,
            maker.status.timeline,
            began_ns,
            maker.status.states,
            maker.status.earned,
            maker.run.ahead_ns,
        )
    flat = ending.flat_verified and not summary["venue_orders_at_exit"]
    code = summary["exit_code"] = exit_code(
        flat, ending.internal_failure, maker.latch.is_set(), bool(summary["violations"])
    )
    try:
        if flat:
            lock.ended_flat()
        write_json(run_dir.summary, summary)
        write_json(run_dir.status, summary)
    except OSError as error:  # a full disk does not change how the run ended
        click.echo(f"bot: the summary cannot be written: {error}", err=True)
    logger.info("ended with {}: {}", code, ending.reason)
    try:
        _report(summary, options, run_dir)
        sys.stdout.flush()
    except OSError:  # nobody reads it; the interpreter's own last flush must not change the exit code either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def series_of_venue(settings: Settings, info: dict[str, Any]) -> None:
    """A venue that does not list a series would leave us waiting for ever. Raises SettingsError."""
    missing = [name for name in settings.run.series if name not in info.get("series", settings.run.series)]
    if missing:
        raise SettingsError(
            f"the venue at {info['url']} lists {', '.join(info['series'])}, not {', '.join(missing)}: choose with --series"
        )


def exit_code(flat_verified: bool, internal_failure: bool, halted: bool, violated: bool) -> int:
    """Precedence 5, 70, 75, 1, 0."""
    if not flat_verified:
        return NOT_FLAT
    if internal_failure:
        return INTERNAL
    if halted:
        return ENDED_HALTED
    return 1 if violated else FLAT


def _watch(
    maker: Any,
    options: StartOptions,
    signals: Signals,
    run_dir: RunDir,
    manager: ServiceManager,
    venue_ended: Callable[[], str] = str,
) -> str:
    """Until there is a reason to stop: a signal, the time asked for, the root's word, or the end of a venue of our own."""
    started = looked = time.monotonic()
    lease_from_ns = 0
    shown = Shown(view_of(options, run_dir), lambda: (maker.status.record, tuple(maker.status.fills)))
    shown.start()
    try:
        while True:
            signals.seen.wait(LOOK_S)
            now = time.monotonic()
            if now - looked > 2.0:  # the whole process was stopped: the root needs a moment to renew its lease
                lease_from_ns = maker.clock()
            looked = now
            if signals.count:
                return f"signal {signals.name}"
            if options.for_s is not None and now - started >= options.for_s:
                return f"ran for {options.for_s:g} s"
            if maker.ended.is_set():
                return str(maker.end_reason)
            if reason := venue_ended():
                return reason
            if maker.alive():
                record = maker.status.record
                manager.alive(": ".join([record["state"], *record.get("reasons", [])[:3]]))
            lease_ns = maker.gate.root_lease_ns
            if lease_ns and maker.clock() - max(lease_ns, lease_from_ns) > ROOT_LEASE_NS_MAX:
                reason = "the root actor stopped beating"
                maker.give_up(reason)
                return reason
    finally:
        shown.stop()


class Shown(threading.Thread):
    """The view on a thread of its own: a terminal that stands still or goes away holds up neither a signal nor the end."""

    def __init__(self, view: Any, look: Callable[[], tuple[Any, Any]]) -> None:
        super().__init__(name="view", daemon=True)
        self._view = view
        self._look = look
        self._over = threading.Event()

    def run(self) -> None:
        if self._view is None:
            return
        try:
            with self._view as shown:
                while not self._over.wait(LOOK_S):
                    shown.show(*self._look())
        except Exception as error:  # noqa: BLE001 - nobody looks any more, which is no reason to stop
            logger.warning("the view ended: {}: {}", type(error).__name__, error)

    def stop(self) -> None:
        self._over.set()
        self.join(1.0)


def view_of(options: StartOptions, run_dir: RunDir) -> Any:
    """What shows the run, or None."""
    from bot.view import LiveView, PlainView

    kind = options.ui
    if kind == "auto":
        kind = "none" if options.as_json else "rich" if sys.stderr.isatty() else "plain"
    if kind == "none":
        return None
    return LiveView(f"clobmaker  {run_dir.path.name}") if kind == "rich" else PlainView()


def compare_with_ledger(
    summary: dict[str, Any], venue_url: str, owner: str, pairs: Sequence[tuple[str, str]], *, failed: bool = False
) -> None:
    """The embedded venue's truth beside ours: orders that rest, cash and positions; a difference is a violation.

    Positions count in the tokens of markets (`pairs`) that this run has seen: a kept ledger may hold others for ever. A
    market that the venue paid out after our last word is no difference.
    After an internal failure (`failed`) our view stopped before the end, so only resting orders are held against it.
    """
    ledger = ledger_of(venue_url, owner)
    if ledger is None:
        return
    resting = [order["id"] for order in ledger["orders"] if order["status"] == "LIVE"]
    summary["venue_orders_at_exit"] = len(resting)
    seen = {token for pair in pairs for token in pair}
    held = {asset: size for asset, size in ledger["positions"].items() if size and asset in seen}
    ours = {asset: size for asset, size in summary.get("positions", {}).items() if size}
    summary["venue_ledger"] = {"cash_usd": ledger["cash_usd"], "positions": held}
    if resting:
        _violate(summary, "I2", f"{len(resting)} of our orders rest at the venue")
    if failed:
        return
    payouts = {0.0}  # what the markets that were paid since may have brought
    for up, down in pairs:
        if (up in ours or down in ours) and up not in held and down not in held:
            either = (ours.pop(up, 0.0), ours.pop(down, 0.0))
            payouts = {before + paid for before in payouts for paid in either}
    if held != ours:
        _violate(summary, "I3", f"positions differ from the venue's ledger: ours {ours}, theirs {held}")
    cash = summary.get("cash_usd")
    if cash is None or all(abs(cash + payout - ledger["cash_usd"]) > 1e-6 for payout in payouts):
        _violate(summary, "I19", f"cash differs from the venue's ledger: ours {cash}, theirs {ledger['cash_usd']}")
    if lost := summary.get("user_events", {}).get("lost"):
        _violate(summary, "I5", f"{lost} user events were lost")


def _violate(summary: dict[str, Any], invariant: str, text: str) -> None:
    summary["violations"].append({"invariant": invariant, "text": text, "seq": None})


def _report(summary: dict[str, Any], options: StartOptions, run_dir: RunDir) -> None:
    if options.as_json:
        click.echo(orjson.dumps(summary, option=orjson.OPT_NON_STR_KEYS))
        return
    from bot.view import summary_lines

    for line in summary_lines(summary):
        click.echo(line, err=True)
    click.echo(f"recorded in {run_dir.path}", err=True)
    if summary["exit_code"] == NOT_FLAT:
        click.echo(
            f"bot: could not verify flat: orders may rest; the guardian goes on (see {run_dir.path}/guardian.log); "
            f"check with: bot cancel-all --run-dir {run_dir.path}",
            err=True,
        )
