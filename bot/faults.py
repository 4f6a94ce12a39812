"""Sim only: fetches the faults that were injected at the embedded venue but are meant for the inside of the bot, and delivers them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import requests
from loguru import logger

from bot.messages import InjectedFault, Message

WAIT_S = 10.0


class FaultWatch(threading.Thread):
    """Long-polls `/control/faults`; each T row becomes one InjectedFault for the actor it names."""

    def __init__(self, venue_url: str, tell: Callable[[str, Message], None]) -> None:
        super().__init__(name="faults", daemon=True)
        self._url = f"{venue_url}/control/faults"
        self._tell = tell
        self._session = requests.Session()
        self._session.trust_env = False

    def run(self) -> None:
        after = max((row["seq"] for row in self._rows({})), default=0)  # what was injected before us is not ours
        while True:
            for row in self._rows({"after": after, "wait_s": WAIT_S}):
                after = max(after, row["seq"])
                if row["id"].startswith("T") and row.get("actor"):
                    logger.warning("injecting {} into {}", row["id"], row["actor"])
                    self._tell(
                        row["actor"], InjectedFault(kind=row.get("kind") or "raise", hang_s=row.get("hang_s") or 10.0)
                    )

    def _rows(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            answer = self._session.get(self._url, params=query, timeout=WAIT_S + 5.0)
            rows: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
        except (requests.RequestException, ValueError):
            time.sleep(1.0)  # the venue is away; it may be a fault of its own
            return []
        return rows
