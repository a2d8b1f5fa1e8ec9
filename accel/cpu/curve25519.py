"""curve25519 with gmpy2 (hash to curve) and OpenSSL (constant-time scalar multiplication).

Elligator 2 follows the straight-line form of RFC 9380 appendix G.2.1: one exponentiation per map instead
of an inversion, a quadratic-residue test and a root. Clearing the cofactor needs the u-coordinate alone,
so it is three projective doublings, and one inversion brings the result back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import gmpy2
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from accel.errors import InvalidPoint

_P = gmpy2.mpz(2**255 - 19)
_J = gmpy2.mpz(486662)
_C1 = (_P + 3) // 8
_C2 = gmpy2.powmod(2, _C1, _P)
_C3 = gmpy2.powmod(2, (_P - 1) // 4, _P)  # a root of -1
_C4 = (_P - 5) // 8


Mapped = tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz]


def hash_to_curve(messages: Sequence[bytes], dst: bytes) -> bytes:
    output = bytearray()
    for index, (a, b) in enumerate(mapped(messages, dst)):
        u = _clear_cofactor(*_sum_u(a, b))
        if u is None:
            raise InvalidPoint(f"message {index} hashed to the point at infinity", index=index)
        output += int(u).to_bytes(32, "little")
    return bytes(output)


def mapped(messages: Sequence[bytes], dst: bytes) -> Iterator[tuple[Mapped, Mapped]]:
    """For each message the two points (xn, xd, y), x = xn / xd, of which its hash is 8 times the sum."""
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    suffix = dst + bytes([len(dst)])
    prefix = hashlib.sha512(bytes(128))  # the zero block is the same for every message: hash it once
    tail = (96).to_bytes(2, "big") + b"\0" + suffix
    for message in messages:
        state = prefix.copy()
        state.update(message)
        state.update(tail)
        first = state.digest()
        block1 = hashlib.sha512(first + b"\x01" + suffix).digest()
        mixed = int.from_bytes(first, "big") ^ int.from_bytes(block1, "big")
        block2 = hashlib.sha512(mixed.to_bytes(64, "big") + b"\x02" + suffix).digest()
        uniform = block1 + block2[:32]
        r0 = gmpy2.mpz(int.from_bytes(uniform[:48], "big")) % _P
        r1 = gmpy2.mpz(int.from_bytes(uniform[48:], "big")) % _P
        yield _map(r0), _map(r1)


def scalar_mult_many(points: bytes, scalar: bytes) -> bytes:
    private = X25519PrivateKey.from_private_bytes(scalar)
    output = bytearray()
    for offset in range(0, len(points), 32):
        public = X25519PublicKey.from_public_bytes(points[offset : offset + 32])
        try:
            output += private.exchange(public)
        except ValueError as error:  # OpenSSL refuses the all-zero result of a low-order point
            index = offset // 32
            raise InvalidPoint(f"point {index} has low order", index=index) from error
    return bytes(output)


def hash_and_multiply(messages: Sequence[bytes], dst: bytes, scalar: bytes) -> bytes:
    return scalar_mult_many(hash_to_curve(messages, dst), scalar)


def find_invalid(points: bytes) -> tuple[int, str] | None:
    """Index and reason of the first u that is not a canonical point of the curve, or None."""
    for offset in range(0, len(points), 32):
        u = gmpy2.mpz(int.from_bytes(points[offset : offset + 32], "little"))
        if u >= _P:
            return offset // 32, "is not canonically encoded"
        # Three doublings reach infinity from exactly the low-order points, of curve and twist: no list of
        # constants to get wrong.
        if _clear_cofactor(u, gmpy2.mpz(1)) is None:
            return offset // 32, "has low order"
        if gmpy2.jacobi(u * (u * u + _J * u + 1) % _P, _P) != 1:
            return offset // 32, "is not on the curve"
    return None


def _map(r: gmpy2.mpz) -> Mapped:
    """map_to_curve_elligator2_curve25519: (xn, xd, y) with x = xn / xd. Names follow appendix G.2.1."""
    tv1 = 2 * r * r % _P
    xd = tv1 + 1
    x1n = -_J
    gxd = xd * xd % _P
    tv2 = gxd * xd % _P  # gxd = xd^3
    gx1 = (_J * tv1 * x1n % _P + gxd) * x1n % _P
    tv3 = tv2 * tv2 % _P
    tv4 = tv3 * tv3 % _P
    tv3 = tv3 * tv2 % _P * gx1 % _P
    y11 = tv3 * gmpy2.powmod(tv4 * tv3 % _P, _C4, _P) % _P
    y1 = y11 if y11 * y11 % _P * tv2 % _P == gx1 % _P else y11 * _C3 % _P
    x2n = x1n * tv1 % _P
    y21 = y11 * r % _P * _C2 % _P
    gx2 = gx1 * tv1 % _P
    y2 = y21 if y21 * y21 % _P * tv2 % _P == gx2 else y21 * _C3 % _P
    first = y1 * y1 % _P * tv2 % _P == gx1 % _P
    xn, y = (x1n % _P, y1) if first else (x2n, y2)
    if (y & 1) != first:
        y = _P - y
    return xn, xd % _P, y


def _sum_u(
    a: tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz], b: tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz]
) -> tuple[gmpy2.mpz, gmpy2.mpz]:
    """The projective u-coordinate (X, Z) of the sum of two points; Z = 0 is the point at infinity."""
    (xa, da, ya), (xb, db, yb) = a, b
    xa, xb = xa * db % _P, xb * da % _P  # over the common denominator
    d = da * db % _P
    run = (xb - xa) % _P
    if run == 0:
        if (ya + yb) % _P == 0:
            return gmpy2.mpz(1), gmpy2.mpz(0)
        return _double(xa, d)
    # u = ((yb - ya) / ((xb - xa) / d))^2 - J - (xa + xb) / d
    rise = (yb - ya) % _P
    square = run * run % _P
    z = square * d % _P
    x = rise * rise % _P * d % _P * d % _P * d % _P - (_J * d + xa + xb) * square
    return x % _P, z


def _double(x: gmpy2.mpz, z: gmpy2.mpz) -> tuple[gmpy2.mpz, gmpy2.mpz]:
    xx, zz, xz = x * x % _P, z * z % _P, x * z % _P
    difference = xx - zz
    return difference * difference % _P, 4 * xz * (xx + _J * xz + zz) % _P


def _clear_cofactor(x: gmpy2.mpz, z: gmpy2.mpz) -> gmpy2.mpz | None:
    """The affine u-coordinate of 8 times a point, or None for the point at infinity."""
    for _ in range(3):
        x, z = _double(x, z)
    if z == 0:
        return None
    return x * gmpy2.invert(z, _P) % _P
