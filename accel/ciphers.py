"""Encrypting and decrypting whole arrays, alike for every additively homomorphic scheme.

`accel.paillier` and `accel.ou` offer these functions for their own keys.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from accel.additive import DEFAULT_BOUND, PrivateKey, PublicKey, check_bound
from accel.encoding import DEFAULT_SCALE_BITS, Numbers, from_fixed, to_fixed
from accel.encrypted import EncryptedArray
from accel.errors import PlaintextOverflow, WrongKey
from accel.plain import Integers, Plain, as_numpy, integers
from accel.randomness import Rng, system_rng


def encrypt_ints(
    key: PublicKey,
    values: Integers,
    *,
    bound: int = DEFAULT_BOUND,
    scale_bits: int = 0,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> EncryptedArray:
    """Encrypt signed integers of magnitude at most ``bound``, which travels with the array in the clear.

    ``values``: integers in sequences or a numpy integer array, whose shape the result has. Raises
    PlaintextOverflow with ``index`` for a larger value, or if ``bound`` does not fit the key; BadParameter
    for what is not an int. The first call per key makes tables: tenths of a second.
    """
    plain = integers(values)
    check_bound(plain, bound, key)
    elements = key.encrypt(plain.values, bound, rng, backend)
    return EncryptedArray(key, elements, plain.shape, bound, scale_bits, rerandomized=True)


def decrypt_ints(private: PrivateKey, array: EncryptedArray, *, backend: str = "auto") -> list[int]:
    """Decrypt to signed integers, in C order.

    Decrypt only what a protocol entitles the caller to. Raises WrongKey, and PlaintextOverflow with ``index``
    if a plaintext exceeds the bound of its array: somebody who computed on it broke a promise.
    """
    if array.key.fingerprint != private.public.fingerprint:
        raise WrongKey("the array is encrypted under another key")
    plain = private.decrypt(array.elements, backend)
    if Plain(plain, (len(plain),)).largest > array.bound:
        index = next(i for i, value in enumerate(plain) if abs(value) > array.bound)
        raise PlaintextOverflow(f"plaintext {index} exceeds the bound of its array", index=index)
    return plain


def decrypt_array(private: PrivateKey, array: EncryptedArray, *, backend: str = "auto") -> npt.NDArray[Any]:
    """Decrypt to a numpy array of the same shape: int64 if every value fits, else Python ints."""
    return as_numpy(decrypt_ints(private, array, backend=backend), array.shape)


def encrypt_fixed(
    key: PublicKey,
    values: Numbers,
    *,
    scale_bits: int = DEFAULT_SCALE_BITS,
    bound: int = DEFAULT_BOUND,
    rng: Rng = system_rng,
    backend: str = "auto",
) -> EncryptedArray:
    """Encrypt numbers rounded to multiples of 2^-scale_bits; ``bound`` is for the encoded integers."""
    encoded = to_fixed(values, scale_bits)
    shape = getattr(values, "shape", (len(encoded),))
    array = encrypt_ints(key, encoded, bound=bound, scale_bits=scale_bits, rng=rng, backend=backend)
    return array.reshape(shape)


def decrypt_fixed(private: PrivateKey, array: EncryptedArray, *, backend: str = "auto") -> list[float]:
    """Decrypt to doubles at the scale of the array, in C order."""
    return from_fixed(decrypt_ints(private, array, backend=backend), array.scale_bits)
