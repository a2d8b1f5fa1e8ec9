"""Kernels of the portable path, for LLVM to vectorise as the processor allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accel.cpu.jit import compiled

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

ROWS = 4


@compiled
def multiply_rows(database: npt.NDArray[Any], vectors: U32, output: U32, start: int, stop: int) -> None:
    """output[r, k] = sum over c of database[r, c] * vectors[k, c] modulo 2^32, for rows start to stop.

    Four rows meet all vectors before the next four, so the database comes from memory once. numba widens
    uint32 + uint32: cast at every step.
    """
    columns = database.shape[1]
    for first in range(start, stop, ROWS):
        if first + ROWS <= stop:
            a0, a1, a2, a3 = database[first], database[first + 1], database[first + 2], database[first + 3]
            for k in range(vectors.shape[0]):
                vector = vectors[k]
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
                output[first, k] = s0
                output[first + 1, k] = s1
                output[first + 2, k] = s2
                output[first + 3, k] = s3
        else:
            for row in range(first, stop):
                for k in range(vectors.shape[0]):
                    total = np.uint32(0)
                    for column in range(columns):
                        total = np.uint32(
                            total + np.uint32(np.uint32(database[row, column]) * vectors[k, column])
                        )
                    output[row, k] = total


@compiled
def rank_words(words: U64, table: I64, output: U32, start: int, stop: int) -> None:
    """The sample of each word: how many of the 58 entries of the table are below it, minus 58; of a word of
    the upper half, the negative of what its complement gives. Always 64 comparisons, no branch."""
    for index in range(start, stop):
        word = np.int64(words[index])
        upper = word >> 63  # 0 or -1
        folded = word ^ upper
        rank = np.int64(0)
        for entry in range(64):
            rank += folded > table[entry]
        rank -= 58
        output[index] = (rank ^ upper) - upper
