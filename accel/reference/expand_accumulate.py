"""The expand-accumulate code, entry by entry. `accel.expand_accumulate` says what for.

| symbol | meaning |
|---|---|
| W | positions that one output sums: the weight of the expander |
| E(i) | AES-128 under the seed of the block i, 64-bit little-endian and zeros behind |
| w_0 … w_7 | the 32-bit little-endian words of E(2 i) and E(2 i + 1) |
| position j of output i | (w_j m) >> 32 |
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack

import numpy as np
import numpy.typing as npt

from accel.reference import aes

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

W = 7


def positions(seed: bytes, output: int, m: int) -> list[int]:
    words = unpack("<8I", aes.encrypt(seed, pack("<4Q", 2 * output, 0, 2 * output + 1, 0)))
    return [word * m >> 32 for word in words[:W]]


def compress(inputs: Sequence[U64], outputs: int, seed: bytes) -> list[U64]:
    walk = [positions(seed, i, len(inputs[0])) for i in range(outputs)]
    results = []
    for values in inputs:
        sums = np.bitwise_xor.accumulate(values, axis=0)
        result = np.zeros((outputs, *values.shape[1:]), dtype=np.uint64)
        for i, where in enumerate(walk):
            for position in where:
                result[i] ^= sums[position]
        results.append(result)
    return results


def compress_noise(points: I64, noise: U64, block: int, outputs: int, seed: bytes) -> U64:
    values = np.zeros((len(points) * block, noise.shape[1]), dtype=np.uint64)
    values[points + np.arange(len(points)) * block] = noise
    return compress([values], outputs, seed)[0]
