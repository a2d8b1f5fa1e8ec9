"""Paillier's scheme as published, with the generator n + 1.

| symbol | meaning |
|---|---|
| n = p q | the modulus |
| r | the randomness of a ciphertext, uniform and coprime to n |
| lam | lcm(p - 1, q - 1) |

Source: Paillier, EUROCRYPT 1999, scheme 1; ISO/IEC 18033-6:2019 section 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from accel.randomness import Rng, random_below


def encrypt_with(n: int, m: int, r: int) -> int:
    """(n + 1)^m r^n modulo n^2."""
    return pow(n + 1, m, n * n) * pow(r, n, n * n) % (n * n)


def encrypt(n: int, residues: Sequence[int], rng: Rng) -> list[int]:
    return [encrypt_with(n, m, _unit(n, rng)) for m in residues]


def rerandomize(n: int, ciphertexts: Sequence[int], rng: Rng) -> list[int]:
    return [c * pow(_unit(n, rng), n, n * n) % (n * n) for c in ciphertexts]


def decrypt(p: int, q: int, ciphertexts: Sequence[int]) -> list[int]:
    """Residues modulo n: L(c^lam) / L((n + 1)^lam), L(x) = (x - 1) / n."""
    n = p * q
    lam = math.lcm(p - 1, q - 1)
    mu = pow((pow(n + 1, lam, n * n) - 1) // n, -1, n)
    return [(pow(c, lam, n * n) - 1) // n * mu % n for c in ciphertexts]


def _unit(n: int, rng: Rng) -> int:
    while True:
        r = random_below(n, rng)
        if math.gcd(r, n) == 1:
            return r
