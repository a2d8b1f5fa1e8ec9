"""The Montgomery product of many lanes at once, written column by column (product scanning, FIPS).

A vector register holds one limb of each lane. The emitted LLVM functions compute

    r <- a b / R mod m   (below 2 m for a, b below 2 m; R = 2^(limb bits * limbs) > 4 m)

with the limb count as a run-time argument. The columns of the sum a b + q m are walked in tiles: the sums of
a tile stay in registers while a loop over the rows streams one limb of each factor per step, so a step costs
two loads for up to 16 multiply-adds. Tiles of the lower half end in a triangle in which the digits of q
become known one after the other; the loop of the next tile does not depend on them and hides their latency.

Sums are not normalised on the way: a column gathers at most 4 limbs terms below 2^52, which 64 bits hold up
to 1,023 limbs of 52 bits or 2,047 of 26 (where a pair of limbs gives one term, not two).

Sources: Koc, Acar, Kaliski, Analyzing and comparing Montgomery multiplication algorithms, IEEE Micro 16
(1996), section FIPS; Gueron, Krasnov, Software implementation of modular exponentiation using AVX-512 (2012),
for the redundant radix; Walter 1999 for the missing final subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from accel.cpu.ir import I64, U64X4, U64X8, broadcast, call, splat

Value = Any
Sums = list[list[Value]]
"""``sums[part][t]``: what column t of a tile gathers from low (part 0) and high (part 1) halves."""


class Ifma:
    """Eight lanes, radix 2^52: vpmadd52luq and vpmadd52huq."""

    vector = U64X8
    limb_bits = 52
    widths = (8, 4, 2)
    reach = 1  # a product of limbs i and j adds to the columns i + j and i + j + reach

    @staticmethod
    def multiply_add(b: Any, total: Value, x: Value, y: Value, part: int) -> Value:
        """total + the low (part 0) or high (part 1) limb of x y."""
        return call(b, f"llvm.x86.avx512.vpmadd52{'lh'[part]}.uq.512", U64X8, total, x, y)


class Avx2:
    """Four lanes, radix 2^26: vpmuludq gives the whole product of two limbs in one column."""

    vector = U64X4
    limb_bits = 26
    widths = (4,)
    reach = 0

    @staticmethod
    def multiply_add(b: Any, total: Value, x: Value, y: Value, part: int) -> Value:
        low = splat(U64X4, 0xFFFFFFFF)  # tells LLVM that the narrow multiplication will do
        return b.add(total, b.mul(b.and_(x, low), b.and_(y, low)))


def product(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, b, n, n0, q, limbs)``: r is the product of a and b and may be one of them.

    n is the modulus as scalars, n0 = -n^-1 modulo 2^(limb bits), q scratch for a number.
    """
    e = Montgomery(module, name, machine)

    def lower(width: int, c: Value) -> Sums:
        return e.lower_product(width, c, e.a, e.b)

    def upper(width: int, c: Value) -> Sums:
        return e.upper_product(e.empty(width), c, e.a, e.b, e.limbs)

    e.lower_half(lower)
    e.upper_half([(width, e.double, upper) for width in machine.widths])
    e.builder.ret_void()
    return e.function


def square(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, b, n, n0, q, limbs)``: r is a squared, b is not read, limbs is even."""
    e = Montgomery(module, name, machine)

    def upper(width: int, c: Value) -> Sums:
        return e.upper_product(e.empty(width), c, e.a, e.a, e.limbs)

    # In the last tiles the rows that begin and those that end overlap: there the square is a plain product.
    widest = machine.widths[0]
    e.lower_half(e.lower_square)
    e.upper_half(
        [
            (widest, e.builder.sub(e.double, I64(widest)), e.upper_square),
            *((width, e.double, upper) for width in machine.widths),
        ]
    )
    e.builder.ret_void()
    return e.function


class Emitter:
    """An LLVM function under construction that works on numbers in vectors."""

    def __init__(self, module: Any, name: str, machine: Any, arguments: Sequence[Any]) -> None:
        self.machine = machine
        self.kind = machine.vector
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), list(arguments)), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.zero = splat(self.kind, 0)
        self.mask = splat(self.kind, (1 << machine.limb_bits) - 1)
        self.shift = splat(self.kind, machine.limb_bits)

    def load(self, base: Value, index: Value, offset: int = 0) -> Value:
        """Limb ``index + offset`` of a number; of a scalar array, broadcast to all lanes."""
        if offset:
            index = self.builder.add(index, I64(offset))
        value = self.builder.load(self.builder.gep(base, [index]))
        if value.type == I64:
            return broadcast(self.builder, self.kind, value)
        value.align = 8
        return value

    def store(self, value: Value, base: Value, index: Value, offset: int = 0) -> None:
        if offset:
            index = self.builder.add(index, I64(offset))
        self.builder.store(value, self.builder.gep(base, [index])).align = 8

    def loop(
        self,
        start: Value,
        stop: Value,
        step: int,
        state: Sequence[Value],
        body: Callable[[Value, list[Value]], list[Value]],
    ) -> tuple[Value, list[Value]]:
        """Run ``body(index, state)`` while index + step <= stop; the index and state after the last run."""
        b = self.builder
        before = b.block
        head, inside, after = (self.function.append_basic_block(n) for n in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(start, before)
        current = []
        for value in state:
            current.append(b.phi(value.type))
            current[-1].add_incoming(value, before)
        following = b.add(index, I64(step))
        b.cbranch(b.icmp_signed("<=", following, stop), inside, after)
        b.position_at_end(inside)
        results = body(index, list(current))
        for phi, value in zip(current, results, strict=True):
            phi.add_incoming(value, b.block)
        index.add_incoming(following, b.block)
        b.branch(head)
        b.position_at_end(after)
        return index, current


class Montgomery(Emitter):
    def __init__(self, module: Any, name: str, machine: Any) -> None:
        number, word = machine.vector.as_pointer(), I64.as_pointer()
        super().__init__(module, name, machine, [number, number, number, word, I64, number, I64])
        self.r, self.a, self.b, self.n, n0, self.q, self.limbs = self.function.args
        self.prepare(n0)

    def prepare(self, n0: Value) -> None:
        machine = self.machine
        self.reach = machine.reach
        self.parts = range(machine.reach + 1)
        self.n0 = broadcast(self.builder, self.kind, n0)
        self.double = self.builder.add(self.limbs, self.limbs)
        self.carry = self.zero

    def add(self, sums: Sums, part: int, t: int, x: Value, y: Value) -> None:
        sums[part][t] = self.machine.multiply_add(self.builder, sums[part][t], x, y, part)

    def rows(self, sums: Sums, x: Value, y: Value, c: Value, start: Value, stop: Value) -> Sums:
        """Add x[c + t - i] y[i] for rows ``start <= i < stop``, in which every column has its limb of x."""
        b, width, reach = self.builder, len(sums[0]), self.reach

        def steps(count: int) -> Callable[[Value, list[Value]], list[Value]]:
            def body(i: Value, state: list[Value]) -> list[Value]:
                kept = state[: width + reach - 1]
                flat = state[width + reach - 1 :]
                totals = [flat[part * width : (part + 1) * width] for part in self.parts]
                lowest = b.sub(c, i)
                for k in range(count):
                    # window[w] is x[c - i - reach + w]; the next row sees it one place higher.
                    window = [self.load(x, lowest, -k - reach), *kept]
                    digit = self.load(y, i, k)
                    for part in self.parts:
                        for t in range(width):
                            self.add(totals, part, t, window[t + reach - part], digit)
                    kept = window[:-1]
                return [*kept, *(value for part in totals for value in part)]

            return body

        first = b.sub(c, start)
        state = [self.load(x, first, 1 - reach + w) for w in range(width + reach - 1)]
        state += [value for part in sums for value in part]
        i, state = self.loop(start, stop, 4, state, steps(4))
        _, state = self.loop(i, stop, 1, state, steps(1))
        flat = state[width + reach - 1 :]
        return [flat[part * width : (part + 1) * width] for part in self.parts]

    def empty(self, width: int) -> Sums:
        return [[self.zero] * width for _ in self.parts]

    def lower_product(self, width: int, c: Value, x: Value, y: Value, sums: Sums | None = None) -> Sums:
        """Add to columns c ... c + width - 1, below ``limbs``, those of x y."""
        sums = self.rows(sums or self.empty(width), x, y, c, I64(0), c)
        limbs = [self.load(x, I64(w)) for w in range(width)]
        for k in range(width):
            digit = self.load(y, c, k)
            for part in self.parts:
                for t in range(k + part, width):
                    self.add(sums, part, t, limbs[t - k - part], digit)
        return sums

    def upper_product(self, sums: Sums, c: Value, x: Value, y: Value, stop: Value) -> Sums:
        """Add to columns c ... c + width - 1, c at least ``limbs``, the rows of x y before ``stop``."""
        b, width = self.builder, len(sums[0])
        d = b.sub(c, self.limbs)
        top = [self.load(x, self.limbs, w - width) for w in range(width)]
        for k in range(width):
            digit = self.load(y, d, k)
            for part in self.parts:
                # Row d + k needs x[limbs + t - k - part] in column t: it exists below ``limbs``.
                for t in range(min(width, k + part)):
                    self.add(sums, part, t, top[width + t - k - part], digit)
        return self.rows(sums, x, y, c, b.add(d, I64(width)), stop)

    def lower_square(self, width: int, c: Value) -> Sums:
        half = self.builder.lshr(c, I64(1))
        return self.doubled(self.rows(self.empty(width), self.a, self.a, c, I64(0), half), half)

    def upper_square(self, width: int, c: Value) -> Sums:
        half = self.builder.lshr(c, I64(1))
        return self.doubled(self.upper_product(self.empty(width), c, self.a, self.a, half), half)

    def doubled(self, sums: Sums, half: Value) -> Sums:
        """A tile of the square from its rows before c / 2: the other a[i] a[j], i < j, twice, and a[i]^2."""
        width, b = len(sums[0]), self.builder
        limbs = [self.load(self.a, half, w) for w in range(width)]  # a[c / 2 + w]
        for k in range(width // 2):
            for part in self.parts:
                for t in range(2 * k + 1 + part, width):
                    self.add(sums, part, t, limbs[t - k - part], limbs[k])
        one = splat(self.kind, 1)
        doubled = self.empty(width)
        doubled[0] = [b.shl(column, one) for column in self.merged(sums)]
        for k in range(width // 2):
            for part in self.parts:
                self.add(doubled, part, 2 * k + part, limbs[k], limbs[k])
        return doubled

    def merged(self, sums: Sums) -> list[Value]:
        return sums[0] if not self.reach else [self.builder.add(x, y) for x, y in zip(*sums, strict=True)]

    def lower_half(self, lower: Callable[[int, Value], Sums]) -> None:
        """Clear the columns below ``limbs``, tile by tile; ``lower`` gives the sums of the product."""
        c = I64(0)
        for width in self.machine.widths:

            def tile(c: Value, state: list[Value], width: int = width) -> list[Value]:
                sums = self.rows(lower(width, c), self.n, self.q, c, I64(0), c)
                return [self.reduce(sums, c, state[0])]

            c, (self.carry,) = self.loop(c, self.limbs, width, [self.carry], tile)

    def upper_half(self, plan: list[tuple[int, Value, Callable[[int, Value], Sums]]]) -> None:
        """Store the columns from ``limbs`` on: tiles of one width up to a column, for each entry."""
        c = self.limbs
        for width, stop, upper in plan:

            def tile(
                c: Value,
                state: list[Value],
                width: int = width,
                upper: Callable[[int, Value], Sums] = upper,
            ) -> list[Value]:
                columns = self.merged(self.upper_product(upper(width, c), c, self.n, self.q, self.limbs))
                return [self.normalise(columns, self.builder.sub(c, self.limbs), state[0])]

            c, (self.carry,) = self.loop(c, stop, width, [self.carry], tile)

    def reduce(self, sums: Sums, c: Value, carry: Value) -> Value:
        """The digits of q that clear the columns of a tile one by one; gives the carry out of it."""
        b, width = self.builder, len(sums[0])
        limbs = [self.load(self.n, I64(w)) for w in range(width)]
        for t in range(width):
            total = b.add(sums[0][t], carry)
            if self.reach:
                total = b.add(total, sums[1][t])
            digit = b.and_(self.machine.multiply_add(b, self.zero, total, self.n0, 0), self.mask)
            self.store(digit, self.q, c, t)
            if self.reach:
                # The low half of n[0] q completes the limb to 2^52 unless it is 0: no need to wait for q.
                unfinished = b.icmp_unsigned("!=", b.and_(total, self.mask), self.zero)
                carry = b.add(b.lshr(total, self.shift), b.zext(unfinished, self.kind))
            else:
                carry = b.lshr(self.machine.multiply_add(b, total, limbs[0], digit, 0), self.shift)
            for part in self.parts:
                for u in range(t + 1, width):
                    self.add(sums, part, u, limbs[u - t - part], digit)
        return carry

    def normalise(self, columns: list[Value], at: Value, carry: Value) -> Value:
        """Store a tile of r; gives the carry out of it, which is 0 after the last one."""
        b = self.builder
        for t, column in enumerate(columns):
            total = b.add(column, carry)
            self.store(b.and_(total, self.mask), self.r, at, t)
            carry = b.lshr(total, self.shift)
        return carry
