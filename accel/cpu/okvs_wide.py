"""Key-value stores in few bins of more than 2^16 columns: for tables that are to be small, not fast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from accel.cpu.key_stream import BLOCK_BYTES, KeyStream
from accel.cpu.threads import each_range
from accel.errors import DuplicateItem, EncodingFailed

U64 = npt.NDArray[np.uint64]
Shape = tuple[int, int, int, int]
Hash = Callable[[U64, bytes, int, int, U64], None]

# Bins of up to so many columns have faster kernels (`accel.cpu.okvs`), which count in 16 bits.
NARROW = (1 << 16) - 1

_CHUNK = 1 << 14  # items hashed at a time


def encode_with(hash_: Hash, items: U64, values: U64, seed: bytes, shape: Shape, mask_seed: bytes) -> U64:
    """As `accel.cpu.okvs.encode_with`, and the same table where both can make it."""
    from accel.cpu import okvs_wide_kernels as kernels  # numba takes a second to import

    bins, most, sparse, dense = shape
    width, words = sparse + dense, values.shape[1]
    rows, order, starts = _by_bin(hash_, items, seed, shape)
    if np.diff(starts).max(initial=0) > most:
        raise EncodingFailed("a bin overflows")
    wanted = values[order]
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
                _explain(rows[here], order[here])

    each_range(bins, 1, work)
    return table


def decode_with(hash_: Hash, table: U64, items: U64, seed: bytes, shape: Shape) -> U64:
    """As `accel.cpu.okvs.decode_with`."""
    from accel.cpu import okvs_wide_kernels as kernels

    bins, _, sparse, dense = shape
    width = sparse + dense
    rows, order, starts = _by_bin(hash_, items, seed, shape)
    found = np.empty((len(items), table.shape[1]), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        for b in range(start, stop):
            here = slice(starts[b], starts[b + 1])
            part = table[b * width : (b + 1) * width]
            kernels.evaluate(rows[here], part, sparse, dense, found[here])

    each_range(bins, 1, work)
    result = np.empty_like(found)
    result[order] = found
    return result


def _by_bin(
    hash_: Hash, items: U64, seed: bytes, shape: Shape
) -> tuple[U64, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows (h, d) in the order of their bins, the items they are of, and where each bin starts."""
    bins, _, _, dense = shape
    hashes = np.empty((len(items), 3), dtype=np.uint64)

    def work(start: int, stop: int) -> None:
        for at in range(start, stop, _CHUNK):
            end = min(at + _CHUNK, stop)
            hash_(items, seed, at, end, hashes[at:end])

    each_range(len(items), _CHUNK, work)
    hashes[:, 2] &= np.uint64((1 << dense) - 1)
    at = ((hashes[:, 0] & np.uint64(0xFFFFFFFF)) * np.uint64(bins) >> np.uint64(32)).astype(np.uint16)
    order = np.argsort(at, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=bins))])
    return hashes[order], order, starts


def _explain(rows: U64, order: npt.NDArray[np.int64]) -> None:
    """Raise for a bin without a solution: rows of equal hashes are equal items."""
    by_hash = np.lexsort((rows[:, 0], rows[:, 1]))
    same = (rows[by_hash[1:], :2] == rows[by_hash[:-1], :2]).all(axis=1)
    if same.any():
        index = int(order[by_hash[1:][same]].max())
        raise DuplicateItem(f"item {index} occurs twice", index=index)
    raise EncodingFailed("the rows of a bin are dependent")
