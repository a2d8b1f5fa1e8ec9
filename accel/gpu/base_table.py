"""The table that the GPU kernels multiply a base point from: odd multiples of G in windows of six bits.

Entry j of window i is ``(2 j + 1) 2^(6 i) G``, x then y in eight 32-bit limbs each, little end first, in
the form of the field: times 2^256 for SM2, plain for secp256k1 (see `accel/kernels/multiples.cuh`). 43
windows of 32 entries are 88 KB. Everything here is public and computed once a process, in plain integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from accel.reference.weierstrass import SM2, Curve, Point

WINDOW_BITS = 6
WINDOWS = 43
ENTRIES = 1 << (WINDOW_BITS - 1)

U32 = npt.NDArray[np.uint32]


@cache
def base_table(curve: Curve) -> U32:
    """uint32 of shape (windows, entries, 2, 8); about 20 ms."""
    factor = 1 << 256 if curve == SM2 else 1
    starts: list[Point] = [curve.g]
    for _ in range(WINDOWS - 1):
        point = starts[-1]
        for _ in range(WINDOW_BITS):
            (point,) = _add_all(curve, [point], [point])
        starts.append(point)
    # All windows advance together, so that each step takes one inversion.
    steps = _add_all(curve, starts, starts)
    columns = [starts]
    for _ in range(ENTRIES - 1):
        columns.append(_add_all(curve, columns[-1], steps))
    data = b"".join(
        (coordinate * factor % curve.p).to_bytes(32, "little")
        for window in zip(*columns, strict=True)
        for point in window
        for coordinate in point
    )
    return np.frombuffer(data, "<u4").astype(np.uint32).reshape(WINDOWS, ENTRIES, 2, 8)


def _add_all(curve: Curve, left: Sequence[Point], right: Sequence[Point]) -> list[Point]:
    """Sums of finite points that are not opposite, by one inversion."""
    p = curve.p
    denominators = [
        2 * y1 % p if (x1, y1) == (x2, y2) else (x2 - x1) % p
        for (x1, y1), (x2, y2) in zip(left, right, strict=True)
    ]
    products = [1]
    for value in denominators:
        products.append(products[-1] * value % p)
    inverse = pow(products[-1], -1, p)
    sums: list[Point] = []
    for i in reversed(range(len(denominators))):
        one_over = inverse * products[i] % p
        inverse = inverse * denominators[i] % p
        (x1, y1), (x2, y2) = left[i], right[i]
        rise = 3 * x1 * x1 + curve.a if (x1, y1) == (x2, y2) else y2 - y1
        slope = rise * one_over % p
        x3 = (slope * slope - x1 - x2) % p
        sums.append((x3, (slope * (x1 - x3) - y1) % p))
    return sums[::-1]
