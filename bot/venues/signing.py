"""EIP-712 digests and signatures of orders and logins. Pure; knows no socket and no clock.

A faster twin of the vendor clients' builders: a digest is taken over words of fixed places, most of them packed once.
The tests hold it equal to them byte for byte. The digest of an order is its id at the venue, known before it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import sha3
from coincurve import PrivateKey

from bot.messages import NewOrder, Side


def keccak(data: bytes) -> bytes:
    digest: bytes = sha3.keccak_256(data).digest()
    return digest


ZERO_WORD = bytes(32)
ZERO_ADDRESS = "0x" + "00" * 20
BYTES32_ZERO = "0x" + "00" * 32
TOKENS_KEPT = 256  # words of tokens that were traded lately
POLY_1271 = 3  # signature type of deposit wallets; 0 EOA, 1 proxy, 2 Safe

# (chain, generation, negative risk) to the exchange contract that verifies the order.
EXCHANGES = {
    (137, 1, False): "0x4bFb41d5B3570DeFd03C39a9A4D8dE6Bd8B8982E",
    (137, 1, True): "0xC5d563A36AE78145C45a50134d48A1215220f80a",
    (137, 2, False): "0xE111180000d2663C0091e4f400237545B87B996B",
    (137, 2, True): "0xe2222d279d744050d28e00520010520000310F59",
    (137, 3, False): "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
    (80002, 1, False): "0xdFE02Eb6733538f8Ea35D585af8DE5958AD99E40",
    (80002, 1, True): "0xd91E80cF2E7be2e162c6513ceD06f1dD0dA35296",
    (80002, 2, False): "0xE111180000d2663C0091e4f400237545B87B996B",
    (80002, 2, True): "0xe2222d279d744050d28e00520010520000310F59",
    (80002, 3, False): "0x9fE6e61422AdB6F610d8597F9684b16912D50C3D",
}

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_ORDER_V1 = (
    "Order(uint256 salt,address maker,address signer,address taker,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint256 expiration,uint256 nonce,uint256 feeRateBps,uint8 side,uint8 signatureType)"
)
_ORDER_V2 = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_TYPED_DATA_SIGN = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
)
_CLOB_AUTH_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId)"
_CLOB_AUTH = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
CLOB_AUTH_TEXT = "This message attests that I control the given wallet"


def _hash_of(text: str) -> bytes:
    return keccak(text.encode())


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _address_word(address: str) -> bytes:
    raw = bytes.fromhex(address.removeprefix("0x"))
    assert len(raw) == 20, "an address has 20 bytes"
    return bytes(12) + raw


def checksum_address(address: str) -> str:
    """EIP-55 capitals. Raises ValueError for anything but 20 bytes of hex."""
    digits = address.removeprefix("0x").lower()
    if len(digits) != 40 or any(digit not in "0123456789abcdef" for digit in digits):
        raise ValueError(f"not an address: {address!r}")
    mask = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) >= 8 else d for d, m in zip(digits, mask, strict=False))


_SIDE_WORDS = ((Side.BUY, _word(0)), (Side.SELL, _word(1)))


class OrderIds:
    """The ids of one wallet's orders on one chain: what can be known of them without the key."""

    def __init__(self, *, address: str, chain_id: int, funder: str = "", signature_type: int = 0) -> None:
        """`address` is the key's. `funder` holds the money (proxy, Safe or deposit wallet); "" means the same."""
        if signature_type not in (0, 1, 2, POLY_1271):
            raise ValueError(f"signature type {signature_type} is not one of 0, 1, 2, 3")
        self.address = checksum_address(address)
        self.funder = checksum_address(funder) if funder else self.address
        self.chain_id = chain_id
        self.signature_type = signature_type
        # A deposit wallet signs for itself (ERC-1271); every other funder is signed for by the key.
        self.order_signer = self.funder if signature_type == POLY_1271 else self.address
        wallet = _address_word(self.funder) + _address_word(self.order_signer)
        # What an order's words are made of, besides its own: head, salt, wallet, token, amounts, tail by side and so on.
        self._wallet_v1 = wallet + ZERO_WORD  # taker: anyone
        self._wallet_v2 = wallet
        self._head_v1 = _hash_of(_ORDER_V1)
        self._head_v2 = _hash_of(_ORDER_V2)
        self._tail_v1 = {
            side: ZERO_WORD * 3 + word + _word(signature_type) for side, word in _SIDE_WORDS
        }  # expiration, nonce, fee
        self._tail_v2 = {side: word + _word(signature_type) for side, word in _SIDE_WORDS}
        self._token_words: dict[str, bytes] = {}
        self._domain = {
            (version, neg_risk): _domain_separator(str(version), chain_id, exchange)
            for (chain, version, neg_risk), exchange in EXCHANGES.items()
            if chain == chain_id
        }
        if not self._domain:
            raise ValueError(f"chain {chain_id} has no exchange known to us")
        self._domain[3, True] = self._domain[3, False]  # one exchange for all of generation 3

    def order_id_of(self, order: NewOrder) -> str:
        """The EIP-712 digest as 0x hex; a pure function of the order and the wallet, without the key."""
        domain = self._domain[order.version, order.neg_risk]
        return "0x" + keccak(b"\x19\x01" + domain + self._contents_hash(order)).hex()

    def _contents_hash(self, order: NewOrder) -> bytes:
        token = self._token_words.get(order.asset_id) or self._token_word(order.asset_id)
        amounts = order.maker_amount.to_bytes(32, "big") + order.taker_amount.to_bytes(32, "big")
        salt = order.salt.to_bytes(32, "big")
        if order.version == 1:
            assert self.signature_type != POLY_1271, "deposit wallets came with generation 2"
            return keccak(self._head_v1 + salt + self._wallet_v1 + token + amounts + self._tail_v1[order.side])
        timestamp = order.timestamp_ms.to_bytes(32, "big")
        # The last two words are metadata and builder.
        return keccak(
            b"".join(
                (
                    self._head_v2,
                    salt,
                    self._wallet_v2,
                    token,
                    amounts,
                    self._tail_v2[order.side],
                    timestamp,
                    2 * ZERO_WORD,
                )
            )
        )

    def _token_word(self, asset_id: str) -> bytes:
        if len(self._token_words) >= TOKENS_KEPT:
            self._token_words.clear()
        word = self._token_words[asset_id] = _word(int(asset_id))
        return word


class Signer(OrderIds):
    """One wallet's signatures on one chain. Invariant: `sign` signs the digest that `order_id_of` names."""

    def __init__(self, private_key: str, *, chain_id: int, funder: str = "", signature_type: int = 0) -> None:
        self._key = PrivateKey(bytes.fromhex(private_key.removeprefix("0x")))
        public = self._key.public_key.format(compressed=False)[1:]
        address = "0x" + keccak(public)[-20:].hex()
        super().__init__(address=address, chain_id=chain_id, funder=funder, signature_type=signature_type)
        self._deposit_head = _hash_of(_TYPED_DATA_SIGN + _ORDER_V2)
        self._deposit_tail = (
            _hash_of("DepositWallet") + _hash_of("1") + _word(chain_id) + _address_word(self.order_signer) + ZERO_WORD
        )
        self._deposit_suffix = (_ORDER_V2.encode() + len(_ORDER_V2).to_bytes(2, "big")).hex()
        self._body_head = f'"maker":"{self.funder}","signer":"{self.order_signer}",'

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def sign(self, order: NewOrder) -> str:
        """The signature as 0x hex. Signs the id the order carries: an order that lands has the id we know it by."""
        if self.signature_type != POLY_1271:
            return "0x" + self._ecdsa(bytes.fromhex(order.order_id[2:])).hex()
        domain = self._domain[order.version, order.neg_risk]
        contents = self._contents_hash(order)
        assert order.order_id == "0x" + keccak(b"\x19\x01" + domain + contents).hex(), "the order is not its id's"
        nested = keccak(self._deposit_head + contents + self._deposit_tail)
        ecdsa = self._ecdsa(keccak(b"\x19\x01" + domain + nested))
        return f"0x{ecdsa.hex()}{domain.hex()}{contents.hex()}{self._deposit_suffix}"

    def _ecdsa(self, digest: bytes) -> bytes:
        signature: bytes = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((signature[64] + 27,))

    def body(self, order: NewOrder, owner_api_key: str, post_only: bool = True, order_type: str = "GTC") -> bytes:
        """The signed order as the venue's compact JSON: the very bytes to hash into the headers and to send."""
        flag = "true" if post_only else "false"
        if order.version == 1:
            return (
                f'{{"order":{{"salt":{order.salt},{self._body_head}"taker":"{ZERO_ADDRESS}",'
                f'"tokenId":"{order.asset_id}","makerAmount":"{order.maker_amount}",'
                f'"takerAmount":"{order.taker_amount}","expiration":"0","nonce":"0","feeRateBps":"0",'
                f'"side":"{order.side.value}","signatureType":{self.signature_type},'
                f'"signature":"{self.sign(order)}"}},'
                f'"owner":"{owner_api_key}","orderType":"{order_type}","postOnly":{flag}}}'
            ).encode()
        return (
            f'{{"order":{{"salt":{order.salt},{self._body_head}'
            f'"tokenId":"{order.asset_id}","makerAmount":"{order.maker_amount}",'
            f'"takerAmount":"{order.taker_amount}","side":"{order.side.value}","expiration":"0",'
            f'"signatureType":{self.signature_type},"timestamp":"{order.timestamp_ms}",'
            f'"metadata":"{BYTES32_ZERO}","builder":"{BYTES32_ZERO}","signature":"{self.sign(order)}"}},'
            f'"owner":"{owner_api_key}","orderType":"{order_type}","deferExec":false,"postOnly":{flag}}}'
        ).encode()

    def auth_headers(self, utc_s: int, nonce: int = 0) -> dict[str, str]:
        """L1 headers: a ClobAuth signature proves the wallet, to make or derive API keys."""
        domain = keccak(_hash_of(_CLOB_AUTH_DOMAIN) + _hash_of("ClobAuthDomain") + _hash_of("1") + _word(self.chain_id))
        contents = keccak(
            _hash_of(_CLOB_AUTH)
            + _address_word(self.address)
            + _hash_of(str(utc_s))
            + _word(nonce)
            + _hash_of(CLOB_AUTH_TEXT)
        )
        return {
            "POLY_ADDRESS": self.address,
            "POLY_SIGNATURE": "0x" + self._ecdsa(keccak(b"\x19\x01" + domain + contents)).hex(),
            "POLY_TIMESTAMP": str(utc_s),
            "POLY_NONCE": str(nonce),
        }


def _domain_separator(version: str, chain_id: int, exchange: str) -> bytes:
    return keccak(
        _hash_of(_DOMAIN)
        + _hash_of("Polymarket CTF Exchange")
        + _hash_of(version)
        + _word(chain_id)
        + _address_word(exchange)
    )


def batch_body(bodies: Sequence[bytes]) -> bytes:
    """Several order bodies as one POST /orders."""
    return b"[" + b",".join(bodies) + b"]"
