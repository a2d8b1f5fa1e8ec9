"""Paillier's scheme with the generator n + 1, as published and with short random exponents.

| symbol | meaning |
|---|---|
| n = p q | the modulus |
| r | the randomness of a ciphertext as published, uniform and coprime to n |
| h = -x^2 modulo n | base of the short-exponent randomness; x is hashed from n, so nobody chose it |
| e | the random exponent; the randomness of a ciphertext is then r = h^e |
| lam | lcm(p - 1, q - 1) |

Source: Paillier, EUROCRYPT 1999, scheme 1; ISO/IEC 18033-6:2019 section 5; Damgard, Jurik, Nielsen, Int. J.
Inf. Secur. 9 (2010), section 4.2, for h and e.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence


def encrypt_with(n: int, m: int, r: int) -> int:
    """(n + 1)^m r^n modulo n^2."""
    return pow(n + 1, m, n * n) * pow(r, n, n * n) % (n * n)


def encrypt(n: int, residues: Sequence[int], exponents: Sequence[int]) -> list[int]:
    """(1 + m n) (h^n)^e modulo n^2, which is `encrypt_with` for r = h^e."""
    return [
        (1 + m * n) * randomizer % (n * n)
        for m, randomizer in zip(residues, _randomizers(n, exponents), strict=True)
    ]


def rerandomize(n: int, ciphertexts: Sequence[int], exponents: Sequence[int]) -> list[int]:
    """c (h^n)^e modulo n^2."""
    return [
        c * randomizer % (n * n)
        for c, randomizer in zip(ciphertexts, _randomizers(n, exponents), strict=True)
    ]


def decrypt(p: int, q: int, ciphertexts: Sequence[int]) -> list[int]:
    """Residues modulo n: L(c^lam) / L((n + 1)^lam), L(x) = (x - 1) / n."""
    n = p * q
    lam = math.lcm(p - 1, q - 1)
    mu = pow((pow(n + 1, lam, n * n) - 1) // n, -1, n)
    return [(pow(c, lam, n * n) - 1) // n * mu % n for c in ciphertexts]


def add(n: int, left: Sequence[int], right: Sequence[int]) -> list[int]:
    """The product of two ciphertexts holds the sum of their plaintexts."""
    return [a * b % (n * n) for a, b in zip(left, right, strict=True)]


def multiply(n: int, ciphertexts: Sequence[int], factors: Sequence[int]) -> list[int]:
    """c^k modulo n^2 holds k times the plaintext; k may be negative."""
    return [pow(c, k, n * n) for c, k in zip(ciphertexts, factors, strict=True)]


def base(n: int) -> int:
    """h = -x^2 modulo n, x expanded from n by SHA-512 in counter mode, 128 bits longer than n."""
    x = hashed_unit(n, b"liutong paillier base")
    return -x * x % n


def hashed_unit(n: int, label: bytes) -> int:
    """A number modulo n that nobody chose: SHA-512 of label, 4-byte counter and n, 128 bits longer than n."""
    seed = n.to_bytes((n.bit_length() + 7) // 8, "big")
    blocks = (n.bit_length() + 128 + 511) // 512
    stream = b"".join(hashlib.sha512(label + i.to_bytes(4, "big") + seed).digest() for i in range(blocks))
    return int.from_bytes(stream, "big") % n


def encryption_bytes(n: int) -> int:
    """Bytes of e in an encryption: half those of n (section 4.2: hides from whoever lacks the factors)."""
    return -(-n.bit_length() // 16)


def rerandomization_bytes(n: int) -> int:
    """Bytes of e when rerandomizing: h^e is uniform up to 2^-64, so it hides from the key's owner too."""
    return -(-(n.bit_length() + 64) // 8)


def _randomizers(n: int, exponents: Sequence[int]) -> list[int]:
    h_n = pow(base(n), n, n * n)
    return [pow(h_n, e, n * n) for e in exponents]
