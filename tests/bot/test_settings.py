"""Bad settings are refused by name, in one line, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.access import read_credentials
from bot.errors import SettingsError
from bot.settings import Settings, check_live, load, masked, read_secret, template, validated


def test_the_template_is_the_defaults() -> None:
    import tomllib

    assert validated(tomllib.loads(template()), "template") == Settings()


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"limits": {"q_maximum": 3}}, "limits.q_maximum: unknown key"),
        ({"limit": {}}, "limit: unknown key"),
        ({"limits": {"q_max": -1}}, "limits.q_max"),
        ({"limits": {"q_max": float("nan")}}, "limits.q_max"),
        ({"strategy": {"gamma": 9}}, "strategy.gamma"),
        ({"strategy": {"gama": 0.1}}, "strategy.gama: unknown key"),
        ({"run": {"series": []}}, "run.series"),
        ({"run": {"series": ["doge-updown-5m"]}}, "doge-updown-5m"),
        ({"limits": {"loss_max_mkt": 300}}, "loss_max_mkt is above"),
        ({"wallet": {"address": "0x12"}}, "wallet.address"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(raw: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validated(raw, "bot.toml")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(tmp_path / "bad.toml")


LIVE = {
    "wallet": {"address": "0x" + "11" * 20, "key_file": "key"},
    "limits": {"q_max": 20, "order_size_max": 10, "loss_max_mkt": 5, "loss_max_day": 20, "capital_max": 50},
}


def test_live_needs_every_limit_written_down() -> None:
    raw = {**LIVE, "limits": {"loss_max_mkt": 5, "loss_max_day": 20}}
    with pytest.raises(SettingsError, match="q_max, order_size_max, capital_max"):
        check_live(validated(raw, "f"), raw)


def test_live_refuses_a_series_that_only_the_embedded_venue_has() -> None:
    raw = {**LIVE, "run": {"series": ["btc-updown-1m"]}}
    with pytest.raises(SettingsError, match="only on the embedded venue"):
        check_live(validated(raw, "f"), raw)


def test_live_is_held_on_the_leash() -> None:
    check_live(validated(LIVE, "f"), LIVE)
    more = {**LIVE, "limits": {**LIVE["limits"], "loss_max_day": 21}}
    with pytest.raises(SettingsError, match="25 USD"):
        check_live(validated(more, "f"), more)
    two = {**LIVE, "run": {"series": ["btc-updown-5m", "eth-updown-5m"]}}
    with pytest.raises(SettingsError, match="1 series"):
        check_live(validated(two, "f"), two)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0xabc\n")
    key.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_secret(str(key))
    key.chmod(0o600)
    assert read_secret(str(key)) == "0xabc"


def test_a_systemd_credential_may_show_the_group_right_that_systemd_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError, match="LoadCredential"):
        read_secret("credential:key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "key").write_text("0xabc\n")
    (tmp_path / "key").chmod(0o440)
    assert read_secret("credential:key") == "0xabc"
    (tmp_path / "key").chmod(0o444)
    with pytest.raises(SettingsError, match="others may read it"):
        read_secret("credential:key")


def test_shown_settings_mask_the_wallet() -> None:
    shown = masked(validated(LIVE, "f"))
    assert shown["wallet"]["address"] == "0x1111…1111"


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000, "x = " + "9" * 5000, "[limits]\nq_max = \0", "[limits]\rq_max = 60", "x"]
)
def test_what_no_toml_reader_takes_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bot.toml"
    file.write_bytes(text.encode())
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(file)


def test_a_name_that_no_file_can_have_is_one_line() -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(Path("a\0b"))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, 10**400, 0, -1])
@pytest.mark.parametrize("name", ["loss_max_mkt", "loss_max_day", "capital_max"])
def test_a_limit_in_money_is_a_number_that_the_journal_can_hold(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        validated({"limits": {name: value}}, "f")


@pytest.mark.parametrize("value", [0, -1, 2**53, 10**400])
def test_a_chain_has_a_number_that_orders_can_carry(value: int) -> None:
    with pytest.raises(SettingsError, match="chain_id"):
        validated({"venue": {"chain_id": value}}, "f")


def test_a_key_in_place_of_its_file_is_refused_and_not_shown() -> None:
    for key in (64 * "a", "0x" + 64 * "B"):
        with pytest.raises(SettingsError, match="is the key itself") as refused:
            validated({"wallet": {"key_file": key}}, "f")
        assert key not in str(refused.value)
        with pytest.raises(SettingsError, match="unknown key") as refused:
            validated({"wallet": {key: 1}}, "f")
        assert key not in str(refused.value)


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-this-name/key"])
def test_a_secret_under_a_name_that_no_file_can_have_is_one_line(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_secret(name)


def test_a_secret_that_is_no_text_is_one_line_without_it(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"abcdefgh\xff")
    key.chmod(0o600)
    with pytest.raises(SettingsError, match="cannot be read") as refused:
        read_secret(str(key))
    assert "abcd" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"apiKey": "a\nb"},
        {"passphrase": "\u00e9"},
        {"secret": "no base64!"},
        {"secret": "abc"},
        {"secret": 7},
        {"apiKey": ""},
    ],
)
def test_credentials_that_no_request_can_carry_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "creds"
    file.write_text(json.dumps({"apiKey": "k", "secret": "AAEC", "passphrase": "p"}))
    file.chmod(0o600)
    assert read_credentials(str(file)).passphrase == "p"
    file.write_text(json.dumps({"apiKey": "k", "secret": "AAEC", "passphrase": "p"} | change))
    with pytest.raises(SettingsError, match="expected JSON"):
        read_credentials(str(file))
