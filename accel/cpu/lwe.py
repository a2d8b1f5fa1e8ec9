"""Products modulo 2^32 with numba (matrix by vector) and BLAS (matrix by matrix)."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

U32 = npt.NDArray[np.uint32]

_MASK = (1 << 32) - 1
_ROW_BLOCK = 512  # rows of a database converted to float64 at a time
_DEPTH_BLOCK = 1 << 16  # columns per exact partial sum

# numba's fallback threading layer aborts the process when two threads enter parallel kernels at once.
_PARALLEL = threading.Lock()


def matvec(database: npt.NDArray[Any], vector: U32, offset: int) -> U32:
    from accel.cpu.kernels import matvec_kernel  # numba takes a second to import: only those who need it

    vector = np.ascontiguousarray(vector)
    output = np.zeros(database.shape[0], dtype=np.uint32)
    if database.size:
        with _PARALLEL:
            matvec_kernel(database, vector, output)
    return _subtract_offset(output, np.array(offset * int(vector.sum(dtype=np.uint64)) & _MASK))


def matmul(database: npt.NDArray[Any], matrix: U32, offset: int) -> U32:
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
    return _subtract_offset(output, _scaled_column_sums(matrix, offset))


def expand_rows(seed: bytes, start: int, stop: int, columns: int) -> U32:
    counter = (start * columns // 4).to_bytes(16, "big")
    # A fixed public seed expands one fixed stream: the counter never meets another plaintext.
    encryptor = Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor()
    stream = encryptor.update(bytes(4 * (stop - start) * columns))
    return np.frombuffer(stream, dtype="<u4").reshape(stop - start, columns).astype(np.uint32)


def _scaled_column_sums(matrix: U32, offset: int) -> npt.NDArray[np.uint64]:
    sums = matrix.sum(axis=0, dtype=np.uint64) & np.uint64(_MASK)
    scaled: npt.NDArray[np.uint64] = (sums * np.uint64(offset)) & np.uint64(_MASK)
    return scaled


def _subtract_offset(product: U32, correction: npt.NDArray[Any]) -> U32:
    result: U32 = product - correction.astype(np.uint32)  # wraps modulo 2^32, which is meant
    return result
