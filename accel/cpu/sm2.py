"""The SM2 curve with gmpy2: complete projective formulas, fixed windows.

The formulas have no exceptional case (Renes, Costello, Batina, EUROCRYPT 2016, algorithm 4, a = -3), every
window is added, zero ones too: the sequence of field operations does not depend on the scalar. The integers
themselves and the table index are not constant-time in Python: an attacker on the same processor could watch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import gmpy2

from accel.reference.sm2 import B as _B_INT
from accel.reference.sm2 import G, P, Point

_P = gmpy2.mpz(P)
_B = gmpy2.mpz(_B_INT)
_WINDOW_BITS = 4
_WINDOWS = 64  # of a 256-bit scalar

_Projective = tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz]
_INFINITY: _Projective = (gmpy2.mpz(0), gmpy2.mpz(1), gmpy2.mpz(0))


def multiply_base_many(scalars: Sequence[int]) -> list[Point | None]:
    tables = _base_tables()
    results = []
    for k in scalars:
        total = _INFINITY
        for window in range(_WINDOWS):
            total = _add(total, tables[window][k >> _WINDOW_BITS * window & 15])
        results.append(_affine(total))
    return results


def multiply_many(points: Sequence[Point], scalars: Sequence[int]) -> list[Point | None]:
    results = []
    for (x, y), k in zip(points, scalars, strict=True):
        table = _multiples((gmpy2.mpz(x), gmpy2.mpz(y), gmpy2.mpz(1)))
        total = _INFINITY
        for window in reversed(range(_WINDOWS)):
            for _ in range(_WINDOW_BITS):
                total = _add(total, total)
            total = _add(total, table[k >> _WINDOW_BITS * window & 15])
        results.append(_affine(total))
    return results


@cache
def _base_tables() -> list[list[_Projective]]:
    base: _Projective = (gmpy2.mpz(G[0]), gmpy2.mpz(G[1]), gmpy2.mpz(1))
    tables = []
    for _ in range(_WINDOWS):
        multiples = _multiples(base)
        tables.append(multiples)
        base = _add(multiples[15], base)
    return tables


def _multiples(point: _Projective) -> list[_Projective]:
    multiples = [_INFINITY]
    for _ in range(15):
        multiples.append(_add(multiples[-1], point))
    return multiples


def _affine(point: _Projective) -> Point | None:
    x, y, z = point
    if z == 0:
        return None
    inverse = gmpy2.invert(z, _P)
    return int(x * inverse % _P), int(y * inverse % _P)


def _add(a: _Projective, b: _Projective) -> _Projective:
    """Complete addition: also doubles, and takes the point at infinity. Names follow the paper."""
    x1, y1, z1 = a
    x2, y2, z2 = b
    t0 = x1 * x2 % _P
    t1 = y1 * y2 % _P
    t2 = z1 * z2 % _P
    t3 = ((x1 + y1) * (x2 + y2) - t0 - t1) % _P
    t4 = ((y1 + z1) * (y2 + z2) - t1 - t2) % _P
    y3 = ((x1 + z1) * (x2 + z2) - t0 - t2) % _P
    x3 = 3 * (y3 - _B * t2) % _P
    z3 = t1 - x3
    x3 = t1 + x3
    t2 = 3 * t2
    y3 = 3 * (_B * y3 - t2 - t0) % _P
    t0 = 3 * t0 - t2
    return (t3 * x3 - t4 * y3) % _P, (x3 * z3 + t0 * y3) % _P, (t4 * z3 + t3 * t0) % _P
