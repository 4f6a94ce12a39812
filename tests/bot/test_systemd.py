"""What the service manager is told: ready once, alive as long as there is proof of it, and that the end has begun."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import systemd
from bot.systemd import ServiceManager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def told(listener: socket.socket) -> list[str]:
    messages = []
    try:
        while True:
            messages.append(listener.recv(4096).decode())
    except BlockingIOError:
        return messages


def test_it_is_ready_with_the_first_proof_of_life_and_the_status_is_said_when_it_changes(
    manager: socket.socket,
) -> None:
    service = ServiceManager()
    service.alive("reconciling: trades not read")
    assert told(manager) == ["STATUS=reconciling: trades not read", "READY=1\nWATCHDOG=1"]
    service.alive("quoting")
    service.alive("quoting")
    assert told(manager) == ["STATUS=quoting", "WATCHDOG=1", "WATCHDOG=1"]
    service.stopping("signal SIGTERM")
    assert told(manager) == ["STOPPING=1\nSTATUS=stopping: signal SIGTERM"]


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "SEND_S_MAX", 0.001)
    service = ServiceManager()
    for number in range(20):  # more than the queue of a datagram socket takes
        service.alive(f"state {number}")
    assert told(manager)


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ServiceManager().alive("quoting")
    ServiceManager().stopping("signal")
