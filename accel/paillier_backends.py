"""Encrypting, rerandomizing and decrypting with Paillier, and who runs them.

Ciphertexts are limb arrays in Montgomery form modulo n^2, plaintexts residues modulo n, exponents rows of
big-endian bytes; callers have validated all of them. Every backend gives the same ciphertext for the same
exponent. The vector paths work on pairs of numbers modulo n where n leaves spare bits in its limbs, which the
usual sizes do; the others are made of `accel.modular`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial

import gmpy2
import numpy as np

from accel import modular, samples, selftest
from accel.additive import GPU_BATCH, ByteRows, row_ints
from accel.limbs import LimbArray
from accel.modular import FixedBase, Modulus
from accel.reference import paillier as _reference
from accel.registry import Op

_CACHED_KEYS = 4  # the tables of a key take tens of megabytes


def encode(n: int, residues: Sequence[int]) -> LimbArray:
    """1 + m n of every residue: its ciphertext without randomness."""
    m = square(n)
    return modular.enter(LimbArray.from_ints([1 + residue * n for residue in residues], m.limbs), m)


@lru_cache(maxsize=4 * _CACHED_KEYS)
def square(n: int) -> Modulus:
    """The modulus n^2."""
    return Modulus(n * n)


class _Bases:
    """Powers of h^n: for exponents as long as an encryption's, and for what is left of a longer one."""

    def __init__(self, n: int) -> None:
        m = square(n)
        split = _reference.encryption_bytes(n)
        rest = _reference.rerandomization_bytes(n) - split
        base = gmpy2.powmod(_reference.base(n), n, m.value)
        shifted = gmpy2.powmod(base, 1 << 8 * split, m.value)
        self._split = split
        self._low = FixedBase(int(base), 8 * split, m)
        self._high = FixedBase(int(shifted), 8 * rest, m)

    def power(self, exponents: ByteRows, backend: str) -> LimbArray:
        low = self._low.power(np.ascontiguousarray(exponents[:, -self._split :]), backend=backend)
        if exponents.shape[1] == self._split:
            return low
        high = self._high.power(np.ascontiguousarray(exponents[:, : -self._split]), backend=backend)
        return modular.multiply(low, high, self._low.m, backend=backend)


_bases = lru_cache(maxsize=_CACHED_KEYS)(_Bases)


def _encrypt(n: int, residues: Sequence[int], exponents: ByteRows, *, backend: str) -> LimbArray:
    randomizers = _bases(n).power(exponents, backend)
    return modular.multiply(randomizers, encode(n, residues), square(n), backend=backend)


def _rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows, *, backend: str) -> LimbArray:
    return modular.multiply(ciphertexts, _bases(n).power(exponents, backend), square(n), backend=backend)


def _decrypt(p: int, q: int, ciphertexts: LimbArray, *, backend: str) -> list[int]:
    """L_p(c^(p-1) mod p^2) h_p mod p, the same for q, and the CRT (Paillier 1999, section 7).

    h_p = L_p((n + 1)^(p-1))^-1 = (-q)^-1 modulo p, because (n + 1)^(p-1) = 1 + (p - 1) n modulo p^2.
    """
    plain = [gmpy2.mpz(c) for c in modular.leave(ciphertexts, square(p * q), backend=backend).to_ints()]
    halves = [_half(prime, other, plain, backend) for prime, other in ((p, q), (q, p))]
    inverse = gmpy2.invert(p, q)
    return [int(mp + p * ((mq - mp) * inverse % q)) for mp, mq in zip(*halves, strict=True)]


def _half(prime: int, other: int, ciphertexts: Sequence[gmpy2.mpz], backend: str) -> list[gmpy2.mpz]:
    m = Modulus(prime * prime)
    reduced = m.array([int(c % m.value) for c in ciphertexts])
    bases = modular.enter(reduced, m, backend=backend)
    powers = modular.power_secret(bases, prime - 1, prime.bit_length(), m, backend=backend)
    p = gmpy2.mpz(prime)
    factor = gmpy2.invert(-other, p)
    return [(x - 1) // p * factor % p for x in modular.leave(powers, m, backend=backend).to_ints()]


def _reference_encrypt(n: int, residues: Sequence[int], exponents: ByteRows) -> LimbArray:
    return _entered(n, _reference.encrypt(n, residues, row_ints(exponents)))


def _reference_rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows) -> LimbArray:
    return _entered(n, _reference.rerandomize(n, _left(n, ciphertexts), row_ints(exponents)))


def _reference_decrypt(p: int, q: int, ciphertexts: LimbArray) -> list[int]:
    return _reference.decrypt(p, q, _left(p * q, ciphertexts))


def _entered(n: int, values: list[int]) -> LimbArray:
    m = square(n)
    return modular.enter(m.array(values), m, backend="reference")


def _left(n: int, values: LimbArray) -> list[int]:
    return modular.leave(values, square(n), backend="reference").to_ints()


@cache
def _sample_primes() -> tuple[int, int]:
    p, q = (int(gmpy2.next_prime(3 << 1022 | salt << 900)) for salt in (1, 2))
    return p, q


def _to_encrypt(batch: int) -> tuple[object, ...]:
    n = math.prod(_sample_primes())
    return n, list(range(batch)), samples.rows(batch, _reference.encryption_bytes(n))


def _to_rerandomize(batch: int) -> tuple[object, ...]:
    n = math.prod(_sample_primes())
    return n, samples.residues(square(n), batch), samples.rows(batch, _reference.rerandomization_bytes(n))


def _to_decrypt(batch: int) -> tuple[object, ...]:
    p, q = _sample_primes()
    return p, q, samples.residues(square(p * q), batch)


ENCRYPT: Op[[int, Sequence[int], ByteRows], LimbArray] = Op("paillier.encrypt", sample=_to_encrypt)
RERANDOMIZE: Op[[int, LimbArray, ByteRows], LimbArray] = Op("paillier.rerandomize", sample=_to_rerandomize)
DECRYPT: Op[[int, int, LimbArray], list[int]] = Op("paillier.decrypt", sample=_to_decrypt)


@ENCRYPT.known_answer
def _check_encrypt(run: Callable[[int, Sequence[int], ByteRows], LimbArray]) -> None:
    for case in _small_cases():
        n, c = _case_modulus(case), int(case["c"], 16)
        rows = samples.one_row(int(case["e"], 16), _reference.encryption_bytes(n))
        selftest.expect(_left(n, run(n, [int(case["m"], 16)], rows)) == [c], "paillier.encrypt")


@RERANDOMIZE.known_answer
def _check_rerandomize(run: Callable[[int, LimbArray, ByteRows], LimbArray]) -> None:
    for case in _small_cases():
        n = _case_modulus(case)
        rows = samples.one_row(int(case["rerandomizing_e"], 16), _reference.rerandomization_bytes(n))
        fresh = run(n, _entered(n, [int(case["c"], 16)]), rows)
        selftest.expect(_left(n, fresh) == [int(case["rerandomized"], 16)], "paillier.rerandomize")


@DECRYPT.known_answer
def _check_decrypt(run: Callable[[int, int, LimbArray], list[int]]) -> None:
    for case in _small_cases():
        p, q, c, m = (int(case[name], 16) for name in ("p", "q", "c", "m"))
        selftest.expect(run(p, q, _entered(p * q, [c])) == [m], "paillier.decrypt")


def _small_cases() -> list[dict[str, str]]:
    """Of a modulus far below the floor, so that they take milliseconds."""
    cases: list[dict[str, str]] = selftest.vectors("paillier")["short_exponent"]
    return [case for case in cases if len(case["p"]) <= 66]


def _case_modulus(case: dict[str, str]) -> int:
    return int(case["p"], 16) * int(case["q"], 16)


ENCRYPT.backend("reference")(_reference_encrypt)
RERANDOMIZE.backend("reference")(_reference_rerandomize)
DECRYPT.backend("reference")(_reference_decrypt)
ENCRYPT.backend("portable", needs="gmpy2")(partial(_encrypt, backend="portable"))
RERANDOMIZE.backend("portable", needs="gmpy2")(partial(_rerandomize, backend="portable"))
DECRYPT.backend("portable", needs="gmpy2")(partial(_decrypt, backend="portable"))


def _vector_encrypt(n: int, residues: Sequence[int], exponents: ByteRows, *, backend: str) -> LimbArray:
    from accel.cpu import paillier

    run = paillier.encrypt if paillier.fits(n) else _encrypt
    return run(n, residues, exponents, backend=backend)


def _vector_rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows, *, backend: str) -> LimbArray:
    from accel.cpu import paillier

    run = paillier.rerandomize if paillier.fits(n) else _rerandomize
    return run(n, ciphertexts, exponents, backend=backend)


def _vector_decrypt(p: int, q: int, ciphertexts: LimbArray, *, backend: str) -> list[int]:
    from accel.cpu import paillier

    run = paillier.decrypt if paillier.fits(p) and paillier.fits(q) else _decrypt
    return run(p, q, ciphertexts, backend=backend)


# A few encryptions are as fast with GMP, whose table is made in a third of the time.
for _name in ("avx2", "ifma"):
    ENCRYPT.backend(_name, needs="numba", min_batch=4)(partial(_vector_encrypt, backend=_name))
    RERANDOMIZE.backend(_name, needs="numba", min_batch=4)(partial(_vector_rerandomize, backend=_name))
    DECRYPT.backend(_name, needs="numba", min_batch=2 if _name == "ifma" else 3)(
        partial(_vector_decrypt, backend=_name)
    )


@ENCRYPT.backend("gpu", needs="cupy", min_batch=GPU_BATCH)
def _gpu_encrypt(n: int, residues: Sequence[int], exponents: ByteRows) -> LimbArray:
    from accel.gpu import paillier

    return paillier.encrypt(n, residues, exponents)


@RERANDOMIZE.backend("gpu", needs="cupy", min_batch=GPU_BATCH)
def _gpu_rerandomize(n: int, ciphertexts: LimbArray, exponents: ByteRows) -> LimbArray:
    from accel.gpu import paillier

    return paillier.rerandomize(n, ciphertexts, exponents)


@DECRYPT.backend("gpu", needs="cupy", min_batch=GPU_BATCH)
def _gpu_decrypt(p: int, q: int, ciphertexts: LimbArray) -> list[int]:
    from accel.gpu import paillier

    return paillier.decrypt(p, q, ciphertexts)
