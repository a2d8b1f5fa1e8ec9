"""The moduli of SM2 and secp256k1: how each reduces the columns of a product (`accel.cpu.field256`)."""

from __future__ import annotations

from fractions import Fraction

from accel.cpu.field256 import RADIX, SLACK, Value, hold
from accel.cpu.field256_memory import Field
from accel.cpu.vector_words import TOTAL_BITS, Columns, Level, Word
from accel.reference.weierstrass import SECP256K1, SM2, Curve


class MontgomeryField(Field):
    """Any odd modulus, residues times 2^260; `_sparse` and `_cancel` are all that a special prime changes."""

    def canonical(self, a: Value) -> list[Word]:
        return self.less_modulus(self.carry(self.mul(a, self.plain(1)))).limbs

    def _reduce(self, columns: Columns, high: Fraction) -> Value:
        level = self.level
        columns = [*columns, None]
        negative: Columns = [None] * len(columns)
        for at in range(level.limbs):
            column = self._column(columns, negative, at)
            carry = self._cancel(columns, negative, at, column)
            upper = columns[at + 1]
            columns[at + 1] = carry if upper is None else level.add(upper, carry)
        limbs = [self._column(columns, negative, at) for at in range(level.limbs, 2 * level.limbs)]
        # (T + M m) / 2^260 with M < 2^260.
        return self._value(limbs, Fraction(0), high / RADIX + 1, 1 << 57)

    def _cancel(self, columns: Columns, negative: Columns, at: int, column: Word) -> Word:
        """Add the multiple of m that clears the column, and give its carry."""
        level = self.level
        inverse = -pow(self.modulus, -1, 1 << level.bits) % (1 << level.bits)
        product: Columns = [None, None]
        level.accumulate(product, 0, level.digit(column), level.constant(inverse))
        assert product[0] is not None
        factor = level.digit(product[0])
        columns[at] = column
        for limb, coefficient in self._sparse().items():
            level.accumulate(columns, at + limb, factor, level.constant(coefficient))
        return level.right(self._column(columns, negative, at), level.bits)


class Sm2Field(MontgomeryField):
    """m = 2^256 - 2^224 - 2^96 + 2^64 - 1 is -1 modulo 2^52: each column is its own Montgomery factor."""

    def _sparse(self) -> dict[int, int]:
        if self.level.bits == 52:
            return {0: -1, 1: (1 << 12) - (1 << 44), 4: (1 << 48) - (1 << 16)}
        return {0: -1, 2: 1 << 12, 3: -(1 << 18), 8: -(1 << 16), 9: 1 << 22}

    def _cancel(self, columns: Columns, negative: Columns, at: int, column: Word) -> Word:
        factor = self.level.digit(column)
        for limb, coefficient in self._sparse().items():
            if limb:  # the term -1 clears the column itself
                self.level.accumulate_constant(columns, negative, at + limb, factor, coefficient)
        return self.level.right(column, self.level.bits)


class Secp256k1Field(Field):
    """m = 2^256 - c with c = 2^32 + 977: what lies above 2^260 comes back times 16 c, what lies above 2^256
    times c."""

    montgomery = False

    def canonical(self, a: Value) -> list[Word]:
        reduced = self.carry(self.add(a, self.plain(0)), reduce=True)
        return self.less_modulus(self.less_modulus(reduced)).limbs

    def _sparse(self) -> dict[int, int]:
        if self.level.bits == 52:
            return {0: -(2**32 + 977), 4: 1 << 48}
        return {0: -977, 1: -(1 << 6), 9: 1 << 22}

    def _reduce(self, columns: Columns, high: Fraction) -> Value:
        level, limbs = self.level, self.level.limbs
        hold(high < 250, "a sum of products does not fit 520 bits")
        c, c16 = ({0: 2**32 + 977}, {0: 16 * (2**32 + 977)})
        if level.bits == 26:
            c, c16 = {0: 977, 1: 1 << 6}, {0: 16 * 977, 1: 1 << 10}
        words = [level.constant(0) if column is None else column for column in columns]
        for at in range(limbs, 2 * limbs - 1):
            words[at + 1] = level.add(words[at + 1], level.right(words[at], level.bits))
        low: Columns = [*words[:limbs], None]
        negative: Columns = [None] * (limbs + 1)
        for at in range(limbs):
            digit = level.digit(words[limbs + at])
            for limb, factor in c16.items():
                level.accumulate_constant(low, negative, at + limb, digit, factor)
        *result, over = (self._column(low, negative, at) for at in range(limbs + 1))
        self._settle_top(result)
        shift = 256 - level.bits * (limbs - 1)
        above = level.add(level.right(result[-1], shift), level.left(over, TOTAL_BITS - 256))
        result[-1] = level.low(result[-1], shift)
        low = [*result]
        for limb, factor in c.items():
            level.accumulate_constant(low, negative, limb, above, factor, wide=True)
        result = [self._column(low, negative, at) for at in range(limbs)]
        return self._value(result, Fraction(0), 1 + SLACK, 1 << 57)


def prime_field(level: Level, curve: Curve) -> Field:
    kinds: dict[str, type[Field]] = {SM2.name: Sm2Field, SECP256K1.name: Secp256k1Field}
    return kinds[curve.name](level, curve.p, curve.name, curve)


def order_field(level: Level, curve: Curve) -> Field:
    """Arithmetic modulo the order of the curve."""
    return MontgomeryField(level, curve.n, f"{curve.name}.order")
