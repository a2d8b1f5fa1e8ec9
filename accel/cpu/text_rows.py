"""Texts as rows of bytes in plain numba: one pass over the bytes, rows over threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.byte_rows import ByteRows
from accel.cpu.jit import compiled
from accel.cpu.threads import each_range

_ROWS_A_RANGE = 1 << 14

Numbers = npt.NDArray[np.int64]


@compiled
def _trim(data, starts, lengths, white, trim, new_starts, new_lengths, flags, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        start = starts[row]
        stop = start + lengths[row]
        other = np.uint8(0)
        nul = False
        for at in range(start, stop):
            other |= data[at]
            nul |= data[at] == 0
        flag = np.uint8(other >> 7)
        if nul:
            flag |= np.uint8(2)
        if trim and other < 128:
            while stop > start and white[data[stop - 1]]:
                stop -= 1
            while stop > start and white[data[start]]:
                start += 1
        new_starts[row] = start
        new_lengths[row] = stop - start
        flags[row] = flag


@compiled
def _join(data, starts, lengths, places, output, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        start, length, at = starts[row], lengths[row], places[row]
        for k in range(4):
            output[at + k] = np.uint8((length >> (24 - 8 * k)) & 255)
        for k in range(length):
            output[at + 4 + k] = data[start + k]


def trim(rows: ByteRows, wanted: bool, white: bytes) -> tuple[Numbers, Numbers, npt.NDArray[np.uint8]]:
    """Starts, lengths and flags; see `accel.text_rows.trimmed`."""
    count = len(rows)
    starts, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    flags = np.empty(count, np.uint8)
    table = np.zeros(256, np.bool_)
    table[list(white)] = True

    data = _constant(rows.data)

    def work(first: int, last: int) -> None:
        _trim(data, rows.starts, rows.lengths, table, wanted, starts, lengths, flags, first, last)

    each_range(count, _ROWS_A_RANGE, work)
    return starts, lengths, flags


def join(part: ByteRows, places: Numbers, output: npt.NDArray[np.uint8]) -> None:
    """Write length and text of row i from ``output[places[i]]`` on."""

    data = _constant(part.data)

    def work(first: int, last: int) -> None:
        _join(data, part.starts, part.lengths, places, output, first, last)

    each_range(len(part), _ROWS_A_RANGE, work)


def _constant(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A view that cannot be written: foreign buffers cannot either, and one kernel is to do for both."""
    view = data.view()
    view.flags.writeable = False
    return view
