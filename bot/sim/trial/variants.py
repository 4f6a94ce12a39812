"""Who may take part in a trial, by name: ours, the baselines, and ours without one thing.

An ablation has a name of its own, or says what is changed: "c_lat=0" or "rho=1,H_beta=15".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bot.errors import SettingsError
from bot.quoting.parameters import Parameters
from bot.quoting.strategy import Strategy
from bot.sim.trial.baselines import Book, Fair, Naive, Nothing, Touch, WithoutToxicity
from bot.sim.trial.virtual_bot import Make

OURS = "ours"
BASELINES: dict[str, Make] = {"nothing": Nothing, "touch": Touch, "fair2c": Fair, "blend": Book, "naive": Naive}

# What the model is like without a term or guard; values outside of the settings' ranges are meant.
ABLATIONS: dict[str, dict[str, float]] = {
    "skew": {"sk_max": 0.0},
    "delta_as": {"kappa": 1e9},
    "delta_lat": {"c_lat": 0.0},
    "delta_mod": {"c_mod": 0.0},
    "delta_tox": {"c_tox": 0.0},
    "delta_reb": {"eta_reb": 0.0},
    "size_by_fills": {"c_size": 0.0},
    "book_blend": {"rho": 0.0},
    "hold": {"hold_min": 1.0},
    "shock": {"k": 1e9},
    "divergence": {"div_soft": 9.0, "div_hard": 9.0},
    "gamma": {"sp_max": 9.0},
    "band": {"p_lo": 0.0, "p_hi": 1.0},
    "bipower": {"omega": 1.0},
}
GUARD_BAND = "guard_band"
TOXICITY = "toxicity"


class Variant(msgspec.Struct, frozen=True):
    make: Make
    parameters: Parameters
    guarded: bool = True


def variant(name: str, parameters: Parameters) -> Variant:
    """Raises SettingsError for a name that means nothing."""
    if name == OURS:
        return Variant(Strategy, parameters)
    if name in BASELINES:
        return Variant(BASELINES[name], parameters)
    if name == GUARD_BAND:
        return Variant(Strategy, parameters, guarded=False)
    if name == TOXICITY:
        return Variant(WithoutToxicity, parameters)
    return Variant(Strategy, msgspec.structs.replace(parameters, **_changes(name)))


def _changes(name: str) -> Mapping[str, float]:
    if name in ABLATIONS:
        return ABLATIONS[name]
    changes = {}
    for part in name.split(","):
        key, equals, value = part.partition("=")
        try:
            changes[key] = float(value)
        except ValueError:
            equals = ""
        if not equals or key not in Parameters.__struct_fields__:
            known = ", ".join(sorted([*ABLATIONS, GUARD_BAND, TOXICITY]))
            raise SettingsError(f"unknown ablation {name!r}: want one of {known}, or a parameter as in c_lat=0")
    return changes
