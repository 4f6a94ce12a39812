"""Signatures and digests are judged as the stock libraries and the protocol page's vectors say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2, OrderDataV2, Side, SignatureTypeV2
from py_clob_client_v2.signer import Signer
from py_clob_client_v2.signing.hmac import build_hmac_signature

from bot.sim import verify

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
WALLET = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
L1 = (
    "0x659ed4b28ae28e0f038fdf0023c00863c9559caacb9ebc83f44eea87059a099a"
    "36f1e1dee110e7faa1c4f65d17489b2da1333ebef78bbe2116d81207b975052d1c"
)
V1_SIGNATURE = (
    "0x990a9eda10d4a0ce091a05708f93c1c9b6ca010fb00f27f2f8839ceeb61d48c3"
    "6620a12d9566a0a44915fe633f9fb2a5a1f769288769808d5a69aed639d33d1d1b"
)
V2_SIGNATURE = (
    "0x53af8262c29629ac1fc50141f7cc7d1c60b78c25bc3cd0a16ac39ca138ccda1b"
    "0c4b5857e00475379b0eb24c8747c54129034302efbddaebb4c012a9529895051b"
)
V1_DIGEST = "0x66f698c492a93977f73842dc1d17232f8d4681e23621e47a789dce325f75d185"
V2_DIGEST = "0xec20977a668467cfd2730ca66b9d41f13fcea6a82a11cce775a7742153d4975e"
V3_DIGEST = "0x7c52d2fedce4f26b09cf01d977803b9fbd7c6812653bb8e9d838510d1c6b92b3"
FUNDER = "0x" + "ab" * 20


def wire(**changes: Any) -> verify.SignedOrder:
    fields: dict[str, Any] = {
        "salt": 479249096354,
        "maker": WALLET,
        "signer": WALLET,
        "tokenId": "123456789",
        "makerAmount": "5200000",
        "takerAmount": "10000000",
        "side": "BUY",
        "signatureType": 0,
        "timestamp": "1793750400123",
        "signature": V2_SIGNATURE,
    }
    return msgspec.convert({**fields, **changes}, verify.SignedOrder)


def stock(version: str, signature_type: SignatureTypeV2, maker: str, signer: str) -> verify.SignedOrder:
    """An order built and signed by the stock v2 library."""
    builder = ExchangeOrderBuilderV2(
        verify.EXCHANGES[int(version), False], 137, Signer(KEY, 137), lambda: "77", domain_version=version
    )
    signed = builder.build_signed_order(
        OrderDataV2(
            maker=maker,
            signer=signer,
            tokenId="5",
            makerAmount="1000000",
            takerAmount="2000000",
            side=Side.SELL,
            signatureType=signature_type,
            timestamp="1793750400123",
        )
    )
    return wire(
        salt=77,
        maker=maker,
        signer=signer,
        tokenId="5",
        makerAmount="1000000",
        takerAmount="2000000",
        side="SELL",
        signatureType=int(signature_type),
        signature=signed.signature,
    )


def test_wallet_proof_recovers_the_wallet() -> None:
    assert verify.l1_signer(WALLET, "1700000000", 0, L1) == WALLET.lower()
    assert verify.l1_signer(WALLET, "1700000001", 0, L1) != WALLET.lower()


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/data/orders", b"", "NTt0e8XQzUuVTici5whIU-0NfgRXijqf0FarNw-ik2Q="),
        ("DELETE", "/order", b'{"orderID":"0xabc"}', "R6Zjd0XmcT575-SA5KWD9BUc-qkFqvudAxkHd3R1vpw="),
    ],
)
def test_request_proof_equals_the_vectors_and_the_stock_client(
    method: str, path: str, body: bytes, expected: str
) -> None:
    secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert verify.l2_signature(secret, "1700000000", method, path, body) == expected
    assert build_hmac_signature(secret, "1700000000", method, path, body.decode()) == expected


@pytest.mark.parametrize(("version", "digest"), [(1, V1_DIGEST), (2, V2_DIGEST), (3, V3_DIGEST)])
def test_digest_is_the_vector_of_its_generation(version: int, digest: str) -> None:
    assert verify.order_digest(wire(), version) == digest


def test_addresses_in_any_case_give_the_same_digest() -> None:
    assert verify.order_digest(wire(maker=WALLET.lower(), signer="0x" + WALLET[2:].upper()), 2) == V2_DIGEST


def test_signer_is_recovered_for_the_right_generation_only() -> None:
    v1_order = wire(signature=V1_SIGNATURE, timestamp=None)
    assert verify.order_signer(v1_order, V1_DIGEST, 1) == WALLET.lower()
    assert verify.order_signer(wire(), V2_DIGEST, 2) == WALLET.lower()
    assert verify.order_signer(wire(), V3_DIGEST, 3) != WALLET.lower()


@pytest.mark.parametrize("signature_type", [SignatureTypeV2.POLY_PROXY, SignatureTypeV2.POLY_GNOSIS_SAFE])
@pytest.mark.parametrize("version", ["2", "3"])
def test_proxy_orders_are_signed_by_the_wallet_behind_the_funder(signature_type: SignatureTypeV2, version: str) -> None:
    order = stock(version, signature_type, FUNDER, WALLET)
    digest = verify.order_digest(order, int(version))
    assert verify.order_signer(order, digest, int(version)) == WALLET.lower()


@pytest.mark.parametrize("version", ["2", "3"])
def test_deposit_wallet_orders_carry_a_nested_signature(version: str) -> None:
    order = stock(version, SignatureTypeV2.POLY_1271, FUNDER, FUNDER)
    digest = verify.order_digest(order, int(version))
    assert verify.order_signer(order, digest, int(version)) == WALLET.lower()
    other_generation = 5 - int(version)
    assert verify.order_signer(order, digest, other_generation) == ""
    order.makerAmount = "1000001"
    assert verify.order_signer(order, verify.order_digest(order, int(version)), int(version)) == ""


@pytest.mark.parametrize("raw", ["00" * 65, "11" * 65, "ff" * 65, "11", V2_SIGNATURE[2:-2] + "05", "ff" * 400])
def test_garbage_signs_for_nobody(raw: str) -> None:
    for signature_type in (0, 3):
        order = wire(signature="0x" + raw, signatureType=signature_type)
        assert verify.order_signer(order, verify.order_digest(order, 2), 2) != WALLET.lower()


@pytest.mark.parametrize(
    "changes",
    [
        {"maker": "0x12"},
        {"tokenId": "-1"},
        {"tokenId": "9" * 78},
        {"side": "buy"},
        {"signature": "0x123"},
        {"salt": "1"},
        {"signatureType": 4},
        {"metadata": "0x00"},
    ],
)
def test_malformed_orders_do_not_decode(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        wire(**changes)
