"""Why a market's quotes are where they are, for people: the parts of the last decision as plain JSON values.

Made when the status is told, not at each decision: what moved a price is found by going through its steps again.
Names are those of `bot fair`. Changes nothing.
"""

from __future__ import annotations

from typing import Any

from bot.messages import QuoteMode
from bot.quoting.modes import names
from bot.quoting.quoter import Quoter
from bot.quoting.quotes import bounded, clamp, lots, outward, target_size, ticks_of
from bot.quoting.toxicity import HORIZONS_S, SideMarkouts, Toxicity
from bot.units import PX_ONE, QTY_ONE, Ns, Px


def market_row(quoter: Quoter) -> dict[str, Any]:
    """The strategy's part of a market's row in the status record."""
    window, view = quoter.window, quoter.view
    return {
        "slug": quoter.market.slug,
        "phase": str(quoter.phase),
        "seconds_left": max(0.0, quoter.left_s),
        "rule": str(quoter.market.rule),
        "taker_delay_ms": quoter.market.taker_delay_ms,
        "strike": window.strike or None,
        "strike_is_ours": window.strike_is_ours,
        "strike_refused": window.doubtful or None,
        "fair": quoter.p or None,
        "sigma": quoter.model.sigma or None,
        "spot": window.spot or None,
        "basis": window.log_distance,
        "settle_lag_s": window.basis.lag_s if window.basis is not None else None,
        "book_bid": view.bids[0][0] / PX_ONE if view is not None and view.bids else None,
        "book_ask": view.asks[0][0] / PX_ONE if view is not None and view.asks else None,
        "quote_mode": quoter.modes.mode.name,
        "reasons": names(quoter.reasons),
        "quote": quote_row(quoter),
    }


def quote_row(quoter: Quoter) -> dict[str, Any] | None:
    """Fair value, the parts of the spread, the skew, and what moved each side; None while nothing can be priced."""
    fair, terms, touch = quoter.fair, quoter.terms, quoter.touch
    if fair is None or terms is None:
        return None
    return {
        "p_model": fair.p,
        "micro": touch.micro or None,
        "beta": quoter.blend.beta,
        "fair": quoter.p,
        "sigma_p": fair.sigma_p,
        "variance": terms.variance,
        "delta_as": terms.delta_as,
        "delta_lat": terms.delta_lat,
        "delta_mod": terms.delta_mod,
        "delta_tox_bid": terms.delta_tox_bid,
        "delta_tox_ask": terms.delta_tox_ask,
        "delta_reb": terms.delta_reb,
        "defensive": quoter.modes.defensive,
        "half_spread_bid": quoter.widths[0],
        "half_spread_ask": quoter.widths[1],
        "leeway": quoter.leeway,
        "imbalance": touch.imbalance,
        "skew": quoter.lean,
        "reservation": quoter.p - quoter.lean,
        "bid": _side(quoter, 0),
        "ask": _side(quoter, 1),
    }


def markout_rows(toxicity: Toxicity, now_ns: Ns) -> dict[str, Any]:
    """USD a share after each horizon; `z` and `worth_t` in units of chance, `own_gap` our own marks above the market's."""
    return {
        "bid": _markouts(toxicity.bid),
        "ask": _markouts(toxicity.ask),
        "own_gap": toxicity.own_gap,
        "worth_t": toxicity.worth.t(now_ns),
        "size_factor": toxicity.worth.factor(now_ns),
    }


def _markouts(side: SideMarkouts) -> dict[str, Any]:
    marks = {
        f"m{horizon}": mean.value if mean.n else None for horizon, mean in zip(HORIZONS_S, side.means, strict=True)
    }
    return {"n": side.means[0].n, **marks, "z": side.z}


def _side(quoter: Quoter, side: int) -> dict[str, Any] | None:
    """One side (0 bid, 1 ask) from the model's price to what is wanted; None while nothing may be quoted at all."""
    if quoter.modes.mode is QuoteMode.NO_QUOTE:
        return None
    leg = quoter.legs[side]
    return {
        "model_px": _outward(quoter)[side] / PX_ONE,
        "px": leg.px / PX_ONE if leg.px else None,
        "size": leg.size / QTY_ONE if leg.size else None,
        "route": str(leg.route),
        "moved_by": _price_moves(quoter, side) + _size_moves(quoter, side),
    }


def _outward(quoter: Quoter) -> tuple[Px, Px]:
    raw_bid, raw_ask = outward(quoter.p - quoter.lean, *quoter.outer, quoter.tick)
    return raw_bid * quoter.tick, raw_ask * quoter.tick


def _price_moves(quoter: Quoter, side: int) -> list[str]:
    touch, tick, bid = quoter.touch, quoter.tick, side == 0
    moves = []
    raw_bid, raw_ask = (px // tick for px in _outward(quoter))
    beside = clamp(raw_bid, raw_ask, touch.bid, touch.ask, tick, PX_ONE)  # as if it might improve at will
    clamped = clamp(raw_bid, raw_ask, touch.bid, touch.ask, tick, ticks_of(quoter.parameters.improve, tick))
    if beside[side] != (raw_bid, raw_ask)[side]:
        moves.append("post_only")
    if clamped[side] != beside[side]:
        moves.append("improve")
    on_grid = bounded(*clamped, tick)[side]
    if not on_grid:
        moves.append("end_of_grid")
    elif not quoter.targets[side]:
        moves.append("meets_own")
    pulled = quoter.pull.bid(quoter.now_ns) if bid else quoter.pull.ask(quoter.now_ns)
    held = quoter.held[side]
    if pulled:
        moves.append("shock")
    elif held != quoter.targets[side]:
        moves.append("held" if held and quoter.keeps[side] else "waits")
    return moves


def _size_moves(quoter: Quoter, side: int) -> list[str]:
    account, leg = quoter.account, quoter.legs[side]
    if not quoter.held[side] or account is None:
        return []
    growing = -account.q if side else account.q
    defensive, reduce_only = quoter.modes.defensive, quoter.modes.mode is QuoteMode.REDUCE_ONLY
    moves = ["defensive"] if defensive else []
    if reduce_only and growing >= 0:
        return [*moves, "reduce_only"]
    if growing > 0:
        moves.append("taper")
    size = target_size(quoter.parameters, growing, defensive, quoter.worth)
    if size < target_size(quoter.parameters, growing, defensive):
        moves.append("own_fills")
    if reduce_only and size > -growing * QTY_ONE:
        moves.append("reduce_only")
        size = round(-growing * QTY_ONE)
    if leg.size < lots(size):
        moves.append("limits" if leg.size or size >= quoter.market.min_qty else "minimum")
    return moves
