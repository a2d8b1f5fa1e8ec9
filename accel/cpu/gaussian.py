"""A discrete Gaussian by cumulative distribution table, in constant time.

A uniform 64-bit integer is compared with every entry of the table and the comparisons are summed, so neither
a branch nor an address depends on the sample (NIST-style CDT sampling, as in FrodoKEM section 2.2.4).
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from accel.randomness import Rng, draw

_SIGMA = Decimal("6.4")
# Beyond 58 (9 sigma) less than 2^-63 is left in both tails together: a 64-bit table cannot hold more.
_TAIL = 58
_CHUNK = 1 << 16  # samples per pass; keeps the comparison in cache


def cumulative_table() -> npt.NDArray[np.uint64]:
    """Entry i is round(2^64 P(X <= i - tail)) for X from -tail to tail - 1, with 50 digits inside."""
    with localcontext() as context:
        context.prec = 50
        weight = [(-(Decimal(x) ** 2) / (2 * _SIGMA**2)).exp() for x in range(-_TAIL, _TAIL + 1)]
        total = sum(weight, Decimal(0))
        running = Decimal(0)
        table = []
        for value in weight[:-1]:
            running += value
            table.append(int((running / total * 2**64).to_integral_value()))
    return np.array(table, dtype=np.uint64)


_TABLE = cumulative_table()


def sample_gaussian(count: int, rng: Rng) -> npt.NDArray[np.int64]:
    """``count`` independent samples; 8 bytes of ``rng`` each."""
    output = np.empty(count, dtype=np.int64)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        uniform = np.frombuffer(draw(rng, 8 * (stop - start)), dtype="<u8").astype(np.uint64)
        rank = np.zeros(stop - start, dtype=np.int64)
        for threshold in _TABLE:
            rank += uniform >= threshold
        output[start:stop] = rank - _TAIL
    return output
