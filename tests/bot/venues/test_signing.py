"""Our signer against published vectors and against the vendor clients' own builders."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from py_clob_client.config import get_contract_config as config_v1
from py_clob_client.utilities import order_to_json as order_to_json_v1
from py_clob_client_v2.config import get_contract_config
from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2
from py_clob_client_v2.order_utils.model import OrderDataV2
from py_clob_client_v2.order_utils.model import Side as StockSide
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2
from py_clob_client_v2.signer import Signer as StockSigner
from py_clob_client_v2.signing.eip712 import sign_clob_auth_message
from py_clob_client_v2.signing.hmac import build_hmac_signature
from py_order_utils.builders import OrderBuilder
from py_order_utils.model import OrderData
from py_order_utils.signer import Signer as StockSignerV1

from bot.messages import NewOrder, Side
from bot.units import TICKS
from bot.venues.clob_login import Credentials, hmac_headers, hmac_signature
from bot.venues.signing import TOKENS_KEPT, Signer, batch_body, checksum_address

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
FUNDER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKEN = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def order(**fields: Any) -> NewOrder:
    values: dict[str, Any] = {
        "cl_ord_id": "c1",
        "order_id": "",
        "symbol": "0xm",
        "asset_id": "123456789",
        "side": Side.BUY,
        "px": 5200,
        "order_qty": 10_000_000,
        "maker_amount": 5_200_000,
        "taker_amount": 10_000_000,
        "salt": 479249096354,
        "timestamp_ms": 1793750400123,
        "version": 2,
        "neg_risk": False,
        "tick": 100,
        "epoch": 0,
        "valid_until_ns": 1,
        "made_ns": 0,
    } | fields
    return NewOrder(**values)


def named(signer: Signer, **fields: Any) -> NewOrder:
    unnamed = order(**fields)
    return order(**fields, order_id=signer.order_id_of(unnamed))


def test_the_address_follows_from_the_key_and_the_key_stays_out_of_repr() -> None:
    signer = Signer(KEY, chain_id=137)
    assert (signer.address, signer.funder) == (ADDRESS, ADDRESS)
    assert KEY[2:] not in repr(signer)
    assert "s3cret" not in repr(Credentials("k", "s3cret", "s3cret"))


@pytest.mark.parametrize(
    ("version", "digest"),
    [
        (1, "0x66f698c492a93977f73842dc1d17232f8d4681e23621e47a789dce325f75d185"),
        (2, "0xec20977a668467cfd2730ca66b9d41f13fcea6a82a11cce775a7742153d4975e"),
        (3, "0x7c52d2fedce4f26b09cf01d977803b9fbd7c6812653bb8e9d838510d1c6b92b3"),
    ],
)
def test_published_digests(version: int, digest: str) -> None:
    assert Signer(KEY, chain_id=137).order_id_of(order(version=version)) == digest


@pytest.mark.parametrize(
    ("version", "signature"),
    [
        (
            1,
            "0x990a9eda10d4a0ce091a05708f93c1c9b6ca010fb00f27f2f8839ceeb61d48c3"
            "6620a12d9566a0a44915fe633f9fb2a5a1f769288769808d5a69aed639d33d1d1b",
        ),
        (
            2,
            "0x53af8262c29629ac1fc50141f7cc7d1c60b78c25bc3cd0a16ac39ca138ccda1b"
            "0c4b5857e00475379b0eb24c8747c54129034302efbddaebb4c012a9529895051b",
        ),
    ],
)
def test_published_signatures(version: int, signature: str) -> None:
    signer = Signer(KEY, chain_id=137)
    assert signer.sign(named(signer, version=version)) == signature


def test_published_login_signature() -> None:
    headers = Signer(KEY, chain_id=137).auth_headers(1_700_000_000)
    assert headers == {
        "POLY_ADDRESS": ADDRESS,
        "POLY_SIGNATURE": "0x659ed4b28ae28e0f038fdf0023c00863c9559caacb9ebc83f44eea87059a099a"
        "36f1e1dee110e7faa1c4f65d17489b2da1333ebef78bbe2116d81207b975052d1c",
        "POLY_TIMESTAMP": "1700000000",
        "POLY_NONCE": "0",
    }


def test_login_signature_equals_stock_on_both_chains() -> None:
    for chain in (137, 80002):
        expected = sign_clob_auth_message(StockSigner(KEY, chain), 1_793_750_400, 7)
        assert Signer(KEY, chain_id=chain).auth_headers(1_793_750_400, nonce=7)["POLY_SIGNATURE"] == expected


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/data/orders", b"", "NTt0e8XQzUuVTici5whIU-0NfgRXijqf0FarNw-ik2Q="),
        ("DELETE", "/order", b'{"orderID":"0xabc"}', "R6Zjd0XmcT575-SA5KWD9BUc-qkFqvudAxkHd3R1vpw="),
    ],
)
def test_published_request_signatures(method: str, path: str, body: bytes, expected: str) -> None:
    headers = hmac_headers(Credentials("key", SECRET, "pass"), ADDRESS)
    lines = headers(method, path + "?next_cursor=MA==", body, 1_700_000_000)
    assert lines.endswith("\r\n")
    assert dict(line.split(": ") for line in lines.splitlines()) == {
        "POLY_ADDRESS": ADDRESS,
        "POLY_SIGNATURE": expected,
        "POLY_TIMESTAMP": "1700000000",
        "POLY_API_KEY": "key",
        "POLY_PASSPHRASE": "pass",
    }


def test_request_signature_treats_apostrophes_as_stock_does() -> None:
    body = b'{"a":"it\'s"}'
    ours = hmac_signature(bytes(range(32)), 1_700_000_000, "POST", "/order", body)
    assert ours == build_hmac_signature(SECRET, "1700000000", "POST", "/order", body.decode())


def amounts(side: Side, tick: int, rng: random.Random) -> dict[str, Any]:
    """A price on the grid and a size in lots, with the exact amounts of that order."""
    px = tick * rng.randrange(1, 10_000 // tick)
    qty = 10_000 * rng.randrange(500, 200_000)
    money = px * qty // 10_000
    maker, taker = (money, qty) if side is Side.BUY else (qty, money)
    return {"px": px, "order_qty": qty, "maker_amount": maker, "taker_amount": taker, "tick": tick, "side": side}


def stock_v2(ours: Signer, ordered: NewOrder, chain: int) -> tuple[str, dict[str, Any]]:
    config = get_contract_config(chain)
    exchange = config.exchange_v3 if ordered.version == 3 else config.exchange_v2
    if ordered.version == 2 and ordered.neg_risk:
        exchange = config.neg_risk_exchange_v2
    builder = ExchangeOrderBuilderV2(
        exchange,
        chain,
        StockSigner(KEY, chain),
        generate_salt=lambda: str(ordered.salt),
        domain_version=str(ordered.version),
    )
    data = OrderDataV2(
        maker=ours.funder,
        tokenId=ordered.asset_id,
        makerAmount=str(ordered.maker_amount),
        takerAmount=str(ordered.taker_amount),
        side=StockSide.BUY if ordered.side is Side.BUY else StockSide.SELL,
        signer=ours.order_signer,
        signatureType=ours.signature_type,
        timestamp=str(ordered.timestamp_ms),
    )
    digest = builder.build_order_hash(builder.build_order_typed_data(builder.build_order(data)))
    return digest, order_to_json_v2(builder.build_signed_order(data), "api-key", "GTC", True)


def stock_v1(ours: Signer, ordered: NewOrder, chain: int) -> tuple[str, dict[str, Any]]:
    builder = OrderBuilder(
        config_v1(chain, ordered.neg_risk).exchange,
        chain,
        StockSignerV1(KEY),
        salt_generator=lambda: ordered.salt,
    )
    data = OrderData(
        maker=ours.funder,
        tokenId=ordered.asset_id,
        makerAmount=str(ordered.maker_amount),
        takerAmount=str(ordered.taker_amount),
        side=0 if ordered.side is Side.BUY else 1,
        feeRateBps="0",
        signer=ours.address,
        signatureType=ours.signature_type,
    )
    digest = "0x" + builder._create_struct_hash(builder.build_order(data)).removeprefix("0x")
    return digest, order_to_json_v1(builder.build_signed_order(data), "api-key", "GTC", True)


# Deposit wallets (type 3) came with generation 2.
KINDS = [(version, kind) for version in (1, 2, 3) for kind in (0, 1, 2, 3) if (version, kind) != (1, 3)]


def equal_the_stock_builder(count: int, seed: str) -> None:
    """That many random orders of every generation and signature type: their ids, signatures and bodies, to the byte."""
    rng = random.Random(seed)
    for number in range(count):
        version, kind = KINDS[number % len(KINDS)]
        chain = rng.choice((137, 80002))
        signer = Signer(KEY, chain_id=chain, funder=FUNDER if kind else "", signature_type=kind)
        fields = amounts(rng.choice(list(Side)), rng.choice(TICKS), rng) | {
            "version": version,
            "neg_risk": rng.random() < 0.5,
            "asset_id": str(rng.randrange(1 << 256)),
            "salt": rng.randrange(1 << (32 if version == 1 else 53)),
            "timestamp_ms": rng.randrange(1_600_000_000_000, 2_000_000_000_000),
        }
        ordered = named(signer, **fields)
        digest, body = (stock_v1 if version == 1 else stock_v2)(signer, ordered, chain)
        assert ordered.order_id == digest, fields
        assert signer.body(ordered, "api-key") == json.dumps(body, separators=(",", ":")).encode(), fields


def test_random_orders_equal_the_stock_builders() -> None:
    equal_the_stock_builder(660, "default")


@pytest.mark.soak
def test_ten_thousand_random_orders_equal_the_stock_builders() -> None:
    equal_the_stock_builder(10_000, "soak")


def test_more_tokens_than_are_kept_still_sign_right() -> None:
    signer, fresh = Signer(KEY, chain_id=137), Signer(KEY, chain_id=137)
    ids = [signer.order_id_of(order(asset_id=str(token))) for token in range(2 * TOKENS_KEPT)]
    assert ids[0] == signer.order_id_of(order(asset_id="0")) == fresh.order_id_of(order(asset_id="0"))
    assert len(set(ids)) == len(ids)


def test_post_only_and_order_type_are_options_of_the_body() -> None:
    signer = Signer(KEY, chain_id=137)
    body = json.loads(signer.body(named(signer), "k", post_only=False, order_type="FOK"))
    assert (body["postOnly"], body["orderType"], body["owner"]) == (False, "FOK", "k")
    assert json.loads(batch_body([b"{}", b"{}"])) == [{}, {}]


def test_a_deposit_wallet_refuses_an_order_that_is_not_its_ids() -> None:
    signer = Signer(KEY, chain_id=137, funder=FUNDER, signature_type=3)
    with pytest.raises(AssertionError):
        signer.sign(order(order_id="0x" + "11" * 32))


@pytest.mark.parametrize("text", ["", "0x12", "0x" + "zz" * 20])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        checksum_address(text)


@pytest.mark.parametrize(("chain", "signature_type"), [(1, 0), (137, 4)])
def test_unknown_chain_or_signature_type_is_refused(chain: int, signature_type: int) -> None:
    with pytest.raises(ValueError, match=r"chain|signature type"):
        Signer(KEY, chain_id=chain, signature_type=signature_type)
