"""Products modulo 2^32 in Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def matvec(database: npt.NDArray[Any], vector: npt.NDArray[np.uint32], offset: int) -> npt.NDArray[np.uint32]:
    right = vector.tolist()
    rows = [
        sum((entry - offset) * x for entry, x in zip(row, right, strict=True)) % 2**32
        for row in database.tolist()
    ]
    return np.array(rows, dtype=np.uint32)


def matmul(database: npt.NDArray[Any], matrix: npt.NDArray[np.uint32], offset: int) -> npt.NDArray[np.uint32]:
    columns = [matvec(database, matrix[:, column], offset) for column in range(matrix.shape[1])]
    if not columns:
        return np.zeros((database.shape[0], 0), dtype=np.uint32)
    return np.stack(columns, axis=1)
