"""The venue under load: does it send what it was told to several subscribers, and does REST still answer?

`python -m bot.bench.load --seconds 20 --subscribers 3 --frames-per-s 10000` prints one JSON line. Venue and subscribers
are processes of their own; this one asks over REST, at a steady pace, first at rest and then under load.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bot.access import Access, from_info
from bot.bench.listener import open_tokens
from bot.embedded import EmbeddedVenue
from bot.messages import CancelOrder, ExecType, ExecutionReport, NewOrder, Side
from bot.units import NS_PER_S
from bot.venues.clob_http import Connection

WARM_S = 2.0  # the first order waits for the venue's checks to be loaded
IDLE_S = 3.0
PAUSE_S = 0.01  # between two requests
PX, SHARES = 100, 5


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--subscribers", type=int, default=3)
    parser.add_argument("--frames-per-s", type=float, default=10_000.0)
    parser.add_argument("--check-every", type=int, default=100, help="check the hash of every n-th change; 0: of none")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    report = measure(
        options.seconds, options.subscribers, options.frames_per_s, check_every=options.check_every, seed=options.seed
    )
    sys.stdout.write(orjson.dumps(report).decode() + "\n")


def measure(seconds: float, subscribers: int, frames_per_s: float, *, check_every: int, seed: int) -> dict[str, Any]:
    """One run; whatever it started has ended when it returns."""
    with tempfile.TemporaryDirectory() as folder:
        venue = EmbeddedVenue(["--seed", str(seed)], Path(folder) / "venue.log")
        try:
            return _measured(venue.info(), seconds, subscribers, frames_per_s, check_every)
        finally:
            venue.stop()


def _measured(
    info: dict[str, Any], seconds: float, subscribers: int, frames_per_s: float, check_every: int
) -> dict[str, Any]:
    prober = Prober(from_info(info), info)
    listener = subprocess.Popen(
        [sys.executable, "-m", "bot.bench.listener", info["url"], str(subscribers), str(check_every)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert listener.stdout is not None
        assert listener.stdin is not None
        if listener.stdout.readline() != b"ready\n":
            raise RuntimeError("the subscribers did not start")
        prober.run(WARM_S)
        at_rest, rest_cpu, _ = _watched(info["pid"], lambda: prober.run(min(IDLE_S, seconds)))
        control = Connection(info["url"])
        load = orjson.dumps({"frames_per_s": frames_per_s})
        control.request("POST", "/control/load", body=load)
        listener.stdin.write(b"begin\n")
        listener.stdin.flush()
        before_mb = _rss_mb(info["pid"])
        under_load, load_cpu, busy = _watched(info["pid"], lambda: prober.run(seconds))
        sent = orjson.loads(control.request("GET", "/control/load").body)
        after_mb = _rss_mb(info["pid"])
        listener.stdin.write(b"check\n")
        listener.stdin.flush()
        control.request("POST", "/control/load", body=b'{"frames_per_s":0}')
        books = [
            orjson.loads(control.request("GET", f"/book?token_id={t}").body) for t in open_tokens(info["gamma_url"])
        ]
        said, _ = listener.communicate(timeout=60.0)
    except BaseException:
        listener.kill()
        listener.wait()
        raise
    heard = orjson.loads(said)
    verified = heard.pop("verified", {})
    return {
        "seconds": seconds,
        "frames_per_s": frames_per_s,
        "conditions": {
            "cores": os.cpu_count(),
            "cores_busy": busy,
            "load_average_1m": round(os.getloadavg()[0], 2),
            "python": platform.python_version(),
        },
        "sent": sent,
        **heard,
        # A hash covers the whole book, so one that a client found right is the book that it has.
        "books_true": sum(book["hash"] in verified.get(book["asset_id"], ()) for book in books if "hash" in book),
        "books_asked": sum("hash" in book for book in books),
        "rest_at_rest_ms": at_rest,
        "rest_under_load_ms": under_load,
        # Of one core. Checking the prober's signatures is in both.
        "venue_cpu_at_rest": rest_cpu,
        "venue_cpu_under_load": load_cpu,
        "venue_rss_mb": {"before": before_mb, "after": after_mb},
    }


def _watched(pid: int, run: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], float, float]:
    """What a run found, the processor time of a process meanwhile, and that of everything on the machine: in cores."""
    used_s, busy_s, begun_s = _cpu_s(pid), _busy_s(), time.monotonic()
    found = run()
    took_s = time.monotonic() - begun_s
    return found, round((_cpu_s(pid) - used_s) / took_s, 3), round((_busy_s() - busy_s) / took_s, 2)


def _cpu_s(pid: int) -> float:
    """Processor time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    """Memory a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _busy_s() -> float:
    """Processor time all cores together have not idled so far."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


class Prober:
    """Four requests in turn, one at a time: time, a book, an order that rests far from the touch, its cancel."""

    def __init__(self, access: Access, info: dict[str, Any]) -> None:
        self._access = access
        self._gamma_url = info["gamma_url"]
        self._api = access.api()
        self._http = Connection(info["rest_url"])
        self._count = 0
        self._token = ""
        self._looked_s = 0.0

    def run(self, seconds: float) -> dict[str, Any]:
        """Milliseconds by call, and of all together."""
        took: dict[str, list[float]] = {}
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if time.monotonic() - self._looked_s > 10.0:
                self._looked_s = time.monotonic()
                self._token = self._last_to_end()
            order = self.order()
            for name, call in (
                ("GET /time", lambda: self._get("/time")),
                ("GET /book", lambda: self._get(f"/book?token_id={self._token}")),
                ("POST /order", lambda order=order: self._post(order)),
                ("DELETE /order", lambda order=order: self._cancel(order)),
            ):
                took.setdefault(name, []).append(_timed(call))
                time.sleep(PAUSE_S)
        took["all"] = [value for values in took.values() for value in values]
        return {name: _figures(values) for name, values in took.items()}

    def _last_to_end(self) -> str:
        """A token of the last window that has a book; metadata may lie about the last of all."""
        for token in reversed(open_tokens(self._gamma_url)):
            if self._http.request("GET", f"/book?token_id={token}").status == 200:
                return token
        raise LookupError("no market is open")

    def _get(self, path: str) -> None:
        reply = self._http.request("GET", path)
        assert reply.status == 200, reply.body

    def _post(self, order: NewOrder) -> None:
        self._accepted(self._api.post_orders([order]), ExecType.NEW)

    def _cancel(self, order: NewOrder) -> None:
        cancel = CancelOrder(cl_ord_id=order.cl_ord_id, order_id=order.order_id, symbol=order.symbol)
        self._accepted(self._api.cancel_orders([cancel]), ExecType.CANCELED)

    def _accepted(self, told: list[Any], kind: ExecType) -> None:
        assert isinstance(told[0], ExecutionReport), told
        assert told[0].exec_type is kind, told

    def order(self) -> NewOrder:
        """One that rests far from the touch."""
        self._token = self._token or self._last_to_end()
        self._count += 1
        now_ns = time.monotonic_ns()
        order = NewOrder(
            cl_ord_id=f"probe-{self._count}",
            order_id="",
            symbol="probe",
            asset_id=self._token,
            side=Side.BUY,
            px=PX,
            order_qty=SHARES * 1_000_000,
            maker_amount=PX * SHARES * 100,
            taker_amount=SHARES * 1_000_000,
            salt=self._count,
            timestamp_ms=time.time_ns() // 1_000_000,
            version=2,
            neg_risk=False,
            tick=100,
            epoch=0,
            valid_until_ns=now_ns + 10 * NS_PER_S,
            made_ns=now_ns,
        )
        return msgspec.structs.replace(order, order_id=self._access.signer.order_id_of(order))


def _timed(call: Callable[[], None]) -> float:
    begun_ns = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begun_ns) / 1e6


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {
        name: ordered[min(int(len(ordered) * share), len(ordered) - 1)] for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {"n": len(ordered), **{name: round(value, 2) for name, value in at.items()}, "max": round(ordered[-1], 2)}


if __name__ == "__main__":
    main()
