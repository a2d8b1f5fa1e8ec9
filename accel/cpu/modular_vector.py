"""Batch modular arithmetic by the vector kernels: AVX-512 IFMA (`ifma`) and AVX2 (`avx2`).

Between products numbers stay below 2 m; what is stored is canonical. Ranges of lanes run on all cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gmpy2
import numpy as np

from accel.cpu import lanes_ir, modular_gmpy2, modular_groups, modular_kernel, threads
from accel.cpu.lane_memory import add, aligned, difference, lane_rows, widened
from accel.cpu.modular_kernel import (
    LOAD_A,
    LOAD_B,
    LOOKUP,
    MULTIPLY,
    SQUARE,
    STORE,
)
from accel.cpu.modular_program import (
    Program,
    exponent_digits,
    little_digits,
    public_power,
    window_width,
    windowed_power,
)
from accel.errors import NotInvertible
from accel.limbs import LIMB_BITS, U64, LimbArray
from accel.modular_backends import ByteRows, FixedBasePlan, Groups
from accel.modulus import Modulus

_BLOCK_BYTES = 1 << 17  # slots of a block
_TABLE_BLOCK_BYTES = 1 << 20  # blocks of fixed-base powers: the table streams past once for each
_INVERTED_DIRECTLY = 16


@dataclass(frozen=True)
class VectorBackend:
    """All operations on one kind of vectors; each as `accel.modular` documents it."""

    name: str
    lanes: int

    def enter(self, values: LimbArray, m: Modulus) -> LimbArray:
        return self._scaled(values, m.radix_squared, m)

    def leave(self, values: LimbArray, m: Modulus) -> LimbArray:
        return self._scaled(values, 1, m)

    def multiply(self, a: LimbArray, b: LimbArray, m: Modulus) -> LimbArray:
        if len(b) == 1:
            return self._scaled(a, b.to_ints()[0], m)
        program: Program = [(LOAD_A, 0, 0, 0), (LOAD_B, 1, 0, 0), (MULTIPLY, 0, 0, 1), (STORE, 0, 0, 0)]
        return self.run(program, 2, m, len(a), a=a, b=b)

    def square(self, a: LimbArray, m: Modulus) -> LimbArray:
        return self.run([(LOAD_A, 0, 0, 0), (SQUARE, 0, 0, 0), (STORE, 0, 0, 0)], 1, m, len(a), a=a)

    def power(self, bases: LimbArray, exponents: int | Sequence[int], m: Modulus) -> LimbArray:
        if isinstance(exponents, int):
            program, slots = public_power(exponents)
            return self.run(program, slots, m, len(bases), a=bases, constants=[m.one])
        bits = max((e.bit_length() for e in exponents), default=0)
        if bits == 0:
            return self.power(bases, 0, m)
        width = window_width(bits)
        digits = exponent_digits(list(exponents), bits, width, self._whole(len(bases)))
        program, slots = windowed_power(len(digits), width)
        return self.run(
            program, slots, m, len(bases), a=bases, constants=[m.one], digits=digits, window=width
        )

    def power_secret(self, bases: LimbArray, exponent: int, exponent_bits: int, m: Modulus) -> LimbArray:
        width = window_width(exponent_bits)
        digits = exponent_digits([exponent] * self.lanes, exponent_bits, width, self.lanes)
        program, slots = windowed_power(len(digits), width)
        powers = self.run(
            program,
            slots,
            m,
            len(bases),
            a=bases,
            constants=[m.one],
            digits=digits,
            digits_shared=True,
            window=width,
        )
        digits[:] = 0
        return powers

    def fixed_base_power(self, plan: FixedBasePlan, exponents: ByteRows) -> LimbArray:
        width = self.window_bits
        table = plan.table(self.name, lambda: self._fixed_base_table(plan))
        windows = -(-plan.exponent_bits // width)
        digits = np.zeros((windows, self._whole(len(exponents))), dtype=np.uint8)
        digits[:, : len(exponents)] = little_digits(exponents[:, ::-1], plan.exponent_bits, width)
        program: Program = [(LOOKUP, 0, 0, 0)]
        for row in range(1, windows):
            program += [(LOOKUP, 1, row, row), (MULTIPLY, 0, 0, 1)]
        program.append((STORE, 0, 0, 0))
        powers = self.run(program, 2, plan.m, len(exponents), digits=digits, table=table, streams=True)
        digits[:] = 0
        return powers

    def inverse(self, values: LimbArray, m: Modulus) -> LimbArray:
        """A tree of products, one inversion at its root, and the way back down."""
        if len(values) <= _INVERTED_DIRECTLY:
            return modular_gmpy2.inverse(values, m)
        try:
            return LimbArray(self._inverted(values, m))
        except NotInvertible:
            modulus = gmpy2.mpz(m.value)
            index = next(i for i, x in enumerate(values.to_ints()) if gmpy2.gcd(x, modulus) != 1)
            raise NotInvertible(f"value {index} shares a factor with the modulus", index=index) from None

    def _inverted(self, values: LimbArray, m: Modulus) -> U64:
        if len(values) <= _INVERTED_DIRECTLY:
            return modular_gmpy2.inverse(values, m).limbs
        half = len(values) // 2
        left, right, odd = values[:half], values[half : 2 * half], values[2 * half :]
        products = self.multiply(left, right, m)
        inverses = self._inverted(
            LimbArray(np.concatenate([products.limbs, odd.limbs], axis=1)) if len(odd) else products, m
        )
        below = LimbArray(inverses[:, :half])
        parts = [self.multiply(below, right, m).limbs, self.multiply(below, left, m).limbs]
        return np.concatenate([*parts, inverses[:, half:]], axis=1)

    def crt(
        self, residues_p: LimbArray, residues_q: LimbArray, p: Modulus, q: Modulus, pq: Modulus
    ) -> LimbArray:
        """Garner's x_p + p ((x_q - x_p) p^-1 mod q), p being the smaller, so that x_p is a residue of q."""
        if p.value > q.value:
            return self.crt(residues_q, residues_p, q, p, pq)
        # Products with p^-1 R and p R of plain numbers are plain.
        p_inverse = q.to_montgomery(int(gmpy2.invert(p.value, q.value)))
        term_q, term_p = (self._scaled(widened(x, q), p_inverse, q) for x in (residues_q, residues_p))
        quotient = widened(difference(term_q, term_p, q), pq)
        return add(self._scaled(quotient, pq.to_montgomery(p.value), pq), widened(residues_p, pq))

    def multi_power(self, bases: LimbArray, exponents: Sequence[Sequence[int]], m: Modulus) -> LimbArray:
        return modular_groups.multi_power(self, bases, exponents, m)

    def product_by_group(self, values: LimbArray, groups: Groups, count: int, m: Modulus) -> LimbArray:
        return modular_groups.product_by_group(self, values, groups, count, m)

    # Running programs.

    @property
    def window_bits(self) -> int:
        """The width of the digits that `LOOKUP` reads."""
        return lanes_ir.window_bits(self.lanes)

    def _scaled(self, values: LimbArray, factor: int, m: Modulus) -> LimbArray:
        program: Program = [(LOAD_A, 0, 0, 0), (MULTIPLY, 0, 0, -1), (STORE, 0, 0, 0)]
        return self.run(program, 1, m, len(values), a=values, constants=[factor])

    def run(
        self,
        program: Program,
        slots: int,
        m: Modulus,
        count: int,
        *,
        a: LimbArray | None = None,
        b: LimbArray | None = None,
        constants: Sequence[int] = (),
        rows: U64 | None = None,
        index: Any = None,
        out_rows: U64 | None = None,
        digits: Any = None,
        digits_shared: bool = False,
        window: int = 0,
        table: U64 | None = None,
        streams: bool = False,
    ) -> LimbArray:
        """Run a program over ``count`` lanes and give what it stored; ``streams`` where it reads a table."""
        prepared = m.prepared(self.name, lambda: _Prepared(m, self.lanes))
        number = len(prepared.n) * self.lanes
        run = modular_kernel.interpreter(self.lanes)
        instructions = np.array(program, dtype=np.int64).reshape(-1, 4)
        none = np.zeros((1, 1), dtype=np.uint64)
        matrix_a, matrix_b = lane_rows(a), lane_rows(b)
        lanes_stored = count if out_rows is None else 0
        out = aligned(m.limbs * lanes_stored).reshape(m.limbs, lanes_stored)
        fixed = np.concatenate(
            [prepared.spread(value) for value in reversed(constants)] or [np.empty(0, dtype=np.uint64)]
        )
        share = -(-count // (self.lanes * threads.count()))
        block_bytes = _TABLE_BLOCK_BYTES if streams else _BLOCK_BYTES
        vectors = max(1, min(128, share, block_bytes // (8 * number * slots)))

        def work(start: int, stop: int) -> None:
            memory = aligned(slots * vectors * number + len(fixed) + 2 * number)
            memory[slots * vectors * number :][: len(fixed)] = fixed
            run(
                start,
                stop,
                instructions,
                vectors,
                matrix_a,
                matrix_b,
                out,
                none if rows is None else rows,
                np.zeros((1, 1), dtype=np.int64) if index is None else index,
                none if out_rows is None else out_rows,
                np.zeros((1, 1), dtype=np.uint8) if digits is None else digits,
                0 if digits_shared else 1,
                window,
                none[0] if table is None else table,
                memory,
                prepared.n,
                prepared.n0,
                m.limbs,
            )
            memory[:] = 0  # secrets passed through it

        threads.each_range(count, vectors * self.lanes, work)
        return LimbArray(out)

    def _whole(self, count: int) -> int:
        """Lanes of whole vectors for ``count`` numbers."""
        return -(-count // self.lanes) * self.lanes

    def _fixed_base_table(self, plan: FixedBasePlan) -> U64:
        m = plan.m
        modulus, value = gmpy2.mpz(m.value), gmpy2.mpz(plan.base)
        starts = []
        for _ in range(-(-plan.exponent_bits // self.window_bits)):
            starts.append(m.to_montgomery(int(value)))
            value = gmpy2.powmod(value, 1 << self.window_bits, modulus)
        return self.digit_table(m.array(starts), m)

    def digit_table(self, bases: LimbArray, m: Modulus, width: int | None = None) -> U64:
        """Words (base, limb, digit): the powers of each base that `LOOKUP` reads."""
        width = width or self.window_bits
        entries = np.empty((m.limbs, len(bases), 1 << width), dtype=np.uint64)
        entries[:, :, 0] = m.array([m.one]).limbs
        step = bases
        for bit in range(width):
            known = 1 << bit
            lower = LimbArray(entries[:, :, :known].reshape(m.limbs, -1))
            upper = self.multiply(lower, LimbArray(np.repeat(step.limbs, known, axis=1)), m)
            entries[:, :, known : 2 * known] = upper.limbs.reshape(m.limbs, -1, known)
            step = self.square(step, m)
        table = aligned(entries.size)
        table.reshape(len(bases), m.limbs, -1)[:] = entries.transpose(1, 0, 2)
        return table


class _Prepared:
    """A modulus in limbs of the machine."""

    def __init__(self, m: Modulus, lanes: int) -> None:
        self._lanes = lanes
        self._bits = LIMB_BITS * lanes // 8
        self._limbs = m.limbs * 8 // lanes
        self.n = self._split(m.value)
        self.n0 = np.uint64(m.negative_inverse & (1 << self._bits) - 1)

    def _split(self, value: int) -> U64:
        mask = (1 << self._bits) - 1
        return np.array([value >> self._bits * j & mask for j in range(self._limbs)], dtype=np.uint64)

    def spread(self, value: int) -> U64:
        """A number in every lane of a vector."""
        return np.repeat(self._split(value), self._lanes)


ifma = VectorBackend("ifma", 8)
avx2 = VectorBackend("avx2", 4)
