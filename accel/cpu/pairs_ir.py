"""Products modulo n^2 from products modulo n, for lanes of vectors.

A number modulo n^2 is held as a pair (x0, x1) that stands for x0 + x1 n, with a factor R as in
`montgomery_ir`. The Montgomery product of the low halves leaves the exact equation x0 y0 = R r0 - q n with
the digits q that it found, so modulo n^2

    (x0 + x1 n) (y0 + y1 n) / R = r0 + r1 n,   r1 = (x0 y1 + x1 y0 - q) / R modulo n.

The functions here compute r1, reading q where `montgomery_ir.product` left it. The lift, a multiple of n that
is R or more, keeps every limb of lift - q from falling below zero. For R of 64 n or more, and halves below
2 n, r0 and r1 are below 2 n again. With limbs of half the length a square costs 3.5 instead of 6 units of
limbs^2, and a product with a y whose y1 is 0 costs 4 instead of 8.

Source: the representation is that of Takagi, Fast RSA-type cryptosystem modulo p^k q, CRYPTO 1998, section 4,
with Montgomery's reduction in place of division.
"""

from __future__ import annotations

from typing import Any

from accel.cpu.ir import I64, splat
from accel.cpu.montgomery_ir import Emitter, Montgomery, Sums

Value = Any


def following_product(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, b, n, n0, q, lift, limbs)``: r is (a b + lift - q) / R and may be a or b."""
    e = _Following(module, name, machine, 2)
    a, b = e.factors
    e.emit(
        lambda width, c: e.lower_product(width, c, a, b),
        lambda width, c: e.upper_product(e.empty(width), c, a, b, e.limbs),
    )
    return e.function


def following_square(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, b, n, n0, q, lift, limbs)``: r is (2 a b + lift - q) / R and may be a or b."""
    e = _Following(module, name, machine, 2)
    a, b = e.factors
    e.emit(
        lambda width, c: e.twice(e.lower_product(width, c, a, b)),
        lambda width, c: e.twice(e.upper_product(e.empty(width), c, a, b, e.limbs)),
    )
    return e.function


def following_cross(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, x0, x1, y0, y1, n, n0, q, lift, limbs)``: r is (x0 y1 + x1 y0 + lift - q) / R."""
    e = _Following(module, name, machine, 4)
    x0, x1, y0, y1 = e.factors
    e.emit(
        lambda width, c: e.lower_product(width, c, x1, y0, e.lower_product(width, c, x0, y1)),
        lambda width, c: e.upper_product(
            e.upper_product(e.empty(width), c, x0, y1, e.limbs), c, x1, y0, e.limbs
        ),
    )
    return e.function


def accumulate(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, limbs)``: limbs of a added to limbs of r, no carries."""
    number = machine.vector.as_pointer()
    e = Emitter(module, name, machine, [number, number, I64])
    r, a, limbs = e.function.args

    def limb(j: Value, _: list[Value]) -> list[Value]:
        e.store(e.builder.add(e.load(r, j), e.load(a, j)), r, j)
        return []

    e.loop(I64(0), limbs, 1, [], limb)
    e.builder.ret_void()
    return e.function


def sum_of(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, b, limbs)``: r is a + b with carries, none out of the last limb."""
    number = machine.vector.as_pointer()
    e = Emitter(module, name, machine, [number, number, number, I64])
    r, x, y, limbs = e.function.args
    b = e.builder

    def limb(j: Value, state: list[Value]) -> list[Value]:
        total = b.add(b.add(e.load(x, j), e.load(y, j)), state[0])
        e.store(b.and_(total, e.mask), r, j)
        return [b.lshr(total, e.shift)]

    e.loop(I64(0), limbs, 1, [e.zero], limb)
    b.ret_void()
    return e.function


def lifted(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(q, lift, a, limbs)``: q is lift - a, so that a following product adds a itself."""
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = Emitter(module, name, machine, [number, word, number, I64])
    q, lift, a, limbs = e.function.args

    def limb(j: Value, _: list[Value]) -> list[Value]:
        e.store(e.builder.sub(e.load(lift, j), e.load(a, j)), q, j)
        return []

    e.loop(I64(0), limbs, 1, [], limb)
    e.builder.ret_void()
    return e.function


def joined(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, b, n, limbs)``: r, which has twice the limbs, is a + b n; it is not a or b."""
    e = _Joined(module, name, machine)

    def lower(width: int, c: Value) -> Sums:
        sums = e.lower_product(width, c, e.b, e.n)
        sums[0] = [e.builder.add(x, e.load(e.a, c, t)) for t, x in enumerate(sums[0])]
        return sums

    def upper(width: int, c: Value) -> Sums:
        return e.upper_product(e.empty(width), c, e.b, e.n, e.limbs)

    c, carry = I64(0), e.zero
    for columns, stop in ((lower, e.limbs), (upper, e.double)):
        for width in machine.widths:

            def tile(c: Value, state: list[Value], width: int = width, columns: Any = columns) -> list[Value]:
                return [e.normalise(e.merged(columns(width, c)), c, state[0])]

            c, (carry,) = e.loop(c, stop, width, [carry], tile)
    e.builder.ret_void()
    return e.function


class _Joined(Montgomery):
    def __init__(self, module: Any, name: str, machine: Any) -> None:
        number, word = machine.vector.as_pointer(), I64.as_pointer()
        Emitter.__init__(self, module, name, machine, [number, number, number, word, I64])
        self.r, self.a, self.b, self.n, self.limbs = self.function.args
        self.prepare(I64(0))  # there is nothing to reduce


class _Following(Montgomery):
    def __init__(self, module: Any, name: str, machine: Any, factors: int) -> None:
        number, word = machine.vector.as_pointer(), I64.as_pointer()
        arguments = [number] * (1 + factors) + [word, I64, number, word, I64]
        Emitter.__init__(self, module, name, machine, arguments)
        self.r, *self.factors, self.n, n0, self.q, self.lift, self.limbs = self.function.args
        self.prepare(n0)

    def emit(self, lower: Any, upper: Any) -> None:
        def with_lift(width: int, c: Value) -> Sums:
            # The digits of the product before are read tile by tile, just before new ones take their place.
            sums: Sums = lower(width, c)
            b = self.builder
            for t in range(width):
                rest = b.sub(self.load(self.lift, c, t), self.load(self.q, c, t))
                sums[0][t] = b.add(sums[0][t], rest)
            return sums

        self.lower_half(with_lift)
        self.upper_half([(width, self.double, upper) for width in self.machine.widths])
        self.builder.ret_void()

    def twice(self, sums: Sums) -> Sums:
        one = splat(self.kind, 1)
        doubled = self.empty(len(sums[0]))
        doubled[0] = [self.builder.shl(column, one) for column in self.merged(sums)]
        return doubled
