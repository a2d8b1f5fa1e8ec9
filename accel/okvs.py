"""Oblivious key-value stores: rows of a table, summed at the places an item names, give its value.

`encode` solves row(x) * table = value for every item x, and fills what the system leaves open with
randomness: with random values the table is uniform and says nothing of the items. `decode` computes row(x) *
table for any item. Both are linear over GF(2), so they commute with every linear map of the values.

Clustered and sparse, after Raghuraman, Rindal, "Blazing Fast PSI from Improved OKVS and Subfield VOLE", CCS
2022 (ePrint 2022/320), section 3 and `PaxosParam::init` of its implementation: items are thrown into bins; a
row has w = 3 ones among the sparse columns of its bin and random bits in a few dense columns. For bins of n
items and a failure probability 2^-s of each:

    log2 λ_e = 0.555 log2 n + 0.093 L^3 - 1.01 L^2 + 2.925 L - 0.133,  L = log2 3
    e = 1.223 + (s + 9.2) / λ_e            sparse columns: e n
    g = floor(s / ((w - 2) log2(e n)))     dense columns: g + s, random over GF(2)

The constants are that paper's, fitted to experiments. At most g rows are left when all others have been
solved one by one, but with probability 2^-s; these have full rank in the dense columns but with probability
2^-s. Of ``s``, `layout` asks for security_bits + log2(bins) + 2, and a bin overflows with probability
2^-(security_bits + 2) at most (Chernoff), so that an encoding fails with at most 2^-security_bits in all.
Then it raises; it never returns a table that is wrong. Items below 256 get the table of 256, where the
constants still hold.

The seed must be drawn independently of the items, and afresh for every table: whoever knows the seed first
can find items whose rows depend on each other. Time and addresses depend on the items: what a process does
with its own items is not protected from others on its processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil, floor, log, log2
from typing import Any

import numpy as np
import numpy.typing as npt

from accel import selftest
from accel.cpu import okvs as _cpu
from accel.cpu import okvs_wide as _wide
from accel.errors import BadParameter
from accel.randomness import Rng, draw, system_rng
from accel.reference import okvs as _reference
from accel.registry import Op

U64 = npt.NDArray[np.uint64]
U8 = npt.NDArray[np.uint8]

SEED_BYTES = 16
ITEM_BYTES = 32
WEIGHT = 3
SECURITY_BITS = 40
MOST_ITEMS = 1 << 30

_MASK_SEED_BYTES = 32
BIN_ITEMS = 1 << 14  # on average; larger bins need smaller tables and more of the cache
MOST_BIN_ITEMS = 1 << 20
_LEAST_ITEMS = 256
_MOST_DENSE = 64  # a row's dense part is one word


@dataclass(frozen=True)
class Layout:
    """The shape of a table: ``bins`` parts of ``sparse`` and then ``dense`` rows each."""

    items: int
    bins: int
    bin_items: int  # at most so many items fall into a bin
    sparse: int
    dense: int

    @property
    def bin_size(self) -> int:
        return self.sparse + self.dense

    @property
    def size(self) -> int:
        """The rows of the table."""
        return self.bins * self.bin_size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.bins, self.bin_items, self.sparse, self.dense


Shape = tuple[int, int, int, int]


def _sample(batch: int) -> tuple[U64, U64, bytes, Shape, bytes]:
    words = np.arange(6 * batch, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    items, values = words[: 4 * batch].reshape(batch, 4), words[4 * batch :].reshape(batch, 2)
    return items, values, bytes(SEED_BYTES), layout(batch).shape, bytes(_MASK_SEED_BYTES)


def _sample_table(batch: int) -> tuple[U64, U64, bytes, Shape]:
    table = np.arange(2 * layout(batch).size, dtype=np.uint64).reshape(-1, 2)
    return table, _sample(batch)[0], bytes(SEED_BYTES), layout(batch).shape


# Items are 4 words each; values and tables have 1 or 2.
ENCODE: Op[[U64, U64, bytes, Shape, bytes], U64] = Op("okvs.encode", sample=_sample)
ENCODE.backend("reference")(_reference.encode)

DECODE: Op[[U64, U64, bytes, Shape], U64] = Op("okvs.decode", sample=_sample_table)
DECODE.backend("reference")(_reference.decode)


# Tables in bins too wide for 16 bits: other kernels, the same specification.
ENCODE_WIDE: Op[[U64, U64, bytes, Shape, bytes], U64] = Op("okvs.encode_wide", sample=_sample)
ENCODE_WIDE.backend("reference")(_reference.encode)

DECODE_WIDE: Op[[U64, U64, bytes, Shape], U64] = Op("okvs.decode_wide", sample=_sample_table)
DECODE_WIDE.backend("reference")(_reference.decode)


def _register(level: str, needs: str, instructions: str, hash_items: _cpu.Hash) -> None:
    def encode_on(run: Callable[..., U64]) -> Callable[[U64, U64, bytes, Shape, bytes], U64]:
        return lambda items, values, seed, shape, mask: run(hash_items, items, values, seed, shape, mask)

    def decode_on(run: Callable[..., U64]) -> Callable[[U64, U64, bytes, Shape], U64]:
        return lambda table, items, seed, shape: run(hash_items, table, items, seed, shape)

    for encoding, run in ((ENCODE, _cpu.encode_with), (ENCODE_WIDE, _wide.encode_with)):
        encoding.backend(level, needs=needs, instructions=instructions)(encode_on(run))
    for decoding, evaluate in ((DECODE, _cpu.decode_with), (DECODE_WIDE, _wide.decode_with)):
        decoding.backend(level, needs=needs, instructions=instructions)(decode_on(evaluate))


def _register_vectors(level: str, instructions: str) -> None:
    """The backends that hash by the processor's instructions; numba is imported when one is first called."""

    def hash_items(items: U64, seed: bytes, start: int, stop: int, out: U64) -> None:
        from accel.cpu import aes_vector

        aes_vector.hash_items(level, items, seed, start, stop, out)

    _register(level, "numba", instructions, hash_items)


_register("portable", "numba cryptography", "", _cpu.hash_items)
_register_vectors("avx2", "aes")
_register_vectors("ifma", "vaes")


def layout(n: int, security_bits: int = SECURITY_BITS, bin_items: int = BIN_ITEMS) -> Layout:
    """The table of n items in bins of ``bin_items`` on average: public, the same on both sides.

    Raises BadParameter outside 0 … 2^30 items, or for bins of less than `BIN_ITEMS` or more than 2^20.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MOST_ITEMS:
        raise BadParameter(f"a table holds from 0 to {MOST_ITEMS} items")
    if isinstance(security_bits, bool) or not isinstance(security_bits, int) or security_bits < 20:
        raise BadParameter("the statistical security is at least 20 bits")
    if (
        isinstance(bin_items, bool)
        or not isinstance(bin_items, int)
        or bin_items < BIN_ITEMS
        or bin_items > MOST_BIN_ITEMS
    ):
        raise BadParameter(f"bins have from {BIN_ITEMS} to {MOST_BIN_ITEMS} items")
    return _layout(n, security_bits, bin_items)


@cache
def _layout(n: int, security_bits: int, bin_items: int) -> Layout:
    bins = max(1, -(-n // bin_items))
    most = _bin_bound(max(n, _LEAST_ITEMS), bins, security_bits + 2)
    bits = security_bits + 2 + (bins - 1).bit_length()
    weight = log2(WEIGHT)
    slope = 2 ** (0.555 * log2(most) + 0.093 * weight**3 - 1.01 * weight**2 + 2.925 * weight - 0.133)
    sparse = ceil(most * (1.223 + (bits + 9.2) / slope))
    dense = floor(bits / ((WEIGHT - 2) * log2(sparse))) + bits
    if dense > _MOST_DENSE:
        raise BadParameter(
            f"{security_bits} bits of security for {n} items: {dense} dense columns, at most 64"
        )
    return Layout(n, bins, most, sparse, dense)


def _bin_bound(n: int, bins: int, bits: int) -> int:
    """The least L such that no bin holds more than L items, but with probability 2^-bits (Chernoff bound)."""
    if bins == 1:
        return n
    p, needed = 1 / bins, (bits + log2(bins)) * log(2)
    low, high = n // bins + 1, n
    while low < high:
        middle = (low + high) // 2
        q = (middle + 1) / n
        divergence = q * log(q / p) + ((1 - q) * log((1 - q) / (1 - p)) if q < 1 else 0.0)
        low, high = (low, middle) if n * divergence >= needed else (middle + 1, high)
    return low


def encode(
    items: U8 | U64,
    values: U64,
    seed: bytes,
    rng: Rng = system_rng,
    *,
    security_bits: int = SECURITY_BITS,
    bin_items: int = BIN_ITEMS,
    backend: str = "auto",
) -> U64:
    """The table (layout(n).size, k) of n different items with values (n, k), k = 1 or 2 words.

    ``items`` (n, 32) of uint8, or (n, 2) of uint64, pseudorandom; ``seed`` 16 bytes, see above. ``rng`` gives
    32 bytes that AES-256-CTR stretches to all entries that are free: with values uniform to an observer, so
    is the table. Run by whoever holds the items.

    Raises DuplicateItem (``index``), EncodingFailed (with probability 2^-security_bits: take another seed),
    BadParameter for a wrong dtype or shape.
    """
    rows = _check_items(items)
    values = _check_words(values, "values")
    if len(values) != len(rows):
        raise BadParameter(f"{len(rows)} items cannot have {len(values)} values")
    _check_seed(seed)
    shape = layout(len(rows), security_bits, bin_items).shape
    mask_seed = draw(rng, _MASK_SEED_BYTES)
    op = ENCODE if shape[2] <= _wide.NARROW else ENCODE_WIDE
    return op.select(backend, batch=len(rows))(rows, values, seed, shape, mask_seed)


def decode(
    table: U64,
    items: U8 | U64,
    seed: bytes,
    n: int,
    *,
    security_bits: int = SECURITY_BITS,
    bin_items: int = BIN_ITEMS,
    backend: str = "auto",
) -> U64:
    """The values (m, k) of m items, repeats allowed, in a table made of n items: noise for an item not in it.

    Raises BadParameter for a table that does not have the size of ``layout(n)``, or a wrong dtype or shape.
    """
    rows = _check_items(items)
    table = _check_words(table, "a table")
    _check_seed(seed)
    shape = layout(n, security_bits, bin_items)
    if len(table) != shape.size:
        raise BadParameter(f"a table of {n} items has {shape.size} rows, not {len(table)}")
    op = DECODE if shape.sparse <= _wide.NARROW else DECODE_WIDE
    return op.select(backend, batch=len(rows))(table, rows, seed, shape.shape)


def _check_items(items: Any) -> U64:
    if isinstance(items, np.ndarray) and items.ndim == 2:
        if items.dtype == np.uint8 and items.shape[1] == ITEM_BYTES:
            return np.ascontiguousarray(items).view(np.uint64).reshape(len(items), 4)
        if items.dtype == np.uint64 and items.shape[1] == 2:
            return np.concatenate([items, np.zeros_like(items)], axis=1)
    raise BadParameter("items are an array (n, 32) of uint8 or (n, 2) of uint64")


def _check_words(words: Any, what: str) -> U64:
    if not isinstance(words, np.ndarray) or words.dtype != np.uint64 or words.ndim != 2:
        raise BadParameter(f"{what} must be a 2-D array of uint64")
    if words.shape[1] not in (1, 2):
        raise BadParameter(f"{what} must have 1 or 2 words in a row")
    return np.ascontiguousarray(words)


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, bytes) or len(seed) != SEED_BYTES:
        raise BadParameter(f"a seed is {SEED_BYTES} bytes")


_KNOWN_ITEMS = 300


def _known() -> tuple[U64, U64, bytes, Shape]:
    items, values, seed, shape, _ = _sample(_KNOWN_ITEMS)
    return items, values, seed, shape


@ENCODE.known_answer
@ENCODE_WIDE.known_answer
def _known_table(run: Callable[[U64, U64, bytes, Shape, bytes], U64]) -> None:
    items, values, seed, shape = _known()
    for width in (1, 2):
        wanted = np.ascontiguousarray(values[:, :width])
        table = run(items, wanted, seed, shape, bytes(_MASK_SEED_BYTES))
        selftest.expect(np.array_equal(_reference.decode(table, items, seed, shape), wanted), "okvs.encode")


@DECODE.known_answer
@DECODE_WIDE.known_answer
def _known_values(run: Callable[[U64, U64, bytes, Shape], U64]) -> None:
    items, _, seed, shape = _known()
    words = np.arange(2 * shape[0] * (shape[2] + shape[3]), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    document = selftest.vectors("okvs")
    for width in (1, 2):
        table = words.reshape(-1, 2)[:, :width].copy()
        got = run(table, items[:4], seed, shape)
        selftest.expect(got.tobytes().hex() == document["decoded"][width - 1]["values"], "okvs.decode")
