"""Rows of bytes of one width, many at once: taken by number, and looked up in others.

Neither is constant-time: addresses and branches depend on numbers and rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.errors import BadParameter
from accel.registry import Op

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

MOST_WIDE = 16
"""Bytes of a row that is looked up."""


def take(rows: U8, numbers: I64, *, backend: str = "auto") -> U8:
    """``rows[numbers]``: (n, width) and (m,) to (m, width). Rows may be some columns of a wider matrix.

    Raises BadParameter for a wrong dtype or shape, and for numbers outside 0 … n - 1.
    """
    rows = _check(rows)
    if not isinstance(numbers, np.ndarray) or numbers.dtype != np.int64 or numbers.ndim != 1:
        raise BadParameter("numbers of rows are a 1-D array of int64")
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(rows)):
        raise BadParameter(f"numbers of rows are from 0 to {len(rows) - 1}")
    return TAKE.select(backend, batch=len(numbers))(rows, np.ascontiguousarray(numbers))


def places(table: U8, rows: U8, *, backend: str = "auto") -> I64:
    """Where in ``table`` (m, width) each of the rows (n, width) is first; -1 for nowhere.

    A table in ascending order, bytes compared from the left, is not sorted again. Whatever a table holds, a
    row costs O(log m). Raises BadParameter for a wrong dtype or shape, or rows wider than `MOST_WIDE`.
    """
    table, rows = _check(table), _check(rows)
    if table.shape[1] != rows.shape[1] or rows.shape[1] > MOST_WIDE:
        raise BadParameter(f"rows and table have one width of at most {MOST_WIDE} bytes")
    return PLACES.select(backend, batch=len(rows))(table, rows)


def _check(rows: Any) -> U8:
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or not rows.shape[1]:
        raise BadParameter("rows are a 2-D array of uint8 that is not empty from side to side")
    # Kernels step from row to row, in a row from byte to byte.
    return rows if rows.strides[1] == 1 and rows.strides[0] >= rows.shape[1] else np.ascontiguousarray(rows)


# -- backends

TAKE: Op[[U8, I64], U8] = Op("rows.take", sample=lambda batch: (_sample(batch), np.arange(batch)))
PLACES: Op[[U8, U8], I64] = Op("rows.places", sample=lambda batch: (_sample(batch), _sample(batch)))


def _sample(batch: int) -> U8:
    return np.arange(10 * batch, dtype=np.int64).astype(">u8").view(np.uint8).reshape(-1, 10)[:batch]


@TAKE.backend("reference")
def _reference_take(rows: U8, numbers: I64) -> U8:
    return rows[numbers]


@TAKE.backend("portable", needs="numba")
def _compiled_take(rows: U8, numbers: I64) -> U8:
    from accel.cpu import rows as kernels

    return kernels.take(rows, numbers)


@PLACES.backend("reference")
def _reference_places(table: U8, rows: U8) -> I64:
    known: dict[bytes, int] = {}
    for place, row in enumerate(table):
        known.setdefault(row.tobytes(), place)
    return np.array([known.get(row.tobytes(), -1) for row in rows], np.int64)


@PLACES.backend("portable", needs="numba")
def _compiled_places(table: U8, rows: U8) -> I64:
    from accel.cpu import rows as kernels

    return kernels.places(table, rows)


@TAKE.known_answer
def _known_take(run: Callable[[U8, I64], U8]) -> None:
    rows = np.arange(60, dtype=np.uint8).reshape(5, 12)
    for width in (1, 7, 8, 11):
        got = run(rows[:, 1 : 1 + width], np.array([4, 0, 0, 3]))
        selftest.expect(got.tolist() == rows[[4, 0, 0, 3], 1 : 1 + width].tolist(), "rows.take")


@PLACES.known_answer
def _known_places(run: Callable[[U8, U8], I64]) -> None:
    for width in (1, 8, 11):
        rows = np.zeros((6, width), np.uint8)
        rows[:, -1] = (1, 3, 3, 7, 9, 9)
        for order in (slice(None), slice(None, None, -1)):
            table = np.ascontiguousarray(rows[order])
            firsts = table[:, -1].tolist()
            wanted = [firsts.index(row) if row in firsts else -1 for row in range(11)]
            asked = np.zeros((11, width), np.uint8)
            asked[:, -1] = np.arange(11)
            selftest.expect(run(table, asked).tolist() == wanted, "rows.places")
