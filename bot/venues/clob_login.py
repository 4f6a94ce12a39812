"""The API key of a wallet, and the HMAC that proves it on each private request. Pure, standard library only: the guardian
needs it without the signer."""

from __future__ import annotations

import base64
import hmac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Headers = Callable[[str, str, bytes, int], str]


class Credentials:
    """The API key of the wallet. Its secrets are kept out of repr, so out of logs and tracebacks."""

    __slots__ = ("api_key", "passphrase", "secret")

    def __init__(self, api_key: str, secret: str, passphrase: str) -> None:
        self.api_key = api_key
        self.secret = secret
        self.passphrase = passphrase

    def __repr__(self) -> str:
        return f"Credentials({self.api_key})"


def hmac_signature(secret: bytes, utc_s: int, method: str, path: str, body: bytes = b"") -> str:
    """L2 signature; `secret` already decoded, `path` without its query, `body` the exact bytes that are sent."""
    message = f"{utc_s}{method}{path}".encode() + body.replace(b"'", b'"')
    return base64.urlsafe_b64encode(hmac.digest(secret, message, "sha256")).decode()


def hmac_headers(credentials: Credentials, address: str) -> Headers:
    """The lines of the L2 headers as a function of (method, path, body, utc_s); what never changes is made once."""
    secret = base64.urlsafe_b64decode(credentials.secret)
    who = f"POLY_ADDRESS: {address}\r\nPOLY_API_KEY: {credentials.api_key}\r\nPOLY_PASSPHRASE: {credentials.passphrase}\r\n"

    def headers(method: str, path: str, body: bytes, utc_s: int) -> str:
        signature = hmac_signature(secret, utc_s, method, path.partition("?")[0], body)
        return f"{who}POLY_TIMESTAMP: {utc_s}\r\nPOLY_SIGNATURE: {signature}\r\n"

    return headers
