"""2HashDH with additive masks on curve25519, on integers: see `accel.curve25519_oprf`.

| symbol | meaning |
|---|---|
| G | the point with u = 9 and even v |
| r | a mask: 32 bytes of which 255 bits count |
| k(r) | 2 r + 1 - 2^255, the scalar a mask stands for: its digits 2 d - 31 to the base 32 are all odd |
"""

from __future__ import annotations

from collections.abc import Sequence

from accel.errors import InvalidPoint
from accel.reference.curve25519 import (
    L,
    P,
    Point,
    add,
    curve,
    find_invalid,
    hash_to_point,
    multiply,
    square_root,
)

BASE = b"\x09" + bytes(31)


def encode(point: Point) -> bytes:
    """u, and the parity of v in the top bit."""
    u, v = point
    return (u | (v & 1) << 255).to_bytes(32, "little")


def decode(points: bytes) -> list[Point]:
    """Points of a peer; raises InvalidPoint with ``index`` for what `find_invalid` finds."""
    found = []
    for index in range(len(points) // 32):
        number = int.from_bytes(points[32 * index : 32 * index + 32], "little")
        u, odd = number & (1 << 255) - 1, number >> 255
        bad = find_invalid(u.to_bytes(32, "little"))
        if bad is not None:
            raise InvalidPoint(f"point {index} {bad[1]}", index=index)
        v = square_root(curve(u))
        found.append((u, v if v % 2 == odd else P - v))
    return found


def mask_scalar(mask: bytes) -> int:
    """k(r) modulo the order."""
    return (2 * (int.from_bytes(mask, "little") & (1 << 255) - 1) + 1 - (1 << 255)) % L


def hash_and_mask(messages: Sequence[bytes], dst: bytes, masks: bytes) -> bytes:
    base = multiply(8, decode(BASE)[0])
    output = b""
    for index, message in enumerate(messages):
        k = mask_scalar(masks[32 * index : 32 * index + 32])
        masked = add(hash_to_point(message, dst), multiply(k, base))
        if masked is None:
            raise InvalidPoint(f"message {index} was masked to the point at infinity", index=index)
        output += encode(masked)
    return output


def multiply_points(points: bytes, scalar: bytes) -> bytes:
    k = int.from_bytes(scalar, "little")
    output = b""
    for index, point in enumerate(decode(points)):
        product = multiply(k, point)
        if product is None:
            raise InvalidPoint(f"point {index} has low order", index=index)
        output += encode(product)
    return output


def unmask(points: bytes, masks: bytes, key: bytes) -> bytes:
    base = multiply(8, decode(key)[0])
    output = b""
    for index, point in enumerate(decode(points)):
        k = mask_scalar(masks[32 * index : 32 * index + 32])
        bare = add(point, multiply(L - k, base))
        if bare is None:
            raise InvalidPoint(f"point {index} unmasks to the point at infinity", index=index)
        output += bare[0].to_bytes(32, "little")
    return output


# -- tables of a fixed base, for the other backends

D = -121665 * pow(121666, -1, P) % P
# x = C u / v and y = (u - 1) / (u + 1) lead to -x^2 + y^2 = 1 + D x^2 y^2 (RFC 7748 section 4.1).
C = square_root(-486664 % P)

WINDOW_BITS = 5
WINDOWS = 51
ENTRIES = 16

Niels = tuple[int, int, int]


def table(encoded: bytes) -> list[list[Niels]]:
    """For w < 51 and j < 16: (y + x, y - x, 2 D x y) of (2 j + 1) 32^w 8 B, for the point B."""
    u, v = decode(encoded)[0]
    x, y = C * u * pow(v, -1, P) % P, (u - 1) * pow(u + 1, -1, P) % P
    step = (x, y, 1, x * y % P)
    for _ in range(3):
        step = edwards_add(step, step)
    points = []
    for _ in range(WINDOWS):
        double = edwards_add(step, step)
        points.append(step)
        for _ in range(ENTRIES - 1):
            points.append(edwards_add(points[-1], double))
        # 32 = 31 + 1
        step = edwards_add(points[-1], step)
    inverses = _inverses([point[2] for point in points])
    entries = []
    for (x, y, _, _), inverse in zip(points, inverses, strict=True):
        x, y = x * inverse % P, y * inverse % P
        entries.append(((y + x) % P, (y - x) % P, 2 * D * x * y % P))
    return [entries[at : at + ENTRIES] for at in range(0, len(entries), ENTRIES)]


Extended = tuple[int, int, int, int]


def edwards_add(left: Extended, right: Extended) -> Extended:
    """Complete addition (RFC 8032 section 5.1.4)."""
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a, b = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * D * t1 % P * t2, 2 * z1 * z2
    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def _inverses(values: list[int]) -> list[int]:
    """Montgomery's trick."""
    products = [1]
    for value in values:
        products.append(products[-1] * value % P)
    inverse = pow(products[-1], -1, P)
    found = []
    for value, before in zip(reversed(values), reversed(products[:-1]), strict=True):
        found.append(inverse * before % P)
        inverse = inverse * value % P
    return found[::-1]
