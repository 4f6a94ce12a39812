"""Faults from TOML files and named scenarios, and the catalogue for people: `--faults list` and docs/faults.md.

`python -m bot.sim.fault_files > docs/faults.md` writes the page anew.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from bot.errors import SettingsError
from bot.sim.catalogue import CATALOGUE, ids
from bot.sim.faults import Fault, fault_of

KEYS = ("about", "fault")
WHERE = {
    "rest": "REST",
    "stream": "stream",
    "socket": "socket",
    "market": "exchange",
    "bot": "bot",
    "host": "host",
}
HEAD = """# Faults on command

<!-- Generated from the catalogue: python -m bot.sim.fault_files > docs/faults.md -->

The embedded venue misbehaves on purpose. Every fault has the id of its row below. They may be caused together, and what
was injected is in the log at `/control/faults`, beside `/control/ledger` (what is true) and `/control/log` (what was asked).

## How to cause one

- Before a run: `bot sim --faults NAME`, `bot start --faults NAME`, with a scenario's name or a file of yours.
  `bot sim --faults list` prints this catalogue.
- While it runs: `POST /control/faults` with one fault as JSON, such as `{"id": "P11", "duration_s": 20}`. With `--venue`,
  `bot start --faults` does that for each fault of the file.
- `GET /control/faults` answers `[{seq, id, at_s, count, …}]`, a row for each time a fault began: `count` is how many calls,
  frames or trades it hit so far. With `?after=SEQ&wait_s=S` it waits for the next.

A file:

```toml
about = "Answers get lost"

[[fault]]
id = "P01"              # of the tables below
rate_per_s = 0.05       # or at_s = 30, or nth = 3; without any of them: now, once
match = "/order"        # optional: which calls, frames or trades

[[fault]]
id = "T01"              # inside the bot: the actor raises, or with kind = "hang" hangs
actor = "strategy"
at_s = 60
```

| key | means |
|---|---|
| `at_s` | once, so many seconds after the venue was ready; in a POST, so many after it |
| `rate_per_s` | again and again at random moments, so often on average; the venue's seed decides |
| `nth` | once, on the n-th matching call, frame or trade (for those that the venue does by itself: the n-th matching call) |
| `duration_s` | how long it goes on each time; everything that matches is hit |
| `count` | it ends earlier, after so many hits; without this and a duration it hits once |
| `match` | patterns with `*`, separated by `\\|`, compared with the whole subject (`POST /order`) and with each of its words |
| `kind` | the variant; the first one named is the default |

Further keys stand in the tables with their defaults, as does what a fault befalls without `match`.
"""


def names() -> list[str]:
    """The scenarios that ship with the package."""
    return sorted(path.stem for path in _shipped().glob("*.toml"))


def load(name_or_path: str) -> tuple[Fault, ...]:
    """A shipped scenario by its name, or a file of faults. Raises SettingsError that names what is wrong."""
    path = source_of(name_or_path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8 text'}") from None
    return parsed(text, str(path))[1]


def source_of(name_or_path: str) -> Path:
    """Where a scenario is. Raises SettingsError for a name that is none and a file that is not there."""
    if name_or_path in names():
        return _shipped() / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if not path.is_file():
        raise SettingsError(f"unknown faults {name_or_path!r}: want {', '.join(names())}, or a .toml file of faults")
    return path.absolute()


def parsed(text: str, where: str) -> tuple[str, tuple[Fault, ...]]:
    """What a TOML text is about, and its faults. Raises SettingsError."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers and brackets without end
        raise SettingsError(f"{where}: not valid TOML: {error}") from None
    for key in raw:
        if key not in KEYS:
            raise SettingsError(f"{where}: unknown key {key!r}; faults are [[fault]] tables")
    tables = raw.get("fault", [])
    if not isinstance(tables, list):
        raise SettingsError(f"{where}: fault is a list of tables: write [[fault]]")
    return str(raw.get("about", "")), tuple(
        fault_of(table, f"{where}: fault {number}") for number, table in enumerate(tables, 1)
    )


def scenarios() -> dict[str, str]:
    """What each shipped scenario is about."""
    return {name: parsed((_shipped() / f"{name}.toml").read_text(), name)[0] for name in names()}


def listing() -> str:
    """The catalogue as plain text."""
    lines = ["scenarios:"]
    lines += [f"  {name:16}{about}" for name, about in scenarios().items()]
    lines += ["", "faults (* cannot be caused by the venue):"]
    for fault_id in ids():
        entry = CATALOGUE[fault_id]
        lines.append(f"  {fault_id}{'*' if entry.how else ' '} {entry.title}")
        lines.append(f"        {'how: ' if entry.how else 'shows: '}{entry.how or entry.wire}")
        if words := [*(["kind " + ", ".join(entry.kinds)] if entry.kinds else []), *entry.extras]:
            lines.append(f"        takes: {'; '.join(words)}")
    return "\n".join(lines)


def page() -> str:
    """docs/faults.md."""
    lines = [HEAD, "## Scenarios", "", "| name | about |", "|---|---|"]
    lines += [f"| `{name}` | {about} |" for name, about in scenarios().items()]
    lines += [
        "",
        "## Catalogue",
        "",
        "| id | fault | where | how to trigger | what the wire shows |",
        "|---|---|---|---|---|",
    ]
    for fault_id in ids():
        entry = CATALOGUE[fault_id]
        cells = (fault_id, entry.title, WHERE[entry.where], entry.trigger or "the id is enough", entry.wire)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _shipped() -> Path:
    return Path(str(files("bot.sim"))) / "scenarios"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
