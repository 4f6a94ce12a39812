"""Worlds by name, or from a TOML file: what differs from the defaults of WorldParameters, checked as it is read."""

from __future__ import annotations

import difflib
import tomllib
from importlib.resources import files
from pathlib import Path

import msgspec

from bot.errors import SettingsError
from bot.sim.parameters import WorldParameters

DEFAULT = "tight"


def names() -> list[str]:
    """The worlds that ship with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml"))


def world(name_or_path: str) -> WorldParameters:
    """A shipped world by its name, or a file of one. Raises SettingsError that names what is wrong."""
    if name_or_path in names():
        return parsed(_shipped().joinpath(f"{name_or_path}.toml").read_text(), f"world {name_or_path}")
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        raise SettingsError(
            f"unknown world {name_or_path!r}: want one of {', '.join(names())}, or a .toml file of world parameters"
        )
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{path}: cannot be read: {reason}") from None
    return parsed(text, str(path))


def parsed(text: str, where: str) -> WorldParameters:
    """The parameters a TOML text sets. Raises SettingsError for an unknown key or a value out of range, naming it."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers and brackets without end
        raise SettingsError(f"{where}: not valid TOML: {error}") from None
    known = WorldParameters.__struct_fields__
    for key in raw:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            raise SettingsError(f"{where}: unknown key {key!r}{f'; did you mean {close[0]!r}?' if close else ''}")
    try:
        return msgspec.convert(raw, WorldParameters)
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at `$.")
        raise SettingsError(f"{where}: {at.rstrip('`') + ': ' if at else ''}{said[0].lower()}{said[1:]}") from None


def _shipped() -> Path:
    return Path(str(files("bot.sim"))) / "worlds"
