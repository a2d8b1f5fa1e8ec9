"""Kernels of `accel.cpu.okvs_wide`: as `okvs_kernels`, with 32 bits for the numbers of rows and columns."""

from __future__ import annotations

import numpy as np

from accel.cpu.jit import compiled
from accel.cpu.okvs_kernels import add, add_dense, columns, fill_sums, solve_dense

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1 << 32)  # of a column's state: rows above bit 32, the xor of their numbers below


@compiled
def peel(cells, state, queue, pivot_rows, pivot_columns, put_by):  # type: ignore[no-untyped-def]
    """Peeled rows and columns in order; the numbers of peeled rows and of rows put by (-1: too many)."""
    size, sparse = cells.shape[0], state.shape[0]
    one = np.uint64(1)
    state[:] = 0
    for row in range(size):
        for t in range(3):
            c = cells[row, t]
            state[c] = state[c] + _ONE ^ np.uint64(row)
    # A column is queued when one row is left in it, which happens once.
    peeled, aside, head, tail = 0, 0, 0, np.int64(0)
    for c in range(sparse):
        queue[tail] = c
        tail += np.int64(state[c] >> _HALF == one)
    while True:
        while head < tail:
            c = queue[head]
            head += 1
            if state[c] >> _HALF != one:
                continue
            row = np.int64(state[c] & _LOW)  # type: ignore[assignment]
            pivot_rows[peeled] = row
            pivot_columns[peeled] = c
            peeled += 1
            for t in range(3):
                other = cells[row, t]
                state[other] = state[other] - _ONE ^ np.uint64(row)
                queue[tail] = other
                tail += np.int64(state[other] >> _HALF == one)
        if peeled + aside == size:
            return peeled, aside
        if aside == put_by.shape[0]:
            return peeled, -1
        # All columns left have two rows or more. Put by a row of one that has the fewest.
        alive = np.ones(size, np.uint8)
        for i in range(peeled):
            alive[pivot_rows[i]] = 0
        for i in range(aside):
            alive[put_by[i]] = 0
        found, fewest = 0, _LOW
        for candidate in range(size):
            if alive[candidate]:
                for t in range(3):
                    rows = state[cells[candidate, t]] >> _HALF
                    if rows < fewest:
                        found, fewest = candidate, rows
        put_by[aside] = found
        aside += 1
        for t in range(3):
            other = cells[found, t]
            state[other] = state[other] - _ONE ^ np.uint64(found)
            queue[tail] = other
            tail += np.int64(state[other] >> _HALF == one)


@compiled
def solve(rows, values, table, sparse, dense):  # type: ignore[no-untyped-def]
    """Overwrite ``table``, which holds randomness, by a solution; False if there is none.

    ``rows``: h low, h high and the dense part.
    """
    size, words = rows.shape[0], table.shape[1]
    width = 8 * words
    parts = max(5, (dense + 7) // 8)
    cells = np.empty((size, 3), np.int32)
    for row in range(size):
        cells[row, 0], cells[row, 1], cells[row, 2] = columns(rows[row, 0], rows[row, 1], sparse)
    pivot_rows, pivot_columns = np.empty(size, np.int32), np.empty(size, np.int32)
    put_by = np.empty(dense, np.int32)
    state, queue = np.empty(sparse, np.uint64), np.empty(sparse + 1, np.int32)
    peeled, aside = peel(cells, state, queue, pivot_rows, pivot_columns, put_by)
    if aside < 0:
        return False
    if aside > 0 and not solve_dense(
        rows[:, 1:], values, table, sparse, cells, pivot_rows[:peeled], pivot_columns, put_by[:aside]
    ):
        return False
    sums = np.empty((256 * parts, words), np.uint64)
    fill_sums(table[sparse:], sums)
    wanted = np.empty((size, words), np.uint64)  # of the sparse columns
    for row in range(size):
        start = values.ctypes.data + width * row
        to = wanted.ctypes.data + width * row
        add_dense(width, to, start, np.int64(rows[row, 2]), sums.ctypes.data, parts)
    base = table.ctypes.data
    for i in range(peeled - 1, -1, -1):
        pivot = np.int64(pivot_rows[i])
        # Column c is one of the three. What it holds cancels.
        c = base + width * np.int64(pivot_columns[i])
        add(
            width,
            c,
            (
                wanted.ctypes.data + width * pivot,
                base + width * np.int64(cells[pivot, 0]),
                base + width * np.int64(cells[pivot, 1]),
                base + width * np.int64(cells[pivot, 2]),
                c,
            ),
        )
    return True


@compiled
def evaluate(rows, table, sparse, dense, out):  # type: ignore[no-untyped-def]
    width, parts = 8 * table.shape[1], max(5, (dense + 7) // 8)
    sums = np.empty((256 * parts, table.shape[1]), np.uint64)
    fill_sums(table[sparse:], sums)
    base = table.ctypes.data
    for i in range(rows.shape[0]):
        a, b, c = columns(rows[i, 0], rows[i, 1], sparse)
        to = out.ctypes.data + width * i
        add(width, to, (base + width * a, base + width * b, base + width * c))
        add_dense(width, to, to, np.int64(rows[i, 2]), sums.ctypes.data, parts)
