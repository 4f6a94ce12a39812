"""How to reach a venue as a wallet: addresses of the endpoints, signer and API credentials, from settings or from an embedded venue."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bot.embedded import ask_info
from bot.errors import SettingsError
from bot.ports import Clock
from bot.settings import Settings, load, read_secret
from bot.state import RunDir
from bot.venues.cancel_client import CancelClient
from bot.venues.clob_http import Connection
from bot.venues.clob_login import Credentials, hmac_headers
from bot.venues.polymarket_gateway import ClobApi, derive_credentials
from bot.venues.signing import Signer


@dataclass(frozen=True, slots=True)
class Endpoints:
    rest_url: str
    gamma_url: str
    data_url: str
    market_ws_url: str
    user_ws_url: str
    settlement_ws_url: str
    binance_ws_url: str
    binance_futures_ws_url: str
    binance_rest_url: str


@dataclass(frozen=True, slots=True)
class Access:
    """A wallet at a venue. `venue_url` is set for embedded venues only. Secrets are kept out of repr."""

    endpoints: Endpoints
    chain_id: int
    signer: Signer = field(repr=False)
    credentials: Credentials
    secrets: tuple[str, ...] = field(repr=False)  # what must never show
    venue_url: str = ""
    venue_id: str = ""

    @property
    def funder(self) -> str:
        return self.signer.funder

    def api(self, utc_s: Callable[[], float] = time.time, clock: Clock = time.monotonic_ns) -> ClobApi:
        """A client with a connection of its own."""
        http = Connection(self.endpoints.rest_url, clock=clock)
        return ClobApi(http, self.signer, self.credentials, utc=utc_s, clock=clock)

    def canceller(self, utc_s: Callable[[], float] = time.time, clock: Clock = time.monotonic_ns) -> CancelClient:
        """What empties the wallet's book, with a connection of its own."""
        headers = hmac_headers(self.credentials, self.signer.address)
        return CancelClient(Connection(self.endpoints.rest_url, clock=clock), headers, utc=utc_s, clock=clock)


def from_info(info: Mapping[str, Any]) -> Access:
    """The funded test wallet of an embedded venue, from its `/control/info`."""
    return Access(
        endpoints=Endpoints(**{name: info[name] for name in Endpoints.__slots__}),
        chain_id=info.get("chain_id", 137),
        signer=Signer(info["private_key"], chain_id=info.get("chain_id", 137)),
        credentials=Credentials(info["api_key"], info["api_secret"], info["api_passphrase"]),
        secrets=(info["private_key"], info["api_secret"], info["api_passphrase"]),
        venue_url=info["url"],
        venue_id=info["venue_id"],
    )


def endpoints_of(settings: Settings) -> Endpoints:
    venue, binance = settings.venue, settings.binance
    return Endpoints(
        **{name: getattr(venue, name) for name in Endpoints.__slots__ if not name.startswith("binance")},
        binance_ws_url=binance.ws_url,
        binance_futures_ws_url=binance.futures_ws_url,
        binance_rest_url=binance.rest_url,
    )


def from_settings(settings: Settings) -> Access:
    """The operator's own wallet. Raises SettingsError for a key that cannot be read, is no key, or is another wallet's."""
    wallet, venue = settings.wallet, settings.venue
    key = read_secret(wallet.key_file)
    try:
        signer = Signer(key, chain_id=venue.chain_id, funder=wallet.funder, signature_type=wallet.signature_type)
    except ValueError:
        raise SettingsError(f"{wallet.key_file}: holds no private key (64 hex digits)") from None
    if signer.address.lower() != wallet.address.lower():
        raise SettingsError(
            f"{wallet.key_file}: is the key of {signer.address}, but [wallet] address is {wallet.address}"
        )
    if wallet.api_creds_file:
        credentials = read_credentials(wallet.api_creds_file)
    else:
        credentials = derive_credentials(venue.rest_url, key, venue.chain_id, wallet.signature_type, wallet.funder)
    return Access(
        endpoints=endpoints_of(settings),
        chain_id=venue.chain_id,
        signer=signer,
        credentials=credentials,
        secrets=(key, key.removeprefix("0x"), credentials.secret, credentials.passphrase),
    )


def listener(settings: Settings) -> tuple[Endpoints, Credentials]:
    """What it takes to listen to the real venue: no wallet, where the credentials are in a file. Raises SettingsError."""
    if not settings.wallet.api_creds_file:
        if not settings.wallet.key_file:
            raise SettingsError(
                "the stream of settlement prices wants API credentials: name their file in [wallet] api_creds_file, or the "
                "wallet's address and key_file"
            )
        access = from_settings(settings)
        return access.endpoints, access.credentials
    return endpoints_of(settings), read_credentials(settings.wallet.api_creds_file)


def read_credentials(name: str) -> Credentials:
    """API credentials as the venue's own clients write them. Raises SettingsError."""
    try:
        table = orjson.loads(read_secret(name))
        words = table["apiKey"], table["secret"], table["passphrase"]
        if not all(word and word.isascii() and word.isprintable() for word in words):  # they stand in headers
            raise ValueError
        base64.b64decode(words[1], altchars=b"-_", validate=True)
        return Credentials(*words)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SettingsError(f"{name}: expected JSON with apiKey, secret (base64) and passphrase") from None


def access_of(*, config: Path | None, run: RunDir | None, venue: str | None) -> Access:
    """The wallet a command means: --venue, else --config, else what the run's card says. Raises SettingsError."""
    if venue:
        return from_info(ask_info(venue))
    if config is not None:
        return from_settings(load(config)[0])
    if run is None:
        raise SettingsError(
            "no run found here: name the wallet with --config, a run with --run-dir, or a `bot sim` with --venue"
        )
    card = run.read_card()
    if card.get("mode") == "sim":
        return from_info(ask_info(card["venue_url"]))
    return from_settings(load(Path(card["config"]))[0])
