"""Modular arithmetic in Montgomery form, on plain integers.

| symbol | meaning |
|---|---|
| m | the odd modulus |
| R | 2^(52 limbs), so that m < R / 4 |
| x' | x R mod m, the Montgomery form of x |

Source: Montgomery, Modular multiplication without trial division, Math. Comp. 44 (1985); Menezes, van
Oorschot, Vanstone, Handbook of Applied Cryptography, 14.36 (product), 14.71 (CRT, Garner).
"""

from __future__ import annotations

from collections.abc import Sequence

from accel.errors import NotInvertible
from accel.limbs import LimbArray
from accel.modular_backends import ByteRows, FixedBasePlan, Groups
from accel.modulus import Modulus


def enter(values: LimbArray, m: Modulus) -> LimbArray:
    """x' = x R mod m."""
    return m.array([m.to_montgomery(x) for x in values.to_ints()])


def leave(values: LimbArray, m: Modulus) -> LimbArray:
    """x = x' R^-1 mod m."""
    return m.array(_plain(values, m))


def multiply(a: LimbArray, b: LimbArray, m: Modulus) -> LimbArray:
    """(x y)' = x' y' R^-1 mod m; b may hold one number for all."""
    ys = b.to_ints() * (len(a) if len(b) == 1 else 1)
    return m.array([m.from_montgomery(x * y) for x, y in zip(a.to_ints(), ys, strict=True)])


def square(a: LimbArray, m: Modulus) -> LimbArray:
    return multiply(a, a, m)


def power(bases: LimbArray, exponents: int | Sequence[int], m: Modulus) -> LimbArray:
    """(x^e)' with one exponent for all bases or one for each."""
    each = [exponents] * len(bases) if isinstance(exponents, int) else exponents
    powers = [pow(x, e, m.value) for x, e in zip(_plain(bases, m), each, strict=True)]
    return m.array([m.to_montgomery(x) for x in powers])


def power_secret(bases: LimbArray, exponent: int, exponent_bits: int, m: Modulus) -> LimbArray:
    return power(bases, exponent, m)


def fixed_base_power(plan: FixedBasePlan, exponents: ByteRows) -> LimbArray:
    """(base^e)' of every exponent, a row of big-endian bytes each."""
    m = plan.m
    powers = [pow(plan.base, int.from_bytes(row.tobytes(), "big"), m.value) for row in exponents]
    return m.array([m.to_montgomery(x) for x in powers])


def multi_power(bases: LimbArray, exponents: Sequence[Sequence[int]], m: Modulus) -> LimbArray:
    """Row r: the product of x_i^e[r][i] over all i; a negative exponent takes the inverse of its base."""
    output = []
    for row in exponents:
        product = 1
        for x, e in zip(_plain(bases, m), row, strict=True):
            product = product * pow(x, e, m.value) % m.value
        output.append(m.to_montgomery(product))
    return m.array(output)


def product_by_group(values: LimbArray, groups: Groups, count: int, m: Modulus) -> LimbArray:
    """Group g: the product of the values with groups[i] == g; an empty group gives 1."""
    products = [1] * count
    for x, group in zip(_plain(values, m), groups.tolist(), strict=True):
        products[group] = products[group] * x % m.value
    return m.array([m.to_montgomery(x) for x in products])


def inverse(values: LimbArray, m: Modulus) -> LimbArray:
    """(x^-1)'; raises NotInvertible with the first index that shares a factor with m."""
    output = []
    for index, x in enumerate(_plain(values, m)):
        try:
            output.append(m.to_montgomery(pow(x, -1, m.value)))
        except ValueError:
            raise NotInvertible(f"value {index} shares a factor with the modulus", index=index) from None
    return m.array(output)


def crt(residues_p: LimbArray, residues_q: LimbArray, p: Modulus, q: Modulus, pq: Modulus) -> LimbArray:
    """The x < p q with x = x_p mod p and x = x_q mod q, all plain: x_p + p ((x_q - x_p) p^-1 mod q)."""
    p_inverse = pow(p.value, -1, q.value)
    pairs = zip(residues_p.to_ints(), residues_q.to_ints(), strict=True)
    return pq.array([xp + p.value * ((xq - xp) * p_inverse % q.value) for xp, xq in pairs])


def _plain(values: LimbArray, m: Modulus) -> list[int]:
    return [m.from_montgomery(x) for x in values.to_ints()]
