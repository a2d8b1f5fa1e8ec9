"""GF(2^128) on Python integers.

| symbol | meaning |
|---|---|
| bit i of an integer | the coefficient of x^i |
| block | two little-endian words: word 0 holds x^0 … x^63, word 1 holds x^64 … x^127 |
| P | x^128 + x^7 + x^2 + x + 1, the polynomial of GCM (NIST SP 800-38D), here without its reflected bits |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

P = 1 << 128 | 0x87


def product(a: int, b: int) -> int:
    """a b modulo P."""
    total = 0
    while b:
        if b & 1:
            total ^= a
        b >>= 1
        a <<= 1
        if a >> 128:
            a ^= P
    return total


def multiply(a: U64, b: U64) -> U64:
    return to_blocks([product(x, y) for x, y in zip(to_ints(a), to_ints(b), strict=True)])


def multiply_by(a: U64, b: U64) -> U64:
    (y,) = to_ints(b[None])
    return to_blocks([product(x, y) for x in to_ints(a)])


def inner_product(a: U64, b: U64) -> U64:
    total = 0
    for x, y in zip(to_ints(a), to_ints(b), strict=True):
        total ^= product(x, y)
    result: U64 = to_blocks([total])[0]
    return result


def to_ints(blocks: U64) -> list[int]:
    return [low | high << 64 for low, high in blocks.tolist()]


def to_blocks(values: list[int]) -> U64:
    blocks: U64 = np.array([(v & (1 << 64) - 1, v >> 64) for v in values], dtype=np.uint64)
    return blocks.reshape(len(values), 2)
