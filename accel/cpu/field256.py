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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from accel.cpu.ir import I32, I64, load, store
from accel.cpu.vector_words import TOTAL_BITS, Columns, Level, Word
from accel.reference.weierstrass import SECP256K1, SM2, Curve

_CAPACITY = Fraction(155, 10)  # of 260 bits, in multiples of m
_SLACK = Fraction(1, 100)
_RADIX = Fraction(16)  # 2^260 in multiples of m, from below: m < 2^256
STORED = 2 + _SLACK  # the bound of values in memory
_PASSED = Fraction(4)  # and of operands and results of called functions


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


class Field:
    """`formulas.Field` over `Value`; subclasses say how the columns of a product are reduced."""

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
        if self.level.by_call:
            return self._called("square", lambda f, x: f._square(x), [a])
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
        _hold(a.size < 1 << 62, "a limb may overflow")
        limbs = list(a.limbs)
        multiple = math.ceil(-a.low) if a.low < 0 else 0
        reduce = reduce or a.high + multiple > _CAPACITY
        if reduce:
            # The top limb tells the value with an error below _SLACK: keep clear of quotients below 0.
            multiple += 2
        for at, coefficient in self._sparse().items():
            if multiple:
                limbs[at] = level.add(limbs[at], level.constant(multiple * coefficient))
        low, high = a.low + multiple, a.high + multiple
        if reduce:
            _hold(high < 512, "a value grew beyond what one reduction takes")
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

    def power(self, a: Value, exponent: int) -> Value:
        """Runs of ones of the exponent in chunks a^(2^k - 1); calls two small functions, by memory."""
        builder, slot = self.level.builder, self._slot
        ones = {1: slot()}
        self.save(ones[1], a)
        square, multiply = self._square_times(), self._multiply()
        for k in (2, 4, 8, 16, 32):
            ones[k] = slot()
            builder.call(square, [ones[k], ones[k // 2], I32(k // 2)])
            builder.call(multiply, [ones[k], ones[k], ones[k // 2]])
        total, started, pending = slot(), False, 0
        bits = bin(exponent)[2:]
        at = 0
        while at < len(bits):
            run = len(bits[at:]) - len(bits[at:].lstrip("1"))
            if not run:
                at, pending = at + 1, pending + 1
                continue
            k = max(k for k in ones if k <= run)
            if started:
                builder.call(square, [total, total, I32(pending + k)])
                builder.call(multiply, [total, total, ones[k]])
            else:
                builder.call(square, [total, ones[k], I32(0)])
            at, started, pending = at + k, True, 0
        if pending:
            builder.call(square, [total, total, I32(pending)])
        return self.load(total)

    def load(self, memory: Any, at: Any = 0, high: Fraction = STORED) -> Value:
        """The stored value number ``at`` behind a pointer to vectors."""
        ways, base = self.level.ways, self._element(memory, at)
        places = [[limb * ways + way for way in range(ways)] for limb in range(self.level.limbs)]
        result = self.loaded([[load(self.level.builder, base, i) for i in word] for word in places], high)
        result.memory = base
        return result

    def save(self, memory: Any, a: Value, at: Any = 0) -> None:
        self._put(self._element(memory, at), self.loaded(self.stored(a)))

    def _element(self, memory: Any, at: Any) -> Any:
        if isinstance(at, int) and at == 0:
            return memory
        count = self.level.limbs * self.level.ways
        builder = self.level.builder
        index = I64(at * count) if isinstance(at, int) else builder.mul(at, at.type(count))
        return builder.gep(memory, [index])

    def _square_times(self) -> Any:
        """f(out, in, n): out = in^(2^n), in registers."""
        vectors = self.level.kind.as_pointer()

        def emit(inner: Field, out: Any, source: Any, times: Any) -> None:
            builder = inner.level.builder
            start = [vector for word in inner.load(source).limbs for vector in word]
            entry, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">", times, I32(0)), loop, end)
            builder.position_at_end(loop)
            left = builder.phi(I32)
            state = [builder.phi(inner.level.kind) for _ in start]
            after = [x for word in inner.stored(inner._square(inner._grouped(state))) for x in word]
            fewer = builder.sub(left, I32(1))
            for phi, first, then in zip((left, *state), (times, *start), (fewer, *after), strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(then, builder.block)
            builder.cbranch(builder.icmp_signed(">", fewer, I32(0)), loop, end)
            latch = builder.block
            builder.position_at_end(end)
            last = [builder.phi(inner.level.kind) for _ in start]
            for phi, first, then in zip(last, start, after, strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(then, latch)
            inner.save(out, inner._grouped(last))

        return self.function("square_times", [vectors, vectors, I32], emit)

    def _multiply(self) -> Any:
        def emit(inner: Field, out: Any, a: Any, b: Any) -> None:
            inner.save(out, inner._products([inner.load(a), inner.load(b)]))

        return self.function("multiply", [self.level.kind.as_pointer()] * 3, emit)

    def function(self, name: str, arguments: list[Any], emit: Callable[..., None]) -> Any:
        """A function of this module that is compiled once, whatever number of places call it."""
        module = self.level.builder.module
        full = f"{self.name}.{self.level.name}.{self.level.ways}.{name}"
        if full in module.globals:
            return module.globals[full]
        made = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), full)
        made.linkage = "internal"
        made.attributes.add("noinline")
        builder = ir.IRBuilder(made.append_basic_block())
        level = type(self.level)(builder, self.level.ways, by_call=self.level.by_call)
        emit(self.on(level), *made.args)
        builder.ret_void()
        return made

    def on(self, level: Level) -> Field:
        """The same field emitting elsewhere."""
        return type(self)(level, self.modulus, self.name, getattr(self, "curve", None))

    def _grouped(self, vectors: list[Any]) -> Value:
        ways = self.level.ways
        return self.loaded([vectors[at : at + ways] for at in range(0, len(vectors), ways)])

    def _sum_of_products(self, *factors: Value) -> Value:
        if self.level.by_call:
            return self._called(f"products_{len(factors)}", lambda f, *x: f._products(x), factors)
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

    def _called(self, name: str, operation: Callable[..., Value], operands: Sequence[Value]) -> Value:
        """By a function call, where the instructions of a product are too many to repeat."""

        def emit(inner: Field, out: Any, *sources: Any) -> None:
            result = inner.carry(operation(inner, *(inner.load(source, high=_PASSED) for source in sources)))
            _hold(result.high <= _PASSED, "a result is too large to pass on")
            inner._put(out, result)

        memory = self._slot()
        kinds = [self.level.kind.as_pointer()] * (1 + len(operands))
        made = self.function(name, kinds, emit)
        self.level.builder.call(made, [memory, *map(self._passed, operands)])
        return self.load(memory, high=_PASSED)

    def _passed(self, a: Value) -> Any:
        a = self.carry(a)
        if a.high > _PASSED:
            a = self.carry(a, reduce=True)
        if a.memory is None:
            a.memory = self._slot()
            self._put(a.memory, a)
        return a.memory

    def _slot(self) -> Any:
        count = I32(self.level.limbs * self.level.ways)
        return cgutils.alloca_once(self.level.builder, self.level.kind, size=count)

    def _put(self, memory: Any, a: Value) -> None:
        for index, vector in enumerate(vector for word in a.limbs for vector in word):
            store(self.level.builder, memory, index, vector)

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


class MontgomeryField(Field):
    """Any odd modulus, residues times 2^260; `_digit` and `_fold` are all that a special prime changes."""

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
        return self._value(limbs, Fraction(0), high / _RADIX + 1, 1 << 57)

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
        _hold(high < 250, "a sum of products does not fit 520 bits")
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
        return self._value(result, Fraction(0), 1 + _SLACK, 1 << 57)


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise OverflowError(what)


def prime_field(level: Level, curve: Curve) -> Field:
    kinds: dict[str, type[Field]] = {SM2.name: Sm2Field, SECP256K1.name: Secp256k1Field}
    return kinds[curve.name](level, curve.p, curve.name, curve)


def order_field(level: Level, curve: Curve) -> Field:
    """Arithmetic modulo the order of the curve."""
    return MontgomeryField(level, curve.n, f"{curve.name}.order")
