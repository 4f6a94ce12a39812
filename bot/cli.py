"""The commands: options to settings, errors to one line and an exit code; no logic. Heavy parts are imported by who needs them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from bot import __version__
from bot.errors import BotError, SettingsError

USAGE = 2
DURATION_S_MAX = 1e9  # thirty years


class Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d)?", value.strip())
        seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2] or "s"] if found else 0.0
        if not 0 < seconds < DURATION_S_MAX:
            self.fail(f"{value!r} is no duration: write 60s, 5m or 2h", param, ctx)
        return seconds


CONFIG = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="A bot.toml; `bot init` writes one."
)
RUN_DIR = click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run meant; default: the running bot's, else the newest.",
)
SERIES = click.option("--series", multiple=True, help="Series of markets, such as btc-updown-5m; may be given again.")
SEED = click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of the generated market.")
WORLD = click.option(
    "--world", help="Generated market: tight (default), wide, calm, storm, hostile, or a .toml file of its parameters."
)
FAULTS = click.option("--faults", help="What goes wrong: a scenario's name, or a .toml file; `bot sim --faults list`.")
LATENCY = click.option(
    "--latency-ms",
    type=click.FloatRange(1, 5_000),
    default=100.0,
    show_default=True,
    help="Own, of orders and cancels.",
)
JOBS = click.option("--jobs", type=click.IntRange(1, 1_000), help="Processes; default: one for each core.")
HTML = click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with charts.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bot")
@click.option("--debug", is_flag=True, help="Show tracebacks and debug lines.")
@click.pass_context
def bot(context: click.Context, debug: bool) -> None:
    """A market maker for binary up/down markets on Polymarket's order book, priced from Binance."""
    context.obj = debug


@bot.command()
@CONFIG
@click.option(
    "--mode",
    type=click.Choice(["sim", "paper", "live"]),
    help="sim: embedded venue, no money (default). live: the real venue.",
)
@click.option("--venue", help="URL of a `bot sim` that already runs; it is left running.")
@SERIES
@click.option("--for", "for_s", type=Duration(), help="Stop by itself after this time, such as 60s or 2h.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the run is recorded; default: runs/<UTC time>-<mode>.",
)
@SEED
@WORLD
@FAULTS
@click.option(
    "--ui",
    type=click.Choice(["auto", "rich", "plain", "none"]),
    default="auto",
    show_default=True,
    help="What is shown while it runs.",
)
@JSON
@click.option("--yes", is_flag=True, help="Live mode: do not ask for the typed confirmation.")
@click.pass_obj
def start(debug: bool, /, **options: Any) -> None:
    """Make markets until stopped. Without options: on an embedded venue, no keys, no network, no money.

    Ctrl-C or SIGTERM stops quoting, cancels every order, verifies that none rests and prints a summary.
    """
    from bot.run import StartOptions, run

    raise SystemExit(run(StartOptions(debug=debug, **options)))


@bot.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Loopback port; default: one the system chooses."
)
@SEED
@SERIES
@WORLD
@FAULTS
@click.option(
    "--protocol",
    type=click.Choice(["1", "2", "3"]),
    default="2",
    show_default=True,
    help="Generation of orders its markets take.",
)
@click.option(
    "--state", type=click.Path(path_type=Path, dir_okay=False), help="File that keeps ledger and keys across restarts."
)
@click.option(
    "--load",
    type=click.FloatRange(0, 100_000),
    default=0.0,
    help="Market frames a second to each listener, beside the world's own.",
)
@click.option(
    "--quirk",
    "quirks",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the real venue does now this way, now that way. Repeatable; docs/protocol.md lists them.",
)
@click.option(
    "--recording",
    "recordings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Tell a recording of Binance's or of the market stream to whoever subscribes to its streams. Repeatable.",
)
@click.option(
    "--speed",
    "recording_speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="How many times as fast as it was recorded.",
)
@click.option("--aligned", is_flag=True, help="Start windows on the real venue's grid instead of at once.")
@click.option("--json", "as_json", is_flag=True, help="Only the ready line on standard output (it is JSON either way).")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def sim(
    as_json: bool,
    seed: int | None,
    series: tuple[str, ...],
    protocol: str,
    world: str | None,
    faults: str | None,
    quirks: tuple[str, ...],
    **options: Any,
) -> None:
    """Serve the embedded venue alone: one JSON line with its addresses and test wallet, then it serves until stopped."""
    import orjson

    from bot.settings import Run, validated
    from bot.sim import fault_files, worlds
    from bot.sim.quirks import parsed

    if faults == "list":
        click.echo(fault_files.listing())
        return
    from bot.sim.server import VenueOptions, serve

    chosen = validated({"run": {"series": list(series)}}, "--series").run.series if series else Run().series
    serve(
        VenueOptions(
            seed=seed,
            series=chosen,
            protocol=int(protocol),
            parameters=worlds.world(world or worlds.DEFAULT),
            faults=fault_files.load(faults) if faults else (),
            quirks=parsed(quirks),
            **options,
        ),
        lambda info: click.echo(orjson.dumps(info)),
    )


@bot.command()
@RUN_DIR
@JSON
def status(run_dir: Path | None, as_json: bool) -> None:
    """What a running bot (or the last one) is doing. Exit 0 alive, 3 halted, 4 not running or hung."""
    from bot.operate import show_status

    raise SystemExit(show_status(run_dir, as_json))


@bot.command()
@RUN_DIR
@click.option("--reason", default="operator", show_default=True, help="Recorded in the latch.")
def halt(run_dir: Path | None, reason: str) -> None:
    """Set the halt latch: the bot cancels all and stays flat until `bot resume`. Exit 4: no bot; the latch is set all the same."""
    from bot.operate import halt as order

    raise SystemExit(order(run_dir, reason))


@bot.command()
@RUN_DIR
def resume(run_dir: Path | None) -> None:
    """Lift the halt latch. Exit 1: refused, the bot is not verified flat. Exit 4: no bot; the latch is removed all the same."""
    from bot.operate import resume as order

    raise SystemExit(order(run_dir))


@bot.command("cancel-all")
@CONFIG
@RUN_DIR
@click.option("--venue", help="URL of a `bot sim`, when no run tells it.")
@click.option("--market", help="Only this market (its condition id).")
@JSON
def cancel_all(**options: Any) -> None:
    """Cancel every order at the venue, directly, and verify that none rests. Halts a running bot first.

    Works when the bot is dead, hung, stopped or absent. Exit 0: verified flat. Exit 5: could not verify.
    """
    from bot.operate import cancel_all as order

    raise SystemExit(order(**options))


@bot.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A folder of its own; made when absent.",
)
@CONFIG
@click.option(
    "--mode", type=click.Choice(["sim", "live"]), help="sim: an embedded venue (default). live: the real streams."
)
@click.option("--venue", help="URL of a `bot sim` that already runs; it is left running.")
@SERIES
@click.option("--for", "for_s", type=Duration(), help="Stop by itself after this time; default: at Ctrl-C.")
@SEED
@WORLD
@JSON
def record(**options: Any) -> None:
    """What the public feeds say, to disk: frames as they came, and the markets found. Trades nothing.

    `bot backtest` runs the strategy on what was recorded.
    """
    from bot.recorder import RecordOptions
    from bot.recorder import record as listen

    raise SystemExit(listen(RecordOptions(**options)))


@bot.command()
@click.argument("run_dir", type=click.Path(path_type=Path, file_okay=False))
@click.option("--until", type=click.IntRange(1), metavar="SEQ", help="Stop after this record.")
@click.option("--show", is_flag=True, help="Print the records, and the state after the last of them.")
@JSON
def replay(run_dir: Path, until: int | None, show: bool, as_json: bool) -> None:
    """Lead a run's journal through a fresh executor. Exit 0: every emitted byte matches. Exit 1: one does not, or the
    journal is damaged.

    The journal is the wallet's: the runs before this one are in it too, as long as it is kept.
    """
    from bot.operate import replay as order

    raise SystemExit(order(run_dir, until, show, as_json))


@bot.command()
@click.option("--rule", type=click.Choice(["twap", "candle"]), required=True, help="What settles the market.")
@click.option("--spot", type=float, required=True, help="In source units, or a Binance mid when --basis is given.")
@click.option("--strike", type=float, required=True, help="Price to beat, in source units.")
@click.option("--sigma", type=float, required=True, help="Volatility of the log price per square root of a second.")
@click.option("--tau", type=float, required=True, help="Seconds to the effective end.")
@click.option("--window", type=float, default=60.0, show_default=True, help="Averaging window of a TWAP rule, seconds.")
@click.option("--window-mean", type=float, help="Mean price over the elapsed part of the window.")
@click.option("--basis", type=float, help="Log basis from Binance to the source.")
@click.option("--basis-sd", type=float, default=0.0, help="Its standard deviation.")
@click.option(
    "--ito", type=click.IntRange(0, 1), default=0, help="1: subtract half the variance (windows of 4 h and more)."
)
@click.option("--inventory", type=float, default=0.0, help="Net Up shares held.")
@click.option("--size", type=float, help="Order size, shares.")
@click.option("--q-max", type=float, help="Inventory limit, shares.")
@click.option("--to-stop", type=float, help="Seconds to the stop; default: no settlement term in the skew.")
@click.option("--tick-size", type=float, default=0.01, show_default=True)
@click.option("--best-bid", type=float, help="Best bid of others.")
@click.option("--best-ask", type=float, help="Best ask of others.")
@click.option("--quote-mode", type=click.Choice(["NORMAL", "DEFENSIVE"]), default="NORMAL", show_default=True)
@click.option("--m5-bid", type=float, default=0.0, help="Mean 5 s markout of our bids.")
@click.option("--m5-ask", type=float, default=0.0, help="Mean 5 s markout of our asks.")
@JSON
def fair(as_json: bool, **inputs: Any) -> None:
    """The quoting model as a calculator: fair value, half-spreads, skew and the quotes they make."""
    from bot.operate import show_fair

    show_fair(inputs, as_json)


@bot.command()
@click.option("--windows", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many.")
@click.option(
    "--in-a-row",
    type=click.IntRange(1, 1_000),
    default=10,
    show_default=True,
    help="Windows of one session: what was learnt in one serves the next.",
)
@SEED
@WORLD
@click.option("--series", default="btc-updown-5m", show_default=True, help="Series of the windows.")
@click.option("--taker-delay-ms", type=click.IntRange(0, 10_000), help="Instead of the world's.")
@LATENCY
@click.option(
    "--misjudge",
    type=click.Choice(["sigma*0.8", "sigma*1.25", "basis+2bp", "basis-2bp", "lag+2s", "lag-2s"]),
    help="What the model has wrong.",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=click.Choice(["nothing", "touch", "fair2c", "blend", "naive"]),
    help="Only against this; may be given again. Default: against all.",
)
@click.option(
    "--ablate",
    "ablations",
    multiple=True,
    help="Also ours without this term or guard, or with other parameters, as in rho=1,H_beta=15; may be given again.",
)
@JOBS
@CONFIG
@JSON
@HTML
def trial(**options: Any) -> None:
    """Our strategy beside the baselines on the same generated windows, on a virtual clock.

    A generated market ranks ideas; it forecasts no live profit.
    """
    from bot.trials import show_trial

    show_trial(**options)


@bot.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@CONFIG
@click.option(
    "--sweep",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .toml file of lists under [strategy]: every combination is tried beside the settings as they are.",
)
@click.option("--shard", metavar="I/N", help="Only the I-th of N parts: of the sweep, else of the recordings.")
@LATENCY
@click.option(
    "--stream-ms",
    type=click.FloatRange(0, 5_000),
    default=40.0,
    show_default=True,
    help="From the venue to where the recording was made.",
)
@JOBS
@JSON
@HTML
def backtest(**options: Any) -> None:
    """The strategy on recordings that `bot record` made, through the bot's own feeds and cores, on a virtual clock.

    DATA is the folder of a recording; several are traded one by one. Orders queue behind all that was shown.
    """
    from bot.backtests import show_backtest

    show_backtest(**options)


class Every(Duration):
    """A duration, or never."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return 0.0 if value in (0.0, "never") else super().convert(value, param, ctx)


@bot.command()
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the first run.")
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Seeds from --seed on.")
@click.option(
    "--hours",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=0.5,
    show_default=True,
    help="Simulated hours of each run.",
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes to run them in.")
@click.option(
    "--fault-every",
    "every_s",
    type=Every(),
    help="Mean time between two faults, such as 10m, or never; default: the seed decides, from 3 s to 30 s.",
)
@click.option("--only", multiple=True, metavar="ID", help="Only this fault of the catalogue; may be given again.")
@click.option(
    "--crashes",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Run each seed so many times, with a crash at another moment.",
)
@click.option("--crash-at", type=click.FloatRange(0), metavar="SECONDS", help="Crash once, at this moment of each run.")
@JSON
def chaos(as_json: bool, **options: Any) -> None:
    """Executor, gateways, root and a faulty venue on one virtual clock, with every invariant checked all the time.

    The same seed tells the same story, to the byte. Exit 1 when something did not hold: then its story is shown, made
    small, with the command that repeats it.
    """
    import orjson

    from bot.sim.chaos.command import Options, progress, report, run_all, shown
    from bot.sim.chaos.weather import checked

    checked(options["only"])
    chosen = Options(**options)
    figures = report(chosen, list(run_all(chosen, progress)))
    if as_json:
        click.echo(orjson.dumps(figures))
    else:
        for line in shown(figures):
            click.echo(line)
    raise SystemExit(1 if figures["violations"] else 0)


@bot.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--compare",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Earlier results to show beside: a file that --json made, or the history.",
)
@JSON
def bench(names: tuple[str, ...], compare: Path | None, as_json: bool) -> None:
    """Measure: mailbox, fill_under_load, feed, sign, tick_to_wire, tick_to_cancel, cancel_all, executor, replay, start, footprint.

    Without a name all of them, half a minute each at most. Stock parts run beside ours in the same call. Results are kept in a history.
    """
    from bot.operate import run_benchmarks

    run_benchmarks(names, compare, as_json)


@bot.group()
def config() -> None:
    """Look at settings without starting anything."""


@config.command("check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def config_check(file: Path) -> None:
    """Validate a bot.toml: unknown keys, ranges, relations and, in live mode, limits and key file."""
    from bot.operate import check_config

    check_config(file)


@config.command("show")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@JSON
def config_show(file: Path, as_json: bool) -> None:
    """Show the settings in effect, secrets masked."""
    from bot.operate import show_config

    show_config(file, as_json)


@bot.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="bot.toml")
def init(file: Path) -> None:
    """Write a commented bot.toml with every key at its default. Never overwrites."""
    from bot.settings import template

    try:
        with file.open("x") as out:
            out.write(template())
    except FileExistsError:
        raise SettingsError(f"{file}: already there; remove it or name another file") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(f"wrote {file}; check it with: bot config check {file}")


def run_command(name: str) -> NoReturn:
    """One command as a script of its own (ops/)."""
    main([name, *sys.argv[1:]])


def main(arguments: list[str] | None = None) -> NoReturn:
    """Every refusal is one line on standard error and exit 2; a traceback only with --debug."""
    debug = "--debug" in sys.argv[1:2]
    try:
        bot(args=arguments, prog_name="bot", standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        where = f" (see {error.ctx.command_path} --help)" if isinstance(error, click.UsageError) and error.ctx else ""
        click.echo(f"bot: {error.format_message()}{where}", err=True)
        sys.exit(USAGE)
    except SettingsError as error:
        if debug:
            raise
        click.echo(f"bot: {error}", err=True)
        sys.exit(USAGE)
    except BotError as error:
        if debug:
            raise
        click.echo(f"bot: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # a file or directory of ours that cannot be used
        if debug:
            raise
        click.echo(f"bot: {error}", err=True)
        sys.exit(USAGE)
    sys.exit(0)


if __name__ == "__main__":
    main()
