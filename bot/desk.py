"""What a person asks of a running bot: halt, resume, cancel all, status. Needs no actor, so it works while one hangs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bot.control import refusal
from bot.execution.gate import Gate
from bot.flat import FlatReport
from bot.panic import Panic
from bot.state import Latch

LATCH = "latch"


class OperatorDesk:
    """Invariant: a halt shuts the gate and asks for the cancel before it is answered; only a verified flat is resumed from."""

    def __init__(self, *, gate: Gate, panic: Panic, latch: Latch, record: Callable[[], Mapping[str, Any]]) -> None:
        self._gate = gate
        self._panic = panic
        self._latch = latch
        self._record = record

    def halt(self, reason: str) -> dict[str, Any]:
        """The latch comes last: its disk may be slow or full, and neither may delay the cancel."""
        text = reason or "operator"
        self._gate.shut(LATCH, text)
        self._panic.request(f"halt: {text}")
        if not self._latch.set(text, "operator"):
            return refusal(f"halted, but only until this process ends: {self._latch.path} cannot be written", "halted")
        return self._answer("halted")

    def cancel_all(self, reason: str) -> dict[str, Any]:
        """Cancelling under a bot that quotes on would be undone at once, so it halts first."""
        return self.halt(reason or "cancel-all")

    def resume(self) -> dict[str, Any]:
        if not self._latch.is_set():
            return self._answer(str(self._record()["state"]))
        report = self._report()
        if report is None or not report.verified:
            self._gate.shut(LATCH, self._latch.reason() or "")
            if not self._panic.busy:
                self._panic.request("resume asked for")
            return refusal("not verified flat yet; every order is being cancelled, try again in a moment", "halted")
        self._latch.clear()  # the root sees it and tells the executor
        self._gate.open(LATCH)  # by our own hand too: a root that never saw the latch would not take our shut back
        return self._answer("reconciling", report)

    def status(self) -> dict[str, Any]:
        return self._answer(str(self._record()["state"]))

    def _report(self) -> FlatReport | None:
        """On this halt, not on an earlier one: who shuts the gate for the latch asks panic at once."""
        return self._panic.newest() if LATCH in self._gate.shut_by() else None

    def _answer(self, state: str, report: FlatReport | None = None) -> dict[str, Any]:
        report = report or self._report()
        return {
            "ok": True,
            "state": state,
            "flat_verified": report is not None and report.verified,
            "open_orders": report.open_orders if report is not None else self._record().get("orders", {}).get("open"),
            "error": "",
        }
