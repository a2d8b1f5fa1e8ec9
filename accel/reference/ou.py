"""Okamoto and Uchiyama's scheme, with bases hashed from n and short random exponents.

| symbol | meaning |
|---|---|
| n = p^2 q | the modulus |
| g | base of the plaintext, hashed from n; the order of g^(p-1) modulo p^2 is p |
| h = x^n modulo n | base of the randomness; x is hashed from n |
| e | the random exponent of a ciphertext |

Source: Okamoto, Uchiyama, EUROCRYPT 1998, section 3.1. There h = g^n and e is uniform below n; here h is the
n-th power of another hashed number, and e is short.

Why e may be short: finding e from h^e by Pollard's kangaroos takes 2^(bits/2) products, so twice as many bits
as the strength of the modulus are as hard as factoring it (NIST SP 800-57 part 1, table 2: 224 bits at 2048,
256 at 3072, 384 at 7680, 512 at 15360; van Oorschot and Wiener, EUROCRYPT 1996). If short exponents are hard
to find, powers with short exponents cannot be told from powers with long ones (Koshiba, Kurosawa, PKC 2004,
theorem 1, the argument for a hidden order as in section 4.2 of Damgard, Jurik, Nielsen 2010).
"""

from __future__ import annotations

from collections.abc import Sequence

from accel.reference.paillier import hashed_unit


def encrypt(n: int, plain: Sequence[int], exponents: Sequence[int]) -> list[int]:
    """g^m h^e modulo n for signed m."""
    g, h = plain_base(n), random_base(n)
    return [pow(g, m, n) * pow(h, e, n) % n for m, e in zip(plain, exponents, strict=True)]


def rerandomize(n: int, ciphertexts: Sequence[int], exponents: Sequence[int]) -> list[int]:
    """c h^e modulo n."""
    h = random_base(n)
    return [c * pow(h, e, n) % n for c, e in zip(ciphertexts, exponents, strict=True)]


def decrypt(p: int, q: int, ciphertexts: Sequence[int]) -> list[int]:
    """Residues modulo p: L(c^(p-1)) / L(g^(p-1)), L(x) = (x - 1) / p modulo p^2."""
    g = plain_base(p * p * q)
    square = p * p
    inverse = pow((pow(g, p - 1, square) - 1) // p, -1, p)
    return [(pow(c, p - 1, square) - 1) // p * inverse % p for c in ciphertexts]


def plain_base(n: int) -> int:
    """g. Nobody chose it, nor h, so n alone is the public key."""
    return hashed_unit(n, b"liutong okamoto-uchiyama plaintext base")


def random_base(n: int) -> int:
    """h."""
    return pow(hashed_unit(n, b"liutong okamoto-uchiyama random base"), n, n)


def plaintext_bits(n: int) -> int:
    """Plaintexts have at most so many bits: a third of those of n, so p has one more at least."""
    return n.bit_length() // 3 - 2


def encryption_bytes(n: int) -> int:
    """Bytes of e in an encryption: twice the strength of n or more."""
    for modulus_bits, exponent_bytes in ((3072, 32), (7680, 48)):
        if n.bit_length() <= modulus_bits:
            return exponent_bytes
    return 64


def rerandomization_bytes(n: int) -> int:
    """Bytes of e when rerandomizing: 64 bits more than the order of h, so it hides from the key's owner too.

    h is an n-th power, so its order divides (p - 1) (q - 1): two thirds of the bits of n.
    """
    return -(-(-(-2 * n.bit_length() // 3) + 64) // 8)
