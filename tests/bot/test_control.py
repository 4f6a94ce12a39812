"""The control socket answers whoever asks, one line each way, whatever the path's length."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from bot.control import ControlServer, ask


class Operator:
    """Answers with what it was asked; `status` waits until released, as a hung bot would."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def _answer(self, state: str) -> dict[str, Any]:
        return {"ok": True, "state": state, "flat_verified": True, "open_orders": 0, "error": ""}

    def halt(self, reason: str) -> dict[str, Any]:
        return self._answer(f"halted {reason}")

    def resume(self) -> dict[str, Any]:
        return self._answer("quoting")

    def cancel_all(self, reason: str) -> dict[str, Any]:
        return self._answer("failing")

    def status(self) -> dict[str, Any]:
        self.entered.set()
        self.released.wait(5)
        return self._answer("late")


@pytest.fixture
def served(tmp_path: Path) -> Any:
    path = tmp_path / ("deep" * 30) / "control.sock"  # longer than a Unix address may be
    path.parent.mkdir()
    operator = Operator()
    server = ControlServer(path, operator)
    server.start()
    yield path, operator
    operator.released.set()
    server.stop()


def test_a_command_gets_its_answer_and_only_the_owner_may_connect(served: Any) -> None:
    path, _ = served
    assert path.stat().st_mode & 0o777 == 0o600
    answer = ask(path, "halt", "test")
    assert answer is not None and answer["state"] == "halted test"


def test_a_hung_answer_blocks_neither_its_client_nor_the_next(served: Any) -> None:
    path, _ = served
    assert ask(path, "status", timeout_s=0.05) is None
    answer = ask(path, "resume")
    assert answer is not None and answer["ok"]


def test_as_many_as_hang_somebody_waits_for_the_next_client(served: Any) -> None:
    path, operator = served
    late: list[object] = []
    hung = [threading.Thread(target=lambda: late.append(ask(path, "status", timeout_s=5))) for _ in range(5)]
    for client in hung:
        client.start()
    for _ in range(3):
        answer = ask(path, "resume")
        assert answer is not None and answer["ok"]
    operator.released.set()
    for client in hung:
        client.join()
    assert [answer["state"] for answer in late if isinstance(answer, dict)] == ["late"] * 5


def test_without_a_thread_to_be_had_clients_are_served_one_after_another(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, operator = served
    hung = threading.Thread(target=lambda: ask(path, "status", timeout_s=5))
    hung.start()
    assert operator.entered.wait(5)  # one thread is left, and wants another one for its next client
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(RuntimeError("no thread")))
        for _ in range(3):
            answer = ask(path, "resume")
            assert answer is not None and answer["ok"]
    operator.released.set()
    hung.join()


def test_a_line_that_is_no_command_is_refused_with_a_reason(served: Any) -> None:
    path, _ = served
    for line in (b"not json\n", b"[1]\n", b'{"cmd":"dance"}\n'):
        with socket.socket(socket.AF_UNIX) as client:
            import os

            descriptor = os.open(path.parent, os.O_RDONLY)
            client.connect(f"/proc/self/fd/{descriptor}/control.sock")
            os.close(descriptor)
            client.sendall(line)
            answer = orjson.loads(client.recv(4096))
        assert not answer["ok"] and answer["error"]


def test_no_bot_means_no_answer(tmp_path: Path) -> None:
    assert ask(tmp_path / "control.sock", "status") is None


def test_running_out_of_descriptors_for_a_while_does_not_end_the_server(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "control.sock", Operator())
    accept, refused = server._listener.accept, threading.Event()

    class Listener:
        def __getattr__(self, name: str) -> Any:
            return getattr(server_listener, name)

        def accept(self) -> Any:
            if not refused.is_set():
                refused.set()
                raise OSError(24, "Too many open files")
            return accept()

    server_listener = server._listener
    server._listener = Listener()  # type: ignore[assignment]
    server.start()
    assert refused.wait(5)
    answer = ask(tmp_path / "control.sock", "halt", timeout_s=5)
    assert answer is not None and answer["ok"]
    server.stop()
