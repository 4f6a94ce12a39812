"""Parameters of the model (strategy.md section 13): defaults, and the ranges that settings are checked against.

Names are those of the specification with Greek spelt out. Knows no file format; limits of money and inventory are
filled in by the settings layer from its own section.
"""

from __future__ import annotations

import msgspec


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All numbers the model may be tuned by; units in RANGES. `order_size` is Q of the specification."""

    hz: float = 20
    max_hz: float = 200
    ttl: float = 500
    min_rest: float = 500
    H_f: float = 30
    H_b: float = 600
    omega: float = 0.5
    psi: float = 1.0
    sigma_floor: float = 2.671087e-5
    sigma_cap: float = 5.342173e-4
    H_basis: float = 60
    basis_max: float = 0.003
    settle_lag_s: float = 3
    w_perp: float = 0.0
    rho: float = 1.0
    H_beta: float = 2
    mp_max_spread: float = 0.06
    hold_min: float = 0.010
    hold_slack: float = 0.065
    gamma: float = 0.02
    kappa: float = 120
    h: float = 10
    c_lat: float = 0.5
    L: float = 0.15
    c_leeway: float = 1.75
    c_mod: float = 0.5
    eps_sigma: float = 0.10
    c_tox: float = 1.0
    c_size: float = 1.0
    eta_reb: float = 0.5
    delta_min: float = 0.01
    delta_max: float = 0.10
    sk_max: float = 0.10
    sp_max: float = 0.06
    p_lo: float = 0.015
    p_hi: float = 0.985
    improve: float = 0.01
    order_size: float = 20
    q_max: float = 60
    merge_min: float = 40
    loss_max_mkt: float = 40
    capital_max: float = 1000
    k: float = 10
    theta_p: float = 0.01
    t_pull: float = 500
    cool_def: float = 1500
    div_soft: float = 0.08
    div_hard: float = 0.15
    open_wait: float = 2


_ABOVE_0 = 1e-6
_NO_END = 1e12

RANGES: dict[str, tuple[float, float, str]] = {
    "hz": (5, 50, "Hz"),
    "max_hz": (50, 1000, "Hz"),
    "ttl": (200, 2000, "ms"),
    "min_rest": (100, 2000, "ms"),
    "H_f": (10, 120, "s"),
    "H_b": (120, 3600, "s"),
    "omega": (0, 1, ""),
    "psi": (0.8, 1.5, ""),
    "sigma_floor": (1e-5, 2e-3, "1/sqrt(s)"),
    "sigma_cap": (1e-5, 2e-3, "1/sqrt(s)"),
    "H_basis": (20, 600, "updates"),
    "basis_max": (0.0005, 0.01, "log"),
    "settle_lag_s": (0, 5, "s"),
    "w_perp": (0, 1, ""),
    "rho": (0, 1, ""),
    "H_beta": (0.5, 120, "s"),
    "mp_max_spread": (0.01, 0.2, "prob"),
    "hold_min": (0, 0.03, "prob"),
    "hold_slack": (0, 0.1, "prob"),
    "gamma": (0.001, 0.2, "1/USD"),
    "kappa": (30, 400, "1/prob"),
    "h": (2, 60, "s"),
    "c_lat": (0, 2, ""),
    "L": (0.02, 1, "s"),
    "c_leeway": (0, 4, ""),
    "c_mod": (0, 2, ""),
    "eps_sigma": (0, 0.5, ""),
    "c_tox": (0, 3, ""),
    "c_size": (0, 2, ""),
    "eta_reb": (0, 1, ""),
    "delta_min": (0.002, 0.05, "prob"),
    "delta_max": (0.03, 0.2, "prob"),
    "sk_max": (0.01, 0.1, "prob"),
    "sp_max": (0.02, 0.15, "prob/sqrt(s)"),
    "p_lo": (0.01, 0.2, "prob"),
    "p_hi": (0.8, 0.99, "prob"),
    "improve": (0, 0.03, "prob"),
    "order_size": (5, 1000, "shares"),
    "q_max": (20, 5000, "shares"),
    "merge_min": (20, 1000, "shares"),
    "loss_max_mkt": (_ABOVE_0, _NO_END, "USD"),
    "capital_max": (_ABOVE_0, _NO_END, "USD"),
    "k": (3, 10, ""),
    "theta_p": (0.003, 0.05, "prob"),
    "t_pull": (100, 2000, "ms"),
    "cool_def": (500, 10000, "ms"),
    "div_soft": (0.03, 0.2, "prob"),
    "div_hard": (0.08, 0.4, "prob"),
    "open_wait": (0, 10, "s"),
}

ORDERED = (("delta_min", "delta_max"), ("p_lo", "p_hi"), ("sigma_floor", "sigma_cap"), ("div_soft", "div_hard"))


def problems(parameters: Parameters) -> list[str]:
    """One clear line for each value out of its range and each pair in the wrong order; empty when all is well."""
    found = []
    for name, (low, high, unit) in RANGES.items():
        value = getattr(parameters, name)
        if not low <= value <= high:
            shown = "above 0" if high == _NO_END else f"from {low:g} to {high:g}"
            found.append(f"{name} = {value:g} must be {shown}{' ' + unit if unit else ''}")
    for lower, upper in ORDERED:
        if getattr(parameters, lower) >= getattr(parameters, upper):
            found.append(f"{lower} must be below {upper}")
    return found
