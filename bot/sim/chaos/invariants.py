"""The invariants I1 to I20, each a row: id, name, when it is looked at, and the look itself.

A look returns why it does not hold, or an empty text. Moments: `handled` after each step of the executor, and after it
`fill`, `placed` and `state` where it booked one, placed an order, changed the bot's state; `sending` as each of its
messages leaves, `order` as an order does; `post`, `delete` and `beat` as such a request's bytes leave for the venue;
`landed` as an order reaches the book; `second` once a second; `flat` when the executor says so, and `proven` when panic
does; `latch` when the bot was halted; `quiet` at quiescence. The looks are in looks_*.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.sim.chaos import looks_books as books
from bot.sim.chaos import looks_flat as flat
from bot.sim.chaos import looks_orders as orders
from bot.sim.chaos import looks_requests as requests
from bot.sim.chaos.process import Process
from bot.sim.chaos.scene import Scene, Violation


@dataclass(frozen=True, slots=True)
class Invariant:
    id: str
    name: str
    moment: str
    look: Callable[[Scene, Process], str]


def judge(scene: Scene, moment: str) -> Violation | None:
    """The first row of that moment which does not hold."""
    process = scene.process
    if process is None:
        text = flat.empties_when_dead(scene) if moment == "second" else ""
        return Violation("I9", f"Cancel-all arrives: {text}") if text else None
    for row in BY_MOMENT[moment]:
        text = row.look(scene, process)
        if text:
            return Violation(row.id, f"{row.name}: {text}")
    return None


INVARIANTS = (
    Invariant("I1", "Single writer", "handled", books.single_writer),
    Invariant("I2", "Views agree", "quiet", orders.views_agree),
    Invariant("I2", "Views agree", "handled", orders.read_tells_all_of_its_time),
    Invariant("I2", "Views agree", "second", orders.strangers_are_noticed),
    Invariant("I3", "Inventory = fills", "fill", books.fills_are_the_venues),
    Invariant("I3", "Inventory = fills", "fill", books.inventory_is_the_sum),
    Invariant("I3", "Inventory = fills", "quiet", books.inventory_is_the_ledgers),
    Invariant("I4", "Exposure bound", "handled", books.refused_is_gone),
    Invariant("I4", "Exposure bound", "handled", books.restart_forgets_nothing),
    Invariant("I4", "Exposure bound", "landed", orders.ended_is_gone),
    Invariant("I4", "Exposure bound", "second", orders.ended_is_gone),
    Invariant("I4", "Exposure bound", "placed", books.all_that_may_be_live_counts),
    Invariant("I4", "Exposure bound", "placed", books.books_know),
    Invariant("I4", "Exposure bound", "order", books.limits_hold),
    Invariant("I4", "Exposure bound", "landed", books.limits_hold),
    Invariant("I5", "Lossless", "handled", books.lossless),
    Invariant("I5", "Lossless", "handled", books.trades_are_booked),
    Invariant("I5", "Lossless", "handled", books.gaps_stop_quoting),
    Invariant("I5", "Lossless", "quiet", books.events_add_up),
    Invariant("I5", "Lossless", "quiet", books.all_answered),
    Invariant("I6", "One effect", "fill", books.one_effect),
    Invariant("I6", "One effect", "post", books.sent_once),
    Invariant("I6", "One effect", "landed", books.one_per_slot),
    Invariant("I7", "Monotonic", "handled", books.monotonic),
    Invariant("I8", "No placing while failing", "post", flat.no_placing),
    Invariant("I8", "No placing while failing", "second", flat.gate_holds),
    Invariant("I8", "No placing while failing", "state", flat.epoch_rises),
    Invariant("I8", "No placing while failing", "order", flat.placed_while_quoting),
    Invariant("I8", "No placing while failing", "state", flat.cooled_down),
    Invariant("I8", "No placing while failing", "state", flat.flat_before_quoting),
    Invariant("I9", "Cancel-all arrives", "delete", flat.cancel_is_asked),
    Invariant("I9", "Cancel-all arrives", "second", flat.cancel_is_asked),
    Invariant("I9", "Cancel-all arrives", "flat", flat.flat_is_proven),
    Invariant("I9", "Cancel-all arrives", "sending", flat.last_word_comes_last),
    Invariant("I9", "Cancel-all arrives", "proven", flat.panic_has_waited),
    Invariant("I9", "Cancel-all arrives", "second", flat.venue_empties),
    Invariant("I9", "Cancel-all arrives", "second", flat.empties_when_stopped),
    Invariant("I10", "Bounded", "second", requests.bounded),
    Invariant("I11", "Nothing stuck", "second", orders.nothing_stuck),
    Invariant("I11", "Nothing stuck", "quiet", orders.nothing_open),
    Invariant("I11", "Nothing stuck", "second", orders.deletes_are_planned),
    Invariant("I12", "Valid orders", "post", requests.orders_are_valid),
    Invariant("I13", "Rates", "second", requests.rates_hold),
    Invariant("I13", "Rates", "order", requests.repeats_stop),
    Invariant("I14", "Journal first", "sending", requests.journal_first),
    Invariant("I16", "Freshness", "post", requests.fresh),
    Invariant("I16", "Freshness", "second", requests.old_intents_go),
    Invariant("I17", "Lease", "beat", requests.lease),
    Invariant("I18", "No secrets", "quiet", requests.no_secrets),
    Invariant("I19", "Cash", "handled", books.cash_balances),
    Invariant("I19", "Cash", "quiet", books.cash_is_the_ledgers),
    Invariant("I20", "Comes back", "state", requests.fails_with_cause),
    Invariant("I20", "Comes back", "latch", requests.halts_where_said),
)
BY_MOMENT = {
    moment: [row for row in INVARIANTS if row.moment == moment]
    for moment in dict.fromkeys(row.moment for row in INVARIANTS)
}
