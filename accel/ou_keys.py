"""Okamoto-Uchiyama keys: generation, validation, canonical bytes, what a key does. `accel.ou` is the facade.

Source: Okamoto, Uchiyama, EUROCRYPT 1998, section 3.1. Both bases are hashed from n (`accel.reference.ou`),
so the public key is n alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import gmpy2

from accel import composite, ou_backends
from accel.additive import random_rows
from accel.composite import DEFAULT_MODULUS_BITS
from accel.errors import InvalidKey
from accel.limbs import LimbArray
from accel.modular import Modulus
from accel.randomness import Rng, system_rng
from accel.reference import ou as reference

_PUBLIC_MAGIC = b"LTOP\x01"
_PRIVATE_MAGIC = b"LTOS\x01"


@dataclass(frozen=True, repr=False)
class PublicKey:
    """The modulus n = p^2 q. Constructing one validates what can be seen from outside.

    Raises InvalidKey for a size outside 2048..8192 bits, an even or prime n, a perfect power, or a prime
    factor below 2^16. Whether n has the promised form only the owner knows.
    """

    n: int

    def __post_init__(self) -> None:
        composite.check_modulus(self.n)

    def __repr__(self) -> str:
        return f"<Okamoto-Uchiyama PublicKey {self.fingerprint.hex()[:16]}, {self.modulus_bits} bits>"

    @property
    def modulus_bits(self) -> int:
        return self.n.bit_length()

    @property
    def ciphertext_bytes(self) -> int:
        """The fixed width of one ciphertext."""
        return (self.modulus_bits + 7) // 8

    @property
    def max_plaintext(self) -> int:
        """Plaintexts are the integers from -max_plaintext to max_plaintext: two bits less than p has."""
        return (1 << reference.plaintext_bits(self.n)) - 1

    @cached_property
    def ciphertext_modulus(self) -> Modulus:
        """n."""
        return ou_backends.modulus(self.n)

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
        rows = random_rows(len(values), reference.encryption_bytes(self.n), rng)
        run = ou_backends.ENCRYPT.select(backend, batch=len(values))
        return run(self.n, values, ou_backends.plain_bits(self.n, bound), rows)

    def encode(self, values: list[int]) -> LimbArray:
        """The ciphertexts of signed integers without randomness; see `accel.additive`."""
        return ou_backends.encode(self.n, values)

    def rerandomize(self, ciphertexts: LimbArray, rng: Rng, backend: str) -> LimbArray:
        """The same plaintexts under fresh randomness; see `accel.additive`."""
        rows = random_rows(len(ciphertexts), reference.rerandomization_bytes(self.n), rng)
        return ou_backends.RERANDOMIZE.select(backend, batch=len(ciphertexts))(self.n, ciphertexts, rows)


@dataclass(frozen=True, repr=False, eq=False)  # secret: keep it out of logs, and of early-exit comparisons
class PrivateKey:
    """The prime factors of n = p^2 q. Constructing one validates them.

    Raises InvalidKey unless both are prime, distinct, far apart and of a third of the bits of n each, n is a
    valid modulus that shares no factor with its order, and the hashed base g has an order that p divides.
    """

    p: int
    q: int

    def __post_init__(self) -> None:
        composite.check_primes(self.p, self.q)
        n = self.p * self.p * self.q
        if min(self.p.bit_length(), self.q.bit_length()) < n.bit_length() // 3 - 1:
            raise InvalidKey("the two primes must have a third of the bits of the modulus each")
        if self.p.bit_length() < reference.plaintext_bits(n) + 2:
            raise InvalidKey("the squared prime is too short for the plaintexts that the modulus promises")
        if gmpy2.gcd(self.p, self.q - 1) != 1 or gmpy2.gcd(self.q, self.p - 1) != 1:
            raise InvalidKey("the modulus shares a factor with its order")
        PublicKey(n)
        g, h = reference.plain_base(n), reference.random_base(n)
        if gmpy2.gcd(g * h, n) != 1 or gmpy2.powmod_sec(g % self.p**2, self.p - 1, self.p**2) == 1:
            raise InvalidKey("the bases of the modulus are degenerate")

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.p * self.p * self.q)

    def to_bytes(self) -> bytes:
        """Canonical, versioned, secret: magic, then p and q with 2-byte lengths."""
        return composite.encode(_PRIVATE_MAGIC, self.p, self.q)

    @classmethod
    def from_bytes(cls, data: bytes) -> PrivateKey:
        """Strict inverse of `to_bytes`; raises BadEncoding or InvalidKey."""
        p, q = composite.decode(data, _PRIVATE_MAGIC, 2)
        return cls(p, q)

    def __reduce__(self) -> str:
        raise TypeError("a private key is stored by to_bytes in a key store, never pickled")

    def decrypt(self, ciphertexts: LimbArray, backend: str) -> list[int]:
        """Ciphertexts into signed integers; see `accel.additive`."""
        run = ou_backends.DECRYPT.select(backend, batch=len(ciphertexts))
        p = self.p
        return [value - p if value > p // 2 else value for value in run(p, self.q, ciphertexts)]


def generate(modulus_bits: int = DEFAULT_MODULUS_BITS, rng: Rng = system_rng) -> PrivateKey:
    """A fresh key with exactly ``modulus_bits`` bits, in about the time of a Paillier key.

    Raises BadParameter unless the size is a multiple of 256 in 2048..8192.
    """
    composite.check_size(modulus_bits)
    p_bits = -(-modulus_bits // 3)
    while True:
        p = composite.random_prime(p_bits, rng)
        q = composite.random_prime(modulus_bits - 2 * p_bits, rng)
        if (p * p * q).bit_length() == modulus_bits and abs(p - q).bit_length() > p_bits - 100:
            return PrivateKey(p, q)
