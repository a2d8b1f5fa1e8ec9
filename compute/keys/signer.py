"""A party's secp256k1 signing key in use: EIP-712 structures and off-chain statements, nothing else.

There is no door for signing a digest that somebody else computed: what is signed is always a typed
structure or a statement under a purpose, so a signature cannot be talked out of a node for something it
did not mean. Nonces follow RFC 6979 (libsecp256k1, constant time).
"""

from __future__ import annotations

import secrets

from coincurve import PrivateKey

from compute.errors import BadInput
from contracts import eip712, statement


class NodeSigner:
    """Signs with one key. Holds a secret: no repr of its own, and it refuses to be pickled."""

    def __init__(self, private_key: bytes) -> None:
        """Raises BadInput unless the key is 32 bytes of a number from 1 to the group order less one."""
        try:
            key = PrivateKey(private_key) if len(private_key) == 32 else None
        except ValueError:
            key = None
        if key is None:
            raise BadInput("a signing key is 32 bytes of a number below the order of secp256k1")
        self._private_key = bytes(private_key)
        self._address = eip712.address_of(key.public_key.format(compressed=False))

    @property
    def address(self) -> str:
        """The checksummed address that the chain names for the party."""
        return self._address

    def sign(self, domain: eip712.Domain, value: eip712.Struct) -> bytes:
        """A 65-byte EIP-712 signature for one chain and contract; raises BadStruct."""
        return eip712.sign(domain, value, self._private_key)

    def sign_statement(self, purpose: str, payload: bytes) -> bytes:
        """A 65-byte signature of an off-chain statement (`contracts.statement`); raises BadStruct."""
        return statement.sign(purpose, payload, self._private_key)

    def __reduce__(self) -> str:
        raise TypeError("a signing key does not leave its process")


def new_signing_key() -> bytes:
    """A fresh 32-byte secp256k1 private key from the operating system's randomness."""
    while True:
        candidate = secrets.token_bytes(32)
        # All but one in 2^128 candidates are valid; the loop is for that one.
        try:
            PrivateKey(candidate)
        except ValueError:
            continue
        return candidate
