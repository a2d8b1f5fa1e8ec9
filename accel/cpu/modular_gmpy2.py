"""Modular arithmetic by GMP: the path of processors without vector kernels.

GMP reduces by division, not by Montgomery's method, so a product costs a second one to remove the factor R;
powers and inverses carry the factor once for all their products.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gmpy2

from accel.errors import NotInvertible
from accel.limbs import LimbArray
from accel.modular_backends import ByteRows, FixedBasePlan, Groups
from accel.modulus import Modulus

_WINDOW_BITS = 6


def enter(values: LimbArray, m: Modulus) -> LimbArray:
    return _scaled(values.to_ints(), m.one, m)


def leave(values: LimbArray, m: Modulus) -> LimbArray:
    return _scaled(values.to_ints(), m.radix_inverse, m)


def multiply(a: LimbArray, b: LimbArray, m: Modulus) -> LimbArray:
    if len(b) == 1:
        return _scaled(a.to_ints(), b.to_ints()[0] * m.radix_inverse % m.value, m)
    modulus, factor = gmpy2.mpz(m.value), gmpy2.mpz(m.radix_inverse)
    pairs = zip(a.to_ints(), b.to_ints(), strict=True)
    return _array((gmpy2.mpz(x) * y % modulus * factor % modulus for x, y in pairs), m)


def square(a: LimbArray, m: Modulus) -> LimbArray:
    modulus, factor = gmpy2.mpz(m.value), gmpy2.mpz(m.radix_inverse)
    return _array((gmpy2.mpz(x) ** 2 % modulus * factor % modulus for x in a.to_ints()), m)


def power(bases: LimbArray, exponents: int | Sequence[int], m: Modulus) -> LimbArray:
    plain = leave(bases, m).to_ints()
    if isinstance(exponents, int):
        return _scaled(gmpy2.powmod_base_list(plain, exponents, m.value), m.one, m)
    return _scaled((gmpy2.powmod(x, e, m.value) for x, e in zip(plain, exponents, strict=True)), m.one, m)


def power_secret(bases: LimbArray, exponent: int, exponent_bits: int, m: Modulus) -> LimbArray:
    """By GMP's constant-time powm_sec, whose exponent must be positive."""
    if exponent == 0:
        return m.array([m.one] * len(bases))
    plain = leave(bases, m).to_ints()
    return _scaled((gmpy2.powmod_sec(x, exponent, m.value) for x in plain), m.one, m)


def multi_power(bases: LimbArray, exponents: Sequence[Sequence[int]], m: Modulus) -> LimbArray:
    modulus = gmpy2.mpz(m.value)
    plain = leave(bases, m).to_ints()
    output = []
    for row in exponents:
        product = gmpy2.mpz(1)
        for x, e in zip(plain, row, strict=True):
            if e:
                product = product * gmpy2.powmod(x, e, modulus) % modulus
        output.append(product)
    return _scaled(output, m.one, m)


def product_by_group(values: LimbArray, groups: Groups, count: int, m: Modulus) -> LimbArray:
    modulus = gmpy2.mpz(m.value)
    products = [gmpy2.mpz(1)] * count
    for x, group in zip(leave(values, m).to_ints(), groups.tolist(), strict=True):
        products[group] = products[group] * x % modulus
    return _scaled(products, m.one, m)


def inverse(values: LimbArray, m: Modulus) -> LimbArray:
    """Montgomery's trick: one inversion and three products an element."""
    modulus = gmpy2.mpz(m.value)
    xs = [gmpy2.mpz(x) for x in values.to_ints()]
    prefixes, product = [], gmpy2.mpz(1)
    for x in xs:
        prefixes.append(product)
        product = product * x % modulus
    try:
        suffix = gmpy2.invert(product, modulus)
    except ZeroDivisionError:
        index = next(i for i, x in enumerate(xs) if gmpy2.gcd(x, modulus) != 1)
        raise NotInvertible(f"value {index} shares a factor with the modulus", index=index) from None
    output = []
    for x, prefix in zip(reversed(xs), reversed(prefixes), strict=True):
        output.append(suffix * prefix % modulus)
        suffix = suffix * x % modulus
    # The inverse of x R is x^-1 R^-1: two factors R bring it to Montgomery form.
    return _scaled(reversed(output), m.radix_squared, m)


def crt(residues_p: LimbArray, residues_q: LimbArray, p: Modulus, q: Modulus, pq: Modulus) -> LimbArray:
    mp, mq = gmpy2.mpz(p.value), gmpy2.mpz(q.value)
    p_inverse = gmpy2.invert(mp, mq)
    pairs = zip(residues_p.to_ints(), residues_q.to_ints(), strict=True)
    return _array((xp + mp * ((xq - xp) * p_inverse % mq) for xp, xq in pairs), pq)


def fixed_base_power(plan: FixedBasePlan, exponents: ByteRows) -> LimbArray:
    table = plan.table("portable", lambda: _FixedBaseTable(plan))
    return table.power([int.from_bytes(row.tobytes(), "big") for row in exponents])


class _FixedBaseTable:
    """Row i holds base^(d 2^(6 i)) for every digit d."""

    def __init__(self, plan: FixedBasePlan) -> None:
        self._m = plan.m
        self._modulus = gmpy2.mpz(plan.m.value)
        self._rows: list[list[gmpy2.mpz]] = []
        step = gmpy2.mpz(plan.base)
        for _ in range(-(-plan.exponent_bits // _WINDOW_BITS)):
            row = [gmpy2.mpz(1)]
            for _ in range((1 << _WINDOW_BITS) - 1):
                row.append(row[-1] * step % self._modulus)
            step = row[-1] * step % self._modulus
            self._rows.append(row)

    def power(self, exponents: Sequence[int]) -> LimbArray:
        """Every row is multiplied in, so the number of products depends on the width alone."""
        mask = (1 << _WINDOW_BITS) - 1
        output = []
        for exponent in exponents:
            product = gmpy2.mpz(1)
            for index, row in enumerate(self._rows):
                product = product * row[exponent >> _WINDOW_BITS * index & mask] % self._modulus
            output.append(product)
        return _scaled(output, self._m.one, self._m)


def _scaled(values: Iterable[int], factor: int, m: Modulus) -> LimbArray:
    scale, modulus = gmpy2.mpz(factor), gmpy2.mpz(m.value)
    return _array((x * scale % modulus for x in values), m)


def _array(values: Iterable[gmpy2.mpz], m: Modulus) -> LimbArray:
    return m.array([int(x) for x in values])
