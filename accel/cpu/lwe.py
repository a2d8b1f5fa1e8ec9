"""Products modulo 2^32 on any processor: numba for one or a few columns, BLAS for many; the public matrix.

numba widens uint32 + uint32, so `lwe_kernels` casts at every step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accel.cpu.key_stream import BLOCK_BYTES, KeyStream
from accel.cpu.threads import each_range

U32 = npt.NDArray[np.uint32]
Database = npt.NDArray[Any]

_MASK = (1 << 32) - 1
_FEW_COLUMNS = 16  # up to here the kernel reads the database once, in less time than BLAS needs to convert it
_ROW_BLOCK = 512  # rows of a database converted to float64 at a time
_DEPTH_BLOCK = 1 << 16  # columns per exact partial sum
_SHARE = 1 << 20  # products: tens of microseconds


def matvec(database: Database, vector: U32, offset: int) -> U32:
    return _few(database, vector[:, None], offset)[:, 0]


def matmul(database: Database, matrix: U32, offset: int) -> U32:
    if matrix.shape[1] <= _FEW_COLUMNS:
        return _few(database, matrix, offset)
    return subtract_offset(_by_blas(database, matrix), matrix, offset)


def worth_a_thread(multiple: int, products_each: int) -> int:
    """How many rows, a multiple of ``multiple``, take longer than handing them to another thread does."""
    return multiple * max(1, -(-_SHARE // (multiple * products_each)))


def subtract_offset(product: U32, matrix: U32, offset: int) -> U32:
    """From D M to (D - offset) M; ``product`` is overwritten and returned."""
    if offset:
        sums = matrix.sum(axis=0, dtype=np.uint64) & np.uint64(_MASK)
        product -= (sums * np.uint64(offset)).astype(np.uint32)  # wraps modulo 2^32, which is meant
    return product


def _few(database: Database, matrix: U32, offset: int) -> U32:
    from accel.cpu.lwe_kernels import ROWS, multiply_rows  # numba takes a second to import

    output = np.zeros((database.shape[0], matrix.shape[1]), dtype=np.uint32)
    if output.size and database.size:
        vectors = np.ascontiguousarray(matrix.T)
        step = worth_a_thread(ROWS, database.shape[1] * vectors.shape[0])
        each_range(
            database.shape[0], step, lambda start, stop: multiply_rows(database, vectors, output, start, stop)
        )
    return subtract_offset(output, matrix, offset)


def _by_blas(database: Database, matrix: U32) -> U32:
    """Exact products in float64: 16-bit halves, and at most 2^16 terms of less than 2^32 each per sum.

    2^16 * (2^16 - 1)^2 < 2^48 fits the 53-bit significand with room, so BLAS may add in any order.
    """
    rows, depth = database.shape
    output = np.zeros((rows, matrix.shape[1]), dtype=np.uint32)
    wide = database.dtype == np.uint32
    for low in range(0, depth, _DEPTH_BLOCK):
        part = matrix[low : low + _DEPTH_BLOCK]
        right_low = (part & np.uint32(0xFFFF)).astype(np.float64)
        right_high = (part >> np.uint32(16)).astype(np.float64)
        for top in range(0, rows, _ROW_BLOCK):
            block = database[top : top + _ROW_BLOCK, low : low + _DEPTH_BLOCK]
            left_low = (block & np.uint32(0xFFFF) if wide else block).astype(np.float64)
            total = (left_low @ right_low).astype(np.uint64)
            middle = (left_low @ right_high).astype(np.uint64)
            if wide:
                middle += ((block >> np.uint32(16)).astype(np.float64) @ right_low).astype(np.uint64)
            total += middle << np.uint64(16)
            output[top : top + _ROW_BLOCK] += (total & np.uint64(_MASK)).astype(np.uint32)
    return output


def expand_rows(seed: bytes, start: int, stop: int, columns: int) -> U32:
    # A fixed public seed expands one fixed stream: the counter never meets another plaintext.
    stream = KeyStream(seed, 4 * start * columns // BLOCK_BYTES)(4 * (stop - start) * columns)
    return stream.view("<u4").reshape(stop - start, columns).astype(np.uint32, copy=False)
