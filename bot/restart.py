"""How a run begins: where the wallet's journal ended, or anew; and what another program needs to repeat it.

The clock of a wallet's executor goes on over its runs: each takes it up where the last one left it, because the state
that it takes up is full of its stamps.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from loguru import logger

import bot.execution
from bot import market, messages, units
from bot.errors import OtherBuild
from bot.execution.executor import Executor
from bot.execution.snapshot import snapshot
from bot.history.journal import last_segment, read
from bot.history.records import Run
from bot.history.replay import Rerun, begin, recover
from bot.messages import Restarted
from bot.ports import Clock
from bot.units import Ns
from bot.venues.signing import OrderIds

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SALT_MAX = 2**50  # still a safe integer in JSON
SALT_GAP = 1 << 20  # more than the last second before a power loss can have used and not recorded


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run starts with. `first` is what the executor must hear first: that its state is an earlier run's."""

    run: Run
    executor: Executor
    clock: Clock
    first: Restarted | None


def executor_of(run: Run, **day: Any) -> Executor:
    """A fresh executor as this run's was made; for a rerun too, which has no key."""
    assert run.wallet is not None, "a run's header names its wallet"
    wallet = run.wallet
    ids = OrderIds(
        address=wallet.signer, chain_id=wallet.chain_id, funder=wallet.funder, signature_type=wallet.signature_type
    )
    return Executor(
        limits=run.limits,
        order_id_of=ids.order_id_of,
        salt_base=run.salt_base,
        timers=run.timers,
        rates=run.rates,
        clean_start=run.clean_start,
        **day,
    )


def begin_run(journal: Path, run: Run, **day: Any) -> Beginning:
    """`run` lacks what is decided here: its salts, its boot, and whether it continues. `day` is the day's result so far,
    for a run that begins anew. Raises JournalError for a damaged journal."""
    last = _recovered(journal)
    salt = time.time_ns() // 1000 % SALT_MAX
    boot = boot_id()
    run = msgspec.structs.replace(
        run,
        salt_base=salt if last is None else max(salt, last.executor.last_salt + SALT_GAP),
        started_utc_ns=time.time_ns(),
        build=build_id(),
        boot=boot,
        ahead_ns=ahead_of(last, boot) if last is not None else 0,
        continues=last is not None,
    )
    if last is None:
        return Beginning(run, executor_of(run, **day), clock_of(run), None)
    executor = begin(executor_of, run, snapshot(last.executor))
    return Beginning(run, executor, clock_of(run), Restarted(power_lost=last.run.boot != boot))


def _recovered(journal: Path) -> Rerun | None:
    began_s = time.monotonic()
    try:
        last = recover(read(last_segment(journal)), executor_of)
    except OtherBuild as error:
        logger.warning("the last run's state is not taken up, only what the venue tells: {}", error)
        return None
    if last is not None:
        took_s = time.monotonic() - began_s
        logger.info("journal read in {:.1f} s: {} records since its last snapshot", took_s, last.records)
    return last


def ahead_of(last: Rerun, boot: str) -> Ns:
    """What to add to this boot's monotonic clock, so that time goes on from the last record. After another boot wall
    time tells how long nobody looked."""
    now_ns = time.monotonic_ns()
    if last.run.boot == boot and now_ns + last.run.ahead_ns >= last.now_ns:
        return last.run.ahead_ns
    stopped_ns = max(0, time.time_ns() - last.executor.utc_ns()) if last.executor.utc_ns() else 0
    return last.now_ns + stopped_ns - now_ns


def clock_of(run: Run) -> Clock:
    ahead_ns = run.ahead_ns
    return (lambda: time.monotonic_ns() + ahead_ns) if ahead_ns else time.monotonic_ns


def boot_id() -> str:
    """Empty where the system tells none; then no two boots are held for one."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def build_id() -> str:
    """A digest of the sources that decide what an executor answers."""
    files = [Path(module.__file__) for module in (messages, market, units) if module.__file__]
    files += sorted(Path(bot.execution.__path__[0]).glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
