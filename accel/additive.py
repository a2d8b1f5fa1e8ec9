"""What an additively homomorphic scheme offers, and what encrypting and decrypting have in common.

`EncryptedArray` computes with any `PublicKey` of this form: `accel.paillier` and `accel.ou` have one each. A
ciphertext is a number modulo `ciphertext_modulus`; the product of two holds the sum of their plaintexts.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from accel.errors import BadParameter, PlaintextOverflow
from accel.limbs import LimbArray
from accel.modular import Modulus
from accel.plain import Plain
from accel.randomness import Rng, draw

# Signed 128-bit plaintexts leave room for 2^1900 of them in a Paillier sum. The bound is public, so it must
# not be taken from the data.
DEFAULT_BOUND = (1 << 127) - 1

GPU_BATCH = 8192  # fewer threads than that leave a large GPU idle

# The paths of `accel.modular`, and what they need.
CPU_PATHS = (("portable", "gmpy2"), ("avx2", "numba"), ("ifma", "numba"))

ByteRows = npt.NDArray[np.uint8]


class PublicKey(Protocol):
    """A validated public key. Ciphertexts go in and out in Montgomery form modulo `ciphertext_modulus`."""

    @property
    def n(self) -> int:
        """The modulus: a ciphertext is valid if it is coprime to it."""

    @property
    def ciphertext_modulus(self) -> Modulus: ...

    @property
    def max_plaintext(self) -> int:
        """Plaintexts are the integers from -max_plaintext to max_plaintext."""

    @property
    def ciphertext_bytes(self) -> int:
        """The fixed width of one ciphertext."""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that name key and scheme."""

    def encrypt(self, values: list[int], bound: int, rng: Rng, backend: str) -> LimbArray:
        """Encrypt signed integers, each checked to be at most ``bound``."""

    def encode(self, values: list[int]) -> LimbArray:
        """The ciphertext of each signed integer without any randomness: for adding what is public."""

    def rerandomize(self, ciphertexts: LimbArray, rng: Rng, backend: str) -> LimbArray:
        """The same plaintexts under fresh randomness, hidden from the owner of the key too."""


class PrivateKey(Protocol):
    """The owner's half: it turns ciphertexts into signed integers."""

    @property
    def public(self) -> PublicKey: ...

    def decrypt(self, ciphertexts: LimbArray, backend: str) -> list[int]: ...


def check_bound(values: Plain, bound: int, key: PublicKey) -> None:
    """Raise PlaintextOverflow for a bound that does not fit the key, or with ``index`` for a larger value."""
    if isinstance(bound, bool) or not isinstance(bound, int):
        raise BadParameter("a bound is an int")
    if not 0 <= bound <= key.max_plaintext:
        raise PlaintextOverflow("the bound does not fit the plaintext space of the key")
    if values.largest > bound:
        index = next(i for i, value in enumerate(values.values) if abs(value) > bound)
        raise PlaintextOverflow(f"value {index} has more than {bound.bit_length()} bits", index=index)


def random_rows(count: int, width: int, rng: Rng) -> ByteRows:
    """``count`` uniform exponents of ``width`` bytes, big-endian rows, from one draw."""
    return np.frombuffer(draw(rng, count * width), dtype=np.uint8).reshape(count, width)


def row_ints(rows: ByteRows) -> list[int]:
    """Big-endian rows as integers."""
    return [int.from_bytes(row.tobytes(), "big") for row in rows]
