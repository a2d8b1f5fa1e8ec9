"""Short Weierstrass curves of prime order over 256-bit fields: SM2 and secp256k1, in plain integers.

| symbol | meaning |
|---|---|
| p | the prime field; both primes are 3 modulo 4, so square roots are powers |
| a, b | the curve y^2 = x^3 + a x + b |
| n | the prime order of the base point g; the cofactor is 1, so every point but infinity has order n |

Sources: GB/T 32918.5-2017 section 2 (SM2), SEC 2 version 2.0 section 2.4.1 (secp256k1), SEC 1 version 2.0
sections 2.2 (group law), 2.3.3 and 2.3.4 (compressed points).
Functions on batches take and give numpy rows of big-endian bytes: scalars of 32, points x ‖ y of 64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Point = tuple[int, int]
Rows = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """The public constants of a curve. ``name`` is a key: two curves never share one."""

    name: str
    p: int
    a: int
    b: int
    n: int
    g: Point


_SM2_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF

SM2 = Curve(
    name="sm2",
    p=_SM2_P,
    a=_SM2_P - 3,
    b=0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93,
    n=0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123,
    g=(
        0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
        0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
    ),
)

SECP256K1 = Curve(
    name="secp256k1",
    p=2**256 - 2**32 - 977,
    a=0,
    b=7,
    n=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    g=(
        0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
        0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    ),
)


def right_side(curve: Curve, x: int) -> int:
    return (x * x * x + curve.a * x + curve.b) % curve.p


def is_on_curve(curve: Curve, x: int, y: int) -> bool:
    return 0 <= x < curve.p and 0 <= y < curve.p and y * y % curve.p == right_side(curve, x)


def add(curve: Curve, left: Point | None, right: Point | None) -> Point | None:
    """The group law; None is the point at infinity."""
    if left is None:
        return right
    if right is None:
        return left
    (x1, y1), (x2, y2) = left, right
    if x1 == x2:
        if (y1 + y2) % curve.p == 0:
            return None
        slope = (3 * x1 * x1 + curve.a) * pow(2 * y1, -1, curve.p) % curve.p
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, curve.p) % curve.p
    x3 = (slope * slope - x1 - x2) % curve.p
    return x3, (slope * (x1 - x3) - y1) % curve.p


def multiply_point(curve: Curve, k: int, point: Point | None) -> Point | None:
    """k times a point, k >= 0."""
    result = None
    while k:
        if k & 1:
            result = add(curve, result, point)
        point = add(curve, point, point)
        k >>= 1
    return result


def lift_x(curve: Curve, x: int, parity: int) -> Point | None:
    """The point with this x and parity of y, or None (SEC 1 section 2.3.4)."""
    y = pow(right_side(curve, x), (curve.p + 1) // 4, curve.p)
    if not is_on_curve(curve, x, y):
        return None
    return x, y if y % 2 == parity else curve.p - y


def ints(rows: Rows) -> list[int]:
    return [int.from_bytes(bytes(row), "big") for row in rows]


def points(rows: Rows) -> list[Point]:
    coordinates = ints(rows.reshape(-1, 32))
    return list(zip(coordinates[::2], coordinates[1::2], strict=True))


def rows_of_ints(values: Iterable[int]) -> Rows:
    data = b"".join(int(value).to_bytes(32, "big") for value in values)
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, 32).copy()


def rows_of_points(results: Iterable[Point | None]) -> tuple[Rows, Flags]:
    """Points as rows, infinity as zeros and a set flag."""
    found = list(results)
    rows = rows_of_ints(c for point in found for c in (point or (0, 0))).reshape(-1, 64)
    return rows, np.array([point is None for point in found], dtype=np.bool_)


def multiply_base(curve: Curve, scalars: Rows) -> Rows:
    return rows_of_points(multiply_point(curve, k, curve.g) for k in ints(scalars))[0]


def multiply(curve: Curve, bases: Rows, scalars: Rows) -> Rows:
    """One base for all scalars, or one scalar for all bases, comes as a single row."""
    pairs = zip(*_aligned(points(bases), ints(scalars)), strict=True)
    return rows_of_points(multiply_point(curve, k, point) for point, k in pairs)[0]


def multiply_add(curve: Curve, u1: Rows, bases: Rows, u2: Rows) -> tuple[Rows, Flags]:
    results = []
    for k1, point, k2 in zip(ints(u1), *_aligned(points(bases), ints(u2)), strict=True):
        left, right = multiply_point(curve, k1, curve.g), multiply_point(curve, k2, point)
        results.append(add(curve, left, right))
    return rows_of_points(results)


def on_curve(curve: Curve, rows: Rows) -> Flags:
    return np.array([is_on_curve(curve, x, y) for x, y in points(rows)], dtype=np.bool_)


def decompress(curve: Curve, xs: Rows, parities: Rows) -> tuple[Rows, Flags]:
    """Points for x below p and parities of y; the flag is unset where there is none."""
    found = [lift_x(curve, x, int(parity)) for x, parity in zip(ints(xs), parities, strict=True)]
    rows, missing = rows_of_points(found)
    return rows, ~missing


def _aligned(bases: list[Point], scalars: list[int]) -> tuple[list[Point], list[int]]:
    if len(bases) == 1:
        return bases * len(scalars), scalars
    if len(scalars) == 1:
        return bases, scalars * len(bases)
    return bases, scalars
