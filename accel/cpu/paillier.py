"""Paillier with gmpy2: short-exponent encryption from a fixed-base table, CRT decryption.

The randomness of a ciphertext is h^n raised to a secret exponent, where h = -x^2 modulo n and x is hashed
from n: nobody chose h, so a malicious owner cannot plant a weak one. Encryption takes |n|/2 bits of exponent
(Damgard, Jurik, Nielsen 2010, section 4.2: indistinguishable for whoever lacks the factors). Rerandomizing
takes |n| + 64 bits: uniform in the group of h up to 2^-64, so it also hides from the owner of the key.

The table is read at secret indices and Python integers are not constant-time: an attacker on the same
processor could watch it. Decryption uses GMP's constant-time exponentiation.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache

import gmpy2

from accel.randomness import Rng, random_bits

_WINDOW_BITS = 6
_CACHED_KEYS = 4  # a full table takes 30 MB at 3072 bits


def encrypt(n: int, residues: Sequence[int], rng: Rng) -> list[int]:
    table = _table(n)
    modulus = gmpy2.mpz(n)
    square = modulus * modulus
    exponent_bits = (n.bit_length() + 1) // 2
    return [
        (1 + modulus * m) * table.power(random_bits(exponent_bits, rng), exponent_bits) % square
        for m in residues
    ]


def rerandomize(n: int, ciphertexts: Sequence[int], rng: Rng) -> list[int]:
    table = _table(n)
    square = gmpy2.mpz(n) ** 2
    exponent_bits = n.bit_length() + 64
    return [c * table.power(random_bits(exponent_bits, rng), exponent_bits) % square for c in ciphertexts]


def decrypt(p: int, q: int, ciphertexts: Sequence[int]) -> list[int]:
    halves = [_Half(p, p * q), _Half(q, p * q)]
    p_inverse = gmpy2.invert(p, q)
    residues = []
    for c in ciphertexts:
        mp, mq = (half.decrypt(c) for half in halves)
        residues.append(int(mp + p * ((mq - mp) * p_inverse % q)))
    return residues


class _Half:
    """Decryption modulo one prime: L_p(c^(p-1) mod p^2) * h_p mod p (Paillier 1999, section 7)."""

    def __init__(self, prime: int, n: int) -> None:
        self.prime = gmpy2.mpz(prime)
        self.square = self.prime**2
        self.factor = gmpy2.invert((gmpy2.powmod(n + 1, prime - 1, self.square) - 1) // prime, prime)

    def decrypt(self, c: int) -> gmpy2.mpz:
        power = gmpy2.powmod_sec(c % self.square, self.prime - 1, self.square)
        return (power - 1) // self.prime * self.factor % self.prime


class _FixedBase:
    """Powers of h^n modulo n^2: row i holds base^(d * 2^(6 i)) for every digit d. Rows are made on demand."""

    def __init__(self, n: int) -> None:
        self._square = gmpy2.mpz(n) ** 2
        self._next = gmpy2.powmod(_hashed_base(n), n, self._square)
        self._rows: list[list[gmpy2.mpz]] = []
        self._lock = threading.Lock()

    def power(self, exponent: int, bits: int) -> gmpy2.mpz:
        rows = self._extended((bits + _WINDOW_BITS - 1) // _WINDOW_BITS)
        square = self._square
        product = gmpy2.mpz(1)
        mask = (1 << _WINDOW_BITS) - 1
        # Every row is multiplied in, zero digits too: the number of products does not depend on the exponent.
        for index in range((bits + _WINDOW_BITS - 1) // _WINDOW_BITS):
            product = product * rows[index][exponent >> _WINDOW_BITS * index & mask] % square
        return product

    def _extended(self, count: int) -> list[list[gmpy2.mpz]]:
        if len(self._rows) < count:
            with self._lock:
                while len(self._rows) < count:
                    row = [gmpy2.mpz(1)]
                    for _ in range((1 << _WINDOW_BITS) - 1):
                        row.append(row[-1] * self._next % self._square)
                    self._next = row[-1] * self._next % self._square
                    self._rows.append(row)
        return self._rows


@lru_cache(maxsize=_CACHED_KEYS)
def _table(n: int) -> _FixedBase:
    return _FixedBase(n)


def _hashed_base(n: int) -> gmpy2.mpz:
    """-x^2 modulo n for x expanded from n by SHA-512 in counter mode, 128 bits longer than n."""
    seed = n.to_bytes((n.bit_length() + 7) // 8, "big")
    blocks = (n.bit_length() + 128 + 511) // 512
    stream = b"".join(
        hashlib.sha512(b"liutong paillier base" + block.to_bytes(4, "big") + seed).digest()
        for block in range(blocks)
    )
    x = gmpy2.mpz(int.from_bytes(stream, "big")) % n
    return -x * x % n
