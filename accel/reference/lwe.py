"""Products modulo 2^32 and the discrete Gaussian in Python integers."""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]

GAUSSIAN_SIGMA = Decimal("6.4")
# Beyond 58 (9 sigma) less than 2^-63 is left in both tails together: a 64-bit table cannot hold more.
GAUSSIAN_TAIL = 58


def matvec(database: npt.NDArray[Any], vector: U32, offset: int) -> U32:
    right = vector.tolist()
    rows = [
        sum((entry - offset) * x for entry, x in zip(row, right, strict=True)) % 2**32
        for row in database.tolist()
    ]
    return np.array(rows, dtype=np.uint32)


def matmul(database: npt.NDArray[Any], matrix: U32, offset: int) -> U32:
    columns = [matvec(database, matrix[:, column], offset) for column in range(matrix.shape[1])]
    if not columns:
        return np.zeros((database.shape[0], 0), dtype=np.uint32)
    return np.stack(columns, axis=1)


def gaussian(words: npt.NDArray[np.uint64]) -> U32:
    """Inversion: the sample of a uniform 64-bit word is the least x with word < 2^64 P(X <= x)."""
    table = cumulative_table()
    return np.array(
        [(bisect_right(table, word) - GAUSSIAN_TAIL) % 2**32 for word in words.tolist()], dtype=np.uint32
    )


@cache
def cumulative_table() -> list[int]:
    """Entry i is round(2^64 P(X <= i - tail)) for X from -tail to tail - 1, with 50 digits inside."""
    with localcontext() as context:
        context.prec = 50
        tail = range(-GAUSSIAN_TAIL, GAUSSIAN_TAIL + 1)
        weight = [(-(Decimal(x) ** 2) / (2 * GAUSSIAN_SIGMA**2)).exp() for x in tail]
        total = sum(weight, Decimal(0))
        running = Decimal(0)
        table = []
        for value in weight[:-1]:
            running += value
            table.append(int((running / total * 2**64).to_integral_value()))
    return table
