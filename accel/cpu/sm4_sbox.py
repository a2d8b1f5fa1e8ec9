"""The S-box of SM4 through the inversion of AES, for instructions that know the latter.

SM4's S-box is S(x) = A inv(A x + C) + C with inv in GF(2)[t] / (t^8 + t^7 + t^6 + t^5 + t^4 + t^2 + 1); AES
inverts modulo t^8 + t^4 + t^3 + t + 1. The fields are isomorphic by F, so inv(y) = F^-1 inv_AES(F y).

The kernels keep every byte x of a block as u = F A x. One round of the cipher is then

    u4 = u0 + q + r + (q <<< 8) + (q <<< 16) + (r <<< 24)
    with q = Q y, r = R y, y = inv_AES(u1 + u2 + u3 + k)

where k = F A rk + F C, and Q, R take the affine part of S, one of two maps on bytes that the rotations by 2 +
8 i of the cipher's L amount to (b <<< 2, and b + (b >> 6)), and F A together. Everything is found by search
and proved over all 256 bytes by `tests/accel/test_sm4_sbox.py`.

Sources: GB/T 32907-2016; the algebraic form after Liu, Ji, Hu, Ding, Lv, Pyshkin, Weinmann, ACISP 2007.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_SM4_FIELD = 0x1F5
_AES_FIELD = 0x11B
_C = 0xD3
_A_ROW = 0xA7  # row i of A is this rotated left by i


@dataclass(frozen=True)
class Affine:
    """x -> matrix x + constant on bytes; ``columns[j]`` is the image of bit j under the linear part."""

    columns: tuple[int, ...]
    constant: int = 0

    @classmethod
    def linear(cls, function: Callable[[int], int]) -> Affine:
        return cls(tuple(function(1 << j) for j in range(8)))

    def __call__(self, x: int) -> int:
        return self._linear(x) ^ self.constant

    def after(self, inner: Affine) -> Affine:
        """The map x -> self(inner(x))."""
        return Affine(tuple(self._linear(c) for c in inner.columns), self(inner.constant))

    def inverse(self) -> Affine:
        """Of the linear part; the constant must be 0."""
        table = {self(x): x for x in range(256)}
        return Affine.linear(table.__getitem__)

    @property
    def gfni(self) -> int:
        """The linear part as GF2P8AFFINEQB wants it: row i, for output bit i, in byte 7 - i."""
        rows = [sum((column >> i & 1) << j for j, column in enumerate(self.columns)) for i in range(8)]
        return sum(row << 8 * (7 - i) for i, row in enumerate(rows))

    @property
    def nibbles(self) -> tuple[list[int], list[int]]:
        """Two tables of 16, for the low and the high four bits, whose sum is the map."""
        return [self(x) for x in range(16)], [self._linear(x << 4) for x in range(16)]

    def _linear(self, x: int) -> int:
        result = 0
        for j, column in enumerate(self.columns):
            result ^= column * (x >> j & 1)
        return result


def multiply(x: int, y: int, field: int) -> int:
    product = 0
    for bit in range(8):
        product ^= (x << bit) * (y >> bit & 1)
    for bit in range(14, 7, -1):
        product ^= (field << bit - 8) * (product >> bit & 1)
    return product


def invert(x: int, field: int = _AES_FIELD) -> int:
    """x^254: the inverse, and 0 for 0."""
    result = 1
    for _ in range(254):
        result = multiply(result, x, field)
    return result


def _isomorphism() -> Affine:
    """F: sends t to a root, in the field of AES, of the polynomial of SM4."""
    for root in range(2, 256):
        powers = [1]
        for _ in range(8):
            powers.append(multiply(powers[-1], root, _AES_FIELD))
        value = 0
        for bit, power in enumerate(powers):
            value ^= power * (_SM4_FIELD >> bit & 1)
        if value == 0:
            return Affine(tuple(powers[:8]))
    raise AssertionError("the polynomial of SM4 has a root in every field of 256 elements")


def _rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (8 - bits)) & 0xFF


def _parity_rows(x: int) -> int:
    return sum((_rotate(_A_ROW, i) & x).bit_count() % 2 << i for i in range(8))


_A = Affine.linear(_parity_rows)
_F = _isomorphism()
_TWO = Affine.linear(lambda x: _rotate(x, 2))
_SIX = Affine.linear(lambda x: x ^ x >> 6)

ENTER = _F.after(_A)
LEAVE = ENTER.inverse()
KEY = Affine(ENTER.columns, _F(_C))  # a round key, with the constant in front of the inversion
SUBSTITUTE = Affine(_A.after(_F.inverse()).columns, _C)  # inv_AES(KEY x) -> S(x)
Q = ENTER.after(_TWO).after(SUBSTITUTE)
R = ENTER.after(_SIX).after(SUBSTITUTE)

# AESENCLAST gives this map of the inverse; undo it where there is no bare inversion.
_AES_OUTPUT = Affine.linear(lambda x: x ^ _rotate(x, 1) ^ _rotate(x, 2) ^ _rotate(x, 3) ^ _rotate(x, 4))
_UNDO = _AES_OUTPUT.inverse()
FROM_AES = Affine(_UNDO.columns, _UNDO(0x63))
