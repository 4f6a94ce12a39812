"""Settings: pydantic sections read from bot.toml. Unknown keys are refused by name; secrets are read apart and never kept in here."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator

from bot.errors import SettingsError
from bot.quoting.parameters import RANGES, Parameters, problems

SERIES_PATTERN = re.compile(r"^(btc|eth|sol|xrp)-updown-([1-9][0-9]*m|[14]h|1d)$")

KEY_DIGITS = re.compile(r"(0x)?[0-9a-fA-F]{64}")

# Until the executor and its recovery are proven under fire, live trading is held on this leash. Constants, not settings.
LIVE_LOSS_USD_MAX = 25.0
LIVE_SERIES_MAX = 1

USD_MAX = 10_000_000  # of any limit in money

LIMIT_FIELDS = ("q_max", "loss_max_mkt", "capital_max")  # parameters of the strategy that are set in [limits]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Wallet(Section):
    """The wallet that trades. The key itself never stands here: key_file names a file of mode 0600, credential:NAME (of a
    systemd unit), or keyring:SERVICE/USER."""

    address: str = Field("", pattern=r"^(0x[0-9a-fA-F]{40})?$")
    funder: str = Field(
        "", pattern=r"^(0x[0-9a-fA-F]{40})?$", description="where the money is; empty: the address itself"
    )
    signature_type: Literal[0, 1, 2, 3] = 0
    key_file: str = ""
    api_creds_file: str = Field("", description="JSON of apiKey, secret, passphrase; empty: derived from the key")

    @field_validator("key_file")
    @classmethod
    def no_key(cls, name: str) -> str:
        if KEY_DIGITS.fullmatch(name.strip()):  # or later lines would show it as a path
            raise ValueError("is the key itself: put that into a file of mode 0600, and name the file here")
        return name


class Venue(Section):
    rest_url: str = "https://clob.polymarket.com"
    gamma_url: str = "https://gamma-api.polymarket.com"
    data_url: str = "https://data-api.polymarket.com"
    market_ws_url: str = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
    user_ws_url: str = "wss://ws-subscriptions-clob.polymarket.com/ws/user"
    settlement_ws_url: str = "wss://ws-live-v2.polymarket.com/ws"
    chain_id: int = Field(137, ge=1, lt=1 << 53)


class Binance(Section):
    ws_url: str = "wss://stream.binance.com:9443"
    futures_ws_url: str = Field("wss://fstream.binance.com", description="only where strategy.w_perp is above 0")
    rest_url: str = "https://api.binance.com"


class LimitSettings(Section):
    """Hard limits, checked before every order and after every event."""

    q_max: float = Field(60, ge=20, le=5000, description="shares, net, per market")
    order_size_max: float = Field(50, ge=5, le=5000, description="shares per order")
    loss_max_mkt: float = Field(40, gt=0, le=USD_MAX, description="USD, worst-case settlement loss per market")
    loss_max_day: float = Field(
        200, gt=0, le=USD_MAX, description="USD, realised loss per UTC day; then the halt latch"
    )
    capital_max: float = Field(1000, gt=0, le=USD_MAX, description="USD paid into all markets together")


class Recovery(Section):
    """How cautiously it comes back after it cancelled everything."""

    cooldown_s: float = Field(5, ge=1, le=600, description="seconds flat after a failure, doubling when it repeats")
    cooldown_s_max: float = Field(60, ge=1, le=3600, description="seconds, the longest of them")


class Run(Section):
    series: tuple[str, ...] = ("btc-updown-5m",)
    mode: Literal["sim", "paper", "live"] = "sim"
    http: str = "off"
    record: bool = Field(False, description="what the public feeds say, into frames/ of the run directory")

    @field_validator("series")
    @classmethod
    def known_series(cls, series: tuple[str, ...]) -> tuple[str, ...]:
        if not series:
            raise ValueError("name at least one series")
        for name in series:
            if not SERIES_PATTERN.match(name):
                raise ValueError(
                    f"{name!r} is no series: use btc|eth|sol|xrp, -updown-, and 5m, 15m, 1h, 4h or 1d (1m on the embedded venue)"
                )
        if len(set(series)) != len(series):
            raise ValueError("a series is named twice")
        return series


def _strategy_section() -> type[Section]:
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(Parameters):
        if field.name in LIMIT_FIELDS:
            continue
        low, high, unit = RANGES[field.name]
        fields[field.name] = (field.type, Field(field.default, ge=low, le=high, description=unit, allow_inf_nan=False))
    return create_model("Strategy", __base__=Section, **fields)


StrategySection = _strategy_section()


class Settings(Section):
    wallet: Wallet = Wallet()
    venue: Venue = Venue()
    binance: Binance = Binance()
    limits: LimitSettings = LimitSettings()
    strategy: StrategySection = StrategySection()  # type: ignore[valid-type]
    recovery: Recovery = Recovery()
    run: Run = Run()

    @model_validator(mode="after")
    def relations(self) -> Settings:
        if self.limits.loss_max_mkt > self.limits.loss_max_day:
            raise ValueError(
                "limits.loss_max_mkt is above limits.loss_max_day: one market could lose more than a day may"
            )
        if self.limits.order_size_max > 2 * self.limits.q_max:
            raise ValueError("limits.order_size_max is above twice limits.q_max: no such order could pass")
        if self.recovery.cooldown_s > self.recovery.cooldown_s_max:
            raise ValueError("recovery.cooldown_s is above recovery.cooldown_s_max")
        if faults := problems(self.parameters()):
            raise ValueError("; ".join(f"strategy.{fault}" for fault in faults))
        return self

    def parameters(self) -> Parameters:
        """The strategy's parameters, with the limits it shares with the executor and no order above their size."""
        chosen = self.strategy.model_dump()  # type: ignore[attr-defined]
        chosen["order_size"] = min(chosen["order_size"], self.limits.order_size_max)
        return Parameters(
            **chosen,
            q_max=self.limits.q_max,
            loss_max_mkt=self.limits.loss_max_mkt,
            capital_max=self.limits.capital_max,
        )


def validated(raw: dict[str, Any], origin: str) -> Settings:
    """Settings from a plain dict. Raises SettingsError: one line that names each key and what is wrong with it."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            name = ".".join(str(part) for part in fault["loc"]) or "relation"
            text = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
            faults.append(f"{name}: {text}")
        raise SettingsError(f"{origin}: " + KEY_DIGITS.sub("(a key)", "; ".join(faults))) from None


def load(path: Path | None) -> tuple[Settings, dict[str, Any]]:
    """Settings and the raw table of a TOML file (defaults without one). Raises SettingsError."""
    if path is None:
        return Settings(), {}
    try:
        text = path.read_bytes().decode()  # a lone carriage return is no end of a line
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; `bot init` writes one to start from") from None
    except (OSError, ValueError) as error:  # not UTF-8, or a name that no file can have
        raise SettingsError(f"{path}: cannot be read: {error}") from None
    raw = toml_of(text, str(path))
    return validated(raw, str(path)), raw


def toml_of(text: str, where: str) -> dict[str, Any]:
    """Raises SettingsError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number without end, and brackets without end
        raise SettingsError(f"{where}: not valid TOML: {error}") from None


def check_live(settings: Settings, raw: dict[str, Any]) -> None:
    """What live mode asks for beyond valid settings. Raises SettingsError."""
    missing = [name for name in LimitSettings.model_fields if name not in raw.get("limits", {})]
    if missing:
        raise SettingsError(f"live mode needs every limit written down in [limits]; missing: {', '.join(missing)}")
    if not settings.wallet.address or not settings.wallet.key_file:
        raise SettingsError(
            "live mode needs [wallet] address and key_file (a file of mode 0600, or keyring:SERVICE/USER)"
        )
    if unreal := [name for name in settings.run.series if name.endswith("-1m")]:
        raise SettingsError(f"{', '.join(unreal)} exists only on the embedded venue: name a series of 5m or longer")
    worst = settings.limits.loss_max_day + settings.limits.loss_max_mkt
    if worst > LIVE_LOSS_USD_MAX:
        raise SettingsError(
            f"live mode is held to loss_max_day + loss_max_mkt <= {LIVE_LOSS_USD_MAX:g} USD for now; yours are {worst:g}: lower them in [limits]"
        )
    if len(settings.run.series) > LIVE_SERIES_MAX:
        raise SettingsError(
            f"live mode is held to {LIVE_SERIES_MAX} series for now; yours names {len(settings.run.series)}"
        )


def read_secret(name: str) -> str:
    """A secret from a file only its owner can read, from the systemd credential credential:NAME, or from the OS keyring as
    keyring:SERVICE/USER. Raises SettingsError."""
    if name.startswith("keyring:"):
        import keyring  # costs 60 ms, and only who asks for it pays

        service, _, user = name.removeprefix("keyring:").partition("/")
        value: str | None = keyring.get_password(service, user)
        if value is None:
            raise SettingsError(f"the OS keyring has nothing for {service}/{user}")
        return value.strip()
    path, others = Path(name), 0o077
    if name.startswith("credential:"):
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            raise SettingsError(
                f"{name}: there are no credentials here; start it by a systemd unit with LoadCredential="
            )
        # systemd lets us in by an access list, which looks like the right of a group that nobody is in.
        path, others = Path(directory) / name.removeprefix("credential:"), 0o037
    try:
        path = path.expanduser()
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise SettingsError(f"{path}: not a regular file")
        if mode & others or path.stat().st_uid not in (os.getuid(), 0):
            raise SettingsError(f"{path}: others may read it; run: chmod 600 {path}")
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:  # not UTF-8, no name of a file, or ~somebody who is not there
        raise SettingsError(f"{str(path)!r}: cannot be read: {type(error).__name__}") from None


def masked(settings: Settings) -> dict[str, Any]:
    """Settings for showing: the paths of secret files stay, nothing of their content was ever in here."""
    shown = settings.model_dump(mode="json")
    for key in ("address", "funder"):
        if value := shown["wallet"][key]:
            shown["wallet"][key] = f"{value[:6]}…{value[-4:]}"
    return shown


def template() -> str:
    """A commented bot.toml with every key at its default."""
    lines = [
        "# clobmaker settings. Every key is at its default; unknown keys are refused by name.",
        "# Check with: bot config check bot.toml",
    ]
    for section, model in Settings.model_fields.items():
        kind = model.annotation
        assert isinstance(kind, type) and issubclass(kind, Section)
        lines += ["", f"[{section}]"]
        for name, field in kind.model_fields.items():
            note = f"  # {field.description}" if field.description else ""
            lines.append(f"{name} = {_toml(field.default)}{note}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
