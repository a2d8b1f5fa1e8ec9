"""The linear system of an oblivious key-value store, row by row, and its solution by elimination.

| symbol | meaning |
|---|---|
| E | AES-128 under the seed |
| x0, x1 | the two halves of an item of 32 bytes |
| h | E(g) xor g for g = E(x0) xor x0 xor x1: 32 bits for the bin, 3 times 32 for the columns |
| d | the low word of E(h) xor h: the row's dense part, one bit a dense column |
| row(x) | 1 in three different sparse columns of its bin, and d in the dense ones |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from accel.errors import EncodingFailed
from accel.reference import aes

U64 = npt.NDArray[np.uint64]

_WORD = (1 << 32) - 1


def digest(item: bytes, seed: bytes) -> tuple[int, int]:
    """h and d of one item of 32 bytes."""

    def one_way(block: int) -> int:
        return block ^ int.from_bytes(aes.encrypt(seed, block.to_bytes(16, "little")), "little")

    x0, x1 = int.from_bytes(item[:16], "little"), int.from_bytes(item[16:], "little")
    h = one_way(one_way(x0) ^ x1)
    return h, one_way(h) & (1 << 64) - 1


def row(item: bytes, seed: bytes, bins: int, sparse: int, dense: int) -> tuple[int, list[int]]:
    """The bin of an item, and the columns of that bin in which its row is 1."""
    h, d = digest(item, seed)
    words = [h >> 32 * i & _WORD for i in range(4)]
    columns: list[int] = []
    for i in range(3):  # the i-th of the columns not yet taken
        column = words[i + 1] * (sparse - i) >> 32
        for taken in sorted(columns):
            column += column >= taken
        columns.append(column)
    columns += [sparse + i for i in range(dense) if d >> i & 1]
    return words[0] * bins >> 32, columns


def encode(items: U64, values: U64, seed: bytes, shape: tuple[int, int, int, int], mask_seed: bytes) -> U64:
    """``shape``: bins, most items of a bin, sparse and dense columns of a bin."""
    bins, most, sparse, dense = shape
    width = sparse + dense
    stream = Cipher(algorithms.AES(mask_seed), modes.CTR(bytes(16))).encryptor()
    table = np.frombuffer(stream.update(bytes(8 * values.shape[1] * bins * width)), np.uint64)
    table = table.reshape(bins * width, values.shape[1]).copy()
    systems: list[list[tuple[int, U64]]] = [[] for _ in range(bins)]
    for item, value in zip(items, values, strict=True):
        at, columns = row(item.tobytes(), seed, bins, sparse, dense)
        systems[at].append((sum(1 << column for column in columns), value.copy()))
    for at, system in enumerate(systems):
        if len(system) > most:
            raise EncodingFailed("a bin overflows")
        _solve(system, table[at * width : (at + 1) * width])
    return table


def _solve(system: list[tuple[int, U64]], table: U64) -> None:
    """Gauss-Jordan; the table keeps what it holds wherever the system leaves a choice."""
    pivots: dict[int, tuple[int, U64]] = {}
    for equation, value in system:
        for column, (other, constant) in pivots.items():
            if equation >> column & 1:
                equation, value = equation ^ other, value ^ constant
        if not equation:
            raise EncodingFailed("the rows of a bin are dependent")
        new = equation.bit_length() - 1
        for column, (other, constant) in pivots.items():
            if other >> new & 1:
                pivots[column] = (other ^ equation, constant ^ value)
        pivots[new] = (equation, value)
    for column, (equation, value) in pivots.items():
        total = value
        for free in range(len(table)):
            if free != column and equation >> free & 1:
                total = total ^ table[free]
        table[column] = total


def decode(table: U64, items: U64, seed: bytes, shape: tuple[int, int, int, int]) -> U64:
    bins, _, sparse, dense = shape
    results = np.zeros((len(items), table.shape[1]), dtype=np.uint64)
    for i, item in enumerate(items):
        at, columns = row(item.tobytes(), seed, bins, sparse, dense)
        for column in columns:
            results[i] ^= table[at * (sparse + dense) + column]
    return results
