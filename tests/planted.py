"""How many seeds of three simulated minutes find each planted bug: `python tests/planted.py [NAME...] [--seeds N] [--first]`.

Each bug is one change of one file (planted.toml), made in a copy of the sources, so that the repository is never touched.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).with_name("planted.toml")
HOURS = 0.05
HARD = {"I3", "I4", "I8", "I9"}  # of those that touch these, every one must be found

HUNT = """
import sys
import orjson
from loguru import logger
from bot.sim.chaos.command import Options, run_case

logger.remove()
first, seeds, hours = sys.argv[1] == "first", int(sys.argv[2]), float(sys.argv[3])
found = {}
for seed in range(seeds):
    violation = run_case((seed, None), Options(hours=hours), shrink=False).result.violation
    if violation is not None:
        found[seed] = [violation.invariant, violation.text]
        if first:
            break
print(orjson.dumps([[seed, *what] for seed, what in found.items()]).decode())
"""


@dataclass(frozen=True, slots=True)
class Bug:
    name: str
    touches: tuple[str, ...]
    file: str
    old: str
    new: str


def bugs() -> list[Bug]:
    rows: list[dict[str, Any]] = tomllib.loads(DATA.read_text())["bug"]
    return [Bug(**{**row, "touches": tuple(row["touches"])}) for row in rows]


def planted(bug: Bug, into: Path) -> None:
    """A copy of the sources with this bug in it."""
    for part in ("bot", "actors"):
        shutil.copytree(ROOT / part, into / part, ignore=shutil.ignore_patterns("__pycache__"))
    path = into / bug.file
    source = path.read_text()
    assert source.count(bug.old) == 1, f"{bug.name}: its old text occurs {source.count(bug.old)} times in {bug.file}"
    path.write_text(source.replace(bug.old, bug.new))


def hunt(bug: Bug, seeds: int, first: bool) -> list[tuple[int, str, str]]:
    """Seed, invariant and text of each run that found it."""
    with tempfile.TemporaryDirectory() as copy:
        planted(bug, Path(copy))
        command = [sys.executable, "-c", HUNT, "first" if first else "all", str(seeds), str(HOURS)]
        done = subprocess.run(command, cwd=copy, env={"PYTHONPATH": copy}, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{bug.name}: {done.stderr.decode()[-2000:]}")
    return [(seed, invariant, text) for seed, invariant, text in orjson.loads(done.stdout)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/planted.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only the bugs whose names begin so")
    parser.add_argument("--seeds", type=int, default=200, help="seeds a bug (default: 200)")
    parser.add_argument("--first", action="store_true", help="stop at the first seed that finds a bug")
    parser.add_argument("--jobs", type=int, default=1, help="bugs at a time (default: 1)")
    options = parser.parse_args()
    chosen = [bug for bug in bugs() if not options.names or bug.name.startswith(tuple(options.names))]
    missed: list[Bug] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for bug, found in zip(
            chosen, pool.map(lambda bug: hunt(bug, options.seeds, options.first), chosen), strict=True
        ):
            if found:
                seed, invariant, text = found[0]
                how = "first found by" if options.first else f"{len(found)} of {options.seeds}, the first"
                print(f"{bug.name}: {how} seed {seed}, {invariant}: {text[:110]}", flush=True)
            else:
                missed.append(bug)
                print(f"{bug.name}: NOT FOUND by {options.seeds} seeds", flush=True)
    hard = [bug for bug in missed if HARD.intersection(bug.touches)]
    print(
        f"{len(chosen) - len(missed)} of {len(chosen)} found; of those that touch {', '.join(sorted(HARD))} {len(hard)} missed"
    )
    return 1 if hard or len(missed) > 0.05 * len(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
