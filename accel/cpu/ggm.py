"""Trees of seeds through OpenSSL's AES: a level of all trees at a time. Constant-time in the seeds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.reference import aes
from accel.reference.ggm import KEYS, depth, width

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def expand(seeds: U64, leaves: int) -> tuple[U64, U64]:
    nodes = seeds[:, None, :]
    sums = np.empty((len(seeds), depth(leaves), 2, 2), dtype=np.uint64)
    for level in range(depth(leaves)):
        nodes = _children(nodes)
        for side in (0, 1):
            sums[:, level, side] = np.bitwise_xor.reduce(nodes[:, side::2], axis=1)
        nodes = nodes[:, : width(leaves, level + 1)]
    return np.array(nodes), sums


def expand_punctured(points: I64, sums: U64, leaves: int) -> U64:
    """Unknown nodes are zero blocks; what grows from them is overwritten."""
    trees = np.arange(len(points))
    nodes = np.zeros((len(points), 1, 2), dtype=np.uint64)
    for level in range(depth(leaves)):
        at = points >> (depth(leaves) - 1 - level)
        nodes = _children(nodes)
        nodes[trees, at] = 0
        nodes[trees, at ^ 1] = 0
        sides = np.bitwise_xor.reduce(nodes.reshape(len(points), nodes.shape[1] // 2, 2, 2), axis=1)
        nodes[trees, at ^ 1] = sides[trees, at & 1 ^ 1] ^ sums[:, level]
        nodes = nodes[:, : width(leaves, level + 1)]
    return np.array(nodes)


def _children(nodes: U64) -> U64:
    count, size = nodes.shape[:2]
    pairs = np.empty((count, size, 2, 2), dtype=np.uint64)
    data = nodes.tobytes()
    for side, key in enumerate(KEYS):
        encrypted = np.frombuffer(aes.encrypt(key, data), np.uint64)
        pairs[:, :, side] = encrypted.reshape(count, size, 2) ^ nodes
    return pairs.reshape(count, 2 * size, 2)
