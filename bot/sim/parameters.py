"""Parameters of a generated world; the defaults are the world `tight`. Fractions of a USD, seconds and milliseconds as named.

Ranges are checked where a world is read from a file (worlds.py), not where one is made in code.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

Share: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
Amount: TypeAlias = Annotated[float, Meta(ge=0.0, le=1e6)]
Positive: TypeAlias = Annotated[float, Meta(gt=0.0, le=1e6)]
Millis: TypeAlias = Annotated[int, Meta(ge=0, le=3_600_000)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.0, le=3_600.0)]
ViewMs: TypeAlias = Annotated[float, Meta(ge=1.0, le=600.0)]  # true p is remembered for hardly longer
Ticks: TypeAlias = Annotated[int, Meta(ge=0, le=50)]


class WorldParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One world. Prices of the reference, then the listings, then the other participants, then what goes wrong."""

    # Log price: volatility per square-root second, its log an OU process; jumps excite each other.
    sigma: Annotated[float, Meta(gt=0.0, le=0.01)] = 8.9e-5
    sigma_sd: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.30
    sigma_reversion_s: Annotated[float, Meta(ge=1.0, le=1e6)] = 120.0
    jump_every_s: Annotated[float, Meta(ge=1.0, le=1e9)] = 45.0
    jump_sd: Annotated[float, Meta(ge=0.0, le=0.1)] = 4.5e-4
    jump_branching: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.3
    jump_decay_s: Annotated[float, Meta(ge=0.1, le=1e4)] = 5.0
    # Reference feed.
    quotes_per_s: Annotated[float, Meta(ge=1.0, le=1e3)] = 20.0
    quotes_per_s_max: Annotated[float, Meta(ge=10.0, le=1e4)] = 100.0
    quotes_per_s_burst: Annotated[float, Meta(ge=10.0, le=1e4)] = 300.0
    burst_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.3
    trades_per_s: Annotated[float, Meta(ge=0.0, le=1e3)] = 4.0
    # Settlement source: reference times e^basis, its trailing mean read twap_lag_ms late, told source_delay_ms later.
    basis_mean: Annotated[float, Meta(ge=-0.1, le=0.1)] = -2e-4
    basis_sd: Annotated[float, Meta(ge=0.0, le=0.1)] = 5e-5
    basis_reversion_s: Annotated[float, Meta(ge=1.0, le=1e6)] = 300.0
    twap_lag_ms: Annotated[int, Meta(ge=0, le=5_000)] = 1_000
    source_delay_ms: Annotated[int, Meta(ge=0, le=30_000)] = 1_500
    source_delay_1m_ms: Annotated[int, Meta(ge=0, le=30_000)] = 300
    # Listings.
    listed_ahead: Annotated[int, Meta(ge=1, le=20)] = 2
    taker_delay_ms: Annotated[int, Meta(ge=0, le=10_000)] = 150
    fee_rate: Share = 0.07
    rebate_rate: Share = 0.2
    tick_changes: bool = True
    resolve_delay_ms: Millis = 2_000
    # Competing makers: each sees true p after its own delay, spread evenly in log time between the two.
    makers: Annotated[int, Meta(ge=0, le=50)] = 4
    maker_delay_ms_min: ViewMs = 20.0
    maker_delay_ms_max: ViewMs = 400.0
    maker_half_spread: Share = 0.0016  # before rounding outward to the grid, which adds half a tick on average
    maker_late_widening: Amount = 1.6  # of the half-spread in the last maker_late_s
    maker_late_s: Amount = 60.0
    maker_levels: Annotated[int, Meta(ge=1, le=50)] = 6
    maker_touch_size: Positive = 80.0  # shares a maker shows at its best level, median
    maker_deep_size: Positive = 27.2  # and at each level behind
    maker_size_sd: Annotated[float, Meta(ge=0.0, le=3.0)] = 1.4  # of the log of a size
    maker_shy_move: Share = 0.011  # p moved this far between two looks: cancel now, place again later
    maker_shy_move_1m: Share = 0.03  # in 1m series, where such moves are the rule
    maker_shy_ms: tuple[Millis, Millis] = (150, 900)
    maker_leaves_ms: Millis = 2_000  # before the end
    depth_1m: Positive = 0.12  # of every maker size, in 1m series
    # Takers who know: hazard while true p, seen late, beats a quote by the fee and a margin.
    informed: bool = True
    informed_fast_per_s: Amount = 20.0
    informed_fast_delay_ms: tuple[ViewMs, ViewMs] = (20.0, 60.0)
    informed_fast_margin: Share = 0.002
    informed_slow_per_s: Amount = 6.0
    informed_slow_delay_ms: tuple[ViewMs, ViewMs] = (100.0, 400.0)
    informed_slow_margin: Share = 0.004
    informed_size: Positive = 60.0
    # Takers who do not: a few of them sweep several levels.
    noise: bool = True
    noise_per_s: Amount = 1.0
    noise_size: Positive = 20.0
    noise_tolerance_ticks: Ticks = 1
    noise_persistence: Share = 0.2
    noise_persistence_s: Amount = 10.0
    noise_sells: Share = 0.3  # share of noise orders that sell the token they hold
    sweep_share: Share = 0.1
    sweep_share_1m: Share = 0.35  # so that whoever tries things out for a minute or two sees fills on both sides
    sweep_factor: tuple[Amount, Amount] = (10.0, 40.0)
    sweep_tolerance_ticks: Ticks = 6
    # Trades of API key owners that revert after MATCHED; a trade that pays its owner, bias times as often as one that does not.
    revert_share: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    revert_bias: Annotated[float, Meta(ge=1.0, le=1e3)] = 3.0
    revert_after_ms: tuple[Millis, Millis] = (200, 1_800)  # before MINED, which comes after 2 s
    # Bursts of book frames after a jump, by all live markets of the asset together: repeats, flickering sizes, whole books.
    flurry_share: Share = 0.0  # of jumps that are followed by one
    flurry_per_s: tuple[Amount, Amount] = (5_000.0, 10_000.0)
    flurry_s: tuple[Seconds, Seconds] = (0.2, 1.0)
    flurry_repeats: Share = 0.2  # of its frames say again what the one before said
    flurry_books: Share = 0.002  # and are whole books
    # The two CLOB streams are cut now and then; 0 never. The first cut comes no earlier than 0.6 of this.
    disconnect_every_s: Amount = 600.0
    disconnect_s: tuple[Seconds, Seconds] = (1.0, 5.0)
    # A step this late is not replayed but jumped over.
    catch_up_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2_000

    def __post_init__(self) -> None:
        if self.maker_delay_ms_min > self.maker_delay_ms_max:
            raise ValueError("maker_delay_ms_min is above maker_delay_ms_max")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} ends before it begins")
