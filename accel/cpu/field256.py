"""Code emitters for arithmetic modulo 256-bit primes in the lanes of vectors (`accel.cpu.vector_words`).

A `Value` is a number modulo the prime m that the emitted code will hold, with what is known of it when the
code is made: bounds in multiples of m, and the largest magnitude of a limb. Additions and subtractions add
limbs and nothing else; the carries that a product needs are emitted where it needs them, and reductions only
where the bounds say that a value might not fit 260 bits. So nothing here can overflow: what would is refused
when the kernel is compiled.

Every operation is a fixed sequence of instructions without branches or memory indices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from accel.cpu.vector_words import TOTAL_BITS, Columns, Level, Word
from accel.reference.weierstrass import Curve

_CAPACITY = Fraction(155, 10)  # of 260 bits, in multiples of m
SLACK = Fraction(1, 100)
RADIX = Fraction(16)  # 2^260 in multiples of m, from below: m < 2^256
STORED = 2 + SLACK  # the bound of values in memory


@dataclass
class Value:
    """low * m <= value <= high * m, every limb at most ``size`` in magnitude."""

    limbs: list[Word]
    low: Fraction
    high: Fraction
    size: int
    carried: Value | None = field(default=None, repr=False)
    memory: Any = field(default=None, repr=False)  # where carried limbs lie already
    factors: list[Word] | None = field(default=None, repr=False)  # what to multiply by, if not the limbs


class Arithmetic:
    """`formulas.Field` over `Value`, less powers; subclasses say how the columns of a product are reduced."""

    montgomery = True

    def __init__(self, level: Level, modulus: int, name: str, curve: Curve | None = None) -> None:
        self.level, self.modulus, self.name = level, modulus, name
        if curve is not None:
            self.curve = curve
        self._radix = (1 << TOTAL_BITS) if self.montgomery else 1

    # The interface of formulas.Field.

    def constant(self, value: int) -> Value:
        return self.plain(value * self._radix % self.modulus)

    def add(self, a: Value, b: Value) -> Value:
        limbs = [self.level.add(x, y) for x, y in zip(a.limbs, b.limbs, strict=True)]
        return self._value(limbs, a.low + b.low, a.high + b.high, a.size + b.size)

    def sub(self, a: Value, b: Value) -> Value:
        limbs = [self.level.sub(x, y) for x, y in zip(a.limbs, b.limbs, strict=True)]
        return self._value(limbs, a.low - b.high, a.high - b.low, a.size + b.size)

    def scale(self, a: Value, factor: int) -> Value:
        if a.size * factor >= 1 << 61:
            a = self.carry(a)
        limbs = [self.level.multiple(x, factor) for x in a.limbs]
        return self._value(limbs, a.low * factor, a.high * factor, a.size * factor)

    def mul(self, a: Value, b: Value) -> Value:
        return self._sum_of_products(a, b)

    def mul_add(self, a: Value, b: Value, c: Value, d: Value) -> Value:
        return self._sum_of_products(a, b, c, d)

    def mul_sub(self, a: Value, b: Value, c: Value, d: Value) -> Value:
        return self._sum_of_products(a, b, self.sub(self.plain(0), c), d)

    def sqr(self, a: Value) -> Value:
        return self._square(a)

    def settle(self, a: Value) -> Value:
        return self.loaded(self.stored(a))

    def is_zero(self, a: Value) -> Word:
        total: Word | None = None
        for limb in self.canonical(a):
            total = limb if total is None else self.level.bit_or(total, limb)
        assert total is not None
        return self.level.compare("==", total, self.level.constant(0))

    def is_odd(self, a: Value) -> Word:
        bit = self.level.low(self.canonical(a)[0], 1)
        return self.level.compare("!=", bit, self.level.constant(0))

    def same(self, a: Word, b: Word) -> Word:
        return [self.level.builder.not_(x) for x in self.level.bit_xor(a, b)]

    def select(self, condition: Word, a: Value, b: Value) -> Value:
        limbs = [self.level.select(condition, x, y) for x, y in zip(a.limbs, b.limbs, strict=True)]
        return self._value(limbs, min(a.low, b.low), max(a.high, b.high), max(a.size, b.size))

    # For kernels.

    def plain(self, value: int) -> Value:
        """A constant as it is, not in the field's representation."""
        mask = (1 << self.level.bits) - 1
        limbs = [self.level.constant(value >> at & mask) for at in range(0, TOTAL_BITS, self.level.bits)]
        high = Fraction(value, self.modulus)
        result = self._value(limbs, high, high, mask)
        result.carried = result
        return result

    def loaded(self, limbs: list[Word], high: Fraction = STORED) -> Value:
        """Carried limbs of a value from 0 to high * m."""
        result = self._value(limbs, Fraction(0), high, (1 << self.level.bits) - 1)
        result.carried = result
        return result

    def stored(self, a: Value) -> list[Word]:
        """Carried limbs with the bound that `loaded` takes for granted."""
        carried = self.carry(a)
        return (carried if carried.high <= STORED else self.carry(a, reduce=True)).limbs

    def below_2_256(self, limbs: list[Word]) -> Value:
        return self.loaded(limbs, Fraction(1 << 256, self.modulus))

    def enter(self, number: Value) -> Value:
        """A number in the field's representation."""
        return self.mul(number, self.plain(self._radix**2 % self.modulus)) if self.montgomery else number

    def canonical(self, a: Value) -> list[Word]:
        """Carried limbs of the number from 0 to m - 1."""
        raise NotImplementedError

    def negate_if(self, condition: Word, a: Value) -> Value:
        return self.select(condition, self.sub(self.plain(0), a), a)

    def carry(self, a: Value, *, reduce: bool = False) -> Value:
        """The same residue as limbs of `bits` bits: what products and memory take."""
        if a.carried is not None and not reduce:
            return a.carried
        level = self.level
        hold(a.size < 1 << 62, "a limb may overflow")
        limbs = list(a.limbs)
        multiple = math.ceil(-a.low) if a.low < 0 else 0
        reduce = reduce or a.high + multiple > _CAPACITY
        if reduce:
            # The top limb tells the value with an error below SLACK: keep clear of quotients below 0.
            multiple += 2
        for at, coefficient in self._sparse().items():
            if multiple:
                limbs[at] = level.add(limbs[at], level.constant(multiple * coefficient))
        low, high = a.low + multiple, a.high + multiple
        if reduce:
            hold(high < 512, "a value grew beyond what one reduction takes")
            self._settle_top(limbs)
            self._fold_top(limbs)
            low, high = Fraction(0), STORED
        factors = []
        for at in range(level.limbs - 1):
            limbs[at + 1] = level.add(limbs[at + 1], level.right(limbs[at], level.bits))
            factors.append(level.digit(limbs[at]))
            limbs[at] = level.low(limbs[at])
        result = self._value(limbs, low, high, (1 << level.bits) - 1)
        result.carried, result.factors = result, [*factors, limbs[-1]]
        if not reduce:
            a.carried = result
        return result

    def _fold_top(self, limbs: list[Word]) -> None:
        """Take (q - 1) m off for the q in the top limb, which leaves from m to 2 m, a little more or less."""
        level = self.level
        shift = 256 - level.bits * (level.limbs - 1)
        quotient = level.sub(level.right(limbs[-1], shift), level.constant(1))
        limbs[-1] = level.bit_or(level.low(limbs[-1], shift), level.constant(1 << shift))
        sparse = self._sparse()
        for at in range(level.limbs):
            rest = ((1 << shift) if at == level.limbs - 1 else 0) - sparse.get(at, 0)
            if rest:
                limbs[at] = level.add_small_multiple(limbs[at], quotient, rest)

    def less_modulus(self, a: Value) -> Value:
        """A carried value, less m where it is not below m."""
        level = self.level
        limbs = list(a.limbs)
        for at, coefficient in self._sparse().items():
            limbs[at] = level.sub(limbs[at], level.constant(coefficient))
        for at in range(level.limbs - 1):
            limbs[at + 1] = level.add(limbs[at + 1], level.right(limbs[at], level.bits))
            limbs[at] = level.low(limbs[at])
        negative = level.compare("<", limbs[-1], level.constant(0))
        kept = [level.select(negative, x, y) for x, y in zip(a.limbs, limbs, strict=True)]
        return self.loaded(kept, max(Fraction(1), a.high - 1))

    def _sum_of_products(self, *factors: Value) -> Value:
        return self._products(factors)

    def _products(self, factors: Sequence[Value]) -> Value:
        columns: Columns = [None] * (2 * self.level.limbs)
        total = Fraction(0)
        for a, b in zip(factors[::2], factors[1::2], strict=True):
            a, b = self.carry(a), self.carry(b)
            total += a.high * b.high
            for i, x in enumerate(a.factors or a.limbs):
                for j, y in enumerate(b.factors or b.limbs):
                    self.level.accumulate(columns, i + j, x, y)
        return self._reduce(columns, total)

    def _square(self, a: Value) -> Value:
        a = self.carry(a)
        return self._reduce(self.level.square_columns(a.factors or a.limbs), a.high * a.high)

    def _reduce(self, columns: Columns, high: Fraction) -> Value:
        raise NotImplementedError

    def _sparse(self) -> dict[int, int]:
        """m as the sum of coefficient * 2^(bits * at), coefficients possibly negative."""
        mask = (1 << self.level.bits) - 1
        return {at: self.modulus >> self.level.bits * at & mask for at in range(self.level.limbs)}

    def _settle_top(self, limbs: list[Word]) -> None:
        """Make the top limb tell the value to within 2^246: limbs of 26 bits hang over more than that."""
        level = self.level
        if level.bits == 26:
            limbs[-1] = level.add(limbs[-1], level.right(limbs[-2], 26))
            limbs[-2] = level.low(limbs[-2])

    def _value(self, limbs: list[Word], low: Fraction, high: Fraction, size: int) -> Value:
        return Value(limbs, low, high, size)

    def _column(self, columns: Columns, negative: Columns, at: int) -> Word:
        plus, minus = columns[at], negative[at]
        plus = self.level.constant(0) if plus is None else plus
        return plus if minus is None else self.level.sub(plus, minus)


def hold(condition: bool, what: str) -> None:
    if not condition:
        raise OverflowError(what)
