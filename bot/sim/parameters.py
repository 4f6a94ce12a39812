"""Parameters of a generated world; the defaults are the world `tight`. Fractions of a USD, seconds and milliseconds as named."""

from __future__ import annotations

import msgspec


class WorldParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One world. Prices of the reference, then the listings, then the other participants."""

    # Log price: volatility per square-root second, its log an OU process; jumps excite each other.
    sigma: float = 8.9e-5
    sigma_sd: float = 0.30
    sigma_reversion_s: float = 120.0
    jump_every_s: float = 45.0
    jump_sd: float = 4.5e-4
    jump_branching: float = 0.3
    jump_decay_s: float = 5.0
    # Reference feed.
    quotes_per_s: float = 20.0
    quotes_per_s_max: float = 100.0
    quotes_per_s_burst: float = 300.0
    burst_s: float = 0.3
    trades_per_s: float = 4.0
    # Settlement source: reference times e^basis, its trailing mean read twap_lag_ms late, told source_delay_ms later.
    basis_mean: float = -2e-4
    basis_sd: float = 5e-5
    basis_reversion_s: float = 300.0
    twap_lag_ms: int = 1_000
    source_delay_ms: int = 1_500
    source_delay_1m_ms: int = 300
    # Listings.
    listed_ahead: int = 2
    taker_delay_ms: int = 150
    fee_rate: float = 0.07
    rebate_rate: float = 0.2
    tick_changes: bool = True
    resolve_delay_ms: int = 2_000
    # Competing makers: each sees true p after its own delay, spread evenly in log time between the two.
    makers: int = 4
    maker_delay_ms_min: float = 20.0
    maker_delay_ms_max: float = 400.0
    maker_half_spread: float = 0.0025  # before rounding outward to the grid, which adds half a tick on average
    maker_late_widening: float = 1.6  # of the half-spread in the last maker_late_s
    maker_late_s: float = 60.0
    maker_levels: int = 6
    maker_touch_size: float = 100.0  # shares a maker shows at its best level, median
    maker_deep_size: float = 42.0  # and at each level behind
    maker_size_sd: float = 1.0  # of the log of a size
    maker_shy_move: float = 0.010  # p moved this far between two looks: cancel now, place again later
    maker_shy_move_1m: float = 0.03  # in 1m series, where such moves are the rule
    maker_shy_ms: tuple[int, int] = (150, 900)
    maker_leaves_ms: int = 2_000  # before the end
    depth_1m: float = 0.12  # of every maker size, in 1m series
    # Takers who know: hazard while true p, seen late, beats a quote by the fee and a margin.
    informed_fast_per_s: float = 20.0
    informed_fast_delay_ms: tuple[float, float] = (20.0, 60.0)
    informed_fast_margin: float = 0.002
    informed_slow_per_s: float = 6.0
    informed_slow_delay_ms: tuple[float, float] = (100.0, 400.0)
    informed_slow_margin: float = 0.004
    informed_size: float = 60.0
    # Takers who do not: a few of them sweep several levels.
    noise_per_s: float = 1.0
    noise_size: float = 20.0
    noise_tolerance_ticks: int = 1
    noise_persistence: float = 0.2
    noise_persistence_s: float = 10.0
    noise_sells: float = 0.3  # share of noise orders that sell the token they hold
    sweep_share: float = 0.1
    sweep_share_1m: float = 0.35  # so that whoever tries things out for a minute or two sees fills on both sides
    sweep_factor: tuple[float, float] = (10.0, 40.0)
    sweep_tolerance_ticks: int = 6
    # A step this late is not replayed but jumped over.
    catch_up_ms: int = 2_000
