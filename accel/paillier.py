"""Paillier encryption: additively homomorphic, default 3072-bit keys, never below 2048.

    private = paillier.generate()                       # the owner
    array = paillier.encrypt_ints(private.public, [3, -5])   # anyone
    total = (array * [2, 10]).sum().rerandomize()       # anyone; the owner cannot tell how it was made
    paillier.decrypt_ints(private, total)               # [-44]

Plaintexts are signed integers. `encrypt_fixed` and `decrypt_fixed` carry fixed-point numbers at one scale;
`encrypt_packed`, `decrypt_packed` and `pack` put many small ones into one ciphertext (`accel.packing`).
IND-CPA under the decisional composite residuosity assumption and, for the short encryption exponent, the one
of Damgard, Jurik and Nielsen. Ciphertexts are malleable by design: what is decrypted for whom is a matter of
protocol. Ciphertexts interoperate with `phe` (`EncryptedArray.ciphertexts`, `from_ciphertexts`).
"""

from __future__ import annotations

from accel.additive import DEFAULT_BOUND
from accel.ciphers import decrypt_array, decrypt_fixed, decrypt_ints, encrypt_fixed, encrypt_ints
from accel.encrypted import EncryptedArray, concatenate
from accel.packing import PackedArray, Slots, decrypt_packed, encrypt_packed, pack
from accel.paillier_keys import (
    DEFAULT_MODULUS_BITS,
    MAX_MODULUS_BITS,
    MIN_MODULUS_BITS,
    PrivateKey,
    PublicKey,
    generate,
)

__all__ = [
    "DEFAULT_BOUND",
    "DEFAULT_MODULUS_BITS",
    "MAX_MODULUS_BITS",
    "MIN_MODULUS_BITS",
    "EncryptedArray",
    "PackedArray",
    "PrivateKey",
    "PublicKey",
    "Slots",
    "concatenate",
    "decrypt_array",
    "decrypt_fixed",
    "decrypt_ints",
    "decrypt_packed",
    "encrypt_fixed",
    "encrypt_ints",
    "encrypt_packed",
    "generate",
    "pack",
]
