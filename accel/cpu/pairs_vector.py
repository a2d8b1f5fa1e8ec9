"""Paillier's powers modulo n^2 by the vector kernels, on pairs of numbers modulo n (`pairs_ir`).

Twice as fast as products modulo n^2. Needs R of at least 64 n; a modulus without so many spare bits in its
limbs takes the general path of `accel.modular`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gmpy2
import numpy as np

from accel.cpu import modular_vector, pairs_kernel, threads
from accel.cpu.lane_memory import aligned
from accel.cpu.modular_program import Program, exponent_digits, little_digits, window_width
from accel.cpu.pairs_kernel import (
    ADD,
    COPY,
    FINISH,
    JOIN,
    LOAD,
    LOOKUP,
    PRODUCT,
    SELECT,
    SQUARE,
    STORE,
    TIMES,
)
from accel.limbs import LIMB_BITS, U64, LimbArray
from accel.modular_backends import ByteRows
from accel.modulus import Modulus

Pair = tuple[int, int]

_BLOCK_BYTES = 1 << 19  # of a block's slots: with the table row it uses they stay in the second-level cache
_SECRET_WINDOW = 4


class PairModulus:
    """n with what pairs modulo n^2 need. Secret where n is."""

    def __init__(self, n: int) -> None:
        self.m = Modulus(n)
        self.n = gmpy2.mpz(n)
        self.radix = gmpy2.mpz(1) << LIMB_BITS * self.m.limbs

    @property
    def fits(self) -> bool:
        """Are there spare bits enough for halves below 2 n?"""
        return LIMB_BITS * self.m.limbs - self.m.bits >= 6

    @cached_property
    def one(self) -> Pair:
        """R mod n^2."""
        return self.halves(self.radix)

    def halves(self, value: gmpy2.mpz) -> Pair:
        """The pair of a value mod n^2."""
        high, low = gmpy2.f_divmod(value % self.n**2, self.n)
        return int(low), int(high)

    def lift(self, limb_bits: int) -> U64:
        """The multiple of n next to R, in limbs of at least 2^limb_bits - 1."""
        count, top = LIMB_BITS * self.m.limbs // limb_bits, (1 << limb_bits) - 1
        rest = int(-(-self.radix // self.n) * self.n - self.radix)
        limbs = [top + (rest >> limb_bits * j & top) for j in range(count)]
        limbs[0] += 1
        return np.array(limbs, dtype=np.uint64)


class PairTable:
    """Powers of one base modulo n^2 for `LOOKUP`: row i holds base^(d 2^(w i)) = b0 (1 + t n) / R for any d.

    The two halves of an entry are b0 and t R^2 modulo n.
    """

    def __init__(self, base: int, pairs: PairModulus, backend: VectorPairs) -> None:
        self._pairs, self._backend = pairs, backend
        self._next = gmpy2.mpz(base)
        self.windows = 0
        self.words = np.empty(0, dtype=np.uint64)

    def extend(self, windows: int) -> None:
        """Make the rows that are missing up to a number of windows."""
        if windows > self.windows:
            added = self._rows(windows - self.windows)
            words = aligned(len(self.words) + len(added))
            words[: len(self.words)], words[len(self.words) :] = self.words, added
            self.words, self.windows = words, windows

    def _rows(self, count: int) -> U64:
        pairs, vector, bits = self._pairs, self._backend.vector, self._backend.window_bits
        m, square = pairs.m, Modulus(pairs.m.value**2)
        starts = []
        for _ in range(count):
            starts.append(square.to_montgomery(int(self._next)))
            self._next = gmpy2.powmod(self._next, 1 << bits, square.value)
        table = vector.digit_table(square.array(starts), square, bits).reshape(count, square.limbs, -1)
        powers = LimbArray(table.transpose(1, 0, 2).reshape(square.limbs, -1))
        # Out of the Montgomery form of n^2 and into ours.
        scaled = vector.multiply(powers, square.array([int(pairs.radix % square.value)]), square)
        halves = [gmpy2.f_divmod(gmpy2.mpz(value), pairs.n) for value in scaled.to_ints()]
        low = m.array([int(rest) for _, rest in halves])
        high = m.array([int(quotient) for quotient, _ in halves])
        ratio = vector.multiply(high, vector.inverse(low, m), m)
        shifts = vector.multiply(ratio, m.array([m.radix_squared]), m)
        entries = np.concatenate([low.limbs, shifts.limbs]).reshape(2 * m.limbs, count, -1)
        return np.ascontiguousarray(entries.transpose(1, 0, 2)).reshape(-1)


@dataclass(frozen=True)
class VectorPairs:
    """The operations on one kind of vectors."""

    vector: modular_vector.VectorBackend

    @property
    def lanes(self) -> int:
        return self.vector.lanes

    @property
    def window_bits(self) -> int:
        return pairs_kernel.WINDOW_BITS[self.lanes]

    def fixed_base(
        self, table: PairTable, exponents: ByteRows, residues: LimbArray, pairs: PairModulus
    ) -> LimbArray:
        """base^e (1 + m n) R modulo n^2, below 4 n^2 + n, in twice the limbs of n; rows are big-endian e."""
        count, limbs = len(residues), pairs.m.limbs
        digits = np.zeros((table.windows, self._whole(count)), dtype=np.uint8)
        found = little_digits(exponents[:, ::-1], 8 * exponents.shape[1], self.window_bits)
        digits[: len(found), :count] = found
        source = np.zeros((2 * limbs, self._whole(count)), dtype=np.uint64)
        source[:limbs, :count] = residues.limbs
        program = [(LOAD, 0, 0, 0), (COPY, 1, -1, 0)]
        for row in range(len(found)):
            program += [(LOOKUP, 2, row, row), (TIMES, 1, 0, 2)]
        program += [(FINISH, 1, 0, -2), (JOIN, 2, 1, 0), (STORE, 0, 2, 0)]
        constants = [(pairs.m.radix_squared, 0), pairs.one]
        out = self._run(program, 3, pairs, source, constants, digits=digits, table=table.words)
        digits[:] = 0
        return LimbArray(out[:, :count])

    def power_secret(
        self, low: LimbArray, high: LimbArray, exponent: int, exponent_bits: int, pairs: PairModulus
    ) -> tuple[LimbArray, LimbArray]:
        """(x0 + x1 n)^e in pairs; fixed windows, every table entry read."""
        count, limbs, width = len(low), pairs.m.limbs, _SECRET_WINDOW
        source = np.zeros((2 * limbs, self._whole(count)), dtype=np.uint64)
        source[:limbs, :count], source[limbs:, :count] = low.limbs, high.limbs
        digits = exponent_digits([exponent] * self.lanes, exponent_bits, width, self.lanes)
        program, slots, power = _windowed_power([(LOAD, 1, 0, 0)], len(digits), width)
        program.append((STORE, 0, power, 0))
        out = self._run(program, slots, pairs, source, [pairs.one], digits=digits, shared=True, window=width)
        digits[:] = 0
        return LimbArray(out[:limbs, :count]), LimbArray(out[limbs:, :count])

    def power(
        self, values: LimbArray, scales: tuple[Pair, Pair], exponents: int | Sequence[int], pairs: PairModulus
    ) -> LimbArray:
        """(a s + b t)^e R modulo n^2, below 4 n^2 + n, for values a + b R below R^2 and scales s and t.

        One exponent for all or one for each; not all are 0. Timing depends on the longest.
        """
        count, limbs = len(values), pairs.m.limbs
        lanes = self._whole(count)
        # As two pairs, a + 0 n and b + 0 n. They may be as large as R, but the products are below 2 n again.
        source = np.zeros((4 * limbs, lanes), dtype=np.uint64)
        source[:limbs, :count] = values.limbs[:limbs]
        source[2 * limbs : limbs + values.limb_count, :count] = values.limbs[limbs:]
        shared = isinstance(exponents, int)
        some = [exponents] * self.lanes if isinstance(exponents, int) else list(exponents)
        bits = max(e.bit_length() for e in some)
        width = window_width(bits)
        digits = exponent_digits(some, bits, width, self.lanes if shared else lanes)
        base: Program = [(LOAD, 2, 0, 0), (PRODUCT, 3, 2, -2), (LOAD, 2, 1, 0), (PRODUCT, 4, 2, -3)]
        program, slots, power = _windowed_power([*base, (ADD, 1, 3, 4)], len(digits), width)
        program += [(JOIN, 0, power, 0), (STORE, 0, 0, 0)]
        constants = [scales[1], scales[0], pairs.one]
        out = self._run(program, slots, pairs, source, constants, digits=digits, shared=shared, window=width)
        return LimbArray(out[:, :count])

    def _whole(self, count: int) -> int:
        return -(-count // self.lanes) * self.lanes

    def _run(
        self,
        program: Sequence[tuple[int, int, int, int]],
        slots: int,
        pairs: PairModulus,
        source: U64,
        constants: Sequence[Pair],
        *,
        digits: Any,
        shared: bool = False,
        window: int = 0,
        table: U64 | None = None,
    ) -> U64:
        run = pairs_kernel.interpreter(self.lanes)
        limb_bits = LIMB_BITS * self.lanes // 8
        inner = LIMB_BITS * pairs.m.limbs // limb_bits
        mask = (1 << limb_bits) - 1

        def split(value: int) -> U64:
            return np.array([value >> limb_bits * j & mask for j in range(inner)], dtype=np.uint64)

        pair_words = 2 * inner * self.lanes
        fixed = np.concatenate([np.repeat(split(half), self.lanes) for pair in constants for half in pair])
        n, lift = split(pairs.m.value), pairs.lift(limb_bits)
        n0 = np.uint64(pairs.m.negative_inverse & mask)
        instructions = np.array(program, dtype=np.int64)
        count = source.shape[1]
        share = -(-count // (self.lanes * threads.count()))
        vectors = max(1, min(64, share, _BLOCK_BYTES // (8 * pair_words * slots)))
        out = np.empty((2 * pairs.m.limbs, count), dtype=np.uint64)
        none = np.zeros(1, dtype=np.uint64)

        def work(start: int, stop: int) -> None:
            memory = aligned(slots * vectors * pair_words + len(fixed) + pair_words // 2)
            memory[slots * vectors * pair_words :][: len(fixed)] = fixed
            run(
                start,
                stop,
                instructions,
                vectors,
                source,
                out,
                digits,
                0 if shared else 1,
                window,
                none if table is None else table,
                memory,
                n,
                n0,
                lift,
                2 * pairs.m.limbs,
            )
            memory[:] = 0  # secrets passed through it

        threads.each_range(count, vectors * self.lanes, work)
        return out


def _windowed_power(base: Program, digits: int, width: int) -> tuple[Program, int, int]:
    """base^e from windows: the program, its slots and the one with the power.

    ``base`` makes slot 1 and may use slots 2 to 4. See `modular_program.windowed_power`.
    """
    size = 1 << width
    program: Program = [(COPY, 0, -1, 0), *base]
    for i in range(2, size):
        program.append((PRODUCT, i, i - 1, 1) if i % 2 else (SQUARE, i, i // 2, 0))
    # Squares and products do not work in place: the accumulator alternates between two slots.
    now, then, found = size, size + 1, size + 2
    program.append((SELECT, now, 0, 0))
    for row in range(1, digits):
        for _ in range(width):
            program.append((SQUARE, then, now, 0))
            now, then = then, now
        program += [(SELECT, found, 0, row), (PRODUCT, then, now, found)]
        now, then = then, now
    return program, size + 3, now


ifma = VectorPairs(modular_vector.ifma)
avx2 = VectorPairs(modular_vector.avx2)
