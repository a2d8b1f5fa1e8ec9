"""Paillier on the vector kernels: encryption, decryption and plain factors in pairs (`pairs_vector`).

Ciphertexts come and go in Montgomery form modulo n^2, as `accel.paillier_backends` documents.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache

import gmpy2

from accel import modular
from accel.additive import ByteRows
from accel.cpu.pairs_vector import PairModulus, PairTable, VectorPairs
from accel.cpu.pairs_vector import avx2 as _avx2
from accel.cpu.pairs_vector import ifma as _ifma
from accel.limbs import LIMB_BITS, LimbArray
from accel.modulus import MIN_BITS, Modulus
from accel.reference import paillier as reference

_PATHS = {"avx2": _avx2, "ifma": _ifma}
_LONG_BITS = 10  # shorter exponents save less than it costs to enter and to leave pairs
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


class _Forms:
    """Between pairs and the Montgomery form modulo n^2."""

    def __init__(self, pairs: PairModulus, square: Modulus) -> None:
        self.pairs = pairs
        # What takes x R to Montgomery form modulo n^2.
        one = gmpy2.invert(pairs.radix, square.value) * square.radix_squared
        self._one = square.array([int(one % square.value)])
        # What takes a + b R in Montgomery form modulo n^2 to a pair: the products with a and with b.
        scale = pairs.radix**2 * square.radix_inverse
        self.scales = pairs.halves(scale), pairs.halves(scale * pairs.radix)

    def entered(self, values: LimbArray, square: Modulus, path: VectorPairs) -> LimbArray:
        """x R, below 4 n^2 + n and so below R of n^2, into Montgomery form modulo n^2."""
        return path.vector.multiply(LimbArray(values.limbs[: square.limbs]), self._one, square)


class _Bases:
    """The table of one key on one path, longer once somebody rerandomizes."""

    def __init__(self, n: int, backend: str) -> None:
        self._path = _PATHS[backend]
        self._pairs = PairModulus(n)
        self._square = Modulus(n * n)
        self._forms = _Forms(self._pairs, self._square)
        base = gmpy2.powmod(reference.base(n), n, self._square.value)
        self._table = PairTable(int(base), self._pairs, self._path)
        self._lock = threading.Lock()

    def encrypt(self, residues: Sequence[int], exponents: ByteRows) -> LimbArray:
        with self._lock:
            self._table.extend(-(-8 * exponents.shape[1] // self._path.window_bits))
        plain = self._pairs.m.array(list(residues))
        found = self._path.fixed_base(self._table, exponents, plain, self._pairs)
        return self._forms.entered(found, self._square, self._path)


_bases = lru_cache(maxsize=_CACHED_KEYS)(_Bases)


def rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows, *, backend: str) -> LimbArray:
    """c (h^n)^e modulo n^2."""
    zeros = encrypt(n, [0] * len(ciphertexts), exponents, backend=backend)
    return modular.multiply(ciphertexts, zeros, Modulus(n * n), backend=backend)


def power(elements: LimbArray, exponents: int | Sequence[int], m: Modulus, *, backend: str) -> LimbArray:
    """`modular.power` of elements that are below m: in pairs if m is a square and exponents are long."""
    some = [exponents] if isinstance(exponents, int) else exponents
    bits = max((e.bit_length() for e in some), default=0)
    suits = _LONG_BITS <= bits <= m.bits and elements.limb_count == m.limbs
    forms = m.prepared("pairs", lambda: _forms_of(m)) if suits else None
    if forms is None:
        return modular.power(elements, exponents, m, backend=backend)
    path = _PATHS[backend]
    return forms.entered(path.power(elements, forms.scales, exponents, forms.pairs), m, path)


def _forms_of(m: Modulus) -> _Forms | None:
    n, rest = gmpy2.isqrt_rem(m.value)
    return None if rest or not fits(int(n)) else _Forms(PairModulus(int(n)), m)
