"""The monitor observes everything it is told and publishes at ticks."""

from __future__ import annotations

from typing import Any

from actors.monitor import TIDY_NS, MonitorActor
from actors.router import Directory, Router
from bot.messages import Message, StatusReport, TimerTick


class Record:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def observe(self, message: Message, now_ns: int) -> None:
        self.calls.append((message, now_ns))

    def publish(self, now_ns: int, utc_ns: int) -> None:
        self.calls.append((now_ns, utc_ns))


def test_reports_are_observed_and_ticks_publish_and_once_a_minute_tidy() -> None:
    record, directory = Record(), Directory()
    monitor = MonitorActor(
        status=record,
        tidy=lambda: record.calls.append("tidied"),
        name="monitor",
        directory=directory,
        router=Router(directory, {}),
        clock=lambda: 7,
    )
    report = StatusReport(component="executor", body={})
    monitor.handle(report)
    for now_ns in (8, 8 + TIDY_NS - 1, 8 + TIDY_NS):
        monitor.handle(TimerTick(name="monitor", now_ns=now_ns, utc_ns=9))
    ticks = [(8, 9), "tidied", (8 + TIDY_NS - 1, 9), (8 + TIDY_NS, 9), "tidied"]
    assert record.calls == [(report, 7), *ticks]
