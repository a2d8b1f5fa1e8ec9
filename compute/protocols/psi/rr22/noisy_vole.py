"""Products of few secret values with one key, as sums: Gilboa's multiplication over the key's bits.

With columns of `subspace_vole` (w_c = v_c ⊕ Δ_c·u), and u read as values β of GF(2^128), the sums over all
bits of v_c·x^c and of w_c·x^c differ by β·Δ: the extender has c = β·Δ ⊕ b, the holder b. Nothing crosses.
(Gilboa, CRYPTO 1999; here with random values, as the noise of a silent VOLE.)

Values of 64 bits count as polynomials below x^64; two of them lie in a block of u, and the relation stays as
it is, because a GF(2)-subspace is enough.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

# x^128 = x^7 + x^2 + x + 1 (accel.gf128).
_REDUCTION = np.uint64(0x87)


def blocks_of(count: int, words: int) -> int:
    """Blocks of u that hold ``count`` values of one or two words."""
    return -(-count * words // 2)


def values(bits: U64, count: int, words: int) -> U64:
    """The extender's values (count, words) in blocks of u."""
    return bits.reshape(-1)[: count * words].reshape(count, words)


def combine(columns: U64, count: int, words: int) -> U64:
    """The sums over x^c (count, 2) of columns (128, blocks, 2): c for the extender, b for the holder."""
    low, high = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    for column in columns[::-1]:
        carry = high >> np.uint64(63)
        high = high << np.uint64(1) | low >> np.uint64(63)
        low = low << np.uint64(1) ^ carry * _REDUCTION
        found = values(column, count, words)
        low ^= found[:, 0]
        if words == 2:
            high ^= found[:, 1]
    return np.stack([low, high], axis=1)
