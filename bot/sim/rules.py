"""What the venue refuses, in its own words and in its own order of checks. Pure; knows no account and no book but the other side."""

from __future__ import annotations

from bot.messages import Side
from bot.sim.ladder import Ladder
from bot.sim.records import SimMarket, Submit
from bot.units import LOT, PX_ONE, USD_ONE, Px, Usd, decimal_text, notional, px_text, qty_text

FOK_KILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED = "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
POST_ONLY = "invalid post-only order: order crosses book"
NOT_READY = "the market is not yet ready to process new orders"
HELD = "order match delayed due to market conditions"
GTD_LEAD_S = 60  # the engine expires GTD orders this early
MARKETABLE_BUY_MIN: Usd = USD_ONE


def refusal(order: Submit, market: SimMarket | None, known: bool, now_ms: int) -> str:
    """What is wrong with the order by itself, in the venue's order of checks; `known`: it was accepted before."""
    if market is None or market.closed:
        return f"the orderbook {order.token} does not exist"
    if not market.accepting:
        return NOT_READY
    invalid = f"order {order.order_id} is invalid. "
    if order.px % market.tick or not market.tick <= order.px <= PX_ONE - market.tick:
        return f"{invalid}Price ({px_text(order.px)}) breaks minimum tick size rule: {px_text(market.tick)}"
    if order.qty < (market.min_qty if order.order_type in ("GTC", "GTD") else LOT):
        return f"{invalid}Size ({qty_text(order.qty)}) lower than the minimum: {qty_text(market.min_qty)}"
    if order.order_type not in ("GTC", "GTD", "FOK", "FAK"):
        return "Invalid order payload"
    if order.post_only and order.order_type not in ("GTC", "GTD"):
        return "invalid post-only order: only GTC and GTD orders can be post-only"
    if (order.order_type == "GTD") != bool(order.expiration_s):
        return "invalid expiration"
    if order.expiration_s and (order.expiration_s - GTD_LEAD_S) * 1000 <= now_ms:
        return "invalid expiration"
    return f"{invalid}Duplicated." if known else ""


def unmatchable(order: Submit, marketable: bool, opposite: Ladder, up_px: Px) -> str:
    """What is wrong with it in view of what it would meet."""
    if marketable and order.post_only:
        return POST_ONLY
    cost = notional(order.px, order.qty)
    if marketable and order.side is Side.BUY and cost < MARKETABLE_BUY_MIN:
        return f"invalid amount for a marketable BUY order (${decimal_text(cost, 6)}), min size: $1"
    if order.order_type == "FOK" and opposite.fillable(up_px) < order.qty // LOT * LOT:
        return FOK_KILLED
    return FAK_KILLED if order.order_type == "FAK" and not marketable else ""
