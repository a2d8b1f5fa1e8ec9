"""Key-value stores on a processor: hash, sort into bins, then solve or evaluate bin by bin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from accel.cpu.key_stream import BLOCK_BYTES, KeyStream
from accel.cpu.threads import each_range
from accel.errors import DuplicateItem, EncodingFailed
from accel.reference import aes

U64 = npt.NDArray[np.uint64]
Shape = tuple[int, int, int, int]
Hash = Callable[[U64, bytes, int, int, U64], None]

_CHUNK = 1 << 14  # least items that are worth handing to another thread
_CHUNKS = 64  # at most: each counts all bins
_PIECE = 1 << 11  # items hashed at a time: they stay in the cache


def hash_items(items: U64, seed: bytes, start: int, stop: int, out: U64) -> None:
    """Rows (h low, h high, d) of the items from ``start`` to ``stop``, through OpenSSL."""

    def one_way(blocks: U64) -> U64:
        return np.frombuffer(aes.encrypt(seed, blocks.tobytes()), np.uint64).reshape(-1, 2) ^ blocks

    h = one_way(one_way(items[start:stop, :2]) ^ items[start:stop, 2:])
    out[: stop - start, :2] = h
    out[: stop - start, 2] = one_way(h)[:, 0]


def encode(items: U64, values: U64, seed: bytes, shape: Shape, mask_seed: bytes) -> U64:
    return encode_with(hash_items, items, values, seed, shape, mask_seed)


def decode(table: U64, items: U64, seed: bytes, shape: Shape) -> U64:
    return decode_with(hash_items, table, items, seed, shape)


def encode_with(hash_: Hash, items: U64, values: U64, seed: bytes, shape: Shape, mask_seed: bytes) -> U64:
    from accel.cpu import okvs_kernels as kernels  # numba takes a second to import

    bins, most, sparse, dense = shape
    width, words = sparse + dense, values.shape[1]
    by_bin = _ByBin(hash_, items, seed, shape)
    rows, wanted = by_bin.scatter(values)
    starts = by_bin.starts
    if np.diff(starts).max(initial=0) > most:
        raise EncodingFailed("a bin overflows")
    table = np.empty((bins * width, words), dtype=np.uint64)
    # Counter blocks of the stream start where a bin does, whatever its size is.
    blocks = -(-8 * width * words // BLOCK_BYTES)

    def work(start: int, stop: int) -> None:
        for b in range(start, stop):
            part = table[b * width : (b + 1) * width]
            stream = KeyStream(mask_seed, b * blocks)(part.nbytes)
            part[...] = stream.view(np.uint64).reshape(part.shape)
            here = slice(starts[b], starts[b + 1])
            if not kernels.solve(rows[here], wanted[here], part, sparse, dense):
                by_bin.explain(rows[here])

    each_range(bins, 1, work)
    return table


def decode_with(hash_: Hash, table: U64, items: U64, seed: bytes, shape: Shape) -> U64:
    from accel.cpu import okvs_kernels as kernels

    bins, _, sparse, dense = shape
    width, words = sparse + dense, table.shape[1]
    by_bin = _ByBin(hash_, items, seed, shape)
    rows, _ = by_bin.scatter(np.empty((len(items), 0), dtype=np.uint64))
    starts = by_bin.starts
    found = np.empty((len(items), words), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        for b in range(start, stop):
            here = slice(starts[b], starts[b + 1])
            part = table[b * width : (b + 1) * width]
            kernels.evaluate(rows[here], part, sparse, dense, found[here])

    each_range(bins, 1, work)
    return by_bin.collect(found)


class _ByBin:
    """Rows of items, and where each goes: bin b has the places ``starts[b]`` to ``starts[b + 1]``."""

    def __init__(self, hash_: Hash, items: U64, seed: bytes, shape: Shape) -> None:
        from accel.cpu import okvs_kernels as kernels

        bins, _, sparse, dense = shape
        self._size, self._kernels, self._bins = len(items), kernels, bins
        self._packed = np.empty((len(items), 2), dtype=np.uint64)
        self._chunk = max(_CHUNK, -(-len(items) // _CHUNKS))
        counts = np.zeros((-(-len(items) // self._chunk), bins), dtype=np.int64)
        mask = np.uint64((1 << dense) - 1)

        def pack(c: int, first: int, last: int) -> None:
            hashes = np.empty((min(_PIECE, last - first), 3), dtype=np.uint64)
            for at in range(first, last, _PIECE):
                end = min(at + _PIECE, last)
                hash_(items, seed, at, end, hashes)
                kernels.pack(hashes, bins, sparse, mask, self._packed[at:end], counts[c])

        self._each_chunk(pack)
        self.starts = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
        self._places = self.starts[:-1] + np.cumsum(counts, axis=0) - counts

    def scatter(self, values: U64) -> tuple[U64, U64]:
        """Rows and values in the order of bins."""
        if self._bins == 1:
            return self._packed, values
        rows, moved, places = np.empty_like(self._packed), np.empty_like(values), self._places.copy()

        def scatter(c: int, first: int, last: int) -> None:
            self._kernels.scatter(self._packed, values, first, last, places[c], rows, moved)

        self._each_chunk(scatter)
        return rows, moved

    def collect(self, values: U64) -> U64:
        """Values in the order of bins back in the order of items."""
        if self._bins == 1:
            return values
        out, places = np.empty_like(values), self._places.copy()

        def collect(c: int, first: int, last: int) -> None:
            self._kernels.collect(self._packed, first, last, places[c], values, out)

        self._each_chunk(collect)
        return out

    def explain(self, rows: U64) -> None:
        """Raise for a bin without a solution. Rows are 80 bits and more: equal ones are equal items."""
        order = np.lexsort(rows.T)
        same = (rows[order[1:]] == rows[order[:-1]]).all(axis=1)
        if same.any():
            twice = rows[order[1:][same][0]]
            index = int(np.flatnonzero((self._packed == twice).all(axis=1))[1])
            raise DuplicateItem(f"item {index} occurs twice", index=index)
        raise EncodingFailed("the rows of a bin are dependent")

    def _each_chunk(self, work: Callable[[int, int, int], None]) -> None:
        def some(start: int, stop: int) -> None:
            for c in range(start, stop):
                work(c, c * self._chunk, min((c + 1) * self._chunk, self._size))

        each_range(-(-self._size // self._chunk), 1, some)
