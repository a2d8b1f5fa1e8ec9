"""Sign transactions off line (EIP-155, legacy form: every EVM chain that we know of takes it).

The caller saves the signed bytes before sending: a transaction may be mined although no answer came back.
"""

from __future__ import annotations

from dataclasses import dataclass

import rlp
from coincurve import PrivateKey
from eth_utils.crypto import keccak

from contracts.eip712 import address_of
from contracts.errors import BadStruct


@dataclass(frozen=True)
class Transaction:
    """What is to be done. ``to`` None creates a contract; ``gas_price`` is in wei."""

    chain_id: int
    nonce: int
    gas: int
    gas_price: int
    to: str | None
    data: bytes
    value: int = 0


@dataclass(frozen=True)
class SignedTransaction:
    """Bytes for eth_sendRawTransaction, the hash it will have, and the account that pays."""

    raw: bytes
    hash: bytes
    sender: str
    nonce: int


def address_of_key(private_key: bytes) -> str:
    """The account of a private key."""
    return address_of(PrivateKey(private_key).public_key.format(compressed=False))


def sign(transaction: Transaction, private_key: bytes) -> SignedTransaction:
    """Sign with RFC 6979 nonces: the same transaction gives the same bytes. Raises BadStruct."""
    for name in ("chain_id", "nonce", "gas", "gas_price", "value"):
        if getattr(transaction, name) < 0:
            raise BadStruct(f"a transaction's {name} is not negative")
    body = [
        transaction.nonce,
        transaction.gas_price,
        transaction.gas,
        b"" if transaction.to is None else _address(transaction.to),
        transaction.value,
        transaction.data,
    ]
    digest = keccak(rlp.encode([*body, transaction.chain_id, 0, 0]))
    key = PrivateKey(private_key)
    signature = key.sign_recoverable(digest, hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    raw: bytes = rlp.encode([*body, transaction.chain_id * 2 + 35 + signature[64], r, s])
    return SignedTransaction(
        raw=raw,
        hash=keccak(raw),
        sender=address_of(key.public_key.format(compressed=False)),
        nonce=transaction.nonce,
    )


def created_address(sender: str, nonce: int) -> bytes:
    """The 20 bytes of the address that a creation by this sender and nonce gets."""
    return keccak(rlp.encode([_address(sender), nonce]))[-20:]


def _address(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise BadStruct("an address is 0x and 40 hexadecimal digits") from error
    if len(value) != 20:
        raise BadStruct("an address is 0x and 40 hexadecimal digits")
    return value
