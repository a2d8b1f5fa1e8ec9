"""Point formulas of short Weierstrass curves, written once over an abstract field.

The portable backend runs them on gmpy2 integers; the vector backends run them on code emitters, so that every
call below becomes instructions. A `Field` may add lazily: what it gives is a value modulo p, no more.

Jacobian coordinates (X : Y : Z) stand for (X / Z^2, Y / Z^3), homogeneous ones for (X / Z, Y / Z); Z = 0 is
infinity. The Jacobian additions are wrong where their operands are equal, opposite or infinite, so callers
must know that these cases cannot occur; `complete_add` has no exceptional case.

Sources: Renes, Costello, Batina, "Complete addition formulas for prime order elliptic curves", EUROCRYPT
2016, algorithms 4 (a = -3) and 7 (a = 0); Bernstein, Lange, explicit-formulas database, Jacobian coordinates,
doublings dbl-2001-b (a = -3) and dbl-2009-l (a = 0), additions madd and add-1998-cmo-2; RFC 9380 appendices
F.2 (simplified SWU without inversion) and F.2.1.2 (square root of a ratio).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from accel.reference.sswu import SUITES
from accel.reference.weierstrass import Curve

V = TypeVar("V")


class Field(Protocol[V]):
    """Arithmetic modulo the prime of ``curve``; conditions are whatever `select` understands."""

    curve: Curve

    def constant(self, value: int) -> V: ...
    def mul(self, a: V, b: V) -> V: ...
    def sqr(self, a: V) -> V: ...
    def add(self, a: V, b: V) -> V: ...
    def sub(self, a: V, b: V) -> V: ...
    def scale(self, a: V, factor: int) -> V: ...
    def mul_add(self, a: V, b: V, c: V, d: V) -> V:
        """a b + c d"""

    def mul_sub(self, a: V, b: V, c: V, d: V) -> V:
        """a b - c d"""

    def settle(self, a: V) -> V:
        """The same, made as small as it gets: for values that go on in several places."""

    def power(self, a: V, exponent: int) -> V:
        """With a public exponent."""

    def is_zero(self, a: V) -> Any: ...
    def is_odd(self, a: V) -> Any:
        """Of the canonical representative."""

    def same(self, a: Any, b: Any) -> Any:
        """Do two conditions agree?"""

    def select(self, condition: Any, a: V, b: V) -> V:
        """a where the condition holds, b elsewhere, by the same operations."""


Triple = tuple[V, V, V]
Pair = tuple[V, V]


def jacobian_double(f: Field[V], point: Triple[V]) -> Triple[V]:
    x, y, z = point
    if f.curve.a == 0:
        slope = f.scale(f.sqr(x), 3)
    else:
        zz = f.sqr(z)
        slope = f.scale(f.mul(f.sub(x, zz), f.add(x, zz)), 3)
    yy = f.sqr(y)
    quarter = f.scale(f.mul(x, yy), 4)
    x3 = f.settle(f.sub(f.sqr(slope), f.scale(quarter, 2)))
    y3 = f.mul_sub(slope, f.sub(quarter, x3), f.scale(yy, 4), f.scale(yy, 2))
    return x3, y3, f.scale(f.mul(y, z), 2)


def jacobian_add_affine(f: Field[V], point: Triple[V], other: Pair[V]) -> Triple[V]:
    """For a point that is neither infinity nor the other point nor its opposite."""
    x1, y1, z1 = point
    zz = f.sqr(z1)
    h = f.sub(f.mul(other[0], zz), x1)
    r = f.sub(f.mul(other[1], f.mul(z1, zz)), y1)
    return _finish_addition(f, x1, y1, h, r, f.mul(z1, h))


def jacobian_add(f: Field[V], point: Triple[V], other: Triple[V]) -> Triple[V]:
    """For two finite points that are neither equal nor opposite."""
    (x1, y1, z1), (x2, y2, z2) = point, other
    zz1, zz2 = f.sqr(z1), f.sqr(z2)
    u1 = f.mul(x1, zz2)
    s1 = f.mul(y1, f.mul(z2, zz2))
    h = f.sub(f.mul(x2, zz1), u1)
    r = f.sub(f.mul(y2, f.mul(z1, zz1)), s1)
    return _finish_addition(f, u1, s1, h, r, f.mul(f.mul(z1, z2), h))


def _finish_addition(f: Field[V], x1: V, y1: V, h: V, r: V, z3: V) -> Triple[V]:
    hh = f.sqr(h)
    hhh = f.mul(h, hh)
    v = f.mul(x1, hh)
    x3 = f.settle(f.sub(f.sub(f.sqr(r), hhh), f.scale(v, 2)))
    return x3, f.mul_sub(r, f.sub(v, x3), y1, hhh), z3


def homogeneous(f: Field[V], jacobian: Triple[V]) -> Triple[V]:
    """The same point in homogeneous coordinates."""
    x, y, z = jacobian
    return f.mul(x, z), y, f.mul(z, f.sqr(z))


def complete_add(f: Field[V], left: Triple[V], right: Triple[V]) -> Triple[V]:
    """Any two points in homogeneous coordinates. Names follow the paper."""
    (x1, y1, z1), (x2, y2, z2) = left, right
    t0, t1, t2 = f.mul(x1, x2), f.mul(y1, y2), f.mul(z1, z2)
    t3 = f.mul_add(x1, y2, x2, y1)
    t4 = f.mul_add(y1, z2, y2, z1)
    y3 = f.mul_add(x1, z2, x2, z1)
    if f.curve.a == 0:
        b3 = f.constant(3 * f.curve.b)
        t0, t2, y3 = f.scale(t0, 3), f.mul(b3, t2), f.mul(b3, y3)
        x3, z3 = f.sub(t1, t2), f.add(t1, t2)
        return f.mul_sub(t3, x3, t4, y3), f.mul_add(x3, z3, t0, y3), f.mul_add(t4, z3, t3, t0)
    b = f.constant(f.curve.b)
    t5 = f.scale(f.sub(y3, f.mul(b, t2)), 3)
    x3, z3 = f.add(t1, t5), f.sub(t1, t5)
    t2 = f.scale(t2, 3)
    y3 = f.scale(f.sub(f.sub(f.mul(b, y3), t2), t0), 3)
    t0 = f.sub(f.scale(t0, 3), t2)
    return f.mul_sub(t3, x3, t4, y3), f.mul_add(x3, z3, t0, y3), f.mul_add(t4, z3, t3, t0)


def right_side(f: Field[V], x: V) -> V:
    """x^3 + a x + b."""
    xx = f.sqr(x)
    if f.curve.a != 0:
        xx = f.sub(xx, f.constant(3))
    return f.add(f.mul(xx, x), f.constant(f.curve.b))


def square_root(f: Field[V], square: V) -> V:
    """A root of a square, p being 3 modulo 4; of a non-square, something else."""
    return f.power(square, (f.curve.p + 1) // 4)


def map_to_curve(f: Field[V], u: V) -> Triple[V]:
    """The simplified SWU map in homogeneous coordinates, through the isogeny if the suite has one.

    No field element is an exception: where the denominator would be 0 the suite's Z stands in, and no
    rational point lies in the kernel of the isogeny.
    """
    suite, p = SUITES[f.curve.name], f.curve.p
    a, b, z, one = (f.constant(c) for c in (suite.a, suite.b, suite.z, 1))
    zuu = f.mul(z, f.sqr(u))
    t2 = f.add(f.sqr(zuu), zuu)
    x1 = f.mul(b, f.add(t2, one))
    denominator = f.mul(a, f.select(f.is_zero(t2), z, f.sub(f.constant(0), t2)))
    dd = f.sqr(denominator)
    ddd = f.mul(dd, denominator)
    t2 = f.mul_add(f.mul_add(x1, x1, a, dd), x1, b, ddd)
    # Square root of t2 / ddd, or of Z times that.
    t3 = f.mul(t2, ddd)
    y1 = f.mul(f.power(f.mul(f.sqr(ddd), t3), (p - 3) // 4), t3)
    is_square = f.is_zero(f.sub(f.mul(f.sqr(y1), ddd), t2))
    y2 = f.mul(y1, f.constant(pow(-suite.z, (p + 1) // 4, p)))
    x = f.select(is_square, x1, f.mul(zuu, x1))
    y = f.select(is_square, y1, f.mul(f.mul(zuu, u), y2))
    y = f.select(f.same(f.is_odd(u), f.is_odd(y)), y, f.sub(f.constant(0), y))
    if not suite.isogeny:
        return x, f.mul(y, denominator), denominator
    x_num, x_den, y_num, y_den = (_homogeneous_polynomial(f, c, x, denominator) for c in suite.isogeny)
    x_den = f.mul(x_den, denominator)
    return f.mul(x_num, y_den), f.mul(f.mul(y, y_num), x_den), f.mul(x_den, y_den)


def _homogeneous_polynomial(f: Field[V], coefficients: Sequence[int], x: V, z: V) -> V:
    """The polynomial (lowest degree first) at x / z, times z to its degree."""
    total, power = f.constant(coefficients[-1]), z
    for coefficient in reversed(coefficients[:-1]):
        total = f.mul_add(total, x, f.constant(coefficient), power)
        power = f.mul(power, z)
    return total
