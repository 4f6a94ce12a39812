"""Records a second that are led through an executor again and compared, and how long a start waits for a journal.

`python -m bot.bench.replay --records 999000` writes the journal of a busy day for the wallet of an embedded venue, reruns
all of it, starts a bot on it and prints one JSON line: `ready_s` is from the command to quoting, and depends on
`records_since_snapshot` rather than on all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from bot.bench.day import WALLET, journal_of_a_day
from bot.bench.figures import ROUNDS, Figures, conditions, medians
from bot.embedded import EmbeddedVenue
from bot.history.journal import read, segments
from bot.history.records import Record, Wallet
from bot.history.replay import Rerun
from bot.restart import executor_of
from bot.state import read_json

RECORDS = 60_000
READY_S_MAX = 60.0


def run() -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        journal_of_a_day(Path(folder), RECORDS)
        rounds = [rerun(Path(folder)) for _ in range(ROUNDS)]
    return {"unit": "records/s", **medians(rounds)}


def rerun(journal: Path) -> Figures:
    """All of it, compared."""
    began_s, used_s = time.perf_counter(), time.process_time()
    again = Rerun(executor_of)
    for item in read(segments(journal)):
        difference = again.take(item)
        assert difference is None, f"record {difference.seq} is not repeated: {difference.text}"
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - used_s
    return {"n": again.records, "per_s": again.records / took_s, "cpu_us": used_s / again.records * 1e6}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=999_000)  # nearly a whole segment since the last snapshot
    records = parser.parse_args(arguments).records
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venue = EmbeddedVenue(["--seed", "1"], folder / "venue.log")
        try:
            info = venue.info()
            address = info["address"]
            wallet = Wallet(chain_id=WALLET.chain_id, funder=address, signer=address, signature_type=0)
            journal = folder / "clobmaker" / f"sim-{info['venue_id']}" / "journal"
            journal_of_a_day(journal, records, wallet)
            last = sum(isinstance(item, Record) for item in read(segments(journal)[-1:]))
            figures = {**rerun(journal), "segments": len(segments(journal)), "records_since_snapshot": last}
            figures["ready_s"] = ready_s(folder, info["url"])
        finally:
            venue.stop()
    sys.stdout.write(orjson.dumps({**figures, "conditions": conditions()}).decode() + "\n")


def ready_s(state_home: Path, venue_url: str) -> float:
    """Seconds from `bot start` to quoting."""
    run_dir = state_home / "run"
    command = [
        sys.executable,
        "-m",
        "bot.cli",
        "start",
        "--venue",
        venue_url,
        "--run-dir",
        str(run_dir),
        "--ui",
        "none",
    ]
    began_s = time.monotonic()
    environment = {**os.environ, "XDG_STATE_HOME": str(state_home)}
    bot = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() < began_s + READY_S_MAX and bot.poll() is None:
            if read_json(run_dir / "status.json").get("state") == "quoting":
                return round(time.monotonic() - began_s, 2)
            time.sleep(0.02)
    finally:
        bot.terminate()
        bot.wait()
    raise SystemExit("the bot did not come to quote")


if __name__ == "__main__":
    main()
