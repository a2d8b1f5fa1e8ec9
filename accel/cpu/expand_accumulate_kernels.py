"""Kernels of `accel.cpu.expand_accumulate`. Rows are one or two words wide."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel.cpu.entries_ir import add_1, add_2, prefetch
from accel.cpu.jit import compiled

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
    # Both values of a block are read and one is masked, so no address and no branch depends on the points.
    trees = np.uint64(points.shape[0])
    size = trees * np.uint64(block)
    for i in range(start, stop):
        for k in range(noise.shape[1]):
            out[i, k] = 0
        for j in range(7):
            word = np.uint64(words[8 * (i - start) + j])
            # The block of a position is position // block: of nested floors, the inner one can be left out.
            at, tree = word * size >> np.uint64(32), word * trees >> np.uint64(32)
            mask = np.uint64(0) - np.uint64(at >= points[tree])
            for k in range(noise.shape[1]):
                out[i, k] ^= before[tree, k] ^ (mask & noise[tree, k])


def _gather(words: int) -> Any:
    width = 8 * words

    @compiled(variant=words)
    def address(base, size, word):  # type: ignore[no-untyped-def]
        return base + width * (np.int64(word) * size >> 32)

    @compiled(variant=words)
    def gather(sums, positions, out, start, stop):  # type: ignore[no-untyped-def]
        """Outputs ``start`` to ``stop``: 8 words of ``positions`` each, of which 7 count."""
        base, size = sums.ctypes.data, np.int64(sums.shape[0])
        ahead = positions.shape[0] - 8 * _AHEAD
        for i in range(stop - start):
            at = 8 * i
            if at < ahead:
                for j in range(7):
                    prefetch(address(base, size, positions[at + 8 * _AHEAD + j]))
            sources = (
                address(base, size, positions[at]),
                address(base, size, positions[at + 1]),
                address(base, size, positions[at + 2]),
                address(base, size, positions[at + 3]),
                address(base, size, positions[at + 4]),
                address(base, size, positions[at + 5]),
                address(base, size, positions[at + 6]),
            )
            to = out.ctypes.data + width * (start + i)
            if words == 2:
                add_2(to, sources)
            else:
                add_1(to, sources)

    return gather


GATHER = {words: _gather(words) for words in (1, 2)}
