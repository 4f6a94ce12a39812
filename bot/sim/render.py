"""How the exchange's records look on the wire: books with their hash, orders, trades. Pure; knows no socket and no route.

Quirks kept on purpose: best level last, numbers as strings, the taker's view on top of every trade.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from bot.messages import Side
from bot.sim import records as rec
from bot.units import PX_ONE, Px, Qty, Usd, decimal_text, px_text, qty_text, shares

if TYPE_CHECKING:
    from bot.sim.exchange import Exchange

BARE = ("market", "asset_id", "timestamp", "hash", "bids", "asks")
REWARDS_MIN_QTY: Qty = 50_000_000
REWARDS_MAX_SPREAD_PX: Px = 450

_px_text = lru_cache(PX_ONE + 1)(px_text)
_qty_text = lru_cache(65_536)(qty_text)


class Books:
    """The books as clients see them: built at most once per token between two changes of its market."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._stamps: dict[str, int] = {}
        self._last: dict[str, tuple[Px, Side]] = {}  # last trade in Up terms, with the taker's side
        self._summaries: dict[str, dict[str, Any]] = {}
        self._versions: dict[str, int] = {}

    def note(self, event: rec.Event) -> None:
        """Called with every event before anything is rendered."""
        match event:
            case rec.Printed(condition_id=cid, px=px, side=side):
                market = self._exchange.markets[cid]
                self._last[cid] = (px if event.token == market.up_token else PX_ONE - px, side)
            case rec.BookChanged(condition_id=cid) | rec.TickChanged(condition_id=cid) | rec.Listed(condition_id=cid):
                pass
            case _:
                return
        self._versions[cid] = self.version(cid) + 1
        self.restamp(cid, event.ts_ms)

    def restamp(self, condition_id: str, ts_ms: int) -> None:
        """The market's books were told anew at this time, changed or not."""
        market = self._exchange.markets[condition_id]
        self._stamps[condition_id] = ts_ms
        self._summaries.pop(market.up_token, None)
        self._summaries.pop(market.down_token, None)

    def version(self, condition_id: str) -> int:
        """Grows with every change of the market's books."""
        return self._versions.get(condition_id, 0)

    def stamp(self, condition_id: str) -> int:
        """When the market's book last changed."""
        return self._stamps.get(condition_id, 0)

    def summary(self, token: str) -> dict[str, Any]:
        """GET /book, key order and hash included."""
        found = self._summaries.get(token)
        if found is None:
            found = self._summaries[token] = self._build(token)
        return found

    def _build(self, token: str) -> dict[str, Any]:
        market = self._exchange.by_token[token]
        bids, asks = self._exchange.book(token)
        summary = {
            "market": market.condition_id,
            "asset_id": token,
            "timestamp": str(self.stamp(market.condition_id)),
            "hash": "",
            "bids": [{"price": _px_text(px), "size": _qty_text(qty)} for px, qty in bids],
            "asks": [{"price": _px_text(px), "size": _qty_text(qty)} for px, qty in asks],
            "min_order_size": qty_text(market.min_qty),
            "tick_size": px_text(market.tick),
            "neg_risk": False,
            "last_trade_price": _cents_text(self.last_trade(token)[0]),
        }
        # The venue hashes its own compact JSON with an empty hash field, keys in exactly this order.
        summary["hash"] = hashlib.sha1(orjson.dumps(summary), usedforsecurity=False).hexdigest()
        return summary

    def event(self, token: str) -> dict[str, Any]:
        """The `book` event of the market stream."""
        return {"event_type": "book", **self.summary(token)}

    def bare_event(self, token: str) -> dict[str, Any]:
        """The same with nothing but the book itself."""
        summary = self.summary(token)
        return {"event_type": "book", **{name: summary[name] for name in BARE}}

    def last_trade(self, token: str) -> tuple[str, str]:
        """Price in terms of the first outcome, repeated on both tokens, and the taker's side."""
        found = self._last.get(self._exchange.by_token[token].condition_id)
        return (px_text(found[0]), str(found[1])) if found else ("0.5", "")

    def best(self, token: str) -> tuple[Px | None, Px | None]:
        bids, asks = self._exchange.book(token)
        return (bids[-1][0] if bids else None, asks[-1][0] if asks else None)

    def mid(self, token: str) -> float:
        """In USD; an empty side counts as 0 or 1."""
        bid, ask = self.best(token)
        return ((bid or 0) + (PX_ONE if ask is None else ask)) / 2 / PX_ONE

    def best_texts(self, token: str) -> tuple[str, str]:
        """Best bid and ask as price changes carry them: "0" and "1" for an empty side."""
        summary = self.summary(token)
        bids, asks = summary["bids"], summary["asks"]
        return (bids[-1]["price"] if bids else "0", asks[-1]["price"] if asks else "1")

    def spread_text(self, token: str) -> str:
        bid, ask = self.best(token)
        return px_text((PX_ONE if ask is None else ask) - (0 if bid is None else bid))


@lru_cache(4096)
def address_of(owner: str) -> str:
    """A generated participant's made-up wallet; a real owner is its own address."""
    return owner if owner.startswith("0x") else "0x" + hashlib.sha256(owner.encode()).hexdigest()[:40]


@lru_cache(4096)
def key_of(api_key: str, owner: str) -> str:
    """The API key shown for a party; generated participants have a made-up one."""
    return api_key or str(uuid.UUID(bytes=hashlib.sha256(owner.encode()).digest()[:16], version=4))


def _cents_text(px: str) -> str:
    """As books tell the last trade: with three decimals at least."""
    return f"{px:0<5}"


def plain(value: float) -> float | int:
    """Numbers are whole where they can be."""
    return int(value) if value == int(value) else value


def iso(ms: int) -> str:
    """UTC time to the second, as metadata writes it."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def market_row(market: rec.SimMarket, books: Books) -> dict[str, Any]:
    """The long form of a market, as /markets and notifications show it."""
    return {
        "condition_id": market.condition_id,
        "question_id": "0x" + market.condition_id[2:][::-1],
        "question": market.question,
        "description": market.description,
        "market_slug": market.slug,
        "icon": "",
        "image": "",
        "fpmm": "",
        "tokens": [_token_row(market, token, books) for token in (market.up_token, market.down_token)],
        "minimum_order_size": plain(shares(market.min_qty)),
        "minimum_tick_size": market.tick / PX_ONE,
        "accepting_orders": market.accepting,
        "accepting_order_timestamp": iso(market.listed_ms),
        "enable_order_book": True,
        "active": True,
        "closed": market.closed,
        "archived": False,
        "seconds_delay": 0,
        "neg_risk": False,
        "is_50_50_outcome": False,
        "end_date_iso": iso(market.end_ms),
        "maker_base_fee": 0,
        "taker_base_fee": 1000,
        "rewards": {
            "rates": None,
            "min_size": plain(shares(REWARDS_MIN_QTY)),
            "max_spread": REWARDS_MAX_SPREAD_PX / 100,
        },
    }


def _token_row(market: rec.SimMarket, token: str, books: Books) -> dict[str, Any]:
    outcome = _outcome(market, token)
    winner = market.outcome == outcome.lower()
    price = float(winner) if market.outcome else books.mid(token)
    return {"token_id": token, "outcome": outcome, "price": price, "winner": winner}


def redeemed(market: rec.SimMarket, owner: str, paid: Usd) -> dict[str, Any]:
    """What a notification says of a winning position that was paid."""
    return {
        "proxyWallet": owner,
        "amount": decimal_text(paid, 6),
        "conditionId": market.condition_id,
        "question": market.question,
        "image": "",
        "slug": market.slug,
        "position": market.outcome.capitalize(),
        "negRisk": False,
        "txnHash": "0x" + hashlib.sha256(f"{market.condition_id}:{owner}".encode()).hexdigest(),
    }


def _outcome(market: rec.SimMarket, token: str) -> str:
    return "Up" if token == market.up_token else "Down"


def order_row(order: rec.Order, market: rec.SimMarket) -> dict[str, Any]:
    """One order as /data/orders shows it."""
    return {
        "id": order.order_id,
        "status": order.status,
        "owner": order.api_key,
        "maker_address": order.owner,
        "market": order.condition_id,
        "asset_id": order.token,
        "side": str(order.side),
        "original_size": qty_text(order.qty),
        "size_matched": qty_text(order.matched),
        "price": px_text(order.px),
        "outcome": _outcome(market, order.token),
        "expiration": str(order.expiration_s),
        "order_type": order.order_type,
        "associate_trades": list(order.trade_ids),
        "created_at": order.created_ms // 1000,
    }


def order_event(event: rec.OrderEvent, market: rec.SimMarket) -> dict[str, Any]:
    """An order event of the user stream, times as text: in milliseconds, where the venue itself ended the order in seconds.

    Those the venue ended also lack what their owners' cancels have: times, trades, and the size of an order killed whole.
    """
    row = order_row(event.order, market)
    shown = {
        "event_type": "order",
        "type": event.kind,
        **row,
        "order_owner": row["owner"],
        "status": event.status,
        "created_at": str(row["created_at"]),
        "timestamp": str(event.ts_ms),
    }
    if event.kind == "CANCELLATION" and event.status != rec.CANCELED:
        emptied = {"created_at": "", "expiration": None, "associate_trades": None}
        shown |= {**emptied, "timestamp": str(event.ts_ms // 1000)}
        if not event.order.matched and event.order.order_type in ("FOK", "FAK"):
            shown["size_matched"] = ""
    return shown


def notice(order: rec.Order, market: rec.SimMarket, trade: rec.Trade | None = None) -> dict[str, Any]:
    """What a notification says of an order that was cancelled or (with its trade) filled."""
    payload = {
        "order_id": order.order_id,
        "market": order.condition_id,
        "asset_id": order.token,
        "side": str(order.side),
        "type": order.order_type,
        "price": px_text(order.px),
        "original_size": qty_text(order.qty),
        "matched_size": qty_text(order.matched),
        "remaining_size": qty_text(order.leaves),
        "outcome": _outcome(market, order.token),
        "outcome_index": 0 if order.token == market.up_token else 1,
        "question": market.question,
        "market_slug": market.slug,
    }
    return payload if trade is None else {**payload, "trade_id": trade.trade_id, "transaction_hash": trade.tx_hash}


def trade_row(trade: rec.Trade, market: rec.SimMarket, owner: str, late_hash: bool = False) -> dict[str, Any]:
    """One trade as /data/trades shows it to one of its parties: on top always the taker's view.

    A late hash is not there before the trade was mined.
    """
    taker = trade.taker_owner == owner
    key = trade.taker_api_key if taker else next((leg.api_key for leg in trade.makers if leg.owner == owner), "")
    return {
        "id": trade.trade_id,
        "taker_order_id": trade.taker_order_id,
        "market": trade.condition_id,
        "asset_id": trade.token,
        "side": str(trade.side),
        "size": qty_text(trade.qty),
        "fee_rate_bps": "0",
        "price": px_text(trade.px),
        "status": trade.status,
        "match_time": str(trade.match_ms // 1000),
        "match_time_nano": str(trade.match_ms * 1_000_000),
        "last_update": str(trade.updated_ms // 1000),
        "outcome": _outcome(market, trade.token),
        "bucket_index": 0,
        "owner": key_of(trade.taker_api_key, trade.taker_owner),
        "trade_owner": key,
        "maker_address": address_of(trade.taker_owner),
        "transaction_hash": "" if late_hash and trade.status == rec.MATCHED else trade.tx_hash,
        "err_msg": "",
        "maker_orders": [
            {
                "order_id": leg.order_id,
                "owner": key_of(leg.api_key, leg.owner),
                "maker_address": address_of(leg.owner),
                "asset_id": leg.token,
                "outcome": _outcome(market, leg.token),
                "outcome_index": 0 if leg.token == market.up_token else 1,
                "side": str(leg.side),
                "price": px_text(leg.px),
                "matched_amount": qty_text(leg.qty),
                "fee_rate_bps": "0",
            }
            for leg in trade.makers
        ],
        "trader_side": "TAKER" if taker else "MAKER",
    }


def trade_event(event: rec.TradeEvent, market: rec.SimMarket, owner: str, late_hash: bool = False) -> dict[str, Any]:
    """A trade event of the user stream."""
    row = trade_row(event.trade, market, owner, late_hash)
    return {"event_type": "trade", "type": "TRADE", **row, "timestamp": str(event.ts_ms)}


def amount_text(micro: int) -> str:
    """Making and taking amounts of a POST reply: decimal text, "" for nothing."""
    return decimal_text(micro, 6) if micro else ""
