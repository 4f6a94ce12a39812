"""Who signed this? L1 wallet proofs, L2 HMACs and order signatures of all three generations, judged by the stock libraries.

Our own signer never runs here, so it cannot be its own judge: digests come from py_order_utils (V1), py_clob_client_v2 (V2, V3)
and eth_account. These take over a second to import, so they are loaded at first use (`warm` does it early).
Knows nothing of accounts, balances or markets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

CHAIN_ID = 137
EXCHANGES: dict[tuple[int, bool], str] = {  # (generation, neg risk) to the verifying contract on chain 137
    (1, False): "0x4bFb41d5B3570DeFd03C39a9A4D8dE6Bd8B8982E",
    (1, True): "0xC5d563A36AE78145C45a50134d48A1215220f80a",
    (2, False): "0xE111180000d2663C0091e4f400237545B87B996B",
    (2, True): "0xe2222d279d744050d28e00520010520000310F59",
    (3, False): "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
    (3, True): "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
}
AUTH_TEXT = "This message attests that I control the given wallet"
DEPOSIT_WALLET = 3  # signature type whose signature is nested (ERC-7739)

Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
Bytes32 = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{64}$")]
Uint = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,78}$")]
Hex = Annotated[str, msgspec.Meta(pattern="^0x([0-9a-fA-F]{2})+$", max_length=4096)]


class SignedOrder(msgspec.Struct, kw_only=True):
    """`order` of POST /order. `timestamp` present: the newer struct (V2, V3); absent: V1."""

    salt: Annotated[int, msgspec.Meta(ge=0)]
    maker: Address
    signer: Address
    tokenId: Uint
    makerAmount: Uint
    takerAmount: Uint
    side: Literal["BUY", "SELL"]
    signatureType: Literal[0, 1, 2, 3]
    signature: Hex
    expiration: Uint = "0"
    timestamp: Uint | None = None
    metadata: Bytes32 = "0x" + "0" * 64
    builder: Bytes32 = "0x" + "0" * 64
    taker: Address = "0x" + "0" * 40
    nonce: Uint = "0"
    feeRateBps: Uint = "0"

    def __post_init__(self) -> None:
        numbers = (self.tokenId, self.makerAmount, self.takerAmount, self.nonce, self.feeRateBps, self.timestamp or "0")
        if self.salt >= 2**256 or any(int(number) >= 2**256 for number in numbers):
            raise ValueError("a number does not fit 256 bits")


def l2_signature(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """HMAC of a request; the path has no query. Raises ValueError for a secret that is not base64."""
    try:
        key = base64.urlsafe_b64decode(secret)
    except binascii.Error as error:
        raise ValueError("the secret is not base64") from error
    text = f"{timestamp}{method}{path}".encode() + body.replace(b"'", b'"')
    return base64.urlsafe_b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def l1_signer(address: str, timestamp: str, nonce: int, signature: str) -> str:
    """The wallet (lower case) that signed a ClobAuth message, or "" when nobody can have."""
    from eth_account.messages import encode_typed_data

    message = encode_typed_data(
        domain_data={"name": "ClobAuthDomain", "version": "1", "chainId": CHAIN_ID},
        message_types={
            "ClobAuth": [
                {"name": "address", "type": "address"},
                {"name": "timestamp", "type": "string"},
                {"name": "nonce", "type": "uint256"},
                {"name": "message", "type": "string"},
            ]
        },
        message_data={"address": address.lower(), "timestamp": timestamp, "nonce": nonce, "message": AUTH_TEXT},
    )
    return _recovered(_digest(message), signature)


def order_digest(order: SignedOrder, version: int, neg_risk: bool = False) -> str:
    """The order's id: 0x and its EIP-712 digest under the domain of that generation."""
    if version == 1:
        return str(_builder(1, neg_risk)._create_struct_hash(_order_v1(order)))
    builder = _builder(version, neg_risk)
    return str(builder.build_order_hash(builder.build_order_typed_data(_order_v2(order))))


def order_signer(order: SignedOrder, order_id: str, version: int, neg_risk: bool = False) -> str:
    """The wallet (lower case) whose key signed the order, or "". For a deposit wallet: the key behind the wallet."""
    if order.signatureType == DEPOSIT_WALLET:
        return _deposit_wallet_signer(order, version, neg_risk)
    return _recovered(bytes.fromhex(order_id[2:]), order.signature)


def warm() -> None:
    """Load the slow libraries now, so that the first order need not wait for them."""
    order = SignedOrder(
        salt=1,
        maker="0x" + "1" * 40,
        signer="0x" + "1" * 40,
        tokenId="1",
        makerAmount="1",
        takerAmount="1",
        side="BUY",
        signatureType=0,
        signature="0x" + "11" * 65,
        timestamp="1",
    )
    for version in (1, 2, 3):
        order_signer(order, order_digest(order, version), version)


@cache
def _builder(version: int, neg_risk: bool) -> Any:
    contract = EXCHANGES[version, neg_risk]
    if version == 1:
        from py_order_utils.builders import OrderBuilder

        return OrderBuilder(contract, CHAIN_ID, None)
    from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2

    return ExchangeOrderBuilderV2(contract, CHAIN_ID, None, domain_version=str(version))


def _order_v1(order: SignedOrder) -> Any:
    from py_order_utils.model import order as stock

    return stock.Order(
        salt=order.salt,
        maker=order.maker.lower(),
        signer=order.signer.lower(),
        taker=order.taker.lower(),
        tokenId=int(order.tokenId),
        makerAmount=int(order.makerAmount),
        takerAmount=int(order.takerAmount),
        expiration=int(order.expiration),
        nonce=int(order.nonce),
        feeRateBps=int(order.feeRateBps),
        side=0 if order.side == "BUY" else 1,
        signatureType=order.signatureType,
    )


def _order_v2(order: SignedOrder) -> Any:
    from py_clob_client_v2.order_utils import OrderV2, Side, SignatureTypeV2

    return OrderV2(
        salt=order.salt,
        maker=order.maker.lower(),
        signer=order.signer.lower(),
        tokenId=order.tokenId,
        makerAmount=order.makerAmount,
        takerAmount=order.takerAmount,
        side=Side.BUY if order.side == "BUY" else Side.SELL,
        signatureType=SignatureTypeV2(order.signatureType),
        timestamp=order.timestamp or "0",
        metadata=order.metadata,
        builder=order.builder,
        expiration=order.expiration,
    )


def _deposit_wallet_signer(order: SignedOrder, version: int, neg_risk: bool) -> str:
    """ERC-7739: 65-byte ECDSA, exchange domain, contents hash, contents type, length of the type."""
    if version == 1:
        return ""
    from eth_abi.abi import encode
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak
    from py_clob_client_v2.order_utils import exchange_order_builder_v2 as stock

    builder = _builder(version, neg_risk)
    domain: bytes = builder.app_domain_separator
    contents: bytes = encode_typed_data(full_message=builder.build_order_typed_data(_order_v2(order))).body
    kind = stock.ORDER_TYPE_STRING.encode()
    raw = bytes.fromhex(order.signature[2:])
    if raw[65:] != domain + contents + kind + len(kind).to_bytes(2, "big"):
        return ""
    wrapped = encode(
        ["bytes32", "bytes32", "bytes32", "bytes32", "uint256", "address", "bytes32"],
        [
            stock.SOLADY_TYPE_HASH,
            contents,
            stock.DEPOSIT_WALLET_NAME_HASH,
            stock.DEPOSIT_WALLET_VERSION_HASH,
            CHAIN_ID,
            order.signer.lower(),
            stock.DEPOSIT_WALLET_DOMAIN_SALT,
        ],
    )
    return _recovered(keccak(b"\x19\x01" + domain + keccak(wrapped)), "0x" + raw[:65].hex())


def _digest(message: Any) -> bytes:
    from eth_utils.crypto import keccak

    digest: bytes = keccak(b"\x19" + message.version + message.header + message.body)
    return digest


def _recovered(digest: bytes, signature: str) -> str:
    from eth_account import Account
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
        if len(raw) != 65:
            return ""
        return str(Account._recover_hash(digest, signature=raw)).lower()
    except (BadSignature, ValidationError, ValueError, TypeError):
        return ""
