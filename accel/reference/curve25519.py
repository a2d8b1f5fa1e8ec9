"""curve25519 and its hash to curve, as the RFCs define them.

| symbol | meaning | source |
|---|---|---|
| p | 2^255 - 19, the field | RFC 7748 section 4.1 |
| J | 486662, coefficient of v^2 = u^3 + J u^2 + u | RFC 9380 section 6.7 |
| Z | 2, the non-square of Elligator 2 | RFC 9380 section 8.5 |
| k | a scalar; h = 8 the cofactor; L the prime order of the subgroup | RFC 7748 section 4.1 |
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from accel.errors import InvalidPoint

P = 2**255 - 19
J = 486662
Z = 2
L = 2**252 + 27742317777372353535851937790883648493

Point = tuple[int, int]


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1; over-long tags after section 5.3.3)."""
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    suffix = dst + bytes([len(dst)])
    first = hashlib.sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + suffix).digest()
    block = hashlib.sha512(first + b"\x01" + suffix).digest()
    output = block
    counter = 2
    while len(output) < length:
        mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
        block = hashlib.sha512(mixed + bytes([counter]) + suffix).digest()
        output += block
        counter += 1
    return output[:length]


def hash_to_field(message: bytes, dst: bytes) -> tuple[int, int]:
    """Two field elements of 48 uniform bytes each (RFC 9380 section 5.2)."""
    uniform = expand_message_xmd(message, dst, 96)
    return int.from_bytes(uniform[:48], "big") % P, int.from_bytes(uniform[48:], "big") % P


def is_square(a: int) -> bool:
    return pow(a, (P - 1) // 2, P) in (0, 1)


def square_root(a: int) -> int:
    """A root of a square (p = 5 mod 8, RFC 8032 section 5.1.3)."""
    root = pow(a, (P + 3) // 8, P)
    if root * root % P != a % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root


def curve(u: int) -> int:
    """u^3 + J u^2 + u."""
    return (u * u * u + J * u * u + u) % P


def map_to_curve(r: int) -> Point:
    """Elligator 2 (RFC 9380 section 6.7.1)."""
    x1 = -J * pow(1 + Z * r * r, -1, P) % P  # 1 + 2 r^2 is never 0: -1/2 is no square modulo p
    if is_square(curve(x1)):
        x, parity = x1, 1
    else:
        x, parity = (-x1 - J) % P, 0
    y = square_root(curve(x))
    return x, y if y % 2 == parity else P - y


def add(a: Point | None, b: Point | None) -> Point | None:
    """Group law on the affine Montgomery curve; None is the point at infinity."""
    if a is None:
        return b
    if b is None:
        return a
    (x1, y1), (x2, y2) = a, b
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + 2 * J * x1 + 1) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - J - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(k: int, point: Point | None) -> Point | None:
    """k times a point, k >= 0."""
    result = None
    while k:
        if k & 1:
            result = add(result, point)
        point = add(point, point)
        k >>= 1
    return result


def hash_to_point(message: bytes, dst: bytes) -> Point:
    """hash_to_curve of suite curve25519_XMD:SHA-512_ELL2_RO_ (RFC 9380 sections 3 and 8.5)."""
    r0, r1 = hash_to_field(message, dst)
    cleared = multiply(8, add(map_to_curve(r0), map_to_curve(r1)))
    if cleared is None:
        raise InvalidPoint("a message hashed to the point at infinity")
    return cleared


def x25519(scalar: bytes, u: int) -> int:
    """X25519 on a u-coordinate (RFC 7748 section 5), 0 for the point at infinity."""
    clamped = bytearray(scalar)
    clamped[0] &= 248
    clamped[31] &= 127
    clamped[31] |= 64
    k = int.from_bytes(clamped, "little")
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a % P, c * b % P
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        aa, bb = a * a % P, b * b % P
        e = aa - bb
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return x2 * pow(z2, P - 2, P) % P


def hash_to_curve(messages: Sequence[bytes], dst: bytes) -> bytes:
    return b"".join(hash_to_point(message, dst)[0].to_bytes(32, "little") for message in messages)


def scalar_mult_many(points: bytes, scalar: bytes) -> bytes:
    output = bytearray()
    for index in range(len(points) // 32):
        u = x25519(scalar, int.from_bytes(points[32 * index : 32 * index + 32], "little"))
        if u == 0:
            raise InvalidPoint(f"point {index} has low order", index=index)
        output += u.to_bytes(32, "little")
    return bytes(output)


def hash_and_multiply(messages: Sequence[bytes], dst: bytes, scalar: bytes) -> bytes:
    return scalar_mult_many(hash_to_curve(messages, dst), scalar)


def find_invalid(points: bytes) -> tuple[int, str] | None:
    """Index and reason of the first u that is not a canonical point of the curve, or None."""
    for index in range(len(points) // 32):
        u = int.from_bytes(points[32 * index : 32 * index + 32], "little")
        if u >= P:
            return index, "is not canonically encoded"
        if x25519(bytes([8]) + bytes(30) + b"\x40", u) == 0:
            return index, "has low order"
        if not is_square(curve(u)):
            return index, "is not on the curve"
    return None
