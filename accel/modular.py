"""Batch arithmetic modulo an odd number of 256 to 16384 bits, in Montgomery form.

    m = modular.Modulus(value)
    x = modular.enter(LimbArray.from_ints([3, 5], m.limbs), m)   # residues -> Montgomery form
    y = modular.power(modular.multiply(x, x, m), 65537, m)
    modular.leave(y, m).to_ints()

Arrays are limb matrices of ``m.limbs`` limbs holding numbers below m, canonical at every call, and mean the
same on every backend. Every function raises BadParameter for a wrong type or limb count and, with ``index``,
for a number that is not below m; empty arrays work. ``backend`` as in `accel.registry`.

What may be secret: bases and values always, unless a docstring says otherwise; the SIMD backends then spend
the same time and touch the same addresses whatever the values, apart from the range check, which shows
whether a leading limb equals that of m. ``portable`` (GMP) is constant-time in `power_secret` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accel import modular_backends as ops
from accel.errors import BadParameter
from accel.limbs import LimbArray
from accel.modulus import Modulus
from accel.plain import integers

__all__ = [
    "FixedBase",
    "Modulus",
    "crt",
    "enter",
    "inverse",
    "leave",
    "multi_power",
    "multiply",
    "power",
    "power_secret",
    "product_by_group",
    "square",
]

MAX_EXPONENT_BITS = 1 << 16


def enter(values: LimbArray, m: Modulus, *, backend: str = "auto") -> LimbArray:
    """Residues x < m into Montgomery form x R mod m."""
    _check(values, m)
    return ops.ENTER.select(backend, batch=len(values))(values, m)


def leave(values: LimbArray, m: Modulus, *, backend: str = "auto") -> LimbArray:
    """Montgomery form back into residues."""
    _check(values, m)
    return ops.LEAVE.select(backend, batch=len(values))(values, m)


def multiply(a: LimbArray, b: LimbArray, m: Modulus, *, backend: str = "auto") -> LimbArray:
    """Elementwise products; ``b`` has as many numbers as ``a``, or one that multiplies all."""
    _check(a, m)
    _check(b, m)
    if len(b) != len(a) and len(b) != 1:
        raise BadParameter(f"{len(a)} numbers cannot be multiplied by {len(b)}")
    return ops.MULTIPLY.select(backend, batch=len(a))(a, b, m)


def square(a: LimbArray, m: Modulus, *, backend: str = "auto") -> LimbArray:
    """Elementwise squares, in about three quarters of the time of products."""
    _check(a, m)
    return ops.SQUARE.select(backend, batch=len(a))(a, m)


def power(
    bases: LimbArray, exponents: int | Sequence[int], m: Modulus, *, backend: str = "auto"
) -> LimbArray:
    """Every base to one public exponent, or to one of its own; exponents are non-negative, 0 gives 1.

    Timing depends on the exponents: secret ones go to `power_secret`. Raises BadParameter (``index``) for a
    negative exponent or one of more than 2^16 bits.
    """
    _check(bases, m)
    plain = integers(exponents)
    _check_exponents(plain.values)
    if plain.shape not in ((), (len(bases),)):
        raise BadParameter(f"{len(bases)} bases, exponents of shape {plain.shape}")
    exponents = plain.values if plain.shape else plain.values[0]
    return ops.POWER.select(backend, batch=len(bases))(bases, exponents, m)


def power_secret(
    bases: LimbArray, exponent: int, exponent_bits: int, m: Modulus, *, backend: str = "auto"
) -> LimbArray:
    """Every base to one secret exponent below 2^exponent_bits, the width being public.

    Fixed windows over the whole width, tables read in full: neither time nor addresses depend on the exponent
    on the SIMD backends; ``portable`` is GMP's powm_sec, which hides all but the exponent's length.
    """
    _check(bases, m)
    _check_width(exponent_bits)
    if not isinstance(exponent, int) or not 0 <= exponent < 1 << exponent_bits:
        raise BadParameter("the exponent does not fit its width")
    return ops.POWER_SECRET.select(backend, batch=len(bases))(bases, exponent, exponent_bits, m)


class FixedBase:
    """One public base, many secret exponents of one width: powers from tables made at the first call.

    ``base`` is a plain residue 0 ≤ base < m. The tables of 8-bit windows take 2^8 · limbs · exponent_bits
    bytes: 21 MB at 2048 exponent bits modulo 2048 bits.
    """

    def __init__(self, base: int, exponent_bits: int, m: Modulus) -> None:
        if not isinstance(base, int) or not 0 <= base < m.value:
            raise BadParameter("the base must be a residue of the modulus")
        _check_width(exponent_bits)
        self.m = m
        self.exponent_bits = exponent_bits
        self.exponent_bytes = -(-exponent_bits // 8)
        self._plan = ops.FixedBasePlan(base, exponent_bits, m)

    def power(self, exponents: npt.NDArray[np.uint8] | LimbArray, *, backend: str = "auto") -> LimbArray:
        """base^e in Montgomery form for every exponent.

        Exponents are rows of ``exponent_bytes`` big-endian bytes, uint8 of shape (n, exponent_bytes), or a
        LimbArray. On the SIMD backends every table entry is read for every digit: neither time nor addresses
        depend on the exponents. Raises BadParameter for another shape or dtype, with ``index`` for an
        exponent of more than ``exponent_bits`` bits.
        """
        width = self.exponent_bytes
        if isinstance(exponents, LimbArray):
            data = exponents.to_bytes(width)
            exponents = np.frombuffer(data, dtype=np.uint8).reshape(len(exponents), width)
        if not isinstance(exponents, np.ndarray) or exponents.dtype != np.uint8:
            raise BadParameter("exponents are rows of uint8")
        if exponents.ndim != 2 or exponents.shape[1] != width:
            raise BadParameter(f"exponents are rows of {width} bytes")
        if self.exponent_bits % 8:
            wide = np.flatnonzero(exponents[:, 0] >> (self.exponent_bits % 8))
            if wide.size:
                index = int(wide[0])
                raise BadParameter(f"exponent {index} has more than {self.exponent_bits} bits", index=index)
        return ops.FIXED_BASE.select(backend, batch=len(exponents))(self._plan, exponents)


def multi_power(
    bases: LimbArray, exponents: Sequence[Sequence[int]], m: Modulus, *, backend: str = "auto"
) -> LimbArray:
    """One number a row of exponents: the product of bases[i]^row[i] over all i, at once.

    Exponents are public and may be negative: then the inverse of that row's negative part is taken, and
    NotInvertible names the row (``index``) where there is none. Raises BadParameter (``index``) for a row of
    another length than the bases or an exponent of more than 2^16 bits.
    """
    _check(bases, m)
    rows = [integers(row).values for row in exponents]
    for index, row in enumerate(rows):
        if len(row) != len(bases):
            raise BadParameter(f"row {index} has {len(row)} exponents for {len(bases)} bases", index=index)
        _check_exponents([abs(e) for e in row])
    run = ops.MULTI_POWER.select(backend, batch=len(bases) * len(rows))
    signed = [index for index, row in enumerate(rows) if any(e < 0 for e in row)]
    positive = [[max(e, 0) for e in row] for row in rows]
    if not signed:
        return run(bases, positive, m)
    both = run(bases, positive + [[max(-e, 0) for e in rows[index]] for index in signed], m)
    below = np.full((m.limbs, len(rows)), 0, dtype=np.uint64)
    below[:] = m.array([m.one]).limbs
    below[:, signed] = both[len(rows) :].limbs
    return multiply(both[: len(rows)], inverse(LimbArray(below), m, backend=backend), m, backend=backend)


def product_by_group(
    values: LimbArray,
    groups: Sequence[int] | npt.NDArray[np.integer],
    count: int,
    m: Modulus,
    *,
    backend: str = "auto",
) -> LimbArray:
    """``count`` products: number g is that of all values with groups[i] == g, 1 for an empty group.

    Groups are public. Raises BadParameter (``index``) for a group outside 0 … count - 1.
    """
    _check(values, m)
    indices = np.asarray(groups)
    if indices.size == 0:
        indices = indices.astype(np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer) or len(indices) != len(values):
        raise BadParameter(f"{len(values)} values need as many integer group numbers")
    if not isinstance(count, int | np.integer) or count < 0:
        raise BadParameter("the number of groups is an integer that is not negative")
    outside = np.flatnonzero((indices < 0) | (indices >= count))
    if outside.size:
        index = int(outside[0])
        raise BadParameter(f"group of value {index} is outside 0 … {count - 1}", index=index)
    run = ops.PRODUCT_BY_GROUP.select(backend, batch=len(values))
    return run(values, indices.astype(np.int64), int(count), m)


def inverse(values: LimbArray, m: Modulus, *, backend: str = "auto") -> LimbArray:
    """Modular inverses, Montgomery form in and out, at three products each (Montgomery 1987).

    Raises NotInvertible with the first ``index`` that shares a factor with m. The one true inversion works on
    the product of all values, whose timing says nothing of a single one if any of them is uniform.
    """
    _check(values, m)
    return ops.INVERSE.select(backend, batch=len(values))(values, m)


def crt(
    residues_p: LimbArray, residues_q: LimbArray, p: Modulus, q: Modulus, *, backend: str = "auto"
) -> LimbArray:
    """The x < p q with the given plain residues modulo p and q; as many limbs as Modulus(p q) has.

    Raises BadParameter if p and q share a factor or their product has more than 16384 bits.
    """
    _check(residues_p, p)
    _check(residues_q, q)
    if len(residues_p) != len(residues_q):
        raise BadParameter(f"{len(residues_p)} residues modulo p, {len(residues_q)} modulo q")
    if math.gcd(p.value, q.value) != 1:
        raise BadParameter("the moduli share a factor")
    pq = Modulus(p.value * q.value)
    return ops.CRT.select(backend, batch=len(residues_p))(residues_p, residues_q, p, q, pq)


def _check(values: LimbArray, m: Modulus) -> None:
    """Right limb count and every number below m; only leading limbs are read as long as they decide."""
    if not isinstance(m, Modulus):
        raise BadParameter("the modulus must be a Modulus")
    if not isinstance(values, LimbArray):
        raise BadParameter("numbers come as a LimbArray")
    if values.limb_count != m.limbs:
        raise BadParameter(f"numbers have {values.limb_count} limbs, the modulus needs {m.limbs}")
    undecided = np.arange(len(values))
    for limbs, bound in zip(values.limbs[::-1], m.limb_values[::-1], strict=True):
        column = limbs if len(undecided) == len(limbs) else limbs[undecided]
        above = undecided[column > bound]
        if above.size:
            _refuse(int(above[0]))
        undecided = undecided[column == bound]
        if not undecided.size:
            return
    _refuse(int(undecided[0]))


def _refuse(index: int) -> None:
    raise BadParameter(f"value {index} is not below the modulus", index=index)


def _check_width(exponent_bits: int) -> None:
    if not isinstance(exponent_bits, int) or not 0 < exponent_bits <= MAX_EXPONENT_BITS:
        raise BadParameter(f"exponents have 1 to {MAX_EXPONENT_BITS} bits")


def _check_exponents(exponents: Sequence[int]) -> None:
    for index, exponent in enumerate(exponents):
        if exponent < 0 or exponent.bit_length() > MAX_EXPONENT_BITS:
            raise BadParameter(f"exponent {index} is negative or too long", index=index)
