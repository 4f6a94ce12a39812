"""Every wait of execution in one record, so that settings can set them and tests can pass others. Knows no clock."""

from __future__ import annotations

import msgspec

from bot.units import NS_PER_MS, NS_PER_S, Ns


class Timers(msgspec.Struct, frozen=True, kw_only=True):
    """The names are those of the fault catalogue (T_ack and so on)."""

    ack_ns: Ns = 2 * NS_PER_S  # no answer to a POST: unknown, ask by id
    cancel_ns: Ns = 2 * NS_PER_S  # no answer to a DELETE: send it again
    cancel_retry_ns: Ns = 500 * NS_PER_MS  # after an ambiguous DELETE, doubling
    cancel_retry_ns_max: Ns = 4 * NS_PER_S
    cancel_all_ns: Ns = 180 * NS_PER_MS  # no answer to a mass cancel: panic sends one too, on the wire within 250 ms
    debt_ns: Ns = 3 * NS_PER_S  # venue says filled, no trade came
    orphan_ns: Ns = 2 * NS_PER_S  # event of an order we do not know
    settle_ns: Ns = 5 * NS_PER_S  # an order nobody has seen is given up no sooner than this after it was sent
    unknown_ns: Ns = 5 * NS_PER_S  # outcome still unknown: failure mode
    resolve_ns: Ns = 30 * NS_PER_S  # still unresolved: halt
    stale_ns: Ns = 1 * NS_PER_S  # an ack this late stands at a stale price: cancel it
    snap_ns: Ns = 500 * NS_PER_MS  # a read asked sooner after a change proves nothing
    echo_ns: Ns = 3 * NS_PER_S  # every ack must be echoed by the user stream
    rtt_max_ns: Ns = 500 * NS_PER_MS  # slower acks than this stop new orders ...
    rtt_pause_ns: Ns = 1 * NS_PER_S  # ... for this long
    http_ns: Ns = 3_500 * NS_PER_MS  # a POST without answer is off the wire by then (deadline 3 s and margin)
    valid_ns: Ns = 250 * NS_PER_MS  # a new order that waited longer at the gate is not sent
    read_every_ns: Ns = 10 * NS_PER_S  # open orders while quoting
    read_fast_ns: Ns = 1 * NS_PER_S  # while something is unresolved
    read_deadline_ns: Ns = 3_500 * NS_PER_MS
    query_gap_ns: Ns = 500 * NS_PER_MS  # between two reads of one order
    retry_ns: Ns = 500 * NS_PER_MS  # first wait before a failed read or mass cancel is repeated, doubling
    retry_ns_max: Ns = 4 * NS_PER_S
    cooldown_ns: Ns = 5 * NS_PER_S
    cooldown_ns_max: Ns = 60 * NS_PER_S
    cooldown_memory_ns: Ns = 600 * NS_PER_S  # a repeat within this doubles the cooldown
    side_cooldown_ns: Ns = 2 * NS_PER_S  # after rejects of one side, doubling
    side_cooldown_ns_max: Ns = 60 * NS_PER_S
    ghost_ns: Ns = 60 * NS_PER_S  # matched and still not mined
    history_ns: Ns = 24 * 3600 * NS_PER_S  # so far back the first read of trades goes: the life of any market of ours
    balance_every_ns: Ns = 60 * NS_PER_S
    keep_ns: Ns = 24 * 3600 * NS_PER_S  # ended orders stay findable for late events ...
    pack_ns: Ns = 600 * NS_PER_S  # ... packed, when nothing was heard of them for this long


def backoff(first_ns: Ns, most_ns: Ns, tries: int) -> Ns:
    """first, twice first, ... up to most; `tries` counts from 0."""
    return min(first_ns << min(tries, 16), most_ns)
