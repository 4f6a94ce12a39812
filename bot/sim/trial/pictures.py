"""The pictures of docs/strategy.md: `python -m bot.sim.trial.pictures NAME FILE`.

`fair` and `speed` show the model; `edge` and `size` a trial, whose report (`bot trial --json`) is read from standard input.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import orjson
import pygal

from bot.market import Rule
from bot.quoting.fair_value import Fair, State, fair_value
from bot.quoting.parameters import Parameters
from bot.quoting.volatility import YEAR_S
from bot.sim.trial.page import GENERATED, edge_chart, looks, size_chart

SIGMA = 0.5 / math.sqrt(YEAR_S)
AHEAD = 3e-4  # log distance of spot from the strike
WINDOW_S = 60.0
LEFT_S = [*range(300, 10, -2)]  # seconds to the end


def _fair(rule: Rule, ahead: float, tau: float) -> Fair:
    """With the price where it was since the averaging began."""
    state = State(rule=rule, log_spot=ahead, log_strike=0.0, sigma=SIGMA, tau=tau)
    return fair_value(msgspec.structs.replace(state, window_s=WINDOW_S if rule is Rule.TWAP else 0.0, log_mean=ahead))


def fair() -> pygal.graph.graph.Graph:
    chart = _over_time("Model: probability of Up, spot 3 bp above the strike, 50 % a year")
    chart.add("settled by a mean over 60 s", [(-left, _fair(Rule.TWAP, AHEAD, left).p) for left in LEFT_S])
    chart.add("priced as if by the last print", [(-left, _fair(Rule.CANDLE, AHEAD, left).p) for left in LEFT_S])
    return chart


def speed() -> pygal.graph.graph.Graph:
    chart = _over_time("Model: what p at the money moves in a second, cents (standard deviation)")
    chart.add("settled by a mean over 60 s", [(-left, 100 * _fair(Rule.TWAP, 0.0, left).sigma_p) for left in LEFT_S])
    chart.add("by the last print", [(-left, 100 * _fair(Rule.CANDLE, 0.0, left).sigma_p) for left in LEFT_S])
    chart.add("only reduces above (GAMMA)", [(-left, 100 * Parameters().sp_max) for left in LEFT_S])
    return chart


def _over_time(title: str) -> pygal.graph.graph.Graph:
    return pygal.XY(**looks(title), show_dots=False, x_title="seconds to the end, negative")


def edge() -> pygal.graph.graph.Graph:
    return edge_chart(orjson.loads(sys.stdin.read()), GENERATED)


def size() -> pygal.graph.graph.Graph:
    return size_chart(orjson.loads(sys.stdin.read()), GENERATED)


PICTURES: dict[str, Callable[[], pygal.graph.graph.Graph]] = {"fair": fair, "speed": speed, "edge": edge, "size": size}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(PICTURES[sys.argv[1]]().render(is_unicode=True))
