"""The catalogue of faults: rows W, U and B, which show on streams and sockets."""

from __future__ import annotations

from bot.sim.entry import Entry

ENTRIES: dict[str, Entry] = {
    "W01": Entry(
        title="Silent freeze",
        wire="socket open, PONG comes, no market frames",
        where="stream",
        duration_s=10.0,
        extras={"token": ""},
    ),
    "W02": Entry(
        title="Half-open connection", wire="no frame of any kind, no PONG, no close", where="socket", duration_s=20.0
    ),
    "W03": Entry(
        title="PING before the first subscribe",
        wire="close 1008 invalid subscription payload",
        where="stream",
        how="the client's doing: a PING before its subscription is always answered so",
    ),
    "W04": Entry(
        title="Text control frames", wire="INVALID OPERATION, or an unasked PONG: not JSON", where="stream", acts=True
    ),
    "W05": Entry(
        title="Frame shapes differ", wire="an array of many events, an empty array, numbers as strings", where="stream"
    ),
    "W06": Entry(title="One bad element in a batch", wire="an unknown event_type among good siblings", where="stream"),
    "W07": Entry(title="Malformed, truncated or non-UTF-8 frame", wire="a text frame that is no JSON", where="stream"),
    "W08": Entry(
        title="Oversized or endless fragmented message",
        wire="a huge frame, or continuation frames without end",
        where="socket",
        acts=True,
    ),
    "W09": Entry(
        title="Reset",
        wire="every connection but control's is cut without a close; new ones are cut for duration_s",
        where="socket",
        acts=True,
        duration_s=10.0,
    ),
    "W10": Entry(
        title="Reconnect storm", wire="each new socket is closed soon after its start", where="socket", duration_s=10.0
    ),
    "W11": Entry(
        title="Delta before snapshot; crossed or stale book",
        wire="price_change without a book; bid at or above ask",
        where="stream",
    ),
    "W14": Entry(title="Duplicate subscription", wire="every user event twice", where="stream", duration_s=10.0),
    "U01": Entry(title="User channel goes deaf", wire="PONG but no user events", where="stream", duration_s=10.0),
    "U02": Entry(
        title="Gap",
        wire="the user socket drops, a fill happens meanwhile and is not replayed",
        where="stream",
        acts=True,
    ),
    "U03": Entry(title="Wrong or foreign credentials", wire="closed right after the subscription", where="stream"),
    "U04": Entry(title="Fill before ack", wire="a trade comes before the answer to its POST", where="stream"),
    "U05": Entry(title="PLACEMENT last", wire="PLACEMENT after trades or after CANCELLATION", where="stream"),
    "U07": Entry(
        title="Status vocabulary drifts", wire="TRADE_STATUS_MATCHED, MATCHED_NOT_BROADCASTED, RETRYING", where="stream"
    ),
    "U09": Entry(
        title="Complement match", wire="the taker's token, side and price on top of our trade", where="stream"
    ),
    "U10": Entry(title="Unknown order id", wire="an event for an order that nobody placed", where="stream", acts=True),
    "U11": Entry(title="Noisy duplicate", wire="the same trade again with another size or price", where="stream"),
    "U12": Entry(title="Cumulative runs ahead", wire="UPDATE with a size_matched above its trades", where="stream"),
    "U13": Entry(title="Dust", wire="a fill that leaves or adds a little", where="stream"),
    "U14": Entry(title="Storm", wire="hundreds of own trades within a second", where="stream", acts=True),
    "B01": Entry(title="24 h disconnect", wire="Binance closes as at the 24 h mark", where="stream", acts=True),
    "B02": Entry(title="serverShutdown", wire="the event, then a close", where="stream", acts=True),
    "B03": Entry(title="Stall", wire="open Binance socket, no frames", where="stream", duration_s=3.0),
    "B04": Entry(
        title="Pong missed",
        wire="pings each 20 s; a client that does not echo is cut",
        where="stream",
        how="the client's doing: who does not echo a ping is cut after 60 s",
    ),
    "B06": Entry(title="Nonsense price", wire="0, NaN, negative, crossed, or ten times the price", where="stream"),
}
