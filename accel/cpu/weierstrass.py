"""SM2 and secp256k1 with gmpy2: signed odd windows, Jacobian steps, a complete last addition.

A scalar k, made odd by adding the order n, is written in digits that are all odd: for windows of w bits, t of
them, k = sum of d_i 2^(w i) with |d_i| < 2^w. Then every step adds a finite point, and the sequence of field
operations does not depend on the scalar. Only the last addition can meet equal or opposite points, because
before it every partial sum is a non-zero integer of magnitude below n / 2: it uses complete formulas.
The integers themselves and table reads are not constant-time in Python: an attacker on the same processor
could watch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import gmpy2
import numpy as np

from accel.cpu import weierstrass_formulas as formulas
from accel.reference.weierstrass import (
    SM2,
    Curve,
    Flags,
    Point,
    Rows,
    ints,
    points,
    rows_of_ints,
    rows_of_points,
)

WINDOW_BITS = 5
WINDOWS = 52  # of 260 bits: an odd scalar is below 2 n < 2^257

Triple = tuple[Any, Any, Any]


class Mpz:
    """`formulas.Field` on gmpy2 integers."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self._p = gmpy2.mpz(curve.p)

    def constant(self, value: int) -> Any:
        return gmpy2.mpz(value)

    def mul(self, a: Any, b: Any) -> Any:
        return a * b % self._p

    def sqr(self, a: Any) -> Any:
        return a * a % self._p

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def sub(self, a: Any, b: Any) -> Any:
        return a - b

    def scale(self, a: Any, factor: int) -> Any:
        return a * factor

    def mul_add(self, a: Any, b: Any, c: Any, d: Any) -> Any:
        return (a * b + c * d) % self._p

    def mul_sub(self, a: Any, b: Any, c: Any, d: Any) -> Any:
        return (a * b - c * d) % self._p

    def settle(self, a: Any) -> Any:
        return a % self._p

    def power(self, a: Any, exponent: int) -> Any:
        return gmpy2.powmod(a, exponent, self._p)

    def is_zero(self, a: Any) -> bool:
        return bool(a % self._p == 0)

    def is_odd(self, a: Any) -> bool:
        return bool(a % self._p & 1)

    def same(self, a: bool, b: bool) -> bool:
        return a == b

    def select(self, condition: bool, a: Any, b: Any) -> Any:
        return a if condition else b

    def affine(self, point: Triple) -> Point | None:
        """Of homogeneous coordinates; None for infinity."""
        x, y, z = point
        if z % self._p == 0:
            return None
        inverse = gmpy2.invert(z, self._p)
        return int(x * inverse % self._p), int(y * inverse % self._p)


def multiply_base(curve: Curve, scalars: Rows) -> Rows:
    f = Mpz(curve)
    return rows_of_points(f.affine(_times_base(f, k)) for k in ints(scalars))[0]


def multiply(curve: Curve, bases: Rows, scalars: Rows) -> Rows:
    f = Mpz(curve)
    if len(bases) == 1:
        table = _odd_multiples(f, points(bases)[0])
        results = [_times(f, table, k) for k in ints(scalars)]
    else:
        scalars = np.broadcast_to(scalars, (len(bases), 32))
        pairs = zip(points(bases), ints(scalars), strict=True)
        results = [_times(f, _odd_multiples(f, base), k) for base, k in pairs]
    return rows_of_points(map(f.affine, results))[0]


def multiply_add(curve: Curve, u1: Rows, bases: Rows, u2: Rows) -> tuple[Rows, Flags]:
    f = Mpz(curve)
    bases = np.broadcast_to(bases, (len(u1), 64))
    results = []
    for k1, base, k2 in zip(ints(u1), points(bases), ints(u2), strict=True):
        right = _times(f, _odd_multiples(f, base), k2)
        results.append(f.affine(formulas.complete_add(f, _times_base(f, k1), right)))
    return rows_of_points(results)


def on_curve(curve: Curve, rows: Rows) -> Flags:
    f = Mpz(curve)
    found = []
    for x, y in points(rows):
        canonical = x < curve.p and y < curve.p
        difference = f.sub(f.sqr(gmpy2.mpz(y)), formulas.right_side(f, gmpy2.mpz(x)))
        found.append(canonical and f.is_zero(difference))
    return np.array(found, dtype=np.bool_)


def decompress(curve: Curve, xs: Rows, parities: Rows) -> tuple[Rows, Flags]:
    f = Mpz(curve)
    found: list[Point | None] = []
    for x, parity in zip(map(gmpy2.mpz, ints(xs)), parities, strict=True):
        square = formulas.right_side(f, x)
        y = formulas.square_root(f, square)
        if not f.is_zero(f.sub(f.sqr(y), square)):
            found.append(None)
        else:
            found.append((int(x), int(y if f.is_odd(y) == bool(parity) else curve.p - y)))
    rows, missing = rows_of_points(found)
    return rows, ~missing


def map_to_curve(curve: Curve, elements: Rows) -> tuple[Rows, Flags]:
    f = Mpz(curve)
    mapped = [formulas.map_to_curve(f, gmpy2.mpz(u)) for u in ints(elements.reshape(-1, 32))]
    pairs = zip(mapped[::2], mapped[1::2], strict=True)
    return rows_of_points(f.affine(formulas.complete_add(f, left, right)) for left, right in pairs)


def sign_digests(d: Rows, digests: Rows, nonces: Rows) -> tuple[Rows, Flags]:
    """SM2; see `accel.reference.sm2`."""
    n = gmpy2.mpz(SM2.n)
    inverse = gmpy2.powmod_sec(1 + ints(d[None])[0], n - 2, n)
    x1 = ints(multiply_base(SM2, nonces)[:, :32])
    signatures, usable = [], []
    for e, k, x in zip(ints(digests), ints(nonces), x1, strict=True):
        r = (e + x) % n
        s = (inverse * (k + r) - r) % n  # (k - r d) / (1 + d)
        usable.append(r != 0 and r + k != n and s != 0)
        signatures += [int(r), int(s)] if usable[-1] else [0, 0]
    return rows_of_ints(signatures).reshape(-1, 64), np.array(usable, dtype=np.bool_)


def verify_digests(keys: Rows, digests: Rows, signatures: Rows) -> Flags:
    n = SM2.n
    pairs = points(signatures)  # r ‖ s has the shape of a point
    sums = [(r + s) % n for r, s in pairs]
    wanted = [0 < r < n and 0 < s < n and t != 0 for (r, s), t in zip(pairs, sums, strict=True)]
    u1 = rows_of_ints(s if good else 0 for (_, s), good in zip(pairs, wanted, strict=True))
    totals, infinite = multiply_add(SM2, u1, keys, rows_of_ints(sums))
    cases = zip(wanted, infinite, ints(digests), ints(totals[:, :32]), pairs, strict=True)
    outcome = [good and not void and (e + x) % n == r for good, void, e, x, (r, _) in cases]
    return np.array(outcome, dtype=np.bool_)


def digits(curve: Curve, k: int) -> list[tuple[int, bool]]:
    """(i, negative) for the digit ±(2 i + 1) of every window, lowest first."""
    odd = k + (0 if k & 1 else curve.n)
    # With bits b in place of digits ±1: odd = 2 b - (2^260 - 1).
    bits = (odd + (1 << WINDOW_BITS * WINDOWS) - 1) >> 1
    half = 1 << WINDOW_BITS - 1
    found = []
    for window in range(WINDOWS):
        value = bits >> WINDOW_BITS * window & 2 * half - 1
        found.append((value - half, False) if value >= half else (half - 1 - value, True))
    return found


@cache
def base_tables(curve: Curve, window_bits: int, windows: int) -> list[list[Point]]:
    """Affine (2 i + 1) 2^(window_bits w) g for every window w and 0 <= i < 2^(window_bits - 1)."""
    f = Mpz(curve)
    rows: list[list[Triple]] = []
    base: Triple = (*map(gmpy2.mpz, curve.g), gmpy2.mpz(1))
    for _ in range(windows):
        rows.append(_odd_chain(f, base, 1 << window_bits - 1))
        for _ in range(window_bits):
            base = formulas.jacobian_double(f, base)
    flat = [point for row in rows for point in row]
    partial = [gmpy2.mpz(1)]
    for _, _, z in flat:
        partial.append(f.mul(partial[-1], z))
    inverse = gmpy2.invert(partial[-1], gmpy2.mpz(curve.p))
    affine: list[Point] = []
    for (x, y, z), before in zip(reversed(flat), reversed(partial[:-1]), strict=True):
        own = f.mul(inverse, before)
        inverse = f.mul(inverse, z)
        square = f.sqr(own)
        affine.append((int(f.mul(x, square)), int(f.mul(y, f.mul(square, own)))))
    affine.reverse()
    width = 1 << window_bits - 1
    return [affine[at : at + width] for at in range(0, len(affine), width)]


def _times_base(f: Mpz, k: int) -> Triple:
    """Lowest window first: before each addition the sum is smaller in magnitude than what is added."""
    tables = base_tables(f.curve, WINDOW_BITS, WINDOWS)
    chosen = [_signed(tables[w][i], negative) for w, (i, negative) in enumerate(digits(f.curve, k))]
    total: Triple = (*map(gmpy2.mpz, chosen[0]), gmpy2.mpz(1))
    for other in chosen[1:-1]:
        total = formulas.jacobian_add_affine(f, total, other)
    last: Triple = (*map(gmpy2.mpz, chosen[-1]), gmpy2.mpz(1))
    return formulas.complete_add(f, formulas.homogeneous(f, total), last)


def _times(f: Mpz, table: list[Triple], k: int) -> Triple:
    """Highest window first."""
    *low, (i, negative) = digits(f.curve, k)
    total = _signed(table[i], negative)
    for at in reversed(range(len(low))):
        for _ in range(WINDOW_BITS):
            total = formulas.jacobian_double(f, total)
        i, negative = low[at]
        other = _signed(table[i], negative)
        if at:
            total = formulas.jacobian_add(f, total, other)
    return formulas.complete_add(f, formulas.homogeneous(f, total), formulas.homogeneous(f, other))


def _odd_multiples(f: Mpz, point: Point) -> list[Triple]:
    return _odd_chain(f, (*map(gmpy2.mpz, point), gmpy2.mpz(1)), 1 << WINDOW_BITS - 1)


def _odd_chain(f: Mpz, point: Triple, count: int) -> list[Triple]:
    """(2 i + 1) times the point for 0 <= i < count."""
    twice = formulas.jacobian_double(f, point)
    chain = [point]
    while len(chain) < count:
        chain.append(formulas.jacobian_add(f, chain[-1], twice))
    return chain


def _signed(point: tuple[Any, ...], negative: bool) -> Any:
    x, y, *z = point
    return (x, -y if negative else y, *z)
