"""Virtual time and the ways that things take through it."""

from __future__ import annotations

from bot.messages import CancelOrder, MassCancel, Message
from bot.sim.trial.clock import Agenda, Line
from bot.sim.trial.connection import Connection
from bot.units import NS_PER_MS, Ns


def test_actions_run_in_the_order_of_their_times_and_of_their_coming() -> None:
    agenda = Agenda(0)
    seen: list[tuple[str, Ns]] = []
    agenda.at(20, lambda now_ns: seen.append(("late", now_ns)))
    agenda.at(10, lambda now_ns: agenda.at(15, lambda at: seen.append(("of an action", at))))
    agenda.at(10, lambda now_ns: seen.append(("second", now_ns)))
    agenda.run(19)
    assert seen == [("second", 10), ("of an action", 15)]
    assert agenda.now_ns == 19
    agenda.run(30)
    assert seen[2:] == [("late", 20)]


def test_a_line_has_its_median_and_four_times_that_in_one_of_a_hundred() -> None:
    line = Line("a", 100.0, "1")
    delays = sorted((line.arrival(sent_ns) - sent_ns) / NS_PER_MS for sent_ns in range(0, 10**13, 10**9))
    assert 95 < delays[len(delays) // 2] < 105
    assert 350 < delays[len(delays) * 99 // 100] < 450


def test_nothing_overtakes_on_a_line() -> None:
    line = Line("a", 100.0, "1")
    arrivals = [line.arrival(sent_ns * NS_PER_MS) for sent_ns in range(5_000)]
    assert arrivals == sorted(arrivals)


def served(cancels: int) -> tuple[Connection, Agenda, list[tuple[Ns, list[Message]]]]:
    """A connection that takes 100 ms there and 40 ms back, and a number of cancels put in at once."""
    agenda = Agenda(0)
    batches: list[tuple[Ns, list[Message]]] = []

    def serve(batch: list[Message], heard_ns: Ns) -> list[Message]:
        batches.append((agenda.now_ns, batch))
        return []

    class Steady(Line):
        def __init__(self, ms: int) -> None:
            self.ns = ms * NS_PER_MS

        def arrival(self, sent_ns: Ns) -> Ns:
            return sent_ns + self.ns

    connection = Connection(agenda, Steady(100), Steady(40), serve, lambda message: None)
    for number in range(cancels):
        connection.put(CancelOrder(cl_ord_id="", order_id=str(number), symbol=""), 0)
    return connection, agenda, batches


def test_what_is_put_at_once_is_one_request_and_the_next_waits_for_its_answer() -> None:
    connection, agenda, batches = served(2)
    agenda.run(1)
    connection.put(CancelOrder(cl_ord_id="", order_id="later", symbol=""), 1)
    agenda.run(NS_PER_MS * 1000)
    assert [(at_ns // NS_PER_MS, len(batch)) for at_ns, batch in batches] == [(100, 2), (240, 1)]


def test_a_mass_cancel_goes_before_what_waits() -> None:
    connection, agenda, batches = served(1)
    agenda.run(1)
    connection.put(CancelOrder(cl_ord_id="", order_id="later", symbol=""), 1)
    connection.put(MassCancel(), 1, urgent=True)
    agenda.run(NS_PER_MS * 1000)
    assert [type(batch[0]) for _, batch in batches] == [CancelOrder, MassCancel, CancelOrder]
