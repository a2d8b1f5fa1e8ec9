"""Ciphertexts at the edge: from integers, bytes and numpy rows into Montgomery form and back, validated.

A valid ciphertext is a number 0 < c < ciphertext modulus that is coprime to the key's modulus. An encrypted
array in bytes is

    magic "LTEA" 1 | fingerprint 32 | scale 2 | axes 1 | lengths 4 each | bound length 2 | bound | ciphertexts

all big-endian, the bound without leading zeros, every ciphertext at the fixed width of its key, in C order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gmpy2
import numpy as np
import numpy.typing as npt

from accel import modular
from accel.additive import PublicKey
from accel.encoding import MAX_SCALE_BITS
from accel.errors import BadEncoding, BadParameter, InvalidCiphertext, WrongKey
from accel.limbs import LimbArray

_MAGIC = b"LTEA\x01"
_FIXED_HEADER = len(_MAGIC) + 32 + 2 + 1
_MAX_AXES = 8
_MAX_EMPTY = 1 << 20  # what the other axes of an empty array may span: a sum over it allocates as much


def from_ints(key: PublicKey, ciphertexts: Sequence[int]) -> LimbArray:
    """Validate integers; raises InvalidCiphertext with ``index``, BadParameter for what is not an int."""
    limbs = key.ciphertext_modulus.limbs
    for index, value in enumerate(ciphertexts):
        if isinstance(value, bool) or not isinstance(value, int | np.integer | gmpy2.mpz):
            raise BadParameter(f"ciphertext {index} is not an int", index=index)
    try:
        values = LimbArray.from_ints([int(value) for value in ciphertexts], limbs)
    except BadParameter as error:
        raise _out_of_range(error) from error
    return _entered(key, values)


def from_rows(key: PublicKey, rows: npt.NDArray[Any]) -> LimbArray:
    """Validate big-endian uint8 rows of the key's ciphertext width, in C order over the leading axes."""
    width = key.ciphertext_bytes
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim < 1 or rows.shape[-1] != width:
        raise BadParameter(f"ciphertexts are rows of {width} bytes, dtype uint8")
    return _decoded(key, rows.tobytes())


def to_rows(key: PublicKey, elements: LimbArray) -> npt.NDArray[np.uint8]:
    """uint8 of shape (n, width)."""
    data = modular.leave(elements, key.ciphertext_modulus).to_bytes(key.ciphertext_bytes)
    return np.frombuffer(data, dtype=np.uint8).reshape(len(elements), key.ciphertext_bytes)


def encode(key: PublicKey, elements: LimbArray, shape: tuple[int, ...], bound: int, scale_bits: int) -> bytes:
    if len(shape) > _MAX_AXES or any(length >= 1 << 32 for length in shape):
        raise BadParameter(f"an array in bytes has up to {_MAX_AXES} axes of less than 2^32")
    if not len(elements) and _span(shape) > _MAX_EMPTY:
        raise BadParameter("an empty array in bytes has no such long axes")
    bound_bytes = bound.to_bytes((bound.bit_length() + 7) // 8, "big")
    return b"".join(
        (
            _MAGIC,
            key.fingerprint,
            scale_bits.to_bytes(2, "big"),
            len(shape).to_bytes(1, "big"),
            *(length.to_bytes(4, "big") for length in shape),
            len(bound_bytes).to_bytes(2, "big"),
            bound_bytes,
            to_rows(key, elements).tobytes(),
        )
    )


def decode(key: PublicKey, data: bytes) -> tuple[LimbArray, tuple[int, ...], int, int]:
    """Elements, shape, bound and scale; raises BadEncoding, WrongKey, InvalidCiphertext."""
    if len(data) < _FIXED_HEADER or not data.startswith(_MAGIC):
        raise BadEncoding("not an encrypted array of this version")
    at = len(_MAGIC)
    if data[at : at + 32] != key.fingerprint:
        raise WrongKey("the array is encrypted under another key")
    scale_bits = int.from_bytes(data[at + 32 : at + 34], "big")
    axes = data[at + 34]
    if scale_bits > MAX_SCALE_BITS:
        raise BadEncoding("the scale of an encrypted array is out of range")
    bound_at = _FIXED_HEADER + 4 * axes + 2
    if axes > _MAX_AXES or len(data) < bound_at:
        raise BadEncoding("an encrypted array is truncated or has too many axes")
    lengths = data[_FIXED_HEADER : bound_at - 2]
    shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, 4 * axes, 4))
    body_at = bound_at + int.from_bytes(data[bound_at - 2 : bound_at], "big")
    bound = data[bound_at:body_at]
    if len(data) != body_at + math.prod(shape) * key.ciphertext_bytes:
        raise BadEncoding("an encrypted array has the wrong length")
    if bound[:1] == b"\x00":
        raise BadEncoding("the bound of an encrypted array is not canonical")
    if not math.prod(shape) and _span(shape) > _MAX_EMPTY:
        raise BadEncoding("an empty encrypted array claims long axes")
    return _decoded(key, data[body_at:]), shape, int.from_bytes(bound, "big"), scale_bits


def _span(shape: tuple[int, ...]) -> int:
    return math.prod(length for length in shape if length)


def _decoded(key: PublicKey, data: bytes) -> LimbArray:
    try:
        values = LimbArray.from_bytes(data, key.ciphertext_bytes, key.ciphertext_modulus.limbs)
    except BadParameter as error:
        raise _out_of_range(error) from error
    return _entered(key, values)


def _entered(key: PublicKey, values: LimbArray) -> LimbArray:
    m = key.ciphertext_modulus
    try:
        elements = modular.enter(values, m)
    except BadParameter as error:
        raise _out_of_range(error) from error
    # One gcd for all; only a failure is worth the search for its index. Zero shows here too.
    groups = np.zeros(len(elements), dtype=np.int64)
    (product,) = modular.leave(modular.product_by_group(elements, groups, 1, m), m).to_ints()
    if gmpy2.gcd(product, key.n) != 1:
        index = next(i for i, value in enumerate(values.to_ints()) if gmpy2.gcd(value, key.n) != 1)
        raise InvalidCiphertext(f"ciphertext {index} is not coprime to the modulus", index=index)
    return elements


def _out_of_range(error: BadParameter) -> InvalidCiphertext:
    index = error.detail["index"]
    return InvalidCiphertext(f"ciphertext {index} is out of range", index=index)
