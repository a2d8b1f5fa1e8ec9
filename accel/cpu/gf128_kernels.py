"""Kernels of `accel.cpu.gf128`."""

from __future__ import annotations

import numpy as np

from accel.cpu.jit import compiled


@compiled
def product(a0, a1, b0, b1):  # type: ignore[no-untyped-def]
    zero, one, top = np.uint64(0), np.uint64(1), np.uint64(63)
    r0, r1 = zero, zero
    for i in range(127, -1, -1):
        word = b1 if i >= 64 else b0
        taken = zero - (word >> np.uint64(i & 63) & one)
        out = zero - (r1 >> top)
        r1 = r1 << one ^ r0 >> top ^ a1 & taken
        r0 = r0 << one ^ out & np.uint64(0x87) ^ a0 & taken
    return r0, r1


@compiled
def multiply(a, b, step, out, start, stop):  # type: ignore[no-untyped-def]
    """``step`` 1 for one factor each, 0 for one factor for all."""
    for i in range(start, stop):
        out[i, 0], out[i, 1] = product(a[i, 0], a[i, 1], b[step * i, 0], b[step * i, 1])


@compiled
def inner_product(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        low, high = product(a[i, 0], a[i, 1], b[i, 0], b[i, 1])
        out[0] ^= low
        out[1] ^= high
