"""What outlives a process on disk: the wallet's lock and halt latch, the run directory, and how commands find a bot by them."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

import orjson

from bot.errors import SettingsError

RUNS = Path("runs")
LOOKS_S = 0.1  # longer than any look at a lock takes


def state_home() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "clobmaker"


def wallet_dir(chain_id: int, funder: str) -> Path:
    """The state of one wallet of a real venue."""
    return state_home() / f"{chain_id}-{funder.lower()}"


def make_private(directory: Path) -> Path:
    """The directory, made with mode 0700. Raises SettingsError when it cannot be made or written."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"{directory}: cannot be written: {error.strerror}; choose another with --run-dir or XDG_STATE_HOME"
        ) from None
    return directory


def write_json(path: Path, value: Any, mode: int = 0o600, *, sync: bool = False) -> None:
    """Replace a JSON file atomically: a reader sees the old record or the new one, never a part.

    Several threads and processes may do so at once. `sync` makes it survive a power loss.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
            if sync:
                file.flush()
                os.fsync(descriptor)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    if sync:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_json(path: Path) -> dict[str, Any]:
    """The record, or an empty one when there is none or it cannot be read."""
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


class Latch:
    """The halt latch: a file, so that it holds for a process that is stopped, hung or not started yet.

    Where the file cannot be written it still holds in the process that set it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "halt"
        self._unwritten: dict[str, str] | None = None

    def set(self, reason: str, by: str) -> bool:
        """The first reason stays. False: it holds in this process only."""
        if not self.path.exists():
            record = self._unwritten or {"reason": reason, "by": by, "since": utc_text()}
            try:
                write_json(self.path, record, sync=True)
                self._unwritten = None
            except OSError:
                self._unwritten = record
        return self._unwritten is None

    def clear(self) -> None:
        self._unwritten = None
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def is_set(self) -> bool:
        # Asked before each order; Path.exists() makes an exception of the usual answer, and takes three times as long.
        return self._unwritten is not None or os.access(self.path, os.F_OK)

    def reason(self) -> str | None:
        """Why, or None when it is not set."""
        if not self.is_set():
            return None
        record = self._unwritten or read_json(self.path)
        return f"{record.get('reason', 'no reason given')} (by {record.get('by', 'unknown')})"


class WalletLock:
    """One process a wallet: an flock that the kernel lets go of when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        self._descriptor = -1

    def take(self, run_dir: Path) -> bool:
        """True: the last run on this wallet ended flat, or there was none.

        Raises SettingsError when another process holds it, naming that process and its run.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(descriptor):
            os.close(descriptor)
            holder = read_json(self.path)
            raise SettingsError(
                f"another bot runs on this wallet (pid {holder.get('pid', 'unknown')}, run {holder.get('run_dir', 'unknown')}): "
                "stop it first, or look at it with `bot status`"
            ) from None
        last = read_json(self.path)
        self._descriptor = descriptor
        self._write({"pid": os.getpid(), "run_dir": str(run_dir)})
        return not last or last.get("flat") is True

    def ended_flat(self) -> None:
        """Remembered for the next start; a run that ends otherwise leaves no such word."""
        self._write({**read_json(self.path), "flat": True})

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, record: dict[str, Any]) -> None:
        # In place: replacing the file would leave the lock on the old one.
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, orjson.dumps(record), 0)


def _locked(descriptor: int) -> bool:
    """Take the lock; a command that only looks (`held`) has it for a moment, and must not fail a start."""
    until = time.monotonic() + LOOKS_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(LOOKS_S / 10)


def held(lock: Path) -> bool:
    """Whether some process holds this lock file now."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two that look do not see each other
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class RunDir:
    """One run's directory: status.json, summary.json, bot.log, control.sock, run.json (how to reach the venue, no secrets),
    frames/ (when recording)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = path / "status.json"
        self.summary = path / "summary.json"
        self.log = path / "bot.log"
        self.socket = path / "control.sock"
        self.card = path / "run.json"
        self.frames = path / "frames"

    @classmethod
    def new(cls, path: Path | None, mode: str) -> RunDir:
        """Make it. Raises SettingsError when it cannot be made, or is another run's."""
        if path is None:
            stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
            path = RUNS / f"{stamp}-{mode}"
            for again in range(2, 100):
                if not path.exists():
                    break
                path = RUNS / f"{stamp}-{mode}-{again}"
        elif (path / "status.json").exists():
            raise SettingsError(f"{path}: already holds a run; choose another --run-dir")
        return cls(make_private(path.absolute()))

    def read_card(self) -> dict[str, Any]:
        return read_json(self.card)

    def link(self, state_dir: Path) -> None:
        """Show the wallet's journal in here, where it is not here already."""
        if state_dir != self.path:
            (self.path / "journal").symlink_to(state_dir.absolute() / "journal")

    def state_dir(self) -> Path:
        return Path(self.read_card().get("state_dir", self.path))

    def alive(self) -> bool:
        """Whether the process of this run holds its wallet's lock."""
        lock = self.state_dir() / "lock"
        return held(lock) and read_json(lock).get("run_dir") == str(self.path)


def find_run(run_dir: Path | None) -> RunDir | None:
    """The run a command means: the one named, else that of the held lock, else the newest. None when there is none at all.

    Raises SettingsError when more than one bot runs, or the named directory is no run.
    """
    if run_dir is not None:
        run = RunDir(run_dir.absolute())
        if not run.card.exists():
            raise SettingsError(f"{run_dir}: not a run directory (no run.json in it)")
        return run
    running = running_bots()
    if len(running) > 1:
        named = ", ".join(str(run.path) for run in running)
        raise SettingsError(f"more than one bot runs; choose one with --run-dir: {named}")
    if running:
        return running[0]
    newest = max(RUNS.glob("*/run.json"), key=lambda card: card.stat().st_mtime, default=None)
    return RunDir(newest.parent.absolute()) if newest is not None else None


def running_bots() -> list[RunDir]:
    """Every run whose wallet's lock is held, as far as the state directory and the runs here tell."""
    locks = (*state_home().glob("*/lock"), *RUNS.glob("*/lock"))
    names = {read_json(lock).get("run_dir", "") for lock in locks if held(lock)} - {""}
    return [RunDir(Path(name)) for name in sorted(names)]


def utc_text() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
