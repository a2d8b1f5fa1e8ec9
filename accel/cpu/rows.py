"""Rows of one width in plain numba: what will be read is asked for ahead, rows over threads.

A lookup goes to an index of the sorted table by the row's first bits and on by halving, so that no table
makes it slow. Rows are compared as two numbers, their first and their last eight bytes, which overlap where
a row is shorter than sixteen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.cpu.entries_ir import prefetch, put_word, swapped_word, word_at
from accel.cpu.jit import compiled
from accel.cpu.threads import each_range

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_ROWS_A_RANGE = 1 << 14
_AHEAD = 16
_WORD = 8


@compiled
def _take(source, stride, width, numbers, target, first, last):  # type: ignore[no-untyped-def]
    """Whole words, then the last eight bytes again; for rows of eight bytes and more."""
    words = width // 8
    for i in range(first, last):
        if i + _AHEAD < last:
            prefetch(source + stride * numbers[i + _AHEAD])
        row, to = source + stride * numbers[i], target + width * i
        for k in range(words):
            put_word(to + 8 * k, word_at(row + 8 * k))
        put_word(to + width - 8, word_at(row + width - 8))


@compiled
def _index(table, stride, width, count, shift, starts):  # type: ignore[no-untyped-def]
    """``starts[b]``: the first row whose first bits are b or more. False if the table does not ascend."""
    head, tail, bucket = np.uint64(0), np.uint64(0), np.uint64(0)
    for i in range(count):
        row = table + stride * i
        last_head, last_tail = head, tail
        head, tail = swapped_word(row), swapped_word(row + width - 8)
        if head < last_head or (head == last_head and tail < last_tail):
            return False
        while bucket <= head >> shift:
            starts[bucket] = i
            bucket += np.uint64(1)
    starts[np.int64(bucket) :] = count
    return True


@compiled
def _find(table, stride, width, starts, shift, rows, row_stride, found, first, last):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        if i + 2 * _AHEAD < last:
            bucket = swapped_word(rows + row_stride * (i + 2 * _AHEAD)) >> shift
            prefetch(starts.ctypes.data + 4 * np.int64(bucket))
            bucket = swapped_word(rows + row_stride * (i + _AHEAD)) >> shift
            prefetch(table + stride * np.int64(starts[bucket]))
        row = rows + row_stride * i
        head, tail = swapped_word(row), swapped_word(row + width - 8)
        low, high = np.int64(starts[head >> shift]), np.int64(starts[(head >> shift) + np.uint64(1)])
        end = high
        while low < high:
            middle = (low + high) >> 1
            at = table + stride * middle
            there = swapped_word(at)
            if there < head or (there == head and swapped_word(at + width - 8) < tail):
                low = middle + 1
            else:
                high = middle
        at = table + stride * low
        same = low < end and swapped_word(at) == head and swapped_word(at + width - 8) == tail
        found[i] = low if same else -1


def take(rows: U8, numbers: I64) -> U8:
    """See `accel.rows.take`."""
    width = rows.shape[1]
    if width < _WORD:
        return rows[numbers]
    result = np.empty((len(numbers), width), np.uint8)

    def work(first: int, last: int) -> None:
        _take(rows.ctypes.data, rows.strides[0], width, numbers, result.ctypes.data, first, last)

    each_range(len(numbers), _ROWS_A_RANGE, work)
    return result


def places(table: U8, rows: U8) -> I64:
    """See `accel.rows.places`."""
    found = np.full(len(rows), -1, np.int64)
    if not len(table):
        return found
    table, rows = _at_least_a_word(table), _at_least_a_word(rows)
    bits = max(1, len(table).bit_length() - 1)
    shift, starts = np.uint64(64 - bits), np.empty((1 << bits) + 1, np.uint32)
    width, order = table.shape[1], None
    if not _index(table.ctypes.data, table.strides[0], width, len(table), shift, starts):
        # Stable: of equal rows the first stays the first.
        order = np.lexsort(_words(table).T[::-1])
        table = take(table, order)
        _index(table.ctypes.data, table.strides[0], width, len(table), shift, starts)

    def work(first: int, last: int) -> None:
        where = table.ctypes.data, table.strides[0], width, starts, shift
        _find(*where, rows.ctypes.data, rows.strides[0], found, first, last)

    each_range(len(rows), _ROWS_A_RANGE, work)
    return found if order is None else np.where(found < 0, -1, order[found])


def _words(table: U8) -> npt.NDArray[np.uint64]:
    parts = [np.ascontiguousarray(part).view(">u8") for part in (table[:, :_WORD], table[:, -_WORD:])]
    return np.concatenate(parts, axis=1).astype(np.uint64)


def _at_least_a_word(rows: U8) -> U8:
    missing = _WORD - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing))) if missing > 0 else rows
