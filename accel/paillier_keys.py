"""Paillier keys: generation, validation, canonical bytes, what a key does. `accel.paillier` is the facade.

Source: Paillier, EUROCRYPT 1999; Damgard, Jurik, Nielsen, Int. J. Inf. Secur. 9 (2010), section 4.2;
ISO/IEC 18033-6:2019 section 5. The generator is n + 1, as in `phe`, so ciphertexts interoperate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import gmpy2

from accel import composite, paillier_backends
from accel.additive import random_rows
from accel.composite import DEFAULT_MODULUS_BITS, MAX_MODULUS_BITS, MIN_MODULUS_BITS
from accel.errors import BadEncoding, InvalidKey
from accel.limbs import LimbArray
from accel.modular import Modulus
from accel.randomness import Rng, system_rng
from accel.reference.paillier import encryption_bytes, rerandomization_bytes

__all__ = [
    "DEFAULT_MODULUS_BITS",
    "MAX_MODULUS_BITS",
    "MIN_MODULUS_BITS",
    "PrivateKey",
    "PublicKey",
    "generate",
]

_PUBLIC_MAGIC = b"LTPK\x01"
_PRIVATE_MAGIC = b"LTSK\x01"


@dataclass(frozen=True, repr=False)
class PublicKey:
    """The modulus n. Constructing one validates what can be seen from outside.

    Raises InvalidKey for a size outside 2048..8192 bits, an even or prime n, a perfect power, or a prime
    factor below 2^16. Whether n has exactly two prime factors only the owner knows.
    """

    n: int

    def __post_init__(self) -> None:
        composite.check_modulus(self.n)

    def __repr__(self) -> str:
        return f"<Paillier PublicKey {self.fingerprint.hex()[:16]}, {self.modulus_bits} bits>"

    @property
    def modulus_bits(self) -> int:
        return self.n.bit_length()

    @property
    def ciphertext_bytes(self) -> int:
        """The fixed width of one ciphertext."""
        return (2 * self.modulus_bits + 7) // 8

    @property
    def max_plaintext(self) -> int:
        """Plaintexts are the integers from -max_plaintext to max_plaintext."""
        return (self.n - 1) // 2

    @cached_property
    def ciphertext_modulus(self) -> Modulus:
        """n^2."""
        return paillier_backends.square(self.n)

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the canonical bytes: names the key in ciphertexts and on chain."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Canonical, versioned: magic, 2-byte length, n big-endian without leading zeros."""
        return composite.encode(_PUBLIC_MAGIC, self.n)

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicKey:
        """Strict inverse of `to_bytes`; raises BadEncoding or InvalidKey."""
        (n,) = composite.decode(data, _PUBLIC_MAGIC, 1)
        return cls(n)

    def encrypt(self, values: list[int], bound: int, rng: Rng, backend: str) -> LimbArray:
        """Signed integers of magnitude at most ``bound`` into ciphertexts; see `accel.additive`."""
        rows = random_rows(len(values), encryption_bytes(self.n), rng)
        run = paillier_backends.ENCRYPT.select(backend, batch=len(values))
        return run(self.n, [value % self.n for value in values], rows)

    def encode(self, values: list[int]) -> LimbArray:
        """The ciphertexts of signed integers without randomness; see `accel.additive`."""
        return paillier_backends.encode(self.n, [value % self.n for value in values])

    def rerandomize(self, ciphertexts: LimbArray, rng: Rng, backend: str) -> LimbArray:
        """The same plaintexts under fresh randomness; see `accel.additive`."""
        rows = random_rows(len(ciphertexts), rerandomization_bytes(self.n), rng)
        return paillier_backends.RERANDOMIZE.select(backend, batch=len(ciphertexts))(
            self.n, ciphertexts, rows
        )


@dataclass(frozen=True, repr=False, eq=False)  # secret: keep it out of logs, and of early-exit comparisons
class PrivateKey:
    """The prime factors p < q of n. Constructing one validates them.

    Raises InvalidKey unless both are prime, distinct, of equal size, far apart, and n is a valid modulus.
    """

    p: int
    q: int

    def __post_init__(self) -> None:
        composite.check_primes(self.p, self.q)
        if self.p > self.q:
            smaller, larger = self.q, self.p
            object.__setattr__(self, "p", smaller)
            object.__setattr__(self, "q", larger)
        if self.p.bit_length() != self.q.bit_length():
            raise InvalidKey("the two primes must have the same number of bits")
        if gmpy2.gcd(self.p * self.q, (self.p - 1) * (self.q - 1)) != 1:
            raise InvalidKey("the modulus shares a factor with its order")
        PublicKey(self.p * self.q)

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.p * self.q)

    def to_bytes(self) -> bytes:
        """Canonical, versioned, secret: magic, then p and q (p < q) with 2-byte lengths."""
        return composite.encode(_PRIVATE_MAGIC, self.p, self.q)

    @classmethod
    def from_bytes(cls, data: bytes) -> PrivateKey:
        """Strict inverse of `to_bytes`; raises BadEncoding or InvalidKey."""
        p, q = composite.decode(data, _PRIVATE_MAGIC, 2)
        if p > q:
            raise BadEncoding("the primes of a private key must be in ascending order")
        return cls(p, q)

    def __reduce__(self) -> str:
        raise TypeError("a private key is stored by to_bytes in a key store, never pickled")

    def decrypt(self, ciphertexts: LimbArray, backend: str) -> list[int]:
        """Ciphertexts into signed integers; see `accel.additive`."""
        n = self.p * self.q
        run = paillier_backends.DECRYPT.select(backend, batch=len(ciphertexts))
        return [value - n if value > n // 2 else value for value in run(self.p, self.q, ciphertexts)]


def generate(modulus_bits: int = DEFAULT_MODULUS_BITS, rng: Rng = system_rng) -> PrivateKey:
    """A fresh key with exactly ``modulus_bits`` bits; takes tenths of a second at 2048, seconds beyond 4096.

    Both primes are 3 modulo 4 with gcd(p - 1, q - 1) = 2: what the short-exponent encryption of Damgard,
    Jurik and Nielsen assumes. Raises BadParameter unless the size is a multiple of 256 in 2048..8192.
    """
    composite.check_size(modulus_bits)
    while True:
        p = composite.random_prime(modulus_bits // 2, rng)
        q = composite.random_prime(modulus_bits // 2, rng)
        if gmpy2.gcd(p - 1, q - 1) == 2 and abs(p - q).bit_length() > modulus_bits // 2 - 100:
            return PrivateKey(p, q)
