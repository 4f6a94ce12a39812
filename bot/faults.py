"""Sim only: the embedded venue's faults. Those meant for the inside of the bot are fetched and delivered; all are summed up at the end."""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import requests
from loguru import logger

from bot.messages import InjectedFault, Message
from bot.units import NS_PER_S, Ns

WAIT_S = 10.0


class FaultWatch(threading.Thread):
    """Long-polls `/control/faults`; each T row becomes one InjectedFault for the actor it names.

    `after`: the last row that is not ours, set before the start; None: whatever was injected until then.
    """

    def __init__(self, venue_url: str, tell: Callable[[str, Message], None]) -> None:
        super().__init__(name="faults", daemon=True)
        self._url = f"{venue_url}/control/faults"
        self._tell = tell
        self.after: int | None = None
        self._session = requests.Session()
        self._session.trust_env = False

    def run(self) -> None:
        after = self.after
        if after is None:
            after = max((row["seq"] for row in self._rows({})), default=0)
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


ANSWER_NS: Ns = 5 * NS_PER_S  # what happens within this time of a fault counts as its answer
ANSWERS_SHOWN = 4
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d[\d.,]*")


def answered(
    rows: Iterable[Mapping[str, Any]], timeline: Sequence[tuple[Ns, str]], ready_ns: Ns
) -> list[dict[str, Any]]:
    """Each fault met with how it was answered: what the bot said of itself soon after, commonest first.

    `rows` are those of `/control/faults`, whose at_s counts from `ready_ns` (monotonic); `timeline` is the bot's own.
    """
    times = [at_ns for at_ns, _ in timeline]
    met: dict[str, dict[str, Any]] = {}
    said: dict[str, Counter[str]] = {}
    for row in rows:
        if not row["count"]:
            continue  # it lay in wait and met nothing
        fault = met.setdefault(row["id"], {"id": row["id"], "count": 0, "first_at_s": row["at_s"]})
        fault["count"] += row["count"]
        begin_ns = ready_ns + round(row["at_s"] * NS_PER_S)
        until_ns = begin_ns + round(row.get("duration_s", 0.0) * NS_PER_S) + ANSWER_NS
        texts = {
            _NUMBERS.sub("…", text)
            for _, text in timeline[bisect_left(times, begin_ns) : bisect_right(times, until_ns)]
        }
        said.setdefault(row["id"], Counter()).update(texts or {"absorbed: nothing had to be done"})
    for fault_id, fault in met.items():
        fault["answered"] = [f"{text} ({count}x)" for text, count in said[fault_id].most_common(ANSWERS_SHOWN)]
    return list(met.values())


CALM_S_MIN = 60.0  # of quoting without a fault, before it says what a second is worth


def costs(
    rows: Iterable[Mapping[str, Any]],
    states: Sequence[tuple[Ns, str]],
    earned: Sequence[tuple[Ns, float]],
    ready_ns: Ns,
    end_ns: Ns,
) -> dict[str, float]:
    """USD that each kind of fault cost: what the time it took would have earned, less what the fills in it did earn.

    A fault owns the time until its answer is over, and the pause in quoting that begins meanwhile; where several do, the
    newest. A second is worth what quoting without faults earned in this run (`earned`, fills marked after 30 s), or, when
    there was too little of that, what all quoting did. `states` are the bot's, each from its time on.
    """
    windows = sorted(
        (begin_ns, begin_ns + round(row.get("duration_s", 0.0) * NS_PER_S) + ANSWER_NS, str(row["id"]))
        for row in rows
        if row["count"]
        for begin_ns in [ready_ns + round(row["at_s"] * NS_PER_S)]
    )
    begins = [begin_ns for begin_ns, _, _ in windows]

    def owner(at_ns: Ns) -> str:
        newest = bisect_right(begins, at_ns)
        return next((fault for _, until_ns, fault in reversed(windows[:newest]) if at_ns < until_ns), "")

    first_ns = next((at_ns for at_ns, state in states if state == "quoting"), end_ns)
    spans = [
        (at_ns, next_ns, state == "quoting")
        for (at_ns, state), (next_ns, _) in pairwise([*states, (end_ns, "")])
        if at_ns >= first_ns
    ]
    cuts = sorted({*begins, *(until_ns for _, until_ns, _ in windows)})
    owned_s: Counter[str] = Counter()
    quoting_s = calm_s = 0.0
    paused_by = ""
    for span_ns, over_ns, quoting in spans:
        inner = cuts[bisect_right(cuts, span_ns) : bisect_left(cuts, over_ns)] if quoting else []
        paused_by = "" if quoting else paused_by or owner(span_ns)
        for from_ns, to_ns in pairwise([span_ns, *inner, over_ns]):
            fault, seconds = (owner(from_ns) if quoting else paused_by), (to_ns - from_ns) / NS_PER_S
            owned_s[fault] += seconds
            quoting_s += seconds * quoting
            calm_s += seconds * (quoting and not fault)
    gained: Counter[str] = Counter()
    for at_ns, usd in earned:
        gained[owner(at_ns)] += usd  # type: ignore[assignment]  # a Counter of floats
    usd_per_s = gained[""] / calm_s if calm_s >= CALM_S_MIN else sum(gained.values()) / max(quoting_s, 1.0)
    return {fault: round(usd_per_s * owned_s[fault] - gained[fault], 4) for _, _, fault in windows}


def faults_met(
    venue_url: str,
    timeline: Sequence[tuple[Ns, str]],
    since_ns: Ns,
    states: Sequence[tuple[Ns, str]] = (),
    earned: Sequence[tuple[Ns, float]] = (),
    ahead_ns: Ns = 0,
) -> list[dict[str, Any]]:
    """What the embedded venue did wrong since then, our answers and what it cost; empty when it does not say.

    The bot's own stamps are `ahead_ns` ahead of this machine's clock, which the venue and `since_ns` go by.
    """
    try:
        rows = requests.get(f"{venue_url}/control/faults", timeout=3.0).json()
        ready_ns = requests.get(f"{venue_url}/control/info", timeout=3.0).json()["ready_monotonic_ns"]
    except (requests.RequestException, ValueError, KeyError):
        return []
    rows = [row for row in rows if ready_ns + row["at_s"] * NS_PER_S >= since_ns]
    ready_ns += ahead_ns
    cost = costs(rows, list(states), list(earned), ready_ns, time.monotonic_ns() + ahead_ns)
    return [{**fault, "cost_usd": cost[fault["id"]]} for fault in answered(rows, list(timeline), ready_ns)]
