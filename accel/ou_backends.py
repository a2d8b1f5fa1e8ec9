"""Encrypting, rerandomizing and decrypting with Okamoto-Uchiyama, and who runs them.

Ciphertexts are limb arrays in Montgomery form modulo n, plaintexts signed integers of magnitude below
2^(plain_bits - 1), exponents rows of big-endian bytes; callers have validated all of them. Every backend
gives the same ciphertext for the same exponent. The processor's paths are made of `accel.modular` there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial

import gmpy2
import numpy as np

from accel import modular, samples, selftest
from accel.additive import CPU_PATHS, ByteRows, row_ints
from accel.limbs import LimbArray, concatenate
from accel.modular import FixedBase, Modulus
from accel.reference import ou as _reference
from accel.registry import Op

_FEWEST = {"portable": 1, "avx2": 8, "ifma": 2}  # from how many on a path is faster than the one before
_CACHED_KEYS = 4  # the tables of a key take up to tens of megabytes


def modulus(n: int) -> Modulus:
    return _bases(n).m


def plain_bits(n: int, bound: int) -> int:
    """How many bits of exponent g takes for plaintexts up to a bound: one of few, so that tables are few."""
    bits = 64
    while bits <= bound.bit_length():
        bits *= 2
    return min(bits, 8 * -(-(_reference.plaintext_bits(n) + 1) // 8))


def encode(n: int, plain: Sequence[int]) -> LimbArray:
    """g^m of every signed integer: its ciphertext without randomness. Time shows the integers."""
    m = modulus(n)
    g = _reference.plain_base(n)
    return modular.enter(m.array([int(gmpy2.powmod(g, x, n)) for x in plain]), m)


class _Bases:
    """Fixed bases of one key, each made at its first use."""

    def __init__(self, n: int) -> None:
        self.m = Modulus(n)
        self._g, self._h = _reference.plain_base(n), _reference.random_base(n)
        self._split = _reference.encryption_bytes(n)
        self._low = FixedBase(self._h, 8 * self._split, self.m)
        # Caches of this object, not of the methods: those would keep every key for ever.
        self._plain, self._high = cache(self._make_plain), cache(self._make_high)

    def randomizers(self, exponents: ByteRows, backend: str) -> LimbArray:
        """h^e, of an encryption's width or a longer one."""
        low = self._low.power(np.ascontiguousarray(exponents[:, -self._split :]), backend=backend)
        rest = exponents.shape[1] - self._split
        if not rest:
            return low
        high = self._high(rest).power(np.ascontiguousarray(exponents[:, :rest]), backend=backend)
        return modular.multiply(low, high, self.m, backend=backend)

    def encoded(self, plain: Sequence[int], bits: int, backend: str) -> LimbArray:
        """g^m as g^(m + 2^(bits-1)) times a constant: the sign costs and shows nothing."""
        base, correction = self._plain(bits)
        offset, width = 1 << bits - 1, bits // 8
        data = b"".join((value + offset).to_bytes(width, "big") for value in plain)
        rows = np.frombuffer(data, dtype=np.uint8).reshape(len(plain), width)
        return modular.multiply(base.power(rows, backend=backend), correction, self.m, backend=backend)

    def _make_plain(self, bits: int) -> tuple[FixedBase, LimbArray]:
        correction = int(gmpy2.powmod(self._g, -(1 << bits - 1), self.m.value))
        return FixedBase(self._g, bits, self.m), self.m.array([self.m.to_montgomery(correction)])

    def _make_high(self, rest: int) -> FixedBase:
        shifted = int(gmpy2.powmod(self._h, 1 << 8 * self._split, self.m.value))
        return FixedBase(shifted, 8 * rest, self.m)


_bases = lru_cache(maxsize=_CACHED_KEYS)(_Bases)


def _encrypt(n: int, plain: Sequence[int], bits: int, exponents: ByteRows, *, backend: str) -> LimbArray:
    bases = _bases(n)
    encoded = bases.encoded(plain, bits, backend)
    return modular.multiply(encoded, bases.randomizers(exponents, backend), bases.m, backend=backend)


def _rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows, *, backend: str) -> LimbArray:
    bases = _bases(n)
    return modular.multiply(ciphertexts, bases.randomizers(exponents, backend), bases.m, backend=backend)


def _decrypt(p: int, q: int, ciphertexts: LimbArray, *, backend: str) -> list[int]:
    n, m = p * p * q, Modulus(p * p)
    plain = modular.leave(_with_base(n, ciphertexts), modulus(n), backend=backend).to_ints()
    bases = modular.enter(m.array([int(gmpy2.mpz(c) % m.value) for c in plain]), m, backend=backend)
    powers = modular.power_secret(bases, p - 1, p.bit_length(), m, backend=backend)
    prime = gmpy2.mpz(p)
    return _ratios([(x - 1) // prime for x in modular.leave(powers, m, backend=backend).to_ints()], prime)


def _vector_decrypt(p: int, q: int, ciphertexts: LimbArray, *, backend: str) -> list[int]:
    from accel.cpu import paillier

    if not paillier.fits(p):
        return _decrypt(p, q, ciphertexts, backend=backend)
    n = p * p * q
    found = paillier.logarithms(p, _with_base(n, ciphertexts), modulus(n), 1, backend=backend)
    return _ratios(found, gmpy2.mpz(p))


def _with_base(n: int, ciphertexts: LimbArray) -> LimbArray:
    """The ciphertexts and, after them, g: its logarithm is what all others are divided by."""
    return concatenate([ciphertexts, encode(n, [1])])


def _ratios(logarithms: Sequence[gmpy2.mpz], p: gmpy2.mpz) -> list[int]:
    inverse = gmpy2.invert(logarithms[-1], p)
    return [int(x * inverse % p) for x in logarithms[:-1]]


def _reference_encrypt(n: int, plain: Sequence[int], bits: int, exponents: ByteRows) -> LimbArray:
    return _entered(n, _reference.encrypt(n, plain, row_ints(exponents)))


def _reference_rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows) -> LimbArray:
    return _entered(n, _reference.rerandomize(n, _left(n, ciphertexts), row_ints(exponents)))


def _reference_decrypt(p: int, q: int, ciphertexts: LimbArray) -> list[int]:
    return _reference.decrypt(p, q, _left(p * p * q, ciphertexts))


def _entered(n: int, values: list[int]) -> LimbArray:
    m = modulus(n)
    return modular.enter(m.array(values), m, backend="reference")


def _left(n: int, values: LimbArray) -> list[int]:
    return modular.leave(values, modulus(n), backend="reference").to_ints()


@cache
def _sample_primes() -> tuple[int, int]:
    return int(gmpy2.next_prime(15 << 679)), int(gmpy2.next_prime(15 << 678))


def _sample_n() -> int:
    p, q = _sample_primes()
    return p * p * q


def _to_encrypt(batch: int) -> tuple[object, ...]:
    n = _sample_n()
    return n, list(range(batch)), 64, samples.rows(batch, _reference.encryption_bytes(n))


def _to_rerandomize(batch: int) -> tuple[object, ...]:
    n = _sample_n()
    return n, samples.residues(modulus(n), batch), samples.rows(batch, _reference.rerandomization_bytes(n))


def _to_decrypt(batch: int) -> tuple[object, ...]:
    p, q = _sample_primes()
    return p, q, samples.residues(modulus(p * p * q), batch)


ENCRYPT: Op[[int, Sequence[int], int, ByteRows], LimbArray] = Op("ou.encrypt", sample=_to_encrypt)
RERANDOMIZE: Op[[int, LimbArray, ByteRows], LimbArray] = Op("ou.rerandomize", sample=_to_rerandomize)
DECRYPT: Op[[int, int, LimbArray], list[int]] = Op("ou.decrypt", sample=_to_decrypt)


@ENCRYPT.known_answer
def _check_encrypt(run: Callable[[int, Sequence[int], int, ByteRows], LimbArray]) -> None:
    for case in _small_cases():
        n, m = _case_modulus(case), int(case["m"])
        rows = samples.one_row(int(case["e"], 16), _reference.encryption_bytes(n))
        got = _left(n, run(n, [m], plain_bits(n, abs(m)), rows))
        selftest.expect(got == [int(case["c"], 16)], "ou.encrypt")


@RERANDOMIZE.known_answer
def _check_rerandomize(run: Callable[[int, LimbArray, ByteRows], LimbArray]) -> None:
    for case in _small_cases():
        n = _case_modulus(case)
        rows = samples.one_row(int(case["rerandomizing_e"], 16), _reference.rerandomization_bytes(n))
        fresh = run(n, _entered(n, [int(case["c"], 16)]), rows)
        selftest.expect(_left(n, fresh) == [int(case["rerandomized"], 16)], "ou.rerandomize")


@DECRYPT.known_answer
def _check_decrypt(run: Callable[[int, int, LimbArray], list[int]]) -> None:
    for case in _small_cases():
        p, q, c = (int(case[name], 16) for name in ("p", "q", "c"))
        selftest.expect(run(p, q, _entered(p * p * q, [c])) == [int(case["m"]) % p], "ou.decrypt")


def _small_cases() -> list[dict[str, str]]:
    """Of a modulus far below the floor, so that they take milliseconds."""
    cases: list[dict[str, str]] = selftest.vectors("ou")["valid"]
    return [case for case in cases if len(case["p"]) <= 66]


def _case_modulus(case: dict[str, str]) -> int:
    return int(case["p"], 16) ** 2 * int(case["q"], 16)


ENCRYPT.backend("reference")(_reference_encrypt)
RERANDOMIZE.backend("reference")(_reference_rerandomize)
DECRYPT.backend("reference")(_reference_decrypt)
for _name, _needs in CPU_PATHS:
    ENCRYPT.backend(_name, needs=_needs, min_batch=_FEWEST[_name])(partial(_encrypt, backend=_name))
    RERANDOMIZE.backend(_name, needs=_needs, min_batch=_FEWEST[_name])(partial(_rerandomize, backend=_name))
    DECRYPT.backend(_name, needs=_needs, min_batch=_FEWEST[_name])(
        partial(_decrypt if _name == "portable" else _vector_decrypt, backend=_name)
    )
