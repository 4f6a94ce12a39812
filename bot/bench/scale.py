"""What further series cost: latency, processor time and memory of one bot by the number of series it trades.

`python -m bot.bench.scale [--picture FILE.svg]` prints one JSON line. The venue runs on the same machine, and its own work
grows with the series as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson
import pygal

from bot.bench.figures import Figures, conditions
from bot.bench.tick import ECHO, Steps

SERIES = tuple(
    f"{asset}-updown-{length}" for length in ("5m", "15m", "1h", "4h") for asset in ("btc", "eth", "sol", "xrp")
)
COUNTS = (1, 2, 4, 8, 16)
SECONDS = 10


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="draw the curves into this SVG file")
    options = parser.parse_args(arguments)
    rows = [measured(count) for count in COUNTS]
    if options.picture is not None:
        options.picture.write_bytes(picture(rows))
    sys.stdout.write(orjson.dumps({"conditions": conditions(), "rows": rows}).decode() + "\n")


def measured(count: int) -> Figures:
    with Steps(ECHO, SERIES[:count]) as steps:
        before = steps.status()
        steps.run(SECONDS, take=False, beside=("echo",))
        steps.end_round("steps")
        steps.tap.run(1.0)
        after = steps.status()
        echo = steps.peers["echo"].round()
        latency = steps.figures("steps")
    passed_s = after["uptime_s"] - before["uptime_s"]
    return {
        "series": count,
        "n": latency["n"],
        "tick_to_cancel_p50": latency["p50"],
        "tick_to_cancel_p99": latency["p99"],
        "echo_p50": echo["p50"],
        "cpu_share": round((after["process"]["cpu_s"] - before["process"]["cpu_s"]) / passed_s, 3),
        "rss_mb": after["process"]["rss_mb"],
        "threads": after["process"]["threads"],
    }


def picture(rows: list[Figures]) -> bytes:
    """Curves over the number of series, each as a multiple of its value with one."""
    chart = pygal.XY(
        width=760, height=420, title="One process by its number of series, as multiples of one series",
        x_title="series", truncate_legend=-1, legend_at_bottom=True, js=[], style=pygal.style.CleanStyle,
    )  # fmt: skip
    for name, label in (
        ("tick_to_cancel_p50", "tick to cancel p50"),
        ("cpu_share", "processor time"),
        ("rss_mb", "memory"),
    ):
        chart.add(label, [(row["series"], row[name] / rows[0][name]) for row in rows if rows[0][name]])
    drawn: bytes = chart.render()
    return drawn


if __name__ == "__main__":
    main()
