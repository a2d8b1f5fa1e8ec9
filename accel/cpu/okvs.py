"""Key-value stores on a processor: hash, sort into bins, then solve or evaluate bin by bin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accel.cpu.key_stream import BLOCK_BYTES, KeyStream
from accel.cpu.threads import each_range
from accel.errors import DuplicateItem, EncodingFailed
from accel.reference import aes

U64 = npt.NDArray[np.uint64]
Shape = tuple[int, int, int, int]
Hash = Callable[[U64, bytes, int, int, U64], None]

_CHUNK = 1 << 14  # items hashed and sorted at a time


def hash_items(items: U64, seed: bytes, start: int, stop: int, out: U64) -> None:
    """Rows (h low, h high, d, number) of the items from ``start`` to ``stop``, through OpenSSL."""

    def one_way(blocks: U64) -> U64:
        return np.frombuffer(aes.encrypt(seed, blocks.tobytes()), np.uint64).reshape(-1, 2) ^ blocks

    h = one_way(one_way(items[start:stop, :2]) ^ items[start:stop, 2:])
    out[start:stop, :2] = h
    out[start:stop, 2] = one_way(h)[:, 0]
    out[start:stop, 3] = np.arange(start, stop, dtype=np.uint64)


def encode(items: U64, values: U64, seed: bytes, shape: Shape, mask_seed: bytes) -> U64:
    return encode_with(hash_items, items, values, seed, shape, mask_seed)


def decode(table: U64, items: U64, seed: bytes, shape: Shape) -> U64:
    return decode_with(hash_items, table, items, seed, shape)


@dataclass(frozen=True)
class _Sorted:
    """Items by bin: bin b holds those from ``starts[b]`` to ``starts[b + 1]``."""

    rows: U64  # (n, 4): h, d and the item's number
    starts: npt.NDArray[np.int64]


def encode_with(hash_: Hash, items: U64, values: U64, seed: bytes, shape: Shape, mask_seed: bytes) -> U64:
    from accel.cpu import okvs_kernels as kernels  # numba takes a second to import

    bins, most, sparse, dense = shape
    width, words = sparse + dense, values.shape[1]
    by_bin = _sort(hash_, items, seed, bins)
    if np.diff(by_bin.starts).max(initial=0) > most:
        raise EncodingFailed("a bin overflows")
    table = np.empty((bins * width, words), dtype=np.uint64)
    # Counter blocks of the stream start where a bin does, whatever its size is.
    blocks = -(-8 * width * words // BLOCK_BYTES)

    def work(start: int, stop: int) -> None:
        for b in range(start, stop):
            part = table[b * width : (b + 1) * width]
            stream = KeyStream(mask_seed, b * blocks)(part.nbytes)
            part[...] = stream.view(np.uint64).reshape(part.shape)
            bounds = slice(by_bin.starts[b], by_bin.starts[b + 1])
            rows = by_bin.rows[bounds]
            if not kernels.solve(rows, values, part, sparse, dense):
                _explain(rows)

    each_range(bins, 1, work)
    return table


def decode_with(hash_: Hash, table: U64, items: U64, seed: bytes, shape: Shape) -> U64:
    from accel.cpu import okvs_kernels as kernels

    bins, _, sparse, dense = shape
    width = sparse + dense
    by_bin = _sort(hash_, items, seed, bins)
    out = np.empty((len(items), table.shape[1]), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        for b in range(start, stop):
            bounds = slice(by_bin.starts[b], by_bin.starts[b + 1])
            part = table[b * width : (b + 1) * width]
            kernels.evaluate(by_bin.rows[bounds], part, sparse, dense, out)

    each_range(bins, 1, work)
    return out


def _sort(hash_: Hash, items: U64, seed: bytes, bins: int) -> _Sorted:
    from accel.cpu import okvs_kernels as kernels

    size = len(items)
    chunks = -(-size // _CHUNK)
    hashed = np.empty((size, 4), dtype=np.uint64)
    counts = np.zeros((chunks, bins), dtype=np.int64)

    def count(start: int, stop: int) -> None:
        for c in range(start, stop):
            first, last = c * _CHUNK, min((c + 1) * _CHUNK, size)
            hash_(items, seed, first, last, hashed)
            kernels.count(hashed, first, last, counts[c])

    each_range(chunks, 1, count)
    if bins == 1:
        return _Sorted(hashed, np.array([0, size]))
    starts = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    places = starts[:-1] + np.cumsum(counts, axis=0) - counts
    rows = np.empty_like(hashed)

    def scatter(start: int, stop: int) -> None:
        for c in range(start, stop):
            first, last = c * _CHUNK, min((c + 1) * _CHUNK, size)
            kernels.scatter(hashed, first, last, places[c], rows)

    each_range(chunks, 1, scatter)
    return _Sorted(rows, starts)


def _explain(rows: U64) -> None:
    """Raise for a bin without a solution: rows of equal hashes are equal items."""
    by_hash = np.lexsort((rows[:, 0], rows[:, 1]))
    same = (rows[by_hash[1:], :2] == rows[by_hash[:-1], :2]).all(axis=1)
    if same.any():
        index = int(rows[by_hash[1:][same], 3].max())
        raise DuplicateItem(f"item {index} occurs twice", index=index)
    raise EncodingFailed("the rows of a bin are dependent")
