"""What the recovery lets others see of a cancel-all that is not answered, or of a flat that nobody confirms."""

from __future__ import annotations

from bot.execution.orders import Orders
from bot.execution.recovery import Recovery
from bot.messages import MassCancelReport, OpenOrders
from bot.units import NS_PER_MS, NS_PER_S

T0 = 1000 * NS_PER_S


def test_a_mass_cancel_is_unanswered_from_200_ms_until_its_answer() -> None:
    recovery = Recovery()
    assert not recovery.cancel_unanswered(T0)
    recovery.fail("test", T0)
    assert not recovery.cancel_unanswered(T0 + 200 * NS_PER_MS)
    assert recovery.cancel_unanswered(T0 + 201 * NS_PER_MS)
    recovery.mass_cancel_told(MassCancelReport(symbol="", known=True, asked_ns=T0 + 1), T0 + 300 * NS_PER_MS)
    assert not recovery.cancel_unanswered(T0 + NS_PER_S)


def test_flat_is_owed_from_the_first_failure_to_its_confirmation() -> None:
    recovery, orders = Recovery(), Orders(lambda symbol: 0)
    recovery.fail("test", T0)
    recovery.halt("worse", T0 + NS_PER_S)
    assert recovery.clearing_ns == T0
    now = T0 + 2 * NS_PER_S
    for _ in range(200):
        if recovery.flat:
            break
        now += 50 * NS_PER_MS
        recovery.step(now, now, orders)
        recovery.mass_cancel_told(MassCancelReport(symbol="", known=True, asked_ns=now), now)
        recovery.open_orders_told(OpenOrders(orders=(), asked_ns=now, recv_ns=now), now, orders)
    assert recovery.flat and recovery.clearing_ns == 0
