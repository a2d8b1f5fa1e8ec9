"""Kernels of `accel.cpu.okvs`: sorting into bins, peeling, substitution, evaluation.

Solving a bin. A column that one row alone has can take whatever that row needs: row and column are set aside
("peeled"), which leaves other columns with one row, and so on. Substitution in the opposite order gives the
table. Where every column left has two rows or more, a row is put by; its equation, with all peeled columns
written as a constant plus a combination of the dense ones, is solved for the dense ones before the
substitution ends.
"""

from __future__ import annotations

import numpy as np

from accel.cpu.jit import compiled

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint32(1 << 16)  # of a column's state: rows above bit 16, the xor of their numbers below


@compiled
def count(hashed, start, stop, counts):  # type: ignore[no-untyped-def]
    bins = np.uint64(counts.shape[0])
    for i in range(start, stop):
        counts[(hashed[i, 0] & _LOW) * bins >> _HALF] += 1


@compiled
def scatter(hashed, start, stop, places, rows):  # type: ignore[no-untyped-def]
    bins = np.uint64(places.shape[0])
    for i in range(start, stop):
        b = (hashed[i, 0] & _LOW) * bins >> _HALF
        to = places[b]
        places[b] = to + 1
        for j in range(4):
            rows[to, j] = hashed[i, j]


@compiled
def columns(low, high, sparse):  # type: ignore[no-untyped-def]
    """Three different columns of a row."""
    m = np.uint64(sparse)
    a = np.int64((low >> _HALF) * m >> _HALF)
    b = np.int64((high & _LOW) * (m - np.uint64(1)) >> _HALF)
    c = np.int64((high >> _HALF) * (m - np.uint64(2)) >> _HALF)
    b += np.int64(b >= a)
    c += np.int64(c >= min(a, b))
    c += np.int64(c >= max(a, b))
    return a, b, c


@compiled
def fill_sums(dense_rows, sums):  # type: ignore[no-untyped-def]
    """sums[256 k + i]: the sum of the dense rows 8 k + (places of ones in i)."""
    for k in range(sums.shape[0] // 256):
        for j in range(sums.shape[1]):
            sums[256 * k, j] = 0
            for bit in range(8):
                row = 8 * k + bit
                value = dense_rows[row, j] if row < dense_rows.shape[0] else np.uint64(0)
                for i in range(1 << bit):
                    sums[256 * k + (1 << bit) + i, j] = sums[256 * k + i, j] ^ value


@compiled
def dense_sum(d, sums, j):  # type: ignore[no-untyped-def]
    total = np.uint64(0)
    for k in range(sums.shape[0] // 256):
        total ^= sums[256 * k + np.int64(d >> np.uint64(8 * k) & np.uint64(255)), j]
    return total


@compiled
def peel(cells, state, stack, pivot_rows, pivot_columns, put_by):  # type: ignore[no-untyped-def]
    """Peeled rows and columns in order; the numbers of peeled rows and of rows put by (-1: too many)."""
    size, sparse = cells.shape[0], state.shape[0]
    state[:] = 0
    for row in range(size):
        for t in range(3):
            c = cells[row, t]
            state[c] = state[c] + _ONE ^ np.uint32(row)
    peeled, aside, top = 0, 0, np.int64(0)
    for c in range(sparse):
        stack[top] = c
        top += np.int64(state[c] >> np.uint32(16) == 1)
    while True:
        while top > 0:
            top -= 1
            c = stack[top]
            if state[c] >> np.uint32(16) != 1:
                continue
            row = np.int64(state[c] & np.uint32(0xFFFF))  # type: ignore[assignment]
            pivot_rows[peeled] = row
            pivot_columns[peeled] = c
            peeled += 1
            for t in range(3):
                other = cells[row, t]
                state[other] = state[other] - _ONE ^ np.uint32(row)
                stack[top] = other
                top += np.int64(state[other] >> np.uint32(16) == 1)
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
        found, fewest = -1, np.uint32(0xFFFF)
        for row in range(size):
            if alive[row]:
                for t in range(3):
                    rows = state[cells[row, t]] >> np.uint32(16)
                    if rows < fewest:
                        found, fewest = row, rows
        put_by[aside] = found
        aside += 1
        for t in range(3):
            other = cells[found, t]
            state[other] = state[other] - _ONE ^ np.uint32(found)
            stack[top] = other
            top += np.int64(state[other] >> np.uint32(16) == 1)


@compiled
def solve(rows, values, table, sparse, dense):  # type: ignore[no-untyped-def]
    """Overwrite ``table``, which holds randomness, by a solution; False if there is none."""
    size, words = rows.shape[0], table.shape[1]
    mask = ~np.uint64(0) >> np.uint64(64 - dense)
    cells = np.empty((size, 3), np.uint16)
    for row in range(size):
        cells[row, 0], cells[row, 1], cells[row, 2] = columns(rows[row, 0], rows[row, 1], sparse)
    pivot_rows, pivot_columns = np.empty(size, np.uint16), np.empty(size, np.uint16)
    put_by = np.empty(dense, np.uint16)
    state, stack = np.empty(sparse, np.uint32), np.empty(sparse + 3 * size + 3, np.uint16)
    peeled, aside = peel(cells, state, stack, pivot_rows, pivot_columns, put_by)
    if aside < 0:
        return False
    if aside > 0 and not solve_dense(
        rows, values, table, sparse, cells, pivot_rows[:peeled], pivot_columns, put_by[:aside], mask
    ):
        return False
    sums = np.empty((256 * ((dense + 7) // 8), words), np.uint64)
    fill_sums(table[sparse:], sums)
    for i in range(peeled - 1, -1, -1):
        row, c = pivot_rows[i], pivot_columns[i]
        a, b, e = cells[row, 0], cells[row, 1], cells[row, 2]
        for j in range(words):
            others = table[a, j] ^ table[b, j] ^ table[e, j] ^ table[c, j]
            table[c, j] = values[rows[row, 3], j] ^ others ^ dense_sum(rows[row, 2] & mask, sums, j)
    return True


@compiled
def solve_dense(  # type: ignore[no-untyped-def]
    rows, values, table, sparse, cells, pivot_rows, pivot_columns, put_by, mask
):
    """Choose the dense rows of the table such that the equations put by hold."""
    words, dense, equations = table.shape[1], table.shape[0] - sparse, put_by.shape[0]
    constants = table[:sparse].copy()
    combinations = np.zeros(sparse, np.uint64)
    for i in range(pivot_rows.shape[0] - 1, -1, -1):
        row, c = pivot_rows[i], pivot_columns[i]
        a, b, e = cells[row, 0], cells[row, 1], cells[row, 2]
        # Column c is one of the three. Its combination is 0 so far; what it holds cancels.
        combinations[c] = rows[row, 2] & mask ^ combinations[a] ^ combinations[b] ^ combinations[e]
        for j in range(words):
            others = constants[a, j] ^ constants[b, j] ^ constants[e, j] ^ constants[c, j]
            constants[c, j] = values[rows[row, 3], j] ^ others
    left, right = np.empty(equations, np.uint64), np.empty((equations, words), np.uint64)
    for i in range(equations):
        row = put_by[i]
        a, b, e = cells[row, 0], cells[row, 1], cells[row, 2]
        left[i] = rows[row, 2] & mask ^ combinations[a] ^ combinations[b] ^ combinations[e]
        for j in range(words):
            right[i, j] = values[rows[row, 3], j] ^ constants[a, j] ^ constants[b, j] ^ constants[e, j]
    pivots = np.empty(equations, np.int64)
    for i in range(equations):
        if left[i] == 0:
            return False
        pivot = 0
        while left[i] >> np.uint64(pivot) & np.uint64(1) == 0:
            pivot += 1
        pivots[i] = pivot
        for other in range(equations):
            if other != i and left[other] >> np.uint64(pivot) & np.uint64(1):
                left[other] ^= left[i]
                for j in range(words):
                    right[other, j] ^= right[i, j]
    for i in range(equations):
        for j in range(words):
            value = right[i, j]
            for column in range(dense):
                if column != pivots[i] and left[i] >> np.uint64(column) & np.uint64(1):
                    value ^= table[sparse + column, j]
            table[sparse + pivots[i], j] = value
    return True


@compiled
def evaluate(rows, table, sparse, dense, out):  # type: ignore[no-untyped-def]
    words = table.shape[1]
    mask = ~np.uint64(0) >> np.uint64(64 - dense)
    sums = np.empty((256 * ((dense + 7) // 8), words), np.uint64)
    fill_sums(table[sparse:], sums)
    for i in range(rows.shape[0]):
        a, b, c = columns(rows[i, 0], rows[i, 1], sparse)
        d, to = rows[i, 2] & mask, rows[i, 3]
        for j in range(words):
            out[to, j] = table[a, j] ^ table[b, j] ^ table[c, j] ^ dense_sum(d, sums, j)
