"""What it takes to empty a wallet's book, and no more: no signer, no message, one connection (bot.flat.CancelPort)."""

from __future__ import annotations

from bot.errors import FrameError
from bot.venues.clob_calls import Calls


class CancelClient(Calls):
    """Belongs to one thread."""

    def resting(self, symbol: str) -> list[str]:
        rows = self.open_rows()
        ids = [row.get("id") for row in rows if not symbol or row.get("market") == symbol]
        named = [order_id for order_id in ids if isinstance(order_id, str) and order_id]
        if len(named) < len(ids):
            raise FrameError("an open order without id")
        return named
