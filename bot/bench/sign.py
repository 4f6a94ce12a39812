"""One order from its fields to the bytes that are posted: id, signature, body and headers; beside the vendor's client."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import msgspec

from bot.bench.figures import ROUNDS, TIMES, Figures, against, medians, percentiles
from bot.bench.stock import API_KEY, CHAIN_ID, KEY, PASSPHRASE, SECRET, Stock
from bot.messages import NewOrder, Side
from bot.units import PX_ONE
from bot.venues.clob_login import Credentials, hmac_headers
from bot.venues.signing import Signer

COINCURVE, BARE = 150, 60  # orders a round
PASSES = 10  # over all of them, or ours would be over in a moment that is not like the others


def run() -> Figures:
    signer = Signer(KEY, chain_id=CHAIN_ID)
    headers = hmac_headers(Credentials(API_KEY, SECRET, PASSPHRASE), signer.address)
    rounds: dict[str, list[Figures]] = {"ours": [], "stock_coincurve": [], "stock": []}
    stocks = {
        "stock_coincurve": (Stock("sign", bare=False), COINCURVE),
        "stock": (Stock("sign", bare=True), BARE),
    }
    equal = True
    with contextlib.ExitStack() as stack:
        for child, _ in stocks.values():
            stack.callback(child.stop)
        for child, _ in stocks.values():
            child.ask("3")  # the first ones import
        for _ in range(ROUNDS):
            posted: list[str] = []
            for name, (child, count) in stocks.items():
                answer = child.ask(str(count))
                rounds[name].append(percentiles(answer["took_ns"]))
                posted += answer["posted"]
            took_ns, bodies = [], []
            for order in [_order(json.loads(text)["order"]) for text in posted] * PASSES:
                began_ns = time.perf_counter_ns()
                named = msgspec.structs.replace(order, order_id=signer.order_id_of(order))
                body = signer.body(named, API_KEY)
                headers("POST", "/order", body, 1_700_000_000)
                took_ns.append(time.perf_counter_ns() - began_ns)
                bodies.append(body)
            equal = equal and bodies == [text.encode() for text in posted] * PASSES
            rounds["ours"].append(percentiles(took_ns))
    ours = medians(rounds.pop("ours"))
    peers = {name: against(ours, medians(figures), TIMES) for name, figures in rounds.items()}
    return {"unit": "us", **ours, "digests_equal": equal, "against": peers}


def _order(posted: dict[str, Any]) -> NewOrder:
    """What the vendor's client made, as our executor would ask for it: the body holds its signature, so equal bodies
    mean equal digests."""
    side = Side(posted["side"])
    maker, taker = int(posted["makerAmount"]), int(posted["takerAmount"])
    qty, money = (taker, maker) if side is Side.BUY else (maker, taker)
    return NewOrder(
        cl_ord_id="bench",
        order_id="",
        symbol="bench",
        asset_id=posted["tokenId"],
        side=side,
        px=money * PX_ONE // qty,
        order_qty=qty,
        maker_amount=maker,
        taker_amount=taker,
        salt=posted["salt"],
        timestamp_ms=int(posted["timestamp"]),
        version=2,
        neg_risk=False,
        tick=100,
        epoch=0,
        valid_until_ns=0,
        made_ns=0,
    )
