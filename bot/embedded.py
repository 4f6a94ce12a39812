"""The embedded venue seen from outside: started as a child with a session of its own, or found by its URL."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import requests

from bot.errors import SettingsError

READY_S_MAX = 20.0


class EmbeddedVenue:
    """A `bot sim` of our own. It ends when its standard input closes, so it cannot outlive us however we end."""

    def __init__(self, options: Sequence[str], log: Path) -> None:
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bot.cli", "sim", "--until-stdin-closes", *options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, start_new_session=True,
            )  # fmt: skip
        self._log = log

    def info(self, given_up: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """What its ready line says; nothing when given up meanwhile. Raises SettingsError when it ended or kept silent."""
        assert self._process.stdout is not None
        lines: list[bytes] = []
        reader = threading.Thread(
            target=lambda out: lines.append(out.readline()), args=(self._process.stdout,), daemon=True
        )
        reader.start()
        until = time.monotonic() + READY_S_MAX
        while reader.is_alive() and time.monotonic() < until:
            if given_up():
                return {}
            reader.join(0.05)
        if not lines or not lines[0]:
            self.stop()
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise SettingsError(
                f"the embedded venue did not start: {said[-1] if said else 'it said nothing'} (log: {self._log})"
            )
        info: dict[str, Any] = orjson.loads(lines[0])
        return info

    def ended(self) -> str:
        """Why there is nothing to trade on any more, or an empty string while it runs."""
        code = self._process.poll()
        return "" if code is None else f"the embedded venue ended with {code} (log: {self._log})"

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def ask_info(url: str) -> dict[str, Any]:
    """`/control/info` of a venue that already runs. Raises SettingsError: nothing there, or not an embedded venue."""
    try:
        answer = _get(f"{url.rstrip('/')}/control/info")
        info: dict[str, Any] = answer.json()
        if answer.status_code != 200 or "rest_url" not in info:
            raise ValueError(f"status {answer.status_code}")
    except requests.RequestException:
        raise SettingsError(f"no venue answers at {url}: start one with `bot sim`, or leave --venue out") from None
    except ValueError:
        raise SettingsError(f"{url} is not an embedded venue: it has no /control/info") from None
    return info


def give_faults(url: str, faults: Iterable[Mapping[str, Any]]) -> int:
    """Inject faults at a venue that already runs; the number of its last row before. Raises SettingsError."""
    address = f"{url.rstrip('/')}/control/faults"
    try:
        last = max((row["seq"] for row in _get(address).json()), default=0)
        with requests.Session() as session:
            session.trust_env = False
            for fault in faults:
                answer = session.post(address, json=fault, timeout=3.0)
                if answer.status_code != 200:
                    raise SettingsError(f"{url} refuses the fault {fault['id']}: {answer.text}")
    except (requests.RequestException, ValueError) as error:
        raise SettingsError(f"{url} takes no faults: {error}") from None
    return int(last)


def ledger_of(url: str, owner: str) -> dict[str, Any] | None:
    """The venue's truth about one owner, or None when it does not answer."""
    try:
        ledger: dict[str, Any] = _get(f"{url}/control/ledger").json()
    except (requests.RequestException, ValueError):
        return None
    return ledger.get(owner.lower()) or ledger.get(owner)


def _get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the environment is not for loopback
        return session.get(url, timeout=3.0)
