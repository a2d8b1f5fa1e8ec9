"""Kernels of `accel.cpu.expand_accumulate`. Rows are one or two words wide."""

from __future__ import annotations

import numpy as np

from accel.cpu.entries_ir import add_1, add_2, prefetch
from accel.cpu.jit import compiled
from accel.cpu.noise_ir import LANES, noise_1, noise_2

_AHEAD = 12  # outputs whose entries are asked for before they are needed


@compiled
def total(rows, start, stop, out):  # type: ignore[no-untyped-def]
    for j in range(rows.shape[1]):
        out[j] = 0
    for i in range(start, stop):
        for j in range(rows.shape[1]):
            out[j] ^= rows[i, j]


@compiled
def accumulate(rows, start, stop, carry):  # type: ignore[no-untyped-def]
    for j in range(rows.shape[1]):
        last = carry[j]
        for i in range(start, stop):
            last ^= rows[i, j]
            rows[i, j] = last


@compiled
def gather_noise(points, noise, before, block, words, out, start, stop):  # type: ignore[no-untyped-def]
    """Outputs ``start`` to ``stop``, a multiple of `LANES` of them; ``words`` as in `gather`."""
    trees = points.shape[0]
    tables = points.ctypes.data, noise.ctypes.data, before.ctypes.data
    width = 8 * noise.shape[1]
    for i in range(0, stop - start, LANES):
        source, to = words.ctypes.data + 32 * i, out.ctypes.data + width * (start + i)
        if width == 16:
            noise_2(source, to, tables, trees, trees * block)
        else:
            noise_1(source, to, tables, trees, trees * block)


@compiled
def gather(sums, words, out, start, stop):  # type: ignore[no-untyped-def]
    """Outputs ``start`` to ``stop``: 8 words each, of which 7 are positions."""
    base, size, width = sums.ctypes.data, np.int64(sums.shape[0]), 8 * sums.shape[1]
    ahead = words.shape[0] - 8 * _AHEAD
    for i in range(stop - start):
        at = 8 * i
        if at < ahead:
            for j in range(7):
                prefetch(_address(base, width, size, words[at + 8 * _AHEAD + j]))
        sources = (
            _address(base, width, size, words[at]),
            _address(base, width, size, words[at + 1]),
            _address(base, width, size, words[at + 2]),
            _address(base, width, size, words[at + 3]),
            _address(base, width, size, words[at + 4]),
            _address(base, width, size, words[at + 5]),
            _address(base, width, size, words[at + 6]),
        )
        to = out.ctypes.data + width * (start + i)
        if width == 16:
            add_2(to, sources)
        else:
            add_1(to, sources)


@compiled
def _address(base, width, size, word):  # type: ignore[no-untyped-def]
    return base + width * (np.int64(word) * size >> 32)
