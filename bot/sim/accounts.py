"""Who may trade at the embedded venue: wallets, their API keys, the funders they trade for, and their heartbeats.

Everything is derived from one seed, so the same seed gives the same keys. Time is passed in; knows no HTTP and no market.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections import deque
from typing import Any

import msgspec

from bot.sim import verify

TOLERANCE_S = 30  # how far an L2 timestamp may be off
BEAT_MS_MAX = 10_000  # silence after which a key that ever beat loses its orders
NOTICES_MAX = 200
BANNED, CLOSED_ONLY = "banned", "closed only"  # what an account may be besides ordinary


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """One API key of a wallet."""

    api_key: str
    secret: str
    passphrase: str
    nonce: int


class Account(msgspec.Struct, kw_only=True):
    """A wallet that proved itself. `address` is lower case; `funders` says for whom it trades, by signature type."""

    address: str
    funders: dict[int, str] = {}
    state: str = ""  # "", BANNED, or CLOSED_ONLY, which may only sell
    keys: dict[int, Credentials] = {}  # by nonce
    notices: deque[dict[str, Any]] = msgspec.field(default_factory=lambda: deque(maxlen=NOTICES_MAX))

    @property
    def owners(self) -> list[str]:
        """Every ledger owner this wallet may act for, itself first."""
        return [self.address, *(owner for owner in self.funders.values() if owner != self.address)]


class Caller(msgspec.Struct, frozen=True):
    """An authenticated request's account and key."""

    account: Account
    api_key: str


class Beats:
    """The dead-man switch of one key: a chain of ids, each beat carrying the last one."""

    def __init__(self) -> None:
        self.expected = ""
        self.last_ms = 0
        self.armed = False

    def beat(self, heartbeat_id: str | None, now_ms: int) -> bool:
        """Accept a beat and go on with a new id. A lapsed chain may be begun anew with an empty id."""
        lapsed = not self.expected or now_ms - self.last_ms > BEAT_MS_MAX
        if heartbeat_id != self.expected and not (lapsed and not heartbeat_id):
            return False
        self.expected = str(uuid.uuid4())
        self.refresh(now_ms)
        return True

    def refresh(self, now_ms: int) -> None:
        self.last_ms = now_ms
        self.armed = True

    def lapsed(self, now_ms: int) -> bool:
        """True once when the beats stopped; the next accepted beat arms the switch again."""
        if not self.armed or now_ms - self.last_ms <= BEAT_MS_MAX:
            return False
        self.armed = False
        return True


class Accounts:
    """All wallets the venue knows. A funder belongs to one wallet only."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.by_address: dict[str, Account] = {}
        self.by_key: dict[str, tuple[Account, Credentials]] = {}
        self.beats: dict[str, Beats] = {}  # by API key

    def private_key(self) -> str:
        """Of the funded test wallet."""
        return "0x" + self._hash("wallet").hex()

    def _hash(self, *parts: object) -> bytes:
        return hashlib.sha256(":".join(["clobmaker-sim", str(self._seed), *map(str, parts)]).encode()).digest()

    def open(self, address: str) -> Account:
        """The account of a wallet, made at first sight."""
        address = address.lower()
        if address not in self.by_address:
            self.by_address[address] = Account(address=address, funders={0: address})
        return self.by_address[address]

    def create_key(self, address: str, nonce: int) -> Credentials | None:
        """None when the wallet has a key for this nonce already."""
        account = self.open(address)
        if nonce in account.keys:
            return None
        credentials = Credentials(
            api_key=str(uuid.UUID(bytes=self._hash("key", account.address, nonce)[:16], version=4)),
            secret=base64.urlsafe_b64encode(self._hash("secret", account.address, nonce)).decode(),
            passphrase=self._hash("passphrase", account.address, nonce).hex(),
            nonce=nonce,
        )
        account.keys[nonce] = credentials
        self.by_key[credentials.api_key] = (account, credentials)
        return credentials

    def delete_key(self, api_key: str) -> None:
        account, credentials = self.by_key.pop(api_key)
        del account.keys[credentials.nonce]
        self.beats.pop(api_key, None)

    def funder_for(self, signature_type: int, address: str) -> str:
        """A made-up proxy or deposit wallet of an EOA; type 0 funds itself."""
        if signature_type == 0:
            return address.lower()
        return "0x" + self._hash("funder", signature_type, address.lower()).hex()[:40]

    def register_funder(self, account: Account, signature_type: int, funder: str) -> bool:
        """Whether the account may trade for this funder; the first use of a free one takes it."""
        funder = funder.lower()
        known = account.funders.get(signature_type)
        if known is None and not any(funder in other.owners for other in self.by_address.values()):
            account.funders[signature_type] = known = funder
        return known == funder

    def caller(self, api_key: str, passphrase: str, address: str) -> Caller | None:
        found = self.by_key.get(api_key)
        if found is None:
            return None
        account, credentials = found
        if passphrase != credentials.passphrase or address.lower() != account.address:
            return None
        return Caller(account, api_key)

    def authenticate(
        self,
        headers: Any,
        method: str,
        path: str,
        body: bytes,
        now_s: float,
    ) -> Caller | None:
        """The caller of an L2 request, or None when any part of the proof is missing or wrong."""
        timestamp = headers.get("POLY_TIMESTAMP", "")
        caller = self.caller(
            headers.get("POLY_API_KEY", ""), headers.get("POLY_PASSPHRASE", ""), headers.get("POLY_ADDRESS", "")
        )
        if caller is None or not timestamp.isdecimal() or abs(int(timestamp) - now_s) > TOLERANCE_S:
            return None
        secret = self.by_key[caller.api_key][1].secret
        expected = verify.l2_signature(secret, timestamp, method, path, body)
        return caller if headers.get("POLY_SIGNATURE", "") == expected else None

    def stream_caller(self, auth: Any) -> Caller | None:
        """Who opens a stream with `{"apiKey", "secret", "passphrase"}`."""
        if not isinstance(auth, dict):
            return None
        found = self.by_key.get(str(auth.get("apiKey", "")))
        if found is None:
            return None
        account, credentials = found
        given = (str(auth.get("secret", "")), str(auth.get("passphrase", "")))
        return Caller(account, credentials.api_key) if given == (credentials.secret, credentials.passphrase) else None

    def record(self) -> list[dict[str, Any]]:
        """What a state file keeps; keys follow from seed, address and nonce."""
        return [
            {"address": account.address, "nonces": sorted(account.keys), "funders": account.funders}
            for account in self.by_address.values()
        ]

    def restore(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            account = self.open(row["address"])
            account.funders.update({int(kind): funder for kind, funder in row["funders"].items()})
            for nonce in row["nonces"]:
                self.create_key(account.address, nonce)
