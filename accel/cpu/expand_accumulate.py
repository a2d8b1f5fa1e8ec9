"""The expand-accumulate code on one core or several: running sums in place, then gathers piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.cpu import threads
from accel.reference import aes

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
Positions = Callable[[bytes, int, int], U32]

_PIECE = 1 << 13  # outputs whose positions are made at a time: they stay in the cache
_SHARE = 1 << 16  # sums worth handing to another thread


def words(seed: bytes, start: int, stop: int) -> U32:
    """The 8 words of every output from ``start`` to ``stop``, through OpenSSL."""
    counters = np.zeros((2 * (stop - start), 2), dtype=np.uint64)
    counters[:, 0] = np.arange(2 * start, 2 * stop, dtype=np.uint64)
    return np.frombuffer(aes.encrypt(seed, counters.tobytes()), np.uint32)


def compress(inputs: Sequence[U64], outputs: int, seed: bytes) -> list[U64]:
    return compress_with(words, inputs, outputs, seed)


def compress_with(positions: Positions, inputs: Sequence[U64], outputs: int, seed: bytes) -> list[U64]:
    """Overwrites the inputs."""
    from accel.cpu import expand_accumulate_kernels as kernels  # numba takes a second to import

    for values in inputs:
        _accumulate(values, kernels.total, kernels.accumulate)
    size = len(inputs[0])
    results = [np.empty((outputs, *values.shape[1:]), dtype=np.uint64) for values in inputs]

    def work(start: int, stop: int) -> None:
        for at in range(start, stop, _PIECE):
            end = min(at + _PIECE, stop)
            where = positions(seed, at, end)
            for values, result in zip(inputs, results, strict=True):
                kernels.gather(values.reshape(size, -1), where, result.reshape(outputs, -1), at, end)

    threads.each_range(outputs, _PIECE, work)
    return results


def compress_noise(points: I64, noise: U64, block: int, outputs: int, seed: bytes) -> U64:
    return compress_noise_with(words, points, noise, block, outputs, seed)


def compress_noise_with(
    positions: Positions, points: I64, noise: U64, block: int, outputs: int, seed: bytes
) -> U64:
    """The running sums of regular noise change once a block: a table of the blocks stands for all."""
    from accel.cpu import expand_accumulate_kernels as kernels
    from accel.cpu.noise_ir import LANES

    before = np.bitwise_xor.accumulate(noise, axis=0) ^ noise
    places = (points + np.arange(len(points)) * block).astype(np.uint64)
    padded = -(-outputs // LANES) * LANES
    result = np.empty((padded, noise.shape[1]), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        for at in range(start, stop, _PIECE):
            end = min(at + _PIECE, stop)
            where = positions(seed, at, end)
            kernels.gather_noise(places, noise, before, block, where, result, at, end)

    threads.each_range(padded, _PIECE, work)
    return result[:outputs]


def _accumulate(values: U64, total: Any, accumulate: Any) -> None:
    """Running sums in place. What lies before a thread's range is summed first: a second reading."""
    rows = values.reshape(len(values), -1)
    ranges = min(threads.count(), -(-len(rows) // _SHARE))
    bounds = [len(rows) * i // ranges for i in range(ranges + 1)]
    carries = np.zeros((ranges, rows.shape[1]), dtype=np.uint64)

    def sums(start: int, stop: int) -> None:
        for i in range(start, stop):
            total(rows, bounds[i], bounds[i + 1], carries[i + 1])

    def running(start: int, stop: int) -> None:
        for i in range(start, stop):
            accumulate(rows, bounds[i], bounds[i + 1], carries[i])

    threads.each_range(ranges - 1, 1, sums)
    np.bitwise_xor.accumulate(carries, axis=0, out=carries)
    threads.each_range(ranges, 1, running)
