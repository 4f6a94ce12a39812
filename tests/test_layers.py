"""The house rules about imports, checked on the source itself: who may know whom, and which vendor lives in which file."""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for top in ("bot", "actors", "ops") for path in (ROOT / top).rglob("*.py"))
VOCABULARY = {"bot.messages", "bot.units", "bot.errors", "bot.ports", "bot.market"}
PURE_VIEWS = {"bot.book", "bot.caches"}
NETWORK = {"websocket", "requests", "urllib3", "orjson", "coincurve", "sha3", "certifi", "msgspec", "loguru"}

# What each part may import beyond the standard library and itself.
ALLOWED: dict[str, set[str]] = {
    "bot/quoting": VOCABULARY | PURE_VIEWS | {"msgspec"},
    "bot/execution": VOCABULARY | PURE_VIEWS | {"msgspec"},
    "bot/venues": VOCABULARY | PURE_VIEWS | NETWORK | {"py_clob_client_v2"},
    "bot/history": VOCABULARY
    | PURE_VIEWS
    | {"msgspec"}
    | {f"bot.execution.{name}" for name in ("budget", "executor", "risk", "snapshot", "timers")},
    "actors": VOCABULARY | {"bot.bell", "pykka", "loguru"},
}
FILES: dict[str, set[str]] = {
    "bot/units.py": set(),
    "bot/errors.py": set(),
    "bot/bell.py": set(),
    "bot/market.py": {"bot.units", "msgspec"},
    "bot/messages.py": {"bot.market", "bot.units", "msgspec"},
    "bot/ports.py": {"bot.messages", "bot.units"},
    "bot/caches.py": VOCABULARY | {"msgspec"},
    "bot/book.py": VOCABULARY | {"bot.caches", "msgspec"},
    # What empties the venue when nothing else works. The guardian is told what it needs over its socket: no settings.
    "bot/flat.py": {"bot.errors"},
    "bot/panic.py": VOCABULARY | {"bot.bell", "bot.flat"},
    "bot/guardian.py": {"bot.flat", *(f"bot.venues.{name}" for name in ("cancel_client", "clob_http", "clob_login"))},
}
VENDORS: dict[str, tuple[str, ...]] = {
    "pykka": ("actors/", "bot/app.py", "bot/sim/chaos/"),
    "websocket": ("bot/venues/link.py",),
    "py_clob_client_v2": ("bot/venues/polymarket_gateway.py", "bot/sim/"),
    "py_clob_client": ("bot/venues/polymarket_gateway.py", "bot/sim/"),
    "py_order_utils": ("bot/sim/",),
    "eth_account": ("bot/sim/",),
    "aiohttp": ("bot/sim/",),
    "rich": ("bot/view.py",),
    "click": ("bot/backtests.py", "bot/cli.py", "bot/operate.py", "bot/recorder.py", "bot/run.py", "bot/trials.py"),
    "pydantic": ("bot/settings.py",),
    "sdnotify": ("bot/systemd.py",),
    "greenlet": ("bot/sim/chaos/hub.py",),
}


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Modules a file imports at any level; `from bot import x` counts as bot.x. Type-checking imports count too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module in ("bot", "actors")
                else {node.module}
            )
    return frozenset(names)


def outside(names: frozenset[str], own: str) -> set[str]:
    """Without the standard library and the part itself; our modules whole, packages by their top name."""
    kept = set()
    for name in names:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or name.startswith(own) or name == own:
            continue
        kept.add(name if top in ("bot", "actors", "ops") else top)
    return kept


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_the_house_allows(part: str) -> None:
    own = part.replace("/", ".")
    for path in sorted((ROOT / part).rglob("*.py")):
        strange = outside(imports_of(path), own) - ALLOWED[part] - {"bot.__version__"}
        assert not strange, f"{name_of(path)} imports {sorted(strange)}"


@pytest.mark.parametrize("file", FILES)
def test_the_vocabulary_and_the_last_line_of_defence_know_nothing_above_them(file: str) -> None:
    strange = outside(imports_of(ROOT / file), "nothing") - FILES[file]
    assert not strange, f"{file} imports {sorted(strange)}"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_lives_in_its_place_only(vendor: str) -> None:
    """And in the benchmarks, which run stock parts beside ours."""
    for path in SOURCES:
        if vendor in {name.partition(".")[0] for name in imports_of(path)}:
            assert name_of(path).startswith((*VENDORS[vendor], "bot/bench/")), f"{name_of(path)} imports {vendor}"


def test_only_the_composition_root_and_the_command_line_know_everything() -> None:
    for path in SOURCES:
        names = imports_of(path)
        if any(name == "bot.app" or name.startswith("bot.app.") for name in names):
            assert name_of(path) in ("bot/run.py",) or name_of(path).startswith("bot/bench/"), (
                f"{name_of(path)} imports app"
            )
        if any(name.startswith("actors") for name in names) and not name_of(path).startswith("actors/"):
            assert name_of(path) == "bot/app.py" or name_of(path).startswith(("bot/bench/", "bot/sim/chaos/")), (
                f"{name_of(path)} imports actors"
            )


def test_every_thread_is_a_daemon_so_that_nothing_keeps_a_process_alive_that_shall_end() -> None:
    made = 0
    for path in SOURCES:
        if name_of(path).startswith("bot/bench/"):
            continue  # ends with its measurement
        for node in ast.walk(ast.parse(path.read_text())):
            is_thread = isinstance(node, ast.Call) and ast.unparse(node.func) in ("threading.Thread", "Thread")
            inherits = isinstance(node, ast.ClassDef) and any("Thread" in ast.unparse(base) for base in node.bases)
            if is_thread or inherits:
                made += 1
                assert "daemon=" in ast.unparse(node) or "use_daemon_thread = True" in ast.unparse(node), (
                    f"{name_of(path)}:{node.lineno}"
                )
                assert "daemon=False" not in ast.unparse(node), f"{name_of(path)}:{node.lineno}"
    assert made > 5
