"""What goes wrong, and when: faults planned from files or on command, decided by a seed. A pure core: time is passed in.

A fault has an id of the catalogue and one trigger: `at_s` (once, so many seconds after it was given), `rate_per_s`
(again and again, at random), `nth` (once, on the n-th matching call, frame or trade), or none: now, once. Each time it
begins is an occurrence, and a row of the log. An occurrence lasts `duration_s`, or until it hit `count` times (once, unless
the catalogue says that this fault lasts). Places in the venue where something can go wrong ask `hit`; what the venue does
of its own accord is a function given to `on`. Knows no wire.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import msgspec

from bot.errors import SettingsError
from bot.sim.catalogue import CATALOGUE
from bot.sim.entry import Entry

__all__ = ["CATALOGUE", "Entry", "Fault", "Faults", "fault_of", "matches"]

ROWS_MAX = 100_000
TRIGGERS = ("at_s", "rate_per_s", "nth")
FOREVER = float("inf")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as a file or a POST names it. `fault["hang_s"]` is an extra of its id, with the catalogue's default."""

    id: str
    at_s: float | None = None
    rate_per_s: float | None = None
    nth: int | None = None
    duration_s: float | None = None
    match: str = ""  # patterns with *, separated by |; compared with the whole subject and with each of its words
    count: int | None = None  # an occurrence hits no more often
    kind: str = ""  # the variant, where the catalogue has several
    extras: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def entry(self) -> Entry:
        return CATALOGUE[self.id]

    def __getitem__(self, name: str) -> Any:
        return self.extras[name] if name in self.extras else self.entry.extras[name]

    @property
    def pattern(self) -> str:
        return self.match or self.entry.matches.get(self.kind, self.entry.match)

    @property
    def lasts_s(self) -> float:
        """How long an occurrence goes on; for ever when only its count of hits ends it."""
        chosen = self.duration_s if self.duration_s is not None else self.entry.duration_s
        return FOREVER if chosen is None else chosen

    @property
    def hits_max(self) -> float:
        if self.count is not None:
            return self.count
        return FOREVER if self.lasts_s < FOREVER else 1

    def table(self) -> dict[str, Any]:
        """Its table in a faults file, or the body of a POST."""
        keys = ("id", *TRIGGERS, "duration_s", "match", "count", "kind")
        return {key: value for key in keys if (value := getattr(self, key)) not in (None, "")} | self.extras

    def shown(self) -> dict[str, Any]:
        """Its keys as the log shows them."""
        row: dict[str, Any] = {"kind": self.kind} if self.kind else {}
        row |= {name: self[name] for name in self.entry.extras}
        if self.lasts_s < FOREVER:
            row["duration_s"] = self.lasts_s
        return row


def fault_of(raw: Any, where: str = "fault") -> Fault:
    """A fault from its table. Raises SettingsError naming the id or key that is wrong."""
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
        raise SettingsError(f'{where}: a fault is a table with an id, such as id = "W09"')
    fault_id = raw["id"]
    entry = CATALOGUE.get(fault_id)
    if entry is None:
        raise SettingsError(f"{where}: unknown fault {fault_id}; `bot sim --faults list` shows them all")
    if entry.how:
        raise SettingsError(f"{where}: {fault_id} cannot be caused by the venue: {entry.how}")
    keys: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for key, value in raw.items():
        wanted = f"{where}: {fault_id}: {key}"
        if key == "kind" and entry.kinds:
            if value not in entry.kinds:
                raise SettingsError(f"{wanted} is one of {', '.join(entry.kinds)}")
            keys[key] = value
        elif key in ("at_s", "rate_per_s", "duration_s"):
            keys[key] = _number(wanted, value)
        elif key in ("nth", "count"):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingsError(f"{wanted} is a whole number from 1")
            keys[key] = value
        elif key == "match":
            if not isinstance(value, str) or not value:
                raise SettingsError(f'{wanted} is a pattern such as "/order" or "DELETE"')
            keys[key] = value
        elif key in entry.extras:
            extras[key] = _extra(wanted, value, entry.extras[key])
        elif key != "id":
            raise SettingsError(f"{wanted}: unknown key; it takes {', '.join(entry.keys)}")
    if len(given := [key for key in TRIGGERS if key in keys]) > 1:
        raise SettingsError(f"{where}: {fault_id}: {' and '.join(given)} are two triggers at once: give one")
    if keys.get("rate_per_s") == 0:
        raise SettingsError(f"{where}: {fault_id}: rate_per_s must be above 0")
    for name in entry.required:
        if not extras.get(name):
            raise SettingsError(f"{where}: {fault_id} needs {name}")
    keys.setdefault("kind", entry.kinds[0] if entry.kinds else "")
    return Fault(id=fault_id, extras=extras, **keys)


def _number(wanted: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise SettingsError(f"{wanted} is a number of seconds (or per second) from 0")
    return float(value)


def _extra(wanted: str, value: Any, default: Any) -> Any:
    """An extra has the type of its default; whole numbers will do for a float."""
    kind = type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is not str and kind is not bool and not abs(value) < 1e12):
        names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
        raise SettingsError(f"{wanted} is {names[kind]}")
    return value


@cache
def _patterns(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("|"))


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject ("POST /order", "user trade") is meant by a pattern; an empty one means all."""
    if not pattern:
        return True
    words = (subject, *subject.split())
    return any(fnmatchcase(word, one) for one in _patterns(pattern) for word in words)


class Occurrence:
    """One time that a fault happens: from its start until it lasted long enough or hit often enough."""

    __slots__ = ("fault", "left", "row", "until_s")

    def __init__(self, fault: Fault, row: dict[str, Any], now_s: float) -> None:
        self.fault = fault
        self.row = row
        self.until_s = now_s + fault.lasts_s
        self.left = fault.hits_max

    def over(self, now_s: float) -> bool:
        return now_s >= self.until_s or self.left <= 0


class _Plan:
    """A fault that waits for its trigger."""

    __slots__ = ("due_s", "fault", "random", "seen")

    def __init__(self, fault: Fault, now_s: float, seed: str) -> None:
        self.fault = fault
        self.random = random.Random(seed)
        self.seen = 0
        self.due_s = FOREVER
        if fault.at_s is not None:
            self.due_s = now_s + fault.at_s
        elif fault.rate_per_s is not None:
            self.due_s = now_s + self.random.expovariate(fault.rate_per_s)

    def next(self) -> bool:
        """After it was due: whether it will be due again."""
        if self.fault.rate_per_s is None:
            return False
        self.due_s += self.random.expovariate(self.fault.rate_per_s)
        return True


class Faults:
    """All faults of one venue. Times are seconds since the venue was ready; the log's rows are in order of `seq`."""

    def __init__(self, seed: int = 0, faults: Iterable[Fault] = ()) -> None:
        self.rows: deque[dict[str, Any]] = deque(maxlen=ROWS_MAX)
        self.begun: Callable[[], None] = lambda: None  # told whenever an occurrence began
        self._seed = seed
        self._number = 0
        self._sequence = 0
        self._plans: list[_Plan] = []
        self._counting: list[_Plan] = []  # those with nth
        self._running: dict[str, list[Occurrence]] = {}
        self._acts: dict[str, Callable[[Fault], int]] = {}
        self._waiting: list[Occurrence] = []  # acts that found nothing to act on yet
        self._starts: dict[str, list[Callable[[Fault], None]]] = {}
        self._next_s = FOREVER
        for fault in faults:
            self._plan(fault, 0.0)

    # -- what the venue lends --------------------------------------------------------------------------------------

    def on(self, fault_id: str, act: Callable[[Fault], int]) -> None:
        """What to do when this fault begins; returns how much it hit, 0: nothing to hit yet, ask again at the next step."""
        assert CATALOGUE[fault_id].acts, f"{fault_id} is not a fault that acts"
        self._acts[fault_id] = act

    def on_start(self, fault_id: str, told: Callable[[Fault], None]) -> None:
        """Called when an occurrence of a fault begins, beside whatever asks `hit`."""
        self._starts.setdefault(fault_id, []).append(told)

    # -- in --------------------------------------------------------------------------------------------------------

    def inject(self, fault: Fault, now_s: float) -> dict[str, Any]:
        """Plan a fault, its times counted from now, or begin it when it has no trigger. Its row; seq 0 while it waits."""
        if fault.at_s is None and fault.rate_per_s is None and fault.nth is None:
            return self._begin(fault, now_s)
        self._plan(fault, now_s)
        trigger = {key: getattr(fault, key) for key in TRIGGERS if getattr(fault, key) is not None}
        return {"seq": 0, "id": fault.id, "count": 0, "waits": True, **trigger, **fault.shown()}

    def _plan(self, fault: Fault, now_s: float) -> None:
        self._number += 1
        plan = _Plan(fault, now_s, f"{self._seed}:{self._number}:{fault.id}")
        (self._counting if fault.nth is not None else self._plans).append(plan)
        self._next_s = min(self._next_s, plan.due_s)

    def stop(self) -> None:
        """End what goes on and forget what waits."""
        for waiting in (self._plans, self._counting, self._running, self._waiting):
            waiting.clear()
        self._next_s = FOREVER

    # -- time and hits ---------------------------------------------------------------------------------------------

    def advance(self, now_s: float) -> None:
        """Begin what fell due, act, and forget what is over. Call often; costs nothing while nothing is due."""
        while now_s >= self._next_s:
            for plan in [plan for plan in self._plans if now_s >= plan.due_s]:
                if not plan.next():
                    self._plans.remove(plan)
                if not self._pending(plan.fault):
                    self._begin(plan.fault, now_s)
            self._next_s = min((plan.due_s for plan in self._plans), default=FOREVER)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for occurrence in waiting:
                self._act(occurrence, now_s)

    def hit(self, fault_id: str, subject: str, now_s: float, kind: str = "") -> Fault | None:
        """The fault that befalls this call, frame or trade now, if any. Asking counts: ask once for each.

        With a kind only that variant is meant, for faults whose variants befall different things.
        """
        if self._counting:
            self._count(fault_id, subject, now_s, kind)
        running = self._running.get(fault_id)
        if not running:
            return None
        found = None
        for occurrence in list(running):
            if occurrence.over(now_s):
                running.remove(occurrence)
                if not running:
                    del self._running[fault_id]
            elif found is None and kind in ("", occurrence.fault.kind) and matches(occurrence.fault.pattern, subject):
                occurrence.left -= 1
                occurrence.row["count"] += 1
                found = occurrence.fault
        return found

    def called(self, subject: str, now_s: float) -> None:
        """A request came in: what acts on its n-th matching call counts it."""
        for plan in [plan for plan in self._counting if plan.fault.entry.acts]:
            self._seen(plan, subject, now_s)

    def running(self, fault_id: str, now_s: float) -> list[Fault]:
        """Faults of this id that go on now, without counting a hit."""
        return [one.fault for one in self._running.get(fault_id, ()) if not one.over(now_s)]

    @property
    def busy(self) -> bool:
        """Whether anything can hit at all: lets a hot path skip its questions."""
        return bool(self._counting or self._running)

    def concerns(self, fault_ids: frozenset[str]) -> bool:
        """The same for some of them."""
        if not fault_ids.isdisjoint(self._running):
            return True
        return any(plan.fault.id in fault_ids for plan in self._counting)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _pending(self, fault: Fault) -> bool:
        """One that comes again and again, and hits once, does not pile up while there is nothing to hit."""
        if fault.rate_per_s is None or fault.lasts_s < FOREVER:
            return False
        return any(one.fault is fault and one.left > 0 for one in self._running.get(fault.id, ()))

    def _count(self, fault_id: str, subject: str, now_s: float, kind: str) -> None:
        for plan in [plan for plan in self._counting if plan.fault.id == fault_id and kind in ("", plan.fault.kind)]:
            self._seen(plan, subject, now_s)

    def _seen(self, plan: _Plan, subject: str, now_s: float) -> None:
        if not matches(plan.fault.pattern, subject):
            return
        plan.seen += 1
        if plan.seen == plan.fault.nth:
            self._counting.remove(plan)
            self._begin(plan.fault, now_s)

    def _begin(self, fault: Fault, now_s: float) -> dict[str, Any]:
        self._sequence += 1
        row = {"seq": self._sequence, "id": fault.id, "at_s": round(now_s, 3), "count": 0, **fault.shown()}
        self.rows.append(row)
        occurrence = Occurrence(fault, row, now_s)
        for told in self._starts.get(fault.id, ()):
            told(fault)
        if fault.entry.acts:
            self._act(occurrence, now_s)
        else:
            self._running[fault.id] = [
                *(one for one in self._running.get(fault.id, ()) if not one.over(now_s)),
                occurrence,
            ]
        self.begun()
        return row

    def _act(self, occurrence: Occurrence, now_s: float) -> None:
        """One without a function of its own, such as those inside the bot, only has to be told."""
        act = self._acts.get(occurrence.fault.id)
        occurrence.row["count"] = act(occurrence.fault) if act is not None else 1
        if not occurrence.row["count"] and now_s < occurrence.row["at_s"] + occurrence.fault.entry.patience_s:
            self._waiting.append(occurrence)
