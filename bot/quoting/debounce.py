"""What of a new target reaches the market: prices that are still good stay, for a move loses the place in the queue.

Moving away from the market is immediate, moving toward it waits (strategy.md section 12). Knows no fair value model.
"""

from __future__ import annotations

import msgspec

from bot.messages import QuoteIntent, Route
from bot.units import Ns, Px, Qty

ROUTE_KEEP_NS = 2_000_000_000
SIZE_CHANGE = 0.2


class SideState(msgspec.Struct, kw_only=True):
    """One side of one market as last emitted. `changed_ns` is None until it first changed."""

    bid: bool
    px: Px = 0
    changed_ns: Ns | None = None
    route: Route = Route.NONE
    route_ns: Ns = 0

    def kept_route(self, now_ns: Ns) -> Route:
        """The route that must stay for now if it can."""
        return self.route if now_ns - self.route_ns < ROUTE_KEEP_NS else Route.NONE

    def record(self, px: Px, route: Route, now_ns: Ns) -> None:
        if px != self.px:
            self.px = px
            self.changed_ns = now_ns
        if route != self.route:
            self.route = route
            self.route_ns = now_ns


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """The distances from the reservation price, in probability, between which a working price stays."""

    reservation: float
    nearest: float
    farthest: float

    def keeps(self, px: Px, bid: bool) -> bool:
        distance = self.reservation - px / 10_000 if bid else px / 10_000 - self.reservation
        return self.nearest <= distance <= self.farthest


def next_px(
    side: SideState,
    target: Px,
    *,
    tick: Px,
    opposite: Px,
    hold: Hold | None,
    now_ns: Ns,
    min_rest_ns: Ns,
) -> Px:
    """The price to quote now. `opposite`: the others' best price on the other side, 0 for none; `hold` None: overridden."""
    current = side.px
    if not target or target == current:
        return target
    rested = side.changed_ns is None or now_ns - side.changed_ns >= min_rest_ns
    if not current:
        return target if rested else 0
    if current % tick:
        return target
    safe = not opposite or (current < opposite if side.bid else current > opposite)
    if not safe:
        return target
    if hold is not None and hold.keeps(current, side.bid):
        return current
    away = target < current if side.bid else target > current
    return target if away or rested else current


def worth_sending(old: QuoteIntent | None, new: QuoteIntent, refresh_ns: Ns) -> bool:
    """Reasons and guards alone are not; neither is a new epoch while nothing is quoted, for it changes no order."""
    if old is None or new.made_ns - old.made_ns >= refresh_ns:
        return True
    if new.epoch != old.epoch and not new.cancel_first:
        return True
    return (
        new.quote_mode is not old.quote_mode
        or new.tick != old.tick
        or new.bid_px != old.bid_px
        or new.offer_px != old.offer_px
        or new.bid_route is not old.bid_route
        or new.offer_route is not old.offer_route
        or _resized(old.bid_size, new.bid_size)
        or _resized(old.offer_size, new.offer_size)
    )


def _resized(old: Qty, new: Qty) -> bool:
    return abs(new - old) > SIZE_CHANGE * old
