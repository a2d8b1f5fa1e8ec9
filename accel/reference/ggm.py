"""Trees of seeds, node by node. `accel.ggm` says what is computed; every function here is for one tree.

| symbol | meaning |
|---|---|
| K0, K1 | two public AES keys: the digits of pi after the point, as in Blowfish |
| child_b(s) | AES_Kb(s) xor s: the child on side b of a node s |
| c(i) | nodes at level i that have leaves below them: ceil(leaves / 2^(depth - i)) |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.reference import aes

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

KEYS = (
    bytes.fromhex("243f6a8885a308d313198a2e03707344"),
    bytes.fromhex("a4093822299f31d0082efa98ec4e6c89"),
)


def depth(leaves: int) -> int:
    return (leaves - 1).bit_length()


def width(leaves: int, level: int) -> int:
    """c(level)"""
    below = depth(leaves) - level
    return (leaves + (1 << below) - 1) >> below


def children(node: bytes) -> tuple[bytes, bytes]:
    left, right = (_xor(aes.encrypt(key, node), node) for key in KEYS)
    return left, right


def expand(seeds: U64, leaves: int) -> tuple[U64, U64]:
    rows, sums = [], []
    for seed in seeds:
        nodes, totals = [seed.tobytes()], []
        for level in range(depth(leaves)):
            pairs = [children(node) for node in nodes]
            totals += [_sum([pair[side] for pair in pairs]) for side in (0, 1)]
            nodes = [child for pair in pairs for child in pair][: width(leaves, level + 1)]
        rows.append(b"".join(nodes))
        sums.append(b"".join(totals))
    count = len(seeds)
    return (
        np.frombuffer(b"".join(rows), np.uint64).reshape(count, leaves, 2).copy(),
        np.frombuffer(b"".join(sums), np.uint64).reshape(count, depth(leaves), 2, 2).copy(),
    )


def expand_punctured(points: I64, sums: U64, leaves: int) -> U64:
    zero = bytes(16)
    rows = []
    for point, known in zip(points.tolist(), sums, strict=True):
        nodes, at = [zero], 0  # the root lies on the path to the punctured leaf: unknown
        for level in range(depth(leaves)):
            pairs = [children(node) for node in nodes]
            bit = point >> (depth(leaves) - 1 - level) & 1
            others = [pair[1 - bit] for j, pair in enumerate(pairs) if j != at]
            sibling = _xor(_sum(others), known[level].tobytes())
            pairs[at] = (sibling, zero) if bit else (zero, sibling)
            nodes = [child for pair in pairs for child in pair][: width(leaves, level + 1)]
            at = 2 * at + bit
        rows.append(b"".join(nodes))
    return np.frombuffer(b"".join(rows), np.uint64).reshape(len(points), leaves, 2).copy()


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _sum(blocks: list[bytes]) -> bytes:
    total = bytes(16)
    for block in blocks:
        total = _xor(total, block)
    return total
