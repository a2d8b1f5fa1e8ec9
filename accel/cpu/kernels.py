"""Compiled kernels. Importing this module imports numba; the first call of each compiles and caches on disk.

numba widens uint32 + uint32: cast at every step. One accumulator per row and four rows at a time let LLVM
vectorise the loop over columns while the vector stays in cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange


@njit(parallel=True, cache=True)
def matvec_kernel(
    database: npt.NDArray[Any], vector: npt.NDArray[np.uint32], output: npt.NDArray[np.uint32]
) -> None:
    """output[r] = sum over c of database[r, c] * vector[c], modulo 2^32."""
    rows, columns = database.shape
    for block in prange((rows + 3) // 4):
        first = 4 * block
        if first + 4 <= rows:
            a0, a1, a2, a3 = database[first], database[first + 1], database[first + 2], database[first + 3]
            s0 = np.uint32(0)
            s1 = np.uint32(0)
            s2 = np.uint32(0)
            s3 = np.uint32(0)
            for column in range(columns):
                x = vector[column]
                s0 = np.uint32(s0 + np.uint32(np.uint32(a0[column]) * x))
                s1 = np.uint32(s1 + np.uint32(np.uint32(a1[column]) * x))
                s2 = np.uint32(s2 + np.uint32(np.uint32(a2[column]) * x))
                s3 = np.uint32(s3 + np.uint32(np.uint32(a3[column]) * x))
            output[first], output[first + 1], output[first + 2], output[first + 3] = s0, s1, s2, s3
        else:
            for row in range(first, rows):
                s0 = np.uint32(0)
                for column in range(columns):
                    s0 = np.uint32(s0 + np.uint32(np.uint32(database[row, column]) * vector[column]))
                output[row] = s0
