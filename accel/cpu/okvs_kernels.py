"""Kernels of `accel.cpu.okvs`: sorting into bins, peeling, substitution, evaluation.

Solving a bin. A column that one row alone has can take whatever that row needs: row and column are set aside
("peeled"), which leaves other columns with one row, and so on. Substitution in the opposite order gives the
table. Where every column left has two rows or more, a row is put by; its equation, with all peeled columns
written as a constant plus a combination of the dense ones, is solved for the dense ones before the
substitution ends.
"""

from __future__ import annotations

import numpy as np

from accel.cpu.entries_ir import add_1, add_2
from accel.cpu.jit import compiled

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_SHORT = np.uint64(0xFFFF)
_ONE = np.uint32(1 << 16)  # of a column's state: rows above bit 16, the xor of their numbers below


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
def pack(hashes, bins, sparse, mask, rows, counts):  # type: ignore[no-untyped-def]
    """Hashes (h, d) to rows: word 0 is three columns and the bin, 16 bits each; word 1 is the dense part."""
    for i in range(rows.shape[0]):
        a, b, c = columns(hashes[i, 0], hashes[i, 1], sparse)
        at = (hashes[i, 0] & _LOW) * np.uint64(bins) >> _HALF
        rows[i, 0] = (
            np.uint64(a) | np.uint64(b) << np.uint64(16) | np.uint64(c) << _HALF | at << np.uint64(48)
        )
        rows[i, 1] = hashes[i, 2] & mask
        counts[at] += 1


@compiled
def scatter(packed, values, start, stop, places, rows, sorted_values):  # type: ignore[no-untyped-def]
    """Rows, and values if there are any, to where their bins begin; ``places`` go forward."""
    words = values.shape[1]
    for i in range(start, stop):
        b = packed[i, 0] >> np.uint64(48)
        to = places[b]
        places[b] = to + 1
        rows[to, 0], rows[to, 1] = packed[i, 0], packed[i, 1]
        for j in range(words):
            sorted_values[to, j] = values[i, j]


@compiled
def collect(packed, start, stop, places, sorted_values, out):  # type: ignore[no-untyped-def]
    """`scatter` backwards, of values."""
    words = out.shape[1]
    for i in range(start, stop):
        b = packed[i, 0] >> np.uint64(48)
        at = places[b]
        places[b] = at + 1
        for j in range(words):
            out[i, j] = sorted_values[at, j]


@compiled
def peel(cells, state, queue, pivot_rows, pivot_columns, put_by):  # type: ignore[no-untyped-def]
    """Peeled rows and columns in order; the numbers of peeled rows and of rows put by (-1: too many)."""
    size, sparse = cells.shape[0], state.shape[0]
    state[:] = 0
    for row in range(size):
        for t in range(3):
            c = cells[row, t]
            state[c] = state[c] + _ONE ^ np.uint32(row)
    # A column is queued when one row is left in it, which happens once.
    peeled, aside, head, tail = 0, 0, 0, np.int64(0)
    for c in range(sparse):
        queue[tail] = c
        tail += np.int64(state[c] >> np.uint32(16) == 1)
    while True:
        while head < tail:
            c = queue[head]
            head += 1
            if state[c] >> np.uint32(16) != 1:
                continue
            row = state[c] & np.uint32(0xFFFF)
            pivot_rows[peeled] = row
            pivot_columns[peeled] = c
            peeled += 1
            for t in range(3):
                other = cells[row, t]
                state[other] = state[other] - _ONE ^ row
                queue[tail] = other
                tail += np.int64(state[other] >> np.uint32(16) == 1)
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
        found, fewest = 0, np.uint32(0xFFFF)
        for candidate in range(size):
            if alive[candidate]:
                for t in range(3):
                    rows = state[cells[candidate, t]] >> np.uint32(16)
                    if rows < fewest:
                        found, fewest = candidate, rows
        put_by[aside] = found
        aside += 1
        for t in range(3):
            other = cells[found, t]
            state[other] = state[other] - _ONE ^ np.uint32(found)
            queue[tail] = other
            tail += np.int64(state[other] >> np.uint32(16) == 1)


@compiled
def solve_dense(  # type: ignore[no-untyped-def]
    rows, values, table, sparse, cells, pivot_rows, pivot_columns, put_by
):
    """Choose the dense rows of the table such that the equations put by hold."""
    words, dense, equations = table.shape[1], table.shape[0] - sparse, put_by.shape[0]
    constants = table[:sparse].copy()
    combinations = np.zeros(sparse, np.uint64)
    for i in range(pivot_rows.shape[0] - 1, -1, -1):
        row, c = pivot_rows[i], pivot_columns[i]
        a, b, e = cells[row, 0], cells[row, 1], cells[row, 2]
        # Column c is one of the three. Its combination is 0 so far; what it holds cancels.
        combinations[c] = rows[row, 1] ^ combinations[a] ^ combinations[b] ^ combinations[e]
        for j in range(words):
            others = constants[a, j] ^ constants[b, j] ^ constants[e, j] ^ constants[c, j]
            constants[c, j] = values[row, j] ^ others
    left, right = np.empty(equations, np.uint64), np.empty((equations, words), np.uint64)
    for i in range(equations):
        row = put_by[i]
        a, b, e = cells[row, 0], cells[row, 1], cells[row, 2]
        left[i] = rows[row, 1] ^ combinations[a] ^ combinations[b] ^ combinations[e]
        for j in range(words):
            right[i, j] = values[row, j] ^ constants[a, j] ^ constants[b, j] ^ constants[e, j]
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
def add(width, to, sources):  # type: ignore[no-untyped-def]
    """For entries of 16 or 8 bytes."""
    if width == 16:
        add_2(to, sources)
    else:
        add_1(to, sources)


@compiled
def fill_sums(dense_rows, sums):  # type: ignore[no-untyped-def]
    """sums[256 k + i]: the sum of the dense rows 8 k + (places of ones in i)."""
    width = 8 * sums.shape[1]
    sums[:] = 0
    base = sums.ctypes.data
    for row in range(dense_rows.shape[0]):
        part, bit = base + 256 * width * (row // 8), 1 << row % 8
        for i in range(bit):
            at = part + width * i
            add(width, at + width * bit, (at, dense_rows.ctypes.data + width * row))


@compiled
def add_dense(width, to, start, d, sums, parts):  # type: ignore[no-untyped-def]
    """Store the entry at ``start`` plus the dense rows that d names, which are in ``parts`` bytes."""
    step, low = 256 * width, 255
    add(
        width,
        to,
        (
            start,
            sums + width * (d & low),
            sums + step + width * (d >> 8 & low),
            sums + 2 * step + width * (d >> 16 & low),
            sums + 3 * step + width * (d >> 24 & low),
            sums + 4 * step + width * (d >> 32 & low),
        ),
    )
    for k in range(5, parts):
        add(width, to, (to, sums + k * step + width * (d >> 8 * k & low)))


@compiled
def solve(rows, values, table, sparse, dense):  # type: ignore[no-untyped-def]
    """Overwrite ``table``, which holds randomness, by a solution; False if there is none."""
    size, words = rows.shape[0], table.shape[1]
    width = 8 * words
    parts = max(5, (dense + 7) // 8)
    cells = np.empty((size, 3), np.uint16)
    for row in range(size):
        where = rows[row, 0]
        cells[row, 0] = where & _SHORT
        cells[row, 1] = where >> np.uint64(16) & _SHORT
        cells[row, 2] = where >> _HALF & _SHORT
    pivot_rows, pivot_columns = np.empty(size, np.uint16), np.empty(size, np.uint16)
    put_by = np.empty(dense, np.uint16)
    state, queue = np.empty(sparse, np.uint32), np.empty(sparse + 1, np.uint16)
    peeled, aside = peel(cells, state, queue, pivot_rows, pivot_columns, put_by)
    if aside < 0:
        return False
    if aside > 0 and not solve_dense(
        rows, values, table, sparse, cells, pivot_rows[:peeled], pivot_columns, put_by[:aside]
    ):
        return False
    sums = np.empty((256 * parts, words), np.uint64)
    fill_sums(table[sparse:], sums)
    wanted = np.empty((size, words), np.uint64)  # of the sparse columns
    for row in range(size):
        d = np.int64(rows[row, 1])
        start = values.ctypes.data + width * row
        add_dense(width, wanted.ctypes.data + width * row, start, d, sums.ctypes.data, parts)
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
        where = np.int64(rows[i, 0])
        a, b, c = where & 0xFFFF, where >> 16 & 0xFFFF, where >> 32 & 0xFFFF
        to = out.ctypes.data + width * i
        add(width, to, (base + width * a, base + width * b, base + width * c))
        add_dense(width, to, to, np.int64(rows[i, 1]), sums.ctypes.data, parts)
