"""Paillier on the vector kernels: encryption and decryption in pairs (`pairs_vector`).

Ciphertexts come and go in Montgomery form modulo n^2, as `accel.paillier_backends` documents.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache

import gmpy2
import numpy as np

from accel import modular
from accel.additive import ByteRows
from accel.cpu.lane_memory import widened
from accel.cpu.pairs_vector import PairModulus, PairTable
from accel.cpu.pairs_vector import avx2 as _avx2
from accel.cpu.pairs_vector import ifma as _ifma
from accel.limbs import LIMB_BITS, LIMB_MASK, LimbArray
from accel.modulus import MIN_BITS, Modulus
from accel.reference import paillier as reference

_PATHS = {"avx2": _avx2, "ifma": _ifma}
_CACHED_KEYS = 4  # tables take 12 MB a key at 2048 bits and 27 MB at 3072; rerandomizing doubles that


def fits(n: int) -> bool:
    """Is n, or a prime, of a size for pairs, with spare bits enough in its limbs?"""
    return n.bit_length() >= MIN_BITS and PairModulus(n).fits


def encrypt(n: int, residues: Sequence[int], exponents: ByteRows, *, backend: str) -> LimbArray:
    """(1 + m n) (h^n)^e modulo n^2."""
    return _bases(n, backend).encrypt(residues, exponents)


def decrypt(p: int, q: int, ciphertexts: LimbArray, *, backend: str) -> list[int]:
    """Residues modulo n = p q: c^(p-1) = 1 + p L modulo p^2, the same for q, and the CRT."""
    m = Modulus((p * q) ** 2)
    mp, mq = (
        logarithms(prime, ciphertexts, m, int(gmpy2.invert(-other, prime)), backend=backend)
        for prime, other in ((p, q), (q, p))
    )
    inverse, low = gmpy2.invert(p, q), gmpy2.mpz(p)
    return [int(x + low * ((y - x) * inverse % q)) for x, y in zip(mp, mq, strict=True)]


def logarithms(
    prime: int, ciphertexts: LimbArray, m: Modulus, factor: int, *, backend: str
) -> list[gmpy2.mpz]:
    """L factor modulo the prime, where c^(prime-1) = 1 + prime L modulo its square, which divides m."""
    pairs, p = PairModulus(prime), gmpy2.mpz(prime)
    square, radix = p * p, pairs.radix
    convert = gmpy2.invert(gmpy2.mpz(2) ** (LIMB_BITS * m.limbs), square) * radix % square
    halves = [
        gmpy2.f_divmod(gmpy2.mpz(value) % square * convert % square, p) for value in ciphertexts.to_ints()
    ]
    low = pairs.m.array([int(rest) for _, rest in halves])
    high = pairs.m.array([int(quotient) for quotient, _ in halves])
    powers = _PATHS[backend].power_secret(low, high, prime - 1, prime.bit_length(), pairs)
    # x0 + x1 p = R (1 + p L) modulo p^2, so x0 - R is a multiple of p.
    scale = gmpy2.invert(radix, p) * factor % p
    return [
        (x1 + (x0 - radix) // p) * scale % p
        for x0, x1 in zip(*(half.to_ints() for half in powers), strict=True)
    ]


class _Bases:
    """The table of one key on one path, longer once somebody rerandomizes."""

    def __init__(self, n: int, backend: str) -> None:
        self._path = _PATHS[backend]
        self._pairs = PairModulus(n)
        self._square = Modulus(n * n)
        base = gmpy2.powmod(reference.base(n), n, self._square.value)
        self._table = PairTable(int(base), self._pairs, self._path)
        self._lock = threading.Lock()
        # What takes x R to Montgomery form modulo n^2, and x n R likewise.
        one = int(gmpy2.invert(self._pairs.radix, self._square.value)) * self._square.radix_squared
        self._low = self._square.array([one % self._square.value])
        self._high = self._square.array([one * n % self._square.value])

    def encrypt(self, residues: Sequence[int], exponents: ByteRows) -> LimbArray:
        with self._lock:
            self._table.extend(-(-8 * exponents.shape[1] // self._path.window_bits))
        path, square = self._path.vector, self._square
        plain = self._pairs.m.array(list(residues))
        low, high = self._path.fixed_base(self._table, exponents, plain, self._pairs)
        low = path.multiply(widened(low, square), self._low, square)
        return _sum(low, path.multiply(widened(high, square), self._high, square), square)


_bases = lru_cache(maxsize=_CACHED_KEYS)(_Bases)


def rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows, *, backend: str) -> LimbArray:
    """c (h^n)^e modulo n^2."""
    zeros = encrypt(n, [0] * len(ciphertexts), exponents, backend=backend)
    return modular.multiply(ciphertexts, zeros, Modulus(n * n), backend=backend)


def _sum(a: LimbArray, b: LimbArray, m: Modulus) -> LimbArray:
    """a + b modulo m, for a and b below m."""
    total, reduced = np.empty_like(a.limbs), np.empty_like(a.limbs)
    carry = np.zeros(len(a), dtype=np.int64)
    borrow = np.zeros(len(a), dtype=np.int64)
    for j, limb in enumerate(m.limb_values.tolist()):
        carry += (a.limbs[j] + b.limbs[j]).view(np.int64)
        total[j] = carry & LIMB_MASK
        borrow += (carry & LIMB_MASK) - limb
        reduced[j] = borrow & LIMB_MASK
        carry >>= LIMB_BITS
        borrow >>= LIMB_BITS
    return LimbArray(np.where(borrow < 0, total, reduced))
