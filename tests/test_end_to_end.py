"""The whole over loopback: a real `bot start` process on a real venue, stopped, killed, halted and broken from outside."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from bot.control import ask
from bot.run import SAME_S
from bot.sim.server import VenueOptions, VenueThread
from bot.state import read_json

SERIES = "btc-updown-5m"
PAUSE = threading.Event()  # never set: what a poll waits on between two looks


def until(condition: Callable[[], Any], seconds: float, what: str, look: Callable[[], Any] = str) -> Any:
    """The first true value of the condition, looked at often; fails after the time, with what is seen then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        PAUSE.wait(0.02)
    pytest.fail(f"not within {seconds:g} s: {what} {look()}")


class Maker:
    """A bot process and what can be seen of it from outside."""

    def __init__(self, venue: VenueThread, home: Path, *options: str) -> None:
        self.info = venue.info
        self.home = home
        self.run_dir = home / f"run-{len(list(home.glob('run-*')))}"
        self.environment = {**os.environ, "XDG_STATE_HOME": str(home / "state")}
        self.process = self.command(
            "start", "--venue", self.info["url"], "--series", SERIES, "--run-dir", str(self.run_dir), "--json", *options
        )

    def command(self, *words: str, stderr: Any = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "bot.cli", *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=self.environment,
            start_new_session=True,
        )

    def answer(self, *words: str) -> tuple[int, str, str]:
        process = self.command(*words)
        out, err = process.communicate(timeout=30)
        return process.returncode, out.decode(), err.decode()

    def status(self) -> dict[str, Any]:
        return read_json(self.run_dir / "status.json")

    def resting(self) -> list[str]:
        ledger = requests.get(self.info["url"] + "/control/ledger", timeout=5).json()
        return [order["id"] for order in ledger[self.info["address"].lower()]["orders"] if order["status"] == "LIVE"]

    def quoting(self, seconds: float = 30.0) -> None:
        until(lambda: self.status().get("state") == "quoting" and self.resting(), seconds, "quoting", self.status)

    def end(self, how: int = signal.SIGINT) -> tuple[int, dict[str, Any]]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=20)
        assert out, err.decode()
        return self.process.returncode, orjson.loads(out)


@pytest.fixture(scope="module")
def venue() -> Iterator[VenueThread]:
    with VenueThread(VenueOptions(seed=7, series=(SERIES,))) as venue:
        yield venue


@pytest.fixture
def makers(tmp_path: Path) -> Iterator[Callable[..., Maker]]:
    made: list[Maker] = []

    def make(venue: VenueThread, *options: str) -> Maker:
        made.append(Maker(venue, tmp_path, *options))
        return made[-1]

    yield make
    for maker in made:
        maker.process.kill()
        maker.process.wait()


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """Settings that come back from a failure sooner."""
    path = tmp_path / "quick.toml"
    path.write_text("[recovery]\ncooldown_s = 1\ncooldown_s_max = 1\n")
    return path


@pytest.fixture
def service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_flat_with_a_summary_that_agrees_with_the_venue(
    venue: VenueThread, makers: Callable[..., Maker], how: int, service_manager: socket.socket
) -> None:
    maker = makers(venue)
    told = [service_manager.recv(4096) for _ in range(3)]
    assert told[0].startswith(b"STATUS=") and told[1] == b"READY=1\nWATCHDOG=1"
    maker.quoting()
    code, summary = maker.end(how)
    assert code == 0 and summary["exit_code"] == 0
    assert maker.resting() == []
    assert summary["flat_verified"] and summary["open_orders_at_exit"] == summary["venue_orders_at_exit"] == 0
    assert summary["violations"] == [] and summary["user_events"]["lost"] == 0 and summary["orders"]["unknown"] == 0
    assert summary["orders"]["placed"] > 0
    assert not (maker.run_dir / "control.sock").exists()


def test_a_second_signal_skips_the_verification_but_not_the_cancel_and_the_guardian_verifies_instead(
    venue: VenueThread, makers: Callable[..., Maker]
) -> None:
    maker = makers(venue)
    maker.quoting()
    maker.process.send_signal(signal.SIGINT)
    until(lambda: "stopping: signal SIGINT" in (maker.run_dir / "bot.log").read_text(), 2, "it has heard the first")
    heard_s = time.monotonic()
    until(lambda: time.monotonic() > heard_s + SAME_S, 2, "no longer the same request")
    code, summary = maker.end()
    assert (code, summary["flat_verified"]) == (5, False)
    until(lambda: not maker.resting(), 2, "cancelled")
    log = maker.run_dir / "guardian.log"
    until(lambda: "verified flat" in log.read_text(), 20, "the guardian has verified", log.read_text)


def test_of_a_stopped_or_killed_bot_the_guardian_empties_the_venue_and_the_next_start_comes_up_clean(
    venue: VenueThread, makers: Callable[..., Maker], quick: Path
) -> None:
    first = makers(venue, "--config", str(quick))
    first.quoting()
    first.process.send_signal(signal.SIGSTOP)
    until(lambda: not first.resting(), 10, "the guardian notices")
    first.process.send_signal(signal.SIGCONT)
    until(
        lambda: first.status()["state"] in ("failing", "cooldown"),
        5,
        "it does not go on as if nothing had been",
        first.status,
    )
    first.quoting()
    first.process.kill()
    first.process.wait()
    until(lambda: not first.resting(), 10, "the guardian sees that the bot is gone")
    second = makers(venue, "--config", str(quick))
    second.quoting(40)
    code, summary = second.end()
    assert code == 0 and summary["violations"] == []
    assert not (second.run_dir / "guardian.log").read_text(), "nothing to be done at an ordered end"
    log = (first.run_dir / "guardian.log").read_text()
    assert "no lease for" in log
    _, _, end = log.partition("the bot is gone")
    # Whichever comes first: the next start takes the lock, or the guardian has verified.
    assert "another bot is in charge" in end or "verified flat" in end
    assert not Path(f"/proc/{first.status()['guardian']['pid']}").exists()
    code, out, err = second.answer("replay", str(second.run_dir))
    assert (code, err) == (0, "") and "of 2 run(s)" in out and "every emitted byte matches" in out
    last = sorted((second.run_dir / "journal").glob("*.journal"))[-1]
    whole = last.read_bytes()
    last.write_bytes(whole + b"spoilt" + whole[8:])
    third = makers(venue)
    _, err_bytes = third.process.communicate(timeout=20)
    assert third.process.returncode == 2
    assert f"damaged at offset {len(whole)}, ".encode() in err_bytes and b"nothing was started" in err_bytes


def test_two_bots_with_one_key_both_end_flat_and_latched(venue: VenueThread, tmp_path: Path) -> None:
    """On two state directories, as on two machines: neither sees the other's lock."""
    with contextlib.ExitStack() as stack:
        both: list[Maker] = []
        for home in (tmp_path / "a", tmp_path / "b"):
            both.append(Maker(venue, home))
            stack.callback(both[-1].process.wait)
            stack.callback(both[-1].process.kill)
            if len(both) == 1:
                both[0].quoting()
        for maker in both:
            until(lambda maker=maker: maker.status().get("state") == "halted", 30, "halted", maker.status)
        assert both[0].resting() == []
        assert [maker.end()[0] for maker in both] == [75, 75]
        logs = [(maker.run_dir / "bot.log").read_text() for maker in both]
        assert "another host beats with this key" in logs[0] and "was never ours" in logs[1]


def test_an_operator_halts_cancels_and_resumes_from_outside(venue: VenueThread, makers: Callable[..., Maker]) -> None:
    maker = makers(venue)
    maker.quoting()
    run = ("--run-dir", str(maker.run_dir))
    code, _, text = maker.answer(
        "start", "--venue", maker.info["url"], "--series", SERIES, "--run-dir", f"{maker.home}/2"
    )
    assert code == 2 and "another bot runs on this wallet" in text and text.count("\n") == 1
    assert maker.answer("status", *run)[0] == 0
    code, text, _ = maker.answer("cancel-all", *run)
    assert code == 0 and "verified flat" in text
    assert maker.resting() == []
    until(lambda: maker.status()["state"] == "halted", 5, "halted")
    assert maker.answer("status", *run)[0] == 3
    assert maker.resting() == []
    until(lambda: maker.answer("resume", *run)[0] == 0, 10, "resumed")
    maker.quoting()
    maker.process.send_signal(signal.SIGSTOP)
    code, text, _ = maker.answer("cancel-all", *run)
    assert code == 0 and maker.resting() == []
    maker.process.send_signal(signal.SIGCONT)
    until(lambda: maker.status()["state"] == "halted", 10, "halted by the latch file")
    assert maker.resting() == []
    code, summary = maker.end()
    assert code == 75 and summary["violations"] == []
    assert maker.answer("resume", *run)[0] == 4
    code, text, _ = maker.answer("cancel-all", *run)
    assert code == 0 and "halted" not in text
    assert maker.answer("status", *run)[0] == 4


def test_a_broken_actor_and_a_killed_guardian_come_back_and_a_broken_executor_ends_the_run_flat(
    venue: VenueThread, makers: Callable[..., Maker], quick: Path
) -> None:
    maker = makers(venue, "--config", str(quick))
    maker.quoting()
    guardian = maker.status()["guardian"]["pid"]

    def broken(actor: str) -> None:
        fault = {"id": "T01", "actor": actor}
        assert requests.post(venue.info["url"] + "/control/faults", json=fault, timeout=5).status_code == 200

    for what, breaks in (
        ("strategy", lambda: broken("strategy")),
        ("guardian", lambda: os.kill(guardian, signal.SIGKILL)),
        ("executor", lambda: broken("executor")),
    ):
        last = requests.get(venue.info["url"] + "/control/log", timeout=5).json()[-1]["seq"]
        broken_ns = time.monotonic_ns()
        breaks()

        def cancels(after: int = last, since_ns: int = broken_ns) -> list[dict[str, Any]]:
            rows = requests.get(venue.info["url"] + "/control/log", params={"after": after}, timeout=5).json()
            return [row for row in rows if row["path"] == "/cancel-all" and row["monotonic_ns"] > since_ns]

        until(cancels, 5, f"cancel-all after {what} broke")
        if what != "executor":
            until(lambda: maker.status()["state"] != "quoting", 5, "it stops quoting")
            maker.quoting(40)
    assert maker.status()["guardian"]["pid"] != guardian
    out, err = maker.process.communicate(timeout=20)
    assert maker.process.returncode == 70, err.decode()
    assert orjson.loads(out)["flat_verified"] and maker.resting() == []


def test_a_cut_of_all_sockets_is_survived_without_a_lost_fill(venue: VenueThread, makers: Callable[..., Maker]) -> None:
    maker = makers(venue)
    maker.quoting()
    requests.post(venue.info["url"] + "/control/faults", json={"id": "W09", "duration_s": 2}, timeout=5)
    until(lambda: maker.status()["state"] != "quoting", 5, "it stops quoting")
    maker.quoting(40)
    code, summary = maker.end()
    assert code == 0 and summary["violations"] == []


@pytest.mark.parametrize("protocol", [1, 3])
def test_it_quotes_on_markets_of_the_other_generations(makers: Callable[..., Maker], protocol: int) -> None:
    with VenueThread(VenueOptions(seed=7, series=(SERIES,), protocol=protocol)) as venue:
        maker = makers(venue)
        maker.quoting()
        code, summary = maker.end()
        assert code == 0 and summary["orders"]["rejected"] == 0 and summary["violations"] == []


def live_config(venue: VenueThread, tmp_path: Path) -> Path:
    """Settings of live mode that name the embedded venue's hosts."""
    info = venue.info
    key = tmp_path / "key"
    key.write_text(info["private_key"])
    key.chmod(0o600)
    urls = ("rest_url", "gamma_url", "data_url", "market_ws_url", "user_ws_url", "settlement_ws_url")
    lines = [
        "[wallet]", f'address = "{info["address"]}"', f'key_file = "{key}"',
        "[venue]", *(f'{name} = "{info[name]}"' for name in urls),
        "[binance]", f'ws_url = "{info["binance_ws_url"]}"', f'rest_url = "{info["binance_rest_url"]}"',
        "[limits]", "q_max = 20", "order_size_max = 10", "loss_max_mkt = 5", "loss_max_day = 20", "capital_max = 50",
    ]  # fmt: skip
    config = tmp_path / "bot.toml"
    config.write_text("\n".join(lines))
    return config


def test_live_mode_runs_the_same_way_on_whatever_hosts_the_settings_name(
    venue: VenueThread, makers: Callable[..., Maker], tmp_path: Path
) -> None:
    """The real hosts are out of reach here; everything between the settings and the sockets is not."""
    config = live_config(venue, tmp_path)
    maker = makers(venue, "--help")  # for its environment only
    maker.process.communicate(timeout=20)
    refused = maker.answer("start", "--mode", "live", "--config", str(config))
    assert refused[0] == 2 and "not confirmed" in refused[2]
    maker.process = maker.command(
        "start", "--mode", "live", "--config", str(config), "--yes", "--json", "--run-dir", str(maker.run_dir)
    )
    maker.quoting()
    code, summary = maker.end()
    assert code == 0 and summary["mode"] == "live" and summary["flat_verified"]
    assert summary["risk"]["q_max"]["max"] == 20
    assert (maker.run_dir / "journal").is_symlink()


def test_no_secret_shows_anywhere(venue: VenueThread, makers: Callable[..., Maker], tmp_path: Path) -> None:
    maker = makers(venue)
    maker.process.kill()
    maker.process.wait()
    maker.run_dir = Path(f"{maker.run_dir}-debug")
    options = ("--venue", venue.info["url"], "--series", SERIES, "--run-dir", str(maker.run_dir), "--ui", "plain")
    with (tmp_path / "stderr").open("wb") as errors:
        maker.process = maker.command("--debug", "start", *options, stderr=errors)
    until(lambda: maker.status().get("state") == "quoting", 40, "quoting", maker.status)
    requests.post(venue.info["url"] + "/control/faults", json={"id": "T01", "actor": "user"}, timeout=5)
    until(lambda: maker.status()["state"] != "quoting", 5, "an actor failed, with its traceback in the log")
    shown = {}
    for pid in (maker.process.pid, maker.status()["guardian"]["pid"]):
        process = Path(f"/proc/{pid}")
        shown |= {f"{name} of {pid}": (process / name).read_bytes() for name in ("cmdline", "environ")}
        core = next(line for line in (process / "limits").read_text().splitlines() if "core file" in line)
        assert core.split()[4:6] == ["0", "0"], "a core would hold them all"
    shown["status"] = "".join(maker.answer("status", "--json", "--run-dir", str(maker.run_dir))[1:]).encode()
    shown["halt"] = "".join(maker.answer("halt", "--run-dir", str(maker.run_dir))[1:]).encode()
    for command in ("status", "resume"):
        shown[command] = orjson.dumps(ask(maker.run_dir / "control.sock", command))
    maker.process.send_signal(signal.SIGINT)
    shown["stdout"] = maker.process.communicate(timeout=20)[0]
    shown |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(shown[str(tmp_path / "stderr")]) > 500 and any(name.endswith(".journal") for name in shown)
    for name in ("private_key", "api_secret", "api_passphrase"):
        secret = venue.info[name].removeprefix("0x").encode()
        assert [where for where, text in shown.items() if secret in text] == [], name


def unzipped(folder: Path) -> bytes:
    return b"".join(gzip.decompress(part.read_bytes()) for part in sorted(folder.glob("part-*.gz")))


def test_a_bot_records_what_it_hears_and_that_can_be_traded_again(
    venue: VenueThread, makers: Callable[..., Maker], tmp_path: Path
) -> None:
    config = tmp_path / "recording.toml"
    config.write_text("[run]\nrecord = true\n")
    maker = makers(venue, "--config", str(config))
    maker.quoting()
    until(lambda: maker.status()["uptime_s"] > 4, 20, "some seconds of it")
    code, summary = maker.end()
    assert code == 0 and not summary["violations"]
    frames = maker.run_dir / "frames"
    code, out, err = maker.answer("backtest", str(frames), "--json")
    assert code == 0, err
    told = orjson.loads(out)
    assert told["windows"] >= 1 and told["ledger_error_e6"] == 0 and told["torn"] == []
    assert told["trading"] == [str(frames)]  # its own orders are in the books
    text = unzipped(frames)
    assert all(f" {source} frame ".encode() in text for source in ("binance", "market", "settle"))
    for name in ("private_key", "api_key", "api_secret", "api_passphrase"):
        assert venue.info[name].removeprefix("0x").encode() not in text, name


@pytest.mark.parametrize("mode", ["sim", "live"])
def test_record_listens_and_places_nothing(
    venue: VenueThread, makers: Callable[..., Maker], tmp_path: Path, mode: str
) -> None:
    maker = makers(venue, "--help")  # for its environment only
    maker.process.communicate(timeout=20)
    before = maker.resting()
    how = (
        ("--venue", venue.info["url"])
        if mode == "sim"
        else ("--mode", "live", "--config", live_config(venue, tmp_path))
    )
    out = tmp_path / "recorded"
    words = ("record", "--out", str(out), "--series", SERIES, *map(str, how), "--json")
    maker.process = maker.command(*words)
    until(lambda: list(out.glob("part-*.gz")) and next(out.glob("part-*.gz")).stat().st_size > 0, 20, "a first part")
    maker.process.send_signal(signal.SIGINT)
    printed, err = maker.process.communicate(timeout=20)
    assert maker.process.returncode == 0, err
    told = orjson.loads(printed)
    assert all(told["frames"][name] > 0 for name in ("binance", "market", "settle"))
    assert told["markets"] >= 1 and told["lines"] == unzipped(out).count(b"\n")
    assert maker.resting() == before
    code, _, err = maker.answer(*words)
    assert code == 2 and "holds a recording already" in err
