"""The right factor of a product in the order in which the tiles of `lwe_tiles` read it.

A number x modulo 2^32 is written in balanced digits, sum of d_i 2^(bits i) with -2^(bits-1) <= d_i <
2^(bits-1): the two's complement digits of ((x + b) xor b), b having the top bit of every digit set, because
x + b has the unsigned digits d_i + 2^(bits-1). The carry beyond 2^32 drops out.

A database of wider entries is read as bytes: byte i of an entry meets its factor times 2^(8 i). So row x of
the factor becomes the rows x 2^0, x 2^8, ... (``expansion`` of them, one for each byte of an entry).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from accel.cpu.jit import compiled

U32 = npt.NDArray[np.uint32]

_MASK = 0xFFFFFFFF


@njit(nogil=True, inline="always")
def _balanced(x: Any, shift: int, keep: int, bias: int) -> Any:
    return ((((x << shift) & _MASK) * keep + bias) & _MASK) ^ bias


@compiled
def pack(
    matrix: U32, expansion: int, bits: int, columns: int, lanes: int, packed: U32, start: int, stop: int
) -> None:
    """Fill steps ``start`` to ``stop`` of ``packed``, of shape (panels, steps, words of a step), zero before.

    A step holds, for four (expanded) rows of the matrix, digit d of column c in lane (d columns + c) of the
    step's vectors: bytes in one word, or halves of rows 0 and 2, then of rows 1 and 3, in two.
    """
    rows, width = matrix.shape
    bias = 0x80808080 if bits == 8 else 0x80008000
    at = np.empty(4, np.int64)
    shift = np.empty(4, np.int64)
    keep = np.empty(4, np.int64)
    for step in range(start, stop):
        for i in range(4):
            row = (4 * step + i) // expansion
            shift[i] = 8 * ((4 * step + i) % expansion)
            keep[i] = row < rows
            at[i] = min(row, rows - 1)
        for panel in range(packed.shape[0]):
            left = panel * columns
            words = packed[panel, step]
            for column in range(min(columns, width - left)):
                x0 = _balanced(np.int64(matrix[at[0], left + column]), shift[0], keep[0], bias)
                x1 = _balanced(np.int64(matrix[at[1], left + column]), shift[1], keep[1], bias)
                x2 = _balanced(np.int64(matrix[at[2], left + column]), shift[2], keep[2], bias)
                x3 = _balanced(np.int64(matrix[at[3], left + column]), shift[3], keep[3], bias)
                if bits == 8:
                    for digit in range(4):
                        low = 8 * digit
                        words[digit * columns + column] = (
                            (x0 >> low & 255)
                            | (x1 >> low & 255) << 8
                            | (x2 >> low & 255) << 16
                            | (x3 >> low & 255) << 24
                        )
                else:
                    for digit in range(2):
                        low = 16 * digit
                        vector, lane = divmod(digit * columns + column, lanes)
                        words[2 * lanes * vector + lane] = (x0 >> low & 65535) | (x2 >> low & 65535) << 16
                        words[2 * lanes * vector + lanes + lane] = (x1 >> low & 65535) | (
                            x3 >> low & 65535
                        ) << 16
