"""GF(2^128) without a carry-less multiplier: shift and add under masks, in constant time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.cpu import threads

U64 = npt.NDArray[np.uint64]

_STEP = 256


def multiply(a: U64, b: U64) -> U64:
    return _each(a, b, 1)


def multiply_by(a: U64, b: U64) -> U64:
    return _each(a, b.reshape(1, 2), 0)


def inner_product(a: U64, b: U64) -> U64:
    from accel.cpu import gf128_kernels as kernels  # numba takes a second to import

    total = np.zeros(2, dtype=np.uint64)
    kernels.inner_product(a, b, total)
    return total


def _each(a: U64, b: U64, step: int) -> U64:
    from accel.cpu import gf128_kernels as kernels

    out = np.empty_like(a)
    threads.each_range(len(a), _STEP, lambda start, stop: kernels.multiply(a, b, step, out, start, stop))
    return out
