"""From reservation price and half-spread to prices on the grid, sizes and routes (strategy.md section 8).

Integers leave this file: Px and micro-shares, in Up terms. Knows no time; what was quoted before is debounce.py's.
"""

from __future__ import annotations

import msgspec

from bot.messages import Route
from bot.quoting.parameters import Parameters
from bot.units import LOT, PX_ONE, QTY_ONE, Px, Qty, Usd

DEFENSIVE_SIZE = 0.5


# -- prices --------------------------------------------------------------------------------------------------------


def outward(reservation: float, delta_bid: float, delta_ask: float, tick: Px) -> tuple[int, int]:
    """Bid and ask in ticks, rounded away from the reservation price; they may lie off the grid's ends."""
    tick_e6 = tick * 100
    return round((reservation - delta_bid) * 1e6) // tick_e6, -(-round((reservation + delta_ask) * 1e6) // tick_e6)


def bounded(bid: int, ask: int, tick: Px) -> tuple[int, int]:
    """A side off the grid's end is 0 (none)."""
    steps = PX_ONE // tick
    return (bid if bid >= 1 else 0), (ask if 0 < ask <= steps - 1 else 0)


def ticks_of(distance: float, tick: Px) -> int:
    """A distance in probability as ticks, at least one."""
    return max(1, round(distance * PX_ONE / tick))


def clamp(bid: int, ask: int, best_bid: Px, best_ask: Px, tick: Px, improve: int) -> tuple[int, int]:
    """Never cross the others' best prices nor improve on them by more than `improve` ticks; 0 is an empty side.

    The others may stand between our ticks after the grid became coarser.
    """
    if best_ask:
        bid = min(bid, (best_ask - 1) // tick)
        ask = max(ask, -(-best_ask // tick) - improve)
    if best_bid:
        bid = min(bid, best_bid // tick + improve)
        ask = max(ask, best_bid // tick + 1)
    return bid, ask


def uncrossed(bid: Px, ask: Px, q: float) -> tuple[Px, Px]:
    """Two quotes that meet would trade with each other: the side that grows |q| goes, at q = 0 both."""
    if not bid or not ask or bid < ask:
        return bid, ask
    return (bid if q < 0 else 0), (ask if q > 0 else 0)


def prices(
    parameters: Parameters,
    reservation: float,
    delta_bid: float,
    delta_ask: float,
    tick: Px,
    best_bid: Px,
    best_ask: Px,
    q: float,
) -> tuple[Px, Px]:
    """Bid and ask in Px, 0 for none."""
    bid, ask = outward(reservation, delta_bid, delta_ask, tick)
    bid, ask = clamp(bid, ask, best_bid, best_ask, tick, ticks_of(parameters.improve, tick))
    bid, ask = bounded(bid, ask, tick)
    return uncrossed(bid * tick, ask * tick, q)


# -- sizes and routes ----------------------------------------------------------------------------------------------


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a leg may use. `up_free` and `down_free` may be sold; rooms are what may still be paid in or lost."""

    q: float  # shares of Up minus shares of Down
    up_free: Qty
    down_free: Qty
    cash: Usd
    loss_room: Usd
    capital_room: Usd


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One side of the quote. Zero px, zero size and no route go together."""

    px: Px = 0
    size: Qty = 0
    route: Route = Route.NONE


NO_LEG = Leg()


def lots(qty: float) -> Qty:
    """Micro-shares rounded down to what the venue matches in."""
    return int(qty) // LOT * LOT


def target_size(parameters: Parameters, growing: float, defensive: bool, worth: float = 1.0) -> Qty:
    """`growing`: the position in the direction this side adds to, in shares (q for the bid, -q for the ask); `worth`:
    the share of the usual size that our fills justify. What only brings the position back is not made smaller by it."""
    taper = min(max(1 - growing / parameters.q_max, 0.0), 1.0) if growing > 0 else 1.0
    usual = parameters.order_size * (DEFENSIVE_SIZE if defensive else 1.0) * taper
    return lots(round(max(usual * worth, min(usual, -growing)) * 1e6))


def leg(
    parameters: Parameters,
    account: Account,
    *,
    bid: bool,
    px: Px,
    min_qty: Qty,
    defensive: bool,
    reduce_only: bool,
    worth: float = 1.0,
    keep_route: Route = Route.NONE,
) -> Leg:
    """Size and route of one side at its price. `keep_route` stays while it is feasible: changing it loses the queue.

    A bid sells Down it holds before it buys Up, which frees collateral; an ask the same with the tokens swapped.
    """
    growing = account.q if bid else -account.q
    free = account.down_free if bid else account.up_free
    buy, sell = (Route.BUY_YES, Route.SELL_NO) if bid else (Route.BUY_NO, Route.SELL_YES)
    cost = px if bid else PX_ONE - px
    if not px or (reduce_only and growing >= 0):
        return NO_LEG
    shrinks = round(max(0.0, -growing) * QTY_ONE)
    size = target_size(parameters, growing, defensive, worth)
    if reduce_only:
        size = min(size, shrinks)
    size = lots(min(size, shrinks + max(0, account.loss_room) * PX_ONE // cost))
    if size < min_qty:
        return NO_LEG
    affordable = lots(min(size, max(0, min(account.cash, account.capital_room)) * PX_ONE // cost))
    sellable = lots(min(size, free))
    if keep_route is buy and affordable >= min_qty:
        return Leg(px=px, size=affordable, route=buy)
    if sellable >= min_qty:
        return Leg(px=px, size=sellable, route=sell)
    if affordable >= min_qty:
        return Leg(px=px, size=affordable, route=buy)
    return NO_LEG


def within_cash(bid: Leg, ask: Leg, cash: Usd, min_qty: Qty) -> tuple[Leg, Leg]:
    """Two buys share one purse: both shrink alike when it is too small for their sum."""
    if bid.route is not Route.BUY_YES or ask.route is not Route.BUY_NO:
        return bid, ask
    need = bid.px * bid.size // PX_ONE + (PX_ONE - ask.px) * ask.size // PX_ONE
    if need <= cash:
        return bid, ask
    return _shrunk(bid, cash, need, min_qty), _shrunk(ask, cash, need, min_qty)


def _shrunk(old: Leg, cash: Usd, need: Usd, min_qty: Qty) -> Leg:
    size = lots(old.size * max(0, cash) // need)
    return Leg(px=old.px, size=size, route=old.route) if size >= min_qty else NO_LEG
