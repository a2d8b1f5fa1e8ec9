"""Statements that a party signs off chain with the key the chain names: handshakes, HTTP requests.

The signed bytes begin ``0x19 'L'``, a version byte of EIP-191 that nothing else uses: a statement's
signature can never pass for a transaction, for EIP-712 (``0x19 0x01``) or for ``personal_sign``
(``0x19 'E'``). The purpose keeps statements of different kinds apart. Source: EIP-191.
"""

from __future__ import annotations

from eth_utils.crypto import keccak

from contracts.eip712 import recover_digest, sign_digest
from contracts.errors import BadStruct

_PREFIX = b"\x19Liutong statement v1\x00"


def digest(purpose: str, payload: bytes) -> bytes:
    """The 32 bytes that are signed. ``purpose`` is a short ASCII name without a NUL."""
    if not purpose or not purpose.isascii() or "\x00" in purpose:
        raise BadStruct("a statement's purpose is a short ASCII name")
    return keccak(_PREFIX + purpose.encode() + b"\x00" + payload)


def sign(purpose: str, payload: bytes, private_key: bytes) -> bytes:
    """A 65-byte signature as `contracts.eip712.sign` makes them."""
    return sign_digest(digest(purpose, payload), private_key)


def recover(purpose: str, payload: bytes, signature: bytes) -> str:
    """The checksummed address that signed; raises BadSignature for anything malformed or malleable."""
    return recover_digest(digest(purpose, payload), signature)
