"""One row of the catalogue of faults: what it is, what the wire shows, and which words a faults file may use for it."""

from __future__ import annotations

from typing import Any

import msgspec

COMMON = ("id", "at_s", "rate_per_s", "nth", "duration_s", "count")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A fault. One that `acts` is done by the venue when it begins; any other befalls a matching call, frame or trade."""

    title: str
    wire: str  # what a client sees
    where: str  # "rest", "stream", "socket", "market", "bot", or "host": beyond what a venue reaches
    how: str = ""  # why the venue cannot cause it, and what does; empty: it can
    note: str = ""  # on triggering it
    acts: bool = False
    match: str = ""  # what it befalls unless the file says otherwise; one that acts counts calls when it has an nth
    matches: dict[str, str] = {}  # the same by kind, where variants befall different calls
    duration_s: float | None = None  # how long it lasts by itself; None: it hits once
    kinds: tuple[str, ...] = ()  # variants, the first by default
    extras: dict[str, Any] = {}  # further keys with their defaults, whose types they keep
    required: tuple[str, ...] = ()
    patience_s: float = 30.0  # how long one that acts looks for something to act on

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of its table in a faults file."""
        return (*COMMON, "match", *(("kind",) if self.kinds else ()), *self.extras)

    @property
    def trigger(self) -> str:
        """How to cause it, for people."""
        if self.how:
            return self.how
        words = ["`kind` " + ", ".join(self.kinds)] if self.kinds else []
        words += [f"`{name}` ({_shown(value)})" for name, value in self.extras.items()]
        if self.match:
            words.append(f"`match` ({self.match.replace('|', ' or ')})")
        if self.duration_s is not None:
            words.append(f"`duration_s` ({self.duration_s:g})")
        return ". ".join(text for text in ("; ".join(words), self.note) if text)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
