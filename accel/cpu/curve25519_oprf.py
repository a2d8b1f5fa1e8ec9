"""2HashDH with additive masks on curve25519, with gmpy2 and OpenSSL; see `accel.curve25519_oprf`.

OpenSSL's X25519 is constant-time but gives u alone. Of the two points with that u the right one is found by
a second product: k P - 8 P must have the u of (k - 8) P. Masks fix the sequence of field operations, not the
time of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import gmpy2

from accel.cpu import curve25519 as _plain
from accel.errors import InvalidPoint
from accel.reference import curve25519_oprf as _reference
from accel.reference.curve25519 import J, P
from accel.reference.curve25519_oprf import BASE, WINDOW_BITS, WINDOWS, C, D

_P = gmpy2.mpz(P)
_ROOT = (P + 3) // 8
_SQRT_MINUS_ONE = gmpy2.powmod(2, (P - 1) // 4, P)
_LOW = (1 << 255) - 1

Extended = tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz, gmpy2.mpz]
_NEUTRAL: Extended = (gmpy2.mpz(0), gmpy2.mpz(1), gmpy2.mpz(1), gmpy2.mpz(0))


def hash_and_mask(messages: Sequence[bytes], dst: bytes, masks: bytes) -> bytes:
    table = _table(BASE)
    output = bytearray()
    for index, (first, second) in enumerate(_plain.mapped(messages, dst)):
        point = _add(_edwards(*first), _edwards(*second))
        for _ in range(3):
            point = _add(point, point)
        x, y, z, _ = _comb(point, table, _mask(masks, index))
        if x == 0:
            raise InvalidPoint(f"message {index} was masked to the point at infinity", index=index)
        inverse = gmpy2.invert((z - y) * x, _P)
        u, v = (z + y) * x % _P * inverse % _P, C * (z + y) % _P * z % _P * inverse % _P
        output += _encode(u, v)
    return bytes(output)


def multiply_points(points: bytes, scalar: bytes) -> bytes:
    _check(points)
    k = int.from_bytes(scalar, "little")
    # Both are clamped: of the two neighbours of k one is, whatever k.
    near = k - 8 if k > 1 << 254 else k + 8
    bare = _without_signs(points)
    products = _plain.scalar_mult_many(bare, scalar)
    neighbours = _plain.scalar_mult_many(bare, near.to_bytes(32, "little"))
    output = bytearray()
    for at in range(0, len(points), 32):
        u, v = _decode(points[at : at + 32])
        point = _edwards(u, gmpy2.mpz(1), v)
        for _ in range(3):
            point = _add(point, point)
        step = point if near > k else _negative(point)
        u = gmpy2.mpz(int.from_bytes(products[at : at + 32], "little"))
        v = _root(u)
        _, y, z, _ = _add(_edwards(u, gmpy2.mpz(1), v), step)
        expected = gmpy2.mpz(int.from_bytes(neighbours[at : at + 32], "little"))
        output += _encode(u, v if (z + y - expected * (z - y)) % _P == 0 else _P - v)
    return bytes(output)


def unmask(points: bytes, masks: bytes, key: bytes) -> bytes:
    _check(points)
    table = _table(key)
    output = bytearray()
    for index in range(len(points) // 32):
        u, v = _decode(points[32 * index : 32 * index + 32])
        # The mask with all bits turned stands for the negative scalar.
        _, y, z, _ = _comb(_edwards(u, gmpy2.mpz(1), v), table, _mask(masks, index) ^ _LOW)
        if y == z:
            raise InvalidPoint(f"point {index} unmasks to the point at infinity", index=index)
        output += int((z + y) * gmpy2.invert(z - y, _P) % _P).to_bytes(32, "little")
    return bytes(output)


def _check(points: bytes) -> None:
    bad = _plain.find_invalid(_without_signs(points))
    if bad is not None:
        raise InvalidPoint(f"point {bad[0]} {bad[1]}", index=bad[0])


def _without_signs(points: bytes) -> bytes:
    bare = bytearray(points)
    for at in range(31, len(bare), 32):
        bare[at] &= 127
    return bytes(bare)


def _mask(masks: bytes, index: int) -> int:
    return int.from_bytes(masks[32 * index : 32 * index + 32], "little") & _LOW


def _encode(u: gmpy2.mpz, v: gmpy2.mpz) -> bytes:
    return (int(u) | int(v & 1) << 255).to_bytes(32, "little")


def _decode(encoded: bytes) -> tuple[gmpy2.mpz, gmpy2.mpz]:
    number = int.from_bytes(encoded, "little")
    u = gmpy2.mpz(number & _LOW)
    v = _root(u)
    return u, v if v & 1 == number >> 255 else _P - v


def _root(u: gmpy2.mpz) -> gmpy2.mpz:
    """A v of the point with this u."""
    square = ((u + J) * u + 1) * u % _P
    v = gmpy2.powmod(square, _ROOT, _P)
    return v if v * v % _P == square else v * _SQRT_MINUS_ONE % _P


def _edwards(n: gmpy2.mpz, d: gmpy2.mpz, v: gmpy2.mpz) -> Extended:
    """The Edwards point of u = n / d and v; the neutral one for (0, 0), whose multiples by 8 are the same."""
    if v == 0:
        return _NEUTRAL
    above, below = n + d, n - d
    return C * n * above % _P, below * d * v % _P, d * v * above % _P, C * n * below % _P


def _add(left: Extended, right: Extended) -> Extended:
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a, b = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * D * t1 % _P * t2, 2 * z1 * z2
    return _finish(b - a, d - c, d + c, b + a)


def _finish(e: gmpy2.mpz, f: gmpy2.mpz, g: gmpy2.mpz, h: gmpy2.mpz) -> Extended:
    e, f, g, h = e % _P, f % _P, g % _P, h % _P
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _negative(point: Extended) -> Extended:
    x, y, z, t = point
    return -x % _P, y, z, -t % _P


def _comb(point: Extended, table: list[list[tuple[gmpy2.mpz, ...]]], mask: int) -> Extended:
    """The point and what the mask says of the table's base."""
    for window in range(WINDOWS):
        digit = 2 * (mask >> WINDOW_BITS * window & 31) - 31
        plus, minus, t2 = table[window][abs(digit) // 2]
        if digit < 0:
            plus, minus, t2 = minus, plus, -t2
        x, y, z, t = point
        a, b, c, d = (y - x) * minus, (y + x) * plus, t * t2, 2 * z
        point = _finish(b - a, d - c, d + c, b + a)
    return point


@lru_cache(maxsize=16)
def _table(base: bytes) -> list[list[tuple[gmpy2.mpz, ...]]]:
    rows = _reference.table(base)
    return [[tuple(map(gmpy2.mpz, entry)) for entry in row] for row in rows]
