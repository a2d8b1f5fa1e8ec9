"""A discrete Gaussian by cumulative distribution table, in constant time.

A uniform 64-bit word is compared with every entry of the table and the comparisons are summed, so neither a
branch nor an address depends on the sample (CDT sampling, as in FrodoKEM section 2.2.4). The table is
symmetric around 2^63: the upper half of the words is folded onto the lower and the sample negated, which
leaves 58 comparisons of 63-bit numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from accel.cpu.key_stream import SEED_BYTES, KeyStream
from accel.cpu.threads import each_range
from accel.randomness import Rng, draw, system_rng
from accel.reference.lwe import GAUSSIAN_TAIL, cumulative_table

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

_SHARE = 1 << 14  # samples that are worth handing to another thread
_ENTRIES = 64  # of the kernel's table: a number of whole vectors


def gaussian(words: U64) -> U32:
    """The sample of each uniform word, modulo 2^32."""
    from accel.cpu.lwe_kernels import rank_words  # numba takes a second to import

    output = np.empty(len(words), dtype=np.uint32)
    table = _folded_table()
    each_range(len(words), _SHARE, lambda start, stop: rank_words(words, table, output, start, stop))
    return output


class Words:
    """Uniform 64-bit words, 8 bytes of the source each, little end first.

    The operating system gives bytes more slowly than they become samples, so its source gives a seed for
    AES-256 in counter mode instead.
    """

    def __init__(self, rng: Rng) -> None:
        self._stream = KeyStream(draw(rng, SEED_BYTES)) if rng is system_rng else None
        self._rng = rng

    def __call__(self, count: int) -> U64:
        if self._stream is not None:
            return self._stream(8 * count).view(np.uint64)
        return np.frombuffer(draw(self._rng, 8 * count), dtype="<u8").astype(np.uint64, copy=False)


@cache
def _folded_table() -> npt.NDArray[np.int64]:
    """word > entry here exactly if word >= the entry of the full table; no word passes the padding."""
    table = np.full(_ENTRIES, 2**63 - 1, dtype=np.int64)
    table[:GAUSSIAN_TAIL] = [entry - 1 for entry in cumulative_table()[:GAUSSIAN_TAIL]]
    return table
