"""Paillier encryption: additively homomorphic, default 3072-bit keys, never below 2048.

    private = paillier.generate()                       # the owner
    array = paillier.encrypt_ints(private.public, [3, -5])   # anyone
    total = (array * [2, 10]).sum().rerandomize()       # anyone; the owner cannot tell how it was made
    paillier.decrypt_ints(private, total)               # [-44]

Plaintexts are signed integers. `encrypt_fixed` and `decrypt_fixed` carry fixed-point numbers at one scale.
IND-CPA under the decisional composite residuosity assumption and, for the short encryption exponent, the one
of Damgard, Jurik and Nielsen. Ciphertexts are malleable by design: what is decrypted for whom is a matter of
protocol. Ciphertexts interoperate with `phe` (`EncryptedArray.ciphertexts`, `from_ciphertexts`).
"""

from __future__ import annotations

from collections.abc import Sequence

import gmpy2

from accel import selftest
from accel.encoding import DEFAULT_SCALE_BITS, Number, from_fixed, to_fixed
from accel.encrypted import EncryptedArray, concatenate
from accel.errors import BadParameter, PlaintextOverflow, WrongKey
from accel.paillier_backends import DECRYPT, ENCRYPT
from accel.paillier_keys import (
    DEFAULT_MODULUS_BITS,
    MAX_MODULUS_BITS,
    MIN_MODULUS_BITS,
    PrivateKey,
    PublicKey,
    generate,
)
from accel.randomness import Rng, system_rng

__all__ = [
    "DEFAULT_BOUND",
    "DEFAULT_MODULUS_BITS",
    "MAX_MODULUS_BITS",
    "MIN_MODULUS_BITS",
    "EncryptedArray",
    "PrivateKey",
    "PublicKey",
    "concatenate",
    "decrypt_fixed",
    "decrypt_ints",
    "encrypt_fixed",
    "encrypt_ints",
    "generate",
]

# Signed 128-bit plaintexts leave room for 2^1900 of them in a sum. The bound is public, so it must not be
# taken from the data.
DEFAULT_BOUND = (1 << 127) - 1


def encrypt_ints(
    key: PublicKey,
    values: Sequence[int],
    *,
    bound: int = DEFAULT_BOUND,
    scale_bits: int = 0,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> EncryptedArray:
    """Encrypt signed integers of magnitude at most ``bound``, which travels with the array in the clear.

    Raises PlaintextOverflow with ``index`` for a larger value, or if ``bound`` does not fit the key;
    BadParameter for what is not an int. The first call per key makes a table: about 0.1 s at 3072 bits.
    """
    selftest.ensure("paillier")
    if not 0 <= bound <= key.max_plaintext:
        raise PlaintextOverflow("the bound does not fit the plaintext space of the key")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadParameter(f"value {index} is not an int", index=index)
        if abs(value) > bound:
            raise PlaintextOverflow(f"value {index} has more than {bound.bit_length()} bits", index=index)
    residues = [value % key.n for value in values]
    ciphertexts = ENCRYPT.select(backend, batch=len(values))(key.n, residues, rng)
    return EncryptedArray(key, tuple(gmpy2.mpz(c) for c in ciphertexts), bound, scale_bits, rerandomized=True)


def decrypt_ints(private: PrivateKey, array: EncryptedArray, *, backend: str = "auto") -> list[int]:
    """Decrypt to signed integers.

    Decrypt only what a protocol entitles the caller to. Raises WrongKey, and PlaintextOverflow with ``index``
    if a plaintext exceeds the bound of its array: somebody who computed on it broke a promise.
    """
    selftest.ensure("paillier")
    n = private.public.n
    if array.key.n != n:
        raise WrongKey("the array is encrypted under another key")
    residues = DECRYPT.select(backend, batch=len(array))(private.p, private.q, array.values)
    plain = [residue - n if residue > private.public.max_plaintext else residue for residue in residues]
    for index, value in enumerate(plain):
        if abs(value) > array.bound:
            raise PlaintextOverflow(f"plaintext {index} exceeds the bound of its array", index=index)
    return plain


def encrypt_fixed(
    key: PublicKey,
    values: Sequence[Number],
    *,
    scale_bits: int = DEFAULT_SCALE_BITS,
    bound: int = DEFAULT_BOUND,
    rng: Rng = system_rng,
) -> EncryptedArray:
    """Encrypt numbers rounded to multiples of 2^-scale_bits; ``bound`` is for the encoded integers."""
    return encrypt_ints(key, to_fixed(values, scale_bits), bound=bound, scale_bits=scale_bits, rng=rng)


def decrypt_fixed(private: PrivateKey, array: EncryptedArray) -> list[float]:
    """Decrypt to doubles at the scale of the array."""
    return from_fixed(decrypt_ints(private, array), array.scale_bits)


@selftest.known_answer("paillier")
def _known_answer() -> None:
    case = selftest.vectors("paillier")["valid"][0]
    p, q, c = (int(case[name], 16) for name in ("p", "q", "c"))
    # The reference takes a tenth of a second at this size, so it is left to the tests.
    for backend in set(DECRYPT.available()) - {"reference"}:
        got = DECRYPT.select(backend, batch=1)(p, q, [c])
        selftest.expect(got == [case["m"]], f"paillier.decrypt on {backend}")
