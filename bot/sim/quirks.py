"""What the real venue does one way today and another way tomorrow, as options of the embedded one; defaults are the usual way.

Times are in milliseconds or seconds as named. Knows nothing of who reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from bot.errors import SettingsError


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way for the venue to be. Every field is something that clients have met."""

    page_size: int = 500  # rows of /data/orders, /data/trades and the other lists with cursors
    status_prefixes: bool = False  # "ORDER_STATUS_LIVE", "TRADE_STATUS_MATCHED" in REST answers
    dead_orders_null: bool = False  # GET /data/order of an order that no longer rests
    reason_variants: bool = False  # not_canceled says the same in other words
    late_hashes: bool = False  # a trade has no transaction hash before it is MINED, and POST replies have none
    bare_books: bool = False  # books after the first have neither tick, minimum, last trade nor neg_risk
    deposit_wallets_only: bool = False  # what is signed for any other kind of wallet is refused
    single_allowance: bool = False  # one "allowance" in place of one by contract
    heartbeat_error_key: Literal["error_msg", "error"] = "error_msg"
    balance_cache_ms: int = 0  # age of the balances that are told, unless an update was asked for
    positions_lag_ms: int = 2_000  # the data API is this far behind the order book
    strike_told_ms: int = 60_000  # after the end of a window its metadata has priceToBeat
    final_told_ms: int = 120_000  # and finalPrice
    stale_events: int = 3  # windows of last February that the listing still calls open
    cached_s: float = 0.0  # answers of the metadata may be so old
    unready_ms: int = 0  # a window that has not begun has no book and takes no orders for so long after it is listed
    redeem_ms: int = 0  # from the resolution of a market until its winners are paid
    silence_s: float = 120.0  # a CLOB stream that hears no PING for longer is hung up
    agents_refused: bool = False  # the default user agents of Python libraries, as the edge does
    tier: Literal["Standard", "Copper", "Bronze", "Silver", "Gold", "Platinum", "Diamond", "Elite"] = "Standard"
    ip_limits: Literal["off", "delay", "429", "1015"] = "off"  # what is over a limit per address
    reference_life_s: float = 86_400.0  # of a reference stream's connection
    reference_weight_max: int = 6_000  # of the reference's REST, per minute


def parsed(texts: Iterable[str]) -> Quirks:
    """From texts such as "page_size=2". Raises SettingsError that names the one that is wrong."""
    given: dict[str, str] = {}
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair or name not in Quirks.__struct_fields__:
            raise SettingsError(f"no quirk {text!r}: want NAME=VALUE of {', '.join(Quirks.__struct_fields__)}")
        given[name] = value
    try:
        return msgspec.convert(given, Quirks, strict=False)
    except UnicodeEncodeError:
        raise SettingsError(f"quirks {', '.join(given)}: one is no UTF-8") from None
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at `$.")
        raise SettingsError(f"quirk {at.rstrip('`')}: {said[0].lower()}{said[1:]}") from None
