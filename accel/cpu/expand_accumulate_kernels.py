"""Kernels of `accel.cpu.expand_accumulate`. Rows are one or two words wide."""

from __future__ import annotations

import numpy as np

from accel.cpu.jit import compiled


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
def gather_blocks(sums, words, out, start, stop):  # type: ignore[no-untyped-def]
    size = np.uint64(sums.shape[0])
    for i in range(start, stop):
        low, high = np.uint64(0), np.uint64(0)
        for j in range(7):
            at = np.uint64(words[8 * (i - start) + j]) * size >> np.uint64(32)
            low ^= sums[at, 0]
            high ^= sums[at, 1]
        out[i, 0], out[i, 1] = low, high


@compiled
def gather_noise(points, noise, before, block, words, out, start, stop):  # type: ignore[no-untyped-def]
    # Both values of a block are read and one is masked, so no address and no branch depends on the points.
    size = np.uint64(len(points)) * np.uint64(block)
    for i in range(start, stop):
        for k in range(noise.shape[1]):
            out[i, k] = 0
        for j in range(7):
            at = np.uint64(words[8 * (i - start) + j]) * size >> np.uint64(32)
            tree = at // np.uint64(block)
            mask = np.uint64(0) - np.uint64(at >= points[tree])
            for k in range(noise.shape[1]):
                out[i, k] ^= before[tree, k] ^ (mask & noise[tree, k])


@compiled
def gather_words(sums, words, out, start, stop):  # type: ignore[no-untyped-def]
    size = np.uint64(sums.shape[0])
    for i in range(start, stop):
        value = np.uint64(0)
        for j in range(7):
            value ^= sums[np.uint64(words[8 * (i - start) + j]) * size >> np.uint64(32)]
        out[i] = value
