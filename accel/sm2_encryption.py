"""SM2 public-key encryption, one and many (GB/T 32918.4-2016): C1 ‖ C3 ‖ C2, plaintext and 97 bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accel import selftest, sm3
from accel import weierstrass as ec
from accel.byte_rows import U8, Buffer, ByteRows, ByteStrings, octets
from accel.errors import AccelError, BadParameter, DecryptionFailed, InvalidPoint
from accel.randomness import Rng, system_rng
from accel.sm2_encoding import OVERHEAD_BYTES, POINT_BYTES
from accel.sm2_keys import PrivateKey, PublicKey
from accel.sm2_scalars import random_scalars
from accel.sm2_signature import public_rows

MAX_PLAINTEXT_BYTES = 1 << 24
_ATTEMPTS = 1000  # a pad of one byte is zero once in 256 times
_FAILED = "the SM2 ciphertext does not decrypt"


def encrypt(public: PublicKey, plaintext: Buffer, *, rng: Rng = system_rng, backend: str = "auto") -> bytes:
    """Encrypt 1 byte to 16 MiB; the result is 97 bytes longer (04 ‖ x ‖ y ‖ C3 ‖ C2).

    Raises BadParameter for an empty or too long plaintext: the standard has no ciphertext for an empty one.
    """
    return encrypt_many(public, [octets(plaintext)], rng=rng, backend=backend)[0]


def encrypt_many(
    publics: PublicKey | Sequence[PublicKey] | U8,
    plaintexts: ByteStrings,
    *,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> list[bytes]:
    """`encrypt` for every plaintext, under one key or one each (keys, or a uint8 matrix of rows x ‖ y).

    Raises BadParameter with ``index`` for an empty or too long plaintext, InvalidPoint with ``index`` for a
    row that is no key.
    """
    selftest.ensure("sm2")
    rows = ByteRows.of(plaintexts)
    outside = np.flatnonzero((rows.lengths < 1) | (rows.lengths > MAX_PLAINTEXT_BYTES))
    if len(outside):
        index = int(outside[0])
        raise BadParameter(f"SM2 encrypts 1 to {MAX_PLAINTEXT_BYTES} bytes", index=index)
    keys = public_rows(publics)
    if not isinstance(publics, PublicKey) and len(keys) != len(rows):
        raise BadParameter(f"{len(keys)} public keys for {len(rows)} plaintexts")
    sealed: list[bytes] = [b""] * len(rows)
    pending = np.arange(len(rows))
    for _ in range(_ATTEMPTS):
        if not len(pending):
            return sealed
        part = rows if len(pending) == len(rows) else rows.take(pending)
        theirs = keys if isinstance(publics, PublicKey) else keys[pending]
        tried, usable = _encrypt(theirs, part, random_scalars(len(pending), rng), backend)
        for index, ciphertext in zip(pending.tolist(), tried, strict=True):
            sealed[index] = ciphertext
        pending = pending[~usable]
    raise AccelError("every key stream was zero: the random source is broken")


def decrypt(private: PrivateKey, ciphertext: Buffer, *, backend: str = "auto") -> bytes:
    """The plaintext, only if C1 is on the curve and C3 is right; raises DecryptionFailed otherwise."""
    try:
        return decrypt_many(private, [ciphertext], backend=backend)[0]
    except DecryptionFailed:
        raise DecryptionFailed(_FAILED) from None


def decrypt_many(private: PrivateKey, ciphertexts: Sequence[Buffer], *, backend: str = "auto") -> list[bytes]:
    """`decrypt` for every ciphertext; raises DecryptionFailed with the ``index`` of the first that fails,
    only.

    All ciphertexts of proper form are decrypted and checked before any of them is refused.
    """
    selftest.ensure("sm2")
    for index, one in enumerate(ciphertexts):
        if (
            not isinstance(one, Buffer)
            or not OVERHEAD_BYTES < len(one) <= OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES
            or one[0] != 4
        ):
            raise DecryptionFailed(_FAILED, index=index)
    if not len(ciphertexts):
        return []
    head = np.frombuffer(b"".join(one[:OVERHEAD_BYTES] for one in ciphertexts), np.uint8)
    head = head.reshape(-1, OVERHEAD_BYTES)
    bodies = ByteRows.of([one[OVERHEAD_BYTES:] for one in ciphertexts])
    d = np.frombuffer(private.to_bytes(), np.uint8)
    try:
        shared = ec.multiply(ec.SM2, np.ascontiguousarray(head[:, 1:POINT_BYTES]), d, backend=backend)
    except InvalidPoint as error:  # C1 is public, and so is whether it lies on the curve
        raise DecryptionFailed(_FAILED, index=error.detail["index"]) from None
    plain, usable = _add_pad(shared, bodies)
    digests = _digests(shared, plain)
    # Both checks are made for all, so that time tells nothing about which one failed.
    right = (digests == head[:, POINT_BYTES:]).all(axis=1) & usable
    if not right.all():
        raise DecryptionFailed(_FAILED, index=int(np.flatnonzero(~right)[0]))
    return list(plain)


def encrypt_with(public: PublicKey, plaintext: bytes, nonce: int) -> bytes | None:
    """Section 6.1, or None if the nonce must be replaced. For vectors; callers use `encrypt`."""
    k = np.frombuffer(nonce.to_bytes(32, "big"), np.uint8)[None]
    (sealed,), usable = _encrypt(public_rows(public), ByteRows.of([plaintext]), k, "auto")
    return sealed if usable[0] else None


def _encrypt(
    keys: U8, plaintexts: ByteRows, nonces: U8, backend: str
) -> tuple[list[bytes], npt.NDArray[np.bool_]]:
    """Ciphertexts, and which of them had a key stream that was not zero and may be used."""
    c1 = ec.multiply_base(ec.SM2, nonces, backend=backend)
    shared = ec.multiply(ec.SM2, keys, nonces, backend=backend)
    bodies, usable = _add_pad(shared, plaintexts)
    mark = np.full((len(c1), 1), 4, np.uint8)
    heads = np.concatenate([mark, c1, _digests(shared, plaintexts)], axis=1).tobytes()
    starts = range(0, len(heads), OVERHEAD_BYTES)
    sealed = [heads[at : at + OVERHEAD_BYTES] + body for at, body in zip(starts, bodies, strict=True)]
    return sealed, usable


def _add_pad(shared: U8, texts: ByteRows) -> tuple[ByteRows, npt.NDArray[np.bool_]]:
    """Texts plus the key streams KDF(x2 ‖ y2), and which of these had a bit that was not zero."""
    counts = -(-texts.lengths // sm3.DIGEST_BYTES)
    stream = sm3.kdf_blocks(shared, counts).reshape(-1)
    first = sm3.DIGEST_BYTES * (np.cumsum(counts) - counts)
    texts = texts.compact()
    pad = ByteRows(stream, first, texts.lengths).compact().data
    usable = np.logical_or.reduceat(pad != 0, texts.starts) if len(texts) else np.zeros(0, np.bool_)
    return ByteRows(texts.data ^ pad, texts.starts, texts.lengths), usable


def _digests(shared: U8, plaintexts: ByteRows) -> U8:
    """C3 = SM3(x2 ‖ plaintext ‖ y2)."""
    return sm3.digest_rows(plaintexts.wrapped(shared[:, :32], shared[:, 32:]))
