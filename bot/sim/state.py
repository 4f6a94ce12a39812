"""The venue's state file (identity, keys, cash and positions; never orders) and the address of its test wallet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from bot.errors import SettingsError

KEYS = {"venue_id", "seed", "accounts", "owners"}


def load(state: Path | None) -> dict[str, Any]:
    """A state file's content; {} when there is none yet. Raises SettingsError for one that cannot be used."""
    if state is None:
        return {}
    if not state.exists():
        if not state.parent.is_dir():
            raise SettingsError(f"the folder of the state file {state} does not exist")
        return {}
    try:
        kept = orjson.loads(state.read_bytes())
        if not kept.keys() >= KEYS:
            raise ValueError(f"it must have the keys {', '.join(sorted(KEYS))}")
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError(f"the state file {state} cannot be used: {error}") from error
    return dict(kept)


def save(state: Path, record: dict[str, Any]) -> None:
    """Replace the state file; the old one stays whole until the new one is."""
    assert record.keys() == KEYS
    fresh = state.with_name(state.name + ".new")
    fresh.write_bytes(orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2))
    fresh.replace(state)


def wallet_address(private_key: str) -> str:
    """The checksummed address of a key, without the second that eth_account takes to import."""
    import sha3
    from coincurve import PrivateKey

    public = PrivateKey(bytes.fromhex(private_key.removeprefix("0x"))).public_key.format(compressed=False)[1:]
    address = sha3.keccak_256(public).hexdigest()[-40:]
    digest = sha3.keccak_256(address.encode()).hexdigest()
    return "0x" + "".join(
        letter.upper() if int(nibble, 16) > 7 else letter for letter, nibble in zip(address, digest, strict=False)
    )
