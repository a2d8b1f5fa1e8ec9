"""SM2 signatures, one and many (GB/T 32918.2-2016).

The nonce of a signature is HMAC-SM3, under the private key, of fresh randomness, the digest and the place in
the batch: a source of randomness that fails or repeats does not give away the key. A nonce out of range
(chance 2^-32) is drawn again, so that nonces are uniform; so is one that gives no signature (r = 0, r + k = n
or s = 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accel import selftest, sm3
from accel import weierstrass as ec
from accel.byte_rows import U8, Buffer, ByteStrings, matrix, octets
from accel.errors import AccelError, BadParameter, BadSignature
from accel.randomness import Rng, draw, system_rng
from accel.reference.sm2 import A, B, G
from accel.sm2_encoding import SIGNATURE_BYTES
from accel.sm2_keys import PrivateKey, PublicKey
from accel.sm2_scalars import in_range

DEFAULT_ID = b"1234567812345678"  # of GM/T 0009-2012 section 10, for signers without an identity of their own

Flags = npt.NDArray[np.bool_]

_CURVE = b"".join(value.to_bytes(32, "big") for value in (A, B, *G))
_MAX_IDENTITY_BYTES = (1 << 13) - 1
_LABEL = b"liutong sm2 nonce"
_ATTEMPTS = 256


def sign(
    private: PrivateKey,
    message: Buffer,
    *,
    identity: bytes = DEFAULT_ID,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> bytes:
    """Sign SM3(Z ‖ message), Z binding identity and public key; 64 bytes r ‖ s.

    Raises BadParameter for an identity of 8192 bytes or more.
    """
    selftest.ensure("sm2")
    e = np.frombuffer(_digest(private.public, message, identity), np.uint8).reshape(1, 32)
    return _sign_digests(private, e, rng, backend).tobytes()


def sign_many(
    private: PrivateKey,
    messages: ByteStrings,
    *,
    identity: bytes = DEFAULT_ID,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> U8:
    """`sign` for every message: uint8 of shape (n, 64), rows r ‖ s.

    ``messages`` is a sequence of byte strings or a uint8 matrix whose rows are messages. Raises BadParameter
    with ``index`` for a message that is no byte string.
    """
    selftest.ensure("sm2")
    digests = sm3.digest_many(messages, prefix=identity_digest(private.public, identity))
    return _sign_digests(private, digests, rng, backend)


def verify(
    public: PublicKey,
    message: Buffer,
    signature: Buffer,
    *,
    identity: bytes = DEFAULT_ID,
    backend: str = "auto",
) -> None:
    """Return if the signature is right; raise BadSignature, always the same, otherwise."""
    selftest.ensure("sm2")
    e = np.frombuffer(_digest(public, message, identity), np.uint8).reshape(1, 32)
    right = isinstance(signature, Buffer) and bool(
        ec.verify_digests(public_rows(public), e, _signature_rows([signature]), backend=backend)[0]
    )
    if not right:
        raise BadSignature("the SM2 signature does not verify")


def verify_many(
    publics: PublicKey | Sequence[PublicKey] | U8,
    messages: ByteStrings,
    signatures: Sequence[Buffer] | U8,
    *,
    identity: bytes | Sequence[bytes] = DEFAULT_ID,
    backend: str = "auto",
) -> Flags:
    """Which signatures are right, as booleans: a wrong one, of whatever kind, is False and stops nothing.

    ``publics`` is one key for all, or one each, as keys or as a uint8 matrix of rows x ‖ y; ``identity``
    likewise. Raises BadParameter if the lengths differ, and InvalidPoint with ``index`` for a row that is no
    key.
    """
    selftest.ensure("sm2")
    keys = public_rows(publics)
    rows = _signature_rows(signatures)
    if len(messages) != len(rows):
        raise BadParameter(f"{len(messages)} messages and {len(rows)} signatures")
    if len(keys) != len(rows) and (len(keys) != 1 or not isinstance(publics, PublicKey)):
        raise BadParameter(f"{len(keys)} public keys for {len(rows)} signatures")
    if isinstance(identity, bytes) and isinstance(publics, PublicKey):
        prefix: bytes | U8 = identity_digest(publics, identity)
    else:
        prefix = identity_digests(np.broadcast_to(keys, (len(rows), 64)), identity)
    digests = sm3.digest_many(messages, prefix=prefix)
    return ec.verify_digests(keys, digests, rows, backend=backend)


def identity_digest(public: PublicKey, identity: Buffer) -> bytes:
    """Z: SM3 over identity, curve and public key (GB/T 32918.2-2016 section 5.5)."""
    return _identity_digest(public, octets(identity))


@lru_cache(maxsize=1024)  # a signer has one, and a verifier sees the same signers again
def _identity_digest(public: PublicKey, identity: bytes) -> bytes:
    return sm3.digest(_identified(identity) + _CURVE + public.to_bytes()[1:])


def identity_digests(keys: U8, identities: bytes | Sequence[bytes]) -> U8:
    """Z for every row x ‖ y of public keys, under one identity or one each: uint8 of shape (n, 32)."""
    if isinstance(identities, bytes):
        head = np.frombuffer(_identified(identities) + _CURVE, np.uint8)
        return sm3.digest_many(keys, prefix=np.broadcast_to(head, (len(keys), len(head))))
    if len(identities) != len(keys):
        raise BadParameter(f"{len(identities)} identities for {len(keys)} public keys")
    pairs = zip(identities, keys, strict=True)
    return sm3.digest_many([_identified(identity) + _CURVE + key.tobytes() for identity, key in pairs])


def sign_digest(d: int, e: int, nonce: int) -> tuple[int, int] | None:
    """(r, s) of section 6.1, or None if the nonce must be replaced. For vectors; callers use `sign`."""
    key, digest, k = (np.frombuffer(value.to_bytes(32, "big"), np.uint8) for value in (d, e, nonce))
    rows, usable = ec.sign_digests(key, digest[None], k[None])
    r, s = (int.from_bytes(half.tobytes(), "big") for half in (rows[0, :32], rows[0, 32:]))
    return (r, s) if usable[0] else None


def public_rows(publics: PublicKey | Sequence[PublicKey] | U8) -> U8:
    """Public keys as rows x ‖ y. A matrix is taken as it is: the curve operations validate its points."""
    if isinstance(publics, np.ndarray):
        return matrix(publics, "public keys", 64)
    keys = [publics] if isinstance(publics, PublicKey) else publics
    return np.frombuffer(b"".join(key.to_bytes()[1:] for key in keys), np.uint8).reshape(-1, 64)


def _sign_digests(private: PrivateKey, digests: U8, rng: Rng, backend: str) -> U8:
    key, seed = private.to_bytes(), draw(rng, 32)
    d = np.frombuffer(key, np.uint8)
    signatures = np.empty((len(digests), SIGNATURE_BYTES), np.uint8)
    pending, asked = np.arange(len(digests)), digests
    for attempt in range(_ATTEMPTS):
        if not len(pending):
            return signatures
        nonces = _nonces(key, seed, attempt, pending, asked)
        good = in_range(nonces)
        tried, retry = pending[good], pending[~good]
        rows, usable = ec.sign_digests(d, _where(good, asked), _where(good, nonces), backend=backend)
        if len(rows) == len(digests) and usable.all():
            return rows  # nearly always: nothing to put together
        signatures[tried[usable]] = rows[usable]
        pending = np.concatenate([retry, tried[~usable]])
        asked = digests[pending]
    raise AccelError("no nonce gave a signature: this installation is broken")


def _where(flags: Flags, rows: U8) -> U8:
    return rows if flags.all() else rows[flags]


def _nonces(key: bytes, seed: bytes, attempt: int, indices: npt.NDArray[np.int64], digests: U8) -> U8:
    """HMAC-SM3 of label ‖ seed ‖ attempt ‖ index ‖ digest: uint8 of shape (n, 32)."""
    head = np.frombuffer(_LABEL + seed + bytes([attempt]), np.uint8)
    places = indices.astype(">u8").view(np.uint8).reshape(-1, 8)
    material = np.concatenate([np.broadcast_to(head, (len(digests), len(head))), places, digests], axis=1)
    return sm3.hmac_many(key, material)


def _digest(public: PublicKey, message: Buffer, identity: bytes) -> bytes:
    return sm3.digest(identity_digest(public, identity) + octets(message))


def _identified(identity: bytes) -> bytes:
    if len(identity) > _MAX_IDENTITY_BYTES:
        raise BadParameter("an SM2 identity has fewer than 8192 bytes")
    return (8 * len(identity)).to_bytes(2, "big") + identity


def _signature_rows(signatures: Sequence[Buffer] | U8) -> U8:
    """Signatures as rows; one of another length becomes zeros, which is no signature of anything."""
    if isinstance(signatures, np.ndarray):
        if signatures.ndim != 2 or signatures.shape[1] != SIGNATURE_BYTES or signatures.dtype != np.uint8:
            raise BadParameter("signatures in an array form a uint8 matrix of 64 columns")
        return signatures
    proper = (isinstance(one, Buffer) and len(one) == SIGNATURE_BYTES for one in signatures)
    nothing = bytes(SIGNATURE_BYTES)
    joined = b"".join(one if good else nothing for one, good in zip(signatures, proper, strict=True))
    return np.frombuffer(joined, np.uint8).reshape(-1, SIGNATURE_BYTES)
