"""The model as a calculator: the numbers of one market state, without feeds, for `bot fair` and for checks by hand."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from bot.errors import SettingsError
from bot.market import Rule
from bot.messages import QuoteMode
from bot.quoting.fair_value import State, fair_value
from bot.quoting.modes import Reason, level, names
from bot.quoting.parameters import Parameters
from bot.quoting.quotes import Account, leg, prices
from bot.quoting.spread import half_spread, skew, spread_terms, wide
from bot.units import PX_ONE, QTY_ONE, TICKS, USD_ONE, Px

FEE_RATE = 0.07
REBATE_RATE = 0.2
MIN_QTY = 5 * QTY_ONE
NUMBER_MAX = 1e12
LOG_MAX = 1.0


def fair(
    *,
    rule: str,
    spot: float,
    strike: float,
    sigma: float,
    tau: float,
    window: float = 60.0,
    window_mean: float | None = None,
    basis: float | None = None,
    basis_sd: float = 0.0,
    ito: int = 0,
    inventory: float = 0.0,
    size: float | None = None,
    q_max: float | None = None,
    to_stop: float | None = None,
    tick_size: float = 0.01,
    best_bid: float | None = None,
    best_ask: float | None = None,
    quote_mode: str = "NORMAL",
    m5_bid: float = 0.0,
    m5_ask: float = 0.0,
    parameters: Parameters | None = None,
) -> dict[str, Any]:
    """The keys of `bot fair --json` (contract.md). Raises SettingsError for what cannot be priced."""
    tick = _px(tick_size, "tick size")
    if tick not in TICKS:
        raise SettingsError(f"tick size {tick_size:g} is none of the venue's")
    if rule not in (Rule.TWAP, Rule.CANDLE):
        raise SettingsError(f"rule must be twap or candle, not {rule}")
    if quote_mode not in ("NORMAL", "DEFENSIVE"):
        raise SettingsError(f"quote mode must be NORMAL or DEFENSIVE, not {quote_mode}")
    given = {
        "basis": basis,
        "basis-sd": basis_sd,
        "inventory": inventory,
        "to-stop": to_stop,
        "window-mean": window_mean,
    }
    given |= {"m5-bid": m5_bid, "m5-ask": m5_ask, "size": size, "q-max": q_max}
    for name, number in given.items():
        if number is not None and not abs(number) <= NUMBER_MAX:
            raise SettingsError(f"{name} must be a number up to {NUMBER_MAX:g}, not {number:g}")
    for name, number in (("spot", spot), ("strike", strike), ("sigma", sigma), ("tau", tau), ("window", window)):
        if not 0 < number <= NUMBER_MAX:
            raise SettingsError(f"{name} must be above 0, not {number:g}")
    if abs(basis or 0.0) > LOG_MAX or not 0 <= basis_sd <= LOG_MAX:
        raise SettingsError(f"basis and basis-sd are logs: from -{LOG_MAX:g} and from 0, to {LOG_MAX:g}")
    if best_bid is not None and best_ask is not None and best_bid >= best_ask:
        raise SettingsError(f"the best bid {best_bid:g} must be below the best ask {best_ask:g}")
    averaging = rule == Rule.TWAP and tau < window
    if averaging and not (window_mean or 0) > 0:
        raise SettingsError(f"with {tau:g} s left of a {window:g} s average the window mean so far is needed")
    chosen = parameters or Parameters()
    chosen = msgspec.structs.replace(
        chosen,
        order_size=chosen.order_size if size is None else size,
        q_max=chosen.q_max if q_max is None else q_max,
    )
    if not chosen.order_size > 0 or not chosen.q_max > 0:
        raise SettingsError("size and q-max must be above 0")
    state = State(
        rule=Rule(rule),
        log_spot=math.log(spot) + (basis or 0.0),
        log_strike=math.log(strike),
        sigma=sigma,
        tau=tau,
        window_s=window,
        log_mean=math.log(window_mean) if averaging and window_mean else 0.0,
        basis_sd=basis_sd,
        ito=ito,
    )
    value = fair_value(state)
    terms = spread_terms(
        chosen, value, value.p, fee_rate=FEE_RATE, rebate_rate=REBATE_RATE, m5_bid=m5_bid, m5_ask=m5_ask
    )
    reasons = 0
    if value.sigma_p > chosen.sp_max:
        reasons |= Reason.GAMMA
    if not chosen.p_lo <= value.p <= chosen.p_hi:
        reasons |= Reason.BAND
    if wide(chosen, terms):
        reasons |= Reason.WIDE
    if abs(inventory) >= chosen.q_max:
        reasons |= Reason.INV_LIMIT
    reduce_only = level(reasons) is QuoteMode.REDUCE_ONLY
    defensive = quote_mode == "DEFENSIVE" or bool(reasons & Reason.WIDE)
    width = (half_spread(chosen, terms.sum_bid, defensive), half_spread(chosen, terms.sum_ask, defensive))
    lean = skew(chosen, value.p, terms.variance, inventory, to_stop)
    reservation = value.p - lean
    best = (_px(best_bid, "best bid"), _px(best_ask, "best ask"))
    bid_px, ask_px = prices(chosen, reservation, *width, tick, *best, inventory)
    ample = round(chosen.capital_max * USD_ONE) + 10**6 * USD_ONE
    account = Account(
        q=inventory,
        up_free=0,  # which tokens make up the inventory is not asked, so no route narrows a size
        down_free=0,
        cash=ample,
        loss_room=ample,
        capital_room=ample,
    )
    bid, ask = (
        leg(chosen, account, bid=up, px=px, min_qty=MIN_QTY, defensive=defensive, reduce_only=reduce_only)
        for up, px in ((True, bid_px), (False, ask_px))
    )
    return {
        "spot": math.exp(state.log_spot),
        "s": value.s,
        "d": value.d,
        "p": value.p,
        "w_x": value.weight,
        "sigma_p": value.sigma_p,
        "variance": terms.variance,
        "delta_as": terms.delta_as,
        "delta_lat": terms.delta_lat,
        "delta_mod": terms.delta_mod,
        "delta_tox_bid": terms.delta_tox_bid,
        "delta_tox_ask": terms.delta_tox_ask,
        "delta_reb": terms.delta_reb,
        "half_spread_bid": width[0],
        "half_spread_ask": width[1],
        "skew": lean,
        "reservation": reservation,
        "bid": bid.px / PX_ONE if bid.px else None,
        "ask": ask.px / PX_ONE if ask.px else None,
        "bid_size": bid.size / QTY_ONE if bid.size else None,
        "ask_size": ask.size / QTY_ONE if ask.size else None,
        "reasons": names(reasons),
    }


def _px(price: float | None, name: str) -> Px:
    """A price as Px; 0 for none."""
    if price is None:
        return 0
    if not 0 <= price <= 1:
        raise SettingsError(f"{name} must lie between 0 and 1, not {price:g}")
    return round(price * PX_ONE)
