"""Limb matrices as the vector kernels like them, and sums of plain numbers."""

from __future__ import annotations

import numpy as np

from accel.limbs import LIMB_BITS, LIMB_MASK, U64, LimbArray
from accel.modulus import Modulus


def aligned(words: int) -> U64:
    """Uninitialised words from a 64-byte boundary on: vectors that cross cache lines cost twice."""
    raw = np.empty(words + 8, dtype=np.uint64)
    return raw[-raw.ctypes.data // 8 % 8 :][:words]


def lane_rows(values: LimbArray | None) -> U64:
    """A limb matrix whose neighbouring lanes lie side by side in memory."""
    if values is None:
        return np.zeros((1, 1), dtype=np.uint64)
    limbs = values.limbs
    return limbs if limbs.strides[1] == limbs.itemsize else np.ascontiguousarray(limbs)


def widened(values: LimbArray, m: Modulus) -> LimbArray:
    """The same numbers with the limb count of m."""
    limbs = np.zeros((m.limbs, len(values)), dtype=np.uint64)
    limbs[: values.limb_count] = values.limbs
    return LimbArray(limbs)


def difference(a: LimbArray, b: LimbArray, m: Modulus) -> LimbArray:
    """a - b modulo m."""
    below = np.zeros(len(a), dtype=np.int64)
    limbs = np.empty_like(a.limbs)
    for j in range(m.limbs):
        below += a.limbs[j].astype(np.int64) - b.limbs[j].astype(np.int64)
        limbs[j] = below & LIMB_MASK
        below >>= LIMB_BITS
    # Where it fell below zero, ``below`` is -1, all bits set.
    return add(LimbArray(limbs), LimbArray(m.limb_values[:, None] & below.astype(np.uint64)))


def add(a: LimbArray, b: LimbArray) -> LimbArray:
    """a + b without the carry out of the last limb."""
    carry = np.zeros(len(a), dtype=np.uint64)
    limbs = np.empty_like(a.limbs)
    for j in range(a.limb_count):
        carry += a.limbs[j] + b.limbs[j]
        limbs[j] = carry & np.uint64(LIMB_MASK)
        carry >>= np.uint64(LIMB_BITS)
    return LimbArray(limbs)
