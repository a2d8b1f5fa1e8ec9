"""Okamoto-Uchiyama encryption: additively homomorphic, several times faster than Paillier, with a caveat.

    private = ou.generate()
    array = ou.encrypt_ints(private.public, [3, -5])
    ou.decrypt_ints(private, (array * [2, 10]).sum().rerandomize())    # [-44]

Same interface as `accel.paillier`; nothing chooses this scheme on its own. Plaintexts have a third of the
bits of the modulus n = p^2 q, ciphertexts as many as n.

Caveat. The owner must never show what a stranger's ciphertext decrypts to, nor whether decrypting it raised:
a plaintext of p or more comes back reduced modulo p, so one answer factors n (Okamoto and Uchiyama 1998:
breaking it is as hard as factoring, and the proof is the attack). Decrypt only sums of ciphertexts whose
bounds you trust. IND-CPA rests on the p-subgroup assumption, younger and less studied than Paillier's, and on
short exponents being as hard to find as long ones (`accel.reference.ou`). Prefer Paillier unless its speed is
the obstacle.
"""

from __future__ import annotations

from accel.additive import DEFAULT_BOUND
from accel.ciphers import decrypt_array, decrypt_fixed, decrypt_ints, encrypt_fixed, encrypt_ints
from accel.composite import DEFAULT_MODULUS_BITS, MAX_MODULUS_BITS, MIN_MODULUS_BITS
from accel.encrypted import EncryptedArray, concatenate
from accel.ou_keys import PrivateKey, PublicKey, generate
from accel.packing import PackedArray, Slots, decrypt_packed, encrypt_packed, pack

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
