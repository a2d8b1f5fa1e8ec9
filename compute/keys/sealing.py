"""Sealing to a public key: results that only the consumer can open.

HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. ``context`` goes
into the key schedule, so a payload sealed for one job and role opens for no other. Anyone can seal: who
sealed is told by the signature inside (`compute.wire.signed_result`), not by this. Leaks the payload's
length.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from compute.errors import BadInput

# Encapsulated key (32 bytes) and tag (16 bytes).
OVERHEAD_BYTES = 48

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_PREFIX = b"liutong/sealed/v1\x00"


def new_box_key() -> tuple[bytes, bytes]:
    """A fresh X25519 key pair: (private, public), 32 bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def box_public(box_private: bytes) -> bytes:
    """The public half of an X25519 private key; raises BadInput if it is not 32 bytes."""
    return _private(box_private).public_key().public_bytes_raw()


def seal(box_public: bytes, payload: bytes, context: bytes) -> bytes:
    """``payload`` for the holder of one private key; 48 bytes longer. Run by a node before it releases.

    Raises BadInput for a public key that is not 32 bytes or is a point of low order.
    """
    try:
        key = X25519PublicKey.from_public_bytes(box_public)
        return _SUITE.encrypt(payload, key, info=_PREFIX + context)
    except ValueError as error:
        raise BadInput("the key to seal to is not a usable X25519 public key of 32 bytes") from error


def open_sealed(box_private: bytes, sealed: bytes, context: bytes) -> bytes:
    """The payload; raises BadInput if this key and context do not open it, and does not say why."""
    try:
        return _SUITE.decrypt(sealed, _private(box_private), info=_PREFIX + context)
    except (InvalidTag, ValueError):
        raise BadInput("the sealed payload does not open with this key for this job and role") from None


def _private(box_private: bytes) -> X25519PrivateKey:
    try:
        return X25519PrivateKey.from_private_bytes(box_private)
    except ValueError as error:
        raise BadInput("an X25519 private key has 32 bytes") from error
