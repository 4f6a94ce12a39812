"""nautilus_trader's Polymarket adapter on our frames. Run by an interpreter that has it; imports nothing of ours.

On standard input comes the number of frames, then the frames, one a line: the first two are the books. What is measured is
the way from the text to an actor that subscribed to both books: its data client, its data engine with the books it keeps,
the actor's handler. No quote ticks. Prints processor microseconds for each frame, and does it again for each further line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from nautilus_trader.adapters.polymarket.config import PolymarketDataClientConfig
from nautilus_trader.adapters.polymarket.data import PolymarketDataClient
from nautilus_trader.adapters.polymarket.providers import PolymarketInstrumentProvider
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.data.engine import DataEngine
from nautilus_trader.model.currencies import USDC
from nautilus_trader.model.enums import AssetClass
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId
from nautilus_trader.model.instruments import BinaryOption
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.portfolio.portfolio import Portfolio


def instrument(name: str) -> Any:
    return BinaryOption(
        instrument_id=InstrumentId.from_str(f"{name}.POLYMARKET"),
        raw_symbol=Symbol(name),
        outcome="Up",
        description="bench",
        asset_class=AssetClass.ALTERNATIVE,
        currency=USDC,
        price_precision=3,
        size_precision=6,
        price_increment=Price.from_str("0.001"),
        size_increment=Quantity.from_str("0.000001"),
        activation_ns=0,
        expiration_ns=2**62,
        max_quantity=None,
        min_quantity=Quantity.from_int(1),
        maker_fee=0,
        taker_fee=0,
        ts_event=0,
        ts_init=0,
    )


class Listener(Actor):  # type: ignore[misc]
    def __init__(self, instruments: list[Any]) -> None:
        super().__init__()
        self._instruments = instruments
        self.heard = 0

    def on_start(self) -> None:
        for one in self._instruments:
            self.subscribe_order_book_deltas(one.id)

    def on_order_book_deltas(self, deltas: Any) -> None:
        self.heard += 1


def main() -> None:
    told = [sys.stdin.buffer.readline().rstrip() for _ in range(int(sys.stdin.buffer.readline()))]
    books, frames = told[:2], told[2:]
    clock = LiveClock()
    bus = MessageBus(TraderId("BENCH-001"), clock)
    cache = Cache()
    engine = DataEngine(bus, cache, clock)
    client = PolymarketDataClient(
        asyncio.new_event_loop(), None, bus, cache, clock, PolymarketInstrumentProvider(None, clock),
        PolymarketDataClientConfig(), None,
    )  # fmt: skip
    engine.register_client(client)
    engine.start()
    instruments = [instrument(f"{one['market']}-{one['asset_id']}") for one in map(json.loads, books)]
    for one in instruments:
        cache.add_instrument(one)
    listener = Listener(instruments)
    listener.register_base(Portfolio(bus, cache, clock), bus, cache, clock)
    listener.start()
    for book in books:
        client._handle_raw_ws_message(book)
    while True:
        listener.heard = 0
        began_ns = time.thread_time_ns()
        for frame in frames:
            client._handle_raw_ws_message(frame)
        took_us = (time.thread_time_ns() - began_ns) / len(frames) / 1000
        assert listener.heard == 2 * len(frames), f"{listener.heard} deltas of {len(frames)} frames reached the actor"
        sys.stdout.write(f"{took_us}\n")
        sys.stdout.flush()
        if not sys.stdin.buffer.readline():
            return


if __name__ == "__main__":
    main()
