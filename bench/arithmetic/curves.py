"""curve25519, SM2 and secp256k1 beside OpenSSL and gmssl, one core."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from gmssl import sm2 as gmssl_sm2

from accel import curve25519, sm2
from accel import weierstrass as ec
from bench.arithmetic import one_core
from bench.measure import Row, against, rate
from bench.peers import openssl

_DST = b"LIUTONG-BENCH"


def rows(quick: bool) -> Iterator[Row]:
    seconds, batch = (0.3, 1024) if quick else (1.5, 16384)
    with one_core():
        yield from _curve25519(batch, seconds)
        yield from _sm2(batch, seconds)
        yield from _weierstrass(batch, seconds)


def _curve25519(batch: int, seconds: float) -> Iterator[Row]:
    messages = [secrets.token_bytes(16) for _ in range(batch)]
    points = curve25519.hash_to_curve(messages, _DST)
    scalar = curve25519.random_scalar()
    private = X25519PrivateKey.from_private_bytes(scalar)
    split = [X25519PublicKey.from_public_bytes(points[i : i + 32]) for i in range(0, 32 * 1024, 32)]
    theirs = rate(lambda: [private.exchange(point) for point in split], len(split), seconds=seconds)
    peer = "OpenSSL through cryptography"
    ladder = rate(
        lambda: curve25519.SCALAR_MULT.select("auto", batch=batch)(points, scalar), batch, seconds=seconds
    )
    yield against(
        "X25519",
        batch,
        ladder,
        peer,
        theirs,
        unit="1/s",
        includes="one core, points validated before",
        target=240_000,
    )
    yield against(
        "X25519 with validation of every point",
        batch,
        rate(lambda: curve25519.scalar_mult_many(points, scalar), batch, seconds=seconds),
        peer,
        theirs,
        unit="1/s",
        includes="one core; the peer does not validate",
    )
    yield against(
        "hash to curve25519 and multiply",
        batch,
        rate(lambda: curve25519.hash_and_multiply(messages, _DST, scalar), batch, seconds=seconds),
        peer + ", without hashing",
        theirs,
        unit="1/s",
        includes="one core, RFC 9380 _RO_, 16-byte messages; the peer multiplies ready points",
        target=180_000,
    )
    hashed = rate(lambda: curve25519.hash_to_curve(messages, _DST), batch, seconds=seconds)
    yield Row("hash to curve25519", batch, hashed, "1/s", "one core, RFC 9380 _RO_, 16-byte messages")


def _sm2(batch: int, seconds: float) -> Iterator[Row]:
    key = sm2.generate()
    messages = [secrets.token_bytes(64) for _ in range(batch)]
    signatures = sm2.sign_many(key, messages)
    signing = rate(lambda: sm2.sign_many(key, messages), batch, seconds=seconds)
    verifying = rate(lambda: sm2.verify_many(key.public, messages, signatures), batch, seconds=seconds)
    their_signing, their_verifying = openssl.sm2(max(1, round(seconds)))
    public = f"{key.public.x:064x}{key.public.y:064x}"
    gm = gmssl_sm2.CryptSM2(private_key=key.to_bytes().hex(), public_key=public)
    digest = secrets.token_bytes(32)
    nonce = f"{secrets.randbits(255):x}"
    signature = gm.sign(digest, nonce)
    for name, value, target, peers in (
        (
            "SM2 sign",
            signing,
            300_000,
            (
                (openssl.version() + " speed, digests", their_signing),
                ("gmssl", rate(lambda: gm.sign(digest, nonce), 1, seconds=seconds)),
            ),
        ),
        (
            "SM2 verify",
            verifying,
            50_000,
            (
                (openssl.version() + " speed, digests", their_verifying),
                ("gmssl", rate(lambda: gm.verify(signature, digest), 1, seconds=seconds)),
            ),
        ),
    ):
        for peer, theirs in peers:
            yield against(
                f"{name}, 64-byte messages, one key",
                batch,
                value,
                peer,
                theirs,
                unit="1/s",
                includes="one core, SM3 of the messages and fresh nonces included",
                target=target,
            )


def _weierstrass(batch: int, seconds: float) -> Iterator[Row]:
    for curve, target in ((ec.SM2, 50_000), (ec.SECP256K1, None)):
        scalars = np.frombuffer(secrets.token_bytes(32 * batch), dtype=np.uint8).reshape(-1, 32).copy()
        scalars[:, 0] &= 0x7F  # below either order
        fixed = rate(lambda s=scalars, c=curve: ec.multiply_base(c, s), batch, seconds=seconds)
        yield Row(f"{curve.name} fixed base, secret scalars", batch, fixed, "1/s", "one core")
        points = ec.multiply_base(curve, scalars)
        variable = rate(lambda s=scalars, c=curve, p=points: ec.multiply(c, p, s), batch, seconds=seconds)
        met = None if target is None else variable >= target
        yield Row(
            f"{curve.name} variable base, secret scalars",
            batch,
            variable,
            "1/s",
            "one core, points validated",
            target=target,
            met=met,
        )
        messages = [secrets.token_bytes(16) for _ in range(batch)]
        hashed = rate(lambda m=messages, c=curve: ec.hash_to_curve(c, m, _DST), batch, seconds=seconds)
        yield Row(f"hash to {curve.name}", batch, hashed, "1/s", "one core, SSWU _RO_, 16-byte messages")
