"""Moduli whose factors are secret: what `accel.paillier` and `accel.ou` check, draw and encode alike."""

from __future__ import annotations

import gmpy2

from accel.errors import BadEncoding, BadParameter, InvalidKey
from accel.randomness import Rng, random_bits

MIN_MODULUS_BITS = 2048
DEFAULT_MODULUS_BITS = 3072
MAX_MODULUS_BITS = 8192

_PRIMALITY_ROUNDS = 40
_SMALL_PRIMES_PRODUCT = gmpy2.primorial(1 << 16)


def check_modulus(n: int) -> None:
    """Check what can be seen from outside.

    Raises InvalidKey for a size outside 2048..8192 bits, an even or prime n, a perfect power, or a prime
    factor below 2^16.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise InvalidKey("the modulus must be an int")
    if not MIN_MODULUS_BITS <= n.bit_length() <= MAX_MODULUS_BITS:
        raise InvalidKey(
            f"the modulus has {n.bit_length()} bits; {MIN_MODULUS_BITS} to {MAX_MODULUS_BITS} are accepted"
        )
    if gmpy2.gcd(n, _SMALL_PRIMES_PRODUCT) != 1:
        raise InvalidKey("the modulus has a small prime factor")
    if gmpy2.is_power(n) or gmpy2.is_prime(n):
        raise InvalidKey("the modulus is a prime or a perfect power")


def check_primes(p: int, q: int) -> None:
    """Raise InvalidKey unless both are prime, distinct and far apart."""
    if not all(isinstance(prime, int) and not isinstance(prime, bool) for prime in (p, q)):
        raise InvalidKey("the primes must be ints")
    if min(p, q) < 3 or not all(gmpy2.is_prime(prime, _PRIMALITY_ROUNDS) for prime in (p, q)):
        raise InvalidKey("a factor of the modulus is not prime")
    # Closer primes fall to Fermat's factorization (FIPS 186-5, appendix A.1.3 uses the same distance).
    if abs(q - p).bit_length() <= max(p, q).bit_length() - 100:
        raise InvalidKey("the two primes are equal or too close")


def check_size(modulus_bits: int) -> None:
    """Raise BadParameter unless keys of this size are generated: a multiple of 256 in 2048..8192."""
    if (
        isinstance(modulus_bits, bool)
        or not isinstance(modulus_bits, int)
        or not MIN_MODULUS_BITS <= modulus_bits <= MAX_MODULUS_BITS
        or modulus_bits % 256
    ):
        raise BadParameter(
            f"modulus_bits must be a multiple of 256 from {MIN_MODULUS_BITS} to {MAX_MODULUS_BITS}"
        )


def random_prime(bits: int, rng: Rng) -> int:
    """A random prime, 3 modulo 4, with its two top bits set: a product of two has the bits of both."""
    while True:
        candidate = random_bits(bits - 4, rng) << 2 | 3 << (bits - 2) | 3
        if gmpy2.is_prime(candidate, _PRIMALITY_ROUNDS):
            return candidate


def encode(magic: bytes, *numbers: int) -> bytes:
    """The magic, then every number big-endian without leading zeros after its 2-byte length."""
    parts = []
    for number in numbers:
        body = number.to_bytes((number.bit_length() + 7) // 8, "big")
        parts.append(len(body).to_bytes(2, "big") + body)
    return magic + b"".join(parts)


def decode(data: bytes, magic: bytes, count: int) -> list[int]:
    """Strict inverse of `encode`; raises BadEncoding."""
    if not data.startswith(magic):
        raise BadEncoding("not a key of this kind and version")
    numbers = []
    position = len(magic)
    for _ in range(count):
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + 2 + length]
        if len(data) < position + 2 or len(body) != length or not body or body[0] == 0:
            raise BadEncoding("a key is truncated or not canonical")
        numbers.append(int.from_bytes(body, "big"))
        position += 2 + length
    if position != len(data):
        raise BadEncoding("bytes follow after a key")
    return numbers
