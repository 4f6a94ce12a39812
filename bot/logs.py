"""Logging: loguru in front, one thread behind that samples, redacts and writes JSON lines. A full queue loses lines, never events."""

from __future__ import annotations

import collections
import contextlib
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson
from loguru import logger

QUEUE_MAX = 20_000
SAME_LINE_PER_S = 20  # lines of one place in the code and one level; the rest of that second is counted
HIDDEN = "[redacted]"


class LogWriter:
    """Takes records on any thread at the price of one append; formats and writes them on its own."""

    def __init__(self, path: Path, secrets: tuple[str, ...], *, echo: bool = False) -> None:
        """`echo`: the lines go to standard error too, for a person who debugs."""
        self._file = path.open("ab", buffering=0)  # nothing that a full disk refused is kept to be tried again
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 6)
        self._queue: collections.deque[dict[str, Any]] = collections.deque(maxlen=QUEUE_MAX)
        self._wake = threading.Event()
        self._echo = echo
        self._closed = False
        self._second = 0
        self._seen: collections.Counter[tuple[str, int, str]] = collections.Counter()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def __call__(self, message: Any) -> None:
        self._queue.append(message.record)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            closed = self._closed  # asked first: what is said while this drains has its turn
            self._drain()
            if closed:
                self._file.close()
                return
            time.sleep(0.05)  # one write for what comes together

    def _drain(self) -> None:
        lines = []
        while self._queue:
            record = self._queue.popleft()
            try:
                line = self._line(record)
            except (TypeError, ValueError) as error:  # text that is no Unicode, a number that is no JSON
                line = orjson.dumps({"level": "error", "message": f"a log line cannot be written: {error}"}) + b"\n"
            if line is not None:
                lines.append(line)
        if lines:
            with contextlib.suppress(OSError):  # a full disk loses lines, and later ones may fit again
                self._file.write(b"".join(lines))
            if self._echo:
                with contextlib.suppress(OSError):  # a terminal that stands still holds up this thread only
                    sys.stderr.write(b"".join(lines).decode())

    def _line(self, record: dict[str, Any]) -> bytes | None:
        second = int(record["time"].timestamp())
        if second != self._second:
            self._second = second
            self._seen.clear()
        place = (record["name"] or "", record["line"], record["level"].name)
        self._seen[place] += 1
        if self._seen[place] > SAME_LINE_PER_S:
            return None
        shown: dict[str, Any] = {
            "time": record["time"].isoformat(timespec="milliseconds"),
            "level": record["level"].name.lower(),
            "where": record["name"],
            "thread": record["thread"].name,
            "message": record["message"],
            **record["extra"],
        }
        if self._seen[place] == SAME_LINE_PER_S:
            shown["sampled"] = "more of these in this second are left out"
        if (exception := record["exception"]) is not None:
            shown["exception"] = f"{exception.type.__name__}: {exception.value}"
            shown["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in _frames(exception.traceback)]
        return self.redacted(orjson.dumps(shown, default=str).decode()).encode() + b"\n"

    def redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def _frames(trace: Any) -> list[Any]:
    import traceback

    return list(traceback.extract_tb(trace))


class _FromStandardLogging(logging.Handler):
    """Libraries (pykka, websocket-client) log the standard way; their lines join ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.opt(exception=record.exc_info, depth=6).log(record.levelname, record.getMessage())


def start(path: Path, secrets: tuple[str, ...], *, debug: bool = False) -> LogWriter:
    """Send everything to the file, and with debug on to standard error as well."""
    writer = LogWriter(path, secrets, echo=debug)
    logger.remove()
    logger.add(writer, format="{message}", level="DEBUG" if debug else "INFO", backtrace=False, diagnose=False)
    logging.basicConfig(handlers=[_FromStandardLogging()], level=logging.WARNING, force=True)
    return writer
