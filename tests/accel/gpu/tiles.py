"""Numbers in the tiled layout of ``montgomery.cuh``, and the moduli and values that find carry errors."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from tests.accel.gpu import host

TILE = 32
EDGE_LIMBS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

SHAPES = {256: (8, 1), 1024: (32, 1), 2048: (32, 2), 3072: (32, 3), 4096: (32, 4), 6144: (32, 6)}
"""Limbs of a block and blocks of a number, by bits."""


def tiled(values: Sequence[int], words: int) -> np.ndarray:
    """uint32 of shape (tiles, words, 32), padded with zeros."""
    padded = [*values, *[0] * (-len(values) % TILE)]
    return np.ascontiguousarray(host.limbs(padded, words).reshape(words, -1, TILE).transpose(1, 0, 2))


def integers(tiles: np.ndarray, count: int) -> list[int]:
    flat = np.ascontiguousarray(tiles.transpose(1, 0, 2).reshape(tiles.shape[1], -1))
    return host.integers(flat)[:count]


def modulus(n: int, words: int) -> np.ndarray:
    """What kernels take as ``modulus``: lane 0 of a tile, then -n^-1 mod 2^32."""
    return np.concatenate(
        [tiled([n], words).ravel(), np.array([-pow(n, -1, 1 << 32) % (1 << 32)], np.uint32)]
    )


def moduli(bits: int, rng: random.Random) -> list[int]:
    """Odd, up to ``bits`` bits: all ones, one bit alone, a random one, zero and full limbs in between."""
    mixed = sum(rng.choice(EDGE_LIMBS) << 32 * j for j in range(bits // 32)) | 1 << (bits - 1) | 1
    return [
        (1 << bits) - 1,
        (1 << (bits - 1)) + 1,
        rng.getrandbits(bits) | 1 << (bits - 1) | 1,
        mixed,
        (1 << (bits - 33)) - 1,
    ]


def residues(n: int, count: int, rng: random.Random) -> list[int]:
    """Below n: its ends, numbers of edge limbs, random ones; in no order."""
    ends = [0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFF, n // 2, n // 2 + 1, n - 2, n - 1]
    # Edge limbs by the hundred come from one draw: patterns repeat over the number, and that is meant.
    words = -(-n.bit_length() // 32)
    edges = []
    for _ in range(count // 2):
        pattern = b"".join(rng.choice(EDGE_LIMBS).to_bytes(4, "little") for _ in range(min(words, 11)))
        edges.append(int.from_bytes((pattern * words)[: 4 * words], "little") % n)
    rest = max(count - len(ends) - len(edges), 0)
    width = n.bit_length() - 1
    values = [*ends, *edges, *(rng.getrandbits(width) for _ in range(rest))][:count]
    rng.shuffle(values)
    return values
