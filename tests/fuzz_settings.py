"""What an operator gives (fuzz.py): settings, secrets, and the words of a command line."""

from __future__ import annotations

import contextlib
import io
import math
import os
import tomllib
from collections.abc import Callable
from typing import Any

import click
import msgspec
import orjson
from fuzz import Target
from fuzz_checks import HERE, INT64, PRIVATE_KEY, WALLET, named_in

import bot.cli
from bot.access import from_settings, read_credentials
from bot.errors import BotError, SettingsError
from bot.execution.risk import limits_of
from bot.operate import show_fair
from bot.run import StartOptions, settings_of
from bot.settings import Settings, load, masked, read_secret, template
from bot.sim import fault_files, quirks, worlds


def config_run(data: bytes) -> None:
    """Refused in words, or whole: every key of the file is in effect, and every figure is one."""
    path = HERE / "bot.toml"
    path.write_bytes(data)
    try:
        settings, raw = load(path)
    except SettingsError as error:
        assert str(error).startswith(str(path))
        assert PRIVATE_KEY not in str(error)
        return
    assert raw == tomllib.loads(data.decode())
    for section, values in raw.items():
        for name in values:
            getattr(getattr(settings, section), name)
    _usable(settings)


def _usable(settings: Settings) -> None:
    limits = limits_of(**settings.limits.model_dump())
    assert all(0 < getattr(limits, name) < INT64 for name in limits.__struct_fields__)
    parameters = settings.parameters()
    assert all(math.isfinite(value) for value in msgspec.structs.astuple(parameters) if isinstance(value, int | float))
    orjson.dumps(masked(settings))


def secret_run(data: bytes) -> None:
    """A key file, its name, and API credentials, each spoilt: nothing of a secret is in what is said."""
    name, _, rest = data.partition(b"\n")
    key, _, credentials = rest.partition(b"\n--\n")
    for file, content in (("key", key), ("creds", credentials)):
        (HERE / file).write_bytes(content)
        (HERE / file).chmod(0o600)
    os.environ["CREDENTIALS_DIRECTORY"] = str(HERE)
    wallet = {"address": WALLET, "key_file": str(HERE / "key"), "api_creds_file": str(HERE / "creds")}
    settings = Settings.model_validate({"wallet": wallet, "venue": {"rest_url": "http://x"}})  # TLS costs 30 ms
    text = name.decode("latin-1").replace("@", str(HERE))
    words = [part for part in (key.strip().decode("latin-1"), *named_in(credentials)) if len(part) >= 12]
    secrets = [
        word for word in words if not any(word in known for known in (text, str(HERE / "key"), str(HERE / "creds")))
    ]

    def guarded(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except SettingsError as error:
            assert "\n" not in str(error)
            assert not any(secret in str(error) for secret in secrets), "a secret is shown"
        return None

    if not text.startswith("keyring:"):
        guarded(lambda: read_secret(text))
    guarded(lambda: read_credentials(str(HERE / "creds")))
    access = guarded(lambda: from_settings(settings))
    if access is not None:  # what was taken can be used
        api = access.api()
        *lines, end = api.calls._headers("GET", "/", b"", 1).encode("latin-1").split(b"\r\n")
        assert len(lines) == 5 and not end, "what was read makes lines of its own"
        assert not any(b"\n" in line or b"\r" in line for line in lines)
        assert PRIVATE_KEY not in repr(access)


def cli_run(data: bytes) -> None:
    """Words of a command line, one a line: refused as click or the settings do, or taken whole."""
    data = data.replace(b"\0", b"").replace(
        b"@", bytes(HERE)
    )  # "@" stands for a directory, which has another name each time
    words = [line.decode("utf-8", "surrogateescape") for line in data.split(b"\n")]
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            context = bot.cli.bot.make_context("bot", words)
            left = [*context._protected_args, *context.args]
            if not left:
                return
            name, command, rest = bot.cli.bot.resolve_command(context, left)
            assert command is not None
            given = command.make_context(name, rest, parent=context).params
            _taken(str(name), given)
    except (click.ClickException, click.exceptions.Exit, BotError, OSError):  # what `bot` says in one line
        return


def _taken(name: str, given: dict[str, Any]) -> None:
    if name == "start":
        settings, _ = settings_of(StartOptions(**given))
        _usable(settings)
        assert given["for_s"] is None or 0 < given["for_s"] < 1e10
    if name in ("start", "sim", "trial") and given["world"]:
        worlds.world(given["world"])
    if name in ("start", "sim") and given["faults"] not in (None, "list"):
        fault_files.load(given["faults"])
    if name == "sim":
        quirks.parsed(given["quirks"])
    if name == "fair":
        show_fair({key: value for key, value in given.items() if key != "as_json"}, True)


CONFIG = (
    template().encode(),
    b'[run]\nseries = ["btc-updown-5m", "eth-updown-15m"]\nmode = "live"\n[limits]\nq_max = 60\nloss_max_mkt = 5.5\nloss_max_day = 20\n',
    f'[wallet]\naddress = "{WALLET}"\nkey_file = "{PRIVATE_KEY}"\nsignature_type = 2\n'.encode(),
    b"[strategy]\norder_size = 20\n[recovery]\ncooldown_s = 5\ncooldown_s_max = 6.5\n",
)
CREDS = b'{"apiKey":"key-of-the-api","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","passphrase":"phrase-of-the-api"}'
SECRET = tuple(
    name + b"\n" + key + b"\n--\n" + CREDS
    for name, key in (
        (b"credential:key", PRIVATE_KEY.encode()),
        (b"@/key", b"0x" + PRIVATE_KEY.encode()),
        (b"~/none", PRIVATE_KEY.upper().encode()),
    )
)
CLI = tuple(
    "\n".join(line.split()).encode()
    for line in (
        "start --mode sim --series btc-updown-5m --series eth-updown-15m --for 60s --seed 7 --world calm --faults storm --ui none --json",
        "start --config @/given.toml --mode live --yes",
        "sim --port 0 --seed 1 --protocol 2 --load 100 --quirk page_size=2 --quirk tier=Gold --speed 2 --aligned",
        "fair --rule twap --spot 60010 --strike 60000 --sigma 0.0001 --tau 120 --window 60 --inventory 5 --size 20 --q-max 60 --to-stop 100 --json",
        "fair --rule candle --spot 60010 --strike 60000 --sigma 0.0001 --tau 120 --basis 0.0001 --basis-sd 0.0001 --ito 1 --best-bid 0.4 --best-ask 0.6",
        "chaos --seed 1 --runs 2 --hours 0.5 --jobs 1 --fault-every 10m --only W01",
        "trial --windows 50 --in-a-row 10 --world tight --misjudge sigma*0.8 --latency-ms 100",
        "replay runs/x --until 5 --show",
        "halt --reason because",
        "cancel-all --market 0x1 --json",
    )
)
(HERE / "given.toml").write_bytes(CONFIG[1])

OPERATOR = (
    Target("config", config_run, CONFIG, words=("q_max", "[limits]", "run", "mode", '"live"', "[[run]]", "inf", "a.b")),
    Target("secret", secret_run, SECRET, words=("~nobody", "credential:", "\n--\n", "0x", "/dev/null", '"secret"')),
    Target("cli", cli_run, CLI, words=("--for", "--mode", "--world", "storm", "never", "--debug", "--config", "bot.toml", "٣", "1h")),
)  # fmt: skip
