"""Paillier keys: generation, validation and canonical bytes. `accel.paillier` is the facade.

Source: Paillier, EUROCRYPT 1999; Damgard, Jurik, Nielsen, Int. J. Inf. Secur. 9 (2010), section 4.2;
ISO/IEC 18033-6:2019 section 5. The generator is n + 1, as in `phe`, so ciphertexts interoperate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import gmpy2

from accel.errors import BadEncoding, BadParameter, InvalidKey
from accel.randomness import Rng, random_bits, system_rng

MIN_MODULUS_BITS = 2048
DEFAULT_MODULUS_BITS = 3072
MAX_MODULUS_BITS = 8192

_PUBLIC_MAGIC = b"LTPK\x01"
_PRIVATE_MAGIC = b"LTSK\x01"
_PRIMALITY_ROUNDS = 40
_SMALL_PRIMES_PRODUCT = gmpy2.primorial(1 << 16)


@dataclass(frozen=True, repr=False)
class PublicKey:
    """The modulus n. Constructing one validates what can be seen from outside.

    Raises InvalidKey for a size outside 2048..8192 bits, an even or prime n, a perfect power, or a prime
    factor below 2^16. Whether n has exactly two prime factors only the owner knows.
    """

    n: int

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int):
            raise InvalidKey("the modulus must be an int")
        if not MIN_MODULUS_BITS <= self.n.bit_length() <= MAX_MODULUS_BITS:
            raise InvalidKey(
                f"the modulus has {self.n.bit_length()} bits; "
                f"{MIN_MODULUS_BITS} to {MAX_MODULUS_BITS} are accepted"
            )
        n = gmpy2.mpz(self.n)
        if gmpy2.gcd(n, _SMALL_PRIMES_PRODUCT) != 1:
            raise InvalidKey("the modulus has a small prime factor")
        if gmpy2.is_power(n) or gmpy2.is_prime(n):
            raise InvalidKey("the modulus is a prime or a perfect power")

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
    def n_squared(self) -> gmpy2.mpz:
        return gmpy2.mpz(self.n) ** 2

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the canonical bytes: names the key in ciphertexts and on chain."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Canonical, versioned: magic, 2-byte length, n big-endian without leading zeros."""
        body = self.n.to_bytes((self.modulus_bits + 7) // 8, "big")
        return _PUBLIC_MAGIC + len(body).to_bytes(2, "big") + body

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicKey:
        """Strict inverse of `to_bytes`; raises BadEncoding or InvalidKey."""
        (n,) = _split(data, _PUBLIC_MAGIC, 1)
        return cls(n)


@dataclass(frozen=True, repr=False, eq=False)  # secret: keep it out of logs, and of early-exit comparisons
class PrivateKey:
    """The prime factors p < q of n. Constructing one validates them.

    Raises InvalidKey unless both are prime, distinct, of equal size, far apart, and n is a valid modulus.
    """

    p: int
    q: int

    def __post_init__(self) -> None:
        if self.p > self.q:
            smaller, larger = self.q, self.p
            object.__setattr__(self, "p", smaller)
            object.__setattr__(self, "q", larger)
        if self.p < 3 or self.p.bit_length() != self.q.bit_length():
            raise InvalidKey("the two primes must have the same number of bits")
        if not all(gmpy2.is_prime(prime, _PRIMALITY_ROUNDS) for prime in (self.p, self.q)):
            raise InvalidKey("a factor of the modulus is not prime")
        # Closer primes fall to Fermat's factorization (FIPS 186-5, appendix A.1.3 uses the same distance).
        if (self.q - self.p).bit_length() <= self.q.bit_length() - 100:
            raise InvalidKey("the two primes are equal or too close")
        if gmpy2.gcd(self.p * self.q, (self.p - 1) * (self.q - 1)) != 1:
            raise InvalidKey("the modulus shares a factor with its order")
        PublicKey(self.p * self.q)

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.p * self.q)

    def to_bytes(self) -> bytes:
        """Canonical, versioned, secret: magic, then p and q (p < q) with 2-byte lengths."""
        length = (self.p.bit_length() + 7) // 8
        parts = [length.to_bytes(2, "big") + prime.to_bytes(length, "big") for prime in (self.p, self.q)]
        return _PRIVATE_MAGIC + b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> PrivateKey:
        """Strict inverse of `to_bytes`; raises BadEncoding or InvalidKey."""
        p, q = _split(data, _PRIVATE_MAGIC, 2)
        if p > q:
            raise BadEncoding("the primes of a private key must be in ascending order")
        return cls(p, q)

    def __reduce__(self) -> str:
        raise TypeError("a private key is stored by to_bytes in a key store, never pickled")


def generate(modulus_bits: int = DEFAULT_MODULUS_BITS, rng: Rng = system_rng) -> PrivateKey:
    """A fresh key with exactly ``modulus_bits`` bits; takes tenths of a second at 2048, seconds beyond 4096.

    Both primes are 3 modulo 4 with gcd(p - 1, q - 1) = 2: what the short-exponent encryption of Damgard,
    Jurik and Nielsen assumes. Raises BadParameter unless the size is a multiple of 256 in 2048..8192.
    """
    if not MIN_MODULUS_BITS <= modulus_bits <= MAX_MODULUS_BITS or modulus_bits % 256:
        raise BadParameter(
            f"modulus_bits must be a multiple of 256 from {MIN_MODULUS_BITS} to {MAX_MODULUS_BITS}"
        )
    while True:
        p = _random_prime(modulus_bits // 2, rng)
        q = _random_prime(modulus_bits // 2, rng)
        if gmpy2.gcd(p - 1, q - 1) == 2 and abs(p - q).bit_length() > modulus_bits // 2 - 100:
            return PrivateKey(p, q)


def _random_prime(bits: int, rng: Rng) -> int:
    while True:
        # The two top bits make the product have exactly twice the bits; the two low ones make it 3 modulo 4.
        candidate = random_bits(bits - 4, rng) << 2 | 3 << (bits - 2) | 3
        if gmpy2.is_prime(candidate, _PRIMALITY_ROUNDS):
            return candidate


def _split(data: bytes, magic: bytes, count: int) -> list[int]:
    if not data.startswith(magic):
        raise BadEncoding("not a Paillier key of this kind and version")
    numbers = []
    position = len(magic)
    for _ in range(count):
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + 2 + length]
        if len(data) < position + 2 or len(body) != length or not body or body[0] == 0:
            raise BadEncoding("a Paillier key is truncated or not canonical")
        numbers.append(int.from_bytes(body, "big"))
        position += 2 + length
    if position != len(data):
        raise BadEncoding("bytes follow after a Paillier key")
    return numbers
