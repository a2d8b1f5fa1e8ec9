"""The arithmetic of `accel` on one core beside phe, gmssl and OpenSSL, measured in one run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
import phe
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from accel import curve25519, lwe, paillier
from bench.measure import Row, against, rate

_KEY_BITS = 2048


def run(quick: bool) -> Iterator[Row]:
    """Rows for Paillier, curve25519 and the PIR product."""
    seconds = 0.5 if quick else 5.0
    yield from _paillier(16 if quick else 128, seconds)
    yield from _curve25519(256 if quick else 4096, seconds)
    yield from _lwe(1024 if quick else 16384, seconds)


def _paillier(count: int, seconds: float) -> Iterator[Row]:
    ours = paillier.generate(_KEY_BITS)
    theirs, their_private = phe.generate_paillier_keypair(n_length=_KEY_BITS)
    values = [secrets.randbelow(1 << 40) for _ in range(count)]
    ciphertexts = paillier.encrypt_ints(ours.public, values, bound=1 << 40)
    their_ciphertexts = [theirs.encrypt(value) for value in values]
    factor = (1 << 63) + 1
    works = {
        "encrypt": (
            lambda: paillier.encrypt_ints(ours.public, values, bound=1 << 40),
            lambda: [theirs.encrypt(value) for value in values],
        ),
        "decrypt": (
            lambda: paillier.decrypt_ints(ours, ciphertexts),
            lambda: [their_private.decrypt(value) for value in their_ciphertexts],
        ),
        "add": (lambda: ciphertexts + ciphertexts, lambda: [value + value for value in their_ciphertexts]),
        "multiply by 64-bit": (
            lambda: ciphertexts * factor,
            lambda: [value * factor for value in their_ciphertexts],
        ),
    }
    for name, (work, peer_work) in works.items():
        yield against(
            f"Paillier-{_KEY_BITS} {name}",
            count,
            rate(work, count, seconds=seconds),
            "phe " + phe.__version__,
            rate(peer_work, count, seconds=seconds),
            unit="1/s",
            includes="one core, in memory",
        )


def _curve25519(count: int, seconds: float) -> Iterator[Row]:
    messages = [secrets.token_bytes(16) for _ in range(count)]
    points = curve25519.hash_to_curve(messages, b"LIUTONG-BENCH-CURVE25519")
    scalar = curve25519.random_scalar()
    private = X25519PrivateKey.from_private_bytes(scalar)
    split = [points[i : i + 32] for i in range(0, len(points), 32)]
    hashed = rate(
        lambda: curve25519.hash_to_curve(messages, b"LIUTONG-BENCH-CURVE25519"), count, seconds=seconds
    )
    yield Row("curve25519 hash to curve", count, hashed, "1/s", "RFC 9380 _RO_, one core")
    yield against(
        "curve25519 scalar mult",
        count,
        rate(lambda: curve25519.scalar_mult_many(points, scalar), count, seconds=seconds),
        "OpenSSL through cryptography",
        rate(
            lambda: [private.exchange(X25519PublicKey.from_public_bytes(point)) for point in split],
            count,
            seconds=seconds,
        ),
        unit="1/s",
        includes="ours with point validation, one core",
    )


def _lwe(side: int, seconds: float) -> Iterator[Row]:
    rng = np.random.default_rng()
    database = rng.integers(0, 256, (side, side), dtype=np.uint8)
    query = rng.integers(0, 1 << 32, side, dtype=np.uint32)
    wide = database.astype(np.uint32) if side <= 4096 else None
    ours = rate(lambda: lwe.matvec(database, query, offset=128), side * side, seconds=seconds)
    if wide is None:
        yield Row("PIR product u8 x u32", side * side, ours, "B/s", "all cores, in memory")
        return
    yield against(
        "PIR product u8 x u32",
        side * side,
        ours,
        "numpy " + np.__version__,
        rate(lambda: wide @ query, side * side, seconds=seconds),
        unit="B/s",
        includes="all cores, in memory",
    )
