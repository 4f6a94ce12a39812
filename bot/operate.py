"""What an operator does to a bot from outside: look, halt, resume, cancel all. Works on files, the control socket and the venue itself."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import click
import orjson

from bot.control import ask
from bot.errors import BotError, SettingsError, VenueRefused, VenueUnavailable
from bot.settings import check_live, load, masked
from bot.state import Latch, RunDir, find_run, held, read_json, running_bots, wallet_dir

ALIVE, HALTED, NOT_RUNNING = 0, 3, 4
DONE, REFUSED, NO_BOT, NOT_FLAT = 0, 1, 4, 5
STATUS_STALE_S = 5.0
PROGRESS_S = 2.0


def out(value: Any) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def show_status(run_dir: Path | None, as_json: bool) -> int:
    run = find_run(run_dir)
    if run is None:
        raise NoRun
    record = read_json(run.status)
    age_s = time.time() - run.status.stat().st_mtime if run.status.exists() else None
    alive = run.alive() and age_s is not None and age_s <= STATUS_STALE_S
    halted = Latch(run.state_dir()).reason()
    if as_json:
        out({**record, "run_dir": str(run.path), "alive": alive, "age_s": age_s, "latch": halted})
    else:
        from bot.view import explained, plain_line, untraded_lines

        click.echo(
            f"run {run.path}: {'running' if alive else 'not running' if not run.alive() else 'hung'}"
            + (f", HALTED: {halted}" if halted else "")
        )
        if record:
            click.echo(plain_line(record))
            for market in record.get("markets", {}).values():
                mode = " ".join([market.get("quote_mode") or "", *market.get("reasons", [])])
                click.echo(f"{market['slug']} {market.get('phase') or ''} {mode}")
                for line in explained(market):
                    click.echo(f"  {line}")
            for line in untraded_lines(record):
                click.echo(line)
    if not alive:
        return NOT_RUNNING
    return HALTED if halted or record.get("state") == "halted" else ALIVE


class NoRun(SettingsError):
    """No command can find a bot that never ran."""

    def __init__(self) -> None:
        super().__init__("no run found here: start one with `bot start`, or name it with --run-dir")


def halt(run_dir: Path | None, reason: str) -> int:
    """Set the latch: through the bot where it answers, else by the file it looks at before every order."""
    run = find_run(run_dir)
    if run is None:
        raise NoRun
    answer = ask(run.socket, "halt", reason) if run.alive() else None
    if answer is None and not (latch := Latch(run.state_dir())).set(reason, "operator"):
        raise SettingsError(f"{latch.path}: the halt latch cannot be written: free the disk, or stop the bot instead")
    if not run.alive():
        click.echo("no bot runs; the latch is set, and the next start will wait for `bot resume`")
        return NO_BOT
    if answer is not None and not answer["ok"]:
        click.echo(f"bot: {answer['error']}", err=True)
        return REFUSED
    click.echo("halted" if answer else "the bot does not answer; the latch is set and holds before its next order")
    return DONE


def resume(run_dir: Path | None) -> int:
    run = find_run(run_dir)
    if run is None:
        raise NoRun
    if not run.alive():
        Latch(run.state_dir()).clear()
        click.echo("no bot runs; the latch is removed")
        return NO_BOT
    answer = ask(run.socket, "resume")
    if answer is None:
        click.echo("bot: refused: the bot does not answer, so nothing proves that it is flat", err=True)
        return REFUSED
    if not answer["ok"]:
        click.echo(f"bot: refused: {answer['error']}", err=True)
        return REFUSED
    click.echo("resumed")
    return DONE


def cancel_all(
    config: Path | None = None,
    run_dir: Path | None = None,
    venue: str | None = None,
    market: str | None = None,
    as_json: bool = False,
) -> int:
    """Halt a running bot, cancel at the venue directly, verify. 0 verified flat, 5 not. Nothing of ours may keep it from
    the cancel: neither a bot that does not answer, nor a disk that is full."""
    from bot.access import access_of
    from bot.flat import FlatReport, cancel_all_and_verify

    run = bot_meant(config, run_dir, venue)
    halted = False
    if run is not None and held(run.state_dir() / "lock"):
        # Waiting for its answer would cost a second when it hangs; the file holds either way, so it is written first.
        halted = Latch(run.state_dir()).set("cancel-all", "operator")
        with contextlib.suppress(BotError):
            answer = ask(run.socket, "halt", "cancel-all")
            halted = halted or answer is not None
        if not halted:
            click.echo("bot: the running bot cannot be halted and may quote again: stop it", err=True)
    try:
        access = access_of(config=config, run=run, venue=venue)
    except (VenueRefused, VenueUnavailable) as error:
        report = FlatReport(False, text=str(error))
    else:
        report = cancel_all_and_verify(access.canceller(), symbol=market or "")
    if as_json:
        out(
            {
                "flat_verified": report.verified,
                "open_orders": report.open_orders,
                "canceled": report.canceled,
                "halted": halted,
                "error": report.text,
            }
        )
    elif report.verified:
        click.echo(
            f"verified flat: {report.canceled} canceled, no order rests"
            + ("; the bot is halted until `bot resume`" if halted else "")
        )
    if not report.verified:
        click.echo(
            f"bot: could not verify flat: {report.text or 'orders may rest'}; open orders last seen: {report.open_orders}; "
            "run this again, or look at the venue's own page for this wallet",
            err=True,
        )
    return DONE if report.verified else NOT_FLAT


def bot_meant(config: Path | None, run_dir: Path | None, venue: str | None) -> RunDir | None:
    """The run whose bot would place new orders where we cancel: that of the wallet or venue named, whatever else runs."""
    if run_dir is not None or (config is None and venue is None):
        return find_run(run_dir)
    if venue is not None:
        return next((run for run in running_bots() if run.read_card().get("venue_url") == venue.rstrip("/")), None)
    assert config is not None
    settings = load(config)[0]
    wallet = wallet_dir(settings.venue.chain_id, settings.wallet.funder or settings.wallet.address)
    return next((run for run in running_bots() if run.state_dir() == wallet), None)


def replay(run_dir: Path, until: int | None, show: bool, as_json: bool) -> int:
    """0 every emitted byte matches, 1 one does not. Raises JournalError for damage."""
    from bot.history.journal import read, segments
    from bot.history.replay import Rerun
    from bot.history.shown import Lines
    from bot.restart import build_id, executor_of

    paths = segments(run_dir / "journal")
    if not paths:
        raise SettingsError(f"{run_dir}: holds no journal; name the directory of a run")
    rerun, difference, lines = Rerun(executor_of), None, Lines()
    began_s = told_s = time.monotonic()
    for item in read(paths):
        difference = rerun.take(item)
        if show and not as_json:
            click.echo(lines.of(item))
        if difference is not None or rerun.seq == until:
            break
        if rerun.records % 1000 == 0 and time.monotonic() - told_s > PROGRESS_S:
            told_s = time.monotonic()
            click.echo(f"record {rerun.seq:,}", err=True)
    if until is not None and difference is None and rerun.seq != until:
        raise SettingsError(f"record {until} is not in the journal, which holds {rerun.first_seq} to {rerun.seq}")
    seconds = time.monotonic() - began_s
    figures = {name: getattr(rerun, name) for name in ("records", "first_seq", "seq", "runs", "segments")}
    figures |= {"seconds": round(seconds, 3), "per_s": round(rerun.records / seconds)}
    state = {"state": rerun.executor.status_report().body} if show else {}
    if as_json:
        found = None if difference is None else {"seq": difference.seq, "text": difference.text}
        out({"matches": difference is None, "difference": found, **figures, **state})
    else:
        click.echo(orjson.dumps(state, option=orjson.OPT_INDENT_2) if show else "", nl=show)
        click.echo("{records:,} records of {runs} run(s) in {seconds:.1f} s, {per_s:,} a second".format(**figures))
    if difference is not None:
        other = "" if rerun.run.build == build_id() else ", which another build of this program wrote"
        click.echo(f"bot: record {difference.seq} is not repeated{other}: {difference.text}", err=True)
        return 1
    if not as_json:
        click.echo("every emitted byte matches")
    return 0


def run_benchmarks(names: tuple[str, ...], compare: Path | None, as_json: bool) -> None:
    from bot.bench import suite

    before = suite.earlier(compare) if compare is not None else {}
    results = {}
    for name, figures in suite.run(names):
        results[name] = figures
        for line in () if as_json else suite.lines(name, figures, before.get(name)):
            click.echo(line)
    where = suite.remember(results)
    if as_json:
        click.echo(orjson.dumps(results | ({"before": before} if before else {})))
    else:
        click.echo(f"kept in {where}")
    if any("error" in figures for figures in results.values()):
        raise SystemExit(1)


def show_fair(inputs: dict[str, Any], as_json: bool) -> None:
    from bot.quoting.calculator import fair

    try:
        result = fair(**inputs)
    except ValueError as error:
        raise SettingsError(f"fair: {error}") from None
    if as_json:
        out(result)
        return
    for name, value in result.items():
        click.echo(f"{name:16} {value:.6g}" if isinstance(value, float) else f"{name:16} {value}")


def check_config(file: Path) -> None:
    settings, raw = load(file)
    if settings.run.mode == "live":
        check_live(settings, raw)
    click.echo(f"{file}: valid ({settings.run.mode}, {', '.join(settings.run.series)})")


def show_config(file: Path, as_json: bool) -> None:
    settings, _ = load(file)
    shown = masked(settings)
    if as_json:
        out(shown)
        return
    for section, values in shown.items():
        click.echo(f"[{section}]")
        for name, value in values.items():
            click.echo(f"{name} = {value}")
