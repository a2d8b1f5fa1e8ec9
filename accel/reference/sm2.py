"""The SM2 curve in affine coordinates and Python integers.

| symbol | meaning |
|---|---|
| P | the field; the curve is y^2 = x^3 - 3 x + B |
| N | the prime order of the base point G; the cofactor is 1 |

Source: GB/T 32918.5-2017 section 2 (parameters), GB/T 32918.1-2016 (group law).
"""

from __future__ import annotations

from collections.abc import Sequence

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

Point = tuple[int, int]


def is_on_curve(x: int, y: int) -> bool:
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x * x + A * x + B)) % P == 0


def add(a: Point | None, b: Point | None) -> Point | None:
    """The group law; None is the point at infinity."""
    if a is None:
        return b
    if b is None:
        return a
    (x1, y1), (x2, y2) = a, b
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(k: int, point: Point | None) -> Point | None:
    result = None
    while k:
        if k & 1:
            result = add(result, point)
        point = add(point, point)
        k >>= 1
    return result


def multiply_base_many(scalars: Sequence[int]) -> list[Point | None]:
    return [multiply(k, G) for k in scalars]


def multiply_many(points: Sequence[Point], scalars: Sequence[int]) -> list[Point | None]:
    return [multiply(k, point) for point, k in zip(points, scalars, strict=True)]


def lift_x(x: int, parity: int) -> Point | None:
    """The point with this x and parity of y, or None. P = 3 modulo 4."""
    y = pow(x * x * x + A * x + B, (P + 1) // 4, P)
    if not is_on_curve(x, y):
        return None
    return x, y if y % 2 == parity else P - y
