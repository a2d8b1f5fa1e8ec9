"""SM2 and secp256k1 on SIMD kernels: batches in rows of bytes, in and out.

Rows are padded to whole vectors by repeating the last one; projective points between two kernels are 64-bit
words in the layout of the level (see `weierstrass_programs`). Every range of a batch runs on its own thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import gmpy2
import numpy as np
import numpy.typing as npt

from accel.byte_rows import below
from accel.cpu import threads
from accel.cpu.weierstrass import base_tables
from accel.limbs import LimbArray
from accel.reference.weierstrass import SM2, Curve, Flags, Rows, ints, rows_of_ints

U64 = npt.NDArray[np.uint64]

RADIX = 1 << 260
_BLOCK = 16  # vectors: the least a thread takes
# Scalars: a table of one point costs about 2,000 multiplications and saves six of seven.
_SHARED_TABLE_FROM = 8192
_VALUE_WORDS = {"ifma": 5 * 8, "avx2": 10 * 4}
_LANES = {"ifma": 8, "avx2": 4}


class Vectors:
    """The operations at one CPU level."""

    def __init__(self, level: str) -> None:
        self.level, self.lanes = level, _LANES[level]

    def multiply_base(self, curve: Curve, scalars: Rows) -> Rows:
        return self._affine(curve, self._base(curve, scalars), len(scalars))[0]

    def multiply(self, curve: Curve, bases: Rows, scalars: Rows) -> Rows:
        batch = max(len(bases), len(scalars))
        return self._affine(curve, self._own(curve, bases, scalars, batch), batch)[0]

    def multiply_add(self, curve: Curve, u1: Rows, bases: Rows, u2: Rows) -> tuple[Rows, Flags]:
        batch = len(u1)
        left, right = self._base(curve, u1), self._own(curve, bases, u2, batch)
        self._run("add", curve, (left, right), batch)
        return self._affine(curve, left, batch)

    def on_curve(self, curve: Curve, rows: Rows) -> Flags:
        batch = len(rows)
        flags = self._flags(batch)
        self._run("on_curve", curve, (self._padded(rows, batch), flags), batch)
        return _set(flags, batch)

    def decompress(self, curve: Curve, xs: Rows, parities: Rows) -> tuple[Rows, Flags]:
        batch = len(xs)
        flags = self._flags(batch, 2)
        wanted = np.zeros_like(flags)
        wanted[:batch] = parities
        ys = np.empty((len(flags), 32), np.uint8)
        self._run("decompress", curve, (self._padded(xs, batch, 2), wanted, ys, flags), batch)
        found = _set(flags, batch)
        points = np.concatenate([xs, ys[:batch]], axis=1)
        points[~found] = 0
        return points, found

    def map_to_curve(self, curve: Curve, elements: Rows) -> tuple[Rows, Flags]:
        batch = len(elements)
        points = self._projective(batch)
        self._run("map_to_curve", curve, (self._padded(elements, batch), points), batch)
        return self._affine(curve, points, batch)

    def sign_digests(self, d: Rows, digests: Rows, nonces: Rows) -> tuple[Rows, Flags]:
        batch = len(digests)
        n = gmpy2.mpz(SM2.n)
        inverse = gmpy2.powmod_sec(1 + ints(d[None])[0], n - 2, n)
        points = self.multiply_base(SM2, nonces)
        flags = self._flags(batch)
        signatures = np.empty((len(flags), 64), np.uint8)
        columns = [self._padded(rows, batch) for rows in (points, digests, nonces)]
        factor = rows_of_ints([int(inverse * RADIX % n)])
        self._run("sign", SM2, (*columns, factor, signatures, flags), batch)
        return signatures[:batch], _set(flags, batch)

    def verify_digests(self, keys: Rows, digests: Rows, signatures: Rows) -> Flags:
        batch = len(digests)
        r, s = signatures[:, :32], signatures[:, 32:]
        t = self._add_modulo_order(signatures, s, batch)
        good = below(r, SM2.n, nonzero=True) & below(s, SM2.n, nonzero=True) & t.any(axis=1)
        u1 = np.where(good[:, None], s, np.uint8(0))
        totals, infinite = self.multiply_add(SM2, u1, keys, t)
        found = self._add_modulo_order(totals, digests, batch)
        verified: Flags = good & ~infinite & (found == r).all(axis=1)
        return verified

    def _base(self, curve: Curve, scalars: Rows, table: U64 | None = None) -> U64:
        batch = len(scalars)
        points = self._projective(batch)
        table = base_table(curve, self.level) if table is None else table
        self._run("multiply_base", curve, (self._padded(scalars, batch), table, points), batch)
        return points

    def _own(self, curve: Curve, bases: Rows, scalars: Rows, batch: int) -> U64:
        if len(bases) == 1 and batch >= _SHARED_TABLE_FROM:
            return self._base(curve, scalars, _shared_table(self, curve, bases.tobytes()))
        points = self._projective(batch)
        self._run(
            "multiply", curve, (self._padded(bases, batch), self._padded(scalars, batch), points), batch
        )
        return points

    def _affine(self, curve: Curve, points: U64, batch: int) -> tuple[Rows, Flags]:
        infinite = self._flags(batch)
        rows = np.empty((len(infinite), 64), np.uint8)
        products = np.empty(len(points) // 3, np.uint64)
        self._run("to_affine", curve, (points, products, rows, infinite), batch)
        return rows[:batch], _set(infinite, batch)

    def _add_modulo_order(self, left: Rows, right: Rows, batch: int) -> Rows:
        total = np.empty((len(self._flags(batch)), 32), np.uint8)
        arrays = (self._padded(left, batch), self._padded(right, batch), total)
        self._run("add_modulo_order", SM2, arrays, batch)
        return total[:batch]

    def _run(self, name: str, curve: Curve, arrays: tuple[npt.NDArray[Any], ...], batch: int) -> None:
        from accel.cpu import weierstrass_kernels as kernels  # numba takes a second to import

        kernel: Callable[..., None] = getattr(kernels, name)
        tag = kernels.variant(curve, self.level)
        flat = tuple(array.reshape(-1) for array in arrays)
        vectors = -(-batch // self.lanes)
        threads.each_range(vectors, _BLOCK, lambda start, stop: kernel(tag, flat, start, stop))

    def _size(self, batch: int, vectors: int = 1) -> int:
        return -(-batch // (self.lanes * vectors)) * self.lanes * vectors

    def _padded(self, rows: Rows, batch: int, vectors: int = 1) -> Rows:
        """Contiguous rows for whole vectors; a single row is repeated for all."""
        size = self._size(batch, vectors)
        if len(rows) == size:
            return np.ascontiguousarray(rows)
        padded = np.empty((size, rows.shape[1]), np.uint8)
        padded[: len(rows)] = rows
        padded[len(rows) :] = rows[-1]
        return padded

    def _flags(self, batch: int, vectors: int = 1) -> U64:
        return np.zeros(self._size(batch, vectors), np.uint64)

    def _projective(self, batch: int) -> U64:
        return np.empty(self._size(batch) // self.lanes * 3 * _VALUE_WORDS[self.level], np.uint64)


def _set(words: U64, batch: int) -> Flags:
    flags: Flags = words[:batch] != 0
    return flags


@cache
def base_table(curve: Curve, level: str) -> U64:
    from accel.cpu.weierstrass_emit import BASE_WINDOWS

    bits, windows = BASE_WINDOWS[level]
    entries = (point for row in base_tables(curve, bits, windows) for point in row)
    return _laid_out(curve, [coordinate for point in entries for coordinate in point], windows)


@lru_cache(maxsize=4)
def _shared_table(vectors: Vectors, curve: Curve, point: bytes) -> U64:
    """What `base_table` is for the base point, for a public point that meets many scalars."""
    from accel.cpu.weierstrass_emit import BASE_WINDOWS

    bits, windows = BASE_WINDOWS[vectors.level]
    scalars = [(2 * i + 1 << bits * w) % curve.n for w in range(windows) for i in range(1 << bits - 1)]
    multiples = vectors.multiply(curve, np.frombuffer(point, np.uint8)[None], rows_of_ints(scalars))
    return _laid_out(curve, ints(multiples.reshape(-1, 32)), windows)


def _laid_out(curve: Curve, coordinates: list[int], windows: int) -> U64:
    """``[window][coordinate and 52-bit limb][entry]`` in the field's representation, in one dimension."""
    factor = RADIX if curve == SM2 else 1
    rows = rows_of_ints(coordinate * factor % curve.p for coordinate in coordinates)
    limbs = LimbArray.from_bytes(rows.tobytes(), 32, 5).limbs.reshape(5, windows, -1, 2)
    return np.ascontiguousarray(limbs.transpose(1, 3, 0, 2)).reshape(-1)
