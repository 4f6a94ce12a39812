"""The calculator behind `bot fair`, against the tables of the specification."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.quoting.calculator import fair

ROOT_YEAR = math.sqrt(31_536_000)
KEYS = [
    *("spot", "s", "d", "p", "w_x", "sigma_p", "variance", "delta_as", "delta_lat", "delta_mod"),
    *("delta_tox_bid", "delta_tox_ask", "delta_reb", "half_spread_bid", "half_spread_ask", "skew", "reservation"),
    *("bid", "ask", "bid_size", "ask_size", "reasons"),
]
V2: dict[str, Any] = {"rule": "twap", "spot": 60030, "strike": 60000, "sigma": 6e-5, "tau": 200}
V7: dict[str, Any] = {**V2, "size": 50, "q_max": 250, "best_bid": 0.73, "best_ask": 0.76}


def close(value: float) -> Any:
    return pytest.approx(value, abs=6e-7)


@pytest.mark.parametrize(
    ("spot", "strike", "annual", "tau", "basis_sd", "ito", "d", "p"),
    [
        (60050, 60000, 0.50, 450, 0, 0, 0.441027, 0.670403),
        (60000, 60000, 0.50, 450, 0, 0, 0.000000, 0.500000),
        (59900, 60000, 0.80, 1800, 0, 0, -0.275987, 0.391279),
        (2500, 2502, 0.65, 120, 0, 0, -0.630690, 0.264122),
        (60050, 60000, 0.50, 450, 5e-5, 0, 0.440872, 0.670347),
        (60050, 60000, 0.50, 86400, 0, 1, 0.018743, 0.507477),
    ],
)
def test_candle_rows(
    spot: float, strike: float, annual: float, tau: float, basis_sd: float, ito: int, d: float, p: float
) -> None:
    row = fair(rule="candle", spot=spot, strike=strike, sigma=annual / ROOT_YEAR, tau=tau, basis_sd=basis_sd, ito=ito)
    assert (row["d"], row["p"]) == (close(d), close(p))


@pytest.mark.parametrize(
    ("spot", "tau", "mean", "basis_sd", "d", "p", "w_x"),
    [
        (60030, 200, None, 0, 0.658643, 0.744938, 1),
        (60030, 30, 60010, 0, 3.512910, 0.995, 0.5),
        (60010, 60, None, 0, 0.621078, 0.732726, 1),
        (59990, 15, 60004, 1e-5, 0.237948, 0.594039, 0.25),
    ],
)
def test_trailing_mean_rows(
    spot: float, tau: float, mean: float | None, basis_sd: float, d: float, p: float, w_x: float
) -> None:
    row = fair(rule="twap", spot=spot, strike=60000, sigma=6e-5, tau=tau, window_mean=mean, basis_sd=basis_sd)
    assert (row["d"], row["p"], row["w_x"]) == (close(d), close(p), w_x)


def test_half_spread_row() -> None:
    row = fair(**V7)
    assert list(row) == KEYS
    for key, value in (
        ("sigma_p", 0.025389),
        ("variance", 0.006446),
        ("delta_as", 0.011522),
        ("delta_lat", 0.004917),
        ("delta_mod", 0.010576),
        ("delta_reb", 0.001330),
        ("half_spread_bid", 0.025685),
    ):
        assert row[key] == close(value), key


@pytest.mark.parametrize(
    ("state", "sk", "r", "widths", "bid", "ask", "sizes"),
    [
        ({}, 0, 0.744938, (0.025685, 0.025685), 0.71, 0.78, (50, 50)),
        ({"inventory": 100}, 0.012892, 0.732045, (0.025685, 0.025685), 0.70, 0.76, (30, 50)),
        (
            {"inventory": -150, "quote_mode": "DEFENSIVE", "m5_ask": -0.006},
            -0.019338,
            0.764276,
            (0.046232, 0.057032),
            0.71,
            0.83,
            (25, 10),
        ),
        ({"inventory": 100, "to_stop": 60}, 0.082791, 0.662146, (0.025685, 0.025685), 0.63, 0.75, (30, 50)),
        ({"inventory": -60, "to_stop": 0}, -0.1, 0.844938, (0.025685, 0.025685), 0.74, 0.88, (50, 38)),
    ],
)
def test_quote_rows(
    state: dict[str, Any],
    sk: float,
    r: float,
    widths: tuple[float, float],
    bid: float,
    ask: float,
    sizes: tuple[float, float],
) -> None:
    row = fair(**{**V7, **state})
    assert (row["skew"], row["reservation"]) == (close(sk), close(r))
    assert (row["half_spread_bid"], row["half_spread_ask"]) == (close(widths[0]), close(widths[1]))
    assert (row["bid"], row["ask"], row["bid_size"], row["ask_size"]) == (bid, ask, *sizes)
    assert row["reasons"] == []


def test_a_basis_turns_a_reference_mid_into_source_units() -> None:
    row = fair(**{**V2, "spot": 60040, "basis": -3.002822e-4})
    assert row["spot"] == pytest.approx(60_021.973763, abs=1e-4)


def test_gamma_and_band_leave_only_the_side_that_reduces() -> None:
    near: dict[str, Any] = {
        "rule": "twap",
        "spot": 60000,
        "strike": 60000,
        "sigma": 6e-5,
        "tau": 30,
        "window_mean": 60000,
    }
    flat = fair(**near)
    assert flat["reasons"] == ["GAMMA"]
    assert (flat["bid"], flat["ask"], flat["bid_size"], flat["ask_size"]) == (None, None, None, None)
    long = fair(**near, inventory=30)
    assert long["bid"] is None
    assert long["ask"] is not None
    far = fair(**{**V2, "spot": 60500})
    assert far["p"] == 0.995
    assert "BAND" in far["reasons"]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"tau": 30}, "window mean"),
        ({"tau": 0}, "tau must be above 0"),
        ({"sigma": float("nan")}, "sigma must be above 0"),
        ({"rule": "coin"}, "twap or candle"),
        ({"tick_size": 0.02}, "tick size"),
        ({"best_bid": 73}, "best bid"),
        ({"quote_mode": "BOLD"}, "quote mode"),
        ({"size": 0}, "size and q-max"),
        ({"size": float("inf")}, "size must be a number"),
        ({"inventory": float("nan")}, "inventory must be a number"),
        ({"m5_bid": float("nan")}, "m5-bid must be a number"),
        ({"to_stop": float("-inf")}, "to-stop must be a number"),
        ({"sigma": 1e308}, "sigma must be above 0"),
        ({"basis": 1000}, "basis and basis-sd are logs"),
        ({"basis_sd": -1e-5}, "basis and basis-sd are logs"),
        ({"best_bid": 0.6, "best_ask": 0.6}, "must be below the best ask"),
    ],
)
def test_what_cannot_be_priced_is_refused_in_one_line(bad: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        fair(**{**V2, **bad})


NUMBERS = st.one_of(st.floats(), st.floats(-100, 100), st.sampled_from([0.0, 1e-9, 60_000.0]))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_asked_is_answered_with_numbers_or_refused(data: st.DataObject) -> None:
    names = ["spot", "strike", "sigma", "tau", "window", "window_mean", "basis", "basis_sd", "inventory", "size"]
    names += ["q_max", "to_stop", "m5_bid", "m5_ask", "best_bid", "best_ask"]
    changed = data.draw(st.dictionaries(st.sampled_from(names), NUMBERS, max_size=5))
    try:
        row = fair(**{**V2, **changed})
    except SettingsError:
        return
    assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))
    assert 0 < row["p"] < 1
    assert row["bid"] is None or row["ask"] is None or row["bid"] < row["ask"]
